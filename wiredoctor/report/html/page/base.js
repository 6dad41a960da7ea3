// Functions for all parts of the page: elements, data, formats of numbers, colors. Text is never inserted as HTML.

const SECOND = 1e9;

function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (key === "text") made.textContent = value;
    else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key === "class") made.className = value;
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

async function load(id) {
  const packed = atob(document.getElementById(id).textContent);
  const bytes = Uint8Array.from(packed, (sign) => sign.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Response(stream).json();
}

const word = (column, row) => column.words[column.at[row]];

function numbers(column) {
  const made = new Float64Array(column.length);
  for (let i = 0; i < column.length; i++) made[i] = column[i] === null ? NaN : column[i];
  return made;
}

function summed(column) {
  const made = new Float64Array(column.length);
  for (let i = 0, so_far = 0; i < column.length; i++) made[i] = so_far += column[i];
  return made;
}

// Sets the mask to 0 for rows that do not fit. A mask has a 1 for each row to show.
function narrow(mask, fits) {
  for (let row = 0; row < mask.length; row++) if (mask[row] && !fits(row)) mask[row] = 0;
}

// Returns a mask of the rows in which a column contains the text `part`. Each distinct word is examined only once.
function containing(columns, part) {
  const mask = new Uint8Array(columns[0].at.length);
  for (const column of columns) {
    column.lower ||= column.words.map((text) => text.toLowerCase());
    const fits = Uint8Array.from(column.lower, (text) => text.includes(part));
    if (fits.includes(1)) for (let row = 0; row < mask.length; row++) mask[row] |= fits[column.at[row]];
  }
  return mask;
}

const grouped = (number) => number.toLocaleString("en-US");
const count = (number, noun, plural) => `${grouped(number)} ${number === 1 ? noun : plural || `${noun}s`}`;

// Formats ns as text/durations.py does: three significant digits, rounded half up.
function duration(nanoseconds) {
  let time = Math.round(nanoseconds);
  if (time < 0) return `-${duration(-time)}`;
  const step = 10 ** Math.max(0, String(time).length - 3);
  const rounded = Math.floor((time + Math.floor(step / 2)) / step) * step;
  if (rounded >= 120 * SECOND) return longTime(Math.floor((time + SECOND / 2) / SECOND));
  if (!rounded) return "0 ms";
  const [size, unit] = [[SECOND, "s"], [1e6, "ms"], [1e3, "us"], [1, "ns"]].find(([each]) => rounded >= each);
  return `${Math.floor(rounded / size)}.${String(Math.floor(((rounded % size) * 1000) / size)).padStart(3, "0")}`.replace(/\.?0+$/, "") + ` ${unit}`;
}

function longTime(seconds) {
  const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const first = units.findIndex(([size]) => seconds >= size);
  const parts = [];
  for (const [size, unit] of units.slice(first, first + 2)) {
    if (Math.floor(seconds / size)) parts.push(`${Math.floor(seconds / size)} ${unit}`);
    seconds %= size;
  }
  return parts.join(" ");
}

function bytes(number) {
  if (Number.isNaN(number)) return "-";
  if (number < 1000) return `${number} B`;
  for (const unit of ["kB", "MB", "GB", "TB", "PB", "EB"]) {
    number /= 1000;
    const text = number.toFixed(number >= 99.95 ? 0 : number >= 9.995 ? 1 : 2);
    if (Number(text) < 1000 || unit === "EB") return `${text.includes(".") ? text.replace(/\.?0+$/, "") : text} ${unit}`;
  }
}

const orDash = (value, say) => (Number.isNaN(value) ? "-" : say(value));
const seconds = (nanoseconds) => (nanoseconds / SECOND).toFixed(6);

const colours = {
  values: null,
  get(name) {
    this.values ||= getComputedStyle(document.documentElement);
    return this.values.getPropertyValue(`--${name}`);
  },
};

const redraws = [];
function redrawAll() {
  colours.values = null;
  for (const redraw of redraws) redraw();
}

// Gives a canvas the resolution of the screen, clears it, and returns its context. `width`, `height`: its size in CSS pixels.
function canvasOf(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  const [w, h] = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
  const context = canvas.getContext("2d");
  if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

function hatched(context, x, y, width, height, colour, step = 5) {
  context.save();
  context.beginPath();
  context.rect(x, y, width, height);
  context.clip();
  context.strokeStyle = colour;
  context.lineWidth = 1.4;
  context.beginPath();
  for (let at = x - height - ((x - height) % step); at < x + width; at += step) {
    context.moveTo(at, y + height);
    context.lineTo(at + height, y);
  }
  context.stroke();
  context.restore();
}

const tip = element("div", { class: "tip", role: "tooltip", id: "tip", hidden: true });

function showTip(text, x, y) {
  tip.textContent = text;
  tip.hidden = !text;
  if (!text) return;
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(x + 14, innerWidth - width - 8))}px`;
  tip.style.top = `${y + 18 + height > innerHeight ? y - height - 10 : y + 18}px`;
}

const hideTip = () => showTip("");

function button(text, label, act) {
  return element("button", { type: "button", "aria-label": label, title: label === text ? null : label, onclick: act }, text);
}

async function copy(text, shown) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const range = document.createRange();
    range.selectNodeContents(shown);
    const selection = getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
    return document.execCommand("copy");
  }
}

function copyable(code) {
  const press = element("button", { type: "button", class: "copied", "aria-label": `Copy ${code.textContent}` }, "Copy");
  press.addEventListener("click", async () => {
    press.textContent = (await copy(code.textContent, code)) ? "Copied" : "Press Ctrl+C";
    setTimeout(() => (press.textContent = "Copy"), 2000);
  });
  code.after(press);
}
