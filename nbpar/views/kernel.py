"""Which kernel this is, asked without loading IPython where nobody has."""

from __future__ import annotations

from typing import Any

from nbpar.worker.shell import this_shell


def this_kernel() -> Any:
    """Return the Jupyter kernel that runs this process; None in scripts, in terminals and on engines."""
    return None if on_an_engine() else _kernel()


def on_an_engine() -> bool:
    """Whether this process is an engine of ipyparallel: what it shows would have nobody who looks at it."""
    return type(_kernel()).__module__.partition(".")[0] == "ipyparallel"


def _kernel() -> Any:
    return getattr(this_shell(), "kernel", None)
