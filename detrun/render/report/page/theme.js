// Light or dark: as the system has it until the reader chooses. Paper is always light.

const THEME = "detrun theme";
const dark = matchMedia("(prefers-color-scheme: dark)");

function theme() {
  return document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light");
}

function showTheme() {
  const other = theme() === "dark" ? "light" : "dark";
  byId("theme").textContent = other;
  byId("theme").setAttribute("aria-label", `Switch to the ${other} theme`);
  redrawCharts();
}

function startTheme() {
  try {
    const kept = localStorage.getItem(THEME);
    if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
  } catch {
    // Then as the system has it.
  }
  byId("theme").addEventListener("click", () => {
    const next = theme() === "dark" ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    try {
      localStorage.setItem(THEME, next);
    } catch {
      // It holds for this visit.
    }
    showTheme();
  });
  dark.addEventListener("change", showTheme);
  matchMedia("print").addEventListener("change", redrawCharts);
}
