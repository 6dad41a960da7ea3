// Features of every page: the theme, fields to copy, and opening all details for printing.

document.body.append(tip);

const theme = document.querySelector(".theme");
theme.hidden = false;
theme.addEventListener("click", (event) => {
  const choice = event.target.dataset.themeChoice;
  if (!choice) return;
  if (choice === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = choice;
  for (const one of theme.children) one.setAttribute("aria-pressed", String(one === event.target));
  redrawAll();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawAll);

for (const code of document.querySelectorAll("code.copy")) copyable(code);

let closed = [];
addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details:not([open])")];
  for (const one of closed) one.open = true;
});
addEventListener("afterprint", () => {
  for (const one of closed) one.open = false;
});
