"""The programs measured by the authors of the original systems, each for the original and for nbpar.

A program is a function without arguments that returns the value to compare; `prepare` returns it,
and is not timed.  `benchmarks.seeds` runs each side in a process of its own.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging.handlers
import multiprocessing
import os
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

Program = Callable[[], Any]

ORIGINALS = "NBPAR_ORIGINALS"
"""Environment variable with the folder of modules of originals that are not installed."""


class MissingError(Exception):
    """The original is not installed."""


def original(module: str, *files: str, stubs: dict[str, types.ModuleType] | None = None) -> Any:
    """Import an original, or load its single module from the folder of originals.

    Raises:
        MissingError: it is in neither place.
    """
    try:
        return importlib.import_module(module)
    except Exception:
        pass
    sys.modules.update(stubs or {})
    folder = Path(os.environ.get(ORIGINALS, "."))
    for file in files:
        if (folder / file).is_file():
            if "/" in file:  # a module of a package whose folder is there
                sys.path.insert(0, str(folder))
            spec = importlib.util.spec_from_file_location(f"original_{Path(file).stem}", folder / file)
            assert spec is not None
            assert spec.loader is not None
            loaded = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = loaded
            spec.loader.exec_module(loaded)
            return loaded
    raise MissingError(f"{module} is not installed, and {' or '.join(files)} is not in ${ORIGINALS}")


# ---- pyblaze: examples/multiprocessing, and a list whose work is all at its beginning

TEXTS = ["ab cd " * 3 + "ef"] * 100


def tokenize(text: str) -> list[str]:
    time.sleep(0.01)
    return text.split()


def uneven(number: int) -> int:
    time.sleep(0.1 if number < 10 else 0.001)
    return number


def _torch() -> dict[str, types.ModuleType]:
    """Stand in for torch, of which pyblaze uses the name of multiprocessing here."""
    torch = types.ModuleType("torch")
    torch.multiprocessing = multiprocessing  # type: ignore[attr-defined]
    blaze = types.ModuleType("pyblaze")
    utils = types.ModuleType("pyblaze.utils")
    stdmp = types.ModuleType("pyblaze.utils.stdmp")
    stdmp.terminate = lambda *processes: [process.join() for process in processes]  # type: ignore[attr-defined]
    return {
        "torch": torch, "torch.multiprocessing": multiprocessing, "pyblaze": blaze,
        "pyblaze.utils": utils, "pyblaze.utils.stdmp": stdmp,
    }  # fmt: skip


def _vectorizer(whose: str) -> Any:
    if whose == "nbpar":
        from nbpar.compat.pyblaze import Vectorizer

        Vectorizer.progress = "none"
        return Vectorizer
    files = ("pyblaze/multiprocessing/vectorize.py", "vectorize.py")
    return original("pyblaze.multiprocessing", *files, stubs=_torch()).Vectorizer


def pyblaze_notebook(whose: str) -> Program:
    vectorizer = _vectorizer(whose)(tokenize, num_workers=4)
    return lambda: vectorizer.process(TEXTS)


def pyblaze_uneven(whose: str) -> Program:
    vectorizer = _vectorizer(whose)(uneven, num_workers=4)
    return lambda: vectorizer.process(list(range(40)))


# ---- Neuraxle: examples/parallel/plot_streaming_pipeline.py, and batches of one item


class Nap:
    """Sleeps 20 ms for each item."""

    def transform(self, inputs: Any) -> Any:
        for _ in inputs:
            time.sleep(0.02)
        return inputs


class Twice:
    """Multiplies by two."""

    def transform(self, inputs: Any) -> Any:
        return [value * 2 for value in inputs]


def _steps(whose: str) -> tuple[Any, list[Any], list[Any]]:
    """Return the pipeline class, the example's steps, and steps that do next to nothing."""
    if whose == "nbpar":
        from nbpar.compat.neuraxle import SequentialQueuedPipeline

        return SequentialQueuedPipeline, [Nap(), Twice()], [Twice()]
    assert logging.handlers  # Neuraxle does not import it and needs it
    streaming = original("neuraxle.distributed.streaming")
    from neuraxle.steps.loop import ForEach
    from neuraxle.steps.misc import Sleep
    from neuraxle.steps.numpy import MultiplyByN

    return streaming.SequentialQueuedPipeline, [ForEach(Sleep(0.02)), MultiplyByN(2)], [MultiplyByN(2)]


def neuraxle_example(whose: str) -> Program:
    kind, steps, _ = _steps(whose)
    made = kind(steps, n_workers_per_step=4, max_queued_minibatches=10, batch_size=5)
    return lambda: list(made.transform(list(range(100))))


def neuraxle_batches(whose: str) -> Program:
    kind, _, steps = _steps(whose)
    made = kind(steps, n_workers_per_step=1, max_queued_minibatches=10, batch_size=1)
    return lambda: list(made.transform(list(range(4000))))


# ---- gluonnlp: 100 waits on 4 threads


def gluonnlp_waits(whose: str) -> Program:
    module: Any
    if whose == "nbpar":
        import nbpar.compat.gluonnlp as module
    else:
        module = original("gluonnlp.utils.parallel", "parallel.py")

    class Wait(module.Parallelizable):  # type: ignore[misc]
        def forward_backward(self, x: int) -> int:
            time.sleep(0.01)
            return x

    parallel = module.Parallel(4, Wait(), serial_init=False)

    def run() -> list[int]:
        for x in range(100):
            parallel.put(x)
        return sorted(parallel.get() for _ in range(100))

    return run


# ---- spaCy: blank English over 20 000 texts, and with a component of 0.2 ms


def _spin(doc: Any) -> Any:
    until = time.perf_counter() + 0.0002
    while time.perf_counter() < until:
        pass
    return doc


def _spacy(whose: str, *, component: bool) -> Program:
    try:
        import spacy
        from spacy.language import Language
    except ImportError as error:
        raise MissingError("spaCy is not installed") from error
    nlp = spacy.blank("en")
    if component:
        Language.component("spin", func=_spin)
        nlp.add_pipe("spin")
    texts = [f"this is text number {n} of many , it has twelve tokens" for n in range(20_000)]
    if component:
        texts = texts[:5000]
    if whose == "nbpar":
        from nbpar.integrations.spacy import patch

        patch()
    number = 1 if whose == "one process" else 2
    return lambda: sum(len(doc) for doc in nlp.pipe(texts, n_process=number))


def spacy_tokens(whose: str) -> Program:
    return _spacy(whose, component=False)


def spacy_component(whose: str) -> Program:
    return _spacy(whose, component=True)
