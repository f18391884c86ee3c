"""A notebook whose items print and display passes strict nbval."""

from __future__ import annotations

import nbformat
import pytest
from strict import nbval, stored_notebook

pytestmark = pytest.mark.engines

TALK = """
def talk(i):
    from IPython.display import HTML, display
    print('saw', i)
    print('trouble', i, file=sys.stderr)
    logging.getLogger('lib').warning('logged %d', i)
    display(HTML(f'<b>{i}</b>'))
    return i

print('before')
print(pool.map(talk, range(12)))
"""

CELLS = [
    "import logging, nbpar, sys\npool = nbpar.Pool(2, progress='none')",
    TALK,
    "for value in pool.imap(talk, range(12)):\n    print('got', value)",
    "run = pool.map_async(talk, range(3))\nrun.get()",
    "run.output",
    "with nbpar.Pool(2, backend='threads', progress='none') as threads:\n    threads.map(talk, range(6))",
    "nbpar.Pool(backend='serial', progress='none').map(talk, range(3))",
    "pool.close()",
]


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    return stored_notebook(tmp_path_factory.mktemp("strict") / "output.ipynb", CELLS)


def test_it_passes_twice(notebook):
    for _ in range(2):
        run = nbval(notebook)
        assert run.returncode == 0, run.stdout


def test_what_is_stored_is_labelled_and_in_order(notebook):
    outputs = nbformat.read(notebook, as_version=4).cells[1].outputs

    printed = "".join(part.text for part in outputs if part.get("name") == "stdout").splitlines()
    shown = [part.data["text/html"] for part in outputs if part.output_type == "display_data"]
    assert printed == ["before", *(f"[{i}] saw {i}" for i in range(12)), str(list(range(12)))]
    assert [html for html in shown if html.startswith("<b>")] == [f"<b>{i}</b>" for i in range(12)]
    errors = "".join(part.text for part in outputs if part.get("name") == "stderr").splitlines()
    assert errors == [
        line for i in range(12) for line in (f"[{i}] trouble {i}", f"[{i}] WARNING:lib:logged {i}")
    ]


def test_a_run_in_the_background_stores_nothing_before_it_is_asked(notebook):
    cells = nbformat.read(notebook, as_version=4).cells

    assert [part.output_type for part in cells[3].outputs] == ["execute_result"]
    assert any(part.output_type == "display_data" for part in cells[4].outputs)
