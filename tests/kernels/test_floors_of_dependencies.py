"""The environment of the oldest versions has exactly the lower bounds of pyproject.toml."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_floors_that_are_tested_are_those_that_are_promised():
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    needed = re.search(r"^dependencies = \[(.*?)^\]", project, re.DOTALL | re.MULTILINE)[1]
    notebook = re.search(r"^notebook = \[(.*?)\]", project, re.MULTILINE)[1]
    promised = dict(re.findall(r'"([\w-]+)>=([\d.]+)"', needed + notebook))

    tested = dict(
        re.findall(r"^([\w-]+)==([\d.]+)$", (ROOT / "tests/kernels/floors.txt").read_text(), re.MULTILINE)
    )

    assert tested.keys() == promised.keys()
    assert all(version.startswith(promised[name]) for name, version in tested.items())
