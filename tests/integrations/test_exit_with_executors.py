"""At exit an executor's work is finished first, as in `concurrent.futures`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nbpar.testing import Gate

BACKENDS = [pytest.param("engines", marks=pytest.mark.engines), "threads", "serial"]
CONCURRENT = BACKENDS[:2]

PROGRAM = """\
import sys
from pathlib import Path
import nbpar
from nbpar.testing import Gate

folder, gate = Path({folder!r}), Gate({gate!r})

def touch(n):
    (folder / str(n)).touch()

def held(n):
    gate.wait()
    touch(n)

if __name__ == "__main__":
    pool = nbpar.Pool(2, backend={backend!r})
    executor = pool.executor()
"""


SAYS_WHEN_IT_ENDS = (
    "from threading import Thread",
    "from nbpar.host.interpreter_exit import interpreter",
    "from nbpar.testing import until",
    "watch = lambda: until(lambda: interpreter.begun, 60) and print('waits', flush=True)",
    "Thread(target=watch, daemon=True).start()",
)
"""Lines of a program that prints when it waits for what is outstanding."""


@pytest.fixture
def gate():
    return Gate()


@pytest.fixture
def program(tmp_path, gate):
    """Begin a program whose main block ends with some lines."""
    begun = []

    def begin(backend, *lines):
        script, folder = tmp_path / "program.py", tmp_path / "touched"
        folder.mkdir()
        text = PROGRAM.format(folder=str(folder), gate=gate.folder, backend=backend)
        script.write_text(text + "".join(f"    {line}\n" for line in lines))
        process = subprocess.Popen(
            [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        begun.append(process)
        return process, folder

    yield begin
    gate.open()
    for process in begun:
        process.kill()
        process.communicate()


def touched(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "lines",
    [
        ["futures = [executor.submit(touch, n) for n in range(9)]"],
        ["executor.map(touch, range(9))"],
        ["for n in range(9): executor.submit(touch, n)", "del executor, pool"],
        ["for n in range(9): executor.submit(touch, n)", "executor.shutdown(wait=False)"],
        ["futures = [pool.submit(touch, n) for n in range(9)]"],
        ["for n in range(9): pool.submit(touch, n)", "del executor, pool"],
    ],
    ids=["submitted", "mapped", "dropped", "shut down", "submitted to a pool", "to one that is dropped"],
)
def test_what_was_asked_is_done_before_the_interpreter_ends(program, backend, lines):
    process, folder = program(backend, *lines)

    _, errors = process.communicate(timeout=100)

    assert (process.returncode, errors) == (0, "")
    assert touched(folder) == set("012345678")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("end", "code"), [("sys.exit(3)", 3), ("1 / 0", 1)])
def test_it_is_done_however_the_program_ends(program, backend, end, code):
    process, folder = program(backend, "futures = [executor.submit(touch, n) for n in range(4)]", end)

    process.communicate(timeout=100)

    assert process.returncode == code
    assert touched(folder) == set("0123")


@pytest.mark.parametrize("backend", CONCURRENT)
def test_callbacks_are_called_before_the_interpreter_ends(program, backend):
    process, _ = program(backend, "executor.submit(abs, -7).add_done_callback(lambda f: print(f.result()))")

    output, errors = process.communicate(timeout=100)

    assert (process.returncode, output, errors) == (0, "7\n", "")


@pytest.mark.parametrize("backend", CONCURRENT)
def test_functions_for_the_exit_are_called_when_it_is_done(program, backend):
    process, _ = program(
        backend,
        "import atexit",
        "atexit.register(lambda: print(future.done(), pool.map(abs, [-1])))",
        "future = executor.submit(touch, 1)",
    )

    output, errors = process.communicate(timeout=100)

    assert (process.returncode, output, errors) == (0, "True [1]\n", "")


@pytest.mark.parametrize("backend", CONCURRENT)
def test_calls_that_ask_for_more_for_ever_do_not_keep_the_interpreter(program, backend):
    process, folder = program(
        backend,
        "def again(future):",
        "    executor.submit(touch, 1).add_done_callback(again)",
        "again(None)",
    )

    _, errors = process.communicate(timeout=100)

    assert process.returncode == 0
    assert "cannot schedule new futures after interpreter shutdown" in errors
    assert touched(folder) == {"1"}


@pytest.mark.engines
def test_calls_of_the_default_pool_are_done_as_well(program):
    process, folder = program("serial", "for n in range(9): nbpar.submit(touch, n)")

    _, errors = process.communicate(timeout=100)

    assert (process.returncode, errors) == (0, "")
    assert touched(folder) == set("012345678")


@pytest.mark.parametrize("backend", CONCURRENT)
def test_calls_of_a_pool_that_ask_for_more_for_ever_do_not_keep_the_interpreter(program, backend):
    process, folder = program(
        backend,
        "def again(future):",
        "    pool.submit(touch, 1).add_done_callback(again)",
        "again(None)",
    )

    process.communicate(timeout=100)

    assert process.returncode == 0
    assert touched(folder) == {"1"}


@pytest.mark.parametrize("backend", CONCURRENT)
@pytest.mark.parametrize("what", ["executor", "pool"])
def test_ctrl_c_ends_the_wait(program, backend, what):
    process, folder = program(
        backend, *SAYS_WHEN_IT_ENDS, f"futures = [{what}.submit(held, n) for n in range(4)]"
    )
    process.stdout.readline()

    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=100)

    assert (process.returncode, errors) == (-signal.SIGINT, "")
    assert touched(folder) == set()


@pytest.mark.parametrize("backend", CONCURRENT)
def test_ctrl_c_in_the_program_itself_stops_what_was_submitted(program, gate, backend):
    calls = "futures = [pool.submit(held, n) for n in range(2)]"
    process, folder = program(backend, calls, "held(2)")
    gate.until_waiting(3, 60)

    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=100)

    assert process.returncode == -signal.SIGINT
    assert errors.strip().endswith("KeyboardInterrupt")
    assert "ignored" not in errors
    assert touched(folder) == set()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_program_whose_map_is_interrupted_ends_by_sigint(program, gate, backend):
    process, _ = program(backend, "pool.map(held, range(4), progress='none')")
    gate.until_waiting(1, 60)

    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=100)

    assert process.returncode == -signal.SIGINT
    assert "nbpar.errors.StoppedError: held was stopped; finished results (0) are in" in errors
    assert "ignored" not in errors


@pytest.mark.engines
@pytest.mark.parametrize(
    "line", ["", "run = pool.map_async(abs, range(9))", "future = pool.submit(abs, 1)", "pool.wait()"]
)
def test_nothing_is_said_when_a_program_ends_while_engines_start(program, line):
    process, _ = program("engines", line)

    output, errors = process.communicate(timeout=100)

    assert (process.returncode, output, errors) == (0, "", "")


@pytest.mark.parametrize("backend", CONCURRENT)
def test_a_map_in_the_background_is_stopped_by_the_end(program, backend):
    process, folder = program(backend, "run = pool.map_async(held, range(4))")

    process.communicate(timeout=100)

    assert process.returncode == 0
    assert touched(folder) == set()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("backend", CONCURRENT)
def test_a_fork_does_not_wait_for_the_work_of_its_parent(program, backend):
    process, folder = program(
        backend,
        "import os",
        "future = executor.submit(held, 1)",
        "child = os.fork()",
        "if child == 0: sys.exit(0)",
        "os.waitpid(child, 0)",
        "gate.open()",
    )

    process.communicate(timeout=100)

    assert process.returncode == 0
    assert touched(folder) == {"1"}


@pytest.mark.engines
def test_gateways_of_execnet_end_with_the_interpreter(program):
    process, _ = program(
        "serial",
        "from nbpar.compat import execnet",
        "gateway = execnet.makegateway()",
        "print(gateway.remote_exec('channel.send(1)').receive())",
    )

    output, errors = process.communicate(timeout=100)

    assert (process.returncode, output, errors) == (0, "1\n", "")
