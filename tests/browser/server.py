"""Serve JupyterLab and Notebook 7, which are pages of one server, with the kernel under test."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
KERNEL = os.environ.get("NBPAR_KERNEL_PYTHON", sys.executable)
"""Interpreter that runs the kernels; `make test-kernels` sets it to one ipykernel after another."""

OPTIONS = (
    "--no-browser",
    "--allow-root",
    "--ip=127.0.0.1",
    "--ServerApp.port_retries=0",
    "--IdentityProvider.token=",
    "--LabApp.expose_app_in_browser=True",
    "--LabApp.news_url=None",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--JupyterNotebookApp.expose_app_in_browser=True",
)
SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/apputils-extension:kernels-settings": {},
}


@contextmanager
def serve(folder: Path) -> Iterator[tuple[str, Path]]:
    """Serve notebooks for the length of the block; yields the address, and where the notebooks are."""
    notebooks, log = folder / "notebooks", folder / "server.log"
    notebooks.mkdir()
    _add_kernel(folder)
    _write_settings(folder)
    port = _free_port()
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "jupyterlab", *OPTIONS, f"--port={port}"]
    with log.open("w") as log_file:
        server = subprocess.Popen(
            [*command, f"--ServerApp.root_dir={notebooks}"],
            env={**os.environ, **_places(folder)},
            stdout=log_file,
            stderr=log_file,
        )
        try:
            _wait_for(f"{address}/api", server, log)
            yield address, notebooks
        finally:
            server.terminate()
            server.wait(30)


def _places(folder: Path) -> dict[str, str]:
    """Return where Jupyter looks for kernels and settings: nowhere but here."""
    return {"JUPYTER_PATH": str(folder / "data"), "JUPYTER_CONFIG_DIR": str(folder / "config")}


def _add_kernel(folder: Path) -> None:
    place = folder / "data" / "kernels" / "nbpar"
    place.mkdir(parents=True)
    argv = [KERNEL, "-Xfrozen_modules=off", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "nbpar", "language": "python", "env": {"PYTHONPATH": str(ROOT)}}
    (place / "kernel.json").write_text(json.dumps(spec))


def _write_settings(folder: Path) -> None:
    """Let JupyterLab ask nothing."""
    for name, settings in SETTINGS.items():
        extension, _, plugin = name.partition(":")
        place = folder / "config" / "lab" / "user-settings" / extension
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{plugin}.jupyterlab-settings").write_text(json.dumps(settings))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 90
    while not _answers(url):
        if server.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"JupyterLab does not answer at {url}:\n{log.read_text()[-2000:]}")
        time.sleep(0.2)


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url).close()
    except OSError:
        return False
    return True
