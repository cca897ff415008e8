"""What holds whatever is done: nobody's items are touched, nothing is counted twice, and the way back is exact."""

import pytest
import support_worlds as worlds
from support_flows import CASES, begin, counts_of, flow_of

from runbook_lib.dynamo.items import Wire
from runbook_lib.errors import DynamoError

SOURCE, TARGET = worlds.SOURCE, worlds.TARGET
COUNTED = ("scanned", "inserted", "already_there", "conflicts", "quarantined", "failed", "expired", "matched")
EXPECTED = {name: worlds.read(CASES / name / "expected.yaml") for name in ("university", "shop")}


def expected_target(case):
    """Table → items, as the migration must leave them."""
    return {table: worlds.plain_items(items) for table, items in sorted(EXPECTED[case]["target"].items())}


def residents_of(case):
    """Table → items that were in the target before."""
    tables = worlds.read(CASES / case / "target.yaml")
    return {table: worlds.plain_items(about.get("items", [])) for table, about in tables.items()}


def assert_untouched(world, residents):
    """Every resident item is there, unchanged."""
    content = world.content(TARGET)
    for table, items in residents.items():
        for item in items:
            assert item in content[table]


def two(world, table="Ships", items=2):
    """A source table with a few plain items, and its empty target table."""
    world.build({table: {"key": {"id": "S"}, "items": [{"id": {"S": f"s{n}"}} for n in range(items)]}}, SOURCE)
    world.build({table: {"key": {"id": "S"}}}, TARGET)


# whose items are touched


def test_no_stage_writes_the_source_or_touches_what_was_in_the_target(world, tmp_path):
    """Items of others (equal to ours, different under our keys, unrelated) outlive every stage, and the source is read."""
    flow = begin("university", world, tmp_path)
    source, before, residents = world.digest(SOURCE), world.digest(TARGET), residents_of("university")
    assert sum(map(len, residents.values())) == 3
    stages = {
        "analyze": flow.analyze,
        "test": lambda: flow.test("Persons", 3),
        "migrate": flow.migrate,
        "validate": flow.validate,
        "rollback": flow.rollback,
    }
    for name, stage in stages.items():
        stage()
        assert world.digest(SOURCE) == source, name
        assert_untouched(world, residents)
        assert (world.digest(TARGET) == before) == (name not in ("migrate", "validate")), name


def test_a_run_does_not_claim_what_was_inserted_since_it_first_looked(moto_world, tmp_path):
    """A table that was empty at the first execution may hold others' items at the second: they are already there, and a
    rollback leaves them."""
    moto_world.build({"Cargo": {"key": {"id": "S"}, "items": [{"id": {"S": "c"}, "kind": {"S": "a"}}]}}, SOURCE)
    moto_world.put(moto_world.name("Cargo", SOURCE), {"id": {"S": "d"}, "kind": {"S": "b"}})
    moto_world.build({"All": {"key": {"id": "S"}}}, TARGET)
    source = f"Cargo-dev-{moto_world.suffix}"
    entry = f"{{source: {source}, target: All-prod-{moto_world.suffix}, where: {{kind: %s}}}}"
    flow = flow_of(f"{{A: {entry % 'a'}, B: {entry % 'b'}}}", moto_world, tmp_path)
    flow.migrate(["A"])
    theirs = {"id": {"S": worlds.new_id(TARGET, "B", "uuid", "S", "d")}, "kind": {"S": "b"}}
    moto_world.put(moto_world.name("All", TARGET), theirs)
    assert flow.migrate(["B"])["tables"]["B"]["already_there"] == 1
    assert flow.rollback()["rollback"]["deleted"] == 1
    assert moto_world.content(TARGET) == {"All": [theirs]}


def test_an_application_that_writes_the_same_items_beside_a_run_keeps_them(moto_world, tmp_path, monkeypatch):
    """Keys kept, a target that was empty: what it wrote before our insert came is already there; a rollback leaves it."""
    two(moto_world, items=6)
    flow, insert_many = flow_of("{Ships: {id_format: keep}}", moto_world, tmp_path), Wire.insert_many
    theirs = [{"id": {"S": f"s{number}"}} for number in (0, 2, 4)]

    def beside(wire, table, items, *arguments, **named):
        for item in theirs:
            moto_world.put(table, item)
        return insert_many(wire, table, items, *arguments, **named)

    monkeypatch.setattr(Wire, "insert_many", beside)
    report = flow.migrate()
    assert (report["verdict"], report["totals"]["inserted"], report["totals"]["already_there"]) == ("PASS", 3, 3)
    reason = "the endpoint takes no INSERT statements with parameters"
    assert report["inserted_singly"] == {"Ships": {reason: 3}}
    assert flow.rollback()["rollback"]["deleted"] == 3
    assert sorted(moto_world.content(TARGET)["Ships"], key=str) == theirs


def test_a_failed_insert_takes_everything_back_or_keeps_it_as_the_limits_say(moto_world, tmp_path, monkeypatch):
    """An item that cannot be written: `rollback` empties the target again, `keep` leaves the rest; both list the item."""
    two(moto_world, items=5)
    put_new = Wire.put_new

    def refusing(wire, table, item, partition_key, **options):
        if item["id"]["S"] == worlds.new_id(TARGET, "Ships", "uuid", "S", "s3"):
            raise DynamoError("refused", code="ValidationException", message="a made-up reason")
        return put_new(wire, table, item, partition_key, **options)

    monkeypatch.setattr(Wire, "put_new", refusing)
    flow = flow_of("{Ships: {}}", moto_world, tmp_path)
    report = flow.migrate()
    assert (report["verdict"], report["rollback"]["deleted"]) == ("ROLLED_BACK", 4)
    assert moto_world.content(TARGET) == {"Ships": []}

    flow = flow_of("{Ships: {}}", moto_world, tmp_path, "the-second-run", on_failure="keep")
    report = flow.migrate()
    assert (report["verdict"], report["totals"]["inserted"], report["totals"]["failed"]) == ("FAIL", 4, 1)
    assert [line["key"] for line in flow.listing("failed")] == [{"id": {"S": "s3"}}]
    assert len(moto_world.content(TARGET)["Ships"]) == 4
    assert flow.validate()["validation"]["missing"] == 1


# what is counted


def test_a_second_run_inserts_nothing_and_the_same_run_writes_nothing(moto_world, tmp_path):
    """Everything is already there to a new run; the same run id again reports the same and leaves journal and target."""
    flow = begin("university", moto_world, tmp_path)
    first = flow.migrate()
    target, journal = moto_world.digest(TARGET), journal_of(flow)
    again = flow.migrate()
    assert (again["tables"], again["totals"]) == (first["tables"], first["totals"])
    assert (moto_world.digest(TARGET), journal_of(flow)) == (target, journal)

    flow.run_id = "the-second-run"
    second = flow.migrate()
    assert second["totals"]["inserted"] == 0
    sums = first["totals"]
    assert second["totals"]["already_there"] == sums["inserted"] + sums["already_there"]
    assert second["totals"]["conflicts"] == sums["conflicts"]
    assert flow.rollback()["rollback"] | {} == {
        "deleted": 0,
        "kept_edited": 0,
        "not_found": 0,
        "unanswered": 0,
        "stage": "migrate",
        "tables_deleted": [],
    }
    assert moto_world.digest(TARGET) == target


def journal_of(flow):
    """The bytes of a run's journal."""
    folder = flow.outputs / flow.run_id / "journal"
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("case", "workers", "segments", "engine"),
    [
        ("university", 8, None, "moto"),
        ("shop", 1, 3, "moto"),  # moto cannot cut a table with a binary key
        pytest.param("university", 1, None, "moto", marks=pytest.mark.slow),
        pytest.param("shop", 8, 3, "moto", marks=pytest.mark.slow),
        pytest.param("university", 8, 3, "ministack", marks=pytest.mark.slow),
        pytest.param("university", 1, 3, "dynalite", marks=pytest.mark.slow),
    ],
    indirect=["engine"],
)
def test_workers_and_segments_change_nothing(case, workers, segments, world, tmp_path):
    """The same target and the same counts, however many hands there are and however the tables are cut."""
    flow = begin(case, world, tmp_path, workers=workers, segments=segments)
    flow.create()
    before, wanted = world.digest(TARGET), EXPECTED[case]["migration"]
    report = flow.migrate()
    assert world.content(TARGET) == expected_target(case)
    assert counts_of(report) == {name: dict.fromkeys(COUNTED, 0) | c for name, c in wanted["tables"].items()}
    assert report["totals"]["unrouted"] == wanted["unrouted"]
    assert flow.validate()["verdict"] == EXPECTED[case]["validation"]["verdict"]
    flow.rollback()
    assert world.digest(TARGET) == before


def test_tables_one_after_the_other_come_to_the_same_as_all_at_once(moto_world, tmp_path):
    """Chosen entries in one run, children first: same items, counts and unrouted as all at once, and one way back."""
    flow = begin("university", moto_world, tmp_path)
    before = moto_world.digest(TARGET)
    wanted = EXPECTED["university"]["migration"]
    *names, last = reversed(wanted["tables"])
    parts = [[last], names[0::3], names[1::3], names[2::3]]
    for part in parts:
        report = flow.migrate(part)
    assert moto_world.content(TARGET) == expected_target("university")
    assert counts_of(report) == {name: dict.fromkeys(COUNTED, 0) | c for name, c in wanted["tables"].items()}
    assert report["totals"]["unrouted"] == wanted["unrouted"]
    assert len(flow.listing("unrouted")) == wanted["unrouted"]
    assert report["executions"] == len(parts)
    assert flow.rollback()["rollback"]["deleted"] == report["totals"]["inserted"]
    assert moto_world.digest(TARGET) == before


def test_each_unrouted_item_counts_once_however_the_passes_are_cut(moto_world, tmp_path):
    """Two passes over one table, in one segment and in three, meet the same unrouted items."""
    kinds = [{"id": {"S": str(n)}, "kind": {"S": "abo"[n % 3]}} for n in range(15)]
    moto_world.build({"Cargo": {"key": {"id": "S"}, "items": kinds}}, SOURCE)
    moto_world.build({"A": {"key": {"id": "S"}}, "B": {"key": {"id": "S"}}}, TARGET)
    source = f"Cargo-dev-{moto_world.suffix}"
    mapping = f"{{A: {{source: {source}, where: {{kind: a}}}}, B: {{source: {source}, where: {{kind: b}}}}}}"
    flow_of(mapping, moto_world, tmp_path, segments=1).migrate(["A"])
    totals = flow_of(mapping, moto_world, tmp_path, segments=3).migrate(["B"])["totals"]
    assert (totals["inserted"], totals["unrouted"]) == (10, 5)


def test_a_finished_run_takes_up_entries_that_it_had_not_begun(moto_world, tmp_path):
    """After `--tables`, the whole: what was done is not done again, and the counts are of the run."""
    flow = begin("shop", moto_world, tmp_path)
    flow.create()
    assert set(flow.migrate(["Lines"])["tables"]) == {"Lines"}
    report = flow.migrate()
    assert report["totals"]["inserted"] == 7
    assert report["verdict"] == "PASS"
    assert moto_world.content(TARGET) == expected_target("shop")


# the way back


def test_a_rollback_deletes_what_is_unchanged_and_keeps_and_lists_the_rest(world, tmp_path):
    """Changed, grown and deleted items are told apart; the same value spelled anew is unchanged; twice is once."""
    items = [
        {"id": {"S": f"s{n}"}, "n": {"N": "7.5"}, "m": {"M": {"a": {"N": "1"}}}, "s": {"SS": ["x", "y"]}}
        for n in range(7)
    ]
    world.build({"Ships": {"key": {"id": "S"}, "items": items}}, SOURCE)
    world.build({"Ships": {"key": {"id": "S"}, "items": [{"id": {"S": "theirs"}}]}}, TARGET)
    flow = flow_of("{Ships: {}}", world, tmp_path)
    flow.migrate()
    name = world.name("Ships", TARGET)
    ids = [{"S": worlds.new_id(TARGET, "Ships", "uuid", "S", f"s{n}")} for n in range(7)]
    edited = items[0] | {"id": ids[0], "n": {"N": "8"}}
    grown = items[1] | {"id": ids[1], "extra": {"BOOL": True}}
    deeply = items[2] | {"id": ids[2], "m": {"M": {"a": {"N": "2"}}}}
    for item in (edited, grown, deeply):
        world.put(name, item)
    world.put(name, items[3] | {"id": ids[3], "n": {"N": "7.500"}, "s": {"SS": ["y", "x"]}})
    world.delete(name, {"id": ids[4]})

    left = {"Ships": worlds.plain_items([edited, grown, deeply, {"id": {"S": "theirs"}}])}
    for _ in range(2):
        report = flow.rollback()
        counts = {key: report["rollback"][key] for key in ("deleted", "kept_edited", "not_found")}
        assert counts == {"deleted": 3, "kept_edited": 3, "not_found": 1}
        assert report["verdict"] == "ROLLED_BACK"
        assert any(alert["level"] == "REVIEW" for alert in report["alerts"])
        assert sorted(line["target_key"]["id"]["S"] for line in flow.listing("kept")) == sorted(i["S"] for i in ids[:3])
        assert world.content(TARGET) == left

    world.put(name, items[0] | {"id": ids[0]})  # its owner took the edit back
    counts = flow.rollback()["rollback"]
    assert (counts["deleted"], counts["kept_edited"], counts["not_found"]) == (4, 2, 1)


# the test of a few


def reachable(first, table, items):
    """Items (table, text) that `first` leads to: those whose id stands somewhere in an item already reached."""
    every = [(name, item) for name, found in items.items() for item in found]
    ids = [(name, item, next(iter(item["id"].values()))) for name, item in every if "id" in item]
    found, new = [], [(table, item) for item in first]
    while new:
        found += new
        texts = [worlds.as_text(item) for _, item in new]
        new = [(n, i) for n, i, own in ids if (n, i) not in found and any(own in text for text in texts)]
    return found


@pytest.mark.parametrize(
    "table",
    ["Journal", *(pytest.param(name, marks=pytest.mark.slow) for name in ("Enrolments", "Memberships", "Notes"))],
)
def test_a_test_inserts_the_whole_closure_and_takes_it_back(table, moto_world, tmp_path):
    """What N items refer to, through lists, sets, maps, JSON text and templates, comes along; nothing else, nothing stays."""
    flow = begin("university", moto_world, tmp_path)
    before = moto_world.content(TARGET)
    canary = flow.test(table, 2)
    assert canary.wrong == 0
    assert moto_world.content(TARGET) == before

    flow.test(table, 2, keep=True)
    kept = moto_world.content(TARGET)
    expected = expected_target("university")
    for name, items in kept.items():
        assert all(item in expected[name] for item in items), name
    new = {n: [i for i in items if i not in before[n]] for n, items in kept.items()}
    keys = {worlds.as_text(row.key) for row in canary.closure.rows[:2]}
    first = [
        item for item in expected[table] if worlds.as_text({k: item[k] for k in canary.closure.rows[0].key}) in keys
    ]
    # Of the residents only what equals ours stands for ours; the rest is nobody's parent here.
    wanted = [(n, i) for n, i in reachable(first, table, expected) if i not in before[n]]
    assert sorted(map(worlds.as_text, wanted)) == sorted(worlds.as_text((n, i)) for n, its in new.items() for i in its)

    report = flow.migrate()
    assert moto_world.content(TARGET) == expected
    arrived = sum(len(items) for items in new.values())
    assert (
        report["totals"]["already_there"]
        == EXPECTED["university"]["migration"]["tables"]["Persons"]["already_there"] + arrived
    )
    flow.rollback()
    assert moto_world.content(TARGET) == kept  # what the test kept is not the migration's to undo
    flow.rollback("test")
    assert moto_world.content(TARGET) == before


def test_a_test_leaves_what_the_migration_of_its_run_inserted(moto_world, tmp_path):
    """Test, migrate, test again, in one run: the last finds everything there and takes nothing away."""
    two(moto_world)
    flow = flow_of("{Ships: {}}", moto_world, tmp_path)
    flow.test("Ships")
    flow.migrate()
    after = moto_world.digest(TARGET)
    assert flow.test("Ships", 2).state.tables["Ships"]["already_there"] == 2
    assert moto_world.digest(TARGET) == after
    flow.rollback("test")
    assert moto_world.digest(TARGET) == after


def test_a_test_leaves_what_an_earlier_test_kept(moto_world, tmp_path):
    """`--keep` means kept, also where the next test of the run works on the same items."""
    two(moto_world)
    flow = flow_of("{Ships: {}}", moto_world, tmp_path)
    flow.test("Ships", 1, keep=True)
    kept = moto_world.digest(TARGET)
    flow.test("Ships", 2)
    assert moto_world.digest(TARGET) == kept


def test_the_closure_knows_a_number_however_it_is_spelled(moto_world, tmp_path):
    """`2.0` in JSON text is the id 2; an id that several items share brings them all, each once."""
    ports = [{"site": {"S": site}, "id": {"N": number}} for site, number in (("a", "1"), ("b", "1"), ("c", "2"))]
    ship = {"id": {"S": "s"}, "route": {"S": '{"port": 2.0}'}, "home": {"N": "1"}}
    moto_world.build(
        {"Ports": {"key": {"site": "S", "id": "N"}, "items": ports}, "Ships": {"key": {"id": "S"}, "items": [ship]}},
        SOURCE,
    )
    moto_world.build({"Ports": {"key": {"site": "S", "id": "N"}}, "Ships": {"key": {"id": "S"}}}, TARGET)
    mapping = '{Ports: {id_format: number}, Ships: {references: {"route:json.port": Ports, home: Ports}}}'
    canary = flow_of(mapping, moto_world, tmp_path).test("Ships")
    assert (len(canary.closure.rows), canary.closure.dangling, canary.wrong) == (4, 0, 0)


# what validation sees


def test_validation_tells_missing_different_and_extra_apart(moto_world, tmp_path):
    """One item deleted, one edited, one added: each is found, counted once, and fails or reviews the verdict."""
    flow = begin("shop", moto_world, tmp_path)
    flow.create()
    flow.migrate()
    sales = moto_world.name("Sales", TARGET)
    moto_world.delete(sales, {"PK": {"S": "ORDER#o2"}, "SK": {"S": "LINE#1"}})
    moto_world.put(sales, {"PK": {"S": "ORDER#o1"}, "SK": {"S": "LINE#2"}, "amount": {"N": "1.0001"}})
    moto_world.put(sales, {"PK": {"S": "ORDER#o9"}, "SK": {"S": "HEAD"}})
    report = flow.validate()
    found = {
        key: report["validation"][key] for key in ("checked", "equal", "missing", "different", "extra", "dangling")
    }
    assert found == {"checked": 7, "equal": 5, "missing": 1, "different": 1, "extra": 1, "dangling": 0}
    assert report["verdict"] == "FAIL"


@pytest.mark.parametrize("policy", ["map", "keep", "null", "remove"])
def test_validation_counts_dangling_references_under_each_policy(policy, moto_world, tmp_path):
    """Whatever is written for them, they wait for a decision: analysis, migration and validation say the same."""
    ships = [{"id": {"S": "s"}, "port": {"S": "none"}}, {"id": {"S": "t"}, "port": {"S": "p"}}]
    tables = {
        "Ports": {"key": {"id": "S"}, "items": [{"id": {"S": "p"}}]},
        "Ships": {"key": {"id": "S"}, "items": ships},
    }
    moto_world.build(tables, SOURCE)
    moto_world.build({name: {"key": {"id": "S"}} for name in tables}, TARGET)
    mapping = f"{{Ports: {{}}, Ships: {{references: {{port: {{to: Ports, dangling: {policy}}}}}}}}}"
    flow = flow_of(mapping, moto_world, tmp_path)
    assert [flow.analyze()["verdict"], flow.migrate()["verdict"]] == ["REVIEW", "REVIEW"]
    report = flow.validate()
    assert (report["validation"]["dangling"], report["validation"]["references"]) == (1, 2)
    assert (report["validation"]["verdict"], report["verdict"]) == ("REVIEW", "REVIEW")


def test_a_conflict_in_one_table_hides_no_difference_in_another(moto_world, tmp_path):
    """The same key in two tables: taken in one, edited in the other."""
    for table in ("Ships", "Crews"):
        moto_world.build({table: {"key": {"id": "S"}, "items": [{"id": {"S": "x"}}]}}, SOURCE)
    moto_world.build({"Ships": {"key": {"id": "S"}, "items": [{"id": {"S": "x"}, "theirs": {"BOOL": True}}]}}, TARGET)
    moto_world.build({"Crews": {"key": {"id": "S"}}}, TARGET)
    flow = flow_of("{Ships: {id_format: keep}, Crews: {id_format: keep}}", moto_world, tmp_path)
    assert flow.migrate()["totals"]["conflicts"] == 1
    moto_world.put(moto_world.name("Crews", TARGET), {"id": {"S": "x"}, "edited": {"BOOL": True}})
    tables = flow.validate()["validation"]["tables"]
    assert (tables["Ships"]["conflicts"], tables["Ships"]["different"]) == (1, 0)
    assert (tables["Crews"]["conflicts"], tables["Crews"]["different"]) == (0, 1)


def test_validation_of_chosen_entries_counts_nobody_else_as_extra(moto_world, tmp_path):
    """Entries that share a target table: those not chosen are neither extra nor out of place in a query's answer."""
    flow = begin("shop", moto_world, tmp_path)
    flow.create()
    flow.migrate()
    for chosen in (["Orders"], ["Lines"], ["Customers"]):
        report = flow.validate(chosen)
        assert (report["validation"]["verdict"], report["validation"]["extra"]) == ("PASS", 0), chosen
