"""joblib's own tests of `Parallel`, and scikit-learn's of searches, on nbpar's workers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.nightly, pytest.mark.engines]

DIFFERENT = {
    "backend_context_manager": "names the classes of joblib's own backends",
    "backend_hinting_and_constraints": "likewise",
    "nested_parallelism_limit": "likewise",
    "backend_batch_statistics_reset": "looks into the size of batches, which nbpar chooses by itself",
    "nested_parallel_warnings": "nested calls run as they are, without loky's warnings",
    "auto_memmap_on_arrays_from_generator": "wants `numpy.memmap`; nbpar's arrays are in shared memory",
    "memmapping_leaks": "likewise",
    "parallel_pickling": "wants loky's words; nbpar names the object and why it cannot be pickled",
    "error_capture": "a task raises KeyboardInterrupt, which nbpar does not take for that of the user",
    "test_initializer": "options of loky's workers; nbpar's pools have their own",
    "separated_gc and loky": "wants an error where nothing goes wrong here",
    "nested_loop and back_compat_backend and nbpar": "the outer workers are joblib's, who do not know nbpar",
}

FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)

OPTIONS = ("-p", "no:cacheprovider", "-p", "joblib_on_nbpar", "-q", "-W", "default", "--timeout", "300")


def ended(modules, *options, jobs, backend="nbpar"):
    plugins = str(Path(__file__).parent)
    return subprocess.run(
        [sys.executable, "-m", "pytest", *OPTIONS, *options, "--pyargs", *modules],
        env={**os.environ, "NBPAR_JOBS": str(jobs), "NBPAR_JOBLIB": backend, "PYTHONPATH": plugins},
        capture_output=True, text=True, timeout=1700, check=False, cwd="/",
    )  # fmt: skip


@pytest.mark.timeout(1800)
def test_joblibs_tests_of_parallel_pass():
    left_out = " or ".join(f"({name})" for name in DIFFERENT)

    tests = ended(["joblib.test.test_parallel"], "-k", f"not ({left_out})", jobs=0)

    assert tests.returncode == 0, tests.stdout[-5000:] + tests.stderr[-2000:]
    assert " passed" in tests.stdout


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("module", ["test_search", "test_validation", "test_successive_halving"])
def test_of_scikit_learns_tests_of_searches_those_pass_that_pass_on_loky(module):
    """Each uses two processes: some cannot, whose models count their calls or tell them to a list."""
    ours, lokys = (
        ended([f"sklearn.model_selection.tests.{module}"], "-rf", jobs=2, backend=backend)
        for backend in ("nbpar", "loky")
    )

    failed = set(FAILED.findall(ours.stdout))
    assert " passed" in ours.stdout, ours.stdout[-5000:] + ours.stderr[-2000:]
    assert failed <= set(FAILED.findall(lokys.stdout)), ours.stdout[-5000:]
