// The live card of a run.  It is told a tick of numbers some times a second and draws it; it keeps
// no state of its own but what was pressed and what is open.  Data only ever becomes text, never HTML.

const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const PER_LETTER = 3;
const DETAILED_LANES = 16; // up to here each worker has a line of text
const HEIGHT = 264; // pixels that all lanes share when there are more
const AXIS = 18; // pixels below the lanes for the time
const OVER = ["done", "failed", "stopped"];
const MARKS = { fa: "▾ item failed", lo: "✕ worker lost", jo: "+ worker joined", le: "| worker left" };

// ---- pure: numbers to words, strips to rectangles

export const count = (n) => n.toLocaleString("en");

export const titled = (name) => (/^\d*$/.test(name) ? `worker ${name}` : name);

export function plural(n, word) {
  return `${count(n)} ${word}${n === 1 ? "" : "s"}`;
}

export function size(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  for (; bytes >= 1000 && unit < units.length - 1; unit++) bytes /= 1000;
  return `${bytes.toFixed(unit === 0 || bytes >= 10 ? 0 : 1)} ${units[unit]}`;
}

export function duration(seconds) {
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  if (seconds < 99.5) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 100) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.round(hours / 24)} days`;
}

export function rate(perSecond) {
  if (perSecond >= 1e6) return `${(perSecond / 1e6).toFixed(1)} M items/s`;
  if (perSecond >= 10) return `${count(Math.round(perSecond))} items/s`;
  if (perSecond >= 1) return `${perSecond.toFixed(1)} items/s`;
  return perSecond > 0 ? `${(perSecond * 60).toFixed(1)} items/min` : "";
}

export function percent(tick) {
  if (!tick.total) return tick.total === 0 ? 100 : null;
  return Math.floor((100 * tick.done) / tick.total);
}

export function items(first, number) {
  return number > 1 ? `items ${count(first)}–${count(first + number - 1)}` : `item ${count(first)}`;
}

/** Runs of equal level: [first slot, slots, level], idle ones left out. */
export function runs(strip) {
  const found = [];
  for (let slot = 0; slot < strip.length * PER_LETTER; slot++) {
    const letter = LETTERS.indexOf(strip[Math.floor(slot / PER_LETTER)]);
    const level = (letter >> (2 * (PER_LETTER - 1 - (slot % PER_LETTER)))) & 3;
    const last = found[found.length - 1];
    if (!level) continue;
    if (last && last[2] === level && last[0] + last[1] === slot) last[1]++;
    else found.push([slot, 1, level]);
  }
  return found;
}

/** Times to write on an axis of so many seconds and pixels. */
export function ticks(length, width) {
  const rough = length / Math.max(1, Math.min(5, width / 60));
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
  return Array.from({ length: Math.floor((length * 0.96) / step) + 1 }, (_, i) => i * step);
}

export function rowHeight(lanes) {
  return lanes <= DETAILED_LANES ? 22 : Math.max(1, Math.min(14, Math.floor(HEIGHT / lanes)));
}

/** What a worker does, in words. */
export function activity(tick, place, note) {
  const lanes = tick.lanes, state = lanes.state[place];
  if (state === "x") return note ? `lost: ${note}` : "lost";
  if (state !== "b" || lanes.first[place] < 0) return state === "l" ? "left" : "idle";
  const now = items(lanes.first[place], lanes.count?.[place] ?? 1);
  const since = lanes.since ? tick.elapsed - lanes.since[place] : 0;
  return since >= 1 && !OVER.includes(tick.state) ? `${now} · ${duration(since)}` : now;
}

/** How full the queue before a stage is, from 0 to 1; where it has no bound, beside the fullest of all. */
export function fullness(stages, place) {
  const full = stages.room[place] ?? Math.max(10, ...stages.waiting);
  return Math.min(1, stages.waiting[place] / full);
}

/** What a stage does, in words. */
export function labour(tick, place, [, , workers]) {
  const working = tick.stages.working[place];
  return OVER.includes(tick.state) ? plural(workers, "worker") : `${working} of ${plural(workers, "worker")}`;
}

/** Which stage limits a pipeline, in words; nothing before that can be told. */
export function limit(tick, names) {
  const { limit, gain, load, each } = tick.stages ?? {};
  if (tick.elapsed < 1 || limit == null || load < 0.5) return "";
  const more = gain >= 1.05 ? `; one more worker could make it ${gain.toFixed(1)} times as fast` : "";
  return `${names[limit]?.[0]} limits: ${span(each[limit])} an item${more}`;
}

export function span(seconds) {
  if (seconds < 0.00095) return `${Math.round(seconds * 1e6)} µs`;
  return seconds < 0.95 ? `${Math.round(seconds * 1e3)} ms` : duration(seconds);
}

export function numbers(tick) {
  const share = percent(tick);
  const of = tick.total === null ? `${count(tick.done)} done` : `${count(tick.done)} of ${count(tick.total)}`;
  const going = tick.state === "running";
  return [
    ["done", share === null ? of : `${of} · ${share} %`],
    ["failed", tick.failed ? `${count(tick.failed)} failed` : ""],
    ["rate", tick.state === "paused" ? "" : rate(tick.rate)],
    ["left", going && tick.left !== null ? `${duration(tick.left)} left` : ""],
  ];
}

export function facts(tick) {
  return [
    duration(tick.elapsed),
    tick.chunk > 1 ? `chunks of ${plural(tick.chunk, "item")}` : "",
    tick.moved ? `${size(tick.moved)} moved` : "",
    tick.memory ? `${size(tick.memory)} memory` : "",
    tick.retried ? `${count(tick.retried)} retried` : "",
    tick.lost ? `${plural(tick.lost, "worker")} lost` : "",
  ].filter(Boolean);
}

export function spoken(tick) {
  const share = percent(tick);
  const words = { waiting: "waiting for workers", done: "finished" };
  const failed = tick.failed ? `, ${count(tick.failed)} failed` : "";
  return `${words[tick.state] ?? tick.state}, ${share === null ? count(tick.done) : `${share} percent`} done${failed}`;
}

// ---- the page

function element(name, className, attributes = {}, children = []) {
  const made = document.createElement(name);
  if (className) made.className = `nbpar-${className}`;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function button(text, label, press) {
  const made = element("button", "button", { type: "button", "aria-label": label });
  made.textContent = text;
  made.addEventListener("click", press);
  return made;
}

function build(label, press) {
  const parts = {
    fewer: button("−", "Remove a worker", () => press("resize", -1)),
    more: button("+", "Add a worker", () => press("resize", 1)),
    alive: element("span", "alive"),
    pause: button("Pause", `Pause ${label}`, () => press("pause")),
    stop: button("Stop", `Stop ${label}`, () => press("stop")),
    state: element("span", "state"),
    fill: element("div", "fill"),
    bad: element("div", "bad"),
    numbers: element("div", "numbers"),
    names: element("div", "names"),
    queues: element("div", "queues"),
    canvas: element("canvas", "canvas", { role: "img", tabindex: "0" }),
    dones: element("div", "dones"),
    hint: element("div", "hint"),
    legend: element("span", "legend"),
    facts: element("span", "fact"),
    failures: element("div", "list"),
    output: element("pre", "pre"),
    status: element("div", "sr", { role: "status", "aria-live": "polite", "aria-atomic": "true" }),
  };
  const more = (name, list) => {
    parts[`${name}Title`] = element("summary", "summary");
    return (parts[`${name}Box`] = element("details", "more", {}, [parts[`${name}Title`], list]));
  };
  const title = element("span", "title", { title: label });
  title.textContent = label;
  parts.resize = element("span", "resize", { role: "group", "aria-label": "Workers" }, [parts.fewer, parts.alive, parts.more]);
  parts.track = element("div", "track", { role: "progressbar", "aria-label": label, "aria-valuemin": "0" }, [parts.fill, parts.bad]);
  parts.lanes = element("div", "lanes", {}, [parts.names, parts.queues, parts.canvas, parts.dones]);
  parts.root = element("section", "card", { "aria-label": label, "data-lm-suppress-shortcuts": "true" }, [
    element("div", "top", {}, [title, parts.state, parts.resize, parts.pause, parts.stop]),
    parts.track, parts.numbers, parts.lanes, parts.hint,
    element("div", "facts", {}, [parts.facts, parts.legend]),
    more("failures", parts.failures), more("output", parts.output), parts.status,
  ]);
  return parts;
}

class Card {
  constructor(model, host) {
    this.model = model;
    this.settings = model.get("settings");
    this.pressed = null; // what was pressed and has not shown yet
    this.chosen = -1; // the lane that is asked about
    this.columns = { name: 0, now: 0 }; // pixels that they have; they grow, and do not jump back and forth
    this.said = { at: 0, share: 0, state: "" };
    this.parts = build(this.settings.label || "map", (event, by) => this.press(event, by));
    this.parts.resize.hidden = !this.settings.resizable;
    host.append(this.parts.root);
    this.listen();
    for (const name of ["workers", "failures", "output"]) this[name]();
    this.tick();
  }

  listen() {
    const { canvas } = this.parts;
    this.heard = ["tick", "workers", "failures", "output"].map((name) => [`change:${name}`, () => this[name]()]);
    for (const [event, heard] of this.heard) this.model.on(event, heard);
    canvas.addEventListener("mousemove", (event) => this.choose(Math.floor(event.offsetY / rowHeight(this.lanes()))));
    canvas.addEventListener("mouseleave", () => this.choose(-1));
    canvas.addEventListener("blur", () => this.choose(-1));
    canvas.addEventListener("keydown", (event) => this.key(event));
    this.watcher = new ResizeObserver(() => this.draw());
    this.watcher.observe(canvas);
  }

  close() {
    for (const [event, heard] of this.heard) this.model.off(event, heard);
    this.watcher.disconnect();
    clearTimeout(this.patience);
  }

  lanes() {
    return this.now()?.lanes.state.length ?? 0;
  }

  now() {
    const tick = this.model.get("tick");
    return tick && tick.lanes ? tick : null;
  }

  press(event, by) {
    if (event === "pause" && this.now()?.state === "paused") event = "resume";
    const press = `${Date.now()}-${Math.random()}`; // the kernel may hear it twice
    this.model.send({ event, press, ...(by ? { by } : {}) });
    if (event === "stop") {
      this.pressed = "stop";
      this.patience = setTimeout(() => this.tick((this.late = true)), this.settings.hears ? 3000 : 0);
      this.say("stopping");
    }
    this.tick();
  }

  key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    this.choose(Math.max(0, Math.min(this.lanes() - 1, this.chosen + step)));
    this.say(this.parts.hint.textContent);
  }

  choose(place) {
    this.chosen = place < this.lanes() ? place : -1;
    this.hint();
    this.draw();
  }

  // ---- what changed

  tick() {
    const tick = this.now();
    if (!tick) return;
    const { parts } = this, over = OVER.includes(tick.state);
    parts.root.dataset.state = tick.state;
    write(parts.state, this.pressed && !over ? "stopping" : tick.state === "waiting" ? "waiting for workers" : tick.state);
    this.bar(tick);
    parts.numbers.replaceChildren(...numbers(tick).filter(([, text]) => text).map(([name, text]) => {
      const made = element("span", name);
      made.textContent = text;
      return made;
    }));
    write(parts.facts, facts(tick).join(" · "));
    this.buttons(tick, over);
    this.rows(tick);
    this.hint();
    this.draw();
    this.announce(tick);
  }

  bar(tick) {
    const { track, fill, bad } = this.parts, share = tick.total ? 100 / tick.total : 0;
    track.classList.toggle("nbpar-unknown", tick.total === null && !OVER.includes(tick.state));
    fill.style.width = `${tick.total === 0 ? 100 : (tick.done - tick.failed) * share}%`;
    bad.hidden = !tick.failed;
    bad.style.width = `max(4px, ${tick.failed * share}%)`;
    if (tick.total !== null) {
      track.setAttribute("aria-valuemax", tick.total);
      track.setAttribute("aria-valuenow", tick.done);
    }
    track.setAttribute("aria-valuetext", numbers(tick).map(([, text]) => text).filter(Boolean).join(", "));
  }

  buttons(tick, over) {
    const { pause, stop, alive, fewer, more, resize } = this.parts;
    const paused = tick.state === "paused", word = paused ? "Resume" : "Pause";
    pause.hidden = stop.hidden = over;
    resize.hidden = over || !this.settings.resizable;
    write(pause, word);
    pause.setAttribute("aria-label", `${word} ${this.settings.label}`);
    write(stop, this.pressed ? "Stopping…" : "Stop");
    pause.disabled = stop.disabled = more.disabled = this.pressed !== null;
    fewer.disabled = this.pressed !== null || tick.alive <= 1;
    write(alive, plural(tick.alive, "worker"));
  }

  rows(tick) {
    const { names, dones, lanes } = this.parts, number = this.lanes(), detailed = number <= DETAILED_LANES;
    lanes.hidden = number === 0;
    lanes.classList.toggle("nbpar-dense", !detailed);
    lanes.classList.toggle("nbpar-staged", Boolean(tick.stages));
    if (!detailed) return;
    const who = this.model.get("workers");
    for (const column of [names, dones]) fill(column, number, () => [element("span"), element("span")]);
    if (tick.stages) return this.stages(tick, who);
    const places = [...Array(number).keys()];
    const called = places.map((place) => who[place]?.[0] ?? ""), doing = places.map((place) => activity(tick, place, who[place]?.[3]));
    this.widen(called, doing);
    for (const place of places) {
      const [name, now] = names.children[place].children, [done, memory] = dones.children[place].children;
      names.children[place].dataset.state = dones.children[place].dataset.state = tick.lanes.state[place];
      name.style.minWidth = `${this.columns.name}px`;
      write(name, called[place]);
      write(now, doing[place]);
      write(done, count(tick.lanes.done[place]));
      write(memory, "bi".includes(tick.lanes.state[place]) && tick.lanes.memory?.[place] ? `${count(tick.lanes.memory[place])} MB` : "");
    }
  }

  /** Make room for what is called so and does that. */
  widen(called, doing) {
    const { columns, parts } = this, style = getComputedStyle(parts.root), pen = parts.canvas.getContext("2d");
    pen.font = `${style.fontSize} ${style.fontFamily}`; // `style.font` is empty where numbers are tabular
    const wide = (texts) => Math.ceil(1.05 * Math.max(0, ...texts.map((text) => pen.measureText(text).width)));
    columns.name = Math.max(columns.name, wide(called));
    columns.now = Math.max(columns.now, wide([...doing, "items 888–888"]));
    parts.names.style.width = `${columns.name + 8 + columns.now}px`;
  }

  stages(tick, who) {
    const { names, queues, dones } = this.parts, over = OVER.includes(tick.state), { waiting, rate: rates, failed, limit } = tick.stages;
    fill(queues, who.length, () => [element("span", "depth", {}, [element("span", "wait")]), element("span")]);
    for (let place = 0; place < who.length; place++) {
      const [name, now] = names.children[place].children, [depth, number] = queues.children[place].children;
      const [lost, speed] = dones.children[place].children;
      names.children[place].dataset.state = tick.lanes.state[place];
      names.children[place].dataset.limit = String(place === limit && !over);
      write(name, who[place][0]);
      write(now, labour(tick, place, who[place]));
      depth.hidden = place === 0 || over;
      depth.children[0].style.width = `${100 * fullness(tick.stages, place)}%`;
      write(number, place === 0 || over ? "" : `${count(waiting[place])} waiting`);
      write(lost, failed[place] ? `${count(failed[place])} failed` : "");
      write(speed, rate(rates[place]));
    }
  }

  hint() {
    const tick = this.now(), { hint } = this.parts;
    const late = this.pressed && this.late && tick && !OVER.includes(tick.state);
    if (late) return write(hint, "It has not stopped yet; the kernel's interrupt button stops it too.");
    if (!tick || this.chosen < 0 || this.chosen >= this.lanes()) {
      if (tick?.notice) return write(hint, tick.notice);
      if (tick?.stages) return write(hint, limit(tick, this.model.get("workers")));
      return write(hint, this.lanes() > DETAILED_LANES ? `${plural(this.lanes(), "worker")}, one line each` : "");
    }
    if (tick.stages) return write(hint, stageFacts(tick, this.chosen, this.model.get("workers")[this.chosen] ?? ["", "", 0]));
    const place = this.chosen, [name, host, pid, note] = this.model.get("workers")[place] ?? ["", "", 0, ""];
    const parts = [
      titled(name), activity(tick, place, note), `${count(tick.lanes.done[place])} done`,
      tick.lanes.memory?.[place] ? `${count(tick.lanes.memory[place])} MB` : "",
      tick.lanes.moved?.[place] ? `${size(tick.lanes.moved[place])} moved` : "", host, pid ? `process ${pid}` : "",
    ];
    return write(hint, parts.filter(Boolean).join(" · "));
  }

  workers() {
    if (this.now()) this.tick();
  }

  failures() {
    const rows = this.model.get("failures"), { failures, failuresBox, failuresTitle } = this.parts;
    const open = new Set([...failures.children].filter((row) => row.open).map((row) => row.dataset.index));
    failuresBox.hidden = rows.length === 0;
    write(failuresTitle, rows.length === 1 ? "1 failed item" : `first ${rows.length} failed items`);
    failures.replaceChildren(...rows.map((row) => failure(row, open.has(String(row.index)))));
  }

  output() {
    const rows = this.model.get("output"), { output, outputBox, outputTitle } = this.parts;
    outputBox.hidden = rows.length === 0;
    write(outputTitle, "latest output");
    output.replaceChildren(...rows.map(([index, stream, text]) => {
      const line = element("span", stream);
      line.textContent = `[${index}] ${text.endsWith("\n") ? text : `${text}\n`}`;
      return line;
    }));
  }

  announce(tick) {
    const { said } = this, share = percent(tick) ?? 0, first = tick.failed > 0 && !said.failed;
    const much = share - said.share >= 10 || Date.now() - said.at > 30000;
    if (tick.state === said.state && !first && !(much && Date.now() - said.at > 5000)) return;
    this.said = { at: Date.now(), share, state: tick.state, failed: tick.failed > 0 };
    this.say(spoken(tick));
  }

  say(text) {
    write(this.parts.status, `${this.settings.label}: ${text}`);
  }

  // ---- the picture

  draw() {
    const tick = this.now(), { canvas, legend } = this.parts, number = this.lanes();
    if (!tick || !number || !canvas.isConnected) return;
    const row = rowHeight(number), height = number * row + AXIS, scale = window.devicePixelRatio || 1;
    canvas.style.height = `${height}px`;
    const width = canvas.clientWidth;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
    }
    canvas.setAttribute("aria-label", `Timeline of ${plural(number, tick.stages ? "stage" : "worker")} over ${duration(tick.elapsed)}`);
    const kinds = new Set(tick.marks.map(([, kind]) => kind));
    write(legend, Object.keys(MARKS).filter((kind) => kinds.has(kind)).map((kind) => MARKS[kind]).join("   "));
    const pen = canvas.getContext("2d"), style = getComputedStyle(this.parts.root);
    const ink = (name) => style.getPropertyValue(`--nbpar-${name}`).trim();
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    paint(pen, tick, { width, row, ink, chosen: this.chosen, font: style.fontFamily });
  }
}

/** Give a column so many rows. */
function fill(column, number, cells) {
  while (column.children.length < number) column.append(element("div", "row", {}, cells()));
  while (column.children.length > number) column.lastChild.remove();
}

function stageFacts(tick, place, [name, backend, ...more]) {
  const { waiting, room, failed, each } = tick.stages;
  return [
    `${name}: ${labour(tick, place, [name, backend, ...more])} on ${backend}`,
    place ? `${count(waiting[place])}${room[place] ? ` of ${count(room[place])}` : ""} waiting` : "",
    `${count(tick.lanes.done[place])} done`, failed[place] ? `${count(failed[place])} failed` : "",
    each[place] ? `${span(each[place])} an item` : "",
  ].filter(Boolean).join(" · ");
}

function failure(row, open) {
  const made = element("details", "failure", { "data-index": row.index });
  made.open = open;
  const facts = [row.where, row.worker && titled(row.worker), row.attempts > 1 && `attempt ${row.attempts}`, row.seconds && duration(row.seconds)];
  const lines = [["summary", `item ${row.index} (${row.item}): ${row.error}`, "summary"], ["div", facts.filter(Boolean).join(" · "), "soft"],
    ["pre", row.traceback, "pre"], ["pre", row.output && `printed:\n${row.output}`, "pre"]];
  for (const [name, text, className] of lines) {
    if (!text) continue;
    const line = element(name, className);
    line.textContent = text;
    made.append(line);
  }
  return made;
}

function paint(pen, tick, { width, row, ink, chosen, font }) {
  const number = tick.lanes.state.length, x = (seconds) => Math.min(1, seconds / tick.length) * width;
  const gap = row >= 22 ? 5 : row >= 10 ? 2 : 0, line = row >= 3 ? 1 : 0, born = {}, gone = {};
  for (const [place, kind, at] of tick.marks) {
    if (kind === "jo") born[place] = at;
    if ((kind === "lo" || kind === "le") && !tick.stages) gone[place] = at;
  }
  axis(pen, tick, { width, top: number * row, x, ink, font });
  for (let place = 0; place < number; place++) {
    const top = place * row + gap, tall = row - 2 * gap - (gap ? 0 : line);
    const from = x(born[place] ?? 0), upto = x(gone[place] ?? tick.elapsed);
    pen.globalAlpha = 1;
    pen.fillStyle = ink(place === chosen ? "line" : "track");
    pen.fillRect(from, top, Math.max(upto - from, 1), tall);
    pen.fillStyle = ink("fill");
    const drawn = runs(tick.lanes.strip[place]);
    for (const [slot, slots, level] of drawn) {
      pen.globalAlpha = [0, 0.35, 0.6, 0.85][level];
      const left = x(slot * tick.width);
      if (left < upto) pen.fillRect(left, top, Math.max(Math.min(x((slot + slots) * tick.width), upto) - left, 0.5), tall);
    }
    if (tick.lanes.state[place] === "b" && !OVER.includes(tick.state)) {
      const [slot, slots] = drawn[drawn.length - 1] ?? [0, 0];
      const left = Math.max(from, x(Math.max(tick.lanes.since?.[place] ?? 0, (slot + slots) * tick.width)));
      pen.globalAlpha = 0.28;
      pen.fillRect(left, top, Math.max(upto - left, 1), tall);
    }
  }
  pen.globalAlpha = 1;
  const r = Math.max(3, Math.min(row / 4, 4)), inside = (at, end) => Math.max(r + 1, Math.min(at, end - r - 1));
  for (const [place, kind, at] of tick.marks) mark(pen, kind, inside(x(at), width), inside((place + 0.5) * row, number * row), r, ink);
}

function axis(pen, tick, { width, top, x, ink, font }) {
  pen.font = `11px ${font}`;
  pen.textBaseline = "bottom";
  for (const at of ticks(tick.length, width)) {
    pen.globalAlpha = 0.55;
    pen.fillStyle = ink("line");
    pen.fillRect(Math.round(x(at)), 0, 1, top + 3);
    pen.globalAlpha = 1;
    pen.fillStyle = ink("soft");
    pen.textAlign = at === 0 ? "left" : x(at) > width - 24 ? "right" : "center";
    pen.fillText(at < 1 && at > 0 ? `${+at.toFixed(2)} s` : duration(at).replace(".0", ""), x(at), top + AXIS);
  }
}

/** Each kind has its own shape; a halo keeps it readable on any colour. */
function mark(pen, kind, x, y, r, ink) {
  const shape = () => {
    pen.beginPath();
    if (kind === "fa") pen.moveTo(x - r, y - r), pen.lineTo(x + r, y - r), pen.lineTo(x, y + r), pen.closePath();
    if (kind === "lo") pen.moveTo(x - r, y - r), pen.lineTo(x + r, y + r), pen.moveTo(x + r, y - r), pen.lineTo(x - r, y + r);
    if (kind === "jo") pen.moveTo(x - r, y), pen.lineTo(x + r, y), pen.moveTo(x, y - r), pen.lineTo(x, y + r);
    if (kind === "le") pen.moveTo(x, y - r), pen.lineTo(x, y + r);
  };
  const colour = kind === "fa" || kind === "lo" ? ink("bad") : ink("fg");
  for (const [line, stroke] of [[5, ink("bg")], [2, colour]]) {
    pen.lineWidth = line;
    pen.strokeStyle = stroke;
    shape();
    pen.stroke();
  }
  pen.fillStyle = colour;
  if (kind === "fa") pen.fill();
}

function render({ model, el }) {
  const card = new Card(model, el);
  return () => card.close();
}

export default { render };
