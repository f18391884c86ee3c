// The card in a real JupyterLab: seen moving, stopped, paused, resized, saved, opened again.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, afterEach, before, test } from "node:test";
import { Notebook, openBrowser } from "./lab.mjs";

const SETUP = `import sys; sys.path.insert(0, ${JSON.stringify(import.meta.dirname)})
from plays import play, play_in_background, play_together`;
const NEXT = "print('next', 6 * 7)";
let context, notebook, number = 0;

before(async () => (context = await openBrowser()));
after(() => context.close());
afterEach(async () => notebook?.close());

async function open(...cells) {
  notebook = await Notebook.open(context, `card${number++}`, [SETUP, ...cells]);
  await notebook.run(0);
  await notebook.finished(0);
  return notebook;
}

test("a run is seen moving, and its report takes the card's place", async () => {
  await open("play(total=480, workers=4, dies_at=1.5, fails=[100, 300])");
  await notebook.run(1);
  const card = await notebook.card();
  const first = await notebook.done(card);
  await notebook.page.waitForFunction((first) => parseInt(document.querySelector(".nbpar-done").textContent.replace(",", ""), 10) > first + 50, first);
  await notebook.says("legend", /item failed.*worker lost.*worker joined/);
  await notebook.shoot("running-light", card);
  await notebook.finished(1, 60000);
  await card.waitFor({ state: "detached" });
  assert.match(await notebook.text(1), /count_words over 480 items\n478 of 480 done, 1 worker lost, 2 failed: item 100/);
  await notebook.shoot("report-light", notebook.cell(1));
});

test("Stop by click ends the run at once, and the queued next cell runs normally", async () => {
  await open("play(total=10**6)", NEXT);
  await notebook.run(1);
  await notebook.run(2);
  const card = await notebook.card();
  const begun = Date.now();
  await card.getByRole("button", { name: "Stop count_words" }).click();
  await notebook.finished(1);
  console.log(`# stopped after ${Date.now() - begun} ms`);
  assert.match(await notebook.text(1), /stopped: [\d,]+ of 1,000,000 done\n'stopped'/);
  await notebook.finished(2);
  assert.equal(await notebook.text(2), "next 42\n");
});

test("Stop by keyboard does the same", async () => {
  await open("play(total=10**6)");
  await notebook.run(1);
  const card = await notebook.card();
  await card.getByRole("button", { name: "Pause" }).focus();
  await notebook.page.keyboard.press("Tab");
  await notebook.shoot("focus-light", card);
  await notebook.page.keyboard.press("Enter");
  await notebook.finished(1);
  assert.match(await notebook.text(1), /stopped: /);
});

test("Pause holds the run and Resume lets it go on", async () => {
  await open("play(total=10**6)");
  await notebook.run(1);
  const card = await notebook.card();
  await card.getByRole("button", { name: "Pause" }).click();
  await notebook.says("state", /^paused$/);
  await notebook.says("names", /^(\didle)+$/); // what was under way is done
  const held = await notebook.done(card);
  await notebook.shoot("paused-light", card);
  assert.equal(await notebook.done(card), held);
  await card.getByRole("button", { name: "Resume" }).click();
  await notebook.page.waitForFunction((held) => parseInt(document.querySelector(".nbpar-done").textContent.replace(",", ""), 10) > held, held);
  await card.getByRole("button", { name: "Stop" }).click();
  await notebook.finished(1);
});

test("workers are added and taken away while the run goes on", async () => {
  await open("play(total=10**6, workers=2)");
  await notebook.run(1);
  const card = await notebook.card();
  await notebook.says("alive", /^2 workers$/);
  await card.getByRole("button", { name: "Add a worker" }).click();
  await notebook.says("alive", /^3 workers$/);
  await card.getByRole("button", { name: "Remove a worker" }).click();
  await notebook.says("alive", /^2 workers$/);
  await card.getByRole("button", { name: "Stop" }).click();
  await notebook.finished(1);
});

test("two runs in one cell each have a card and buttons of their own", async () => {
  await open("play_together(2, total=10**6, workers=2)");
  await notebook.run(1);
  await notebook.card(1);
  await notebook.shoot("two-light");
  await notebook.page.getByRole("button", { name: "Stop run 1" }).click();
  await notebook.finished(1);
  assert.match(await notebook.text(1), /\nstopped: [\d,]+ of 1,000,000 done$/m);
});

test("a run in the background keeps its card while other cells run, and reports under its own cell", async () => {
  await open("thread = play_in_background(total=10**6)", NEXT);
  await notebook.run(1);
  const card = await notebook.card();
  await notebook.run(2);
  await notebook.finished(2);
  await card.getByRole("button", { name: "Stop" }).click();
  await card.waitFor({ state: "detached" });
  await notebook.says("report", /stopped: /);
  assert.match(await notebook.text(1), /count_words over 1,000,000 items\nstopped: /);
  assert.equal(await notebook.text(2), "next 42\n");
  await notebook.shoot("background-light");
});

test("a saved notebook shows the report when it is opened again, and no error", async () => {
  await open("play(total=60, workers=2, fails=[3, 5])");
  await notebook.run(1);
  await notebook.finished(1);
  await notebook.save();
  const name = notebook.name;
  await notebook.close();
  notebook = await Notebook.open(context, name);
  const shown = await notebook.cell(1).textContent();
  assert.match(shown, /count_words over 60 items.*58 of 60 done, 2 failed: item 3/s);
  assert.doesNotMatch(shown, /Error displaying widget|model not found/);
  await notebook.page.locator("details.nbpar-report summary").click();
  await notebook.shoot("reopened-light", notebook.cell(1));
});

test("failures open to their traceback", async () => {
  await open("play(total=10**6, fails=[20, 30, 50])");
  await notebook.run(1);
  const card = await notebook.card();
  await card.getByText("first 3 failed items").click();
  await card.getByText("item 20 (").click();
  await notebook.says("failure", /Traceback.*reading 20/s);
  await card.getByText("latest output").click();
  await notebook.shoot("failed-light", card);
  await notebook.theme("JupyterLab Dark");
  await notebook.shoot("failed-dark", card);
  await card.getByRole("button", { name: "Stop" }).click();
  await notebook.finished(1);
  await notebook.shoot("report-dark", notebook.cell(1));
  await notebook.theme("JupyterLab Light");
});

for (const workers of [16, 64, 256]) {
  test(`${workers} workers over ten million items stay readable`, async () => {
    await open(`play(total=10**7, workers=${workers}, mean=1.5, chunk=500, fails=[9000, 30000], dies_at=21.0, history=20)`);
    await notebook.run(1);
    const card = await notebook.card();
    await notebook.says("legend", /worker joined/);
    const box = await card.boundingBox();
    assert.ok(box.height < 520, `${box.height} pixels high`);
    await notebook.shoot(`workers-${workers}-light`, card);
    await notebook.theme("JupyterLab Dark");
    await notebook.shoot(`workers-${workers}-dark`, card);
    await notebook.theme("JupyterLab Light");
    await card.getByRole("button", { name: "Stop" }).click();
    await notebook.finished(1);
  });
}

test("movement and forced colours follow the reader's settings", async () => {
  await open("play(total=10**6, fails=[20], dies_at=1.0)");
  await notebook.page.emulateMedia({ reducedMotion: "reduce", forcedColors: "active" });
  await notebook.run(1);
  const card = await notebook.card();
  await notebook.says("legend", /worker joined/);
  assert.match(await card.locator(".nbpar-fill").evaluate((node) => getComputedStyle(node).transition), /^(none|all 0s|.* 0s)/);
  await notebook.shoot("forced-colours", card);
  await card.getByRole("button", { name: "Stop" }).click();
  await notebook.finished(1);
});

test("a quick run gets no card, only its report", async () => {
  await open("play(total=4, mean=0.001, progress='auto')");
  await notebook.run(1);
  await notebook.finished(1);
  assert.equal(await notebook.page.locator(".nbpar-card").count(), 0);
  assert.equal(await notebook.text(1), "count_words over 4 items\n4 of 4 done\n'done'");
});

test("whoever gets the saved notebook sees the report: untrusted, as HTML, as Markdown", async () => {
  await open("play(total=60, workers=2, fails=[3, 5])");
  await notebook.run(1);
  await notebook.finished(1);
  await notebook.save();
  const { name } = notebook;
  for (const format of ["html", "markdown"]) {
    const exported = await notebook.page.evaluate(async (path) => (await fetch(path)).text(), `/nbconvert/${format}/${name}.ipynb`);
    assert.match(exported, /count_words over 60 items/);
    assert.match(exported, /58 of 60 done, 2 failed: item 3/);
    assert.doesNotMatch(exported, /widget-view|nbpar-card/);
  }
  await notebook.close();
  const stored = JSON.parse(readFileSync(join(process.env.LAB_FOLDER, `${name}.ipynb`)));
  assert.equal(stored.metadata.widgets, undefined);
  stored.cells[0].source = "# changed, so that nobody trusts it";
  writeFileSync(join(process.env.LAB_FOLDER, `${name}-untrusted.ipynb`), JSON.stringify(stored));
  notebook = await Notebook.open(context, `${name}-untrusted`);
  const shown = await notebook.cell(1).textContent();
  assert.match(shown, /count_words over 60 items.*58 of 60 done, 2 failed: item 3/s);
  assert.doesNotMatch(shown, /Error displaying widget/);
});

test("a notebook that was saved while its run went on says what ran", async () => {
  await open("play(total=10**6)");
  await notebook.run(1);
  const card = await notebook.card();
  await notebook.save();
  const stored = JSON.parse(readFileSync(join(process.env.LAB_FOLDER, `${notebook.name}.ipynb`)));
  assert.equal(stored.cells[1].outputs[0].data["text/plain"].toString(), "count_words over 1,000,000 items");
  await card.getByRole("button", { name: "Stop" }).click();
  await notebook.finished(1);
});
