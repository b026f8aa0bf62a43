"""Naming runs: by id, unique prefix, the hash alone, recipe, sweep, path or `@last`. Reads the runs folder."""

from collections.abc import Sequence
from pathlib import Path

from detector.config import nearest
from jobs.errors import RunError
from jobs.rundir import RunDir, newest_first


def select(selectors: Sequence[str], runs: Path) -> list[RunDir]:
    """The runs that some words name, each once, in the order named; all runs, newest first, for no words.

    Raises:
        RunError: a word names no run, or is a prefix of several.
    """
    everything = newest_first(runs)
    if not selectors:
        return everything
    found: dict[Path, RunDir] = {}
    for word in selectors:
        found |= {directory.path: directory for directory in _named(word, everything, runs)}
    return list(found.values())


def one(word: str, runs: Path) -> RunDir:
    """The one run that a word names.

    Raises:
        RunError: it names none or several.
    """
    found = select([word], runs)
    if len(found) > 1:
        raise RunError(f"`{word}` names {len(found)} runs", "name one: " + ", ".join(run.id for run in found[:5]))
    return found[0]


def _named(word: str, everything: list[RunDir], runs: Path) -> list[RunDir]:
    if word == "@last":
        return everything[:1] or _none(word, everything, runs)
    as_path = RunDir(Path(word))
    if len(as_path.path.parts) > 1 and as_path.run_json.exists():
        return [as_path]
    exact = [run for run in everything if run.id == word]
    by_prefix = [run for run in everything if run.id.startswith(word) or _hash(run.id).startswith(word)]
    groups = [run for run in everything if _recipe(run.id) == word] or _of_sweep(word, everything)
    if exact or groups:
        return exact or groups
    if len(by_prefix) > 1:
        ids = ", ".join(run.id for run in by_prefix[:5])
        raise RunError(f"`{word}` begins the names of {len(by_prefix)} runs", f"give more of one: {ids}")
    return by_prefix or _none(word, everything, runs)


def _of_sweep(word: str, everything: list[RunDir]) -> list[RunDir]:
    if "-sweep-" not in word:
        return []
    recipe = word.partition("-sweep-")[0]
    return [run for run in everything if _recipe(run.id) == recipe and run.run().sweep == word]


def _none(word: str, everything: list[RunDir], runs: Path) -> list[RunDir]:
    if not everything:
        raise RunError(
            f"no run `{word}`: {runs} holds no runs", "`detrun submit RECIPE` makes one; --runs DIR looks elsewhere"
        )
    words = [run.id for run in everything] + sorted({_recipe(run.id) for run in everything})
    raise RunError(f"no run `{word}` in {runs}", nearest(word, words) or "`detrun status` shows the runs there are")


def _hash(run_id: str) -> str:
    return run_id.rpartition("-")[2]


def _recipe(run_id: str) -> str:
    return run_id.rpartition("-")[0]
