"""Workers on other hosts that wait for their pool's files: neither initializer nor calls come before."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from nbpar.backends.base import WorkerId
from nbpar.dispatch.jobs import Jobs
from nbpar.dispatch.workforce import Workforce
from nbpar.host.error_log import log_warning


class PoolFiles(Protocol):
    """Copies a pool's files to the hosts of its workers."""

    def serve(self, dispatcher: Any) -> None:
        """Copy them to this dispatcher's workers from now on."""

    def push(self, *, brief: bool) -> None:
        """Copy what has changed, in the caller's thread; not at once again if it is `brief`."""

    def bring(self) -> None:
        """Copy them to workers that lack them, in a thread; returns at once."""


class AwaitedFiles:
    """Goes on with workers when their hosts have the files.

    Args:
        workforce: all workers.
        jobs: ended if no worker can get them.
        join: gives a worker its first work.
    """

    def __init__(self, workforce: Workforce, jobs: Jobs, join: Callable[[WorkerId], None]) -> None:
        self._workforce = workforce
        self._jobs = jobs
        self._join = join
        self._told = ""
        """The last refusal that was logged."""

    def came(self, workers: Iterable[WorkerId]) -> None:
        """The hosts of these workers have the files."""
        for worker in workers:
            if self._workforce.got_files(worker):
                self._join(worker)

    def refused(self, error: Exception) -> None:
        """Files could not be copied: runs go on without the workers that lack them, if there are others."""
        if set(self._workforce.present) <= set(self._workforce.without_files):
            for job in self._jobs:
                self._jobs.end(job, error)
        elif str(error) != self._told:
            self._told = str(error)
            log_warning("workers take no part until they have the files", error)
