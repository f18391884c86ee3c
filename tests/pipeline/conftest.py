"""Pools of every backend, and pipelines on them that must leave nothing behind."""

import pytest

import nbpar


@pytest.fixture(scope="package")
def pools():
    made = {
        "engines": nbpar.Pool(2, progress="none"),
        "threads": nbpar.Pool(4, backend="threads", progress="none"),
        "serial": nbpar.Pool(backend="serial", progress="none"),
    }
    yield made
    for pool in made.values():
        pool.close()


@pytest.fixture(params=["engines", "threads", "serial"])
def pool(request, pools):
    return pools[request.param]


@pytest.fixture
def threads(pools):
    return pools["threads"]


@pytest.fixture
def engines(pools):
    return pools["engines"]


@pytest.fixture
def pipeline(opened):
    return lambda *args, **kwargs: opened(nbpar.Pipeline, *args, **kwargs)


@pytest.fixture
def union(opened):
    return lambda *args, **kwargs: opened(nbpar.Union, *args, **kwargs)
