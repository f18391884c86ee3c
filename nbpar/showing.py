"""Show a run while somebody waits for it: its picture, and what its items print."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from nbpar.printing import Printer
from nbpar.run import Run, Watch
from nbpar.views.base import Controls
from nbpar.views.choose import choose


@contextmanager
def shown(
    run: Run, progress: str, *, total: int | None, resize: Callable[[int], None] | None = None
) -> Iterator[Watch]:
    """Show a run for the length of the block; yields what is to be called now and then."""
    controls = Controls(stop=run.cancel, pause=run.pause, resume=run.resume, resize=resize)
    view = choose(progress, controls, label=run.label, total=total)
    printer = Printer()

    def watch() -> None:
        printer.show(run.take_output())
        view.show(run.report)

    try:
        yield watch
    except BaseException:
        run.cancel()  # so that what stays is how it ended
        raise
    finally:
        printer.show(run.take_output())
        printer.close(run.output.left_out)
        view.close(run.report)
