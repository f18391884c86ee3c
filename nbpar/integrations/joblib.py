"""nbpar's workers behind `joblib.Parallel`, and so behind scikit-learn's `n_jobs`.

nbpar.register_joblib()
with joblib.parallel_config(backend="nbpar", n_jobs=4):
    cross_val_score(model, features, labels)
"""

from __future__ import annotations

from nbpar.core.checks import check_flag


def register_joblib(*, make_default: bool = False) -> None:
    """Register the backend "nbpar" with joblib, for `joblib.parallel_config` and `joblib.parallel_backend`.

    `n_jobs` sets the number of workers of the default pool, -1 means one per CPU; by default there is
    one job, as in joblib.  To use a pool of your own, with all its workers, pass it as
    `parallel_config(backend="nbpar", pool=pool)`.  Idempotent.

    Args:
        make_default: make it joblib's default backend.

    Raises:
        ImportError: joblib is not installed.
    """
    check_flag("make_default", make_default)
    try:
        from joblib import register_parallel_backend
    except ImportError as error:
        raise ImportError("register_joblib needs joblib: pip install joblib") from error

    from nbpar.integrations.joblib_backend import NbparBackend

    register_parallel_backend("nbpar", NbparBackend, make_default=make_default)
