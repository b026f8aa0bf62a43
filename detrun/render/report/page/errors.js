// What each kind of error costs, where it was asked for.

function showErrors() {
  if (!present("errors", content.errors.length > 0)) return;
  const kinds = [...new Set(content.errors.flatMap((row) => Object.keys(row.costs)))];
  const most = Math.max(...content.errors.flatMap((row) => Object.values(row.costs)), 1e-9);
  const cells = (row) => Object.fromEntries(kinds.map((kind) => [kind, [bar(row.costs[kind] / most), metricText(row.costs[kind])]]));
  sortable(byId("errors-table"), {
    columns: [{key: "name", title: "run", number: false}, ...kinds.map((key) => ({key, title: key, number: true}))],
    groups: [{title: "", rows: content.errors.map((row) => (
      {name: row.name, cells: {name: row.name, ...cells(row)}, values: {name: row.name, ...row.costs}}
    ))}],
    sort: state.errorSort,
    sorted: (sort) => {
      state.errorSort = sort;
      remember();
      showErrors();
    },
  });
}

// A bar as long as a share from -1 to 1 says; negative ones go to the left of the middle.
function bar(share, middle = false) {
  const fill = element("i", {class: share < 0 ? "loss" : "gain"});
  const length = Math.min(1, Math.abs(share)) * (middle ? 50 : 100);
  fill.style.width = `${length}%`;
  fill.style.left = middle ? `${share < 0 ? 50 - length : 50}%` : "0";
  return element("span", {class: middle ? "bar-cell middle" : "bar-cell", "aria-hidden": "true"}, fill);
}
