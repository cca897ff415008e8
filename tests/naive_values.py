"""Values for `naive`: one form, constants, conversions, dates, JSON with the places of its parts."""

import base64
import json
import re
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

from support_worlds import plain

NULL = {"NULL": True}
GONE = object()  # nothing: the value is left out
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Unfit(Exception):
    """A value of which nothing can be made."""


def blank(value: dict | None) -> bool:
    """Whether a value is absent, null or empty."""
    return value is None or value == NULL or next(iter(value.values())) in ("", [], {})


def constant(value: Any) -> dict:
    """What a mapping says, typed as it is written."""
    if value is None:
        return NULL
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, list):
        return {"L": [constant(member) for member in value]}
    if isinstance(value, dict):
        return {"M": {name: constant(member) for name, member in value.items()}}
    return {"N": str(value)}


def text_of(value: dict) -> str | None:
    """Text, a number as a plain decimal, a boolean as true or false; None for every other type."""
    ((letter, content),) = plain(value).items()
    return content if letter in ("S", "N") else str(content).lower() if letter == "BOOL" else None


def is_plain_number(text: str) -> bool:
    """A plain decimal of at most 38 digits."""
    return bool(re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", text)) and sum(c.isdigit() for c in text) <= 38


def plain_number(text: str) -> str | None:
    """The one spelling of a number as an id; None where a text is no plain decimal."""
    return plain({"N": text})["N"] if is_plain_number(text) else None


def is_base64(text: str) -> bool:
    """Whether a text is what binary looks like."""
    try:
        return base64.b64encode(base64.b64decode(text)).decode() == text != ""
    except ValueError:
        return False


def converted(rule: dict, value: dict | None, fit: Any) -> dict | None:
    """What a field with `from` makes of a value; None where it stays absent."""
    default = None
    if "default" in rule:
        default = constant(rule["default"])
        if rule.get("type", "datetime") != "datetime" and default != NULL:
            default = _typed(rule, default)
    if blank(value):
        return value if default is None else default
    try:
        if "as" in rule:
            text = text_of(value) if set(value) & {"S", "N"} else None
            holes = fit(rule["as"], text) if text else None
            if holes is None:
                raise Unfit
            value = {"S": text[holes[0][1] : holes[0][2]]}
        if "values" in rule:
            known = {text_of(constant(key)): constant(to) for key, to in rule["values"].items()}
            if text_of(value) not in known:
                raise Unfit
            return known[text_of(value)]
        return _typed(rule, value) if "type" in rule else value
    except Unfit:
        if rule.get("on_error") == "default" and default is not None:
            return default
        raise


def _typed(rule: dict, value: dict) -> dict:
    wanted = rule["type"]
    ((letter, content),) = value.items()
    if wanted == "string" and text_of(value) is not None:
        return {"S": text_of(value)}
    if wanted == "number" and (letter == "N" or (letter == "S" and is_plain_number(content))):
        return {"N": content}
    if wanted == "boolean" and letter == "BOOL":
        return value
    if wanted == "boolean" and letter == "S" and content.lower() in ("true", "false"):
        return {"BOOL": content.lower() == "true"}
    if wanted in ("list", "map"):
        want = {"list": "L", "map": "M"}[wanted]
        if letter == want:
            return value
        if letter == "S":
            if wanted == "list" and content.lstrip()[:1] not in ("[", "{"):
                return {"L": [{"S": piece.strip()} for piece in content.split(",") if piece.strip()]}
            try:
                tree = json_tree(content, twice=False).value
            except ValueError:
                raise Unfit from None
            found = exported(tree)
            if want in found:
                return found
    if wanted == "datetime":
        return written(rule["write"], moment(rule["read"], value))
    raise Unfit


def exported(value: dict) -> dict:
    """JSON as it is, or as the typed value that it spells where it is exported DynamoDB JSON."""
    if _is_exported(value):
        return _typed_value(value)
    members = value.get("M")
    if members and all(map(_is_exported, members.values())):
        return {"M": {name: _typed_value(member) for name, member in members.items()}}
    elements = value.get("L")
    if elements and all(map(_is_exported, elements)):
        return {"L": [_typed_value(member) for member in elements]}
    return value


def _is_exported(value: dict) -> bool:
    if "M" not in value or len(value["M"]) != 1:
        return False
    ((letter, content),) = value["M"].items()
    if letter == "L":
        return "L" in content and all(map(_is_exported, content["L"]))
    if letter == "M":
        return "M" in content and all(map(_is_exported, content["M"].values()))
    if letter == "N":
        return "S" in content and is_plain_number(content["S"])
    return (letter == "S" and "S" in content) or (letter in ("BOOL", "NULL") and "BOOL" in content)


def _typed_value(value: dict) -> dict:
    ((letter, content),) = value["M"].items()
    if letter == "L":
        return {"L": [_typed_value(member) for member in content["L"]]}
    if letter == "M":
        return {"M": {name: _typed_value(member) for name, member in content["M"].items()}}
    return {letter: next(iter(content.values()))}


# Dates: a moment is an exact number of seconds since 1970


def moment_of_iso(text: str) -> datetime | None:
    """A date of ISO 8601 in UTC."""
    try:
        if not re.fullmatch(r"[-0-9W]{7,10}([T ].*)?", text):
            return None
        found = datetime.fromisoformat(text)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def moment(read: str, value: dict) -> Fraction:
    """The moment that a value spells."""
    ((letter, content),) = value.items()
    if read in ("epoch_seconds", "epoch_millis"):
        if letter != "N" and not (letter == "S" and is_plain_number(content)):
            raise Unfit
        return Fraction(content) / (1000 if read == "epoch_millis" else 1)
    if letter != "S":
        raise Unfit
    if read == "iso":
        more = re.search(r"[.,]\d{6}(\d*)", content)
        found = moment_of_iso(content)
        if found is None or (more and more[1].strip("0")):
            raise Unfit
    else:
        one_or_two = r"[0-9]{2}|(?<![0-9])[0-9](?![0-9])"
        forms = {"Y": "[0-9]{4}", "m": one_or_two, "d": one_or_two, "j": "[0-9]{3}"}
        pattern, names = "", []
        for piece in re.findall(r"%.|[^%]", read):
            if piece[0] != "%" or piece == "%%":
                pattern += re.escape(piece[-1])
            else:
                names.append(piece[1])
                pattern += f"({forms.get(piece[1], '[0-9]{2}')})"
        match = re.fullmatch(pattern, content)
        if not match:
            raise Unfit
        said = {}
        for name, digits in zip(names, match.groups(), strict=True):
            if said.setdefault(name, int(digits)) != int(digits):
                raise Unfit
        try:
            found = datetime(
                said["Y"], said.get("m", 1), said.get("d", 1), *(said.get(n, 0) for n in "HMS"), tzinfo=UTC
            )
            if "j" in said:
                found += timedelta(days=said["j"] - 1)
                if said["j"] < 1 or found.year != said["Y"]:
                    raise Unfit
        except ValueError:
            raise Unfit from None
    since = found - _EPOCH
    return since.days * 86400 + since.seconds + Fraction(since.microseconds, 10**6)


def written(write: str, at: Fraction) -> dict:
    """A moment as `write` spells it, exactly."""
    micros = at * 10**6
    try:
        when = _EPOCH + timedelta(microseconds=int(micros // 1))
    except OverflowError:
        raise Unfit from None
    if write in ("epoch_seconds", "epoch_millis"):
        number = at * (1000 if write == "epoch_millis" else 1)
        if number.denominator != 1:
            raise Unfit
        return {"N": str(int(number))}
    if micros.denominator != 1:
        raise Unfit
    head = f"{when.year:04}" + when.strftime("-%m-%dT%H:%M:%S")
    if write == "iso":
        if when.microsecond % 1000:
            raise Unfit
        return {"S": head + (f".{when.microsecond // 1000:03}" if when.microsecond else "") + "Z"}
    text = when.strftime(write.replace("%Y", f"{when.year:04}"))
    if moment(write, {"S": text}) != at:
        raise Unfit
    return {"S": text}


# JSON with places


class Node:
    """A JSON value: where it stands, its typed value, its members (name or None, node)."""

    def __init__(self, whole: str, begin: int, end: int, value: dict, members: list):
        self.whole, self.begin, self.end, self.value, self.members = whole, begin, end, value, members
        self.text = whole[begin:end]

    def with_members(self, pieces: list) -> str:
        """Its text with other texts for the names and values of its members."""
        text, at = "", self.begin
        for name, head, member, new in pieces:
            if name is not None:
                text, at = text + self.whole[at : name.begin] + head, name.end
            text, at = text + self.whole[at : member.begin] + new, member.end
        return text + self.whole[at : self.end]


def json_tree(text: str, *, twice: bool = True) -> Node:
    """A JSON text as nodes; ValueError where it is none. `twice`: a name may stand twice in an object."""

    def no_constant(word):
        raise ValueError(word)

    def pairs(members):
        if not twice and len(dict(members)) < len(members):
            raise ValueError("the same name twice")
        return dict(members)

    json.loads(text, parse_constant=no_constant, object_pairs_hook=pairs)
    return _node(text, _space(text, 0))


def _space(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\n\r":
        at += 1
    return at


def _node(text: str, at: int) -> Node:
    """The value that begins here; the text is known to be JSON."""
    if text[at] == '"':
        end = at + 1
        while text[end] != '"':
            end += 2 if text[end] == "\\" else 1
        return Node(text, at, end + 1, {"S": json.loads(text[at : end + 1])}, [])
    if text[at] not in "[{":
        word = re.match(r"[-+.0-9a-zA-Z]+", text[at:])[0]
        known = {"null": NULL, "true": {"BOOL": True}, "false": {"BOOL": False}}
        return Node(text, at, at + len(word), known.get(word) or {"N": word}, [])
    begin, members = at, []
    closing = "]" if text[at] == "[" else "}"
    at = _space(text, at + 1)
    while text[at] != closing:
        name = None
        if closing == "}":
            name = _node(text, at)
            at = _space(text, _space(text, name.end) + 1)
        member = _node(text, at)
        members.append((name, member))
        at = _space(text, member.end)
        if text[at] == ",":
            at = _space(text, at + 1)
    if closing == "]":
        value = {"L": [member.value for _, member in members]}
    else:
        value = {"M": {name.value["S"]: member.value for name, member in members}}
    return Node(text, begin, at + 1, value, members)


def show(value: dict, like: str) -> str:
    """A typed value as JSON, with escapes where the text around it has only ASCII."""
    ((letter, content),) = value.items()
    if letter == "N":
        return content
    return "null" if value == NULL else json.dumps(content, ensure_ascii=like.isascii())
