"""What `make test-package` has built into dist/."""

from __future__ import annotations

from pathlib import Path

import pytest

DIST = Path(__file__).parents[2] / "dist"


def the_only(pattern):
    found = list(DIST.glob(pattern))
    assert len(found) == 1, f"dist/ has {found or 'nothing'} for {pattern}: run `make test-package`"
    return found[0]


@pytest.fixture(scope="session")
def wheel():
    return the_only("nbpar-*.whl")


@pytest.fixture(scope="session")
def sdist():
    return the_only("nbpar-*.tar.gz")
