// As much of a page as the card needs: elements that remember, a canvas that notes what is drawn, a model.
import { readFile, readdir } from "node:fs/promises";

/** Return the card's module, joined as the kernel joins it. */
export async function readCard() {
  const folder = new URL("../../../nbpar/views/static/", import.meta.url);
  const names = (await readdir(folder)).filter((name) => name.endsWith(".js")).sort();
  const parts = await Promise.all(names.map((name) => readFile(new URL(name, folder), "utf8")));
  return import(`data:text/javascript;base64,${Buffer.from(parts.join("\n")).toString("base64")}`);
}

class Node {
  constructor(name) {
    Object.assign(this, { name, children: [], attributes: {}, dataset: {}, listeners: {}, own: "", hidden: false, isConnected: true });
    this.style = { setProperty(name, value) { this[name] = value; } };
    this.classes = new Set();
    this.classList = { toggle: (name, on) => (on ? this.classes.add(name) : this.classes.delete(name)) };
    this.clientWidth = 600;
  }
  set className(text) { this.classes = new Set(text.split(" ")); }
  setAttribute(key, value) { this.attributes[key] = String(value); }
  getAttribute(key) { return this.attributes[key] ?? null; }
  removeAttribute(key) { delete this.attributes[key]; }
  append(...nodes) { nodes.forEach((node) => this.insertBefore(node instanceof Node ? node : words(node), null)); }
  insertBefore(node, before) {
    node.parentElement?.children.splice(node.parentElement.children.indexOf(node), 1);
    this.children.splice(before ? this.children.indexOf(before) : this.children.length, 0, node);
    node.parentElement = this;
  }
  replaceChildren(...nodes) { this.children = []; this.append(...nodes); }
  remove() {
    if (this.contains(document.activeElement)) document.activeElement = document.body;
    this.parentElement.children.splice(this.parentElement.children.indexOf(this), 1);
    this.parentElement = null;
  }
  get lastChild() { return this.children.at(-1); }
  get textContent() { return this.own + this.children.map((child) => child.textContent).join(""); }
  set textContent(text) { this.own = String(text); this.children = []; }
  set innerHTML(_) { throw new Error("data must never become HTML"); }
  addEventListener(event, heard) { (this.listeners[event] ??= []).push(heard); }
  fire(event, details = {}) { for (const heard of this.listeners[event] ?? []) heard({ preventDefault() {}, stopPropagation() {}, ...details }); }
  focus() {
    const before = document.activeElement;
    if (before === this) return;
    document.activeElement = this;
    before?.fire("blur");
    this.fire("focus");
  }
  contains(node) { return node === this || this.children.some((child) => child.contains(node)); }
  getContext() { return (this.pen ??= pen()); }
  find(className) { return this.all((node) => node.classes.has(`nbpar-${className}`))[0] ?? null; }
  all(wanted) { return [...(wanted(this) ? [this] : []), ...this.children.flatMap((child) => child.all(wanted))]; }
  querySelectorAll(selector) { return this.all((node) => node.classes.has(selector.slice(1))); }
  closest(selector) {
    for (let node = this; node; node = node.parentElement) if (node.classes.has(selector.slice(1))) return node;
    return null;
  }
  get previousElementSibling() { return this.parentElement.children[this.parentElement.children.indexOf(this) - 1] ?? null; }
  querySelector(name) {
    return this.all((node) => (name[0] === "." ? node.classes.has(name.slice(1)) : node.name === name))[0] ?? null;
  }
  buttons() { return this.all((node) => node.name === "button"); }
}

function words(text) {
  const node = new Node("#text");
  node.own = text;
  return node;
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
  const setInterval = (act, delay) => ({ act, delay }), clearInterval = () => {}; // none that keeps node from ending
  Object.assign(globalThis, { setTimeout, clearTimeout, setInterval, clearInterval });
  const body = new Node("body");
  globalThis.document = {
    body, activeElement: body,
    createElement: (name) => new Node(name),
    getElementById: (id) => body.all((node) => node.getAttribute("id") === id)[0] ?? null,
    querySelectorAll: (selector) => body.querySelectorAll(selector),
  };
  globalThis.window = { devicePixelRatio: 1 };
  globalThis.getComputedStyle = () => ({ getPropertyValue: (name) => name, fontFamily: "sans" });
  globalThis.ResizeObserver = class { observe() {} disconnect() { this.gone = true; } };
  const host = new Node("host");
  body.append(host);
  return host;
}

/** Time that passes when the test says so; node's own mocks differ between its versions. */
export class Clock {
  constructor() {
    Object.assign(this, { now: 1e6, due: [], every: [] });
    Date.now = () => this.now;
    globalThis.setTimeout = (act, delay) => this.due.push({ at: this.now + delay, act });
    globalThis.clearTimeout = (number) => delete this.due[number - 1];
    globalThis.setInterval = (act, delay) => this.every.push({ act, delay });
    globalThis.clearInterval = (number) => delete this.every[number - 1];
  }
  pass(milliseconds) {
    this.now += milliseconds;
    this.every.forEach(({ act, delay }) => delay <= milliseconds && act());
    this.due.forEach(({ at, act }, number) => at <= this.now && (delete this.due[number], act()));
  }
}

export class Model {
  constructor({ manager, ...state }) {
    this.widget_manager = manager;
    this.raw = { comm_live: true };
    this.state = { settings: { label: "count", resizable: true, hears: true, model: "m" }, tick: {}, workers: [], failures: [], groups: [], output: [], line: "", ...state };
    this.listeners = new Map();
    this.sent = [];
  }
  get(name) { return this.state[name]; }
  set(name, value) { this.state[name] = value; this.trigger(`change:${name}`); }
  trigger(event) { this.listeners.get(event)?.forEach((heard) => heard()); }
  on(event, heard) { this.listeners.set(event, [...(this.listeners.get(event) ?? []), heard]); }
  off(event, heard) { this.listeners.set(event, this.listeners.get(event).filter((other) => other !== heard)); }
  send(message) { this.sent.push(message); }
  get heard() { return [...this.listeners.values()].flat().length; }
}

export function tick(more = {}, lanes = 2) {
  const each = (value) => Array(lanes).fill(value);
  return {
    state: "running", total: 1200, done: 300, failed: 0, retried: 0, elapsed: 3.2, rate: 93.4, left: 9.6, chunk: 8,
    moved: 1500, busy: 6, lost: 0, alive: lanes, memory: 1e8, length: 4.8, width: 0.025, marks: [], bad: [], together: "",
    known: 0, paused: 0, held: false, hidden: 0, slow: null, notice: "", ...more,
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
      working: [1, 0.5], waiting: [0, 15], room: [null, 20], failed: [0, 2], rate: [93.4, 46], each: [0.004, 0.041], limit: 1, gain: 1.46, load: 0.97,
      ...more.stages,
    },
    lanes: { first: [-1, -1], count: undefined, memory: undefined, moved: undefined, done: [150, 120], ...more.lanes },
  });
}
