"""Modules of this host that engines on other hosts import, where their files do not exist."""

import importlib
import itertools
import os
import pickle
import socket
import sys
import textwrap
import warnings
from pathlib import Path

import pytest

import nbpar

numbers = itertools.count()


class Folder:
    """A folder of modules that only this host has."""

    def __init__(self, path):
        self.path = path

    def write(self, name, text):
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))
        late = file.stat().st_mtime_ns + next(numbers)  # two edits in a tick of the clock differ
        os.utime(file, ns=(late, late))

    def load(self, name):
        importlib.invalidate_caches()
        return importlib.import_module(name)

    def reload(self, module):
        Path(importlib.util.cache_from_source(module.__file__)).unlink(missing_ok=True)
        return importlib.reload(module)


@pytest.fixture(scope="module")
def pool(stage):
    """An engine on each of two hosts, which live longer than any module."""
    hosts = {"one": 1, "two": 1}
    with (
        nbpar.Cluster.ssh(hosts, command=stage.command, start_timeout=100) as cluster,
        nbpar.Pool(cluster=cluster) as made,
    ):
        assert sorted(made.each(socket.gethostname)) == ["one", "two"]
        yield made


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    yield Folder(tmp_path)
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def test_a_module_beside_the_notebook_is_imported_there(pool, folder):
    folder.write("beside.py", "FACTOR = 3\ndef scaled(x):\n    return x * FACTOR\n")
    beside = folder.load("beside")

    assert not any(pool.each(os.path.exists, beside.__file__))
    assert pool.map(beside.scaled, range(4)) == [0, 3, 6, 9]
    assert pool.map(lambda x: beside.scaled(x) + 1, range(4)) == [1, 4, 7, 10]


def test_items_and_results_may_be_of_classes_of_a_module(pool, folder):
    folder.write(
        "shapes.py",
        """
        class Square:
            def __init__(self, side):
                self.side = side

            def __eq__(self, other):
                return type(other) is Square and other.side == self.side
        """,
    )
    shapes = folder.load("shapes")
    turned = [shapes.Square(side) for side in range(4)]

    found = pool.map(lambda square: type(square)(-square.side), turned)

    assert found == [shapes.Square(-side) for side in range(4)]


def test_a_package_travels_with_its_relative_and_circular_imports(pool, folder):
    folder.write("src/ring/__init__.py", "from .left import ping\nfrom ring.deep.core import BASE\n")
    folder.write("src/ring/left.py", "from . import right\n\ndef ping(x):\n    return right.pong(x) + 1\n")
    folder.write("src/ring/right.py", "from . import left\n\ndef pong(x):\n    return x * left.NAME_LENGTH\n")
    folder.write(
        "src/ring/left.py",
        """
        from . import right

        NAME_LENGTH = len(__name__)

        def ping(x):
            return right.pong(x) + 1
    """,
    )
    folder.write("src/ring/deep/core.py", "from ..left import NAME_LENGTH as BASE\n")  # a namespace package
    sys.path.insert(0, str(folder.path / "src"))
    try:
        ring = folder.load("ring")
        found = pool.map(lambda x: (ring.ping(x), ring.BASE), range(3))
    finally:
        sys.path.remove(str(folder.path / "src"))

    assert found == [(x * 9 + 1, 9) for x in range(3)]


def test_a_module_that_only_the_item_imports_is_asked_for(pool, folder):
    folder.write("lazily.py", "import itertools\nfrom lazily_too import TWO\n")
    folder.write("lazily_too.py", "TWO = 2\n")

    def late(x):
        import lazily

        return x + lazily.TWO

    assert pool.map(late, range(3)) == [2, 3, 4]
    assert "lazily" not in sys.modules


def test_an_edited_module_runs_in_the_new_version_and_so_do_its_importers(pool, folder):
    folder.write("base.py", "def value():\n    return 'old'\n")
    folder.write("user.py", "from base import value\n\ndef told(x):\n    return x, value()\n")
    base, user = folder.load("base"), folder.load("user")
    assert set(pool.each(user.told, 1)) == {(1, "old")}

    folder.write("base.py", "def value():\n    return 'new'\n")
    before = set(pool.each(user.told, 1))
    folder.reload(base)
    user = folder.reload(user)

    assert before == {(1, "old")}  # as here
    assert set(pool.each(user.told, 1)) == {(1, "new")}


def test_a_module_of_items_alone_is_kept_up_to_date_as_well(pool, folder):
    folder.write("thing.py", "class Thing:\n    def told(self):\n        return 'old'\n")
    thing = folder.load("thing")
    ask = pool.map(lambda it: it.told(), [thing.Thing()] * 4)

    folder.write("thing.py", "class Thing:\n    def told(self):\n        return 'new'\n")
    thing = folder.reload(thing)

    assert (set(ask), set(pool.map(lambda it: it.told(), [thing.Thing()] * 4))) == ({"old"}, {"new"})


def test_an_edit_before_the_first_run_that_this_process_has_not_loaded_is_told(pool, folder):
    folder.write("early.py", "def f(_):\n    return 'old'\n")
    early = folder.load("early")
    folder.write("early.py", "def f(_):\n    return 'new'\n")

    with pytest.warns(nbpar.StaleModuleWarning, match="'early' was edited after the notebook had imported"):
        assert set(pool.each(early.f, 0)) == {"new"}

    early = folder.reload(early)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert set(pool.each(early.f, 0)) == {"new"}


def test_what_the_host_has_under_the_same_name_is_not_used(pool, folder):
    def place_another(folder):
        sys.path.append(folder)
        Path(folder).mkdir(exist_ok=True)
        Path(folder, "twin.py").write_text("def f(x):\n    return 'theirs'\n")
        Path(folder, "twin_loaded.py").write_text("def f(x):\n    return 'theirs'\n")
        import twin_loaded

        return twin_loaded.f(0)

    theirs = "/tmp/nbpar-their-modules"
    assert set(pool.each(place_another, theirs)) == {"theirs"}
    folder.write("twin.py", "def f(x):\n    return 'mine'\n")
    folder.write("twin_loaded.py", "def f(x):\n    return 'mine'\n")
    twin, loaded = folder.load("twin"), folder.load("twin_loaded")

    try:
        found = pool.each(lambda: (twin.f(0), loaded.f(0)))
    finally:
        pool.each(lambda: __import__("shutil").rmtree(theirs))

    assert set(found) == {("mine", "mine")}


def test_a_traceback_shows_the_lines_of_the_module(pool, folder):
    folder.write("fails.py", "def f(x):\n    return 1 / x  # the line\n")
    fails = folder.load("fails")

    def shown(x):
        import traceback

        try:
            fails.f(x)
        except ZeroDivisionError:
            return traceback.format_exc()

    with pytest.raises(ZeroDivisionError) as raised:
        pool.map(fails.f, [0])

    assert all("1 / x  # the line" in text for text in pool.map(shown, [0, 0]))
    assert any(frame.path == Path(fails.__file__) for frame in raised.traceback)


def test_channels_use_the_same_modules(pool, folder):
    folder.write(
        "spoken.py", "def word():\n    return 'old'\n\ndef say(channel):\n    channel.send(word())\n"
    )
    spoken = folder.load("spoken")
    gateway = pool.gateways[0]
    words = [gateway.remote_exec("import spoken\nchannel.send(spoken.word())").receive(60)]
    words.append(gateway.remote_exec(spoken.say).receive(60))

    folder.write(
        "spoken.py", "def word():\n    return 'new'\n\ndef say(channel):\n    channel.send(word())\n"
    )
    spoken = folder.reload(spoken)

    words.append(gateway.remote_exec(spoken.say).receive(60))
    words.append(pool.map(lambda _: spoken.word(), [0])[0])
    assert words == ["old", "old", "new", "new"]


def test_data_files_of_a_package_are_read_as_resources(pool, folder):
    folder.write("stocked/__init__.py", "")
    folder.write("stocked/data/words.txt", "one two")
    (folder.path / "stocked/data/bytes.bin").write_bytes(bytes(range(256)))
    folder.load("stocked")

    def read(_):
        import pkgutil
        from importlib import resources

        root = resources.files("stocked")
        with resources.as_file(root / "data" / "words.txt") as path:
            words = path.read_text()
        return (
            words,
            root.joinpath("data/words.txt").read_text(encoding="utf-8"),
            pkgutil.get_data("stocked", "data/bytes.bin"),
            sorted(entry.name for entry in root.joinpath("data").iterdir()),
            root.joinpath("data/none").is_file(),
        )

    expected = ("one two", "one two", bytes(range(256)), ["bytes.bin", "words.txt"], False)
    assert pool.map(read, range(2)) == [expected] * 2


def test_a_compiled_module_is_named(pool, folder):
    folder.write("partly/__init__.py", "")
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    folder.write(f"partly/fast{suffix}", "not really")
    folder.load("partly")

    def use(_):
        importlib.import_module("partly.fast")

    with pytest.raises(ModuleNotFoundError, match=r"module 'partly.fast' is compiled .* install the package"):
        pool.map(use, [0])


def test_what_exists_nowhere_is_missing_there_as_it_is_here(pool):
    def try_it(_):
        try:
            importlib.import_module("no_such_module_anywhere")
        except ModuleNotFoundError as error:
            return error.name

    assert pool.map(try_it, range(3)) == ["no_such_module_anywhere"] * 3


def test_stop_interrupts_an_item_that_waits_for_a_module(pool, folder):
    folder.write("slow_to_import.py", "import time\nfor _ in range(6000):\n    time.sleep(0.01)\n")

    def late(_):
        importlib.import_module("slow_to_import")

    with pytest.raises(TimeoutError):
        pool.map_async(late, range(2), chunksize=1).get(timeout=1)
    nbpar.last_run.cancel()

    assert pool.map(abs, [-1, -2]) == [1, 2]


def test_pickles_of_a_modules_objects_are_read_there(pool, folder):
    folder.write("kept.py", "class Kept:\n    number = 5\n")
    kept = folder.load("kept")
    stored = pickle.dumps(kept.Kept())

    assert pool.map(lambda _: pickle.loads(stored).number, range(2)) == [5, 5]
