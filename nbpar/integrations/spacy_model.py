"""A spaCy pipeline as bytes, which each worker unpickles once."""

from __future__ import annotations

import io
import pickle
import threading
import zlib
from collections import OrderedDict
from hashlib import blake2b
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from nbpar.integrations.spacy_errors import has_handler, note_error
from nbpar.integrations.spacy_packing import pack_document
from nbpar.integrations.spacy_worker import Annotator, Made, Trouble
from nbpar.wire.faults import describe
from nbpar.wire.pickling import Pickler

PARTS = ("strings", "morphology", "lookups")
"""Parts shared by components and the vocabulary, replaced by references: they grow with every text."""

KEPT = 4
"""Number of pipelines that a worker caches, and of forms of one pipeline cached here."""

_Kept = TypeVar("_Kept")


class Frozen:
    """An annotator as bytes: unpickled once per worker, for all runs."""

    def __init__(self, vocab: bytes, rest: bytes, token: str) -> None:
        self._vocab = vocab
        self._rest = rest
        self.token = token

    def __call__(self, texts: list[Any]) -> list[Any]:
        return [_packed(outcome) for outcome in self._annotator().annotate(texts)]

    def _annotator(self) -> Annotator:
        thawed: OrderedDict[str, Annotator] = _threads.__dict__.setdefault("thawed", OrderedDict())
        if self.token not in thawed:
            thawed[self.token] = self._thaw()
        return _remembered(thawed, self.token)

    def _thaw(self) -> Annotator:
        from spacy.tokens.underscore import Underscore

        vocab = pickle.loads(self._vocab)
        known = {"handler": note_error, "vocab": vocab, **{part: getattr(vocab, part) for part in PARTS}}
        nlp, components, extensions = _Unpickler(self._rest, known).load()
        Underscore.load_state(extensions)
        return Annotator(nlp, components)


_threads = threading.local()


def frozen(annotator: Annotator) -> Frozen:
    """Return the engines' function; error handlers stay here, so they need not be picklable.

    While components and tables do not change it is the same object, sent to each engine once; the
    vocabulary may have grown in the meantime, as each worker's does independently.

    Raises:
        Exception: a part of it cannot be pickled.
    """
    from spacy.tokens.underscore import Underscore

    nlp = annotator.nlp
    parts = [component for _, component, _ in annotator.components]
    handlers = [part.get_error_handler() for part in parts if has_handler(part)]
    named = [("handler", handler) for handler in [nlp.default_error_handler, *handlers]]
    named += [("vocab", nlp.vocab), *((part, getattr(nlp.vocab, part)) for part in PARTS)]
    rest = _pickled((nlp, annotator.components, Underscore.get_state()), named)
    token = blake2b(rest + _tables_of(nlp.vocab), digest_size=16).hexdigest()
    sent = _sent.setdefault(nlp, OrderedDict())
    if token not in sent:
        sent[token] = Frozen(_pickled(nlp.vocab, []), rest, token)
    return _remembered(sent, token)


def _tables_of(vocab: Any) -> bytes:
    """Return a value that changes with a vocabulary's tables, but not with every text."""
    import numpy as np
    from thinc.api import get_current_ops

    vectors = vocab.vectors
    content = zlib.crc32(np.ascontiguousarray(get_current_ops().to_numpy(vectors.data)))
    shape = (vectors.name, vectors.shape, len(vectors.key2row), content)
    return _pickled((shape, vocab.lex_attr_getters, vocab.lookups.to_bytes()), [])


def forget() -> None:
    """Send pipelines again from now on."""
    _sent.clear()


_sent: WeakKeyDictionary[Any, OrderedDict[str, Frozen]] = WeakKeyDictionary()
"""By pipeline."""


def _remembered(known: OrderedDict[str, _Kept], token: str) -> _Kept:
    """Return the entry of a token, and drop the least recently used ones."""
    known.move_to_end(token)
    while len(known) > KEPT:
        known.popitem(last=False)
    return known[token]


def _packed(outcome: Any) -> Any:
    """Return the serialized outcome of a text."""
    if outcome is None:
        return None
    if isinstance(outcome, Trouble):
        return _packed_trouble(outcome)
    if isinstance(outcome, Made):
        documents = tuple((ahead, pack_document(document)) for ahead, document in outcome.documents)
        return Made(documents, None if outcome.trouble is None else _packed_trouble(outcome.trouble))
    return pack_document(outcome)


def _packed_trouble(trouble: Trouble) -> Trouble:
    document = trouble.document
    try:
        document = None if document is None else pack_document(document)
    except Exception:  # noqa: BLE001 (of a document that may be half made; the text will do)
        document = None
    assert isinstance(trouble.error, BaseException)
    return trouble._replace(document=document, error=describe(trouble.error))


def _pickled(thing: Any, named: list[tuple[str, Any]]) -> bytes:
    """Return an object as bytes, with names in the place of some objects."""
    out = io.BytesIO()
    _Pickler(out, {id(one): name for name, one in named}).dump(thing)
    return out.getvalue()


class _Pickler(Pickler):
    """Writes names in place of certain objects."""

    def __init__(self, out: io.BytesIO, names: dict[int, str]) -> None:
        super().__init__(out, 5)
        self._names = names

    def persistent_id(self, thing: Any) -> str | None:
        return self._names.get(id(thing))

    def reducer_override(self, thing: Any) -> Any:
        from spacy.kb import InMemoryLookupKB
        from spacy.pipeline import Lemmatizer

        if isinstance(thing, Lemmatizer):
            function, arguments, state, *rest = thing.__reduce_ex__(5)
            return function, arguments, _without_cache(state), *rest
        if isinstance(thing, InMemoryLookupKB):
            known = (type(thing), thing.vocab, thing.entity_vector_length, thing.to_bytes())
            return _knowledge, known, getattr(thing, "__dict__", None)
        return super().reducer_override(thing)


def _without_cache(state: Any) -> Any:
    """Return a lemmatizer's state without its cache, which changes with every text."""
    if isinstance(state, tuple):
        return tuple(map(_without_cache, state))
    return {**state, "cache": {}} if isinstance(state, dict) and "cache" in state else state


def _knowledge(kind: Any, vocab: Any, length: int, content: bytes) -> Any:
    """Return a knowledge base, which has no pickle support of its own."""
    from spacy.kb import InMemoryLookupKB

    base = kind.__new__(kind)
    InMemoryLookupKB.__init__(base, vocab, length)
    base.from_bytes(content)
    return base


class _Unpickler(pickle.Unpickler):
    """Replaces names by their objects."""

    def __init__(self, payload: bytes, known: dict[str, Any]) -> None:
        super().__init__(io.BytesIO(payload))
        self._known = known

    def persistent_load(self, name: str) -> Any:
        return self._known[name]
