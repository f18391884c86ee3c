"""Components that do unusual things: new documents, fewer, more, errors, handlers that change."""

import threading

import numpy as np
import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc
from spacy.util import ignore_error, raise_error

import nbpar
from nbpar.integrations.spacy import patched

TEXTS = [f"text number {n}" for n in range(60)]
PAIRS = [(text, {"number": n}) for n, text in enumerate(TEXTS)]


class Plain:
    """Takes documents one by one."""

    def __init__(self, fn):
        self.fn = fn

    def __call__(self, doc):
        return self.fn(doc)


class Piped(Plain):
    """Takes a stream, of which it makes another one."""

    def __call__(self, doc):
        return doc

    def pipe(self, docs, batch_size):
        for doc in docs:
            yield from self.fn(doc)


def pipeline(component, *, handler=None):
    """A pipeline of one component between others."""
    Language.factory("tried", func=lambda nlp, name: component)
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    nlp.add_pipe("tried")
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "WORD", "pattern": [{"LOWER": "number"}]}])
    if handler is not None:
        nlp.set_error_handler(handler)
    return nlp


def new_of(doc):
    return Doc(doc.vocab, words=[token.text.upper() for token in doc])


def with_context(doc):
    new = new_of(doc)
    new._context = doc._context
    return new


def refuse_2(doc):
    if "2" in doc.text:
        raise KeyError(doc.text)
    return doc


KINDS = {
    "a new document": Plain(new_of),
    "a new document with the old one's context": Plain(with_context),
    "a new document for some": Plain(lambda doc: new_of(doc) if "3" in doc.text else doc),
    "fewer documents": Piped(lambda doc: [] if "3" in doc.text else [doc]),
    "new documents, and fewer": Piped(lambda doc: [] if "3" in doc.text else [new_of(doc)]),
    "more documents": Piped(lambda doc: [doc, new_of(doc)] if "3" in doc.text else [doc]),
    "no document": Piped(lambda doc: []),
}


def until(condition):
    for _ in range(1000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it did not happen in 10 s")


def seen(pairs):
    return [(doc.text, len(list(doc.sents)) if doc.has_annotation("SENT_START") else None, [
        ent.text for ent in doc.ents
    ], doc._context, context) for doc, context in pairs]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_component_may_give(on_workers, kind):
    nlp = pipeline(KINDS[kind])
    expected = seen(nlp.pipe(PAIRS, as_tuples=True))

    assert seen(nlp.pipe(PAIRS, as_tuples=True, n_process=2)) == expected


@pytest.mark.parametrize("every", [3, 10**9])
def test_documents_that_are_dropped_do_not_count_when_the_work_is_judged(pools, every):
    nlp = pipeline(Piped(lambda doc: [] if int(doc.text) % every else [doc]))
    texts = [str(n) for n in range(3000)]

    with patched(pool=pools["engines"]):
        docs = list(nlp.pipe(texts, n_process=2))

    assert [doc.text for doc in docs] == texts[::every]


def test_a_stream_may_come_in_another_order(on_workers):
    class Backwards(Plain):
        def pipe(self, docs, batch_size):
            yield from reversed(list(docs))

    nlp = pipeline(Backwards(None))

    got = seen(nlp.pipe(PAIRS, as_tuples=True, n_process=2))

    assert sorted(got, key=lambda row: row[-1]["number"]) == seen(
        (doc, context) for doc, context in reversed(list(nlp.pipe(PAIRS, as_tuples=True)))
    )


def test_a_document_may_come_twice(on_workers):
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    doc = nlp.make_doc("one. two.")

    docs = list(nlp.pipe([doc, doc, doc], n_process=2))

    assert [len(list(one.sents)) for one in docs] == [2, 2, 2]
    assert {one._context for one in docs} == {None}


def test_a_component_that_gives_something_else_is_named(on_workers):
    nlp = pipeline(Plain(lambda doc: None))

    with pytest.raises(ValueError, match=r"E005.*tried"):
        list(nlp.pipe(TEXTS, n_process=2))


@pytest.mark.parametrize("component", [Plain(refuse_2), Piped(lambda doc: [refuse_2(doc)])])
def test_the_component_s_own_exception_is_raised(on_workers, component):
    nlp, got = pipeline(component), []

    with pytest.raises(KeyError, match="text number 2"):
        got.extend(nlp.pipe(TEXTS, n_process=2))

    assert [doc.text for doc in got] == TEXTS[:2]


@pytest.mark.parametrize("component", [Plain(refuse_2), Piped(lambda doc: [refuse_2(doc)])])
def test_a_document_that_failed_is_told_with_what_it_had_by_then(on_workers, component):
    told = []
    nlp = pipeline(component, handler=lambda *args: told.append(args))

    docs = list(nlp.pipe(TEXTS, n_process=2))

    assert [doc.text for doc in docs] == [text for text in TEXTS if "2" not in text]
    assert [args[2][0].text for args in told] == [text for text in TEXTS if "2" in text]
    name, part, (doc,), error = told[0]
    assert (name, part, repr(error)) == ("tried", component, "KeyError('text number 2')")
    assert doc.has_annotation("SENT_START")


def test_one_that_fails_alone_is_called_once(pools):
    calls = []

    def count(doc):
        calls.append(doc.text)
        return refuse_2(doc)

    nlp = pipeline(Plain(count), handler=ignore_error)
    with patched(backend="threads", pool=pools["threads"]):
        list(nlp.pipe(TEXTS, n_process=2))

    assert sorted(calls) == sorted(TEXTS)


def test_a_handler_that_is_set_meanwhile_stays(on_workers):
    nlp, other = pipeline(Plain(refuse_2)), pipeline(Plain(refuse_2))
    docs = nlp.pipe(TEXTS[30:], n_process=2)
    first = next(docs)

    nlp.set_error_handler(ignore_error)
    with pytest.raises(KeyError):
        list(docs)  # what was set when it began holds for it

    assert first.text == TEXTS[30]
    until(lambda: nlp.get_pipe("sentencizer").get_error_handler() is ignore_error)
    assert other.get_pipe("sentencizer").get_error_handler() is raise_error


def test_streams_that_take_turns_leave_no_handler_behind(on_workers):
    told = []
    nlp = pipeline(Plain(refuse_2), handler=lambda *args: told.append(args[2][0].text))
    handler = nlp.get_pipe("sentencizer").get_error_handler()

    first, second = nlp.pipe(TEXTS, n_process=2), nlp.pipe(reversed(TEXTS), n_process=2)
    pairs = list(zip(first, second, strict=False))
    first.close()
    second.close()

    assert [one.text for one, _ in pairs] == [text for text in TEXTS if "2" not in text]
    assert told.count("text number 2") == 2
    until(lambda: nlp.get_pipe("sentencizer").get_error_handler() is handler)
    assert "error_handler" not in vars(spacy.blank("en").add_pipe("sentencizer"))


def test_no_handler_is_left_where_there_was_none(on_workers):
    nlp = pipeline(Plain(refuse_2))
    part = nlp.get_pipe("entity_ruler")
    before = set(vars(part))

    with pytest.raises(KeyError):
        list(nlp.pipe(TEXTS, n_process=2))

    until(lambda: set(vars(part)) == before)  # a thread finishes the batch that it has


def test_other_threads_have_their_own_handlers(pools):
    gate, reached, told = threading.Event(), threading.Event(), []

    def wait(doc):
        if doc.text == "slow":
            reached.set()
            assert gate.wait(20)
        return doc

    nlp = pipeline(Plain(wait), handler=lambda *args: told.append(args[2][0].text))
    sentencizer = nlp.get_pipe("sentencizer")
    with patched(backend="threads", pool=pools["threads"]):
        thread = threading.Thread(target=lambda: list(nlp.pipe(["slow", "fast"], n_process=2)), daemon=True)
        thread.start()
        assert reached.wait(20)

        sentencizer.get_error_handler()("sentencizer", sentencizer, [nlp.make_doc("here")], KeyError())
        gate.set()
        thread.join(20)

    assert told == ["here"]


def test_what_is_asked_for_is_read_when_the_first_document_is(on_workers):
    nlp = spacy.blank("en")

    docs = nlp.pipe(TEXTS, n_process=2)
    nlp.add_pipe("sentencizer")

    assert all(doc.has_annotation("SENT_START") for doc in docs)


def test_a_pipeline_that_cannot_be_sent_works_here_and_says_why(all_on_engines, pools):
    class Locked(Plain):
        def __init__(self):
            self.fn, self.lock = len, threading.Lock()

        def __call__(self, doc):
            return doc

    nlp = pipeline(Locked())
    with (
        patched(pool=pools["engines"]),
        pytest.warns(
            RuntimeWarning, match=r"cannot send .* `\['tried'\].lock` .* made in this process"
        ) as warned,
    ):
        docs = list(nlp.pipe(TEXTS, n_process=2))

    assert [doc.text for doc in docs] == TEXTS
    assert warned[0].filename == __file__


def test_vectors_that_are_set_later_are_sent(all_on_engines, pools):
    def vector_of(doc):
        doc.user_data["known"] = doc.vocab.has_vector("number")
        return doc

    nlp = pipeline(Plain(vector_of))
    with patched(pool=pools["engines"]):
        before = {doc.user_data["known"] for doc in nlp.pipe(TEXTS, n_process=2)}
        nlp.vocab.set_vector("number", np.ones(2))
        after = {doc.user_data["known"] for doc in nlp.pipe(TEXTS, n_process=2)}

    assert (before, after) == ({False}, {True})


def test_documents_are_made_here_until_workers_are_ready(pools, monkeypatch):
    monkeypatch.setattr("nbpar.integrations.spacy_documents._Cost.known", True)
    monkeypatch.setattr("nbpar.integrations.spacy_documents._Cost.worth", lambda cost, setting: True)
    gate, each = threading.Event(), pools["engines"].each

    def late(*args):
        assert gate.wait(20)
        return each(*args)

    monkeypatch.setattr(pools["engines"], "each", late)
    nlp = pipeline(Plain(place_of))
    with patched(pool=pools["engines"]):
        docs = nlp.pipe((f"text {n}" for n in range(100_000)), n_process=2)
        places = [next(docs).user_data["pid"] for _ in range(20)]
        gate.set()
        numbers = list(range(20))
        for doc in docs:
            numbers.append(int(doc.text.split()[1]))
            if doc.user_data["pid"] != places[0]:
                break
        docs.close()

    assert len(set(places)) == 1
    assert numbers == list(range(len(numbers)))
    assert doc.user_data["pid"] in {worker["pid"] for worker in pools["engines"].workers}


def place_of(doc):
    import os

    doc.user_data["pid"] = os.getpid()
    return doc


def test_inside_an_item_a_pipeline_works_there(pools, nested):
    with patched():
        assert pools["engines"].map(nested, range(2)) == [60, 60]


@pytest.fixture
def nested():
    nlp = pipeline(Plain(place_of))

    def count(_):
        from nbpar.integrations.spacy import patched

        with patched():
            return sum(1 for _ in nlp.pipe([f"text {n}" for n in range(60)], n_process=2))

    return count


def test_workers_that_cannot_be_had_are_an_error(all_on_engines):
    pool = nbpar.Pool(1)
    pool.close()

    with patched(pool=pool), pytest.raises(nbpar.PoolClosedError):
        list(pipeline(Plain(place_of)).pipe(TEXTS, n_process=2))
