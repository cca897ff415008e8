"""The rights that docs/commands.md lists for each stage, on a proxy that refuses all others: enough, and none too many.

One small migration goes through everything that a command can ask of DynamoDB: a draft, tables to create, a test, items that
could not be written, changes of the source, a repair, kept items, a lease, backups, and both kinds of restore.
"""

import json
import re
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import aws_shaped
import botocore.session
import pytest
import support_worlds as worlds
import yaml
from aws_requests import BATCH, but, failed, refusal
from support_flows import HURRIED, Flow

from runbook_lib.dynamo import tables
from runbook_lib.notebook.steps import Steps
from runbook_lib.parameters import build_parameters
from runbook_lib.stages.draft.draft import Sources, draft, write_mapping
from runbook_lib.stages.draft.survey import open_sources
from runbook_lib.stages.rollback.rollback import Undoing
from runbook_lib.stages.validate.repair import ALL

pytestmark = pytest.mark.slow
DOCS = Path(__file__).resolve().parents[2] / "docs/commands.md"
SOURCE, TARGET = worlds.SOURCE, worlds.TARGET
UNDO, RESTORE = "05, and the undo of 02 and 03", "05 with `restore_from`"
BAD = "One or more parameter values were invalid"
# What is only needed where somebody changes an item between a read and a delete, and what AWS alone asks for.
UNSEEN = {(UNDO, "PutItem")} | {
    (RESTORE, action) for action in "Query GetItem PutItem UpdateItem DeleteItem BatchWriteItem".split()
}


def cells():
    """Stage → side → what the docs say that it needs there."""
    rows = [line.split("|")[1:4] for line in DOCS.read_text(encoding="utf-8").splitlines() if line.startswith("| 0")]
    return {name.strip(): dict(zip(("source", "target"), about, strict=True)) for name, *about in rows}


def named(text):
    """The actions that a text names."""
    operations = botocore.session.get_session().get_service_model("dynamodb").operation_names
    return {*operations, "PartiQLInsert", "TagResource"} & set(re.findall(r"\w+", text))


def rights(stage, side):
    """The actions of a stage on one side, with those of the stages that its cell refers to."""
    cell = cells()[stage][side]
    return named(cell).union(*(rights(other, side) for other in re.findall(r"\bas (\d\d)", cell)))


def policy(stages, suffix):
    """Statements with exactly what these stages need, and the lease."""
    lease = re.search(r"A `lease` needs ([^.]*) on its table", DOCS.read_text(encoding="utf-8"))
    found = {f"*-{SOURCE}-{suffix}*": set().union(*(rights(stage, "source") for stage in stages))}
    found[f"*-{TARGET}-{suffix}*"] = set().union(*(rights(stage, "target") for stage in stages))
    found[f"lease-{suffix}"] = named(lease[1])
    found["[*]"] = found[f"*-{SOURCE}-{suffix}*"] & {"ListTables"}
    return [
        {
            "Effect": "Allow",
            "Action": [f"dynamodb:{action}" for action in sorted(actions)] or ["none"],
            "Resource": f"arn:aws:dynamodb:us-west-1:*:table/{tables}",
        }
        for tables, actions in found.items()
    ]


class Watched(aws_shaped.Proxy):
    """Notes what a stage asks of which side, and refuses some items for good."""

    def __init__(self, engine, statements):
        self.asked, self.refused, self.statements = defaultdict(set), set(), statements
        super().__init__(engine, iam={"policy": statements})

    def _pass_on(self, call):
        action = "PartiQLInsert" if call.operation == BATCH else call.operation
        names = {place.table for place in call.places()} | {str(call.body.get("BackupArn"))}
        names |= {call.body[name] for name in ("SourceTableName", "TargetTableName") if name in call.body}
        side = "target" if any(f"-{TARGET}-" in name for name in names) else "source"
        self.asked[side] |= {action, *(["TagResource"] if call.body.get("Tags") else [])}
        if call.operation == BATCH:
            return but(
                call, super()._pass_on, lambda place: failed("ValidationError", BAD) if self._is_bad(place) else None
            )
        if call.operation == "PutItem" and any(map(self._is_bad, call.places())):
            return refusal("ValidationException", BAD)
        return super()._pass_on(call)

    def _is_bad(self, place):
        return bool(place.item) and place.item.get("id", {}).get("S") in self.refused


@dataclass
class Yard:
    """The migration, and the steps of it that bring about what some rights are needed for."""

    world: worlds.World
    flow: Flow
    proxy: Watched
    restored: list[str] = field(default_factory=list)

    def new(self, entry, old):
        """The new id of an item."""
        return worlds.new_id(TARGET, entry, "uuid", "S", old)

    def table(self, entry, side=TARGET):
        """The name of a table."""
        return self.world.name(entry, side)

    def put(self, entry, side, **item):
        """Writes an item beside the program."""
        self.world.put(self.table(entry, side), {name: {"S": value} for name, value in item.items()})

    def draft(self):
        """00."""
        outside = {
            side: getattr(self.flow.parameters, side).model_dump(exclude_none=True) for side in ("source", "target")
        }
        parameters = build_parameters({"mapping": str(self.flow.outputs / "drafted.yaml"), **outside})
        plan, names = open_sources(parameters, f"{{table}}-{{source.environment}}-{self.world.suffix}")
        write_mapping(parameters.mapping_path(), draft(parameters, Sources(names, plan), None, None).text, force=False)

    def repair(self):
        """04 with `--repair deleted`."""
        with self.flow._notebook("04_validate"):
            self.flow.steps().plan_repair(self.flow._plan(), ALL)
            self.flow.steps().repair(self.flow._plan(), ALL)

    def undo(self, restore="", delete=()):
        """05."""
        with self.flow._notebook("05_rollback"):
            undoing = Undoing(str(self.flow.checkpoint()), str(self.flow.outputs), self.flow.parameters)
            undoing.preview(list(delete), restore)
            steps = Steps(undoing.checkpoint.run, self.flow.parameters.lease)
            undone = steps.undo(undoing).result
            if restore:
                done = steps.restore(undoing, undone, undoing.wanted(restore), lambda told: None)
                self.restored.append(done.result.table)
            if delete:
                assert all(one.deleted for one in steps.delete_tables(undoing, undone, list(delete)).result)

    def restore_backup(self):
        """05, from the backup that 03 took."""
        self.undo(json.loads(self.flow.checkpoint().read_text())["backups"][self.table("Ports")]["arn"])

    def restore_time(self):
        """05, to a time."""
        self.undo(f"{self.table('Ships')}@{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")

    def steps(self):
        """The rows of the docs, what runs on them, and what happens before."""
        ship = self.new("Ships", "ship-0005")
        yield ["00"], self.draft
        yield ["02", UNDO], self.flow.create
        self.put("Ships", TARGET, id="theirs")
        self.put("Ports", TARGET, id=self.new("Ports", "port-0000"), other="x")
        yield ["01"], self.flow.analyze
        yield ["02", UNDO], lambda: self.flow.test("Ships", 2)
        self.proxy.refused.add(ship)
        yield ["03"], self.flow.migrate
        assert len(self.flow.listing("failed")) == 1
        self.proxy.refused.clear()
        yield ["03 with `retry_failed`"], self.flow.retry
        self.put("Ships", SOURCE, id="ship-0003", portId="port-0002", note='{"port": "port-0002"}')
        self.put("Ships", SOURCE, id="ship-0099", portId="port-0002")
        yield ["03 with `delta`", UNDO], self.flow.delta
        yield ["04"], self.flow.validate
        self.world.delete(self.table("Ships"), {"id": {"S": self.new("Ships", "ship-0006")}})
        yield ["04 with `--repair`"], self.repair
        self.put("Ships", TARGET, id=self.new("Ships", "ship-0007"), edited="y")
        yield [UNDO], self.undo
        yield [UNDO, RESTORE], self.restore_backup
        yield [UNDO, RESTORE], self.restore_time
        self.world.delete(self.table("Ports"), {"id": {"S": self.new("Ports", "port-0000")}})
        yield [UNDO, RESTORE], lambda: self.undo(self.restored[0])
        for entry in ("Ports", "Ships"):
            for item in self.world.engine.call("Scan", TableName=self.table(entry))["Items"]:
                self.world.delete(self.table(entry), {"id": item["id"]})
        yield [UNDO], lambda: self.undo(delete=[self.table("Ports"), self.table("Ships")])


@pytest.fixture
def yard(ministack, tmp_path, monkeypatch):
    """Ports and ships, some of whose references name nothing or cannot be read; the proxy allows nothing yet."""
    monkeypatch.setattr(tables, "POLL", 0.01)
    monkeypatch.setattr(tables, "MAX_POLL", 0.02)
    world, folder = worlds.World(ministack), tmp_path
    ships = [
        {
            "id": {"S": f"ship-{n:04}"},
            "portId": {"S": f"port-{n % 7:04}"},
            "note": {"S": '{"port": "port-0001"}' if n else "no JSON"},
        }
        for n in range(14)
    ]
    ports = [{"id": {"S": f"port-{n:04}"}} for n in range(6)]
    key = {"key": {"id": "S"}}
    world.build({"Ports": {**key, "items": ports}, "Ships": {**key, "items": ships}}, SOURCE)
    world.create(f"lease-{world.suffix}", {"target": "S"})
    expiring = {"Enabled": True, "AttributeName": "expires"}
    world.client.update_time_to_live(TableName=world.name("Ports", SOURCE), TimeToLiveSpecification=expiring)
    described = {"key": {"id": "S"}, "indexes": {"byPort": {"portId": "S"}}, "tags": {"a": "b"}}
    port, ship = (
        worlds.new_id(TARGET, entry, "uuid", "S", f"{entry[:-1].lower()}-0001") for entry in ("Ports", "Ships")
    )
    about = {
        "references": {"portId": "Ports", "note:json.port": "Ports"},
        "create": {**described, "ttl": "expires", "point_in_time_recovery": True},
        "queries": {"at": {"index": "byPort", "key": {"portId": port}}, "one": {"key": {"id": ship}}},
    }
    names = {"source": f"{{table}}-{SOURCE}-{world.suffix}", "target": f"{{table}}-{TARGET}-{world.suffix}", "id": "id"}
    mapping = {"defaults": names, "tables": {"Ports": {"create": "like_source"}, "Ships": about}}
    (folder / "mapping.yaml").write_text(yaml.safe_dump(mapping), encoding="utf-8")
    proxy = Watched(world.engine.endpoint_url, [])
    side = {"region": "us-west-1", "endpoint_url": proxy.url}
    content = {
        "mapping": str(folder / "mapping.yaml"),
        "source": {"environment": SOURCE, **side},
        "target": {"environment": TARGET, "production": True, **side},
        "limits": HURRIED | {"on_failure": "keep", "workers": 2},
        "lease": {"table": f"lease-{world.suffix}"},
    }
    yard = Yard(world, Flow(build_parameters(content), folder), proxy)
    yield yard
    proxy.close()
    world.drop()
    for name in (f"lease-{world.suffix}", *yard.restored[:2]):
        ministack.call("DeleteTable", TableName=name)


def test_the_rights_in_the_docs_are_those_that_a_stage_needs(yard):
    """Nothing else is asked for, so that a role of its own for each stage is enough; and each right is used by its stage."""
    statements = yard.proxy.statements
    used = defaultdict(set)
    for stages, step in yard.steps():
        statements[:] = policy(stages, yard.world.suffix)
        yard.proxy.asked.clear()
        step()
        assert not yard.proxy.seen["iam"], stages
        for stage in stages:
            for side, actions in yard.proxy.asked.items():
                used[stage, side] |= actions
    for stage, about in cells().items():
        for side, cell in about.items():
            idle = named(cell) - used[stage, side]
            assert {(stage, action) for action in idle} <= UNSEEN, (stage, side)
