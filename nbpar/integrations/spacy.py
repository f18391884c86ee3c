"""`nlp.pipe(texts, n_process=4)` of a spaCy `Language`, on nbpar's workers.

    import nbpar.integrations.spacy as on_engines
    on_engines.patch()                     # from now on; unpatch() reverts it
    for doc in nlp.pipe(texts, n_process=4): ...

The model is sent once to each engine and stays there, documents return as bytes, in order.
Texts that cost less to process than to send stay in this process, and so do the first ones until workers are
ready.  Error handlers are called here, with component, document and exception, and affect no
other document.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from nbpar.core.checks import check_word
from nbpar.host.cpus import usable_cpus
from nbpar.integrations.spacy_documents import Documents, PipeOptions
from nbpar.integrations.spacy_model import forget
from nbpar.pool.in_use import check_pool, in_use
from nbpar.pool.pool import Pool

__all__ = ["patch", "patched", "unpatch"]

_original: list[Callable[..., Any]] = []


def patch(*, backend: str = "engines", pool: Pool | None = None) -> None:
    """Let `Language.pipe` with `n_process` other than 0 and 1 use nbpar's workers, for every `nlp`.

    A model is sent to the engines once, and again if its components, vectors or other tables have
    changed, or after another call of `patch`.  One that cannot be pickled runs in this process,
    with a warning.  `n_threads=4` of spaCy 1, which later versions reject, means threads.

    Args:
        backend: "engines", or "threads" for components that release the GIL.
        pool: provides the workers; by default the default pool of `n_process` workers, or the pool in use.
    """
    from spacy.language import Language

    check_word("backend", backend, ("engines", "threads"))
    check_pool(pool)
    unpatch()
    forget()
    _original.append(Language.pipe)
    Language.pipe = _on_workers(Language.pipe, backend, pool)


def _on_workers(
    original: Callable[..., Any], backend: str, pool: Pool | None
) -> Callable[..., Iterator[Any]]:
    """Return the replacement of `Language.pipe`."""
    from spacy.errors import Warnings

    @functools.wraps(original)
    def pipe(
        self: Any,
        texts: Iterable[Any],
        *,
        as_tuples: bool = False,
        batch_size: int | None = None,
        disable: Iterable[str] = (),
        component_cfg: dict[str, dict[str, Any]] | None = None,
        n_process: int = 1,
        n_threads: int | None = None,
    ) -> Iterator[Any]:
        # a generator, like the original: arguments are read when the first document is requested
        config = {name: dict(given) for name, given in (component_cfg or {}).items()}
        size = self.batch_size if batch_size is None else batch_size
        number, kind = (n_process, backend) if n_threads is None else (n_threads, "threads")
        workers = pool if kind == backend else None
        workers = in_use(kind) if workers is None else workers
        kind = kind if workers is None else workers.backend
        if number == -1:
            number = usable_cpus() if workers is None else workers.size
        if number < 2 or kind == "serial":
            known = {"as_tuples": as_tuples, "batch_size": size, "disable": disable, "component_cfg": config}
            yield from original(self, texts, **known)
        else:
            if kind == "engines" and self._has_gpu_model(disable):
                warnings.warn(Warnings.W114, stacklevel=2)
            left_out = disable if isinstance(disable, str) else tuple(disable)
            setting = PipeOptions(self, left_out, config, size, number, kind, workers)
            yield from Documents(setting).stream(texts, as_tuples=as_tuples)

    return pipe


def unpatch() -> None:
    """Restore the original `Language.pipe`.  Idempotent."""
    from spacy.language import Language

    while _original:
        Language.pipe = _original.pop()


@contextmanager
def patched(*, backend: str = "engines", pool: Pool | None = None) -> Iterator[None]:
    """Apply `patch` for the duration of a `with` block."""
    patch(backend=backend, pool=pool)
    try:
        yield
    finally:
        unpatch()
