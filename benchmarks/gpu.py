"""Measure inference on one GPU: workers that share it, beside a loop in one process.

    python benchmarks/gpu.py [--quick] [--cpu] [--workers 1,2,4,8] [--seconds S] [--rounds N] [--batch N]

The model is torchvision's `resnet18` without weights where torchvision is installed, else PyTorch's own
`TransformerEncoder`; nothing is downloaded.  An item is a batch, in two ways: one is prepared by the CPU, as
decoded images are, and copied to the device; the other is made on the device, which then is the limit.  The
best round of each counts.  Before that each worker is asked what it sees.  `--cpu` runs the same without a
GPU, to see whether this program works.
"""

from __future__ import annotations

import argparse
import builtins
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # when this file itself is run

import nbpar
from benchmarks.table import Row, Section, rate, render
from nbpar.host.devices.load import reading_of, readings
from nbpar.host.devices.visible import device_of, devices_here
from nbpar.testing import until

WAYS = {"prepared": "batches prepared by the CPU", "made": "batches made on the device"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a few items, to see whether it works")
    parser.add_argument("--cpu", action="store_true", help="without a GPU, to see whether it works")
    parser.add_argument("--workers", default="1,2,4,8", help="numbers of workers, with commas between them")
    parser.add_argument("--seconds", type=float, default=4.0, help="of one round of the loop")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=32, help="images, or sequences, of an item")
    asked = parser.parse_args(arguments)
    if asked.quick:
        asked.workers, asked.seconds, asked.rounds, asked.batch = "2", 0.2, 1, 2
    there = devices_here(os.environ)
    if not (asked.cpu or there.names):
        print("there is no GPU on this machine, as far as nbpar finds one; nothing was measured")
        return 0
    if find_spec("torch") is None:
        print("this needs PyTorch: pip install torch torchvision", file=sys.stderr)
        return 1
    device = "cpu" if asked.cpu else "cuda"
    print(where(device, there.names))
    if not asked.cpu:
        print(what_workers_see())
    print(render([measured(way, device, asked) for way in WAYS]))
    return 0


def where(device: str, names: Sequence[str]) -> str:
    """Return a line about the machine."""
    import torch

    name = torch.cuda.get_device_name(0) if device == "cuda" else "the CPU"
    devices = f", 1 of {len(names)} devices" if device == "cuda" else ""
    return f"{name}{devices}, {os.cpu_count()} CPUs, PyTorch {torch.__version__}, {kind_of_model()}"


def kind_of_model() -> str:
    """Return the name of the model's class."""
    return "resnet18" if find_spec("torchvision") is not None else "TransformerEncoder"


# ---- what workers do


def load(device: str) -> Any:
    """Make the model, the same everywhere; a worker keeps it between items."""
    import torch

    torch.manual_seed(0)
    if kind_of_model() == "resnet18":
        from torchvision.models import resnet18

        return resnet18(weights=None).eval().to(device)
    layer = torch.nn.TransformerEncoderLayer(512, 8, batch_first=True)
    return torch.nn.TransformerEncoder(layer, 6, enable_nested_tensor=False).eval().to(device)


def batch(seed: int, way: str, device: str, size: int) -> Any:
    """Make the input of an item: on the device, or by the CPU, from larger pictures."""
    import torch

    place = device if way == "made" else "cpu"
    chance = torch.Generator(place).manual_seed(seed)
    if kind_of_model() != "resnet18":
        return torch.randn(size, 128, 512, generator=chance, device=place).to(device)
    if way == "made":
        return torch.randn(size, 3, 224, 224, generator=chance, device=place)
    pictures = torch.randint(256, (size, 3, 320, 320), generator=chance, dtype=torch.uint8)
    small = torch.nn.functional.interpolate(pictures.float(), size=224, mode="bilinear", antialias=True)
    return ((small - 127.5) / 64).to(device)


def classified(model: Any, seed: int, way: str, device: str, size: int) -> list[int]:
    """Return the classes of a batch."""
    import torch

    with torch.inference_mode():
        found = model(batch(seed, way, device, size)).flatten(1).argmax(1).cpu()
    return [int(number) for number in found]


def keep(device: str) -> None:
    """Make a worker's model; where it is kept does not depend on how functions are sent."""
    builtins.model_of_benchmark = load(device)  # type: ignore[attr-defined]


def on_worker(seed: int, way: str, device: str, size: int) -> list[int]:
    """Do the same on a worker, with the model that it keeps."""
    return classified(builtins.model_of_benchmark, seed, way, device, size)  # type: ignore[attr-defined]


# ---- what is measured


def what_workers_see() -> str:
    """Ask two workers on one device, and the replacement of one that is killed, what they see.

    Raises:
        AssertionError: a worker sees another device, or several.
    """

    def look() -> tuple[int, str, int]:
        import torch

        torch.ones(1, device="cuda")
        return os.getpid(), device_of(os.environ), torch.cuda.device_count()

    with nbpar.Pool(2, gpus=1, progress="none") as pool:
        before = pool.each(look)
        killed = before[0][0]
        os.kill(killed, signal.SIGKILL)
        until(lambda: all(it.get("pid") not in (None, killed) for it in pool.workers), 120)
        after = pool.each(look)
    seen = {(device, number) for _, device, number in (*before, *after)}
    assert len(seen) == 1 and {number for _, number in seen} == {1}, seen  # noqa: PT018 (no test)
    return f"each worker, and the replacement of a killed one, sees {seen.pop()[0]} alone"


def measured(way: str, device: str, asked: argparse.Namespace) -> Section:
    """Measure the loop and pools of all sizes."""
    model, size = load(device), asked.batch
    one = partial(classified, model, way=way, device=device, size=size)
    one(0)
    items = range(calibrated(one, asked.seconds))
    expected, loop = best(lambda: [one(seed) for seed in items], asked.rounds)
    rows = [Row("one process", (rate(len(items) * size / loop), "1.00", ""))]
    call = partial(on_worker, way=way, device=device, size=size)
    for workers in map(int, asked.workers.split(",")):
        found, seconds, memory = on_workers(workers, call, device, items, asked.rounds)
        cells = (rate(len(items) * size / seconds), f"{loop / seconds:.2f}", memory)
        name = f"{workers} worker{'s' * (workers > 1)}"
        rows.append(Row(name, cells, difference(found, expected)))
    title = f"{len(items)} {WAYS[way]}, {size} each"
    return Section(title, ("per second", "to one process", "device memory"), tuple(rows))


def on_workers(
    workers: int, call: Callable[[int], Any], device: str, items: range, rounds: int
) -> tuple[list[Any], float, str]:
    """Return the values and the seconds of a pool whose workers share the device, and the memory in use."""
    gpus = 1 if device == "cuda" else None
    with nbpar.Pool(workers, gpus=gpus, initializer=keep, initargs=(device,), progress="none") as pool:
        pool.map(call, range(2 * workers), chunksize=1)
        found, seconds = best(lambda: list(pool.map(call, items)), rounds)
        reading = reading_of(str(pool.workers[0].get("device", "")), readings()) if gpus else None
    return found, seconds, "" if reading is None else f"{reading.used / 1e9:.1f} GB"


def difference(found: list[Any], expected: list[Any]) -> str:
    """Return a note if workers have found other classes than the loop."""
    pairs = [pair for both in zip(found, expected, strict=True) for pair in zip(*both, strict=True)]
    share = sum(one == other for one, other in pairs) / len(pairs)
    return "" if share > 0.999 else f"{share:.1%} of the classes are those of the loop"


def calibrated(one: Callable[[int], Any], seconds: float) -> int:
    """Return the number of items that the loop does in this time."""
    began, number = time.perf_counter(), 0
    while (spent := time.perf_counter() - began) < seconds / 4 or number < 2:
        one(number)
        number += 1
    return max(4, round(number * seconds / max(spent, 1e-9)))


def best(run: Callable[[], Any], rounds: int) -> tuple[Any, float]:
    """Return the last value, and the seconds of the fastest round."""
    fastest = float("inf")
    for _ in range(rounds):
        began = time.perf_counter()
        value = run()
        fastest = min(fastest, time.perf_counter() - began)
    return value, fastest


if __name__ == "__main__":
    sys.exit(main())
