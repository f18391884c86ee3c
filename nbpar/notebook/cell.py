"""Turn a cell into a function of one item.

The function is an ordinary one: its globals are the notebook's namespace, so that cloudpickle
sends exactly the objects it uses, and its lines are those of the cell, so that tracebacks and
debuggers show the cell.

It keeps the meaning that the body has in a loop where a Python function would differ:

- A name that the body assigns is local to the item, but where it may be read first
  (`total = total + x`) it starts with its value in the notebook.
- `continue` ends the item.
- With `await`, `async for` or `async with` the function is async: many items wait at once.

It differs from the loop where independent items must: `break` and `yield` are errors, and an item
does not see assignments of the item before it.
"""

from __future__ import annotations

import ast
import builtins
import sys
from dataclasses import dataclass, field
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any, cast

from nbpar.notebook.body import complete, read_body, waits
from nbpar.notebook.captured import class_names, global_names
from nbpar.notebook.early_reads import early_reads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nbpar.notebook.cell_source import CellSource

FUNCTION_NAME = "parallel_map"


def unchanged(source: str) -> str:
    """The transformation of a body that is plain Python."""
    return source


@dataclass(frozen=True, slots=True)
class CellContext:
    """The environment of a body."""

    namespace: dict[str, Any]
    """The notebook's names, which become the globals of the function."""

    place: CellSource
    """Position of the magic."""

    transform: Callable[[str], str] = unchanged
    """Turns magics and shell commands into Python."""

    flags: int = 0
    """Compiler flags of active `from __future__` imports."""

    instead: Mapping[str, object] = field(default_factory=dict)
    """Values that replace the notebook's for some names in the body."""


def item_function(targets: ast.expr, body: str, setting: CellContext) -> FunctionType:
    """Make the function that runs `body` for one item bound to `targets`.

    Raises:
        SyntaxError: in the body, at its line of the cell.
    """
    statements = read_body(body, setting.place, setting.transform)
    argument, unpacking = _receive(targets, statements)
    whole = [*unpacking, *statements]
    code = _compile(argument, whole, (), setting)
    values = _starting_values(argument, whole, code, setting)
    if values:
        code = _compile(argument, whole, tuple(values), setting)
    function = FunctionType(_as_cell(code), setting.namespace, FUNCTION_NAME)
    function.__qualname__ = FUNCTION_NAME
    function.__kwdefaults__ = values or None
    function.__module__ = "__main__"  # cloudpickle pickles functions without an importable module by value
    return function


def _receive(targets: ast.expr, statements: list[ast.stmt]) -> tuple[str, list[ast.stmt]]:
    """The name of the function's argument, and the statement that unpacks it into the targets."""
    if isinstance(targets, ast.Name):
        return targets.id, []
    argument = _unused("item", [targets, *statements])
    assignment = ast.Assign([targets], ast.Name(argument, ast.Load()))
    ast.copy_location(assignment, targets)
    ast.copy_location(assignment.value, targets)
    return argument, [assignment]


def _unused(name: str, nodes: Sequence[ast.AST]) -> str:
    """A name that occurs in no node."""
    taken = _declared_global(nodes) | {
        part.id for node in nodes for part in ast.walk(node) if isinstance(part, ast.Name)
    }
    while name in taken:
        name += "_"
    return name


def _declared_global(nodes: Sequence[ast.AST]) -> set[str]:
    parts = (part for node in nodes for part in ast.walk(node))
    return {name for part in parts if isinstance(part, ast.Global) for name in part.names}


def _starting_values(
    argument: str, statements: list[ast.stmt], code: CodeType, setting: CellContext
) -> dict[str, Any]:
    """Initial values of names that the body may read before assigning.

    These are names that may be read early, names read only by the body of a class
    (which cloudpickle omits), and those replaced by `instead`.
    """
    local = {*code.co_varnames, *code.co_cellvars}
    shared = local | _declared_global(statements)
    early = (early_reads(statements) & local) - {argument}
    notebook = {**vars(builtins), **setting.namespace}
    values = {name: notebook[name] for name in early if name in notebook}
    values |= {
        name: setting.namespace[name] for name in class_names(code) - shared if name in setting.namespace
    }
    used = (global_names(code) | values.keys()) - _declared_global(statements)
    values |= {name: value for name, value in setting.instead.items() if name in used}
    return dict(sorted(values.items()))


def _compile(
    argument: str, statements: list[ast.stmt], starting: tuple[str, ...], setting: CellContext
) -> CodeType:
    """Compile the function's definition, which spans the whole cell, and extract its code."""
    place = setting.place
    keywords = "".join(f", {name}=None" for name in starting)
    kind = "async def" if waits(statements) else "def"
    text = f"{kind} {FUNCTION_NAME}({argument}{', *' if starting else ''}{keywords}): pass"
    module = ast.parse(text)
    definition = cast("ast.FunctionDef | ast.AsyncFunctionDef", module.body[0])
    definition.body = statements
    definition.end_lineno = statements[-1].end_lineno
    definition.end_col_offset = statements[-1].end_col_offset
    try:
        outer = compile(module, place.filename, "exec", flags=setting.flags, dont_inherit=True)
    except SyntaxError as error:
        raise complete(error, place) from None
    return next(part for part in outer.co_consts if isinstance(part, CodeType))


def _as_cell(code: CodeType) -> CodeType:
    """Make tracebacks treat the body as a cell, as if the loop had run there.

    IPython 9 asks `inspect` for the lines of each frame of a kernel, and gets only the
    first line of a function that does not start with `def`.  The frames of a cell have all lines.
    """
    if sys.version_info >= (3, 11):
        return code.replace(co_name="<module>", co_qualname="<module>")
    return code.replace(co_name="<module>")
