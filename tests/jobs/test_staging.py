"""Copies of data on a node: made once, gone on with, shared, and never taken for whole while they are not."""

import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from jobs import staging
from jobs.staging import Staging

NAMES = {f"images/train/{number}.png" for number in range(40)} | {"annotations/train.json"}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "coco.v1"
    for number, name in enumerate(sorted(NAMES)):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode() * (1 + 97 * number))
        os.utime(path, (1_600_000_000 + number, 1_600_000_000 + number))
    return root


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    return tmp_path / "scratch"


def stage(source: Path, scratch: Path) -> Staging:
    made = Staging(source, scratch)
    made.start()
    made.join(30)
    return made


def contents(root: Path | None) -> dict[str, bytes]:
    assert root
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def pack(source: Path, archive: Path, mode: str = "w") -> Path:
    with tarfile.open(archive, mode) as tar:  # type: ignore[call-overload]
        tar.add(source, source.name)
    return archive


def inodes(root: Path | None) -> dict[str, int]:
    assert root
    return {str(path): path.stat().st_ino for path in root.rglob("*")}


def test_a_copy_holds_what_the_folder_holds_and_is_made_once(source: Path, scratch: Path) -> None:
    first, second = stage(source, scratch), stage(source, scratch)

    assert contents(first.root) == contents(source)
    assert second.root == first.root
    assert (first.words, second.words) == ("41 files, 1 MiB", "a copy was there")


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_tar_is_unpacked_and_the_one_folder_in_it_is_the_root(
    source: Path, scratch: Path, tmp_path: Path, mode: str
) -> None:
    archive = pack(source, tmp_path / "data.tar", mode)

    assert contents(stage(archive, scratch).root) == contents(source)


@pytest.mark.parametrize("packed", [False, True])
def test_half_a_copy_is_gone_on_with(source: Path, scratch: Path, tmp_path: Path, packed: bool) -> None:
    what = pack(source, tmp_path / "data.tar") if packed else source
    made = stage(what, scratch)
    made.release()
    root = made.root
    assert root
    before = inodes(root)
    next(scratch.rglob(".complete")).unlink()
    (root / "images/train/7.png").unlink()
    cut = root / "images/train/8.png"
    cut.write_bytes(cut.read_bytes()[:-1])
    os.utime(cut, (1_600_000_000, 1_600_000_000))

    again = stage(what, scratch)

    assert contents(again.root) == contents(source)
    after = inodes(again.root)
    assert sum(before[path] != after[path] for path in before) <= 1


def test_a_kill_half_way_leaves_no_copy_that_looks_whole(source: Path, scratch: Path) -> None:
    for number in range(3000):
        (source / f"{number}.bin").write_bytes(b"x" * 4096)
    imports = "import sys; from pathlib import Path; from jobs.staging import Staging"
    script = f"{imports}; Staging(*map(Path, sys.argv[1:])).run()"
    copier = subprocess.Popen([sys.executable, "-c", script, str(source), str(scratch)])
    while len(list(scratch.rglob("*.bin"))) < 100:
        assert copier.poll() is None
        time.sleep(0.005)
    copier.kill()
    copier.wait()
    assert not list(scratch.rglob(".complete"))

    assert contents(stage(source, scratch).root) == contents(source)


def test_one_that_is_told_to_give_up_stops_and_the_next_goes_on(source: Path, scratch: Path) -> None:
    given_up = Staging(source, scratch)
    given_up.give_up()
    given_up.run()

    assert (given_up.root, given_up.error) == (None, "")
    assert contents(stage(source, scratch).root) == contents(source)


def test_several_jobs_at_once_share_one_copy(source: Path, scratch: Path) -> None:
    jobs = [Staging(source, scratch) for _ in range(6)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(30)

    assert len({job.root for job in jobs}) == 1
    assert contents(jobs[0].root) == contents(source)
    assert len(list(scratch.rglob(".complete"))) == 1


def test_data_that_changed_are_copied_anew_and_readers_keep_theirs(source: Path, scratch: Path) -> None:
    old = stage(source, scratch)
    (source / "annotations" / "train.json").write_bytes(b"new")

    new = stage(source, scratch)

    assert new.root != old.root
    assert contents(new.root)["annotations/train.json"] == b"new"
    assert contents(old.root)["annotations/train.json"] != b"new"


def test_a_disk_without_room_is_an_error_and_copies_that_nobody_reads_make_room(
    source: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk's size is the one thing that a test cannot have for real: it is told as if it had 6 MB."""
    usage = staging.shutil.disk_usage(source)
    held = lambda _: usage._replace(free=6_000_000 - sum(len(one) for one in contents(scratch).values()))  # noqa: E731
    monkeypatch.setattr(staging.shutil, "disk_usage", held)
    (source / "large").write_bytes(b"x" * 3_000_000)
    first = stage(source, scratch)
    (source / "large").write_bytes(b"y" * 3_000_000)

    refused = stage(source, scratch)
    first.release()
    second = stage(source, scratch)

    assert "0.0 GiB are free there, it needs 0.0 GiB" in refused.error
    assert contents(second.root) == contents(source)
    assert first.root
    assert not first.root.exists()


def test_links_to_folders_are_followed_and_loops_end(source: Path, scratch: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "1.png").write_bytes(b"1")
    (source / "images" / "val").symlink_to(elsewhere)
    (elsewhere / "loop").symlink_to(source)

    assert contents(stage(source, scratch).root)["images/val/1.png"] == b"1"


@pytest.mark.parametrize("what", ["missing", "empty", "no.tar"])
def test_what_cannot_be_copied_is_named(tmp_path: Path, scratch: Path, what: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "no.tar").write_bytes(b"this is no tar")

    assert f"cannot copy {tmp_path / what} to" in stage(tmp_path / what, scratch).error


def test_an_archive_cannot_write_outside_its_copy(tmp_path: Path, scratch: Path) -> None:
    archive = tmp_path / "bad.tar"
    with tarfile.open(archive, "w") as tar:
        member = tarfile.TarInfo("../../../escaped")
        tar.addfile(member)

    assert stage(archive, scratch).error
    assert not list(tmp_path.rglob("escaped"))


def test_only_data_in_files_are_copied() -> None:
    assert staging.source_of({"data": {"root": "builtin:digits"}}) is None
    assert staging.source_of({"data": {"root": "/data/coco"}}) == Path("/data/coco")
    assert staging.source_of({"command": ["x"], "params": {"data": {"root": "/data/coco"}}}) == Path("/data/coco")
    assert staging.source_of({"command": ["x"], "params": {"lr": 1}}) is None
