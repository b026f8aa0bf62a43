// Line charts: uPlot draws; hover, arrow keys and the numbers as a table are added here.

const charts = new Map();
const MOST_IN_TIP = 12;
const MARKER_STEP_PX = 90;
const WHOLE = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];

// Draws a chart in place of the one that is there.
//   lines: {name, arm, x, y, thin}; x and y are arrays of one length, y may have nulls
//   xTitle, yTitle; xText(value), yText(value); xRange, yRange: [low, high] where fixed
//   whole: x counts something; logarithmic: y
function showChart(host, spec) {
  charts.get(host)?.plot.destroy();
  host.replaceChildren();
  charts.delete(host);
  const lines = spec.lines.filter((line) => line.x.length);
  if (!lines.length) {
    host.append(element("p", {class: "aside"}, "Nothing to draw for what is chosen."));
    return;
  }
  const canvas = element("div", {class: "canvas", tabindex: 0, role: "group", "aria-label": `${spec.label}. Arrow keys read the values.`});
  const tip = element("div", {class: "tip", hidden: true});
  const spoken = element("p", {class: "unseen", role: "status"});
  host.append(legend(lines), canvas, tip, spoken, numbers(spec, lines));
  const plot = new uPlot(options(spec, lines, canvas, tip), aligned(lines), canvas);
  canvas.addEventListener("keydown", (event) => read(event, plot, spoken, tip));
  canvas.addEventListener("blur", () => leave(plot));
  charts.set(host, {plot, canvas});
}

function redrawCharts() {
  for (const {plot, canvas} of charts.values()) {
    if (canvas.clientWidth && canvas.clientWidth !== plot.width) plot.setSize({width: canvas.clientWidth, height: height(canvas)});
    else plot.redraw(false);
  }
}

function height(canvas) {
  return Math.round(Math.max(260, Math.min(420, canvas.clientWidth * 0.45)));
}

function aligned(lines) {
  return lines.length === 1 ? [lines[0].x, lines[0].y] : uPlot.join(lines.map((line) => [line.x, line.y]));
}

function options(spec, lines, canvas, tip) {
  const font = `12px ${getComputedStyle(document.body).fontFamily}`;
  const axis = {stroke: muted, font, labelFont: font, labelSize: 22, grid: {stroke: rule, width: 1}, ticks: {stroke: rule, width: 1, size: 4}};
  const texts = (text) => (_, splits) => splits.map((value) => (value === null ? null : text(value)));
  const range = (fixed) => (fixed ? {range: fixed} : {});
  return {
    width: canvas.clientWidth,
    height: height(canvas),
    padding: [8, 12, 0, 0],
    legend: {show: false},
    scales: {x: {time: false, ...range(spec.xRange)}, y: {distr: spec.logarithmic ? 3 : 1, ...range(spec.yRange)}},
    axes: [
      {...axis, label: spec.xTitle, values: texts(spec.xText), space: 60, ...(spec.whole ? {incrs: WHOLE} : {})},
      {...axis, label: spec.yTitle, values: texts(spec.yText), size: 54},
    ],
    series: [{}, ...lines.map(series)],
    cursor: {y: false, points: {size: 9}, focus: {prox: 1e6}},
    focus: {alpha: 0.35},
    hooks: {
      drawSeries: [(plot, place) => place && drawMarkers(plot, place, lines[place - 1])],
      setCursor: [(plot) => showTip(plot, tip, spec, lines)],
    },
  };
}

function series(line) {
  const {colour, dash} = lineStyle(line.arm);
  const stroke = () => colour ?? ink();
  return {label: line.name, stroke, dash, width: line.thin ? 1.25 : 2, points: {show: false}, spanGaps: true};
}

// Markers where there is room between them.
function drawMarkers(plot, place, line) {
  const {colour, marker} = lineStyle(line.arm);
  const scale = devicePixelRatio;
  const path = new Path2D();
  let last = -Infinity;
  plot.data[place].forEach((value, index) => {
    if (value === null || value === undefined) return;
    const x = plot.valToPos(plot.data[0][index], "x", true);
    const y = plot.valToPos(value, "y", true);
    if (x < plot.bbox.left - 1 || x > plot.bbox.left + plot.bbox.width + 1 || x - last < MARKER_STEP_PX * scale) return;
    last = x;
    path.addPath(new Path2D(markerPath(marker, x, y, 3.5 * scale)));
  });
  plot.ctx.save();
  plot.ctx.fillStyle = plot.ctx.strokeStyle = colour ?? ink();
  plot.ctx.lineWidth = 1.5 * scale;
  plot.ctx.setLineDash([]);
  plot.ctx.stroke(path);
  if (marker !== "cross") plot.ctx.fill(path);
  plot.ctx.restore();
}

function legend(lines) {
  const arms = new Map();
  for (const line of lines) arms.set(line.arm, (arms.get(line.arm) ?? 0) + 1);
  const words = ([arm, seeds]) => element("li", {}, swatch(arm), arm, seeds > 1 ? ` (${seeds} seeds)` : "");
  return element("ul", {class: "legend"}, [...arms].map(words));
}

// The values at the reading line, each line's nearest one, highest first.
function reading(plot, lines) {
  const found = lines.map((line, place) => {
    const index = plot.cursor.idxs[place + 1];
    const value = index === null || index === undefined ? null : plot.data[place + 1][index];
    return {line, value, x: plot.data[0][index]};
  });
  return found.filter((each) => each.value !== null && each.value !== undefined).sort((a, b) => b.value - a.value);
}

function showTip(plot, tip, spec, lines) {
  const {left, top, idx} = plot.cursor;
  const found = idx === null || idx === undefined || left < 0 ? [] : reading(plot, lines);
  tip.hidden = !found.length;
  if (!found.length) return;
  const away = (each) => Math.abs(plot.valToPos(each.value, "y") - top);
  const nearest = [...found].sort((a, b) => away(a) - away(b));
  const kept = new Set(nearest.slice(0, MOST_IN_TIP));
  const line = (each) => element(
    "li", {class: each === nearest[0] ? "nearest" : null},
    swatch(each.line.arm), element("span", {}, each.line.name), element("b", {}, spec.yText(each.value)),
    each.x === plot.data[0][idx] ? "" : element("small", {}, spec.xText(each.x)),
  );
  const rest = found.length - kept.size;
  tip.replaceChildren(
    element("p", {}, `${spec.xTitle} ${spec.xText(plot.data[0][idx])}`),
    element("ul", {}, found.filter((each) => kept.has(each)).map(line)),
    rest ? element("p", {}, `and ${rest} more`) : "",
  );
  placeTip(plot, tip, left);
}

function placeTip(plot, tip, left) {
  const start = plot.over.offsetLeft + plot.root.offsetLeft;
  const room = plot.root.offsetLeft + plot.width;
  const right = start + left + 14 + tip.offsetWidth <= room;
  const at = right ? start + left + 14 : Math.max(0, start + left - 14 - tip.offsetWidth);
  tip.style.left = `${at}px`;
  tip.style.top = `${plot.root.offsetTop + 12}px`;
}

// Moves the reading line by keyboard.
function read(event, plot, spoken, tip) {
  const last = plot.data[0].length - 1;
  const now = plot.cursor.left >= 0 ? plot.cursor.idx : null;
  const next = {
    ArrowRight: now === null ? 0 : Math.min(last, now + 1),
    ArrowLeft: now === null ? last : Math.max(0, now - 1),
    Home: 0,
    End: last,
  }[event.key];
  if (event.key === "Escape") leave(plot);
  if (next === undefined) return;
  event.preventDefault();
  plot.setCursor({left: plot.valToPos(plot.data[0][next], "x"), top: plot.over.clientHeight / 2});
  spoken.textContent = tip.innerText.replace(/\s+/g, " ");
}

function leave(plot) {
  plot.setCursor({left: -10, top: -10});
}

// The same as a table, for those who do not see the chart; made when it is opened.
function numbers(spec, lines) {
  const box = element("details", {class: "numbers"}, element("summary", {}, "numbers"));
  box.addEventListener("toggle", () => {
    if (box.open && box.children.length === 1) box.append(numbersTable(spec, lines));
  });
  return box;
}

function numbersTable(spec, lines) {
  const [places, ...columns] = aligned(lines);
  const head = element("tr", {}, [spec.xTitle, ...lines.map((line) => line.name)].map((title) => element("th", {scope: "col", class: "number"}, title)));
  const body = places.map((x, index) => {
    const values = columns.map((column) => element("td", {class: "number"}, column[index] === null || column[index] === undefined ? "" : spec.yText(column[index])));
    return element("tr", {}, element("th", {scope: "row", class: "number"}, spec.xText(x)), values);
  });
  const table = element("table", {}, element("thead", {}, head), element("tbody", {}, body));
  return element("div", {class: "scroll", role: "region", "aria-label": `${spec.label}, as numbers`, tabindex: 0}, table);
}
