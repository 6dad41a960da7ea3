// Pages with sub-resources, and events, on node's http server: node_pages.js PORT [close]
// close: keep-alive is switched off, and what is streamed is then not chunked, as IIS 7.5 does it.
const http = require('http');

const HEAD = '<!doctype html><html><head><title>Report</title>\n'
  + '<link rel="stylesheet" href="/asset/50/style.css">\n<script src="/asset/50/script.js"></script></head>\n';
const REST = `<body>${'<p>A paragraph of the report.</p>\n'.repeat(20)}</body></html>\n`;
const closing = process.argv[3] === 'close';

const NO_ICON = '<link rel="icon" href="data:,">\n';

// GET /page/PAUSE/whole: everything after PAUSE milliseconds; GET /page/PAUSE/flushed: the head of the page at once
// /page/PAUSE/HOW/visited: a page for a real browser, which else would ask for an icon
function page(response, pause, how, visited) {
  const head = HEAD.replace('</head>', visited ? `${NO_ICON}</head>` : '</head>');
  response.setHeader('Content-Type', 'text/html; charset=utf-8');
  if (how === 'flushed') {
    response.write(head);
    setTimeout(() => response.end(REST), pause);
    return;
  }
  response.setHeader('Content-Length', Buffer.byteLength(head + REST));
  setTimeout(() => response.end(head + REST), pause);
}

// GET /asset/PAUSE/NAME: 500 bytes after PAUSE milliseconds
function asset(response, pause, name) {
  response.setHeader('Content-Type', name.endsWith('.css') ? 'text/css' : 'text/javascript');
  response.setHeader('Content-Length', 500);
  setTimeout(() => response.end(`/*${' '.repeat(495)}*/\n`.slice(-500)), pause);
}

// GET /events/COUNT/PAUSE[/unbuffered]: that many events, PAUSE milliseconds apart, beginning after PAUSE
function events(response, count, pause, how) {
  response.setHeader('Content-Type', 'text/event-stream');
  if (how) response.setHeader('X-Accel-Buffering', 'no');
  let sent = 0;
  const next = () => {
    sent += 1;
    const event = `id: ${sent}\ndata: {"price": ${100 + sent}}\n\n`;
    if (sent < count) {
      response.write(event);
      setTimeout(next, pause);
    } else response.end(event);
  };
  setTimeout(next, pause);
}

// GET /lines/COUNT/PAUSE: that many lines of JSON, PAUSE milliseconds apart
function lines(response, count, pause) {
  response.setHeader('Content-Type', 'application/x-ndjson');
  let sent = 0;
  const next = () => {
    sent += 1;
    response.write(`{"id": ${sent}}\n`);
    if (sent < count) setTimeout(next, pause);
    else response.end();
  };
  next();
}

http.createServer((request, response) => {
  const [, what, first, second, third] = request.url.split('/');
  if (closing) {
    response.shouldKeepAlive = false;
    response.useChunkedEncodingByDefault = false;
  }
  if (what === 'page') page(response, Number(first), second, third === 'visited');
  else if (what === 'asset') asset(response, Number(first), second);
  else if (what === 'lines') lines(response, Number(first), Number(second));
  else events(response, Number(first), Number(second), third);
}).listen(Number(process.argv[2]));
