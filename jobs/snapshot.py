"""The code that runs: where it stands in git, and a copy of it that queued jobs use.

A copy holds detrun's own `detector` and `jobs`, which go on PYTHONPATH, and for a recipe with a command
the project that the recipe lies in, under `project/`.
"""

import hashlib
import os
import shutil
import subprocess
import uuid
from importlib import metadata
from pathlib import Path

from jobs.records import Code, unwritable
from jobs.rundir import CODE

PROJECT = Path("project")
_HERE = Path(__file__).resolve().parent.parent
_OURS = ("detector", "jobs")
_OUR_SUFFIXES = {".py", ".toml"}
# Files of a project that git does not track are taken only where they look like code.
_CODE_SUFFIXES = {".py", ".toml", ".yaml", ".yml", ".json", ".cfg", ".ini", ".sh"}
_MAX_UNTRACKED_BYTES = 1 << 20


def project_of(recipe: Path) -> Path:
    """The git checkout that a recipe lies in, else its folder."""
    top = _git(recipe.parent, "rev-parse", "--show-toplevel")
    return Path(top.strip()) if top else recipe.parent


def inspect(project: Path | None = None) -> Code:
    """The state of the code that a submission would run; `project` is that of a recipe with a command."""
    root = project or _HERE
    ours = project is not None or _git(root, "ls-files", "--error-unmatch", "jobs/snapshot.py")
    sha = _git(root, "rev-parse", "HEAD") if ours else None
    return Code(
        version=metadata.version("detrun"),
        root=str(root),
        files=_digest(_files(project)),
        git_sha=sha.strip() if sha else None,
        dirty=bool(sha and _git(root, "status", "--porcelain", "--untracked-files=no")),
    )


def save(code: Code, runs: Path, project: Path | None = None) -> Path:
    """Copy the code into the runs folder, once for each state of it, and return where.

    The copy is complete or absent: it is made beside its place and renamed. `uncommitted.diff` in it holds
    what git had not committed.

    Raises:
        RunError: the runs folder cannot be written.
    """
    place = runs / CODE / place_name(code)
    if place.is_dir():
        return place
    temporary = place.with_name(f".{place.name}.{uuid.uuid4().hex[:8]}")
    try:
        for source, relative in _files(project):
            target = temporary / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
        if code.dirty:
            (temporary / "uncommitted.diff").write_text(_git(Path(code.root), "diff", "HEAD") or "")
        if not place.is_dir():
            temporary.rename(place)
    except OSError as error:
        raise unwritable(place, error) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return place


def place_name(code: Code) -> str:
    """The name of a copy's folder: what it holds decides."""
    return code.files[:16]


def link(place: Path, link: Path) -> None:
    """Point a run's `code` at a copy, relative, so that the runs folder can move."""
    target = os.path.relpath(place, link.parent)
    try:
        if link.is_symlink():
            link.unlink()
        link.symlink_to(target)
    except OSError as error:
        raise unwritable(link, error) from None


def _files(project: Path | None) -> list[tuple[Path, Path]]:
    """Every file of the copy with its path there, in a fixed order."""
    files = [
        (path, path.relative_to(_HERE))
        for package in _OURS
        for path in (_HERE / package).rglob("*")
        if path.suffix in _OUR_SUFFIXES
    ]
    if project:
        files += [(project / name, PROJECT / name) for name in _project_files(project)]
    return sorted(files, key=lambda pair: pair[1])


def _project_files(project: Path) -> list[Path]:
    tracked = _git(project, "ls-files", "-z")
    if tracked is None:
        return [path.relative_to(project) for path in project.rglob("*") if _looks_like_code(path)]
    new = _git(project, "ls-files", "-z", "--others", "--exclude-standard") or ""
    names = [Path(name) for name in tracked.split("\0") if name]
    names += [Path(name) for name in new.split("\0") if name and _looks_like_code(project / name)]
    return [name for name in names if (project / name).is_file()]


def _looks_like_code(path: Path) -> bool:
    return path.suffix in _CODE_SUFFIXES and path.is_file() and path.stat().st_size <= _MAX_UNTRACKED_BYTES


def _digest(files: list[tuple[Path, Path]]) -> str:
    whole = hashlib.sha256()
    for source, relative in files:
        whole.update(f"{relative}\0".encode())
        whole.update(hashlib.sha256(source.read_bytes()).digest())
    return whole.hexdigest()


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints, `None` where there is no git or no repository."""
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
