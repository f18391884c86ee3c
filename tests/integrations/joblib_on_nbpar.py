"""A plugin of pytest: what asks joblib for processes gets nbpar's workers.

With a number in NBPAR_JOBS, what asks for nothing gets as many.  With NBPAR_JOBLIB=loky they are loky's.
"""

from __future__ import annotations

import os

import joblib
from joblib.parallel import BACKENDS

import nbpar

name = os.environ.get("NBPAR_JOBLIB", "nbpar")
nbpar.register_joblib()
for replaced in ("loky", "multiprocessing") if name == "nbpar" else ():
    BACKENDS[replaced] = BACKENDS[name]

if jobs := int(os.environ.get("NBPAR_JOBS", "0")):
    joblib.parallel_config(name, n_jobs=jobs, **({"progress": "none"} if name == "nbpar" else {}))


def pytest_unconfigure():
    nbpar.pool.defaults.close_default_pools()
