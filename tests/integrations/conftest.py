"""Pools that serve as joblib's backend."""

from __future__ import annotations

import pytest

import nbpar


@pytest.fixture(scope="module")
def known():
    nbpar.register_joblib()


@pytest.fixture(scope="module", params=["engines", "threads"])
def pool(request):
    with nbpar.Pool(2, backend=request.param, progress="none") as pool:
        yield pool
