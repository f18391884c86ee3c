"""IPython's shell and kernel of this process, found without importing IPython."""

from __future__ import annotations

import sys
from typing import Any


def this_shell() -> Any:
    """Return the shell; None if there is none, or if another thread is just importing IPython."""
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    try:
        return get_ipython() if get_ipython is not None else None
    except ImportError:
        return None


def this_kernel() -> Any:
    """Return the Jupyter kernel that runs this process; None in scripts, in terminals and on engines."""
    return None if on_an_engine() else _kernel()


def on_an_engine() -> bool:
    """Whether this process is an ipyparallel engine, whose displays are not visible."""
    return type(_kernel()).__module__.partition(".")[0] == "ipyparallel"


def _kernel() -> Any:
    return getattr(this_shell(), "kernel", None)
