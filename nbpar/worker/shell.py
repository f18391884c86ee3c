"""IPython's shell of this process, found without loading IPython."""

from __future__ import annotations

import sys
from typing import Any


def this_shell() -> Any:
    """Return the shell; None where there is none, or where another thread is only just importing IPython."""
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    try:
        return get_ipython() if get_ipython is not None else None
    except ImportError:
        return None
