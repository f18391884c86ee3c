"""One call of a spaCy pipe: how its documents are made, and how errors are handled."""

from __future__ import annotations

import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass
from itertools import chain, islice, repeat
from operator import itemgetter
from statistics import median
from types import NoneType
from typing import Any

from nbpar.core.outcome import Failure
from nbpar.host.cpus import usable_cpus
from nbpar.integrations.spacy_errors import has_handler
from nbpar.integrations.spacy_model import Frozen, frozen
from nbpar.integrations.spacy_packing import PackedDocument, pack_document, unpack_document
from nbpar.integrations.spacy_warming import Warming
from nbpar.integrations.spacy_worker import Annotator, Made, Trouble
from nbpar.pipeline import Pipeline, Stage
from nbpar.pool.defaults import default_pool
from nbpar.pool.pool import Pool
from nbpar.wire.diagnosis.explain import explain
from nbpar.wire.faults import restore

SAMPLES = ((1.0, 1), (0.15, 3), (0.02, 5), (0.0, 8))
"""Seconds of work in this process, and the number of batches that then suffice for an estimate; the
first ones are not representative: much is initialized at first use.
"""

JUDGED = 8
"""Number of documents whose transfer cost is measured."""

ALIVE = 64
"""Number of documents kept alive at once if they are cheap: few fit into the processor's cache."""

BATCH = 0.25
"""Seconds of work in this process per batch of documents."""

SHARE = 4
"""The reciprocal of the share of such a batch made here between two checks for ready workers."""

LARGEST = 256
"""Maximal number of documents in a batch."""

WORTH = 0.9
"""Workers are used if they are estimated to need less than this share of the time."""


@dataclass(frozen=True)
class PipeOptions:
    """The arguments of a call of `pipe`."""

    nlp: Any
    disable: tuple[str, ...] | str
    component_cfg: dict[str, dict[str, Any]]
    batch_size: int
    workers: int
    backend: str
    pool: Pool | None

    def components(self) -> list[tuple[str, Any, dict[str, Any]]]:
        """Return name, component and keyword arguments of the components to apply."""
        return [
            (name, component, {"batch_size": self.batch_size, **self.component_cfg.get(name, {})})
            for name, component in self.nlp.pipeline
            if name not in self.disable
        ]


class Documents:
    """Makes documents from texts, here or on workers."""

    def __init__(self, setting: PipeOptions) -> None:
        self._setting = setting
        self._nlp = setting.nlp
        components = setting.components()
        self._annotator = Annotator(setting.nlp, components)
        self._components = {name: part for name, part, _ in components}
        self._handlers = {name: part.get_error_handler() for name, part, _ in components if has_handler(part)}
        self._default_handler = setting.nlp.default_error_handler
        self._waiting: deque[tuple[Any, Any]] = deque()
        """Texts in flight and their contexts."""

    def stream(self, texts: Iterable[Any], *, as_tuples: bool) -> Iterator[Any]:
        """Yield the documents in the order of the texts; with `as_tuples` each with its context."""
        pairs = iter(texts) if as_tuples else zip(texts, repeat(None))
        cost = _Cost()
        for document in self._sample(pairs, cost):
            yield document if as_tuples else document[0]
        first = list(islice(pairs, 1))  # nothing is started without texts
        if not first:
            return
        rest = chain(first, pairs)
        if cost.worth(self._setting) and (function := self._function()) is not None:
            left = len(texts) if isinstance(texts, Sized) else None
            made = self._on_workers(function, rest, cost.batch_size(self._setting, left))
        else:
            made = self._here(rest)
        yield from made if as_tuples else map(itemgetter(0), made)

    def _function(self) -> Callable[[list[Any]], list[Any]] | None:
        """Return the workers' function; None if it cannot be serialized."""
        if self._setting.backend == "threads":
            return self._annotator.annotate
        try:
            return frozen(self._annotator)
        except Exception as error:  # noqa: BLE001 (any component's code may run here)
            why = explain(self._components, error, what="the pipeline to the workers")
            warnings.warn(f"{why}; its documents are made in this process", RuntimeWarning, stacklevel=4)
            return None

    def _sample(self, pairs: Iterator[tuple[Any, Any]], cost: _Cost) -> Iterator[tuple[Any, Any]]:
        """Make the first documents here; not needed with threads, which need no transfer."""
        size = 1
        if self._setting.backend == "threads":
            return
        while not cost.known:
            batch = list(islice(pairs, size))
            if not batch:
                return
            begun = time.perf_counter()
            made = self._annotate(batch)
            cost.add(time.perf_counter() - begun, len(batch), list(filter(_is_document, made)))
            yield from self._settled(batch, made)
            size = min(2 * size, 64)

    def _here(self, pairs: Iterator[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
        whole = any(hasattr(component, "pipe") for component in self._components.values())
        size = self._setting.batch_size if whole else min(self._setting.batch_size, ALIVE)
        while batch := list(islice(pairs, size)):
            made = self._annotate(batch)
            if all(map(_is_document, made)):
                yield from zip(made, map(itemgetter(1), batch), strict=True)
            else:
                yield from self._settled(batch, made)

    def _annotate(self, batch: list[tuple[Any, Any]]) -> list[Any]:
        return self._annotator.annotate([text if type(text) is str else _checked(text) for text, _ in batch])

    def _on_workers(
        self, function: Callable[[list[Any]], list[Any]], pairs: Iterator[tuple[Any, Any]], size: int
    ) -> Iterator[tuple[Any, Any]]:
        setting = self._setting
        far = isinstance(function, Frozen)
        pool = setting.pool or default_pool(setting.workers, setting.backend)
        if isinstance(function, Frozen):
            yield from self._while_warming(Warming(pool, function), pairs, max(1, size // SHARE))
            if not (first := list(islice(pairs, 1))):
                return
            pairs = chain(first, pairs)
        stage = Stage(
            function, workers=setting.workers, batched=True, batch_size=size if far else "auto", name="pipe",
            backend=setting.backend,
        )  # fmt: skip
        with Pipeline([stage], pool=pool) as pipeline:
            outcomes = pipeline.imap(self._noted(pairs, far=far), errors="collect", progress="none")
            for outcome in outcomes:
                yield from self._settle(outcome)

    def _while_warming(
        self, warming: Warming, pairs: Iterator[tuple[Any, Any]], size: int
    ) -> Iterator[tuple[Any, Any]]:
        """Make documents here until the workers have the pipeline."""
        while not warming.over and (batch := list(islice(pairs, size))):
            yield from self._settled(batch, self._annotate(batch))

    def _noted(self, pairs: Iterator[tuple[Any, Any]], *, far: bool) -> Iterator[Any]:
        for text, context in pairs:
            _checked(text)
            self._waiting.append((text, context))
            yield PackedDocument(pack_document(text)) if far and not isinstance(text, (str, bytes)) else text

    def _settled(self, batch: list[tuple[Any, Any]], made: list[Any]) -> Iterator[tuple[Any, Any]]:
        """Yield the documents of a batch made here."""
        self._waiting.extend(batch)
        for outcome in made:
            yield from self._settle(outcome)

    def _settle(self, outcome: Any) -> Iterator[tuple[Any, Any]]:
        """Yield the documents of the first waiting text, or call an error handler."""
        text, context = self._waiting.popleft()
        if isinstance(outcome, Failure):  # the worker died, or an answer could not be sent
            outcome = Trouble(None, False, None, outcome.exception)
        if not isinstance(outcome, (Trouble, Made)):
            if outcome is not None:  # None: a component has dropped it
                yield self._restored(outcome, text), context
            return
        trouble = outcome if isinstance(outcome, Trouble) else outcome.trouble
        if trouble is not None:
            self._handle(text, trouble)
        if isinstance(outcome, Made):
            places = [(ahead, document) for ahead, document in outcome.documents]
            contexts = [self._waiting[ahead - 1][1] if ahead else context for ahead, _ in places]
            for (ahead, document), belongs in zip(places, contexts, strict=True):
                yield self._restored(document, None), None if ahead is None else belongs

    def _restored(self, document: Any, text: Any) -> Any:
        """Return a document of this process, from one that may be bytes."""
        if type(document) is not bytes:
            return document
        made = unpack_document(self._nlp, document)
        if not isinstance(text, (str, bytes, NoneType)):
            made._context = text._context  # noqa: SLF001 (it is not sent)
        return made

    def _handle(self, text: Any, trouble: Trouble) -> None:
        name, error = trouble.component, trouble.error
        known = self._handlers if trouble.handled else {}
        handler = known.get(name or "", self._default_handler)
        document = trouble.document
        document = _as_document(self._nlp, text) if document is None else self._restored(document, text)
        if not isinstance(error, BaseException):
            error = restore(error)
        handler(name, self._components.get(name or ""), [document], error)


class _Cost:
    """The cost of documents here, and of their transfer."""

    def __init__(self) -> None:
        self._work = 0.0
        self._paces: list[float] = []
        self._last: list[Any] = []

    @property
    def known(self) -> bool:
        """Whether the estimate is reliable."""
        return any(self._work >= work and len(self._paces) >= batches for work, batches in SAMPLES)

    def add(self, seconds: float, texts: int, documents: list[Any]) -> None:
        """Add the time of a batch of texts, and its documents."""
        self._work += seconds
        self._paces.append(seconds / texts)
        self._last = documents[-JUDGED:] or self._last

    def worth(self, setting: PipeOptions) -> bool:
        """Whether workers are estimated to be faster, by the last batches, after the warm-up."""
        if not self._last:
            return True
        work = median(self._paces[-3:])
        out, back = self._way(setting.nlp)
        workers = min(setting.workers, usable_cpus())
        return max((work + out) / workers, back) < WORTH * work

    def batch_size(self, setting: PipeOptions, left: int | None) -> int:
        """Return the number of texts per batch: models are faster with many.

        Args:
            setting: the requested size.
            left: the number of texts, if known.
        """
        size = min(setting.batch_size, LARGEST)
        if self._paces:
            size = min(size, int(BATCH / max(median(self._paces[-3:]), 1e-9)))
        if left is not None:
            size = min(size, left // (2 * setting.workers))
        return max(size, 1)

    def _way(self, nlp: Any) -> tuple[float, float]:
        """Return the seconds to convert a document to bytes there and back here."""
        outs, backs = [], []
        for _ in range(2):  # the better of two, in case of other load
            begun = time.perf_counter()
            packed = [pack_document(document) for document in self._last]
            between = time.perf_counter()
            for one in packed:
                unpack_document(nlp, one)
            outs.append(between - begun)
            backs.append(time.perf_counter() - between)
        return min(outs) / len(self._last), min(backs) / len(self._last)


def _is_document(outcome: Any) -> bool:
    return outcome is not None and type(outcome) not in (Trouble, Made)


def _checked(text: Any) -> Any:
    """Return a text, a document, or the bytes of one.

    Raises:
        ValueError: it is none of them.
    """
    from spacy.errors import Errors
    from spacy.tokens import Doc

    if not isinstance(text, (str, Doc, bytes)):
        raise ValueError(Errors.E1041.format(type=type(text)))  # noqa: TRY004 (what spaCy raises)
    return text


def _as_document(nlp: Any, text: Any) -> Any:
    """Return a document for an error handler to read."""
    from spacy.tokens import Doc

    try:
        return nlp._ensure_doc(text)  # noqa: SLF001 (as `Language.pipe` does)
    except Exception:  # noqa: BLE001 (that may be the error which is being handled)
        readable = text if isinstance(text, str) else repr(text)
        return Doc(nlp.vocab, words=[readable], spaces=[False])
