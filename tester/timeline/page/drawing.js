// The chart and the overview below it: what is drawn in which order.

function context(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const [wide, high] = [canvas.clientWidth, canvas.clientHeight];
  const pixels = [Math.round(wide * ratio), Math.round(high * ratio)];
  if (canvas.width !== pixels[0] || canvas.height !== pixels[1]) [canvas.width, canvas.height] = pixels;
  const c = canvas.getContext("2d");
  c.setTransform(ratio, 0, 0, ratio, 0, 0);
  c.clearRect(0, 0, wide, high);
  return [c, wide, high];
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

const isMarked = (type, row) =>
  [view.hovered, view.kept].some((thing) => thing && thing.type === type && thing.row === row);

function drawChart() {
  let c;
  [c, width, height] = context(chart);
  if (width < GUTTER + 20) return;
  layOut();
  clampView();
  textBoxes = [];
  const visible = lanes.filter((lane) => laneTop(lane) + lane.height > AXIS && laneTop(lane) < height);
  lanes.forEach((lane, number) => {
    lane.number = number;
    if (!visible.includes(lane)) return;
    c.fillStyle = number % 2 ? colours.page : colours.lane;
    c.fillRect(0, laneTop(lane), width, lane.height);
  });
  const step = drawGrid(c);
  c.save();
  c.beginPath();
  c.rect(GUTTER, AXIS, width - GUTTER, height - AXIS);
  c.clip();
  const servers = visible.filter((lane) => isServer(lane.host));
  const scale = scaleOfIndices();
  for (const lane of visible) if (lane.host >= 0) drawFaults(c, lane);
  for (const lane of servers) {
    drawProgress(c, lane, scale);
    drawRoles(c, lane);
  }
  for (const lane of visible) if (lane.host >= 0) drawIntervals(c, lane);
  for (const lane of visible) if (lane.host >= 0 && !isServer(lane.host)) drawOperations(c, lane);
  drawMessages(c);
  for (const lane of visible) {
    if (lane.host < 0) drawNetwork(c, lane);
    else {
      if (isServer(lane.host)) {
        drawRoleTexts(c, lane);
        drawServerCalls(c, lane);
      }
      drawMarks(c, noteRows[lane.host], noteTimes[lane.host], marksY(lane));
    }
  }
  drawOrder(c);
  drawKept(c);
  c.restore();
  drawTimeLine(c, data.verdict_at, colours.bad, 3);
  drawTimeLine(c, view.cursor, colours.cursor, 1.4);
  const cursorTag = drawTag(c, view.cursor, colours.cursor, `${seconds(view.cursor, step / 100)} s`, null);
  drawTag(c, data.verdict_at, colours.bad, "✗ verdict", cursorTag);
  drawNames(c, visible);
  drawMoreLanes(c);
  if (view.box) {
    c.fillStyle = colours.cursor;
    c.globalAlpha = 0.15;
    c.fillRect(view.box[0], AXIS, view.box[1] - view.box[0], height - AXIS);
    c.globalAlpha = 1;
  }
  sayInView();
}

let said = "";
function sayInView() {
  const size = lengthText(view.to - view.from);
  const count = `${inView.toLocaleString("en")} message${inView === 1 ? "" : "s"} in view`;
  const thin = drawn.length < inView ? `, ${drawn.length.toLocaleString("en")} of them drawn: zoom in for all` : "";
  const text = `${size}, ${count}${thin}`;
  if (text !== said) element("in-view").textContent = said = text;
}

function drawGrid(c) {
  c.fillStyle = colours.page;
  c.fillRect(0, 0, width, AXIS);
  c.font = `11px ${FONT}`;
  c.textAlign = "center";
  c.textBaseline = "middle";
  c.lineWidth = 1;
  const step = niceStep((view.to - view.from) / Math.max(2, (width - GUTTER) / 115));
  for (let n = Math.ceil(Math.max(view.from, 0) / step); n * step <= view.to; n++) {
    const px = Math.round(x(n * step)) + 0.5;
    if (px < GUTTER) continue;
    c.strokeStyle = colours.line;
    c.beginPath();
    c.moveTo(px, AXIS - 5);
    c.lineTo(px, height);
    c.stroke();
    c.fillStyle = colours.soft;
    if (px - 30 > GUTTER && px + 34 < width) c.fillText(`${seconds(n * step, step)} s`, px, AXIS / 2 - 1);
  }
  if (SPAN[1] > END && view.to > END) { // nothing is after the end
    c.fillStyle = colours.line;
    c.globalAlpha = 0.5;
    c.fillRect(x(END), AXIS, width - x(END), height);
    c.globalAlpha = 1;
  }
  return step;
}

const isInView = (time) => time !== null && time >= view.from && time <= view.to;

/** A line down all lanes. */
function drawTimeLine(c, time, colour, thick) {
  if (!isInView(time)) return;
  const px = Math.round(x(time)) + 0.5;
  c.strokeStyle = colour;
  c.lineWidth = thick;
  c.beginPath();
  c.moveTo(px, AXIS - 6);
  c.lineTo(px, height);
  c.stroke();
}

/** Its tag in the axis, beside `other` if they would overlap: where it is, in px. */
function drawTag(c, time, colour, text, other) {
  if (!isInView(time)) return null;
  c.font = `700 11px ${FONT}`;
  const wide = textWidth(c, text) + 10;
  let left = Math.min(Math.max(x(time) - wide / 2, GUTTER), width - wide);
  if (other && left < other[1] + 2 && left + wide > other[0] - 2) {
    const after = time > view.cursor && other[1] + 2 + wide < width;
    left = after || other[0] - 2 - wide < GUTTER ? other[1] + 2 : other[0] - 2 - wide;
  }
  c.fillStyle = colour;
  c.beginPath();
  c.roundRect(left, 3, wide, 18, 4);
  c.fill();
  c.fillStyle = colours.page;
  c.textAlign = "left";
  c.textBaseline = "middle";
  c.fillText(text, left + 5, 12.5);
  return [left, left + wide];
}

/** A ring around the note that is kept or pointed at. */
function drawKept(c) {
  for (const thing of [view.kept, view.hovered]) {
    const [time, y] = placeOf(thing);
    if (time === null || y === null) continue;
    c.strokeStyle = colours.cursor;
    c.lineWidth = 1.6;
    c.beginPath();
    c.arc(x(time), y, 8, 0, 2 * Math.PI);
    c.stroke();
  }
}

function placeOf(thing) {
  if (thing && thing.type === "note") return [notes.at[thing.row], noteY(thing.row)];
  if (thing && thing.type === "call" && isServer(calls.host[thing.row])) {
    const lane = laneOf[calls.host[thing.row]];
    return [calls.start[thing.row], lane ? marksY(lane) : null];
  }
  return [null, null];
}

/** On the left: whose lane it is, and what it is at the cursor. */
function drawNames(c, visible) {
  c.fillStyle = colours.page;
  c.fillRect(0, 0, GUTTER, AXIS);
  c.save();
  c.beginPath();
  c.rect(0, AXIS, GUTTER, height - AXIS);
  c.clip();
  c.textAlign = "left";
  c.textBaseline = "middle";
  for (const lane of visible) {
    const top = laneTop(lane);
    c.fillStyle = lane.number % 2 ? colours.page : colours.lane;
    c.fillRect(0, top, GUTTER, lane.height);
    if (lane.host >= 0 && lane.host === view.lane) {
      c.fillStyle = colours.cursor;
      c.fillRect(0, top + 1, 4, lane.height - 2);
    }
    c.font = `${lane.host < 0 ? 400 : 600} 12px ${FONT}`;
    c.fillStyle = lane.host < 0 ? colours.soft : colours.text;
    const y = isServer(lane.host) ? top + 3 + ROLE / 2 + 0.5 : top + lane.height / 2;
    c.fillText(lane.host < 0 ? "network" : clipped(c, hostName(lane.host), GUTTER - 18), 12, y);
    if (isServer(lane.host)) drawStanding(c, lane, top);
  }
  c.restore();
  c.strokeStyle = colours.line;
  c.lineWidth = 1;
  c.beginPath();
  c.moveTo(GUTTER + 0.5, 0);
  c.lineTo(GUTTER + 0.5, height);
  c.moveTo(0, AXIS + 0.5);
  c.lineTo(width, AXIS + 0.5);
  c.stroke();
}

/** How many lanes are further down, and a thumb that shows where the view is among all of them. */
function drawMoreLanes(c) {
  const whole = lanesHeight;
  const room = height - AXIS;
  if (whole <= room + 1) return;
  c.fillStyle = colours.soft;
  c.globalAlpha = 0.45;
  c.beginPath();
  c.roundRect(width - 8, AXIS + (view.top / whole) * room + 2, 5, (room / whole) * room - 4, 2.5);
  c.fill();
  c.globalAlpha = 1;
  const below = lanes.filter((lane) => laneTop(lane) + lane.height / 2 > height).length;
  if (!below) return;
  const text = `▾ ${below} more`;
  c.font = `600 11px ${FONT}`;
  c.fillStyle = colours.panel;
  c.strokeStyle = colours.line;
  c.beginPath();
  c.roundRect(8, height - 22, textWidth(c, text) + 12, 18, 9);
  c.fill();
  c.stroke();
  c.fillStyle = colours.text;
  c.textAlign = "left";
  c.textBaseline = "middle";
  c.fillText(text, 14, height - 12.5);
}

function drawStanding(c, lane, top) {
  const role = roleAt(lane.host, view.cursor);
  const at = progressAt(lane.host, view.cursor);
  if (!role || !role.role) return;
  c.font = `11px ${FONT}`;
  c.fillStyle = colours.soft;
  c.fillText(role.role === "-" ? "down" : `${role.role} · term ${role.term}`, 12, top + 3 + ROLE + 8);
  if (!at || role.role === "-" || !hasLog || lane.height < 78) return;
  c.fillText(`last ${at.last}`, 12, top + 3 + ROLE + 23);
  if (lane.height > 88) c.fillText(`commit ${at.commit}`, 12, top + 3 + ROLE + 38);
}

// -------------------------------------------------------------- the whole run as a strip

let strip = null; // the part of it that the view does not change
function overviewStrip(wide, high) {
  const key = [wide, high, colours.page, window.devicePixelRatio].join();
  if (strip && strip.key === key) return strip.canvas;
  const canvas = document.createElement("canvas");
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(wide * ratio);
  canvas.height = Math.round(high * ratio);
  const c = canvas.getContext("2d");
  c.scale(ratio, ratio);
  const servers = hosts.map((_, host) => host).filter(isServer);
  const each = (high - 8) / Math.max(1, servers.length);
  servers.forEach((host, nth) => {
    const all = roles[host];
    for (let i = 0; i < all.start.length; i++) {
      if (all.role[i] === "-" || !all.role[i]) continue;
      c.fillStyle = colours[all.role[i] === "L" ? "l-edge" : ROLES[all.role[i]].fill];
      const left = stripX(all.start[i], wide);
      c.fillRect(left, 4 + nth * each, Math.max(stripX(all.end[i], wide) - left, 0.7), Math.max(1, each - 1));
    }
  });
  c.fillStyle = colours.fault;
  for (const band of bands) {
    const left = stripX(band.start, wide);
    if (band.kind !== "unreliable") c.fillRect(left, 0.5, Math.max(1, stripX(band.end, wide) - left - 1), 2);
  }
  strip = { key, canvas };
  return canvas;
}

const stripX = (time, wide) => GUTTER + ((time - SPAN[0]) / (SPAN[1] - SPAN[0])) * (wide - GUTTER);

function drawOverview() {
  const [c, wide, high] = context(overview);
  if (wide < GUTTER + 20) return;
  c.drawImage(overviewStrip(wide, high), 0, 0, wide, high);
  c.fillStyle = colours.hit;
  for (const event of hitEvents.slice(0, 3000)) c.fillRect(stripX(events.at[event], wide) - 0.75, high - 9, 1.5, 9);
  if (data.verdict_at !== null) {
    c.fillStyle = colours.bad;
    c.fillRect(stripX(data.verdict_at, wide) - 1, 0, 2, high);
  }
  c.fillStyle = colours.cursor;
  c.fillRect(stripX(view.cursor, wide) - 0.75, 0, 1.5, high);
  const [left, right] = [stripX(view.from, wide), stripX(view.to, wide)];
  c.fillStyle = colours.page;
  c.globalAlpha = 0.55;
  c.fillRect(GUTTER, 0, left - GUTTER, high);
  c.fillRect(right, 0, wide - right, high);
  c.globalAlpha = 1;
  c.strokeStyle = colours.text;
  c.lineWidth = 1.2;
  c.strokeRect(left + 0.5, 1, Math.max(3, right - left - 1), high - 2);
  c.font = `11px ${FONT}`;
  c.textAlign = "left";
  c.textBaseline = "middle";
  c.fillStyle = colours.soft;
  c.fillText("whole run", 12, high / 2);
}
