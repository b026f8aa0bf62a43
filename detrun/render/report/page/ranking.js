// The comparison: one row an arm, ranked ones first, with filter, choice of columns, and values or differences.

const CONDITION = /^([^<>=!]+)(<=|>=|!=|=|<|>)(.+)$/;

function showRanking() {
  const shown = shownColumns();
  const all = rows().map((row) => rankingRow(row, shown));
  const ranked = all.filter((_, place) => rows()[place].ranked);
  const others = all.filter((_, place) => !rows()[place].ranked);
  sortable(byId("table"), {
    columns: [{key: "name", title: "run", number: false}, ...shown],
    groups: [{title: "", rows: ranked}, {title: "not ranked: unfinished or failed", rows: others}],
    sort: state.sort,
    sorted: (sort) => {
      state.sort = sort;
      remember();
      showRanking();
    },
  });
  const matching = all.filter((row) => !row.hidden).length;
  byId("count").textContent = state.filter ? `${matching} of ${all.length} rows` : "";
}

function shownColumns() {
  const chosen = state.columns && new Set(state.columns);
  const shown = content.table.columns.filter((column) => (chosen ? chosen.has(column.key) : column.shown));
  return shown.map((column) => ({...column, room: longestRest(column.key)}));
}

// What the widest cell of a column has behind its number, such as the spread over seeds or an interval.
function longestRest(key) {
  const rests = rows().map((row) => rest(row.cells[key][0]));
  return rests.reduce((longest, each) => (each.length > longest.length ? each : longest), "");
}

function rest(text) {
  return text.split(" ").slice(1).join(" ");
}

function rankingRow(row, shown) {
  const differing = state.show === "differences" && !row.baseline;
  const cells = {name: nameCell(row)};
  const values = {name: row.name};
  for (const column of shown) {
    const difference = differing && column.metric ? row.differences[column.key] : undefined;
    const [text, value, mark] = difference ? [...difference, ""] : row.cells[column.key];
    cells[column.key] = column.number ? numberCell(text, mark, column.room) : text;
    values[column.key] = value;
  }
  return {name: row.name, cells, values, hidden: !matches(row, shown)};
}

function nameCell(row) {
  const names = charted();
  const box = element("input", {
    type: "checkbox",
    "aria-label": `chart ${row.name}`,
    "data-focus": `chart ${row.name}`,
    change: (event) => {
      if (event.target.checked) names.add(row.name);
      else names.delete(row.name);
      chart(names);
    },
  });
  box.checked = names.has(row.name);
  const label = element("label", {class: "run"}, box, swatch(row.name), element("span", {title: row.sources.join("\n")}, row.name));
  const doubts = row.flags.filter((flag) => !flag.startsWith("state: "));
  return [
    label,
    row.baseline ? element("span", {class: "tag"}, "baseline") : "",
    doubts.length ? element("span", {class: "tag", title: doubts.join("\n")}, "!", unseen(` ${doubts.join("; ")}`)) : "",
  ];
}

// The number, and behind it what goes with it or as much room, so that decimal points stand below each other.
function numberCell(text, mark, room) {
  const main = text.replace(/^-/, "−").split(" ")[0];
  const words = {"*": " best", "~": " within seed noise"};
  const more = rest(text);
  return [
    mark === "*" ? element("strong", {}, main) : main,
    element("span", {class: "mark", "aria-hidden": "true"}, mark),
    mark ? unseen(words[mark]) : "",
    more ? element("span", {class: "more"}, more) : "",
    room && !more ? element("span", {class: "more room", "aria-hidden": "true"}, room) : "",
  ];
}

function matches(row, shown) {
  const terms = state.filter.replace(/\s*(<=|>=|!=|=|<|>)\s*/g, "$1").split(/\s+/).filter(Boolean);
  const text = [row.name, row.state, ...shown.map((column) => row.cells[column.key][0])].join(" ").toLowerCase();
  return terms.every((term) => {
    const [, name, sign, wanted] = CONDITION.exec(term) ?? [];
    const column = name && columnNamed(name);
    return column ? holds(row.cells[column.key], sign, wanted) : text.includes(term.toLowerCase());
  });
}

// By its whole name, or by the end of a dotted one, as on the command line.
function columnNamed(name) {
  const known = content.table.columns;
  const same = (column) => [column.key, column.title].some((word) => word.toLowerCase() === name.toLowerCase());
  const ends = known.filter((column) => column.key.split(".").at(-1) === name);
  return known.find(same) ?? (ends.length === 1 ? ends[0] : null);
}

function holds([text, value], sign, wanted) {
  if (value === null) return false;
  const numbers = typeof value === "number" && !Number.isNaN(Number(wanted));
  const [a, b] = numbers ? [value, Number(wanted)] : [String(typeof value === "boolean" ? value : text).toLowerCase(), wanted.toLowerCase()];
  switch (sign) {
    case "<": return a < b;
    case ">": return a > b;
    case "<=": return a <= b;
    case ">=": return a >= b;
    case "!=": return a !== b;
    default: return a === b;
  }
}

function showColumnMenu() {
  const chosen = new Set(shownColumns().map((column) => column.key));
  const boxes = content.table.columns.map((column) => {
    const box = element("input", {
      type: "checkbox",
      "data-focus": column.key,
      change: (event) => {
        if (event.target.checked) chosen.add(column.key);
        else chosen.delete(column.key);
        state.columns = [...chosen];
        remember();
        showRanking();
      },
    });
    box.checked = chosen.has(column.key);
    return element("label", {}, box, column.key === column.title ? column.key : `${column.key} (${column.title})`);
  });
  const set = byId("columns").querySelector("fieldset");
  set.replaceChildren(set.querySelector("legend"), ...boxes);
}

function showWords() {
  byId("title").textContent = content.title;
  byId("headline").textContent = content.headline;
  byId("setting").textContent = content.setting.join(" · ");
  byId("notes").textContent = content.notes.join(" · ");
  const list = (id, lines) => byId(id).replaceChildren(...lines.map((line) => element("li", {}, line)));
  list("flags", [...content.flags, ...content.unread.map((line) => `not understood: ${line}`)].map((flag) => `! ${flag}`));
  list("not-ranked", content.not_ranked);
  byId("not-ranked-title").hidden = !content.not_ranked.length;
  const marks = rows().flatMap((row) => Object.values(row.cells).map((cell) => cell[2]));
  byId("marks").textContent = [
    marks.includes("*") ? "* best of the ranked runs" : "",
    marks.includes("~") ? "~ within seed noise" : "",
  ].filter(Boolean).join(" · ");
  byId("show").closest("label").hidden = !content.baseline;
  byId("chart-all").hidden = byId("chart-few").hidden = rows().length <= FEW;
}
