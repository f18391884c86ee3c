// The card's timeline: strips of levels to rectangles on a canvas, an axis, and marks.

const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const PER_LETTER = 3;
const DETAILED_LANES = 16; // maximal number of lanes with a line of text
const HEIGHT = 264; // pixels shared by all lanes if there are more
const LABELS = 76; // pixels at the left for some of the names
const BAND = 8; // pixels below the lanes for the failures of all lanes
const AXIS = 18; // pixels below the lanes for the time axis
const MARKS = { fa: "▾ item failed", lo: "✕ worker lost", jo: "+ worker joined", le: "| worker left" };
const STEPS = [[1, "s", [1, 2, 5, 10, 15, 30]], [60, "min", [1, 2, 5, 10, 15, 30]], [3600, "h", [1, 2, 3, 6, 12]], [86400, "d", [1, 2, 7]]];

/** Runs of equal level: [first slot, slots, level], without idle ones. */
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

/** Steps of the time axis in round numbers: [seconds, unit in seconds, its name]. */
export function step(length, width) {
  const rough = length / Math.max(1, Math.min(5, width / 60));
  for (const [unit, name, numbers] of STEPS) {
    const found = rough > numbers[0] / 2 && numbers.find((number) => number * unit >= rough);
    if (found) return [found * unit, unit, name];
  }
  const [unit, name] = rough < 1 ? [1, "s"] : [86400, "d"], base = rough < 1 ? 1 : 7 * unit;
  const power = 10 ** Math.floor(Math.log10(rough / base));
  return [[1, 2, 5, 10].map((number) => number * power * base).find((number) => number >= rough), unit, name];
}

/** Labels for an axis of given seconds and pixels; all in the same unit. */
export function ticks(length, width) {
  const [apart, unit, name] = step(length, width);
  const number = Math.floor((length * 0.96) / apart) + 1;
  return Array.from({ length: number }, (_, i) => [i * apart, `${+((i * apart) / unit).toFixed(6)} ${name}`]);
}

export function rowHeight(lanes) {
  return lanes <= DETAILED_LANES ? 24 : Math.max(1, Math.min(14, Math.floor(HEIGHT / lanes)));
}

/** Height in pixels of all lanes and the parts below them. */
export function pictureHeight(lanes, together) {
  return lanes * rowHeight(lanes) + (together ? BAND : 0) + AXIS;
}

/** Changes of a row's worker: times of arrival, and whether the row is empty since. */
function lives(tick) {
  const born = {}, gone = {};
  if (tick.stages) return { born, gone };
  for (const [place, kind, at] of tick.marks) {
    if (kind === "jo" && !(place in gone)) born[place] = at;
    if (kind === "lo" || kind === "le") gone[place] = at;
    if (kind === "jo") delete gone[place];
  }
  return { born, gone };
}

export function paint(pen, tick, { width, row, ink, chosen, font, names = [] }) {
  const number = tick.lanes.state.length, dense = number > DETAILED_LANES && !tick.stages, left = dense ? LABELS : 0;
  const x = (seconds) => left + Math.min(1, seconds / tick.length) * (width - left);
  const gap = row >= 22 ? 5 : row >= 10 ? 2 : 0, line = row >= 3 ? 1 : 0, { born, gone } = lives(tick);
  const red = Object.fromEntries(tick.bad ?? []), bottom = number * row, top = (place) => place * row + gap;
  const tall = row - 2 * gap - (gap ? 0 : line);
  axis(pen, tick, { width, top: bottom + (tick.together ? BAND : 0), x, ink, font, left });
  for (let place = 0; place < number; place++) {
    const from = x(born[place] ?? 0), upto = x(gone[place] ?? tick.elapsed);
    pen.globalAlpha = 1;
    pen.fillStyle = ink("track");
    pen.fillRect(from, top(place), Math.max(upto - from, 1), tall);
    lane(pen, tick, place, { from, upto, top: top(place), tall, x, ink });
    if (red[place]) shade(pen, tick, red[place], { top: top(place), tall, x, upto, ink });
  }
  pen.globalAlpha = 1;
  if (tick.together) shade(pen, tick, tick.together, { top: bottom + 2, tall: BAND - 2, x, upto: x(tick.elapsed), ink });
  if (dense) labels(pen, names, { number, row, ink, font });
  if (chosen >= 0) frame(pen, { top: chosen * row, row, left, width, ink });
  const r = Math.max(3, Math.min(row / 4, 4)), inside = (at, start, end) => Math.max(start + r + 1, Math.min(at, end - r - 1));
  for (const [place, kind, at] of tick.marks) mark(pen, kind, inside(x(at), left, width), inside((place + 0.5) * row, 0, bottom), r, ink);
}

/** One row's work: darker for a larger busy share; pale for running work. */
function lane(pen, tick, place, { from, upto, top, tall, x, ink }) {
  const drawn = runs(tick.lanes.strip[place]);
  pen.fillStyle = ink("fill");
  for (const [slot, slots, level] of drawn) {
    pen.globalAlpha = [0, 0.35, 0.6, 0.85][level];
    const left = x(slot * tick.width);
    if (left < upto) pen.fillRect(left, top, Math.max(Math.min(x((slot + slots) * tick.width), upto) - left, 0.5), tall);
  }
  if (tick.lanes.state[place] !== "b" || OVER.includes(tick.state)) return;
  const [slot, slots] = drawn[drawn.length - 1] ?? [0, 0];
  const left = Math.max(from, x(Math.max(tick.lanes.since?.[place] ?? 0, (slot + slots) * tick.width)));
  pen.globalAlpha = 0.28;
  if (left < upto) pen.fillRect(left, top, upto - left, tall);
}

/** The share of failed items, if there are too many for single marks. */
function shade(pen, tick, strip, { top, tall, x, upto, ink }) {
  pen.fillStyle = ink("bad");
  for (const [slot, slots, level] of runs(strip)) {
    pen.globalAlpha = [0, 0.45, 0.7, 1][level];
    const left = x(slot * tick.width), right = Math.min(x((slot + slots) * tick.width), upto);
    if (left < upto) pen.fillRect(left, top + Math.floor(tall / 2), Math.max(right - left, 1), Math.ceil(tall / 2));
  }
  pen.globalAlpha = 1;
}

/** The names of some rows, if there is no room for all. */
function labels(pen, names, { number, row, ink, font }) {
  const every = Math.max(1, Math.ceil(number / Math.max(1, Math.floor((number * row) / 30))));
  pen.font = `11px ${font}`;
  pen.textAlign = "left";
  pen.textBaseline = "middle";
  pen.fillStyle = ink("soft");
  for (let place = 0; place < number; place += every) {
    const middle = Math.max(6, (place + 0.5) * row);
    pen.fillText(titled(names[place]?.[0] ?? "").slice(0, 10), 0, middle);
    pen.fillRect(LABELS - 8, Math.round(middle), 5, 1);
  }
}

/** The selected row: a frame, visible on any color. */
function frame(pen, { top, row, left, width, ink }) {
  const rim = row < 10 ? 2 : 0;
  pen.globalAlpha = 1;
  for (const [line, stroke] of [[4, ink("bg")], [2, ink("fg")]]) {
    pen.lineWidth = line;
    pen.strokeStyle = stroke;
    pen.strokeRect(left + 1, Math.max(top - rim, 0) + 1, width - left - 2, row + 2 * rim - 2);
  }
}

function axis(pen, tick, { width, top, x, ink, font, left }) {
  pen.font = `11px ${font}`;
  pen.textBaseline = "bottom";
  for (const [at, words] of ticks(tick.length, width - left)) {
    pen.globalAlpha = 0.55;
    pen.fillStyle = ink("line");
    pen.fillRect(Math.round(x(at)), 0, 1, top + 3);
    pen.globalAlpha = 1;
    pen.fillStyle = ink("soft");
    pen.textAlign = at === 0 ? "left" : x(at) > width - 24 ? "right" : "center";
    pen.fillText(words, x(at), top + AXIS);
  }
}

/** Each kind has its own shape; a halo keeps it readable on any color. */
function mark(pen, kind, x, y, r, ink) {
  const shape = () => {
    pen.beginPath();
    if (kind === "fa") pen.moveTo(x - r, y - r), pen.lineTo(x + r, y - r), pen.lineTo(x, y + r), pen.closePath();
    if (kind === "lo") pen.moveTo(x - r, y - r), pen.lineTo(x + r, y + r), pen.moveTo(x + r, y - r), pen.lineTo(x - r, y + r);
    if (kind === "jo") pen.moveTo(x - r, y), pen.lineTo(x + r, y), pen.moveTo(x, y - r), pen.lineTo(x, y + r);
    if (kind === "le") pen.moveTo(x, y - r), pen.lineTo(x, y + r);
  };
  const color = kind === "fa" || kind === "lo" ? ink("bad") : ink("fg");
  for (const [line, stroke] of [[5, ink("bg")], [2, color]]) {
    pen.lineWidth = line;
    pen.strokeStyle = stroke;
    shape();
    pen.stroke();
  }
  pen.fillStyle = color;
  if (kind === "fa") pen.fill();
}
