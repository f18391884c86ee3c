"""Tasks of `joblib.Parallel` on their way to a worker: each function is sent once for all its tasks."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from threading import get_ident
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import joblib.parallel
from joblib import parallel_config
from joblib.parallel import SequentialBackend

from nbpar.core.text import full_function_name, function_name
from nbpar.integrations.joblib_sealing import Sealed
from nbpar.integrations.joblib_threads import ThreadLimit
from nbpar.wire.messages import Begin, Load

MOST_FUNCTIONS = 32
"""Functions of one run that are sent ahead of their tasks; further ones travel with each task."""

Task = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]
"""A task as `joblib.delayed` makes it: function, arguments, keyword arguments."""


class _Configuration(dict[str, Any]):
    """What `parallel_config` sets for a thread, as tasks have it."""


_thread: Any = getattr(joblib.parallel, "_backend", None)
"""Where joblib keeps the configuration of a thread.

It is not public, and of a joblib that has it elsewhere `parallel_config` is used, which costs a few
microseconds for each task.
"""


class TaskRunner:
    """Calls a function on a worker as joblib does: calls of `Parallel` within it use the nested backend.

    Args:
        function: of each task; None: each task brings its own.
        nested: joblib's backend for calls within a task, and its number of jobs.
        threads: maximal number of threads of each numerical library; None: those of the worker.
    """

    def __init__(
        self, function: Callable[..., Any] | None, nested: tuple[Any, Any], threads: int | None
    ) -> None:
        self.function = function
        self._nested = nested
        self._threads = threads
        self._configurations: dict[int, _Configuration] = {}
        """By thread: one that works for two calls at a time would mix them up."""

        self._copied = not isinstance(function, (FunctionType, BuiltinFunctionType, MethodType, type))
        self.__name__ = "task" if function is None else function_name(function)
        self.__qualname__ = "task" if function is None else full_function_name(function)

    def __call__(self, item: Any) -> Any:
        if self._threads is None:
            return self._nested_call(item)
        with ThreadLimit(self._threads):
            return self._nested_call(item)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_configurations": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if "nbpar" not in joblib.parallel.BACKENDS:  # tasks may name it
            joblib.register_parallel_backend("nbpar", _serial)

    def _nested_call(self, item: Any) -> Any:
        if type(item) is Sealed:
            item = item.open()
        nested = self._configurations.get(get_ident()) or self._configured()
        if nested is None:
            backend, n_jobs = self._nested
            with parallel_config(backend=backend, n_jobs=n_jobs):
                return self._call(item)
        before = getattr(_thread, "config", None)
        try:
            _thread.config = nested
            return self._call(item)
        finally:
            if before is None or type(before) is _Configuration:  # of a task that was interrupted just here
                del _thread.config
            else:
                _thread.config = before

    def _call(self, item: tuple[Any, ...]) -> Any:
        if len(item) > 2:
            return item[2](*item[0], **item[1])
        # where tasks had objects of their own, each has one again
        function: Any = copy.copy(self.function) if self._copied else self.function
        return function(*item[0]) if len(item) == 1 else function(*item[0], **item[1])

    def _configured(self) -> _Configuration | None:
        """Return the configuration of this thread's tasks; None if joblib keeps it elsewhere."""
        backend, n_jobs = self._nested
        with parallel_config(backend=copy.copy(backend), n_jobs=n_jobs):
            found = getattr(_thread, "config", None)
        if not isinstance(found, dict):
            return None
        known = self._configurations[get_ident()] = _Configuration(found)
        return known


def _serial(*, nesting_level: int | None = None, **_: Any) -> SequentialBackend:
    """Make what the name "nbpar" means within an item, where every pool works serially."""
    return SequentialBackend(nesting_level=nesting_level)


@dataclass(eq=False, slots=True)
class KnownFunction:
    """A function in the form in which workers get it."""

    runner: TaskRunner
    load: Load
    begin: Begin | None
    keeps: tuple[Any, ...] = ()
    """Objects by whose identity it is recognized."""

    def items_of(self, tasks: Sequence[Task]) -> list[tuple[Any, ...]]:
        """Return what is sent for tasks."""
        if self.runner.function is None:
            return [(args, kwargs, function) for function, args, kwargs in tasks]
        return [(args, kwargs) if kwargs else (args,) for _, args, kwargs in tasks]


def key_of(function: Callable[..., Any]) -> tuple[Any, ...]:
    """Return what two functions have in common that are the same for a worker.

    Wrappers as `functools.update_wrapper` makes them are often made anew for each task.
    """
    kind = type(function)
    if isinstance(function, BuiltinFunctionType):
        return kind, id(function.__self__), function.__name__
    parts = parts_of(function)
    return (kind, *((name, id(value)) for name, value in parts)) if parts else (kind, id(function))


def parts_of(function: Callable[..., Any]) -> list[tuple[str, Any]]:
    """Return the attributes of an object that wraps a function; of any other, nothing."""
    if isinstance(function, (FunctionType, type)):
        return []
    own = getattr(function, "__dict__", None)
    return list(own.items()) if type(own) is dict and "__wrapped__" in own else []


def grouped(
    tasks: Sequence[Task], find: Callable[[Callable[..., Any]], KnownFunction]
) -> Iterator[tuple[KnownFunction, list[Task]]]:
    """Yield neighboring tasks of one function together."""
    group: list[Task] = []
    known: KnownFunction | None = None
    last: object = None
    for task in tasks:
        if known is None or task[0] is not last:
            found = find(task[0])
            if known is not None and found is not known:
                yield known, group
                group = []
            known, last = found, task[0]
        group.append(task)
    if known is not None:
        yield known, group
