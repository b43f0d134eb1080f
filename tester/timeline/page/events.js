// Everything that happens, in one order, for stepping, for the list at the cursor, and for searching.

const [SENT, ARRIVAL, LOSS, ROLE_BEGINS, NOTE, CALLED, RETURNED, BAND_BEGINS, BAND_ENDS, INTERVAL_BEGINS, INTERVAL_ENDS]
  = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
/** At one time, what comes from outside is before what it makes a server do. */
const RANKS = [5, 1, 6, 3, 4, 0, 7, 0, 0, 4, 4];

const events = (() => {
  const at = [];
  const type = [];
  const row = [];
  const host = [];
  const add = (time, what, which, where) => {
    at.push(time);
    type.push(what);
    row.push(which);
    host.push(where);
  };
  for (let i = 0; i < messages.count; i++) {
    add(messages.sent[i], SENT, i, messages.from[i]);
    if (messages.state[i] === ARRIVED) add(messages.end[i], ARRIVAL, i, messages.to[i]);
    if (messages.state[i] === LOST) add(messages.end[i], LOSS, i, messages.from[i]);
  }
  for (let i = 0; i < notes.count; i++) add(notes.at[i], NOTE, i, notes.host[i]);
  for (let i = 0; i < intervals.count; i++) {
    add(intervals.start[i], INTERVAL_BEGINS, i, intervals.host[i]);
    add(intervals.end[i], INTERVAL_ENDS, i, intervals.host[i]);
  }
  for (let i = 0; i < calls.count; i++) {
    add(calls.start[i], CALLED, i, calls.host[i]);
    if (calls.end[i] !== Infinity && !isServer(calls.host[i])) add(calls.end[i], RETURNED, i, calls.host[i]);
  }
  bands.forEach((band, i) => {
    add(band.start, BAND_BEGINS, i, band.host);
    if (band.end < data.end && band.end > band.start) add(band.end, BAND_ENDS, i, band.host);
  });
  roles.forEach((all, server) => {
    for (let i = 1; i < all.start.length; i++) {
      const same = all.role[i] === all.role[i - 1] && all.term[i] === all.term[i - 1];
      if (all.role[i] && all.role[i] !== "-" && !same) add(all.start[i], ROLE_BEGINS, i, server);
    }
  });
  const sorted = Int32Array.from(at.keys()).sort((a, b) => at[a] - at[b] || RANKS[type[a]] - RANKS[type[b]] || a - b);
  return {
    count: at.length,
    at: picked(at, sorted),
    type: picked(type, sorted, Uint8Array),
    row: picked(row, sorted, Int32Array),
    host: picked(host, sorted, Int32Array),
  };
})();

function thingOf(event) {
  const row = events.row[event];
  const host = events.host[event];
  switch (events.type[event]) {
    case NOTE: return { type: "note", row, host };
    case INTERVAL_BEGINS: case INTERVAL_ENDS: return { type: "interval", row, host };
    case CALLED: case RETURNED: return { type: "call", row, host };
    case BAND_BEGINS: case BAND_ENDS: return { type: "band", row, host };
    case ROLE_BEGINS: return { type: "role", row, host };
    default: return { type: "message", row, host };
  }
}

function eventShown(event) {
  const host = events.host[event];
  switch (events.type[event]) {
    case SENT: case ARRIVAL: case LOSS: return messageShown(events.row[event]);
    case NOTE: return noteShown(events.row[event]) && !hiddenHosts.has(host);
    case INTERVAL_BEGINS: case INTERVAL_ENDS: return shown.annotate && !hiddenHosts.has(host);
    case CALLED: case RETURNED: return !hiddenHosts.has(host) && (shown.call || !isServer(host));
    default: return !hiddenHosts.has(host);
  }
}

/** Whether an event is one of `host`'s; what concerns the whole network is every host's. */
const concerns = (event, host) => host < 0 || events.host[event] === host || events.host[event] < 0;

function eventText(event) {
  const row = events.row[event];
  switch (events.type[event]) {
    case SENT: return `→ ${shortName(messages.to[row])}  ${labelOf(row)}`;
    case ARRIVAL: return `← ${shortName(messages.from[row])}  ${labelOf(row)}`;
    case LOSS: return `✗ ${shortName(messages.to[row])}  ${labelOf(row)}: ${texts[messages.lost[row]]}`;
    case ROLE_BEGINS: {
      const all = roles[events.host[event]];
      return `${all.role[row]}  ${ROLES[all.role[row]].word} of term ${all.term[row]}`;
    }
    case NOTE: return `${SIGNS[NOTE_KINDS[notes.kind[row]]][0]} ${texts[notes.text[row]]}`;
    case INTERVAL_BEGINS: return `¶ begins ${intervalText(row)}`;
    case INTERVAL_ENDS: return `¶ ends, after ${intervalLength(row)}, ${intervalText(row)}`;
    case CALLED: return isServer(calls.host[row]) ? `▸ ${callText(row)}` : `▸ ${texts[calls.text[row]]}`;
    case RETURNED: return `◂ ${callText(row)}`;
    case BAND_BEGINS: return `begins: ${bandText(bands[row])}`;
    default: return `ends: ${bandText(bands[row])}`;
  }
}

/** Moves on (by 1) or back (by -1) to an event that is shown, of the chosen lane. */
function step(by) {
  let event = view.event;
  if (event < 0) event = by > 0 ? lowerBound(events.at, view.cursor) : lastUpTo(events.at, view.cursor);
  else event += by;
  while (event >= 0 && event < events.count && !(eventShown(event) && concerns(event, view.lane))) event += by;
  if (event >= 0 && event < events.count) goTo(event);
}

function goTo(event) {
  const thing = thingOf(event);
  view.event = event;
  view.cursor = events.at[event];
  view.kept = thing;
  view.hovered = null;
  const span = { message: [messages.sent, messages.end], interval: [intervals.start, intervals.end] }[thing.type];
  const length = span ? span[1][thing.row] - span[0][thing.row] : 0;
  reveal(view.cursor, events.host[event], length);
  showPanel();
  requestAnimationFrame(() => requestAnimationFrame(() => view.event === event && showKept())); // after it is drawn
}

/** To the call of the operation that has no place in the order, if there is one. */
function showCulprit() {
  if (!order || order.culprit === null) return;
  for (let event = 0; event < events.count; event++) {
    if (events.type[event] === CALLED && events.row[event] === order.culprit) return void goTo(event);
  }
}

/** Puts the cursor at a time, on no event. */
function moveCursor(time) {
  view.cursor = Math.min(Math.max(time, 0), END);
  view.event = -1;
  showPanel();
  draw();
  writeLink();
}
