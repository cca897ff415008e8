"""Mapping text → checked mapping, or compiled routes, without any table behind it."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from runbook_lib.discover.profile import merge_into, profile_items
from runbook_lib.mapping.file.load import load_mapping
from runbook_lib.mapping.model import Mapping
from runbook_lib.mapping.routes import Route, Shape, compile_route, parents_of
from runbook_lib.parameters import build_parameters
from runbook_lib.stages.analyze.analysis import EntryAnalysis
from runbook_lib.walk.walk import Page, route_items


def mapping_of(text: str, files: dict[str, str] | None = None, **target) -> Mapping:
    """The mapping in a YAML text, for source environment dev and target environment prod. `files`: those beside it."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in (files or {}).items():
            Path(folder, name).write_text(content, encoding="utf-8")
        path = Path(folder, "mapping.yaml")
        path.write_text(text, encoding="utf-8")
        sides = {"source": {"environment": "dev"}, "target": {"environment": "prod", **target}}
        return load_mapping(build_parameters({"mapping": str(path), **sides}))


def routes_of(
    text: str, keys: dict[str, dict[str, str]] | None = None, exists=None, targets=None, files=None, matched=None
) -> dict[str, Route]:
    """The routes of a mapping in a YAML text.

    `keys`: entry → key of its source table (default {id: S}); `targets`: entry → key of its target table (default: what
    `create` says, else that of the source); `files`: see `mapping_of`; `matched`: see `Parents`.
    """
    mapping = mapping_of(text, files)
    shapes = {}
    for name, entry in mapping.entries.items():
        source, create = (keys or {}).get(name, {"id": "S"}), entry.model.described
        target = (targets or {}).get(name) or (create.key if create else source)
        indexes = {
            attribute: letter
            for index in (create.all_indexes if create else {}).values()
            for attribute, letter in index.key.items()
        }
        sorts = frozenset(n for index in (create.all_indexes if create else {}).values() for n in list(index.key)[1:])
        shapes[name] = Shape(tuple(source.items()), tuple(target.items()), indexes, sorts)
    parents = parents_of(mapping.entries, shapes, "prod", exists, matched)
    return {name: compile_route(entry, shapes[name], parents) for name, entry in mapping.entries.items()}


def watched(
    watcher: Callable[[Any], Any],
    text: str,
    items: dict[str, list[dict]],
    keys: dict[str, dict[str, str]] | None = None,
    page: int = 100,
) -> tuple[Any, dict[str, EntryAnalysis]]:
    """What watches the names or the doubts of an analysis, once it has seen all items, and the entries' results.

    `items`: source table → its items, which come in pages of `page`.
    """
    routes = routes_of(text, keys)
    by_source: dict = {}
    for route in routes.values():
        by_source.setdefault(route.entry.source, []).append(route)
    entries = {name: route.entry for name, route in routes.items()}
    plan = SimpleNamespace(routes=routes, mapping=SimpleNamespace(entries=entries), by_source=lambda: by_source)
    watching, tables = watcher(plan), {name: EntryAnalysis() for name in routes}
    for source, here in by_source.items():
        found = items.get(source, [])
        for at in range(0, len(found) or 1, page):
            routed = route_items(Page(source, 0, at, None, None, found[at : at + page]), here, [], {})
            profiles, rows = {}, {}
            for route in here:
                name = route.entry.name
                profiles[name] = profile_items([item for item in routed.page.items if route.selects(item)])
                merge_into(tables[name].profile, profiles[name])
                tables[name].records += routed.scanned[name]
                if mine := [row for row in routed.rows if row.entry == name]:
                    rows[name] = mine
                    tables[name].routed += len(mine)
            watching.look(routed, profiles, rows)
    return watching, tables
