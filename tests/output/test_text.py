"""Text that items write to streams arrives labeled and in order, whichever code wrote it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

import nbpar
from nbpar.run.printing import TOTAL
from nbpar.testing import Gate
from nbpar.worker.output.recorder import PER_ITEM


def test_every_line_is_labelled_and_stands_in_the_order_of_the_items(pool, capsys):
    def talk(i):
        print("one", i)
        print("two", i)
        print("trouble", i, file=sys.stderr)
        return i

    pool.map(talk, range(5))

    said = capsys.readouterr()
    assert said.out.splitlines() == [f"[{i}] {word} {i}" for i in range(5) for word in ("one", "two")]
    assert said.err.splitlines() == [f"[{i}] trouble {i}" for i in range(5)]


def test_lines_that_are_not_ended_do_not_run_into_each_other(pool, capsys):
    pool.map(lambda i: print("a", i, end=""), range(3))

    assert capsys.readouterr().out == "[0] a 0\n[1] a 1\n[2] a 2\n"


def test_a_slow_first_item_does_not_change_the_order(deferring_pool, capsys, tmp_path):
    gate = Gate(str(tmp_path))

    def talk(i):
        if i == 0:
            gate.wait()
        if i == 3:
            gate.open()
        print(i)

    deferring_pool.map(talk, range(4), chunksize=1)

    assert capsys.readouterr().out == "[0] 0\n[1] 1\n[2] 2\n[3] 3\n"


def test_child_processes_and_c_code_are_heard(far_pool, capfd):
    def talk(i):
        import ctypes

        print("python", i)
        subprocess.run(["sh", "-c", f"echo child {i}; echo trouble {i} >&2"], check=True)
        ctypes.CDLL(None).printf(b"C %d\n", i)
        os.write(1, f"descriptor {i}\n".encode())
        print("python again", i)

    far_pool.map(talk, range(4))

    said = capfd.readouterr()
    per_item = ("python", "child", "C", "descriptor", "python again")
    assert sorted(said.out.splitlines()) == sorted(f"[{i}] {word} {i}" for i in range(4) for word in per_item)
    assert [line[1] for line in said.out.splitlines()] == [str(i) for i in range(4) for _ in per_item]
    assert said.err.splitlines() == [f"[{i}] trouble {i}" for i in range(4)]


def test_items_of_one_chunk_that_write_past_python_are_told_apart(far_pool, capfd):
    far_pool.map(lambda i: os.write(1, f"{i}\n".encode()), range(200), chunksize=100)

    assert capfd.readouterr().out.splitlines() == [f"[{i}] {i}" for i in range(200)]


def test_a_forked_child_is_heard(far_pool, capfd):
    def talk(i):
        child = os.fork()
        if not child:
            print("child", i, flush=True)
            os._exit(0)
        os.waitpid(child, 0)

    far_pool.map(talk, range(3))

    assert capfd.readouterr().out.splitlines() == [f"[{i}] child {i}" for i in range(3)]


@pytest.mark.engines
def test_a_child_that_is_left_behind_can_go_on_writing_when_the_loop_has_ended(tmp_path):
    pipe, end = tmp_path / "pipe", Gate(str(tmp_path))
    os.mkfifo(pipe)
    script = f"read line < {pipe}; echo late && echo later && : > {tmp_path}/open"

    def leave_behind(i):
        subprocess.Popen(["sh", "-c", script])

    with nbpar.Cluster(1) as cluster:
        with nbpar.Pool(cluster=cluster, progress="none") as pool:
            pool.map(leave_behind, range(1))
        pipe.write_text("go on\n")

        end.wait()


def test_too_much_of_one_item_is_cut_and_the_rest_counted(pool, capsys):
    def talk(i):
        for _ in range(30):
            print("x" * 999)

    pool.map(talk, range(2))

    said = capsys.readouterr()
    for i in range(2):
        shown = "".join(line for line in said.out.splitlines(keepends=True) if line.startswith(f"[{i}]"))
        assert len(shown) < PER_ITEM + 200
        assert f"[{i}] ... 30000 characters were printed here; what is over {PER_ITEM} was left" in said.err


def test_too_much_of_all_items_is_counted_and_kept(pool, capsys):
    pool.map(lambda i: print("x" * 9_999), range(30))

    said = capsys.readouterr()
    assert TOTAL - 10_000 < len(said.out) < TOTAL + 10_000
    if pool.backend == "serial":  # it prints while items run, and does not know what will come
        assert said.err == f"... more than {TOTAL} characters of output are left out here\n"
    else:
        assert said.err == "... 100000 more characters of output were left out\n"
    assert len(str(nbpar.last_run.output).splitlines()) == 30


def test_of_a_bar_that_overwrites_itself_the_last_state_is_shown(deferring_pool, capsys):
    def work(i):
        for done in range(50):
            sys.stderr.write(f"\r{done} of 50")
        sys.stderr.write("\n")

    deferring_pool.map(work, range(2))

    assert capsys.readouterr().err == "[0] 49 of 50\n[1] 49 of 50\n"


def test_a_failure_has_what_its_item_printed(pool, capsys):
    def fail(i):
        print("before", i)
        if i == 1:
            raise ValueError(i)

    results = pool.map(fail, range(3), errors="collect")

    (failure,) = results.failures
    assert failure.output == "before 1\n"


def test_a_failure_that_raises_has_it_too(pool, capsys):
    def fail(i):
        print("before", i)
        raise ValueError(i)

    with pytest.raises(ValueError, match="0"):
        pool.map(fail, range(1))

    assert nbpar.last_run.failures[0].output == "before 0\n"
    assert capsys.readouterr().out == "[0] before 0\n"


def test_each_attempt_is_shown_and_the_failure_has_the_last(pool, capsys):
    def fail(i):
        print("trying")
        raise ValueError(i)

    (failure,) = pool.map(fail, range(1), retries=2, errors="collect").failures

    assert failure.output == "trying\n"
    assert capsys.readouterr().out == "[0] trying\n" * 3


def test_a_run_in_the_background_prints_nothing_and_keeps_everything(deferring_pool, capsys):
    def talk(i):
        print("hello", i)

    run = deferring_pool.map_async(talk, range(3))
    run.get()

    assert capsys.readouterr() == ("", "")
    assert str(run.output) == "[0] hello 0\n[1] hello 1\n[2] hello 2"
    assert run.output.of(1) == "hello 1\n"


def test_a_stream_shows_what_an_item_printed_just_before_its_value(pool, capsys):
    def talk(i):
        print("made", i)
        return i

    for value in pool.imap(talk, range(5)):
        print("got", value)

    out = capsys.readouterr().out.splitlines()
    if pool.backend != "serial":
        assert out == [line for i in range(5) for line in (f"[{i}] made {i}", f"got {i}")]
    assert sorted(out) == sorted([f"[{i}] made {i}" for i in range(5)] + [f"got {i}" for i in range(5)])


def test_an_unordered_stream_shows_it_as_values_come(deferring_pool, capsys, tmp_path):
    gate = Gate(str(tmp_path))

    def talk(i):
        if i == 0:
            gate.wait()
        print("made", i)
        return i

    values = deferring_pool.imap_unordered(talk, range(3), chunksize=1)
    first = [next(values), next(values)]
    before = capsys.readouterr().out
    gate.open()
    rest = list(values)

    assert (sorted(first), rest) == ([1, 2], [0])
    assert before == "".join(f"[{i}] made {i}\n" for i in first)
    assert capsys.readouterr().out == "[0] made 0\n"


def test_threads_never_print(deferring_pool, monkeypatch):
    class Stream:
        encoding = "utf-8"

        def __init__(self):
            self.writers = set()

        def write(self, text):
            self.writers.add(threading.get_ident())
            return len(text)

        def flush(self):
            pass

    stream = Stream()
    monkeypatch.setattr(sys, "stdout", stream)

    deferring_pool.map(print, range(10))

    assert stream.writers == {threading.get_ident()}


def test_streams_are_as_before_when_workers_are_gone():
    before = sys.stdout, sys.stderr

    with nbpar.Pool(2, backend="threads", progress="none") as pool:
        pool.map(print, [])

    for thread in [thread for thread in threading.enumerate() if thread.name.startswith("nbpar thread")]:
        thread.join()
    assert (sys.stdout, sys.stderr) == before


def test_a_map_inside_an_item_is_labelled_twice(pool, capsys):
    def outer(i):
        import nbpar

        nbpar.map(lambda k: print("inner", k), range(2), progress="none")

    pool.map(outer, range(2))

    expected = [f"[{i}] [{k}] inner {k}" for i in range(2) for k in range(2)]
    assert capsys.readouterr().out.splitlines() == expected


def test_what_prints_nothing_shows_nothing(pool, capfd):
    assert pool.map(abs, range(100)) == list(range(100))

    assert capfd.readouterr() == ("", "")
    assert not nbpar.last_run.output
