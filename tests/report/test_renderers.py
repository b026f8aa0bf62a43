"""Every form of the report, against files that were read by eye (`report_cases.py` writes them anew)."""

import csv
import io
import json
import re
from pathlib import Path

import pytest
from report_cases import COMPARISONS, FORMS, GOLDEN, odd, paper, shown, sweep
from report_compare import compared, run, seeds

from detector.errors import UserError
from detector.records import METRICS
from detrun.render.report import document, latex, markdown, separated, terminal
from detrun.render.report.columns import columns


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", COMPARISONS)
def test_a_form_is_as_its_golden_file(shared: Path, name: str, form: str) -> None:
    assert shown(name, form, shared / "logs") == (GOLDEN / f"{name}.{form}").read_text()


def test_there_is_no_golden_file_too_many() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == {f"{name}.{form}" for name in COMPARISONS for form in FORMS}


@pytest.mark.parametrize("width", range(60, 200, 7))
def test_no_line_is_wider_than_the_terminal(shared: Path, width: int) -> None:
    for make in COMPARISONS.values():
        text = re.sub(r"\x1b\[[0-9;]*m", "", terminal.render(make(shared / "logs"), width))
        assert max(len(line.rstrip()) for line in text.splitlines()) <= width


def test_wide_characters_do_not_shift_the_columns() -> None:
    from rich.cells import cell_len

    text = re.sub(r"\x1b\[[0-9;]*m", "", terminal.render(compared(run("从头训练", [0.2]), run("b", [0.3])), 120))
    one, two = text.splitlines()[1:3]
    assert cell_len(one[: one.index(".200")]) == cell_len(two[: two.index(".300")])


def test_what_has_no_room_is_named(shared: Path) -> None:
    text = terminal.render(paper(shared / "logs"), 80)
    assert "no room for AR1 AR10 ARs ARm ARl" in text
    assert "no room" not in terminal.render(paper(shared / "logs"), 120)


def test_the_best_is_marked_without_colour(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    text = terminal.render(paper(shared / "logs"), 120)
    assert ".277*" in text
    assert ".223*" not in text
    assert not re.search(r"\x1b\[3[0-9]", text)


def test_equal_values_are_best_together_or_not_at_all() -> None:
    tied = compared(run("a", [0.30001]), run("b", [0.30002]), run("c", [0.2]))
    assert [cell.best for cell in columns(tied)[1].cells] == [True, True, False]
    same = compared(run("a", [0.3]), run("b", [0.3]))
    assert not any(cell.best for column in columns(same) for cell in column.cells)


def test_runs_that_are_not_ranked_are_never_best() -> None:
    comparison = compared(
        run("a", [0.2], config={"x": 1}),
        run("b", [0.3], config={"x": 2}),
        run("c", [0.9], config={"x": 3}, state="failed"),
    )
    ap = next(column for column in columns(comparison) if column.key == "AP")
    assert [cell.best for cell in ap.cells] == [True, False, False]


def test_no_more_decimals_are_shown_than_a_log_has() -> None:
    import msgspec

    one = run("a", [0.3])
    assert one.selected is not None
    rounded = msgspec.structs.replace(one, selected=msgspec.structs.replace(one.selected, decimals=2))
    assert columns(compared(rounded))[1].cells[0].text == ".30"


def test_a_spread_too_small_for_three_decimals_gets_four() -> None:
    ap = next(column for column in columns(compared(*seeds("a", [0.3, 0.3001, 0.3002], x=1))) if column.key == "AP")
    assert ap.cells[0].text == ".3001 ±.0001"


def test_columns_are_exactly_those_asked_for() -> None:
    comparison = compared(run("a", [0.2], config={"optim.lr": 0.1}), run("b", [0.3], config={"optim.lr": 0.2}))
    assert [column.key for column in columns(comparison, ["lr", "APs", "epoch"])] == [
        "name",
        "optim.lr",
        "APs",
        "epoch",
    ]
    header = separated.comma_separated(comparison, ["lr", "source"]).splitlines()[0]
    assert header == "name,optim.lr,source"
    for render in (columns, separated.comma_separated, markdown.render, latex.render):
        with pytest.raises(UserError, match="--columns: no column `lrr`"):
            render(comparison, ["lrr"])  # type: ignore[operator]


def test_paths_are_shortened_to_what_tells_them_apart() -> None:
    comparison = compared(
        run("a", [0.2], config={"model.init": "/w/yolov3-tiny.weights"}),
        run("b", [0.3], config={"model.init": "scratch"}),
    )
    init = next(column for column in columns(comparison) if column.key == "model.init")
    assert {cell.text for cell in init.cells} == {"yolov3-tiny.weights", "scratch"}


def test_json_keeps_the_contract(shared: Path) -> None:
    for make in COMPARISONS.values():
        whole = json.loads(document.render(make(shared / "logs")))
        assert whole["schema"] == 1
        assert isinstance(whole["flags"], list)
        for each in whole["runs"]:
            contract = ["name", "source", "iou_type", "evaluations", "epoch", "selected", "metrics", "history", "flags"]
            assert list(each)[: len(contract)] == contract
            assert list(each["metrics"]) == list(METRICS)
            assert len(each["history"]) == each["evaluations"]
            assert all(list(point["metrics"]) == list(METRICS) for point in each["history"])


def test_what_is_missing_is_null_empty_or_a_dash_and_minus_one_stays() -> None:
    comparison = compared(run("a", [], metrics=[{"AP": 0.2, "APs": -1.0}]))
    assert json.loads(document.render(comparison))["runs"][0]["metrics"]["ARl"] is None
    assert json.loads(document.render(comparison))["runs"][0]["metrics"]["APs"] == -1
    (row,) = csv.DictReader(io.StringIO(separated.comma_separated(comparison)))
    assert (row["ARl"], row["APs"]) == ("", "-1.0")
    both = compared(run("a", [], metrics=[{"AP": 0.2, "APs": -1.0}]), run("b", [0.3]))
    assert "| a | .200 | – | – | -1 |" in markdown.render(both)


def test_separated_values_hold_every_digit(shared: Path) -> None:
    (row, *_) = csv.DictReader(io.StringIO(separated.comma_separated(paper(shared / "logs"))))
    assert row["AP"] == "0.22299"


def test_names_survive_csv_and_stay_on_their_line_in_tsv() -> None:
    comparison = compared(run('a,"b"\tc\nd', [0.2]), run("e", [0.3]))
    rows = list(csv.DictReader(io.StringIO(separated.comma_separated(comparison))))
    assert rows[0]["name"] == 'a,"b"\tc\nd'
    assert separated.tab_separated(comparison).splitlines()[1].split("\t")[0] == 'a,"b" c d'


def test_latex_escapes_and_compiles_as_far_as_can_be_told(shared: Path) -> None:
    for make in (odd, sweep, paper):
        body = [line for line in latex.render(make(shared / "logs")).splitlines() if not line.startswith("%")]
        text = "\n".join(body)
        assert re.fullmatch(r"\\begin\{tabular\}\{[lr]+\}", body[0])
        columns_said = len(body[0].rpartition("{")[2]) - 1
        rows = [line for line in body if line.endswith(r"\\")]
        assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {columns_said}
        assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
        assert not re.search(r"(?<!\\)[%#_](?!\{)", re.sub(r"\$_\{\w+\}\$", "", text))


def test_nothing_to_compare_is_said_in_every_form() -> None:
    nothing = compared()
    assert terminal.render(nothing, 80) == "nothing to compare"
    assert markdown.render(nothing) == "Nothing to compare."
    assert latex.render(nothing) == "% nothing to compare"
    assert json.loads(document.render(nothing))["runs"] == []
    assert separated.comma_separated(nothing).startswith("name,AP,")


def test_a_thousand_runs_render() -> None:
    comparison = compared(*(run(f"{place:06x}", [place / 2000], config={"lr": place}) for place in range(1000)))
    text = terminal.render(comparison, 120)
    assert len(text.splitlines()) > 1000
