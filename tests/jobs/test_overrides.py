import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.config import ConfigError
from jobs import overrides


@pytest.mark.parametrize(
    ("text", "key", "values"),
    [
        ("optim.lr=1e-3,3e-4", "optim.lr", [1e-3, 3e-4]),
        ("precision=fp16", "precision", ["fp16"]),
        ("augment.multi_scale=[320,608]", "augment.multi_scale", [[320, 608]]),
        ("model.init=scratch,/data/a.weights", "model.init", ["scratch", "/data/a.weights"]),
        ('data.root="a,b"', "data.root", ["a,b"]),
        ("data.root=''", "data.root", [""]),
        ("epochs=3", "epochs", [3]),
        ("seed = 1, 2", "seed", [1, 2]),
        ("a=true,false", "a", [True, False]),
    ],
)
def test_values_are_toml_literals_and_bare_words_are_strings(text: str, key: str, values: list[object]) -> None:
    assert overrides.parse(text) == (key, values)


@pytest.mark.parametrize("text", ["lr", "=3", "lr=", "lr=1,,2", "lr=1,"])
def test_half_an_override_is_an_error_that_shows_it(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        overrides.parse(text)
    assert text.partition("=")[0] in str(caught.value)


@given(st.lists(st.integers(), min_size=1, max_size=4), st.lists(st.booleans(), min_size=1, max_size=3))
def test_a_grid_has_every_combination_of_distinct_values_once(numbers: list[int], flags: list[bool]) -> None:
    grid = overrides.grid({"a": numbers, "b": flags})

    expected = [{"a": a, "b": b} for a in dict.fromkeys(numbers) for b in dict.fromkeys(flags)]
    assert grid == expected


@given(st.dictionaries(st.sampled_from(["x", "y.z", "y.w"]), st.integers()))
def test_what_is_set_can_be_looked_up_and_the_original_stays(values: dict[str, int]) -> None:
    original = {"y": {"z": -1}}

    changed = overrides.apply(original, values)

    assert original == {"y": {"z": -1}}
    assert all(overrides.lookup(changed, key) == value for key, value in values.items())
