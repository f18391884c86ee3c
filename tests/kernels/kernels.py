"""A real kernel, and a front end that presses buttons while a cell runs."""

from __future__ import annotations

import os
import queue
import sys
import time
from pathlib import Path

from jupyter_client.manager import KernelManager

PYTHON = os.environ.get("NBPAR_KERNEL_PYTHON", sys.executable)
"""Interpreter that runs the kernel; `make test-kernels` sets it to one ipykernel after another."""

SETUP = f"""
import sys, time, threading
sys.path[:0] = [{str(Path(__file__).parents[1] / "views")!r}, {str(Path(__file__).parents[2])!r}]
from fake_runs import FakeRun, Pressed
from nbpar.views.choose import choose

pressed = Pressed()

def view_of(who=pressed, **more):
    return choose("widget", who.controls, label="count", total=10**9, **more)

def play(until, view=None, longest=60):
    "Show a run until so many buttons were pressed; return whether they were."
    run, view = FakeRun(10**9, label="count"), view or view_of()
    end = time.monotonic() + longest
    try:
        while len(pressed.log) < until and time.monotonic() < end:
            time.sleep(0.1)
            run.work("0", 10, 0.1)
            view.show(run.snapshot)
        heard = len(pressed.log) >= until
    finally:
        view.close(lambda: run.finish("stopped"))
    return heard
"""


class FrontEnd:
    """Talks to a kernel as JupyterLab, VS Code or Colab do."""

    def __init__(self) -> None:
        manager = KernelManager()
        command = [PYTHON, "-Xfrozen_modules=off", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        manager.kernel_spec.argv[:] = command
        manager.start_kernel()
        self._manager = manager
        self.client = manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)
        self.info = self.client.kernel_info(reply=True, timeout=60)["content"]
        assert self.value(SETUP + "\n'ready'") == "'ready'"

    def close(self) -> None:
        self.client.stop_channels()
        self._manager.shutdown_kernel(now=True)

    @property
    def has_subshells(self) -> bool:
        return "kernel subshells" in self.info.get("supported_features", ())

    def value(self, code: str) -> str:
        """Run a cell and return its result's text; nothing may have been printed since the last one."""
        asked = self.client.execute(code)
        while True:
            message = self.client.get_iopub_msg(timeout=90)
            assert message["msg_type"] != "stream", message["content"]["text"]
            if message["parent_header"].get("msg_id") != asked:
                continue
            if message["msg_type"] == "error":
                raise AssertionError("\n".join(message["content"]["traceback"]))
            if message["msg_type"] == "execute_result":
                self.reply(asked)
                return message["content"]["data"]["text/plain"]

    def card_of(self, asked: str) -> str:
        """Wait until a cell shows a card; return its comm."""
        while True:
            message = self.client.get_iopub_msg(timeout=90)
            data = message["content"].get("data", {})
            mine = message["parent_header"].get("msg_id") == asked  # some kernels' threads have no parent
            if mine and message["msg_type"] == "comm_open" and "tick" in data.get("state", {}):
                return message["content"]["comm_id"]

    def wait_for_tick(self, comm: str) -> None:
        while True:
            message = self.client.get_iopub_msg(timeout=90)
            content = message["content"]
            mine = message["msg_type"] == "comm_msg" and content["comm_id"] == comm
            if mine and "tick" in content["data"].get("state", {}):
                return

    def press(self, comm: str, subshell: str | None = None, **content) -> None:
        data = {"method": "custom", "content": content}
        message = self.client.session.msg("comm_msg", {"comm_id": comm, "data": data})
        if subshell is not None:
            message["header"]["subshell_id"] = subshell
        self.client.shell_channel.send(message)

    def subshell(self) -> str:
        message = self.client.session.msg("create_subshell_request", {})
        self.client.control_channel.send(message)
        while True:
            reply = self.client.get_control_msg(timeout=60)
            if reply["msg_type"] == "create_subshell_reply":
                return reply["content"]["subshell_id"]

    def interrupt(self) -> None:
        self._manager.interrupt_kernel()

    def reply(self, asked: str, timeout: float = 90) -> dict:
        """Wait for a cell's end."""
        end = time.monotonic() + timeout
        while True:
            try:
                message = self.client.get_shell_msg(timeout=max(end - time.monotonic(), 0.01))
            except queue.Empty:
                raise AssertionError(f"no reply within {timeout} s") from None
            if message["parent_header"].get("msg_id") == asked:
                return message["content"]
