"""`--where`: conditions on columns, such as `optim.lr > 1e-3 and (state = done or seed != 2)`. Nothing is evaluated.

Grammar, loosest first: `or`, `and`, `not`, then a comparison `COLUMN OP VALUE` or a group in parentheses. OP is one
of = == != < <= > >=. VALUE is a number, `true`, `false`, a word, or text in quotes. A column that a run does not
have satisfies no comparison.
"""

import math
import re
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

from detector.config import nearest
from detector.errors import UserError
from detector.records import CLASS_METRICS, EVERY_METRIC
from detrun.comparison import Value

# Gives what a run has in a column.
Row = Callable[[str], Value]
Condition = Callable[[Row], bool]

_TOKEN = re.compile(
    r"\s*(?:(?P<op>==|!=|<=|>=|=|<|>)|(?P<paren>[()])|(?P<text>\"[^\"]*\"|'[^']*')|(?P<word>[^\s()<>=!\"']+))"
)
_OPERATORS: dict[str, Callable[[int], bool]] = {
    "=": lambda order: order == 0,
    "==": lambda order: order == 0,
    "!=": lambda order: order != 0,
    "<": lambda order: order < 0,
    "<=": lambda order: order <= 0,
    ">": lambda order: order > 0,
    ">=": lambda order: order >= 0,
}
_MOST_TOKENS = 200
_EXAMPLE = 'write it like "optim.lr>1e-3 and state=done"'


class _Token(NamedTuple):
    kind: str
    text: str


def parse(text: str, columns: Collection[str]) -> Condition:
    """The condition that a text states.

    Raises:
        UserError: it cannot be parsed, or it names a column that no run has.
    """
    parser = _Parser(text, columns)
    condition = parser.either()
    parser.end()
    return condition


def column_named(word: str, columns: Collection[str], option: str) -> str:
    """The column that a word of an option names: by its whole name, or by the end of one dotted name alone.

    Raises:
        UserError: there is none, or none among these runs.
    """
    if word in columns:
        return word
    ends = [column for column in columns if column.rpartition(".")[2] == word]
    if len(ends) == 1:
        return ends[0]
    if word in EVERY_METRIC:
        other = "classifiers" if word in CLASS_METRICS else "detectors"
        hint = f"{other} have it, which are compared by themselves: name their runs alone"
    else:
        hint = nearest(word, sorted(columns)) or "one of " + ", ".join(columns)
    raise UserError(f"{option}: no column `{word}`", hint)


class _Parser:
    def __init__(self, text: str, columns: Collection[str]) -> None:
        self._text = text
        self._columns = columns
        self._tokens = list(self._split())
        self._next = 0
        if len(self._tokens) > _MOST_TOKENS:
            raise self._error(f"more than {_MOST_TOKENS} words")

    def either(self) -> Condition:
        left = self.both()
        while self._takes_word("or"):
            left = _or(left, self.both())
        return left

    def both(self) -> Condition:
        left = self.negated()
        while self._takes_word("and"):
            left = _and(left, self.negated())
        return left

    def negated(self) -> Condition:
        if self._takes_word("not"):
            inner = self.negated()
            return lambda row: not inner(row)
        if self._takes("paren", "("):
            inner = self.either()
            if not self._takes("paren", ")"):
                raise self._error("a closing parenthesis is missing")
            return inner
        return self._comparison()

    def end(self) -> None:
        if self._next < len(self._tokens):
            raise self._error(f"`{self._tokens[self._next].text}` is not expected here")

    def _comparison(self) -> Condition:
        column = column_named(self._take("word", "a column"), self._columns, "--where")
        operator = _OPERATORS[self._take("op", f"a comparison after `{column}`")]
        wanted = self._value(column)

        def holds(row: Row) -> bool:
            order = _order(row(column), wanted)
            return order is not None and operator(order)

        return holds

    def _value(self, column: str) -> str:
        token = self._peek()
        if token is None or token.kind not in ("word", "text"):
            raise self._error(f"a value is missing after `{column}`")
        self._next += 1
        return token.text[1:-1] if token.kind == "text" else token.text

    def _split(self) -> Iterator[_Token]:
        position = 0
        text = self._text.rstrip()
        while position < len(text):
            found = _TOKEN.match(text, position)
            if not found or not found.lastgroup:
                raise self._error(f"`{text[position:].strip()[:1]}` cannot be read")
            yield _Token(found.lastgroup, found[found.lastgroup])
            position = found.end()

    def _peek(self) -> _Token | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def _takes(self, kind: str, text: str) -> bool:
        token = self._peek()
        if token is None or token.kind != kind or token.text.lower() != text:
            return False
        self._next += 1
        return True

    def _takes_word(self, word: str) -> bool:
        return self._takes("word", word)

    def _take(self, kind: str, what: str) -> str:
        token = self._peek()
        if token is None or token.kind != kind:
            raise self._error(f"{what} is missing")
        self._next += 1
        return token.text

    def _error(self, problem: str) -> UserError:
        return UserError(f"--where {self._text!r}: {problem}", _EXAMPLE)


def _and(left: Condition, right: Condition) -> Condition:
    return lambda row: left(row) and right(row)


def _or(left: Condition, right: Condition) -> Condition:
    return lambda row: left(row) or right(row)


def _order(held: Value, wanted: str) -> int | None:
    """-1, 0 or 1 as the held value is less, equal or greater; None where they cannot be compared."""
    if held is None:
        return None
    if isinstance(held, bool):
        return _sign(str(held).lower(), wanted.lower())
    if isinstance(held, str):
        return _sign(held, wanted)
    try:
        number = float(wanted)
    except ValueError:
        return None
    return None if math.isnan(number) else (held > number) - (held < number)


def _sign(held: str, wanted: str) -> int:
    return (held > wanted) - (held < wanted)
