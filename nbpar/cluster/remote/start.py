# mypy: ignore-errors
"""Start the far side on a host, or another program, even if nbpar is not installed there.

The source of this file is sent and executed there, after that of `nbpar/worker/bootstrap.py`.  `p` is what
came with it.
"""

import base64
import importlib
import sys

sys.path[:] = [entry for entry in sys.path if entry]  # not the folder that the login shell is in
try:
    from nbpar.version import __version__ as found
except ImportError:
    found = None
if found != p["version"]:  # noqa: F821 (given)
    _install(base64.b64decode(p["sources"]))  # noqa: F821 (given)
importlib.import_module(p["main"]).main(p["settings"])  # noqa: F821 (given)
