"""Where an item of the target holds the id of its entry, and what it means that a source item takes it over. Pure."""

from collections.abc import Callable, Collection
from typing import NamedTuple

from ...values import canonical_number, is_empty, key_bytes
from ..fields import used_up
from ..model import Entry
from ..text import templates
from ..text.paths import value_at


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


def compile_target_id(entry: Entry) -> Callable[[dict, dict], dict | None]:
    """A function from a target item and an old id to the id that the item has, as the old one's type; None where it has none.

    A text that a template made may hold a number. An id of another type than the old one is none: references could not hold
    it.
    """
    holder = holder_of_id(entry)
    if holder is None:
        return lambda item, old: None
    steps, read = holder.steps, templates.reader(holder.parts) if holder.parts else None
    find = templates.finder(entry.id_parts) if entry.id_parts else None

    def target_id(item: dict, old: dict) -> dict | None:
        value = value_at(item, steps)
        if read is not None:
            value = _of_text(read(value["S"]), old) if value and "S" in value else None
        if find is not None and value is not None:
            place = find(text) if (text := value.get("S")) else None
            value = {"S": text[place[0] : place[1]]} if place else None
        if value is None or value.keys() != old.keys() or is_empty(value):
            return None
        try:
            key_bytes(value)
        except ValueError:
            return None
        return value

    return target_id


def _of_text(pieces: list[str] | None, old: dict) -> dict | None:
    if pieces is None:
        return None
    if "N" not in old:
        return {"S": pieces[0]}
    try:
        return {"N": canonical_number(pieces[0])}
    except ValueError:
        return None


def may_share_ids(entry: Entry, key: Collection[str], reusing: Collection[str]) -> bool:
    """Whether ids that the target has may make one target key of two source keys. `key`: the attributes of the source's.

    `reusing`: the entries that take ids over. An item whose key is its id alone is not written where it takes one over.
    """
    if entry.name in reusing and entry.model.id in key and (len(key) > 1 or entry.id_parts):
        return True
    for path, steps in entry.paths.items():
        named = entry.named(path)  # none where the item names the entry, or a record stands there
        if steps[0] in key and (not named or not named.isdisjoint(reusing)):
            return True
    return False
