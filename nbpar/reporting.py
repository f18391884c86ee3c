"""Make the report of a run; loads what that needs only when somebody asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbpar.core.progress import Snapshot

if TYPE_CHECKING:
    from nbpar.views.run_report import Report


def report_of(snapshot: Snapshot, *, chunksize: int | None, reading: float) -> Report:
    """Return the report of a run.

    Args:
        snapshot: what was counted.
        chunksize: what was asked for; None when nbpar chose.
        reading: seconds that its input took to be read.
    """
    import socket

    from nbpar.cluster.limits import usable_cpus
    from nbpar.core.analysis import figures_of
    from nbpar.views.pipeline_report import PipelineReport
    from nbpar.views.run_report import Report

    here = {lane.host for lane in snapshot.lanes} <= {socket.gethostname()}
    cpus = usable_cpus() if here else None
    kind = PipelineReport if snapshot.stages else Report
    return kind(snapshot, figures_of(snapshot, chunksize=chunksize, reading=reading, cpus=cpus))
