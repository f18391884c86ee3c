"""Show a run while somebody waits for it: its picture, and what its items print."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from nbpar.printing import Printer
from nbpar.run import REFRESH, Run, Watch
from nbpar.views.base import Controls
from nbpar.views.choose import choose
from nbpar.worker.inside import inside_item


@contextmanager
def shown(
    run: Run, progress: str, *, total: int | None, resize: Callable[[int], None] | None = None
) -> Iterator[Watch]:
    """Show a run for the length of the block; yields what is to be called now and then.

    Inside an item of another run nothing is shown.
    """
    controls = Controls(stop=run.request_stop, pause=run.pause, resume=run.resume, resize=resize)
    view = choose("none" if inside_item() else progress, controls, label=run.label, total=total)
    printer = Printer()
    run.show_output = printer.show

    due = 0.0

    def watch() -> None:
        nonlocal due
        if (now := time.monotonic()) < due:
            return  # while results keep flowing it is called for every chunk
        due = now + 0.8 * REFRESH
        printer.show(run.take_output())
        view.show(lambda: run.snapshot)

    try:
        yield watch
    except BaseException:
        run.cancel()  # so that what stays is how it ended
        raise
    finally:
        printer.show(run.take_output())
        printer.close(run.output.left_out)
        view.close(lambda: run.snapshot)
