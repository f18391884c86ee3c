"""A plugin of pytest: what asks joblib for processes gets nbpar's workers.

With a number in NBPAR_JOBS, what asks for nothing gets as many.
"""

from __future__ import annotations

import os

import joblib
from joblib.parallel import BACKENDS

import nbpar

nbpar.register_joblib()
for name in ("loky", "multiprocessing"):
    BACKENDS[name] = BACKENDS["nbpar"]

if jobs := int(os.environ.get("NBPAR_JOBS", "0")):
    joblib.parallel_config("nbpar", n_jobs=jobs, progress="none")


def pytest_unconfigure():
    nbpar.pool.defaults.close_default_pools()
