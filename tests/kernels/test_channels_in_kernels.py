"""End to end: where a notebook shows printed output and unhandled errors of channels."""

from __future__ import annotations

import pytest
from kernels import FrontEnd

pytestmark = pytest.mark.engines


@pytest.fixture(scope="module")
def kernel():
    kernel = FrontEnd()
    run(kernel, "%load_ext nbpar\nimport nbpar\nfrom nbpar.channels import end\nend.PATIENCE = 0.3")
    run(kernel, "pool = nbpar.Pool(1)\ngateway = pool.gateways[0]")
    yield kernel
    run(kernel, "pool.close()")
    kernel.close()


def run(kernel, code):
    """Run a cell to its end; return the id under which it shows things."""
    asked = kernel.client.execute(code)
    kernel.reply(asked, timeout=60)
    return asked


def shown_until(kernel, asked, text):
    """Return what a cell shows, also after its end, up to a text."""
    shown = ""
    while text not in shown:
        message = kernel.client.get_iopub_msg(timeout=30)
        if message["parent_header"].get("msg_id") == asked and message["msg_type"] == "stream":
            shown += message["content"]["text"]
    return shown


@pytest.mark.parametrize("cell", [
    "held = gateway.remote_exec('x = 1; x.nothing')",
    "gateway.remote_exec('x = 1; x.nothing')",
    "gateway.remote_exec('x = 1; x.nothing');",
    "%%channel --backend threads -n 1 held\nx = 1\nx.nothing",
])  # fmt: skip
def test_an_error_that_nobody_looks_at_is_shown_under_the_cell_that_began_it(kernel, cell):
    asked = run(kernel, cell)
    run(kernel, "'another cell'")

    shown = shown_until(kernel, asked, "has no attribute 'nothing'")

    assert "unhandled error in the code of a channel" in shown


def test_what_code_prints_is_shown_under_the_cell_that_began_it(kernel):
    asked = run(kernel, "%%channel --backend threads -n 1 talking\nprint(channel.receive())")
    run(kernel, "talking.send('hello'); talking.wait_closed(20)")

    assert shown_until(kernel, asked, "hello\n").endswith("] hello\n")
