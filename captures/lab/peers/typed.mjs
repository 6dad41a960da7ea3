// A search field that asks at each key, and gives up the question before: typed.mjs URL
import http from 'node:http';

const [url] = process.argv.slice(2);
const ask = (query, then) =>
  http.get(url + query, { agent: false }, (response) => response.resume().on('end', then)).on('error', () => {});
ask('', () => {
  const first = ask('t');
  setTimeout(() => {
    first.destroy();
    ask('tr', () => process.exit());
  }, 190);
});
