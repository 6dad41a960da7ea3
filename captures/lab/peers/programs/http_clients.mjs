// Use a server with a client of node: node http_clients.mjs
// undici|axios|got|nodefetch|needle|superagent|fetch|socketio|faye|faye-poll|sockjs URL MODULES
import { createRequire } from "node:module";

const [library, url, modules] = process.argv.slice(2);
const need = createRequire(`${modules}/`);
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const upload = Buffer.alloc(20_000, "u");
const http = await import("node:http");
const agent = new http.Agent({ keepAlive: true, maxSockets: 4 });
let ask;
if (library.startsWith("faye")) {
  const client = new (need("faye").Client)(`${url}/faye`, { timeout: 8 });
  if (library === "faye-poll") client.disable("websocket");
  client.subscribe("/ticks", () => {});
  client.subscribe("/said", () => {});
  for (let n = 0; n < 10; n++) { client.publish("/said", { n }); await sleep(900); }
  client.disconnect();
  await sleep(300);
  process.exit(0);
} else if (library === "sockjs") {
  const SockJS = need("sockjs-client");
  for (const transports of [["xhr-streaming"], ["xhr-polling"], ["websocket"]]) {
    const socket = new SockJS(`${url}/echo`, null, { transports });
    socket.onopen = () => socket.send("hello");
    for (let n = 0; n < 5; n++) { await sleep(600); try { socket.send(`n ${n}`); } catch (error) { console.error(String(error)); } }
    socket.close();
  }
  await sleep(300);
  process.exit(0);
} else if (library === "socketio") {
  const socket = need("socket.io-client").io(url, { reconnectionDelay: 500 });
  for (let n = 0; n < 8; n++) {
    await Promise.race([new Promise((done) => socket.emit("ask", `q${n}`, done)), sleep(2_000)]);
    await sleep(700);
  }
  socket.close();
  process.exit(0);
} else if (library === "undici") {
  const pool = new (need("undici").Pool)(url, { connections: 2, pipelining: 1 });
  ask = async (method, path, body) => (await pool.request({ method, path, body })).body.dump({ limit: 1e9 });
} else if (library === "axios") {
  const axios = need("axios").create({ baseURL: url, httpAgent: new http.Agent({ keepAlive: true }), responseType: "arraybuffer" });
  ask = (method, path, body) => axios.request({ method, url: path, data: body });
} else if (library === "got") {
  const got = (await import(`${modules}/node_modules/got/dist/source/index.js`)).default.extend({ prefixUrl: url, retry: { limit: 1 } });
  ask = (method, path, body) => got(path.slice(1), { method, body }).buffer();
} else if (library === "nodefetch") {
  const { default: fetch } = await import(`${modules}/node_modules/node-fetch/src/index.js`);
  ask = async (method, path, body) => (await fetch(url + path, { method, body, agent, signal: AbortSignal.timeout(8_000) })).arrayBuffer();
} else if (library === "needle") {
  const needle = need("needle");
  ask = (method, path, body) => needle(method.toLowerCase(), url + path, body, { agent, read_timeout: 8_000 });
} else if (library === "superagent") {
  const client = need("superagent");
  ask = (method, path, body) => client(method, url + path).agent(agent).timeout(8_000).buffer(true).retry(1).send(body && body.toString());
} else {
  ask = async (method, path, body) => (await fetch(url + path, { method, body, signal: AbortSignal.timeout(8_000) })).arrayBuffer();
}
const quietly = async (...words) => { try { await ask(...words); } catch (error) { console.error(Date.now() / 1000, words.slice(0, 2).join(" "), String(error.cause ?? error)); } };
for (let n = 0; n < 5; n++) { await quietly("GET", "/small"); await sleep(200); }
await Promise.all(["/small", "/late", "/large"].map((path) => quietly("GET", path)));
await quietly("POST", "/upload", upload);
await quietly("GET", "/rows");
await quietly("GET", "/events");
await sleep(2_500);
await quietly("GET", "/empty");
await quietly("GET", "/small");
process.exit(0);
