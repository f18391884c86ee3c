"""The configuration files of Binder; `binder/build.py` builds the environment."""

import os
import runpy
from pathlib import Path

import pytest

BINDER = Path(__file__).parents[1] / "binder"


@pytest.fixture
def read_environment():
    return runpy.run_path(str(BINDER / "build.py"))["read_environment"]


def test_python_is_pinned_and_packages_are_named(read_environment):
    pinned, packages = read_environment((BINDER / "environment.yml").read_text("utf-8"))

    assert pinned == "3.12"
    assert {package.partition(">=")[0] for package in packages} == {"numpy", "anywidget", "ipyparallel"}


def test_an_open_version_of_python_is_refused(read_environment):
    with pytest.raises(ValueError, match="must pin Python"):
        read_environment("dependencies:\n  - python>=3.12\n")


def test_what_installs_this_repository_can_be_executed():
    assert os.access(BINDER / "postBuild", os.X_OK)
