// A TLS server (one line of HTTP for each connection), or a client that sends requests, from settings in JSON.
import https from 'node:https';
import { readFileSync } from 'node:fs';

const s = JSON.parse(process.argv[2]);
const read = (file) => (file ? readFileSync(file) : undefined);
const version = (text) => (text ? `TLSv${text}` : undefined);
const options = {
  cert: read(s.chain), key: read(s.key), ca: read(s.verify || s.trusted), minVersion: version(s.minimum), maxVersion: version(s.maximum),
  ciphers: s.ciphers || undefined, ALPNProtocols: s.protocols?.length ? s.protocols : undefined,
};
if (s.role === 'server') {
  const [host, port] = s.address.split(':');
  https.createServer({ ...options, requestCert: !!s.verify, rejectUnauthorized: !!s.verify }, (_, response) => response.end('hello\n'))
    .listen(Number(port), host);
} else {
  const agent = new https.Agent({ ...options, keepAlive: false, servername: s.name });
  const ask = (left) => {
    if (!left) return;
    const request = https.get(s.path, { agent, timeout: s.timeout * 1000 }, (response) => response.resume().on('close', () => ask(left - 1)));
    request.on('timeout', () => request.destroy(new Error('timeout')));
    request.on('error', (error) => { console.error(error.message); ask(left - 1); });
  };
  ask(s.requests);
}
