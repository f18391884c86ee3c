"""Distinguish installed modules from the user's own, which may change during a session."""

from __future__ import annotations

import sys
import sysconfig
from functools import cache
from pathlib import Path
from types import CodeType, ModuleType

_INSTALLED = {"site-packages", "dist-packages"}


def importable(thing: object) -> ModuleType | None:
    """Return the module from which other processes can import this very object; None if there is none."""
    module = sys.modules.get(getattr(thing, "__module__", None) or "__main__")
    if module is None or module.__name__ in ("__main__", "__mp_main__"):
        return None
    found: object = module
    for name in getattr(thing, "__qualname__", "").split("."):
        found = getattr(found, name, None)
    return module if found is thing else None


def own_modules(module: ModuleType) -> list[tuple[str, Path]]:
    """Return name and file of a module and of its imports, as far as they are the user's own."""
    found: dict[str, Path] = {}
    pending = [module]
    while pending:
        here = pending.pop()
        path = _file(here)
        if here.__name__ in found or path is None or _installed(str(path)):
            continue
        found[here.__name__] = path
        for value in list(vars(here).values()):
            other = value if isinstance(value, ModuleType) else _home(value)
            if other is not None and other.__name__ != "__main__":
                pending.append(other)
    return sorted(found.items())


def compiled(path: Path) -> CodeType | bytes:
    """Return the code of a module's file; its bytes if it cannot be compiled."""
    source = path.read_bytes()
    try:
        return compile(source, "<module>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return source


def _home(value: object) -> ModuleType | None:
    name = getattr(value, "__module__", None) if isinstance(value, type) or callable(value) else None
    return sys.modules.get(name) if isinstance(name, str) else None


def _file(module: ModuleType) -> Path | None:
    name = getattr(module, "__file__", None)
    return Path(name) if isinstance(name, str) and name.endswith(".py") and Path(name).is_file() else None


@cache
def _installed(path: str) -> bool:
    places = sysconfig.get_paths()
    roots = [places["stdlib"], places["platstdlib"], str(Path(__file__).parents[1])]
    return bool(_INSTALLED & set(Path(path).parts)) or any(Path(path).is_relative_to(root) for root in roots)
