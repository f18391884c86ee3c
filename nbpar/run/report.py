"""Make the report of a run, importing its dependencies on demand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbpar.core.snapshot import Snapshot

if TYPE_CHECKING:
    from nbpar.core.measures.profile import Profile
    from nbpar.views.report import Report


def report_of(
    snapshot: Snapshot, *, chunksize: int | None, reading: float, profile: Profile | None = None
) -> Report:
    """Return the report of a run.

    Args:
        snapshot: the final figures.
        chunksize: the requested one; None if automatic.
        reading: seconds spent reading its input.
        profile: its profile, if it has one.
    """
    from nbpar.core.analysis import figures_of
    from nbpar.views.pipeline_report import PipelineReport
    from nbpar.views.report import Report

    kind = PipelineReport if snapshot.stages else Report
    figures = figures_of(snapshot, chunksize=chunksize, reading=reading, cpus=_cpus_of(snapshot))
    return kind(snapshot, figures, profile)


def gain_of(snapshot: Snapshot) -> float | None:
    """Return the speed-up of a run over one worker; None if unknown."""
    from nbpar.core.analysis import speed_up
    from nbpar.host.cpus import has_gil

    return speed_up(snapshot, cpus=_cpus_of(snapshot), gil=has_gil())


def _cpus_of(snapshot: Snapshot) -> int | None:
    """Return the number of CPUs that a run's workers share; None for remote workers."""
    from nbpar.host.cpus import usable_cpus
    from nbpar.host.machine import machine

    here = {lane.machine for lane in snapshot.lanes} <= {machine()}
    return usable_cpus() if here else None
