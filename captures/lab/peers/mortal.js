// An application that can die, in node: mortal.js PORT LIMIT_MS WORKERS [silent]. Paths as in mortal_app.py, and /reset/MS (resets
// its connection on purpose), /hangup/MS (closes it). `silent`: announces no Keep-Alive.
"use strict";
const cluster = require("node:cluster");
const http = require("node:http");
const [port, limit, workers, silent] = process.argv.slice(2);

function work(milliseconds) {
  const deadline = performance.now() + milliseconds;
  while (performance.now() < deadline);
}

function answer(request, response) {
  const [, kind, number] = request.url.split(/[/?]/);
  const end = { die: () => process.exit(1), shot: () => process.kill(process.pid, "SIGKILL"),
    reset: () => request.socket.resetAndDestroy(), hangup: () => request.socket.destroy() }[kind];
  if (end) return number === "0" ? end() : setTimeout(end, Number(number));
  if (kind === "work") work(Number(number));
  const body = "n".repeat(kind === "bytes" ? Number(number) : 20);
  const send = () => {
    response.setHeader("X-Port", request.socket.remotePort);
    response.setHeader("Content-Type", "text/plain");
    response.setHeader("Content-Length", body.length);
    if (silent) response.setHeader("Connection", "keep-alive");
    response.end(body);
  };
  request.resume();
  return kind === "slow" ? setTimeout(send, Number(number)) : send();
}

if (cluster.isPrimary && Number(workers)) {
  for (let n = 0; n < Number(workers); n++) cluster.fork();
  cluster.on("exit", () => cluster.fork());
} else {
  const server = http.createServer({ keepAliveTimeout: Number(limit) }, answer);
  if (!cluster.isPrimary) process.on("SIGTERM", () => server.close(() => process.exit(0)));
  server.listen(Number(port));
}
