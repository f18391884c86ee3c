"""How much of a run may begin on a worker: by its rate, and by what its items need of their host."""

from __future__ import annotations

import sys

from nbpar.core.chunking import Chunk
from nbpar.core.scheduling.needs import Host
from nbpar.core.scheduling.runstate import RunState


def chunk_for(
    run: RunState, worker: str, host: Host, workers: int, now: float, *, idle: bool
) -> Chunk | None:
    """Return a run's next chunk for a worker, one of a number of workers, or None if there is none now.

    Its call holds what it needs from then on.
    """
    if (claim := run.claim) is None:
        return _permitted(run, worker, workers, now, idle=idle)
    if run.idle(now) or not claim.begin(worker, host):
        return None
    most = 1 if run.chunker.concurrency else sys.maxsize  # each of these counts
    if (chunk := _permitted(run, worker, workers, now, idle=idle, most=most)) is None:
        claim.end(worker)
    return chunk


def starved_chunk_for(run: RunState, worker: str, host: Host, now: float) -> Chunk | None:
    """Return, likewise, a chunk of a run that is to be tried with nothing else on a host."""
    if (claim := run.claim) is not None and not claim.begin(worker, host):
        return None
    chunk = run.starved.popleft()
    fit = len(chunk.items) if claim is None or not run.chunker.concurrency else 1
    if run.gate is not None:
        fit = run.gate.take(fit, now)
    if fit < len(chunk.items):
        run.starved.appendleft(chunk.rest(fit))
    if not fit and claim is not None:
        claim.end(worker)
    return chunk.head(fit) if fit else None


def _permitted(
    run: RunState, worker: str, workers: int, now: float, *, idle: bool, most: int = sys.maxsize
) -> Chunk | None:
    """Return the next chunk of at most `most` items, and of not more than the rate lets begin now."""
    if (gate := run.gate) is not None:
        if run.idle(now) or (free := gate.available(now)) < 1:
            return None
        most = min(most, max(free // max(workers, 1), 1))
    if (chunk := run.next_chunk(worker, workers, now, idle=idle, most=most)) is None:
        return None
    fit = len(chunk.items) if run.claim is None or not run.chunker.concurrency else 1
    if gate is not None:
        fit = gate.take(min(fit, free), now)  # others may share the rate
    if fit < len(chunk.items):
        run.put_back(chunk.rest(fit))
    return chunk.head(fit) if fit else None
