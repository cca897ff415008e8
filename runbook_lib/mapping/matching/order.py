"""In which order entries are matched: those first whose matches decide the values that others are matched by. Pure."""

from collections.abc import Mapping

from .. import levels as graph
from ..fields import feeding
from ..model import Entry
from ..text.paths import overlap

match_levels = graph.levels  # of what `needed` says: entries of one level that need each other are a circle


def needed(entry: Entry, entries: Mapping[str, Entry]) -> set[str]:
    """The entries whose matches decide what the entry's values of `by` are, perhaps itself. `entries`: all."""
    model, found = entry.model, set()
    for path in entry.match_paths:
        origins = _origins(entry, path)
        if any(overlap(origin, (model.id,)) for origin in origins):
            found.add(entry.name)
        for written, steps in entry.paths.items():
            if any(overlap(origin, steps) for origin in origins):
                rule = model.references[written]
                # What an attribute names may be any entry.
                found |= {*entries} if rule.named_by else _of_record(rule.record_of, entries) | entry.named(written)
    return {name for name in found if name in entries and entries[name].model.reuses}


def _of_record(name: str | None, entries: Mapping[str, Entry]) -> set[str]:
    """The entries of which a whole record of an entry may hold ids."""
    found, left = set(), {name} - {None}
    while left:
        found |= left
        records = [entries[name] for name in left if name in entries]
        if any(rule.named_by for entry in records for rule in entry.model.references.values()):
            return {*entries}
        left = {parent for entry in records for parent in entry.parents()} - found
    return found


def _origins(entry: Entry, path: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The paths of the source from which the value at a path of the target is made."""
    model, root = entry.model, path[0]
    if model.fields is None:
        return [path]
    if root in model.fields:
        return [(name,) for name in feeding(model.fields, {root})[1]]
    return [path, path[1:]] if root == model.rest and len(path) > 1 else [path]
