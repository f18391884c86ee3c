"""What a worker does with a batch of texts for a spaCy pipe."""

from __future__ import annotations

import io
import pickle
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import cloudpickle

from nbpar.wire.faults import Fault, describe
from nbpar.wire.pickler import Pickler
from nbpar.worker.staged import kept


class Trouble(NamedTuple):
    """Why there is no document."""

    component: str | None
    """Name of the component that failed; None when it was none of them."""

    fault: Any
    """The exception, when it has travelled."""

    error: BaseException | None
    """The exception itself, where it has not."""


class Annotator:
    """Applies components to batches and says of each text what became of it."""

    def __init__(self, nlp: Any, components: list[tuple[str, Any, dict[str, Any]]]) -> None:
        self.nlp = nlp
        self.components = components
        self.recorder = Recorder()

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Hear of errors before the components' own handlers, in this block."""
        handlers: list[tuple[Any, Any]] = []
        for _, component, _ in self.components:
            if hasattr(component, "set_error_handler"):
                handlers.append((component, component.get_error_handler()))
                component.set_error_handler(self.recorder.before(component.get_error_handler()))
        try:
            yield
        finally:
            for component, handler in handlers:
                component.set_error_handler(handler)

    def annotate(self, texts: list[Any]) -> list[Any]:
        """Return a document, a `Trouble` or None (a component dropped it) for each text or document."""
        if not self.components:  # nothing but the tokenizer: as fast as spaCy itself
            try:
                return [self._document(text) for text in texts]
            except Exception:  # noqa: BLE001, S110 (it comes again below, where it is noted)
                pass
        made: list[Any] = self._together(texts)
        # whatever was in one batch with an error is tried again by itself
        if len(texts) == 1:
            return made
        if not any(type(outcome) is Trouble for outcome in made):
            return made
        return [
            outcome if not isinstance(outcome, Trouble) else self._together([text])[0]
            for text, outcome in zip(texts, made, strict=True)
        ]

    def _together(self, texts: list[Any]) -> list[Any]:
        from spacy.util import _pipe

        made: list[Any] = [None] * len(texts)
        with self.recorder.listening() as troubles:
            try:
                documents: Iterator[Any] = self._documents(texts)
                for name, component, options in self.components:
                    documents = _pipe(documents, component, name, self.recorder, options)
                for document in list(documents):
                    made[document._context] = document  # noqa: SLF001 (where spaCy keeps contexts)
                    document._context = None  # noqa: SLF001
            except Exception as error:  # noqa: BLE001 (whatever user code raises)
                made = [Trouble(None, None, error)] * len(texts)
        for index, trouble in troubles:
            made[index] = trouble
        return made

    def _documents(self, texts: list[Any]) -> Iterator[Any]:
        for index, text in enumerate(texts):
            try:
                document = self._document(text)
            except Exception as error:  # noqa: BLE001 (whatever a tokenizer raises)
                self.recorder.note(index, Trouble(None, None, error))
            else:
                document._context = index  # noqa: SLF001
                yield document

    def _document(self, text: Any) -> Any:
        if type(text) is bytes:
            return unpack_document(self.nlp, text)
        return self.nlp._ensure_doc(text)  # noqa: SLF001 (as `Language.pipe` does)


class Recorder:
    """An error handler that notes which document failed where, for the thread that listens."""

    def __init__(self) -> None:
        self._here = threading.local()

    def __call__(self, name: str, component: Any, documents: list[Any], error: Exception) -> None:  # noqa: ARG002
        for document in documents:
            self.note(document._context, Trouble(name, None, error))  # noqa: SLF001

    def before(self, handler: Callable[..., Any]) -> Callable[..., Any]:
        """Return a handler that notes errors in threads that listen, and calls `handler` in others."""

        def handle(name: str, component: Any, documents: list[Any], error: Exception) -> Any:
            if getattr(self._here, "troubles", None) is None:
                return handler(name, component, documents, error)
            return self(name, component, documents, error)

        return handle

    def note(self, index: int, trouble: Trouble) -> None:
        """Take in that a document failed."""
        self._here.troubles.append((index, trouble))

    @contextmanager
    def listening(self) -> Iterator[list[tuple[int, Trouble]]]:
        """Yield the list of what this thread's documents fail with."""
        troubles: list[tuple[int, Trouble]] = []
        self._here.troubles = troubles
        try:
            yield troubles
        finally:
            self._here.troubles = None


class Frozen:
    """An annotator as bytes: thawed once per worker, however many runs there are."""

    def __init__(self, vocab: bytes, rest: bytes, token: str) -> None:
        self._vocab = vocab
        self._rest = rest
        self.token = token

    def __call__(self, texts: list[Any]) -> list[Any]:
        annotator = kept(self.token, self._thaw)
        return [_packed(outcome) for outcome in annotator.annotate(texts)]

    def _thaw(self) -> Annotator:
        from spacy.tokens.underscore import Underscore

        known = {"handler": None, "vocab": pickle.loads(self._vocab)}
        nlp, components, extensions = _Unpickler(self._rest, known).load()
        Underscore.load_state(extensions)
        annotator = Annotator(nlp, components)
        for _, component, _ in components:
            if hasattr(component, "set_error_handler"):
                component.set_error_handler(annotator.recorder)
        return annotator


def frozen(annotator: Annotator) -> Frozen:
    """Return what engines run; error handlers stay here, they need not be picklable.

    While the components are the same it is the same, so that it is sent to each engine once: the
    vocabulary may have grown in the meantime, which each worker's does by itself.
    """
    from spacy.tokens.underscore import Underscore

    nlp = annotator.nlp
    names = {id(nlp.default_error_handler): "handler", id(nlp.vocab): "vocab"}
    for _, component, _ in annotator.components:
        if hasattr(component, "get_error_handler"):
            names[id(component.get_error_handler())] = "handler"
    rest = _pickled((nlp, annotator.components, Underscore.get_state()), names)
    token = blake2b(rest, digest_size=16).hexdigest()
    before = _sent.get(nlp)
    if before is None or before.token != token:
        before = _sent[nlp] = Frozen(_pickled(nlp.vocab, {}), rest, token)
    return before


def forget() -> None:
    """Send models anew from now on."""
    _sent.clear()


_sent: WeakKeyDictionary[Any, Frozen] = WeakKeyDictionary()


def pack_document(document: Any) -> bytes:
    """Return a document as bytes, ten times as fast as its own `to_bytes`, which looks for plugins."""
    content, own = document.to_dict(exclude=["user_data"]), document.user_data
    packed: bytes = (cloudpickle if own else pickle).dumps((content, own), 5)  # the rest is plain
    return packed


def unpack_document(nlp: Any, packed: bytes) -> Any:
    """Return a document of this vocabulary."""
    from spacy.tokens import Doc

    content, user_data = pickle.loads(packed)
    document = Doc(nlp.vocab).from_dict(content)
    document.user_data.update(user_data)
    return document


def _packed(outcome: Any) -> Any:
    if isinstance(outcome, Trouble):
        fault: Fault = describe(outcome.error) if outcome.error is not None else outcome.fault
        return Trouble(outcome.component, fault, None)
    return None if outcome is None else pack_document(outcome)


def _pickled(thing: Any, names: dict[int, str]) -> bytes:
    out = io.BytesIO()
    _Pickler(out, names).dump(thing)
    return out.getvalue()


class _Pickler(Pickler):
    """Writes names in place of some objects."""

    def __init__(self, out: io.BytesIO, names: dict[int, str]) -> None:
        super().__init__(out, 5)
        self._names = names

    def persistent_id(self, thing: Any) -> str | None:
        return self._names.get(id(thing))


class _Unpickler(pickle.Unpickler):
    """Puts objects where their names are."""

    def __init__(self, payload: bytes, known: dict[str, Any]) -> None:
        super().__init__(io.BytesIO(payload))
        self._known = known

    def persistent_load(self, name: str) -> Any:
        return self._known[name]
