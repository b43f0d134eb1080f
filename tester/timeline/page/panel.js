// The side panel: every server's state at the cursor, the events around it, and what servers printed.

const AROUND = 60; // events of either side
const PRINTED = 200;

function cell(text, className = "") {
  return node("td", text, className);
}

const numbers = (servers) => servers.map(shortName).join(" ");

function standing(host) {
  const { to, from } = cutOff(host, view.cursor);
  const both = new Set([...to].filter((other) => from.has(other)));
  const parts = [];
  if (isPaused(host, view.cursor)) parts.push("paused");
  if (both.size && both.size === SERVERS - 1) parts.push("cut off from all others");
  else {
    const others = [...both].filter((other) => !isDisconnected(other, view.cursor)); // theirs is said at themselves
    if (others.length) parts.push(`cut off from ${numbers(others)}`);
  }
  const oneWay = [...to].filter((other) => !both.has(other));
  if (oneWay.length) parts.push(`cannot reach ${numbers(oneWay)}`);
  const unheard = [...from].filter((other) => !both.has(other));
  if (unheard.length) parts.push(`does not hear ${numbers(unheard)}`);
  return parts.join("; ");
}

function stateRows(host) {
  const role = roleAt(host, view.cursor);
  const known = progressAt(host, view.cursor);
  const row = document.createElement("tr");
  row.dataset.host = hosts[host];
  const letter = role ? role.role : "";
  const chip = node("span", role ? letter : "?", `chip chip-${letter === "-" ? "down" : letter}`);
  chip.title = role ? ROLES[letter].word : "has not started";
  const holder = cell("");
  holder.append(chip);
  const { last, lastTerm, commit, applied } = known || {};
  const lastCell = cell(known ? `${last} (t${lastTerm})` : "");
  lastCell.title = known ? `index ${last} of term ${lastTerm}` : "";
  row.append(cell(hosts[host]), holder, cell(letter ? role.term : ""), lastCell, cell(known ? commit : ""),
    cell(known ? applied : ""));
  const rows = [row];
  const trouble = standing(host);
  if (trouble) {
    const more = document.createElement("tr");
    const text = cell(`⚠ ${trouble}`, "status");
    text.colSpan = 6;
    more.append(text);
    rows.push(more);
  }
  for (const each of rows) {
    each.classList.toggle("chosen", host === view.lane);
    each.addEventListener("click", () => choose(view.lane === host ? -1 : host));
  }
  return rows;
}

function eventItem(event) {
  const item = document.createElement("li");
  const host = events.host[event];
  const text = eventText(event);
  item.append(node("time", seconds(events.at[event], 1000)), node("b", shortName(host)), node("span", text));
  item.title = `${hostName(host)} at ${at(events.at[event])}: ${text}`;
  item.classList.toggle("here", event === view.event);
  item.addEventListener("click", () => goTo(event));
  return item;
}

/** The events on both sides of the cursor, of the chosen lane and as filtered. */
function eventItems() {
  const middle = view.event >= 0 ? view.event : lowerBound(events.at, view.cursor);
  const wanted = (event) => eventShown(event) && concerns(event, view.lane);
  const before = [];
  for (let event = middle - 1; event >= 0 && before.length < AROUND; event--) if (wanted(event)) before.push(event);
  const after = [];
  for (let event = middle; event < events.count && after.length < AROUND; event++) if (wanted(event)) after.push(event);
  const items = before.reverse().map(eventItem);
  if (view.event < 0) items.push(node("li", "", "now"));
  items.push(...after.map(eventItem));
  return items.length > 1 ? items : [node("li", "nothing", "none")];
}

/** What servers printed and annotated: when, where, the text, and the thing itself. */
const printed = [...notes.kind.keys()].filter((note) => ["print", "annotate"].includes(NOTE_KINDS[notes.kind[note]]))
  .map((row) => ({ type: "note", row, host: notes.host[row] }))
  .concat([...intervals.text.keys()].map((row) => ({ type: "interval", row, host: intervals.host[row] })))
  .map((thing) => [timeOf(thing), thing]).sort(([a], [b]) => a - b);
const printedTimes = Float64Array.from(printed, ([time]) => time);

function timeOf({ type, row }) {
  return type === "note" ? notes.at[row] : intervals.start[row];
}

function printedText({ type, row }) {
  if (type === "interval") {
    return `[${texts[intervals.topic[row]]}] ${texts[intervals.text[row]]} (${intervalLength(row)})`;
  }
  const tag = NOTE_KINDS[notes.kind[row]] === "annotate" && notes.topic[row] ? `[${texts[notes.topic[row]]}] ` : "";
  return tag + texts[notes.text[row]];
}

function printedItems() {
  const rows = [];
  for (let nth = lastUpTo(printedTimes, view.cursor); nth >= 0 && rows.length < PRINTED; nth--) {
    if (view.lane < 0 || printed[nth][1].host === view.lane) rows.push(printed[nth]);
  }
  const nothing = printed.length ? "nothing up to here" : "no server printed or annotated anything";
  if (!rows.length) return [node("li", nothing, "none")];
  return rows.reverse().map(([time, thing]) => {
    const item = document.createElement("li");
    item.append(node("time", seconds(time, 1000)), node("b", shortName(thing.host)), node("span", printedText(thing)));
    item.addEventListener("click", () => {
      view.kept = thing;
      moveCursor(time);
      reveal(view.cursor, thing.host);
    });
    return item;
  });
}

let panelWaiting = false;
function showPanel() {
  if (panelWaiting) return;
  panelWaiting = true;
  requestAnimationFrame(() => {
    panelWaiting = false;
    fillPanel();
  });
}

function fillPanel() {
  if (element("panel").offsetParent === null) return;
  element("cursor-time").textContent = `${seconds(view.cursor)} s`;
  const servers = hosts.map((_, host) => host).filter(isServer);
  document.querySelector("#states tbody").replaceChildren(...servers.flatMap(stateRows));
  const weather = runBands.filter((band) => holds(band, view.cursor));
  element("network").textContent = weather.map((band) => `⚠ ${bandText(band)}`).join("\n");
  const of = view.lane >= 0 ? `of ${hostName(view.lane)}` : "around the cursor";
  element("events-of").textContent = of;
  element("printed-of").textContent = `${view.lane >= 0 ? `by ${hostName(view.lane)}, ` : ""}up to the cursor`;
  const list = element("events");
  list.replaceChildren(...eventItems());
  const here = list.querySelector(".here, .now");
  if (here) list.scrollTop = here.offsetTop - list.offsetTop - list.clientHeight / 2 + here.clientHeight / 2;
  const lines = element("printed");
  lines.replaceChildren(...printedItems());
  lines.scrollTop = lines.scrollHeight;
}

/** Chooses a lane; -1: none. */
function choose(host) {
  view.lane = host;
  view.event = -1;
  showPanel();
  draw();
  writeLink();
}
