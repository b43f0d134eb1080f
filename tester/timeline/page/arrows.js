// Messages as arrows from lane to lane. Those of one look are one path; of too many, one in 2, 4, 8 … is drawn.

const MOST_ARROWS = 2200;
const MOST_LABELLED = 200;
const LOST_WIDTH = 12; // px, at least: most messages are lost at once
const LOST_HEIGHT = 42; // px, at most

let drawn = []; // the messages of the last picture
let inView = 0;

/** Messages that pass the filters and are under way at some time in view, in order. */
function messagesInView() {
  const rows = [];
  for (let nth = lowerBound(latestEnd, view.from); nth < passing.length; nth++) {
    const message = passing[nth];
    if (messages.sent[message] > view.to) break;
    if (messages.end[message] >= view.from) rows.push(message);
  }
  return rows;
}

/** Requests with their replies: which are kept does not change while the view moves. */
function thinned(rows) {
  let every = 1;
  while (rows.length / every > MOST_ARROWS) every *= 2;
  if (every === 1) return rows;
  return rows.filter((message) => {
    const first = messages.request[message] >= 0 ? messages.request[message] : message;
    return scattered(first) % every === 0;
  });
}

/** A number that has nothing of the order of `number`: messages repeat themselves with some period. */
function scattered(number) {
  let mixed = Math.imul(number ^ (number >>> 16), 0x21f0aaad);
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
  return (mixed ^ (mixed >>> 15)) >>> 0;
}

/** The ends of a message's line in px; null if one of its lanes is not there. */
function lineOf(message) {
  const [from, to] = [messages.from[message], messages.to[message]];
  const y0 = edge(from, to);
  const y1 = edge(to, from);
  if (y0 === null || y1 === null) return null;
  const x0 = x(messages.sent[message]);
  let x1 = x(messages.end[message]);
  if (messages.state[message] === ARRIVED) return [x0, y0, x1, y1];
  const high = Math.sign(y1 - y0) * Math.min(Math.abs(y1 - y0) * 0.55, LOST_HEIGHT); // what was lost does not get there
  if (messages.state[message] === LOST && x1 - x0 < LOST_WIDTH) x1 = x0 + LOST_WIDTH;
  return [x0, y0, x1, y0 + high];
}


function drawMessages(c) {
  const all = messagesInView();
  inView = all.length;
  drawn = thinned(all);
  const chosen = chosenMessages();
  const crowded = drawn.length > 700;
  const dim = drawn.length > 1500 ? 0.2 : crowded ? 0.35 : drawn.length > 250 ? 0.7 : 0.95;
  const looks = new Map(); // kind and whether it is a reply -> messages
  for (const message of drawn) {
    if (chosen.has(message)) continue;
    const look = messages.kind[message] * 2 + (messages.request[message] >= 0 ? 1 : 0);
    if (!looks.has(look)) looks.set(look, []);
    looks.get(look).push(message);
  }
  c.globalAlpha = chosen.size ? dim * 0.35 : dim;
  for (const [look, rows] of [...looks].sort((a, b) => rank(a[0]) - rank(b[0]))) {
    drawLook(c, rows, colours[KINDS[look >> 1]], look % 2 === 1 && !crowded, crowded ? 0.8 : 1.2, !crowded);
  }
  c.globalAlpha = 1;
  const labelled = drawn.length <= MOST_LABELLED ? drawn : [];
  if (!chosen.size) drawLabels(c, [...labelled].sort((a, b) => labelRank(a) - labelRank(b)));
  for (const message of chosen) {
    if (laneOf[messages.from[message]] === null || laneOf[messages.to[message]] === null) continue;
    drawLook(c, [message], colours[KINDS[messages.kind[message]]], messages.request[message] >= 0, 2.6, true);
  }
  drawLabels(c, [...chosen], true);
}

/** Where there is no room for all labels, requests go first, and heartbeats and what was lost last. */
function labelRank(message) {
  const beat = KINDS[messages.kind[message]] === "heartbeat";
  return (messages.request[message] >= 0 ? 1 : 0) + (beat ? 2 : 0) + (messages.state[message] === LOST ? 4 : 0);
}

/** Heartbeats lie below the rest. */
const rank = (look) => (KINDS[look >> 1] === "heartbeat" ? 0 : 1 + (look % 2 ? 0 : 1));

function drawLook(c, rows, colour, dashed, thick, withHeads) {
  c.strokeStyle = colour;
  c.fillStyle = colour;
  c.lineWidth = thick;
  c.setLineDash(dashed ? [5, 3] : []);
  c.beginPath();
  const heads = [];
  const losses = [];
  for (const message of rows) {
    const line = lineOf(message);
    if (!line) continue;
    c.moveTo(line[0], line[1]);
    c.lineTo(line[2], line[3]);
    if (messages.state[message] === ARRIVED) heads.push(line);
    else if (messages.state[message] === LOST) losses.push(line);
    for (const at of messages.again.get(message) || []) { // a duplicate
      c.moveTo(line[0], line[1]);
      c.lineTo(x(at), line[3]);
      heads.push([line[0], line[1], x(at), line[3]]);
    }
  }
  c.stroke();
  c.setLineDash([]);
  if (withHeads) drawHeads(c, heads, thick > 2 ? 10 : 7);
  if (losses.length) drawLosses(c, losses, thick);
}

function drawHeads(c, lines, size) {
  c.beginPath();
  for (const [x0, y0, x1, y1] of lines) {
    const length = Math.hypot(x1 - x0, y1 - y0) || 1;
    const [dx, dy] = [(x1 - x0) / length, (y1 - y0) / length];
    c.moveTo(x1, y1);
    c.lineTo(x1 - dx * size - dy * size * 0.4, y1 - dy * size + dx * size * 0.4);
    c.lineTo(x1 - dx * size + dy * size * 0.4, y1 - dy * size - dx * size * 0.4);
    c.closePath();
  }
  c.fill();
}

function drawLosses(c, lines, thick) {
  const before = c.globalAlpha;
  c.globalAlpha = Math.min(1, before * 1.3);
  c.strokeStyle = colours.bad;
  c.lineWidth = Math.max(1.3, thick);
  const arm = thick > 2 ? 5 : 3.5;
  c.beginPath();
  for (const [, , x1, y1] of lines) {
    c.moveTo(x1 - arm, y1 - arm);
    c.lineTo(x1 + arm, y1 + arm);
    c.moveTo(x1 + arm, y1 - arm);
    c.lineTo(x1 - arm, y1 + arm);
  }
  c.stroke();
  c.globalAlpha = before;
}

const labelOf = (message) => texts[messages.label[message]];

/** What messages say, beside their lines, wherever no other text is. */
function drawLabels(c, rows, always = false) {
  c.font = `${always ? 600 : 400} 11px ${FONT}`;
  c.textAlign = "left";
  c.textBaseline = "middle";
  const taken = [...textBoxes];
  for (const message of rows) {
    const line = lineOf(message);
    if (!line) continue;
    const lost = messages.state[message] === LOST ? ` ✗ ${texts[messages.lost[message]]}` : "";
    const text = labelOf(message) + lost;
    const wide = textWidth(c, text);
    for (const share of [0.5, 0.3, 0.7, 0.15, 0.85]) {
      const left = line[0] + (line[2] - line[0]) * share + 5;
      const y = line[1] + (line[3] - line[1]) * share;
      if (left < GUTTER + 2 || left + wide > width - 4 || y < AXIS + 8) continue;
      const box = [left - 3, y - 7, left + wide + 3, y + 7];
      const free = !taken.some((other) => overlap(box, other)) && !overRole(box);
      if (!free && !(always && share === 0.85)) continue;
      taken.push(box);
      c.lineWidth = 3.5;
      c.lineJoin = "round";
      c.strokeStyle = colours.page;
      c.globalAlpha = 0.85;
      c.strokeText(text, left, y);
      c.globalAlpha = 1;
      c.fillStyle = colours[KINDS[messages.kind[message]]];
      c.fillText(text, left, y);
      break;
    }
  }
}

const overlap = (a, b) => a[0] <= b[2] && b[0] <= a[2] && a[1] <= b[3] && b[1] <= a[3];

/** Whether a box would hide the role of a server, or a clerk's operation. */
function overRole(box) {
  return lanes.some((lane) => {
    if (lane.host < 0) return false;
    const top = laneTop(lane) + (isServer(lane.host) ? 3 : (CLERK - BAR) / 2);
    const bottom = laneTop(lane) + lane.height;
    if (hasFaults && isServer(lane.host) && box[3] > bottom - FAULTS && box[1] < bottom) return true;
    return box[3] > top && box[1] < top + (isServer(lane.host) ? ROLE + MARKS : BAR);
  });
}

/** The message pointed at or kept, with the reply or the request that goes with it. */
function chosenMessages() {
  const chosen = new Set();
  for (const thing of [view.kept, view.hovered]) {
    if (!thing || thing.type !== "message") continue;
    chosen.clear();
    chosen.add(thing.row);
    if (messages.request[thing.row] >= 0) chosen.add(messages.request[thing.row]);
    if (messages.reply[thing.row] >= 0) chosen.add(messages.reply[thing.row]);
  }
  return chosen;
}

/** The message nearest to a point, if it is near; among the chosen and the drawn ones. */
function messageAt(px, py) {
  let best = -1;
  let distance = 6; // px
  for (const message of [...chosenMessages(), ...drawn]) {
    const line = lineOf(message);
    if (!line) continue;
    const off = fromLine(px, py, line);
    if (off < distance) [best, distance] = [message, off];
  }
  return best;
}

function fromLine(px, py, [x0, y0, x1, y1]) {
  const [dx, dy] = [x1 - x0, y1 - y0];
  const share = Math.min(1, Math.max(0, ((px - x0) * dx + (py - y0) * dy) / (dx * dx + dy * dy || 1)));
  return Math.hypot(px - x0 - dx * share, py - y0 - dy * share);
}
