// PouchDB keeps a database in step with one on a server, live, while another client writes there: node sync.mjs URL MODULES
import { createRequire } from "node:module";

const [url, modules] = process.argv.slice(2);
const PouchDB = createRequire(`${modules}/`)("pouchdb");
PouchDB.plugin(createRequire(`${modules}/`)("pouchdb-adapter-memory"));
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const here = new PouchDB("here", { adapter: "memory" });
const there = new PouchDB(`${url}/db/lab`);
const step = PouchDB.sync(here, there, { live: true, retry: true, heartbeat: 2_000, batch_size: 20 });
step.on("error", (error) => console.error(String(error)));
for (let n = 0; n < 10; n++) {
  const text = "x".repeat(300 * n);
  await Promise.race([Promise.all([here.put({ _id: `here${n}`, text }), there.put({ _id: `there${n}`, text })]).catch((error) => console.error(String(error))), sleep(3_000)]);
  await sleep(900);
}
step.cancel();
await sleep(300);
process.exit(0);
