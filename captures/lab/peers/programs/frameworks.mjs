// The paths of server.py: node frameworks.mjs express|hapi|restify|polka|hono|proxy PORT MODULES, or with Deno or Bun: own
import { createRequire } from "node:module";
import { Readable } from "node:stream";

const own = globalThis.Deno ?? globalThis.Bun;
const [framework, port, modules] = process.argv.slice(2);
const need = createRequire(`${modules}/`);
const SMALL = "s".repeat(300), LARGE = "l".repeat(300_000);
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
async function* stream(path) {
  for (let n = 0; n < (path === "events" ? 20 : 30); n++) {
    await sleep(path === "events" ? 150 : 40);
    yield path === "events" ? `data: event ${n}\n\n` : `{"row": ${n}}\n`;
  }
}
const type = (path) => (path === "events" ? "text/event-stream" : "application/x-ndjson");
const streams = (path) => path === "events" || path === "rows";
const body = (path) => (path === "large" ? LARGE : SMALL);
const web = async (request) => {
  const path = new URL(request.url).pathname.slice(1);
  if (streams(path)) {
    const texts = stream(path), encoder = new TextEncoder();
    const pull = async (to) => { const { done, value } = await texts.next(); if (done) to.close(); else to.enqueue(encoder.encode(value)); };
    return new Response(new ReadableStream({ pull }), { headers: { "content-type": type(path) } });
  }
  if (path === "late") await sleep(700);
  if (path === "empty") return new Response(null, { status: 204 });
  if (path === "upload") return new Response(`${(await request.arrayBuffer()).byteLength}`);
  return new Response(body(path), { headers: { "content-type": "text/plain" } });
};

if (framework === "express" || framework === "restify" || framework === "polka") {
  const app = framework === "restify" ? need("restify").createServer() : need(framework)();
  const page = (request, response) => {
    const path = request.path instanceof Function ? request.path().slice(1) : request.url.slice(1);
    if (streams(path)) { response.setHeader("Content-Type", type(path)); Readable.from(stream(path)).pipe(response); return; }
    const end = () => { response.setHeader("Content-Type", "text/plain"); response.end(body(path)); };
    if (path === "empty") { response.statusCode = 204; response.end(); } else if (path === "late") setTimeout(end, 700); else end();
  };
  const upload = (request, response) => { let size = 0; request.on("data", (piece) => (size += piece.length)).on("end", () => response.end(`${size}`)); };
  for (const path of ["/small", "/large", "/late", "/empty", "/rows", "/events"]) { app.get(path, page); app.head(path, page); }
  app.post("/upload", upload);
  app.listen(+port, "0.0.0.0");
} else if (framework === "hapi") {
  const server = need("@hapi/hapi").server({ port: +port, host: "0.0.0.0" });
  const handler = async ({ params: { path } }, h) => {
    if (streams(path)) return h.response(Readable.from(stream(path), { objectMode: false })).type(type(path));
    if (path === "late") await sleep(700);
    if (path === "empty") return h.response().code(204);
    return h.response(body(path)).type("text/plain");
  };
  server.route({ method: "GET", path: "/{path}", handler });
  server.route({ method: "POST", path: "/upload", options: { payload: { parse: false } }, handler: (request) => `${request.payload.length}` });
  await server.start();
} else if (framework === "hono") {
  const { Hono } = await import(`${modules}/node_modules/hono/dist/index.js`);
  const { serve } = await import(`${modules}/node_modules/@hono/node-server/dist/index.mjs`);
  const app = new Hono();
  app.all("/:path", (c) => web(c.req.raw));
  serve({ fetch: app.fetch, port: +port, hostname: "0.0.0.0" });
} else if (framework === "proxy") {
  need("http-proxy").createProxyServer({ target: "http://127.0.0.1:8080", timeout: 5_000, proxyTimeout: 5_000 })
    .on("error", (_, __, response) => { response.writeHead?.(502); response.end?.("bad gateway"); }).listen(+port);
} else if (framework === "faye" || framework === "sockjs") {
  const { createServer } = await import("node:http");
  const server = createServer((_, response) => response.end("no"));
  if (framework === "faye") {
    const { NodeAdapter } = need("faye");
    const bayeux = new NodeAdapter({ mount: "/faye", timeout: 5 });
    bayeux.attach(server);
    setInterval(() => bayeux.getClient().publish("/ticks", { at: Date.now() }), 700);
  } else {
    const sockjs = need("sockjs").createServer({ log() {} });
    sockjs.on("connection", (link) => {
      const id = setInterval(() => link.write(`tick ${Date.now()}`), 300);
      link.on("data", (text) => link.write(text));
      link.on("close", () => clearInterval(id));
    });
    sockjs.installHandlers(server, { prefix: "/echo" });
  }
  server.listen(+port, "0.0.0.0");
} else if (globalThis.Deno) {
  own.serve({ port: +port, hostname: "0.0.0.0" }, web);
} else {
  own.serve({ port: +port, hostname: "0.0.0.0", idleTimeout: 4, fetch: web });
}
