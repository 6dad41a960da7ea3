// The findings: times of day, a filter, and the address of what is open.

const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "local time";

// "13:00:01.536", with the date if `dated`, in the reader's zone.
function timeOfDay(milliseconds, dated) {
  const date = new Date(milliseconds);
  if (Number.isNaN(date.getTime())) return "";
  const two = (number) => String(number).padStart(2, "0");
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${String(date.getMilliseconds()).padStart(3, "0")}`;
  return dated ? `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${time}` : time;
}

function showLocalTimes() {
  for (const one of document.querySelectorAll("time[datetime]")) {
    const text = timeOfDay(Date.parse(one.dateTime), true);
    if (text) [one.textContent, one.title] = [text, `${zone}; ${one.dateTime}`];
  }
  document.getElementById("zone").textContent = ` Times of day are in the reader's zone, ${zone}.`;
}

// The state of the page is behind the # of its address: #finding-7, or #exchanges?q=status%3A5xx&from=1.5&to=2.
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
      // a page without an origin of its own may not change its address
    }
  },
};

// What sets the filter of a part of the page from the options in its address, by the id of the part.
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

// A link to a finding opens what holds it, and what it is; a link to a part with options sets its filter.
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
  target.scrollIntoView();
}

showLocalTimes();
buildFindings();
addEventListener("hashchange", openTarget);
openTarget();
