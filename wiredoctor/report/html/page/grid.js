// A table of any length. The document contains only the rows that are visible.

const ROW = 28;
const SPARE = 6;
const SHORT = 16;

const classes = (column) => [column.right && "right", column.draw && "time"].filter(Boolean).join(" ");

class Grid {
  // columns: {title, width, right, wide (shown only on wide screens; true, or the minimum width in pixels), text(row), value(row) (a number, or NaN), draw(context, width, height, row), bad(row)}
  constructor(root, { label, rows, columns, sorted, details, axis, described, least }) {
    const shown = columns.filter((column) => !column.wide || innerWidth >= (column.wide === true ? 700 : column.wide));
    Object.assign(this, { rows, columns: shown, details, axis, described });
    [this.sorted, this.falling] = [shown.indexOf(columns[sorted]), false];
    this.first = columns[sorted];
    this.order = this.all = new Uint32Array(0);
    this.shown = new Map();
    this.free = [];
    this.current = this.printed = 0;
    this.selected = -1;
    this.time = shown.findIndex((column) => column.draw);
    this._build(root, label);
    this._arrange();
    if (least) this.table.classList.add(least);
    this.scroll.addEventListener("scroll", () => this._soon(), { passive: true });
    new ResizeObserver(() => this.redraw()).observe(this.scroll);
    redraws.push(() => this.redraw());
  }

  _build(root, label) {
    this.heads = this.columns.map((column, number) => {
      const kind = classes(column);
      if (column.draw) return element("th", { scope: "col", class: kind, "aria-label": column.title }, element("canvas"), element("span", { class: "unseen", text: column.title }));
      const press = element("button", { type: "button", onclick: () => this.sort(number), title: `Sort by ${column.hint || column.title}` }, column.title);
      return element("th", { scope: "col", class: kind, "aria-sort": "none" }, press);
    });
    const widths = this.columns.map((column) => {
      const made = element("col");
      if (column.width) made.style.width = column.width;
      return made;
    });
    this.above = element("tr", { class: "spacer", "aria-hidden": "true" }, element("td", { colspan: this.columns.length }));
    this.below = element("tr", { class: "spacer", "aria-hidden": "true" }, element("td", { colspan: this.columns.length }));
    this.body = element("tbody", {}, this.above, this.below);
    this.table = element("table", { role: "grid", "aria-label": label, "aria-colcount": this.columns.length }, element("colgroup", {}, ...widths), element("thead", {}, element("tr", {}, ...this.heads)), this.body);
    this.empty = element("p", { class: "none", hidden: true }, "No row matches the filter.");
    this.scroll = element("div", { class: "scroll", role: "region", "aria-label": `${label}, scrolls` }, this.table, this.empty);
    this.rest = element("p", { class: "dim printed" });
    root.append(this.scroll, this.rest);
    this.body.addEventListener("keydown", (event) => this._key(event));
    this.body.addEventListener("click", (event) => this._click(event));
    this.body.addEventListener("pointermove", (event) => this._hover(event));
    this.body.addEventListener("pointerleave", hideTip);
    this.body.addEventListener("focusout", hideTip);
    this.body.addEventListener("wheel", (event) => this._wheel(event), { passive: false });
    if (this.time >= 0) this._timeHead(this.heads[this.time].firstChild);
  }

  _timeHead(canvas) {
    draggable(canvas, { get begin() { return this.of().begin; }, get end() { return this.of().end; }, of: () => this.axis(), set: (a, b) => this.axis().set(a, b), fit: () => this.axis().fit() });
    canvas.addEventListener("wheel", (event) => this.axis().wheel(event, canvas.getBoundingClientRect()), { passive: false });
  }

  sort(number, falling = this.sorted === number ? !this.falling : this.columns[number].falling || false) {
    [this.sorted, this.falling] = [number, falling];
    this._arrange();
    this.current = this.scroll.scrollTop = 0;
    this.redraw();
  }

  // Shows only the rows with a 1 in the mask, or all rows if the mask is null. The first visible row stays in place if possible.
  filter(mask) {
    this.mask = mask;
    const top = this.order[Math.floor(this.scroll.scrollTop / ROW)];
    const rest = this.scroll.scrollTop % ROW;
    const current = this.order[this.current];
    this._arrange();
    const place = this.order.indexOf(top);
    this.scroll.scrollTop = place > 0 ? place * ROW + rest : place === 0 ? rest : 0;
    const now = this.order.indexOf(current);
    this.current = now >= 0 ? now : Math.min(this.current, Math.max(0, this.order.length - 1));
    this.redraw();
  }

  _arrange() {
    const wanted = `${this.sorted} ${this.falling}`;
    if (this.arranged !== wanted) [this.arranged, this.all] = [wanted, this._sortAll()];
    this.order = this.all;
    if (this.mask) {
      const kept = new Uint32Array(this.rows);
      let number = 0;
      for (const row of this.all) if (this.mask[row]) kept[number++] = row;
      this.order = kept.subarray(0, number);
    }
    this.heads.forEach((head, number) => head.hasAttribute("aria-sort") && head.setAttribute("aria-sort", number !== this.sorted ? "none" : this.falling ? "descending" : "ascending"));
  }

  // Returns all rows in sorted order, so filters need not sort again. Rows without a value come last.
  _sortAll() {
    const all = new Uint32Array(this.rows);
    for (let row = 0; row < this.rows; row++) all[row] = row;
    // the first column may be hidden on a narrow screen, but rows are still sorted by it
    const column = this.columns[this.sorted] || this.first;
    if (column.natural && !this.falling) return all;
    const value = new Float64Array(this.rows);
    const turn = this.falling ? -1 : 1;
    for (let row = 0; row < this.rows; row++) {
      const one = column.value(row);
      value[row] = Number.isNaN(one) ? Infinity : turn * one;
    }
    return all.sort((a, b) => (value[a] < value[b] ? -1 : value[a] > value[b] ? 1 : a - b));
  }

  _soon() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.render();
    });
  }

  redraw() {
    const focused = this.body.contains(document.activeElement);
    for (const line of this.shown.values()) {
      line.remove();
      this.free.push(line);
    }
    this.shown.clear();
    if (this.time >= 0) {
      this.width = this.heads[this.time].clientWidth;
      const context = canvasOf(this.heads[this.time].firstChild, this.width, 33);
      if (this.width) drawTicks(context, this.axis(), this.width, 33, { from: 24, labels: 14 });
    }
    this.scroll.classList.toggle("short", this.order.length < SHORT);
    this.empty.hidden = this.order.length > 0;
    this.table.setAttribute("aria-rowcount", this.order.length + 1);
    this.render();
    if (focused) this.go(this.current);
  }

  // For printing, keeps at least the first `rows` rows in the document; with 0, keeps only the visible rows again.
  print(rows) {
    this.printed = rows;
    this.rest.textContent = this.order.length > rows ? `The first ${grouped(rows)} of ${grouped(this.order.length)} rows.` : "";
    if (rows) this.scroll.scrollTop = 0;
    this.redraw();
  }

  render() {
    // do not measure a short table: its height depends on its rows, which may not be there yet
    const height = this.order.length < SHORT ? SHORT * ROW : this.scroll.clientHeight || 400;
    const first = Math.max(0, Math.floor(this.scroll.scrollTop / ROW) - SPARE);
    const last = Math.min(this.order.length, Math.max(Math.ceil((this.scroll.scrollTop + height) / ROW) + SPARE, this.printed));
    // do not remove the row that has the keyboard focus, because the focus would be lost
    let after = this.below;
    let [above, below] = [first, this.order.length - last];
    for (const [place, line] of this.shown) {
      if (place >= first && place < last) continue;
      if (line === document.activeElement && place < this.order.length) {
        if (place < first) above--;
        else [below, after] = [below - 1, line];
        continue;
      }
      line.remove();
      this.free.push(line);
      this.shown.delete(place);
    }
    for (let place = last - 1; place >= first; place--) {
      let line = this.shown.get(place);
      if (!line) {
        line = this._line(place);
        this.shown.set(place, line);
        after.before(line);
      }
      after = line;
    }
    this.above.firstChild.style.height = `${above * ROW}px`;
    this.below.firstChild.style.height = `${below * ROW}px`;
  }

  // Returns the table row for a place. Rows that are no longer visible are reused, because creating canvases is slow.
  _line(place) {
    const row = this.order[place];
    const line = this.free.pop() || this._blank();
    line.place = place;
    line.tabIndex = place === this.current ? 0 : -1;
    line.setAttribute("aria-rowindex", place + 2);
    line.setAttribute("aria-selected", String(row === this.selected));
    this.columns.forEach((column, number) => {
      const cell = line.cells[number];
      if (column.draw) {
        const canvas = cell.firstChild;
        canvas.setAttribute("aria-label", column.said(row));
        column.draw(canvasOf(canvas, this.width, ROW - 1), this.width, ROW - 1, row);
        return;
      }
      const text = column.text(row);
      cell.firstChild.data = text;
      if (text.length > 24) cell.title = text;
      else if (cell.title) cell.removeAttribute("title");
      if (column.bad) cell.classList.toggle("bad", Boolean(column.bad(row)));
    });
    return line;
  }

  _blank() {
    const cells = this.columns.map((column) => element("td", { class: classes(column) || null }, column.draw ? element("canvas", { role: "img" }) : ""));
    return element("tr", {}, ...cells);
  }

  go(place, focus = true) {
    if (!this.order.length) return;
    place = Math.max(0, Math.min(place, this.order.length - 1));
    const before = this.shown.get(this.current);
    if (before) before.tabIndex = -1;
    this.current = place;
    const [top, head, height] = [place * ROW, 34, this.scroll.clientHeight];
    if (top < this.scroll.scrollTop) this.scroll.scrollTop = top;
    else if (top + ROW + head > this.scroll.scrollTop + height) this.scroll.scrollTop = top + ROW + head - height + 2;
    this.render();
    const line = this.shown.get(place);
    if (!line) return;
    line.tabIndex = 0;
    if (focus) line.focus({ preventScroll: true });
  }

  // Scrolls to a row and selects it. Returns false if the filter hides the row.
  reveal(row) {
    const place = this.order.indexOf(row);
    if (place < 0) return false;
    this.go(place, false);
    this.select(row);
    return true;
  }

  select(row) {
    this.selected = row;
    for (const line of this.shown.values()) line.setAttribute("aria-selected", String(this.order[line.place] === row));
    this.details(row);
  }

  _key(event) {
    const page = Math.max(1, Math.floor(this.scroll.clientHeight / ROW) - 2);
    const to = { ArrowUp: this.current - 1, ArrowDown: this.current + 1, PageUp: this.current - page, PageDown: this.current + page, Home: 0, End: this.order.length - 1 }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      this.go(to);
      const line = this.shown.get(this.current);
      const box = line && line.lastChild.getBoundingClientRect();
      if (box) showTip(this.described(this.order[this.current]), box.left, box.bottom - 14);
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.select(this.order[this.current]);
    } else if (event.key === "Escape") {
      hideTip();
    } else if (this.time >= 0) {
      this.axis().key(event);
    }
  }

  _click(event) {
    const line = event.target.closest("tr");
    if (!line || line.place === undefined) return;
    this.go(line.place);
    this.select(this.order[line.place]);
  }

  _hover(event) {
    const line = event.target.closest("tr");
    if (!line || line.place === undefined || !event.target.closest("td.time")) return hideTip();
    showTip(this.described(this.order[line.place]), event.clientX, event.clientY);
  }

  _wheel(event) {
    const cell = event.target.closest("td.time");
    if (cell) this.axis().wheel(event, cell.getBoundingClientRect());
  }
}

// Returns a function that maps a row to the alphabetical rank of its word, by which a column of texts is sorted.
function ranked(column) {
  const order = column.words.map((_, at) => at).sort((a, b) => (column.words[a] < column.words[b] ? -1 : column.words[a] > column.words[b] ? 1 : 0));
  const rank = new Float64Array(order.length);
  order.forEach((at, place) => (rank[at] = place));
  return (row) => rank[column.at[row]];
}
