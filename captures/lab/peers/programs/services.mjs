// Servers and clients of node modules: node services.mjs serve|use NAME HOST PORT MODULES.
import http from 'node:http'
import { createRequire } from 'node:module'

const [, , order, name, host, port, modules] = process.argv
const require = createRequire(`${modules}/node_modules/`)
const wait = (ms) => new Promise((done) => setTimeout(done, ms))
const url = `http://${host}:${port}`

const ways = {
  // BullMQ: a worker of two jobs at a time, 15 jobs a second
  async use_bullmq() {
    const { Queue, Worker } = require('bullmq')
    const connection = { host, port: +port }
    const queue = new Queue('lab', { connection })
    new Worker('lab', async (job) => { await wait(job.data.ms); return 'r'.repeat(job.data.ms) }, { connection, concurrency: 2 })
    for (let n = 0; n < 100; n++) { await queue.add('job', { ms: n % 50 }, { delay: n % 3 ? 0 : 100 }); await wait(65) }
    process.exit()
  },
  // tus: uploads in pieces that can be resumed
  async serve_tus() {
    const { Server } = require('@tus/server'), { FileStore } = require('@tus/file-store')
    new Server({ path: '/files', datastore: new FileStore({ directory: 'uploads' }) }).listen({ host, port: +port })
  },
  async use_tus() {
    const tus = require('tus-js-client')
    for (const [size, chunkSize] of [[200_000, 50_000], [3_000_000, Infinity], [2_000_000, 300_000]]) {
      await new Promise((done) => new tus.Upload(Buffer.alloc(size, 'u'), { endpoint: url + '/files', chunkSize, uploadSize: size, onSuccess: done, onError: done }).start())
      await wait(500)
    }
  },
  // PeerJS's signalling server, whose clients send heartbeats
  async serve_peer() { require('peer').PeerServer({ host, port: +port, path: '/', alive_timeout: 3000 }) },
  async use_peer() {
    const { WebSocket } = require('ws')
    for (const id of ['a', 'b']) {
      const socket = new WebSocket(`ws://${host}:${port}/peerjs?key=peerjs&id=${id}&token=t`)
      socket.on('open', () => { setInterval(() => socket.send('{"type":"HEARTBEAT"}'), 1000); setInterval(() => socket.send(JSON.stringify({ type: 'OFFER', dst: id === 'a' ? 'b' : 'a', payload: 'o'.repeat(900) })), 330) })
    }
    for (let n = 0; n < 8; n++) { await (await fetch(`${url}/peerjs/id`)).text(); await wait(900) }
    process.exit()
  },
  // tRPC: queries in batches, and a subscription over an event stream
  async serve_trpc() {
    const { initTRPC } = require('@trpc/server'), { createHTTPServer } = require('@trpc/server/adapters/standalone')
    const t = initTRPC.create({ sse: { ping: { enabled: true, intervalMs: 700 } } })
    const router = t.router({
      hi: t.procedure.query(() => 'h'.repeat(2000)), late: t.procedure.query(async () => { await wait(400); return 'late' }),
      tick: t.procedure.subscription(async function* () { for (let n = 0; n < 100; n++) { yield n; await wait(45) } })
    })
    createHTTPServer({ router }).listen(+port, host)
  },
  async use_trpc() {
    const client = require('@trpc/client')
    const lazy = client.createTRPCClient({ links: [client.httpBatchStreamLink({ url })] })
    const read = async () => { for await (const _ of (await fetch(url + '/tick', { headers: { accept: 'text/event-stream' } })).body); }
    const ask = async () => { for (let n = 0; n < 10; n++) { await Promise.all([lazy.hi.query(), lazy.late.query(), lazy.hi.query()]); await wait(250) } }
    await Promise.all([read(), ask()])
    process.exit()
  },
  // Yjs: two editors of one document at y-websocket
  async serve_yjs() {
    const { WebSocketServer } = require('ws')
    const everybody = new WebSocketServer({ host, port: +port })
    everybody.on('connection', (one) => one.on('message', (what) => everybody.clients.forEach((other) => other !== one && other.send(what))))
  },
  async use_yjs() {
    const Y = require('yjs'), { WebsocketProvider } = require('y-websocket'), { WebSocket } = require('ws')
    for (const start of [0, 70]) {
      const doc = new Y.Doc()
      new WebsocketProvider(`ws://${host}:${port}`, 'room', doc, { WebSocketPolyfill: WebSocket, disableBc: true })
      setTimeout(() => setInterval(() => doc.getText('t').insert(0, 'key'), 140), start)
    }
    setTimeout(() => process.exit(), 7000)
  },
  // Nest on Express, with events
  async serve_nest() {
    require('reflect-metadata')
    const { NestFactory } = require('@nestjs/core'), nest = require('@nestjs/common'), { interval, map, take } = require('rxjs')
    class Pages {
      page(name) { return name === 'late' ? wait(300).then(() => 'late') : 'x'.repeat(name === 'large' ? 300_000 : 300) }
      events() { return interval(50).pipe(take(60), map((n) => ({ data: { n } }))) }
      upload() { return 'got it' }
    }
    const of = (method) => Object.getOwnPropertyDescriptor(Pages.prototype, method)
    nest.Sse('events')(Pages.prototype, 'events', of('events'))
    nest.Get(':name')(Pages.prototype, 'page', of('page'))
    nest.Param('name')(Pages.prototype, 'page', 0)
    nest.Post('upload')(Pages.prototype, 'upload', of('upload'))
    nest.Controller()(Pages)
    class Root {}
    nest.Module({ controllers: [Pages] })(Root)
    await (await NestFactory.create(Root, { logger: false })).listen(+port, host)
  },
  // Polka and sirv
  async serve_polka() {
    const polka = require('polka'), sirv = require('sirv')
    polka().use(sirv('site', { dev: true })).get('/late', (_, to) => setTimeout(() => to.end('late'), 300)).post('/upload', (from, to) => { from.resume(); from.on('end', () => to.end()) })
      .get('/rows', async (_, to) => { to.writeHead(200, { 'content-type': 'application/x-ndjson' }); for (let n = 0; n < 40; n++) { to.write('{"row":1}\n'); await wait(60) } to.end() }).listen(+port, host)
  },
  // a page that live-server reloads
  async use_reloads() {
    const { WebSocket } = require('ws')
    for (let n = 0; n < 5; n++) {
      await (await fetch(url + '/small.txt')).text()
      const socket = new WebSocket(`ws://${host}:${port}/ws`)
      socket.on('error', () => 0)
      await wait(1200)
      socket.terminate()
    }
    process.exit()
  },
  // http agents of Node that rest for a while between two bursts
  async use_bursts() {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 4 })
    const ask = (path) => new Promise((done) => http.get({ host, port, path, agent }, (got) => { got.resume(); got.on('end', done) }).on('error', done))
    for (let n = 0; n < 5; n++) { await Promise.all(['/small.txt', '/small', '/large', '/late', '/rows', '/events'].map(ask)); await wait(900) }
    process.exit()
  }
}

await ways[`${order}_${name}`]()
