// Requests with node's fetch: fetch.mjs PAUSE {METHOD BODY URL}..., as in requests_of.py
const [pause, ...words] = process.argv.slice(2);

async function* pieces(size) {
  for (let left = size; left > 0; left -= 1000) yield Buffer.alloc(Math.min(1000, left), 'u');
}

for (let at = 0; at < words.length; at += 3) {
  const [method, body, url] = words.slice(at, at + 3);
  const options = { method };
  if (body.startsWith('~')) Object.assign(options, { body: pieces(Number(body.slice(1))), duplex: 'half' });
  else if (body) options.body = Buffer.alloc(Number(body), 'u');
  const response = await fetch(url, options);
  await response.arrayBuffer();
  await new Promise((resolve) => setTimeout(resolve, pause * 1000));
}
