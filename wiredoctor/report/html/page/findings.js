// Times of day, the table of problems, the filter of findings, and the address of the page.

const DAY = 86_400_000;

// The time zone of the page: that of the reader, or UTC.
const clock = {
  reader: Intl.DateTimeFormat().resolvedOptions().timeZone || "local time",
  utc: document.documentElement.dataset.zone === "utc",
  get name() {
    return this.utc ? "UTC" : this.reader;
  },
  // Returns by how many minutes the reader's zone is ahead of UTC.
  offset: (milliseconds) => -new Date(milliseconds).getTimezoneOffset(),
  // Returns the milliseconds to add to a UTC time to get the time in the zone of the page.
  shift(milliseconds) {
    return this.utc ? 0 : this.offset(milliseconds) * 60_000;
  },
  // Formats the zone and its offset at a time, as in "Europe/Berlin (UTC+01:00)".
  zoneAt(milliseconds) {
    if (this.utc || this.reader === "UTC") return this.name;
    const minutes = this.offset(milliseconds);
    const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60].map((number) => String(number).padStart(2, "0"));
    return `${this.name} (UTC${minutes < 0 ? "-" : "+"}${hours}:${rest})`;
  },
};

// Formats a time (ms since 1970) as "13:00:01.536", with the date if `dated`; empty if it is invalid.
function timeOfDay(milliseconds, dated) {
  if (Number.isNaN(milliseconds)) return "";
  const shifted = new Date(milliseconds + clock.shift(milliseconds));
  if (Number.isNaN(shifted.getTime())) return "";
  const [date, time] = shifted.toISOString().slice(0, -1).split("T");
  return dated ? `${date} ${time}` : time;
}

function showTimes() {
  const texts = [...document.querySelectorAll("time[datetime]")].map((one) => [one, timeOfDay(Date.parse(one.dateTime), true)]).filter(([, text]) => text);
  const dates = new Set(texts.map(([, text]) => text.split(" ")[0]));
  // short times have a date only if there are several dates, because the top of the page shows the date
  for (const [one, text] of texts) {
    const shown = one.matches(".short") && dates.size === 1 ? text.split(" ")[1] : text;
    one.textContent = one.matches(".seconds") ? shown.split(".")[0] : shown;
    one.title = `${text} ${clock.name}; ${one.dateTime}`;
  }
  for (const one of document.querySelectorAll("[data-time] > .clock")) one.textContent = timeOfDay(Date.parse(one.parentNode.dataset.time));
  const named = document.getElementById("zone");
  if (named && texts.length) named.textContent = clock.zoneAt(Date.parse(texts[0][0].dateTime));
}

// Shows the time of day of a packet in a ladder while the pointer is on it.
function buildLadderTips() {
  document.addEventListener("pointerover", (event) => {
    const step = event.target.closest(".ladder [data-time]");
    if (!step) return;
    showTip(`${timeOfDay(Date.parse(step.dataset.time), true)} ${clock.name}`, event.clientX, event.clientY);
    step.addEventListener("pointerleave", hideTip, { once: true });
  });
}

function buildZones() {
  const named = document.getElementById("zone");
  if (!named || clock.reader === "UTC") return;
  const other = () => `Show ${clock.utc ? clock.reader : "UTC"}`;
  const press = element("button", { type: "button", class: "inline", onclick: () => {
    clock.utc = !clock.utc;
    press.textContent = other();
    showTimes();
    redrawAll();
  } }, other());
  named.parentElement.append(" ", press);
}

const FOLDED = 6;
const ROOM = 8;

// Makes the table of problems sortable. A long table shows only its first rows until the reader requests all.
function buildProblems() {
  const table = document.querySelector(".problems table");
  if (!table) return;
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const value = (row, column) => {
    const cell = row.cells[column];
    const given = cell.dataset.value ?? cell.textContent;
    return Number.isNaN(Number(given)) ? given : Number(given);
  };
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const fallsFirst = head.matches(".right") && column < heads.length - 1;
    const press = element("button", { type: "button", title: `Sort by ${head.textContent.toLowerCase()}`, onclick: () => {
      const before = head.getAttribute("aria-sort");
      const falling = before === "none" ? fallsFirst : before === "ascending";
      for (const one of heads) one.setAttribute("aria-sort", one === head ? (falling ? "descending" : "ascending") : "none");
      const turn = falling ? -1 : 1;
      const compare = (a, b) => (a < b ? -turn : a > b ? turn : 0);
      body.append(...[...rows].sort((a, b) => compare(value(a, column), value(b, column)) || rows.indexOf(a) - rows.indexOf(b)));
    } }, head.textContent);
    head.setAttribute("aria-sort", column ? "none" : "ascending");
    head.replaceChildren(press);
  });
  body.addEventListener("click", (event) => {
    // ignore the click at the end of a text selection
    if (!event.target.closest("a") && getSelection().isCollapsed) event.target.closest("tr").querySelector("a").click();
  });
  if (rows.length <= ROOM) return;
  const part = table.parentElement;
  const others = part.querySelector(".others-by-rule");
  const press = element("button", { type: "button", class: "unfold", "aria-expanded": "false", onclick: () => {
    const folded = part.classList.toggle("folded");
    press.setAttribute("aria-expanded", String(!folded));
    press.textContent = folded ? more : `Show the first ${FOLDED}`;
  } }, "");
  const more = others ? `Show ${rows.length} problems, and the rules of ${others.dataset.others} others` : `Show all ${rows.length} problems`;
  press.textContent = more;
  part.classList.add("folded");
  part.append(press);
}

// Reads and writes the state of the page in the fragment of its address: #finding-7, or #exchanges?q=status%3A5xx&from=1.5&to=2.
const place = {
  read() {
    const [id, query = ""] = location.hash.slice(1).split("?");
    return { id: decodeURIComponent(id), options: new URLSearchParams(query) };
  },
  write(id, options = {}) {
    const given = Object.entries(options).filter(([, value]) => value !== "" && value !== null && value !== undefined);
    const query = new URLSearchParams(given).toString();
    const hash = `#${id}${query ? `?${query}` : ""}`;
    try {
      if (location.hash !== hash) history.replaceState(null, "", hash);
    } catch {
      // browsers do not permit this on pages with an opaque origin
    }
  },
};

// For each part of the page, by id, the function that sets its filter from the options in the address.
const restorers = {};

function chooser(label, all, values) {
  return element("select", { "aria-label": label }, element("option", { value: "" }, all), ...values.map((value) => element("option", { value }, value)));
}

function buildFindings() {
  const cards = [...document.querySelectorAll("article.finding")];
  for (const card of cards) {
    const details = card.querySelector("details.card");
    card.querySelector("summary").addEventListener("click", () => {
      if (!details.open) place.write(card.id);
    });
  }
  if (cards.length < 2) return;
  const section = cards[0].closest("section[id]").id;
  const values = (name) => [...new Set(cards.map((card) => card.dataset[name]))].filter(Boolean);
  const texts = cards.map((card) => card.textContent.toLowerCase());
  const choosers = { change: chooser("Change", "all changes", values("change")), severity: chooser("Severity", "all severities", values("severity")), rule: chooser("Rule", "all rules", values("rule").sort()), server: chooser("Server", "all servers", values("server").sort()) };
  const search = element("input", { type: "search", "aria-label": "Filter the findings", placeholder: "text, path, rule", spellcheck: "false" });
  const said = element("p", { class: "said", role: "status" });
  const none = element("p", { class: "none", hidden: true }, "No finding matches the filter.");
  const apply = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let number = 0;
    cards.forEach((card, at) => {
      const fits = Object.entries(choosers).every(([name, one]) => !one.value || card.dataset[name] === one.value) && words.every((word) => texts[at].includes(word));
      card.hidden = !fits;
      if (fits) number++;
    });
    none.hidden = number > 0;
    said.textContent = number === cards.length ? count(number, "problem") : `${grouped(number)} of ${count(cards.length, "problem")}`;
  };
  const change = () => {
    apply();
    place.write(section, { ...Object.fromEntries(Object.entries(choosers).map(([name, one]) => [name, one.value])), q: search.value });
  };
  search.addEventListener("input", change);
  for (const one of Object.values(choosers)) one.addEventListener("change", change);
  const all = element("button", { type: "button", "aria-pressed": "false", onclick: () => {
    const open = all.getAttribute("aria-pressed") !== "true";
    for (const card of cards) card.querySelector("details.card").open = open;
    all.setAttribute("aria-pressed", String(open));
  } }, "Open all");
  document.getElementById("findings-filter").append(element("div", { class: "bar" }, search, ...Object.values(choosers).filter((one) => one.options.length > 2), all, said));
  cards.at(-1).after(none);
  apply();
  restorers[section] = (options) => {
    search.value = options.get("q") || "";
    for (const [name, one] of Object.entries(choosers)) {
      const value = options.get(name) || "";
      if ([...one.options].some((option) => option.value === value)) one.value = value;
    }
    apply();
  };
}

// Opens the finding that the address names, with all elements around it, or sets the filter of the part that the address names.
function openTarget() {
  const { id, options } = place.read();
  const target = id && document.getElementById(id);
  if (!target) return;
  for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
  const card = target.querySelector(":scope > details.card");
  if (card) {
    target.hidden = false;
    card.open = true;
  }
  if (!location.hash.includes("?")) return;
  restorers[id]?.(options);
  (target.querySelector("#findings-filter") || target).scrollIntoView();
}

buildLadderTips();
buildZones();
showTimes();
buildProblems();
buildFindings();
addEventListener("hashchange", openTarget);
openTarget();
