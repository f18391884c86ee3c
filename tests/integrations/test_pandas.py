"""pandas' calls with values from workers give what pandas gives."""

from __future__ import annotations

import threading
import time
import traceback
import warnings
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nbpar
import nbpar.pandas
from nbpar.integrations import pandas_calls, pandas_groups, pandas_tables

NEW = hasattr(pd.api, "executors")
"""Whether pandas takes engines."""

FEWER = settings(max_examples=30)

VALUES = {
    "int64": st.integers(-5, 5),
    "float64": st.floats(-5, 5) | st.just(float("nan")),
    "object": st.sampled_from(["a", 1, None]),
    "bool": st.booleans(),
    "datetime64[ns]": st.sampled_from([pd.Timestamp("2024-01-01"), pd.Timestamp("2025-06-30 12:00")]),
    "Int64": st.integers(-5, 5) | st.none(),
    "category": st.sampled_from(["x", "y"]),
}
NUMBERS = ("int64", "float64")


@st.composite
def frames(draw, kinds=tuple(VALUES), most=9):
    number = draw(st.integers(0, most))
    columns = {}
    for place, kind in enumerate(draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=4))):
        values = draw(st.lists(VALUES[kind], min_size=number, max_size=number))
        columns[f"c{place}"] = pd.Series(values, dtype=kind)
    frame = pd.DataFrame(columns)
    frame.index = draw(
        st.sampled_from(
            [
                pd.RangeIndex(3, 3 + number),
                pd.Index([f"r{n}" for n in range(number)], name="label"),
                pd.date_range("2024-01-01", periods=number, freq="D"),
                pd.Index([1] * number, dtype="int64"),
            ]
        )
    )
    return frame


@pytest.fixture(scope="module", params=["threads", pytest.param("engines", marks=pytest.mark.nightly)])
def pool(request):
    with nbpar.Pool(2, backend=request.param, progress="none") as pool:
        yield pool


@contextmanager
def at_any_cost():
    """Use workers for the shortest function, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pandas_calls, "WORTH", float("inf"))
        for module in (pandas_groups, pandas_tables):
            patch.setattr(module, "CHEAP", 0.0)
        yield


def outcome(call):
    """Return the result of a call, or the type of its error; pandas raises the first, a map any of them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of pandas
        try:
            return call()
        except Exception as error:
            return type(error)


def check(table, pool, call):
    """Compare the results of a call of a table and of its accessor, with all that pandas compares."""
    want = outcome(lambda: call(table))
    for tried in (True, False):
        with at_any_cost():
            got = outcome(lambda tried=tried: call(table.nbpar(pool=pool, try_here=tried)))
        assert_same(got, want)


def assert_same(got, want):
    """Compare types, indices, names, dtypes and values; also of tables within tables."""
    assert type(got) is type(want)
    if isinstance(want, pd.DataFrame):
        pd.testing.assert_index_equal(got.columns, want.columns)
        assert list(got.dtypes) == list(want.dtypes)
        pd.testing.assert_index_equal(got.index, want.index)
        for column in range(len(want.columns)):
            assert_same(got.iloc[:, column], want.iloc[:, column])
    elif isinstance(want, pd.Series):
        pd.testing.assert_index_equal(got.index, want.index)
        assert (got.dtype, got.name) == (want.dtype, want.name)
        assert_same(list(got), list(want))
    elif isinstance(want, list):
        assert len(got) == len(want)
        for one, other in zip(got, want, strict=True):
            assert_same(one, other)
    else:
        assert repr(got) == repr(want)


def first(row):
    return row.iloc[0] if len(row) else None


def itself(row):
    return row


def part(row):
    return row.iloc[::2]


def listed(row):
    return [str(value) for value in row]


def described(row):
    return {"name": row.name, "dtype": str(row.dtype)}


def named(row):
    return f"{row.name}: {row.dtype}"


def failing_at_r2(row):
    if row.name == "r2":
        raise ValueError("no")
    return 1


ROW_FUNCTIONS = [first, itself, part, listed, described, named, failing_at_r2, len]


@given(
    frames(),
    st.sampled_from(ROW_FUNCTIONS),
    st.sampled_from([0, 1, "columns"]),
    st.sampled_from([None, "expand", "reduce", "broadcast"]),
)
@settings(max_examples=40)
def test_rows_and_columns_give_what_pandas_gives(pool, frame, function, axis, result_type):
    check(frame, pool, lambda table: table.apply(function, axis=axis, result_type=result_type))


@given(frames(), st.sampled_from([np.size, np.cumsum, lambda values: values[0]]), st.sampled_from([0, 1]))
@FEWER
def test_raw_arrays_give_what_pandas_gives(pool, frame, function, axis):
    check(frame, pool, lambda table: table.apply(function, axis=axis, raw=True))


def test_arguments_reach_the_function(pool):
    frame = pd.DataFrame({"a": [1, 2, 3], "b": [4, 5, 6]})

    def scaled(row, factor, plus=0):
        return row * factor + plus

    check(frame, pool, lambda table: table.apply(scaled, axis=1, args=(2,), plus=1))
    check(frame["a"], pool, lambda table: table.apply(scaled, args=(2,), plus=1))
    check(frame, pool, lambda table: table.groupby("a").agg(lambda x, by: x.sum() * by, 3))
    check(frame, pool, lambda table: table.groupby("a").apply(lambda x, *, by: x["b"].sum() * by, by=3))
    check(frame, pool, lambda table: table.rolling(2).apply(scaled_sum, raw=True, args=(2,)))


def scaled_sum(window, by):
    return window.sum() * by


def text_or_none(cell):
    return None if cell == 1 else str(cell)


def twice(cell):
    return cell * 2


def row_of_two(cell):
    return pd.Series([cell, 1], index=["cell", "one"])


@given(frames(most=80), st.sampled_from([text_or_none, twice, type, str]), st.sampled_from([None, "ignore"]))
@FEWER
def test_cells_give_what_pandas_gives(pool, frame, function, na_action):
    check(frame, pool, lambda table: table.map(function, na_action=na_action))
    check(frame["c0"], pool, lambda series: series.map(function, na_action=na_action))


@pytest.mark.parametrize("kind", ["Int64", "string", "category", "datetime64[ns, UTC]"])
def test_cells_of_a_column_of_which_only_the_end_is_missing(threads_alone, kind):
    values = pd.Series([1, 2] * 35 + [None] * 5, dtype="Int64")
    frame = pd.DataFrame(
        {"c0": values.astype(kind) if kind != "category" else values.astype(str).astype(kind)}
    )

    check(frame, threads_alone, lambda table: table.map(str))
    check(frame["c0"], threads_alone, lambda series: series.map(str))


@given(frames(), st.sampled_from([text_or_none, twice, row_of_two]), st.sampled_from(["compat", False]))
@FEWER
def test_series_give_what_pandas_gives(pool, frame, function, by_row):
    check(frame["c0"], pool, lambda series: series.apply(function, by_row=by_row))
    check(frame["c0"], pool, lambda series: series.transform(function))


@pytest.mark.parametrize(
    "function",
    [twice, lambda cells: cells - cells.mean(), lambda cell: cell.nothing],
    ids=["cell", "whole", "neither"],
)
def test_a_long_series_is_transformed_as_by_pandas(pool, function):
    check(pd.Series(range(100), name="s"), pool, lambda series: series.transform(function))


@given(frames(NUMBERS), st.sampled_from([first, itself, failing_at_r2, "sum", ["sum", "max"]]))
@FEWER
def test_aggregates_and_transforms_give_what_pandas_gives(pool, frame, function):
    for axis in (0, 1):
        check(frame, pool, lambda table: table.agg(function, axis=axis))  # noqa: B023
        check(frame, pool, lambda table: table.transform(function, axis=axis))  # noqa: B023


def size_and_name(group):
    return f"{getattr(group, 'name', None)}: {len(group)}"


def spread(group):
    return group.max() - group.min()


def centered(group):
    return group - group.mean()


@given(
    frames(NUMBERS),
    st.sampled_from([len, size_and_name, spread, centered, itself]),
    st.sampled_from([{}, {"sort": False}, {"as_index": False}, {"dropna": False}, {"group_keys": False}]),
    st.sampled_from(["apply", "agg", "transform"]),
)
@settings(max_examples=40)
def test_groups_give_what_pandas_gives(pool, frame, function, how, method):
    frame["key"] = [n % 3 if n % 4 else None for n in range(len(frame))]
    frame["kind"] = pd.Categorical(["x" if n % 2 else "y" for n in range(len(frame))], ["x", "y", "z"])

    check(frame, pool, lambda table: getattr(table.groupby("key", **how)[["c0", "key"]], method)(function))
    check(frame, pool, lambda table: getattr(table.groupby("key", **how)["c0"], method)(function))
    keys = ["kind", "key"]
    check(frame, pool, lambda table: getattr(table.groupby(keys, observed=True, **how), method)(function))
    check(
        frame, pool, lambda table: getattr(table.groupby("kind", observed=False, **how).c0, method)(function)
    )


@given(frames(NUMBERS), st.booleans(), st.sampled_from([{}, {"min_periods": 1}, {"center": True}]))
@FEWER
def test_windows_give_what_pandas_gives(pool, frame, raw, how):
    frame["key"] = [n % 2 for n in range(len(frame))]

    check(frame, pool, lambda table: table.rolling(3, **how).apply(np.ptp if raw else spread, raw=raw))
    check(frame["c0"], pool, lambda series: series.rolling(3, **how).apply(spread_of, raw=raw))
    check(frame["c0"], pool, lambda series: series.expanding().apply(spread_of, raw=raw))
    check(frame, pool, lambda table: table.groupby("key")["c0"].rolling(2).apply(spread_of, raw=raw))
    check(frame, pool, lambda table: table.groupby("key").c0.expanding().apply(spread_of, raw=raw))


def spread_of(window):
    return float(np.nanmax(np.asarray(window))) - float(np.nanmin(np.asarray(window)))


@pytest.mark.skipif(not NEW, reason="this pandas has no `engine=` for others")
@given(frames(), st.sampled_from(ROW_FUNCTIONS), st.sampled_from([0, 1]), st.booleans())
@FEWER
def test_the_engine_gives_what_pandas_gives(pool, frame, function, axis, raw):
    engine = nbpar.pandas.engine(pool=pool)
    if raw:
        function = np.size

    want = outcome(lambda: frame.apply(function, axis=axis, raw=raw))
    with at_any_cost():
        got = outcome(lambda: frame.apply(function, axis=axis, raw=raw, engine=engine))

    assert_same(got, want)
    assert_same(
        outcome(lambda: frame["c0"].map(text_or_none, engine=engine)),
        outcome(lambda: frame["c0"].map(text_or_none)),
    )


@pytest.mark.skipif(not NEW, reason="this pandas has no `engine=` for others")
def test_the_module_is_an_engine():
    frame = pd.DataFrame({"a": [1, 2]})

    assert list(frame.apply(first, axis=1, engine=nbpar.pandas)) == [1, 2]


def test_each_row_is_computed_once(threads_alone):
    frame = pd.DataFrame({"a": range(50)})
    seen = []

    def noted(row):
        seen.append(row["a"])
        return row["a"]

    with at_any_cost():
        frame.nbpar(pool=threads_alone).apply(noted, axis=1)

    assert sorted(seen) == list(range(50))


@pytest.fixture(scope="module")
def threads_alone():
    with nbpar.Pool(2, backend="threads", progress="none") as pool:
        yield pool


@pytest.mark.engines
def test_rows_run_on_engines_and_a_failing_one_is_named_by_its_label():
    frame = pd.DataFrame({"a": range(20)}, index=[f"r{n}" for n in range(20)])
    with nbpar.Pool(2, progress="none") as pool:
        table = frame.nbpar(pool=pool, try_here=False)

        assert table.apply(lambda row: row["a"] * 2, axis=1).equals(frame["a"] * 2)
        assert nbpar.last_run.snapshot.total == 20
        with pytest.raises(ZeroDivisionError) as caught:
            table.apply(lambda row: 1 / int(row["a"] - 7), axis=1)

    assert "it was row 'r7', at position 7" in caught.value.__notes__
    assert not any("pandas_" in entry.filename for entry in traceback.extract_tb(caught.value.__traceback__))


def test_a_row_that_fails_here_is_named_too(threads_alone):
    frame = pd.DataFrame({"a": [1, 0]}, index=["x", "y"])

    with pytest.raises(ZeroDivisionError) as caught:
        frame.nbpar(pool=threads_alone).apply(lambda row: 1 // int(row["a"]), axis=1)

    assert caught.value.__notes__ == ["it was row 'y', at position 1"]


def test_short_functions_stay_here(threads_alone):
    frame = pd.DataFrame({"a": range(1000)})
    where = set()

    def noted(row):
        where.add(threading.get_ident())
        return row["a"]

    frame.nbpar(pool=threads_alone).apply(noted, axis=1)

    assert where == {threading.get_ident()}
    assert "workers would not be faster" in nbpar.pandas.decision()


def test_rows_that_turn_out_long_go_on_on_workers(threads_alone, monkeypatch):
    monkeypatch.setattr(pandas_calls, "LATE", 0)
    frame = pd.DataFrame({"a": range(300)})
    where = []

    def slower_and_slower(row):
        where.append(threading.get_ident())
        time.sleep(0 if row["a"] < 100 else 0.02)
        return row["a"]

    got = frame.nbpar(pool=threads_alone).apply(slower_and_slower, axis=1)

    assert list(got) == list(range(300))
    assert len(where) == 300
    assert where[-1] != threading.get_ident()


@pytest.mark.parametrize("option", ["errors", "total", "resume"])
def test_options_that_do_not_fit_a_table_are_refused(option):
    with pytest.raises(TypeError, match=f"{option}.*does not fit a table"):
        pd.DataFrame({"a": [1]}).nbpar(**{option: "skip"})


def test_unknown_options_are_refused():
    with pytest.raises(TypeError, match="unknown option 'n_jobs'; did you mean workers"):
        nbpar.pandas.engine(n_jobs=2)


def test_async_functions_are_refused(threads_alone):
    async def fetched(row):
        return row

    with pytest.raises(TypeError, match="pandas cannot await `fetched`"):
        pd.DataFrame({"a": [1, 2]}).nbpar(pool=threads_alone).apply(fetched, axis=1)


def test_stop_leaves_the_pool_usable(threads_alone):
    frame = pd.DataFrame({"a": range(1000)})

    def stopping(row):
        if row["a"] == 2:
            nbpar.last_run.request_stop()
        time.sleep(0.01)  # so that others are left when it has stopped
        return row["a"]

    with pytest.raises(KeyboardInterrupt):
        frame.nbpar(pool=threads_alone, try_here=False, chunksize=1).apply(stopping, axis=1)

    few = frame.head(4).nbpar(pool=threads_alone, try_here=False)
    assert list(few.apply(first, axis=1)) == [0, 1, 2, 3]
