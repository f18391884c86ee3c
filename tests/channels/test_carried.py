"""Code that uses modules which the workers cannot import."""

import importlib
import itertools
import os
import sys

import pytest

import nbpar
from nbpar.channels import ports
from nbpar.channels.sources import standing_alone
from nbpar.endpoint.carried_modules import CarriedModule, offer

MODULE = """
from carried_pack_{number} import inner

FACTOR = {factor}

class Result:
    def __init__(self, value):
        self.value = value

def scale(channel, number):
    channel.send(Result(inner.add_one(number) * FACTOR))

def fails(channel):
    raise ValueError("broken")
"""


numbers = itertools.count()


@pytest.fixture
def number():
    """Tells the modules of one test from those of others, which workers may have."""
    return next(numbers)


@pytest.fixture
def folder(tmp_path, monkeypatch, number):
    """A package and a module that uses it, where no worker looks for them."""
    package = tmp_path / f"carried_pack_{number}"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "inner.py").write_text("def add_one(number):\n    return number + 1\n")
    (tmp_path / f"carried_module_{number}.py").write_text(MODULE.format(factor=10, number=number))
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.fixture
def module(gateway, folder, number):
    gateway.remote_exec("channel.send(1)").receive(60)  # the worker lives before its sys.path could change
    return importlib.import_module(f"carried_module_{number}")


@pytest.fixture
def far_gateway(engines):
    return engines.gateways[0]


def test_a_function_takes_the_modules_along_that_it_needs(gateway, module):
    result = gateway.remote_exec(module.scale, number=4).receive(60)

    assert (type(result), result.value) == (module.Result, 50)


def test_the_version_that_was_reloaded_here_is_what_runs_there(gateway, module, folder, number):
    gateway.remote_exec(module.scale, number=1).receive(60)

    (folder / f"{module.__name__}.py").write_text(MODULE.format(factor=1000, number=number))
    importlib.reload(module)

    assert gateway.remote_exec(module.scale, number=1).receive(60).value == 2000


def test_a_traceback_shows_the_lines_of_a_module_that_was_taken_along(gateway, module):
    channel = gateway.remote_exec(module.fails)

    with pytest.raises(nbpar.RemoteError, match="broken") as raised:
        channel.receive(60)
    assert 'raise ValueError("broken")' in raised.value.formatted


def test_code_that_was_refused_takes_its_modules_along_the_next_time(far_gateway, folder, number):
    busy = far_gateway.remote_exec("channel.receive()")
    module = importlib.import_module(f"carried_module_{number}")
    with pytest.raises(nbpar.GatewayBusy, match="runs code"):
        far_gateway.remote_exec(module.scale, number=1, busy="raise")
    busy.send(None)
    busy.wait_closed(60)

    assert far_gateway.remote_exec(module.scale, number=1).receive(60).value == 20


def test_long_sources_are_sent_when_they_are_imported(far_gateway, folder, number, monkeypatch):
    monkeypatch.setattr(ports, "MOST", 10)
    module = importlib.import_module(f"carried_module_{number}")

    assert far_gateway.remote_exec(module.scale, number=1).receive(60).value == 20


def test_a_package_of_modules_without_a_file_of_its_own_is_there_too(gateway, folder, number):
    space = folder / f"carried_space_{number}"
    space.mkdir()
    (space / "part.py").write_text("def tell(channel):\n    channel.send(__name__)\n")
    part = importlib.import_module(f"{space.name}.part")

    assert gateway.remote_exec(part.tell).receive(60) == f"{space.name}.part"


def test_a_file_that_was_edited_since_its_source_came_is_what_a_reload_brings(tmp_path, monkeypatch):
    file = tmp_path / "carried_alone.py"
    monkeypatch.delitem(sys.modules, "carried_alone", raising=False)
    offer({"carried_alone": CarriedModule(b"VALUE = 1", str(file), package=False)})
    module = importlib.import_module("carried_alone")
    before = module.VALUE

    file.write_text("VALUE = 2")
    late = file.stat().st_mtime + 60
    os.utime(file, (late, late))
    importlib.reload(module)

    assert (before, module.VALUE) == (1, 2)


def test_a_function_that_needs_nothing_of_its_module_does_not_have_it_imported(gateway, folder, number):
    (folder / f"carried_shy_{number}.py").write_text(
        f"import os\n\nif os.getpid() != {os.getpid()}:\n    raise ImportError('only there')\n\n\n"
        "def tell(channel, what, *, times=2):\n    import math\n\n"
        "    channel.send([math.sqrt(what)] * times)\n"
    )
    shy = importlib.import_module(f"carried_shy_{number}")

    channel = gateway.remote_exec(shy.tell, what=16)

    assert channel.receive(60) == [4.0, 4.0]


def test_what_a_function_of_a_module_has_of_its_own_travels_with_it():
    def outer(value):
        return lambda channel: channel.send(value)

    def needs_nothing(channel, one=1, *, two=2):
        """Send."""
        channel.send(one + two)

    needs_nothing.__module__ = needs_more.__module__ = "a_module"
    alone = standing_alone(needs_nothing)
    sent = []

    class Channel:
        send = sent.append

    alone(Channel)
    assert (sent, alone.__name__, alone.__module__) == ([3], "needs_nothing", "__channelexec__")
    for other in (needs_more, outer(1), len, Channel()):
        assert standing_alone(other) is other


def needs_more(channel):
    channel.send(importlib)
