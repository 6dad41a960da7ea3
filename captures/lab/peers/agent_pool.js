// As threaded_pools.py, with node's http.Agent, or with undici: agent_pool.js LIBRARY BASE CONNECTIONS SECONDS AIM SPREAD BUSY
"use strict";
const http = require("node:http");
const [library, base, ...numbers] = process.argv.slice(2);
const [connections, seconds, first, spread, busy] = numbers.map(Number);
const deadline = performance.now() + 1000 * seconds;
const counts = { answered: 0, lost: 0 };
const step = 0.001;
let aim = first;

const pause = (time) => new Promise((done) => setTimeout(done, Math.max(0, 1000 * time)));

function withAgent() {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const get = (path) => new Promise((done, failed) => {
    http.get(base + path, { agent }, (response) => {
      response.resume();
      response.on("end", () => done(response.headers["x-port"]));
    }).on("error", failed);
  });
  return { get, close: () => agent.destroy() };
}

// node does not export its undici, but the dispatcher of fetch is an Agent of it; fetch must have been used once.
async function withUndici() {
  await fetch("data:,").then((response) => response.text());
  const { constructor: Agent } = globalThis[Symbol.for("undici.globalDispatcher.1")];
  const dispatcher = new Agent({ connections: 1, keepAliveTimeout: 60_000 });
  const get = async (path) => {
    const response = await fetch(base + path, { dispatcher });
    await response.arrayBuffer();
    return response.headers.get("x-port");
  };
  return { get, close: () => dispatcher.close() };
}

const opened = library === "undici" ? withUndici : withAgent;

async function askAgain() {
  const { get, close } = await opened();
  let port;
  while (performance.now() < deadline) {
    try {
      const now = await get("/bytes/20");
      counts.answered += 1;
      if (port) aim += now === port ? step : -step;
      port = now;
      await pause(aim + spread * (2 * Math.random() - 1));
    } catch (error) {
      counts.lost += 1;
      aim -= step;
    }
  }
  await close();
}

async function keepBusy() {
  const { get, close } = await opened();
  while (busy && performance.now() < deadline) {
    await get(`/work/${busy}`).catch(() => {});
    await pause(0.01 + 0.09 * Math.random());
  }
  await close();
}

const all = Array.from({ length: connections }, askAgain);
Promise.all([...all, keepBusy()]).then(() => console.log(JSON.stringify({ ...counts, aim })));
