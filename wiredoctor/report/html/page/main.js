// Builds the tables and graphs of a report.

const PRINTED = 60;

// Removes the folder that all captures have in common from their names.
function shortest(names) {
  if (names.length < 2) return names;
  let folder = names[0].slice(0, names[0].lastIndexOf("/") + 1);
  while (folder && !names.every((name) => name.startsWith(folder))) folder = folder.slice(0, folder.lastIndexOf("/", folder.length - 2) + 1);
  return names.map((name) => name.slice(folder.length));
}

async function start() {
  const report = await load("data-report");
  const told = report.findings;
  report.names = shortest(report.captures);
  report.told = told.elapsed.map((elapsed, at) => ({
    number: told.number[at], group: told.group[at], rule: word(told.rule, at), severity: word(told.severity, at), capture: told.capture[at],
    connection: told.connection[at], exchange: told.exchange[at], elapsed, delay: told.delay[at], count: told.count[at],
  }));
  const exchanges = new Exchanges(report);
  exchanges.mark(report.told);
  let [first, last] = [0, 0];
  for (let row = 0; row < exchanges.length; row++) [first, last] = [Math.min(first, exchanges.start[row]), Math.max(last, exchanges.end(row))];
  for (let row = 0; row < report.connections.capture.length; row++) [first, last] = [Math.min(first, report.connections.start[row]), Math.max(last, report.connections.end[row])];
  const axis = new Axis(first, last);
  const show = buildSequence(report);
  const jump = (graph, begin, end) => show(graph, begin, end);
  const made = buildExchanges(report, exchanges, axis, jump);
  const connections = buildConnections(report, exchanges, axis, jump);
  if (made) restorers.exchanges = made.restore;
  const grids = [made?.grid, connections].filter(Boolean);
  addEventListener("beforeprint", () => grids.forEach((grid) => grid.print(PRINTED)));
  addEventListener("afterprint", () => grids.forEach((grid) => grid.print(0)));
  for (const link of document.querySelectorAll("a[data-graph]")) {
    link.parentElement.hidden = false;
    const finding = report.told[Number(link.dataset.finding)];
    link.addEventListener("click", () => {
      const at = finding ? finding.elapsed * SECOND : 0;
      if (finding?.delay) jump(Number(link.dataset.graph), at, at + finding.delay * SECOND);
      else jump(Number(link.dataset.graph));
    });
  }
  for (const link of document.querySelectorAll("a[data-exchange]")) {
    const { capture, connection, exchange } = report.told[Number(link.dataset.exchange)] || {};
    const row = exchanges.places.get(exchanges.key(capture, connection, exchange));
    if (row === undefined) {
      link.remove();
      continue;
    }
    link.href = `#exchanges?${new URLSearchParams({ exchange: exchanges.name(row) })}`;
    link.parentElement.hidden = false;
  }
  if (place.read().id === "exchanges") openTarget();
  document.documentElement.dataset.ready = "true";
}

start().catch((error) => {
  for (const id of ["exchanges-table", "connections-table", "sequence-graph"]) document.getElementById(id).replaceChildren(element("p", { class: "dim", text: `This browser could not draw this part: ${error.message}` }));
  throw error;
});
