// The card's elements, and their common functions.

const FOCUSABLE = /^(button|summary)$/;

function element(name, className, attributes = {}, children = []) {
  const made = document.createElement(name);
  if (className) made.className = `nbpar-${className}`;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  // JupyterLab before 4.1 handles keys before the card does, and checks the focused element for this first
  if (FOCUSABLE.test(name) || "tabindex" in attributes) made.setAttribute("data-lm-suppress-shortcuts", "true");
  made.append(...children);
  return made;
}

/** An element with user text, isolated because of its direction. */
function worded(name, className, text) {
  const made = element(name, className);
  made.textContent = text;
  return made;
}

function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function attribute(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

function button(text, label, press) {
  const made = element("button", "button", { type: "button", "aria-label": label });
  made.textContent = text;
  made.addEventListener("click", press);
  return made;
}

/** Set the number of a node's children, created on demand. */
function fill(node, number, make) {
  while (node.children.length < number) node.append(make(node.children.length));
  while (node.children.length > number) node.lastChild.remove();
}

/** Set a node's children in this order; existing ones are not moved unnecessarily, and keep the focus. */
function arrange(node, children) {
  const wanted = new Set(children);
  for (const child of [...node.children]) if (!wanted.has(child)) child.remove();
  children.forEach((child, place) => {
    if (node.children[place] !== child) node.insertBefore(child, node.children[place] ?? null);
  });
}

/** Announce to screen readers, in a live region of the page, because the card closes with its last message. */
function announce(text) {
  let region = document.getElementById("nbpar-live");
  if (!region) {
    region = element("div", "sr", { id: "nbpar-live", role: "status", "aria-live": "polite", "aria-atomic": "true" });
    region.style.cssText = "position:fixed;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)";
    document.body.append(region);
  }
  write(region, text);
}

/** A row of the table of workers or stages. */
function laneRow() {
  const cell = (name, role, children = []) => element("span", name, { role }, children);
  const depth = element("span", "depth", { "aria-hidden": "true" }, [element("span", "wait")]);
  return element("div", "row", { role: "row" }, [
    cell("name", "rowheader"), cell("now", "cell"), cell("queue", "cell", [depth, element("span")]), cell("count", "cell"), cell("more-facts", "cell"),
  ]);
}

/** Build the card; `press(event, by)` is called by its buttons. */
function build(label, press) {
  const parts = {
    fewer: button("−", "Remove a worker", () => press("resize", -1)),
    more: button("+", "Add a worker", () => press("resize", 1)),
    alive: element("span", "alive"),
    bell: button("", "Notify me when a run ends while this page is hidden", () => press("bell")),
    pause: button("Pause", `Pause ${label}`, () => press("pause")),
    stop: button("Stop", `Stop ${label}`, () => press("stop")),
    state: element("span", "state"),
    fill: element("div", "fill"),
    red: element("div", "bad"),
    gray: element("div", "let-go"),
    table: element("div", "table", { role: "table" }),
    canvas: element("canvas", "canvas", { "aria-hidden": "true" }),
    options: element("div", "sr", { role: "presentation" }),
    hint: element("div", "hint"),
    line: element("div", "line"),
    legend: element("span", "legend"),
    facts: element("span", "fact"),
    failures: element("div", "list"),
    output: element("pre", "pre", { tabindex: "0", role: "group", "aria-label": "latest output" }),
  };
  const more = (name, list) => {
    parts[`${name}Title`] = element("summary", "summary");
    return (parts[`${name}Box`] = element("details", "more", {}, [parts[`${name}Title`], list]));
  };
  const title = element("span", "title", { title: label, role: "heading", "aria-level": "3", dir: "auto" });
  title.textContent = label;
  for (const name of ["done", "failed", "skipped", "rate", "left"]) parts[name] = element("span", name);
  parts.resize = element("span", "resize", { role: "group", "aria-label": "Workers" }, [parts.fewer, parts.alive, parts.more]);
  parts.track = element("div", "track", { role: "progressbar", "aria-label": label, "aria-valuemin": "0" }, [parts.fill, parts.gray, parts.red]);
  parts.timeline = element("div", "timeline", { role: "listbox", tabindex: "0" }, [parts.canvas, parts.options]);
  parts.lanes = element("div", "lanes", {}, [parts.table, parts.timeline]);
  parts.root = element("section", "card", { "aria-label": label, tabindex: "-1" }, [
    element("div", "top", {}, [element("div", "named", {}, [title, parts.state]), parts.resize, element("span", "told", {}, [parts.bell]), parts.pause, parts.stop]),
    parts.line, parts.track, element("div", "numbers", {}, [parts.done, parts.failed, parts.skipped, parts.rate, parts.left]), parts.lanes, parts.hint,
    element("div", "facts", {}, [parts.facts, parts.legend]),
    more("failures", parts.failures), more("output", parts.output),
  ]);
  return parts;
}

/** A failed item: its error, and when opened its traceback and output. */
function failure(row) {
  const summary = element("summary", "summary", {}, [
    `item ${row.index} (`, worded("bdi", "", row.item), "): ", worded("bdi", "", row.error),
  ]);
  const facts = [row.where, row.worker && titled(row.worker), row.attempts > 1 && `attempt ${row.attempts}`, row.seconds && duration(row.seconds)];
  const made = element("details", "failure", {}, [summary]);
  const said = facts.filter(Boolean).join(" · ");
  if (said) made.append(worded("div", "soft", said));
  for (const [name, text] of [["traceback", row.traceback], ["output", row.output && `printed:\n${row.output}`]]) {
    if (!text) continue;
    const block = element("pre", "pre", { tabindex: "0", role: "group", "aria-label": `${name} of item ${row.index}` });
    block.textContent = text;
    made.append(block);
  }
  return made;
}
