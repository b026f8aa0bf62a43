"""A data set is brought here whole, from a server that breaks off, knows no ranges, or has something else."""

import hashlib
import io
import resource
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from file_server import FileServer, serving

from detector.data import fetch as fetching
from detector.data.archives import DATA_SETS, Archive
from detector.data.fetch import fetch
from detector.data.unpack import unpack
from detector.errors import UserError

FILES = {"top/a.txt": b"one", "top/deep/b.bin": np.random.default_rng(0).bytes(300_000), "other/c.txt": b"three"}


def zipped(files: dict[str, bytes], comment: str = "") -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.comment = comment.encode()
        for name, data in files.items():
            archive.writestr(name, data)
    return content.getvalue()


def tarred(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return content.getvalue()


CONTENT = zipped(FILES)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setattr(fetching, "_PAUSE_S", 0.001)
    with serving(**{"data.zip": CONTENT}) as running:
        yield running


def archive(server: FileServer, content: bytes = CONTENT, name: str = "data.zip", inside: str = "") -> Archive:
    checksum = f"sha1:{hashlib.sha1(content).hexdigest()}"
    return Archive(url=f"{server.url}/{name}", size=len(content), checksum=checksum, inside=inside)


def there(root: Path) -> dict[str, bytes]:
    """Every file below a folder but the state of a fetch."""
    files = (path for path in root.rglob("*") if path.is_file() and ".fetch" not in path.parts)
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def state(root: Path) -> set[str]:
    return {path.name for path in (root / ".fetch").iterdir()} - {"lock"}


def test_an_archive_is_downloaded_verified_and_unpacked_once(tmp_path: Path, server: FileServer) -> None:
    for _ in range(2):
        fetch([archive(server)], tmp_path)
    assert there(tmp_path) == FILES
    assert state(tmp_path) == {"data.zip.done"}
    assert server.seen == [("/data/data.zip", "")]


def test_a_download_goes_on_where_each_connection_broke(tmp_path: Path, server: FileServer) -> None:
    server.breaks = [1000, 70_000, 0, 0, 0, 0, 100_000]
    fetch([archive(server)], tmp_path)
    assert there(tmp_path) == FILES
    told = [wanted for _, wanted in server.seen]
    assert told == ["", "bytes=1000-", *["bytes=71000-"] * 5, "bytes=171000-"]


def test_where_a_server_knows_no_ranges_the_download_begins_anew(tmp_path: Path, server: FileServer) -> None:
    server.ranges = False
    server.breaks = [1000, 200_000]
    fetch([archive(server)], tmp_path)
    assert there(tmp_path) == FILES


def test_a_server_that_is_gone_ends_the_fetch_and_the_next_one_goes_on(tmp_path: Path, server: FileServer) -> None:
    server.breaks = [5000] + [0] * 5
    with pytest.raises(UserError, match="the connection broke off") as caught:
        fetch([archive(server)], tmp_path)
    assert "goes on where it stopped" in caught.value.hint
    assert state(tmp_path) == {"data.zip.part"}
    server.seen.clear()
    fetch([archive(server)], tmp_path)
    assert there(tmp_path) == FILES
    assert server.seen == [("/data/data.zip", "bytes=5000-")]


@pytest.mark.usefixtures("server")
def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    with serving() as gone:
        nowhere = Archive(url=f"{gone.url}/data.zip", size=5)
    with pytest.raises(UserError, match=r"127\.0\.0\.1:\d+/data/data\.zip: .*refused"):
        fetch([nowhere], tmp_path)


def test_busy_servers_are_asked_again_and_refusals_are_told(tmp_path: Path, server: FileServer) -> None:
    server.codes = [503, 429, 502]
    fetch([archive(server)], tmp_path / "busy")
    assert there(tmp_path / "busy") == FILES
    server.codes = [403]
    with pytest.raises(UserError, match="the server says 403 Forbidden") as caught:
        fetch([archive(server)], tmp_path / "refused")
    assert "--mirror" in caught.value.hint
    server.codes = [500] * 5
    with pytest.raises(UserError, match="the server says 500"):
        fetch([archive(server)], tmp_path / "broken")


def test_a_mirror_has_the_same_files_under_the_same_names(tmp_path: Path, server: FileServer) -> None:
    elsewhere = archive(server)._replace(url="http://127.0.0.1:9/nowhere/data.zip")
    fetch([elsewhere], tmp_path, mirror=f"{server.url}/")
    assert there(tmp_path) == FILES


def test_a_file_with_another_checksum_is_refused_and_fetched_anew(tmp_path: Path, server: FileServer) -> None:
    server.files["data.zip"] = bytes(len(CONTENT))
    with pytest.raises(UserError, match=r"data\.zip: its sha1 is \w+, and should be \w+"):
        fetch([archive(server)], tmp_path)
    assert there(tmp_path) == {}
    assert state(tmp_path) == set()
    server.files["data.zip"] = CONTENT
    fetch([archive(server)], tmp_path)
    assert there(tmp_path) == FILES


def test_a_file_of_another_length_is_refused_before_it_is_downloaded(tmp_path: Path, server: FileServer) -> None:
    server.files["data.zip"] = b"<html>please log in</html>"
    with pytest.raises(UserError, match=r"is 26 bytes, and data\.zip has"):
        fetch([archive(server)], tmp_path)
    assert state(tmp_path) == set()


def test_an_archive_of_unknown_length_is_known_by_its_comment(tmp_path: Path, server: FileServer) -> None:
    server.lengths = False
    server.files["data.zip"] = zipped(FILES, "abc")
    unsized = Archive(url=f"{server.url}/data.zip", comment="abc")
    fetch([unsized], tmp_path / "one")
    assert there(tmp_path / "one") == FILES
    server.breaks = [1000]
    with pytest.raises(UserError, match="its comment is ``, and should be `abc`"):
        fetch([unsized], tmp_path / "two")
    fetch([unsized], tmp_path / "two")
    assert there(tmp_path / "two") == FILES


def test_a_disk_without_room_is_told_before_anything_is_asked_for(tmp_path: Path, server: FileServer) -> None:
    with pytest.raises(UserError, match=r"data\.zip and its content need [\d.]+ GiB, [\d.]+ are free"):
        fetch([archive(server)._replace(size=1 << 60)], tmp_path)
    assert server.seen == []


def test_a_disk_that_fills_up_ends_the_fetch_and_keeps_what_came(tmp_path: Path, server: FileServer) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(UserError, match="File too large") as caught:
            fetch([archive(server)], tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "free some space" in caught.value.hint
    server.seen.clear()
    fetch([archive(server)], tmp_path)
    assert there(tmp_path) == FILES
    assert server.seen == [("/data/data.zip", "bytes=100000-")]


def test_a_second_fetch_at_the_same_time_is_refused(tmp_path: Path, server: FileServer) -> None:
    server.gate.clear()
    first = threading.Thread(target=fetch, args=([archive(server)], tmp_path))
    first.start()
    while not server.seen:
        first.join(0.01)
    with pytest.raises(UserError, match="another fetch is at work there"):
        fetch([archive(server)], tmp_path)
    server.gate.set()
    first.join()
    assert there(tmp_path) == FILES


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, server: FileServer) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=str(tmp_path / "file")):
        fetch([archive(server)], tmp_path / "file")


def test_a_damaged_archive_without_a_checksum_is_fetched_anew(tmp_path: Path, server: FileServer) -> None:
    flipped = bytearray(CONTENT)
    flipped[len(CONTENT) // 2] ^= 0xFF
    server.files["data.zip"] = bytes(flipped)
    with pytest.raises(UserError, match="damaged"):
        fetch([archive(server)._replace(checksum="")], tmp_path)
    assert state(tmp_path) == set()
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.parametrize("pack", [zipped, tarred])
@pytest.mark.parametrize(("inside", "kept"), [("top", ("a.txt", "deep/b.bin")), ("top/deep", ("b.bin",))])
def test_the_content_of_one_folder_is_unpacked(
    tmp_path: Path, pack: Callable[[dict[str, bytes]], bytes], inside: str, kept: tuple[str, ...]
) -> None:
    (tmp_path / "packed").write_bytes(pack(FILES))
    unpack(tmp_path / "packed", tmp_path / "root", inside)
    assert there(tmp_path / "root") == {name: FILES[f"{inside}/{name}"] for name in kept}
    with pytest.raises(UserError, match="nothing in it below `to`"):
        unpack(tmp_path / "packed", tmp_path / "root", "to")


@pytest.mark.parametrize("pack", [zipped, tarred])
@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "top/../../evil", "..\\evil", ".."])
def test_a_member_that_points_out_of_the_folder_is_refused_before_anything_is_written(
    tmp_path: Path, pack: Callable[[dict[str, bytes]], bytes], name: str
) -> None:
    (tmp_path / "packed").write_bytes(pack(FILES | {name: b"evil"}))
    with pytest.raises(UserError, match="points out of the folder"):
        unpack(tmp_path / "packed", tmp_path / "root")
    assert set(tmp_path.iterdir()) == {tmp_path / "packed"}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, "zip"])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes | str) -> None:
    packed = tmp_path / "packed"
    if kind == "zip":
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        with zipfile.ZipFile(packed, "w") as zip_file:
            zip_file.writestr(link, "/etc")
    else:
        member = tarfile.TarInfo("link")
        member.type, member.linkname = kind, "/etc"  # type: ignore[assignment]
        with tarfile.open(packed, "w") as tar_file:
            tar_file.addfile(member)
    with pytest.raises(UserError, match="`link` is a link"):
        unpack(packed, tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_what_is_no_archive_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "packed").write_bytes(b"<html>not found</html>")
    with pytest.raises(UserError, match="damaged") as caught:
        unpack(tmp_path / "packed", tmp_path / "root")
    assert "\n" not in str(caught.value)


def test_every_archive_of_the_table_can_be_told_from_a_damaged_one() -> None:
    every = [each for archives in DATA_SETS.values() for each in archives]
    assert all(each.checksum or each.comment for each in every)
    assert len({each.name for each in every}) == len(every)
    assert all(each.url.startswith("http") for each in every)
