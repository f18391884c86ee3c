"""Which GPUs this process may use, and how a process is given one of them.

A process sees the devices that an environment variable lists, which the driver's library reads once, when it
is first used.  So a process that is to have one device needs that variable before it imports anything.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from nbpar.host.devices.nvidia_smi import NVIDIA_SMI, said_by_nvidia_smi

CUDA, CUDA_ORDER = "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"

VISIBLE = {CUDA: "GPU", "HIP_VISIBLE_DEVICES": "HIP", "ZE_AFFINITY_MASK": "ZE"}
"""The variables of NVIDIA's, AMD's and Intel's drivers, and the word for one device by its number."""

BY_ADDRESS = "PCI_BUS_ID"
"""The order of numbers that `nvidia-smi` has; CUDA's own begins with the fastest device."""

PATIENCE = 10.0
"""Seconds for `nvidia-smi` to answer; it hangs where a driver does."""

NODES = Path("/dev")
AMD_NODES = Path("/sys/class/kfd/kfd/topology/nodes")
OPEN_FILES = Path("/proc/self/fd")

_NODE = re.compile(r"nvidia\d+")
_TOUCHED = re.compile(r"/dev/(nvidia\d+|nvidiactl|nvidia-uvm|kfd|dri/render.+)")
_LISTED = re.compile(r"(?P<mig>\s*MIG\b.*)?(?:GPU (?P<number>\d+):.*)?\(UUID: (?P<uuid>[^)\s]+)\)")


@dataclass(frozen=True, slots=True)
class Devices:
    """The devices that this process may use."""

    variable: str
    """The environment variable that limits a process to some of them."""

    names: tuple[str, ...]
    """As that variable lists them: numbers, UUIDs, names of MIG instances."""

    source: str
    """Where that is known from."""

    aliases: Mapping[str, str]
    """Other names of the same devices: the UUID of a number."""

    numbered_by_address: bool = False
    """Whether numbers are those of `nvidia-smi`, which CUDA has to be told."""

    def called(self, name: str) -> str | None:
        """Return a device's name in the variable, None if there is none; of a UUID the beginning will do."""
        if name in self.names:
            return name
        if not re.match(r"(GPU|MIG)-.", name):
            return None
        known = {**self.aliases, **{own: own for own in self.names}}
        found = {own for other, own in known.items() if other.startswith(name) or name.startswith(other)}
        return found.pop() if len(found) == 1 else None

    def variables(self, name: str) -> dict[str, str]:
        """Return the environment variables of a process that is to see one device only."""
        order = {CUDA_ORDER: BY_ADDRESS} if self.numbered_by_address else {}
        return {self.variable: name, **order}


def devices_here(environment: Mapping[str, str]) -> Devices:
    """Return the devices that a process with this environment may use; without names if there are none.

    A variable that is set limits them.  Otherwise `nvidia-smi` is asked, for `PATIENCE` seconds at most; then
    the device files of NVIDIA's driver are counted, then the devices of AMD's.
    """
    for variable in VISIBLE:
        if variable in environment:
            return _limited(variable, environment[variable])
    unordered = CUDA_ORDER not in environment
    listed = _listed(said_by_nvidia_smi(PATIENCE, "-L"))
    if listed:
        aliases = {uuid: name for name, uuid in listed if uuid != name}
        return Devices(CUDA, tuple(name for name, _ in listed), NVIDIA_SMI, aliases, unordered)
    with suppress(OSError):
        if number := sum(bool(_NODE.fullmatch(node.name)) for node in NODES.iterdir()):
            return Devices(CUDA, _numbers(number), str(NODES / "nvidia*"), {}, unordered)
    if number := _number_of_amd(environment):
        return Devices("HIP_VISIBLE_DEVICES", _numbers(number), str(AMD_NODES), {})
    return Devices(CUDA, (), "", {})


def _limited(variable: str, value: str) -> Devices:
    """Return the devices that a variable lists, up to the first invalid one, as CUDA reads it."""
    names: dict[str, None] = {}
    there = _listed(said_by_nvidia_smi(PATIENCE, "-L")) if variable == CUDA and value.strip() else []
    numbers = {name for name, _ in there if name.isdecimal()}
    for name in map(str.strip, value.split(",")):
        if not re.match(r"\d|(GPU|MIG)-.", name) or (name.isdecimal() and numbers and name not in numbers):
            break
        names[name] = None
    aliases = {uuid: name for name, uuid in there if name in names}
    return Devices(variable, tuple(names), f"{variable}={value}", aliases)


def _numbers(count: int) -> tuple[str, ...]:
    return tuple(map(str, range(count)))


def _listed(said: str) -> list[tuple[str, str]]:
    """Return the devices in the output of `nvidia-smi -L`, each by the name for its variable and its UUID.

    A device that is divided into MIG instances stands for these: CUDA gives a process one of them at most.
    """
    found: list[tuple[str, str]] = []
    divided = ""
    for line in said.splitlines():
        if (match := _LISTED.match(line)) is None:
            continue
        if match["number"] is not None:
            divided = match["number"]
            found.append((divided, match["uuid"]))
        elif match["mig"]:
            found = [device for device in found if device[0] != divided]
            found.append((match["uuid"], match["uuid"]))
    return found


def _number_of_amd(environment: Mapping[str, str]) -> int:
    """Return the number of AMD's devices; a lower layer's variable may have hidden some."""
    if "ROCR_VISIBLE_DEVICES" in environment:
        return len([name for name in environment["ROCR_VISIBLE_DEVICES"].split(",") if name.strip()])
    number = 0
    for properties in AMD_NODES.glob("*/properties"):
        with suppress(OSError):
            found = re.search(r"^simd_count (\d+)", properties.read_text("ascii", "replace"), re.MULTILINE)
            number += bool(found and int(found[1]))
    return number


def device_of(environment: Mapping[str, str]) -> str:
    """Return the one device that an environment leaves its process, as `GPU 0` or a UUID; "" if none."""
    for variable, word in VISIBLE.items():
        name = environment.get(variable, "").strip()
        if re.fullmatch(r"\d+(\.\d+)?", name):
            return f"{word} {name}"
        if re.fullmatch(r"(GPU|MIG)-[^,]+", name):
            return name
    return ""


def initialized_devices() -> bool:
    """Whether this process has opened a GPU, after which processes forked from it cannot use one (Linux)."""
    with suppress(OSError):
        for descriptor in OPEN_FILES.iterdir():
            with suppress(OSError):
                if _TOUCHED.fullmatch(os.readlink(descriptor)):  # noqa: PTH115 (a text is wanted)
                    return True
    return False


def given_by_name(devices: Devices, wanted: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the devices that are called so, and the names of which there is none."""
    found = [(name, devices.called(name)) for name in wanted]
    return [own for _, own in found if own is not None], [name for name, own in found if own is None]
