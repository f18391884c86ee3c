"""Runs for people to look at: simulated work in real time, with buttons that work."""

from __future__ import annotations

import random
import sys
import threading
import time
from functools import partial
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / "views")]

from fake_runs import FakeRun  # noqa: E402

from nbpar.core import events  # noqa: E402
from nbpar.core.outcome import Failure  # noqa: E402
from nbpar.views.base import Controls  # noqa: E402
from nbpar.views.choose import choose  # noqa: E402


class Play:
    """A run whose workers take random times, until everything is done or Stop is pressed."""

    def __init__(
        self,
        total=4000,
        workers=4,
        mean=0.4,
        chunk=8,
        fails=(),
        dies_at=None,
        label="count_words",
        history=0.0,
        names="{}",
        dies_every=None,
        low=False,
    ):
        self.run = FakeRun(total, workers=0, label=label, now=time.monotonic() - history)
        self.total, self.mean, self.chunk, self.fails, self.dies_at = total, mean, chunk, set(fails), dies_at
        self.begun = self.run.now
        self.random = random.Random(4)
        self.due: dict[str, tuple] = {}
        self.paused = self.stopped = False
        self.names, self.joined, self.dies_every = names, 0, dies_every
        self.returned: list[tuple[int, int]] = []
        self.resize(workers)
        if low:
            self.run.tell(events.MemoryLow(self.run.now, True, 400_000_000))

    def resize(self, by):
        for _ in range(by):
            name = self.names.format(self.joined)
            self.run.join(name)
            self.due[name] = None
            self.joined += 1
        for _ in range(-by):
            self.lose(list(self.due)[-1])

    def lose(self, worker):
        call = self.due.pop(worker)
        if call is not None:
            self.returned.append(call[2:4])
        self.run.lose(worker)

    def pause(self, paused=True):
        self.paused = paused
        self.run.pause(paused)

    def stop(self):
        self.stopped = True

    @property
    def over(self):
        return self.stopped or not (self.waiting or any(self.due.values()))

    @property
    def waiting(self):
        return self.returned or self.run.next < self.total

    def advance(self, upto):
        """Let everything happen that is due by then."""
        while True:
            for worker, call in self.due.items():
                if call is None and not self.paused and self.waiting:
                    self.give(worker)
            coming = [(call[0], worker) for worker, call in self.due.items() if call]
            if not coming or min(coming)[0] > upto:
                break
            self.take(min(coming)[1])
            if self.dies_at is not None and self.run.now - self.begun > self.dies_at:
                self.dies_at = None if self.dies_every is None else self.dies_at + self.dies_every
                self.lose(next(iter(self.due)))
                self.run.now += 0.05
                self.resize(1)
        self.run.now = max(upto, self.run.now)

    def give(self, worker):
        fresh = self.run.next, min(self.chunk, self.total - self.run.next)
        first, count = self.returned.pop() if self.returned else fresh
        call, seconds = self.run.send(worker, count, first), self.random.lognormvariate(0, 0.6) * self.mean
        self.due[worker] = (self.run.now + seconds, call, first, count, seconds)

    def take(self, worker):
        at, call, first, count, seconds = self.due[worker]
        self.due[worker], self.run.now = None, at
        bad = sorted(self.fails & set(range(first, first + count)))
        for index in bad:
            kind, line = (KeyError, 7) if index % 41 == 40 else (ValueError, 3)
            error = kind(f"no words in line {index}")
            place = f'  File "<cell 3>", line {line}, in count_words'
            text = f"Traceback (most recent call last):\n{place}\n{kind.__name__}: {error}\n"
            self.run.tell(
                events.ItemFailed(
                    at, Failure(index, f"text {index}", error, text, f"reading {index}\n", worker, 1.2)
                )
            )
        if self.random.random() < 0.1:
            self.run.print(first, f"text {first} has {self.random.randint(10, 999)} words\n")
        done = (
            count,
            len(bad),
            0,
            seconds,
            (),
            count * 1800,
            int(48e6 + 9e6 * self.random.random()),
            True,
            self.chunk,
        )
        self.run.tell(events.ItemsDone(at, worker, call, first, *done))


def play(progress="widget", **more):
    """Show a play in this cell; returns how it ended."""
    play = Play(**more)
    return _show(play, _view(play, progress))


def play_in_background(progress="widget", **more):
    """Show a play under this cell and return at once; returns the thread that shows it."""
    play = Play(**more)
    view = _view(play, progress, background=True)
    thread = threading.Thread(target=_show, args=(play, view))
    thread.start()
    return thread


def play_together(number, progress="widget", **more):
    """Show several plays in this cell until one of them ends."""
    plays = [Play(label=f"run {i}", **more) for i in range(number)]
    views = [_view(play, progress) for play in plays]
    while not any(play.over for play in plays):
        for play, view in zip(plays, views, strict=True):
            play.advance(time.monotonic())
            view.show(play.run.snapshot)
        time.sleep(0.05)
    for play, view in zip(plays, views, strict=True):
        view.close(partial(play.run.finish, "stopped" if play.stopped else "done"))


def _view(play, progress, **more):
    controls = Controls(play.stop, play.pause, lambda: play.pause(False), play.resize)
    return choose(progress, controls, label=play.run.snapshot().label, total=play.total, **more)


def _show(play, view):
    try:
        while not play.over:
            play.advance(time.monotonic())
            view.show(play.run.snapshot)
            time.sleep(0.05)
    except KeyboardInterrupt:
        play.stop()
    state = "stopped" if play.stopped else "done"
    view.close(lambda: play.run.finish(state))
    return state
