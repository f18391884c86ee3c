"""The sampling profile of a run: functions, a flame picture, and the user's own lines with their shares."""

from __future__ import annotations

import linecache
import re
import sys
import sysconfig
from collections.abc import Sequence
from functools import cache, cached_property
from html import escape
from pathlib import Path

from nbpar.core import text as wording
from nbpar.core.measures.profile import Flame, FunctionTime, LineTime, Profile, flames
from nbpar.core.tables import html_table, isolated, text_table
from nbpar.views.picture import WIDTH, Picture

FUNCTIONS = 12
"""Maximal number of functions in the table."""

LEAST = 0.005
"""Share of all seconds below which a function or line is left out."""

MOST_LINES = 80
"""Maximal number of source lines of a file."""

ROW = 17
"""Height of a function in the picture, in pixels."""

LETTER = 6.4
"""Width of a letter there, about."""

OWN, OTHERS, LETTERS = "#e8a33d", "#8db9dd", "#111"
"""Colors of the user's functions, of all others, and of the names in them, which no theme changes."""

_CELL = "padding:.1em 1.2em .1em 0"
_CODE = "font-family:monospace;white-space:pre;padding:0 1em 0 0;text-align:left"
_HOT = "background:rgba(232,163,61,{:.2f})"


class ProfileReport:
    """Where the items of a run have spent their time; displayed in notebooks and terminals.

    Attributes:
        profile: all figures: `stacks`, `functions`, `lines`, `seconds`, `samples`, `left_out`, `folded()`.
    """

    def __init__(self, profile: Profile) -> None:
        self.profile = profile

    @property
    def functions(self) -> list[FunctionTime]:
        """The functions, those with the most seconds of their own first."""
        return self.profile.functions

    @property
    def lines(self) -> list[LineTime]:
        """The lines, likewise."""
        return self.profile.lines

    @cached_property
    def own_lines(self) -> list[LineTime]:
        """The lines of notebook cells, scripts and other code of the user, in order of file and line."""
        own = (line for line in self.profile.lines if is_of_user(line.file))
        return sorted(own, key=lambda line: (line.file, line.line))

    @property
    def svg(self) -> str:
        """The flame picture as the content of a file."""
        return self._picture().svg

    def folded(self) -> str:
        """Return the stacks as text for other tools: flamegraph.pl, inferno, speedscope."""
        return self.profile.folded()

    def __repr__(self) -> str:
        lines = [self._title()]
        if self.profile.stacks:
            table = [("self", "total", "function"), *((own, all_, name) for own, all_, name in self._table())]
            lines += [f"  {line}" for line in text_table([(f"{a:>6}", f"{b:>6}", c) for a, b, c in table])]
        for file, rows in self._sources():
            lines += ["", f"lines of {file}"]
            lines += [f"  {share:>6}  {number:>4}  {source}".rstrip() for share, number, source, _ in rows]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        parts = [f'<div role="heading" aria-level="3">{isolated(self._title())}</div>']
        if self.profile.stacks:
            heads = ("self", "total", "function")
            parts.append(html_table(heads, self._table(), cell=_CELL, right=(0, 1), own=(2,)))
            parts.append(self._picture().html)
        parts += [_listing(file, rows) for file, rows in self._sources()]
        return f'<div class="nbpar-profile">{"".join(parts)}</div>'

    def _title(self) -> str:
        profile = self.profile
        if not profile.samples:
            return "profile: no samples; items of a few milliseconds in all are too short"
        samples = wording.plural(profile.samples, "sample")
        title = f"profile: {wording.seconds(profile.seconds)} of items, {samples}"
        if not profile.left_out:
            return title
        return f"{title}; {self._share(profile.left_out)} in stacks that were too many to be kept"

    def _share(self, seconds: float) -> str:
        return wording.percent(seconds / self.profile.seconds)

    def _table(self) -> list[tuple[str, str, str]]:
        least = LEAST * self.profile.seconds
        return [
            (self._share(row.self_seconds), self._share(row.total_seconds), _named(row))
            for row in self.profile.functions[:FUNCTIONS]
            if row.self_seconds >= least or row.total_seconds >= least
        ]

    def _sources(self) -> list[tuple[str, list[_SourceLine]]]:
        """Return the user's files with the lines of sampled functions, and the share of each line."""
        by_file: dict[str, list[LineTime]] = {}
        for line in self.own_lines:
            if line.total_seconds >= LEAST * self.profile.seconds:
                by_file.setdefault(line.file, []).append(line)
        return [(shown_file(file), self._listed(file, lines)) for file, lines in by_file.items()]

    def _listed(self, file: str, lines: Sequence[LineTime]) -> list[_SourceLine]:
        shares: dict[int, float] = {}
        for line in lines:
            shares[line.line] = shares.get(line.line, 0.0) + line.total_seconds / self.profile.seconds
        starts = {row.first_line for row in self.functions if row.file == file and row.first_line > 0}
        numbers = sorted({*shares, *_between(starts, shares)})
        if len(numbers) > MOST_LINES:
            numbers = sorted(sorted(shares, key=lambda number: -shares[number])[:MOST_LINES])
        return [
            (
                wording.percent(min(shares[number], 1.0)) if number in shares else "",
                number,
                linecache.getline(file, number).rstrip(),
                min(shares.get(number, 0.0), 1.0),
            )
            for number in numbers
        ]

    def _picture(self) -> Picture:
        found = flames(self.profile.stacks)
        top = max((flame.depth for flame in found), default=0)
        drawn = "".join(_rectangle(flame, top) for flame in found)
        return Picture(drawn, ROW * (top + 1), self._spoken())

    def _spoken(self) -> str:
        rows = self.profile.functions[:5]
        said = (f"{row.function} {self._share(row.self_seconds)}" for row in rows)
        return f"Time by function, callers below what they call. Of their own: {'; '.join(said)}"


_SourceLine = tuple[str, int, str, float]
"""Share as text, number, source, share."""


def _between(starts: set[int], shares: dict[int, float]) -> set[int]:
    """Return the lines from the beginning of each function to the last of its sampled lines."""
    found: set[int] = set()
    for number in shares:
        start = max((first for first in starts if first <= number), default=number)
        found.update(range(start, number))
    return found


def is_of_user(file: str) -> bool:
    """Whether a file is a notebook's cell, or Python code outside of the installed packages."""
    if (entry := linecache.cache.get(file)) is not None and len(entry) > 1 and entry[1] is None:
        return True  # in memory only
    return not file.startswith("<") and not file.startswith(_libraries()) and Path(file).is_file()


@cache
def _libraries() -> tuple[str, ...]:
    own = str(Path(__file__).resolve().parents[1])
    paths = sysconfig.get_paths()
    folders = {own, *(paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib"))}
    folders |= {path for path in sys.path if path.endswith(("site-packages", "dist-packages"))}
    return tuple(sorted(f"{folder}/" for folder in folders))


def shown_file(file: str) -> str:
    """Return a short name of a file: its last two parts; a notebook's cell by what IPython calls it."""
    from nbpar.host.shell import this_shell

    name_of = getattr(getattr(this_shell(), "compile", None), "format_code_name", None)
    named = name_of(file) if callable(name_of) else None
    if named:
        return " ".join(named)
    if re.search(r"ipykernel_\d+|<ipython-input-", file):
        return "a cell"
    return "/".join(file.replace("\\", "/").rsplit("/", 2)[-2:])


def _named(row: FunctionTime) -> str:
    return f"{row.function} ({shown_file(row.file)}:{row.first_line})"


def _rectangle(flame: Flame, top: int) -> str:
    left, width = flame.start * WIDTH, (flame.stop - flame.start) * WIDTH
    above = (top - flame.depth) * ROW
    color = OWN if is_of_user(flame.place.file) else OTHERS
    shape = (
        f'<rect x="{left:.1f}" y="{above}" width="{max(width - 1, 0.5):.1f}" height="{ROW - 1}"'
        f' rx="1" style="fill:{color}"/>'
    )
    room = int((width - 6) / LETTER)
    if room < 3:
        return shape
    name = flame.place.function
    name = name if len(name) <= room else f"{name[: room - 1]}…"
    style = f"font:11px sans-serif;fill:{LETTERS}"
    return f'{shape}<text x="{left + 3:.1f}" y="{above + ROW - 5}" style="{style}">{escape(name)}</text>'


def _listing(file: str, rows: Sequence[_SourceLine]) -> str:
    """Return source lines as HTML, the more time a line took the more colored."""
    body = "".join(
        f'<tr style="{_HOT.format(0.6 * share) if share else ""}">'
        f'<td style="text-align:right;{_CELL}">{escape(said)}</td>'
        f'<td style="{_CODE}">{number}</td><td style="{_CODE}">{isolated(source)}</td></tr>'
        for said, number, source, share in rows
    )
    heads = "".join(f'<th scope="col">{head}</th>' for head in ("total", "line", "source"))
    return (
        f'<table><caption style="text-align:left">lines of {isolated(file)}</caption>'
        f"<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"
    )
