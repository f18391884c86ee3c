"""When dead engines are replaced, with a fake clock."""

from nbpar.cluster.forked import Healing


def test_an_engine_is_replaced_at_once():
    assert Healing().delay_after_death(0.0, registered=True) == 0.0


def test_items_that_kill_engines_slow_replacement_down_but_never_end_it():
    healing = Healing()

    delays = [healing.delay_after_death(i * 0.01, registered=True) for i in range(100)]

    assert delays[:20] == [0.0] * 20
    assert delays == sorted(delays)
    assert delays[-1] == healing.longest


def test_deaths_of_long_ago_are_forgotten():
    healing = Healing()
    for _ in range(100):
        healing.delay_after_death(0.0, registered=True)

    assert healing.delay_after_death(100.0, registered=True) == 0.0


def test_engines_that_never_register_are_given_up():
    healing = Healing()

    delays = [healing.delay_after_death(0.0, registered=False) for _ in range(3)]

    assert delays == [0.0, 0.0, None]


def test_an_engine_that_registers_restores_hope():
    healing = Healing()
    for _ in range(10):
        assert healing.delay_after_death(0.0, registered=False) is not None
        healing.registered()
