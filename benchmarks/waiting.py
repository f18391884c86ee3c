"""Measure items that wait: nbpar beside bare asyncio with a semaphore, and beside a thread for each item.

    python benchmarks/waiting.py [--quick] [--items N] [--concurrency N] [--rounds N]

Each item asks a local HTTP server, a process of its own, that answers after 50 ms, over a connection of its
own.  All take turns; the best round of each counts.  Ratios are to bare asyncio in the same run.  Then 1000
items wait on one engine, for its memory and CPU.
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
    """Measure requests per second."""
    ways: dict[str, Callable[[], Sequence[Any]]] = {
        "asyncio, semaphore": lambda: asyncio.run(bare(port, asked.items, asked.concurrency)),
        "threads, one for each": lambda: threads(port, asked.items, asked.concurrency),
        "nbpar, one engine": lambda: pool.map(
            partial(fetch, port), range(asked.items), concurrency=asked.concurrency
        ),
    }
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(asked.rounds):
        for name, way in ways.items():
            began = time.perf_counter()
            check(way(), asked.items)
            best[name] = min(best[name], time.perf_counter() - began)
    bare_seconds = best["asyncio, semaphore"]
    rows = tuple(
        Row(name, (rate(asked.items / seconds), f"{seconds / bare_seconds:.2f}"))
        for name, seconds in best.items()
    )
    title = f"{asked.items} requests of {DELAY * 1000:.0f} ms, {asked.concurrency} at once"
    return Section(title, ("requests", "time to bare"), rows)


def waiting(pool: nbpar.Pool) -> Section:
    """Measure an engine on which many items wait."""
    pid = pool.map(lambda _: __import__("os").getpid(), [0])[0]
    engine = psutil.Process(pid)
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
