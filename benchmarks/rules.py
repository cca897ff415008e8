"""What each rule of the mapping language costs: an item of 1 kB through a mapping with it, and through one without."""

import json
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import orjson

from .measure import Measured
from .report import Report
from .shapes import SOURCE, TARGET, Case, item_id

PART, ITEMS = "rules", 700  # a page
SECOND = 1_900_000_000  # as of when items expire
TRANSFORM = "def tidy(item):\n    item['text'] = 'tidied'\n    return item\n"
FIELDS = {"fields": {"name": {"from": "name"}}, "rest": "copy"}


@dataclass(frozen=True)
class Rule:
    """A rule, and an item that it has something to do with."""

    name: str
    entry: dict  # the entry with the rule
    values: dict = field(default_factory=dict)  # what the item holds beside its id and the attributes of all
    without: dict = field(default_factory=dict)  # the same entry without it
    selects: bool = False  # it decides which items are taken, and changes none


def _field(**rule) -> dict:
    return {**FIELDS, "fields": {**FIELDS["fields"], "new": rule}}


def rules(parent: str) -> list[Rule]:
    """The rules; `parent` is an id that items refer to."""
    text, three = {"S": f"DAY#2025-03-01#{parent}"}, [{"S": parent}, {"S": f"{parent}-1"}, {"S": f"{parent}-2"}]
    members = {one["S"]: {"N": "1"} for one in three}
    as_json = json.dumps({"owner": {"id": parent}, "n": 1})
    one = {"to": "Items", "dangling": "remove"}
    return [
        Rule("id inside text", {"id": {"in": "sk", "as": "DAY#{*}#{id}"}}, {"sk": text}),
        Rule("reference", {"references": {"ref": "Items"}}, {"ref": {"S": parent}}),
        Rule("reference inside text", {"references": {"ref": "DAY#{*}#{Items}"}}, {"ref": text}),
        Rule("three in a list", {"references": {"ref[]": "Items"}}, {"ref": {"L": three}}),
        Rule("three values of a map", {"references": {"ref{}": "Items"}}, {"ref": {"M": dict(zip("abc", three, strict=True))}}),
        Rule("three keys of a map", {"references": {"ref{keys}": "Items"}}, {"ref": {"M": members}}),
        Rule("three in a split text", {"references": {"ref:split(,)[]": "Items"}}, {"ref": {"S": ",".join(members)}}),
        Rule("in JSON text", {"references": {"ref:json.owner.id": "Items"}}, {"ref": {"S": as_json}}),
        Rule("one of two entries", {"references": {"ref": {"to": ["Others", "Items"]}}}, {"ref": {"S": parent}}),
        Rule("dangling: remove", {"references": {"ref": one}}, {"ref": {"S": parent}}),
        Rule("a condition", {"where": {"sk": {"begins_with": "DAY#"}}}, {"sk": text}, selects=True),
        Rule("two nested conditions", {"where": {"m.n": {"ge": 5, "lt": 9}, "m.s": {"not": "x"}}},
             {"m": {"M": {"n": {"N": "7"}, "s": {"S": "y"}}}}, selects=True),
        Rule("expired: skip", {"expired": "skip"}, {"ttl": {"N": str(SECOND + 9)}}, selects=True),
        Rule("id_format around", {"id_format": "CUS-{uuid}"}),
        Rule("a constant", _field(value=2), without=FIELDS),
        Rule("a nested from", _field(**{"from": "m.n"}), {"m": {"M": {"n": {"N": "7"}}}}, FIELDS),
        Rule("a part of a text", _field(**{"from": "sk", "as": "DAY#{value}#{*}"}), {"sk": text}, FIELDS),
        Rule("values", _field(**{"from": "paid", "values": {"yes": True}}), {"paid": {"S": "yes"}}, FIELDS),
        Rule("a datetime", _field(**{"from": "at", "type": "datetime", "read": "epoch_seconds", "write": "iso"}),
             {"at": {"N": "1740823200"}}, FIELDS),
        Rule("transform", {"transform": "transform.py:tidy"}),
    ]  # fmt: skip


def measure(report: Report, repeat: int, names: list[str]) -> None:
    """Each rule of these names (default: all): the least time of its route and ledger, less the same without it."""
    print(f"\n{PART}: µs for an item of 1 kB, more than without the rule")
    for rule in rules(item_id(1, "00000000")):
        if names and rule.name not in names:
            continue
        most, least = Side(rule, rule.entry), Side(rule, rule.without)
        for _ in range(repeat):
            for side in (most, least):
                side.run()
        cpu = most.best - least.best
        report.add(PART, rule.name, Measured(rule.name, PART, ITEMS, cpu, most.best, 0), {})
        print(f"  {rule.name:<26}{cpu / ITEMS * 1e6:>8.2f}")


class Side:
    """A page of items through one mapping."""

    best = float("inf")  # seconds, the least so far

    def __init__(self, rule: Rule, entry: dict):
        from runbook_lib.mapping.file.load import load_mapping
        from runbook_lib.mapping.routes import Shape, compile_route, parents_of
        from runbook_lib.parameters import build_parameters
        from runbook_lib.walk.ledger import Ledgers

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "mapping.yaml")
            Path(folder, "transform.py").write_text(TRANSFORM, encoding="utf-8")
            defaults = {"source": f"{{table}}-{SOURCE}", "target": f"{{table}}-{TARGET}"}
            path.write_text(
                json.dumps({"defaults": defaults, "tables": {"Items": entry, "Others": {}}}), encoding="utf-8"
            )
            sides = {"source": {"environment": SOURCE}, "target": {"environment": TARGET}}
            mapping = load_mapping(build_parameters({"mapping": str(path), **sides}))
        key = (("id", "S"),)
        parents = parents_of(mapping.entries, dict.fromkeys(mapping.entries, Shape(key, key, {})), TARGET, _exists)
        items = mapping.entries["Items"]
        if entry.get("expired"):
            items = replace(items, expires=("ttl", SECOND))
        self._route = compile_route(items, Shape(key, key, {}), parents)
        self._ledgers = Ledgers([self._route])
        raw = Case("copy", "1kB", 0, ITEMS).items_of(0)
        self._page = orjson.dumps([{**item, **rule.values} for item in raw])

    def run(self) -> None:
        """Routes the page, and notes the time where it is the least so far."""
        items = orjson.loads(self._page)
        began = time.thread_time()
        rows = self._routed(items)
        self._ledgers.record(rows, rows)
        self.best = min(self.best, time.thread_time() - began)

    def rows(self) -> list:
        """The page's rows."""
        return self._routed(orjson.loads(self._page))

    def _routed(self, items: list[dict]) -> list:
        return [self._route.route(item) for item in items if self._route.selects(item)]


def _exists(entry: str, old: dict) -> bool:
    return entry == "Items"
