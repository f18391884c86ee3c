"""Rewrite the body of a loop as the body of a function of one item.

Its last expression becomes the result and `continue` ends the item.  Statements that make no sense
for independent items are rejected, with their line.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, NoReturn, cast

from nbpar.notebook.cell_source import line_numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from nbpar.notebook.cell_source import CellSource


_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_LOOPS = (ast.For, ast.AsyncFor, ast.While)
_AWAITS = (ast.Await, ast.AsyncFor, ast.AsyncWith)


def read_body(source: str, place: CellSource, transform: Callable[[str], str]) -> list[ast.stmt]:
    """The statements of a body, with the line numbers of the cell.

    `transform` turns magics and shell commands into Python.  The last statement, if it is an
    expression, is returned; as in any cell, a compound statement at the end has no value.

    Raises:
        SyntaxError: at its line of the cell.
    """
    statements = _parse(source, place, transform)
    if not statements:
        raise _error(place, None, "the body is empty; write below the magic what happens to one item")
    _refuse_yield(statements, place)
    _Continue(place).visit_all(statements)
    last = statements[-1]
    if isinstance(last, ast.Expr):
        statements[-1] = ast.copy_location(ast.Return(last.value), last)
    return statements


def _parse(source: str, place: CellSource, transform: Callable[[str], str]) -> list[ast.stmt]:
    """Parse as if the lines above the body were blank, so that warnings have the right line too."""
    blank = len(source) - len(source.lstrip("\r\n"))
    above = place.header + source[:blank].count("\n")
    python = transform(source[blank:])
    numbers = line_numbers(source[blank:], python)
    try:
        statements = ast.parse("\n" * above + python, place.filename).body
    except SyntaxError as error:
        _point_into_cell(error, place, numbers, above)
        raise error.with_traceback(None) from None  # it is the cell's, not that of what parses it
    if numbers != list(range(1, len(numbers) + 1)):
        for node in (node for statement in statements for node in ast.walk(statement)):
            _renumber(node, numbers, above)
    return statements


def _renumber(node: ast.AST, numbers: Sequence[int], above: int) -> None:
    for field in ("lineno", "end_lineno"):
        number = getattr(node, field, None)
        if number is not None:
            setattr(node, field, _in_cell(number, numbers, above))


def _in_cell(number: int, numbers: Sequence[int], above: int) -> int:
    """The line of the cell for a line of the transformed body."""
    place = number - above - 1
    if not numbers or place < 0:
        return number
    return above + (numbers[place] if place < len(numbers) else numbers[-1])


def _point_into_cell(error: SyntaxError, place: CellSource, numbers: Sequence[int], above: int) -> None:
    """Set an error's line to the one the user typed."""
    if error.lineno is None:
        return
    error.lineno = _in_cell(error.lineno, numbers, above)
    if error.end_lineno is not None:
        error.end_lineno = max(error.lineno, _in_cell(error.end_lineno, numbers, above))
    error.text = place.line(error.lineno) or error.text


def complete(error: SyntaxError, place: CellSource) -> SyntaxError:
    """Give an error that Python found while compiling the text of its line, without frames of ours."""
    if error.lineno is not None and not error.text:
        error.text = place.line(error.lineno) or None
    return error.with_traceback(None)


def _error(place: CellSource, node: ast.stmt | ast.expr | None, message: str) -> SyntaxError:
    number, column = (node.lineno, node.col_offset + 1) if node is not None else (place.header, 1)
    return SyntaxError(message, (place.filename, number, column, place.line(number)))


def _refuse_yield(statements: Sequence[ast.AST], place: CellSource) -> None:
    """Reject `yield` outside nested functions: a call has one result, at its end."""
    for node in _outside_functions(statements):
        if isinstance(node, ast.Yield | ast.YieldFrom):
            reason = "an item has one result; collect values in a list and make it the last expression"
            raise _error(place, node, f"`yield` cannot stand in the body of a parallel map: {reason}")


def waits(statements: Sequence[ast.AST]) -> bool:
    """Whether there is an `await`, `async for` or `async with` outside nested functions."""
    return any(
        isinstance(node, _AWAITS) or (isinstance(node, ast.comprehension) and node.is_async)
        for node in _outside_functions(statements)
    )


def _outside_functions(nodes: Sequence[ast.AST]) -> Iterator[ast.AST]:
    """Yield all nodes but those inside nested functions."""
    for node in nodes:
        yield node
        if not isinstance(node, _FUNCTIONS):
            yield from _outside_functions(list(ast.iter_child_nodes(node)))


class _Continue(ast.NodeTransformer):
    """Makes the loop's `continue` end the item."""

    def __init__(self, place: CellSource) -> None:
        self.place = place

    def visit_all(self, statements: list[ast.stmt]) -> None:
        """Change a list of statements in place."""
        statements[:] = [cast("ast.stmt", self.visit(statement)) for statement in statements]

    def visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, (*_FUNCTIONS, ast.ClassDef, ast.expr)):
            return node
        if isinstance(node, _LOOPS):
            self.visit_all(node.orelse)  # which belongs to the outer loop
            return node
        if isinstance(node, ast.Continue):
            return ast.copy_location(ast.Return(None), node)
        if isinstance(node, ast.Break):
            self._refuse(node)
        return self.generic_visit(node)

    def _refuse(self, node: ast.Break) -> NoReturn:
        reason = "items run at the same time, so none can end the loop; `continue` ends the item"
        raise _error(self.place, node, f"`break` cannot stand in the body of a parallel map: {reason}")
