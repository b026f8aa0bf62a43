// Elements, numbers and words. Text always becomes a text node, never markup.

const SVG = "http://www.w3.org/2000/svg";

function byId(id) {
  return document.getElementById(id);
}

function element(tag, attributes = {}, ...children) {
  return furnished(document.createElement(tag), attributes, children);
}

function drawn(tag, attributes = {}, ...children) {
  return furnished(document.createElementNS(SVG, tag), attributes, children);
}

function furnished(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

function unseen(text) {
  return element("span", {class: "unseen"}, text);
}

// Replaces the options of a select, each [value, text]; returns the value that then stands.
function offer(select, options, wanted) {
  select.replaceChildren(...options.map(([value, text]) => element("option", {value}, text)));
  const known = options.some(([value]) => value === wanted);
  select.value = known ? wanted : options.length ? options[0][0] : "";
  select.closest("label").hidden = options.length < 2;
  return select.value;
}

function metricText(value, decimals = 3) {
  return value === null || value === undefined ? "–" : value.toFixed(decimals).replace(/^(-?)0\./, "$1.");
}

function signedText(value) {
  if (value === null || value === undefined) return "–";
  const text = metricText(Math.abs(value));
  return (value < 0 && Number(text) > 0 ? "−" : "+") + text;
}

function shortNumber(value) {
  return Math.abs(value) >= 1e6 || (value !== 0 && Math.abs(value) < 1e-3)
    ? value.toExponential(2)
    : String(Number(value.toPrecision(4)));
}

// Shows a section and its link, or hides both.
function present(id, there) {
  byId(id).hidden = !there;
  const link = document.querySelector(`nav a[href="#${id}"]`);
  if (link) link.hidden = !there;
  return there;
}
