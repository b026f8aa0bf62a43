"""What the golden files show: a name, a comparison and a form each."""

import re
from collections.abc import Callable
from pathlib import Path

import msgspec
from report_compare import compared, run, seeds

from detrun.comparison import ClassRow, Comparison, ErrorRow, Interval
from detrun.comparison.runs import from_log, names_of_logs
from detrun.comparison.table import Question, compare
from detrun.readers.evaluation import Unread
from detrun.readers.folder import FoundLog, walk
from detrun.render.report import document, latex, markdown, separated, terminal

GOLDEN = Path(__file__).parent / "golden"
_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


def paper(logs: Path) -> Comparison:
    """The two runs of the Markdown page, read from a copy whose path is the same everywhere."""
    found = [each for each in walk(logs / "yolov3_result.md") if isinstance(each, FoundLog)]
    runs = [from_log(each, name, "bbox", "last") for each, name in zip(found, names_of_logs(found), strict=True)]
    return compare([msgspec.structs.replace(each, source="yolov3_result.md") for each in runs], Question())


def sweep(_: Path) -> Comparison:
    """Two learning rates of three seeds, one that failed and one that never started."""
    costs = {"gpu_hours": 4.4, "images_per_s": 812.0, "created_at": 5.0}
    older = costs | {"gpu_hours": 4.3, "images_per_s": 809.0, "created_at": 1.0}
    fast = [
        msgspec.structs.replace(each, columns=costs)
        for each in seeds("b90d4", [0.541, 0.545, 0.538], **{"optim.lr": 3e-4, "data.root": "/data/bccd", "epochs": 30})
    ]
    slow = [
        msgspec.structs.replace(each, columns=older)
        for each in seeds("7f3a1", [0.512, 0.516, 0.509], **{"optim.lr": 1e-3, "data.root": "/data/bccd", "epochs": 30})
    ]
    config = {"optim.lr": 1e-2, "data.root": "/data/bccd", "seed": 0, "epochs": 30}
    failed = run(
        "c11e08",
        [0.05, 0.08, 0.102],
        config=config,
        state="failed",
        columns=costs | {"gpu_hours": 0.3, "images_per_s": None},
        flags=("state: failed, loss is NaN at step 412",),
    )
    waiting = run("d22f19", [], config=config | {"optim.lr": 0.1}, state="pending", flags=("state: pending",))
    comparison = compared(*slow, *fast, failed, waiting, baseline="7f3a10")
    interval = {"AP": Interval(lower=0.0113, upper=0.0461)}
    arms = [msgspec.structs.replace(arm, intervals={} if arm.is_baseline else interval) for arm in comparison.arms]
    return msgspec.structs.replace(
        comparison,
        arms=tuple(arms),
        classes=(
            ClassRow(name="platelets", ap={"b90d40": 0.301, "7f3a10": 0.251}, deltas={"b90d40": 0.05}),
            ClassRow(name="white | cell", ap={"b90d40": 0.7, "7f3a10": -1.0}, deltas={}),
        ),
        errors=(ErrorRow(arm="b90d40", costs={"classification": 0.031, "localisation": 0.082, "missed": 0.2}),),
        unread=(Unread(source="runs/photo.jpg", reason="not text"),),
    )


def odd(_: Path) -> Comparison:
    """Names and numbers that would break a table: markup, missing values, ties, noise, many logs."""
    table = {"AP": 0.30049, "AP50": 0.5, "APs": -1.0, "AR100": 0.4}
    return compared(
        run("50%_of_data & {more} #1", [], metrics=[table]),
        run("a|b*c\\d~e^f$", [], metrics=[table | {"AP": 0.30151, "APm": 0.2}], flags=("scale: x100 in the log",)),
        run("[late]", [], metrics=[{"AP": 0.2}, table | {"AP": 0.29}], by="last"),
        run('=1+1,"x" y', [], metrics=[{"AP50": 0.5}]),
    )


def _screen(width: int) -> Callable[[Comparison], str]:
    return lambda comparison: "\n".join(
        line.rstrip() for line in _ESCAPE.sub("", terminal.render(comparison, width)).splitlines()
    )


FORMS: dict[str, Callable[[Comparison], str]] = {
    "80.txt": _screen(80),
    "120.txt": _screen(120),
    "200.txt": _screen(200),
    "md": markdown.render,
    "csv": separated.comma_separated,
    "tsv": separated.tab_separated,
    "tex": latex.render,
    "json": lambda comparison: msgspec.json.format(document.render(comparison), indent=1),
}
COMPARISONS = {"paper": paper, "sweep": sweep, "odd": odd}


def shown(name: str, form: str, logs: Path) -> str:
    return FORMS[form](COMPARISONS[name](logs)) + "\n"


def write(logs: Path) -> None:
    """Write every golden file anew, to be read in the diff before it is kept."""
    for name in COMPARISONS:
        for form in FORMS:
            (GOLDEN / f"{name}.{form}").write_text(shown(name, form, logs))


if __name__ == "__main__":
    import sys

    write(Path(sys.argv[1]))
