"""Modules import downward only: `docs/design.md` says why, the table below assigns the layers."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

FLOORS = {
    0: "errors version",
    1: "host",
    2: "core",
    3: "wire cluster views",
    4: "endpoint",
    5: "worker",
    6: "backends channels",
    7: "dispatch testing",
    8: "run journal",
    9: "pool",
    10: "pipeline diagnostics",
    11: "notebook compat integrations",
    12: "pandas",
    13: "__init__",
    14: "__main__",
}
"""A module may import from floors below its own, and from its own folder as long as no circle arises."""

FLOOR_OF = {room: floor for floor, rooms in FLOORS.items() for room in rooms.split()}

PACKAGE = Path(__file__).parents[1] / "nbpar"
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


def dotted(module: Path) -> str:
    """Return a module's full name."""
    parts = ("nbpar", *module.with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {dotted(module) for module in MODULES}


def room_of(module: Path) -> str:
    """Return the folder, or the module itself where it has none."""
    return module.parts[0].removesuffix(".py")


def imported(module: Path) -> Iterator[tuple[int, str]]:
    """Yield line and full name of each of the package's own modules that this one imports.

    Wherever that stands: at the top, inside functions, for types only, by `import_module("...")`.
    """
    for node in ast.walk(ast.parse((PACKAGE / module).read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno} imports relatively"
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in NAMES else str(node.module) for name in whole]
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = getattr(node.func, "id", getattr(node.func, "attr", ""))
            names = [str(node.args[0].value)] if called == "import_module" else []
        else:
            continue
        for name in names:
            if name.partition(".")[0] == "nbpar":
                yield node.lineno, name


def imported_rooms(module: Path) -> Iterator[tuple[int, str]]:
    """Yield line and room of every import of the package's own."""
    for line, name in imported(module):
        room = name.partition(".")[2].partition(".")[0] or "__init__"
        yield line, "version" if room == "__version__" else room


def test_every_module_is_on_a_floor():
    rooms = {room_of(module) for module in MODULES}

    assert rooms <= FLOOR_OF.keys()


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_module_imports_from_floors_below_its_own_and_from_its_own_folder(module):
    room = room_of(module)

    wrong = [
        f"{module}:{line} is on floor {FLOOR_OF[room]} and imports {other} of floor {FLOOR_OF.get(other)}"
        for line, other in imported_rooms(module)
        if other != room and FLOOR_OF.get(other, 99) >= FLOOR_OF[room]
    ]

    assert not wrong, "\n".join(wrong)


def test_no_circle_of_imports_arises():
    graph = {dotted(module): {name for _, name in imported(module)} for module in MODULES}
    for name, others in graph.items():
        others.discard(name)

    TopologicalSorter(graph).prepare()


def test_the_top_of_the_package_has_few_modules():
    assert {str(module) for module in MODULES if len(module.parts) == 1} == {
        "__init__.py",
        "__main__.py",
        "errors.py",
        "pandas.py",  # so that `import nbpar.pandas` works
        "version.py",
    }


def test_every_test_module_has_a_name_of_its_own():
    modules = Path(__file__).parent.rglob("test_*.py")
    names = Counter(path.name for path in modules if not (path.parent / "__init__.py").exists())

    assert [name for name, number in names.items() if number > 1] == []  # pytest imports them by that name
