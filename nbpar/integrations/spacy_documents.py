"""One call of a spaCy pipe: where its documents are made, and what becomes of errors."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice, repeat
from operator import itemgetter
from statistics import median
from typing import Any

from nbpar.cluster.limits import usable_cpus
from nbpar.core.outcome import Failure
from nbpar.defaults import default_pool
from nbpar.integrations.spacy_worker import Annotator, Trouble, frozen, pack_document, unpack_document
from nbpar.pipeline import Pipeline, Stage
from nbpar.pool import Pool
from nbpar.wire.faults import restore

SAMPLES = ((1.0, 1), (0.15, 3), (0.02, 5), (0.0, 8))
"""Seconds of work in this process after which so many batches are enough to judge documents by; the
first ones do not count for much: at first use much is made that stays.
"""

JUDGED = 8
"""Documents whose way there and back is tried."""

ALIVE = 64
"""Documents of cheap work that are alive at once: few fit into the processor's cache."""

WORTH = 0.9
"""Workers are used where they promise to need less than this share of the time."""


@dataclass(frozen=True)
class Setting:
    """What a call of `pipe` asks for."""

    nlp: Any
    disable: tuple[str, ...]
    component_cfg: dict[str, dict[str, Any]]
    batch_size: int
    workers: int
    backend: str
    pool: Pool | None

    def components(self) -> list[tuple[str, Any, dict[str, Any]]]:
        """Return name, component and keyword arguments of what is to be applied."""
        return [
            (name, component, {"batch_size": self.batch_size, **self.component_cfg.get(name, {})})
            for name, component in self.nlp.pipeline
            if name not in self.disable
        ]


class Documents:
    """Makes documents out of texts, here or on workers."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._nlp = setting.nlp
        self._annotator = Annotator(setting.nlp, setting.components())
        self._handlers = {name: _handler_of(setting.nlp, part) for name, part, _ in setting.components()}
        self._waiting: deque[tuple[Any, Any]] = deque()
        """Texts under way and their contexts."""

    def stream(self, texts: Iterable[Any], *, as_tuples: bool) -> Iterator[Any]:
        """Yield the documents in the order of the texts; with `as_tuples` each with its context."""
        pairs = iter(texts) if as_tuples else zip(texts, repeat(None))
        cost = _Cost()
        with self._annotator.recording():
            for document in self._sample(pairs, cost):
                yield document if as_tuples else document[0]
            first = list(islice(pairs, 1))  # nothing is started for texts that are not there
            rest = chain(first, pairs)
            if not first:
                return
            made = self._on_workers(rest) if cost.worth(self._setting) else self._here(rest)
            yield from made if as_tuples else map(itemgetter(0), made)

    def _sample(self, pairs: Iterator[tuple[Any, Any]], cost: _Cost) -> Iterator[tuple[Any, Any]]:
        """Make the first documents here; threads need none, for them nothing travels."""
        size = 1
        if self._setting.backend == "threads":
            return
        while not cost.known:
            batch = list(islice(pairs, size))
            if not batch:
                return
            begun = time.perf_counter()
            made = self._annotate(batch)
            cost.add(time.perf_counter() - begun, [doc for doc in made if not isinstance(doc, Trouble)])
            for (text, context), outcome in zip(batch, made, strict=True):
                yield from self._settled(text, context, outcome)
            size = min(2 * size, 64)

    def _here(self, pairs: Iterator[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
        whole = any(hasattr(component, "pipe") for _, component in self._nlp.pipeline)
        size = self._setting.batch_size if whole else min(self._setting.batch_size, ALIVE)
        while batch := list(islice(pairs, size)):
            made = self._annotate(batch)
            if all(map(_is_document, made)):
                yield from zip(made, map(itemgetter(1), batch), strict=True)
                continue
            for (text, context), outcome in zip(batch, made, strict=True):
                yield from self._settled(text, context, outcome)

    def _annotate(self, batch: list[tuple[Any, Any]]) -> list[Any]:
        return self._annotator.annotate([text if type(text) is str else _checked(text) for text, _ in batch])

    def _on_workers(self, pairs: Iterator[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
        setting = self._setting
        far = setting.backend == "engines"
        function = frozen(self._annotator) if far else self._annotator.annotate
        stage = Stage(function, workers=setting.workers, batched=True, name="pipe", backend=setting.backend)
        pool = setting.pool or default_pool(setting.workers, setting.backend)
        with Pipeline([stage], pool=pool) as pipeline:
            outcomes = pipeline.imap(self._noted(pairs, far=far), errors="collect", progress="none")
            for outcome in outcomes:
                text, context = self._waiting.popleft()
                yield from self._settled(text, context, outcome)

    def _noted(self, pairs: Iterator[tuple[Any, Any]], *, far: bool) -> Iterator[Any]:
        for text, context in pairs:
            _checked(text)
            self._waiting.append((text, context))
            yield pack_document(text) if far and not isinstance(text, str) else text

    def _settled(self, text: Any, context: Any, outcome: Any) -> Iterator[tuple[Any, Any]]:
        """Yield a document with its context, or tell an error handler why there is none."""
        if isinstance(outcome, bytes):
            outcome = unpack_document(self._nlp, outcome)
        if isinstance(outcome, Failure):  # the worker died, or an answer could not travel
            outcome = Trouble(None, None, outcome.exception)
        if isinstance(outcome, Trouble):
            self._handle(text, outcome)
        elif outcome is not None:  # None: a component has dropped it
            yield outcome, context

    def _handle(self, text: Any, trouble: Trouble) -> None:
        error = trouble.error if trouble.error is not None else restore(trouble.fault)
        component = dict(self._nlp.pipeline).get(trouble.component)
        handler = self._handlers.get(trouble.component or "", self._nlp.default_error_handler)
        document = text if not isinstance(text, str) else _as_document(self._nlp, text)
        handler(trouble.component, component, [document], error)


class _Cost:
    """What documents cost here, and what their way would cost."""

    def __init__(self) -> None:
        self._work = 0.0
        self._paces: list[float] = []
        self._last: list[Any] = []

    @property
    def known(self) -> bool:
        """Whether enough has been seen."""
        return any(self._work >= work and len(self._paces) >= batches for work, batches in SAMPLES)

    def add(self, seconds: float, documents: list[Any]) -> None:
        """Take in that documents took so long."""
        self._work += seconds
        self._paces.append(seconds / max(len(documents), 1))
        self._last = documents[-JUDGED:] or self._last

    def worth(self, setting: Setting) -> bool:
        """Whether workers promise to be faster; the last batches count, when everything was warm."""
        if not self._last:
            return True
        work = median(self._paces[-3:])
        out, back = self._way(setting.nlp)
        workers = min(setting.workers, usable_cpus())
        return max((work + out) / workers, back) < WORTH * work

    def _way(self, nlp: Any) -> tuple[float, float]:
        """Return the seconds that a document takes to become bytes there and a document again here."""
        outs, backs = [], []
        for _ in range(2):  # the better of two, in case the machine was busy with something else
            begun = time.perf_counter()
            packed = [pack_document(document) for document in self._last]
            between = time.perf_counter()
            for one in packed:
                unpack_document(nlp, one)
            outs.append(between - begun)
            backs.append(time.perf_counter() - between)
        return min(outs) / len(self._last), min(backs) / len(self._last)


def _is_document(outcome: Any) -> bool:
    return outcome is not None and type(outcome) is not Trouble


def _handler_of(nlp: Any, component: Any) -> Callable[..., Any]:
    get = getattr(component, "get_error_handler", None)
    handler: Callable[..., Any] = nlp.default_error_handler if get is None else get()
    return handler


def _checked(text: Any) -> Any:
    """Return a text or document.

    Raises:
        ValueError: it is neither.
    """
    from spacy.errors import Errors
    from spacy.tokens import Doc

    if not isinstance(text, (str, Doc)):
        raise ValueError(Errors.E1041.format(type=type(text)))  # noqa: TRY004 (what spaCy raises)
    return text


def _as_document(nlp: Any, text: str) -> Any:
    """Return a document for an error handler to read."""
    from spacy.tokens import Doc

    try:
        return nlp.make_doc(text)
    except Exception:  # noqa: BLE001 (that may be the error which is being handled)
        return Doc(nlp.vocab, words=[text], spaces=[False])
