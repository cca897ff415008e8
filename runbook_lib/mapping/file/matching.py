"""What a mapping can be refused for because of `match`: attributes that no item has, ids that cannot be read, circles. Pure."""

from collections.abc import Iterator, Mapping

from ...errors import Mistake
from ..matching.ids import holder_of_id
from ..matching.order import match_levels, needed
from ..model import Entry

Mistakes = Iterator[Mistake]


def check_matches(entries: Mapping[str, Entry]) -> Mistakes:
    """Whether target items have what `by` names, `reuse` finds their ids, and there is an order in which to match entries."""
    needs = {name: needed(entry, entries) for name, entry in entries.items()}
    level = match_levels(needs)
    for name, entry in entries.items():
        for mistake in _of_match(entry):
            yield mistake.within("tables", name, "match")
        circle = sorted(other for other in needs[name] if level[other] == level[name])
        if name in circle:
            says = "holds an id of the entry itself, which the match decides"
        elif circle:
            says = f"holds an id of {circle[0]}, whose own `by` holds one of this entry"
        else:
            continue
        yield Mistake(("tables", name, "match", "by"), f"{says}; name attributes that hold none")


def _of_match(entry: Entry) -> Mistakes:
    model = entry.model
    if model.match is None:
        return
    if len({*model.match.by}) < len(model.match.by):
        yield Mistake(("by",), "names an attribute twice; name each once")
    for path, steps in zip(model.match.by, entry.match_paths, strict=True):
        if not _may_have(entry, steps[0]):
            yield Mistake(("by",), f"no target item of this entry has {path}; name an attribute that it writes")
    if model.reuses and model.id is None:
        yield Mistake(
            (), "reuse takes over the id of the target's item, and the entry has no ids; write `found: insert`"
        )
    elif model.reuses and holder_of_id(entry) is None:
        says = f"reuse takes over the id of the target's item, and no field copies {model.id}"
        yield Mistake((), f"{says}; add one, or write `found: insert`")


def _may_have(entry: Entry, attribute: str) -> bool:
    """Whether a target item can have an attribute. What a transform makes is not known."""
    model = entry.model
    if model.transform is not None:
        return True
    if model.fields is None:
        return attribute not in entry.dropped
    return attribute in model.fields or model.rest in ("copy", attribute)
