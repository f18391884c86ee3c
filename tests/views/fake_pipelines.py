"""Pipelines that never ran: a fake run for each stage."""

from __future__ import annotations

from fake_runs import FakeRun

from nbpar.core import events
from nbpar.core.snapshot import Snapshot, StageFigures
from nbpar.core.stages import StageFailure, whole


class FakePipeline:
    """Stages over the same items, each a `FakeRun` on two workers that all of them share."""

    def __init__(self, *names: str, total: int | None = 12) -> None:
        self.runs = [FakeRun(total, label=name) for name in names]
        self.waiting = [0] * len(names)
        self.failures: list[StageFailure] = []

    def work(self, stage: int, worker: str = "0", count: int = 12, seconds: float = 0.1) -> None:
        """Let a stage do its next items."""
        self.runs[stage].work(worker, count, seconds)

    def fail(self, stage: int, index: int, item: object, error: Exception) -> None:
        """Let an item fail in a stage."""
        name = run_name(self.runs[stage])
        failure = StageFailure(index, item, error, stage=name, place=stage, batch=0, batch_size=4)
        self.failures.append(failure)
        self.runs[-1].tell(events.ItemFailed(self.runs[-1].now, failure))

    def finish(self, state: str = "done") -> Snapshot:
        now = max(run.now for run in self.runs)
        for run in self.runs:
            run.now = now
            run.finish(state)
        return self.snapshot()

    def snapshot(self) -> Snapshot:
        now = max(run.now for run in self.runs)
        stages = [
            StageFigures(
                run_name(run),
                place,
                "engines",
                2,
                True,
                self.waiting[place],
                None,
                run.progress.snapshot(now),
            )
            for place, run in enumerate(self.runs)
        ]
        label = " | ".join(stage.name for stage in stages)
        return whole(self.runs[-1].progress.snapshot(now), label, stages, [], len(self.failures))


def run_name(run: FakeRun) -> str:
    return run.snapshot().label
