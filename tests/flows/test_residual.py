"""What is left of the source in the target: found whatever the mapping says, listed by key, the same after an interruption."""

import pytest
import support_worlds as worlds
from support_crashes import small_pages
from support_flows import flow_of
from support_schemas import UUIDS, text

from runbook_lib.dynamo.items import Wire
from runbook_lib.errors import Interrupted
from runbook_lib.stages.validate.validate import validate

SOURCE, TARGET = worlds.SOURCE, worlds.TARGET
KEY = {"key": {"id": "S"}}
USERS = [{"id": text(one)} for one in UUIDS[:12]]


def new(entry: str, old: str) -> str:
    """The new id of an old one."""
    return worlds.new_id(TARGET, entry, "uuid", "S", old)


@pytest.fixture
def make(moto_world, tmp_path):
    """A function that builds source tables with empty targets, and migrates; gives the flow."""

    def made(mapping: str, migrate: bool = True, **tables):
        for name, items in tables.items():
            moto_world.build({name: KEY | {"items": items}}, SOURCE)
            moto_world.build({name: KEY}, TARGET)
        flow = flow_of(mapping, moto_world, tmp_path)
        if migrate:
            flow.migrate()
        return flow

    return made


def left(report: dict) -> dict:
    """Entry → path → items with an id of the source."""
    return report["validation"]["residual_ids"]["by_path"]


def test_each_value_is_a_line_with_the_targets_key(make):
    """Counted by item, value and path; nothing of it depends on what the mapping declares."""
    orders = [
        {"id": text(f"O-{n}"), "buyer": text(UUIDS[n]), "seen": {"L": [text(UUIDS[0]), text(UUIDS[n])]}}
        for n in range(3)
    ]
    flow = make("{Users: {}, Orders: {references: {buyer: Users}}}", Users=USERS, Orders=orders)
    report = flow.validate()
    found = report["validation"]["residual_ids"]
    assert report["verdict"] == "REVIEW"
    assert (found["items"], found["values"], left(report)) == (3, 6, {"Orders": {"seen[]": 3}})
    assert found["entries"] == ["Orders", "Users"]
    assert sorted(line["key"]["id"]["S"] for line in flow.listing("residual-ids")) == sorted(
        new("Orders", f"O-{n}") for n in range(3)
    )
    assert {(line["table"], line["path"], line["to"]) for line in flow.listing("residual-ids")} == {
        ("Orders", "seen[]", "Users")
    }
    assert [a["message"] for a in report["alerts"]] == ["3 items with an id of the source left (seen[])"]


def test_an_edit_that_brings_an_old_id_back_is_found(make, moto_world):
    """The target itself is looked at, not what the mapping makes."""
    flow = make("{Users: {}, Orders: {references: {buyer: Users}}}", Users=USERS, Orders=[{"id": text("O-1")}])
    item = {"id": text(new("Orders", "O-1")), "note": text(f"moved from {UUIDS[3]}")}
    moto_world.put(moto_world.name("Orders", TARGET), item)
    foreign = {"id": text("theirs"), "note": text(UUIDS[4])}
    moto_world.put(moto_world.name("Orders", TARGET), foreign)
    assert left(flow.validate()) == {"Orders": {"note": 1}}


def test_bare_ids_take_a_second_look_at_their_tables_alone(make):
    """They count where the path is one for ids; elsewhere they coincide."""
    orders = [
        {"id": text(f"o{n}"), "userNo": text(f"u{n % 12}"), "tag": text(f"u{n % 12}" if n % 2 else "other")}
        for n in range(24)
    ]
    flow = make("{Users: {}, Orders: {}}", Users=[{"id": text(f"u{n}")} for n in range(12)], Orders=orders)
    report = flow.validate()
    found = report["validation"]["residual_ids"]
    assert (found["items"], left(report)) == (24, {"Orders": {"userNo": 24}})
    assert {name.partition("-")[0]: paths for name, paths in found["coincidences_by_path"].items()} == {
        "Orders": {"tag": 12}
    }
    assert len(flow.listing("residual-ids")) == 24


def test_short_ids_inside_a_key_are_seen_before_and_after(moto_world, tmp_path):
    """01 gives the line, 04 the items; with the line in the mapping both are content."""
    items = [{"PK": text(f"P#p{n}"), "SK": text("META")} for n in range(1, 9)]
    items += [
        {"PK": text(f"O#{UUIDS[n]}"), "SK": text(f"LINE#{line:03}#p{(3 * n + line) % 8 + 1}")}
        for n in range(9)
        for line in range(3)
    ]
    items += [{"PK": text(f"O#{UUIDS[n]}"), "SK": text("META")} for n in range(9)]
    moto_world.build({"Shop": {"key": {"PK": "S", "SK": "S"}, "items": items}}, SOURCE)
    side = f"source: Shop-{SOURCE}-{moto_world.suffix}, target: Shop-{TARGET}-{moto_world.suffix}, create: like_source"
    entries = (
        f'Products: {{{side}, where: {{PK: {{begins_with: "P#"}}}}, id: {{in: PK, as: "P#{{id}}"}}}}, '
        f'Orders: {{{side}, where: {{PK: {{begins_with: "O#"}}, SK: META}}, id: {{in: PK, as: "O#{{id}}"}}}}, '
        f'Lines: {{{side}, where: {{SK: {{begins_with: "LINE#"}}}}, id: null, references: {{PK: "O#{{Orders}}"'
    )
    flow = flow_of(f"{{{entries}}}}}}}", moto_world, tmp_path)
    content = flow.analyze()
    found = [(one["table"], one["path"], one["to"], one["found"], one["line"]) for one in content["undeclared"]]
    line = 'SK: "LINE#{*}#{Products}"'
    assert (content["verdict"], found) == ("REVIEW", [("Lines", "SK", "Products", 27, line)])
    flow.create()
    flow.migrate()
    report = flow.validate()
    assert (report["verdict"], left(report)) == ("REVIEW", {"Lines": {"SK": 27}})
    new = moto_world.name("Shop", TARGET)
    for item in moto_world.items(new):
        moto_world.delete(new, {name: item[name] for name in ("PK", "SK")})
    flow = flow_of(f"{{{entries}, {line}}}}}}}", moto_world, tmp_path, "the-second-run")
    assert (flow.analyze()["verdict"], flow.migrate()["verdict"], flow.validate()["verdict"]) == (
        "PASS",
        "PASS",
        "PASS",
    )


CUSTOMERS = [{"id": text(f"c{n}")} for n in range(1, 9)]
OPEN = "the analysis found ids that no rule rewrites at g (Customers)"


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ("{id: {from: id}, x: {from: g, as: 'customer {value}'}}", None),
        ("{id: {from: id}, x: {from: g}}", "x"),
        ("{id: {from: id}, x: 'for {g}'}", "x"),
        ("{id: {from: id}}", "more.g"),
    ],
)
def test_what_01_leaves_to_decide_is_told_once(make, fields, shown):
    """By 04's own look where that shows it, under whatever name it has in the target; else as 01 says it."""
    orders = [{"id": text(f"O-{n}"), "g": text(f"customer c{n % 8 + 1}")} for n in range(24)]
    drop = ", drop: [g]" if "'for" in fields else ""
    flow = make(
        f"{{Customers: {{}}, Orders: {{fields: {fields}, rest: more{drop}}}}}",
        False,
        Customers=CUSTOMERS,
        Orders=orders,
    )
    assert [(one["path"], one["to"], one["confidence"] >= 0.9) for one in flow.analyze()["undeclared"]] == [
        ("g", "Customers", True)
    ]
    assert OPEN in [alert["message"] for alert in flow.migrate()["alerts"]]
    report = flow.validate()
    told = [alert["message"] for alert in report["alerts"] if alert["level"] == "REVIEW"]
    assert (report["verdict"], told) == (
        "REVIEW",
        [f"24 items with an id of the source left ({shown})" if shown else OPEN],
    )
    assert left(report) == ({"Orders": {shown: 24}} if shown else {})


def test_04_does_not_repeat_what_it_sees_to_be_over(make, moto_world):
    """The values are what they were in the source, and none of them is an id any more."""
    orders = [{"id": text(f"O-{n}"), "customerRef": text(f"c{n % 8 + 1}")} for n in range(24)]
    flow = make("{Customers: {}, Orders: {}}", False, Customers=CUSTOMERS, Orders=orders)
    assert flow.analyze()["verdict"] == "REVIEW"
    for one in orders:
        moto_world.put(moto_world.name("Orders", SOURCE), one | {"customerRef": text("nobody")})
    flow.migrate()
    assert "the analysis found" not in str(flow.validate()["alerts"])


def test_a_path_that_holds_ids_of_both_kinds_counts_an_item_once(make):
    """What the second look adds is not counted again, nor listed twice."""
    ids = [*UUIDS[:18], "legacy"]
    orders = [{"id": text(f"o{n}"), "seen": {"L": [text(one), text("legacy")]}} for n, one in enumerate(ids)]
    flow = make("{Users: {}, Orders: {}}", Users=[{"id": text(one)} for one in ids], Orders=orders)
    found = flow.validate()["validation"]["residual_ids"]
    assert (found["items"], found["values"], found["by_path"]) == (19, 38, {"Orders": {"seen[]": 19}})
    assert len(flow.listing("residual-ids")) == 19


def test_what_stays_on_purpose_is_left_out_and_listed(make):
    """Ids that are kept, references to them, and what the mapping calls no reference."""
    orders = [{"id": text("O-1"), "buyer": text(UUIDS[0]), "log": text(UUIDS[1]), "old": text(UUIDS[2])}]
    body = "{Users: {}, Kept: {id_format: keep}, Orders: {references: {old: Kept}, not_references: [log]}}"
    flow = make(body, Users=USERS, Kept=USERS, Orders=orders)
    report = flow.validate()
    assert left(report) == {"Orders": {"buyer": 1}}
    assert report["validation"]["residual_ids"]["left_out"] == {"Kept": ["id"], "Orders": ["log", "old"]}


def test_two_entries_of_one_target_leave_out_what_each_of_them_says(make, moto_world):
    """`not_references`, ids that are kept, and references to them, each in one entry and not in the other."""
    kinds = "ABCD"
    docs = [
        {"id": text(f"O-{n}"), "kind": text(kinds[n % 4]), "code": text(UUIDS[n]), "old": text(UUIDS[n])}
        for n in range(12)
    ]
    side = f"source: Docs-{SOURCE}-{moto_world.suffix}, target: Docs-{TARGET}-{moto_world.suffix}"
    of_kind = {kind: f"{{{side}, where: {{kind: {kind}}}" for kind in kinds}
    body = (
        f"{{Users: {{}}, Kept: {{id_format: keep}}, A: {of_kind['A']}, not_references: [code, old]}}, "
        f"B: {of_kind['B']}, not_references: [old]}}, C: {of_kind['C']}, references: {{code: Kept, old: Users}}}}, "
        f"D: {of_kind['D']}, id: old, id_format: keep}}}}"
    )
    report = make(body, Users=USERS, Kept=USERS, Docs=docs).validate()
    assert left(report) == {"B": {"code": 3}, "D": {"code": 3}}
    assert report["validation"]["residual_ids"]["left_out"] == {
        "A": ["code", "old"],
        "B": ["old"],
        "C": ["code"],
        "D": ["old"],
        "Kept": ["id"],
    }


def test_what_templates_make_of_values_that_stay_stays(make):
    """Through other fields, too; what other attributes bring into the same text is found."""
    fields = '{id: {from: id}, ref: {from: code}, label: "M-{ref}", both: "{buyer}/{label}"}'
    body = f"{{Users: {{}}, Orders: {{fields: {fields}, drop: [buyer], not_references: [code]}}}}"
    orders = [
        {"id": text(f"O-{n}"), "code": text(UUIDS[n]), "buyer": text(one)} for n, one in enumerate([UUIDS[9], "x"])
    ]
    report = make(body, Users=USERS, Orders=orders).validate()
    assert left(report) == {"Orders": {"both": 1}}
    assert report["validation"]["residual_ids"]["values"] == 1


def test_a_split_is_searched_under_the_targets_names(make):
    """In the rest, under a field's name, and where a template put it."""
    fields = '{id: {from: id}, buyerId: {from: buyer}, label: "by {buyer}", seenLog: {from: log}}'
    body = f"{{Users: {{}}, Orders: {{fields: {fields}, rest: more, not_references: [log, note]}}}}"
    order = {name: text(UUIDS[0]) for name in ("buyer", "log", "note", "other")} | {"id": text("O-1")}
    report = make(body, Users=USERS, Orders=[order]).validate()
    assert left(report) == {"Orders": {"buyerId": 1, "label": 1, "more.other": 1}}


def test_the_name_of_the_environment_is_looked_for_where_the_mapping_uses_it(make, moto_world, tmp_path):
    """A short one is a note. Without the hole in a table's name nobody looks."""
    urls = [{"id": text("O-1"), "url": text(f"s3://files-{SOURCE}/a"), "word": text(f"{SOURCE}eloper")}]
    assert make("{Orders: {}}", Orders=urls).validate()["validation"]["residual_environment"]["items"] == 0
    source = f'"{{table}}-{{source.environment}}-{moto_world.suffix}"'
    report = flow_of(f"{{Orders: {{source: {source}}}}}", moto_world, tmp_path, "the-second-run").validate()
    assert report["validation"]["residual_environment"] == {"items": 1, "values": 1, "by_path": {"Orders": {"url": 1}}}
    assert report["verdict"] == "PASS"
    assert [(a["level"], a["table"]) for a in report["alerts"]] == [("NOTE", "Orders")]


def test_entries_that_are_left_out_still_say_which_ids_are_old(make):
    """Those that the chosen ones refer to; the report names whose ids were looked for."""
    orders = [{"id": text("O-1"), "buyer": text(UUIDS[0]), "seller": text(UUIDS[1])}]
    flow = make("{Users: {}, Others: {}, Orders: {references: {buyer: Users}}}", Users=USERS, Others=[], Orders=orders)
    report = flow.validate(tables=["Orders"])
    assert left(report) == {"Orders": {"seller": 1}}
    assert report["validation"]["residual_ids"]["entries"] == ["Orders", "Users"]
    assert report["validation"]["residual_ids"]["not_looked_for"] == ["Others"]
    notes = [a["message"] for a in report["alerts"] if a["level"] == "NOTE"]
    assert "nobody looked for the ids of Others, which `--tables` left out" in notes


def test_an_interrupted_search_finds_the_same(make, moto_world, monkeypatch):
    """The ids of the pages that were compared before come from the journal."""
    small_pages(monkeypatch)
    orders = [{"id": text(f"O-{n}"), "buyer": text(UUIDS[n]), "no": text(f"u{n}")} for n in range(10)]
    tables = {"Users": USERS, "Bare": [{"id": text(f"u{n}")} for n in range(10)], "Orders": orders}
    body = "{Users: {}, Bare: {}, Orders: {not_references: []}}"
    flow = make(body, **tables)
    whole = flow.validate()["validation"]["residual_ids"]
    assert whole["by_path"] == {"Orders": {"buyer": 10}}
    pages = iter(range(4))

    def on_page(table, counts):
        if next(pages, None) is None:
            raise Interrupted("enough")

    with pytest.raises(Interrupted):
        validate(flow.run(), flow._plan(), on_page)
    assert flow.validate()["validation"]["residual_ids"] == whole


def test_nothing_is_read_whole_where_no_id_is_renewed(make, monkeypatch):
    """A mapping that keeps ids, and names no environment, needs the target's keys alone."""
    read = []
    scan_page = Wire.scan_page

    def watched(wire, table, **options):
        if wire.label == "target" and options.get("limit") != 1:
            read.append(options.get("attributes"))
        return scan_page(wire, table, **options)

    monkeypatch.setattr(Wire, "scan_page", watched)
    assert make("{Users: {id_format: keep}}", Users=USERS).validate()["verdict"] == "PASS"
    assert read == [["id"]]
