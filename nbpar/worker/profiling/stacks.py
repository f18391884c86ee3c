"""The stacks of user code in a thread's frames, and the seconds spent in each."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from types import CodeType, FrameType

from nbpar.host.frames import is_own
from nbpar.wire.messages import StacksSampled
from nbpar.worker.execution import Execution

MOST_STACKS = 2000
"""Maximal number of distinct stacks of a run that wait to be sent."""

MOST_LINES = 20_000
"""Maximal number of instructions whose lines are remembered."""

DEEPEST = 100
"""Maximal number of frames in a stack: half of them outermost, half innermost."""

LINE_UNKNOWN = 0

Stack = tuple[int, ...]
"""Identity of a code object and line, alternately, from the outermost frame to the innermost."""

ITEM = Execution.ATTEMPT
"""The code of the frame below which the frames of an ordinary item are."""


def frames_of(frame: FrameType | None) -> list[FrameType]:
    """Return a thread's frames, the outermost first."""
    frames = []
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back
    frames.reverse()
    return frames


def nested_items(frames: Sequence[FrameType]) -> int:
    """Return how many ordinary items run in these frames, one inside another."""
    return sum(frame.f_code is ITEM for frame in frames)


def frames_of_item(frames: Sequence[FrameType], level: int) -> Sequence[FrameType]:
    """Return the frames of the user's code in an ordinary item; none if no such item runs.

    Args:
        frames: a thread's, the outermost first.
        level: how many items are around that one.
    """
    for place, frame in enumerate(frames):
        if frame.f_code is ITEM:
            if not level:
                return without_own(frames[place + 1 :])
            level -= 1
    return ()


def without_own(frames: Sequence[FrameType], also: tuple[str, ...] = ()) -> Sequence[FrameType]:
    """Return frames without nbpar's at their outer end, nor those of the packages in `also`."""
    for place, frame in enumerate(frames):
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if not is_own(frame) and package not in also:
            return frames[place:]
    return ()


class StackSamples:
    """Seconds by stack of one run's items on one worker, since they were last taken; thread-safe."""

    def __init__(self, run: int) -> None:
        self.run = run
        self._lock = threading.Lock()
        self._begin()

    def _begin(self) -> None:
        self._seconds: dict[Stack, float] = {}
        self._codes: dict[int, CodeType] = {}  # keeps them, so that their identities stay valid
        self._lines: dict[tuple[int, int], int] = {}
        self._samples = 0
        self._left_out = 0.0

    def add(self, frames: Sequence[FrameType], seconds: float) -> None:
        """Add a sample, which stands for these seconds."""
        if len(frames) > DEEPEST:
            frames = [*frames[: DEEPEST // 2], *frames[-DEEPEST // 2 :]]
        with self._lock:
            stack = tuple(self._numbers(frames))
            self._samples += 1
            if stack in self._seconds:
                self._seconds[stack] += seconds
            elif len(self._seconds) < MOST_STACKS:
                self._seconds[stack] = seconds
            else:
                self._left_out += seconds

    def _numbers(self, frames: Sequence[FrameType]) -> Iterator[int]:
        """Yield a stack; lines, which are slow to find, are looked up once for each instruction."""
        if len(self._lines) > MOST_LINES:
            self._lines.clear()
        for frame in frames:
            code, at = frame.f_code, frame.f_lasti
            number = id(code)
            line = self._lines.get((number, at))
            if line is None:
                self._codes[number] = code
                line = self._lines[number, at] = frame.f_lineno or LINE_UNKNOWN
            yield number
            yield line

    def take(self) -> StacksSampled | None:
        """Return what was added since the last time as a message; None if there is nothing."""
        if not self._samples:
            return None
        with self._lock:
            seconds, codes, samples, left_out = self._seconds, self._codes, self._samples, self._left_out
            self._begin()
        places: dict[tuple[int, int], int] = {}
        stacks = tuple(
            (tuple(places.setdefault(place, len(places)) for place in _pairs(stack)), spent)
            for stack, spent in seconds.items()
        )
        named = tuple(_named(codes[code], line) for code, line in places)
        return StacksSampled(self.run, named, stacks, samples, left_out)


def _pairs(stack: Stack) -> Iterator[tuple[int, int]]:
    """Yield each code with its line."""
    return zip(stack[::2], stack[1::2], strict=True)


def _named(code: CodeType, line: int) -> tuple[str, str, int, int]:
    """Return file, function, its first line and a line of code."""
    name = getattr(code, "co_qualname", code.co_name)  # Python 3.11
    return code.co_filename, name.rpartition("<locals>.")[2], code.co_firstlineno, line
