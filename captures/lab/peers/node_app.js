// A small application on node's http server, with its defaults: node_app.js PORT
const http = require('http');
const crypto = require('crypto');

// GET /stream/COUNT/PAUSE: that many chunks of 40 bytes, PAUSE milliseconds apart
function stream(response, count, pause) {
  response.writeHead(200, { 'Content-Type': 'text/plain' });
  let left = count;
  const next = () => {
    response.write(`line ${String(left).padStart(34, '0')}\n`);
    left -= 1;
    if (left) setTimeout(next, pause);
    else response.end();
  };
  next();
}

// GET /die/COUNT: that many chunks of 40 bytes, 50 milliseconds apart, and then the process ends
function die(response, count) {
  stream(response, count + 1, 50);
  setTimeout(() => process.exit(1), count * 50 - 25);
}

// POST /lazy/PAUSE: the application begins to read the body after PAUSE milliseconds
const server = http.createServer((request, response) => {
  const [, what, count, pause] = request.url.split('/');
  if (what === 'stream') {
    stream(response, Number(count), Number(pause));
    return;
  }
  if (what === 'die') {
    die(response, Number(count));
    return;
  }
  if (what === 'lazy') setTimeout(() => request.on('data', () => {}), Number(count));
  else request.on('data', () => {});
  request.on('end', () => {
    const size = what === 'bytes' ? Number(count) : 0;
    response.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Length': size });
    response.end('n'.repeat(size));
  });
});

// Frames of RFC 6455, enough to answer: each that comes is echoed, and a close frame ends it.
server.on('upgrade', (request, socket) => {
  const key = request.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
  const accept = crypto.createHash('sha1').update(key).digest('base64');
  socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n'
    + `Connection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
  socket.on('data', (frame) => {
    const length = frame[1] & 0x7f;
    const mask = frame.subarray(2, 6);
    const text = frame.subarray(6, 6 + length).map((byte, index) => byte ^ mask[index % 4]);
    socket.write(Buffer.concat([Buffer.from([frame[0], length]), text]));
    if ((frame[0] & 0x0f) === 8) socket.end();
  });
});

server.listen(Number(process.argv[2]));
