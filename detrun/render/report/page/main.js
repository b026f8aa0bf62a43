// Starts the page: what each control does, and everything shown once.

function showAll() {
  showWords();
  showColumnMenu();
  showRanking();
  showCurves();
  showPrecision();
  showErrors();
  showPair();
}

// A control that sets a part of the state and shows anew what depends on it.
function control(id, event, name, value, show) {
  byId(id).addEventListener(event, (happened) => {
    state[name] = value(happened.target);
    remember();
    show();
  });
}

function connect() {
  control("filter", "input", "filter", (input) => input.value.trim(), showRanking);
  control("show", "change", "show", (select) => select.value, showRanking);
  control("metric", "change", "metric", (select) => select.value, showCurves);
  control("axis", "change", "axis", (select) => select.value, showCurves);
  control("level", "change", "level", (select) => select.value, showPrecision);
  control("class", "change", "class", (select) => select.value, showPrecision);
  control("every-key", "change", "everyKey", (box) => box.checked, showConfiguration);
  control("truth", "change", "truth", (box) => box.checked, showImage);
  control("labels", "change", "labels", (box) => box.checked, showImage);
  control("threshold", "input", "threshold", (slider) => Number(slider.value), showImage);
  byId("threshold").addEventListener("change", () => {
    showStrip();
    showImage();
  });
  byId("pair-a").addEventListener("change", (event) => choosePair(event.target.value, state.pair[1]));
  byId("pair-b").addEventListener("change", (event) => choosePair(state.pair[0], event.target.value));
  byId("pair-swap").addEventListener("click", () => choosePair(state.pair[1], state.pair[0]));
  byId("chart-all").addEventListener("click", () => chartRows(rows()));
  byId("chart-few").addEventListener("click", () => chartRows(null));
  byId("previous").addEventListener("click", () => step(-1));
  byId("next").addEventListener("click", () => step(1));
  byId("viewer").addEventListener("keydown", (event) => {
    const by = {ArrowRight: 1, ArrowLeft: -1}[event.key];
    if (!by || event.target.matches("input")) return;
    event.preventDefault();
    step(by);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") byId("columns").open = false;
  });
  new ResizeObserver(redrawCharts).observe(document.querySelector("main"));
}

function chartRows(chosen) {
  state.charted = chosen && chosen.map((row) => row.name);
  remember();
  showRanking();
  showCurves();
  showPrecision();
}

recall();
startTheme();
connect();
byId("filter").value = state.filter;
byId("show").value = state.show;
byId("every-key").checked = state.everyKey;
showAll();
showTheme();
keepFresh();
performance.mark("ready");
