"""Invalid arguments are rejected at once, by name."""

import pytest

import nbpar


@pytest.mark.parametrize(
    ("workers", "words"),
    [
        ("nice=much", "nice in the spec 'nice=much' must be a whole number, was 'much'"),
        ("chdir", "'chdir' in the spec 'chdir' has no value"),
        ("env:=1", "has no name"),
        (["id=a", "id=a"], "two gateways cannot both have the id 'a'"),
        ([1], "a spec is a text"),
        (2.5, "workers must be"),
        (b"id=a", "workers must be"),
    ],
)
def test_a_spec_is_judged_before_workers_are_started(workers, words, monkeypatch):
    started = []
    monkeypatch.setattr("nbpar.pool.pool.place_on_engines", lambda *args, **_: started.append(args))

    with pytest.raises((ValueError, TypeError), match=words):
        nbpar.Group(workers)

    assert not started


def test_a_group_is_indexed_from_its_end_too():
    with nbpar.Group(2, backend="threads") as group:
        assert group[-1] is group["gw1"]
        with pytest.raises(KeyError, match="no gateway -3"):
            group[-3]


def test_gateways_are_shown_also_when_their_pool_is_closed():
    group = nbpar.Group(1, backend="threads")
    gateway = group[0]

    group.terminate()

    assert "gone" in repr(gateway)
    assert "gone" in gateway._repr_html_()
    assert "gone" in group._repr_html_()
    with pytest.raises(nbpar.PoolClosedError):
        gateway.remote_exec("1")


def test_the_name_of_a_file_is_not_taken_for_code(gateway, tmp_path):
    program = tmp_path / "program.py"
    program.write_text("channel.send(1)")

    with pytest.raises(ValueError, match="is the name of a file"):
        gateway.remote_exec(str(program))

    assert list(gateway.remote_exec(program)) == [1]


def test_a_module_without_source_is_refused_by_name(gateway):
    with pytest.raises(TypeError, match="'sys' has no source file"):
        gateway.remote_exec(__import__("sys"))


def test_what_is_no_callback_is_refused(gateway):
    channel = gateway.remote_exec("channel.receive()")

    with pytest.raises(TypeError, match="a callback must be callable, was 3"):
        channel.set_callback(3)

    channel.send(1)
    channel.wait_closed(10)


@pytest.mark.parametrize("buffersize", [0, 1.5, "many"])
def test_a_buffersize_that_is_none_is_refused(gateway, buffersize):
    with pytest.raises((ValueError, TypeError), match="buffersize must be"):
        gateway.remote_exec("1", buffersize=buffersize)


async def later(channel):
    channel.send(1)


def pieces(channel):
    yield channel.send(1)


@pytest.mark.parametrize("function", [later, pieces])
def test_a_function_that_would_run_nothing_is_refused(gateway, function):
    with pytest.raises(TypeError, match="runs nothing of it"):
        gateway.remote_exec(function)


def test_what_cannot_be_looked_at_is_not_pure(gateway):
    with pytest.raises(TypeError, match="only a function made by `def` can be pure"):
        gateway.remote_exec(print, pure=True)
