"""Measure items that wait: nbpar beside bare asyncio with a semaphore, other libraries, and threads.

    python benchmarks/waiting.py [--quick] [--items N] [--concurrency N] [--rounds N]

Each item asks a local HTTP server, a process of its own, that answers after 50 ms, over a connection of its
own.  All take turns; the best round of each counts.  Ratios are to bare asyncio in the same run.  CPU is that
of this process and the engine, without the server's; a busy machine changes it less than times.  aiometer
and fastcore take part if they are installed.  Then 1000 items wait on one engine, for its memory and CPU.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # when this file itself is run

import psutil

import nbpar
from benchmarks.table import Row, Section, rate, render

DELAY = 0.05
"""Seconds until the server answers."""

WAITING = 1000
"""Items that wait at once on one engine."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a few items, to see whether it works")
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--concurrency", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args(arguments)
    if asked.quick:
        asked.items, asked.concurrency, asked.rounds = 200, 50, 1
    with server() as port, nbpar.Pool(1, progress="none") as pool:
        print(render([speed(asked, port, pool), waiting(pool)]))
    return 0


def speed(asked: argparse.Namespace, port: int, pool: nbpar.Pool) -> Section:
    """Measure requests per second, and the CPU time of one."""
    engine = engine_of(pool)
    ways: dict[str, Callable[[], Sequence[Any]]] = {
        "asyncio, semaphore": lambda: asyncio.run(bare(port, asked.items, asked.concurrency)),
        "threads, one for each": lambda: threads(port, asked.items, asked.concurrency),
        "nbpar, one engine": lambda: pool.map(
            partial(fetch, port), range(asked.items), concurrency=asked.concurrency
        ),
        **peers(port, asked.items, asked.concurrency),
    }
    best = dict.fromkeys(ways, float("inf"))
    least = dict.fromkeys(ways, float("inf"))
    for _ in range(asked.rounds):
        for name, way in ways.items():
            began, cpu = time.perf_counter(), cpu_seconds(engine)
            check(way(), asked.items)
            best[name] = min(best[name], time.perf_counter() - began)
            least[name] = min(least[name], cpu_seconds(engine) - cpu)
    bare_seconds, bare_cpu = best["asyncio, semaphore"], least["asyncio, semaphore"]
    rows = tuple(
        Row(
            name,
            (
                rate(asked.items / seconds),
                f"{seconds / bare_seconds:.2f}",
                f"{least[name] / asked.items * 1e6:.0f} us",
                f"{least[name] / bare_cpu:.2f}",
            ),
        )
        for name, seconds in best.items()
    )
    title = f"{asked.items} requests of {DELAY * 1000:.0f} ms, {asked.concurrency} at once"
    return Section(title, ("requests", "time to bare", "CPU each", "CPU to bare"), rows)


def waiting(pool: nbpar.Pool) -> Section:
    """Measure an engine on which many items wait."""
    engine = engine_of(pool)
    before = engine.memory_info().rss
    run = pool.map_async(stay, range(WAITING), concurrency=WAITING)
    time.sleep(1.0)  # until all have begun
    began, cpu = time.perf_counter(), sum(engine.cpu_times()[:2])
    time.sleep(2.0)
    share = (sum(engine.cpu_times()[:2]) - cpu) / (time.perf_counter() - began)
    memory = engine.memory_info().rss - before
    began = time.perf_counter()
    run.cancel()
    stopped = time.perf_counter() - began
    cells = (f"{memory / 1e6:.1f} MB", f"{share:.1%}", f"{stopped * 1000:.0f} ms")
    return Section(
        f"{WAITING} items that wait", ("memory", "of a core", "to stop"), (Row("one engine", cells),)
    )


def engine_of(pool: nbpar.Pool) -> psutil.Process:
    """Return the process of the pool's only engine."""
    return psutil.Process(pool.map(lambda _: __import__("os").getpid(), [0])[0])


def cpu_seconds(engine: psutil.Process) -> float:
    """Return the CPU time of this process and of the engine so far."""
    return time.process_time() + sum(engine.cpu_times()[:2])


def check(values: Sequence[Any], items: int) -> None:
    """Raise unless all requests were answered, in order."""
    if list(values) != list(range(items)):
        raise AssertionError(f"{items} requests did not give their numbers in order")


async def fetch(port: int, number: int) -> int:
    """Ask the server for a number."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"GET /%d HTTP/1.1\r\nConnection: close\r\n\r\n" % number)
        answer = await reader.read()
    finally:
        writer.close()
    return int(answer.rpartition(b"\r\n\r\n")[2])


async def stay(number: int) -> None:
    """Wait until stopped."""
    await asyncio.sleep(3600)


async def bare(port: int, items: int, concurrency: int) -> list[int]:
    """Do what a program without nbpar would do."""
    slots = asyncio.Semaphore(concurrency)

    async def limited(number: int) -> int:
        async with slots:
            return await fetch(port, number)

    return await asyncio.gather(*(limited(number) for number in range(items)))


def peers(port: int, items: int, concurrency: int) -> dict[str, Callable[[], Sequence[Any]]]:
    """Return the ways of other libraries that are installed."""

    def by_aiometer() -> Sequence[Any]:
        import aiometer

        calls = [partial(fetch, port, number) for number in range(items)]
        return asyncio.run(aiometer.run_all(calls, max_at_once=concurrency))

    def by_fastcore() -> Sequence[Any]:
        from fastcore.parallel import parallel_async

        fetched = parallel_async(partial(fetch, port), range(items), n_workers=concurrency, pause=0)
        return list(asyncio.run(fetched))

    ways = {
        "aiometer.run_all": ("aiometer", by_aiometer),
        "fastcore.parallel_async": ("fastcore", by_fastcore),
    }
    return {name: way for name, (library, way) in ways.items() if find_spec(library) is not None}


def threads(port: int, items: int, concurrency: int) -> list[int]:
    """Have a thread for each request that is under way."""
    from http.client import HTTPConnection

    def ask(number: int) -> int:
        connection = HTTPConnection("127.0.0.1", port)
        try:
            connection.request("GET", f"/{number}")
            return int(connection.getresponse().read())
        finally:
            connection.close()

    with ThreadPoolExecutor(concurrency) as executor:
        return list(executor.map(ask, range(items)))


@contextmanager
def server() -> Iterator[int]:
    """Run the server in a process of its own; yields its port."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=serve, args=(there,), daemon=True)
    process.start()
    try:
        yield here.recv()
    finally:
        process.terminate()
        process.join()


def serve(told: Any) -> None:
    """Answer each request with the number in its path, after a while."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        number = request.split(None, 2)[1][1:]
        await asyncio.sleep(DELAY)
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(number)
        writer.write(head + number)
        await writer.drain()
        writer.close()

    async def main() -> None:
        listening = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=4096)
        told.send(listening.sockets[0].getsockname()[1])
        await listening.serve_forever()

    asyncio.run(main())


if __name__ == "__main__":
    sys.exit(main())
