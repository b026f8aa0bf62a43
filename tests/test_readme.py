"""The README says what the code does: every verb, option, recipe, state and key, and no other."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
from command import Detrun

from detector import config
from jobs import recipe
from jobs.overview import RunStatus
from jobs.settings import Settings
from jobs.state import State

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def every_key() -> str:
    """The README's last part: each key with its default, a paragraph per section."""
    paragraphs: dict[str, list[str]] = {}
    for key, value in defaults(config.dump(config.Train())):
        paragraphs.setdefault(key.rpartition(".")[0], []).append(f"`{key}` {json.dumps(value)}")
    return "\n\n".join(" · ".join(entries) for entries in paragraphs.values()) + "\n"


def defaults(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from defaults(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def test_every_key_stands_there_with_its_default() -> None:
    assert README.endswith(f"\n\n{every_key()}")


def test_every_recipe_stands_there() -> None:
    listed = re.findall(r"^\| `([\w-]+)` \|", README, re.MULTILINE)

    assert set(recipe.shipped()) == set(listed) - {"path"}


def test_every_state_and_every_field_of_the_status_stand_there() -> None:
    for word in (*get_args(State), *RunStatus.__struct_fields__):
        assert f"`{word}`" in README


def test_what_is_called_a_key_is_one() -> None:
    named = re.findall(r"`((?:data|model|augment|optim|schedule|eval|checkpoint)\.\w+)(?:=[^`]*)?`", README)

    assert set(named) - {"data.yaml"} <= set(config.keys())
    assert len(named) > 10


@pytest.mark.parametrize(
    "verb", ["submit", "status", "report", "logs", "cancel", "retry", "predict", "export", "data check", "data fetch"]
)
def test_commands_in_the_readme_use_options_that_there_are(detrun: Detrun, verb: str) -> None:
    known = set(re.findall(r"(?<=[\s,])--?[a-zA-Z][\w-]*", detrun(*verb.split(), "--help").stdout))
    blocks = re.findall(r"^```(?:sh)?\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    lines = [line.partition("#")[0] for block in blocks for line in block.splitlines()]
    used = {
        word
        for line in lines
        if line.startswith(f"detrun {verb} ")
        for word in re.findall(r"(?<=\s)--?[a-z][\w-]*", line)
    }

    assert used <= known


def test_the_settings_in_the_readme_are_read() -> None:
    import tomllib

    import msgspec

    from jobs import resources

    block = re.search(r"^```toml\n(\[profile.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert block
    settings = msgspec.convert(tomllib.loads(block[1]), Settings)

    assert settings.local.gpus == [0, 1]
    assert resources.load(settings.profile["a100"], "README").partition == "gpu"


def test_the_recipe_in_the_readme_can_be_planned(detrun: Detrun, tmp_path: Path) -> None:
    block = re.search(r"^```toml\n(description.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert block
    path = tmp_path / "street.toml"
    path.write_text(block[1])

    shown = detrun("submit", str(path), "--on", "local", "--set", f"data.root={detrun.data}", "--dry-run")

    assert shown.stdout.startswith("Plan: 2 runs")
