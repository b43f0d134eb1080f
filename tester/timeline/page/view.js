// What the page shows and where: the view in time, the lanes one above the other, and what is filtered away.

const chart = element("chart");
const overview = element("overview");
const tip = element("tip");

const AXIS = 28; // px, the axis above the lanes
const ROLE = 20; // px, a server's role
const MARKS = 16; // px, a server's notes below it
const FAULTS = 13; // px, what is wrong with the network, at the bottom of a lane that ever has that
const SERVER_LEAST = 66;
const SERVER_MOST = 150;
const CLERK = 30;
const BAR = 20;
const BAND = 17; // px, a fault of the whole network
const GUTTER = 114; // px, the names on the left
const SECOND = 1e9;
const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif';

const view = {
  from: 0, // ns, what the axis shows
  to: END,
  top: 0, // px of lanes scrolled away
  cursor: 0, // ns
  event: -1, // the event that the cursor stands on, of those in events.js
  lane: -1, // the host chosen
  hovered: null, // what is under the pointer: { type: "message", "note", "call", "interval", "role" or "band", row, host }
  kept: null, // what was clicked on, stepped to or found
  box: null, // px, while one is drawn: [from, to]
};

// -------------------------------------------------------------- filters

const shown = {
  vote: true, append: true, heartbeat: true, snapshot: true, client: true, other: true, reply: true, lost: true,
  save: false, apply: true, print: true, annotate: true, call: true,
};
const hiddenHosts = new Set();

const NOTE_FILTER = { save: "save", saved: "save", apply: "apply", print: "print", annotate: "annotate" };
const noteShown = (note) => shown[NOTE_FILTER[NOTE_KINDS[notes.kind[note]]]] ?? true;

function messageShown(message) {
  return shown[KINDS[messages.kind[message]]] && (shown.reply || messages.request[message] < 0)
    && (shown.lost || messages.state[message] !== LOST)
    && !hiddenHosts.has(messages.from[message]) && !hiddenHosts.has(messages.to[message]);
}

/** Messages that pass the filters, in order; made anew when these change. */
let passing = new Int32Array(0);
let latestEnd = new Float64Array(0); // of those up to each
function filterMessages() {
  const rows = [];
  for (let i = 0; i < messages.count; i++) if (messageShown(i)) rows.push(i);
  passing = Int32Array.from(rows);
  latestEnd = new Float64Array(passing.length);
  let latest = 0;
  passing.forEach((message, nth) => { latestEnd[nth] = latest = Math.max(latest, messages.end[message]); });
}

// -------------------------------------------------------------- lanes

const runBands = bands.filter((band) => band.host < 0);
const hostBands = hosts.map((_, host) => bands.filter((band) => band.host === host));
const runNotes = Int32Array.from([...notes.host.keys()].filter((note) => notes.host[note] < 0));

/** Faults of the whole network go into as many rows as ever hold together. */
const bandRow = new Map();
const rowEnds = [];
for (const band of runBands) {
  let row = rowEnds.findIndex((end) => end <= band.start);
  if (row < 0) row = rowEnds.length;
  rowEnds[row] = band.end;
  bandRow.set(band, row);
}

let width = 0;
let height = 0;
let lanes = []; // { host, top, height }, host -1: the network; tops are without scrolling
let laneOf = []; // by host
let lanesHeight = 0;
const hasLog = progress.some((each) => each.last.some((last) => last > 0));

function layOut() {
  lanes = [];
  laneOf = hosts.map(() => null);
  const rows = rowEnds.length + (runNotes.length ? 1 : 0);
  const networkHeight = rows ? rows * BAND + 6 : 0;
  const servers = hosts.map((_, host) => host).filter((host) => isServer(host) && !hiddenHosts.has(host));
  const clerks = hosts.map((_, host) => host).filter((host) => !isServer(host) && !hiddenHosts.has(host));
  const ofIntervals = [...servers, ...clerks].reduce((sum, host) => sum + intervalRoom(host), 0);
  const room = height - AXIS - networkHeight - clerks.length * CLERK - ofIntervals;
  const each = Math.min(Math.max(Math.floor(room / Math.max(1, servers.length)), SERVER_LEAST), SERVER_MOST);
  let top = 0;
  const add = (host, high) => {
    const lane = { host, top, height: high };
    lanes.push(lane);
    if (host >= 0) laneOf[host] = lane;
    top += high;
  };
  if (networkHeight) add(-1, networkHeight);
  for (const host of servers) add(host, each + intervalRoom(host));
  for (const host of clerks) add(host, CLERK + intervalRoom(host));
  lanesHeight = top;
}

const laneTop = (lane) => AXIS + lane.top - view.top;

/** Where messages leave and reach a host's lane: at its upper or its lower edge of the band. */
function edge(host, other) {
  const lane = laneOf[host];
  if (!lane) return null;
  const below = laneOf[other] && laneOf[other].top > lane.top;
  const top = laneTop(lane) + (isServer(host) ? 3 : (CLERK - BAR) / 2);
  return below ? top + (isServer(host) ? ROLE : BAR) : top;
}

// -------------------------------------------------------------- time

const x = (time) => GUTTER + ((time - view.from) / (view.to - view.from)) * (width - GUTTER);
const timeAt = (px) => view.from + ((px - GUTTER) / (width - GUTTER)) * (view.to - view.from);
const PAD = END * 0.02;
const SPAN = [-PAD, END + PAD];

function clampView() {
  const size = Math.min(Math.max(view.to - view.from, 100), SPAN[1] - SPAN[0]);
  view.from = Math.min(Math.max(view.from, SPAN[0]), SPAN[1] - size);
  view.to = view.from + size;
  view.top = Math.min(Math.max(view.top, 0), Math.max(0, AXIS + lanesHeight - height));
}

const anchor = () => (view.cursor > view.from && view.cursor < view.to ? view.cursor : (view.from + view.to) / 2);

function zoom(factor, around = anchor()) {
  const size = Math.min(Math.max((view.to - view.from) * factor, 100), SPAN[1] - SPAN[0]);
  const share = (around - view.from) / (view.to - view.from);
  view.from = around - share * size;
  view.to = view.from + size;
  changed();
}

function move(px, lanesPx = 0) {
  const by = (px / (width - GUTTER)) * (view.to - view.from);
  view.from += by;
  view.to += by;
  view.top += lanesPx;
  changed();
}

function show(from, to) {
  [view.from, view.to] = [from, to];
  changed();
}

function fit() {
  show(...SPAN);
}

/** Puts the view where the verdict is: the last second before it. */
function showVerdict() {
  if (data.verdict_at === null) return fit();
  const size = Math.min(SECOND, SPAN[1] - SPAN[0]);
  return show(data.verdict_at - size * 0.9, data.verdict_at + size * 0.1);
}

/** Brings a time, and a lane, into view; `length` ns around it should be seen well. */
function reveal(time, host = -1, length = 0) {
  let size = view.to - view.from;
  if (length > 0 && size > length * 40) size = length * 10;
  if (size !== view.to - view.from || time < view.from + size * 0.05 || time > view.to - size * 0.1) {
    view.from = time - size * 0.4;
    view.to = view.from + size;
  }
  const lane = laneOf[host];
  if (lane) {
    if (lane.top < view.top) view.top = lane.top;
    if (AXIS + lane.top + lane.height > view.top + height) view.top = AXIS + lane.top + lane.height - height;
  }
  changed();
}

function changed() {
  clampView();
  draw();
  writeLink();
}

function niceStep(least) {
  const ten = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].map((n) => n * ten).find((candidate) => candidate >= least * 0.999);
}

const tidy = (number) => (number.includes(".") ? number.replace(/\.?0+$/, "") : number);

/** A time of the run in seconds, exact to about `step` ns. */
function seconds(time, step = 1) {
  const digits = Math.min(9, Math.max(0, Math.ceil(9 - Math.log10(step) - 1e-9)));
  return (time / SECOND).toFixed(digits);
}

/** A length of time in its unit. */
function lengthText(time) {
  const [scale, unit] = [[1e9, "s"], [1e6, "ms"], [1e3, "µs"], [1, "ns"]].find(([size]) => time >= size) || [1, "ns"];
  return `${tidy((time / scale).toPrecision(4))} ${unit}`;
}
