// Time-sequence graphs in the style of tcptrace: data, acknowledgments and receive windows over time.

const LEGEND = [
  ["request", "new data, from its first to its last byte", "data"], ["resent", "R: retransmission", "R"], ["late", "O: out of order, fills a gap", "O"],
  ["dim", "P: keep-alive probe", "P"], ["ink", "SYN, FIN", "diamond"], ["stall", "RST", "cross"], ["ack", "acknowledged", "line"],
  ["window", "end of the window", "dashes"], ["sack", "S: SACK block", "S"], ["stall", "stall of a finding", "hatched"],
];
const MARKED = { 1: ["resent", "R"], 2: ["late", "O"], 3: ["dim", "P"] };

const GUTTER = 76;

class Lane {
  constructor(told) {
    Object.assign(this, told);
    for (const name of ["time", "low", "ack_time", "ack", "sack_time", "sack_low"]) this[name] = summed(told[name]);
    this.resent = told.kind.filter((kind) => kind === 1).length;
  }

  // Returns the range of offsets to show: data, ACKs and, if enough room is left for them, the window.
  reach(begin, end) {
    let [low, high, edge] = [Infinity, -Infinity, -Infinity];
    for (let i = 0; i < this.time.length; i++) {
      if (this.time[i] + this.lasts[i] < begin || this.time[i] > end || this.kind[i] === 5) continue;
      low = Math.min(low, this.low[i]);
      high = Math.max(high, this.low[i] + this.size[i]);
    }
    let before = null;
    for (let i = 0; i < this.ack_time.length; i++) {
      if (this.ack_time[i] > end) break;
      before = i;
      if (this.ack_time[i] < begin) continue;
      [low, high] = [Math.min(low, this.ack[i]), Math.max(high, this.ack[i])];
      if (this.edge[i] >= 0) edge = Math.max(edge, this.ack[i] + this.edge[i]);
    }
    if (low === Infinity && before !== null) [low, high] = [this.ack[before], this.ack[before]];
    if (low === Infinity) [low, high] = [0, 1];
    const room = Math.max(high - low, 1);
    high = Math.min(Math.max(high, edge), high + room * 0.6 + 100);
    return [low - Math.max(room * 0.04, 1), high + Math.max(room * 0.04, 1)];
  }

  describe(sender, receiver) {
    const plain = this.time.length;
    const parts = [`${count(this.segments, "segment")} with data or control bits from the ${sender}`];
    if (plain < this.segments - this.left_out) parts.push(`drawn as ${grouped(plain)} lines, neighbors within ${duration(this.run_bin)} as one`);
    parts.push(count(this.resent, "retransmission"));
    parts.push(`${count(this.acks, "ACK")} of the ${receiver}${this.ack_bin ? `, of which only the last in each ${duration(this.ack_bin)} is drawn` : ""}`);
    if (this.sack_time.length) parts.push(count(this.sack_time.length, "SACK block"));
    if (this.left_out) parts.push(`${count(this.left_out, "packet")} with marks left out`);
    if (this.sacks_left_out) parts.push(`${count(this.sacks_left_out, "SACK block")} left out`);
    return parts.join("; ");
  }
}

function drawLane(canvas, lane, axis, stalls) {
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (!width) return;
  const context = canvasOf(canvas, width, height);
  const [low, high] = lane.reach(axis.begin, axis.end);
  const bottom = height - 22;
  const [scale, room] = [axis.scale(width - GUTTER), width - GUTTER];
  const x = (time) => GUTTER + scale(time);
  const y = (offset) => bottom - ((offset - low) / (high - low)) * (bottom - 8);
  context.save();
  context.beginPath();
  context.rect(GUTTER, 0, room, bottom);
  context.clip();
  context.globalAlpha = 0.3;
  for (const stall of stalls) {
    const [left, right] = stretch(stall, x, width);
    if (right > left) hatched(context, left, 0, right - left, bottom, colours.get("stall"), 12);
  }
  context.restore();
  drawOffsets(context, low, high, y, width, bottom);
  nameStalls(context, stalls, x, width);
  context.save();
  context.beginPath();
  context.rect(GUTTER, 0, room, bottom);
  context.clip();
  drawAcks(context, lane, x, y, axis);
  drawSegments(context, lane, x, y, axis);
  for (let i = 0; i < lane.sack_time.length; i++) mark(context, x(lane.sack_time[i]), y(lane.sack_low[i]), y(lane.sack_low[i] + lane.sack_size[i]), colours.get("sack"), "S");
  context.restore();
  context.save();
  context.translate(GUTTER, bottom);
  drawTicks(context, axis, room, 5, { from: 0, labels: 12 });
  context.restore();
}

// Returns the left and right edge of a stall in the graph, at least 1.5 pixels apart so it is visible.
function stretch(stall, x, width) {
  const [left, right] = [x(stall.elapsed * SECOND), x((stall.elapsed + stall.delay) * SECOND)];
  return [Math.max(left, GUTTER), Math.min(Math.max(right, left + 1.5), width)];
}

// Writes the name of each stall that has room. Names that would overlap are left out; zooming in shows them.
function nameStalls(context, stalls, x, width) {
  let free = 0;
  context.font = "600 12px system-ui, sans-serif";
  context.textAlign = "left";
  context.textBaseline = "middle";
  for (const stall of stalls) {
    const [left, right] = stretch(stall, x, width);
    const text = `${stall.rule}, ${duration(stall.delay * SECOND)}`;
    const wide = context.measureText(text).width;
    const at = Math.max(GUTTER + 4, Math.min(left + 6, width - wide - 8));
    if (right - left < 8 || at < free) continue;
    free = at + wide + 12;
    context.fillStyle = colours.get("paper");
    context.fillRect(at - 3, 5, wide + 6, 17);
    context.fillStyle = colours.get("stall");
    context.fillText(text, at, 14);
  }
}

function drawOffsets(context, low, high, y, width, bottom) {
  const least = (high - low) / 6;
  const power = 10 ** Math.floor(Math.log10(least));
  const step = Math.max(1, [1, 2, 5, 10].map((times) => times * power).find((one) => one >= least));
  context.font = "11px system-ui, sans-serif";
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (let offset = Math.ceil(low / step) * step; offset <= high; offset += step) {
    const at = Math.round(y(offset)) + 0.5;
    context.strokeStyle = colours.get("rule");
    context.beginPath();
    context.moveTo(GUTTER, at);
    context.lineTo(width, at);
    context.stroke();
    context.fillStyle = colours.get("dim");
    if (at > 8) context.fillText(grouped(offset || 0), GUTTER - 6, Math.min(at, bottom - 6));
  }
  context.strokeStyle = colours.get("rule-strong");
  context.strokeRect(GUTTER - 0.5, -1, width, bottom + 1.5);
}

// Draws ACKs and the end of the window as steps: a value is valid until the next ACK.
function drawAcks(context, lane, x, y, axis) {
  for (const [name, value, dashes] of [["window", (i) => (lane.edge[i] < 0 ? NaN : lane.ack[i] + lane.edge[i]), [6, 3]], ["ack", (i) => lane.ack[i], []]]) {
    context.strokeStyle = colours.get(name);
    context.lineWidth = 1.5;
    context.setLineDash(dashes);
    context.beginPath();
    let last = NaN;
    for (let i = 0; i < lane.ack_time.length; i++) {
      const next = i + 1 < lane.ack_time.length ? lane.ack_time[i + 1] : axis.max;
      const at = value(i);
      if (Number.isNaN(at) || next < axis.begin || lane.ack_time[i] > axis.end) {
        last = Number.isNaN(at) ? NaN : at;
        continue;
      }
      const [left, right] = [Math.max(x(lane.ack_time[i]), -5), Math.min(x(next), 1e5)];
      if (Number.isNaN(last)) context.moveTo(left, y(at));
      else {
        context.moveTo(left, y(last));
        context.lineTo(left, y(at));
      }
      context.lineTo(right, y(at));
      last = at;
    }
    context.stroke();
  }
  context.setLineDash([]);
}

function drawSegments(context, lane, x, y, axis) {
  const plain = colours.get("request");
  context.lineWidth = 1.6;
  for (let i = 0; i < lane.time.length; i++) {
    if (lane.time[i] + lane.lasts[i] < axis.begin || lane.time[i] > axis.end) continue;
    const [left, right, bottom, top] = [x(lane.time[i]), x(lane.time[i] + lane.lasts[i]), y(lane.low[i]), y(lane.low[i] + lane.size[i])];
    const kind = lane.kind[i];
    if (kind === 0) {
      context.strokeStyle = plain;
      context.beginPath();
      context.moveTo(left, bottom);
      context.lineTo(right, top);
      // draw arrows at the beginning and the end of a segment if there is room
      if (lane.packets[i] === 1 && bottom - top > 5) {
        for (const [at, turn] of [[bottom, -3], [top, 3]]) {
          context.moveTo(left - 3, at + turn);
          context.lineTo(left, at);
          context.lineTo(left + 3, at + turn);
        }
      } else if (lane.packets[i] === 1) {
        context.moveTo(left - 2, bottom);
        context.lineTo(left + 2, bottom);
      }
      context.stroke();
    } else if (kind === 4) diamond(context, left, bottom);
    else if (kind === 5) cross(context, left, bottom);
    else mark(context, left, bottom, top, colours.get(MARKED[kind][0]), MARKED[kind][1]);
  }
}

function diamond(context, x, y) {
  context.fillStyle = colours.get("ink");
  context.beginPath();
  for (const [dx, dy] of [[0, -5], [4, 0], [0, 5], [-4, 0]]) context.lineTo(x + dx, y + dy);
  context.fill();
}

function cross(context, x, y) {
  context.strokeStyle = colours.get("stall");
  context.lineWidth = 2.2;
  context.beginPath();
  for (const turn of [-1, 1]) {
    context.moveTo(x - 5, y - 5 * turn);
    context.lineTo(x + 5, y + 5 * turn);
  }
  context.stroke();
  context.lineWidth = 1.6;
}

function legendItem([name, text, look]) {
  const canvas = element("canvas", { "aria-hidden": "true" });
  const draw = () => {
    const context = canvasOf(canvas, 26, 14);
    if (look === "hatched") return hatched(context, 0, 0, 26, 14, colours.get(name), 6);
    if (look === "diamond") return diamond(context, 13, 7);
    if (look === "cross") return cross(context, 13, 7);
    context.strokeStyle = colours.get(name);
    context.lineWidth = 2.2;
    context.setLineDash(look === "dashes" ? [6, 3] : []);
    context.beginPath();
    const [from, to] = look === "line" || look === "dashes" ? [[0, 7], [26, 7]] : [[13, 0], [13, 14]];
    context.moveTo(...from);
    context.lineTo(...to);
    context.stroke();
  };
  draw();
  redraws.push(draw);
  return element("li", {}, canvas, text);
}

function mark(context, x, bottom, top, colour, sign) {
  context.strokeStyle = context.fillStyle = colour;
  context.lineWidth = 2.2;
  context.beginPath();
  context.moveTo(x, bottom);
  context.lineTo(x, Math.min(top, bottom - 2));
  context.stroke();
  context.font = "bold 10px system-ui, sans-serif";
  context.textAlign = "center";
  context.textBaseline = "bottom";
  context.fillText(sign, x, Math.min(top, bottom - 2) - 2);
}

function buildSequence(report) {
  const root = document.getElementById("sequence-graph");
  if (!report.graphs.length) {
    root.append(element("p", { class: "dim", text: "There are no packets to draw." }));
    return () => {};
  }
  const names = report.graphs.map(([capture, connection], number) => {
    const marked = new Set(report.told.filter((finding) => finding.capture === capture && finding.connection === connection).map((finding) => finding.rule));
    return element("option", { value: number }, `Connection ${connection}${report.captures.length > 1 ? ` of ${report.names[capture]}` : ""}${marked.size ? `: ${[...marked].slice(0, 3).join(", ")}` : ""}`);
  });
  const chooser = element("select", { "aria-label": "Connection" }, ...names);
  const said = element("p", { class: "said", role: "status" });
  const bar = element("div", { class: "bar" }, chooser, said);
  const plots = element("div");
  root.append(bar, element("ul", { class: "legend", "aria-label": "What the graph shows" }, ...LEGEND.map(legendItem)), plots);
  const drawn = new Map();
  let draw = () => {};
  let waiting = false;
  const soon = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      draw();
    });
  };
  redraws.push(() => draw());
  new ResizeObserver(soon).observe(plots);
  const show = async (number, begin, end) => {
    chooser.value = String(number);
    if (!drawn.has(number)) drawn.set(number, await load(`data-graph-${number}`));
    if (chooser.value !== String(number)) return;
    const told = drawn.get(number);
    const lanes = told.lanes.map((lane) => new Lane(lane));
    const times = lanes.flatMap((lane) => [lane.time[0], lane.time[lane.time.length - 1], lane.ack_time[0], lane.ack_time[lane.ack_time.length - 1]]).filter((time) => time !== undefined);
    const [from, to] = [Math.min(told.start ?? Infinity, ...times), Math.max(told.end ?? -Infinity, ...times)];
    const axis = new Axis(from - (to - from) * 0.02, to + (to - from) * 0.02);
    axis.listeners.push(soon);
    const sides = [[lanes[1], "server", "client"], [lanes[0], "client", "server"]];
    const sent = (lane) => lane.size.reduce((sum, size) => sum + size, 0);
    if (sent(lanes[0]) > sent(lanes[1])) sides.reverse();
    const parts = sides.filter(([lane]) => lane.segments || lane.acks).map(([lane, sender, receiver], place) => {
      const canvas = element("canvas", { tabindex: 0, role: "application", "aria-label": `Time-sequence graph of what the ${sender} sends. ${lane.describe(sender, receiver)}. Arrow keys move, plus and minus zoom, 0 shows all.` });
      canvas.addEventListener("keydown", (event) => axis.key(event));
      canvas.addEventListener("wheel", (event) => {
        const box = canvas.getBoundingClientRect();
        axis.wheel(event, { left: box.left + GUTTER, width: box.width - GUTTER });
      }, { passive: false });
      draggable(canvas, axis);
      plots.append(canvas);
      return { canvas, lane, figure: element("div", { class: place ? "plot small" : "plot" }, element("h3", { text: `What the ${sender} sent (${sender === "client" ? told.client : told.server})` }), element("p", { class: "dim", text: `${lane.describe(sender, receiver)}.` }), canvas) };
    });
    const stalled = told.stalls_left_out ? `, ${told.stalls_left_out} stalls not drawn` : "";
    plots.replaceChildren(...parts.map(({ figure }) => figure));
    bar.querySelector(".group")?.remove();
    chooser.after(axis.buttons());
    draw = () => {
      for (const { canvas, lane } of parts) drawLane(canvas, lane, axis, told.stalls);
      said.textContent = `${seconds(axis.begin)} to ${seconds(axis.end)} s${stalled}`;
    };
    if (begin !== undefined) axis.set(begin - (end - begin) * 0.3, end + (end - begin) * 0.3);
    draw();
  };
  chooser.addEventListener("change", () => show(Number(chooser.value)));
  // draw the first graph when the reader scrolls near it
  const near = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    near.disconnect();
    if (!drawn.size) show(0);
  }, { rootMargin: "600px" });
  near.observe(root);
  addEventListener("beforeprint", () => drawn.size || show(0));
  return show;
}
