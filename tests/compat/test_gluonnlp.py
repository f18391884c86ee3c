"""`Parallel`: `put` and `get` as the original has them, without its hangs."""

import subprocess
import sys
import threading

import pytest

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


def test_results_come_as_they_get_done():
    gate = threading.Event()
    with Parallel(2, Net(), serial_init=False) as parallel:
        parallel.put(gate)
        parallel.put(1)

        assert parallel.get(timeout=20) == 2
        gate.set()
        assert parallel.get(timeout=20) == "waited"


def test_the_first_inputs_run_here():
    net, here = Net(), threading.current_thread()
    with Parallel(2, net) as parallel:
        for x in range(4):
            parallel.put(x)

        assert sorted(parallel.get(timeout=20) for _ in range(4)) == [0, 2, 4, 6]
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
        assert parallel.get(timeout=20) == "waited"


def test_get_does_not_wait_for_what_was_never_put():
    with Parallel(1, Net()) as parallel, pytest.raises(LookupError, match="everything"):
        parallel.get()


def test_get_after_the_end_raises():
    gate = threading.Event()
    parallel = Parallel(1, Net(), serial_init=False)
    parallel.put(gate)
    parallel.close()
    parallel.close()
    gate.set()

    with pytest.raises(Exception, match="closed"):
        parallel.get(timeout=20)


def test_the_interpreter_ends_although_an_input_still_runs():
    program = (
        "import time\n"
        "from nbpar.compat.gluonnlp import *\n"
        "class Net(Parallelizable):\n"
        "    def forward_backward(self, x): time.sleep(600)\n"
        "parallel = Parallel(2, Net(), serial_init=False)\n"
        "parallel.put(1)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)


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
            gradient = sum(parallel.get(timeout=20) for _ in range(3))
            assert np.allclose(gradient, 2 * inputs.T @ (inputs @ model.weights - wanted))
            model.weights = model.weights - 0.004 * gradient
    assert np.allclose(model.weights, np.linalg.lstsq(inputs, wanted, rcond=None)[0], atol=1e-2)


def _outcome(parallel):
    try:
        return parallel.get(timeout=20)
    except ValueError as error:
        return type(error).__name__
