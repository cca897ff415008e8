"""What a field takes from an item: the value at a path, and what its rule makes of that value. Pure."""

from collections.abc import Callable, Mapping, Sequence

from ...values import is_empty
from . import datetimes, paths, templates
from .conversions import convert, json_value, text_of_scalar
from .paths import JSON, Steps

VALUE = "value"  # the name of the hole that takes what a field takes
DATETIME = "datetime"  # the type that `read` and `write` belong to

Derive = Callable[
    [dict], dict
]  # a value that is not empty → another; raises ValueError with a reason that quotes no value


def parse_path(path: str) -> Steps:
    """The steps to one value: names and JSON. Raises ValueError, what is wrong and what to write."""
    steps = paths.parse(path)
    if not all(isinstance(step, str) or step is JSON for step in steps):
        raise ValueError(
            "leads to several values, or to a part of a text, and a field takes one; write names and :json alone"
        )
    return steps


def parse_form(form: str) -> templates.Parts:
    """The template around what a field takes out of a text. Raises ValueError, what is wrong and what to write."""
    parts = templates.parse(form)
    holes = templates.holes(parts)
    if [hole.name for hole in templates.entries(parts)] != [VALUE]:
        raise ValueError(
            f"{form!r} needs the hole {{value}} once, and else only {{*}}; write it as in 'VISIT#{{value}}'"
        )
    if any(hole.format is not None or hole.default is not None for hole in holes):
        raise ValueError(f"{form!r}: the holes take no format or default; write {{value}} alone")
    if templates.touch(parts):
        raise ValueError(f"{form!r}: two holes with nothing between them cannot be told apart; add the separator")
    if len(parts) == 1:
        raise ValueError(f"{form!r} takes all of the text; remove it, or write `type: string`")
    return parts


def reading(steps: Steps) -> Callable[[dict], dict | None]:
    """The function from an item to the typed value at a path of `parse_path`; None where there is none.

    It raises ValueError, with a reason that quotes no value, where what a `:json` step reads is no JSON text.
    """
    if JSON not in steps:
        if len(steps) == 1:
            (name,) = steps
            return lambda item: item.get(name)
        return lambda item: paths.value_at(item, steps)
    at = steps.index(JSON)
    before, inside = steps[:at], steps[at + 1 :]

    def read(item: dict) -> dict | None:
        value = paths.value_at(item, before)
        text = value and value.get("S")
        if text:
            return json_value(text, inside)
        if value is None or "S" in value or "NULL" in value:
            return None
        raise ValueError(f"type {next(iter(value))} is not JSON text")

    return read


def has_value(steps: Steps) -> Callable[[dict], bool]:
    """The function from an item to whether a value stands at a path; null and empty are none, what cannot be read is one."""
    read = reading(steps)

    def is_valued(item: dict) -> bool:
        try:
            value = read(item)
        except ValueError:
            return True
        return value is not None and not is_empty(value)

    return is_valued


def takes_out(form: str) -> Derive:
    """The function from a text to what the hole of its form takes."""
    find = templates.finder(parse_form(form))

    def take_out(value: dict) -> dict:
        text = text_of_scalar(value) if "S" in value or "N" in value else None
        if text is None:
            raise ValueError(f"type {next(iter(value))} is not text")
        place = find(text)
        if place is None:
            raise ValueError(f"text that does not fit {form}")
        return {"S": text[slice(*place)]}

    return take_out


def derivation(
    form: str | None, wanted: str | None, known: Mapping[str, dict] | None, spelt: tuple[str, str] | None
) -> Derive | None:
    """The function that a rule applies to a value that is not empty; None where the rule copies it.

    `form`: as `takes_out` has it; `wanted`: a type; `known`: text → the typed value that stands for it; `spelt`: how a date
    is read, and how it is written.
    """
    first = takes_out(form) if form is not None else None
    if known is not None:
        then: Derive | None = _named(known)
    elif wanted == DATETIME:
        then = datetimes.conversion(*spelt)
    else:
        then = (lambda value: convert(value, wanted)) if wanted else None
    if first is None or then is None:
        return first or then
    return lambda value: then(first(value))


def _named(known: Mapping[str, dict]) -> Derive:
    def named(value: dict) -> dict:
        text = text_of_scalar(value)
        if text not in known:
            raise ValueError("a value that `values` does not name")
        return known[text]

    return named


def are_derived(values: Sequence[dict], there: Sequence[dict | None], derive: Derive, *, is_number: bool) -> bool:
    """Whether what is there is what the function makes of each value. Of many values, several are often one text.

    `is_number`: it makes numbers, and their text stays.
    """
    texts = [value.get("S") for value in values]
    if is_number and None not in texts and texts == [one and one.get("N") for one in there]:
        return True
    try:
        made = {text: derive({"S": text}) for text in {*texts} - {None}}
        return there == [
            derive(value) if text is None else made[text] for value, text in zip(values, texts, strict=True)
        ]
    except ValueError:
        return False
