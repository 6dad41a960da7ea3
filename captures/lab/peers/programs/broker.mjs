// Aedes, a broker of MQTT, and MQTT.js: node broker.mjs serve|use HOST PORT MODULES
import { createRequire } from "node:module";
import net from "node:net";

const [way, host, port, modules] = process.argv.slice(2);
const need = createRequire(`${modules}/`);
if (way === "serve") {
  const { Aedes } = need("aedes");
  const broker = await Aedes.createBroker();
  net.createServer(broker.handle).listen(Number(port), host);
} else {
  const mqtt = need("mqtt");
  const connect = () => mqtt.connect(`mqtt://${host}:${port}`, { keepalive: 2, reconnectPeriod: 500 });
  const [sensor, panel] = [connect(), connect()];
  panel.subscribe("room/#", { qos: 2 });
  const publish = (qos) => () => sensor.publish(`room/${qos}`, `value ${Math.random()}`, { qos });
  const timers = [setInterval(publish(0), 30), setInterval(publish(2), 90)];
  setTimeout(() => timers.forEach(clearInterval), 5_000);
  setTimeout(() => { sensor.end(); panel.end(); }, 9_000);
}
