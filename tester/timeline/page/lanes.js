// What stands in a lane: roles, indices, faults, notes. Of what falls on one pixel, one thing is drawn.

let colours = {};
function readColours() {
  const style = getComputedStyle(document.documentElement);
  const names = ["page", "lane", "line", "text", "soft", "bad", "bad-fill", "bad-text", "good", "placed", "placed-edge",
    "placed-text", "path", "f", "f-text", "c", "c-text", "l", "l-edge", "l-text", "down", "down-text", "vote", "append",
    "heartbeat", "snapshot", "client", "other", "fault", "fault-fill", "last-line", "commit-line", "applied-fill",
    "cursor", "hit", "rest", "rest-edge", "rest-text", "panel", "interval", "interval-edge", "interval-text"];
  colours = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

const ROLES = {
  L: { fill: "l", text: "l-text", word: "leader" },
  C: { fill: "c", text: "c-text", word: "candidate" },
  F: { fill: "f", text: "f-text", word: "follower" },
  "-": { fill: "down", text: "down-text", word: "down" },
  "": { word: "up" }, // nobody sends messages of Raft
};

let textBoxes = []; // px, of the texts in the lanes: labels of messages keep off them
const widths = new Map(); // of texts in the chart's fonts: measuring is slow
function textWidth(c, text) {
  const key = c.font + text;
  let found = widths.get(key);
  if (found === undefined) {
    if (widths.size > 20000) widths.clear();
    widths.set(key, (found = c.measureText(text).width));
  }
  return found;
}

function clipped(c, text, room) {
  const line = text.replace(/\s*\n\s*/g, " ⏎ ");
  if (textWidth(c, line) <= room) return line;
  let low = 0;
  let high = Math.min(line.length, Math.ceil(room / 3));
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (c.measureText(`${line.slice(0, middle)}…`).width <= room) low = middle;
    else high = middle - 1;
  }
  return low ? `${line.slice(0, low)}…` : "";
}

function hatch(c, left, top, wide, high, colour, gap = 7) {
  c.save();
  c.beginPath();
  c.rect(left, top, wide, high);
  c.clip();
  c.strokeStyle = colour;
  c.lineWidth = 1;
  c.beginPath();
  for (let px = left - (left % gap) - high; px < left + wide; px += gap) {
    c.moveTo(px, top + high);
    c.lineTo(px + high, top);
  }
  c.stroke();
  c.restore();
}

// -------------------------------------------------------------- roles

function drawRoles(c, lane) {
  const all = roles[lane.host];
  const top = laneTop(lane) + 3;
  let drawnTo = -1;
  for (let i = Math.max(0, lastUpTo(all.start, view.from)); i < all.start.length && all.start[i] <= view.to; i++) {
    const left = Math.max(x(all.start[i]), GUTTER);
    const right = Math.min(x(all.end[i]), width);
    if (right < GUTTER || right < drawnTo + 0.5 || !all.role[i]) continue;
    drawnTo = right;
    const look = ROLES[all.role[i]];
    const wide = Math.max(right - left, 1);
    if (all.role[i] === "-") {
      hatch(c, left, top, wide, ROLE, colours["down-text"], 6);
      c.strokeStyle = colours["down-text"];
      c.lineWidth = 1;
      c.strokeRect(left + 0.5, top + 0.5, wide - 1, ROLE - 1);
    } else {
      c.fillStyle = colours[look.fill];
      c.fillRect(left, top, wide, ROLE);
      if (all.role[i] === "L") { // a leader has a frame, too
        c.fillStyle = colours["l-edge"];
        c.fillRect(left, top, wide, 2.5);
        c.fillRect(left, top + ROLE - 2.5, wide, 2.5);
      }
    }
    if (wide > 3) { // where one ends and the next begins
      c.fillStyle = colours.page;
      c.fillRect(right - 1, top, 1, ROLE);
    }
  }
}

function drawRoleTexts(c, lane) {
  const all = roles[lane.host];
  const middle = laneTop(lane) + 3 + ROLE / 2 + 0.5;
  c.textBaseline = "middle";
  c.textAlign = "left";
  for (let i = Math.max(0, lastUpTo(all.start, view.from)); i < all.start.length && all.start[i] <= view.to; i++) {
    const left = Math.max(x(all.start[i]), GUTTER);
    const room = Math.min(x(all.end[i]), width) - left - 6;
    if (room < 7 || !all.role[i]) continue;
    const { role, term } = { role: all.role[i], term: all.term[i] };
    const down = role === "-";
    c.font = `${role === "F" || down ? 500 : 700} 12px ${FONT}`;
    const long = down ? "down" : `${role} · term ${term}`;
    const short = down ? "-" : `${role}${term}`;
    const text = [long, short, role].find((each) => textWidth(c, each) <= room);
    if (!text) continue;
    if (down) {
      c.fillStyle = lane.number % 2 ? colours.page : colours.lane;
      c.fillRect(left + 3, middle - 7, textWidth(c, text) + 6, 14);
    }
    c.fillStyle = colours[ROLES[role].text];
    c.fillText(text, left + 5, middle);
  }
}

// -------------------------------------------------------------- indices

/** The lowest commit and the highest last index of all lanes in view: lanes are drawn to one scale. */
function scaleOfIndices() {
  let low = Infinity;
  let high = 0;
  for (const { host } of lanes) {
    if (!isServer(host)) continue;
    const all = progress[host];
    const first = Math.max(0, lastUpTo(all.at, view.from));
    const end = lowerBound(all.at, view.to);
    const stride = Math.max(1, Math.floor((end - first) / 2000));
    for (let i = first; i < end; i += stride) {
      low = Math.min(low, all.applied[i] || all.commit[i], all.last[i]);
      high = Math.max(high, all.last[i], all.commit[i]);
    }
  }
  if (low > high) return [0, 1];
  if (low < high * 0.3 || high < 8) low = 0;
  return [low, Math.max(high, low + 4)];
}

function progressRoom(lane) {
  const top = laneTop(lane) + 3 + ROLE + MARKS + intervalRoom(lane.host) + 2;
  const bottom = laneTop(lane) + lane.height - (hostBands[lane.host].length || hasGroups ? FAULTS + 3 : 3);
  return [top, bottom];
}

const hasGroups = bands.some((band) => band.groups.length);
const hasFaults = hasGroups || bands.some((band) => band.hosts.length);

function drawProgress(c, lane, [low, high]) {
  const all = progress[lane.host];
  const [top, bottom] = progressRoom(lane);
  if (!hasLog || bottom - top < 8 || !all.at.length) return;
  const y = (index) => bottom - ((Math.max(index, low) - low) / (high - low)) * (bottom - top - 1);
  const first = Math.max(0, lastUpTo(all.at, view.from));
  const steps = []; // [px, row]: one a pixel, the last
  for (let i = first; i < all.at.length && all.at[i] <= view.to; i++) {
    const px = Math.max(x(all.at[i]), GUTTER);
    if (steps.length && px - steps[steps.length - 1][0] < 1) steps[steps.length - 1][1] = i;
    else steps.push([px, i]);
  }
  if (!steps.length) return;
  const right = Math.min(width, x(END));
  const trace = (values, begin) => {
    steps.forEach(([px, i], nth) => {
      const level = y(values[i]);
      if (nth === 0 && begin) c.moveTo(px, level);
      else c.lineTo(px, level);
      c.lineTo(nth + 1 < steps.length ? steps[nth + 1][0] : right, level);
    });
  };
  c.fillStyle = colours["applied-fill"];
  c.beginPath();
  c.moveTo(steps[0][0], bottom);
  trace(all.applied, false);
  c.lineTo(right, bottom);
  c.fill();
  for (const [values, colour, thick] of [[all.last, "last-line", 1], [all.commit, "commit-line", 1.8]]) {
    c.strokeStyle = colours[colour];
    c.lineWidth = thick;
    c.beginPath();
    trace(values, true);
    c.stroke();
  }
  drawIndexTexts(c, all, steps, y, top, bottom);
}

/** The last index where it changes, as far as there is room; the commit index where that is another. */
function drawIndexTexts(c, all, steps, y, top, bottom) {
  c.font = `10px ${FONT}`;
  c.textAlign = "left";
  c.textBaseline = "alphabetic";
  let room = GUTTER;
  let before = -1;
  for (const [px, i] of steps) {
    const last = all.last[i];
    if (last === before || px < room || last === 0) continue;
    const text = all.commit[i] === last ? `${last}` : `${last}, commit ${all.commit[i]}`;
    const level = Math.min(Math.max(y(last) - 2, top + 8), bottom - 1);
    c.lineWidth = 3;
    c.strokeStyle = colours.page;
    c.globalAlpha = 0.8;
    c.strokeText(text, px + 3, level);
    c.globalAlpha = 1;
    c.fillStyle = colours.soft;
    c.fillText(text, px + 3, level);
    room = px + 12 + textWidth(c, text);
    textBoxes.push([px, level - 9, room, level + 2]);
    before = last;
  }
}

// -------------------------------------------------------------- faults

const FAULT_WORDS = {
  disconnected: () => "disconnected: reaches nobody",
  cut: (band) => `cut off from ${band.hosts.slice(1).map(shortName).join(" ")}`,
  paused: () => "paused",
  clock: (band) => `clock: ${band.detail.replace(/^\S+ /, "")}`,
};

function groupWords(host, group) {
  const others = group.filter((each) => each !== host && isServer(each)).map(shortName);
  return others.length ? `only with ${others.join(" ")}` : "alone";
}

function drawFaults(c, lane) {
  const server = isServer(lane.host);
  const top = laneTop(lane);
  const strip = top + lane.height - FAULTS - 1;
  let textFrom = GUTTER;
  const one = (start, end, text, whole) => {
    const left = Math.max(x(start), GUTTER);
    const right = Math.min(x(end), width);
    if (right < GUTTER || left > width) return;
    const wide = Math.max(right - left, start === end ? 2 : 1);
    c.fillStyle = colours["fault-fill"];
    if (whole) c.fillRect(left, top, wide, lane.height);
    if (whole && wide > 3) hatch(c, left, top + 3 + ROLE, wide, lane.height - 3 - ROLE, colours["fault-fill"], 9);
    c.fillStyle = colours.fault;
    if (server) c.fillRect(left, strip + FAULTS - 1.5, wide, 2);
    else c.fillRect(left, top + lane.height - 3, wide, 2);
    c.font = `600 10.5px ${FONT}`;
    const from = Math.max(left + 3, textFrom);
    const room = right - from - 3;
    if (server && room > 26) {
      c.textAlign = "left";
      c.textBaseline = "middle";
      const label = clipped(c, text, room);
      c.fillText(label, from, strip + FAULTS / 2 - 1);
      textFrom = from + textWidth(c, label) + 12;
    }
  };
  for (const band of runBands) {
    if (band.kind !== "partition" || band.end < view.from || band.start > view.to) continue;
    const group = band.groups.find((each) => each.includes(lane.host));
    if (group) one(band.start, band.end, groupWords(lane.host, group), isMinority(group));
  }
  for (const band of hostBands[lane.host]) {
    if (band.end < view.from || band.start > view.to) continue;
    one(band.start, band.end, bandText(band), band.kind !== "cut");
  }
}

const isMinority = (group) => group.filter(isServer).length <= SERVERS / 2;

function drawNetwork(c, lane) {
  const top = laneTop(lane) + 3;
  c.textBaseline = "middle";
  c.textAlign = "left";
  for (const band of runBands) {
    const left = Math.max(x(band.start), GUTTER);
    const right = Math.min(x(band.end), width);
    if (right < GUTTER || left > width) continue;
    const y = top + bandRow.get(band) * BAND;
    const wide = Math.max(right - left, 2);
    c.fillStyle = colours["fault-fill"];
    c.fillRect(left, y, wide, BAND - 2);
    c.fillStyle = colours.fault;
    c.fillRect(left, y, 2, BAND - 2);
    c.fillRect(left, y + BAND - 3.5, wide, 1.5);
    c.font = `600 11px ${FONT}`;
    if (wide > 22) c.fillText(clipped(c, bandText(band), wide - 8), left + 6, y + BAND / 2 - 1);
  }
  drawMarks(c, runNotes, picked(notes.at, runNotes), top + rowEnds.length * BAND + BAND / 2 - 1);
}

function bandText(band) {
  if (band.host >= 0) return (FAULT_WORDS[band.kind] || (() => `${band.kind} ${band.detail}`))(band);
  if (band.kind === "partition") {
    return `partition ${band.groups.map((group) => group.map(shortName).join(" ") || "nobody").join("  |  ")}`;
  }
  return band.detail ? `${band.kind}: ${band.detail}` : band.kind;
}

// -------------------------------------------------------------- notes

const SIGNS = {
  boot: ["▲", "good", "starts"], crash: ["✖", "bad", "crashes"], shutdown: ["■", "soft", "is shut down"],
  save: ["▿", "soft", "hands its state to its disk"], saved: ["▾", "soft", "its state is durable"],
  apply: ["●", "append", "applies an entry"], snapshot: ["◆", "snapshot", "takes a snapshot"],
  print: ["»", "text", "prints"], annotate: ["¶", "path", "annotates"], report: ["!", "bad", "is reported"],
  call: ["▸", "other", "the test calls it"],
};
const WORDED = new Set(["print", "annotate", "report"]); // they have their text beside them
const WEIGHT = { crash: 3, report: 3, boot: 2, shutdown: 2, snapshot: 2, annotate: 2, print: 1 };

function drawMarks(c, rows, ats, y) {
  c.textBaseline = "middle";
  c.textAlign = "center";
  let room = -Infinity; // px, where the next small one may be
  let strongRoom = -Infinity;
  const labels = [];
  const first = lowerBound(ats, view.from - (view.to - view.from) * 0.3); // a text may come from left of the view
  for (let nth = first; nth < rows.length && ats[nth] <= view.to; nth++) {
    const note = rows[nth];
    if (!noteShown(note)) continue;
    const kind = NOTE_KINDS[notes.kind[note]];
    const weight = WEIGHT[kind] || 0;
    const px = x(ats[nth]);
    const before = labels[labels.length - 1];
    if (before && kind !== "saved") before.to = Math.min(before.to, px - 7);
    if (weight > 1 ? px < strongRoom : px < room) continue;
    if (weight > 1) strongRoom = px + 6;
    room = px + 5;
    if (WORDED.has(kind)) labels.push({ note, from: px + 7, to: width, kind });
    if (px >= GUTTER - 4) drawSign(c, kind, px, y);
  }
  c.textAlign = "left";
  for (const { note, from, to, kind } of labels) {
    const left = Math.max(from, GUTTER + 2);
    const report = kind === "report";
    if (to - left < 24 && !report) continue;
    c.font = `${report ? 600 : 400} 11px ${FONT}`;
    c.fillStyle = colours[report ? "bad" : "soft"];
    const topic = kind === "annotate" && notes.topic[note] ? `${texts[notes.topic[note]]}: ` : "";
    const text = clipped(c, (topic + texts[notes.text[note]]).slice(0, 200), report ? 420 : Math.min(to - left, 420));
    const leftwards = report && textWidth(c, text) > to - left; // reports are at the end of a run, as a rule
    c.fillText(text, leftwards ? from - 14 - textWidth(c, text) : left, y + 0.5);
  }
}

function drawSign(c, kind, px, y) {
  const [sign, colour] = SIGNS[kind];
  c.fillStyle = colours[colour];
  if (kind === "apply") {
    c.beginPath();
    c.arc(px, y, 2.4, 0, 2 * Math.PI);
    c.fill();
    return;
  }
  const strong = (WEIGHT[kind] || 0) > 1;
  c.font = `${strong ? 700 : 500} ${strong ? 12 : 10.5}px ${FONT}`;
  c.fillText(sign, px, y + 0.5);
}

/** The test's calls on a server: a tick where each begins. */
function drawServerCalls(c, lane) {
  if (!shown.call) return;
  const rows = callRows[lane.host];
  const ats = callTimes[lane.host];
  const y = marksY(lane);
  c.textAlign = "center";
  c.textBaseline = "middle";
  let room = -Infinity;
  for (let nth = lowerBound(ats, view.from); nth < rows.length && ats[nth] <= view.to; nth++) {
    const px = x(ats[nth]);
    if (px < room) continue;
    room = px + 5;
    drawSign(c, "call", px, y);
  }
}

/** Where notes are in a host's lane. */
const marksY = (lane) => laneTop(lane) + (isServer(lane.host) ? 3 + ROLE + MARKS / 2 : CLERK - 4);

const noteY = (note) => {
  const lane = notes.host[note] < 0 ? lanes[0] : laneOf[notes.host[note]];
  if (!lane) return null;
  if (notes.host[note] < 0) return laneTop(lane) + 3 + rowEnds.length * BAND + BAND / 2 - 1;
  return marksY(lane);
};
