"""nbpar's workers behind `joblib.Parallel`, and so behind scikit-learn's `n_jobs`.

nbpar.register_joblib()
with joblib.parallel_config(backend="nbpar", n_jobs=4):
    cross_val_score(model, features, labels)
"""

from __future__ import annotations


def register_joblib(*, make_default: bool = False) -> None:
    """Let joblib know the backend "nbpar", for `joblib.parallel_config` and `joblib.parallel_backend`.

    `n_jobs` is how many workers the default pool has from then on, -1 one for each CPU.  To use a pool of
    your own, whose number of workers then counts, give it as `parallel_config(backend="nbpar", pool=pool)`.
    May be called twice.

    Args:
        make_default: use it wherever joblib is told nothing else.

    Raises:
        ImportError: joblib is not installed.
    """
    try:
        from joblib import register_parallel_backend
    except ImportError as error:
        raise ImportError("register_joblib needs joblib: pip install joblib") from error

    from nbpar.integrations.joblib_backend import NbparBackend

    register_parallel_backend("nbpar", NbparBackend, make_default=make_default)
