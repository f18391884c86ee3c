"""A worker compares packages of the client with its own."""

import sys
from importlib import metadata

import pytest

from nbpar.errors import MissingPackagesError
from nbpar.wire.messages import Package
from nbpar.worker.modules import packages
from nbpar.worker.modules.packages import PackageCheck

OURS = Package("numpy", "numpy", metadata.version("numpy"))
OTHER = Package("dateutil", "python-dateutil", "0.1")
GONE = Package("no_such_package_here", "No-Such", "1.0")
NAMELESS = Package("json", "no-distribution-of-it", "2.0")


def test_equal_versions_and_those_that_nothing_tells_are_fine():
    assert PackageCheck().compare([OURS, NAMELESS], what="it") == ""


def test_other_versions_are_told_once():
    check = PackageCheck()

    first = check.compare([OURS, OTHER], what="the function `f`")

    assert "has other versions of packages that the function `f` imports" in first
    assert first.splitlines()[1:] == [
        "  package          here  there",
        f"  python-dateutil  0.1   {metadata.version('python-dateutil')}",
    ]
    assert check.compare([OTHER], what="another") == ""


def test_missing_ones_are_told_each_time_with_all_that_differ():
    check = PackageCheck()
    check.compare([OTHER], what="it")

    for _ in range(2):
        with pytest.raises(MissingPackagesError) as raised:
            check.compare([OURS, OTHER, GONE], what="the function `f`")

    text = str(raised.value)
    assert "the function `f` imports `no_such_package_here`, which Python" in text
    assert f"`{sys.executable} -m pip install No-Such==1.0`" in text
    assert [line.split()[0] for line in text.splitlines()[2:]] == ["python-dateutil", "No-Such"]


def test_several_are_named_together():
    with pytest.raises(MissingPackagesError, match=r"`no_such_package_here` and `nor_this`, which"):
        PackageCheck().compare([GONE, GONE._replace(module="nor_this")], what="it")


def test_a_finder_that_fails_leaves_it_to_the_function(monkeypatch):
    def fail(_):
        raise SystemExit

    monkeypatch.setattr(packages.importlib.util, "find_spec", fail)

    assert PackageCheck().compare([GONE], what="it") == ""
