"""Find the global names that a piece of compiled code uses."""

from __future__ import annotations

import dis
from typing import TYPE_CHECKING

from nbpar.core.nested_code import with_nested

if TYPE_CHECKING:
    from types import CodeType

_READS = frozenset({"LOAD_GLOBAL"})
_WRITES = frozenset({"STORE_GLOBAL", "DELETE_GLOBAL"})
# The body of a class, which looks into the class first and into the globals then.
_CLASS_READS = frozenset({"LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})


def global_names(code: CodeType) -> set[str]:
    """Names that the code, or functions defined in it, read or assign in their globals.

    These are the names that cloudpickle ships with a function.
    """
    return _names(code, _READS | _WRITES)


def assigned_globals(code: CodeType) -> set[str]:
    """Names that the code declares `global` and assigns or deletes."""
    return _names(code, _WRITES)


def class_names(code: CodeType) -> set[str]:
    """Names that the bodies of classes in the code read, from the class or from the globals.

    cloudpickle does not ship these.
    """
    return _names(code, _CLASS_READS) - {"__name__"}


def _names(code: CodeType, operations: frozenset[str]) -> set[str]:
    return {
        instruction.argval
        for part in with_nested(code)
        for instruction in dis.get_instructions(part)
        if instruction.opname in operations
    }
