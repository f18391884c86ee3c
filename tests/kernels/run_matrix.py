"""Run the tests of this folder over several versions of ipykernel, each in an environment of its own.

    python tests/kernels/run_matrix.py [folder for the environments] [version ...]

Environments that exist are used again.  The oldest one has the versions that Colab ships.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

HERE = Path(__file__).parent
VERSIONS = ("6.17.1", "6.29.5", "6.31.0", "7.0.1", "7.3.0", "7.4.0")
NEWEST = ("ipywidgets", "anywidget")
COLAB = (
    "ipywidgets==7.7.1",
    "anywidget==0.9.21",
    "ipython==7.34.0",
    "traitlets==5.7.1",
    "jupyter_client==7.4.9",
)


def python_of(folder: Path, version: str) -> Path:
    """Return the interpreter that has this ipykernel; make its environment when there is none."""
    python = folder / version / "bin" / "python"
    if not python.exists():
        venv.create(python.parents[1], with_pip=True)
        more = (*COLAB, "setuptools") if version == "6.17.1" else NEWEST
        subprocess.run([python, "-m", "pip", "install", "-q", f"ipykernel=={version}", *more], check=True)
    return python


def main(arguments: list[str]) -> int:
    """Test all versions; the exit code says how many failed."""
    folder = Path(arguments[0]) if arguments else Path(tempfile.gettempdir()) / "nbpar-kernels"
    failed = 0
    for version in arguments[1:] or VERSIONS:
        print(f"== ipykernel {version}", flush=True)
        environment = {**os.environ, "NBPAR_KERNEL_PYTHON": str(python_of(folder, version))}
        command = [sys.executable, "-m", "pytest", "-q", str(HERE)]
        failed += subprocess.run(command, env=environment, check=False).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
