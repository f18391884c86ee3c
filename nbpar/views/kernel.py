"""Which kernel this is, asked without loading IPython where nobody has."""

from __future__ import annotations

import sys
from typing import Any


def this_kernel() -> Any:
    """Return the Jupyter kernel that runs this process; None in scripts and terminals."""
    ipython = sys.modules.get("IPython")
    get_ipython = getattr(ipython, "get_ipython", None)
    return getattr(get_ipython(), "kernel", None) if get_ipython is not None else None
