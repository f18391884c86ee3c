// Drive a real JupyterLab, or Notebook 7 with FRONT_END=notebook, in headless Chromium.
import { createRequire } from "node:module";
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const require = createRequire(join(process.env.NBPAR_NODE_MODULES ?? process.cwd(), "index.js"));
const { chromium } = require("playwright-core");
const { LAB_URL, LAB_FOLDER, SCREENS } = process.env;
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

export async function openBrowser(options = {}) {
  const profile = mkdtempSync(join(process.env.PROFILES, "chromium-")); // run.py removes it
  return chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", headless: true, args: FLAGS,
    viewport: { width: 1200, height: 860 }, deviceScaleFactor: 1.5, ...options,
  });
}

export function writeNotebook(name, sources) {
  const cells = sources.map((source, i) => ({ cell_type: "code", id: `c${i}`, source, metadata: {}, outputs: [], execution_count: null }));
  const metadata = { kernelspec: { name: "nbpar", display_name: "nbpar", language: "python" }, language_info: { name: "python" } };
  writeFileSync(join(LAB_FOLDER, `${name}.ipynb`), JSON.stringify({ cells, metadata, nbformat: 4, nbformat_minor: 5 }));
}

export class Notebook {
  static async open(context, name, sources) {
    if (sources) writeNotebook(name, sources);
    const page = await context.newPage();
    const lab = `lab/workspaces/${Math.random().toString(36).slice(2)}/tree/${name}.ipynb?reset`;
    await page.goto(`${LAB_URL}/${process.env.FRONT_END === "notebook" ? `notebooks/${name}.ipynb` : lab}`);
    await page.waitForFunction(() => window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel, null, { timeout: 90000 });
    await page.evaluate(async () => {
      const context = window.jupyterapp.shell.currentWidget.sessionContext;
      await context.ready;
      await context.session.kernel.info;
      if (window.jupyterapp.shell.leftCollapsed === false) window.jupyterapp.shell.collapseLeft?.();
    });
    return new Notebook(page, name);
  }

  constructor(page, name) {
    Object.assign(this, { page, name });
    page.on("pageerror", (error) => console.log("page error:", error.stack));
  }

  /** Start a cell; does not wait for its end. */
  run(index) {
    return this.page.evaluate((index) => {
      window.jupyterapp.shell.currentWidget.content.activeCellIndex = index;
      void window.jupyterapp.commands.execute("notebook:run-cell");
    }, index);
  }

  async finished(index, timeout = 30000) {
    await this.page.waitForFunction((index) => {
      const cell = window.jupyterapp.shell.currentWidget.content.widgets[index];
      return cell.model.executionCount !== null && !cell.promptNode?.textContent.includes("*") && cell.model.executionState !== "running";
    }, index, { timeout });
  }

  outputs(index) {
    return this.page.evaluate((index) => window.jupyterapp.shell.currentWidget.content.model.cells.get(index).outputs.toJSON(), index);
  }

  async text(index) {
    return (await this.outputs(index)).map((one) => one.text ?? one.data?.["text/plain"] ?? one.evalue ?? "").join("\n");
  }

  cell(index) {
    return this.page.locator(".jp-Notebook-cell").nth(index).locator(".jp-Cell-outputWrapper");
  }

  async card(index = 0) {
    const card = this.page.locator(".nbpar-card").nth(index);
    await card.waitFor({ timeout: 20000 });
    return card;
  }

  async done(card) {
    return parseInt((await card.locator(".nbpar-done").textContent()).replace(/,/g, ""), 10);
  }

  /** Wait until the card says something. */
  async says(className, pattern, timeout = 10000) {
    await this.page.waitForFunction(([name, pattern, flags]) => new RegExp(pattern, flags).test(document.querySelector(`.nbpar-${name}`)?.textContent ?? ""),
      [className, pattern.source, pattern.flags], { timeout });
  }

  async theme(name) {
    await this.page.evaluate((theme) => window.jupyterapp.commands.execute("apputils:change-theme", { theme }), name);
    await this.page.waitForFunction((light) => document.body.dataset.jpThemeLight === light, String(!/Dark/.test(name)));
    await this.page.waitForSelector("#jupyterlab-splash", { state: "detached" });
  }

  async save() {
    await this.page.evaluate(() => window.jupyterapp.commands.execute("docmanager:save"));
    await this.page.waitForFunction(() => !window.jupyterapp.shell.currentWidget.context.model.dirty);
  }

  async shoot(name, target) {
    if (!SCREENS) return;
    mkdirSync(SCREENS, { recursive: true });
    await (target ?? this.page).screenshot({ path: join(SCREENS, `${name}.png`) });
  }

  async close() {
    await this.page.evaluate(() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()).catch(() => {});
    await this.page.close();
  }
}
