"""Names are the shortest that tell runs apart; folders are walked whole, and nothing in them goes unmentioned."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_logs import block, read_text, values
from report_runs import make_run

from detrun.comparison.runs import names_of_logs, names_of_runs
from detrun.readers.evaluation import Unread
from detrun.readers.folder import FoundLog, FoundRun, walk
from detrun.readers.names import shortest


@pytest.mark.parametrize(
    ("trails", "names"),
    [
        ([("runs", "a"), ("runs", "b")], ["a", "b"]),
        ([("runs", "exp1", "log"), ("runs", "exp2", "log")], ["exp1", "exp2"]),
        ([("exp1", "log"), ("exp2", "log"), ("exp2", "eval")], ["exp1/log", "exp2/log", "eval"]),
        ([("a", "x", "log"), ("b", "x", "log")], ["a", "b"]),
        ([("page", "Results", "Scratch"), ("page", "Results", "Pretrained")], ["Scratch", "Pretrained"]),
        ([("page", "VOC", "Scratch"), ("page", "COCO", "Scratch")], ["VOC", "COCO"]),
        ([("log",)], ["log"]),
        ([("log",), ("log",)], ["log #1", "log #2"]),
    ],
)
def test_names(trails: list[tuple[str, ...]], names: list[str]) -> None:
    assert shortest(trails) == names


@given(
    st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(tuple), min_size=1, max_size=6, unique=True)
)
def test_names_of_different_trails_differ(trails: list[tuple[str, ...]]) -> None:
    names = shortest(trails)
    assert len(set(names)) == len(trails)


def test_file_names_lose_their_endings_unless_they_tell_files_apart(tmp_path: Path) -> None:
    for name in ("one.log.json.gz", "two.txt", "three.log", "three.csv"):
        (tmp_path / name).touch()
    found = [
        FoundLog(path=path, log=read_text(tmp_path, block(values(0.2)))[0]) for path in sorted(tmp_path.glob("*.*"))
    ]
    names = dict(zip((each.path.name for each in found), names_of_logs(found), strict=True))
    assert names["one.log.json.gz"] == "one"
    assert names["two.txt"] == "two"
    assert {names["three.log"], names["three.csv"]} == {"three.log", "three.csv"}


def test_runs_of_one_recipe_are_named_by_their_hash() -> None:
    assert names_of_runs(["yolov3-bccd-7f3a1c", "yolov3-bccd-b90d42"]) == ["7f3a1c", "b90d42"]
    assert names_of_runs(["yolov3-bccd-7f3a1c", "digits-b90d42"]) == ["yolov3-bccd-7f3a1c", "digits-b90d42"]
    assert names_of_runs(["yolov3-bccd-7f3a1c"]) == ["yolov3-bccd-7f3a1c"]


def test_a_folder_is_walked_in_natural_order_and_nothing_goes_unmentioned(tmp_path: Path) -> None:
    for name in ("result_10.txt", "result_2.txt", "deep/er/log.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block(values(0.2)))
    (tmp_path / "photo.jpg").write_bytes(bytes(range(256)) * 9)
    (tmp_path / "notes.md").write_text("nothing here\n")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_text("hidden")
    make_run(tmp_path, "digits-7f3a1c", [0.1])
    found = list(walk(tmp_path))
    logs = [each.path.relative_to(tmp_path).as_posix() for each in found if isinstance(each, FoundLog)]
    assert logs == ["deep/er/log.txt", "result_2.txt", "result_10.txt"]
    assert [each.path.name for each in found if isinstance(each, FoundRun)] == ["digits-7f3a1c"]
    assert [(Path(each.source).name, each.reason) for each in found if isinstance(each, Unread)] == [
        ("notes.md", "no evaluation in it"),
        ("photo.jpg", "not text"),
    ]


def test_a_link_that_leads_back_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text(block(values(0.2)))
    (tmp_path / "loop").symlink_to(tmp_path)
    assert len(list(walk(tmp_path))) == 1


PAGE = """# Detectors

Some words, and a shell:

```bash
# not a title
* not a title either
python train.py
```

## COCO

1. **From scratch**:

   ```
{first}   ```

2. [Pretrained](https://example.org) backbone

   ```text
{second}{third}   ```

## VOC

~~~
{fourth}~~~
"""


def test_blocks_of_a_page_belong_to_the_titles_above_them(tmp_path: Path) -> None:
    text = PAGE.format(
        **{
            name: block(values(start))
            for name, start in zip(("first", "second", "third", "fourth"), (0.1, 0.2, 0.3, 0.4), strict=True)
        }
    )
    logs = read_text(tmp_path, text)
    assert [(log.titles, [each.metrics["AP"] for each in log.evaluations]) for log in logs] == [
        (("Detectors", "COCO", "From scratch"), [0.1]),
        (("Detectors", "COCO", "Pretrained backbone"), [0.2, 0.3]),
        (("Detectors", "VOC"), [0.4]),
    ]


def test_equal_results_under_two_titles_are_two_runs(tmp_path: Path) -> None:
    text = "".join(f"## {name}\n```\n{block(values(0.2))}```\n" for name in ("A", "B"))
    assert [log.titles for log in read_text(tmp_path, text)] == [("A",), ("B",)]


def test_quoted_blocks_belong_to_headings_too(tmp_path: Path) -> None:
    quoted = "".join(f"> {line}\n>\n" for line in block(values(0.2)).splitlines())
    (log,) = read_text(tmp_path, f"## Ears\n\n{quoted}")
    assert log.titles == ("Ears",)


def test_bullets_and_comments_of_a_plain_log_are_no_titles(tmp_path: Path) -> None:
    text = "".join(f"# epoch ends\n* Acc@1 76.1\n- saving\n{block(values(start))}" for start in (0.1, 0.2))
    (log,) = read_text(tmp_path, text)
    assert log.titles == ()
    assert len(log.evaluations) == 2


def test_a_title_cannot_command_the_terminal(tmp_path: Path) -> None:
    (log,) = read_text(tmp_path, f"## A\a\x08\x9b31m [red]{'b' * 200}\n```\n{block(values(0.2))}```\n".encode())
    assert log.titles[0].isprintable()
    assert len(log.titles[0]) <= 80
