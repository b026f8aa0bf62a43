// Tables whose rows sort by any column. The header of a column is a button, so the keyboard works as the mouse does.

// Fills a table.
//   columns: {key, title, number, hint}; the first one heads the rows
//   groups: {title, rows}; rows: {cells: {key: nodes or text}, values: {key: number, text or null}, name}
//   sort: {key, falls}, or null for the order given; sorted(sort) is called with what the reader wants
function sortable(table, {columns, groups, sort, sorted}) {
  const focused = table.contains(document.activeElement) ? document.activeElement.dataset.focus : null;
  const order = columns.some((column) => column.key === sort?.key) ? sort : null;
  const head = element("tr", {}, columns.map((column) => headCell(column, order, sorted)));
  const bodies = groups.filter((group) => group.rows.length).map((group) => {
    const lines = inOrder(group.rows, order).map((row) => bodyRow(row, columns));
    if (group.title) lines.unshift(groupRow(group.title, columns.length));
    return element("tbody", {}, lines);
  });
  table.replaceChildren(element("thead", {}, head), ...bodies);
  if (focused) table.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus();
}

function headCell(column, order, sorted) {
  const mine = order?.key === column.key;
  const direction = mine ? (order.falls ? "descending" : "ascending") : null;
  const click = () => sorted(nextSort(column, mine ? order : null));
  const arrow = element("span", {class: "arrow", "aria-hidden": "true"}, mine ? (order.falls ? "▼" : "▲") : "");
  return element(
    "th", {scope: "col", class: column.number ? "number" : null, "aria-sort": direction},
    element("button", {type: "button", click, title: column.hint, "data-focus": `sort ${column.key}`}, column.title, arrow),
  );
}

// Numbers fall first and words rise first; the third click gives the order back that the table came in.
function nextSort(column, order) {
  if (!order) return {key: column.key, falls: column.number};
  return order.falls === column.number ? {key: column.key, falls: !order.falls} : null;
}

function bodyRow(row, columns) {
  const cells = columns.map((column, place) => {
    const look = {class: column.number ? "number" : null};
    return place ? element("td", look, row.cells[column.key]) : element("th", {scope: "row"}, row.cells[column.key]);
  });
  return element("tr", {"data-name": row.name, hidden: row.hidden}, cells);
}

function groupRow(title, columns) {
  return element("tr", {class: "group"}, element("th", {scope: "rowgroup", colspan: columns}, title));
}

// Rows without a value come last, whichever way the others go.
function inOrder(given, order) {
  if (!order) return given;
  const sign = order.falls ? -1 : 1;
  const value = (row) => row.values[order.key] ?? null;
  return [...given].sort((one, two) => {
    const [a, b] = [value(one), value(two)];
    if (a === null || b === null) return (a === null) - (b === null);
    return sign * (typeof a === "number" && typeof b === "number" ? a - b : collator.compare(String(a), String(b)));
  });
}

const collator = new Intl.Collator("en", {numeric: true});
