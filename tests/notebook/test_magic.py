"""Collaboration: `%%parallel_map` in a real shell, on a pool that runs everything in this process."""

from __future__ import annotations

from functools import partial

import pytest

from nbpar import LostChangeWarning
from nbpar.core.scheduling.needs import Needs
from nbpar.views.base import Silent
from nbpar.views.choose import choose
from nbpar.views.text import Text


def test_the_last_expression_of_the_body_is_the_result_of_each_item(run, shell):
    run("texts = ['a b a', 'c']")
    assert run("%%parallel_map text in texts -> counts\nwords = text.split()\nlen(set(words))") is None

    assert shell.user_ns["counts"] == [2, 1]


def test_without_a_name_the_results_are_the_output_of_the_cell(run):
    assert run("%%parallel_map x in range(3)\nx * x") == [0, 1, 4]


def test_a_semicolon_hides_the_output_and_keeps_the_results(run, pools):
    assert run("%%parallel_map x in range(3)\nx * x;  # quiet") is None
    assert pools.pools[-1].functions[-1](3) == 9


def test_what_the_body_assigns_does_not_reach_the_notebook(run, shell):
    run("%%parallel_map x in [1]\ny = x\ny")

    assert {"x", "y", "parallel_map"}.isdisjoint(shell.user_ns)


def test_all_options_reach_the_pool(run, pools):
    run(
        "%%parallel_map -n 3 --backend threads --chunk 5 --timeout 1.5 --retries 2 --errors collect --seed -7"
        " --rate 3/min --needs memory=2GB,cores=1.5 --label 'my run' --resume=night --progress none"
        " x in [1]\nx"
    )

    pool = pools.pools[-1]
    assert (pool.count, pool.backend) == (None, "threads")
    assert pool.asked == [
        (
            "map",
            {
                "workers": 3,
                "chunksize": 5,
                "timeout": 1.5,
                "retries": 2,
                "rate": "3/min",
                "needs": Needs(2 * 10**9, 1.5),
                "errors": "collect",
                "seed": -7,
                "label": "my run",
                "resume": "night",
                "progress": "none",
            },
        )
    ]


def test_options_that_are_not_given_are_left_to_the_pool(run, pools):
    run("%%parallel_map x in [1]\nx")

    assert (pools.pools[-1].count, pools.pools[-1].backend) == (None, "engines")
    assert pools.pools[-1].asked == [("map", {"label": "x in [1]"})]


def test_a_run_without_a_label_is_called_by_its_loop_which_may_be_long(run, pools):
    run("%%parallel_map x,  y in zip(range(10), range(20, 30), strict=True) -> pairs  # so it is\nx")

    assert pools.pools[-1].asked == [("map", {"label": "x, y in zip(range(10), range(20, 30), s…"})]


def test_unordered_gives_results_as_they_come(run, pools):
    assert run("%%parallel_map --unordered x in range(3)\nx") == [2, 1, 0]


def test_a_body_that_waits_has_many_items_under_way(run, pools):
    run("%%parallel_map -c 7 x in [] -> values\nawait x")

    assert pools.pools[-1].asked == [("map", {"label": "x in []", "concurrency": 7})]


def test_a_cell_can_be_profiled(run, pools):
    run("%%parallel_map --profile x in [1]\nx")

    assert pools.pools[-1].asked == [("map", {"label": "x in [1]", "profile": True})]


def test_concurrency_for_a_body_that_never_waits_is_refused(fail):
    error, _ = fail("%%parallel_map -c 7 x in range(3)\nx")

    assert "is for a body with `await`" in str(error)
    assert "to_thread" in str(error)


def test_background_gives_the_run(run, shell, pools):
    run("%%parallel_map --background --unordered x in range(3) -> later\nx")

    assert shell.user_ns["later"] == ("run", [0, 1, 2])
    assert pools.pools[-1].asked == [("map_async", {"ordered": False, "label": "x in range(3)"})]


def test_dollars_and_braces_on_the_line_are_python(run):
    run("name = 'x'")

    assert run("%%parallel_map x in ['$name', '{name}', f'{name}']\nx") == ["$name", "{name}", "x"]


def test_the_expression_sees_the_notebook_in_comprehensions_and_may_bind(run, shell):
    run("base = 10")

    assert run("%%parallel_map x in (items := [base + i for i in range(2)])\nx") == [10, 11]
    assert shell.user_ns["items"] == [10, 11]


def test_future_imports_of_earlier_cells_hold(run):
    run("from __future__ import annotations")

    assert run("%%parallel_map x in [1]\ndef f(a: unknown): ...\nf.__annotations__") == [{"a": "unknown"}]


def test_magics_in_the_body_run_in_the_shell_of_the_worker(run, shell):
    shell.register_magic_function(lambda line: f"<{line}>", magic_name="echo")

    assert run("%%parallel_map x in [1]\ny = %echo a\n(x, y)") == [(1, "<a>")]


def test_the_shell_itself_does_not_travel_with_the_body(run, pools, shell):
    import cloudpickle
    from IPython.core.getipython import get_ipython

    shell.register_magic_function(lambda line: line, magic_name="echo")
    run("%%parallel_map x in [1]\n%echo a")
    function = pools.pools[-1].functions[-1]

    assert function.__kwdefaults__ == {"get_ipython": get_ipython}
    assert cloudpickle.loads(cloudpickle.dumps(function))(1) == "a"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--chunks 3 x in [1]", "unknown option `--chunks`; did you mean `--chunk`?"),
        ("--zzz x in [1]", "unknown option `--zzz`; the options are -n, --workers, --backend"),
        ("-n", "option `-n` needs a value; write `-n VALUE` before the loop"),
        (
            "-n x in [1]",
            "option `-n` needs a value, and 'x', which follows it, belongs to the loop; write `-n VALUE",
        ),
        ("--label x in [1]", "write `--label VALUE x in [1]`"),
        ("-n (a, b) in [1]", "argument -n/--workers: expected a whole number from 1, was '(a,'"),
        ("-n 0 x in [1]", "argument -n/--workers: expected a whole number from 1, was '0'"),
        ("--timeout soon x in [1]", "argument --timeout: expected seconds, more than 0, was 'soon'"),
        ("--needs gpus=1 x in [1]", "expected memory=2GB,cores=2, or one of the two, was 'gpus=1'"),
        ("--chunk some x in [1]", "argument --chunk: expected a whole number from 1, or auto, was 'some'"),
        ("--seed x x in [1]", "argument --seed: expected a whole number, was 'x'"),
        ("--errors ignore x in [1]", "argument --errors: invalid choice: 'ignore' (choose from"),
        ("--unordered=yes x in [1]", "option `--unordered` takes no value, was given 'yes'"),
        ("--label 'a x in [1]", 'a quote is not closed in "\'a x in [1]"'),
        ("x in [1] --unordered", "option `--unordered` comes too late; write options first"),
        ("x in [1] -n 4", "options such as `-n` come before the loop"),
        ("", "the loop is missing; expected `TARGETS in EXPRESSION [-> NAME]`"),
        ("x of [1]", "cannot read 'x of [1]' as a loop (invalid syntax)"),
        ("x in [1] -> a.b", "`->` must be followed by one name for the results, was 'a.b'"),
        ("x in 5", "`5` is of type 'int', which cannot be iterated; did you mean `range(5)`?"),
        ("x in None", "`None` is of type 'NoneType', which cannot be iterated; give a list"),
    ],
)
def test_a_wrong_line_is_told_in_one_line_that_helps(fail, line, message):
    error, shown = fail(f"%%parallel_map {line}\nx")

    assert message in str(error)
    assert shown.startswith("UsageError: ")
    assert shown.count("\n") == 1


def test_an_async_iterable_is_told_how_to_become_a_list(run, fail):
    run("async def source():\n    yield 1")
    error, _ = fail("%%parallel_map x in source()\nx")

    assert "collect it in a cell before: `items = [item async for item in source()]`" in str(error)


def test_await_in_the_expression_is_an_error_at_the_line_of_the_magic(fail):
    error, _ = fail("%%parallel_map x in await source()\nx")

    assert (error.lineno, error.text.strip()) == (1, "%%parallel_map x in await source()")


def test_a_syntax_error_in_the_body_stops_the_cell_before_the_expression_runs(run, fail, shell):
    error, shown = fail("%%parallel_map x in (touched := [1])\ny = 1\nx = = 2")

    assert (error.lineno, error.text.strip()) == (3, "x = = 2")
    assert "x = = 2\n" in shown
    assert "touched" not in shell.user_ns


def test_on_engines_the_body_cannot_assign_a_global(run, fail, shell):
    body = "global total\ntotal += x"
    run("total = 0")
    error, _ = fail(f"%%parallel_map x in [1]\n{body}")
    assert "assigns `total` of the notebook by `global`, but each engine has a copy" in str(error)

    run(f"%%parallel_map --backend threads x in [1, 2]\n{body}")
    assert shell.user_ns["total"] == 3


def test_a_large_captured_object_is_mentioned(run, capsys):
    run("blob = bytes(150_000_000)\nsmall = 1")
    run("%%parallel_map x in [1]\nlen(blob) + small;")
    assert "captured `blob`: 150 MB, sent once" in capsys.readouterr().out

    run("%%parallel_map --backend threads x in [1]\nlen(blob) + small;")
    assert "captured" not in capsys.readouterr().out


def test_help_shows_every_option(shell):
    from nbpar.notebook.options import TAKES_VALUE

    help_text = shell.find_cell_magic("parallel_map").__doc__

    assert "%%parallel_map [options] TARGETS in EXPRESSION [-> NAME]" in help_text
    assert all(option in help_text for option in TAKES_VALUE)


def test_unloading_takes_the_magics_away(shell):
    from nbpar.notebook.extension import install, uninstall

    uninstall(shell)
    uninstall(shell)

    assert shell.find_cell_magic("parallel_map") is None
    assert shell.find_line_magic("nbpar") is None
    install(shell, None)


def test_what_the_magic_timeit_repeats_shows_no_progress(run, shell):
    shell.user_ns |= {"choose": partial(choose, controls=None, label="f", total=1), "views": (views := [])}

    run("%timeit -n 2 -r 1 views.append(choose('auto'))")
    run("views.append(choose('auto'))")

    assert [type(view) for view in views[-3:]] == [Silent, Silent, Text]


def test_a_cell_whose_items_have_no_results_shows_none(run):
    assert run("%%parallel_map x in range(3)\npass") is None
    assert run("%%parallel_map x in range(3)\nNone if x else 0") == [0, None, None]
    assert run("%%parallel_map x in []\nx") == []


def test_results_that_are_none_are_bound_all_the_same(run, shell):
    run("%%parallel_map x in range(2) -> nothing\nprint(end='')")

    assert shell.user_ns["nothing"] == [None, None]


@pytest.mark.parametrize(
    ("body", "way"),
    [("out.append(x)", r"`out.append\(...\)`"), ("total += x", r"`total \+= ...`"), ("d[x] = x", "`d")],
)
def test_what_the_body_changes_in_the_notebook_is_said_once_in_each_cell(run, body, way):
    run("out, total, d = [], 0, {}")

    for _ in range(2):
        with pytest.warns(LostChangeWarning, match=way) as caught:
            run(f"%%parallel_map x in range(2) -> y\n{body}\nx")
        assert len(caught) == 1
        assert (caught[0].filename, caught[0].lineno) == ("cell", 2)


def test_what_threads_change_in_the_notebook_comes_back_but_for_names_that_begin_anew(run, shell):
    run("out, total = [], 0")

    run("%%parallel_map --backend threads x in range(3) -> y\nout.append(x)")
    with pytest.warns(LostChangeWarning, match=r"`total \+= ...` changes a copy"):
        run("%%parallel_map --backend threads x in range(3) -> y\ntotal += x")

    assert (shell.user_ns["out"], shell.user_ns["total"]) == ([0, 1, 2], 0)


def test_a_body_that_keeps_to_itself_is_not_warned_of(run):
    run("out, total, d = [1], 5, {0: 1}")

    assert run("%%parallel_map x in range(2)\nmine = []\nmine.append(x)\nlen(out) + total + d.get(x, 0)") == [
        7,
        6,
    ]
