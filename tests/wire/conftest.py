"""Unpicklable objects for several tests of diagnoses."""

from __future__ import annotations

import pytest


@pytest.fixture
def log(tmp_path):
    with (tmp_path / "log").open("w") as file:
        yield file
