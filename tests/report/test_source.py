"""The bytes of a file become clean text: any encoding, compression and line end, in bounded memory."""

import gzip
import random
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from report_logs import block, evaluations, read_text, twelve, values

from detrun.readers.evaluation import Log, Unread
from detrun.readers.file import read_file
from detrun.readers.source import LONGEST_LINE_BYTES, Source

TEXT = f"naïve log\n{block(values(0.2))}"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    assert twelve(evaluations(tmp_path, TEXT.encode(encoding))[0]) == values(0.2)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends(tmp_path: Path, end: str) -> None:
    assert twelve(evaluations(tmp_path, TEXT.replace("\n", end))[0]) == values(0.2)


def test_escape_sequences_inside_a_row(tmp_path: Path) -> None:
    text = TEXT.replace("= 0.200", "= \x1b[1;32m0.2\x1b[0m00\x1b]8;;x\x07").replace("IoU", "\x1b[4mI\x1b[24moU")
    assert twelve(evaluations(tmp_path, text)[0]) == values(0.2)


def test_zero_bytes_that_a_crash_left_are_passed_over(tmp_path: Path) -> None:
    content = TEXT.encode().replace(b"0.250", b"\0" * 100 + b"0.250") + b"\0" * 4000
    assert twelve(evaluations(tmp_path, content)[0]) == values(0.2)


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.ZstdCompressor().compress])
def test_compressed_logs_are_known_by_their_content(tmp_path: Path, compress: object) -> None:
    content = compress(TEXT.encode())  # type: ignore[operator]
    assert twelve(evaluations(tmp_path, content)[0]) == values(0.2)
    assert twelve(evaluations(tmp_path, content + content)[0]) == values(0.2)


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.ZstdCompressor().compress])
def test_a_compressed_log_that_is_cut_gives_what_it_has_and_says_so(tmp_path: Path, compress: object) -> None:
    noise = random.Random(0).randbytes(400_000).hex().encode()
    content = compress(TEXT.encode() + b"\n" + noise)  # type: ignore[operator]
    (log,) = read_text(tmp_path, content[: len(content) // 2])
    assert log.evaluations[0].metrics["AP"] == 0.2
    assert log.flags[0].startswith("damaged: the compressed file is cut or damaged")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (bytes(range(256)) * 40, "not text"),
        (b"\x1f\x8bnot gzip at all", "the compressed file is cut or damaged"),
        (b"just words\n", "no evaluation in it"),
        (b'[{"image_id": 1, "score": 0.5}]', "no evaluation in it"),
    ],
)
def test_a_file_without_evaluations_says_why(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert read_file(path) == Unread(source=str(path), reason=reason)


def test_what_is_no_file_says_so(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path):
        assert read_file(path) == Unread(source=str(path), reason="not a file")


def test_a_line_beyond_all_measure_is_cut_and_the_rest_is_read(tmp_path: Path) -> None:
    content = (
        block(values(0.1)).encode() + b"x" * (LONGEST_LINE_BYTES + 3_000_000) + b"\n" + block(values(0.2)).encode()
    )
    (log,) = read_text(tmp_path, content)
    assert [each.metrics["AP"] for each in log.evaluations] == [0.1, 0.2]
    assert log.flags == ("damaged: a line longer than 4 MiB was cut",)


@settings(max_examples=60)
@given(st.binary(max_size=300), st.integers(1, 40))
def test_chunks_hold_the_whole_text_and_end_where_lines_end(content: bytes, size: int) -> None:
    import detrun.readers.source as module

    blocks = [content[at : at + size] for at in range(0, len(content), size)]
    source = Source(Path("unused"))
    chunks = list(source._lines(iter(blocks)))
    assert b"".join(chunks) == content
    assert all(chunk.endswith((b"\n", b"\r")) for chunk in chunks[:-1])
    assert module.LONGEST_LINE_BYTES > 300


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=2000))
def test_no_bytes_raise_anything(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    for whole in (content, TEXT.encode() + content, content + TEXT.encode(), b"\x1f\x8b" + content):
        path.write_bytes(whole)
        assert isinstance(read_file(path), (list, Unread))


NESTED = ("[" * 50_000, '{"bbox/AP": ' * 20_000, '{"coco_eval_bbox": ' + "[" * 50_000, "{" + '"eval_map": [' * 9_000)


@pytest.mark.parametrize("text", NESTED)
def test_deep_nesting_raises_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "file"
    path.write_text(text + "\n")
    assert isinstance(read_file(path), Unread)


@pytest.mark.parametrize(
    "word", ["1e999999999", "1e-999999999", "9" * 5000, "-0.0", "inf", "NaN", "0x10", "1_0", "٠.٥"]
)
def test_odd_numbers_raise_nothing_and_are_no_metrics(tmp_path: Path, word: str) -> None:
    path = tmp_path / "file"
    path.write_text(
        f"{block(values(0.2)).replace('0.200', word)}\n"
        f'{{"bbox/AP": {word}, "iteration": {word}}}\n{{"mode": "val", "epoch": {word}, "bbox_mAP": {word}}}\n'
        f"{{'eval_map': {word}, 'epoch': {word}}}\n"
    )
    logs = read_file(path)
    assert isinstance(logs, list)
    found = [each.metrics["AP"] for log in logs for each in log.evaluations if "AP" in each.metrics]
    assert all(value in (0.0, -1.0) for value in found)


def test_a_hundred_megabytes_stream_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "big.txt"
    line = b"2023-01-13 19:36:11.931 | INFO | epoch: 3/300, iter: 10/112, total_loss: 11.8, lr: 9.965e-08, size: 640\n"
    with path.open("wb") as file:
        for epoch in range(20):
            file.write(line.replace(b"3/300", b"%d/300" % epoch) * 50_000 + block(values(epoch / 50)).encode())
        file.write(b"y" * 5_000_000)
    program = (
        "import resource, sys; from pathlib import Path; from detrun.readers.file import read_file\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "(log,) = read_file(Path(sys.argv[1]))\n"
        "assert [each.epoch for each in log.evaluations] == list(range(20)), log\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert path.stat().st_size > 100_000_000
    assert int(done.stdout) < 48 * 1024
    assert resource.RLIMIT_AS


def test_a_log_is_read_the_same_however_it_is_cut_into_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "".join(
        f"Epoch: [{epoch}]\n{block(values(epoch / 20))}[x]: Evaluation results for bbox: \n"
        f"|  AP  | AP50 |\n|:----:|:----:|\n| {100 * epoch / 20:.4f} | {100 * epoch / 20 + 1:.4f} |\n"
        for epoch in range(8)
    )
    whole = read_text(tmp_path, text)
    for size in (64, 257, 1000, 5000):
        monkeypatch.setattr("detrun.readers.source.CHUNK_BYTES", size)
        assert read_text(tmp_path, text) == whole
    assert isinstance(whole[0], Log)
    assert len(whole[0].evaluations) == 8
