"""The workforce: the workers that are present."""

from nbpar.dispatch.workforce import Workforce


def test_a_worker_that_greets_twice_is_here_once():
    workforce = Workforce(backend=None, initializer=None)

    assert workforce.arrive("one", {"pid": 1})
    assert not workforce.arrive("one", {"pid": 1})

    assert workforce.ready == ["one"]
