"""Tests that take `execnet` run on execnet itself and on ours: what holds there has to hold here."""

import importlib

import pytest


@pytest.fixture(scope="package", params=["execnet", "nbpar.compat.execnet"])
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
