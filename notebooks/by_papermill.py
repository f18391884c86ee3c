"""Run the notebooks with papermill; report whether all cells behaved as expected, and time and memory.

    python notebooks/by_papermill.py                        # all of them, with the kernel of this Python
    python notebooks/by_papermill.py 01-quickstart.ipynb

Like other tools, papermill continues after an error in a cell that is tagged `raises-exception`, but at the
end it reports a failure. So the outputs are checked here, and papermill's exit code is ignored.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
from meter import Meter

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).resolve().parent


def main(arguments: Sequence[str]) -> int:
    """Run the notebooks; return the number of those that did not behave as expected."""
    paths = [HERE / name for name in arguments] or sorted(HERE.glob("*.ipynb"))
    failed = 0
    for path in paths:
        with Meter() as meter:
            wrong = wrong_by_papermill(path)
        wrong = wrong or ("" if meter.modest else "too much")
        failed += bool(wrong)
        print(f"{path.name}: {wrong or 'as it should be'}, {meter}", flush=True)
    return failed


def wrong_by_papermill(path: Path) -> str:
    """Run a notebook; return a description of the first problem, "" if there is none."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / path.name
        program = [sys.executable, "-m", "papermill", "--no-progress-bar", "--cwd", HERE, path, output]
        done = subprocess.run(
            list(map(str, program)),
            env={**os.environ, "JUPYTER_PREFER_ENV_PATH": "1"},
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        return wrong_in(nbformat.read(output, as_version=4)) if output.exists() else done.stderr


def wrong_in(notebook: Any) -> str:
    """Describe the first problem of an executed notebook: which cell failed; "" if there is none."""
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        errors = [output.ename for output in cell.outputs if output.output_type == "error"]
        if bool(errors) != ("raises-exception" in cell.metadata.get("tags", ())):
            return f"cell {cell.id!r} raised {errors[0] if errors else 'nothing'}"
        if cell.execution_count is None:
            return f"cell {cell.id!r} did not run"
    return ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
