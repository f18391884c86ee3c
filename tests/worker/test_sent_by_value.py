"""The worker's side works where nbpar is not installed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from nbpar.wire.shipping import bootstrap, shipment

FAR_SIDE = """
import sys

class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name == "nbpar" or name.startswith("nbpar."):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Nothing())
sources = bytes.fromhex(sys.stdin.read())
names = {}
exec(BOOTSTRAP.replace("\\nenter(settings)\\n", ""), names)
assert not names["_has"]("any")
names["_install"](sources)

import importlib, pkgutil
import nbpar.worker.engine
for package in ("nbpar.wire", "nbpar.worker"):
    for name in MODULES:
        if name.startswith(package):
            importlib.import_module(name)
from nbpar.wire.faults import describe, restore
try:
    1 / 0
except ZeroDivisionError as error:
    assert isinstance(restore(describe(error)), ZeroDivisionError)
assert nbpar.worker.engine.serve_engine.__code__.co_filename.startswith("<sent>/")
elsewhere = ("nbpar.backends", "nbpar.pool", "nbpar.cluster")
assert not any(name.startswith(elsewhere) for name in sys.modules)
print("all is there")
"""


@pytest.mark.timeout(60)
def test_everything_the_worker_needs_is_sent():
    import json
    import zlib

    modules = list(json.loads(zlib.decompress(shipment())))
    program = f"BOOTSTRAP = {bootstrap()!r}\nMODULES = {modules!r}\n{FAR_SIDE}"

    done = subprocess.run(
        [sys.executable, "-c", program],
        input=shipment().hex(),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )

    assert done.stdout == "all is there\n", done.stderr


def test_another_python_is_refused_with_the_way_out():
    names = {}
    exec(bootstrap().replace("\nenter(settings)\n", ""), names)

    with pytest.raises(RuntimeError, match=r"the client Python 2\.7: .* start the engines with Python 2\.7"):
        names["enter"]({"python": "2.7"})


def test_what_is_sent_is_small():
    assert len(shipment()) < 190_000
