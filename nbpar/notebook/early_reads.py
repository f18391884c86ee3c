"""Find names that a loop's body may read before it assigns them.

In a notebook's loop `total = total + x` reads the notebook's `total`.  In a Python function it
fails, because assigning a name makes it local.  To turn a body into a function, one must
know for which names this matters.

The analysis is conservative: a name may be listed although nothing reads it too early.  One
exception keeps values of earlier cells out: a `with` block is assumed to run to its end,
unless it is `suppress(...)`.
"""

from __future__ import annotations

import ast
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Names that certainly have a value; None for unreachable code.
State = frozenset[str] | None


def early_reads(statements: Sequence[ast.stmt]) -> set[str]:
    """Names that some path through `statements` reads or deletes before it assigns them."""
    flow = _Flow()
    flow.run(statements)
    return flow.early


def _meet(*states: State) -> State:
    """The names bound on every one of several paths."""
    reached = [state for state in states if state is not None]
    return frozenset.intersection(*reached) if reached else None


class _Flow(ast.NodeVisitor):
    """Visits a body in the order of execution."""

    def __init__(self) -> None:
        self.early: set[str] = set()
        self.bound: State = frozenset()
        self.breaks: list[list[State]] = []

    def run(self, statements: Sequence[ast.AST]) -> State:
        """Visit some nodes from here; returns the state at their end."""
        for statement in statements:
            self.visit(statement)
        return self.bound

    def branch(self, start: State, statements: Sequence[ast.AST]) -> State:
        """Visit some nodes from another state."""
        self.bound = start
        return self.run(statements)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Ignore names bound inside for the code afterwards."""
        before = self.bound
        yield
        self.bound = before

    def bind(self, name: str | None) -> None:
        if self.bound is not None and name is not None:
            self.bound |= {name}

    def read(self, name: str) -> None:
        if self.bound is not None and name not in self.bound:
            self.early.add(name)

    # -- names ----------------------------------------------------------------------------

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Store):
            return self.bind(node.id)
        self.read(node.id)
        if isinstance(node.ctx, ast.Del) and self.bound is not None:
            self.bound -= {node.id}
        return None

    def visit_Assign(self, node: ast.Assign) -> None:
        self.run([node.value, *node.targets])

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self.read(node.target.id)
        self.run([node.value, node.target])

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        # Python does not evaluate the annotation of a local name.
        if node.value is not None:
            self.run([node.value, node.target])

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.run([node.value, node.target])

    def visit_alias(self, node: ast.alias) -> None:
        self.bind(node.asname or node.name.partition(".")[0])

    # -- expressions that may run partly --------------------------------------------------

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        self.visit(node.values[0])
        with self.aside():
            self.run(node.values[1:])

    def visit_Compare(self, node: ast.Compare) -> None:
        self.run([node.left, node.comparators[0]])
        with self.aside():
            self.run(node.comparators[1:])

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self.visit(node.test)
        start = self.bound
        self.bound = _meet(self.branch(start, [node.body]), self.branch(start, [node.orelse]))

    def visit_ListComp(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp) -> None:
        self._comprehension(node.generators, [node.elt])

    visit_SetComp = visit_ListComp  # noqa: N815 (names that ast gives)
    visit_GeneratorExp = visit_ListComp  # noqa: N815

    def visit_DictComp(self, node: ast.DictComp) -> None:
        self._comprehension(node.generators, [node.key, node.value])

    def _comprehension(self, generators: list[ast.comprehension], elements: list[ast.expr]) -> None:
        self.visit(generators[0].iter)
        with self.aside():
            for place, generator in enumerate(generators):
                self.run([*([generator.iter] if place else []), generator.target, *generator.ifs])
            self.run(elements)

    # -- functions and classes ------------------------------------------------------------

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.run([*node.decorator_list, *_annotations(node)])
        self.bind(node.name)  # before its body, which may call itself
        self._function(node.args, node.body)

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._function(node.args, [node.body])

    def _function(self, arguments: ast.arguments, body: Sequence[ast.AST]) -> None:
        """A function may be called as soon as it exists, so its reads count from there on."""
        self.run([*arguments.defaults, *(default for default in arguments.kw_defaults if default)])
        with self.aside():
            for argument in ast.walk(arguments):
                if isinstance(argument, ast.arg):
                    self.bind(argument.arg)
            self.run(body)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.run([*node.decorator_list, *node.bases, *node.keywords])
        with self.aside():
            self.run(node.body)
        self.bind(node.name)

    # -- statements -----------------------------------------------------------------------

    def visit_Return(self, node: ast.Return | ast.Raise | ast.Continue) -> None:
        self.generic_visit(node)
        self.bound = None

    visit_Raise = visit_Return  # noqa: N815
    visit_Continue = visit_Return  # noqa: N815

    def visit_Break(self, _node: ast.Break) -> None:
        if self.breaks:
            self.breaks[-1].append(self.bound)
        self.bound = None

    def visit_Assert(self, node: ast.Assert) -> None:
        self.visit(node.test)
        if node.msg is not None:
            with self.aside():
                self.visit(node.msg)

    def visit_If(self, node: ast.If) -> None:
        self.visit(node.test)
        start = self.bound
        self.bound = _meet(self.branch(start, node.body), self.branch(start, node.orelse))

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self.visit(node.iter)
        self._loop([node.target, *node.body], node.orelse, endless=False)

    visit_AsyncFor = visit_For  # noqa: N815

    def visit_While(self, node: ast.While) -> None:
        self.visit(node.test)
        endless = isinstance(node.test, ast.Constant) and bool(node.test.value)
        self._loop(node.body, node.orelse, endless=endless)

    def _loop(self, body: Sequence[ast.AST], orelse: Sequence[ast.AST], *, endless: bool) -> None:
        start = self.bound
        self.breaks.append([])
        self.branch(start, body)
        exits = self.breaks.pop()
        self.bound = _meet(self.branch(None if endless else start, orelse), *exits)

    def visit_Try(self, node: ast.Try) -> None:
        start = self.bound
        ends = [self.branch(start, [*node.body, *node.orelse])]
        ends.extend(self.branch(start, [handler]) for handler in node.handlers)
        self.branch(start, node.finalbody)  # it also runs after an error
        self.branch(_meet(*ends), node.finalbody)

    visit_TryStar = visit_Try  # noqa: N815

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.type is not None:
            self.visit(node.type)
        self.bind(node.name)
        self.run(node.body)
        if self.bound is not None and node.name is not None:
            self.bound -= {node.name}

    def visit_With(self, node: ast.With | ast.AsyncWith) -> None:
        self.run(node.items)
        if any(map(_suppresses, node.items)):
            with self.aside():
                self.run(node.body)
        else:
            self.run(node.body)

    visit_AsyncWith = visit_With  # noqa: N815

    def visit_Match(self, node: ast.Match) -> None:
        self.visit(node.subject)
        start = self.bound
        ends = [self.branch(start, [case]) for case in node.cases]
        self.bound = _meet(*ends) if _takes_anything(node.cases[-1]) else _meet(start, *ends)

    def visit_MatchAs(self, node: ast.MatchAs | ast.MatchStar) -> None:
        self.generic_visit(node)
        self.bind(node.name)

    visit_MatchStar = visit_MatchAs  # noqa: N815

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        self.generic_visit(node)
        self.bind(node.rest)


def _annotations(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.expr]:
    """The annotations of a function, which are evaluated where it is defined."""
    arguments = [part for part in ast.walk(node.args) if isinstance(part, ast.arg)]
    return [part for part in (*(argument.annotation for argument in arguments), node.returns) if part]


def _suppresses(item: ast.withitem) -> bool:
    names = (getattr(part, "id", getattr(part, "attr", "")) for part in ast.walk(item.context_expr))
    return "suppress" in names


def _takes_anything(case: ast.match_case) -> bool:
    return case.guard is None and isinstance(case.pattern, ast.MatchAs) and case.pattern.pattern is None
