"""The tools that tests of parallel code use."""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nbpar.testing import FakeClock, Gate, until


def test_a_fake_clock_moves_only_by_hand():
    clock = FakeClock(5.0)

    clock.advance(2.5)

    assert clock() == clock() == 7.5


def test_a_gate_holds_whoever_comes_until_it_is_opened(tmp_path):
    gate = Gate(str(tmp_path))

    with ThreadPoolExecutor(2) as threads:
        waiting = [threads.submit(gate.wait) for _ in range(2)]
        gate.until_waiting(2)
        assert not any(future.done() for future in waiting)
        gate.open()

    assert gate.waiting == 0
    gate.wait()


def test_a_gate_works_across_processes(tmp_path):
    gate = Gate(str(tmp_path))
    program = "import pickle, sys; pickle.loads(bytes.fromhex(sys.argv[1])).wait(); print('through')"
    with subprocess.Popen(
        [sys.executable, "-c", program, pickle.dumps(gate).hex()], stdout=subprocess.PIPE, text=True
    ) as process:
        gate.until_waiting()
        gate.open()

        assert process.stdout.read() == "through\n"


def test_a_gate_gives_up_so_that_no_test_hangs(tmp_path):
    gate = Gate(str(tmp_path))

    with pytest.raises(TimeoutError, match=r"the gate was not opened within 0\.01 s"):
        gate.wait(timeout=0.01)
    with pytest.raises(TimeoutError, match=r"2 did not come to the gate within 0\.01 s"):
        gate.until_waiting(2, timeout=0.01)


def test_what_was_waited_for_is_returned():
    answers = iter([[], None, [7]])

    assert until(lambda: next(answers)) == [7]


def test_a_gates_folder_is_removed_with_it_and_not_with_its_copies():
    gate = Gate()
    folder = Path(gate.folder)
    copies = [Gate(gate.folder), pickle.loads(pickle.dumps(gate))]

    copies.clear()
    gc.collect()
    assert folder.is_dir()

    del gate
    gc.collect()
    assert not folder.exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_gates_folder_outlives_a_fork_and_not_its_process():
    program = (
        "import os, sys; from nbpar.testing import Gate; gate = Gate()\n"
        "if not os.fork(): sys.exit()\n"
        "os.wait(); print(os.path.isdir(gate.folder), gate.folder)"
    )

    there, folder = subprocess.check_output([sys.executable, "-c", program], text=True).split()

    assert there == "True"
    assert not Path(folder).exists()
