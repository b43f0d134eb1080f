// The page at work: pointer, keys, buttons, the address, and the start.

// -------------------------------------------------------------- pointer

const pointers = new Map(); // those that are down: two are a pinch
let drag = null;

chart.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  chart.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, event);
  if (pointers.size > 1) drag = null;
  else drag = { x: event.clientX, y: event.clientY, moved: false, box: event.shiftKey ? event.offsetX : null };
});

chart.addEventListener("pointermove", (event) => {
  if (pointers.size === 2 && pointers.has(event.pointerId)) return pinch(event);
  if (!drag) return point(event);
  const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
  if (!drag.moved && Math.abs(dx) + Math.abs(dy) <= 4) return undefined;
  drag.moved = true;
  hideTip();
  if (drag.box !== null) {
    view.box = [drag.box, event.offsetX].sort((a, b) => a - b);
    chart.classList.add("boxing");
    return draw();
  }
  drag.x = event.clientX;
  drag.y = event.clientY;
  chart.classList.add("dragging");
  return move(-dx, -dy);
});

function pinch(event) {
  const [other] = [...pointers.values()].filter((each) => each.pointerId !== event.pointerId);
  const before = pointers.get(event.pointerId);
  pointers.set(event.pointerId, event);
  const middle = (event.offsetX + other.offsetX) / 2;
  const apart = (a, b) => Math.max(20, Math.abs(a.offsetX - b.offsetX));
  zoom(apart(before, other) / apart(event, other), timeAt(Math.max(middle, GUTTER)));
  move(-(event.offsetX - before.offsetX) / 2);
}

function release(event) {
  pointers.delete(event.pointerId);
  chart.classList.remove("dragging", "boxing");
  const ended = drag;
  drag = null;
  if (view.box) {
    const [left, right] = view.box;
    view.box = null;
    if (right - left > 4) return show(timeAt(Math.max(left, GUTTER)), timeAt(right));
    return draw();
  }
  if (event.type === "pointerup" && ended && !ended.moved) click(event);
  return undefined;
}
chart.addEventListener("pointerup", release);
chart.addEventListener("pointercancel", release);
chart.addEventListener("pointerleave", () => {
  view.hovered = null;
  if (view.kept) showKept();
  else hideTip();
  draw();
});

function click(event) {
  const lane = lanes.find((each) => event.offsetY >= laneTop(each) && event.offsetY < laneTop(each) + each.height);
  if (event.offsetX < GUTTER) {
    if (lane && event.offsetY > AXIS) choose(lane.host === view.lane ? -1 : lane.host);
    return;
  }
  view.kept = thingAt(event.offsetX, event.offsetY);
  if (view.kept && view.kept.type === "role") view.kept = null;
  if (lane && lane.host >= 0 && event.offsetY > AXIS) view.lane = lane.host;
  moveCursor(timeAt(event.offsetX));
}

function point(event) {
  const thing = thingAt(event.offsetX, event.offsetY);
  const same = thing && view.hovered && thing.type === view.hovered.type && thing.row === view.hovered.row;
  view.hovered = thing;
  chart.classList.toggle("over", Boolean(thing) || event.offsetX < GUTTER);
  if (thing) showTip(thing, event.clientX, event.clientY);
  else hideTip();
  if (!same) draw();
}

chart.addEventListener("wheel", (event) => {
  event.preventDefault();
  const unit = event.deltaMode === 1 ? 16 : 1;
  hideTip();
  if (event.shiftKey) move((event.deltaY || event.deltaX) * unit);
  else if (event.altKey) move(0, event.deltaY * unit);
  else if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) move(event.deltaX * unit);
  else zoom(Math.exp(event.deltaY * unit * (event.ctrlKey ? 0.01 : 0.0018)), timeAt(Math.max(event.offsetX, GUTTER)));
}, { passive: false });

let sliding = false;
function slide(event) {
  const time = SPAN[0] + ((event.offsetX - GUTTER) / (overview.clientWidth - GUTTER)) * (SPAN[1] - SPAN[0]);
  const size = view.to - view.from;
  if (size > (SPAN[1] - SPAN[0]) * 0.9) show(time - SECOND / 2, time + SECOND / 2);
  else show(time - size / 2, time + size / 2);
}
overview.addEventListener("pointerdown", (event) => {
  sliding = true;
  overview.setPointerCapture(event.pointerId);
  slide(event);
});
overview.addEventListener("pointermove", (event) => sliding && slide(event));
overview.addEventListener("pointerup", () => { sliding = false; });

// -------------------------------------------------------------- keys

function nudge(by) {
  hideTip();
  view.kept = null;
  const time = Math.min(Math.max(view.cursor + (by * (view.to - view.from)) / 100, 0), END);
  moveCursor(time);
  reveal(time);
}

function chooseNext(by) {
  const all = lanes.map((lane) => lane.host).filter((host) => host >= 0);
  if (!all.length) return;
  const at = all.indexOf(view.lane);
  const host = at < 0 ? all[by > 0 ? 0 : all.length - 1] : all[Math.min(Math.max(at + by, 0), all.length - 1)];
  choose(host);
  reveal(Math.min(Math.max(view.cursor, view.from), view.to), host);
}

function letGo() {
  hideTip();
  view.kept = view.hovered = null;
  element("lanes").open = false;
  choose(-1);
}

function toggleTheme() {
  const other = { "": isDark() ? "light" : "dark", light: "dark", dark: "light" };
  setTheme(other[theme]);
}

function togglePanel() {
  document.querySelector("main").classList.toggle("wide");
  showPanel();
  draw();
}

const KEYS = {
  "+": () => zoom(1 / 1.5),
  "=": () => zoom(1 / 1.5),
  "-": () => zoom(1.5),
  0: fit,
  w: fit,
  v: () => showVerdict(),
  c: () => showCulprit(),
  ArrowLeft: (event) => (event.shiftKey ? move(-(width - GUTTER) / 5) : nudge(-1)),
  ArrowRight: (event) => (event.shiftKey ? move((width - GUTTER) / 5) : nudge(1)),
  ArrowUp: () => chooseNext(-1),
  ArrowDown: () => chooseNext(1),
  n: () => step(1),
  p: () => step(-1),
  h: () => toggle("heartbeat"),
  d: () => toggleTheme(),
  s: () => togglePanel(),
  "/": () => element("search").focus(),
  "?": () => element("help").showModal(),
  Escape: () => letGo(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || element("help").open) return;
  if (event.target === element("search")) return inSearch(event);
  const action = KEYS[event.key];
  if (!action || (event.target.type === "checkbox" && event.key === " ")) return;
  event.preventDefault();
  action(event);
});

function inSearch(event) {
  if (event.key === "Enter") nextHit(event.shiftKey ? -1 : 1);
  else if (event.key === "Escape") chart.focus();
  else return;
  event.preventDefault();
}

element("search").addEventListener("input", (event) => find(event.target.value));
element("zoom-in").addEventListener("click", () => zoom(1 / 1.5));
element("zoom-out").addEventListener("click", () => zoom(1.5));
element("whole").addEventListener("click", fit);
element("go-verdict").addEventListener("click", showVerdict);
element("go-culprit").addEventListener("click", () => showCulprit());
element("go-culprit").hidden = !order || order.culprit === null;
element("go-verdict").hidden = data.verdict_at === null;
element("theme").addEventListener("click", toggleTheme);
element("panel-toggle").addEventListener("click", togglePanel);
element("help-open").addEventListener("click", () => element("help").showModal());
document.addEventListener("pointerdown", (event) => {
  if (!element("lanes").contains(event.target)) element("lanes").open = false;
});

// -------------------------------------------------------------- light and dark

let theme = ""; // as the system has it, until it is chosen
const systemIsDark = window.matchMedia("(prefers-color-scheme: dark)");
const isDark = () => theme === "dark" || (!theme && systemIsDark.matches);
const darkRules = [...document.styleSheets].flatMap((sheet) => [...sheet.cssRules])
  .filter((rule) => rule instanceof CSSMediaRule && rule.media.mediaText.includes("prefers-color-scheme"));

/** The dark colours are in a media query: the theme is chosen by changing when it holds. */
function setTheme(name) {
  theme = name;
  const query = { "": "(prefers-color-scheme: dark)", light: "not all", dark: "all" }[name];
  for (const rule of darkRules) rule.media.mediaText = query;
  document.documentElement.style.colorScheme = name;
  readColours();
  draw();
}
systemIsDark.addEventListener("change", () => setTheme(theme));

// -------------------------------------------------------------- the address

let written = "";
let writing = 0;
function writeLink() {
  clearTimeout(writing);
  writing = setTimeout(() => {
    const parts = [`t=${tidy(seconds(view.cursor))}`];
    if (view.lane >= 0) parts.push(hostName(view.lane).replace(" ", "="));
    const size = view.to - view.from;
    parts.push(`from=${tidy(seconds(view.from, size / 1e4))}`, `to=${tidy(seconds(view.to, size / 1e4))}`);
    written = `#${parts.join("&")}`;
    history.replaceState(null, "", written);
  }, 150);
}

/** Goes where the address says; whether it says so. */
function followLink() {
  const link = new URLSearchParams(location.hash.slice(1));
  const number = (name) => {
    const value = Number.parseFloat(link.get(name));
    return Number.isFinite(value) ? value * SECOND : null;
  };
  const time = number("t");
  const [from, to] = [number("from"), number("to")];
  if (time === null && from === null && !link.has("server") && !link.has("clerk")) return false;
  const host = link.has("server") ? link.get("server") : link.has("clerk") ? `c${link.get("clerk")}` : "";
  view.lane = hosts.indexOf(host);
  view.kept = null;
  if (from !== null && to !== null && to > from) [view.from, view.to] = [from, to];
  else if (time !== null) [view.from, view.to] = [time - SECOND / 10, time + SECOND / 10];
  else showVerdict();
  moveCursor(time ?? data.verdict_at ?? 0);
  reveal((view.from + view.to) / 2, view.lane);
  return true;
}
window.addEventListener("hashchange", () => location.hash !== written && followLink());

// -------------------------------------------------------------- the start

function buildSigns() {
  for (const [sign, , text] of Object.values(SIGNS)) element("signs").append(node("dt", sign), node("dd", text));
  const lines = [["⟶", "a message; dashed: a reply; ✗ at its end: lost"],
    ["▬", "an annotation that lasts"],
    ["▨", "what is wrong with the network, or with a host's place in it, while it holds"]];
  if (order) lines.push(["•", "an operation takes effect"], ["✗", "the operation that can have no place in any order"]);
  for (const [sign, text] of lines) element("signs").append(node("dt", sign), node("dd", text));
}

readColours();
buildFilters();
buildLaneList();
buildSigns();
filterMessages();
view.cursor = data.verdict_at ?? 0;
height = chart.clientHeight;
width = chart.clientWidth;
layOut();
if (!followLink()) showVerdict();
showPanel();
new ResizeObserver(draw).observe(chart);
document.documentElement.dataset.ready = "true";
