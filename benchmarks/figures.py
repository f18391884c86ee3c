"""Turn measurements into sections of the table, and into verdicts on nbpar's promises."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.table import Row, Section, Verdict, rate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.measuring import Growth, Measurement

    Lookup = Mapping[tuple[str, str], Measurement]

MEMORY_BOUND = 50.0
SCALES: Mapping[str, Callable[[Measurement, float], str]] = {
    "items/s": lambda one, seconds: rate(one.items / seconds),
    "s": lambda one, seconds: f"{seconds:.3f} s",
    "ms": lambda one, seconds: f"{1000 * seconds:.2f} ms",
}


def section(measurements: Sequence[Measurement], names: Mapping[str, str]) -> Section:
    """Make one workload's section; the figures are compared with the reference's or the ideal."""
    workload = measurements[0].workload
    reference = next((one for one in measurements if one.peer == workload.reference and one.seconds), None)
    against = f"/ {workload.reference or 'ideal'}"
    rows = [_row(one, names[one.peer], _relation(one, reference)) for one in measurements]
    title = f"{workload.title}, {measurements[0].workers} workers"
    return Section(title, ("items", "best", "median", against), tuple(rows))


def _row(one: Measurement, name: str, relation: float | None) -> Row:
    if one.problem or not one.seconds:
        return Row(name, note=one.problem or "not measured")
    scale = SCALES[one.workload.unit]
    relative = "" if relation is None else f"{relation:.2f}"
    note = "fewer items, it is slow" if one.items < one.workload.items else ""
    return Row(name, (f"{one.items:,}", scale(one, one.best), scale(one, one.median), relative), note)


def _relation(one: Measurement, reference: Measurement | None) -> float | None:
    """Rate over rate, time over time; with the best of each, but small maps by their medians."""
    if not one.seconds:
        return None
    if one.workload.reference is None:
        ideal = one.workload.ideal(one.items, one.workers)
        return None if ideal is None else one.best / ideal
    if reference is None:
        return None
    if one.workload.unit == "items/s":
        return speed(one) / speed(reference)
    return one.median / reference.median


def speed(one: Measurement) -> float:
    """Items per second of the best call."""
    return one.items / one.best


def memory_section(growths: Sequence[Growth], names: Mapping[str, str]) -> Section:
    """Make the section on memory."""
    rows = [
        Row(names[one.peer], note=one.problem)
        if one.problem
        else Row(
            names[one.peer],
            (
                f"{one.items:,}",
                rate(one.items / one.seconds),
                f"{one.client:+.1f} MiB",
                f"{one.workers:+.1f} MiB",
            ),
        )
        for one in growths
    ]
    return Section("no-op, imap streams", ("items", "rate", "memory here", "of a worker"), tuple(rows))


def verdicts(measurements: Sequence[Measurement], growths: Sequence[Growth]) -> list[Verdict]:
    """Compare measurements with our promises."""
    found = {(one.workload.key, one.peer): one for one in measurements}
    ratios = [
        ("no-op map, nbpar / Pool.map", "noop", "nbpar", "pool", 0.8),
        ("chunks of one item, nbpar / Pool.imap", "single", "nbpar", "pool", 3.0),
        (
            "the same, nbpar through the controller / ipyparallel",
            "single",
            "nbpar-controller",
            "ipyparallel",
            15,
        ),
        ("5,000 submitted calls, nbpar / ProcessPoolExecutor", "submit", "nbpar", "executor", 1.0),
    ]
    return [
        *[
            _ratio(what, found.get((key, ours)), found.get((key, theirs)), bound)
            for what, key, ours, theirs, bound in ratios
        ],
        _near_ideal(found.get(("busy", "nbpar")), 1.05),
        _small_map(found.get(("small", "nbpar")), 3.0),
        *[_flat(growth) for growth in growths],
    ]


def _ratio(what: str, ours: Measurement | None, theirs: Measurement | None, bound: float) -> Verdict:
    if missing := _missing(what, ours) or _missing(what, theirs):
        return missing
    ratio = speed(ours) / speed(theirs)
    return Verdict(f"{what}: {ratio:.2f} (at least {bound:g})", ratio >= bound)


def _near_ideal(ours: Measurement | None, bound: float) -> Verdict:
    what = "1 ms of computing, nbpar / ideal"
    if missing := _missing(what, ours):
        return missing
    relation = _relation(ours, None)
    return Verdict(f"{what}: {relation:.3f} (at most {bound})", relation <= bound)


def _small_map(ours: Measurement | None, bound: float) -> Verdict:
    what = "map(f, range(4)) on a warm pool, median"
    if missing := _missing(what, ours):
        return missing
    milliseconds = 1000 * ours.median
    return Verdict(f"{what}: {milliseconds:.2f} ms (at most {bound:g} ms)", milliseconds <= bound)


def _missing(what: str, one: Measurement | None) -> Verdict | None:
    """Return a verdict if there are no figures: not measured (None), or failed (promise not kept)."""
    if one is not None and one.problem:
        return Verdict(f"{what}: {one.peer} failed, {one.problem}", kept=False)
    return None if one is not None and one.seconds else Verdict(f"{what}: not measured", None)


def _flat(growth: Growth) -> Verdict:
    what = f"memory while imap streams, {growth.peer}"
    if growth.problem:
        return Verdict(f"{what}: {growth.problem}", kept=False)
    most = max(growth.client, growth.workers)
    text = f"{growth.client:+.1f} MiB here, {growth.workers:+.1f} MiB in a worker"
    return Verdict(f"{what}: {text} (below {MEMORY_BOUND:g} MiB)", most < MEMORY_BOUND)
