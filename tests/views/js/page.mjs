// As much of a page as the card needs: elements that remember, a canvas that notes what is drawn, a model.

class Node {
  constructor(name) {
    Object.assign(this, { name, children: [], attributes: {}, style: {}, dataset: {}, listeners: {}, own: "", hidden: false, isConnected: true });
    this.classes = new Set();
    this.classList = { toggle: (name, on) => (on ? this.classes.add(name) : this.classes.delete(name)) };
    this.clientWidth = 600;
  }
  set className(text) { this.classes = new Set(text.split(" ")); }
  setAttribute(key, value) {
    this.attributes[key] = String(value);
    if (key === "data-index") this.dataset.index = String(value);
  }
  getAttribute(key) { return this.attributes[key] ?? null; }
  append(...nodes) { this.children.push(...nodes); nodes.forEach((node) => (node.parent = this)); }
  replaceChildren(...nodes) { this.children = []; this.append(...nodes); }
  remove() { this.parent.children.splice(this.parent.children.indexOf(this), 1); }
  get lastChild() { return this.children.at(-1); }
  get textContent() { return this.own + this.children.map((child) => child.textContent).join(""); }
  set textContent(text) { this.own = String(text); this.children = []; }
  set innerHTML(_) { throw new Error("data must never become HTML"); }
  addEventListener(event, heard) { (this.listeners[event] ??= []).push(heard); }
  fire(event, details = {}) { for (const heard of this.listeners[event] ?? []) heard({ preventDefault() {}, ...details }); }
  getContext() { return (this.pen ??= pen()); }
  find(className) {
    if (this.classes.has(`nbpar-${className}`)) return this;
    for (const child of this.children) {
      const found = child.find(className);
      if (found) return found;
    }
    return null;
  }
  buttons() { return [...(this.name === "button" ? [this] : []), ...this.children.flatMap((child) => child.buttons())]; }
}

function pen() {
  const calls = [];
  return new Proxy({ calls, measureText: (text) => ({ width: 7 * text.length }) }, {
    get: (target, key) => (key in target ? target[key] : (...rest) => calls.push([key, ...rest])),
  });
}

const { now } = Date, { setTimeout, clearTimeout } = globalThis;

export function openPage() {
  Date.now = now;
  Object.assign(globalThis, { setTimeout, clearTimeout });
  globalThis.document = { createElement: (name) => new Node(name) };
  globalThis.window = { devicePixelRatio: 1 };
  globalThis.getComputedStyle = () => ({ getPropertyValue: (name) => name, fontFamily: "sans" });
  globalThis.ResizeObserver = class { observe() {} disconnect() { this.gone = true; } };
  return new Node("host");
}

/** Time that passes when the test says so; node's own mocks differ between its versions. */
export class Clock {
  constructor() {
    Object.assign(this, { now: 1e6, due: [] });
    Date.now = () => this.now;
    globalThis.setTimeout = (act, delay) => this.due.push({ at: this.now + delay, act });
    globalThis.clearTimeout = (number) => delete this.due[number - 1];
  }
  pass(milliseconds) {
    this.now += milliseconds;
    this.due.forEach(({ at, act }, number) => at <= this.now && (delete this.due[number], act()));
  }
}

export class Model {
  constructor(state) {
    this.state = { settings: { label: "count", resizable: true, hears: true }, tick: {}, workers: [], failures: [], output: [], ...state };
    this.listeners = new Map();
    this.sent = [];
  }
  get(name) { return this.state[name]; }
  set(name, value) { this.state[name] = value; this.listeners.get(`change:${name}`)?.forEach((heard) => heard()); }
  on(event, heard) { this.listeners.set(event, [...(this.listeners.get(event) ?? []), heard]); }
  off(event, heard) { this.listeners.set(event, this.listeners.get(event).filter((other) => other !== heard)); }
  send(message) { this.sent.push(message); }
  get heard() { return [...this.listeners.values()].flat().length; }
}

export function tick(more = {}, lanes = 2) {
  const each = (value) => Array(lanes).fill(value);
  return {
    state: "running", total: 1200, done: 300, failed: 0, retried: 0, elapsed: 3.2, rate: 93.4, left: 9.6, chunk: 8,
    moved: 1500, busy: 6, lost: 0, alive: lanes, memory: 1e8, length: 4.8, width: 0.025, marks: [], ...more,
    lanes: {
      state: "b".repeat(lanes), first: each(12), count: each(8), since: each(3), done: each(150), memory: each(50),
      moved: each(700), strip: each("//A/"), ...more.lanes,
    },
  };
}

/** A pipeline: cut on both workers, tag on one of its own, with a queue of 20 before it. */
export function staged(more = {}) {
  return tick({
    ...more,
    stages: {
      working: [1, 1], waiting: [0, 15], room: [null, 20], failed: [0, 2], rate: [93.4, 46], each: [0.004, 0.041], limit: 1, gain: 1.46, load: 0.97,
      ...more.stages,
    },
    lanes: { first: [-1, -1], count: undefined, memory: undefined, moved: undefined, done: [150, 120], ...more.lanes },
  });
}
