// Finding things, and choosing what is shown.

const FILTERS = [
  ["vote", "votes", "vote"], ["append", "appends", "append"], ["heartbeat", "heartbeats", "heartbeat"],
  ["snapshot", "snapshots", "snapshot"], ["client", "clerks'", "client"], ["other", "others", "other"],
  ["reply", "replies", "soft"], ["lost", "✗ lost", ""],
  ["apply", "● applies", ""], ["save", "▾ saves", ""], ["print", "» prints", ""], ["annotate", "¶ notes", ""],
  ["call", "▸ calls", ""],
];
const FILTER_TITLES = {
  vote: "RequestVote", append: "AppendEntries with entries", heartbeat: "AppendEntries without entries (key h)",
  snapshot: "InstallSnapshot", client: "messages between clerks and servers", other: "other messages",
  reply: "replies, dashed", lost: "messages that were lost", apply: "what servers hand to their service",
  save: "what servers hand to their disks", print: "what servers print",
  annotate: "what servers annotate, instants and intervals", call: "the test's calls on servers",
};

/** Filters of what the run does not have are left out. */
function isInRun(filter) {
  const kind = KINDS.indexOf(filter);
  if (kind >= 0) return messages.kind.includes(kind);
  if (filter === "lost") return messages.state.includes(LOST);
  if (filter === "reply") return messages.request.some((request) => request >= 0);
  if (filter === "call") return callRows.some((rows, host) => isServer(host) && rows.length);
  if (filter === "annotate" && intervals.count) return true;
  return NOTE_KINDS.some((name, number) => NOTE_FILTER[name] === filter && notes.kind.includes(number));
}

function buildFilters() {
  for (const [filter, name, colour] of FILTERS) {
    if (!isInRun(filter)) continue;
    const button = node("button", "");
    button.type = "button";
    button.dataset.filter = filter;
    button.title = FILTER_TITLES[filter];
    button.setAttribute("aria-pressed", String(shown[filter]));
    if (colour) {
      const sample = node("i", "", filter === "reply" ? "reply" : "");
      sample.style.color = `var(--${colour})`;
      button.append(sample);
    }
    button.append(name);
    button.addEventListener("click", () => toggle(filter));
    element("filters").append(button);
  }
}

function toggle(filter) {
  shown[filter] = !shown[filter];
  const button = document.querySelector(`[data-filter="${filter}"]`);
  if (button) button.setAttribute("aria-pressed", String(shown[filter]));
  filtered();
}

function filtered() {
  filterMessages();
  view.hovered = null;
  hideTip();
  showPanel();
  draw();
}

function buildLaneList() {
  hosts.forEach((_, host) => {
    const label = document.createElement("label");
    const box = document.createElement("input");
    box.type = "checkbox";
    box.checked = true;
    box.dataset.host = hosts[host];
    box.addEventListener("change", () => {
      if (box.checked) hiddenHosts.delete(host);
      else hiddenHosts.add(host);
      filtered();
    });
    label.append(box, ` ${hostName(host)}`);
    element("lane-list").append(label);
  });
}

// -------------------------------------------------------------- search

let hitEvents = []; // in order
let hit = -1;
let lowerTexts = null;
let lowerBodies = null;

function prepareSearch() {
  if (lowerTexts) return;
  lowerTexts = texts.map((text) => text.toLowerCase());
  lowerBodies = data.bodies.map(([shape, ...values]) => {
    const [type, names] = data.shapes[shape];
    return `${type} ${values.map((value, nth) => `${names[nth]}=${value}`).join(" ")}`.toLowerCase();
  });
}

/** All events that hold the text: what was sent with it, noted, called, or began. */
function find(text) {
  const wanted = text.trim().toLowerCase();
  hitEvents = [];
  hit = -1;
  if (wanted) {
    prepareSearch();
    const inText = Uint8Array.from(lowerTexts, (each) => each.includes(wanted));
    const inBody = Uint8Array.from(lowerBodies, (each) => each.includes(wanted));
    for (let event = 0; event < events.count; event++) if (isHit(event, wanted, inText, inBody)) hitEvents.push(event);
  }
  sayHits();
  draw();
}

function isHit(event, wanted, inText, inBody) {
  const row = events.row[event];
  switch (events.type[event]) {
    case SENT: return inText[messages.label[row]] || inText[messages.method[row]] || inBody[messages.body[row]];
    case LOSS: return inText[messages.lost[row]];
    case NOTE: return inText[notes.text[row]] || (notes.topic[row] && inText[notes.topic[row]]);
    case INTERVAL_BEGINS: return inText[intervals.text[row]] || inText[intervals.topic[row]];
    case CALLED: return inText[calls.text[row]] || (calls.end[row] !== Infinity && inText[calls.result[row]]);
    case BAND_BEGINS: case ROLE_BEGINS: return eventText(event).toLowerCase().includes(wanted);
    default: return false;
  }
}

function sayHits() {
  const field = element("search").value.trim();
  element("hits").textContent = !field ? "" : !hitEvents.length ? "no hit"
    : hit < 0 ? `${hitEvents.length} hit${hitEvents.length > 1 ? "s" : ""}` : `${hit + 1} of ${hitEvents.length}`;
  element("hits").classList.toggle("none", Boolean(field) && !hitEvents.length);
}

/** To the next hit after the cursor, or to the one before it. */
function nextHit(by) {
  if (!hitEvents.length) return;
  if (hit >= 0 && hitEvents[hit] === view.event) hit += by;
  else if (by > 0) hit = hitEvents.findIndex((event) => events.at[event] > view.cursor);
  else hit = hitEvents.findLastIndex((event) => events.at[event] < view.cursor);
  if (hit < 0 && by > 0) hit = 0;
  hit = (hit + hitEvents.length) % hitEvents.length;
  goTo(hitEvents[hit]);
  sayHits();
}
