"""Failed items wait for as long as their exceptions ask for: on every kind of worker."""

from __future__ import annotations

import os
import signal
import threading
import time
import urllib.error
import urllib.request
from collections import defaultdict
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import nbpar
from nbpar.errors import PicklingError, RemoteError, StoppedError

WAIT = 1.2
"""Seconds that are asked for: long enough to be told from delays of nbpar's own."""

QUICK = {"first": 0.001, "jitter": 0.0}


class Server:
    """A real HTTP server that refuses the first request for each path."""

    def __init__(self, said):
        self.seen = defaultdict(list)
        """When each path was asked for."""

        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                times = outer.seen[self.path]
                times.append(time.monotonic())
                self.send_response(200 if len(times) > 1 else 429)
                if len(times) == 1:
                    self.send_header("Retry-After", said())
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def pauses(self):
        return [later - earlier for earlier, later in self.seen.values()]


@pytest.fixture
def serve():
    servers = []

    def start(said=lambda: str(WAIT)):
        servers.append(Server(said))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def by_urllib(url):
    try:
        with urllib.request.urlopen(url) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        error.close()
        raise


def by_httpx(url):
    import httpx

    return httpx.get(url, trust_env=False).raise_for_status().status_code


def by_aiohttp(url):
    import asyncio

    import aiohttp

    async def get():
        async with aiohttp.ClientSession(raise_for_status=True) as session, session.get(url) as answer:
            return answer.status

    return asyncio.run(get())


def asks(seconds):
    """A function that fails once in each process, and asks for a wait."""

    def item(path):
        try:
            with Path(path).open("x"):
                error = ConnectionError("too many requests")
                error.retry_after = seconds
                raise error
        except FileExistsError:
            return "done"

    return item


@pytest.mark.parametrize("get", [by_urllib, by_httpx, by_aiohttp])
def test_a_server_that_says_retry_after_is_obeyed(pool, serve, get):
    server = serve()
    urls = [f"{server.address}/{n}" for n in range(3)]

    results = pool.map(get, urls, retries=nbpar.Retry(1, **QUICK))

    assert results == [200] * 3
    assert all(pause >= WAIT for pause in server.pauses())


def test_a_date_that_a_server_says_is_obeyed(pool, serve):
    server = serve(lambda: formatdate(time.time() + 2.5, usegmt=True))

    assert pool.map(by_httpx, [server.address], retries=nbpar.Retry(1, **QUICK)) == [200]
    assert server.pauses()[0] >= 1  # a date has no fractions of a second


@pytest.mark.parametrize(
    ("get", "kind_of_error"),
    [
        (by_httpx, "httpx.HTTPStatusError"),
        (by_aiohttp, "aiohttp.client_exceptions.ClientResponseError"),
        (by_urllib, "urllib.error.HTTPError"),
    ],
)
def test_a_failure_that_cannot_travel_says_its_kind_and_what_it_asks_for(pool, serve, get, kind_of_error):
    server = serve()

    results = pool.map(get, [server.address], retries=nbpar.Retry(1, longest_after=1), errors="collect")

    failure = results[0]
    assert (failure.after, failure.attempts) == (WAIT, 1)
    if isinstance(failure.exception, RemoteError):
        assert failure.exception.kinds[0] == kind_of_error
    assert nbpar.last_run.snapshot.failure_groups[0].error == kind_of_error.rpartition(".")[2]


def test_exceptions_that_cannot_travel_are_retried_by_their_types(pool, serve):
    import httpx

    server = serve()
    policy = nbpar.Retry(1, on=httpx.HTTPError, **QUICK)

    assert pool.map(by_httpx, [server.address], retries=policy) == [200]


def test_a_function_of_the_exception_says_how_long_to_wait(pool, serve):
    server = serve()
    policy = nbpar.Retry(1, after=lambda error: error.response.headers.get("Retry-After"), **QUICK)

    assert pool.map(by_httpx, [server.address], retries=policy) == [200]
    assert server.pauses()[0] >= WAIT


def test_a_function_that_says_nothing_leaves_it_to_the_policy(pool, tmp_path):
    policy = nbpar.Retry(1, after=lambda error: None, longest_after=0, **QUICK)

    assert pool.map(asks(60), [str(tmp_path / "first")], retries=policy) == ["done"]


def test_a_function_that_fails_leaves_it_to_the_policy(pool, tmp_path):
    policy = nbpar.Retry(1, after=lambda error: error.response.headers["x"], **QUICK)

    assert pool.map(asks(60), [str(tmp_path / "first")], retries=policy) == ["done"]


@pytest.mark.skipif(not hasattr(BaseException, "add_note"), reason="Python 3.10 has no notes")
def test_a_function_that_fails_is_named_with_the_failure(pool):
    def item(_):
        raise ValueError("always")

    with pytest.raises(ValueError, match="always") as caught:
        pool.map(item, [1], retries=nbpar.Retry(1, after=lambda error: error.nothing, **QUICK))

    assert "Retry(after=...) could not be asked: AttributeError" in "".join(caught.value.__notes__)


def test_what_is_asked_for_is_ignored_on_request(pool, tmp_path):
    policy = nbpar.Retry(1, after=False, longest_after=0, **QUICK)

    assert pool.map(asks(60), [str(tmp_path / "first")], retries=policy) == ["done"]


def test_a_function_that_cannot_be_sent_is_refused_with_its_name(pool, kind):
    if not kind.own_process:
        pytest.skip("nothing is pickled")
    lock = threading.Lock()

    with pytest.raises(PicklingError, match="`after` of Retry"):
        pool.map(str, [1], retries=nbpar.Retry(1, after=lambda error: lock))


def test_a_long_wait_holds_up_no_other_item(pool, tmp_path):
    def item(n):
        if n == 0:
            error = OSError("later")
            error.retry_after = 1000
            raise error
        return n

    values = pool.imap_unordered(item, range(30), retries=nbpar.Retry(1), chunksize=1)

    assert sorted(next(values) for _ in range(29)) == list(range(1, 30))
    values.close()


def test_stop_ends_a_long_wait_at_once(busy_pool, tmp_path):
    run = busy_pool.map_async(asks(1000), [str(tmp_path / "first")], retries=nbpar.Retry(1))
    while "waits" not in run.snapshot.note:
        time.sleep(0.01)

    begun = time.monotonic()
    run.cancel()

    with pytest.raises(StoppedError):
        run.get(timeout=60)
    assert time.monotonic() - begun < 60
    assert run.snapshot.note == ""


def test_a_run_says_what_it_waits_for(busy_pool, serve):
    server = serve(lambda: "1000")

    run = busy_pool.map_async(by_httpx, [server.address], retries=nbpar.Retry(1))
    while not run.snapshot.note:
        time.sleep(0.01)

    assert run.snapshot.note.startswith("waits ")
    assert run.snapshot.note.endswith(": HTTPStatusError 429")
    run.cancel()


def test_a_wait_in_the_callers_thread_uses_no_processor(tmp_path):
    with nbpar.Pool(backend="serial", progress="none") as pool:
        begun = time.monotonic(), time.thread_time()
        pool.map(asks(WAIT), [str(tmp_path / "first")], retries=nbpar.Retry(1, **QUICK))
        elapsed, used = time.monotonic() - begun[0], time.thread_time() - begun[1]

    assert used < elapsed / 2


def test_ctrl_c_ends_a_wait_in_the_callers_thread(tmp_path):
    failed = threading.Event()

    def item(path):
        failed.set()
        return asks(1000)(path)

    def press():
        failed.wait()
        while "waits" not in nbpar.last_run.snapshot.note:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    with nbpar.Pool(backend="serial", progress="none") as pool:
        thread.start()
        with pytest.raises(StoppedError):
            pool.map(item, [str(tmp_path / "first")], retries=nbpar.Retry(1))
    thread.join()


def test_a_stage_obeys_as_well(pool, tmp_path):
    stage = nbpar.Stage(asks(WAIT), retries=nbpar.Retry(1, **QUICK))
    begun = time.monotonic()

    assert nbpar.Pipeline([stage], pool=pool).map([str(tmp_path / "first")]) == ["done"]
    assert time.monotonic() - begun >= WAIT
