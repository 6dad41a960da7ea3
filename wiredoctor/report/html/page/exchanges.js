// The table of exchanges with its waterfall.

const PHASES = [
  ["connect", "Connect: first SYN to SYN-ACK"],
  ["request", "Request"],
  ["server", "Server: no response yet"],
  ["response", "Response"],
  ["body", "Bursts of a body"],
  ["rest", "Waiting for the rest of a response that broke off; \u00d7 = closed"],
  ["stall", "Stall that a finding explains (below the bar)"],
];

// How an exchange ended, as in row_limits.py.
const [CLOSED, WAITING, UNKNOWN] = [1, 2, 3];

// Draws a wait for a response that never became complete: dashes, and a cross at the close of the connection.
function drawRest(context, left, wide, middle, closed) {
  context.save();
  context.strokeStyle = colours.get("stall");
  context.lineWidth = 1.5;
  context.setLineDash([4, 3]);
  context.beginPath();
  context.moveTo(left, middle);
  context.lineTo(left + wide, middle);
  context.stroke();
  context.setLineDash([]);
  context.beginPath();
  if (closed) for (const turn of [-1, 1]) {
    context.moveTo(left + wide - 4, middle - 4 * turn);
    context.lineTo(left + wide + 4, middle + 4 * turn);
  }
  context.stroke();
  context.restore();
}

function stall(context, left, top, wide, tall) {
  hatched(context, left, top, wide, tall, colours.get("stall"), 4);
  context.strokeStyle = colours.get("stall");
  context.strokeRect(left + 0.5, top + 0.5, Math.max(wide - 1, 0.5), tall - 1);
}

class Exchanges {
  constructor(report) {
    const told = report.exchanges;
    this.told = told;
    this.captures = report.captures;
    this.overTime = report.over_time;
    this.length = told.capture.length;
    this.capture = told.capture;
    this.connection = numbers(told.connection);
    this.index = numbers(told.exchange);
    this.start = summed(told.start);
    for (const name of ["request_at", "response_at", "connect_at", "connect", "request_time", "server_time", "response_time", "request_frame", "response_frame", "response_status", "response_body_bytes", "request_body_bytes", "until", "wait"]) this[name] = numbers(told[name]);
    this.failures = new Set(report.failed);
    this.places = new Map();
    for (let row = 0; row < this.length; row++) this.places.set(this.key(this.capture[row], this.connection[row], this.index[row]), row);
    this.bursts = new Map();
    for (const [capture, connection, exchange, ...parts] of report.bursts) {
      const row = this.places.get(this.key(capture, connection, exchange));
      if (row !== undefined) this.bursts.set(row, parts);
    }
    this.findings = new Map();
    this.marked = new Uint32Array(this.length);
    this.begun = numbers(report.begun);
    this._arrangeTree(report.fronts);
  }

  // Sets the order of rows: the requests that a gateway sent for a request follow this request, one level deeper.
  _arrangeTree(fronts) {
    this.depth = new Uint8Array(this.length);
    this.rank = Float64Array.from({ length: this.length }, (_, row) => row);
    if (!fronts.length) return;
    const backs = new Map();
    for (let row = 0; row < this.length; row++) if (fronts[row] >= 0) backs.set(fronts[row], [...(backs.get(fronts[row]) || []), row]);
    let rank = 0;
    const place = (row, depth) => {
      [this.depth[row], this.rank[row]] = [Math.min(depth, 9), rank++];
      for (const back of backs.get(row) || []) place(back, depth + 1);
    };
    const roots = [...this.rank.keys()].filter((row) => fronts[row] < 0).sort((a, b) => this.start[a] - this.start[b] || a - b);
    for (const row of roots) place(row, 0);
  }

  // Returns whether an exchange failed according to the findings, as in the headline, or has a status of 500 or above.
  failed(row) {
    return this.response_status[row] >= 500 || this.failures.has(row);
  }

  // Returns when an exchange started, in milliseconds since 1970.
  moment(row) {
    return this.begun[this.capture[row]] + this.start[row] / 1e6;
  }

  timeOfDay(row) {
    return timeOfDay(this.moment(row), this.spansDays());
  }

  // Returns whether the exchanges began on several days in the time zone of the page.
  spansDays() {
    if (this.first === undefined) {
      const moments = Array.from({ length: this.length }, (_, row) => this.moment(row)).filter((moment) => !Number.isNaN(moment));
      [this.first, this.last] = moments.reduce(([first, last], moment) => [Math.min(first, moment), Math.max(last, moment)], [Infinity, -Infinity]);
    }
    return timeOfDay(this.first, true).split(" ")[0] !== timeOfDay(this.last, true).split(" ")[0];
  }

  // The functions that label an axis with times of day; null if there are several captures, whose clocks differ.
  get clock() {
    const begun = this.begun.length === 1 ? this.begun[0] : NaN;
    if (!timeOfDay(begun)) return null;
    return {
      zero: ((begun + clock.shift(begun)) % DAY) * 1e6,
      label: (time, step) => {
        const [date, text] = timeOfDay(Math.round(begun + time / 1e6), true).split(" ");
        if (text === "00:00:00.000") return date;
        return text.slice(0, step >= 60 * SECOND ? 5 : step >= SECOND ? 8 : 12);
      },
    };
  }

  // Returns whether an exchange was active in a part of the day that begins at `at` (ms since midnight) and lasts `lasts` ms.
  at(row, at, lasts) {
    const begun = this.begun[this.capture[row]];
    const begin = (begun + this.begin(row) / 1e6 + clock.shift(begun)) % DAY;
    const end = begin + (this.end(row) - this.begin(row)) / 1e6;
    return (begin < at + lasts && end >= at) || end >= at + DAY;
  }

  // Formats a range of times as " (10:42:16.123 to 10:42:17.456)"; empty if there are several captures, whose clocks differ.
  timesOfDay(begin, end) {
    const [from, to] = [begin, end].map((time) => timeOfDay(this.begun.length === 1 ? this.begun[0] + time / 1e6 : NaN, this.spansDays()));
    return from && ` (${from} to ${to})`;
  }

  // Returns the name of an exchange in the address of the page: "7#2" or, with several captures, "0:7#2".
  name(row) {
    return `${this.captures.length > 1 ? `${this.capture[row]}:` : ""}${this.connection[row]}#${this.index[row]}`;
  }

  named(text) {
    const [, capture, connection, index] = text.match(/^(?:(\d+):)?(\d+)#(\d+)$/) || [];
    return this.places.get(this.key(capture ?? 0, connection, index));
  }

  key(capture, connection, exchange) {
    return `${capture} ${connection} ${exchange}`;
  }

  mark(findings) {
    for (const finding of findings) {
      const row = finding.exchange === null ? undefined : this.places.get(this.key(finding.capture, finding.connection, finding.exchange));
      if (row === undefined) continue;
      if (!this.findings.has(row)) this.findings.set(row, []);
      this.findings.get(row).push(finding);
      this.marked[row]++;
    }
  }

  request(row) {
    return this.told.sides[row] & 1 ? `${word(this.told.request_method, row)} ${word(this.told.request_target, row)}` : "(no request)";
  }

  status(row) {
    return this.told.sides[row] & 2 ? orDash(this.response_status[row], String) : "-";
  }

  // Formats the time until the last byte or, if the response broke off or never came, until the client's wait ended; "-" if unknown.
  took(row) {
    return this.wait[row] === UNKNOWN ? "-" : `${this.wait[row] === WAITING ? ">" : ""}${duration(this.until[row])}`;
  }

  waits(row) {
    return this.wait[row] === CLOSED || this.wait[row] === WAITING;
  }

  // Returns whether a final response began (RFC 9110 section 15).
  answered(row) {
    return Boolean(this.told.sides[row] & 2) && this.response_status[row] >= 200;
  }

  // Returns when the client began to wait for a response that never came, or for the rest of a response.
  waitBegan(row) {
    const sides = [[this.response_at, this.response_time], [this.request_at, this.request_time]].map(([at, lasts]) => at[row] + lasts[row]);
    return sides.find((end) => !Number.isNaN(end)) ?? 0;
  }

  // Returns the start of an exchange (ns), or that of its handshake if the exchange is the first on its connection.
  begin(row) {
    return this.start[row] + (Number.isNaN(this.connect_at[row]) ? 0 : this.connect_at[row]);
  }

  end(row) {
    return this.start[row] + this.until[row];
  }

  phases(row) {
    const said = [];
    for (const [name, value] of [["connect", this.connect[row]], ["request", this.request_time[row]], ["server", this.server_time[row]], ["response", this.response_time[row]]]) if (!Number.isNaN(value)) said.push(`${name} ${duration(value)}`);
    if (this.waits(row)) said.push(`waiting for ${this.answered(row) ? "the rest" : "a response"} ${duration(this.until[row] - this.waitBegan(row))}${this.wait[row] === CLOSED ? ", then closed" : " at the end of the capture"}`);
    for (const finding of this.findings.get(row) || []) if (finding.delay) said.push(`${finding.rule} ${duration(finding.delay * SECOND)}`);
    return said;
  }

  // Returns a list with the causes that limited the speed of a long response; empty for other responses.
  limits(row) {
    const text = word(this.told.limited, row);
    return text ? [text] : [];
  }

  // Returns the request for the table. A request that a gateway sent is indented below the request of its client.
  shown(row) {
    return this.depth[row] ? `${"\u00a0".repeat(3 * (this.depth[row] - 1))}\u2514 ${this.request(row)}` : this.request(row);
  }

  describe(row) {
    const bursts = this.bursts.get(row);
    return [this.request(row), `from ${seconds(this.start[row])} s, ${[this.wait[row] === UNKNOWN ? "" : `${this.took(row)} in all`, this.told.sides[row] & 2 ? "" : "no response"].filter(Boolean).join(", ")}`, ...this.phases(row), ...this.limits(row).map((text) => `limited by ${text}`), ...(bursts ? [`body in ${bursts.length / 3} bursts`] : [])].join("\n");
  }

  // Draws the bar of an exchange. Phases differ in height and pattern, not only in color.
  draw(context, width, height, row, axis, from) {
    const x = axis.scale(width);
    const zero = this.start[row] - from;
    const part = (at, lasts, draw, least = 1.5) => {
      if (Number.isNaN(at) || Number.isNaN(lasts)) return;
      const left = x(zero + at);
      const right = Math.max(x(zero + at + lasts), left + least);
      if (right > -2 && left < width + 2) draw(Math.max(left, -2), Math.min(right, width + 2) - Math.max(left, -2));
    };
    const middle = 11;
    const box = (name, tall) => (left, wide) => {
      context.fillStyle = colours.get(name);
      context.fillRect(left, middle - tall / 2, wide, tall);
    };
    part(this.connect_at[row], this.connect[row], (left, wide) => {
      hatched(context, left, middle - 5, wide, 10, colours.get("connect"), 4);
      context.strokeStyle = colours.get("connect");
      context.strokeRect(left + 0.5, middle - 4.5, Math.max(wide - 1, 0.5), 9);
    });
    const asked = this.request_at[row] + this.request_time[row];
    if (this.response_at[row] > asked) part(asked, this.response_at[row] - asked, (left, wide) => {
      context.strokeStyle = colours.get("server");
      context.strokeRect(left + 0.5, middle - 2.5, Math.max(wide - 1, 0.5), 5);
    }, 0);
    if (this.waits(row)) {
      const began = this.waitBegan(row);
      part(began, this.until[row] - began, (left, wide) => {
        if (this.answered(row)) return drawRest(context, left, wide, middle, this.wait[row] === CLOSED);
        context.strokeStyle = colours.get("server");
        context.strokeRect(left + 0.5, middle - 2.5, Math.max(wide - 1, 0.5), 5);
        if (this.wait[row] === CLOSED) drawRest(context, left + wide, 0, middle, true);
      }, 0);
    }
    part(this.request_at[row], this.request_time[row], box("request", 10));
    const bursts = this.bursts.get(row);
    part(this.response_at[row], this.response_time[row], box(bursts ? "body" : "response", bursts ? 4 : 14));
    for (let i = 0; bursts && i < bursts.length; i += 3) part(bursts[i] - this.start[row], bursts[i + 1], box("response", 14));
    for (const finding of this.findings.get(row) || []) {
      if (finding.delay) part(finding.elapsed * SECOND - this.start[row], finding.delay * SECOND, (left, wide) => {
        stall(context, left, height - 7, wide, 6);
      });
    }
    if (x(zero + this.until[row]) > width + 1) {
      context.fillStyle = colours.get("ink");
      context.font = "12px system-ui, sans-serif";
      context.textBaseline = "middle";
      context.fillText("\u203a", width - 7, middle);
    }
  }
}

function legend(exchanges) {
  const phases = PHASES.filter(([name]) => name !== "rest" || exchanges.wait.some((wait) => wait === CLOSED || wait === WAITING));
  return element("ul", { class: "legend", "aria-label": "What the bars mean" }, ...phases.map(([name, text]) => {
    const canvas = element("canvas", { "aria-hidden": "true" });
    const draw = () => {
      const context = canvasOf(canvas, 26, 14);
      context.fillStyle = context.strokeStyle = colours.get(name === "body" ? "response" : name);
      if (name === "rest") return drawRest(context, 0, 20, 7, true);
      if (name === "connect" || name === "stall") {
        if (name === "stall") return stall(context, 0, 4, 26, 6);
        hatched(context, 0, 2, 26, 10, colours.get(name), 4);
        context.strokeRect(0.5, 2.5, 25, 9);
      } else if (name === "server") context.strokeRect(0.5, 4.5, 25, 5);
      else if (name === "body") {
        for (const left of [0, 10, 20]) context.fillRect(left, 0, 6, 14);
        context.fillStyle = colours.get("body");
        context.fillRect(0, 5, 26, 4);
      } else context.fillRect(0, name === "request" ? 2 : 0, 26, name === "request" ? 10 : 14);
    };
    draw();
    redraws.push(draw);
    return element("li", {}, canvas, text);
  }));
}

const BIN = 8;

function countBins(exchanges, axis, width) {
  const bins = Math.max(1, Math.ceil(width / BIN));
  const [sent, failed] = [new Uint32Array(bins), new Uint32Array(bins)];
  const scale = width / BIN / (axis.max - axis.min);
  const at = (time) => Math.min(bins - 1, Math.max(0, Math.floor((time - axis.min) * scale)));
  const { step, sent: all, failed: broken } = exchanges.overTime || { sent: [] };
  all.forEach((number, place) => {
    const bin = at((place + 0.5) * step);
    sent[bin] += number;
    failed[bin] += broken[place];
  });
  for (let row = 0; row < exchanges.length; row++) {
    const bin = at(exchanges.start[row]);
    if (!all.length) sent[bin]++;
    if (exchanges.failed(row) && !(all.length && exchanges.response_status[row] >= 500)) failed[bin]++;
  }
  return { width, bins, sent, failed };
}

// Draws requests and failures over the complete time range, and marks the part that is shown.
function overview(exchanges, axis) {
  const canvas = element("canvas", { class: "overview", tabindex: 0, role: "application", "aria-label": "Exchanges over time, failed ones in red. Arrow keys move the selected part, plus and minus zoom, 0 shows all; drag to select a part." });
  const all = button("Show all times", "Remove the filter by time", () => axis.fit());
  const text = element("span");
  const caption = element("p", { class: "dim caption" }, text, " ", all);
  let counted = null;
  const draw = () => {
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width) return;
    const context = canvasOf(canvas, width, height);
    const x = (time) => ((time - axis.min) / (axis.max - axis.min)) * width;
    if (counted?.width !== width) counted = countBins(exchanges, axis, width);
    const { bins, sent, failed } = counted;
    let most = 1;
    for (const number of sent) most = Math.max(most, number);
    const tall = (number) => (number ? Math.max(3, (number / most) * (height - 26)) : 0);
    drawTicks(context, new Axis(axis.min, axis.max), width, 15, { from: 11, labels: 8 }, exchanges.clock);
    for (let bin = 0; bin < bins; bin++) {
      context.fillStyle = colours.get("request");
      context.fillRect(bin * BIN + 0.5, height - tall(sent[bin]), BIN - 1, tall(sent[bin]));
      if (!failed[bin]) continue;
      const high = Math.max(4, (failed[bin] / sent[bin]) * tall(sent[bin]));
      context.fillStyle = colours.get("stall");
      context.fillRect(bin * BIN + 0.5, height - high, BIN - 1, high);
    }
    text.textContent = `Exchanges over time; red, at the bottom: failed, or 5xx. A bar stands for ${duration(((axis.max - axis.min) / width) * BIN)}, the highest for ${count(most, "exchange")}. ${axis.whole ? "Drag over a part to filter the tables by time." : `The tables show ${seconds(axis.begin)} to ${seconds(axis.end)} s${exchanges.timesOfDay(axis.begin, axis.end)} only.`}`;
    all.hidden = axis.whole;
    if (!axis.whole) {
      context.fillStyle = colours.get("ink");
      context.globalAlpha = 0.16;
      context.fillRect(0, 0, x(axis.begin), height);
      context.fillRect(x(axis.end), 0, width, height);
      context.globalAlpha = 1;
      context.fillRect(x(axis.begin), 0, 1.5, height);
      context.fillRect(x(axis.end) - 1.5, 0, 1.5, height);
    }
  };
  canvas.addEventListener("keydown", (event) => axis.key(event));
  canvas.addEventListener("wheel", (event) => axis.wheel(event, canvas.getBoundingClientRect()), { passive: false });
  draggable(canvas, axis, true);
  axis.listeners.push(draw);
  redraws.push(draw);
  new ResizeObserver(draw).observe(canvas);
  return [canvas, caption];
}

const SYNTAX = "Words in the request, the response or the host; status:5xx, connection:3, method:post, host:example, frame:12, is:failed, or a time of day: 10:42:16";

// Parses "10:42", "10:42:16" or "10:42:16.123". Returns milliseconds since midnight, and the precision in ms; null otherwise.
function momentOf(text) {
  const [, hours, minutes, seconds, , fraction] = text.match(/^(\d\d?):(\d\d)(?::(\d\d)([.,](\d{1,3})\d*)?)?$/) || [];
  if (hours === undefined) return null;
  const at = (Number(hours) * 60 + Number(minutes)) * 60_000 + Number(seconds || 0) * 1000 + Number((fraction || "0").padEnd(3, "0"));
  return { at, lasts: fraction ? 10 ** (3 - fraction.length) : seconds ? 1000 : 60_000 };
}

// Removes the rows from the mask that do not meet all conditions of a text such as "status:5xx connection:3 /path".
function narrowByWords(mask, text, exchanges) {
  for (const one of text.toLowerCase().split(/\s+/).filter(Boolean)) {
    const moment = momentOf(one);
    if (moment) {
      narrow(mask, (row) => exchanges.at(row, moment.at, moment.lasts));
      continue;
    }
    const [, name, value] = one.match(/^(status|connection|method|host|frame|is):(.+)$/) || [];
    const number = Number(value ?? one);
    const { told, connection, request_frame, response_frame, response_status } = exchanges;
    if (name === "status") {
      const pattern = new RegExp(`^${value.replace(/[^0-9x]/g, "").replace(/x/g, "\\d")}`);
      const fits = Uint8Array.from({ length: 1000 }, (_, status) => pattern.test(status));
      narrow(mask, (row) => fits[response_status[row]]);
    } else if (name === "is") narrow(mask, (row) => value === "failed" && exchanges.failed(row));
    else if (name === "connection") narrow(mask, (row) => connection[row] === number);
    else if (name === "frame") narrow(mask, (row) => request_frame[row] === number || response_frame[row] === number);
    else {
      const columns = name ? [`request_${name}`] : ["request_method", "request_target", "request_host", "response_reason", "response_content_type"];
      const has = containing(columns.map((column) => told[column]), value ?? one);
      narrow(mask, (row) => has[row] || (!name && response_status[row] === number));
    }
  }
}

function buildExchanges(report, exchanges, axis, jump) {
  const root = document.getElementById("exchanges-table");
  if (!exchanges.length) return void root.append(element("p", { class: "dim", text: "No HTTP exchange was seen." }));
  const usual = [...exchanges.until].sort((a, b) => a - b);
  const own = new Axis(Math.min(0, ...sample(exchanges.connect_at)), usual[usual.length - 1]);
  const typical = Math.min(own.max, Math.max(4 * usual[usual.length >> 1], 1.25 * usual[Math.floor(usual.length * 0.9)], 1e6));
  // if exchanges are too short to be visible on the common axis, draw each from its own start
  let aligned = usual[usual.length >> 1] < (axis.max - axis.min) / 500;
  own.begin = Math.max(own.min, -typical * 0.3);
  own.end = typical;
  const several = report.captures.length > 1;
  const marked = (row) => exchanges.marked[row];
  // a column with the same text in every row is shown only if there is much room
  const hosts = exchanges.told.request_host.words.filter(Boolean).length > 1;
  const grid = new Grid(root, {
    label: "Exchanges", least: "waterfall", rows: exchanges.length, sorted: 0, axis: () => (aligned ? own : axis),
    described: (row) => exchanges.describe(row),
    details: (row) => details(row),
    columns: [
      { title: "Start", wide: true, hint: "time of the first byte", width: "6.2rem", right: true, natural: !several && !report.fronts.length, text: (row) => exchanges.start[row] / SECOND < 1e5 ? seconds(exchanges.start[row]) : String(Math.round(exchanges.start[row] / SECOND)), value: (row) => (report.fronts.length ? exchanges.rank[row] : exchanges.start[row]) },
      { title: "Time of day", wide: exchanges.spansDays() ? 1300 : 1100, width: exchanges.spansDays() ? "13rem" : "7.6rem", right: true, text: (row) => exchanges.timeOfDay(row), value: (row) => exchanges.moment(row) },
      ...(several ? [{ title: "Capture", width: "8rem", wide: 900, text: (row) => report.names[exchanges.capture[row]] || "", value: (row) => exchanges.capture[row] }] : []),
      { title: "Exch", wide: 1000, hint: "connection, and index of the exchange", width: "4.6rem", right: true, text: (row) => `${exchanges.connection[row]}#${exchanges.index[row]}`, value: (row) => exchanges.connection[row] * 1e6 + exchanges.index[row] },
      { title: "Host", wide: hosts ? (several || exchanges.spansDays() ? 1600 : 1400) : 1900, width: "9rem", text: (row) => word(exchanges.told.request_host, row), value: ranked(exchanges.told.request_host) },
      { title: "Request", text: (row) => exchanges.shown(row), value: ranked(exchanges.told.request_target) },
      { title: "Status", width: "4.3rem", right: true, text: (row) => exchanges.status(row), value: (row) => exchanges.response_status[row], bad: (row) => exchanges.response_status[row] >= 400 },
      { title: "Size", wide: 1000, hint: "bytes of the response body", falling: true, width: "5.2rem", right: true, text: (row) => (exchanges.told.sides[row] & 2 ? bytes(exchanges.response_body_bytes[row]) : "-"), value: (row) => exchanges.response_body_bytes[row] },
      { title: "Time", hint: "duration of the exchange", falling: true, width: "5.1rem", right: true, text: (row) => exchanges.took(row), value: (row) => (exchanges.wait[row] === UNKNOWN ? NaN : exchanges.until[row]) },
      { title: "Findings", falling: true, width: "5.2rem", right: true, text: (row) => (marked(row) ? `! ${marked(row)}` : ""), value: (row) => marked(row) || NaN, bad: marked },
      { title: "Waterfall", width: several ? "26%" : "30%", draw: (context, width, height, row) => exchanges.draw(context, width, height, row, aligned ? own : axis, aligned ? exchanges.start[row] : 0), said: (row) => exchanges.phases(row).join(", ") },
    ],
  });
  const said = element("p", { class: "said", role: "status" });
  const search = element("input", { type: "search", "aria-label": "Filter the exchanges", placeholder: "/path  status:5xx  10:42:16", title: SYNTAX, spellcheck: "false" });
  const only = element("input", { type: "checkbox" });
  const align = element("input", { type: "checkbox" });
  align.checked = aligned;
  const chooser = several ? element("select", { "aria-label": "Capture" }, element("option", { value: "" }, "all captures"), ...report.names.map((name, place) => element("option", { value: place }, name))) : null;
  const apply = () => {
    const ranged = !axis.whole;
    const mask = new Uint8Array(exchanges.length).fill(1);
    if (only.checked) narrow(mask, marked);
    if (chooser?.value) narrow(mask, (row) => exchanges.capture[row] === Number(chooser.value));
    if (ranged) narrow(mask, (row) => exchanges.begin(row) <= axis.end && exchanges.end(row) >= axis.begin);
    narrowByWords(mask, search.value, exchanges);
    grid.filter(mask);
    const number = grid.order.length;
    said.textContent = `${number === exchanges.length ? "" : `${grouped(number)} of `}${count(exchanges.length, "exchange")}${ranged ? ` in ${seconds(axis.begin)} to ${seconds(axis.end)} s` : ""}`;
  };
  let remembering;
  const remember = () => {
    const range = axis.whole ? {} : { from: (axis.begin / SECOND).toFixed(6), to: (axis.end / SECOND).toFixed(6) };
    clearTimeout(remembering);
    // browsers limit how often an address changes
    const state = { q: search.value, findings: only.checked ? 1 : "", capture: chooser?.value, exchange: grid.selected < 0 ? "" : exchanges.name(grid.selected), ...range };
    if (document.documentElement.dataset.ready) remembering = setTimeout(() => place.write("exchanges", state), 250);
  };
  const restore = (options) => {
    search.value = options.get("q") || "";
    only.checked = options.has("findings");
    if (chooser) chooser.value = options.get("capture") || "";
    const [from, to] = ["from", "to"].map((name) => Number(options.get(name) ?? NaN) * SECOND);
    if (to > from) axis.set(from, to);
    else axis.fit();
    const row = exchanges.named(options.get("exchange") || "");
    if (row !== undefined) grid.reveal(row);
  };
  axis.listeners.push(apply, remember);
  own.listeners.push(() => grid.redraw());
  search.addEventListener("input", () => {
    apply();
    remember();
  });
  for (const one of [only, chooser]) one?.addEventListener("change", () => {
    apply();
    remember();
  });
  align.addEventListener("change", () => {
    aligned = align.checked;
    grid.redraw();
  });
  const scale = { set: (a, b) => grid.axis().set(a, b) };
  const zooms = Axis.prototype.buttons.call({ pan: (by) => grid.axis().pan(by), zoom: (by) => grid.axis().zoom(by), fit: () => grid.axis().fit(), ...scale });
  const bar = element("div", { class: "bar" }, search, ...(chooser ? [chooser] : []), element("label", {}, only, "with findings"), element("label", {}, align, "each from its own start"), zooms, said);
  grid.scroll.before(...overview(exchanges, axis), bar, legend(exchanges));
  const panel = element("div", { class: "details", "aria-live": "polite", hidden: true });
  grid.scroll.after(panel);
  const details = (row) => {
    showDetails(panel, exchanges, row, report, jump);
    remember();
  };
  redraws.push(() => panel.hidden || details(grid.selected));
  apply();
  return { grid, restore };
}

const sample = (column) => {
  let least = 0;
  for (const value of column) if (value < least) least = value;
  return [least];
};

function showDetails(panel, exchanges, row, report, jump) {
  const told = exchanges.told;
  const [capture, connection] = [exchanges.capture[row], exchanges.connection[row]];
  const facts = [
    ...(report.captures.length > 1 ? [["Capture", report.captures[capture]]] : []),
    ["Exchange", `${connection}#${exchanges.index[row]}, from ${seconds(exchanges.start[row])} s${exchanges.timeOfDay(row) ? ` (${exchanges.timeOfDay(row)}, ${clock.name})` : ""}`],
    ["Request", told.sides[row] & 1 ? `frames ${told.request_frame[row]} to ${told.request_last_frame[row] ?? "?"}, host ${word(told.request_host, row) || "-"}, body ${bytes(exchanges.request_body_bytes[row])}` : "not captured"],
    ["Response", told.sides[row] & 2 ? `frames ${told.response_frame[row]} to ${told.response_last_frame[row] ?? "?"}, ${exchanges.status(row)} ${word(told.response_reason, row)}, ${[word(told.response_content_type, row), word(told.response_framing, row), `ends: ${word(told.response_end_reason, row)}`].filter(Boolean).join(", ")}, body ${bytes(exchanges.response_body_bytes[row])}` : exchanges.waits(row) ? "none" : "not captured"],
    ...(told.interim[row] ? [["Interim", told.interim[row].join(", ")]] : []),
    ["Time", [exchanges.took(row), ...exchanges.phases(row)].join(", ")],
    ...exchanges.limits(row).map((text) => ["Response limited by", text]),
  ];
  const bursts = exchanges.bursts.get(row);
  if (bursts) facts.push(["Bursts", `${bursts.length / 3}, at ${Array.from({ length: Math.min(bursts.length / 3, 12) }, (_, i) => `${seconds(bursts[3 * i])} s (${bytes(bursts[3 * i + 2])})`).join(", ")}${bursts.length > 36 ? ", ..." : ""}`]);
  const list = element("dl", {}, ...facts.flatMap(([name, text]) => [element("dt", { text: name }), element("dd", { text })]));
  const links = element("p", { class: "links" });
  for (const finding of exchanges.findings.get(row) || []) if (finding.group > 0) links.append(element("a", { href: `#finding-${finding.group}`, text: `Finding ${finding.number}: ${finding.rule}` }), " \u00a0 ");
  const graph = report.graphs.findIndex(([a, b]) => a === capture && b === connection);
  if (graph >= 0) links.append(element("a", { href: "#sequence", onclick: () => jump(graph, exchanges.begin(row), exchanges.end(row)), text: `Time sequence of connection ${connection}` }));
  const frames = [told.request_frame[row], told.request_last_frame[row], told.response_frame[row], told.response_last_frame[row]].filter((frame) => frame !== null);
  const code = element("code", { class: "copy", tabindex: 0, text: `tcp.stream == ${connection} && frame.number >= ${Math.min(...frames)} && frame.number <= ${Math.max(...frames)}` });
  panel.replaceChildren(element("h3", { text: exchanges.request(row) }), list, element("p", { class: "links" }, code), links);
  copyable(code);
  panel.hidden = false;
}
