"""Rows become evaluations whatever way they are printed, repeated, mixed and cut."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from report_logs import block, evaluations, lines, read_text, twelve, values

PREFIXES = (
    "{rank:2d}: ",
    "[rank{rank}]:",
    "[default{rank}]:",
    "INFO:root:",
    "2023-01-13 19:36:05,223 - mmdet - INFO - ",
    "2023-01-13 19:36:05.223 | INFO     | yolox.core.trainer:evaluate:346 - ",
    "(worker pid={rank}123) ",
    "#",
    "\x1b[36m(main)\x1b[0m ",
)
slow_ok = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("prefix", PREFIXES)
def test_any_prefix_may_stand_before_a_row(tmp_path: Path, prefix: str) -> None:
    text = "".join(f"{prefix.format(rank=0)}{line}\n" for line in lines(values(0.2)))
    (found,) = evaluations(tmp_path, text)
    assert twelve(found) == values(0.2)


def test_collapsed_spaces_are_the_same_rows(tmp_path: Path) -> None:
    text = "\n".join(" ".join(line.split()) for line in lines(values(0.2)))
    assert twelve(evaluations(tmp_path, text)[0]) == values(0.2)


@slow_ok
@given(data=st.data(), ranks=st.integers(2, 8), epochs=st.integers(1, 4))
def test_copies_of_several_ranks_collapse_in_whatever_order_they_come(
    tmp_path: Path, data: st.DataObject, ranks: int, epochs: int
) -> None:
    text = ""
    for epoch in range(epochs):
        rows = [f"{rank}: {line}" for rank in range(ranks) for line in lines(values(0.1 + epoch / 10))]
        text += f"Epoch: [{epoch}] [0/100] loss: 3.1\n" + "\n".join(data.draw(st.permutations(rows))) + "\n"
    found = evaluations(tmp_path, text)
    assert [each.epoch for each in found] == list(range(epochs))
    assert [twelve(each) for each in found] == [values(0.1 + epoch / 10) for epoch in range(epochs)]
    assert {each.copies for each in found} == {ranks}


def test_logger_and_print_of_the_same_row_count_once(tmp_path: Path) -> None:
    text = "".join(f"{line}\nINFO:root:{line}\n" for start in (0.1, 0.2) for line in lines(values(start)))
    assert [each.metrics["AP"] for each in evaluations(tmp_path, text)] == [0.1, 0.2]


def test_equal_results_of_two_epochs_are_two_evaluations(tmp_path: Path) -> None:
    text = "".join(f"Epoch: [{epoch}] Total time: 0:00:39\n{block([0.0] * 12)}" for epoch in (3, 4))
    assert [(each.epoch, each.metrics["AP"]) for each in evaluations(tmp_path, text)] == [(3, 0.0), (4, 0.0)]


def test_equal_results_with_training_between_them_are_two_evaluations(tmp_path: Path) -> None:
    text = f"{block([0.0] * 12)}iteration 100, loss 3.2\n{block([0.0] * 12)}"
    assert len(evaluations(tmp_path, text)) == 2


def test_rows_alone_are_told_apart_by_repeating(tmp_path: Path) -> None:
    text = "".join(block(values(start)) for start in (0.1, 0.3, 0.2))
    assert [each.metrics["AP"] for each in evaluations(tmp_path, text)] == [0.1, 0.3, 0.2]


def test_training_lines_between_header_and_rows_do_not_move_the_epoch(tmp_path: Path) -> None:
    between = "Epoch: [4]  [ 7/100]  loss: 1.1\n"
    rows = between.join(f"{line}\n" for line in lines(values(0.2)))
    text = f"Epoch: [3]  [99/100]  loss: 1.2\nRunning per image evaluation...\n{between}{rows}"
    (found,) = evaluations(tmp_path, text)
    assert (found.epoch, twelve(found)) == (3, values(0.2))


def test_a_block_cut_by_a_crash_does_not_borrow_from_the_next(tmp_path: Path) -> None:
    cut = "\n".join(lines(values(0.2))[:10])
    text = f"Epoch: [5] loss: 1\n{cut}\nTraceback (most recent call last):\nEpoch: [5] loss: 1\n{block(values(0.3))}"
    first, second = evaluations(tmp_path, text)
    assert first.flags == ("incomplete: 10 of 12 rows",)
    assert list(first.metrics.values()) == values(0.2)[:10]
    assert (twelve(second), second.flags) == (values(0.3), ())


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_number_cut_by_the_end_of_the_file_is_not_read(tmp_path: Path, cut: int) -> None:
    (found,) = evaluations(tmp_path, block(values(0.2)).rstrip("\n")[:-cut])
    assert "ARl" not in found.metrics
    assert found.flags == ("incomplete: 11 of 12 rows",)


def test_a_whole_last_line_needs_no_newline(tmp_path: Path) -> None:
    (found,) = evaluations(tmp_path, block(values(0.2)).rstrip("\n"))
    assert (found.metrics["ARl"], found.flags) == (0.31, ())


def test_only_precision_rows_are_a_whole_block_where_all_are_so(tmp_path: Path) -> None:
    text = "".join(f"Epoch: [{epoch}]\n" + "\n".join(lines(values(0.2))[:6]) + "\n" for epoch in (1, 2))
    assert [each.flags for each in evaluations(tmp_path, text)] == [(), ()]


def test_epochs_that_start_again_are_another_session(tmp_path: Path) -> None:
    text = "".join(
        f"epoch: {epoch}/9, loss: 1.0\n{block(values(0.1 + n / 10))}" for n, epoch in enumerate((1, 2, 3, 2, 3))
    )
    (log,) = read_text(tmp_path, text)
    assert [(each.epoch, each.session) for each in log.evaluations] == [(1, 1), (2, 1), (3, 1), (2, 2), (3, 2)]
    assert log.flags == ("sessions: 2 starts in one file, 2 with evaluations",)


def test_two_rows_on_one_line_are_both_read(tmp_path: Path) -> None:
    text = block(values(0.2)).replace("\n", " ", 1)
    assert twelve(evaluations(tmp_path, text)[0]) == values(0.2)


@pytest.mark.parametrize(
    ("line", "epoch"),
    [
        ("Epoch: [7]  [ 10/100]  eta: 0:00:10", 7),
        ("epoch: 5/300, iter: 10/112, mem: 4605Mb", 5),
        ("2022-04-12 - mmdet - INFO - Epoch [3][50/7330]  lr: 1.0e-03", 3),
        ("06/12 06:16:09 - mmengine - INFO - Epoch(train)  [12][ 50/50]  lr: 1e-3", 12),
        ("---> start train epoch9", 9),
        (':::MLL 1.0 epoch_start: {"value": null, "metadata": {"epoch_num": 33}}', 33),
        (":::MLPv0.5.0 ssd 1541.9 (train.py:553) train_epoch: 32", 32),
        ("Epoch 4/30: loss 1.2", 4),
        ("Epoch 6: 100%|####| 40/40 [00:10<00:00]", 6),
        ("epoch 3/30  step 120/3600  loss 1.84", 3),
        ("epoch=11 loss=0.2", 11),
        ("train.py --epoch 90 --lr 0.1", None),
        ("best epoch: 12", None),
        ("max_epoch: 300", None),
        ("total epochs 90", None),
    ],
)
def test_the_epoch_is_that_of_the_nearest_line_that_names_one(tmp_path: Path, line: str, epoch: int | None) -> None:
    (found,) = evaluations(tmp_path, f"{line}\nDONE (t=0.1s).\n{block(values(0.2))}")
    assert found.epoch == epoch


def test_an_epoch_is_found_across_chunks_of_a_long_log(tmp_path: Path) -> None:
    filler = "iteration 12 loss 1.25 and so on\n" * 60000
    text = f"Epoch: [3] [0/9]\n{filler}{block(values(0.2))}{filler}Epoch: [4] [0/9]\n{filler}{block(values(0.3))}"
    assert [(each.epoch, each.metrics["AP"]) for each in evaluations(tmp_path, text)] == [(3, 0.2), (4, 0.3)]
