// What is under the pointer, and what is said of it.

/** { type, row, host }, or null: notes first, then intervals, messages, operations, faults, roles. */
function thingAt(px, py) {
  if (px < GUTTER || py < AXIS) return null;
  const lane = lanes.find((each) => py >= laneTop(each) && py < laneTop(each) + each.height);
  const note = lane ? noteAt(lane, px, py) : -1;
  if (note >= 0) return { type: "note", row: note, host: notes.host[note] };
  const interval = lane ? intervalAt(lane, px, py) : -1;
  if (interval >= 0) return { type: "interval", row: interval, host: lane.host };
  const call = lane && lane.host >= 0 ? callAt(lane, px, py) : -1;
  const message = messageAt(px, py);
  if (call >= 0 && (message < 0 || !isServer(lane.host))) return { type: "call", row: call, host: lane.host };
  if (message >= 0) return { type: "message", row: message, host: messages.from[message] };
  if (!lane) return null;
  const band = bandAt(lane, px, py);
  if (band >= 0) return { type: "band", row: band, host: lane.host };
  if (isServer(lane.host) && py < laneTop(lane) + 3 + ROLE) {
    const role = lastUpTo(roles[lane.host].start, timeAt(px));
    if (role >= 0) return { type: "role", row: role, host: lane.host };
  }
  return null;
}

/** The row nearest to `px` among ascending times, of those that `wanted` takes; -1 if none is near. */
function nearest(ats, px, wanted) {
  const middle = lowerBound(ats, timeAt(px));
  let best = -1;
  let distance = 6; // px
  const least = timeAt(px - 6);
  const greatest = timeAt(px + 6);
  for (let nth = middle - 1; nth >= 0 && ats[nth] >= least && best < 0; nth--) {
    if (wanted(nth)) [best, distance] = [nth, px - x(ats[nth])];
  }
  for (let nth = middle; nth < ats.length && ats[nth] <= greatest; nth++) {
    if (!wanted(nth)) continue;
    if (x(ats[nth]) - px < distance) best = nth;
    break;
  }
  return best;
}

function noteAt(lane, px, py) {
  const rows = lane.host < 0 ? runNotes : noteRows[lane.host];
  if (!rows.length || Math.abs(py - (noteY(rows[0]) ?? -99)) > 8) return -1;
  const ats = lane.host < 0 ? picked(notes.at, rows) : noteTimes[lane.host];
  const nth = nearest(ats, px, (each) => noteShown(rows[each]));
  return nth < 0 ? -1 : rows[nth];
}

function callAt(lane, px, py) {
  const rows = callRows[lane.host];
  const ats = callTimes[lane.host];
  if (isServer(lane.host)) {
    if (!shown.call || Math.abs(py - laneTop(lane) - 3 - ROLE - MARKS / 2) > 8) return -1;
    const nth = nearest(ats, px, () => true);
    return nth < 0 ? -1 : rows[nth];
  }
  for (let nth = lastUpTo(ats, timeAt(px + 3)); nth >= 0 && nth > lastUpTo(ats, timeAt(px + 3)) - 3; nth--) {
    if (x(shownEnd(rows[nth])) >= px - 3) return rows[nth];
  }
  return -1;
}

/** A fault that holds there; in a host's lane its own rather than one of the network. */
function bandAt(lane, px, py) {
  const slack = (view.to - view.from) * 0.002;
  const time = timeAt(px);
  const inStrip = !isServer(lane.host) || py > laneTop(lane) + lane.height - FAULTS - 3;
  const row = Math.floor((py - laneTop(lane) - 3) / BAND);
  let best = -1;
  bands.forEach((band, number) => {
    if (time < band.start - slack || time > band.end + slack) return;
    const parted = best < 0 && band.groups.some((group) => group.includes(lane.host));
    if (lane.host < 0 ? row === bandRow.get(band) : inStrip && (band.host === lane.host || parted)) best = number;
  });
  return best;
}

// -------------------------------------------------------------- what is said

function node(name, text, className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

function list(rows) {
  const made = document.createElement("dl");
  for (const [term, text, className] of rows) made.append(node("dt", term), node("dd", text, className));
  return made;
}

const at = (time) => `${seconds(time)} s`;

function fate(message) {
  const took = messages.end[message] - messages.sent[message];
  if (messages.state[message] === LOST) {
    return [["lost", `✗ ${texts[messages.lost[message]]}${took ? `, after ${lengthText(took)}` : ""}`, "bad"]];
  }
  if (messages.state[message] === UNDERWAY) return [["arrived", "not before the run's end"]];
  const rows = [["arrived", `${at(messages.end[message])}, after ${lengthText(took)}`]];
  for (const time of messages.again.get(message) || []) rows.push(["and again", at(time)]);
  return rows;
}

const way = (message) => `${shortName(messages.from[message])} → ${shortName(messages.to[message])}`;

function messageParts(message) {
  const { type, fields } = fieldsOf(message);
  const parts = [
    node("strong", `${way(message)}  ${labelOf(message)}`),
    list([
      ["method", `${texts[messages.method[message]]}${messages.request[message] >= 0 ? ", reply" : ""}`],
      ["sent", at(messages.sent[message])],
      ...fate(message),
      ["type", `${type || "bytes that are no message"}, ${messages.size[message]} bytes`],
      ...fields,
    ]),
  ];
  const other = messages.request[message] >= 0 ? messages.request[message] : messages.reply[message];
  if (other >= 0) {
    const isReply = messages.request[message] >= 0;
    parts.push(node("h3", `${isReply ? "its request" : "its reply"}: ${labelOf(other)}`));
    parts.push(list([["sent", at(messages.sent[other])], ...fate(other), ...fieldsOf(other).fields]));
  } else if (messages.request[message] < 0 && messages.state[message] === ARRIVED) {
    parts.push(node("h3", "no reply was sent"));
  }
  return parts;
}

function noteParts(note) {
  const kind = NOTE_KINDS[notes.kind[note]];
  const topic = texts[notes.topic[note]];
  const topicName = { annotate: "tag", print: "thread", report: "kind" }[kind];
  return [
    node("strong", `${SIGNS[kind][0]} ${texts[notes.text[note]]}`, kind === "report" ? "bad" : ""),
    list([
      ["on", hostName(notes.host[note])],
      ["what", kind],
      ...(topic && topicName ? [[topicName, topic]] : []),
      ["at", at(notes.at[note])],
    ]),
  ];
}

function intervalParts(interval) {
  const by = ENDED_BY[intervals.by[interval]];
  return [
    node("strong", `¶ ${texts[intervals.text[interval]]}`),
    list([
      ["on", hostName(intervals.host[interval])],
      ["tag", texts[intervals.topic[interval]]],
      ["lasted", `${intervalLength(interval)}${by ? `, to ${by}` : ""}`],
      ["from", at(intervals.start[interval])],
      ["to", at(intervals.end[interval])],
    ]),
  ];
}

function callParts(call) {
  const row = orderRow[call];
  const end = calls.end[call];
  const rows = [
    [isServer(calls.host[call]) ? "the test calls" : "client", hostName(calls.host[call])],
    ["called", at(calls.start[call])],
    ["returned", end === Infinity ? "never" : `${at(end)}, after ${lengthText(end - calls.start[call])}`],
  ];
  const parts = [node("strong", callText(call)), list(rows)];
  if (row < 0) return parts;
  const several = order.partitions.length > 1 ? ` of ${order.partitions[order.partition[row]]}` : "";
  const more = order.place[row]
    ? [
      ["in the order", `${order.place[row]} of ${order.of[row]}${several}`],
      ["takes effect", `about ${at(order.point[row])}`],
      ["state after", order.state[row]],
    ]
    : [["in the order", end === Infinity && !order.explanation ? "nowhere: it need not have happened"
      : `nowhere: the longest order that is right has ${order.of[row]} operations${several}`]];
  parts[1].append(...list(more).childNodes);
  if (order.culprit === call) parts.push(node("p", `✗ the culprit: ${order.explanation}`, "bad"));
  return parts;
}

function bandParts(band, host) {
  const { start, end, groups } = bands[band];
  const last = end >= data.end ? "the end of the run" : at(end);
  const rows = [["from", at(start)], ["to", `${last}, ${lengthText(end - start)}`]];
  const group = groups.find((each) => each.includes(host));
  if (group) rows.unshift([hostName(host), groupWords(host, group)]);
  const whose = bands[band].host >= 0 ? `${hostName(bands[band].host)}: ` : "";
  return [node("strong", whose + bandText(bands[band])), list(rows)];
}

function roleParts(row, host) {
  const all = roles[host];
  const role = all.role[row];
  return [
    node("strong", `${hostName(host)}: ${ROLES[role].word}${role === "-" || !role ? "" : ` of term ${all.term[row]}`}`),
    list([["from", at(all.start[row])], ["to", `${at(all.end[row])}, ${lengthText(all.end[row] - all.start[row])}`]]),
  ];
}

function partsOf(thing) {
  if (thing.type === "message") return messageParts(thing.row);
  if (thing.type === "note") return noteParts(thing.row);
  if (thing.type === "interval") return intervalParts(thing.row);
  if (thing.type === "call") return callParts(thing.row);
  if (thing.type === "band") return bandParts(thing.row, thing.host);
  return roleParts(thing.row, thing.host);
}

let tipOf = null;
function showTip(thing, px, py) {
  if (!tipOf || tip.hidden || tipOf.type !== thing.type || tipOf.row !== thing.row || tipOf.host !== thing.host) {
    tip.replaceChildren(...partsOf(thing));
    tipOf = thing;
  }
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  const left = px + 18 + box.width > window.innerWidth ? px - 18 - box.width : px + 18;
  const top = py + 18 + box.height > window.innerHeight ? py - 14 - box.height : py + 18;
  tip.style.left = `${Math.max(4, left)}px`;
  tip.style.top = `${Math.max(4, top)}px`;
}

function hideTip() {
  tip.hidden = true;
}

/** Shows what is kept, beside where it is. */
function showKept() {
  const thing = view.kept;
  if (!thing) return hideTip();
  const [px, py] = pointOf(thing);
  const box = chart.getBoundingClientRect();
  const inside = Math.min(Math.max(px, GUTTER), box.width - 20);
  return showTip(thing, box.left + inside, box.top + Math.min(Math.max(py, AXIS), box.height - 20));
}

function pointOf(thing) {
  if (thing.type === "message") {
    const line = lineOf(thing.row);
    return line ? [Math.max(line[0], line[2]), (line[1] + line[3]) / 2] : [x(messages.sent[thing.row]), AXIS];
  }
  if (thing.type === "call") {
    const lane = laneOf[thing.host];
    return [x(calls.start[thing.row]), lane ? laneTop(lane) + lane.height / 2 : AXIS];
  }
  if (thing.type === "interval") return [x(intervals.start[thing.row]), intervalY(thing.row) ?? AXIS];
  if (thing.type === "note") return [x(notes.at[thing.row]), noteY(thing.row) ?? AXIS];
  return [x(view.cursor), AXIS + 10];
}
