import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import resources
from jobs.errors import ResourceError


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("90", 90),
        ("90m", 90),
        ("4h", 240),
        ("2d", 2880),
        ("1-12:00:00", 2160),
        ("1-12", 2160),
        ("2-00:30", 2910),
        ("01:30:00", 90),
        ("90:00", 90),
        ("90:01", 91),
        ("1.5h", 90),
    ],
)
def test_a_time_limit_is_read_as_slurm_reads_it(text: str, minutes: int) -> None:
    assert resources.minutes(text) == minutes


@pytest.mark.parametrize("text", ["", "0", "abc", "4 hours", "-3", "1:2:3:4", "1-2-3", "h", "0:00"])
def test_what_is_no_time_limit_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ResourceError) as caught:
        resources.minutes(text)
    assert "4h" in caught.value.hint


@given(st.text(max_size=12))
def test_any_text_is_minutes_or_an_error_for_people(text: str) -> None:
    try:
        minutes = resources.minutes(text)
    except ResourceError:
        return
    assert minutes >= 1


def test_an_unknown_resource_names_the_nearest() -> None:
    with pytest.raises(ResourceError, match=r"resources\.gpu`") as caught:
        resources.load({"gpu": 4}, "here.toml")
    assert "`gpus`" in caught.value.hint


def test_a_wrong_resource_names_its_source() -> None:
    with pytest.raises(ResourceError, match=r"here\.toml.*gpus"):
        resources.load({"gpus": "many"}, "here.toml")


def test_processes_follow_gpus_and_without_gpus_procs() -> None:
    assert resources.Resources(nodes=2, gpus=4, procs=7).world_size == 8
    assert resources.Resources(nodes=2, procs=3).world_size == 6
