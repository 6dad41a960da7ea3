"""Programs for programs.py that read parts of large files, and some that push data to their clients."""

# ruff: noqa: E501, for the command lines and files of these programs

from __future__ import annotations

import sys

from program import ALONE, HELD, KILLED, MODULES, NAGLE, URL, Program, Serve, command, shell

NGINX = """daemon off; pid {folder}/n.pid; error_log {folder}/errors; worker_processes 1; user root;
events { worker_connections 256; }
http { include /etc/nginx/mime.types; access_log off; sendfile on; server { listen 8080; root {folder}/site; } }
"""


def nginx(prepare: str = "true") -> Serve:
    """Return nginx, which serves the folder `site` after a command has filled that folder."""
    return command(f"sh -c '{prepare}; exec nginx -c {{folder}}/n.conf'", n_conf=NGINX)


FILM = "ffmpeg -v error -f lavfi -i testsrc=s=640x360:r=25 -t 30 -c:v mpeg4 -b:v 1500k site/v.mp4"

PLAY = (
    f"timeout 8 mplayer -really-quiet -vo null -ao null {URL}/v.mp4 & "
    f"timeout 8 setpriv --reuid=65534 --clear-groups cvlc -q -A dummy -V dummy {URL}/v.mp4 vlc://quit; wait"
)

SLOWLY = (
    "const { Readable, Writable } = require('stream'); const read = async (wait) => { "
    f"const answer = await fetch('{URL}/huge'); const to = new Writable({{ write: (piece, _, done) => setTimeout(done, wait()) }}); "
    "return new Promise((done) => Readable.fromWeb(answer.body).pipe(to).on('finish', done)); }; "
    "Promise.all([read(() => 25), read(() => 40 * Math.random())]).then(() => process.exit())"
)

MAP = (
    "for n in 1 2 3 4 5 6; do for c in gdalinfo 'gdallocationinfo -valonly'; do "
    f"$c /vsicurl/{URL}/a.tif $((n * 300)) $((n * 500)) >/dev/null 2>&1; done; gdal_translate -q -srcwin 1000 $((n * 300)) 600 600 /vsicurl/{URL}/a.tif o.tif; done"
)

GENOME = (
    "{python} -c \"print(chr(64) + 'SQ', 'SN:c', 'LN:100000000', sep=chr(9)); "
    "[print(f'r{n}', 0, 'c', n * 300 + 1, 60, '100M', '*', 0, 0, 'ACGTTGCATC' * 10, 'I' * 100, sep=chr(9)) for n in range(120000)]\" "
    f"> a.sam; samtools view -b a.sam > site/a.bam; samtools index site/a.bam; for n in 1 2 3 4; do samtools view {URL}/a.bam c:${{n}}0000000-${{n}}0100000 >/dev/null; rm -f *.bai; samtools view {URL}/a.bam | head -100 >/dev/null; done"
).replace("{python}", sys.executable)

TREE = (
    "export R=--repo=site/repo L=--repo=l; ostree $R init --mode=archive; mkdir t; for n in $(seq 200); do head -c $((n * 100)) /dev/urandom > t/$n; done; ostree $R commit -b main t; ostree $R summary -u; "
    f"ostree $L init --mode=bare-user; ostree $L remote add --no-gpg-verify o {URL}/repo; ostree $L pull o main; ostree $L pull o main"
)

SEGMENTS = (
    "ffmpeg -v error -i site/v.mp4 -c copy -f hls -hls_time 2 -hls_list_size 0 site/h.m3u8; Y='yt-dlp -q --no-part --force-overwrites'; "
    f"$Y {URL}/v.mp4 -o a.mp4; $Y --http-chunk-size 500K {URL}/v.mp4 -o b.mp4; $Y -N 3 {URL}/h.m3u8 -o c.mp4; $Y -r 2M {URL}/v.mp4 -o d.mp4"
)

LIVE = "ffmpeg -v error -re -f lavfi -i sine=frequency=440 -t 40 -c:a libmp3lame -b:a 128k -f mp3 -listen 1 http://0.0.0.0:8080/a.mp3"

YOGA = (
    "const { createYoga, createSchema } = require('{modules}/node_modules/graphql-yoga'); "
    "const wait = (ms) => new Promise((done) => setTimeout(done, ms)); "
    "async function* tick(_, { ms }) { for (let n = 0; n < 4000 / ms; n++) { await wait(ms); yield { tick: n }; } } "
    "const typeDefs = 'type Query { hi: String } type Subscription { tick(ms: Int): Int }'; "
    "const schema = createSchema({ typeDefs, resolvers: { Query: { hi: () => 'hi' }, Subscription: { tick: { subscribe: tick } } } }); "
    "require('http').createServer(createYoga({ logging: false, schema })).listen(8080);"
)

ENGINE = (
    "const server = require('{modules}/node_modules/engine.io').listen(8080, { pingInterval: 2500 }); "
    "server.on('connection', (to) => { const tick = setInterval(() => to.send('n'.repeat(40)), 70); to.on('message', (what) => to.send(what)); to.on('close', () => clearInterval(tick)); });"
)

ENGINE_USER = (
    (
        "const { Socket } = require('{modules}/node_modules/engine.io-client'); "
        "for (const transports of [['polling'], ['polling', 'websocket'], ['websocket']]) { const to = new Socket('{url}', { transports }); let n = 0; "
        "to.on('open', () => { const tick = setInterval(() => { to.send('x'.repeat(300)); if (++n > 25) { clearInterval(tick); to.close(); } }, 300); }); }"
    )
    .replace("{url}", URL)
    .replace("{modules}", MODULES)
)

KEA = '{"Control-agent": {"http-host": "0.0.0.0", "http-port": 8080}}'

KEA_USER = (
    "import http.client, time; c = http.client.HTTPConnection('10.9.0.2', 8080, timeout=8); "
    "[(c.request('POST', '/', '{\"command\": \"config-get\"}', {'Content-Type': 'application/json'}), c.getresponse().read(), time.sleep(0.5)) for _ in range(12)]"
)

QUERIES = (
    "const ask = (query) => fetch('{url}/graphql', { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ query }) }).then((r) => r.text()); "
    "const sub = async (ms) => { const r = await fetch('{url}/graphql?query=' + encodeURIComponent(`subscription { tick(ms: ${ms}) }`), { headers: { accept: 'text/event-stream' } }); for await (const _ of r.body); }; "
    "const loop = async () => { for (let n = 0; n < 20; n++) { await ask('{ hi }'); await new Promise((done) => setTimeout(done, 220)); } }; "
    "Promise.all([sub(45), sub(200), loop()]).then(() => process.exit())"
).replace("{url}", URL)

PARTS = (
    Program("films", "MPlayer and VLC play a film of nginx", nginx(FILM), (shell(PLAY),), ("nginx", "ffmpeg", "mplayer", "cvlc")),
    Program("slow-writables", "Node's fetch reads into slow streams", nginx(), (("node", "-e", SLOWLY),), ("nginx", "node")),
    Program(
        "gdal",
        "GDAL reads windows of a map",
        nginx("gdal_create -of GTiff -outsize 3000 3000 -bands 3 -burn 100 -co TILED=YES -co COMPRESS=NONE site/a.tif"),
        (shell(MAP),),
        ("nginx", "gdal_create"),
        may=ALONE,
    ),
    Program(
        "samtools",
        "samtools reads regions of an alignment",
        nginx(),
        (shell(GENOME),),
        ("nginx", "samtools"),
        may=ALONE,
        seconds=20,
    ),
    Program("ostree", "OSTree pulls a tree of 200 files", nginx(), (shell(TREE),), ("nginx", "ostree"), may=ALONE),
    Program(
        "yt-dlp",
        "yt-dlp: ranges, segments, a rate limit",
        nginx(FILM),
        (shell(SEGMENTS),),
        ("nginx", "ffmpeg", "yt-dlp"),
        may=ALONE,
    ),
    Program(
        "live-mp3",
        "ffmpeg sends music with Nagle on",
        command(LIVE),
        (shell(f"timeout 6 curl -s {URL}/a.mp3 -o /dev/null"),),
        ("ffmpeg",),
        may={NAGLE: HELD},
        seconds=9,
    ),
    Program(
        "yoga",
        "GraphQL Yoga: queries, subscriptions as event streams",
        command("node {folder}/yoga.js", yoga_js=YOGA),
        (("node", "-e", QUERIES),),
        ("node", "/graphql-yoga"),
        must=KILLED,
    ),
    Program(
        "engine.io",
        "Engine.IO: long polls, an upgrade, WebSocket",
        command("node {folder}/engine.js", engine_js=ENGINE),
        (("node", "-e", ENGINE_USER),),
        ("node", "/engine.io", "/engine.io-client"),
        may=ALONE,
    ),
    Program(
        "kea",
        "The API of Kea",
        command("env KEA_LOCKFILE_DIR={folder} KEA_PIDFILE_DIR={folder} kea-ctrl-agent -c {folder}/kea.conf", kea_conf=KEA),
        ((sys.executable, "-c", KEA_USER),),
        ("kea-ctrl-agent",),
    ),
)
