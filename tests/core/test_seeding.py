"""Collaboration: one random stream per item."""

from __future__ import annotations

import random
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbpar.worker.seeding import item_seed, randomness_kept, rng, seeded

whole = st.integers(-(2**200), 2**200)


def draw():
    """Take numbers from everything that can be seeded."""
    return random.random(), float(np.random.rand()), float(rng().random())


def draws(seed, indices):
    found = {}
    for index in indices:
        with seeded(seed, index):
            found[index] = draw()
    return found


def fail_with(found, drawn):
    found.append(drawn)
    raise ValueError("after drawing")


def numpy_state():
    name, keys, place, *_ = np.random.get_state()
    return name, tuple(keys), place


def state():
    return random.getstate(), numpy_state()


# ---- item_seed


def test_item_seeds_are_the_same_in_every_version():
    assert item_seed(0, 0) == 20244428431844201958803587025018051595
    assert item_seed(42, 7) == 123080680996607813785487496097164983570


@given(whole, whole)
def test_an_item_seed_has_128_bits(seed, index):
    assert 0 <= item_seed(seed, index) < 2**128


@given(st.lists(st.tuples(whole, whole), unique=True, max_size=50))
def test_different_seeds_or_indices_give_different_item_seeds(pairs):
    assert len({item_seed(*pair) for pair in pairs}) == len(pairs)


def test_neighbouring_items_share_no_more_bits_than_chance_would_have_it():
    flipped = [(item_seed(1, i) ^ item_seed(1, i + 1)).bit_count() for i in range(2000)]

    assert 63.5 < sum(flipped) / len(flipped) < 64.5


def test_a_number_of_numpy_is_a_seed_like_any_other():
    assert item_seed(np.int64(42), np.uint8(7)) == item_seed(42, 7)


@pytest.mark.parametrize("wrong", ["42", 4.2, None])
def test_a_seed_that_is_no_whole_number_is_refused(wrong):
    with pytest.raises(TypeError, match="cannot be interpreted as an integer"):
        item_seed(wrong, 0)


# ---- seeded


@given(st.permutations(range(6)), st.integers(0, 6))
def test_an_item_draws_the_same_in_any_order_and_any_split(order, cut):
    expected = draws(3, range(6))

    assert {**draws(3, order[:cut]), **draws(3, order[cut:])} == expected


def test_another_attempt_draws_the_same():
    attempts = []
    for _ in range(3):
        with pytest.raises(ValueError, match="after drawing"), seeded(3, 1):
            fail_with(attempts, draw())

    assert len(set(attempts)) == 1


def test_another_run_seed_draws_something_else():
    assert draws(1, [0]) != draws(2, [0])


def test_items_draw_different_numbers_from_each_source():
    numbers = [number for drawn in draws(3, range(100)).values() for number in drawn]

    assert len(set(numbers)) == len(numbers)


def test_the_states_are_put_back_after_an_item():
    before = state()

    draws(3, range(3))

    assert state() == before


def test_the_states_are_put_back_after_an_item_that_raises():
    before = state()

    with pytest.raises(ValueError, match="after drawing"), seeded(3, 1):
        fail_with([], draw())

    assert state() == before


def test_an_item_within_an_item_leaves_the_outer_one_as_it_was():
    with seeded(3, 1):
        expected = [draw() for _ in range(2)]

    with seeded(3, 1):
        found = [draw()]
        draws(99, range(3))
        found.append(draw())

    assert found == expected


def test_what_was_before_comes_back_when_items_of_several_threads_overlap():
    inside, leave = threading.Event(), threading.Event()

    def second_item():
        with seeded(3, 2):
            inside.set()
            leave.wait(60)

    before = state()
    second = threading.Thread(target=second_item)
    with seeded(3, 1):
        second.start()
        inside.wait(60)
    draw()
    during = state()
    leave.set()
    second.join()

    assert during != before
    assert state() == before


def test_states_can_be_kept_once_for_many_items():
    expected = draws(3, range(5))
    before = state()

    with randomness_kept():
        found = draws(3, range(5))
        during = state()

    assert found == expected
    assert during != before
    assert state() == before


def test_kept_states_come_back_after_an_error():
    before = state()

    with pytest.raises(ValueError, match="no"), randomness_kept(), seeded(3, 1):
        raise ValueError("no")

    assert state() == before


# ---- rng


def test_an_item_has_one_generator_that_goes_on():
    with seeded(3, 1):
        assert rng() is rng()
        assert rng().random() != rng().random()


def test_the_generator_of_an_item_is_numpys():
    with seeded(3, 1):
        assert isinstance(rng(), np.random.Generator)


def test_outside_an_item_every_generator_is_fresh():
    assert rng().random() != rng().random()


def test_after_an_item_its_generator_is_gone():
    with seeded(3, 1):
        inside = rng()

    assert rng() is not inside


def test_items_in_threads_have_generators_of_their_own():
    expected = draws(3, range(4))
    together = threading.Barrier(4)
    found = {}

    def run(index):
        with seeded(3, index):
            together.wait(60)
            found[index] = float(rng().random())
            together.wait(60)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == {index: drawn[2] for index, drawn in expected.items()}


# ---- with and without NumPy


def in_a_fresh_python(*lines):
    setup = "import sys, random; from nbpar.worker.seeding import seeded, randomness_kept, rng"
    code = "\n".join([setup, *lines])
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.split()


def test_numpy_is_not_imported_for_a_function_that_does_not_use_it():
    assert in_a_fresh_python(
        "with seeded(3, 1): random.random()",
        "print('numpy' in sys.modules)",
    ) == ["False"]


def test_an_item_that_imports_numpy_itself_draws_as_if_it_had_been_there():
    with seeded(3, 1):
        expected = [np.random.rand(), np.random.rand()]

    found = in_a_fresh_python(
        "with seeded(3, 1):",
        "    import numpy as np",
        "    print(float(np.random.rand()), float(np.random.rand()))",
    )

    assert [float(number) for number in found] == expected


def test_an_item_within_an_item_that_imports_numpy_leaves_the_outer_one_its_stream():
    with seeded(3, 1):
        expected = np.random.rand()

    found = in_a_fresh_python(
        "with seeded(3, 1):",
        "    with seeded(99, 1):",
        "        import numpy as np; np.random.rand()",
        "    print(float(np.random.rand()))",
    )

    assert [float(number) for number in found] == [expected]


def test_after_an_item_that_imports_numpy_nothing_is_seeded_any_more():
    lines = (
        "with seeded(3, 1): import numpy as np; np.random.rand()",
        "print(float(np.random.rand()), len(sys.meta_path))",
    )
    first, second = in_a_fresh_python(*lines), in_a_fresh_python(*lines)

    assert first[0] != second[0]


def test_no_finder_is_left_behind():
    assert in_a_fresh_python(
        "before = list(sys.meta_path)",
        "with randomness_kept(), seeded(3, 1): import numpy as np; np.random.rand()",
        "print(before == sys.meta_path, 'exec_module' in vars(np.random.__loader__))",
    ) == ["True", "False"]


def test_without_numpy_an_item_has_a_generator_of_the_standard_library():
    found = in_a_fresh_python(
        "sys.modules['numpy'] = None",
        "for _ in range(2):",
        "    with seeded(3, 1): print(type(rng()).__module__, rng().random(), random.random())",
    )

    assert found[0] == "random"
    assert found[:3] == found[3:]
    assert found[1] != found[2]
