"""The same cell, in a new kernel after the first was killed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jupyter_client
import pytest

import nbpar
from nbpar.testing import Gate, until

SETUP = """
%load_ext nbpar
from pathlib import Path
from nbpar.testing import Gate
notes, gate = Path({notes!r}), Gate({gate!r})
stopwords = {{"a", "the", "of"}}          # in another order in every kernel
class Result:
    def __init__(self, words): self.words = words
def tell(x):
    with (notes / str(x)).open("a") as file: file.write(".")
    if x == 5: gate.wait()
"""

CELL = """
%%parallel_map -n 2 --backend BACKEND --chunk 1 --progress none --resume night x in range(8) -> results
tell(x)
Result([word for word in "the cat of my uncle".split() if word not in stopwords] + [x])
"""

CHECK = """
assert [result.words for result in results] == [["cat", "my", "uncle", x] for x in range(8)]
assert type(results[0]) is Result
"""


@pytest.fixture
def start() -> Iterator[Any]:
    """Start kernels; none survives the test."""
    managers = []

    def start() -> tuple[Any, Any]:
        manager = jupyter_client.KernelManager(kernel_name="python3")
        manager.start_kernel()
        managers.append(manager)
        client = manager.client()
        client.start_channels()
        client.wait_for_ready(timeout=60)
        return manager, client

    yield start
    for manager in managers:
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()


def run(client: Any, cell: str) -> None:
    reply = client.execute_interactive(cell, timeout=60, output_hook=lambda _: None)
    assert reply["content"]["status"] == "ok", "\n".join(reply["content"]["traceback"])


@pytest.mark.engines
@pytest.mark.parametrize("backend", ["engines", "threads"])
def test_a_cell_goes_on_where_the_killed_kernel_was(start, notes, tmp_path: Path, backend):
    (tmp_path / "gate").mkdir()
    gate = Gate(str(tmp_path / "gate"))
    setup, cell = SETUP.format(notes=notes.folder, gate=gate.folder), CELL.strip().replace("BACKEND", backend)
    manager, client = start()
    run(client, setup)
    client.execute(cell)
    until(lambda: sum(info.items for info in nbpar.journals()) == 7, 60.0, "nothing was kept")

    manager.signal_kernel(9)
    client.stop_channels()
    gate.open()
    _, client = start()
    run(client, "# another cell before it\n" + "1\n" * 5)
    run(client, setup)
    run(client, cell)
    run(client, CHECK)

    client.stop_channels()
    assert notes.counts == {str(x): 2 if x == 5 else 1 for x in range(8)}
