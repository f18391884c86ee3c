// The card's words, drawing, buttons and ARIA, with node's own test runner:  node --test tests/views/js/
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { beforeEach, test } from "node:test";
import { Clock, Model, openPage, staged, tick } from "./page.mjs";

const file = new URL("../../../nbpar/views/static/card.js", import.meta.url);
const card = await import(`data:text/javascript;base64,${(await readFile(file)).toString("base64")}`);

let host;
beforeEach(() => (host = openPage()));

function shown(state = {}) {
  const model = new Model({ tick: tick(), workers: [["0", "this", 41, ""], ["1", "this", 42, ""]], ...state });
  const close = card.default.render({ model, el: host });
  const root = host.find("card"), button = (text) => root.buttons().find((one) => one.textContent === text);
  return { model, close, root, button, text: (name) => root.find(name)?.textContent };
}

// ---- words

test("numbers are written for people", () => {
  assert.deepEqual([0, 999, 1500, 52e6, 3e9].map(card.size), ["0 B", "999 B", "1.5 kB", "52 MB", "3.0 GB"]);
  assert.deepEqual([0.04, 9.9, 12.3, 99, 150, 7300].map(card.duration), ["0.0 s", "9.9 s", "12 s", "99 s", "3 min", "2 h 2 min"]);
  assert.deepEqual([0, 0.2, 1.5, 93.4, 14600, 2.13e6].map(card.rate),
    ["", "12.0 items/min", "1.5 items/s", "93 items/s", "14,600 items/s", "2.1 M items/s"]);
  assert.deepEqual([card.items(1200, 1), card.items(1200, 8)], ["item 1,200", "items 1,200–1,207"]);
});

test("percent is never rounded up, is 100 without items, and unknown without a total", () => {
  assert.equal(card.percent(tick({ total: 1000, done: 999 })), 99);
  assert.equal(card.percent(tick({ total: 0, done: 0 })), 100);
  assert.equal(card.percent(tick({ total: null })), null);
});

test("strips become runs of equal level", () => {
  assert.deepEqual(card.runs("//A/"), [[0, 6, 3], [9, 3, 3]]);
  assert.deepEqual(card.runs("G"), [[1, 1, 1], [2, 1, 2]]);
  assert.deepEqual(card.runs(""), []);
});

test("an axis has few round ticks at every length", () => {
  for (let length = 0.1; length < 1e7; length *= 1.7) {
    for (const width of [40, 130, 600]) {
      const ticks = card.ticks(length, width);
      assert.ok(ticks.length >= (width > 200 ? 2 : 1) && ticks.length <= Math.max(1, Math.min(6, width / 20)), `${length}: ${ticks}`);
      assert.ok(ticks.at(-1) <= length);
    }
  }
});

test("the column of workers grows with what they do, and does not jump back", () => {
  const { model, root } = shown({ tick: tick({ lanes: { first: [1200, 90000] } }) });
  const width = () => parseInt(root.find("names").style.width, 10);
  const wide = width();
  assert.ok(wide > 7 * "items 90,000–90,007".length);
  model.set("tick", tick({ lanes: { first: [1, 2] } }));
  assert.equal(width(), wide);
});

test("rows are readable for few workers and all fit for many", () => {
  assert.equal(card.rowHeight(16), 22);
  for (let lanes = 17; lanes <= 256; lanes++) assert.ok(card.rowHeight(lanes) * lanes <= 270 && card.rowHeight(lanes) >= 1);
});

test("a worker says what it does", () => {
  const at = (state, more = {}, over = {}) => card.activity(tick({ lanes: { state: `${state}b`, ...more }, ...over }), 0, "killed by SIGKILL");
  assert.equal(at("b"), "items 12–19");
  assert.equal(at("b", { since: [1.1, 0] }), "items 12–19 · 2.1 s");
  assert.equal(at("i"), "idle");
  assert.equal(at("l"), "left");
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
  assert.equal(root.find("names").textContent, "0items 12–191items 12–19");
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
  const { model, text, root } = shown();
  assert.equal(root.find("sr").getAttribute("aria-live"), "polite");
  assert.equal(text("sr"), "count: running, 25 percent done");
  model.set("tick", tick({ done: 480 }));
  assert.equal(text("sr"), "count: running, 25 percent done");
  clock.pass(5001);
  model.set("tick", tick({ done: 492 }));
  assert.equal(text("sr"), "count: running, 41 percent done");
  model.set("tick", tick({ done: 500, failed: 1 }));
  assert.equal(text("sr"), "count: running, 41 percent done, 1 failed");
  model.set("tick", tick({ done: 1200, state: "done" }));
  assert.equal(text("sr"), "count: finished, 100 percent done");
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

test("failures open to their traceback and output, and stay open", () => {
  const row = (index) => ({ index, item: "'abc'", error: "ValueError: no", worker: "1", attempts: 2, seconds: 1.5, traceback: "Traceback", output: "hello" });
  const { model, root, text } = shown({ failures: [row(7)] });
  assert.equal(root.find("failure").textContent, "item 7 ('abc'): ValueError: noworker 1 · attempt 2 · 1.5 sTracebackprinted:\nhello");
  root.find("failure").open = true;
  model.set("failures", [row(3), row(7)]);
  assert.deepEqual(root.find("list").children.map((one) => [one.dataset.index, one.open]), [["3", false], ["7", true]]);
  assert.match(text("more"), /first 2 failed items/);
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
    failures: [{ index: 1, item: evil, error: evil, worker: evil, attempts: 1, seconds: 0, traceback: evil, output: evil }], output: [[1, "stdout", evil]],
  });
  assert.ok(root.textContent.includes(evil));
});

test("marks have shapes of their own and a legend in words", () => {
  const { text, root } = shown({ tick: tick({ marks: [[0, "fa", 1], [1, "lo", 2], [1, "jo", 0.5]] }) });
  assert.equal(text("legend"), "▾ item failed   ✕ worker lost   + worker joined");
  assert.match(root.find("canvas").getAttribute("aria-label"), /Timeline of 2 workers over 3.2 s/);
});

test("arrow keys ask about one worker after another", () => {
  const { root, text } = shown();
  root.find("canvas").fire("keydown", { key: "ArrowDown" });
  assert.equal(text("hint"), "worker 0 · items 12–19 · 150 done · 50 MB · 700 B moved · this · process 41");
  root.find("canvas").fire("keydown", { key: "ArrowDown" });
  root.find("canvas").fire("keydown", { key: "ArrowDown" });
  assert.match(text("sr"), /worker 1/);
  root.find("canvas").fire("blur");
  assert.equal(text("hint"), "");
});

test("256 workers over 10 million items are drawn with few strokes", () => {
  const { root, model } = shown({ tick: tick({ total: 1e7 }, 256), workers: Array.from({ length: 256 }, (_, i) => [String(i), "", i, ""]) });
  assert.ok(root.find("lanes").classes.has("nbpar-dense"));
  assert.equal(parseInt(root.find("canvas").style.height), 256 + 18);
  const { calls } = root.find("canvas").getContext();
  calls.length = 0;
  model.set("tick", tick({ total: 1e7, lanes: { strip: Array(256).fill("////GAAA".repeat(4)) } }, 256));
  assert.ok(calls.filter(([name]) => name === "fillRect").length < 256 * 16);
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
const rows = (root, column) => root.find(column).children.map((row) => row.children.map((cell) => cell.textContent));

test("each stage has a lane with its workers, its queue, its failures and how fast it is", () => {
  const { root } = shown({ tick: staged(), workers: STAGES });
  assert.ok(root.find("lanes").classes.has("nbpar-staged"));
  assert.deepEqual(rows(root, "names"), [["cut", "1 of 2 workers"], ["tag", "1 of 1 worker"]]);
  assert.deepEqual(rows(root, "queues"), [["", ""], ["", "15 waiting"]]);
  assert.deepEqual(rows(root, "dones"), [["", "93 items/s"], ["2 failed", "46 items/s"]]);
  assert.equal(root.find("queues").children[1].find("wait").style.width, "75%");
  assert.match(root.find("canvas").getAttribute("aria-label"), /Timeline of 2 stages/);
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
  assert.deepEqual(root.find("names").children.map((row) => row.dataset.limit), ["false", "true"]);
});

test("arrow keys ask about one stage after another", () => {
  const { root, text } = shown({ tick: staged(), workers: STAGES });
  for (const says of ["cut: 1 of 2 workers on engines · 150 done · 4 ms an item", "tag: 1 of 1 worker on threads · 15 of 20 waiting · 120 done · 2 failed · 41 ms an item"]) {
    root.find("canvas").fire("keydown", { key: "ArrowDown" });
    assert.equal(text("hint"), says);
  }
});

test("a pipeline that is over shows no queues", () => {
  const { root } = shown({ tick: staged({ state: "done" }), workers: STAGES });
  assert.deepEqual(rows(root, "queues"), [["", ""], ["", ""]]);
  assert.deepEqual(rows(root, "names")[0], ["cut", "2 workers"]);
});
