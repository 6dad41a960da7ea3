// Apollo Server and Hocuspocus: node documents.mjs apollo|hocuspocus serve|use HOST PORT MODULES
import { createRequire } from "node:module";

const [name, way, host, port, modules] = process.argv.slice(2);
const need = createRequire(`${modules}/`);
const pause = (time) => new Promise((done) => setTimeout(done, time));

async function ask(query, variables) {
  const headers = { "content-type": "application/json" };
  const response = await fetch(`http://${host}:${port}/`, { method: "POST", headers, body: JSON.stringify({ query, variables }) });
  return response.text();
}

const PROGRAMS = {
  async apollo_serve() {
    const { ApolloServer } = need("@apollo/server");
    const { startStandaloneServer } = need("@apollo/server/standalone");
    const typeDefs = "type Query { list(n: Int): [Int], slow: Int } type Mutation { add(text: String): Int }";
    const Query = { list: (_, { n }) => Array.from({ length: n }, (_, i) => i), slow: () => pause(600).then(() => 1) };
    const resolvers = { Query, Mutation: { add: (_, { text }) => text.length } };
    await startStandaloneServer(new ApolloServer({ typeDefs, resolvers }), { listen: { host, port: Number(port) } });
  },
  async apollo_use() {
    for (let i = 0; i < 10; i++) {
      const text = "z".repeat(40_000);
      await Promise.all([ask(`{ list(n: ${200 * i}) }`), ask("{ slow }"), ask("mutation($text: String) { add(text: $text) }", { text })]);
      await pause(100 * i);
    }
  },
  async hocuspocus_serve() {
    const { Server } = need("@hocuspocus/server");
    await new Server({ address: host, port: Number(port), quiet: true }).listen();
  },
  async hocuspocus_use() {
    const { HocuspocusProvider } = need("@hocuspocus/provider");
    const { Doc } = need("yjs");
    globalThis.WebSocket = need("ws");
    for (const writer of [1, 2, 3]) {
      const document = new Doc();
      new HocuspocusProvider({ url: `ws://${host}:${port}`, name: "text", document });
      setInterval(() => document.getText("t").insert(0, `typed ${Date.now()} `), 60 * writer + 37);
    }
    setTimeout(() => process.exit(), 9_000);
  },
};

await PROGRAMS[`${name}_${way}`]();
