// The same paths as server.py: node server.mjs fastify|koa|socketio PORT [MODULES]
import { createRequire } from "node:module";
import { Readable } from "node:stream";

const [framework, port, modules] = process.argv.slice(2);
const need = createRequire(`${modules}/`);
const SMALL = Buffer.alloc(300, "s"), LARGE = Buffer.alloc(300_000, "l");
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
async function* stream(path) {
  for (let n = 0; n < (path === "events" ? 20 : 30); n++) {
    await sleep(path === "events" ? 150 : 40);
    yield path === "events" ? `data: event ${n}\n\n` : `{"row": ${n}}\n`;
  }
}
const type = (path) => (path === "events" ? "text/event-stream" : "application/x-ndjson");

if (framework === "fastify") {
  const app = need("fastify")({ keepAliveTimeout: 4_000, bodyLimit: 10_000_000 });
  app.addContentTypeParser("*", { parseAs: "buffer" }, (_, body, done) => done(null, body));
  app.get("/:path", async ({ params: { path } }, reply) => {
    if (path === "events" || path === "rows") return reply.type(type(path)).send(Readable.from(stream(path)));
    if (path === "late") await sleep(700);
    if (path === "empty") return reply.code(204).send();
    return reply.type("text/plain").send(path === "large" ? LARGE : SMALL);
  });
  app.post("/upload", async ({ body }) => `${body.length}`);
  await app.listen({ port: +port, host: "0.0.0.0" });
} else if (framework === "koa") {
  const Koa = need("koa");
  const app = new (Koa.default ?? Koa)();
  app.use(async (ctx) => {
    const path = ctx.path.slice(1);
    if (path === "events" || path === "rows") { ctx.type = type(path); ctx.body = Readable.from(stream(path)); return; }
    if (path === "late") await sleep(700);
    if (path === "empty") { ctx.status = 204; return; }
    if (path === "upload") { let size = 0; for await (const piece of ctx.req) size += piece.length; ctx.body = `${size}`; return; }
    ctx.type = "text/plain"; ctx.body = path === "large" ? LARGE : SMALL;
  });
  app.listen(+port, "0.0.0.0").keepAliveTimeout = 4_000;
} else {
  const { Server } = need("socket.io");
  const io = new Server(+port, { pingInterval: 1_500, pingTimeout: 1_000 });
  io.on("connection", (socket) => {
    const tick = setInterval(() => socket.emit("tick", Date.now()), 90);
    socket.on("ask", (question, answer) => answer(`${question}!`));
    socket.on("disconnect", () => clearInterval(tick));
  });
}
