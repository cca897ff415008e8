"""Mapping text → checked mapping, or compiled routes, without any table behind it."""

import tempfile
from pathlib import Path

from runbook_lib.mapping.file.load import load_mapping
from runbook_lib.mapping.model import Mapping
from runbook_lib.mapping.routes import Route, Shape, compile_route, parents_of
from runbook_lib.parameters import build_parameters


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
    text: str, keys: dict[str, dict[str, str]] | None = None, exists=None, targets=None, files=None
) -> dict[str, Route]:
    """The routes of a mapping in a YAML text.

    `keys`: entry → key of its source table (default {id: S}); `targets`: entry → key of its target table (default: what
    `create` says, else that of the source); `files`: see `mapping_of`.
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
    parents = parents_of(mapping.entries, shapes, "prod", exists)
    return {name: compile_route(entry, shapes[name], parents) for name, entry in mapping.entries.items()}
