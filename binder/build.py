"""Build the Binder environment from its own files, without Docker and conda, and run the notebooks in it.

    python binder/build.py FOLDER                     # FOLDER/env, FOLDER/repository
    python binder/build.py FOLDER --python python3.12 --notebooks 01-quickstart.ipynb

It makes a virtual environment, installs the packages of environment.yml with pip, and those that repo2docker
adds (JupyterLab and so on), copies the files that git tracks, runs `postBuild` there, and executes the
notebooks with the kernel of that environment.

Not covered: conda and its channel (packages come from PyPI), the operating system's image,
Binder's limits of memory and CPUs, and the server in front of it.  When there is no Python of the
pinned version, `--python` names another; the difference is printed.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent

BROUGHT = ("jupyterlab==4.*", "notebook==7.*", "ipywidgets==8.*", "jupyter_server==2.*")
"""Packages that repo2docker installs before environment.yml (its buildpacks/conda/environment.yml)."""

FOR_US = ("nbclient", "nbformat")
"""Packages needed to run the notebooks here."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the environment, run the notebooks in it, and return their exit code."""
    given = _parse(arguments)
    folder = Path(given.folder).resolve()
    pinned, packages = read_environment((HERE / "environment.yml").read_text("utf-8"))
    python = given.python or shutil.which(f"python{pinned}")
    if python is None:
        sys.exit(f"there is no python{pinned} here; name another Python with --python")
    copy = folder / "repository"
    _copy_repository(copy)
    environment = make_environment(folder / "env", python, pinned, packages)
    print("== postBuild", flush=True)
    _run([copy / "binder" / "postBuild"], cwd=copy, env=environment)
    print("== notebooks", flush=True)
    program = [folder / "env" / "bin" / "python", copy / "notebooks" / "execute.py", *given.notebooks]
    return subprocess.run(list(map(str, program)), cwd=folder, env=environment, check=False).returncode


def read_environment(text: str) -> tuple[str, list[str]]:
    """Return the pinned Python and the packages of an environment.yml, conda's and pip's alike.

    Raises:
        ValueError: Python is not pinned as x.y, so that Binder would choose one.
    """
    _, _, listed = text.partition("dependencies:")
    entries = re.findall(r"^\s*- ([^\s:#]+)\s*$", listed, re.MULTILINE)
    pins = [entry.partition("=")[2] for entry in entries if entry.startswith("python=")]
    if not pins or not re.fullmatch(r"\d+\.\d+", pins[0]):
        raise ValueError("environment.yml must pin Python as in `- python=3.12`")
    return pins[0], [entry for entry in entries if not re.fullmatch(r"pip|python=.*", entry)]


def make_environment(folder: Path, python: str, pinned: str, packages: Sequence[str]) -> dict[str, str]:
    """Make the environment and return the variables of a shell in which it is active."""
    _run([python, "-m", "venv", "--clear", folder])
    have = _run([folder / "bin" / "python", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"])
    if have != pinned:
        print(f"== Python {have} stands in for {pinned}", flush=True)
    print("== environment.yml:", *packages, flush=True)
    _run([folder / "bin" / "python", "-m", "pip", "install", "--quiet", *BROUGHT, *FOR_US, *packages])
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {
        **variables,
        "PATH": f"{folder / 'bin'}{os.pathsep}{variables['PATH']}",
        "VIRTUAL_ENV": str(folder),
    }


def _copy_repository(folder: Path) -> None:
    """Copy the last commit, which is all that Binder sees."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=REPOSITORY, capture_output=True, check=True)  # noqa: S607
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        for member in files:
            files.extract(member, folder)


def _run(program: Sequence[object], **options: object) -> str:
    done = subprocess.run(list(map(str, program)), check=False, text=True, capture_output=True, **options)  # type: ignore[call-overload]
    if done.returncode:
        sys.exit(f"{program[0]} failed:\n{done.stdout}{done.stderr}")
    return str(done.stdout).strip()


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", help="where to build it; needs 700 MB")
    parser.add_argument("--python", help="the Python to use; default: the pinned one from PATH")
    parser.add_argument("--notebooks", nargs="*", default=[], help="default: all")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
