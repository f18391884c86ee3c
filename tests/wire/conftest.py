"""What several tests of diagnoses try to pickle."""

from __future__ import annotations

import pytest


@pytest.fixture
def log(tmp_path):
    with (tmp_path / "log").open("w") as file:
        yield file
