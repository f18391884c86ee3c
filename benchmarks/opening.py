"""Open all peers before anything is timed, and close them all at the end."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.deadline import deadline
from benchmarks.measuring import describe, warm_up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.peer import Peer

ROOT = Path(__file__).resolve().parents[1]
LONGEST_OPEN = 120.0
LONGEST_CLOSE = 30.0


@contextlib.contextmanager
def private_surroundings() -> Iterator[None]:
    """Let workers import this package, use a private IPython directory, handle SIGTERM like Ctrl-C."""
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.environ["IPYTHONDIR"] = folder
        yield


@contextlib.contextmanager
def opened(peers: Sequence[Peer], workers: int, remark: Callable[[Peer, str], None]) -> Iterator[list[Peer]]:
    """Open and warm up the peers, give those that work, and close them all.

    They are opened in reverse order: those that fork are open before others start threads.  Errors
    are reported to `remark`, and keep no other peer from being opened or closed.
    """
    with contextlib.ExitStack() as closing:
        ready: list[Peer] = []
        for peer in reversed(peers):
            closing.callback(_close, peer, remark)
            try:
                with _deaf() if peer.in_our_group else contextlib.nullcontext():
                    with deadline(LONGEST_OPEN):
                        peer.open(workers)
                    warm_up(peer, workers)
            except Exception as error:
                remark(peer, f"left out, {_why(error)}")
            else:
                ready.insert(0, peer)
        yield ready


def _why(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError) and "." not in (error.name or "."):
        return f"not installed ({error})"
    return f"cannot be opened ({describe(error)})"


def _close(peer: Peer, remark: Callable[[Peer, str], None]) -> None:
    try:
        with deadline(LONGEST_CLOSE):
            peer.close()
    except Exception as error:
        remark(peer, f"cannot be closed ({describe(error)})")


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """Let processes that start now inherit that Ctrl-C is not for them, and that SIGTERM is deadly.

    The terminal sends Ctrl-C to the whole process group, but stopping workers is their pool's business.
    Here it is ignored meanwhile too, for about a second.
    """
    # A blocked signal would not be lost, but loky unblocks it and mpire throws it away.
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
    terminate = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, terminate)
        signal.signal(signal.SIGINT, interrupt)
