"""The comparison: what is compared with what, by how much, and what stands against it."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_compare import compared, names, run, seeds, setting
from report_runs import metrics_of

from detector.errors import UserError
from detector.records import METRICS
from detrun.comparison import Interval
from detrun.comparison.verdict import BEYOND, WITHIN, half_width, quantile


def test_differences_are_to_the_first_run_given() -> None:
    comparison = compared(run("one", [0.22299]), run("two", [0.27713]))
    assert comparison.baseline == "one"
    assert comparison.arms[0].is_baseline
    assert comparison.arms[0].deltas == {}
    assert comparison.arms[1].deltas["AP"] == 0.05414
    assert list(comparison.arms[1].deltas) == list(METRICS)


def test_a_baseline_is_named_by_name_id_or_the_beginning_of_either() -> None:
    runs = [run("7f3a1c", [0.2], id="yolov3-7f3a1c"), run("b90d42", [0.3], id="yolov3-b90d42")]
    for word in ("b90d42", "b9", "yolov3-b90d42", "yolov3-b9"):
        assert compared(*runs, baseline=word).baseline == "b90d42"
    for word, problem in (("yolov3", "begins the names of 2 runs"), ("zzz", "no such run here")):
        with pytest.raises(UserError, match=problem):
            compared(*runs, baseline=word)


def test_minus_one_and_missing_metrics_have_no_difference() -> None:
    one = run("one", [], metrics=[{"AP": 0.2, "APs": -1.0, "APm": 0.1}])
    two = run("two", [], metrics=[{"AP": 0.3, "APs": 0.1, "APl": 0.4}])
    comparison = compared(one, two)
    assert comparison.arms[1].deltas == {"AP": 0.1}
    assert comparison.arms[0].metrics["APs"] == -1.0


def test_the_last_epoch_is_compared_and_the_best_stands_beside_it() -> None:
    comparison = compared(run("one", [0.2, 0.4, 0.3]))
    (only,) = comparison.arms[0].runs
    assert (only.selected, only.metrics["AP"]) == (only.last, 0.3)
    assert only.best is not None
    assert (only.best.epoch, only.best.metrics["AP"]) == (2, 0.4)
    assert "optimistic" in " ".join(comparison.notes)


def test_the_best_epoch_is_called_optimistic() -> None:
    comparison = compared(run("one", [0.2, 0.4, 0.3], by="best"), selected_by="best")
    assert comparison.arms[0].metrics["AP"] == 0.4
    assert "optimistic" in " ".join(comparison.notes)


def test_runs_of_ours_that_differ_in_their_seed_share_a_row() -> None:
    aps = [0.541, 0.545, 0.538]
    comparison = compared(*seeds("a", aps, lr=1e-3), *seeds("b", [0.51], lr=3e-4))
    assert names(comparison) == ["a0", "b0"]
    assert comparison.arms[0].metrics["AP"] == pytest.approx(statistics.mean(aps), abs=1e-12)
    assert comparison.arms[0].sd["AP"] == pytest.approx(statistics.stdev(aps), abs=1e-12)
    assert comparison.arms[1].sd == {}
    assert comparison.varying == ("lr",)
    assert "a0 = mean of a0, a1, a2" in comparison.notes


def test_seeds_stay_apart_where_that_is_asked_for() -> None:
    comparison = compared(*seeds("a", [0.2, 0.3], lr=1e-3), group=False)
    assert names(comparison) == ["a1", "a0"]
    assert comparison.varying == ("seed",)


def test_logs_are_seeds_where_their_names_say_so_or_where_that_is_asked_for() -> None:
    plain = [run(f"result_{n}", [ap], source=f"/x/ssd/result_{n}.txt") for n, ap in enumerate((0.23, 0.24))]
    said = [run(f"result_{n}", [ap], source=f"/x/ssd_seeds/result_{n}.txt") for n, ap in enumerate((0.23, 0.24))]
    assert names(compared(*plain)) == ["result_0", "result_1"]
    assert names(compared(*plain, group=True)) == ["result_*"]
    assert names(compared(*said)) == ["result_*"]
    assert names(compared(*said, group=False)) == ["result_0", "result_1"]


def test_a_mean_needs_the_metric_in_every_seed() -> None:
    runs = [
        run("seed1", [], metrics=[{"AP": 0.2, "APs": -1.0, "APm": 0.3, "APl": -1.0}]),
        run("seed2", [], metrics=[{"AP": 0.3, "APs": -1.0, "APl": 0.2}]),
    ]
    (arm,) = compared(*runs).arms
    assert arm.metrics == {"AP": 0.25, "APs": -1.0}
    assert list(arm.sd) == ["AP"]


def test_runs_that_are_not_done_are_shown_apart_and_named() -> None:
    config = {"lr": 1e-3}
    comparison = compared(
        run("done", [0.3], config=config),
        run("bad", [0.5], config={"lr": 1.0}, state="failed", flags=("state: failed, loss is NaN at step 412",)),
        run("new", [], config={"lr": 2.0}, state="pending"),
        run("none", [], config={"lr": 3.0}),
    )
    assert names(comparison) == ["done"]
    assert [arm.name for arm in comparison.unranked] == ["bad"]
    assert [each.name for each in comparison.without] == ["new", "none"]
    assert comparison.flags[-3:] == (
        "not ranked: bad (failed, loss is NaN at step 412)",
        "not ranked: new (pending)",
        "not ranked: none (no bbox evaluation)",
    )
    assert [each.name for each in comparison.runs] == ["done", "bad", "new", "none"]


@pytest.mark.parametrize(
    ("change", "flag"),
    [
        ({"sha256": "b" * 64}, "ground truth: aaaaaaa (one), bbbbbbb (two)"),
        ({"images": 71}, "images: 72 (one), 71 (two)"),
        ({"max_detections": 300}, "maxDets: 100 (one), 300 (two)"),
        ({"version": "1.4.0"}, "engine: hotcoco 1.3.0 (one), hotcoco 1.4.0 (two)"),
        ({"image_size": 608}, "input size: 416 px (one), 608 px (two)"),
    ],
)
def test_conditions_that_differ_are_flagged(change: dict[str, object], flag: str) -> None:
    one = run("one", [0.2], config={"a": 1})
    two = run("two", [0.3], config={"a": 2}, setting=setting(**change))
    assert compared(one, two).flags == (flag,)
    assert compared(one, run("two", [0.3], config={"a": 2})).flags == ()


def test_logs_beside_runs_of_ours_are_flagged_for_what_they_do_not_say() -> None:
    comparison = compared(run("one", [0.2], config={"a": 1}), run("log", [0.3]))
    assert "ground truth: not stated (log)" in comparison.flags


def test_logs_of_one_folder_that_tell_the_same_are_named() -> None:
    one, two = run("a", [0.2, 0.3001]), run("b", [0.2, 0.3])
    assert compared(one, two, run("c", [0.2, 0.4])).flags == ("same results: a, b",)
    assert compared(one, run("b", [0.2, 0.3], source="/other/b.txt")).flags == ()


def test_what_all_runs_share_is_said_once() -> None:
    comparison = compared(*seeds("a", [0.2, 0.3], **{"data.root": "/data/bccd"}))
    assert comparison.setting == ("bccd", "72 images", "maxDets 100", "416 px", "hotcoco 1.3.0")


def test_runs_of_ours_come_by_falling_ap_and_logs_as_given() -> None:
    assert names(
        compared(*(run(name, [ap], config={"x": name}) for name, ap in (("a", 0.1), ("b", 0.3), ("c", 0.2))))
    ) == [
        "b",
        "c",
        "a",
    ]
    assert names(compared(run("a", [0.1]), run("b", [0.3]), run("c", [0.2]))) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("sort", "order"),
    [("AP", ["a", "c", "b"]), ("-APs", ["b", "c", "a"]), ("-lr", ["c", "b", "a"]), ("name", ["a", "b", "c"])],
)
def test_rows_are_sorted_by_any_column(sort: str, order: list[str]) -> None:
    runs = [
        run(name, [ap], config={"optim.lr": lr})
        for name, ap, lr in (("a", 0.1, 1e-5), ("b", 0.3, 1e-4), ("c", 0.2, 1e-3))
    ]
    assert names(compared(*runs, sort=sort)) == order


def test_rows_without_a_value_come_last_whichever_way_they_are_sorted() -> None:
    runs = [run("a", [], metrics=[{"AP": 0.1}]), run("b", [0.2])]
    assert names(compared(*runs, sort="ARl")) == names(compared(*runs, sort="-ARl")) == ["b", "a"]


def test_an_unknown_column_to_sort_by_is_an_error_with_the_nearest() -> None:
    with pytest.raises(UserError, match="--sort: no column `APx`") as caught:
        compared(run("a", [0.1]), sort="-APx")
    assert "AP" in caught.value.hint


def test_one_seed_each_and_a_small_gap_is_seed_noise() -> None:
    small, large = (compared(run("a", [0.5]), run("b", [0.5 + gap])).arms[1].verdict for gap in (0.0029, 0.0031))
    assert (small, large) == (WITHIN, "")


def test_several_seeds_are_judged_by_their_spread() -> None:
    spread = [0.50, 0.51, 0.52]
    near = compared(*seeds("a", spread, x=1), *seeds("b", [value + 0.005 for value in spread], x=2), sort="name")
    far = compared(*seeds("a", spread, x=1), *seeds("b", [value + 0.05 for value in spread], x=2), sort="name")
    assert [arm.verdict for arm in near.arms] == ["", WITHIN]
    assert [arm.verdict for arm in far.arms] == ["", BEYOND]


@given(st.floats(1.0, 400.0))
def test_quantiles_of_t_are_close_to_the_true_ones(freedom: float) -> None:
    from scipy.stats import t

    true = float(t.ppf(0.975, freedom))
    assert true * 0.998 < quantile(freedom) < true * 1.03


def test_welchs_interval_is_that_of_the_textbook() -> None:
    from scipy.stats import ttest_ind

    one, two = [0.50, 0.52, 0.51, 0.55], [0.56, 0.58, 0.55]
    true = ttest_ind(one, two, equal_var=False).confidence_interval(0.95)
    found = half_width((4, statistics.stdev(one)), (3, statistics.stdev(two)))
    assert found == pytest.approx((true.high - true.low) / 2, rel=0.02)


def test_an_interval_excludes_zero_on_either_side() -> None:
    assert [
        Interval(lower=low, upper=high).excludes_zero for low, high in ((-1, 1), (0.1, 1), (-1, -0.1), (0.0, 1))
    ] == [
        False,
        True,
        True,
        False,
    ]


def test_a_single_run_has_no_baseline() -> None:
    comparison = compared(run("one", [0.2]))
    assert comparison.baseline is None
    assert comparison.arms[0].metrics == metrics_of(0.2)


def test_nothing_at_all_is_an_empty_comparison() -> None:
    comparison = compared()
    assert (comparison.arms, comparison.flags, comparison.baseline) == ((), (), None)
