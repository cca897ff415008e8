"""Text with holes: ``STATUS#{status|new}``, ``{created_at:%Y-%m|0000-00}#{id}``, ``ORG#{Orgs}#USER#{Users}``. Pure."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Any

from . import paths

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
# Name, format and default; a backslash makes the next character a part of the name
_INSIDE = re.compile(r"((?:\\.|[^:|])*)(?::([^|]*))?(?:\|(.*))?", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_DATE = re.compile(
    r"(\d{4})(-?)(\d\d)\2(\d\d)(?:[Tt ](\d\d)(?::?(\d\d)(?::?(\d\d)(?:[.,](\d+))?)?)?([Zz]|[+-]\d\d(?::?\d\d)?)?)?",
    re.ASCII,
)
_UTC_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[Tt ](?:[01]\d|2[0-3])(?::[0-5]\d(?::[0-5]\d(?:[.,]\d+)?)?)?[Zz]?)?", re.ASCII
)
# In text that is no template: what looks like a hole all the same, and how many braces stand around it
_LIKE_A_HOLE = re.compile(r"(\{+)((?:\*|\w[\w.-]*)(?::%[^{}|]*)?(?:\|[^{}]*)?)(\}+)")
REMEMBERED = 1000  # days
ANY = "*"  # the name of a hole that stands for any text
_DIRECTIVES = {  # directive → the same for `str.format`, which takes a quarter of the time of a function for each
    "%Y": "{0.year:04}",
    "%m": "{0.month:02}",
    "%d": "{0.day:02}",
    "%H": "{0.hour:02}",
    "%M": "{0.minute:02}",
    "%S": "{0.second:02}",
    "%j": "{0:%j}",
    "%y": "{0:%y}",
    "%%": "%",
}


@dataclass(frozen=True)
class Hole:
    """One ``{name:format|default}``; format and default are None where they are not given."""

    name: str
    format: str | None = None
    default: str | None = None

    @cached_property
    def steps(self) -> tuple[str, ...]:
        """Its name as a path through maps, where it names an attribute. Raises ValueError where it is none."""
        return paths.members(self.name)


Parts = tuple[str | Hole, ...]  # of a parsed template: literals and holes, in order


def parse(text: str) -> Parts:
    """Literals and holes in order; ``{{`` and ``}}`` stand for braces. Raises ValueError, a sentence, for a bad template."""
    parts: list[str | Hole] = []
    literal, end = "", 0
    for token in _TOKEN.finditer(text):
        literal += text[end : token.start()]
        end = token.end()
        if token[0] in ("{{", "}}"):
            literal += token[0][0]
        elif token[1] is None:
            raise ValueError(f"a single {token[0]!r} in {text!r}; write {token[0] * 2!r} for a brace")
        else:
            if literal:
                parts.append(literal)
            parts.append(_hole(token[1], text))
            literal = ""
    literal += text[end:]
    return (*parts, literal) if literal or not parts else tuple(parts)


def holes(parts: Parts) -> list[Hole]:
    """The holes of a parsed template."""
    return [part for part in parts if isinstance(part, Hole)]


def touch(parts: Parts) -> bool:
    """Whether two holes have nothing between them, so that no reader can tell them apart."""
    return any(isinstance(before, Hole) and isinstance(after, Hole) for before, after in pairwise(parts))


def entries(parts: Parts) -> list[Hole]:
    """The holes of a reference's template that name entries: all but ANY."""
    return [hole for hole in holes(parts) if hole.name != ANY]


def constant(value: Any, instead: str) -> Any:
    """A plain value that is no template as it is meant: in its texts, at every depth, `{{name}}` stands for `{name}`.

    Raises ValueError where one has a hole, which nothing would fill. `instead`: what to do.
    """

    def single(found: re.Match) -> str:
        before, name, after = found.groups()
        half, odd = divmod(min(len(before), len(after)), 2)
        if odd:
            raise ValueError(
                f"{{{name}}} is filled in only where a template stands; {instead}, or write {{{{{name}}}}} for the braces"
            )
        return f"{before[half:]}{name}{after[half:]}"

    if isinstance(value, str):
        return _LIKE_A_HOLE.sub(single, value)
    if isinstance(value, list):
        return [constant(one, instead) for one in value]
    return {name: constant(one, instead) for name, one in value.items()} if isinstance(value, dict) else value


def doubled(text: str) -> str:
    """A text as it stands where `constant` reads it."""

    def double(found: re.Match) -> str:
        more = min(len(found[1]), len(found[3]))
        return f"{'{' * more}{found[0]}{'}' * more}"

    return _LIKE_A_HOLE.sub(double, text)


def _hole(inside: str, text: str) -> Hole:
    name, date_format, default = _INSIDE.fullmatch(inside).groups()
    if not name:
        raise ValueError(f"a hole without a name in {text!r}")
    if date_format is not None:
        unknown = [d for d in re.findall(r"%.?", date_format) if d not in _DIRECTIVES]
        if unknown or "%" not in date_format:
            known = " ".join(_DIRECTIVES)
            raise ValueError(f"date format {date_format!r} in {text!r}; known directives are {known}")
    return Hole(_ESCAPED.sub(lambda found: "|" if found[1] == "|" else found[0], name), date_format, default)


def read_iso(text: str) -> tuple[datetime, str] | None:
    """The whole second (in UTC) of an ISO 8601 date or time (without zone: UTC), and the digits of its fraction of a second.

    None where it is not one.
    """
    match = _DATE.fullmatch(text)
    if not match:
        return None
    year, _, month, day, hour, minute, second, fraction, zone = match.groups()
    try:
        moment = datetime(*(int(part or 0) for part in (year, month, day, hour, minute, second)), tzinfo=_zone(zone))
        return moment.astimezone(UTC), fraction or ""
    except (ValueError, OverflowError):
        return None


def write_date(moment: datetime, date_format: str) -> str:
    """The moment, which is in UTC, as the format says; no fraction of a second."""
    return _form(date_format).format(moment)


@lru_cache
def _form(date_format: str) -> str:
    return re.sub(r"%.|[{}]", lambda part: _DIRECTIVES.get(part[0], 2 * part[0]), date_format)


def format_date(text: str, date_format: str) -> str | None:
    """The ISO 8601 date or time (without zone: UTC), converted to UTC and formatted; None where it is not a date."""
    found = read_iso(text)
    return write_date(found[0], date_format) if found else None


def date_function(date_format: str) -> Callable[[str], str | None]:
    """`format_date` for one format, which remembers days where the format shows no time."""
    if any(directive in ("%H", "%M", "%S") for directive in re.findall(r"%.", date_format)):
        return lambda text: format_date(text, date_format)
    days: dict[str, str | None] = {}

    def formatted(text: str) -> str | None:
        match = _UTC_TIME.fullmatch(text)  # a valid time of day in UTC does not change the day
        if match is None:
            return format_date(text, date_format)
        day = match[1]
        known = days.get(day, "")
        if known == "":
            if len(days) >= REMEMBERED:
                days.clear()
            days[day] = known = format_date(day, date_format)
        return known

    return formatted


def _zone(text: str | None) -> timezone:
    if not text or text in "Zz":
        return UTC
    digits = text[1:].replace(":", "")
    hours, minutes = int(digits[:2]), int(digits[2:] or 0)
    if hours > 23 or minutes > 59:
        raise ValueError("no such zone")
    offset = timedelta(hours=hours, minutes=minutes)
    return timezone(-offset if text[0] == "-" else offset)


def literals(parts: Iterable[str | Hole]) -> list[str]:
    """What stands before, between and after the holes of a parsed template."""
    found = [""]
    for part in parts:
        if isinstance(part, Hole):
            found.append("")
        else:
            found[-1] += part
    return found


def writer(parts: Parts) -> Callable[[Iterable[str]], str]:
    """A function from the contents of the holes to the text."""
    form = "".join("%s" if isinstance(part, Hole) else part.replace("%", "%%") for part in parts)
    return lambda pieces: form % tuple(pieces)


def reader(parts: Parts) -> Callable[[str], list[str] | None]:
    """A function from a text to the contents of the holes, or None where the text does not match in exactly one way.

    Its time is linear in the text. A hole takes one character or more; ANY takes any text that does not hold the literal after
    it, nothing included.
    """
    if any(hole.name == ANY for hole in holes(parts)):
        return _starred_reader(parts)
    head, *others = literals(parts)
    if not others:
        return lambda text: [] if text == head else None
    *separators, tail = others

    # It finds each separator from the left and from the right. If both searches find the same places, there is exactly one match.
    def read(text: str) -> list[str] | None:
        at, end = len(head), len(text) - len(tail)
        if not (text.startswith(head) and text.endswith(tail)):
            return None
        pieces, places = [], []
        for separator in separators:
            place = text.find(separator, at + 1, end)
            if place < 0:
                return None
            pieces.append(text[at:place])
            places.append(place)
            at = place + len(separator)
        if at >= end:
            return None
        until = end
        for separator, place in zip(reversed(separators), reversed(places), strict=True):
            until = text.rfind(separator, 0, until - 1)
            if until != place:
                return None
        return [*pieces, text[at:end]]

    return read


def finder(parts: Parts) -> Callable[[str], tuple[int, int] | None]:
    """A function from a text to where the one hole that is not ANY begins and ends in it; None where it does not match."""
    between = literals(parts)
    are_any = [hole.name == ANY for hole in holes(parts)]
    if not are_any[-1]:  # each ANY ends where its literal first stands, and the hole takes what is left
        head, *separators, tail = map(re.escape, between)
        skipped = "".join([f"(?>.*?{separator})" for separator in separators])
        match = re.compile(f"{head}{skipped}(.+){tail}", re.DOTALL).fullmatch

        def find_last(text: str) -> tuple[int, int] | None:
            found = match(text)
            return found.span(1) if found else None

        return find_last
    read, number = reader(parts), are_any.index(False)

    def find_among(text: str) -> tuple[int, int] | None:
        pieces = read(text)
        if pieces is None:
            return None
        start = sum(map(len, between[: number + 1])) + sum(map(len, pieces[:number]))
        return start, start + len(pieces[number])

    return find_among


def _starred_reader(parts: Parts) -> Callable[[str], list[str] | None]:
    head, *separators, tail = literals(parts)
    are_any = [hole.name == ANY for hole in holes(parts)]
    last_is_any = are_any.pop()
    steps = list(zip(are_any, separators, strict=True))

    def read(text: str) -> list[str] | None:
        at, end = len(head), len(text) - len(tail)
        if at > end or not (text.startswith(head) and text.endswith(tail)):
            return None
        # Where the text can be read up to -> what the holes take then: where the last begins and ends, and those before it;
        # None: in several ways. No text is copied before the way is known.
        reached: Reached = {at: ()}
        for is_any, separator in steps:
            reached = (_take_any if is_any else _take_some)(text, reached, separator, end)
        if last_is_any:
            last = text.rfind(tail, 0, end + len(tail) - 1) if tail else -1
            ways = [at for at in reached if at > last]
        else:
            ways = [at for at in reached if at < end]
        if len(ways) != 1 or (taken := reached[ways[0]]) is None:
            return None
        pieces = [text[ways[0] : end]]
        while taken:
            start, stop, taken = taken
            pieces.append(text[start:stop])
        return pieces[::-1]

    return read


Reached = dict[int, tuple | None]


def _take_any(text: str, reached: Reached, separator: str, end: int) -> Reached:
    further: Reached = {}
    place, until = -1, end
    for at in sorted(reached, reverse=True):  # so that no part of the text is searched twice
        nearer = text.find(separator, at, until)
        place, until = (nearer if nearer >= 0 else place), min(end, at + len(separator) - 1)
        if place >= 0:
            after, taken = place + len(separator), reached[at]
            further[after] = None if after in further or taken is None else (at, place, taken)
    return further


def _take_some(text: str, reached: Reached, separator: str, end: int) -> Reached:
    further: Reached = {}
    starts = sorted(reached)
    place, passed = text.find(separator, starts[0] + 1, end) if starts else -1, 0
    while place >= 0:
        while passed < len(starts) and starts[passed] < place:
            passed += 1
        taken = reached[starts[0]]
        further[place + len(separator)] = None if passed > 1 or taken is None else (starts[0], place, taken)
        place = text.find(separator, place + 1, end)
    return further
