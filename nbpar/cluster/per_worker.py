"""Environment variables that differ from worker to worker: a device for each, and what the user gives."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from nbpar.core.checks import at_least, environment_variables
from nbpar.core.text import plural, short
from nbpar.host.devices.visible import VISIBLE, Devices, devices_here, given_by_name

GPUS = 'gpus must be None, "auto", a number of devices or a list of them, as [0, 1] or ["GPU-5d5ba0d6"]'

PER_WORKER = "per_worker must be a list of dicts of environment variables, or a function of a worker's number"


class PerWorker:
    """The variables of each worker, by its slot: a number from 0, which its replacement takes over.

    Thread-safe.  A function is called once for each slot, so a replacement gets the same.

    Args:
        given: a dict for each worker, or a function that returns one; None for none.
        devices: the variables of each device; workers get them in turn.
    """

    def __init__(
        self,
        given: tuple[Mapping[str, str], ...] | Callable[[int], Any] | None,
        devices: tuple[Mapping[str, str], ...],
    ) -> None:
        self._given = given
        self._devices = devices
        self._lock = threading.Lock()
        self._known: dict[int, dict[str, str]] = {}
        self.names: set[str] = {name for each in devices for name in each}
        """The names of all variables that any worker has; it grows."""

        if isinstance(given, tuple):
            self.names.update(name for each in given for name in each)

    @property
    def devices(self) -> bool:
        """Whether each worker has a device of its own."""
        return bool(self._devices)

    @property
    def number(self) -> int | None:
        """The number of workers that follows from it: of the dicts, else of the devices."""
        return len(self._given) if isinstance(self._given, tuple) else len(self._devices) or None

    def of(self, slot: int) -> dict[str, str]:
        """Return the variables of the worker in a slot.

        Raises:
            TypeError, ValueError: the user's function returned something else.
        """
        with self._lock:
            if slot not in self._known:
                device = self._devices[slot % len(self._devices)] if self._devices else {}
                self._known[slot] = {**self._of_user(slot), **device}
                self.names.update(self._known[slot])
            return self._known[slot]

    def check(self, workers: int, *, exact: bool = False) -> None:
        """Raise unless it serves a number of workers, up to that of its dicts; `exact`: that very number.

        Raises:
            ValueError: there are too few or too many dicts.
            TypeError, ValueError: or as of `of`.
        """
        given = self._given
        if isinstance(given, tuple) and (workers > len(given) or (exact and workers != len(given))):
            raise ValueError(
                f"per_worker has {plural(len(given), 'dict')} for {plural(workers, 'worker')}; give one for "
                'each, or a function that serves any number: `lambda i: {"NAME": str(i)}`'
            )
        for slot in range(workers):
            self.of(slot)

    def _of_user(self, slot: int) -> dict[str, str]:
        given = self._given
        if given is None:
            return {}
        if isinstance(given, tuple):
            return dict(given[slot % len(given)])
        try:
            returned = given(slot)
        except Exception as error:
            raise ValueError(f"per_worker({slot}) raised {type(error).__name__}: {error}") from error
        variables = dict(environment_variables(f"per_worker({slot})", returned))
        self._check_device(variables)
        return variables

    def _check_device(self, variables: Mapping[str, str]) -> None:
        if taken := sorted({name for each in self._devices for name in each} & variables.keys()):
            raise ValueError(f"per_worker sets {taken[0]}, and so does gpus=; leave one of them out")


def per_worker_of(gpus: Any, per_worker: Any, env: Mapping[str, str] | None) -> PerWorker | None:
    """Return the variables of each worker that a user asks for; None if all have the same.

    Args:
        gpus: as of `Pool`.
        per_worker: likewise.
        env: variables of all workers; what it says of devices counts as this process's own.

    Raises:
        TypeError, ValueError: one is invalid, or there are no such devices; the message says what there is.
    """
    if isinstance(per_worker, PerWorker):
        return per_worker
    if gpus is None and per_worker is None:
        return None
    given = None if per_worker is None else _given(per_worker)
    made = PerWorker(given, () if gpus is None else _devices(gpus, {**os.environ, **(env or {})}))
    for variables in given if isinstance(given, tuple) else ():
        made._check_device(variables)  # noqa: SLF001 (of our own kind)
    return made


def _given(per_worker: Any) -> tuple[dict[str, str], ...] | Callable[[int], Any]:
    if callable(per_worker):
        return per_worker  # type: ignore[no-any-return]  # what it returns is checked at each call
    if isinstance(per_worker, (str, bytes, Mapping)) or not isinstance(per_worker, Iterable):
        hint = "; variables of all workers are env=" if isinstance(per_worker, Mapping) else ""
        raise TypeError(f"{PER_WORKER}, was {short(per_worker)}{hint}")
    given = tuple(dict(environment_variables(f"per_worker[{i}]", it)) for i, it in enumerate(per_worker))
    if not given:
        raise ValueError(f"{PER_WORKER}, was empty")
    return given


def _devices(gpus: Any, environment: Mapping[str, str]) -> tuple[dict[str, str], ...]:
    """Return the variables for each device that is asked for."""
    wanted = _wanted(gpus)
    there = devices_here(environment)
    if not there.names:
        raise ValueError(_no_device(gpus, there))
    seen = (
        f"this process sees {plural(len(there.names), 'device')}: {', '.join(there.names)} ({there.source})"
    )
    if isinstance(wanted, int):
        if wanted > len(there.names):
            raise ValueError(f"gpus={wanted}, but {seen}; more workers than devices share them")
        names = list(there.names[:wanted])
    elif wanted is None:
        names = list(there.names)
    else:
        names, missing = given_by_name(there, wanted)
        if missing:
            raise ValueError(f"gpus={gpus!r} names {missing[0]!r}, but {seen}")
    return tuple(there.variables(name) for name in names)


def _wanted(gpus: Any) -> list[str] | int | None:
    """Return the names of devices that are asked for, or their number; None: all."""
    if isinstance(gpus, str) and gpus == "auto":
        return None
    if isinstance(gpus, (str, bytes, Mapping, bool)):
        hint = f"; write `[{gpus!r}]`" if isinstance(gpus, str) and gpus else ""
        raise TypeError(f"{GPUS}, was {short(gpus)}{hint}")
    if not isinstance(gpus, Iterable):
        try:
            return at_least(1, "gpus", gpus, hint="; leave it out for workers without a device of their own")
        except TypeError:
            raise TypeError(f"{GPUS}, was {short(gpus)}") from None
    names = [_name(device) for device in gpus]
    if not names:
        raise ValueError(f"{GPUS}, was empty")
    return names


def _name(device: Any) -> str:
    if isinstance(device, str) and device.strip() == device != "" and "," not in device:
        return device
    if isinstance(device, (str, bool)):
        raise TypeError(f"{GPUS}, had {short(device)}")
    return str(at_least(0, "a device in gpus", device))


def _no_device(gpus: Any, there: Devices) -> str:
    if there.source:
        return f"gpus={gpus!r}, but {there.source} hides all devices from this process; unset it"
    variables = " or ".join(VISIBLE)
    return (
        f"gpus={gpus!r}, but no GPU was found here: `nvidia-smi -L` lists none, and there are no device "
        f"files of NVIDIA's or AMD's driver; where you know of some, name them by {variables} in env="
    )
