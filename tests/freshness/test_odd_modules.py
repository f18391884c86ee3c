"""Maps run with any odd object in `sys.modules`, here or on engines."""

from __future__ import annotations

import sys
import types

import pytest

from nbpar.wire.modules.reach import Reach
from nbpar.wire.modules.versions import Versions
from nbpar.wire.pickling import pack_one


class Raises:
    """Raises whatever it is asked for, as lazy modules do whose import fails."""

    def __getattr__(self, name):
        raise SystemExit(name)


class Proxy:
    """Says of no class that it is its own, as objects that stand for those of a request do."""

    @property
    def __class__(self):
        raise RuntimeError("working outside of a request")


def install(names):
    """Put odd things among the modules of this process."""

    class Half(types.ModuleType):
        def __getattribute__(self, name):
            if name in ("__file__", "__spec__"):
                raise KeyboardInterrupt(name)
            return super().__getattribute__(name)

    class Any:
        def __getattr__(self, name):
            raise SystemExit(name)

    odd = [Any(), Half("half"), None, 5]
    names += [f"odd_{place}" for place in range(len(odd))] + [7]
    sys.modules.update(zip(names, [*odd, 7], strict=True))


@pytest.fixture
def odd_modules():
    names: list = []
    install(names)
    yield names
    for name in names:
        del sys.modules[name]


def test_maps_run_where_odd_things_stand_among_the_modules_here(pool, odd_modules):
    assert pool.map(abs, [-1, -2]) == [1, 2]


def test_maps_run_where_odd_things_stand_among_the_modules_of_engines(pool):
    def put(item):
        install([])
        return item

    def remove(item):
        for name in [name for name in sys.modules if str(name).startswith(("odd_", "7"))]:
            del sys.modules[name]
        return item

    try:
        assert pool.map(put, range(4), chunksize=1) == [0, 1, 2, 3]
        assert pool.map(abs, [-1, -2]) == [1, 2]
    finally:
        pool.each(remove, 0)


def test_a_module_with_objects_that_say_nothing_of_their_class_is_looked_at_like_others(folder, name):
    module = folder.load(name, "def f(x):\n    return x\n")
    module.proxy, module.lazy = Proxy(), Raises()

    assert name in dict(Reach().of(pack_one(module.f)))


def test_a_module_that_does_not_let_itself_be_looked_at_is_left_alone(folder, name):
    module = folder.load(name, "def f(x):\n    return x\n")
    module.__spec__ = Raises()
    known = Versions()

    assert known.loaded(name) == known.on_disk(name) == b""
    assert name not in known.files
