"""Where an item of the target holds the id of its entry. Pure."""

from typing import NamedTuple

from ..fields import used_up
from ..model import Entry
from ..text import templates


class Holder(NamedTuple):
    """What of a target item holds what its source item has in the id attribute."""

    steps: tuple[str, ...]  # the path to it
    parts: templates.Parts = ()  # the template that makes the text there, with one hole; () where the value is copied


def holder_of_id(entry: Entry) -> Holder | None:
    """What of the entry's target items holds the id; None where nothing surely does."""
    model = entry.model
    if model.id is None or model.id in entry.dropped:
        return None
    if model.fields is None:
        return Holder((model.id,))
    for name, rule in model.fields.items():
        if rule.uses_up == model.id and not rule.derives:
            return Holder((name,))
    for name, rule in model.fields.items():
        if [(hole.steps, hole.format, hole.default) for hole in rule.holes] == [((model.id,), None, None)]:
            # A field of that name goes before the attribute, and it copies something else.
            return None if model.id in model.fields else Holder((name,), templates.parse(rule.template))
    if model.rest is None or model.id in used_up(entry):
        return None
    return Holder((model.id,) if model.rest == "copy" else (model.rest, model.id))
