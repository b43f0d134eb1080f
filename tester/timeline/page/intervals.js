// Annotations that last: bars in their host's lane, in as few rows as ever hold together there.

const INTERVAL = 15; // px, a row of them
const MOST_INTERVAL_ROWS = 4; // further ones lie over each other in the last

/** By host, by row: its intervals in order, and of each the latest end of those up to it. */
const intervalRows = byHost(intervals.host).map((all) => {
  const layers = [];
  for (const interval of all) {
    let layer = layers.find((each) => each.end <= intervals.start[interval]);
    if (!layer && layers.length < MOST_INTERVAL_ROWS) layers.push((layer = { rows: [], latestEnd: [], end: 0 }));
    layer ||= layers[layers.length - 1];
    layer.end = Math.max(layer.end, intervals.end[interval]);
    layer.rows.push(interval);
    layer.latestEnd.push(layer.end);
  }
  return layers;
});

const intervalRoom = (host) => (shown.annotate ? intervalRows[host].length * INTERVAL : 0);
const intervalsTop = (lane) => laneTop(lane) + (isServer(lane.host) ? 3 + ROLE + MARKS : CLERK - 1);
const intervalText = (interval) => `${texts[intervals.topic[interval]]}: ${texts[intervals.text[interval]]}`;
const intervalLength = (interval) => lengthText(intervals.end[interval] - intervals.start[interval]);

/** What ended it, if its code did not. */
const ENDED_BY = { crash: "the crash", shutdown: "the shutdown", run: "the end of the run" };

function drawIntervals(c, lane) {
  if (!shown.annotate) return;
  intervalRows[lane.host].forEach(({ rows, latestEnd }, nth) => {
    const top = intervalsTop(lane) + nth * INTERVAL + 1;
    let drawnTo = -1;
    for (let i = lowerBound(latestEnd, view.from); i < rows.length && intervals.start[rows[i]] <= view.to; i++) {
      const interval = rows[i];
      const left = Math.max(x(intervals.start[interval]), GUTTER - 12);
      const right = Math.max(Math.min(x(intervals.end[interval]), width + 12), left + 2);
      const marked = isMarked("interval", interval);
      if (right < GUTTER || (right < drawnTo + 1 && !marked)) continue;
      drawnTo = Math.max(right, drawnTo);
      c.fillStyle = colours[right - left > 4 ? "interval" : "interval-edge"];
      c.fillRect(left, top, right - left, INTERVAL - 2);
      c.fillStyle = colours["interval-edge"];
      c.fillRect(left, top, 2, INTERVAL - 2);
      c.fillRect(left, top + INTERVAL - 3, right - left, 1);
      if (intervals.by[interval] === "crash" && right < width) {
        c.fillStyle = colours.bad;
        c.fillRect(right - 2, top, 2, INTERVAL - 2);
      }
      if (marked) {
        c.strokeStyle = colours.text;
        c.lineWidth = 1.6;
        c.strokeRect(left, top, right - left, INTERVAL - 2);
      }
      const follows = i + 1 < rows.length ? x(intervals.start[rows[i + 1]]) : width;
      drawIntervalText(c, interval, [Math.max(left, GUTTER), right, follows], top);
    }
  });
}

/** Its text is in the bar, or goes on to where the next one begins. */
function drawIntervalText(c, interval, [left, right, follows], top) {
  const room = Math.min(follows, right + 260) - left - 9;
  if (room < 16) return;
  c.font = `11px ${FONT}`;
  c.textAlign = "left";
  c.textBaseline = "middle";
  c.fillStyle = colours["interval-text"];
  const text = clipped(c, intervalText(interval).slice(0, 160), room);
  c.fillText(text, left + 5, top + INTERVAL / 2 - 0.5);
  if (text) textBoxes.push([left, top, left + 8 + textWidth(c, text), top + INTERVAL - 2]);
}

/** The interval there, the latest if several are; -1 if there is none. */
function intervalAt(lane, px, py) {
  if (lane.host < 0 || !shown.annotate) return -1;
  const layer = intervalRows[lane.host][Math.floor((py - intervalsTop(lane)) / INTERVAL)];
  if (!layer) return -1;
  let best = -1;
  const greatest = timeAt(px + 3);
  for (let i = lowerBound(layer.latestEnd, timeAt(px - 3)); i < layer.rows.length; i++) {
    if (intervals.start[layer.rows[i]] > greatest) break;
    if (x(intervals.end[layer.rows[i]]) >= px - 3) best = layer.rows[i];
  }
  return best;
}

function intervalY(interval) {
  const lane = laneOf[intervals.host[interval]];
  if (!lane || !shown.annotate) return null;
  const nth = intervalRows[lane.host].findIndex(({ rows }) => rows.includes(interval));
  return intervalsTop(lane) + nth * INTERVAL + INTERVAL / 2;
}
