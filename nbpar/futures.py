"""A run of one item as a standard future."""

from __future__ import annotations

from concurrent.futures import CancelledError, Future
from typing import Any

from nbpar.run import Run


class RunFuture(Future[Any]):
    """The future of `Pool.submit`; it can be cancelled even while the function runs."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self._run = run
        self.set_running_or_notify_cancel()
        run.when_over(self._settle)

    def cancel(self) -> bool:
        """Stop the call, also while it runs; False when it is over."""
        if self.done():
            return False
        self._run.cancel()
        return True

    def running(self) -> bool:
        """Whether the call is under way; False while it waits for a worker."""
        return self._run.begun and not self.done()

    def cancelled(self) -> bool:
        return self._run.state == "stopped"

    def _invoke_callbacks(self) -> None:
        """Call the user's callbacks where they may take their time; Future has no public way to say so."""
        if self._done_callbacks:  # type: ignore[attr-defined]  # neither of them is in the stub
            self._run.tell(super()._invoke_callbacks)  # type: ignore[misc]

    def _settle(self) -> None:
        run = self._run
        if run.state == "stopped":
            self.set_exception(CancelledError())
            return
        try:
            [value] = run.get()
        except BaseException as error:  # noqa: BLE001 (it belongs to whoever waits for the future)
            self.set_exception(error)
        else:
            self.set_result(value)
