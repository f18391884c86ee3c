"""Apply a spaCy pipeline to a batch of texts, with an outcome for each text."""

from __future__ import annotations

from collections.abc import Iterator
from operator import is_
from typing import Any, NamedTuple

from nbpar.integrations.spacy_errors import Noted, listening, note_error
from nbpar.integrations.spacy_packing import PackedDocument, unpack_document
from nbpar.wire.faults import Fault


class Trouble(NamedTuple):
    """The reason why there is no document."""

    component: str | None
    """Name of the failing component; None if it was none of them."""

    handled: bool
    """Whether the component called its error handler; otherwise the exception propagated."""

    document: Any
    """The document at that time; None if there is none."""

    error: BaseException | Fault
    """The exception, or its serialized form."""


class Made(NamedTuple):
    """The outcome of a text, if it is not simply its document."""

    documents: tuple[tuple[int | None, Any], ...]
    """Documents, each with the offset of its source text from this one; None: it is new."""

    trouble: Trouble | None = None


class Annotator:
    """Applies components to batches.

    The outcome of a text is a document, None (a component has dropped it), a `Trouble` or `Made`.
    """

    def __init__(self, nlp: Any, components: list[tuple[str, Any, dict[str, Any]]]) -> None:
        self.nlp = nlp
        self.components = components
        self._parts = [component for _, component, _ in components]

    def annotate(self, texts: list[Any]) -> list[Any]:
        """Return the outcome of each text or document."""
        if not self.components:  # only the tokenizer: as fast as spaCy itself
            try:
                return [self._document(text) for text in texts]
            except Exception:  # noqa: BLE001, S110 (it recurs below, where it is recorded)
                pass
        made, again = self._together(texts)
        for index in again if len(texts) > 1 else ():
            (made[index],), _ = self._together([texts[index]])
        return made

    def _together(self, texts: list[Any]) -> tuple[list[Any], list[int]]:
        """Return the outcomes of the texts, and those to be retried one by one.

        These were in one batch with an error, and may be faultless.
        """
        with listening(self._parts) as noted:
            batch = _Batch(len(texts), noted)
            try:
                documents: Iterator[Any] = self._documents(texts, batch)
                for name, component, options in self.components:
                    documents = _applied(documents, name, component, options, batch)
                return batch.outcomes(list(documents))
            except Exception as error:  # noqa: BLE001 (user code may raise anything)
                return batch.failed(error)
            finally:
                batch.restore_contexts()

    def _documents(self, texts: list[Any], batch: _Batch) -> Iterator[Any]:
        for index, text in enumerate(texts):
            try:
                document = self._document(text)
            except Exception as error:  # noqa: BLE001 (a tokenizer may raise anything)
                batch.troubles[index] = Trouble(None, False, None, error)
            else:
                batch.enter(index, document)
                yield document

    def _document(self, text: Any) -> Any:
        if type(text) is PackedDocument:
            return unpack_document(self.nlp, text)
        return self.nlp._ensure_doc(text)  # noqa: SLF001 (as `Language.pipe` does)


def _applied(
    documents: Iterator[Any], name: str, component: Any, options: dict[str, Any], batch: _Batch
) -> Iterator[Any]:
    """Yield a component's documents; record an exception that propagates from it."""
    from spacy.errors import Errors
    from spacy.tokens import Doc
    from spacy.util import _pipe

    try:
        for document in _pipe(documents, component, name, note_error, options):
            if isinstance(document, Doc):
                yield document
            elif document is not None or not batch.has_noted(name):  # the result of an error handler is None
                raise ValueError(  # noqa: TRY301 (it is blamed like any other)
                    Errors.E005.format(name=name, returned_type=type(document))
                )
    except Exception:
        batch.blame(name)
        raise


class _Batch:
    """Maps documents to texts, while they pass the components.

    Documents are recognized by identity, and by `_context`, where spaCy keeps the context of
    a document: a component that makes a new document may copy it there.
    """

    def __init__(self, size: int, noted: list[Noted]) -> None:
        self._size = size
        self._noted = noted
        self._entered: list[Any] = []
        self._contexts: list[Any] = []
        self._places: dict[int, int] = {}
        self._blamed: str | None = None
        self.troubles: dict[int, Trouble] = {}
        """The errors of texts that failed individually."""

    def enter(self, index: int, document: Any) -> None:
        """Register a text's document."""
        self._places[id(document)] = index
        self._entered.append(document)
        self._contexts.append(document._context)  # noqa: SLF001 (where spaCy keeps contexts)
        document._context = (self, index)  # noqa: SLF001 (likewise)

    def restore_contexts(self) -> None:
        """Restore the contexts of documents; the first one of a document that was entered twice."""
        for document, context in zip(reversed(self._entered), reversed(self._contexts), strict=True):
            document._context = context  # noqa: SLF001 (where spaCy keeps contexts)

    def blame(self, component: str) -> None:
        """Record the component that raised an exception, unless the exception only passes through it."""
        self._blamed = self._blamed or component

    def has_noted(self, component: str) -> bool:
        """Whether a component has called its error handler for a document."""
        return any(noted.component == component for noted in self._noted)

    def outcomes(self, documents: list[Any]) -> tuple[list[Any], list[int]]:
        """Return the outcome of each text, and those to be retried one by one."""
        if not self._noted and len(documents) == self._size and all(map(is_, documents, self._entered)):
            return documents, []
        again = self._settle_noted()
        if again is None:  # of an unknown document
            return self.failed(self._noted[-1].error)
        kept = [(place, one) for one in documents if (place := self._place(one)) not in again]
        alive = [index for index in range(self._size) if index not in again and index not in self.troubles]
        rows = self._rows(kept, alive)
        made = [_outcome(row, self.troubles.get(index)) for index, row in enumerate(rows)]
        return made, sorted(again)

    def failed(self, error: Exception) -> tuple[list[Any], list[int]]:
        """Return the same after an exception that affected all documents."""
        self._settle_noted()
        if self._size == 1:
            document = self._entered[0] if self._entered else None
            return [self.troubles.get(0, Trouble(self._blamed, False, document, error))], []
        made = [self.troubles.get(index) for index in range(self._size)]
        return made, [index for index, outcome in enumerate(made) if outcome is None]

    def _settle_noted(self) -> set[int] | None:
        """Record the errors of handlers; return the possibly faultless texts, None if unknown."""
        again: set[int] = set()
        for document, component, error, alone in self._noted:
            place = 0 if self._size == 1 else self._place(document)
            if place is None:
                return None
            if alone or self._size == 1:
                self.troubles.setdefault(place, Trouble(component, True, document, error))
            else:
                again.add(place)
        return again - self.troubles.keys()

    def _rows(
        self, documents: list[tuple[int | None, Any]], alive: list[int]
    ) -> list[list[tuple[int | None, Any]]]:
        """Assign documents to texts in their own order, each at its text's position or before.

        New ones get the positions of those they seem to replace, or that of the next one.
        """
        replaced = len(documents) == len(alive)
        rows: list[list[tuple[int | None, Any]]] = [[] for _ in range(self._size)]
        row = self._size - 1
        for number, (place, document) in reversed(list(enumerate(documents))):
            seems = alive[number] if replaced else row
            row = min(row, seems if place is None else place)
            rows[row].insert(0, (None if place is None else place - row, document))
        return rows

    def _place(self, document: Any) -> int | None:
        context = document._context  # noqa: SLF001 (where spaCy keeps contexts)
        marked = type(context) is tuple and len(context) == 2 and context[0] is self
        if marked:
            document._context = None  # noqa: SLF001 (likewise; `restore_contexts` knows of the others)
        return self._places.get(id(document), context[1] if marked else None)


def _outcome(row: list[tuple[int | None, Any]], trouble: Trouble | None) -> Any:
    """Return the outcome of a text in the simplest form."""
    if not row:
        return trouble
    if trouble is None and len(row) == 1 and row[0][0] == 0:
        return row[0][1]
    return Made(tuple(row), trouble)
