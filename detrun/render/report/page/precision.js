// Precision over recall of every charted run that has stored detections.

const RECALLS = Array.from({length: 101}, (_, place) => place / 100);

function showPrecision() {
  const {arms, levels, classes, without} = content.precision;
  if (!present("precision", arms.length > 0)) return;
  state.level = offer(byId("level"), levels.map((level) => [level, level]), state.level || levels.at(-1));
  state.class = offer(byId("class"), [["", "mean over classes"], ...classes.map((name) => [name, name])], state.class);
  const shown = charted();
  const curve = (arm) => arm.curves[state.class]?.[state.level];
  showChart(byId("precision-chart"), {
    label: `precision over recall at IoU ${state.level}, ${state.class || "mean over classes"}`,
    lines: arms.filter((arm) => shown.has(arm.name) && curve(arm)).map((arm) => (
      {name: arm.name, arm: arm.name, x: RECALLS, y: curve(arm)}
    )),
    xTitle: "recall",
    yTitle: "precision",
    xText: (value) => value.toFixed(2),
    yText: (value) => metricText(value, 2),
    xRange: [0, 1],
    yRange: [0, 1],
  });
  byId("precision-without").textContent = without.length ? `Without: ${without.join("; ")}` : "";
}
