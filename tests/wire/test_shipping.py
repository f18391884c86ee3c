"""The modules that are sent to engines without nbpar are all that the remote side imports."""

from __future__ import annotations

import ast
import json
import zlib
from pathlib import Path

import nbpar
from nbpar.wire.shipping import bootstrap, shipment

SENT = json.loads(zlib.decompress(shipment()))
PACKAGE = Path(nbpar.__file__).parent


def test_the_modules_are_those_of_this_installation():
    for name, (is_package, source, file) in SENT.items():
        path = PACKAGE.parent.joinpath(*name.split("."))
        path = path / "__init__.py" if is_package else path.with_suffix(".py")
        assert source == path.read_text("utf-8")
        assert file == f"<sent>/{path.relative_to(PACKAGE.parent)}"


def test_every_package_of_a_module_is_sent():
    packages = {name.rpartition(".")[0] for name in SENT} - {""}

    assert all(SENT[package][0] for package in packages)
    assert {"nbpar.wire.diagnosis", "nbpar.wire.modules", "nbpar.worker.output"} <= packages


def test_no_module_that_is_sent_needs_one_that_is_not():
    missing = {
        (name, wanted)
        for name, (_, source, _) in SENT.items()
        for wanted in _imported_at_once(ast.parse(source))
        if wanted not in SENT and wanted.rpartition(".")[0] not in SENT
    }

    assert not missing


def _imported_at_once(tree):
    """Yield nbpar's modules, or names in them, that a module imports when it is imported."""
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("nbpar"):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("nbpar"))


def test_the_program_that_receives_them_needs_none_of_them():
    tree = ast.parse(bootstrap())

    assert not list(_imported_at_once(tree))
    assert ast.unparse(tree.body[-1]) == "enter(settings)"
