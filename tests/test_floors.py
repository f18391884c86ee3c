"""Modules import downward only: `docs/design.md` says why, the table below says what is where."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

FLOORS = {
    0: "errors version __version__",
    1: "core",
    2: "wire",
    3: "worker",
    4: "backends cluster views feeder finish gil journal memory_guard options notes printing telling",
    5: "dispatch inputs randomness record testing reporting",
    6: "run placement journalled care",
    7: "last showing futures background",
    8: "launch",
    9: "call_queue",
    10: "calls",
    11: "pool",
    12: "defaults channels",
    13: "pipeline advice demo doctor",
    14: "notebook compat integrations",
    15: "__init__",
    16: "__main__",
}
"""A module may import from floors below its own, and from its own folder as long as no circle arises."""

FLOOR_OF = {room: floor for floor, rooms in FLOORS.items() for room in rooms.split()}

LAZY = {"__init__", "last"}
"""They name what is above them for its type only, or import it when it is first used."""

PACKAGE = Path(__file__).parents[1] / "nbpar"
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


def room_of(module: Path) -> str:
    """Return the folder, or the module itself where it has none."""
    return module.parts[0].removesuffix(".py")


def imported_rooms(module: Path) -> Iterator[tuple[int, str]]:
    """Yield line and room of every import of the package's own, also inside functions and for types only."""
    tree = ast.parse((PACKAGE / module).read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno} imports relatively"
            names = (
                [node.module] if node.module != "nbpar" else [f"nbpar.{alias.name}" for alias in node.names]
            )
        else:
            continue
        for name in names:
            package, _, rest = name.partition(".")
            if package == "nbpar":
                yield node.lineno, rest.partition(".")[0] or "__init__"


def test_every_module_is_on_a_floor():
    rooms = {room_of(module) for module in MODULES}

    assert rooms <= FLOOR_OF.keys()


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_module_imports_from_floors_below_its_own_and_from_its_own_folder(module):
    room = room_of(module)
    if room in LAZY:
        pytest.skip("it may name what is above it")

    wrong = [
        f"{module}:{line} is on floor {FLOOR_OF[room]} and imports {other} of floor {FLOOR_OF.get(other)}"
        for line, other in imported_rooms(module)
        if other != room and FLOOR_OF.get(other, 99) >= FLOOR_OF[room]
    ]

    assert not wrong, "\n".join(wrong)


def test_no_circle_of_imports_arises():
    graph = {dotted(module): set(imported_at_the_top(module)) for module in MODULES}

    TopologicalSorter(graph).prepare()


def dotted(module: Path) -> str:
    """Return a module's full name."""
    parts = ("nbpar", *module.with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_at_the_top(module: Path) -> Iterator[str]:
    """Yield the package's own modules that are imported when this one is."""
    for node in ast.parse((PACKAGE / module).read_text("utf-8")).body:
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("nbpar."):
            yield str(node.module)
