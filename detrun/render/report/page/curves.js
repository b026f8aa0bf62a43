// Learning curves: a metric or the loss of every charted run, over epochs, time or images.

const AXES = {epoch: "epoch", seconds: "time", images: "images seen"};
const LOSS = "loss";

function showCurves() {
  const every = content.curves;
  const metrics = [...new Set(every.flatMap((run) => Object.keys(run.metrics)))];
  const names = every.some((run) => run.loss) ? [...metrics, LOSS] : metrics;
  const long = every.some((run) => run.loss || run.epoch?.length > 1);
  if (!present("curves", names.length > 0 && long)) return;
  state.metric = offer(byId("metric"), names.map((name) => [name, name]), state.metric);
  const axes = Object.entries(AXES).filter(([axis]) => every.some((run) => onAxis(run, axis)));
  state.axis = offer(byId("axis"), axes, state.axis);
  const shown = charted();
  const runs = every.filter((run) => shown.has(run.arm) && onAxis(run, state.axis));
  const unit = state.axis === "seconds" ? timeUnit(runs) : {title: AXES[state.axis], size: 1};
  const seeds = (run) => every.filter((other) => other.arm === run.arm).length > 1;
  const loss = state.metric === LOSS;
  showChart(byId("curves-chart"), {
    label: `${state.metric} over ${AXES[state.axis]}`,
    lines: runs.map((run) => ({
      name: run.run, arm: run.arm, thin: seeds(run), x: onAxis(run, state.axis).map((x) => x / unit.size), y: values(run),
    })),
    xTitle: unit.title,
    yTitle: state.metric,
    xText: shortNumber,
    yText: loss ? shortNumber : (value) => metricText(value),
    whole: state.axis === "epoch",
    logarithmic: loss,
  });
}

function values(run) {
  return state.metric === LOSS ? run.loss.loss : run.metrics[state.metric];
}

// Where the values of a run stand; null where that is not known, or where it lacks the metric.
function onAxis(run, axis) {
  if (state.metric === LOSS) return run.loss?.[axis] ?? null;
  return run.metrics[state.metric] ? run[axis] : null;
}

function timeUnit(runs) {
  const longest = Math.max(...runs.map((run) => onAxis(run, "seconds").at(-1)));
  if (longest > 2 * 3600) return {title: "hours", size: 3600};
  return longest > 120 ? {title: "minutes", size: 60} : {title: "seconds", size: 1};
}
