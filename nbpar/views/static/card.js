// The live card of a run.  It draws ticks of numbers, several per second; its only state
// is the pressed button and the open sections.  Data only becomes text, never HTML.

const HEARD = ["tick", "workers", "failures", "groups", "output", "line"];
const FLAT = 5; // maximal number of failures listed one by one
const QUIET = 15000; // milliseconds of silence of the kernel before they are shown
const STAYS = 1000; // milliseconds after which a finished card counts as not replaced
const RESTARTED = "The kernel was restarted or has ended, and this run with it.";

class Card {
  constructor(model, host) {
    this.model = model;
    this.settings = model.get("settings");
    this.pressed = null; // the pressed button, until its effect is visible
    this.chosen = -1; // the selected lane
    this.skipped = new Set(); // the items that were asked to be skipped
    this.columns = { name: 0, now: 0 }; // widths in pixels, which only grow, to avoid flicker
    this.said = { at: 0, share: 0, state: "" };
    this.told = Date.now(); // time of the kernel's last message
    this.gone = false; // whether the kernel is gone
    this.name = `nbpar-${Math.random().toString(36).slice(2)}`;
    this.nodes = new Map(); // nodes of failures, by content: unchanged ones keep their position and the focus
    this.parts = build(this.settings.label || "map", (event, by) => this.press(event, by));
    this.parts.resize.hidden = !this.settings.resizable;
    host.append(this.parts.root);
    this.listen();
    this.watch();
    this.parts.line.hidden = true;
    for (const name of HEARD.slice(1)) this[name]();
    this.tick();
  }

  listen() {
    const { timeline, canvas, root } = this.parts;
    // keys must not reach the notebook, where D D deletes the running cell
    for (const event of ["keydown", "keypress", "keyup"]) root.addEventListener(event, (key) => key.stopPropagation());
    this.heard = HEARD.map((name) => [`change:${name}`, () => this.hear(name)]);
    this.heard.push(["comm_live_update", () => this.look(true)], ["comm:close", () => this.end()]);
    for (const [event, heard] of this.heard) this.model.on(event, heard);
    canvas.addEventListener("mousemove", (event) => this.choose(Math.floor(event.offsetY / rowHeight(this.lanes()))));
    canvas.addEventListener("mouseleave", () => this.choose(-1));
    timeline.addEventListener("focus", () => this.chosen < 0 && this.choose(0));
    timeline.addEventListener("blur", () => this.choose(-1));
    timeline.addEventListener("keydown", (event) => this.key(event));
    this.watcher = new ResizeObserver(() => this.draw());
    this.watcher.observe(canvas);
  }

  /** Check the clock, because a dead kernel sends no message. */
  async watch() {
    this.clock = setInterval(() => this.look(), 1000);
    try {
      this.raw = await this.model.widget_manager?.get_model(this.settings.model); // it knows whether its kernel is alive
    } catch {
      // without such a manager, rely on the clock
    }
  }

  close() {
    for (const [event, heard] of this.heard) this.model.off(event, heard);
    this.watcher.disconnect();
    clearInterval(this.clock);
    clearTimeout(this.patience);
    clearTimeout(this.staying);
    if (this.header) this.header.hidden = false;
    if (this.trail) handOver(this.trail, this.reports);
  }

  hear(name) {
    this.told = Date.now();
    this.gone = false;
    this[name]();
  }

  /** Update the display of the kernel's state and silence. */
  look(changed = false) {
    const kernel = this.raw?.widget_manager?.kernel, silent = Date.now() - this.told > QUIET;
    const gone = this.raw ? this.raw.comm_live === false || kernel?.status === "dead" || kernel?.isDisposed === true : this.gone || changed;
    if (this.inks !== this.ink()) this.draw(); // the theme has changed
    if (gone === this.gone && !silent) return;
    this.gone = gone;
    this.tick();
  }

  /** Handle the end of the widget: no more messages arrive, and the manager's view is removed. */
  end() {
    this.gone = true;
    this.tick();
    const { root } = this.parts, place = root.closest(".jp-OutputArea-output") ?? root.parentElement;
    if (!root.isConnected || !OVER.includes(this.now()?.state)) return;
    this.stay();
    place.parentElement.insertBefore(root, place); // a sibling, which is not removed
  }

  /** The summary line: shown if nothing has replaced the card, because the page was reloaded. */
  line() {
    if (this.model.get("line")) this.staying = setTimeout(() => this.stay(), STAYS);
  }

  stay() {
    write(this.parts.line, this.model.get("line") ?? "");
    this.parts.line.hidden = false;
  }

  lanes() {
    return this.now()?.lanes.state.length ?? 0;
  }

  now() {
    const tick = this.model.get("tick");
    return tick && tick.lanes ? tick : null;
  }

  press(event, by, item) {
    if (event === "bell") return this.switch();
    const tick = this.now();
    if (event === "pause" && tick?.state === "paused") event = "resume";
    const press = `${Date.now()}-${Math.random()}`; // the kernel may receive it twice
    try {
      this.model.send({ event, press, ...(by ? { by } : {}), ...(item === undefined ? {} : { item }) });
    } catch {
      this.gone = true; // there is no kernel
    }
    if (event === "stop" && !this.gone) {
      this.pressed = "stop";
      this.patience = setTimeout(() => this.tick((this.late = true)), this.settings.hears ? 3000 : 0);
      this.say("stopping");
    }
    if (event === "resize") {
      this.say(`${by > 0 ? "adding" : "removing"} a worker`);
      this.resized = true; // from now on the number is announced
      this.said.alive = tick?.alive;
    }
    this.tick();
  }

  /** Switch the bell on or off. */
  async switch() {
    this.refused = await switchBell(!isOn());
    this.say(this.refused || (isOn() ? "the browser will notify you at the end" : "no notification at the end"));
    this.tick();
  }

  key(event) {
    const last = this.lanes() - 1, page = Math.max(5, Math.round(this.lanes() / 8)), { chosen } = this;
    const places = { ArrowDown: chosen + 1, ArrowUp: chosen - 1, PageDown: chosen + page, PageUp: chosen - page, Home: 0, End: last };
    if (event.key === "Escape") this.choose(-1);
    else if (event.key in places) this.choose(Math.max(0, Math.min(last, places[event.key])));
    else return;
    event.preventDefault();
  }

  choose(place) {
    this.chosen = place < this.lanes() ? place : -1;
    [...this.parts.table.children].forEach((row, at) => (row.dataset.chosen = String(at === this.chosen)));
    this.hint();
    this.options();
    this.draw();
  }

  // ---- changes

  tick() {
    const tick = this.now();
    if (!tick) return;
    const { parts } = this, over = OVER.includes(tick.state), silent = Date.now() - this.told;
    const [looks, words] = condition(tick, { stopping: this.pressed, gone: this.gone, silent: silent > QUIET ? silent / 1000 : 0 });
    parts.root.dataset.state = looks;
    write(parts.state, words);
    this.bar(tick);
    const quiet = ["gone", "silent"].includes(looks) ? ["rate", "left"] : [];
    for (const [name, text] of numbers(tick)) {
      write(parts[name], quiet.includes(name) ? "" : text);
      parts[name].hidden = !parts[name].textContent;
    }
    write(parts.facts, facts(tick).join(" · "));
    this.buttons(tick, over);
    this.rows(tick);
    this.hint();
    this.options();
    this.draw();
    this.announce(tick, looks);
    if (over && this.ran) ring(`${this.settings.label || "map"}: ${words}`, spoken(tick), `nbpar-${this.settings.model}`);
    this.ran = !over;
    if (over) this.prepare();
  }

  /** Before the card closes: if it has the focus, pass it to the report. */
  prepare() {
    const { root } = this.parts;
    this.trail = null;
    if (!root.contains(document.activeElement)) return;
    this.reports = new Set(document.querySelectorAll(".nbpar-report"));
    this.trail = [];
    for (let place = root.parentElement; place; place = place.parentElement) this.trail.push(place);
  }

  bar(tick) {
    const { track, fill, red, gray } = this.parts, part = tick.total ? 100 / tick.total : 0;
    track.classList.toggle("nbpar-unknown", tick.total === null && !OVER.includes(tick.state));
    fill.style.width = `${tick.total === 0 ? 100 : (tick.done - tick.failed) * part}%`;
    gray.style.width = `${(tick.skipped ?? 0) * part}%`;
    red.hidden = !bad(tick);
    red.style.width = `max(4px, ${bad(tick) * part}%)`;
    if (tick.total !== null) {
      attribute(track, "aria-valuemax", String(tick.total));
      attribute(track, "aria-valuenow", String(tick.done));
    }
    attribute(track, "aria-valuetext", numbers(tick).map(([, text]) => text).filter(Boolean).join(", "));
  }

  buttons(tick, over) {
    const { pause, stop, alive, fewer, more, resize, bell } = this.parts;
    const paused = tick.state === "paused", word = paused ? "Resume" : "Pause", off = this.pressed !== null || this.gone;
    if (off || over) this.release([fewer, more, pause, stop], this.parts.root);
    if (tick.alive <= 1) this.release([fewer], more);
    bell.hidden = over || !canNotify();
    if (this.gone || over) this.release([bell], this.parts.root);
    bell.disabled = this.gone;
    attribute(bell, "aria-pressed", String(isOn()));
    pause.hidden = stop.hidden = over;
    resize.hidden = over || !this.settings.resizable;
    write(pause, word);
    attribute(pause, "aria-label", `${word} ${this.settings.label}`);
    write(stop, this.pressed ? "Stopping…" : "Stop");
    pause.disabled = stop.disabled = more.disabled = off;
    fewer.disabled = off || tick.alive <= 1;
    write(alive, plural(tick.alive, "worker"));
  }

  /** Move the focus away from buttons before they are removed: otherwise it is lost, and so is the next key. */
  release(buttons, to) {
    if (buttons.includes(document.activeElement)) to.focus({ preventScroll: true });
  }

  rows(tick) {
    const { table, lanes, timeline } = this.parts, number = this.lanes(), detailed = number <= DETAILED_LANES;
    lanes.hidden = number === 0;
    lanes.classList.toggle("nbpar-dense", !detailed);
    lanes.classList.toggle("nbpar-staged", Boolean(tick.stages));
    attribute(table, "aria-label", tick.stages ? "Stages" : "Workers");
    lanes.classList.toggle("nbpar-skips", Boolean(this.settings.skips) && !tick.stages);
    fill(table, detailed ? number : 0, laneRow);
    timeline.style.gridRow = `1 / span ${Math.min(number, DETAILED_LANES) + 1}`;
    if (!detailed) return;
    const who = this.model.get("workers"), over = OVER.includes(tick.state);
    const told = [...Array(number).keys()].map((place) => (tick.stages ? this.stage(tick, place, who[place], over) : this.worker(tick, place, who[place])));
    this.widen(told.map(({ name }) => name), told.map(({ now }) => now), tick.stages);
    told.forEach((row, place) => this.row(table.children[place], row, place));
  }

  worker(tick, place, [called, , , note, , device] = ["", "", 0, ""]) {
    const { state, done, memory } = tick.lanes, mb = "bi".includes(state[place]) && memory?.[place];
    const item = lasting(tick, place), skipped = this.skipped.has(item), now = skipped ? `${items(item, 1)} · skipping` : activity(tick, place, note);
    const skip = item === null || !this.settings.skips ? "" : `Skip ${items(item, 1)} on ${titled(called)}`;
    const name = device ? `${called} · ${device}` : called;
    const inner = innerOf(tick, place)?.[1].map(innerShare).filter((part) => part !== null) ?? [];
    return { name, now, skip, skipped, inner, count: count(done[place]), more: mb ? `${count(mb)} MB` : "", state: state[place] };
  }

  stage(tick, place, who = ["", "", 0, false], over = false) {
    const { waiting, rate: rates, failed, limit } = tick.stages, queued = place > 0 && !over;
    return {
      name: who[0], now: stageActivity(tick, place, who), count: failed[place] ? `${count(failed[place])} failed` : "", more: rate(rates[place]),
      queue: queued ? `${count(waiting[place])} waiting` : "", full: queued ? fullness(tick.stages, place) : null,
      state: tick.lanes.state[place], limit: place === limit && !over,
    };
  }

  row(row, told, place) {
    const [name, now, queue, number, more] = row.children, [depth, waiting] = queue.children;
    row.dataset.state = told.state;
    row.dataset.limit = String(Boolean(told.limit));
    row.dataset.chosen = String(place === this.chosen);
    write(name, told.name);
    write(now, told.now);
    this.inner(now, told.inner ?? []);
    depth.hidden = told.full == null;
    depth.children[0].style.width = `${100 * (told.full ?? 0)}%`;
    write(waiting, told.queue ?? "");
    write(number, told.count);
    write(more, told.more);
    this.cross(row, told, place);
  }

  /** The bars of a row's item, below its text: the outermost and the innermost one. */
  inner(cell, parts) {
    const number = String(Math.min(2, parts.length));
    if ((cell.dataset.bars ?? "0") !== number) cell.dataset.bars = number;
    if (!parts.length) return;
    cell.style.setProperty("--nbpar-outer", `${100 * parts[0]}%`);
    cell.style.setProperty("--nbpar-inner", `${100 * parts[parts.length - 1]}%`);
  }

  /** The button that skips a row's item. */
  cross(row, { skip, skipped }, place) {
    const there = row.querySelector(".nbpar-skip");
    if (!skip) {
      if (there) this.release([there.children[0]], this.parts.timeline);
      return there?.remove();
    }
    const cell = there ?? element("span", "skip", { role: "cell" }, [button("✕", skip, () => this.skip(place))]);
    if (!there) row.append(cell);
    cell.style.gridRow = String(place + 1); // its column is before the last one, so it would begin another row
    const off = this.pressed !== null || this.gone;
    if (off) this.release([cell.children[0]], this.parts.root);
    cell.children[0].disabled = off;
    attribute(cell.children[0], "aria-disabled", String(skipped));
    attribute(cell.children[0], "aria-label", skip);
    attribute(cell.children[0], "title", skip);
  }

  /** Let go of the item that a worker has had for a while. */
  skip(place) {
    const item = lasting(this.now(), place);
    if (item === null || this.skipped.has(item) || this.gone) return;
    this.skipped.add(item);
    this.press("skip", 0, item);
    this.say(`skipping ${items(item, 1)}`);
  }

  /** Widen the columns for a name and its text. */
  widen(called, doing, staged) {
    const { columns, parts } = this, style = getComputedStyle(parts.root), pen = parts.canvas.getContext("2d");
    pen.font = `600 ${style.fontSize} ${style.fontFamily}`; // `style.font` is empty with tabular numbers
    const wide = (texts) => Math.ceil(1.05 * Math.max(0, ...texts.map((text) => pen.measureText(text).width)));
    columns.name = Math.max(columns.name, wide(called));
    columns.now = Math.max(columns.now, wide([...doing, staged ? "0.8 of 8 workers" : "items 888–888"]));
    parts.lanes.style.setProperty("--nbpar-name", `${columns.name}px`);
    parts.lanes.style.setProperty("--nbpar-now", `${columns.now}px`);
  }

  hint() {
    const tick = this.now();
    if (!tick) return;
    const warning = this.warning(tick);
    this.parts.hint.dataset.warns = String(Boolean(warning));
    write(this.parts.hint, warning || (this.chosen >= 0 ? this.about(tick, this.chosen) : this.remark(tick)));
  }

  /** The warning; "" if there is none. */
  warning(tick) {
    const over = OVER.includes(tick.state);
    if (over) return "";
    if (this.gone) return RESTARTED;
    if (this.refused) return this.refused;
    if (this.pressed && this.late) return "It has not stopped yet; the kernel's interrupt button stops it too.";
    if (Date.now() - this.told > QUIET) return "The kernel may be busy, cut off, or gone.";
    if (tick.held) return tick.notice;
    return allFail(tick) ? `Every item fails: ${count(bad(tick))} of ${count(bad(tick))}. Stop?` : "";
  }

  /** The hint below the lanes. */
  remark(tick) {
    const who = this.model.get("workers");
    if (tick.notice) return tick.notice;
    if (tick.stages) return limit(tick, who);
    return this.lanes() > DETAILED_LANES ? crowd(tick, who) : "";
  }

  /** The details of a lane. */
  about(tick, place) {
    const who = this.model.get("workers")[place] ?? ["", "", 0, ""];
    return tick.stages ? stageFacts(tick, place, who) : workerFacts(tick, place, who);
  }

  /** The lanes as a list for keys and screen readers; the text of a lane is written when it is selected. */
  options() {
    const { timeline, options } = this.parts, tick = this.now(), number = this.lanes();
    if (!tick) return;
    const what = `Timeline of ${plural(number, tick.stages ? "stage" : "worker")} over ${duration(tick.elapsed)}`;
    if (document.activeElement !== timeline) attribute(timeline, "aria-label", `${what}; arrow keys choose one`);
    fill(options, number, (place) => element("span", "", { role: "option", id: `${this.name}-${place}`, "aria-selected": "false" }));
    const who = this.model.get("workers");
    for (const [place, option] of [...options.children].entries()) {
      const chosen = place === this.chosen;
      attribute(option, "aria-selected", String(chosen));
      write(option, chosen ? this.about(tick, place) : titled(who[place]?.[0] ?? ""));
    }
    if (this.chosen >= 0) attribute(timeline, "aria-activedescendant", `${this.name}-${this.chosen}`);
    else timeline.removeAttribute("aria-activedescendant");
  }

  workers() {
    if (this.now()) this.tick();
  }

  groups() {
    this.failures();
  }

  failures() {
    const rows = this.model.get("failures"), groups = this.model.get("groups") ?? [], { failures, failuresBox, failuresTitle } = this.parts;
    const failed = Math.max(rows.length, groups.reduce((sum, [, , , number]) => sum + number, 0));
    const skipped = this.now()?.skipped ?? 0;
    const grouped = failed > FLAT && groups.some(([, , , number]) => number > 1);
    failuresBox.hidden = rows.length === 0;
    const ways = grouped && groups.length > 1 ? ` in ${plural(groups.length, "way")}` : "";
    write(failuresTitle, skipped ? `${plural(failed, "failed or skipped item")}${ways}` : `${plural(failed, "failed item")}${ways}`);
    const item = (row) => this.node(`item ${row.index}`, () => failure(row));
    arrange(failures, grouped ? groups.map((group) => this.group(group, rows, item)) : this.rest(rows.map(item), failed, "all"));
  }

  node(key, make) {
    if (!this.nodes.has(key)) this.nodes.set(key, make());
    return this.nodes.get(key);
  }

  /** A group of failures: their number, then the first one. */
  group(group, rows, item) {
    const [error, line, stage, number] = group, key = `group ${error} ${line} ${stage}`;
    const made = this.node(key, () => element("details", "group", {}, [element("summary", "summary"), element("div", "list")]));
    const mine = rows.filter((row) => row.type === error && row.line === line && row.stage === stage);
    write(made.children[0], kind(group));
    arrange(made.children[1], this.rest(mine.map(item), number, key));
    return made;
  }

  /** The failures shown, and the number of others. */
  rest(shown, number, key) {
    if (number <= shown.length) return shown;
    const more = this.node(`more ${key}`, () => element("div", "soft"));
    write(more, `… and ${count(number - shown.length)} more: nbpar.last_run.failures`);
    return [...shown, more];
  }

  output() {
    const rows = this.model.get("output"), { output, outputBox, outputTitle } = this.parts;
    outputBox.hidden = rows.length === 0;
    write(outputTitle, "latest output");
    output.replaceChildren(...rows.map(([index, stream, text]) => worded("span", stream, `[${index}] ${text.endsWith("\n") ? text : `${text}\n`}`)));
  }

  announce(tick, looks) {
    const { said } = this, part = percent(tick) ?? 0, first = bad(tick) > 0 && !said.failed, all = allFail(tick);
    const now = { at: Date.now(), share: part, state: looks, failed: bad(tick) > 0, all: all || said.all, alive: tick.alive };
    if (this.resized && said.alive !== undefined && said.alive !== tick.alive) {
      this.said = { ...said, alive: tick.alive };
      return this.say(plural(tick.alive, "worker"));
    }
    const much = part - said.share >= 10 || now.at - said.at > 30000;
    if (looks === said.state && !first && !(all && !said.all) && !(much && now.at - said.at > 5000)) return;
    this.said = now;
    if (looks === "stopping") return; // it was announced when it was pressed
    if (["gone", "silent"].includes(looks)) return this.say(`no news. ${this.warning(tick)}`);
    this.say(spoken(tick) + (all && !said.all ? ". Every item fails" : ""));
  }

  say(text) {
    announce(`${this.settings.label || "map"}: ${text}`);
  }

  // ---- the picture

  /** The current colors. */
  ink() {
    const style = getComputedStyle(this.parts.root);
    return ["fg", "bg", "soft", "fill", "track", "line", "bad"].map((name) => style.getPropertyValue(`--nbpar-${name}`)).join();
  }

  /** Hide the header text above the card: it is for notebooks without a card. */
  hideHeader() {
    this.header ??= headerOf(this.parts.root); // there is none before the card is in the page
    if (this.header) this.header.hidden = true;
  }

  draw() {
    this.inks = this.ink();
    this.hideHeader();
    const tick = this.now(), { canvas, legend } = this.parts, number = this.lanes();
    if (!tick || !number || !canvas.isConnected) return;
    const row = rowHeight(number), height = pictureHeight(number, tick.together), scale = window.devicePixelRatio || 1;
    canvas.style.height = `${height}px`;
    const width = canvas.clientWidth;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
    }
    const kinds = new Set(tick.marks.map(([, kind]) => kind)), shaded = tick.bad?.length || tick.together ? ["red: items failed"] : [];
    write(legend, [...Object.keys(MARKS).filter((kind) => kinds.has(kind)).map((kind) => MARKS[kind]), ...shaded].join("   "));
    const pen = canvas.getContext("2d"), style = getComputedStyle(this.parts.root);
    const ink = (name) => style.getPropertyValue(`--nbpar-${name}`).trim();
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    paint(pen, tick, { width, row, ink, chosen: this.chosen, font: style.fontFamily, names: this.model.get("workers") });
  }
}

/** The header text above a card: the nearest one before it. */
function headerOf(root) {
  let place = root.closest(".jp-OutputArea-child")?.previousElementSibling;
  while (place && !place.querySelector(".nbpar-header")) place = place.previousElementSibling;
  return place?.querySelector(".nbpar-header") ?? null;
}

/** Move the focus to the report that has replaced a card: the nearest new one. */
function handOver(trail, before, tries = 30) {
  const focused = document.activeElement;
  if (focused && focused !== document.body && focused.isConnected) return; // it has moved meanwhile
  for (const place of trail) {
    const report = [...place.querySelectorAll(".nbpar-report")].find((one) => !before.has(one));
    if (!report) continue;
    const target = report.querySelector("summary") ?? report;
    if (target === report) report.setAttribute("tabindex", "-1");
    return target.focus({ preventScroll: true });
  }
  if (tries) setTimeout(() => handOver(trail, before, tries - 1), 100);
}

function render({ model, el }) {
  const card = new Card(model, el);
  return () => card.close();
}

export default { render };
