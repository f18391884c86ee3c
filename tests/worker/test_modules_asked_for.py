"""Imports that ask the client, as on another machine and as on its own."""

import importlib
import inspect
import os
import pkgutil
import sys
from importlib import resources

import pytest

from nbpar.endpoint import carried_modules
from nbpar.endpoint.carried_modules import Answer, CarriedModule, asking, is_carried, update
from nbpar.errors import PicklingError

PACKAGE = b"""
from importlib import resources
from asked_pack.part import VALUE

def words():
    return resources.files(__name__).joinpath("data/words.txt").read_text()
"""


def package(name, source=b"", folder="/nowhere"):
    return CarriedModule(source, f"{folder}/{name}/__init__.py", True, (f"{folder}/{name}",))


def module(name, source, folder="/nowhere"):
    return CarriedModule(source, f"{folder}/{name.replace('.', '/')}.py", False)


class Client:
    """What a client has; it counts the questions."""

    def __init__(self):
        self.modules = {
            "asked_pack": package("asked_pack", PACKAGE),
            "asked_pack.part": module("asked_pack.part", b"VALUE = 1\n"),
            "asked_space": CarriedModule(b"", "", True),
            "asked_space.one": module("asked_space.one", b"HERE = __name__\n"),
        }
        self.files = {"data/words.txt": b"one two"}
        self.refusals = {}
        self.questions = []

    def ask(self, name, files):
        self.questions.append(name)
        if files:
            return Answer({}, self.refusals.get(name, ""), {} if name in self.refusals else self.files)
        top = name.partition(".")[0]
        return Answer(
            {one: it for one, it in self.modules.items() if one.partition(".")[0] == top},
            self.refusals.get(name, ""),
        )

    def edit(self, name, source):
        self.modules[name] = self.modules[name]._replace(source=source)
        return [(one, it.version) for one, it in self.modules.items()]


@pytest.fixture
def client(monkeypatch):
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setattr(carried_modules, "_finder", carried_modules._Finder())
    yield Client()
    for name in [name for name in sys.modules if name.startswith("asked_")]:
        del sys.modules[name]


@pytest.fixture(params=[True, False], ids=["far", "near"])
def far(request):
    return request.param


def runs_all(name, version):
    return True


def test_one_question_brings_a_package(client, far):
    with asking(client.ask, far=far):
        found = importlib.import_module("asked_pack")

        assert (found.VALUE, found.words()) == (1, "one two")
        assert "return resources" in inspect.getsource(found.words)
        assert pkgutil.get_data("asked_pack", "data/words.txt") == b"one two"
        with resources.as_file(resources.files("asked_pack") / "data" / "words.txt") as path:
            assert path.read_text() == "one two"
    assert client.questions[0] == "asked_pack"
    assert "asked_pack.part" not in client.questions


def test_a_namespace_needs_no_file(client, far):
    with asking(client.ask, far=far):
        assert importlib.import_module("asked_space.one").HERE == "asked_space.one"


def test_what_the_client_does_not_have_is_asked_for_once(client, far):
    with asking(client.ask, far=far):
        for _ in range(3):
            with pytest.raises(ModuleNotFoundError):
                importlib.import_module("asked_nowhere")

    assert client.questions == ["asked_nowhere"]


def test_installed_packages_are_not_asked_for(client, far):
    with asking(client.ask, far=far):
        assert importlib.util.find_spec("numpy") is not None
        assert importlib.util.find_spec("json") is not None
        importlib.util.find_spec("numpy.no_such_part")

    assert client.questions == []


def test_without_a_client_nothing_is_asked(client, far, monkeypatch):
    with asking(client.ask, far=far), monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: -1)  # as in a fork
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("asked_pack")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("asked_pack")

    assert client.questions == []


def test_a_new_version_is_loaded_with_its_importers(client):
    with asking(client.ask, far=True):
        found = importlib.import_module("asked_pack")
        update(client.edit("asked_pack.part", b"VALUE = 2\n"), runs_all)

        assert found.VALUE == 2
        assert is_carried("asked_pack.part")
        asked = len(client.questions)
        update(client.edit("asked_pack.part", b"VALUE = 2\n"), runs_all)
    assert len(client.questions) == asked


def test_a_version_that_cannot_be_loaded_is_an_error_until_there_is_another(client):
    with asking(client.ask, far=True):
        found = importlib.import_module("asked_pack")
        for _ in range(2):
            with pytest.raises(PicklingError, match=r"the new version of module `asked_pack.part`: division"):
                update(client.edit("asked_pack.part", b"VALUE = 1 / 0\n"), runs_all)
        update(client.edit("asked_pack.part", b"VALUE = 3\n"), runs_all)

        assert found.VALUE == 3


def test_what_this_machine_has_of_the_name_gives_way(client, tmp_path, monkeypatch):
    (tmp_path / "asked_pack.py").write_text("VALUE = 'theirs'\n")
    (tmp_path / "asked_space.py").write_text("VALUE = 'theirs'\n")
    monkeypatch.syspath_prepend(tmp_path)
    loaded = importlib.import_module("asked_pack")
    client.modules["asked_pack"] = module("asked_pack", b"VALUE = 'mine'\n")
    del client.modules["asked_pack.part"]

    with asking(client.ask, far=True):
        update([("asked_pack", client.modules["asked_pack"].version)], lambda name, version: False)
        assert loaded.VALUE == "mine"
        assert not hasattr(importlib.import_module("asked_space"), "VALUE")


def test_a_refusal_is_the_reason(client, far):
    client.refusals = {"asked_fast": "module 'asked_fast' is compiled", "asked_pack": "too many files"}
    with asking(client.ask, far=far):
        with pytest.raises(ModuleNotFoundError, match="'asked_fast' is compiled"):
            importlib.import_module("asked_fast")
        found = importlib.import_module("asked_pack")
        with pytest.raises(FileNotFoundError, match="too many files"):
            found.words()


def test_a_file_that_did_not_come_is_named(client, far):
    with asking(client.ask, far=far):
        importlib.import_module("asked_pack")
        root = resources.files("asked_pack")

        with pytest.raises(FileNotFoundError, match=r"'data/none.txt'"):
            root.joinpath("data", "none.txt").read_bytes()
        with pytest.raises(FileNotFoundError, match="no data file"):
            pkgutil.get_data("asked_pack", "none.txt")
        assert [entry.name for entry in root.iterdir()] == ["data"]
        assert (root / "data").is_dir()
        assert not (root / "data").is_file()
        assert root.joinpath("data/words.txt").open("rb").read() == b"one two"
