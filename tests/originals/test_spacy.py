"""`nlp.pipe` of a real spaCy `Language` on nbpar's workers."""

import itertools
import os
import time

import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc

import nbpar
from nbpar.integrations.spacy import patch, patched, unpatch

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def nlp():
    made = spacy.blank("en")
    made.add_pipe("sentencizer")
    made.add_pipe("slow")
    return made


@Language.factory("slow", default_config={"seconds": 0.004})
def make_slow(nlp, name, seconds):
    return Slow(seconds)


class Slow:
    """Takes its time, notes the process, refuses some documents."""

    def __init__(self, seconds):
        self.seconds = seconds

    def __call__(self, doc, mark="-"):
        time.sleep(self.seconds)
        if "bad" in doc.text:
            raise ValueError(f"refused {doc.text}")
        if "deadly" in doc.text:
            os._exit(1)
        doc.user_data["pid"], doc.user_data["mark"] = os.getpid(), mark
        return doc


TEXTS = [f"text {n}. It has two sentences." for n in range(100)]


def test_documents_come_in_order_with_all_that_was_made(on_workers, nlp):
    docs = list(nlp.pipe(TEXTS, n_process=2))

    assert [doc.text for doc in docs] == TEXTS
    assert all(len(list(doc.sents)) == 2 for doc in docs)
    assert docs[0].vocab is nlp.vocab
    here = {doc.user_data["pid"] == os.getpid() for doc in docs}
    assert here == {"engines": {False}, "threads": {True}}.get(on_workers, here)


def test_contexts_documents_and_options_are_kept(on_workers, nlp):
    config = {"slow": {"mark": "+"}}
    pairs = [(nlp.make_doc(text) if n % 2 else text, n) for n, text in enumerate(TEXTS)]

    options = {"disable": ["sentencizer"], "component_cfg": config, "batch_size": 20}
    got = list(nlp.pipe(pairs, as_tuples=True, n_process=2, **options))

    assert [context for _, context in got] == list(range(100))
    assert {doc.user_data["mark"] for doc, _ in got} == {"+"}
    assert not any(doc.has_annotation("SENT_START") for doc, _ in got)
    assert config == {"slow": {"mark": "+"}}


def test_error_handlers_are_called_here_and_cost_no_other_document(on_workers, nlp):
    told = []
    nlp.set_error_handler(lambda name, part, docs, error: told.append((name, part, docs[0].text, error)))
    texts = [f"bad {n}" if n in (3, 50, 99) else text for n, text in enumerate(TEXTS)]

    docs = list(nlp.pipe(texts, n_process=2))

    assert [doc.text for doc in docs] == [text for text in texts if "bad" not in text]
    assert [text for _, _, text, _ in told] == ["bad 3", "bad 50", "bad 99"]
    name, part, _, error = told[1]
    assert (name, part, str(error)) == ("slow", nlp.get_pipe("slow"), "refused bad 50")
    assert isinstance(error, ValueError)


def test_without_a_handler_the_component_s_exception_is_raised(on_workers, nlp):
    got = []
    with pytest.raises(ValueError, match="refused bad"):
        got.extend(nlp.pipe([*TEXTS, "bad", *TEXTS], n_process=2))

    assert [doc.text for doc in got] == TEXTS
    assert nlp.get_pipe("slow") is not None


def test_a_tokenizer_that_fails_costs_its_document(on_workers, nlp):
    told = []
    tokenizer = nlp.tokenizer

    class Picky:
        def __call__(self, text):
            if "odd" in text:
                raise KeyError(text)
            return tokenizer(text)

    nlp.tokenizer = Picky()
    nlp.default_error_handler = lambda name, part, docs, error: told.append((docs[0].text, type(error)))

    docs = list(nlp.pipe([*TEXTS, "odd", "even"], n_process=2))

    assert len(docs) == 101
    assert told == [("odd", KeyError)]


def test_a_text_that_kills_its_worker_is_an_error_of_its_own(all_on_engines, pools, nlp):
    told = []
    nlp.set_error_handler(lambda name, part, docs, error: told.append((docs[0].text, type(error))))
    nlp.default_error_handler = lambda name, part, docs, error: told.append((docs[0].text, type(error)))

    with patched(pool=pools["engines"]):
        docs = list(nlp.pipe([*TEXTS, "deadly", *TEXTS], n_process=2))

    assert len(docs) == 200
    assert told == [("deadly", nbpar.WorkerDied)]


def test_endless_streams_are_fine(on_workers, nlp):
    docs = nlp.pipe((f"text {n}" for n in itertools.count()), n_process=2)

    assert [doc.text for doc in itertools.islice(docs, 100)][-1] == "text 99"
    docs.close()


class Ticks:
    """A clock that goes on by the same time whenever it is looked at."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        self.now += 1e-4
        return self.now


def test_cheap_work_stays_here(pools, monkeypatch):
    # so a batch of 64 texts takes as long as the way there, or back, of the 8 documents that are tried
    monkeypatch.setattr("nbpar.integrations.spacy_documents.time", Ticks())
    before = nbpar.last_run

    with patched(pool=pools["engines"]):
        docs = list(spacy.blank("en").pipe(TEXTS * 15, n_process=2))

    assert len(docs) == 1500
    assert nbpar.last_run is before


def test_a_model_that_has_changed_is_sent_again(all_on_engines, pools, nlp):
    with patched(pool=pools["engines"]):
        assert list(nlp.pipe(TEXTS, n_process=2))[-1].user_data["mark"] == "-"
        nlp.remove_pipe("sentencizer")
        assert not list(nlp.pipe(TEXTS, n_process=2))[-1].has_annotation("SENT_START")


def test_extensions_go_along(all_on_engines, pools, nlp):
    Doc.set_extension("size", getter=len, force=True)

    @Language.component("sized")
    def sized(doc):
        doc.user_data["size"] = doc._.size
        return doc

    nlp.add_pipe("sized")
    with patched(pool=pools["engines"]):
        assert list(nlp.pipe(TEXTS, n_process=2))[-1].user_data["size"] == 8
    Doc.remove_extension("size")


@pytest.mark.parametrize("number", [0, 1])
def test_one_process_or_none_is_this_one(on_workers, nlp, number):
    assert {doc.user_data["pid"] for doc in nlp.pipe(TEXTS[:5], n_process=number)} == {os.getpid()}


def test_the_threads_of_the_first_version_are_threads(all_on_engines, pools, nlp):
    with patched(pool=pools["engines"]):
        docs = list(nlp.pipe(TEXTS, batch_size=10, n_threads=2))

    assert [doc.text for doc in docs] == TEXTS
    assert {doc.user_data["pid"] for doc in docs} == {os.getpid()}
    assert nbpar.last_run.snapshot.workers == 2


def test_one_component_may_be_disabled_by_its_name_alone(on_workers, nlp):
    docs = list(nlp.pipe(TEXTS, disable="sentencizer", n_process=2))

    assert not any(doc.has_annotation("SENT_START") for doc in docs)


def test_what_is_no_text_is_refused(on_workers, nlp):
    with pytest.raises(ValueError, match="E1041"):
        list(nlp.pipe([*TEXTS, 5], n_process=2))
    assert list(nlp.pipe([], n_process=2)) == []


def test_patching_is_undone():
    original = Language.pipe
    patch()
    patch(backend="threads")
    assert Language.pipe is not original
    unpatch()
    unpatch()

    assert Language.pipe is original
    with pytest.raises(ValueError, match="backend must be"):
        patch(backend="serial")
