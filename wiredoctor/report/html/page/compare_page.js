// The filter of the endpoints of a comparison.

function buildEndpoints() {
  const rows = [...document.querySelectorAll(".endpoints tbody tr")];
  if (rows.length < 2) return;
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const search = element("input", { type: "search", "aria-label": "Filter the endpoints", placeholder: "server, method, path", spellcheck: "false" });
  const only = element("input", { type: "checkbox" });
  const said = element("p", { class: "said", role: "status" });
  const apply = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let number = 0;
    rows.forEach((row, at) => {
      row.hidden = (only.checked && !row.dataset.verdict) || !words.every((word) => texts[at].includes(word));
      if (!row.hidden) number++;
    });
    said.textContent = `${number === rows.length ? "" : `${grouped(number)} of `}${count(rows.length, "endpoint")}`;
  };
  const change = () => {
    apply();
    place.write("endpoints", { q: search.value, changed: only.checked ? 1 : "" });
  };
  search.addEventListener("input", change);
  only.addEventListener("change", change);
  document.getElementById("endpoints-filter").append(element("div", { class: "bar" }, search, element("label", {}, only, "slower or faster"), said));
  restorers.endpoints = (options) => {
    search.value = options.get("q") || "";
    only.checked = options.has("changed");
    apply();
  };
  apply();
}

buildEndpoints();
openTarget();
document.documentElement.dataset.ready = "true";
