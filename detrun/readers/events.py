"""What a line of a log says, as the readers of the log families tell the assembler. No I/O."""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Protocol

from detrun.readers.number import Number


class Row(NamedTuple):
    """One printed summary row. `text` is its value as printed, "" where the line ends before it."""

    name: str
    text: str


class Kind(NamedTuple):
    """The rows that follow are of this IoU type (`bbox`, `segm`, `keypoints`)."""

    iou_type: str


class Starting(NamedTuple):
    """An evaluation starts here, whenever its rows come out."""


class Summary(NamedTuple):
    """One evaluation told in one place, by the twelve metrics' names or by row names.

    Attributes:
        source: the form of the line; one evaluation may be told in several forms, in each once.
        values: what it says.
        iou_type: "" where the lines before it say.
        epoch, step: None where the lines before it say.
        alone: whether it stands for an evaluation by itself, or only makes another one more precise.
        of_best: see `Evaluation.of_best`.
        flags: what is doubtful about it.
    """

    source: str
    values: Mapping[str, Number]
    iou_type: str = "bbox"
    epoch: int | None = None
    step: int | None = None
    alone: bool = True
    of_best: bool = False
    flags: tuple[str, ...] = ()


class Best(NamedTuple):
    """The best AP so far, as the log itself sums it up."""

    ap: Number


class Session(NamedTuple):
    """A training program starts: what follows is another session in the same file."""


class Fact(NamedTuple):
    """A number about the run as a whole, such as its parameters."""

    name: str
    value: float | str


Event = Row | Kind | Starting | Summary | Best | Session | Fact


class Surroundings(Protocol):
    """What stands around a line."""

    def before(self) -> str:
        """The text between the evaluation read last and this line, its last few kilobytes."""

    def after(self, count: int) -> list[str]:
        """The next lines that are not empty, as far as the log has them close by."""


class Family(NamedTuple):
    """One family of logs.

    Attributes:
        name: what it is called in a report.
        markers: a line is read where it holds one of these.
        read: the events of a line, from the line alone; None where `read_around` is needed.
        read_around: the events of a line, from the line and what stands around it.
        looks_ahead: `read_around` asks for lines that follow.
    """

    name: str
    markers: tuple[bytes, ...]
    read: Callable[[str], Iterable[Event]] | None = None
    read_around: Callable[[str, Surroundings], Iterable[Event]] | None = None
    looks_ahead: bool = False
