// The pages of silence_server.py, by node; idle connections are kept for two minutes. node silence_server.js PORT [MS]
// MS: how long it waits for a whole request; then it answers with 408.
"use strict";
const http = require("http");

const server = http.createServer({ connectionsCheckingInterval: 500 }, (request, response) => {
  const [kind, ...words] = request.url.slice(1).split("/");
  const numbers = words.map(Number);
  const page = (size) => {
    response.writeHead(200, { "Content-Type": "text/plain", "Content-Length": size });
    response.end(Buffer.alloc(size, "s"));
  };
  if (request.method === "POST") {
    setTimeout(() => {
      request.on("end", () => page(5));
      request.resume();
    }, kind === "lazy" ? numbers[0] : 0);
  } else if (kind === "drip") {
    let left = numbers[0];
    response.writeHead(200, { "Content-Type": "text/plain" });
    const next = () => {
      if (left-- === 0) return response.end();
      response.write(Buffer.alloc(numbers[2], "d"));
      setTimeout(next, numbers[1]);
    };
    next();
  } else if (kind === "slow") {
    setTimeout(() => page(numbers[1]), numbers[0]);
  } else {
    page(numbers[0]);
  }
});
server.keepAliveTimeout = 120000;
server.headersTimeout = Number(process.argv[3] || 130000); // node takes the larger of the two for both
server.requestTimeout = Number(process.argv[3] || 0);
server.listen(Number(process.argv[2]), "::");
