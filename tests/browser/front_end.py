"""A notebook in a real front end, driven like a user would."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from playwright.sync_api import Error, Locator, Page
from playwright.sync_api import TimeoutError as OverdueError

SCREENSHOTS = Path(__file__).parents[2] / "screenshots"

PATIENCE = 15_000
"""Milliseconds after which a request is thought to be unread."""

TRIES = 4
"""How often a cell's request is thought to be unread."""

READY = """async () => {
  const { currentWidget, leftCollapsed, collapseLeft } = window.jupyterapp.shell;
  await currentWidget.sessionContext.ready;
  await currentWidget.sessionContext.session.kernel.info;
  if (leftCollapsed === false) window.jupyterapp.shell.collapseLeft?.();
}"""
KERNEL = "() => window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel"
# Until the command is enabled, the front end does not know which notebook is meant, and drops it.
RUN = """async index => {
  const { commands, shell } = window.jupyterapp;
  while (!commands.isEnabled("notebook:run-cell")) await new Promise(done => setTimeout(done, 20));
  shell.currentWidget.content.activeCellIndex = index;
  void commands.execute("notebook:run-cell");
}"""
FINISHED = """index => {
  const cell = window.jupyterapp.shell.currentWidget.content.widgets[index];
  return cell.model.executionCount !== null && !cell.promptNode?.textContent.includes("*")
    && cell.model.executionState !== "running";
}"""
# ipykernel 7 may leave a request unread until a client connects (https://github.com/ipython/ipykernel/issues/1554).
CONNECT = "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.reconnect()"
IS_BUSY = "window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'busy'"
OUTPUTS = "index => window.jupyterapp.shell.currentWidget.content.model.cells.get(index).outputs.toJSON()"
SAYS = """([name, pattern]) =>
  new RegExp(pattern, "s").test(document.querySelector(`.nbpar-${name}`)?.textContent ?? "")"""
DONE = """number =>
  parseInt(document.querySelector(".nbpar-done").textContent.replace(/,/g, ""), 10) >= number"""
SAVE = """async () => {
  await window.jupyterapp.commands.execute("docmanager:save");
}"""
SAVED = "() => !window.jupyterapp.shell.currentWidget.context.model.dirty"
THEME = "theme => window.jupyterapp.commands.execute('apputils:change-theme', { theme })"
SHUT_DOWN = "() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()"


class Notebook:
    """A page of JupyterLab or Notebook 7 with one notebook."""

    def __init__(self, page: Page, address: str, file: Path, front_end: str) -> None:
        self.page, self.file, self._address = page, file, address
        page.set_default_timeout(90_000)
        self._problems: list[str] = []
        page.on("pageerror", self._note)
        lab = f"lab/workspaces/{uuid4().hex}/tree/{file.name}?reset"
        page.goto(f"{address}/{lab if front_end == 'lab' else f'notebooks/{file.name}'}")
        self._wait_ready()

    @staticmethod
    def write(file: Path, sources: Sequence[str]) -> None:
        """Write a notebook that was never run."""
        empty: dict[str, Any] = {
            "cell_type": "code",
            "metadata": {},
            "outputs": [],
            "execution_count": None,
        }
        cells = [{**empty, "id": f"c{place}", "source": source} for place, source in enumerate(sources)]
        kernel = {"name": "nbpar", "display_name": "nbpar", "language": "python"}
        metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
        content = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
        file.write_text(json.dumps(content))

    def run(self, index: int) -> None:
        """Start a cell; does not wait for its end."""
        self.page.evaluate(RUN, index)
        self._wait_read(f"index => {IS_BUSY} || ({FINISHED})(index)", index)

    def wait_finished(self, index: int) -> None:
        for _ in range(TRIES):
            # A kernel that is busy for a moment may answer another request of the front end.
            if self._wait_read(FINISHED, index):
                return
        self.page.wait_for_function(FINISHED, arg=index)

    def _wait_read(self, condition: str, index: int) -> bool:
        """Wait for a condition; make an idle kernel that has left the cell's request unread read it."""
        try:
            self.page.wait_for_function(condition, arg=index, timeout=PATIENCE)
        except OverdueError:
            if not self.page.evaluate(IS_BUSY):
                self.page.evaluate(CONNECT)
            return False
        return True

    def result_of(self, index: int) -> str:
        """Run a cell to its end; return what it shows."""
        self.run(index)
        self.wait_finished(index)
        return self.text(index)

    def text(self, index: int) -> str:
        """Return what a cell shows where only text can be shown."""
        outputs = self.page.evaluate(OUTPUTS, index)
        texts = [
            one.get("text") or one.get("data", {}).get("text/plain") or one.get("evalue", "")
            for one in outputs
        ]
        return "\n".join("".join(text) for text in texts)

    def shown(self, index: int) -> Locator:
        """Return the place of a cell's outputs."""
        return self.page.locator(".jp-Notebook-cell").nth(index).locator(".jp-Cell-outputWrapper")

    def card(self, place: int = 0) -> Locator:
        """Wait for a card."""
        card = self.page.locator(".nbpar-card").nth(place)
        card.wait_for()
        return card

    def press(self, name: str) -> None:
        """Click the button whose accessible name begins so."""
        self.page.get_by_role("button", name=re.compile(f"^{name}")).first.click()

    def wait_until(self, part: str, pattern: str) -> None:
        """Wait until a part of the card says something."""
        self.page.wait_for_function(SAYS, arg=[part, pattern])

    def wait_moving(self, card: Locator, by: int = 1) -> None:
        """Wait until that many more items are done."""
        before = self.done(card)
        self.page.wait_for_function(DONE, arg=before + by)

    def done(self, card: Locator) -> int:
        """Return how many items the card says are done."""
        text = card.locator(".nbpar-done").text_content() or ""
        return int(text.partition(" ")[0].replace(",", ""))

    def choose_theme(self, name: str) -> None:
        """Choose `Light` or `Dark`."""
        self.page.evaluate(THEME, f"JupyterLab {name}")
        light = str(name == "Light").lower()
        self.page.wait_for_selector(f"body[data-jp-theme-light='{light}']", state="attached")
        self.page.wait_for_selector("#jupyterlab-splash", state="detached")

    def shoot(self, name: str, target: Locator | None = None) -> None:
        """Keep a picture for people to look at."""
        SCREENSHOTS.mkdir(exist_ok=True)
        (target or self.page).screenshot(path=SCREENSHOTS / f"{name}.png")

    def shoot_both(self, name: str, target: Locator) -> None:
        """Keep pictures in the light and in the dark theme."""
        self.shoot(f"{name}-light", target)
        self.choose_theme("Dark")
        self.shoot(f"{name}-dark", target)
        self.choose_theme("Light")

    def save(self) -> dict[str, Any]:
        """Save like a click on the disk; return the stored notebook."""
        self.page.evaluate(SAVE)
        self.page.wait_for_function(SAVED)
        stored: dict[str, Any] = json.loads(self.file.read_text())
        return stored

    def exported(self, kind: str) -> str:
        """Return what the server's nbconvert makes of the saved notebook."""
        address = f"{self._address}/nbconvert/{kind}/{self.file.name}"
        answer = self.page.request.get(address, headers={"referer": self._address})
        assert answer.ok, answer.status_text
        return answer.text()

    def reload(self) -> None:
        """Reload the page like a user; unsaved changes are lost."""
        self.page.once("dialog", lambda dialog: dialog.accept())
        self.page.reload()
        self._wait_ready()

    def _wait_ready(self) -> None:
        self.page.wait_for_function(KERNEL)
        self.page.evaluate(READY)

    def close(self) -> None:
        """End the kernel, close the page, and tell what went wrong in the card."""
        self.page.evaluate(SHUT_DOWN)
        self.page.close()
        assert not self._problems, "\n".join(self._problems)

    def _note(self, error: Error) -> None:
        if "blob:" in (error.stack or ""):  # where widgets' code is loaded from
            self._problems.append(error.stack or "")
