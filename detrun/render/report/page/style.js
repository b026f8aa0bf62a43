// How an arm's line looks: a colour of Okabe and Ito's, a dash and a marker. The baseline is as black as the text.

const COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"];
const DASHES = [[], [7, 4], [2, 3], [9, 3, 2, 3]];
const MARKERS = ["circle", "square", "triangle", "diamond", "cross"];

function ink() {
  return getComputedStyle(byId("title")).color;
}

function muted() {
  return getComputedStyle(byId("setting")).color;
}

function rule() {
  return getComputedStyle(document.querySelector(".bar")).borderBottomColor;
}

function lineStyle(name) {
  const row = rows().find((each) => each.name === name);
  if (row.baseline) return {colour: null, dash: [], marker: "circle"};
  const place = rows().filter((each) => !each.baseline).indexOf(row);
  const round = Math.floor(place / COLOURS.length);
  return {
    colour: COLOURS[place % COLOURS.length],
    dash: DASHES[round % DASHES.length],
    marker: MARKERS[(place + 1) % MARKERS.length],
  };
}

// A short line as it looks in the charts.
function swatch(name) {
  const {colour, dash, marker} = lineStyle(name);
  const look = {stroke: colour ?? "currentColor", fill: "none", "stroke-width": 2};
  return drawn(
    "svg", {class: "swatch", viewBox: "0 0 30 12", "aria-hidden": "true"},
    drawn("path", {d: "M1 6H29", "stroke-dasharray": dash.join(" ") || null, ...look}),
    drawn("path", {d: markerPath(marker, 15, 6, 3.5), ...look, fill: marker === "cross" ? "none" : look.stroke}),
  );
}

// The path of a marker around a point.
function markerPath(marker, x, y, size) {
  switch (marker) {
    case "square": return `M${x - size} ${y - size}h${2 * size}v${2 * size}h${-2 * size}z`;
    case "triangle": return `M${x} ${y - size}l${size} ${2 * size}h${-2 * size}z`;
    case "diamond": return `M${x} ${y - size * 1.2}l${size * 1.2} ${size * 1.2}l${-size * 1.2} ${size * 1.2}l${-size * 1.2} ${-size * 1.2}z`;
    case "cross": return `M${x - size} ${y - size}l${2 * size} ${2 * size}m0 ${-2 * size}l${-2 * size} ${2 * size}`;
    default: return `M${x - size} ${y}a${size} ${size} 0 1 0 ${2 * size} 0a${size} ${size} 0 1 0 ${-2 * size} 0z`;
  }
}
