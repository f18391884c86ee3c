"""The shell is found without loading IPython, even while another thread loads it."""

import sys
from types import SimpleNamespace

import pytest

from nbpar.host.shell import this_shell


def fails():
    raise ImportError("cannot import name 'DummyMod' from partially initialized module")


@pytest.mark.parametrize(
    ("ipython", "shell"),
    [
        (None, None),
        (SimpleNamespace(), None),
        (SimpleNamespace(get_ipython=fails), None),
        (SimpleNamespace(get_ipython=lambda: None), None),
        (SimpleNamespace(get_ipython=lambda: "shell"), "shell"),
    ],
    ids=["not loaded", "begun", "half loaded", "without a shell", "with a shell"],
)
def test_the_shell_is_found_or_not(monkeypatch, ipython, shell):
    monkeypatch.setitem(sys.modules, "IPython", ipython)

    assert this_shell() == shell
