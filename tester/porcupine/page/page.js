// The page at work: what is chosen, what is pointed at, buttons, keys, and the start.

function showPartition(number) {
  view.part = laidOut(data.partitions[number]);
  placeOnAxis(view.part);
  view.hovered = -1;
  view.kept = -1;
  view.keptOrder = -1;
  view.top = 0;
  const illegal = view.part.culprit !== null;
  element("culprit").hidden = !illegal;
  for (const each of document.querySelectorAll(".when-illegal")) each.hidden = !illegal;
  for (const each of document.querySelectorAll(".when-partial")) each.hidden = view.part.verdict === "ok";
  const select = element("partial");
  element("partial-label").hidden = view.part.verdict === "ok" || !view.part.orders.length;
  const left = view.part.left_out ? `; ${view.part.left_out} shorter ones are not in this page` : "";
  select.replaceChildren(...view.part.orders.slice(0, 200).map((order, nth) =>
    new Option(`${nth + 1} of ${view.part.orders.length}: ${order.placed.length} of ${view.part.count} operations`, nth)));
  select.title = `the longest orders that are right as far as they go${left}`;
  [view.from, view.to] = view.part.span;
  chooseOrder();
  hideTip();
  draw();
}

/**
 * The order to draw: of the operation under the pointer, else what was chosen, else the longest at whose end the culprit
 * is in the way, else the longest.
 */
function chooseOrder() {
  const { part } = view;
  let number = view.keptOrder;
  if (number < 0) number = Math.max(0, part.orders.findIndex((order) => order.refused.has(part.culprit)));
  if (view.kept < 0 && view.hovered >= 0 && part.verdict !== "ok") {
    const order = part.orders[number];
    if (order) prepare(part, order);
    const better = part.longest[view.hovered];
    if (order && order.place[view.hovered] < 0 && better >= 0) number = better;
  }
  view.order = part.orders[number] || null;
  if (view.order) prepare(part, view.order);
  element("partial").value = String(number);
  element("previous").disabled = element("next").disabled = !view.order;
}

function keep(operation) {
  view.kept = operation;
  if (operation >= 0 && view.part.verdict !== "ok") {
    const shown = view.order && view.order.place[operation] >= 0;
    view.keptOrder = shown ? view.part.orders.indexOf(view.order) : view.part.longest[operation];
  } else if (operation < 0) {
    view.keptOrder = -1;
  }
  chooseOrder();
  draw();
}

function operationAt(px, py) {
  const { part } = view;
  const number = Math.floor((py - AXIS + view.top) / laneHeight);
  if (px < gutter || py < AXIS || number < 0 || number >= part.lanes.length) return -1;
  const lane = part.lanes[number];
  let best = -1;
  let distance = 5; // px
  for (let nth = Math.max(0, firstShown(lane) - 1); nth < lane.length; nth++) {
    const left = x(part.begin[lane[nth]]);
    if (left > px + 5) break;
    const off = Math.max(left - px, px - x(part.shownEnd[lane[nth]]), 0);
    if (off < distance || (off === 0 && lane[nth] === part.culprit)) [best, distance] = [lane[nth], off];
  }
  return best;
}

function row(list, term, text) {
  const dt = document.createElement("dt");
  const dd = document.createElement("dd");
  dt.textContent = term;
  dd.textContent = text;
  list.append(dt, dd);
}

function showTip(operation, px, py) {
  const { part, order } = view;
  const place = order ? order.place[operation] : -1;
  const title = document.createElement("strong");
  title.textContent = data.texts[part.text[operation]];
  const list = document.createElement("dl");
  row(list, "client", part.clients[part.lane[operation]]);
  row(list, "called", timeText(part.call[operation], 0));
  const back = part.return[operation];
  row(list, "returned", back === null ? "never" : `${timeText(back, 0)}, after ${timeText(back - part.call[operation], 0)}`);
  if (place >= 0) {
    row(list, "in the order", `${place + 1} of ${order.placed.length}`);
    row(list, "state before", data.texts[place ? order.states[place - 1] : part.initial]);
    row(list, "state after", data.texts[order.states[place]]);
  } else if (order) {
    row(list, "in the order", back === null && part.verdict === "ok" ? "nowhere: it need not have happened" : "nowhere");
    if (order.refused.has(operation)) {
      const end = order.placed.length;
      row(list, "state there", data.texts[end ? order.states[end - 1] : part.initial]);
    }
  }
  tip.replaceChildren(title, list);
  if (operation === part.culprit || (order && order.refused.has(operation))) {
    const note = document.createElement("p");
    note.className = "bad";
    note.textContent = operation === part.culprit
      ? "✗ the culprit: see the sentence at the top"
      : "✗ could come next in time, but its result is not what that state gives";
    tip.append(note);
  }
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  const left = px + 16 + box.width > window.innerWidth ? px - 16 - box.width : px + 16;
  const top = py + 18 + box.height > window.innerHeight ? py - 12 - box.height : py + 18;
  tip.style.left = `${Math.max(4, left)}px`;
  tip.style.top = `${Math.max(4, top)}px`;
}

function hideTip() {
  tip.hidden = true;
}

/** Chooses an operation from the keyboard or a button, and says what it is. */
function goTo(operation) {
  if (operation === null || operation < 0) return;
  view.hovered = -1;
  keep(operation);
  reveal(operation);
  const box = chart.getBoundingClientRect();
  const at = Math.min(Math.max(x(view.part.begin[operation]), gutter), width - 40);
  showTip(operation, box.left + at, box.top + dotY(view.part.lane[operation]));
  draw();
}

function step(by) {
  const { order, kept } = view;
  if (!order || !order.placed.length) return;
  const place = kept >= 0 ? order.place[kept] : -1;
  const next = place < 0 ? (by > 0 ? 0 : order.placed.length - 1) : place + by;
  goTo(order.placed[Math.min(Math.max(next, 0), order.placed.length - 1)]);
}

function setAxis(byTime) {
  if (view.byTime === byTime) return;
  view.byTime = byTime;
  element("by-time").setAttribute("aria-pressed", String(byTime));
  element("by-order").setAttribute("aria-pressed", String(!byTime));
  placeOnAxis(view.part);
  if (view.order) prepare(view.part, view.order);
  fit();
}

let drag = null;
chart.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  chart.setPointerCapture(event.pointerId);
  drag = { x: event.clientX, y: event.clientY, moved: false };
});
chart.addEventListener("pointermove", (event) => {
  if (drag) {
    const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
    if (drag.moved || Math.abs(dx) + Math.abs(dy) > 4) {
      drag = { x: event.clientX, y: event.clientY, moved: true };
      chart.classList.add("dragging");
      hideTip();
      move(-dx, -dy);
    }
    return;
  }
  point(event);
});
chart.addEventListener("pointerup", (event) => {
  if (drag && !drag.moved) {
    keep(operationAt(event.offsetX, event.offsetY));
    drag = null;
    point(event);
  }
  drag = null;
  chart.classList.remove("dragging");
});
chart.addEventListener("pointercancel", () => {
  drag = null;
  chart.classList.remove("dragging");
});
chart.addEventListener("pointerleave", () => {
  view.hovered = -1;
  hideTip();
  chooseOrder();
  draw();
});

function point(event) {
  const operation = operationAt(event.offsetX, event.offsetY);
  chart.classList.toggle("over", operation >= 0);
  if (operation !== view.hovered) {
    view.hovered = operation;
    chooseOrder();
    draw();
  }
  if (operation >= 0) showTip(operation, event.clientX, event.clientY);
  else hideTip();
}

chart.addEventListener("wheel", (event) => {
  event.preventDefault();
  const unit = event.deltaMode === 1 ? 16 : 1;
  if (event.shiftKey) move((event.deltaY || event.deltaX) * unit);
  else if (event.altKey) move(0, event.deltaY * unit);
  else if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) move(event.deltaX * unit);
  else zoom(Math.exp(event.deltaY * unit * 0.0015), positionAt(Math.max(event.offsetX, gutter)));
}, { passive: false });

let sliding = false;
function slide(event) {
  const [first, last] = view.part.span;
  const at = first + ((event.offsetX - gutter) / (overview.clientWidth - gutter)) * (last - first);
  const size = view.to - view.from;
  view.from = at - size / 2;
  view.to = at + size / 2;
  clampView();
  draw();
}
overview.addEventListener("pointerdown", (event) => {
  sliding = true;
  overview.setPointerCapture(event.pointerId);
  slide(event);
});
overview.addEventListener("pointermove", (event) => sliding && slide(event));
overview.addEventListener("pointerup", () => { sliding = false; });

const KEYS = {
  "+": () => zoom(1 / 1.5),
  "=": () => zoom(1 / 1.5),
  "-": () => zoom(1.5),
  0: fit,
  ArrowLeft: () => move(-120),
  ArrowRight: () => move(120),
  ArrowUp: () => move(0, -laneHeight),
  ArrowDown: () => move(0, laneHeight),
  n: () => step(1),
  p: () => step(-1),
  c: () => goTo(view.part.culprit),
  t: () => setAxis(!view.byTime),
  Escape: () => {
    hideTip();
    keep(-1);
  },
};
document.addEventListener("keydown", (event) => {
  if (!view.part || event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return;
  const action = KEYS[event.key];
  if (!action) return;
  event.preventDefault();
  if (event.key !== "n" && event.key !== "p" && event.key !== "c") hideTip();
  action();
});

element("zoom-in").addEventListener("click", () => zoom(1 / 1.5));
element("zoom-out").addEventListener("click", () => zoom(1.5));
element("fit").addEventListener("click", fit);
element("next").addEventListener("click", () => step(1));
element("previous").addEventListener("click", () => step(-1));
element("culprit").addEventListener("click", () => goTo(view.part.culprit));
element("by-time").addEventListener("click", () => setAxis(true));
element("by-order").addEventListener("click", () => setAxis(false));
element("partition").addEventListener("change", (event) => showPartition(Number(event.target.value)));
element("partial").addEventListener("change", (event) => {
  view.kept = -1;
  view.keptOrder = Number(event.target.value);
  chooseOrder();
  draw();
});

const count = data.partitions.reduce((sum, part) => sum + part.call.length, 0);
const verdicts = data.partitions.map((part) => part.verdict);
const verdict = ["illegal", "unknown"].find((each) => verdicts.includes(each)) || "ok";
const HEADLINES = { ok: "Linearizable", illegal: "Not linearizable", unknown: "Not decided" };
const OTHERWISE = {
  ok: "Each operation can be given one instant between its call and its return (the dots) so that all results are right in that order.",
  illegal: "No order of all operations explains their results.",
  unknown: "The check ended before every operation had its place in an order.",
};
element("verdict").textContent = `${VERDICTS[verdict]} ${HEADLINES[verdict]}`;
element("verdict").className = verdict;
element("explanation").textContent = data.explanation || OTHERWISE[verdict];
document.title = `${HEADLINES[verdict]}: ${count} operations`;

if (!data.partitions.length || !count) {
  element("explanation").textContent = "The history has no operations.";
  for (const each of [element("toolbar"), chart, overview]) each.hidden = true;
} else {
  const rank = { illegal: 0, unknown: 1, ok: 2 };
  const numbers = data.partitions.map((_, number) => number);
  const culprits = (number) => (data.partitions[number].culprit === null ? 1 : 0);
  numbers.sort((a, b) => culprits(a) - culprits(b) || rank[verdicts[a]] - rank[verdicts[b]] || a - b);
  element("partition").replaceChildren(...numbers.map((number) => {
    const part = data.partitions[number];
    return new Option(`${VERDICTS[part.verdict]} ${part.name} (${part.call.length} operations)`, number);
  }));
  element("partition-label").hidden = data.partitions.length < 2;
  readColours();
  showPartition(numbers[0]);
  new ResizeObserver(draw).observe(chart);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    readColours();
    draw();
  });
}
