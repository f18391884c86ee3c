// Real runs on real engines in a real JupyterLab.
import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { Notebook, openBrowser } from "./lab.mjs";

const SETUP = "import time, nbpar\npool = nbpar.Pool(2)\npool.map(abs, range(4))";
const CLOSE = "pool.close()";
const unlessKernel = { skip: process.env.NBPAR_KERNEL_PYTHON ? "the kernel has no engines" : false };
let context, notebook, number = 0;

before(async () => (context = await openBrowser()));
after(() => context.close());
afterEach(async () => notebook?.close());

async function open(...cells) {
  notebook = await Notebook.open(context, `pool${number++}`, [SETUP, ...cells, CLOSE]);
  await notebook.run(0);
  await notebook.finished(0, 60000);
  return notebook;
}

test("a map is seen moving, stopped by a click, and the next cell finds the engines free", unlessKernel, async () => {
  await open("def wait(x):\n    time.sleep(0.05)\n    return x\npool.map(wait, range(100000))", "sum(pool.map(abs, range(-10, 0)))");
  await notebook.run(1);
  await notebook.run(2);
  const card = await notebook.card();
  await notebook.page.waitForFunction(() => parseInt(document.querySelector(".nbpar-done").textContent, 10) > 40);
  await notebook.shoot("pool-running-light", card);
  const begun = Date.now();
  await card.getByRole("button", { name: "Stop wait" }).click();
  await notebook.finished(1);
  console.log(`# stopped after ${Date.now() - begun} ms`);
  assert.match(await notebook.text(1), /wait over 100,000 items\nstopped: [\d,]+ of 100,000 done/);
  await notebook.run(2);
  await notebook.finished(2);
  assert.match(await notebook.text(2), /10 of 10 done\n55$/);
  await notebook.run(3);
  await notebook.finished(3);
});

test("a map is paused, given another worker, and goes on to its end", unlessKernel, async () => {
  await open("def wait(x):\n    time.sleep(0.02)\n    if x == 77: raise ValueError('no words')\n    return x\nlen(pool.map(wait, range(400), errors='skip'))");
  await notebook.run(1);
  const card = await notebook.card();
  await card.getByRole("button", { name: "Pause" }).click();
  await notebook.says("state", /^paused$/);
  await card.getByRole("button", { name: "Add a worker" }).click();
  await notebook.says("alive", /^3 workers$/, 30000);
  await card.getByRole("button", { name: "Resume" }).click();
  await notebook.says("state", /^running$/);
  await notebook.says("names", /engine 2/);
  await notebook.shoot("pool-three-light", card);
  await notebook.finished(1, 60000);
  assert.match(await notebook.text(1), /399 of 400 done, 1 failed: item 77 \(77\): ValueError: no words\n399$/);
  await notebook.run(2);
  await notebook.finished(2);
});
