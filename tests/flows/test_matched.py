"""Items that the target has already are not written: what refers to them has the target's ids, and its items stay as they are."""

import json
import random

import pyarrow.parquet
import pytest
import support_worlds as worlds
from hypothesis import given, settings
from hypothesis import strategies as st
from support_crashes import KILLED, at_record, at_request, in_child, small_pages
from support_flows import counts_of, flow_of

from runbook_lib.dynamo.items import Wire
from runbook_lib.errors import DynamoError
from runbook_lib.journal.stage import Stage
from runbook_lib.report import views
from runbook_lib.stages.migrate.migrate import migrate
from runbook_lib.stages.validate.repair import repair
from runbook_lib.stages.validate.validate import validate
from runbook_lib.walk.workers import engines, shared_journal
from runbook_lib.walk.workers import worker as units

SOURCE, TARGET = worlds.SOURCE, worlds.TARGET
KEY = {"key": {"id": "S"}}
# Old id → the e-mail address of a person of the source; and the target's ids of those whom it has.
PEOPLE = {"ann": "ann@a.test", "bob": "bob@a.test", "cy": "cy@a.test", "dee": None}
THERE = {"ann": "person-of-ann", "cy": "person-of-cy"}
MAPPING = """
  People: {match: {by: [email]}}
  Teams: {}
  Visits:
    references:
      person: People
      pk: "P#{People}#V"
      "seen:json[]": People
      member: {to: [Teams, People]}
      other: {table_named_by: kind}
      "was:json": {record_of: People}
"""


def person(name, email, **more):
    return {"id": {"S": name}} | ({"email": {"S": email}} if email else {}) | more


def visit(name):
    """All kinds of references to one person."""
    seen, was = json.dumps([name, "nobody"]), json.dumps({"id": name, "email": "x"})
    plain = {"id": f"to-{name}", "person": name, "pk": f"P#{name}#V", "seen": seen, "member": name, "was": was}
    return {key: {"S": value} for key, value in (plain | {"other": name, "kind": "People"}).items()}


def build(world):
    """People, visits to them, and a target that has two of the people, under ids of its own, and somebody else."""
    people = [person(name, email, note={"S": f"of {name}"}) for name, email in PEOPLE.items()]
    world.build(
        {"People": KEY | {"items": people}, "Teams": KEY, "Visits": KEY | {"items": list(map(visit, PEOPLE))}}, SOURCE
    )
    known = [person(new, PEOPLE[old], note={"S": "its own: bob"}) for old, new in THERE.items()]
    stranger = person("stranger", "zoe@a.test")
    world.build({"People": KEY | {"items": [*known, stranger]}, "Teams": KEY, "Visits": KEY}, TARGET)
    return world


def begin(world, folder, mapping=MAPPING, **limits):
    return flow_of(mapping, world, folder, **limits)


@pytest.fixture
def people(moto_world):
    return build(moto_world)


def new(name, entry="People"):
    """The id that references to a person must have: the target's where it has the person."""
    return THERE.get(name) if entry == "People" and name in THERE else worlds.new_id(TARGET, entry, "uuid", "S", name)


def arrived(name):
    """What a visit must be in the target."""
    nobody = worlds.new_id(TARGET, "People", "uuid", "S", "nobody")
    item = visit(name) | {"id": {"S": new(f"to-{name}", "Visits")}}
    for path in ("person", "member", "other"):
        item[path] = {"S": new(name)}
    return item | {
        "pk": {"S": f"P#{new(name)}#V"},
        "seen": {"S": json.dumps([new(name), nobody])},
        "was": {"S": json.dumps({"id": new(name), "email": "x"})},
    }


def counted(report, entry="People"):
    """The counts that are not 0; they add up."""
    counts = counts_of(report)[entry]
    assert counts["scanned"] == sum(counts.values()) - counts["scanned"]
    assert report["totals"]["matched"] == sum(table["matched"] for table in report["tables"].values())
    return {key: number for key, number in counts.items() if number}


def id_map(flow, entry="People"):
    rows = pyarrow.parquet.read_table(flow.outputs / flow.run_id / "id-map.parquet").to_pylist()
    return {row["source_id"]: (row["target_id"], row["how"]) for row in rows if row["table"] == entry}


def before_of(world):
    """The target's people before the run: none of them may ever change."""
    return world.items(world.name("People", TARGET))


def kept(world, before):
    """Whether every item that the target had is there as it was."""
    now = world.items(world.name("People", TARGET))
    return all(item in now for item in before)


def figures(validation):
    names = ("checked", "missing", "different", "extra", "matched", "matches", "dangling")
    return {name: validation[name] for name in names}


@pytest.mark.parametrize("engine", ["moto", pytest.param("ministack", marks=pytest.mark.slow)], indirect=True)
def test_what_the_target_has_is_not_written_and_every_reference_follows(world, tmp_path):
    """Through all stages; the target's items are byte for byte what they were, also after a rollback."""
    before = before_of(build(world))
    flow = begin(world, tmp_path)
    analysis = flow.analyze()
    assert (analysis["tables"]["People"]["records"], analysis["tables"]["People"]["matched"]) == (4, 2)
    assert analysis["tables"]["People"]["routed"] == 2
    report = flow.migrate()
    assert counted(report) == {"scanned": 4, "inserted": 2, "matched": 2}
    assert counted(report, "Visits") == {"scanned": 4, "inserted": 4}
    visits = world.items(world.name("Visits", TARGET))
    assert visits == worlds.plain_items(list(map(arrived, PEOPLE)))
    assert kept(world, before)
    assert len(world.items(world.name("People", TARGET))) == 3 + 2
    assert id_map(flow) == {name: (new(name), "matched" if name in THERE else "new") for name in PEOPLE}
    assert report["id_map"]["rows"] == 8
    assert report["relationships"] - report["relationships_preserved"] == 4  # to nobody
    notes = [(a["level"], a["table"]) for a in report["alerts"] if "matched" in a["message"]]
    assert notes == [("NOTE", "People")]
    validation = flow.validate()["validation"]
    assert figures(validation) == {
        "checked": 6,
        "missing": 0,
        "different": 0,
        "extra": 1,  # the stranger
        "matched": 2,
        "matches": {"checked": 2, "gone": 0, "changed": 0},
        "dangling": 4,
    }
    assert validation["residual_ids"]["items"] == 0
    assert flow.rollback()["rollback"]["deleted"] == 6
    assert world.items(world.name("People", TARGET)) == before
    assert world.items(world.name("Visits", TARGET)) == []


def test_ids_that_are_kept_give_way_to_those_of_the_target(people, tmp_path):
    """With `id_format: keep` the id map says so of each item; 04 looks for the matched old ids alone."""
    mapping = (
        "{People: {id_format: keep, match: {by: [email]}}, Visits: {references: {person: People}, drop: [seen, was]}}"
    )
    before, flow = before_of(people), begin(people, tmp_path, mapping)
    (note,) = [one["message"] for one in flow.analyze()["checks"] if one["what"] == "ids" and one["table"] == "People"]
    assert note.startswith("the items keep their ids")
    assert note.endswith(", unless the target has them already under others")
    report = flow.migrate()
    assert id_map(flow) == {name: (THERE.get(name, name), "matched" if name in THERE else "kept") for name in PEOPLE}
    visits = people.items(people.name("Visits", TARGET))
    assert {item["person"]["S"] for item in visits} == {THERE.get(name, name) for name in PEOPLE}
    assert kept(people, before)
    assert report["tables"]["People"]["ledger"]["id"]["copied"] == 2
    validation = flow.validate()["validation"]
    assert (validation["missing"], validation["different"], validation["dangling"]) == (0, 0, 0)
    assert "People" in validation["residual_ids"]["entries"]


def test_an_undeclared_reference_to_a_matched_item_is_found(moto_world, tmp_path):
    """Its old id names nothing in the target. What the target's own items hold is nobody's business."""
    world, old = moto_world, "7f3e9a1c-aaaa-4bbb-8ccc-0123456789ab"
    world.build(
        {
            "People": KEY | {"items": [person(old, "a@a.test")]},
            "Visits": KEY | {"items": [{"id": {"S": "v"}, "by": {"S": old}}]},
        },
        SOURCE,
    )
    there = person("mine", "a@a.test", note={"S": old})  # as its application wrote it
    world.build({"People": KEY | {"items": [there]}, "Visits": KEY}, TARGET)
    mapping = "{People: {id_format: keep, match: {by: [email]}}, Visits: {}}"
    flow = flow_of(mapping, world, tmp_path)
    flow.migrate()
    validation = flow.validate()["validation"]
    assert validation["residual_ids"]["by_path"] == {"Visits": {"by": 1}}


def test_a_delta_a_retry_and_a_repair_write_nothing_for_matched_items(people, tmp_path):
    """However they change in the source; when one goes there, the journal stops counting it."""
    before, flow = before_of(people), begin(people, tmp_path, MAPPING.replace("[Teams, People]", "People"))
    flow.migrate()
    content = people.content(TARGET)
    people.put(people.name("People", SOURCE), person("ann", "ann@elsewhere.test", note={"S": "edited"}))
    people.delete(people.name("People", SOURCE), {"id": {"S": "cy"}})
    drift = flow.delta()["drift"]
    assert {name: number for name, number in drift.items() if number} == {
        "looked_at": 7,
        "withdrawn": 1,
        "match_gone": 2,
    }
    assert flow.retry()["totals"]["matched"] == 1
    assert people.content(TARGET) == content
    assert kept(people, before)
    assert counted(flow.migrate()) == {"scanned": 3, "inserted": 2, "matched": 1}
    people.put(people.name("People", SOURCE), person("cy", "cy@a.test"))
    assert counted(flow.delta()) == {"scanned": 4, "inserted": 2, "matched": 2}
    assert people.content(TARGET) == content
    done = repair(flow.run(), flow._plan(), word="deleted")
    assert (done.missing, done.inserted) == ({}, 0)
    assert people.content(TARGET) == content


def test_a_test_of_a_child_inserts_the_child_alone(people, tmp_path):
    """Its parent is listed as matched, and what was tested is undone."""
    flow = begin(people, tmp_path)
    content = people.content(TARGET)
    canary = flow.test("Visits", 4)
    assert {one.old_id for one in canary.closure.matched} == set(THERE)
    assert {row.old_id for row in canary.closure.rows if row.entry == "People"} == PEOPLE.keys() - THERE.keys()
    assert canary.wrong == 0
    assert (canary.state.tables["People"]["matched"], canary.state.tables["People"]["inserted"]) == (2, 2)
    assert "2 items of People not inserted: the target has them" in views.canary(canary)
    assert people.content(TARGET) == content
    (report,) = flow.run().folder.glob("migration-report-*.json")
    assert json.loads(report.read_text())["test"]["matched"] == 2


def test_a_matched_item_that_is_gone_or_changed_since_is_told(people, tmp_path):
    """REVIEW, with the target's key; what refers to one that is gone dangles. Other changes are its application's own."""
    flow = begin(people, tmp_path)
    flow.migrate()
    name = people.name("People", TARGET)
    people.put(name, person("person-of-ann", "ann@a.test", note={"S": "another"}))
    assert flow.validate()["validation"]["matches"] == {"checked": 2, "gone": 0, "changed": 0}
    people.put(name, person("person-of-ann", "ann@new.test"))
    people.delete(name, {"id": {"S": "person-of-cy"}})
    report = flow.validate()
    validation = report["validation"]
    assert validation["matches"] == {"checked": 2, "gone": 1, "changed": 1}
    assert (validation["missing"], validation["different"], validation["extra"]) == (0, 0, 1)
    assert validation["dangling"] == 4 + 6  # nobody's, and all of cy's
    assert validation["verdict"] == "REVIEW"
    said = [a["message"] for a in report["alerts"] if "matched item" in a["message"]]
    assert said == [
        "1 matched item changed in the target in the values by which they were matched, or in the id",
        "1 matched item gone from the target",
    ]
    lines = {line["reason"]: line["key"] for line in flow.listing("differences") if line["table"] == "People"}
    assert lines == {"match gone": {"id": {"S": "person-of-cy"}}, "match changed": {"id": {"S": "person-of-ann"}}}


def test_a_query_may_return_a_matched_item_and_need_not(people, tmp_path):
    """What the target's item holds is its own; its content is not ours."""
    mapping = MAPPING.replace(
        "match: {by: [email]}",
        "match: {by: [email]}, queries: {one: {key: {id: person-of-ann}}, other: {key: {id: person-of-cy}, filter: {note: x}}}",
    )
    flow = begin(people, tmp_path, mapping)
    flow.migrate()
    proofs = {
        proof["name"]: (proof["expected"], proof["returned"], proof["proved"])
        for proof in flow.validate()["validation"]["queries"]
    }
    assert proofs == {"one": (0, 1, True), "other": (0, 0, True)}


def test_the_children_alone_refer_to_matched_items_of_an_entry_that_was_left_out(people, tmp_path):
    """With `--tables`: their parents' entry is read for its keys alone."""
    before, flow = before_of(people), begin(people, tmp_path)
    flow.migrate(["Visits"])
    assert people.items(people.name("Visits", TARGET)) == worlds.plain_items(list(map(arrived, PEOPLE)))
    validation = flow.validate(["Visits"])["validation"]
    assert validation["dangling"] == 4 + 2 * 6  # nobody, bob and dee
    assert validation["matches"]["checked"] == 2
    assert before_of(people) == before


def test_a_failure_takes_back_what_was_inserted_and_nothing_else(people, tmp_path, monkeypatch):
    """By the automatic rollback."""
    content, flow = people.content(TARGET), begin(people, tmp_path)
    insert_many = Wire.insert_many

    def failing(wire, table, items, *arguments, **named):
        if table.startswith("Visits"):
            return [DynamoError("ValidationException", "no", 400) for _ in items]
        return insert_many(wire, table, items, *arguments, **named)

    monkeypatch.setattr(Wire, "insert_many", failing)
    assert flow.migrate()["verdict"] == "ROLLED_BACK"
    assert people.content(TARGET) == content


KILLS = [
    (kind, n, when) for kind in ("intent", "outcome") for n in (1, 2, 3, 4) for when in ("before", "middle", "after")
]
QUICK = (("intent", 1, "after"), ("outcome", 3, "middle"))  # in the default tier


@pytest.mark.parametrize(
    ("kind", "number", "moment"),
    [
        pytest.param(*kill, marks=() if kill in QUICK else pytest.mark.long if at % 5 else pytest.mark.slow)
        for at, kill in enumerate(KILLS)
    ],
)
def test_a_killed_run_goes_on_with_the_same_matches(people, tmp_path, monkeypatch, kind, number, moment):
    """At every record; after resume and rollback the target is what it was."""
    small_pages(monkeypatch)
    monkeypatch.setattr("support_crashes.PAGE", 2)
    content, before = people.content(TARGET), before_of(people)
    flow = begin(people, tmp_path)
    assert in_child(flow.migrate, at_record(kind, number, moment)) == KILLED
    assert kept(people, before)
    report = flow.migrate()
    assert counted(report) == {"scanned": 4, "inserted": 2, "matched": 2}
    assert people.items(people.name("Visits", TARGET)) == worlds.plain_items(list(map(arrived, PEOPLE)))
    assert kept(people, before)
    assert flow.rollback()["rollback"]["deleted"] == 6
    assert people.content(TARGET) == content


@pytest.mark.parametrize(
    "number", [pytest.param(at, marks=pytest.mark.slow if at in (1, 4) else pytest.mark.long) for at in range(1, 7)]
)
def test_a_killed_rollback_leaves_the_targets_items(people, tmp_path, number):
    """Killed at each delete, and given again."""
    content, flow = people.content(TARGET), begin(people, tmp_path)
    flow.migrate()
    assert in_child(flow.rollback, at_request("DeleteItem", number, "after")) == KILLED
    flow.rollback()
    assert people.content(TARGET) == content


@pytest.mark.slow
def test_a_killed_validation_looks_at_all_matches(people, tmp_path, monkeypatch):
    """When it is resumed, too."""
    small_pages(monkeypatch)
    flow = begin(people, tmp_path)
    flow.migrate()
    assert in_child(flow.validate, at_record("compared", 1, "after")) == KILLED
    resumed = validate(flow.run(), flow._plan())
    assert resumed.earlier_pages == 1
    assert resumed.matches.as_json() == {"checked": 2, "gone": 0, "changed": 0}
    assert resumed.total("matched") == 2


@pytest.mark.slow
def test_worker_processes_have_the_matches(people, tmp_path):
    """And write what threads write."""
    flow = begin(people, tmp_path, engine="processes", segments=2, workers=2)
    assert counted(flow.migrate()) == {"scanned": 4, "inserted": 2, "matched": 2}
    assert people.items(people.name("Visits", TARGET)) == worlds.plain_items(list(map(arrived, PEOPLE)))


class Away:
    """A worker of this process that learns neither the run's folder nor the file of the matches."""

    def advance(self, job, table, number, budgets):
        assert (job.folder, job.matches) == ("", None)
        return units.advance(job, table, number, budgets)

    def items(self):
        return 0

    def close(self):
        units._Worker.forget()


def test_workers_without_the_runs_folder_have_the_matches(people, tmp_path, monkeypatch):
    """From the store where the journal lies."""
    monkeypatch.setattr(engines, "_cluster", lambda plan, segments: [Away()])
    monkeypatch.setattr(shared_journal, "ENDED", 0.0)
    flow = begin(people, tmp_path, engine="dask", segments=2, journal=f"file://{tmp_path}-store")
    assert counted(flow.migrate()) == {"scanned": 4, "inserted": 2, "matched": 2}
    assert people.items(people.name("Visits", TARGET)) == worlds.plain_items(list(map(arrived, PEOPLE)))


def test_a_run_without_matches_writes_the_journal_of_old(people, tmp_path):
    """No record has a word of them."""
    flow = flow_of(MAPPING.replace("match: {by: [email]}", ""), people, tmp_path)
    flow.migrate()
    for path in Stage(flow.run(), "migrate").folder.iterdir():
        assert "match" not in path.read_text()


@settings(max_examples=8)
@given(st.data())
def test_every_reference_names_the_new_id_or_the_targets_never_the_other(engine_pool, tmp_path_factory, data):
    """Whatever both sides hold: the target's items stay, and the same run again gives the same."""
    world = worlds.World(engine_pool("moto"))
    draw = random.Random(data.draw(st.integers(0, 2**32)))
    olds = [f"old-{n}" for n in range(draw.randint(0, 8))]
    pairs = {old: f"mine-{n}" for n, old in enumerate(olds) if draw.random() < 0.5}
    keep = draw.random() < 0.3
    links = [{"id": {"S": f"l{n}"}, "to": {"S": draw.choice([*olds, "gone"])}} for n in range(10)]
    world.build(
        {"People": KEY | {"items": [person(old, f"{old}@a.test") for old in olds]}, "Links": KEY | {"items": links}},
        SOURCE,
    )
    mine = [person(there, f"{old}@a.test", own={"N": "1"}) for old, there in pairs.items()]
    world.build({"People": KEY | {"items": [*mine, person("other", "z@a.test")]}, "Links": KEY}, TARGET)
    before, folder = before_of(world), tmp_path_factory.mktemp("flow")
    people = f"{{id_format: {'keep' if keep else 'uuid'}, match: {{by: [email]}}}}"
    flow = flow_of(f"{{People: {people}, Links: {{references: {{to: People}}}}}}", world, folder)
    report = flow.migrate()
    assert counted(report).get("matched", 0) == len(pairs)
    made = {old: pairs.get(old) or (old if keep else worlds.new_id(TARGET, "People", "uuid", "S", old)) for old in olds}
    made["gone"] = "gone" if keep else worlds.new_id(TARGET, "People", "uuid", "S", "gone")
    written = {item["id"]["S"]: item["to"]["S"] for item in world.items(world.name("Links", TARGET))}
    wanted = {worlds.new_id(TARGET, "Links", "uuid", "S", one["id"]["S"]): made[one["to"]["S"]] for one in links}
    assert written == wanted
    assert kept(world, before)
    assert len(before_of(world)) == len(before) + len(olds) - len(pairs)
    content = world.content(TARGET)
    validation = flow.validate()["validation"]
    dangling = sum(one["to"]["S"] == "gone" for one in links)
    assert figures(validation) | {"extra": 1} == {
        "checked": len(olds) - len(pairs) + len(links),
        "missing": 0,
        "different": 0,
        "extra": 1,
        "matched": len(pairs),
        "matches": {"checked": len(pairs), "gone": 0, "changed": 0},
        "dangling": dangling,
    }
    assert migrate(flow.run(), flow._plan()).wrote_nothing
    assert world.content(TARGET) == content
    flow.rollback()
    assert before_of(world) == before
    world.drop()
