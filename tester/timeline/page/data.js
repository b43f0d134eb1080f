// The run, unpacked into typed arrays. The page's scripts are one module; what there is comes from page_data.py.

const element = (id) => document.getElementById(id);

async function unpacked() {
  const letters = atob(element("run").textContent);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
}

const data = await unpacked();
const { texts, hosts } = data;
const END = Math.max(data.end, 1);
const SERVERS = data.servers;
const isServer = (host) => host >= 0 && host < SERVERS;

function hostName(host) {
  if (host < 0) return "the run";
  return isServer(host) ? `server ${hosts[host]}` : `clerk ${hosts[host].replace(/^c/, "")}`;
}
const shortName = (host) => (host < 0 ? "" : hosts[host]);

/** Times from their differences. */
function times(differences) {
  const all = new Float64Array(differences.length);
  let now = 0;
  for (let i = 0; i < differences.length; i++) all[i] = now += differences[i];
  return all;
}

/** The first position of an ascending array whose value is not below `value`. */
function lowerBound(ascending, value) {
  let low = 0;
  let high = ascending.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ascending[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The last position of an ascending array whose value is not above `value`; -1 if there is none. */
function lastUpTo(ascending, value) {
  let low = 0;
  let high = ascending.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ascending[middle] <= value) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

const messages = (() => {
  const m = data.messages;
  const count = m.sent.length;
  const sent = times(m.sent);
  const end = new Float64Array(count); // when it arrived or was lost; the run's end if neither was seen
  const state = new Uint8Array(count); // ARRIVED, LOST, UNDERWAY
  const request = new Int32Array(count).fill(-1);
  const reply = new Int32Array(count).fill(-1);
  for (let i = 0; i < count; i++) {
    end[i] = m.took[i] === null ? END : sent[i] + m.took[i];
    state[i] = m.took[i] === null ? 2 : m.lost[i] ? 1 : 0;
    if (m.request[i]) {
      request[i] = i - m.request[i];
      if (reply[request[i]] < 0) reply[request[i]] = i;
    }
  }
  const again = new Map();
  for (const [place, took] of m.again) {
    if (!again.has(place)) again.set(place, []);
    again.get(place).push(sent[place] + took);
  }
  return {
    count, sent, end, state, request, reply, again, lost: m.lost, label: m.label, body: m.body, method: m.method,
    size: m.size, from: Int32Array.from(m.from), to: Int32Array.from(m.to), kind: Uint8Array.from(m.kind),
  };
})();
const [ARRIVED, LOST, UNDERWAY] = [0, 1, 2];
const KINDS = data.message_kinds;

const notes = {
  count: data.notes.at.length,
  at: times(data.notes.at),
  host: Int32Array.from(data.notes.host),
  kind: Uint8Array.from(data.notes.kind),
  text: data.notes.text,
  topic: data.notes.topic,
};
const NOTE_KINDS = data.note_kinds;

const intervals = (() => {
  const start = times(data.intervals.start);
  return {
    count: start.length, start, end: start.map((time, i) => time + data.intervals.took[i]),
    host: Int32Array.from(data.intervals.host), text: data.intervals.text, topic: data.intervals.topic,
    by: data.intervals.by,
  };
})();

const calls = {
  count: data.calls.start.length,
  start: times(data.calls.start),
  end: new Float64Array(data.calls.start.length), // Infinity: never
  host: Int32Array.from(data.calls.host),
  text: data.calls.text,
  result: data.calls.result,
};
for (let i = 0; i < calls.count; i++) {
  calls.end[i] = data.calls.took[i] === null ? Infinity : calls.start[i] + data.calls.took[i];
}

const callText = (call) =>
  `${texts[calls.text[call]]}${calls.end[call] === Infinity ? " … never returned" : ` → ${texts[calls.result[call]]}`}`;

/** For each host the rows of a table that are about it, in order. */
function byHost(column) {
  const rows = hosts.map(() => []);
  for (let i = 0; i < column.length; i++) if (column[i] >= 0) rows[column[i]].push(i);
  return rows.map((each) => Int32Array.from(each));
}

const picked = (values, rows, kind = Float64Array) => kind.from(rows, (row) => values[row]);

const noteRows = byHost(notes.host);
const noteTimes = noteRows.map((rows) => picked(notes.at, rows));
const callRows = byHost(calls.host);
const callTimes = callRows.map((rows) => picked(calls.start, rows));

const roles = (() => {
  const starts = times(data.roles.start);
  return byHost(data.roles.host).map((rows) => ({
    start: picked(starts, rows),
    end: Float64Array.from(rows, (row) => starts[row] + data.roles.took[row]),
    role: Array.from(rows, (row) => data.roles.role[row]),
    term: Array.from(rows, (row) => data.roles.term[row]),
  }));
})();

const progress = (() => {
  const at = times(data.progress.at);
  return byHost(data.progress.host).map((rows) => ({
    at: picked(at, rows),
    last: picked(data.progress.last_index, rows),
    lastTerm: picked(data.progress.last_term, rows),
    commit: picked(data.progress.commit_index, rows),
    applied: picked(data.progress.applied_index, rows),
  }));
})();

const { bands, order } = data;
for (const band of bands) band.host = band.hosts.length ? band.hosts[0] : -1; // whom it is about; -1: everybody

/** For each call its row in the order of operations; -1: it has none. */
const orderRow = new Int32Array(calls.count).fill(-1);
if (order) order.call.forEach((call, row) => { orderRow[call] = row; });

/** What is known of a server at a time: null before it starts. */
function roleAt(host, time) {
  const all = roles[host];
  const at = lastUpTo(all.start, time);
  return at < 0 ? null : { role: all.role[at], term: all.term[at] };
}

function progressAt(host, time) {
  const all = progress[host];
  const at = lastUpTo(all.at, time);
  if (at < 0) return null;
  return { last: all.last[at], lastTerm: all.lastTerm[at], commit: all.commit[at], applied: all.applied[at] };
}

const holds = (band, time) => band.start <= time && (time < band.end || (band.end >= data.end && time >= band.end));

/** The servers that `host` cannot reach at a time, and those that cannot reach it, by the faults of the network. */
function cutOff(host, time) {
  const active = bands.filter((band) => holds(band, time));
  const to = new Set();
  const from = new Set();
  for (let other = 0; other < SERVERS; other++) {
    if (other === host) continue;
    for (const band of active) {
      const parted = band.kind === "disconnected" && (band.hosts.includes(host) || band.hosts.includes(other));
      const mine = band.groups.findIndex((group) => group.includes(host));
      const theirs = band.groups.findIndex((group) => group.includes(other));
      const apart = mine >= 0 && theirs >= 0 && mine !== theirs;
      const cut = band.kind === "cut" ? band.hosts.join() : "";
      if (parted || apart || cut === `${host},${other}`) to.add(other);
      if (parted || apart || cut === `${other},${host}`) from.add(other);
    }
  }
  return { to, from };
}

const isFaulty = (kind, host, time) =>
  bands.some((band) => band.kind === kind && band.host === host && holds(band, time));
const isPaused = (host, time) => isFaulty("paused", host, time);
const isDisconnected = (host, time) => isFaulty("disconnected", host, time);

function fieldsOf(message) {
  const body = data.bodies[messages.body[message]];
  const [type, names] = data.shapes[body[0]];
  return { type, fields: names.map((name, nth) => [name, String(body[nth + 1])]) };
}
