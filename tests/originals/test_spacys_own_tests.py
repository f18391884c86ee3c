"""spaCy's own tests, with all documents made on nbpar's workers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

MODULES = [
    "test_language",
    "doc.test_doc_api",
    "pipeline.test_entity_linker",
    "pipeline.test_entity_ruler",
    "pipeline.test_span_ruler",
    "pipeline.test_spancat",
]

DIFFERENT = "test_language_pipe_error_handler_make_doc_actual"
"""It states that a text which cannot become a document costs its whole batch, and asks for a fix."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("module", "backend"), [*((module, "engines") for module in MODULES), ("test_language", "threads")]
)
def test_they_pass(module, backend):
    plugins = ["-p", "no:cacheprovider", "-p", "spacy_on_workers"]
    options = ["-q", "-W", "default", "--timeout", "100", "-k", f"not {DIFFERENT}"]
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, *options, "--pyargs", f"spacy.tests.{module}"],
        env={**os.environ, "NBPAR_SPACY_BACKEND": backend, "PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True, text=True, timeout=280, check=False, cwd="/",
    )  # fmt: skip

    assert ended.returncode == 0, ended.stdout[-5000:] + ended.stderr[-2000:]
    assert " passed" in ended.stdout
