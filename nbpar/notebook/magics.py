"""`%%parallel_map`: the body of a cell, for every item, on the workers of the default pool."""

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

from nbpar.notebook.body import complete
from nbpar.notebook.captured import captured, mentions
from nbpar.notebook.cell import Setting, item_function
from nbpar.notebook.cell_lines import keep_lines, name_of_running_cell, without_own_frames
from nbpar.notebook.loop_line import FORM, Loop, read_loop
from nbpar.notebook.names import assigned_globals
from nbpar.notebook.option_line import OptionLine, misplaced_option, split_options
from nbpar.notebook.options import TAKES_VALUE, magic_with_options, map_options
from nbpar.notebook.place import Place, locate
from nbpar.views import wording

if TYPE_CHECKING:
    from argparse import Namespace
    from types import FunctionType

    from nbpar.notebook.pools import MapPool, Pools

MAGIC = "%%parallel_map"

LABEL = 40
"""Characters of the loop by which a run is called, unless it is given another label."""

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
        """Keep the text of the cell that is about to run (an IPython `pre_run_cell` callback)."""
        self._cell = info.raw_cell

    @magic_with_options("%parallel_map", usage=f"%(prog)s [options] {FORM}")
    def parallel_map(self, line: str, body: str) -> Any:
        """Run the body of the cell for every item, on many workers.

        The body is one iteration of `for TARGETS in EXPRESSION:`.  Its last expression is the
        item's result, as in any cell; `return` works too, and `continue` ends the item with
        None.  The results, in the order of the items, are bound to NAME, or are the output of
        the cell without one.  A `;` at the end of the cell hides its output and changes
        no result.

        Names that the body uses come from the notebook; what it assigns stays local to the
        item.  A name that it reads before it assigns it starts, in each item, with the
        notebook's value.

        Options come first, on the same line::

            %%parallel_map -n 4 --timeout 10 text in texts -> counts
            words = text.lower().split()
            len(set(words))
        """
        __tracebackhide__ = True
        try:
            return self._map(line, body)
        except Exception as error:  # noqa: BLE001 (raised again, with the frames that concern the user)
            raise error.with_traceback(without_own_frames(error))  # noqa: B904 (it is the same one)

    def _map(self, line: str, body: str) -> Any:
        asked, loop, place = self._read(line, body)
        function = self._function(loop, body, place)
        _refuse_assigned_globals(function, asked.backend)
        items = self._items(loop, place)
        if asked.backend == "engines":
            _mention_large(function)
        pool = self._pools.default_pool(workers=asked.workers, backend=asked.backend)
        options = {"label": wording.one_line(loop.written, LABEL), **map_options(asked)}
        return self._deliver(_run(pool, function, items, asked, options), loop, body)

    def _read(self, line: str, body: str) -> tuple[Namespace, Loop, Place]:
        """Understand the magic's line."""
        place = self._place(line, body)
        try:
            parts = split_options(line, TAKES_VALUE)
            loop = read_loop(parts.rest, place.header, place.column(parts.rest.rstrip()))
        except ValueError as error:
            raise UsageError(_with_hint(str(error), line)) from None
        _refuse_misplaced_option(parts)
        parser = self.parallel_map.parser  # type: ignore[attr-defined]  # by its decorator
        return parser.parse_args(list(parts.arguments)), loop, place

    def _place(self, line: str, body: str) -> Place:
        """Find the cell, and have Python find its lines under the name that IPython gives it."""
        text, header = locate(MAGIC, line, body, self._cell)
        name = name_of_running_cell(self._shell) if text == self._cell else None
        if name is None:
            name = self._shell.compile.cache(text, self._shell.execution_count, raw_code=text)
        keep_lines(name, text)
        return Place(name, text, header)

    def _function(self, loop: Loop, body: str, place: Place) -> FunctionType:
        setting = Setting(
            namespace=self._namespace(),
            place=place,
            transform=self._shell.transform_cell,
            flags=self._flags(),
            # The notebook's own is a method of its shell, which cannot travel.
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

    def _items(self, loop: Loop, place: Place) -> Iterable[Any]:
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

    def _deliver(self, results: Any, loop: Loop, body: str) -> Any:
        """Bind the results, or return them for the cell's output."""
        if loop.name is not None:
            self._shell.push({loop.name: results})
            _show_if_under_way(results)
            return None
        return None if _ends_with_semicolon(self._shell.transform_cell(body)) else results


def _run(
    pool: MapPool, function: FunctionType, items: Iterable[Any], asked: Namespace, options: dict[str, Any]
) -> Any:
    if asked.background:
        order = {"ordered": False} if asked.unordered else {}
        return pool.map_async(function, items, **order, **options)
    if asked.unordered:
        return list(pool.imap_unordered(function, items, **options))
    return pool.map(function, items, **options)


def _show_if_under_way(results: Any) -> None:
    """Show a run that goes on when the cell is over, where there is a front end to see it."""
    from nbpar.run import Run

    if isinstance(results, Run):
        results.show_in_cell()


def _mention_large(function: FunctionType) -> None:
    lines = mentions(captured(function))
    if lines:
        display({"text/plain": "\n".join(lines)}, raw=True)


def _refuse_assigned_globals(function: FunctionType, backend: str) -> None:
    """On engines an assigned global would change a copy that the notebook never sees."""
    names = sorted(assigned_globals(function.__code__))
    if names and backend == "engines":
        raise UsageError(
            f"the body assigns `{names[0]}` of the notebook by `global`, but each engine has a copy of it; "
            "return the value as the item's result, or use `--backend threads`"
        )


def _refuse_misplaced_option(parts: OptionLine) -> None:
    option = misplaced_option(parts.rest, TAKES_VALUE)
    if option is not None:
        raise UsageError(f"option `{option}` comes too late; write options first: `{MAGIC} [options] {FORM}`")


def _with_hint(message: str, line: str) -> str:
    """Add what is probably wrong when an option stands behind the loop."""
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
