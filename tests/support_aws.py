"""Three migrations as cases for a proxy before an engine: what an untroubled one makes, to hold a troubled one against.

`copy` and `split` are parts of the demo's data with the mappings that the program comes with, `library` is the tests' own.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import support_mistakes as corpus
import support_worlds as worlds
from support_flows import HURRIED, Flow, counts_of

from runbook_lib.dynamo import errors as faults

CASES = ("copy", "split", "library")
FIGURES = ("checked", "equal", "missing", "different", "extra", "dangling", "verdict")


class Case:
    """A migration, its source on an engine, and what comes of it where nothing is in its way.

    Each run makes the target's tables anew; they get three residents: one equal to what the run makes, one different under
    a key that the run wants, one of nobody's.
    """

    def __init__(self, name: str, world: worlds.World, folder: Path):
        """Runs the migration twice straight on the engine: into empty tables, then beside the residents."""
        self.name, self.world, self._folder = name, world, folder
        self._domain = corpus.domain(name, world)
        self._plain = self._domain.flow(folder)
        self.source = world.digest(worlds.SOURCE)
        self.targets: list[str] = []
        flow = self.through(world.engine.endpoint_url, "into-empty-tables")
        self.targets = sorted(flow.create())
        flow.migrate()
        whole = self.content()
        self._check_ids(whole)
        flow.rollback()
        table = max(whole, key=lambda name: len(whole[name]))
        equal, taken, *_ = whole[table]
        key = world.engine.call("DescribeTable", TableName=table)["Table"]["KeySchema"][0]["AttributeName"]
        foreign = equal | {key: {"S": "nobody's"}}
        self._residents = [(table, item) for item in (equal, taken | {"theirs": {"S": "resident"}}, foreign)]
        self.settle()
        self.before = self.content()
        flow = self.through(world.engine.endpoint_url, "beside-residents")
        self.report, self.after, self.validation = flow.migrate(), self.content(), figures(flow.validate())
        assert (self.report["totals"]["already_there"], self.report["totals"]["conflicts"]) == (1, 1)
        assert self.report["totals"]["scanned"] == self.report["totals"]["inserted"] + 2
        flow.rollback()
        assert self.content() == self.before
        self.drop()

    def through(self, url: str, run: str, **limits: Any) -> Flow:
        """The migration with both sides at an address, in a run of its own."""
        folder = self._folder / run
        folder.mkdir()
        return at(replace(self._plain, outputs=folder), url, **limits)

    def settle(self) -> None:
        """Puts the residents where they live."""
        for table, item in self._residents:
            self.world.put(table, item)

    def content(self) -> dict[str, list[dict]]:
        """Target table -> its items, read straight from the engine."""
        return {name: self.world.items(name) for name in self.targets}

    def drop(self) -> None:
        """Takes the target's tables away."""
        pages = self.world.engine.pages("ListTables", "LastEvaluatedTableName", "ExclusiveStartTableName")
        for name in {name for page in pages for name in page["TableNames"]} & set(self.targets):
            self.world.engine.call("DeleteTable", TableName=name)
        faults._new.clear()  # or the next run would wait for them as tables that are not known everywhere yet

    def check_migrated(self, report: dict[str, Any]) -> None:
        """Target and counts are those of the untroubled run, and nobody has touched the source."""
        assert self.content() == self.after
        assert counts_of(report) == counts_of(self.report)
        for key in ("totals", "verdict", "relationships", "relationships_preserved"):
            assert report[key] == self.report[key], key
        assert self.world.digest(worlds.SOURCE) == self.source

    def check_unharmed(self) -> None:
        """The residents are as they were; whatever else is there belongs there."""
        now = self.content()
        for table, items in now.items():
            assert all(item in items for item in self.before[table]), table
            assert all(item in self.after[table] for item in items), table
        assert self.world.digest(worlds.SOURCE) == self.source

    def _check_ids(self, whole: dict[str, list[dict]]) -> None:
        """By a reading of the tests' own: as many items as in the source, each with the id that the contract gives it."""
        mapping, environment = self._domain.mapping, self._plain.parameters.target.environment
        assert {name.partition("-goal")[0] for name in whole} == set(mapping["tables"])
        for entry, about in mapping["tables"].items():
            made = about.get("id_format", mapping["defaults"].get("id_format", "uuid"))
            (items,) = [items for name, items in whole.items() if name.startswith(f"{entry}-goal")]
            old = [next(iter(item["id"].items())) for item in self._domain.items(entry)]
            wanted = [i if made == "keep" else worlds.new_id(environment, entry, made, letter, i) for letter, i in old]
            assert sorted(next(iter(item["id"].values())) for item in items) == sorted(wanted), entry


def at(flow: Flow, url: str, **limits: Any) -> Flow:
    """The same run with both sides at another address."""
    parameters = flow.parameters
    changed = {
        label: getattr(parameters, label).model_copy(update={"endpoint_url": url}) for label in ("source", "target")
    }
    changed["limits"] = parameters.limits.model_copy(update=HURRIED | limits)
    return replace(flow, parameters=parameters.model_copy(update=changed))


def figures(validation: dict[str, Any]) -> dict[str, Any]:
    """What 04 counts."""
    return {key: validation["validation"][key] for key in FIGURES}
