"""Status of gateways, as a table."""

from __future__ import annotations

from dataclasses import dataclass

from nbpar.core.tables import html_table, text_table
from nbpar.core.text import plural

COLUMNS = ("gateway", "worker", "host", "pid", "state", "channels")


@dataclass(frozen=True, slots=True)
class GatewayStatus:
    """The known facts of a gateway at a moment."""

    id: str
    """Its name in its group."""

    worker: str
    """The worker's name."""

    host: str | None
    """Host of the worker; None before anything has run on it."""

    pid: int | None
    """Its process id."""

    here: bool
    """Whether the worker is present."""

    numchannels: int
    """Number of open channels."""

    numexecuting: int
    """Number of channels whose code runs or is queued."""

    runs: str = ""
    """What else it runs: labels of maps and submitted calls."""

    @property
    def state(self) -> str:
        """The state in one word."""
        return "gone" if not self.here else "running" if self.numexecuting or self.runs else "idle"

    def row(self) -> tuple[str, ...]:
        """One line of the table."""
        known = (self.id, self.worker, self.host, self.pid, self.state, self.numchannels)
        return tuple("" if cell is None else str(cell) for cell in known)

    def __str__(self) -> str:
        return f"{self.worker}, {self.state}, {plural(self.numchannels, 'channel')}"


@dataclass(frozen=True, slots=True)
class Table:
    """Several gateways."""

    rows: tuple[GatewayStatus, ...]
    """One for each."""

    def text(self) -> str:
        """Lines for a terminal."""
        return "\n".join(text_table([COLUMNS, *(row.row() for row in self.rows)]))

    def html(self) -> str:
        """A table for a notebook."""
        return html_table(COLUMNS, [row.row() for row in self.rows])
