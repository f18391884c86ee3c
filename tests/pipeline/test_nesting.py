"""Pipelines in unions in pipelines: for any shape, results are those of plain function calls."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import nbpar
from nbpar import Stage
from nbpar.pipeline import lookahead as appetite


def more(x):
    return (x, 1)


def twice(x):
    return (x, x)


def fails_sometimes(x):
    if str(x).count("3") == 1:
        raise ValueError("a three")
    return (x,)


LEAVES = {"more": more, "twice": twice, "fails": fails_sometimes, "text": str}
shapes = st.recursive(
    st.sampled_from(sorted(LEAVES)),
    lambda inner: st.tuples(st.sampled_from(["chain", "union"]), st.lists(inner, min_size=1, max_size=3)),
    max_leaves=7,
)
backends = st.sampled_from([None, None, "serial", "threads"])


def built(shape, draw):
    """Return the step of a shape, whose stages are as `draw` says."""
    if isinstance(shape, str):
        workers, backend = draw(st.sampled_from([None, 1])), draw(backends)
        batch_size = draw(st.sampled_from([None, "auto", 1, 3, 25]))
        return Stage(LEAVES[shape], workers=workers, backend=backend, batch_size=batch_size)
    kind, inner = shape
    steps = [built(one, draw) for one in inner]
    return steps if kind == "chain" else nbpar.Union(steps, join="zip")


def plainly(shape, x):
    """Return what a shape makes of an item."""
    if isinstance(shape, str):
        return LEAVES[shape](x)
    kind, inner = shape
    if kind == "union":
        return tuple(plainly(one, x) for one in inner)
    for one in inner:
        x = plainly(one, x)
    return x


def expected_of(shape, items):
    """Return values by index, of the items that do not fail."""
    values = {}
    for x in items:
        try:
            values[x] = plainly(shape, x)
        except ValueError:
            continue
    return values


@pytest.mark.parametrize("backend", ["threads", "engines", "serial"])
@settings(deadline=None, max_examples=12, suppress_health_check=list(HealthCheck))
@given(
    shape=shapes,
    number=st.integers(0, 80),
    batch_size=st.sampled_from(["auto", 1, 4]),
    most_bytes=st.sampled_from([1, appetite.MOST_BYTES]),
    data=st.data(),
)
def test_results_are_those_of_plain_calls(pools, backend, shape, number, batch_size, most_bytes, data):
    expected = expected_of(shape, range(number))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(appetite, "MOST_BYTES", most_bytes)
        steps = built(shape, data.draw)
        with nbpar.Pipeline([steps], pool=pools[backend], batch_size=batch_size) as pipeline:
            got = pipeline.map(range(number), errors="collect", progress="none")
            streamed = list(pipeline.imap(iter(range(number)), errors="skip", progress="none"))

    assert {n: value for n, value in enumerate(got) if not isinstance(value, nbpar.Failure)} == expected
    assert streamed == list(expected.values())
    assert len(got) == number
