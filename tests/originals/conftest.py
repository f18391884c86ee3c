"""Workers for spaCy's own objects."""

import pytest

import nbpar
from nbpar.integrations.spacy import patched


@pytest.fixture(scope="session")
def pools():
    made = {
        "engines": nbpar.Pool(2, progress="none"),
        "threads": nbpar.Pool(2, backend="threads", progress="none"),
    }
    yield made
    for pool in made.values():
        pool.close()


@pytest.fixture
def all_on_engines(monkeypatch):
    """No document is made in this process."""
    monkeypatch.setattr("nbpar.integrations.spacy_documents._Cost.known", True)
    monkeypatch.setattr("nbpar.integrations.spacy_documents._Cost.worth", lambda cost, setting: True)
    monkeypatch.setattr("nbpar.integrations.spacy_warming.Warming.over", True)


@pytest.fixture(params=["engines", "threads", "some here"])
def on_workers(request, pools):
    """Where documents are made: all on engines, all on threads, the first ones here."""
    backend = "threads" if request.param == "threads" else "engines"
    if request.param == "engines":
        request.getfixturevalue("all_on_engines")
    with patched(backend=backend, pool=pools[backend]):
        yield request.param
