"""Say which stage limits a pipeline, why, and what one more worker there would bring."""

from __future__ import annotations

from nbpar.core.analysis import Figures, Finding
from nbpar.core.progress import Snapshot
from nbpar.core.stages import Bottleneck, bottleneck
from nbpar.core.units import percent, plural, seconds

IDLE = 0.5
"""A share of the limiting stage's time below which it is not what limits."""

WORTH = 1.05
"""How many times as fast it must become for a worker to be worth it."""

COMPUTES = 0.5
"""CPU seconds for a second in the function from which it computes, rather than waits."""


def limit_of(snapshot: Snapshot, figures: Figures) -> Finding | None:
    """Return what limits a pipeline; None before any outcome."""
    found = bottleneck(snapshot.stages)
    if found is None:
        return None
    if figures.reading > max(found.load, IDLE) * figures.elapsed:
        read = f"reading it took {seconds(figures.reading)} of {seconds(figures.elapsed)}"
        return Finding("input", f"the input limits, no stage does: {read}", "make it produce faster")
    if found.load < IDLE:
        busy = f"even `{found.stage.name}` was at work for {percent(found.load)} of its time only"
        return Finding("nothing", f"no stage limits, {busy}", "whoever takes the results may be slow")
    return Finding("stage", _because(found), _advice(found, figures))


def _because(found: Bottleneck) -> str:
    stage, busy = found.stage, f"busy for {percent(min(found.load, 1.0))} of the time"
    each = f"`{stage.name}` limits with {seconds(stage.seconds_per_item)} an item"
    workers = plural(stage.workers, "worker")
    if stage.shared:
        return f"{each} of {seconds(found.seconds * stage.workers)} for all stages on their {workers}, {busy}"
    return f"{each} on {workers}, {busy}"


def _advice(found: Bottleneck, figures: Figures) -> str:
    stage = found.stage
    if stage.backend == "serial":
        return "it runs in this thread: give it a worker, and it no longer waits for the others"
    if found.gain < WORTH:
        return "one more worker there would bring little, because another stage is about as slow: help both"
    brings = f"one more worker there would make the pipeline about {found.gain:.1f} times as fast"
    if stage.backend == "threads":
        return f"{brings}, as far as it releases the GIL"
    if _cpus_are_full(figures):
        own = f"all {figures.cpus} are at work, so make `{stage.name}` itself faster"
        return f"{brings}, if there were a CPU for it; {own}"
    return brings


def _cpus_are_full(figures: Figures) -> bool:
    computes = figures.cpu > COMPUTES * figures.computing
    return figures.cpus is not None and computes and figures.workers >= figures.cpus
