"""Tests with the fixture `execnet` run on execnet itself and on ours: both must pass."""

import importlib

import pytest


@pytest.fixture(
    scope="package", params=["execnet", pytest.param("nbpar.compat.execnet", marks=pytest.mark.engines)]
)
def execnet(request):
    return importlib.import_module(request.param)


@pytest.fixture(scope="package")
def group(execnet):
    made = execnet.Group()
    made.makegateway()
    made.makegateway("popen//id=named")
    yield made
    made.terminate(5)


@pytest.fixture
def gateway(group):
    return group["gw0"]
