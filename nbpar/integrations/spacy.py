"""`nlp.pipe(texts, n_process=4)` of a spaCy `Language`, on nbpar's workers.

    import nbpar.integrations.spacy as on_engines
    on_engines.patch()                     # from now on; unpatch() takes it back
    for doc in nlp.pipe(texts, n_process=4): ...

The model goes once to each engine and stays there, documents come back as bytes, in order.
Work that is cheaper than its way stays in this process.  Error handlers are called here,
with component, document and exception, and cost no other document.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from nbpar.cluster.limits import usable_cpus
from nbpar.core.words import check_word
from nbpar.integrations.spacy_documents import Documents, Setting
from nbpar.integrations.spacy_worker import forget
from nbpar.pool import Pool

__all__ = ["patch", "patched", "unpatch"]

_original: list[Callable[..., Any]] = []


def patch(*, backend: str = "engines", pool: Pool | None = None) -> None:
    """Have `Language.pipe` with `n_process` other than 0 and 1 use nbpar's workers, for every `nlp`.

    A model goes to the engines once, and again when its components have changed, or after `patch`
    was called again.

    Args:
        backend: "engines", or "threads" for components that release the GIL.
        pool: whose workers to use; by default the default pool of `n_process` workers.
    """
    from spacy.language import Language

    check_word("backend", backend, ("engines", "threads"))
    unpatch()
    forget()
    original = Language.pipe
    _original.append(original)

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
    ) -> Iterator[Any]:
        config = {name: dict(given) for name, given in (component_cfg or {}).items()}
        size = self.batch_size if batch_size is None else batch_size
        number = usable_cpus() if n_process == -1 else n_process
        if number < 2:
            known = {"as_tuples": as_tuples, "batch_size": size, "disable": disable, "component_cfg": config}
            return original(self, texts, **known)  # type: ignore[no-any-return]
        setting = Setting(self, tuple(disable), config, size, number, backend, pool)
        return Documents(setting).stream(texts, as_tuples=as_tuples)

    Language.pipe = pipe


def unpatch() -> None:
    """Give `Language.pipe` back what it was.  May be called twice."""
    from spacy.language import Language

    while _original:
        Language.pipe = _original.pop()


@contextmanager
def patched(*, backend: str = "engines", pool: Pool | None = None) -> Iterator[None]:
    """`patch` for the length of a `with` block."""
    patch(backend=backend, pool=pool)
    try:
        yield
    finally:
        unpatch()
