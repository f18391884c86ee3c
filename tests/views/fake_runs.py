"""Runs that never took place: events folded by the real Progress."""

from __future__ import annotations

from nbpar.core import events
from nbpar.core.outcome import Failure
from nbpar.core.progress import Progress
from nbpar.core.snapshot import Snapshot
from nbpar.core.transcript import Piece
from nbpar.views.base import Controls


class FakeRun:
    """A run on workers `0`, `1`, ... whose clock the test turns."""

    def __init__(
        self, total: int | None = 12, workers: int = 2, label: str = "count", now: float = 100.0
    ) -> None:
        self.progress = Progress()
        self.now = now
        self.calls = self.joined = 0
        self.next = 0
        self.tell(events.RunStarted(self.now, label, total))
        for worker in range(workers):
            self.join(str(worker))

    def tell(self, event: events.Event) -> None:
        self.progress(event)

    def join(self, worker: str, pid: int | None = None) -> None:
        self.joined += 1
        self.tell(events.WorkerJoined(self.now, worker, "this", pid or 4000 + self.joined))

    def lose(self, worker: str, reason: str = "killed by SIGKILL") -> None:
        self.tell(events.WorkerLost(self.now, worker, reason))

    def pause(self, paused: bool) -> None:
        self.tell(events.RunPaused(self.now, paused))

    def send(self, worker: str, count: int = 1, first: int | None = None) -> int:
        first = self.next if first is None else first
        self.calls += 1
        self.tell(events.ChunkSent(self.now, worker, self.calls, first, count, 1))
        self.next = max(self.next, first + count)
        return self.calls

    def work(
        self, worker: str, count: int = 1, seconds: float = 0.1, fail: dict | None = None, retried: int = 0
    ) -> None:
        """Let a worker do the next items; `fail` has exceptions by index."""
        first = self.next
        call = self.send(worker, count)
        self.now += seconds
        fail = fail or {}
        for index, error in fail.items():
            failure = Failure(index, f"text {index}", error, "Traceback ...", f"saw {index}\n", worker)
            self.tell(events.ItemFailed(self.now, failure))
        self.tell(
            events.ItemsDone(
                self.now,
                worker,
                call,
                first,
                count,
                len(fail),
                retried,
                seconds,
                (seconds / count,) * count,
                100 * count,
                50_000_000,
                True,
                count,
            )
        )

    def print(self, index: int, text: str) -> None:
        self.tell(events.ItemPrinted(self.now, Piece(index, "stdout", text)))

    def finish(self, state: str = "done") -> Snapshot:
        self.tell(events.RunFinished(self.now, state))
        return self.snapshot()

    def snapshot(self) -> Snapshot:
        return self.progress.snapshot(self.now)


def finished(count: int = 12, **more) -> Snapshot:
    """A run of `count` items that went well but for what `more` says."""
    run = FakeRun(count)
    run.work("0", count, **more)
    return run.finish()


class Pressed:
    """Controls that note what was pressed."""

    def __init__(self, resize: bool = True) -> None:
        self.log: list = []
        self.controls = Controls(
            stop=lambda: self.log.append("stop"),
            pause=lambda: self.log.append("pause"),
            resume=lambda: self.log.append("resume"),
            resize=self.log.append if resize else None,
            skip=self._skip,
        )

    def _skip(self, item: int) -> None:
        if item > 50:
            raise IndexError(item)
        self.log.append(f"skip {item}")
