"""Dates and times from one spelling into another, exactly or not at all. Pure.

A spelling is `epoch_seconds`, `epoch_millis`, `iso`, or a format such as ``%d.%m.%Y``. A moment is the exact number of seconds
since 1970 in UTC, a Decimal; moments lie in the years 1 to 9999.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import ROUND_FLOOR, Context, Decimal, DecimalException, Inexact, InvalidOperation
from typing import NamedTuple

from ...values import canonical_number
from . import templates
from .conversions import convert

EPOCHS = {"epoch_seconds": 0, "epoch_millis": 3}  # → digits of the fraction of a second that they hold
ISO = "iso"
SPELT = f"write {', '.join((*EPOCHS, ISO))} or a format such as '%d.%m.%Y'"
_START = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST, _END = -62_135_596_800, 253_402_300_800  # of the years 1 to 9999
_EXACT = Context(prec=60, traps=[Inexact, InvalidOperation])
_TWO, _ONE = "[0-9]{2}", "(?<![0-9])[0-9](?![0-9])"
# Directive → the digits that it reads: of a day or a month also one, where no digit stands beside it
_WIDTHS = {"%Y": "[0-9]{4}", "%m": f"{_TWO}|{_ONE}", "%d": f"{_TWO}|{_ONE}", "%H": _TWO, "%M": _TWO, "%S": _TWO}
_WIDTHS["%j"] = "[0-9]{3}"
_DIRECTIVE, _DIRECTIVE_OR_TEXT = re.compile(r"%.?", re.DOTALL), re.compile(r"%.|[^%]+", re.DOTALL)


class Spelling(NamedTuple):
    """One way to spell a moment."""

    letter: str  # the type of what it writes
    read: Callable[[dict], Decimal]  # a typed value → its moment; raises ValueError with a reason that quotes no value
    write: Callable[[Decimal], dict]  # a moment → a typed value, without what the spelling cannot show


def spelling(word: str) -> Spelling:
    """The spelling that a mapping names. Raises ValueError, what is wrong and what to write."""
    if word in EPOCHS:
        return _epoch(word, EPOCHS[word])
    if word == ISO:
        return Spelling("S", _read_iso, _write_iso)
    if "%" not in word:
        raise ValueError(f"no spelling {word!r}; {SPELT}")
    return _format(word)


def conversion(read: str, write: str) -> Callable[[dict], dict]:
    """The function from a typed value in one spelling to the same moment in another.

    It raises ValueError, with a reason that quotes no value, where the value is none, or where what it writes does not read as
    the same moment.
    """
    source, target = spelling(read), spelling(write)

    def converted(value: dict) -> dict:
        moment = source.read(value)
        made = target.write(moment)
        if target.read(made) != moment:
            raise ValueError(f"{write} cannot show all of it: the time of day, or a part of a second")
        return made

    return converted


def default_as(value: dict, read: str, write: str) -> dict:
    """A default as `write` writes it; it is given so, or as `read` spells it. Raises ValueError for any other."""
    for spelt in (write, read):
        with suppress(ValueError):
            return conversion(spelt, write)(value)
    raise ValueError(f"it is spelt neither as `write: {write}` says nor as `read: {read}`")


def check_read(word: str) -> None:
    """Raises ValueError, what is wrong and what to write, where a spelling cannot be one to read. See `spelling`."""
    spelling(word)
    for directive in _WIDTHS:
        if word not in EPOCHS and word.replace("%%", "").count(directive) > 1:
            raise ValueError(f"{word!r}: {directive} stands there twice; write each directive once")


def _epoch(word: str, digits: int) -> Spelling:
    def read(value: dict) -> Decimal:
        return _moment(Decimal(convert(value, "number")["N"]).scaleb(-digits, _EXACT))

    def write(moment: Decimal) -> dict:
        return {"N": canonical_number(str(int(moment.scaleb(digits, _EXACT).to_integral_value(ROUND_FLOOR))))}

    return Spelling("N", read, write)


def _moment(seconds: Decimal) -> Decimal:
    if not _FIRST <= seconds < _END:
        raise ValueError("a moment outside of the years 1 to 9999")
    return seconds


def _read_iso(value: dict) -> Decimal:
    found = templates.read_iso(_text(value))
    if found is None:
        raise ValueError("not an ISO 8601 date")
    moment, fraction = found
    return _since_start(moment, fraction)


def _write_iso(moment: Decimal) -> dict:
    whole, fraction = _parts(moment)
    millis = int(_EXACT.multiply(fraction, 1000))
    return {"S": templates.write_date(whole, "%Y-%m-%dT%H:%M:%S") + (f".{millis:03}" if millis else "") + "Z"}


def _format(form: str) -> Spelling:
    shown = {*_DIRECTIVE.findall(form)}
    if "%y" in shown:
        raise ValueError(f"{form!r}: %y does not say the century; write %Y")
    if unknown := sorted(shown - {*_WIDTHS, "%%"}):
        known = " ".join((*_WIDTHS, "%%"))
        raise ValueError(f"{form!r}: unknown directive {unknown[0]}; known directives are {known}")
    if not shown >= {"%Y", "%m", "%d"} and not shown >= {"%Y", "%j"}:
        raise ValueError(f"{form!r} does not say the day; it needs %Y, and %m with %d, or %j")
    directives: list[str] = []
    pattern = ""
    for part in _DIRECTIVE_OR_TEXT.findall(form):
        if part in _WIDTHS:
            pattern += f"({_WIDTHS[part]})"
            directives.append(part)
        else:
            pattern += re.escape("%" if part == "%%" else part)
    fits = re.compile(pattern).fullmatch

    def read(value: dict) -> Decimal:
        found = fits(_text(value))
        if found is None:
            raise ValueError(f"text that is not spelt {form}")
        numbers = [int(digits) for digits in found.groups()]
        said = dict(zip(directives, numbers, strict=True))
        time = [said.get(directive, 0) for directive in ("%H", "%M", "%S")]
        try:
            if "%m" in said and "%d" in said:
                moment = datetime(said["%Y"], said["%m"], said["%d"], *time, tzinfo=UTC)
            else:
                moment = datetime(said["%Y"], 1, 1, *time, tzinfo=UTC) + timedelta(days=said["%j"] - 1)
        except (ValueError, OverflowError):
            raise ValueError("no such date") from None
        # A directive may stand twice, and the day of the year beside the date.
        if [int(templates.write_date(moment, directive)) for directive in directives] != numbers:
            raise ValueError("no such date")
        return _since_start(moment, "")

    def write(moment: Decimal) -> dict:
        return {"S": templates.write_date(_parts(moment)[0], form)}

    return Spelling("S", read, write)


def _text(value: dict) -> str:
    text = value.get("S")
    if text is None:
        raise ValueError(f"type {next(iter(value))} is not text")
    return text


def _since_start(moment: datetime, fraction: str) -> Decimal:
    """`fraction`: the digits of a part of a second."""
    since = moment - _START
    try:
        return _EXACT.add(Decimal(since.days * 86_400 + since.seconds), Decimal(f"0.{fraction or 0}"))
    except DecimalException:
        raise ValueError("a fraction of a second of more digits than a number has") from None


def _parts(moment: Decimal) -> tuple[datetime, Decimal]:
    """The whole second, and the fraction."""
    whole = moment.to_integral_value(ROUND_FLOOR)
    return _START + timedelta(seconds=int(whole)), _EXACT.subtract(moment, whole)
