// The card's words, drawing, buttons and ARIA, with node's own test runner:  node --test tests/views/js/
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Clock, Model, openPage, readCard, staged, tick } from "./page.mjs";

const card = await readCard();

let host;
beforeEach(() => (host = openPage()));

function shown(state = {}) {
  const model = new Model({ tick: tick(), workers: [["0", "this", 41, ""], ["1", "this", 42, ""]], ...state });
  const close = card.default.render({ model, el: host });
  const root = host.find("card"), button = (text) => root.buttons().find((one) => one.textContent === text);
  const timeline = root.find("timeline"), press = (key) => timeline.fire("keydown", { key });
  return { model, close, root, button, timeline, press, text: (name) => root.find(name)?.textContent };
}

/** What screen readers are told: by the page, which stays when the card goes. */
const heard = () => document.getElementById("nbpar-live")?.textContent ?? "";

/** What the table says, row by row. */
const table = (root) => root.find("table").children.map((row) => row.children.map((cell) => cell.textContent));

// ---- words

test("numbers are written for people", () => {
  assert.deepEqual([0, 999, 1500, 52e6, 3e9].map(card.size), ["0 B", "999 B", "1.5 kB", "52 MB", "3.0 GB"]);
  assert.deepEqual([0.04, 9.9, 12.3, 99, 150, 7300].map(card.duration), ["0.0 s", "9.9 s", "12 s", "99 s", "3 min", "2 h 2 min"]);
  assert.deepEqual([0, 0.2, 1.5, 93.4, 14600, 2.13e6].map(card.rate),
    ["", "12.0 items/min", "1.5 items/s", "93 items/s", "14,600 items/s", "2.1 M items/s"]);
  assert.deepEqual([card.items(1200, 1), card.items(1200, 8)], ["item 1,200", "items 1,200–1,207"]);
});

test("percent is never rounded up, has a decimal below ten, is 100 without items, and unknown without a total", () => {
  const share = (done, total) => card.share(tick({ total, done }));
  assert.equal(share(999, 1000), "99");
  assert.deepEqual([share(45300, 1e7), share(29, 1000), share(99, 1000), share(3, 20), share(4, 1e7), share(0, 9)],
    ["0.4", "2.9", "9.9", "15", "<0.1", "0"]);
  assert.equal(share(5, null), "");
  assert.equal(card.percent(tick({ total: 0, done: 0 })), 100);
  assert.equal(card.percent(tick({ total: null })), null);
});

test("strips become runs of equal level", () => {
  assert.deepEqual(card.runs("//A/"), [[0, 6, 3], [9, 3, 3]]);
  assert.deepEqual(card.runs("G"), [[1, 1, 1], [2, 1, 2]]);
  assert.deepEqual(card.runs(""), []);
});

test("an axis has few ticks at every length, as people count", () => {
  for (let length = 0.1; length < 1e8; length *= 1.7) {
    for (const width of [40, 130, 600]) {
      const ticks = card.ticks(length, width);
      assert.ok(ticks.length >= (width > 200 ? 2 : 1) && ticks.length <= Math.max(1, Math.min(6, width / 20)), `${length}: ${ticks}`);
      assert.ok(ticks.at(-1)[0] <= length);
    }
  }
  const words = (length) => card.ticks(length, 600).map(([, text]) => text).slice(1, 4).join(", ");
  assert.deepEqual([0.4, 4, 40, 140, 300, 4200, 40000, 86400 * 3, 86400 * 9, 86400 * 60].map(words),
    ["0.1 s, 0.2 s, 0.3 s", "1 s, 2 s, 3 s", "10 s, 20 s, 30 s", "30 s, 60 s, 90 s", "1 min, 2 min, 3 min", "15 min, 30 min, 45 min",
      "3 h, 6 h, 9 h", "1 d, 2 d", "2 d, 4 d, 6 d", "14 d, 28 d, 42 d"]);
});

test("the columns of workers grow with what they do, and do not jump back", () => {
  const { model, root } = shown({ tick: tick({ lanes: { first: [1200, 90000] } }) });
  const width = () => parseInt(root.find("lanes").style["--nbpar-now"], 10);
  const wide = width();
  assert.ok(wide > 7 * "items 90,000–90,007".length);
  model.set("tick", tick({ lanes: { first: [1, 2] } }));
  assert.equal(width(), wide);
});

test("rows are readable for few workers and all fit for many", () => {
  assert.equal(card.rowHeight(16), 24);
  for (let lanes = 17; lanes <= 256; lanes++) assert.ok(card.rowHeight(lanes) * lanes <= 270 && card.rowHeight(lanes) >= 1);
});

test("a worker says what it does", () => {
  const at = (state, more = {}, over = {}) => card.activity(tick({ lanes: { state: `${state}b`, ...more }, ...over }), 0, "killed by SIGKILL");
  assert.equal(at("b"), "items 12–19");
  assert.equal(at("b", { since: [1.1, 0] }), "items 12–19 · 2.1 s");
  assert.equal(at("i"), "idle");
  assert.equal(at("l"), "left");
  assert.equal(at("s"), "items 12–19 · silent");
  assert.equal(at("s", { first: [-1, 0] }), "silent");
  assert.equal(at("x"), "lost: killed by SIGKILL");
  assert.equal(at("b", { count: undefined, since: undefined }), "item 12");
});

// ---- the card

test("it shows how many are done, how fast, and how long it will take", () => {
  const { text, root } = shown();
  assert.equal(text("done"), "300 of 1,200 · 25 %");
  assert.equal(text("rate"), "93 items/s");
  assert.equal(text("left"), "9.6 s left");
  assert.equal(text("fact"), "3.2 s · chunks of 8 items · 1.5 kB moved · 100 MB memory");
  assert.equal(root.find("fill").style.width, "25%");
  assert.deepEqual(table(root), [["0", "items 12–19", "", "150", "50 MB"], ["1", "items 12–19", "", "150", "50 MB"]]);
});

test("workers that do not answer are counted while the run lasts", () => {
  const lanes = { state: "sb" }, { model, text } = shown({ tick: tick({ lanes }) });
  assert.ok(text("fact").endsWith(" · 1 worker silent"));
  model.set("tick", tick({ lanes, state: "done" }));
  assert.ok(!text("fact").includes("silent"));
});

test("an unknown total is counted up and its bar has no value", () => {
  const { text, root } = shown({ tick: tick({ total: null, left: null }) });
  assert.equal(text("done"), "300 done");
  assert.ok(root.find("track").classes.has("nbpar-unknown"));
  assert.equal(root.find("track").getAttribute("aria-valuenow"), null);
});

test("failures are said in words and have their part of the bar", () => {
  const { model, text, root } = shown();
  assert.equal(root.find("bad").hidden, true);
  model.set("tick", tick({ failed: 12 }));
  assert.equal(text("failed"), "12 failed");
  assert.equal(root.find("bad").style.width, "max(4px, 1%)");
});

test("the bar is a progressbar with words for its value", () => {
  const { root } = shown();
  const track = root.find("track");
  assert.deepEqual(["role", "aria-label", "aria-valuemin", "aria-valuemax", "aria-valuenow"].map((name) => track.getAttribute(name)),
    ["progressbar", "count", "0", "1200", "300"]);
  assert.equal(track.getAttribute("aria-valuetext"), "300 of 1,200 · 25 %, 93 items/s, 9.6 s left");
});

test("screen readers hear states at once and progress seldom", () => {
  const clock = new Clock();
  const { model } = shown();
  assert.equal(document.getElementById("nbpar-live").getAttribute("aria-live"), "polite");
  assert.equal(heard(), "count: running, 25 percent done");
  model.set("tick", tick({ done: 480 }));
  assert.equal(heard(), "count: running, 25 percent done");
  clock.pass(5001);
  model.set("tick", tick({ done: 492 }));
  assert.equal(heard(), "count: running, 41 percent done");
  model.set("tick", tick({ done: 500, failed: 1 }));
  assert.equal(heard(), "count: running, 41 percent done, 1 failed");
});

test("the end is said by the page, which stays when the card goes", () => {
  const { model, close, root } = shown();
  model.set("tick", tick({ done: 1200, state: "done" }));
  close();
  root.remove();
  assert.equal(heard(), "count: finished, 100 percent done");
});

test("more or fewer workers are said when they were asked for", () => {
  const { model, button } = shown();
  model.set("tick", tick({ alive: 3 }));
  assert.equal(heard(), "count: running, 25 percent done");
  button("+").fire("click");
  assert.equal(heard(), "count: adding a worker");
  model.set("tick", tick({ alive: 4 }));
  assert.equal(heard(), "count: 4 workers");
});

test("low memory and a pause are states of their own, seen and said", () => {
  const { model, text, root } = shown();
  model.set("tick", tick({ held: true, notice: "held back: 0.4 GB of memory left" }));
  assert.deepEqual([root.dataset.state, text("state"), text("hint")], ["held", "held back", "held back: 0.4 GB of memory left"]);
  assert.equal(root.find("hint").dataset.warns, "true");
  assert.equal(heard(), "count: held back: 0.4 GB of memory left, 25 percent done");
  model.set("tick", tick({ state: "paused", paused: 5.7 }));
  assert.deepEqual([root.dataset.state, text("state")], ["paused", "paused for 5 s"]);
});

test("that every item fails is said", () => {
  const { model, text } = shown({ tick: tick({ failed: 9, done: 9 }) });
  assert.equal(text("hint"), "");
  model.set("tick", tick({ failed: 12, done: 12 }));
  assert.equal(text("hint"), "Every item fails: 12 of 12. Stop?");
  assert.match(heard(), /Every item fails/);
  model.set("tick", tick({ failed: 12, done: 13 }));
  assert.equal(text("hint"), "");
});

test("a card whose kernel was restarted has no news, and no buttons that could be pressed", async () => {
  const { model, root, text } = shown({ manager: { get_model: async () => model.raw } });
  await null;
  model.raw.comm_live = false;
  model.trigger("comm_live_update");
  assert.equal(text("state"), "no news");
  assert.match(text("hint"), /restarted or has ended/);
  assert.equal(text("left"), "");
  assert.ok(root.buttons().every((one) => one.disabled));
  assert.match(heard(), /no news/);
  model.raw.comm_live = true;
  model.set("tick", tick());
  assert.equal(text("state"), "running");
  assert.ok(root.buttons().every((one) => !one.disabled));
});

test("a kernel that says nothing for long is said to, and heard when it speaks again", () => {
  const clock = new Clock();
  const { model, text, button } = shown();
  clock.pass(14000);
  assert.equal(text("state"), "running");
  clock.pass(3000);
  assert.equal(text("state"), "no news for 17 s");
  assert.equal(button("Stop").disabled, false);
  model.set("tick", tick({ elapsed: 20 }));
  assert.equal(text("state"), "running");
});

test("the focus never falls from the card, and goes to the report when that has come", () => {
  const clock = new Clock();
  const { model, button, root, close } = shown();
  button("Stop").focus();
  button("Stop").fire("click");
  assert.equal(document.activeElement, root);
  model.set("tick", tick({ state: "stopped" }));
  assert.equal(document.activeElement, root);
  root.remove();
  close();
  const report = document.createElement("div");
  report.className = "nbpar-report";
  host.append(report);
  clock.pass(101);
  assert.equal(document.activeElement, report);
  assert.equal(report.getAttribute("tabindex"), "-1");
});

const LINE = "✓ count: 12 of 12 done · 5.2 s on 2 workers · 1.9x";
const isOver = { tick: tick({ state: "done", done: 1200 }), line: LINE };

test("a card that nothing has replaced says what stays of its run", () => {
  const clock = new Clock();
  const { root, text } = shown(isOver);
  assert.equal(root.find("line").hidden, true);
  clock.pass(1001);
  assert.equal(root.find("line").hidden, false);
  assert.equal(text("line"), LINE);
});

test("a card that is over stays where it was when its widget is closed", () => {
  const { root, model, text } = shown(isOver), host = root.parentElement;
  model.trigger("comm:close");
  host.remove();
  assert.ok(document.body.contains(root));
  assert.equal(text("line"), LINE);
});

test("a card hides the text that says what runs, and gives it back", () => {
  const area = document.createElement("div");
  const made = ["nbpar-header", "nbpar-place"].map((name) => {
    const child = document.createElement("div"), inner = document.createElement("div");
    child.className = "jp-OutputArea-child";
    inner.className = name;
    child.append(inner);
    area.append(child);
    return inner;
  });
  document.body.append(area);
  const close = card.default.render({ model: new Model({ tick: tick() }), el: made[1] });
  assert.equal(made[0].hidden, true);
  close();
  assert.equal(made[0].hidden, false);
});

test("a focus that is elsewhere stays there when the card goes", () => {
  const { model, close, root } = shown();
  model.set("tick", tick({ state: "done" }));
  root.remove();
  close();
  assert.equal(document.activeElement, document.body);
});

test("Stop is sent once, says so, and offers the interrupt when nothing happens", () => {
  const clock = new Clock();
  const { model, button, root, text } = shown();
  button("Stop").fire("click");
  assert.equal(model.sent.length, 1);
  assert.equal(model.sent[0].event, "stop");
  assert.ok(model.sent[0].press);
  assert.equal(button("Stopping…").disabled, true);
  assert.equal(text("state"), "stopping");
  clock.pass(3000);
  assert.match(text("hint"), /interrupt button/);
  model.set("tick", tick({ state: "stopped" }));
  assert.equal(text("hint"), "");
  assert.equal(text("state"), "stopped");
  assert.ok(root.buttons().filter((one) => /Stop|Pause/.test(one.textContent)).every((one) => one.hidden));
});

test("Pause becomes Resume when the run has paused", () => {
  const { model, button } = shown();
  button("Pause").fire("click");
  model.set("tick", tick({ state: "paused" }));
  button("Resume").fire("click");
  assert.deepEqual(model.sent.map((message) => message.event), ["pause", "resume"]);
  assert.notEqual(model.sent[0].press, model.sent[1].press);
});

test("workers are added and taken away, but the last one stays", () => {
  const { model, button } = shown();
  button("+").fire("click");
  button("−").fire("click");
  assert.deepEqual(model.sent.map(({ event, by }) => [event, by]), [["resize", 1], ["resize", -1]]);
  model.set("tick", tick({ alive: 1 }));
  assert.equal(button("−").disabled, true);
});

test("an item that lasts can be skipped, once, by a button with a name", () => {
  const settings = { label: "count", skips: true, hears: true, model: "m" }, lanes = { first: [12, 30], count: [1, 3], since: [0.5, 3] };
  const { model, root, timeline } = shown({ settings, tick: tick({ lanes }) }), crosses = () => root.buttons().filter((one) => one.textContent === "✕");
  assert.deepEqual(crosses().map((one) => one.getAttribute("aria-label")), ["Skip item 12 on worker 0"]);
  crosses()[0].focus();
  crosses()[0].fire("click");
  crosses()[0].fire("click");
  assert.deepEqual(model.sent.map(({ event, item }) => [event, item]), [["skip", 12]]);
  assert.equal(heard(), "count: skipping item 12");
  assert.deepEqual([table(root)[0][1], crosses()[0].getAttribute("aria-disabled")], ["item 12 · skipping", "true"]);
  model.set("tick", tick({ failed: 1, skipped: 1, elapsed: 3.5, lanes: { ...lanes, first: [13, 30], since: [3.2, 1] } }));
  assert.equal(document.activeElement, timeline);
  assert.deepEqual(crosses().map((one) => one.getAttribute("aria-label")), ["Skip item 30 on worker 1"]);
  assert.deepEqual([root.find("skipped").textContent, root.find("failed").hidden], ["1 skipped", true]);
  model.set("tick", tick({ state: "stopped", elapsed: 60, lanes }));
  assert.equal(crosses().length, 0);
});

test("items that were skipped have a part of the bar, and are said", () => {
  const { model, root } = shown({ tick: tick({ total: 20, done: 10, failed: 5, skipped: 5 }) });
  assert.deepEqual(["fill", "let-go"].map((name) => root.find(name).style.width), ["25%", "25%"]);
  assert.equal(root.find("bad").hidden, true);
  model.set("tick", tick({ state: "done", total: 20, done: 20, failed: 6, skipped: 5 }));
  assert.equal(heard(), "count: finished, 100 percent done, 1 failed, 5 skipped");
});

test("a lane shows how far its item has come, as the item tells", () => {
  const epoch = ["epoch", 3, 10, "it", "loss=0.3", 0.5], batch = ["batch", 450, 1800, "it", "", 90], inner = [[1, 33, [epoch, batch]]];
  const { model, root, press, text } = shown({ tick: tick({ lanes: { inner } }) }), cell = () => root.find("table").children[1].children[1];
  assert.deepEqual(table(root).map((row) => row[1]), ["items 12–19", "item 33 · epoch 3/10 › batch 25 %"]);
  assert.deepEqual([cell().dataset.bars, cell().style["--nbpar-outer"], cell().style["--nbpar-inner"]], ["2", "30%", "25%"]);
  press("End");
  assert.match(text("hint"), /· epoch 3 of 10 \(30 %\), 0.50 it\/s, 14 s left, loss=0.3 · batch 450 of 1,800 \(25 %\), 90 it\/s, 15 s left · 150 done/);
  model.set("tick", tick({ lanes: { inner: [[1, 33, [["", 1234.5, null, "B", "", 0]]]] } }));
  assert.deepEqual([table(root)[1][1], cell().dataset.bars], ["item 33 · 1,234 B", "0"]);
  model.set("tick", tick());
  assert.equal(table(root)[1][1], "items 12–19");
  model.set("tick", tick({ state: "done", lanes: { inner, state: "ii" } }));
  assert.equal(table(root)[1][1], "idle");
});

test("the item that tells of itself is the one that is skipped", () => {
  const settings = { label: "count", skips: true, hears: true, model: "m" }, lanes = { since: [3, 0.5], inner: [[1, 14, [["", 1, 2, "it", "", 0]]]] };
  const { root } = shown({ settings, tick: tick({ lanes }) });
  assert.deepEqual(root.buttons().filter((one) => one.textContent === "✕").map((one) => one.getAttribute("aria-label")), ["Skip item 14 on worker 1"]);
});

test("there is no such button where items cannot be skipped, nor for stages", () => {
  const crosses = (state) => shown(state).root.buttons().filter((one) => one.textContent === "✕").length;
  assert.equal(crosses({ tick: tick({ elapsed: 60 }) }), 0);
  assert.equal(crosses({ settings: { label: "pipe", skips: true }, tick: staged({ elapsed: 60 }) }), 0);
});

/** A browser that notifies, once it is allowed to. */
function browser(answer = "granted") {
  const kept = new Map(), rung = [];
  globalThis.Notification = class {
    static permission = "default";
    static asked = 0;
    static async requestPermission() {
      this.asked += 1;
      return (this.permission = answer);
    }
    constructor(title, { body, tag }) { rung.push([title, body, tag]); }
  };
  globalThis.localStorage = { getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value), removeItem: (key) => kept.delete(key) };
  return rung;
}

const settled = () => new Promise((done) => setImmediate(done));

test("a bell is off at first, asks the browser when it is switched on, and is remembered", async () => {
  const rung = browser(), { model, root } = shown(), bell = root.find("told").children[0];
  assert.deepEqual([bell.hidden, bell.getAttribute("aria-pressed"), Notification.asked], [false, "false", 0]);
  bell.fire("click");
  await settled();
  assert.deepEqual([bell.getAttribute("aria-pressed"), Notification.asked, heard()], ["true", 1, "count: the browser will notify you at the end"]);
  assert.deepEqual(model.sent, []);
  host = openPage(); // another page of this browser
  const other = shown();
  assert.equal(other.root.find("told").children[0].getAttribute("aria-pressed"), "true");
  document.hidden = true;
  other.model.set("tick", tick({ state: "done", done: 1200, failed: 3, skipped: 1 }));
  other.model.set("tick", tick({ state: "done", done: 1200, failed: 3, skipped: 1 }));
  assert.deepEqual(rung, [["count: done", "finished, 100 percent done, 2 failed, 1 skipped", "nbpar-m"]]);
  assert.equal(other.root.find("told").children[0].hidden, true);
  host = openPage();
  document.hidden = true;
  const third = shown();
  third.root.find("told").children[0].fire("click");
  await settled();
  third.model.set("tick", tick({ state: "stopped" }));
  assert.equal(rung.length, 1);
});

test("the bell is silent while the page is seen, and for a run that was over before", async () => {
  const rung = browser(), { model, root } = shown();
  root.find("told").children[0].fire("click");
  await settled();
  model.set("tick", tick({ state: "done" }));
  document.hidden = true;
  shown({ tick: tick({ state: "done" }) });
  assert.deepEqual(rung, []);
});

test("a browser that does not allow notifications is said to", async () => {
  browser("denied");
  const { root, text } = shown(), bell = root.find("told").children[0];
  bell.fire("click");
  await settled();
  assert.equal(bell.getAttribute("aria-pressed"), "false");
  assert.match(text("hint"), /does not allow this page to notify you/);
  delete globalThis.localStorage;
  bell.fire("click");
  await settled();
  assert.equal(bell.getAttribute("aria-pressed"), "false");
});

test("there is no bell where there are no notifications", () => {
  delete globalThis.Notification;
  assert.equal(shown().root.find("told").children[0].hidden, true);
});

test("keys that are pressed in the card stay there, whichever of its parts has the focus", () => {
  const { root } = shown({ failures: [{ index: 1, item: "a", error: "E", worker: "0", attempts: 1, seconds: 0, traceback: "T", output: "" }] });
  for (const event of ["keydown", "keypress", "keyup"]) {
    let stopped = 0;
    root.fire(event, { key: "d", stopPropagation: () => stopped++ });
    assert.equal(stopped, 1);
  }
  const all = (node) => [node, ...node.children.flatMap(all)];
  const focusable = all(root).filter((node) => ["button", "summary"].includes(node.name) || node.getAttribute("tabindex"));
  assert.ok(focusable.length >= 8);
  for (const node of focusable) assert.equal(node.getAttribute("data-lm-suppress-shortcuts"), "true");
});

test("there are no such buttons where workers cannot be added", () => {
  const { root } = shown({ settings: { label: "count", resizable: false, hears: true } });
  assert.equal(root.find("resize").hidden, true);
});

test("every button is a real one with a name", () => {
  const { root } = shown();
  for (const one of root.buttons()) {
    assert.equal(one.getAttribute("type"), "button");
    assert.ok(one.getAttribute("aria-label").length > 3);
  }
});

const failed = (index, more = {}) => ({
  index, item: "'abc'", error: "ValueError: no", worker: "1", attempts: 2, seconds: 1.5, traceback: "Traceback", output: "hello", type: "ValueError", line: 3, stage: "", ...more,
});
const listed = (root) => root.find("list").children.map((one) => one.querySelector("summary")?.textContent ?? one.textContent);

test("failures open to their traceback and output, stay open and keep the focus", () => {
  const { model, root, text } = shown({ failures: [failed(7)], groups: [["ValueError", 3, "", 1]] });
  const seven = root.find("failure"), summary = seven.querySelector("summary");
  assert.equal(seven.textContent, "item 7 ('abc'): ValueError: noworker 1 · attempt 2 · 1.5 sTracebackprinted:\nhello");
  assert.equal(summary.querySelector("bdi").textContent, "'abc'");
  seven.open = true;
  summary.focus();
  model.set("failures", [failed(3), failed(7)]);
  assert.deepEqual(root.find("list").children.map((one) => one === seven), [false, true]);
  assert.equal(document.activeElement, summary);
  assert.match(text("more"), /^2 failed items/);
});

test("failures that are not listed are counted", () => {
  const groups = Array.from({ length: 9 }, (_, i) => [`Error${i}`, 3, "", 1]);
  const { root, text } = shown({ failures: [failed(7), failed(8)], groups });
  assert.match(text("more"), /^9 failed items/);
  assert.deepEqual(listed(root).at(-1), "… and 7 more: nbpar.last_run.failures");
});

test("many failures are grouped by type and line", () => {
  const groups = [["ValueError", 3, "", 997], ["KeyError", 7, "tag", 3]];
  const rows = [failed(0), failed(1), failed(41, { type: "KeyError", line: 7, stage: "tag" })];
  const { root, text, model } = shown({ failures: rows, groups });
  assert.match(text("more"), /^1,000 failed items in 2 ways/);
  assert.deepEqual(listed(root), ["997 × ValueError at line 3", "3 × KeyError in tag at line 7"]);
  const [first] = root.find("list").children;
  assert.deepEqual(listed(first), ["item 0 ('abc'): ValueError: no", "item 1 ('abc'): ValueError: no", "… and 995 more: nbpar.last_run.failures"]);
  model.set("groups", [["ValueError", 3, "", 998], ["KeyError", 7, "tag", 3]]);
  assert.equal(root.find("list").children[0], first);
  assert.equal(listed(root)[0], "998 × ValueError at line 3");
});

test("output is labelled by item", () => {
  const { text } = shown({ output: [[3, "stdout", "three\n"], [4, "stderr", "four"]] });
  assert.equal(text("stdout"), "[3] three\n");
  assert.equal(text("stderr"), "[4] four\n");
});

test("data is text and never HTML", () => {
  const evil = "<img src=x onerror=alert(1)>";
  const { root } = shown({
    settings: { label: evil, resizable: true, hears: true }, workers: [[evil, evil, 1, evil], ["1", "", 2, ""]],
    failures: [{ index: 1, item: evil, error: evil, worker: evil, attempts: 1, seconds: 0, traceback: evil, output: evil, type: evil, line: 1, stage: evil }], groups: [[evil, 1, evil, 9]], output: [[1, "stdout", evil]],
  });
  assert.ok(root.textContent.includes(evil));
});

test("a worker's row has its device, and its details tell how busy that is", () => {
  const workers = [["engine 0", "this", 41, "", "", "GPU 0"], ["engine 1", "this", 42, "", "", ""]];
  const { timeline, text, root } = shown({ workers, tick: tick({ devices: ["GPU 0: 3.1 of 151 GB, 37 %", ""] }) });
  const names = root.find("table").children.map((row) => row.children[0].textContent);
  assert.deepEqual(names, ["engine 0 · GPU 0", "engine 1"]);
  timeline.focus();
  assert.match(text("hint"), /^engine 0 · .* · process 41 · GPU 0: 3.1 of 151 GB, 37 %$/);
});

test("marks have shapes of their own and a legend in words", () => {
  const { text, root } = shown({ tick: tick({ marks: [[0, "fa", 1], [1, "lo", 2], [1, "jo", 0.5]] }) });
  assert.equal(text("legend"), "▾ item failed   ✕ worker lost   + worker joined");
  assert.match(root.find("timeline").getAttribute("aria-label"), /Timeline of 2 workers over 3.2 s/);
});

test("the timeline is a list that keys go through, and that says what each worker does", () => {
  const { timeline, press, text, root } = shown({ workers: [["0", "this", 41, ""], ["1", "this", 42, "", "0"]] });
  const chosen = () => root.all((node) => node.getAttribute("role") === "option" && node.getAttribute("aria-selected") === "true");
  assert.deepEqual([timeline.getAttribute("role"), timeline.getAttribute("tabindex")], ["listbox", "0"]);
  timeline.focus();
  assert.equal(text("hint"), "worker 0 · items 12–19 · 150 done · 50 MB · 700 B moved · this · process 41");
  press("ArrowDown");
  press("ArrowDown");
  assert.match(text("hint"), /^worker 1 · .* · in the place of worker 0$/);
  assert.deepEqual(chosen().map((node) => [node.getAttribute("id"), node.textContent]), [[timeline.getAttribute("aria-activedescendant"), text("hint")]]);
  assert.deepEqual(root.find("table").children.map((row) => row.dataset.chosen), ["false", "true"]);
  press("Escape");
  assert.deepEqual([text("hint"), chosen(), timeline.getAttribute("aria-activedescendant")], ["", [], null]);
  press("ArrowDown");
  timeline.fire("blur");
  assert.equal(text("hint"), "");
});

test("keys go far where there are many workers", () => {
  const { timeline, press, text } = shown({ tick: tick({}, 256), workers: Array.from({ length: 256 }, (_, i) => [String(i), "", i, ""]) });
  const at = (key) => (press(key), parseInt(text("hint").split(" ")[1], 10));
  timeline.focus();
  assert.deepEqual(["End", "Home", "PageDown", "PageDown", "PageUp", "ArrowDown", "ArrowUp", "PageUp", "PageUp"].map(at), [255, 0, 32, 64, 32, 33, 32, 0, 0]);
});

test("256 workers over 10 million items are drawn with few strokes", () => {
  const { root, model } = shown({ tick: tick({ total: 1e7 }, 256), workers: Array.from({ length: 256 }, (_, i) => [String(i), "", i, ""]) });
  assert.ok(root.find("lanes").classes.has("nbpar-dense"));
  assert.equal(parseInt(root.find("canvas").style.height), 256 + 18);
  assert.equal(root.find("table").children.length, 0);
  const { calls } = root.find("canvas").getContext();
  calls.length = 0;
  model.set("tick", tick({ total: 1e7, lanes: { strip: Array(256).fill("////GAAA".repeat(4)) } }, 256));
  assert.ok(calls.filter(([name]) => name === "fillRect").length < 256 * 16);
});

test("many workers have names at some lines, and a line that says what matters", () => {
  const workers = Array.from({ length: 64 }, (_, i) => [`engine ${i}`, "", i, ""]);
  const { root, text } = shown({ tick: tick({ slow: [17, 88213, 1, 12.3], hidden: 8, lanes: { state: `${"b".repeat(60)}iiii` } }, 64), workers });
  assert.equal(text("hint"), "64 of 72 workers, one line each · 60 busy · longest at work: engine 17, item 88,213, 12 s");
  const written = root.find("canvas").getContext().calls.filter(([name]) => name === "fillText").map(([, words]) => words);
  assert.ok(["engine 0", "engine 8"].every((name) => written.includes(name)));
});

test("nothing is drawn right of now", () => {
  const now = 3.2 / 4.8 * 600;
  const { root } = shown({ tick: tick({ lanes: { strip: ["/".repeat(64), "/".repeat(64)] } }), workers: [["0", "", 1, ""], ["1", "", 2, ""]] });
  const { calls } = root.find("canvas").getContext();
  for (const [name, x, y, width, height] of calls) if (name === "fillRect" && height > 3 && y > 0) assert.ok(x + width <= now + 1, `${x} ${width}`);
});

test("a row whose worker was replaced goes on, and one whose worker is gone ends", () => {
  const track = (marks, state) => {
    host = openPage();
    const { calls } = shown({ tick: tick({ marks, lanes: { state } }) }).root.find("canvas").getContext();
    return calls.find(([name, , y]) => name === "fillRect" && y === 5)[3];
  };
  assert.equal(Math.round(track([[0, "lo", 1.6]], "xb")), 200);
  assert.equal(Math.round(track([[0, "lo", 1.6], [0, "jo", 1.7]], "bb")), 400);
});

test("where too many items failed for a mark each, their part is drawn", () => {
  const { text, root } = shown({ tick: tick({ bad: [[1, "A/AA"]] }) });
  assert.equal(text("legend"), "red: items failed");
  const { calls } = root.find("canvas").getContext();
  assert.ok(calls.some(([name, x, y, width]) => name === "fillRect" && y > 22 && Math.round(x) === 9 && Math.round(width) === 9));
});

test("a run without workers yet is shown as waiting", () => {
  const { text, root } = shown({ tick: tick({ state: "waiting", alive: 0, rate: 0, left: null }, 0), workers: [] });
  assert.equal(text("state"), "waiting for workers");
  assert.equal(root.find("lanes").hidden, true);
});

test("a view before the first tick, and a view that is taken away, do no harm", () => {
  const { model, close } = shown({ tick: {} });
  model.set("workers", []);
  close();
  assert.equal(model.heard, 0);
});

// ---- pipelines

const STAGES = [["cut", "engines", 2, true], ["tag", "threads", 1, false]];

test("each stage has a lane with its workers, its queue, its failures and how fast it is", () => {
  const { root } = shown({ tick: staged(), workers: STAGES });
  assert.ok(root.find("lanes").classes.has("nbpar-staged"));
  assert.deepEqual(table(root), [["cut", "1 of 2 workers", "", "", "93 items/s"], ["tag", "0.5 of 1 worker", "15 waiting", "2 failed", "46 items/s"]]);
  assert.equal(root.find("table").children[1].find("wait").style.width, "75%");
  assert.match(root.find("timeline").getAttribute("aria-label"), /Timeline of 2 stages/);
});

test("the row of a worker ends with its death, that of a stage goes on", () => {
  const drawn = (tick) => {
    host = openPage();
    return shown({ tick, workers: STAGES }).root.find("canvas").getContext().calls.filter(([name]) => name === "fillRect");
  };
  const death = { marks: [[1, "lo", 1]] };
  assert.deepEqual(drawn(staged(death)), drawn(staged()));
  assert.notDeepEqual(drawn(tick(death)), drawn(tick()));
});

test("a queue without a bound is as full as it is beside the others, and never fuller than full", () => {
  const at = (waiting, room) => card.fullness({ waiting, room }, 1);
  assert.equal(at([0, 5, 20], [null, null, null]), 0.25);
  assert.equal(at([0, 5, 5], [null, null, null]), 0.5);
  assert.equal(at([0, 30, 5], [null, 20, null]), 1);
});

test("the stage that limits is named with what one more worker could do, once that can be told", () => {
  const at = (stages, more = {}) => card.limit(staged({ stages, ...more }), STAGES);
  assert.equal(at({}), "tag limits: 41 ms an item; one more worker could make it 1.5 times as fast");
  assert.equal(at({ gain: 1 }), "tag limits: 41 ms an item");
  assert.deepEqual([at({ load: 0.3 }), at({ limit: null }), at({}, { elapsed: 0.5 }), card.limit(tick(), [])], ["", "", "", ""]);
  const { root, text } = shown({ tick: staged(), workers: STAGES });
  assert.equal(text("hint"), at({}));
  assert.deepEqual(root.find("table").children.map((row) => row.dataset.limit), ["false", "true"]);
});

test("keys ask about one stage after another", () => {
  const { press, text } = shown({ tick: staged(), workers: STAGES });
  for (const says of ["cut: 1 of 2 workers on engines · 150 done · 4 ms an item", "tag: 0.5 of 1 worker on threads · 15 of 20 waiting · 120 done · 2 failed · 41 ms an item"]) {
    press("ArrowDown");
    assert.equal(text("hint"), says);
  }
});

test("a pipeline that is over shows no queues", () => {
  const { root } = shown({ tick: staged({ state: "done" }), workers: STAGES });
  assert.deepEqual(table(root).map((row) => row.slice(0, 3)), [["cut", "2 workers", ""], ["tag", "1 worker", ""]]);
});
