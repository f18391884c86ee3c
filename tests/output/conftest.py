"""Pools of every kind, on both transports."""

from __future__ import annotations

import atexit

import pytest

import nbpar

IN_PROCESS = {"serial": {"backend": "serial"}, "threads": {"backend": "threads"}}
FAR = {"engines": {}, "controller": {"path": "controller"}}


@pytest.fixture(scope="session", params=[*IN_PROCESS, *FAR])
def pool(request):
    """A pool of each kind in turn."""
    with nbpar.Pool(2, progress="none", **{**IN_PROCESS, **FAR}[request.param]) as pool:
        yield pool


@pytest.fixture
def far_pool(pool):
    """The same, where items run in processes of their own."""
    if pool.backend != "engines":
        pytest.skip("items run in this process")
    return pool


@pytest.fixture
def deferring_pool(pool):
    """The same pools, where the waiting caller shows the items' output."""
    if pool.backend == "serial":
        pytest.skip("output is shown while items run")
    return pool


@pytest.fixture
def shell(monkeypatch, tmp_path):
    """IPython's shell in this process, with a list of what is displayed."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    config = Config()
    config.HistoryManager.enabled = False
    shell = InteractiveShell.instance(config=config)
    shell.displayed = []
    monkeypatch.setattr(
        shell.display_pub,
        "publish",
        lambda data, metadata=None, **_: shell.displayed.append((data, metadata)),
    )
    yield shell
    shell.restore_sys_module_state()
    atexit.unregister(shell.atexit_operations)  # it would keep the shell, and collect garbage at the end
    InteractiveShell.clear_instance()
