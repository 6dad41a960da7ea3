// As requests_pool.py, with node's http.Agent: agent_pool.js BASE CONNECTIONS SECONDS AIM SPREAD BUSY
"use strict";
const http = require("node:http");
const [base, ...numbers] = process.argv.slice(2);
const [connections, seconds, first, spread, busy] = numbers.map(Number);
const deadline = performance.now() + 1000 * seconds;
const counts = { answered: 0, lost: 0 };
const step = 0.001;
let aim = first;

const pause = (time) => new Promise((done) => setTimeout(done, Math.max(0, 1000 * time)));
const get = (agent, path) => new Promise((done, failed) => {
  http.get(base + path, { agent }, (response) => {
    response.resume();
    response.on("end", () => done(response.headers["x-port"]));
  }).on("error", failed);
});

async function askAgain() {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  let port;
  while (performance.now() < deadline) {
    try {
      const now = await get(agent, "/bytes/20");
      counts.answered += 1;
      if (port) aim += now === port ? step : -step;
      port = now;
      await pause(aim + spread * (2 * Math.random() - 1));
    } catch (error) {
      counts.lost += 1;
      aim -= step;
    }
  }
  agent.destroy();
}

async function keepBusy() {
  const agent = new http.Agent({ keepAlive: true });
  while (busy && performance.now() < deadline) {
    await get(agent, `/work/${busy}`).catch(() => {});
    await pause(0.01 + 0.09 * Math.random());
  }
  agent.destroy();
}

const all = Array.from({ length: connections }, askAgain);
Promise.all([...all, keepBusy()]).then(() => console.log(JSON.stringify({ ...counts, aim })));
