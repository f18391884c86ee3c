"""`Parallel`: `put` and `get` as in the original, without its hangs."""

import os
import subprocess
import sys
import threading
import time

import pytest

import nbpar
from nbpar.compat.gluonnlp import Parallel, Parallelizable


class Net(Parallelizable):
    """Doubles, fails for strings, waits for events; notes the threads it ran in."""

    def __init__(self):
        self.threads = []

    def forward_backward(self, x):
        self.threads.append(threading.current_thread())
        if isinstance(x, threading.Event):
            x.wait(20)
            return "waited"
        return x * 2 if not isinstance(x, str) else int(x)


class Touch(Parallelizable):
    """Leaves a file for each input."""

    def __init__(self, folder):
        self.folder = folder

    def forward_backward(self, x):
        (self.folder / str(x)).touch()
        print("touched")


def test_results_come_as_they_get_done():
    gate = threading.Event()
    with Parallel(2, Net(), serial_init=False) as parallel:
        parallel.put(gate)
        parallel.put(1)

        assert parallel.get(timeout=60) == 2
        gate.set()
        assert parallel.get(timeout=60) == "waited"


def test_the_first_inputs_run_here():
    net, here = Net(), threading.current_thread()
    with Parallel(2, net) as parallel:
        for x in range(4):
            parallel.put(x)

        assert sorted(parallel.get(timeout=60) for _ in range(4)) == [0, 2, 4, 6]
    assert [thread is here for thread in net.threads].count(True) == 2
    assert net.threads[:2] == [here, here]


def test_without_workers_everything_runs_here_in_order():
    net = Net()
    parallel = Parallel(0, net)

    for x in range(3):
        parallel.put(x)

    assert [parallel.get() for _ in range(3)] == [0, 2, 4]
    assert set(net.threads) == {threading.current_thread()}


def test_an_exception_comes_out_of_get_and_costs_no_other_input():
    with Parallel(2, Net(), serial_init=False) as parallel:
        for x in ["no number", 1, 2]:
            parallel.put(x)

        assert sorted(str(_outcome(parallel)) for _ in range(3)) == ["2", "4", "ValueError"]


def test_an_exception_of_an_inline_run_comes_out_of_put():
    with Parallel(2, Net()) as parallel, pytest.raises(ValueError, match="no number"):
        parallel.put("no number")


def test_get_can_stop_waiting():
    gate = threading.Event()
    with Parallel(1, Net(), serial_init=False) as parallel:
        parallel.put(gate)

        with pytest.raises(TimeoutError, match="no result"):
            parallel.get(timeout=0.05)
        gate.set()
        assert parallel.get(timeout=60) == "waited"


@pytest.mark.parametrize(("workers", "serial_init"), [(0, True), (2, True), (2, False)])
def test_get_waits_for_what_another_thread_puts_later(workers, serial_init):
    got, waits = [], threading.Event()

    def consume(parallel):
        with pytest.raises(TimeoutError, match="no result"):
            parallel.get(timeout=0.01)
        waits.set()
        got.extend(parallel.get() for _ in range(5))

    with Parallel(workers, Net(), serial_init=serial_init) as parallel:
        consumer = threading.Thread(target=consume, args=(parallel,), daemon=True)
        consumer.start()
        assert waits.wait(20)
        for x in range(5):
            parallel.put(x)
        consumer.join(20)

    assert sorted(got) == [0, 2, 4, 6, 8]


def test_a_get_that_waits_is_told_of_the_end():
    ended = []

    def consume(parallel):
        try:
            parallel.get()
        except nbpar.PoolClosedError as error:
            ended.append(error)

    parallel = Parallel(2, Net())
    consumer = threading.Thread(target=consume, args=(parallel,), daemon=True)
    consumer.start()
    parallel.close()
    consumer.join(20)

    assert len(ended) == 1


@pytest.mark.parametrize("backend", ["threads", "engines"])
def test_what_was_put_is_done_when_the_object_is_deleted(tmp_path, capsys, backend):
    parallel = Parallel(2, Touch(tmp_path), serial_init=False, backend=backend)
    for x in range(20):
        parallel.put(x)

    del parallel

    assert {path.name for path in tmp_path.iterdir()} == {str(x) for x in range(20)}
    assert sorted(capsys.readouterr().out.split()) == sorted(20 * ["touched"] + [f"[{x}]" for x in range(20)])


def test_what_failed_is_logged_when_get_was_never_called(caplog):
    parallel = Parallel(2, Net(), serial_init=False)
    parallel.put("no number")

    del parallel

    assert "no get() was there to raise it" in caplog.text
    assert "ValueError: invalid literal" in caplog.text


def test_what_does_not_get_done_in_time_is_dropped(caplog, monkeypatch):
    monkeypatch.setattr("nbpar.compat.gluonnlp.LINGER", 0.05)
    gate = threading.Event()
    parallel = Parallel(1, Net(), serial_init=False)
    parallel.put(gate)
    parallel.put(1)

    del parallel
    gate.set()

    assert "2 inputs of a Parallel were not done in 0.05 s" in caplog.text


def test_a_thread_that_drops_the_last_reference_is_not_held_up():
    dropped, gate = threading.Event(), threading.Event()
    parallel = [Parallel(1, Net(), serial_init=False)]
    parallel[0].put(gate)

    def drop():
        parallel.clear()
        dropped.set()

    threading.Thread(target=drop, daemon=True).start()

    assert dropped.wait(60)
    gate.set()


def test_a_child_process_leaves_the_work_to_its_parent(tmp_path):
    parallel = Parallel(1, Net(), serial_init=False)
    gate = threading.Event()
    parallel.put(gate)
    begun = time.monotonic()

    pid = os.fork()
    if not pid:
        try:
            parallel = None
            (tmp_path / "child").write_text(f"{time.monotonic() - begun}")
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    gate.set()

    assert parallel.get(timeout=60) == "waited"
    assert float((tmp_path / "child").read_text()) < 9
    parallel.close()


def test_get_after_the_end_raises():
    gate = threading.Event()
    parallel = Parallel(1, Net(), serial_init=False)
    parallel.put(gate)
    parallel.close()
    parallel.close()
    gate.set()

    with pytest.raises(Exception, match="closed"):
        parallel.get(timeout=60)


def test_the_interpreter_ends_although_an_input_still_runs():
    program = (
        "import time, nbpar.compat.gluonnlp as there\n"
        "there.LINGER = 0.1\n"
        "class Net(there.Parallelizable):\n"
        "    def forward_backward(self, x): time.sleep(600)\n"
        "parallel = there.Parallel(2, Net(), serial_init=False)\n"
        "parallel.put(1)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)


@pytest.mark.parametrize("backend", ["threads", "engines"])
def test_the_interpreter_finishes_what_was_put(backend):
    program = (
        "import time, nbpar.compat.gluonnlp as there\n"
        "class Net(there.Parallelizable):\n"
        "    def forward_backward(self, x): print('did', x, flush=True)\n"
        f"parallel = there.Parallel(2, Net(), serial_init=False, backend={backend!r})\n"
        "for x in range(20): parallel.put(x)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], check=True, timeout=60, capture_output=True)

    assert sorted(ended.stdout.decode().splitlines()) == sorted(f"[{x}] did {x}" for x in range(20))


@pytest.mark.parametrize("workers", [0, 3])
def test_gradients_of_shards_add_up_to_the_gradient_of_the_batch(workers):
    import numpy as np

    rng = np.random.default_rng(0)
    inputs, wanted = rng.normal(size=(60, 4)), rng.normal(size=60)

    class Regression(Parallelizable):
        weights = np.zeros(4)

        def forward_backward(self, shard):
            x, y = shard
            return 2 * x.T @ (x @ self.weights - y)

    model = Regression()
    with Parallel(workers, model) as parallel:
        for _ in range(30):
            for shard in zip(np.array_split(inputs, 3), np.array_split(wanted, 3), strict=True):
                parallel.put(shard)
            gradient = sum(parallel.get(timeout=60) for _ in range(3))
            assert np.allclose(gradient, 2 * inputs.T @ (inputs @ model.weights - wanted))
            model.weights = model.weights - 0.004 * gradient
    assert np.allclose(model.weights, np.linalg.lstsq(inputs, wanted, rcond=None)[0], atol=1e-2)


def _outcome(parallel):
    try:
        return parallel.get(timeout=60)
    except ValueError as error:
        return type(error).__name__
