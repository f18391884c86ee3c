"""tqdm bars inside items leave nothing in the output; other output of the items remains."""

from __future__ import annotations

import sys

import pytest

import nbpar

KINDS = {
    "tqdm": "from tqdm import tqdm",
    "tqdm.auto": "from tqdm.auto import tqdm",
    "on standard output": "import functools, tqdm as t; tqdm = functools.partial(t.tqdm, file=sys.stdout)",
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_bars_leave_nothing_behind(pool, kind):
    def item(n):
        names = {"sys": sys}
        exec(kind, names)
        tqdm = names["tqdm"]
        print("before", n)
        for _ in tqdm(range(3), desc=f"item {n}"):
            for _ in tqdm(range(3), leave=False):
                pass
        bar = tqdm(total=10)
        bar.update(5)
        done = bar.n
        bar.close()
        print("after", n)
        return done

    run = pool.map_async(item, range(3))

    assert run.get() == [5, 5, 5]
    assert [run.output.of(n) for n in range(3)] == [f"before {n}\nafter {n}\n" for n in range(3)]


def test_what_is_written_between_bars_stays(pool):
    from tqdm import tqdm

    def item(n):
        for k in tqdm(range(2)):
            tqdm.write(f"line {k} of {n}")

    run = pool.map_async(item, range(2))
    run.get()

    assert run.output.of(1) == "line 0 of 1\nline 1 of 1\n"


def test_bars_of_the_client_itself_are_drawn(capsys):
    from tqdm import tqdm

    with nbpar.Pool(1, backend="threads") as pool:
        pool.map(abs, [1])
        for _ in tqdm(range(3), desc="mine"):
            pass

    assert "mine: 100%" in capsys.readouterr().err
