// Clerks' operations as bars, and where they took effect, if their history was checked.

const shownEnd = (call) => Math.min(calls.end[call], END);

function drawOperations(c, lane) {
  const rows = callRows[lane.host];
  const ats = callTimes[lane.host];
  const top = laneTop(lane) + (CLERK - BAR) / 2;
  let drawnTo = -1;
  for (let nth = Math.max(0, lastUpTo(ats, view.from)); nth < rows.length && ats[nth] <= view.to; nth++) {
    const call = rows[nth];
    const next = nth + 1 < rows.length ? ats[nth + 1] : END;
    const left = Math.max(x(calls.start[call]), GUTTER - 12);
    const right = Math.max(Math.min(x(Math.min(shownEnd(call), next)), width + 12), left + 2);
    const row = orderRow[call];
    const culprit = order && order.culprit === call;
    const marked = isMarked("call", call);
    if (right < GUTTER || (right < drawnTo + 1 && !culprit && !marked)) continue;
    drawnTo = right;
    const never = calls.end[call] === Infinity;
    const out = order && (row < 0 || order.place[row] === 0);
    const [fill, edgeColour, ink] = culprit ? ["bad-fill", "bad", "bad-text"]
      : out ? ["rest", "rest-edge", "rest-text"] : ["placed", "placed-edge", "placed-text"];
    const wide = right - left > 5;
    c.beginPath();
    c.roundRect(left, top, right - left, BAR, wide ? (never ? [4, 0, 0, 4] : 4) : 0);
    c.fillStyle = colours[wide ? fill : edgeColour];
    c.fill();
    if (wide || culprit || marked) {
      c.strokeStyle = colours[marked ? "text" : edgeColour];
      c.lineWidth = culprit ? 2.5 : marked ? 2 : 1;
      c.setLineDash(out && !culprit ? [4, 3] : []);
      c.stroke();
      c.setLineDash([]);
    }
    const follows = nth + 1 < rows.length ? x(next) : width;
    drawOperationText(c, call, [Math.max(left, GUTTER), right, follows], top, ink);
  }
}

/** Its text is in the bar, or goes on to the next one's; the culprit's is left of it if it must. */
function drawOperationText(c, call, [left, right, follows], top, ink) {
  const culprit = order && order.culprit === call;
  c.font = `${culprit ? 700 : 400} 11.5px ${FONT}`;
  c.textBaseline = "middle";
  c.fillStyle = colours[ink];
  const text = `${culprit ? "✗ " : ""}${callText(call).slice(0, 160)}`;
  const room = Math.max(right, Math.min(follows - 4, right + 240)) - left - 10;
  c.textAlign = "left";
  if (culprit && textWidth(c, text) > room) {
    c.textAlign = "right";
    c.fillText(text, left - 6, top + BAR / 2 + 0.5);
  } else if (room > 14) {
    c.fillText(clipped(c, text, room), left + 5, top + BAR / 2 + 0.5);
  }
}

const dotY = (lane) => laneTop(lane) + (CLERK + BAR) / 2;

/** Where operations took effect: a dot on the lower edge of each, with its place in the order. */
function drawOrder(c) {
  if (!order) return;
  c.textAlign = "center";
  c.textBaseline = "middle";
  const room = new Map();
  order.call.forEach((call, row) => {
    const lane = laneOf[calls.host[call]];
    const at = order.point[row];
    if (at === null || !lane || at < view.from || at > view.to) return;
    const [px, y] = [x(at), dotY(lane)];
    if (px < (room.get(lane) || 0)) return;
    room.set(lane, px + 3);
    c.beginPath();
    c.arc(px, y, isMarked("call", call) ? 5 : 3.5, 0, 2 * Math.PI);
    c.fillStyle = colours.path;
    c.fill();
    c.lineWidth = 1.4;
    c.strokeStyle = colours.page;
    c.stroke();
  });
}
