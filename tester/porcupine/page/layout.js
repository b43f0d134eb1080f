// What the page shows and where: the linearizations unpacked, their dots given instants, and the view of it all.
// The page's scripts are one module: layout.js, drawing.js, page.js. What there is to show comes from visualize.py.

const data = JSON.parse(document.getElementById("history").textContent);
const element = (id) => document.getElementById(id);
const chart = element("chart");
const overview = element("overview");
const tip = element("tip");

const LANE_LEAST = 46; // px, a client's lane; higher while there is room
const LANE_MOST = 66;
const BAR = 24; // px, an operation in it
const AXIS = 26; // px, the axis above the lanes
const GUTTER_MOST = 120; // px, the clients' names on the left
const VERDICTS = { ok: "✓", illegal: "✗", unknown: "?" };
const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif';

const view = {
  part: null, // the partition, laid out
  order: null, // the linearization that is drawn
  byTime: true, // whether the axis is time, or an even step for each call and return
  from: 0, // what the axis shows, in its units
  to: 1,
  top: 0, // px of lanes scrolled away
  hovered: -1, // the operation under the pointer
  kept: -1, // the operation clicked on
  keptOrder: -1, // the order chosen by hand, or by a click
};

/** Orders come as what they share with the one before, and the rest. */
function orders(partition) {
  const all = [];
  let placed = [];
  let states = [];
  for (const { shared, rest, states: after, refused } of partition.partials) {
    placed = placed.slice(0, shared).concat(rest);
    states = states.slice(0, shared).concat(after);
    all.push({ placed, states, refused: new Set(refused), place: null, points: null });
  }
  return all.sort((a, b) => b.placed.length - a.placed.length);
}

function laidOut(partition) {
  const count = partition.call.length;
  const part = { ...partition, count, orders: orders(partition), lanes: partition.clients.map(() => []) };
  // The longest order that contains an operation: they are sorted, so the first one that has it.
  part.longest = new Int32Array(count).fill(-1);
  part.orders.forEach((order, number) => {
    for (const operation of order.placed) if (part.longest[operation] < 0) part.longest[operation] = number;
  });
  const times = new Set();
  for (let i = 0; i < count; i++) {
    times.add(part.call[i]);
    if (part.return[i] !== null) times.add(part.return[i]);
    part.lanes[part.lane[i]].push(i);
  }
  part.times = Float64Array.from(times).sort();
  for (const lane of part.lanes) lane.sort((a, b) => part.call[a] - part.call[b]);
  return part;
}

/** Where operations begin and end on the present axis. What never returned is drawn up to its client's next call. */
function placeOnAxis(part) {
  const steps = new Map();
  part.times.forEach((time, step) => steps.set(time, step));
  const on = (time) => (view.byTime ? time : steps.get(time));
  const first = part.count ? on(part.times[0]) : 0;
  const last = part.count ? on(part.times[part.times.length - 1]) : 1;
  const pad = (last - first || 1) * 0.03;
  part.span = [first - pad, last + pad];
  part.begin = new Float64Array(part.count);
  part.end = new Float64Array(part.count); // Infinity: never
  part.shownEnd = new Float64Array(part.count);
  for (let i = 0; i < part.count; i++) {
    part.begin[i] = on(part.call[i]);
    part.end[i] = part.return[i] === null ? Infinity : on(part.return[i]);
  }
  for (const lane of part.lanes) {
    lane.forEach((operation, nth) => {
      const next = nth + 1 < lane.length ? part.begin[lane[nth + 1]] : last + pad * 0.6;
      part.shownEnd[operation] = Math.min(part.end[operation], Math.max(next, part.begin[operation]));
    });
  }
  for (const order of part.orders) order.points = null;
}

/**
 * Instants for the operations of an order, none earlier than the one before it. Each lies in its operation's
 * interval, and before the return of everything that would come after the order; operations that share a deadline
 * share the room up to it evenly.
 */
function prepare(part, order) {
  if (order.points) return;
  const { placed } = order;
  const deadlines = new Float64Array(placed.length);
  order.place = new Int32Array(part.count).fill(-1);
  placed.forEach((operation, i) => { order.place[operation] = i; });
  let deadline = part.span[1];
  for (let i = 0; i < part.count; i++) if (order.place[i] < 0) deadline = Math.min(deadline, part.end[i]);
  for (let i = placed.length - 1; i >= 0; i--) {
    deadline = Math.min(deadline, part.end[placed[i]]);
    deadlines[i] = deadline;
  }
  const sharing = new Int32Array(placed.length); // operations from here on with this deadline
  for (let i = placed.length - 1; i >= 0; i--) {
    sharing[i] = i + 1 < placed.length && deadlines[i + 1] === deadlines[i] ? sharing[i + 1] + 1 : 1;
  }
  order.points = new Float64Array(placed.length);
  let earliest = -Infinity;
  placed.forEach((operation, i) => {
    earliest = Math.max(earliest, part.begin[operation]);
    earliest += Math.max(0, deadlines[i] - earliest) / (sharing[i] + 1);
    order.points[i] = earliest;
  });
}

let width = 0;
let height = 0;
let gutter = 60;
let laneHeight = LANE_LEAST;
const x = (position) => gutter + ((position - view.from) / (view.to - view.from)) * (width - gutter);
const positionAt = (px) => view.from + ((px - gutter) / (width - gutter)) * (view.to - view.from);
const barTop = (lane) => AXIS + lane * laneHeight + (laneHeight - BAR) / 2 - 4 - view.top;
const dotY = (lane) => barTop(lane) + BAR;

function clampView() {
  const [first, last] = view.part.span;
  const least = view.byTime ? (last - first) * 1e-7 : 1;
  const size = Math.min(Math.max(view.to - view.from, least), last - first);
  view.from = Math.min(Math.max(view.from, first), last - size);
  view.to = view.from + size;
  const below = Math.max(0, AXIS + view.part.lanes.length * laneHeight - height);
  view.top = Math.min(Math.max(view.top, 0), below);
}

function zoom(factor, around = (view.from + view.to) / 2) {
  const [first, last] = view.part.span;
  const size = Math.min((view.to - view.from) * factor, last - first);
  const share = (around - view.from) / (view.to - view.from);
  view.from = around - share * size;
  view.to = view.from + size;
  clampView();
  draw();
}

function move(px, lanesPx = 0) {
  const by = (px / (width - gutter)) * (view.to - view.from);
  view.from += by;
  view.to += by;
  view.top += lanesPx;
  clampView();
  draw();
}

function fit() {
  [view.from, view.to] = view.part.span;
  clampView();
  draw();
}

/** Brings an operation into view, wide enough to be read. */
function reveal(operation) {
  const { part } = view;
  const place = view.order ? view.order.place[operation] : -1;
  const at = place >= 0 ? view.order.points[place] : (part.begin[operation] + part.shownEnd[operation]) / 2;
  const length = part.shownEnd[operation] - part.begin[operation];
  const size = view.to - view.from;
  const wanted = size > length * 24 && length > 0 ? length * 8 : size;
  if (wanted !== size || at < view.from + size * 0.05 || at > view.to - size * 0.05) {
    view.from = at - wanted / 2;
    view.to = at + wanted / 2;
  }
  const top = part.lane[operation] * laneHeight;
  if (top < view.top) view.top = top;
  if (top + laneHeight + AXIS > view.top + height) view.top = top + laneHeight + AXIS - height;
  clampView();
}

function niceStep(least, whole) {
  const ten = 10 ** Math.floor(Math.log10(least));
  const step = [1, 2, 5, 10].map((n) => n * ten).find((candidate) => candidate >= least);
  return whole ? Math.max(1, Math.round(step)) : step;
}

const SCALES = [[1e9, "s"], [1e6, "ms"], [1e3, "µs"], [1, "ns"]];

/** A time for reading, exact to about `step`; 0: all digits. */
function timeText(time, step) {
  if (time === undefined) return "";
  if (data.time_unit !== "ns") {
    const digits = step ? Math.max(0, Math.ceil(-Math.log10(step) - 1e-9)) : 9;
    return `${tidy(time.toFixed(Math.min(9, digits)))}${data.time_unit ? ` ${data.time_unit}` : ""}`;
  }
  const [scale, unit] = SCALES.find(([size]) => Math.abs(time) >= size) || [1, "ns"];
  const digits = step ? Math.max(0, Math.ceil(Math.log10(scale / step) - 1e-9)) : Math.round(Math.log10(scale));
  return `${tidy((time / scale).toFixed(digits))} ${time === 0 ? "" : unit}`.trim();
}

const tidy = (number) => (number.includes(".") ? number.replace(/\.?0+$/, "") : number);
