// Uses a server as a program in node does: node user.mjs undici|axios|got|socketio URL MODULES
import { createRequire } from "node:module";

const [library, url, modules] = process.argv.slice(2);
const need = createRequire(`${modules}/`);
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const upload = Buffer.alloc(20_000, "u");

if (library === "socketio") {
  const { io } = need("socket.io-client");
  const socket = io(url, { reconnectionDelay: 500 });
  for (let n = 0; n < 8; n++) {
    await Promise.race([new Promise((done) => socket.emit("ask", `q${n}`, done)), sleep(2_000)]);
    await sleep(700);
  }
  socket.close();
} else {
  let ask;
  if (library === "undici") {
    const { Pool } = need("undici");
    const pool = new Pool(url, { connections: 2, pipelining: 1 });
    ask = async (method, path, body) => (await pool.request({ method, path, body })).body.dump({ limit: 1e9 });
  } else if (library === "axios") {
    const http = await import("node:http");
    const axios = need("axios").create({ baseURL: url, httpAgent: new http.Agent({ keepAlive: true }), responseType: "arraybuffer" });
    ask = (method, path, body) => axios.request({ method, url: path, data: body });
  } else {
    const got = (await import(`${modules}/node_modules/got/dist/source/index.js`)).default.extend({ prefixUrl: url, retry: { limit: 1 } });
    ask = (method, path, body) => got(path.slice(1), { method, body }).buffer();
  }
  const quietly = (...words) => ask(...words).catch((error) => console.error(String(error)));
  for (let n = 0; n < 5; n++) { await quietly("GET", "/small"); await sleep(200); }
  await Promise.all(["/small", "/late", "/large"].map((path) => quietly("GET", path)));
  await quietly("POST", "/upload", upload);
  await quietly("GET", "/rows");
  await quietly("GET", "/events");
  await sleep(2_500);
  await quietly("GET", "/empty");
  await quietly("GET", "/small");
}
process.exit(0);
