"""`detrun report`: runs and foreign logs in one comparison, shown or written in any form."""

from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from glob import escape, glob
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from detector.errors import UserError
from detrun.options import Every, Json, RunsFolder, run_ids

if TYPE_CHECKING:
    from detrun.comparison import Comparison
    from detrun.comparison.table import Question
    from jobs.overview import RunStatus


class Form(StrEnum):
    """How the comparison is shown."""

    table = "table"
    md = "md"
    csv = "csv"
    tsv = "tsv"
    json = "json"
    latex = "latex"
    html = "html"


class Epoch(StrEnum):
    """Which evaluation of each run is compared."""

    last = "last"
    best = "best"


class IouType(StrEnum):
    """What is matched with the ground truth."""

    bbox = "bbox"
    segm = "segm"
    keypoints = "keypoints"


_FORM_OF_SUFFIX = {
    ".md": Form.md,
    ".csv": Form.csv,
    ".tsv": Form.tsv,
    ".json": Form.json,
    ".tex": Form.latex,
    ".html": Form.html,
}
GALLERY = 24
FAILED = 3


def _runs_and_files(incomplete: str) -> Iterator[str]:
    """What may be named, for the shell; folders end with a slash."""
    yield from run_ids(incomplete)
    for path in sorted(glob(f"{escape(incomplete)}*")):  # noqa: PTH207
        yield f"{path}/" if Path(path).is_dir() else path


def command(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN|SWEEP|FILE]...",
            help="Runs by id, unique prefix, recipe, sweep or @last; logs and folders by path. All runs if none.",
            autocompletion=_runs_and_files,
            show_default=False,
        ),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option("--baseline", metavar="R", help="Show differences from this run.  [default: the first]"),
    ] = None,
    sort: Annotated[
        str | None, typer.Option("--sort", metavar="COL", help="Sort by a column; -AP is largest AP first.")
    ] = None,
    where: Annotated[
        str | None, typer.Option("--where", metavar="COND", help='Only runs such as "optim.lr>1e-3 and state=done".')
    ] = None,
    columns: Annotated[
        str | None, typer.Option("--columns", metavar="A,B", help="Exactly these columns, such as AP,optim.lr,epoch.")
    ] = None,
    epoch: Annotated[Epoch, typer.Option("--epoch", help="Which evaluation of each run.")] = Epoch.last,
    iou: Annotated[
        IouType | None, typer.Option("--iou", help="What is matched.  [default: bbox where there is any]")
    ] = None,
    group: Annotated[
        bool | None,
        typer.Option(
            "--group/--no-group",
            help="Seeds as mean ± SD: also all logs of a folder whose names differ in numbers, or none at all.",
            show_default=False,
        ),
    ] = None,
    per_class: Annotated[bool, typer.Option("--per-class", help="AP of each class, largest changes first.")] = False,
    ci: Annotated[bool, typer.Option("--ci", help="95% intervals: paired bootstrap over images.")] = False,
    errors: Annotated[bool, typer.Option("--errors", help="What each kind of mistake costs, after TIDE.")] = False,
    form: Annotated[
        Form | None, typer.Option("-o", "--format", help="Form.  [default: table, or as FILE ends]")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write to a file.")] = None,
    gallery: Annotated[
        int, typer.Option("--gallery", metavar="N", min=0, max=200, help="Val images in a page of -o html.")
    ] = GALLERY,
    publish: Annotated[
        Path | None, typer.Option("--publish", metavar="FOLDER", help="Keep a page fresh there while runs go on.")
    ] = None,
    watch: Annotated[bool, typer.Option("-w", "--watch", help="Redraw until interrupted.")] = False,
    every: Every = 5.0,
    folder: RunsFolder = None,
    as_json: Json = False,
) -> None:
    """AP and AR of runs and of logs of other frameworks, in one comparison."""
    from detrun.comparison.table import Question

    shown = Form.json if as_json else form or (_FORM_OF_SUFFIX.get(out.suffix, Form.table) if out else Form.table)
    asked = [column.strip() for column in columns.split(",") if column.strip()] if columns else []
    question = Question(
        iou_type=iou.value if iou else None,
        selected_by=epoch.value,
        baseline=baseline,
        where=where,
        sort=sort,
        group=group,
    )

    def look() -> "Comparison":
        return compared(what or [], question, folder, ci=ci, per_class=per_class, errors=errors)

    def show() -> str:
        return rendered(look(), shown, asked, gallery)

    if publish is not None:
        raise typer.Exit(published(publish, look, asked, gallery, every))
    if watch and out is None:
        from detrun.render.report.watch import follow

        follow(show, every)
    elif out is None:
        typer.echo(show())
    else:
        _write(out, show() + "\n")


def compared(
    words: Sequence[str],
    question: "Question",
    folder: Path | None = None,
    *,
    ci: bool = False,
    per_class: bool = False,
    errors: bool = False,
) -> "Comparison":
    """The whole comparison of runs and logs, which any renderer takes. Names files it cannot read on stderr.

    Args:
        words: runs, sweeps, files and folders; all runs of the runs folder where empty.
        question: what is asked of them.
        folder: the runs folder, `$DETRUN_RUNS` or `./runs` where None.
        ci: with 95% intervals of the differences, from the stored detections.
        per_class: with AP of each category.
        errors: with what each kind of mistake costs.

    Raises:
        UserError: a word, the baseline, a column or a condition names nothing, or nothing holds an evaluation.
    """
    from detrun.comparison.sources import gather
    from detrun.comparison.table import compare
    from detrun.readers.names import printable

    def named(words: Sequence[str]) -> Sequence[Path]:
        from jobs.rundir import default_runs
        from jobs.select import select

        return [run.path.absolute() for run in select(words, folder or default_runs())]

    def standings(paths: Sequence[Path] | None) -> "Sequence[RunStatus]":
        if paths is not None and not paths:
            return []
        from jobs.overview import status

        return status([str(path) for path in paths or ()], runs=folder).runs

    runs, unread = gather(words, named, standings, iou_type=question.iou_type, by=question.selected_by)
    for file in unread:
        typer.echo(printable(f"not understood: {file.source}: {file.reason}"), err=True)
    comparison = compare(runs, question, unread)
    if ci:
        comparison = _with_intervals(comparison)
    if per_class:
        from detrun.comparison.classes import with_classes

        comparison = with_classes(comparison)
    return _with_errors(comparison) if errors else comparison


def rendered(comparison: "Comparison", form: Form, asked: Sequence[str] = (), gallery: int = GALLERY) -> str:
    """A comparison in one of its forms, of which only the one is imported; `gallery` images at most in a page.

    Raises:
        UserError: a column that was asked for does not exist.
    """
    match form:
        case Form.table:
            return _table(comparison, asked)
        case Form.md:
            from detrun.render.report import markdown

            return markdown.render(comparison, asked)
        case Form.csv | Form.tsv:
            from detrun.render.report import separated

            write = separated.comma_separated if form == Form.csv else separated.tab_separated
            return write(comparison, asked)
        case Form.latex:
            from detrun.render.report import latex

            return latex.render(comparison, asked)
        case Form.json:
            from detrun.render.report import document

            return document.render(comparison)
        case Form.html:
            from detrun.render.report import page

            return page.render(_content(comparison, asked, gallery))


def published(
    folder: Path, look: Callable[[], "Comparison"], asked: Sequence[str], gallery: int, every_s: float
) -> int:
    """Keep a page fresh in a folder until all runs have ended; returns the exit code.

    Raises:
        UserError: the folder cannot be written, or a column that was asked for does not exist.
    """
    from detrun.render.report.page.publish import publish

    last = publish(folder, look, lambda known, news_s: _content(known, asked, gallery, news_s), every_s)
    return FAILED if any(run.state in ("failed", "lost") for run in last.runs) else 0


def _content(
    comparison: "Comparison", asked: Sequence[str], gallery: int, every_s: float | None = None
) -> dict[str, Any]:
    """What a page shows."""
    import time

    from detrun.comparison.details import details
    from detrun.render.report.page.content import content
    from detrun.render.report.progress import progress

    with progress("reading detections") as tell:
        shown = details(comparison, gallery, tell)
    return content(comparison, shown, asked, time.time(), every_s)


def _table(comparison: "Comparison", asked: Sequence[str]) -> str:
    """As wide as the terminal; off one, tab-separated and whole."""
    from detrun.render.grid import on_terminal, width

    if not on_terminal():
        return rendered(comparison, Form.tsv, asked)
    from detrun.render.report import terminal

    return terminal.render(comparison, width(), asked)


def _with_intervals(comparison: "Comparison") -> "Comparison":
    from detrun.comparison.bootstrap import with_intervals
    from detrun.render.report.progress import progress

    with progress("bootstrap over images") as tell:
        return with_intervals(comparison, tell)


def _with_errors(comparison: "Comparison") -> "Comparison":
    from detrun.comparison.errors import with_errors
    from detrun.render.report.progress import progress

    with progress("kinds of errors") as tell:
        return with_errors(comparison, tell)


def _write(path: Path, text: str) -> None:
    """Replace a file as a whole."""
    from detrun.render.report.whole_file import replace

    try:
        replace(path, text)
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror}", "--out names a file in a folder that exists"
        ) from None
