"""What a release is: somebody who has only the wheel, or only the sdist, misses nothing.

`make test-package` builds both and runs this.
"""

from __future__ import annotations

import email
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import nbpar

ROOT = Path(__file__).parents[2]
REPOSITORY = "https://github.com/nbpar/nbpar/blob/main/"
PICTURES = "https://raw.githubusercontent.com/nbpar/nbpar/main/"


def called(*command, cwd, **options):
    """Return what a program prints; an error has all of it."""
    done = subprocess.run(
        [*map(str, command)],
        check=False,
        cwd=cwd,
        env={**os.environ, "PYTHONWARNINGS": "error::ResourceWarning"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        **options,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="session")
def metadata(wheel):
    with zipfile.ZipFile(wheel) as files:
        name = next(name for name in files.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(files.read(name))


@pytest.fixture(scope="session")
def unpacked(sdist, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sdist")
    with tarfile.open(sdist) as files:
        files.extractall(folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    return folder / sdist.name.removesuffix(".tar.gz")


def test_the_page_of_the_package_links_to_files_that_exist(metadata):
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", metadata.get_payload())
    assert len(links) > 20
    ours = [
        link.removeprefix(start)
        for start in (REPOSITORY, PICTURES)
        for link in links
        if link.startswith(start)
    ]
    assert any(path.startswith("docs/images/") for path in ours)
    assert [path for path in ours if not (ROOT / path).exists()] == []
    assert [link for link in links if not link.startswith("https://")] == []


def test_the_metadata_say_where_the_project_lives(metadata):
    assert metadata["Version"] == nbpar.__version__
    labels = {line.split(",")[0] for line in metadata.get_all("Project-URL")}
    assert labels == {"Documentation", "Source", "Issues", "Changelog"}
    assert metadata.get_all("Provides-Extra") == ["notebook"]


def test_the_wheel_has_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as files:
        names = files.namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"nbpar"}
    assert "nbpar/py.typed" in names
    assert any(name.endswith("views/static/card.js") for name in names), names


def test_the_demo_runs_by_pipx(wheel, tmp_path):
    said = called(sys.executable, "-m", "pipx", "run", "--spec", wheel, "nbpar", "demo", cwd=tmp_path)
    assert "items" in said or "files" in said


def test_a_script_runs_with_the_wheel_alone(wheel, tmp_path):
    called(sys.executable, "-m", "venv", "env", cwd=tmp_path)
    python = tmp_path / "env" / "bin" / "python"
    called(python, "-m", "pip", "install", "--quiet", wheel, cwd=tmp_path)
    script = tmp_path / "script.py"
    script.write_text("import nbpar\nprint(nbpar.map(lambda x: x * x, range(5)))\n", "utf-8")
    assert "[0, 1, 4, 9, 16]" in called(python, script, cwd=tmp_path)
    assert called(python, "-m", "nbpar", "--version", cwd=tmp_path).strip() == f"nbpar {nbpar.__version__}"


def test_the_tests_run_from_the_sdist(unpacked, tmp_path):
    called(sys.executable, "-m", "venv", "env", cwd=tmp_path)
    python = tmp_path / "env" / "bin" / "python"
    called(python, "-m", "pip", "install", "--quiet", "pip>=25.1", cwd=tmp_path)
    called(python, "-m", "pip", "install", "--quiet", "-e", ".[notebook]", "--group", "test", cwd=unpacked)
    quick = ("tests/core", "tests/wire", "tests/test_docs.py", "tests/test_import.py")
    said = called(python, "-m", "pytest", "-q", "-m", "not engines", *quick, cwd=unpacked)
    assert re.search(r"\d{3,} passed", said), said
    called(python, "-m", "pytest", "-q", "--collect-only", "tests", cwd=unpacked)
