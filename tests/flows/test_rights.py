"""Every stage with exactly the policy that `runbook iam` prints for it: enough, and no right that no run uses.

`full` is a small migration that goes through everything that a command can ask of DynamoDB: a draft, tables to create, a test,
items that could not be written, changes of the source, a repair, kept items, a lease, backups, and both kinds of restore.
`plain` has nothing of that in parameters and mapping, and a principal for each side with the policy of that side.
"""

import json
import re
from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import aws_shaped
import pytest
import support_worlds as worlds
import yaml
from aws_requests import BATCH, but, failed, refusal
from support_flows import HURRIED, Flow

from runbook_lib.dynamo import errors, tables
from runbook_lib.dynamo.session import connect, place_of
from runbook_lib.dynamo.streams.reader import StreamReader
from runbook_lib.dynamo.streams.stream import open_stream
from runbook_lib.mapping.file.load import load_mapping
from runbook_lib.mapping.model import Mapping
from runbook_lib.notebook.steps import Steps
from runbook_lib.parameters import build_parameters
from runbook_lib.stages import policy
from runbook_lib.stages.draft.draft import draft, find_sources, write_mapping
from runbook_lib.stages.draft.tables import wildcards
from runbook_lib.stages.rights import STAGES, UNSEEN
from runbook_lib.stages.rollback.rollback import Undoing
from runbook_lib.stages.validate.repair import ALL

SOURCE, TARGET = worlds.SOURCE, worlds.TARGET
BAD = "One or more parameter values were invalid"


class Watched(aws_shaped.Proxy):
    """Allows what a policy allows, refuses some items for good, and edits others just before they are deleted."""

    def __init__(self, world):
        self.refused, self.edited, self.policy, self._world = set(), set(), {"Statement": []}, world
        account = world.engine.client(service="sts").get_caller_identity()["Account"]
        super().__init__(world.engine.endpoint_url, iam={"policy": self.policy, "account": account})

    def _pass_on(self, call):
        if call.operation == BATCH:
            refuse = lambda place: failed("ValidationError", BAD) if self._is_in(self.refused, place) else None  # noqa: E731
            return but(call, super()._pass_on, refuse)
        for place in call.places():
            if call.operation == "PutItem" and self._is_in(self.refused, place):
                return refusal("ValidationException", BAD)
            if call.operation == "DeleteItem" and self._is_in(self.edited, place):
                there = self._world.engine.call("GetItem", TableName=place.table, Key=place.item)["Item"]
                self._world.put(place.table, there | {"edited": {"L": []}})
        return super()._pass_on(call)

    def _is_in(self, ids, place):
        return bool(place.item) and place.item.get("id", {}).get("S") in ids


@dataclass
class Yard:
    """The migration, and the steps of it that bring about what some rights are needed for."""

    world: worlds.World
    flow: Flow
    proxy: Watched
    restored: list[str] = field(default_factory=list)
    used: dict[str, set] = field(default_factory=lambda: defaultdict(set))  # stage → (kind, action)

    def policy(self, stage, side=None, pattern=""):
        """What `runbook iam` prints."""
        given = self.flow.parameters
        mapping = Mapping("", {}, False, "") if stage == "draft" else load_mapping(given)
        places = {one: place_of(getattr(given, one), one) for one in policy.sides_of(stage, side)}
        drafted = wildcards(given, pattern) if stage == "draft" else {}
        return policy.policy_of(stage, given, mapping, places, side=side, drafted=drafted).document

    def run(self, stages, step, pattern=""):
        """Takes a step that is allowed what the policies of some stages allow, and notes what it used of them."""
        documents = {stage: self.policy(stage, pattern=pattern)["Statement"] for stage in stages}
        self.proxy.policy["Statement"] = [
            one | {"Sid": f"{stage} {one['Sid'].rstrip('0123456789')}"} for stage, of in documents.items() for one in of
        ]
        self.proxy.used.clear()
        step()
        assert self.proxy.denied == [], stages
        for action, sid in (
            self.proxy.used if len(stages) == 1 else ()
        ):  # else the other one's policy may have allowed it
            stage, kind = sid.split()
            self.used[stage].add((kind, action.removeprefix("dynamodb:")))

    def new(self, entry, old):
        """The new id of an item."""
        return worlds.new_id(TARGET, entry, "uuid", "S", old)

    def table(self, entry, side=TARGET):
        """The name of a table."""
        return self.world.name(entry, side)

    def put(self, entry, side, **item):
        """Writes an item beside the program."""
        self.world.put(self.table(entry, side), {name: {"S": value} for name, value in item.items()})

    def draft(self, pattern):
        """00."""
        outside = {
            side: getattr(self.flow.parameters, side).model_dump(exclude_none=True) for side in ("source", "target")
        }
        parameters = build_parameters({"mapping": str(self.flow.outputs / "drafted.yaml"), **outside})
        made = draft(parameters, find_sources(parameters, pattern), None, None)
        assert made.unread == ()
        write_mapping(parameters.mapping_path(), made.text, force=True)

    @staticmethod
    def trial(flow):
        """02, as its notebook does it."""
        flow.create()
        flow.test("Ships", 2)

    def drop_targets(self):
        """Takes the target's tables away."""
        for entry in ("Ports", "Ships"):
            self.world.engine.call("DeleteTable", TableName=self.table(entry))
        errors._new.clear()  # or the program would wait for them as tables that are not known everywhere yet

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
                done = steps.restore(undoing, undone, undoing.wanted(restore))
                self.restored.append(done.result.table)
            if delete:
                assert all(one.deleted for one in steps.delete_tables(undoing, undone, list(delete)).result)

    def restore_backup(self):
        """05, from the backup that 03 took."""
        self.undo(json.loads(self.flow.checkpoint().read_text())["backups"][self.table("Ports")]["arn"])

    def restore_time(self):
        """05, to a time."""
        self.undo(f"{self.table('Ships')}@{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")

    def everything(self):
        """All stages, with what has to happen between them."""
        flow, second = self.flow, replace(self.flow, run_id="the-second-run")
        pattern = f"{{table}}-{{source.environment}}-{self.world.suffix}"
        self.proxy.edited = {self.new("Ships", "ship-0000")}
        self.run(["test"], lambda: self.trial(replace(flow, run_id="the-trial")))
        self.drop_targets()
        self.run(["create-tables"], flow.create)
        self.put("Ships", TARGET, id="theirs")
        self.put("Ports", TARGET, id=self.new("Ports", "port-0000"), other="x")
        self.run(["draft"], lambda: self.draft(pattern), pattern)
        self.run(["analyze"], flow.analyze)
        self.proxy.refused.add(self.new("Ships", "ship-0005"))
        self.run(["migrate"], flow.migrate)
        assert len(flow.listing("failed")) == 1
        self.run(["migrate"], flow.retry)
        self.put("Ships", SOURCE, id="ship-0003", portId="port-0002", note='{"port": "port-0002"}')
        self.put("Ships", SOURCE, id="ship-0099", portId="port-0002")
        self.proxy.refused = {self.new("Ships", "ship-0099")}
        self.run(["delta"], flow.delta)
        self.proxy.refused.clear()
        self.run(["validate"], flow.validate)
        self.world.delete(self.table("Ships"), {"id": {"S": self.new("Ships", "ship-0006")}})
        self.run(["validate", "migrate"], self.repair)
        self.edit("ship-0007", "ship-0008")
        self.run(["restore"], self.restore_backup)
        assert len(flow.listing("kept")) == 2
        self.run(["restore"], self.restore_time)
        self.world.delete(self.table("Ports"), {"id": {"S": self.new("Ports", "port-0000")}})
        self.run(["restore"], lambda: self.undo(self.restored[0]))
        given = flow.parameters
        at_ease = given.model_copy(update={"target": given.target.model_copy(update={"production": False})})
        self.run(["migrate"], replace(second, parameters=at_ease).migrate)  # without backups, which the delta takes
        self.run(["delta"], second.delta)
        self.run(["follow"], self.read_stream)
        self.used["follow"] |= self.used["migrate"] | self.used["delta"]  # of these it consists, and of reading streams
        self.edit("ship-0009", "ship-0010")
        self.run(["rollback"], second.rollback)
        assert len(second.listing("kept")) == 2
        for entry in ("Ports", "Ships"):
            for item in self.world.engine.call("Scan", TableName=self.table(entry))["Items"]:
                self.world.delete(self.table(entry), {"id": item["id"]})
        self.run(["rollback"], lambda: self.undo(delete=[self.table("Ports"), self.table("Ships")]))

    def read_stream(self):
        """What following asks of a source table beyond a delta."""
        name = self.table("Ships", SOURCE)
        on = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
        self.world.engine.call("UpdateTable", TableName=name, StreamSpecification=on)
        stream = open_stream(connect(self.flow.parameters.source, "source"), name)
        with StreamReader(stream, stream.positions_now()) as reader:
            assert reader.read().records == []

    def edit(self, now, later):
        """Edits a ship, and lets another one be edited between an undo's look and its delete."""
        self.put("Ships", TARGET, id=self.new("Ships", now), edited="y")
        self.proxy.edited = {self.new("Ships", later)}


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch):
    monkeypatch.setattr(tables, "POLL", 0.01)
    monkeypatch.setattr(tables, "MAX_POLL", 0.02)


def yard_of(world, folder, entries, **more):
    """Ports and ships, some of whose references name nothing or cannot be read; the proxy allows nothing yet."""
    ships = [
        {
            "id": {"S": f"ship-{n:04}"},
            "portId": {"S": f"port-{n % 7:04}"},
            "note": {"S": '{"port": "port-0001"}' if n else "no JSON"},
        }
        for n in range(14)
    ]
    ports = [{"id": {"S": f"port-{n:04}"}} for n in range(6)]
    world.build({"Ports": {"key": {"id": "S"}, "items": ports}, "Ships": {"key": {"id": "S"}, "items": ships}}, SOURCE)
    names = {"source": f"{{table}}-{SOURCE}-{world.suffix}", "target": f"{{table}}-{TARGET}-{world.suffix}", "id": "id"}
    entries["Ships"]["references"] = {"portId": "Ports", "note:json.port": "Ports"}
    (folder / "mapping.yaml").write_text(yaml.safe_dump({"defaults": names, "tables": entries}), encoding="utf-8")
    proxy = Watched(world)
    side = {"region": "us-west-1", "endpoint_url": proxy.url}
    content = {
        "mapping": str(folder / "mapping.yaml"),
        "source": {"environment": SOURCE, **side, **more.pop("source", {})},
        "target": {"environment": TARGET, **side, **more.pop("target", {})},
        "limits": HURRIED | {"on_failure": "keep", "workers": 2},
        **more,
    }
    return Yard(world, Flow(build_parameters(content), folder), proxy)


@pytest.fixture
def full(ministack, tmp_path):
    """With all that parameters and mapping can say about tables."""
    world = worlds.World(ministack)
    world.create(f"lease-{world.suffix}", {"target": "S"})
    described = {"key": {"id": "S"}, "indexes": {"byPort": {"portId": "S"}}, "tags": {"a": "b"}, "ttl": "expires"}
    described |= {"point_in_time_recovery": True, "stream": "NEW_AND_OLD_IMAGES"}
    port, ship = (
        worlds.new_id(TARGET, entry, "uuid", "S", f"{entry[:-1].lower()}-0001") for entry in ("Ports", "Ships")
    )
    queries = {"at": {"index": "byPort", "key": {"portId": port}}, "one": {"key": {"id": ship}}}
    entries = {
        "Ports": {"create": "like_source"},
        "Ships": {"create": described, "expired": "skip", "queries": queries, "match": {"by": ["callSign"]}},
    }
    yard = yard_of(world, tmp_path, entries, target={"production": True}, lease={"table": f"lease-{world.suffix}"})
    expiring = {"Enabled": True, "AttributeName": "expires"}
    world.client.update_time_to_live(TableName=world.name("Ports", SOURCE), TimeToLiveSpecification=expiring)
    with closing(yard.proxy):
        yield yard
    world.drop()
    for name in (f"lease-{world.suffix}", *yard.restored[:2]):
        ministack.call("DeleteTable", TableName=name)


@pytest.mark.slow
def test_each_stage_is_allowed_what_it_needs_and_nothing_else(full):
    """No request is refused, so that a role of its own for each stage is enough; and each right is used by its stage."""
    full.everything()
    idle = {
        stage: {
            (right.on, action)
            for right in of
            for action in right.actions.split()
            if (right.on, action) not in full.used[stage] | UNSEEN.keys()
        }
        for stage, of in STAGES.items()
    }
    assert {stage: found for stage, found in idle.items() if found} == {}


@pytest.fixture
def plain(moto, tmp_path, monkeypatch):
    """Nothing but a copy into tables that exist, by a principal for each side."""
    lines = [f"[{side}]\naws_access_key_id = {side}\naws_secret_access_key = x\n" for side in ("source", "target")]
    (tmp_path / "credentials").write_text("".join(lines))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    world = worlds.World(moto)
    sides = {side: {"profile": side} for side in ("source", "target")}
    yard = yard_of(world, tmp_path, {"Ports": {}, "Ships": {}}, **sides)
    for entry in ("Ports", "Ships"):
        world.create(world.name(entry, TARGET), {"id": "S"})
    with closing(yard.proxy):
        yield yard
    world.drop()


def test_each_side_is_allowed_what_it_needs(plain):
    """With the policy of its side; where neither parameters nor mapping ask for more, nothing more is needed."""

    def run(stage, step, pattern=""):
        asked = policy.sides_of(stage, None)
        keys = {
            side: plain.policy(stage, side, pattern) if side in asked else {"Statement": []} for side in policy.SIDES
        }
        plain.proxy.policy["AccessKeys"] = keys
        step()
        assert plain.proxy.denied == [], stage

    one = f"Ports-{{source.environment}}-{plain.world.suffix}"
    run("draft", lambda: plain.draft(one), one)
    run("analyze", plain.flow.analyze)
    run("create-tables", plain.flow.create)
    run("test", lambda: plain.flow.test("Ships"))
    run("migrate", plain.flow.migrate)
    run("validate", plain.flow.validate)
    plain.put("Ships", TARGET, id=plain.new("Ships", "ship-0003"), edited="y")
    plain.world.engine.call("DeleteTable", TableName=plain.table("Ports"))
    run("rollback", plain.flow.rollback)
    assert [item["id"]["S"] for item in plain.world.items(plain.table("Ships"))] == [plain.new("Ships", "ship-0003")]
    actions = {
        action
        for side in policy.SIDES
        for one in plain.policy("migrate", side)["Statement"]
        for action in one["Action"]
    }
    assert not [action for action in actions if re.search("Delete|Create|Lease|Backup$|AssumeRole", action)]
