"""Damages planted in the target of a migration that has just ended well, and all that 04 must say of each.

`tests/cases/damages/DOMAIN.yaml` lists them; the first lines of library.yaml say how to read them.
"""

import functools
import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import support_mistakes as corpus
import support_worlds as worlds
import yaml
from support_flows import Flow

from runbook_lib.mapping.file.load import load_mapping
from runbook_lib.verdict import FAIL, PASS, REVIEW

HERE = Path(__file__).parent / "cases/damages"
LISTINGS = {"residual": "residual-ids", "environment": "residual-environment"}
_SOURCE_ID = re.compile(r"<(\w+) (\d+)>")


class Planted(NamedTuple):
    """A damage, and the key of the target item that has it."""

    damage: dict[str, Any]
    key: str


@functools.cache
def damages(name: str) -> list[dict[str, Any]]:
    """The damages of a domain."""
    return yaml.safe_load((HERE / f"{name}.yaml").read_text(encoding="utf-8"))


@dataclass
class Target:
    """What a flow has migrated. Items go by the entry and the number of their source item."""

    domain: corpus.Domain
    flow: Flow
    before: list[tuple[str, dict, dict | None]] = field(default_factory=list)  # table, key, item: newest last

    def plant(self, damage: dict[str, Any]) -> Planted:
        """Writes to the target what a damage says."""
        entry, *number = damage["at"]
        there = self._item(entry, *number) if number else None
        if "put" in damage or "copy" in damage:
            before, after = None, self._new(damage, there)
        else:
            before, after = there, None if "delete" in damage else self._changed(damage, there)
        key = {name: (after or before)[name] for name in self._entry(entry).model.create.key}
        self.before.append((self._entry(entry).target, key, before))
        self._write(self._entry(entry).target, key, after)
        return Planted(damage, worlds.as_text(key))

    def undo(self) -> None:
        """Everything as it was."""
        while self.before:
            self._write(*self.before.pop())

    def _write(self, table: str, key: dict, item: dict | None) -> None:
        if item is None:
            self.domain.world.delete(table, key)
        else:
            self.domain.world.put(table, item)

    def _new(self, damage: dict[str, Any], there: dict | None) -> dict:
        """An item that the mapping does not make: as given, as the source has it, or as another with some attributes changed."""
        if "copy" in damage:
            return {**there, **self._filled(damage["copy"])}
        new = damage["put"]
        return self.domain.items(new[0])[new[1]] if isinstance(new, list) else self._filled(new)

    def _changed(self, damage: dict[str, Any], there: dict) -> dict:
        changed = there | self._filled(damage.get("set", {}))
        for name in damage.get("respell", ()):
            changed[name] = respelt(there[name])
            assert changed[name] != there[name]
        return {name: value for name, value in changed.items() if value is not None}

    def _filled(self, content: Any) -> Any:
        """Content with every `<Entry number>` replaced by the id that this source item has."""
        return json.loads(_SOURCE_ID.sub(lambda found: self._old(found[1], int(found[2]))[1], json.dumps(content)))

    def _old(self, entry: str, number: int) -> tuple[str, str]:
        ((letter, old),) = self.domain.items(entry)[number]["id"].items()
        return letter, old

    def _item(self, entry: str, number: int) -> dict[str, Any]:
        """The target item of a source item, as it stands there."""
        letter, new = self._old(entry, number)
        if (id_format := self._entry(entry).model.id_format) != "keep":
            new = worlds.new_id(self.flow.parameters.target.environment, entry, id_format, letter, new)
        pages = self.domain.world.engine.pages(
            "Scan", "LastEvaluatedKey", "ExclusiveStartKey", TableName=self._entry(entry).target, ConsistentRead=True
        )
        (found,) = [item for page in pages for item in page["Items"] if item.get("id") == {letter: new}]
        return found

    def _entry(self, name: str):
        return load_mapping(self.flow.parameters).entries[name]


def respelt(value: dict[str, Any]) -> dict[str, Any]:
    """The same value, written in another way: numbers with zeros around them, sets in another order."""
    ((letter, content),) = value.items()
    if letter == "N" and content.isdigit():
        return {"N": f"0{content}.00"}
    if letter in ("SS", "NS", "BS"):
        return {letter: content[::-1]}
    if letter == "M":
        return {"M": {name: respelt(member) for name, member in content.items()}}
    return value


def expected(planted: Iterable[Planted]) -> dict[str, Any]:
    """All that 04 must find: as `corpus.found_by_validation` gives it, with a line for each item."""
    found: dict[str, Any] = {"groups": Counter(), "residual": Counter(), "environment": Counter(), "verdict": PASS}
    found |= {"coincidences": Counter(), "dangling": Counter(), "lines": []}
    for damage, key in planted:
        entry = damage["at"][0]
        rows = [("", "missing", "", "", "")] if "delete" in damage else []
        rows += [("", "extra", "", "", "")] if "put" in damage or "copy" in damage else []
        rows += [(name, "different", was, now, rule) for name, was, now, rule in damage.get("different", ())]
        for name, kind, *more in rows:
            found["groups"][entry, name, kind, *more] += 1
            found["lines"].append((entry, key, name, kind))
            level = REVIEW if kind == "extra" else FAIL
            found["verdict"] = max(found["verdict"], level, key=(PASS, REVIEW, FAIL).index)
        for name in ("residual", "environment", "coincidences"):
            found[name].update((entry, path) for path in damage.get(name, ()))
            found["lines"] += [(entry, key, path, name) for path in damage.get(name, ()) if name in LISTINGS]
        for table, paths in damage.get("dangling", {}).items():
            found["dangling"].update({(table, path, entry): number for path, number in paths.items()})
    return _filled(found)


def found_by_validation(content: dict[str, Any], flow: Flow) -> dict[str, Any]:
    """What 04 finds, in the form of `expected`, from its report and its listings, which must agree."""
    about = corpus.found_by_validation(content, flow)
    groups = {tuple(one[:3]) + tuple(one[3:6]): one[6] for one in about.pop("groups", ())}
    kinds = Counter({kind: sum(n for group, n in groups.items() if group[2] == kind) for kind in ("missing", "extra")})
    lines = [
        (corpus.plain(one["table"]), worlds.as_text(one["key"]), one["attribute"], one["reason"].partition(":")[0])
        for one in flow.listing("differences")
    ]
    different = {line[:2] for line in lines if line[3] == "different"}
    assert {name: about.pop(name, 0) for name in ("missing", "extra", "different")} == {
        **kinds,
        "different": len(different),
    }
    for name, listing in LISTINGS.items():
        lines += [(one["table"], worlds.as_text(one["key"]), one["path"], name) for one in flow.listing(listing)]
    for name in ("residual", "environment", "coincidences"):
        about[name] = {(table, path): n for table, paths in about.get(name, {}).items() for path, n in paths.items()}
    about["dangling"] = dict(Counter((o["table"], o["path"], o["to"]) for o in flow.listing("dangling")))
    return _filled({**about, "groups": groups, "lines": lines})


def _filled(found: dict[str, Any]) -> dict[str, Any]:
    return {key: sorted(value) if isinstance(value, list) else value for key, value in found.items() if value}
