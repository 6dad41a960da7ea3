// A time axis in ns: the complete range (min to max), and the range that is shown (begin to end).

// Distances between ticks, from 20 seconds to a day.
const LONG_STEPS = [20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400].map((one) => one * SECOND);

class Axis {
  constructor(min, max) {
    [this.min, this.max] = [min, Math.max(max, min + 1000)];
    [this.begin, this.end] = [this.min, this.max];
    this.listeners = [];
  }

  get whole() {
    return this.begin <= this.min && this.end >= this.max;
  }

  set(begin, end) {
    const length = Math.min(Math.max(end - begin, 1000), this.max - this.min);
    this.begin = Math.max(this.min, Math.min(begin, this.max - length));
    this.end = this.begin + length;
    for (const listen of this.listeners) listen();
  }

  fit() {
    this.set(this.min, this.max);
  }

  zoom(factor, at = (this.begin + this.end) / 2) {
    this.set(at - (at - this.begin) / factor, at + (this.end - at) / factor);
  }

  pan(share) {
    const by = (this.end - this.begin) * share;
    this.set(this.begin + by, this.end + by);
  }

  at(share) {
    return this.begin + (this.end - this.begin) * share;
  }

  scale(width) {
    const [begin, factor] = [this.begin, width / (this.end - this.begin)];
    return (time) => (time - begin) * factor;
  }

  // Returns the distance between ticks and their times (ns), at least `apart` pixels apart. `zero`: the time of day of time 0, in
  // ns since midnight; ticks are at round times of day.
  ticks(width, zero = 0, apart = 90) {
    const least = ((this.end - this.begin) / width) * apart;
    const round = (unit) => {
      const power = unit * 10 ** Math.floor(Math.log10(least / unit));
      return [1, 2, 5, 10].map((times) => times * power).find((one) => one >= least);
    };
    const step = least <= 10 * SECOND ? round(1) : LONG_STEPS.find((one) => one >= least) || round(LONG_STEPS.at(-1));
    const made = [];
    for (let time = Math.ceil((this.begin + zero) / step) * step - zero; time <= this.end; time += step) made.push(time);
    return { step, made };
  }

  label(time, step) {
    if (step >= 60 * SECOND) return time ? duration(time) : "0 s";
    const [size, unit] = step >= 1e8 ? [SECOND, "s"] : step >= 1e5 ? [1e6, "ms"] : [1e3, "us"];
    const digits = Math.max(0, Math.min(3, Math.ceil(-Math.log10(step / size))));
    const number = Math.abs(time) < step / 2 ? 0 : time / size;
    return `${number.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits })} ${unit}`;
  }

  // Zooms or moves if the key of the event is one of the axis keys. Returns whether it is.
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return false;
    const acts = {
      "+": () => this.zoom(2), "=": () => this.zoom(2), "-": () => this.zoom(0.5), 0: () => this.fit(),
      ArrowLeft: () => this.pan(-0.2), ArrowRight: () => this.pan(0.2),
    };
    if (!acts[event.key]) return false;
    event.preventDefault();
    acts[event.key]();
    return true;
  }

  // Zooms if the wheel turns with Ctrl; moves if it turns with Shift or sideways. Otherwise, the page scrolls.
  wheel(event, box) {
    if (event.ctrlKey || event.metaKey) this.zoom(Math.exp(-event.deltaY * 0.004), this.at((event.clientX - box.left) / box.width));
    else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) this.pan((event.shiftKey ? event.deltaY || event.deltaX : event.deltaX) / box.width);
    else return;
    event.preventDefault();
  }

  buttons() {
    return element(
      "span", { class: "group", role: "group", "aria-label": "Zoom" },
      button("\u2190", "Earlier", () => this.pan(-0.3)), button("\u2192", "Later", () => this.pan(0.3)),
      button("+", "Zoom in", () => this.zoom(2)), button("\u2212", "Zoom out", () => this.zoom(0.5)), button("All", "Show the complete time range", () => this.fit()),
    );
  }
}

// Draws the ticks of an axis and their labels. With a `clock`, labels are times of day, otherwise times since the first packet.
function drawTicks(context, axis, width, height, style, clock = null) {
  const x = axis.scale(width);
  const shown = clock && axis.ticks(width).step >= 1e6 ? clock : null;
  const { step, made } = axis.ticks(width, shown ? shown.zero : 0);
  context.font = "11px system-ui, sans-serif";
  context.textBaseline = "middle";
  context.textAlign = "left";
  let free = -Infinity;
  for (const time of made) {
    const at = Math.round(x(time)) + 0.5;
    context.strokeStyle = colours.get("rule");
    context.beginPath();
    context.moveTo(at, style.from);
    context.lineTo(at, height);
    context.stroke();
    if (style.labels === undefined) continue;
    context.fillStyle = colours.get("dim");
    const text = shown ? shown.label(time, step) : axis.label(time, step);
    const wide = context.measureText(text).width;
    const left = at + 4 + wide > width ? at - 4 - wide : at + 4;
    if (left < free) continue;
    free = left + wide + 6;
    context.fillText(text, left, style.labels);
  }
}

// Lets users drag on a canvas to move the axis or, with `choose`, to select a part of it.
function draggable(canvas, axis, choose) {
  let from = null;
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    canvas.setPointerCapture(event.pointerId);
    from = { x: event.clientX, begin: axis.begin, end: axis.end, moved: false };
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!from) return;
    const box = canvas.getBoundingClientRect();
    if (!from.moved && Math.abs(event.clientX - from.x) < 4) return;
    from.moved = true;
    if (choose) {
      const times = [from.x, event.clientX].map((x) => axis.min + ((x - box.left) / box.width) * (axis.max - axis.min)).sort((a, b) => a - b);
      axis.set(times[0], times[1]);
    } else {
      const by = ((from.x - event.clientX) / box.width) * (from.end - from.begin);
      axis.set(from.begin + by, from.end + by);
    }
  });
  const over = () => (from = null);
  canvas.addEventListener("pointerup", over);
  canvas.addEventListener("pointercancel", over);
  canvas.addEventListener("dblclick", () => axis.fit());
}
