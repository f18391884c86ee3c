"""Fixtures of all tests."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys

import pytest

ENGINES = ("nbpar.cluster.fork_server.process", "ipyparallel.engine", "ipyparallel.controller")
"""Modules that run in the processes of a cluster."""

ON_ENGINES = {"engines", "controller", "encrypted"}
"""Names of parameters whose tests run on engines."""

running: list[pytest.Item] = []
"""The test that runs, if one does."""


def pytest_configure(config):
    """Hear Ctrl-C also where the tests were started in the background, which ignores it.

    Where tests with the marker are left out, no other may start engines.  (Elsewhere a thread that an
    earlier test has left could start them, and this one would be blamed.)
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    let_examples_take_their_time()
    if "not engines" in config.option.markexpr:
        sys.addaudithook(only_marked_tests_start_engines)


def let_examples_take_their_time():
    """Have no limits of time for hypothesis's examples: the machine may be busy with something else."""
    try:
        from hypothesis import HealthCheck, settings
    except ImportError:  # the environment of the browser
        return
    settings.register_profile(
        "any machine",
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
        derandomize="CI" in os.environ,  # there a change is judged, and nothing is explored
    )
    settings.load_profile("any machine")


def pytest_itemcollected(item):
    """Mark the tests that have a parameter which says that they run on engines."""
    if " at 0x" in item.nodeid:  # two processes that share the tests would not agree on their names
        raise pytest.UsageError(f"{item.nodeid}: give its parameters `ids=` without addresses")
    values = item.callspec.params.values() if hasattr(item, "callspec") else ()
    if any(isinstance(value, str) and value in ON_ENGINES for value in values):
        item.add_marker("engines")


def pytest_collection_modifyitems(config, items):
    """Leave out what is for the night, unless `-m` or the name of a test asks for it."""
    if "nightly" in config.option.markexpr or any("::" in argument for argument in config.args):
        return
    left_out = [item for item in items if item.get_closest_marker("nightly")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("nightly")]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Know which test runs."""
    running[:] = [item]
    try:
        return (yield)
    finally:
        running.clear()


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable():
    """Escape what cannot be encoded: workers of pytest-xdist send what tests have printed."""
    return encodable((yield))


def encodable(value):
    """Return a value of JSON's types whose texts can all be encoded."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {encodable(name): encodable(one) for name, one in value.items()}
    return type(value)(map(encodable, value)) if isinstance(value, (list, tuple)) else value


def only_marked_tests_start_engines(event, args):
    """Let no engine start in a test without the marker: `make fast` leaves out what has it."""
    if event != "subprocess.Popen" or not running or running[0].get_closest_marker("engines"):
        return
    if any(module in str(word) for word in args[1] for module in ENGINES):
        raise AssertionError(f"{running[0].nodeid} starts engines: mark it with `pytest.mark.engines`")


def pytest_unconfigure(config):
    """Fail rather than hang when a test has left a thread that the interpreter waits for."""
    if hasattr(config, "workerinput"):
        return  # a worker of pytest-xdist lives until the last one has finished
    faulthandler.dump_traceback_later(120, exit=True, file=sys.__stderr__)


@pytest.fixture
def opened():
    """Make things that are closed after the test: `opened(nbpar.Pipeline, stages)`."""
    made = []

    def make(kind, *args, **kwargs):
        made.append(kind(*args, **kwargs))
        return made[-1]

    yield make
    for one in made:
        one.close()
