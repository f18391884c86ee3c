"""Run this folder's tests in a real JupyterLab and headless Chromium.

    python tests/browser/run.py [folder] [pattern of a test's name ...]

The folder (one in the temporary directory by default) takes JupyterLab in an environment of its
own, playwright-core, and the screenshots; what is there is used again.  Chromium must be
installed (Debian: `apt-get install chromium`), and node.  The kernels run in this interpreter, or
in the one that NBPAR_KERNEL_PYTHON names.  FRONT_END=notebook opens Notebook 7 instead.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FRONT_END = os.environ.get("FRONT_END", "jupyterlab")
KERNEL = os.environ.get("NBPAR_KERNEL_PYTHON", sys.executable)


def install(folder: Path) -> Path:
    """Install what is missing; return JupyterLab's interpreter."""
    python = folder / "venv" / "bin" / "python"
    if not python.exists():
        venv.create(folder / "venv", with_pip=True)
        subprocess.run(
            [python, "-m", "pip", "install", "-q", "jupyterlab", "notebook", "anywidget"], check=True
        )
    if not (folder / "node_modules" / "playwright-core").exists():
        subprocess.run(["npm", "install", "--silent", "--prefix", str(folder), "playwright-core"], check=True)
    return python


def add_kernel(folder: Path) -> None:
    """Tell Jupyter of the kernel that the notebooks ask for."""
    place = folder / "jupyter" / "kernels" / "nbpar"
    place.mkdir(parents=True, exist_ok=True)
    argv = [KERNEL, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "nbpar", "language": "python", "env": {"PYTHONPATH": str(ROOT)}}
    (place / "kernel.json").write_text(json.dumps(spec))


@contextmanager
def jupyterlab(python: Path, folder: Path) -> Iterator[dict[str, str]]:
    """Serve JupyterLab for the length of the block; yields what the tests need to know."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    notebooks = folder / "notebooks"
    shutil.rmtree(notebooks, ignore_errors=True)
    notebooks.mkdir()
    environment = {
        **os.environ,
        "JUPYTER_PATH": str(folder / "jupyter"),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
    }
    options = [
        "--no-browser",
        "--allow-root",
        "--ip=127.0.0.1",
        f"--port={port}",
        "--ServerApp.port_retries=0",
    ]
    options += [
        "--IdentityProvider.token=",
        "--LabApp.expose_app_in_browser=True",
        "--JupyterNotebookApp.expose_app_in_browser=True",
        f"--ServerApp.root_dir={notebooks}",
    ]
    with (folder / "lab.log").open("w") as log:
        lab = subprocess.Popen(
            [python, "-m", "jupyterlab", *options], env=environment, stdout=log, stderr=log
        )
        try:
            _wait_for(f"http://127.0.0.1:{port}/api")
            yield {"LAB_URL": f"http://127.0.0.1:{port}", "LAB_FOLDER": str(notebooks)}
        finally:
            lab.terminate()
            lab.wait(20)


def main(arguments: list[str]) -> int:
    """Run the tests; the exit code is node's."""
    folder = Path(arguments[0] if arguments else Path(tempfile.gettempdir()) / "nbpar-browser").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    python = install(folder)
    add_kernel(folder)
    tests = sorted(str(path) for path in HERE.glob("*.test.mjs"))
    only = [f"--test-name-pattern={pattern}" for pattern in arguments[1:]]
    with (
        jupyterlab(python, folder) as facts,
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profiles,
    ):
        more = {"NBPAR_NODE_MODULES": str(folder), "PROFILES": profiles, **facts}
        environment = {"SCREENS": str(folder / "screenshots"), **os.environ, **more}
        command = [
            "node",
            "--test",
            "--test-concurrency=1",
            "--test-reporter=spec",
            "--test-timeout=600000",
            *only,
        ]
        return subprocess.run([*command, *tests], env=environment, check=False).returncode


def _wait_for(url: str) -> None:
    end = time.monotonic() + 60
    while not _answers(url):
        if time.monotonic() > end:
            raise TimeoutError(f"JupyterLab does not answer at {url}; see lab.log")
        time.sleep(0.2)


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url).close()
    except OSError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
