// The table of connections, in which a bar shows the exchanges of each connection.

function buildConnections(report, exchanges, axis, jump) {
  const root = document.getElementById("connections-table");
  const told = report.connections;
  const length = told.capture.length;
  if (!length) return void root.append(element("p", { class: "dim", text: "No TCP connection was seen." }));
  const column = Object.fromEntries(["connection", "packets", "client_bytes", "server_bytes", "start", "end", "rtt_client", "rtt_server", "exchanges", "first_frame", "last_frame"].map((name) => [name, numbers(told[name])]));
  const lanes = new Map();
  for (let row = 0; row < exchanges.length; row++) {
    const key = `${exchanges.capture[row]} ${exchanges.connection[row]}`;
    if (!lanes.has(key)) lanes.set(key, []);
    lanes.get(key).push(row);
  }
  const findings = new Map();
  for (const finding of report.told) {
    const key = `${finding.capture} ${finding.connection}`;
    if (!findings.has(key)) findings.set(key, []);
    findings.get(key).push(finding);
  }
  const key = (row) => `${told.capture[row]} ${column.connection[row]}`;
  const rtt = (row) => (Number.isNaN(column.rtt_client[row]) || Number.isNaN(column.rtt_server[row]) ? NaN : column.rtt_client[row] + column.rtt_server[row]);
  const marks = Uint32Array.from({ length }, (_, row) => (findings.get(key(row)) || []).length);
  const marked = (row) => marks[row];
  const closed = (row) => [word(told.closed_by, row), word(told.close, row)].filter(Boolean).join(", ") || "open";
  const lasts = (row) => column.end[row] - column.start[row];
  const said = (row) => `${duration(lasts(row))}, ${count(column.exchanges[row], "exchange")}`;
  const several = report.captures.length > 1;
  const draw = (context, width, height, row) => {
    const x = axis.scale(width);
    const middle = 11;
    context.fillStyle = colours.get("rule-strong");
    const [from, to] = [Math.max(x(column.start[row]), -2), Math.min(x(column.end[row]), width + 2)];
    if (to > from - 1) context.fillRect(from, middle - 0.5, Math.max(to - from, 1.5), 1.5);
    let drawn = -1;
    for (const exchange of lanes.get(key(row)) || []) {
      const [left, right] = [x(exchanges.start[exchange]), x(exchanges.end(exchange))];
      if (right < 0 || left > width || (right <= drawn && !exchanges.findings.has(exchange))) continue;
      drawn = Math.max(right, left + 1);
      context.fillStyle = colours.get("response");
      context.fillRect(Math.max(left, -2), middle - 7, Math.max(Math.min(right, width + 2) - Math.max(left, -2) - 0.5, 1), 14);
    }
    for (const finding of findings.get(key(row)) || []) {
      const [left, wide] = [x(finding.elapsed * SECOND), Math.max(x(axis.begin + (finding.delay || 0) * SECOND), 2)];
      stall(context, left, height - 7, wide, 6);
    }
  };
  const panel = element("div", { class: "details", "aria-live": "polite", hidden: true });
  const details = (row) => {
    const facts = [
      ...(several ? [["Capture", report.captures[told.capture[row]]]] : []),
      ["Endpoints", `${word(told.client, row)} -> ${word(told.server, row)}`],
      ["Frames", `${told.first_frame[row]} to ${told.last_frame[row]}, ${count(column.packets[row], "packet")}, from ${seconds(column.start[row])} s to ${seconds(column.end[row])} s`],
      ["Bytes", `${bytes(column.client_bytes[row])} from the client, ${bytes(column.server_bytes[row])} from the server`],
      ["Round trip", `to the client ${orDash(column.rtt_client[row], duration)}, to the server ${orDash(column.rtt_server[row], duration)}, from the capture point`],
      ["Carried", `${word(told.protocol, row)}, ${count(column.exchanges[row], "exchange")}`],
      ["History", `${word(told.history, row)}; closed by: ${closed(row)}`],
    ];
    const links = element("p", { class: "links" });
    for (const finding of findings.get(key(row)) || []) if (finding.group > 0 && links.childNodes.length < 40) links.append(element("a", { href: `#finding-${finding.group}`, text: `Finding ${finding.number}: ${finding.rule}` }), " \u00a0 ");
    const graph = report.graphs.findIndex(([a, b]) => a === told.capture[row] && b === column.connection[row]);
    if (graph >= 0) links.append(element("a", { href: "#sequence", onclick: () => jump(graph), text: "Time sequence" }));
    const code = element("code", { class: "copy", tabindex: 0, text: `tcp.stream == ${column.connection[row]}` });
    panel.replaceChildren(element("h3", { text: `Connection ${column.connection[row]}` }), element("dl", {}, ...facts.flatMap(([name, text]) => [element("dt", { text: name }), element("dd", { text })])), element("p", { class: "links" }, code), links);
    copyable(code);
    panel.hidden = false;
  };
  const grid = new Grid(root, {
    label: "Connections", least: several ? "widest" : "wider", rows: length, sorted: 0, axis: () => axis, details,
    described: (row) => [`${word(told.client, row)} -> ${word(told.server, row)}`, said(row), ...(findings.get(key(row)) || []).slice(0, 5).map((finding) => `${finding.rule}${finding.delay ? ` ${duration(finding.delay * SECOND)}` : ""}`)].join("\n"),
    columns: [
      { title: "Id", hint: "tcp.stream", width: "3.9rem", right: true, text: (row) => String(column.connection[row]), value: (row) => (several ? told.capture[row] * 1e10 : 0) + column.connection[row] },
      ...(several ? [{ title: "Capture", width: "8rem", wide: true, text: (row) => report.names[told.capture[row]] || "", value: (row) => told.capture[row] }] : []),
      { title: "Client", wide: true, width: "10.2rem", text: (row) => word(told.client, row), value: ranked(told.client) },
      { title: "Server", width: "9rem", text: (row) => word(told.server, row), value: ranked(told.server) },
      { title: "Packets", wide: true, falling: true, width: "5rem", right: true, text: (row) => grouped(column.packets[row]), value: (row) => column.packets[row] },
      { title: "Up", wide: true, hint: "bytes from the client", falling: true, width: "4.6rem", right: true, text: (row) => bytes(column.client_bytes[row]), value: (row) => column.client_bytes[row] },
      { title: "Down", hint: "bytes from the server", falling: true, width: "4.6rem", right: true, text: (row) => bytes(column.server_bytes[row]), value: (row) => column.server_bytes[row] },
      { title: "RTT", wide: true, hint: "round trip", falling: true, width: "4.7rem", right: true, text: (row) => orDash(rtt(row), duration), value: rtt },
      { title: "Time", hint: "how long the connection was open", falling: true, width: "4.9rem", right: true, text: (row) => duration(lasts(row)), value: lasts },
      { title: "Exch", hint: "number of exchanges", falling: true, width: "4.1rem", right: true, text: (row) => grouped(column.exchanges[row]), value: (row) => column.exchanges[row] },
      { title: "Closed", wide: true, width: "5.9rem", text: closed, value: ranked(told.closed_by) },
      { title: "Findings", falling: true, width: "5.2rem", right: true, text: (row) => (marked(row) ? `! ${marked(row)}` : ""), value: (row) => marked(row) || NaN, bad: marked },
      { title: "Exchanges over time", draw, said },
    ],
  });
  const words = element("p", { class: "said", role: "status" });
  const search = element("input", { type: "search", "aria-label": "Filter the connections", placeholder: "address, port, tls, rst", spellcheck: "false" });
  const only = element("input", { type: "checkbox" });
  const apply = () => {
    const mask = new Uint8Array(length).fill(1);
    if (only.checked) narrow(mask, marked);
    if (!axis.whole) narrow(mask, (row) => column.start[row] <= axis.end && column.end[row] >= axis.begin);
    for (const one of search.value.toLowerCase().split(/\s+/).filter(Boolean)) {
      const has = containing(["client", "server", "protocol", "closed_by", "close"].map((name) => told[name]), one);
      narrow(mask, (row) => has[row] || column.connection[row] === Number(one));
    }
    grid.filter(mask);
    words.textContent = `${grid.order.length === length ? "" : `${grouped(grid.order.length)} of `}${count(length, "connection")}`;
  };
  axis.listeners.push(apply);
  search.addEventListener("input", apply);
  only.addEventListener("change", apply);
  grid.scroll.before(element("div", { class: "bar" }, search, element("label", {}, only, "with findings"), axis.buttons(), words));
  grid.scroll.after(panel);
  apply();
  return grid;
}
