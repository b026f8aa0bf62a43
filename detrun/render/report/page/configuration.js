// What differs between the configurations of two runs, or the whole of both.

function showConfiguration() {
  if (!present("configuration", content.configuration.length > 0)) return;
  const [one, two] = state.pair;
  const text = (values, name) => (name in values ? JSON.stringify(values[name]) : "–");
  const known = content.configuration.filter(({values}) => one in values || two in values);
  const differing = known.filter(({values}) => two !== null && text(values, one) !== text(values, two));
  const shown = state.everyKey || two === null ? known : differing;
  const names = two === null ? [one] : [one, two];
  const differs = new Set(differing);
  byId("configuration-table").replaceChildren(
    element("thead", {}, element("tr", {}, ["key", ...names].map((name) => element("th", {scope: "col"}, name)))),
    element("tbody", {}, shown.map((row) => element(
      "tr", {class: state.everyKey && differs.has(row) ? "differs" : null},
      element("th", {scope: "row"}, row.key, state.everyKey && differs.has(row) ? element("span", {class: "tag"}, "differs") : ""),
      names.map((name) => element("td", {class: "value"}, text(row.values, name))),
    ))),
  );
  byId("configuration-table").hidden = !shown.length;
  byId("every-key").closest(".controls").hidden = two === null;
  const missing = names.filter((name) => known.every(({values}) => !(name in values)));
  const words = missing.length ? `No configuration is known of ${missing.join(", ")}.` : "Both have the same configuration.";
  byId("configuration-without").textContent = missing.length || !shown.length ? words : "";
}
