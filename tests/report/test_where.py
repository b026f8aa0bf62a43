"""`--where` keeps the runs that a condition holds for, and says what it cannot read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_compare import compared, names, run

from detector.errors import UserError
from detrun.comparison.where import column_named, parse

ROWS = {
    "a": {"optim.lr": 1e-3, "state": "done", "AP": 0.2, "seed": 0, "flip": True, "init": "scratch", "gone": None},
    "b": {
        "optim.lr": 3e-4,
        "state": "failed",
        "AP": 0.4,
        "seed": 1,
        "flip": False,
        "init": "/w/tiny.weights",
        "gone": 1,
    },
    "c": {"optim.lr": 1e-2, "state": "done", "AP": 0.3, "seed": 2, "flip": True, "init": "scratch", "gone": 2},
}
COLUMNS = list(ROWS["a"])


def kept(condition: str) -> str:
    holds = parse(condition, COLUMNS)
    return "".join(name for name, row in ROWS.items() if holds(row.get))


@pytest.mark.parametrize(
    ("condition", "names"),
    [
        ("optim.lr>1e-3 and state=done", "c"),
        ("optim.lr >= 1e-3", "ac"),
        ("lr<0.001", "b"),
        ("state != done", "b"),
        ("state == 'done' or AP>.35", "abc"),
        ("not state=done", "b"),
        ("not (state=done and seed<1)", "bc"),
        ("state=done and seed=0 or seed=1", "ab"),
        ("state=done and (seed=0 or seed=1)", "a"),
        ("flip=true", "ac"),
        ('init="/w/tiny.weights"', "b"),
        ("init=/w/tiny.weights", "b"),
        ("gone>0", "bc"),
        ("not gone>0", "a"),
        ("seed=word", ""),
        ("AND=1", None),
        ("seed > 0 AND seed < 2", "b"),
    ],
)
def test_conditions(condition: str, names: str | None) -> None:
    if names is None:
        with pytest.raises(UserError):
            kept(condition)
    else:
        assert kept(condition) == names


def test_a_metric_that_only_others_have_is_told_by_who_has_it() -> None:
    for metric, columns, others in (("AP", ["top1", "step"], "detectors"), ("top1", ["AP", "step"], "classifiers")):
        with pytest.raises(UserError, match=f"--sort: no column `{metric}`") as caught:
            column_named(metric, columns, "--sort")
        assert caught.value.hint.startswith(f"{others} have it")


@pytest.mark.parametrize(
    ("condition", "problem"),
    [
        ("optim.lrr>1", "no column `optim.lrr`"),
        ("optim.lr", "a comparison after `optim.lr` is missing"),
        ("optim.lr>", "a value is missing after `optim.lr`"),
        ("optim.lr>>1", "a value is missing"),
        ("(state=done", "a closing parenthesis is missing"),
        ("state=done)", "`)` is not expected here"),
        ("state=done seed=1", "`seed` is not expected here"),
        ("", "a column is missing"),
        ("state='done", "cannot be read"),
        ("not " * 300 + "seed=1", "more than 200 words"),
        ("__import__('os')=1", "no column"),
    ],
)
def test_what_cannot_be_read_is_named(condition: str, problem: str) -> None:
    with pytest.raises(UserError, match="--where") as caught:
        parse(condition, COLUMNS)
    assert problem in str(caught.value)
    assert caught.value.hint


def test_the_nearest_column_is_suggested() -> None:
    with pytest.raises(UserError) as caught:
        parse("optim.l>1", COLUMNS)
    assert caught.value.hint == "did you mean `optim.lr`?"


@given(st.text(alphabet="ab.=<>!()'\" andornot10", max_size=40))
def test_no_text_raises_anything_else(text: str) -> None:
    try:
        holds = parse(text, ["a", "b"])
    except UserError:
        return
    assert holds({"a": 1}.get) in (True, False)


def test_a_comparison_keeps_only_the_runs_that_match() -> None:
    runs = [run("a", [0.2], config={"lr": 1.0}), run("b", [0.3], config={"lr": 2.0})]
    assert names(compared(*runs, where="lr>1")) == ["b"]
    assert names(compared(*runs, where="AP<.25 and state=done")) == ["a"]
