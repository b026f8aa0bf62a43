// The two runs that stand side by side in classes, configuration and images.

function showPair() {
  const names = rows().map((row) => row.name);
  const there = content.classes.length || content.configuration.length || content.gallery.images.length;
  byId("pair").hidden = !there;
  const baseline = rows().find((row) => row.baseline)?.name ?? names[0];
  const other = names.find((name) => name !== baseline);
  const options = names.map((name) => [name, name]);
  const [one, two] = state.pair.map((name) => (names.includes(name) ? name : null));
  state.pair = [one ?? baseline ?? null, two ?? other ?? null];
  offer(byId("pair-a"), options, state.pair[0]);
  offer(byId("pair-b"), options, state.pair[1]);
  byId("pair-swap").hidden = names.length < 2;
  byId("pair").querySelector("h2").textContent = names.length < 2 ? "In detail" : "Two runs, side by side";
  showClasses();
  showConfiguration();
  showImages();
}

function choosePair(one, two) {
  state.pair = [one, two];
  remember();
  showPair();
}
