"""Programs written for execnet: specs, dumps, folders."""

import pickle
from pathlib import Path

import pytest


def test_xspecs(execnet):
    spec = execnet.XSpec("popen//python=this//env:A=1//flag")

    assert (spec.popen, spec.python, spec.env, spec.flag, spec.chdir) == (
        True,
        "this",
        {"A": "1"},
        True,
        None,
    )
    assert spec == execnet.XSpec(str(spec))
    assert hash(spec) == hash(execnet.XSpec(str(spec)))
    with pytest.raises(ValueError, match="duplicate"):
        execnet.XSpec("a=1//a=2")
    with pytest.raises(AttributeError):
        execnet.XSpec("_a=1")


@pytest.mark.parametrize(
    "value", [None, True, 2**80, -7, 1.5, 2j, b"x", "x", [1, (2, {3: {4}})], frozenset([1])]
)
def test_simple_types_are_dumped(execnet, value):
    assert execnet.loads(execnet.dumps(value)) == value


class Number(int):
    pass


@pytest.mark.parametrize("value", [object(), Number(3), [Number(3)], {1: len}])
def test_others_are_not(execnet, value):
    with pytest.raises(execnet.DumpError):
        execnet.dumps(value)


@pytest.mark.parametrize("data", [b"", b"garbage", pickle.dumps(len), pickle.dumps(Path())])
def test_what_is_no_dump_is_refused(execnet, data):
    with pytest.raises(execnet.LoadError):
        execnet.loads(data)


def test_rsync_sends_a_folder(execnet, gateway, tmp_path, capsys):
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.txt").write_text("one")
    (source / "b.pyc").write_text("no")
    calls, finished = [], []

    class Mine(execnet.RSync):
        def filter(self, path):
            return not path.endswith(".pyc")

    rsync = Mine(source, callback=lambda *call: calls.append(call[:2]))
    rsync.add_target(gateway, tmp_path / "target", finishedcallback=lambda: finished.append(1), delete=True)
    rsync.send()

    assert [path.name for path in (tmp_path / "target").iterdir()] == ["a.txt"]
    assert ("ack", 3) in calls
    assert finished == [1]
    assert "<= a.txt" in capsys.readouterr().out
    with pytest.raises(OSError, match="no targets"):
        rsync.send()


def test_rsync_sends_to_gateways_of_all_kinds_and_tells_how_much(execnet, tmp_path):
    import sys

    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "a").write_text("x" * 100)
    (source / "b").write_text("x" * 10)
    calls, reported = [], []

    class Quiet(execnet.RSync):
        def _report_send_file(self, gateway, modified_rel_path):
            reported.append((gateway.id, modified_rel_path))

    group = execnet.Group(["popen", f"popen//id=other//python={sys.executable}"])
    rsync = Quiet(source, callback=lambda *call: calls.append(call[:2]), verbose=False)
    for gateway in group:
        rsync.add_target(gateway, tmp_path / gateway.id)
    rsync.send()
    group.terminate(5)

    assert calls.count(("list", 110)) == 2
    assert calls.count(("ack", 100)) == calls.count(("ack", 10)) == 2
    assert sorted(reported) == sorted((name, path) for name in ("gw0", "other") for path in ("b", "sub/a"))
    assert (tmp_path / "other" / "sub" / "a").read_text() == (tmp_path / "gw0" / "sub" / "a").read_text()
