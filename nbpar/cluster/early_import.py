"""Import what parses Python while it is imported, before a thread of ours would.

Until 3.11.9 and 3.12.4 CPython counts how deep it is in a syntax tree once for all threads, so of two
that are in `ast.parse` at the same time one gets a SystemError (gh-106905).  One module of ipyparallel
parses a signature; imported in the background it could fail there, or have the user's code fail.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

_NAME = "ipyparallel.serialize.codeutil"


def import_what_parses() -> None:
    """Import that module alone, because all of ipyparallel takes long; its package finds it there later."""
    package = None if _NAME in sys.modules else find_spec("ipyparallel")
    if package is None or package.origin is None:
        return
    file = Path(package.origin).parent / "serialize" / "codeutil.py"
    spec = spec_from_file_location(_NAME, file)
    if not file.exists() or spec is None or spec.loader is None:
        return
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules[_NAME] = module
