"""`%%parallel_map`: run the body of a cell for every item, on the default pool or another."""

from __future__ import annotations
import __future__

import ast
import io
import itertools
import tokenize
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

from IPython.core.error import UsageError
from IPython.core.getipython import get_ipython
from IPython.display import display

from nbpar.core import text as wording
from nbpar.core.concurrency import is_async
from nbpar.host.frames import entrance
from nbpar.notebook.body import complete
from nbpar.notebook.captured import assigned_globals, captured, mentions
from nbpar.notebook.cell import CellContext, item_function
from nbpar.notebook.cell_source import CellSource, keep_lines, locate, name_of_running_cell
from nbpar.notebook.magic_line import FORM, LoopLine, OptionLine, misplaced_option, read_loop, split_options
from nbpar.notebook.options import TAKES_VALUE, magic_with_options, map_options
from nbpar.notebook.places import pool_named
from nbpar.pool.lost_changes import warn_of_lost_changes
from nbpar.run.unbegun import beginning

if TYPE_CHECKING:
    from argparse import Namespace
    from types import FunctionType

    from nbpar.notebook.pools import MapPool, Pools
    from nbpar.pool.options import MapOptions

MAGIC = "%%parallel_map"

LABEL = 40
"""Maximal number of characters of the loop in the default label."""

_FUTURE = 0
for _feature in __future__.all_feature_names:
    _FUTURE |= getattr(__future__, _feature).compiler_flag


class ParallelMap:
    """The magic of one shell."""

    def __init__(self, shell: Any, pools: Pools) -> None:
        self._shell = shell
        self._pools = pools
        self._cell: str | None = None

    def remember_cell(self, info: Any) -> None:
        """Save the source of the cell that is about to run (an IPython `pre_run_cell` callback)."""
        self._cell = info.raw_cell

    @magic_with_options("%parallel_map", usage=f"%(prog)s [options] {FORM}")
    @entrance
    def parallel_map(self, line: str, body: str) -> Any:
        """Run the body of the cell for every item, on many workers.

        The body is one iteration of `for TARGETS in EXPRESSION:`.  Its last expression is the
        item's result, as in any cell; `return` works too, and `continue` ends the item with
        None.  The results, in the order of the items, are bound to NAME, or are the output of
        the cell without one.  A `;` at the end of the cell hides its output and changes
        no result.

        Names that the body uses come from the notebook; names it assigns are local to the
        item.  A name that it reads before it assigns it starts, in each item, with the
        notebook's value.

        Options come first, on the same line::

            %%parallel_map -n 4 --timeout 10 text in texts -> counts
            words = text.lower().split()
            len(set(words))
        """
        return self._map(line, body)

    def _map(self, line: str, body: str) -> Any:
        asked, loop, place = self._read(line, body)
        named = pool_named(asked.pool, self._namespace(), asked.backend) if asked.pool else None
        backend = self._backend(asked, named)
        function = self._function(loop, body, place)
        _refuse_vain_concurrency(function, asked)
        _refuse_assigned_globals(function, backend)
        warn_of_lost_changes(function, starting=function.__kwdefaults__, shared=backend != "engines")
        items = self._items(loop, place)
        if backend == "engines":
            _mention_large(function)
        options = {"label": wording.one_line(loop.written, LABEL), **map_options(asked)}
        with beginning(lambda: options["label"]):
            pool = (
                self._pools.pool_for(asked.backend, cast("MapOptions", options)) if named is None else named
            )
        return self._deliver(_run(pool, function, items, asked, options), loop, body)

    def _backend(self, asked: Namespace, named: MapPool | None) -> str:
        """Return the kind of workers that the items run on; these need not run yet."""
        if named is None and asked.backend == "engines" and (used := self._pools.used_place()) is not None:
            named = used.pool
        return str(asked.backend) if named is None else named.backend

    def _read(self, line: str, body: str) -> tuple[Namespace, LoopLine, CellSource]:
        """Parse the magic's line."""
        place = self._place(line, body)
        try:
            parts = split_options(line, TAKES_VALUE)
            parser = self.parallel_map.parser  # type: ignore[attr-defined]  # by its decorator
            options = parser.parse_args(list(parts.arguments))
            loop = read_loop(parts.rest, place.header, place.column(parts.rest.rstrip()))
        except ValueError as error:
            raise UsageError(_with_hint(str(error), line)) from None
        _refuse_misplaced_option(parts)
        return options, loop, place

    def _place(self, line: str, body: str) -> CellSource:
        """Find the cell, and register its lines with Python under IPython's name for it."""
        text, header = locate(MAGIC, line, body, self._cell)
        name = name_of_running_cell(self._shell) if text == self._cell else None
        if name is None:
            name = self._shell.compile.cache(text, self._shell.execution_count, raw_code=text)
        keep_lines(name, text)
        return CellSource(name, text, header)

    def _function(self, loop: LoopLine, body: str, place: CellSource) -> FunctionType:
        setting = CellContext(
            namespace=self._namespace(),
            place=place,
            transform=self._shell.transform_cell,
            flags=self._flags(),
            # The notebook's own is a method of its shell, which cannot be pickled.
            instead={"get_ipython": get_ipython},
        )
        return item_function(loop.targets, body, setting)

    def _namespace(self) -> dict[str, Any]:
        """The user's names; in an embedded shell these are two dictionaries."""
        names, outer = self._shell.user_ns, self._shell.user_global_ns
        joined: dict[str, Any] = names if names is outer else {**outer, **names}
        return joined

    def _flags(self) -> int:
        """The `from __future__` imports of earlier cells."""
        return int(self._shell.compile.flags) & _FUTURE

    def _items(self, loop: LoopLine, place: CellSource) -> Iterable[Any]:
        try:
            code = compile(
                ast.Expression(loop.expression), place.filename, "eval", self._flags(), dont_inherit=True
            )
        except SyntaxError as error:
            raise complete(error, place) from None
        items: Any = eval(code, self._namespace())  # noqa: S307 (the user's own expression, in the user's own session)
        if isinstance(items, Iterable) or hasattr(type(items), "__getitem__"):
            return cast("Iterable[Any]", items)
        raise UsageError(_not_iterable(loop.source, items))

    def _deliver(self, results: Any, loop: LoopLine, body: str) -> Any:
        """Bind the results, or return them for the cell's output."""
        if loop.name is not None:
            self._shell.push({loop.name: results})
            _show_if_under_way(results)
            return None
        if _ends_with_semicolon(self._shell.transform_cell(body)) or _all_none(results):
            return None
        return results


def _run(
    pool: MapPool, function: FunctionType, items: Iterable[Any], asked: Namespace, options: dict[str, Any]
) -> Any:
    if asked.background:
        return pool.map_async(function, items, ordered=not asked.unordered, **options)
    if asked.unordered:
        return list(pool.imap_unordered(function, items, **options))
    return pool.map(function, items, **options)


def _all_none(results: Any) -> bool:
    """Whether there is nothing to show, because all results are None."""
    return isinstance(results, list) and bool(results) and all(value is None for value in results)


def _show_if_under_way(results: Any) -> None:
    """Show a run that continues after the cell, if there is a front end."""
    from nbpar.run.run import Run

    if isinstance(results, Run):
        results.show_in_cell()


def _mention_large(function: FunctionType) -> None:
    lines = mentions(captured(function))
    if lines:
        display({"text/plain": "\n".join(lines)}, raw=True)


def _refuse_assigned_globals(function: FunctionType, backend: str) -> None:
    """Reject assigned globals: on engines they would change a copy, invisible to the notebook."""
    names = sorted(assigned_globals(function.__code__))
    if names and backend == "engines":
        raise UsageError(
            f"the body assigns `{names[0]}` of the notebook by `global`, but each engine has a copy of it; "
            "return the value as the item's result, or use `--backend threads`"
        )


def _refuse_vain_concurrency(function: FunctionType, asked: Namespace) -> None:
    """Reject `--concurrency` for a body that never waits by `await`: its items run one after another."""
    if asked.concurrency is not None and not is_async(function):
        raise UsageError(
            "option `--concurrency` is for a body with `await`, `async for` or `async with`; items of this "
            "one run one after another on each worker: use more workers (`-n`), or `asyncio.to_thread`"
        )


def _refuse_misplaced_option(parts: OptionLine) -> None:
    option = misplaced_option(parts.rest, TAKES_VALUE)
    if option is not None:
        raise UsageError(f"option `{option}` comes too late; write options first: `{MAGIC} [options] {FORM}`")


def _with_hint(message: str, line: str) -> str:
    """Add a hint to the message if an option follows the loop."""
    words = line.split()
    late = [word for before, word in itertools.pairwise(words) if word in TAKES_VALUE and " in " in line]
    loop_first = bool(words) and not words[0].startswith("-")
    return f"{message}; options such as `{late[0]}` come before the loop" if late and loop_first else message


def _not_iterable(source: str, items: object) -> str:
    kind = type(items).__name__
    if hasattr(items, "__aiter__"):
        step = f"collect it in a cell before: `items = [item async for item in {source}]`"
    elif isinstance(items, int):
        step = f"did you mean `range({source})`?"
    else:
        step = "give a list, a generator or anything else that `for` can go through"
    return f"`{source}` is of type {kind!r}, which cannot be iterated; {step}"


def _ends_with_semicolon(source: str) -> bool:
    """Whether the last token of a cell is `;`."""
    layout = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.ENDMARKER, tokenize.DEDENT}
    tokens = [
        token for token in tokenize.generate_tokens(io.StringIO(source).readline) if token.type not in layout
    ]
    return bool(tokens) and tokens[-1].string == ";"
