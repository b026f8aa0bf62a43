// AP by class in two runs, largest gains and losses first.

function showClasses() {
  if (!present("classes", content.classes.length > 0)) return;
  const [one, two] = state.pair;
  const rowsOfBoth = content.classes.map(({name, ap}) => {
    const [before, after] = [ap[one] ?? null, ap[two] ?? null];
    return {name, before, after, change: before === null || after === null ? null : after - before};
  }).filter((row) => row.before !== null || row.after !== null);
  const missing = [one, two].filter((name) => name && content.classes.every((row) => !(name in row.ap)));
  byId("classes-without").textContent = missing.length ? `No AP by class is stored for ${missing.join(", ")}.` : "";
  rowsOfBoth.sort((a, b) => Math.abs(b.change ?? 0) - Math.abs(a.change ?? 0) || (b.before ?? 0) - (a.before ?? 0));
  const widest = Math.max(...rowsOfBoth.map((row) => Math.abs(row.change ?? 0)), 1e-9);
  const single = two === null;
  const columns = [
    {key: "name", title: "class", number: false},
    {key: "before", title: `AP ${one}`, number: true},
    ...(single ? [] : [
      {key: "after", title: `AP ${two}`, number: true},
      {key: "change", title: "Δ", number: true},
    ]),
    {key: "bar", title: single ? "AP" : `loss ◂ ${two} ▸ gain`, number: false},
  ];
  sortable(byId("classes-table"), {
    columns,
    groups: [{title: "", rows: rowsOfBoth.map((row) => ({
      name: row.name,
      cells: {
        name: row.name,
        before: metricText(row.before),
        after: metricText(row.after),
        change: signedText(row.change),
        bar: single ? bar(row.before ?? 0) : bar((row.change ?? 0) / widest, true),
      },
      values: {...row, bar: single ? row.before : row.change},
    }))}],
    sort: state.classSort,
    sorted: (sort) => {
      state.classSort = sort;
      remember();
      showClasses();
    },
  });
}
