// The card's texts: formatting of numbers, times and states.  The kernel joins the scripts of this
// folder into one module.

const OVER = ["done", "failed", "stopped"];
const LONG_AGO = 48 * 3600; // seconds from which a forecast names its basis
const ALIKE = 10; // number of failures from which "everything fails" is reported

export const count = (n) => n.toLocaleString("en");

export const titled = (name) => (/^\d*$/.test(name) ? `worker ${name}` : name);

export function plural(n, word) {
  return `${count(n)} ${word}${n === 1 ? "" : "s"}`;
}

export function size(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  for (; bytes >= 999.5 && unit < units.length - 1; unit++) bytes /= 1000;
  return `${bytes.toFixed(unit === 0 || bytes >= 9.95 ? 0 : 1)} ${units[unit]}`;
}

export function duration(seconds) {
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  if (seconds < 99.5) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 100) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${count(Math.round(hours / 24))} days`;
}

/** The same without a fraction, for running counters. */
export function whole(seconds) {
  return seconds < 99.5 ? `${Math.floor(seconds)} s` : duration(seconds);
}

export function rate(perSecond) {
  if (perSecond >= 1e6) return `${(perSecond / 1e6).toFixed(1)} M items/s`;
  if (perSecond >= 10) return `${count(Math.round(perSecond))} items/s`;
  if (perSecond >= 1) return `${perSecond.toFixed(1)} items/s`;
  return perSecond > 0 ? `${(perSecond * 60).toFixed(1)} items/min` : "";
}

/** The percentage done, never rounded up; null if the total is unknown. */
export function percent(tick) {
  if (!tick.total) return tick.total === 0 ? 100 : null;
  const tenths = Math.floor((1000 * tick.done) / tick.total);
  return tenths < 100 ? tenths / 10 : Math.floor(tenths / 10);
}

/** The same as text; below ten with a decimal, to show progress in long runs. */
export function share(tick) {
  const done = percent(tick);
  if (done === null || done === 0) return done === 0 ? (tick.done ? "<0.1" : "0") : "";
  return done < 10 ? done.toFixed(1) : String(done);
}

export function items(first, number) {
  return number > 1 ? `items ${count(first)}–${count(first + number - 1)}` : `item ${count(first)}`;
}

/** The activity of a worker as text. */
export function activity(tick, place, note) {
  const lanes = tick.lanes, state = lanes.state[place];
  if (state === "x") return note ? `lost: ${note}` : "lost";
  if (state === "s") return lanes.first[place] < 0 ? "silent" : `${items(lanes.first[place], lanes.count?.[place] ?? 1)} · silent`;
  if (state !== "b" || lanes.first[place] < 0) return state === "l" ? "left" : "idle";
  const inner = innerOf(tick, place);
  if (inner) return `${items(inner[0], 1)} · ${inner[1].map(innerWords).join(" › ")}`;
  const now = items(lanes.first[place], lanes.count?.[place] ?? 1);
  const since = lanes.since ? tick.elapsed - lanes.since[place] : 0;
  return since >= 1 && !OVER.includes(tick.state) ? `${now} · ${duration(since)}` : now;
}

/** What an item of a worker tells of itself: its index and its bars, outermost first; null if it tells nothing. */
export function innerOf(tick, place) {
  const found = OVER.includes(tick.state) ? null : tick.lanes.inner?.find(([at]) => at === place);
  return found ? found.slice(1) : null;
}

/** The part of a bar inside an item that is done, from 0 to 1; null if its total is unknown. */
export function innerShare([, done, total]) {
  return total > 0 && Number.isFinite(total) ? Math.min(1, Math.max(0, done / total)) : null;
}

/** A bar inside an item in few words: `epoch 3/10`, `batch 45 %`, `450 it`. */
export function innerWords([name, done, total, unit]) {
  const part = innerShare([name, done, total]), short = name.length > 16 ? `${name.slice(0, 15)}…` : name;
  const how = part === null ? `${count(Math.floor(done))} ${unit}` : total < 1000 && Number.isInteger(total) ? `${Math.floor(done)}/${total}` : `${Math.floor(100 * part)} %`;
  return `${short} ${how}`.trim();
}

/** The same in full. */
export function innerFacts([name, done, total, unit, note, perSecond]) {
  const part = innerShare([name, done, total]), of = part === null ? "" : ` of ${count(total)} (${Math.floor(100 * part)} %)`;
  const left = part !== null && part < 1 && perSecond > 0 ? `${duration((total - done) / perSecond)} left` : "";
  const pace = perSecond > 0 ? `${perSecond >= 10 ? count(Math.round(perSecond)) : perSecond.toPrecision(2)} ${unit}/s` : "";
  return [`${name} ${count(Math.floor(done))}${of}`.trim(), pace, left, note].filter(Boolean).join(", ");
}

/** The item that a worker has had for a while, and that can be skipped; null if there is none. */
export function lasting(tick, place) {
  const { state, first, since } = tick.lanes;
  const lasts = "bs".includes(state[place]) && first[place] >= 0 && since && tick.elapsed - since[place] >= 1;
  return lasts && !tick.stages && !OVER.includes(tick.state) ? (innerOf(tick, place)?.[0] ?? first[place]) : null;
}

/** The details of a worker. */
export function workerFacts(tick, place, [name, host, pid, note, before, device]) {
  const { done, memory, moved } = tick.lanes;
  return [
    titled(name), activity({ ...tick, lanes: { ...tick.lanes, inner: null } }, place, note), ...(innerOf(tick, place)?.[1] ?? []).map(innerFacts), `${count(done[place])} done`,
    memory?.[place] ? `${count(memory[place])} MB` : "", moved?.[place] ? `${size(moved[place])} moved` : "",
    host, pid ? `process ${pid}` : "", tick.devices?.[place] || device, before ? `in the place of ${titled(before)}` : "",
  ].filter(Boolean).join(" · ");
}

/** The filling of a stage's queue, from 0 to 1; for an unbounded one relative to the fullest. */
export function fullness(stages, place) {
  const full = stages.room[place] ?? Math.max(10, ...stages.waiting);
  return Math.min(1, stages.waiting[place] / full);
}

/** The activity of a stage as text. */
export function stageActivity(tick, place, [, , workers]) {
  const working = +tick.stages.working[place].toFixed(1);
  return OVER.includes(tick.state) ? plural(workers, "worker") : `${working} of ${plural(workers, "worker")}`;
}

/** The details of a stage. */
export function stageFacts(tick, place, [name, backend, ...more]) {
  const { waiting, room, failed, each } = tick.stages;
  return [
    `${name}: ${stageActivity(tick, place, [name, backend, ...more])} on ${backend}`,
    place ? `${count(waiting[place])}${room[place] ? ` of ${count(room[place])}` : ""} waiting` : "",
    `${count(tick.lanes.done[place])} done`, failed[place] ? `${count(failed[place])} failed` : "",
    each[place] ? `${span(each[place])} an item` : "",
  ].filter(Boolean).join(" · ");
}

/** The limiting stage of a pipeline as text; empty while it is unknown. */
export function limit(tick, names) {
  const { limit, gain, load, each } = tick.stages ?? {};
  if (tick.elapsed < 1 || limit == null || load < 0.5) return "";
  const more = gain >= 1.05 ? `; one more worker could make it ${gain.toFixed(1)} times as fast` : "";
  return `${names[limit]?.[0]} limits: ${span(each[limit])} an item${more}`;
}

/** A summary of workers without a line of text each. */
export function crowd(tick, names) {
  const busy = [...tick.lanes.state].filter((state) => state === "b").length;
  const all = tick.lanes.state.length + (tick.hidden || 0);
  const [place, first, number, seconds] = tick.slow ?? [];
  return [
    tick.hidden ? `${count(tick.lanes.state.length)} of ${plural(all, "worker")}, one line each` : `${plural(all, "worker")}, one line each`,
    `${count(busy)} busy`,
    seconds >= 1 ? `longest at work: ${titled(names[place]?.[0] ?? "")}, ${items(first, number)}, ${duration(seconds)}` : "",
  ].filter(Boolean).join(" · ");
}

export function span(seconds) {
  if (seconds < 0.00095) return `${Math.round(seconds * 1e6)} µs`;
  return seconds < 0.95 ? `${Math.round(seconds * 1e3)} ms` : duration(seconds);
}

/** The number of items that failed by themselves; those that were skipped are no failures. */
export function bad(tick) {
  return tick.failed - (tick.skipped ?? 0);
}

export function numbers(tick) {
  const part = share(tick), going = tick.state === "running";
  const of = tick.total === null ? `${count(tick.done)} done` : `${count(tick.done)} of ${count(tick.total)}`;
  const rest = going && tick.left !== null ? `${duration(tick.left)} left` : "";
  return [
    ["done", part ? `${of} · ${part} %` : of],
    ["failed", bad(tick) ? `${count(bad(tick))} failed` : ""],
    ["skipped", tick.skipped ? `${count(tick.skipped)} skipped` : ""],
    ["rate", tick.state === "paused" ? "" : rate(tick.rate)],
    ["left", rest && tick.left >= LONG_AGO ? `${rest} at this rate` : rest],
  ];
}

export function facts(tick) {
  const silent = OVER.includes(tick.state) ? 0 : (tick.lanes?.state ?? "").split("s").length - 1;
  return [
    duration(tick.elapsed),
    tick.chunk > 1 ? `chunks of ${plural(tick.chunk, "item")}` : "",
    tick.moved ? `${size(tick.moved)} moved` : "",
    tick.memory ? `${size(tick.memory)} memory` : "",
    tick.retried ? `${count(tick.retried)} retried` : "",
    tick.lost ? `${plural(tick.lost, "worker")} lost` : "",
    silent ? `${plural(silent, "worker")} silent` : "",
  ].filter(Boolean);
}

/** The state of a run: a name for its style, and a text. */
export function condition(tick, { stopping = false, gone = false, silent = 0 } = {}) {
  if (OVER.includes(tick.state)) return [tick.state, tick.state];
  if (gone) return ["gone", "no news"];
  if (silent) return ["silent", `no news for ${whole(silent)}`];
  if (stopping) return ["stopping", "stopping"];
  if (tick.state === "waiting") return ["waiting", "waiting for workers"];
  if (tick.state === "paused") return ["paused", tick.paused >= 1 ? `paused for ${whole(tick.paused)}` : "paused"];
  return tick.held ? ["held", "held back"] : [tick.state, tick.state];
}

/** Whether all items failed, and enough to report that. */
export function allFail(tick) {
  return bad(tick) >= ALIKE && bad(tick) === tick.done - (tick.known ?? 0);
}

export function spoken(tick) {
  const part = share(tick), words = { waiting: "waiting for workers", done: "finished" };
  const state = tick.held && tick.state === "running" ? tick.notice || "held back" : words[tick.state] ?? tick.state;
  const failed = bad(tick) ? `, ${count(bad(tick))} failed` : "", skipped = tick.skipped ? `, ${count(tick.skipped)} skipped` : "";
  return `${state}, ${part ? `${part} percent` : count(tick.done)} done${failed}${skipped}`;
}

/** The title of a group of failures: `997 × ValueError in tag at line 3`. */
export function kind([error, line, stage, number]) {
  return `${count(number)} × ${error}${stage ? ` in ${stage}` : ""}${line ? ` at line ${line}` : ""}`;
}
