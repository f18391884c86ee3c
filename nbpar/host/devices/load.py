"""How busy devices are, in words and in numbers, as far as `nvidia-smi` tells."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from nbpar.host.devices.nvidia_smi import said_by_nvidia_smi
from nbpar.host.devices.visible import BY_ADDRESS, CUDA, CUDA_ORDER

PATIENCE = 3.0
"""Seconds for `nvidia-smi` to answer."""

_FIELDS = "index,uuid,name,memory.used,memory.total,utilization.gpu"


@dataclass(frozen=True, slots=True)
class Reading:
    """How busy a device is."""

    used: int
    """Bytes of its memory in use, by any process."""

    total: int
    load: int | None
    """Percent of the last moments in which it computed; None if the device does not tell."""


def readings() -> dict[str, Reading]:
    """Return how busy each of NVIDIA's devices is, by `GPU 0` and by UUID; {} if nothing tells.

    Numbers are left out where they may not be CUDA's: on a machine with several kinds of devices.
    """
    said = said_by_nvidia_smi(PATIENCE, f"--query-gpu={_FIELDS}", "--format=csv,noheader,nounits")
    rows = [[field.strip() for field in line.split(",")] for line in said.splitlines()]
    rows = [row for row in rows if len(row) == 6 and row[3].isdecimal() and row[4].isdecimal()]
    alike = len({row[2] for row in rows}) == 1
    numbered = alike or CUDA not in os.environ or os.environ.get(CUDA_ORDER) == BY_ADDRESS
    found: dict[str, Reading] = {}
    for number, uuid, _, used, total, load in rows:
        reading = Reading(int(used) << 20, int(total) << 20, int(load) if load.isdecimal() else None)
        found[uuid] = reading
        if numbered:
            found[f"GPU {number}"] = reading
    return found


def reading_of(device: str, known: Mapping[str, Reading]) -> Reading | None:
    """Return the reading of a device as `device_of` names it; a UUID may be given by its beginning."""
    if device in known or not device.startswith("GPU-"):
        return known.get(device)
    return next((reading for name, reading in known.items() if name.startswith(device)), None)


EVERY = 2.0
"""Seconds between two readings of a gauge."""

AFTER_NONE = 60.0
"""The same after `nvidia-smi` has not answered."""


class Gauge:
    """The latest readings of the devices, renewed by a thread while anybody asks for them.  Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._latest: dict[str, Reading] = {}
        self._due = 0.0

    def latest(self) -> Mapping[str, Reading]:
        """Return them at once; {} at first, or if nothing tells."""
        with self._lock:
            if time.monotonic() < self._due:
                return self._latest
            self._due = float("inf")
        threading.Thread(target=self._renew, name="nbpar devices", daemon=True).start()
        return self._latest

    def _renew(self) -> None:
        found = readings()
        with self._lock:
            self._latest = found
            self._due = time.monotonic() + (EVERY if found else AFTER_NONE)


def described(device: str, reading: Reading | None) -> str:
    """Return a device and how busy it is, in words: `GPU 0: 3.1 of 80 GB, 97 %`."""
    if reading is None:
        return device
    size = f"{_gigabytes(reading.used)} of {_gigabytes(reading.total)} GB"
    return f"{device}: {size}" if reading.load is None else f"{device}: {size}, {reading.load} %"


def _gigabytes(size: int) -> str:
    number = size / 1e9
    return f"{number:.1f}" if number < 9.95 else f"{number:.0f}"


def short_device(device: str) -> str:
    """Return the name of a device for a narrow column: of a UUID its beginning."""
    return device if " " in device else device[:12]
