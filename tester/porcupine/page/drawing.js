// The chart and the overview below it. Only what is in view is drawn, so that ten thousand operations stay usable.

let colours = {};
function readColours() {
  const style = getComputedStyle(document.documentElement);
  const names = ["page", "lane", "line", "text", "soft", "placed", "placed-edge", "placed-text", "path", "rest",
    "rest-edge", "rest-text", "bad", "bad-fill", "bad-text"];
  colours = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

function context(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const box = canvas.getBoundingClientRect();
  const pixels = [Math.round(box.width * ratio), Math.round(box.height * ratio)];
  if (canvas.width !== pixels[0] || canvas.height !== pixels[1]) [canvas.width, canvas.height] = pixels;
  const c = canvas.getContext("2d");
  c.setTransform(ratio, 0, 0, ratio, 0, 0);
  c.clearRect(0, 0, box.width, box.height);
  return [c, box.width, box.height];
}

let waiting = false;
function draw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    drawChart();
    drawOverview();
  });
}

function look(operation) {
  if (operation === view.part.culprit) return "culprit";
  if (view.order && view.order.place[operation] >= 0) return "placed";
  return view.order && view.order.refused.has(operation) ? "refused" : "rest";
}

const LOOKS = {
  placed: { fill: "placed", edge: "placed-edge", text: "placed-text", dash: [], symbol: "" },
  rest: { fill: "rest", edge: "rest-edge", text: "rest-text", dash: [4, 3], symbol: "◦ " },
  refused: { fill: "rest", edge: "bad", text: "rest-text", dash: [4, 3], symbol: "✗ " },
  culprit: { fill: "bad-fill", edge: "bad", text: "bad-text", dash: [], symbol: "✗ " },
};

function drawChart() {
  let c;
  [c, width, height] = context(chart);
  const { part, order } = view;
  c.font = `600 12px ${FONT}`;
  const widest = Math.max(...part.clients.slice(0, 500).map((name) => c.measureText(name).width), 30);
  gutter = Math.min(widest, GUTTER_MOST) + 28;
  laneHeight = Math.min(Math.max((height - AXIS) / part.lanes.length, LANE_LEAST), LANE_MOST);
  clampView();
  if (order) prepare(part, order);
  const firstLane = Math.max(0, Math.floor(view.top / laneHeight));
  const lastLane = Math.min(part.lanes.length, Math.ceil((view.top + height - AXIS) / laneHeight));

  for (let lane = firstLane; lane < lastLane; lane += 1) {
    c.fillStyle = lane % 2 ? colours.page : colours.lane;
    c.fillRect(0, AXIS + lane * laneHeight - view.top, width, laneHeight);
  }
  drawGrid(c);
  c.save();
  c.beginPath();
  c.rect(gutter, AXIS, width - gutter, height - AXIS);
  c.clip();
  const shown = [];
  for (let lane = firstLane; lane < lastLane; lane += 1) drawLane(c, lane, shown);
  if (order) drawOrder(c);
  drawTexts(c, shown);
  c.restore();
  drawNames(c, firstLane, lastLane);
}

/** The first operation of a lane that is not wholly left of the view: they begin and end in order. */
function firstShown(lane) {
  let low = 0;
  let high = lane.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (view.part.shownEnd[lane[middle]] < view.from) low = middle + 1;
    else high = middle;
  }
  return low;
}

function drawLane(c, number, shown) {
  const { part } = view;
  const lane = part.lanes[number];
  let drawnTo = -1; // px: of several bars in one pixel column, one is drawn
  for (let nth = firstShown(lane); nth < lane.length; nth++) {
    const operation = lane[nth];
    if (part.begin[operation] > view.to) break;
    const left = Math.max(x(part.begin[operation]), gutter - 20);
    const right = Math.max(Math.min(x(part.shownEnd[operation]), width + 20), left + 2);
    const marked = operation === part.culprit || operation === view.hovered || operation === view.kept;
    if (right < drawnTo + 1 && !marked) continue;
    drawnTo = Math.max(drawnTo, right);
    drawBar(c, operation, left, right);
    // A label that its bar has no room for may go on up to the next one.
    const next = nth + 1 < lane.length ? x(part.begin[lane[nth + 1]]) : width;
    shown.push([operation, left, Math.max(right, Math.min(next - 4, right + 220))]);
  }
}

function drawBar(c, operation, left, right) {
  const { part } = view;
  const name = look(operation);
  const { fill, edge, dash } = LOOKS[name];
  const top = barTop(part.lane[operation]);
  const never = part.return[operation] === null;
  const wide = right - left > 5;
  c.beginPath();
  c.roundRect(left, top, right - left, BAR, never ? [4, 0, 0, 4] : wide ? 4 : 0);
  const marked = operation === view.hovered || operation === view.kept;
  c.fillStyle = colours[wide ? fill : edge];
  c.globalAlpha = wide || marked || name === "culprit" ? 1 : 0.45;
  c.fill();
  c.globalAlpha = 1;
  if (!wide && !marked && name !== "culprit") return;
  c.lineWidth = name === "culprit" ? 2.5 : marked ? 2 : 1;
  c.strokeStyle = colours[marked && name !== "culprit" ? "text" : edge];
  c.setLineDash(wide ? dash : []);
  c.stroke();
  c.setLineDash([]);
  if (never && wide) { // an open end, with dots, in place of the right edge
    c.fillStyle = colours.page;
    c.fillRect(right - 2, top - 1, 4, BAR + 2);
    c.fillStyle = colours[edge];
    for (let dot = 0; dot < 4; dot++) c.fillRect(right - 2, top + 2 + dot * 5.5, 2, 2.5);
  }
}

function drawTexts(c, shown) {
  c.textBaseline = "middle";
  c.textAlign = "left";
  for (const [operation, left, limit] of shown) {
    const from = Math.max(left, gutter) + 6;
    const room = limit - from - 5;
    if (room < 12) continue;
    const { text, symbol } = LOOKS[look(operation)];
    const whole = symbol + data.texts[view.part.text[operation]];
    c.font = `${look(operation) === "culprit" ? 600 : 400} 12px ${FONT}`;
    c.fillStyle = colours[text];
    c.fillText(clipped(c, whole.slice(0, 300), room), from, barTop(view.part.lane[operation]) + BAR / 2 + 0.5);
  }
}

function clipped(c, text, room) {
  const line = text.replace(/\n/g, "⏎");
  if (c.measureText(line).width <= room) return line;
  let low = 0;
  let high = line.length;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (c.measureText(`${line.slice(0, middle)}…`).width <= room) low = middle;
    else high = middle - 1;
  }
  return low ? `${line.slice(0, low)}…` : "";
}

function drawOrder(c) {
  const { part, order } = view;
  const { placed, points } = order;
  // Those in view, and one more on either side so that the line goes on to the edge.
  let first = 0;
  while (first < placed.length && points[first] < view.from) first++;
  let last = first;
  while (last < placed.length && points[last] <= view.to) last++;
  first = Math.max(0, first - 1);
  last = Math.min(placed.length, last + 1);
  const density = (last - first) / width; // dots a pixel
  const dense = density > 0.12;

  c.lineJoin = "round";
  c.strokeStyle = colours.path;
  c.lineWidth = dense ? 0.8 : 1.6;
  c.globalAlpha = dense ? Math.max(0, 0.4 - density * 0.6) : 0.75;
  c.beginPath();
  for (let i = first; i < last; i++) c.lineTo(x(points[i]), dotY(part.lane[placed[i]]));
  c.stroke();
  c.globalAlpha = 1;

  const end = placed.length - 1;
  if (end >= 0) drawRefused(c, x(points[end]), dotY(part.lane[placed[end]]));
  else drawRefused(c, x(part.span[0]), AXIS);

  c.textAlign = "center";
  c.textBaseline = "top";
  let numberedTo = -Infinity;
  for (let i = first; i < last; i++) {
    const operation = placed[i];
    const at = x(points[i]);
    const y = dotY(part.lane[operation]);
    if (points[i] > part.shownEnd[operation]) { // it took effect after its client had given up on it
      c.setLineDash([2, 3]);
      c.lineWidth = 1.2;
      c.strokeStyle = colours["placed-edge"];
      c.beginPath();
      c.moveTo(Math.max(x(part.shownEnd[operation]), gutter), y);
      c.lineTo(at, y);
      c.stroke();
      c.setLineDash([]);
    }
    if (dense) continue;
    const strong = operation === view.hovered || operation === view.kept;
    c.beginPath();
    c.arc(at, y, strong ? 5.5 : 4, 0, 2 * Math.PI);
    c.fillStyle = colours.path;
    c.fill();
    c.lineWidth = 1.5;
    c.strokeStyle = colours.page;
    c.stroke();
    if (strong || at > numberedTo) {
      const label = String(i + 1);
      c.font = `${strong ? 700 : 500} 10.5px ${FONT}`;
      c.lineWidth = 3;
      c.strokeStyle = part.lane[operation] % 2 ? colours.page : colours.lane;
      c.strokeText(label, at, y + 5.5);
      c.fillStyle = strong ? colours.text : colours.soft;
      c.fillText(label, at, y + 5.5);
      numberedTo = at + 3 + c.measureText(label).width / 2;
    }
  }
}

/** From the last dot to each operation that could come next in time, but not by its result. */
function drawRefused(c, fromX, fromY) {
  const { part, order } = view;
  c.strokeStyle = colours.bad;
  c.lineWidth = 1.4;
  c.setLineDash([5, 4]);
  for (const operation of order.refused) {
    const left = x(part.begin[operation]);
    const right = x(Math.min(part.shownEnd[operation], part.span[1]));
    const at = Math.min(Math.max(fromX + 14, left + 4), Math.max(right - 4, left));
    const lane = part.lane[operation];
    const y = barTop(lane) + (fromY < barTop(lane) ? 0 : BAR);
    c.beginPath();
    c.moveTo(fromX, fromY);
    c.lineTo(at, y);
    c.stroke();
    c.setLineDash([]);
    c.beginPath();
    c.moveTo(at - 4, y - 4);
    c.lineTo(at + 4, y + 4);
    c.moveTo(at + 4, y - 4);
    c.lineTo(at - 4, y + 4);
    c.stroke();
    c.setLineDash([5, 4]);
  }
  c.setLineDash([]);
}

function drawGrid(c) {
  c.fillStyle = colours.page;
  c.fillRect(0, 0, width, AXIS);
  c.font = `11px ${FONT}`;
  c.textAlign = "center";
  c.textBaseline = "middle";
  c.lineWidth = 1;
  const step = niceStep((view.to - view.from) / Math.max(2, (width - gutter) / 110), !view.byTime);
  const whole = view.part.times[view.part.times.length - 1] - view.part.times[0];
  const first = Math.ceil(Math.max(view.from, view.byTime ? -Infinity : 0) / step);
  for (let n = first; n * step <= view.to; n++) {
    const at = Math.round(x(n * step)) + 0.5;
    if (at < gutter) continue;
    c.strokeStyle = colours.line;
    c.beginPath();
    c.moveTo(at, AXIS - 5);
    c.lineTo(at, height);
    c.stroke();
    const label = view.byTime ? timeText(n * step, step) : timeText(view.part.times[Math.round(n * step)], whole / 1e4);
    if (label && at - 30 > gutter && at + 40 < width) {
      c.fillStyle = colours.soft;
      c.fillText(label, at, AXIS / 2 - 1);
    }
  }
}

function drawNames(c, firstLane, lastLane) {
  c.fillStyle = colours.page;
  c.fillRect(0, 0, gutter - 8, AXIS);
  c.font = `11px ${FONT}`;
  c.textAlign = "left";
  c.textBaseline = "middle";
  c.fillStyle = colours.soft;
  c.fillText("client", 12, AXIS / 2 - 1);
  c.save();
  c.beginPath();
  c.rect(0, AXIS, gutter, height - AXIS);
  c.clip();
  for (let lane = firstLane; lane < lastLane; lane += 1) {
    c.fillStyle = lane % 2 ? colours.page : colours.lane;
    c.fillRect(0, AXIS + lane * laneHeight - view.top, gutter, laneHeight);
    c.fillStyle = colours.text;
    c.font = `600 12px ${FONT}`;
    c.fillText(clipped(c, view.part.clients[lane], gutter - 24), 12, barTop(lane) + BAR / 2);
  }
  c.restore();
  c.strokeStyle = colours.line;
  c.beginPath();
  c.moveTo(gutter + 0.5, 0);
  c.lineTo(gutter + 0.5, height);
  c.moveTo(0, AXIS + 0.5);
  c.lineTo(width, AXIS + 0.5);
  c.stroke();
}

/** The whole history as a strip: how busy it is, where the culprit and the end of the order are, what is in view. */
function drawOverview() {
  const [c, wide, high] = context(overview);
  const { part, order } = view;
  const [first, last] = part.span;
  const at = (position) => gutter + ((position - first) / (last - first)) * (wide - gutter);
  const columns = new Uint16Array(Math.ceil(wide) + 1);
  for (let i = 0; i < part.count; i++) {
    const right = Math.min(at(part.shownEnd[i]), wide);
    for (let px = Math.floor(at(part.begin[i])); px <= right; px++) columns[px] += 1;
  }
  const most = columns.reduce((a, b) => Math.max(a, b), 1);
  c.fillStyle = colours["placed-edge"];
  c.globalAlpha = 0.5;
  columns.forEach((busy, px) => {
    const tall = (busy / most) * (high - 10);
    if (busy) c.fillRect(px, high - 4 - tall, 1, tall);
  });
  c.globalAlpha = 1;
  if (part.culprit !== null) {
    const px = at(part.begin[part.culprit]);
    c.fillStyle = colours.bad;
    c.fillRect(px - 1, 2, 2, high - 4);
    c.font = `700 11px ${FONT}`;
    c.textBaseline = "top";
    c.textAlign = "left";
    c.fillText("✗", px + 4, 3);
  }
  if (order && part.verdict !== "ok" && order.placed.length) {
    c.fillStyle = colours.path;
    c.fillRect(at(order.points[order.points.length - 1]) - 0.5, 2, 1.5, high - 4);
  }
  c.fillStyle = colours.text;
  c.globalAlpha = 0.08;
  c.fillRect(at(view.from), 1, at(view.to) - at(view.from), high - 2);
  c.globalAlpha = 0.6;
  c.strokeStyle = colours.soft;
  c.strokeRect(at(view.from) + 0.5, 1.5, Math.max(2, at(view.to) - at(view.from) - 1), high - 3);
  c.globalAlpha = 1;
  c.font = `11px ${FONT}`;
  c.textAlign = "left";
  c.textBaseline = "middle";
  c.fillStyle = colours.soft;
  c.fillText("all", 12, high / 2);
}
