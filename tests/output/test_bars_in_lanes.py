"""An unmodified tqdm inside an item moves a bar in the lane of its worker."""

from __future__ import annotations

import asyncio

import pytest

import nbpar
from nbpar.core.inner_bars import described
from nbpar.testing import Gate, until
from nbpar.views.text import postfix

LIMIT = 60.0

LOOPS = {
    "tqdm": "from tqdm import tqdm\nbar = tqdm(range(4), desc='work'); next(it := iter(bar)); bar.refresh()",
    "auto": "from tqdm.auto import tqdm\nbar = tqdm(total=4, desc='work')",
    "notebook": "from tqdm.notebook import tqdm\nbar = tqdm(total=4, desc='work')",
    "trange": "from tqdm import trange\nbar = trange(4, desc='work')",
    "asyncio": "from tqdm.asyncio import tqdm\nbar = tqdm(total=4, desc='work')",
    "subclass": (
        "from tqdm import tqdm\nclass Mine(tqdm):\n    def display(self, *args, **kwargs):\n"
        "        return super().display(*args, **kwargs)\nbar = Mine(total=4, desc='work')"
    ),
    "set_description": "from tqdm import tqdm\nbar = tqdm(total=4); bar.set_description('work')",
    "file": "import sys\nfrom tqdm import tqdm\nbar = tqdm(total=4, desc='work', file=sys.stdout)",
    "leave=False": "from tqdm import tqdm\nbar = tqdm(total=4, desc='work', leave=False)",
}


@pytest.fixture(params=["threads", "engines"])
def pool(request):
    """Of the kinds whose items run beside the test."""
    with nbpar.Pool(2, progress="none", backend=request.param) as pool:
        yield pool


@pytest.fixture
def gates(tmp_path):
    """Two gates that are open at the end in any case."""
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
    gates = [Gate(str(folder)) for folder in folders]
    yield gates
    for gate in gates:
        gate.open()


def inner(run):
    """What the lanes tell."""
    return {lane.inner_item: described(lane.inner) for lane in run.snapshot.lanes if lane.inner}


def until_told(run, words):
    until(lambda: inner(run) == words, LIMIT, f"{words} were not told")


@pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS)
def test_the_lane_moves_and_nothing_is_left_in_the_output(pool, gates, loop):
    first, second = gates

    def item(n):
        names = {}
        exec(loop, names)
        bar = names["bar"]
        bar.n = 0
        first.wait(LIMIT)
        bar.update(3)
        second.wait(LIMIT)
        bar.close()
        print("done", n)
        return bar.n

    run = pool.map_async(item, [1])
    until_told(run, {0: "work 0/4"})
    first.open()
    until_told(run, {0: "work 3/4"})
    assert "item 0: work 3/4" in postfix(run.snapshot)
    second.open()

    assert run.get(timeout=LIMIT) == [3]
    assert run.output.of(0) == "done 1\n"
    assert inner(run) == {}


def test_bars_nested_three_deep_are_told_outermost_first(pool, gates):
    def item(n):
        from tqdm import tqdm, trange

        for _ in trange(2, desc="a"):
            for _ in tqdm(range(3), desc="b"):
                for _ in tqdm(iter("xyz"), desc="c", unit="letters"):
                    gates[0].wait(LIMIT)

    run = pool.map_async(item, [1])

    until_told(run, {0: "a 0/2, b 0/3, c 0 letters"})
    gates[0].open()
    run.get(timeout=LIMIT)
    assert run.output.of(0) == ""


def test_a_disabled_bar_tells_nothing_and_one_of_pandas_does(pool, gates):
    def item(n):
        import pandas as pd
        from tqdm import tqdm

        tqdm.pandas(desc="rows")
        for _ in tqdm(range(1), disable=True):
            pd.Series(range(5)).progress_apply(lambda _: gates[0].wait(LIMIT))

    run = pool.map_async(item, [1])

    until_told(run, {0: "rows 1/5"})  # it counts a row before it calls the function
    gates[0].open()
    run.get(timeout=LIMIT)


def test_each_item_has_its_own_lane_and_a_thread_tells_for_its_item(pool, gates):
    def item(n):
        import threading

        from tqdm import tqdm

        def work():
            with tqdm(total=4, desc=f"thread of {n}"):
                gates[0].wait(LIMIT)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    run = pool.map_async(item, range(2), chunksize=1)

    until_told(run, {0: "thread of 0 0/4", 1: "thread of 1 0/4"})
    gates[0].open()
    run.get(timeout=LIMIT)


def test_a_map_inside_an_item_is_told_with_the_bars_of_its_items(pool, gates):
    def item(n):
        from tqdm import tqdm

        def step(k):
            with tqdm(total=3, desc="step"):
                (gates[0] if k == 2 else gates[1]).wait(LIMIT)

        gates[1].open()
        nbpar.map(step, range(5), label="steps", chunksize=1)

    run = pool.map_async(item, [1])

    until_told(run, {0: "steps 2/5, step 0/3"})
    gates[0].open()
    run.get(timeout=LIMIT)


def test_the_bars_of_the_client_itself_are_drawn_meanwhile(pool, gates, capsys):
    from tqdm import tqdm

    run = pool.map_async(lambda _: gates[0].wait(LIMIT), [1])
    gates[0].until_waiting()

    for _ in tqdm(range(3), desc="mine"):
        pass

    assert "mine: 100%" in capsys.readouterr().err
    assert inner(run) == {}
    gates[0].open()
    run.get(timeout=LIMIT)


def test_the_bars_of_coroutines_are_told_by_item(pool, tmp_path):
    def item(path):
        async def wait(n):
            from tqdm.asyncio import tqdm

            for _ in tqdm(range(4), desc=f"part of {n}"):
                while not (path / str(n)).exists():
                    await asyncio.sleep(0.01)

        return wait

    run = pool.map_async(item(tmp_path), range(2))
    until(lambda: "part of" in postfix(run.snapshot), LIMIT)
    shown = inner(run)
    assert shown
    assert all(words == f"part of {n} 0/4" for n, words in shown.items())

    for n in range(2):
        (tmp_path / str(n)).touch()
    run.get(timeout=LIMIT)
    assert [run.output.of(n) for n in range(2)] == ["", ""]


def test_a_coroutine_is_skipped_alone(pool):
    async def wait(n):
        while n == 1:
            await asyncio.sleep(0.01)
        return n

    run = pool.map_async(wait, range(6), concurrency=6)
    until(lambda: len(run.finished_indices) == 5, LIMIT)

    run.skip(1)

    results = run.get(timeout=LIMIT)
    assert results[1].skipped
    assert [n for n in results if isinstance(n, int)] == [0, 2, 3, 4, 5]
