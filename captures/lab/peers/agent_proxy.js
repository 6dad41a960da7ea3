// A proxy whose http.Agent opens at most SOCKETS connections: agent_proxy.js PORT HOST PORT SOCKETS
"use strict";

const http = require("node:http");

const [port, host, behind, sockets] = process.argv.slice(2);
const agent = new http.Agent({ keepAlive: true, maxSockets: Number(sockets) });

const server = http.createServer((request, response) => {
  const { method, url: path, headers } = request;
  const call = http.request({ host, port: behind, method, path, headers, agent }, (answer) => {
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
  });
  call.on("error", () => response.destroy());
  request.pipe(call);
});

server.listen(Number(port));
