"""Limit the threads of numerical libraries during a task, as `inner_max_num_threads` of joblib asks for.

joblib starts workers with variables in their environment.  nbpar's are running already, so limits are set
in libraries that are loaded (by threadpoolctl, which scikit-learn brings, and by numba and numexpr
themselves), and variables for those that the task loads.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from nbpar.host.cpus import THREAD_VARIABLES
from nbpar.host.world import set_variable


class ThreadLimit:
    """At most a number of threads for each library during a `with` block; then as many as before."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._restore = ExitStack()

    def __enter__(self) -> None:
        number = self._number
        with ExitStack() as restore:
            for name in THREAD_VARIABLES:
                restore.callback(set_variable, name, os.environ.get(name))
                os.environ[name] = str(number)
            if (controller := _loaded.controller()) is not None:
                restore.enter_context(controller.limit(limits=number))
            for name in ("numba", "numexpr"):
                if (change := _setter_of(name)) is not None:
                    restore.callback(change, change(number))
            self._restore = restore.pop_all()

    def __exit__(self, *exc_info: object) -> None:
        self._restore.close()


class _Loaded:
    """The libraries that are loaded: they are searched, which takes long, when there are new modules."""

    def __init__(self) -> None:
        self._modules = -1
        self._controller: Any = None

    def controller(self) -> Any:
        """Return what limits them; None without threadpoolctl."""
        if self._modules != len(sys.modules):
            try:
                from threadpoolctl import ThreadpoolController
            except ImportError:
                return None
            self._controller = ThreadpoolController()
            self._modules = len(sys.modules)
        return self._controller


_loaded = _Loaded()


def _setter_of(name: str) -> Callable[[int], int] | None:
    """Return a function that sets a loaded library's number of threads and returns the one before."""
    module: Any = sys.modules.get(name)
    if module is None or not hasattr(module, "set_num_threads"):
        return None

    def change(number: int) -> int:
        if name == "numexpr":
            return int(module.set_num_threads(number))
        before = int(module.get_num_threads())
        module.set_num_threads(min(number, module.config.NUMBA_NUM_THREADS))
        return before

    return change
