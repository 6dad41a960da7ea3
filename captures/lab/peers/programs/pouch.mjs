// A server of PouchDB, with what CouchDB's clients ask of it: node pouch.mjs PORT MODULES
import { createRequire } from "node:module";

const [port, modules] = process.argv.slice(2);
const need = createRequire(`${modules}/`);
const PouchDB = need("pouchdb");
PouchDB.plugin(need("pouchdb-adapter-memory"));
const app = need("express")();
app.use("/db", need("express-pouchdb")(PouchDB.defaults({ adapter: "memory" }), { inMemoryConfig: true, logPath: "/dev/null" }));
app.listen(Number(port));
