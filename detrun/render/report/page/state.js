// What the reader has chosen. It outlives a reload of the page, and a refresh of its content.

const MEMORY = `detrun ${location.pathname}`;
const FEW = 8;

let content = JSON.parse(byId("data").textContent);

const state = {
  sort: null,
  filter: "",
  show: "values",
  columns: null,
  charted: null,
  metric: "AP",
  axis: "epoch",
  level: "",
  class: "",
  pair: [null, null],
  classSort: null,
  errorSort: null,
  everyKey: false,
  threshold: null,
  truth: true,
  labels: true,
  image: null,
};

function remember() {
  try {
    sessionStorage.setItem(MEMORY, JSON.stringify(state));
  } catch {
    // A browser that keeps nothing still shows everything.
  }
}

function recall() {
  try {
    Object.assign(state, JSON.parse(sessionStorage.getItem(MEMORY)));
  } catch {
    // As above.
  }
}

function rows() {
  return content.table.rows;
}

// The names of the arms whose curves are drawn: at first the baseline and the first of the table.
function charted() {
  if (state.charted) return new Set(state.charted);
  const few = rows().slice(0, FEW).map((row) => row.name);
  const baseline = rows().find((row) => row.baseline);
  return new Set(baseline ? [baseline.name, ...few] : few);
}

function chart(names) {
  state.charted = [...names];
  remember();
  showCurves();
  showPrecision();
}
