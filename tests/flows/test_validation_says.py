"""What a validation says of references, differences and queries: whole, by cause, and no more than it has proved."""

from datetime import UTC, datetime, timedelta

import pytest
import support_worlds as worlds
from support_crashes import small_pages
from support_flows import flow_of

from runbook_lib.errors import Interrupted
from runbook_lib.journal import log, stage
from runbook_lib.report import views
from runbook_lib.run import folder as runs
from runbook_lib.stages.validate import compare, journal
from runbook_lib.stages.validate.validate import validate

SOURCE, TARGET = worlds.SOURCE, worlds.TARGET
KEY = {"key": {"id": "S"}}


def new(entry, old):
    """The new id of an old one, typed."""
    return {"S": worlds.new_id(TARGET, entry, "uuid", "S", old)}


@pytest.fixture
def make(moto_world, tmp_path):
    """A function that makes a migrated world of Ports and Ships; gives its flow."""

    def made(mapping, ports=(), ships=(), *, migrate=True, **limits):
        for name, items in (("Ports", ports), ("Ships", ships)):
            moto_world.build({name: KEY | {"items": list(items)}}, SOURCE)
            moto_world.build({name: KEY}, TARGET)
        flow = flow_of(mapping, moto_world, tmp_path, **limits)
        if migrate:
            flow.migrate()
        return flow

    return made


PORTS = [{"id": {"S": f"p{n}"}} for n in range(3)]
SHIPS = [{"id": {"S": f"s{n}"}, "port": {"S": f"p{n % 3}"}} for n in range(6)]
REFERRING = "{Ports: {}, Ships: {references: {port: Ports}}}"


def levels(report, word):
    """The levels of the alerts that say a word."""
    return [alert["level"] for alert in report["alerts"] if word in alert["message"]]


# references


def test_an_item_of_nobody_lets_no_reference_resolve(make, moto_world):
    """The parent is gone; an extra item has its id in another attribute's place, or its very key."""
    flow = make(REFERRING, PORTS[:2], SHIPS)
    moto_world.put(moto_world.name("Ports", TARGET), {"id": new("Ports", "p2")})
    report = flow.validate()
    assert (report["validation"]["dangling"], report["validation"]["extra"]) == (2, 1)
    lines = flow.listing("dangling")
    assert sorted(line["key"]["id"]["S"] for line in lines) == ["s2", "s5"]
    assert all(line | {"key": 0} == {"table": "Ships", "key": 0, "path": "port", "to": "Ports"} for line in lines)


def test_an_edited_parent_still_exists_and_a_deleted_one_does_not(make, moto_world):
    """What is under its key is its item as long as it carries the id."""
    flow = make(REFERRING, PORTS, SHIPS)
    ports = moto_world.name("Ports", TARGET)
    moto_world.put(ports, {"id": new("Ports", "p0"), "edited": {"BOOL": True}})
    moto_world.delete(ports, {"id": new("Ports", "p1")})
    report = flow.validate()
    assert (report["validation"]["different"], report["validation"]["missing"]) == (1, 1)
    assert [line["key"]["id"]["S"] for line in flow.listing("dangling")] in (["s1", "s4"], ["s4", "s1"])


def test_another_item_under_the_parents_key_is_not_the_parent(make, moto_world):
    """Where the key does not hold the id, the id decides."""
    mapping = """{Ports: {fields: {id: {from: code}, number: {from: id}}, create: {key: {id: S}}},
                  Ships: {references: {port: Ports}}}"""
    ports = [{"id": {"S": f"p{n}"}, "code": {"S": f"code{n}"}} for n in range(2)]
    flow = make(mapping, ports, SHIPS[:2])
    assert flow.validate()["validation"]["dangling"] == 0
    moto_world.put(moto_world.name("Ports", TARGET), {"id": {"S": "code1"}, "number": {"S": "theirs"}})
    report = flow.validate()
    assert (report["validation"]["different"], report["validation"]["dangling"]) == (1, 1)


def test_parents_that_are_not_chosen_are_looked_up_by_their_own_keys(make, moto_world):
    """With `--tables` of the children alone: those of the parent's entry that are there, and no other item."""
    flow = make(REFERRING, PORTS[:2], SHIPS)
    ports = moto_world.name("Ports", TARGET)
    assert flow.validate(["Ships"])["validation"]["dangling"] == 2
    moto_world.put(ports, {"id": new("Ports", "p2")})
    moto_world.delete(ports, {"id": new("Ports", "p0")})
    report = flow.validate(["Ships"])
    assert report["validation"]["dangling"] == 4
    assert sorted(line["key"]["id"]["S"] for line in flow.listing("dangling")) == ["s0", "s2", "s3", "s5"]


def test_references_of_items_that_are_not_there_are_not_counted(make, moto_world):
    """Neither dangling nor unreadable ones; the listing agrees with the figures."""
    ships = [{"id": {"S": f"s{n}"}, "port": {"S": "gone"}, "far": {"M": {}} if n else {"BOOL": True}} for n in range(4)]
    ships += [{"id": {"S": "s9"}, "port": {"S": "gone"}, "far": {"BOOL": True}}]
    flow = make("{Ports: {}, Ships: {references: {port: Ports, far: Ports}}}", PORTS, ships)
    moto_world.delete(moto_world.name("Ships", TARGET), {"id": new("Ships", "s9")})
    moto_world.delete(moto_world.name("Ships", TARGET), {"id": new("Ships", "s1")})
    figures = flow.validate()["validation"]
    assert (figures["dangling"], figures["unreadable"]) == (3, 1)
    assert sorted(line["key"]["id"]["S"] for line in flow.listing("dangling")) == ["s0", "s2", "s3"]
    assert [line["key"]["id"]["S"] for line in flow.listing("unreadable")] == ["s0"]


def test_what_is_accepted_is_counted_and_listed_and_no_reason_to_look(make):
    """In 01, 03 and 04; what is not accepted still is one."""
    ships = [{"id": {"S": "s1"}, "port": {"S": "gone"}, "far": {"BOOL": True}}]
    rules = "references: {port: Ports, far: Ports}"
    flow = make(
        f"{{Ports: {{}}, Ships: {{{rules}, accept: {{dangling: [port], unreadable: [far]}}}}}}",
        PORTS,
        ships,
        migrate=False,
    )
    for step in (flow.analyze, flow.migrate, flow.validate):
        report = step()
        assert report["verdict"] == "PASS", report["alerts"]
        assert levels(report, "accepted in the mapping") == ["NOTE", "NOTE"]
        assert len(flow.listing("dangling")) == len(flow.listing("unreadable")) == 1


def test_the_listing_of_a_migration_survives_a_source_that_changed(make, moto_world):
    """03 names the path where the source still shows it; a line is there in any case."""
    flow = make(REFERRING, PORTS[:2], SHIPS)
    moto_world.delete(moto_world.name("Ships", SOURCE), {"id": {"S": "s2"}})
    report = flow.migrate()
    lines = sorted((line["key"]["id"]["S"], line["path"], line["to"]) for line in flow.listing("dangling"))
    assert lines == [("s2", None, None), ("s5", "port", "Ports")]
    assert report["relationships"] - report["relationships_preserved"] == 2
    assert report["verdict"] == "REVIEW"


def test_a_migration_counts_what_is_unreadable_in_items_that_arrived(make, moto_world):
    """Not in those whose key another item has; a delta that replaces an item counts its new version alone."""
    ships = [{"id": {"S": f"s{n}"}, "port": {"BOOL": True}} for n in range(3)]
    flow = make(REFERRING, PORTS, ships, migrate=False)
    moto_world.put(moto_world.name("Ships", TARGET), {"id": new("Ships", "s0")})
    assert flow.migrate()["unreadable"] == 2
    assert sorted(line["key"]["id"]["S"] for line in flow.listing("unreadable")) == ["s1", "s2"]
    moto_world.put(moto_world.name("Ships", SOURCE), {"id": {"S": "s1"}, "port": {"S": "p1"}})
    moto_world.put(moto_world.name("Ships", SOURCE), {"id": {"S": "s2"}, "port": {"L": [{"S": "p1"}]}})
    assert flow.delta()["unreadable"] == 1
    assert [line["key"]["id"]["S"] for line in flow.listing("unreadable")] == ["s2"]


def test_nothing_is_read_twice_where_nothing_dangles(make, monkeypatch):
    """The second look costs only where there is something to list."""
    flow = make(REFERRING, PORTS, SHIPS)
    monkeypatch.setattr("runbook_lib.stages.references.walk", lambda *_, **__: pytest.fail("walked again"))
    assert flow.analyze()["verdict"] == "PASS"
    assert flow.validate()["verdict"] == "PASS"


# differences


def test_differences_are_counted_by_cause_beyond_those_that_are_listed(make, moto_world, monkeypatch):
    """With the rule that made the attribute, and after an interruption as well."""
    small_pages(monkeypatch)
    ships = [{"id": {"S": f"s{n:02}"}, "port": {"S": "p0"}, "size": {"N": "1"}} for n in range(12)]
    mapping = """{Ports: {}, Ships: {references: {port: Ports}, rest: copy,
                  fields: {id: {from: id}, size: {from: size}, label: "Ship {size}"}}}"""
    flow = make(mapping, PORTS[:1], ships, segments=1, workers=1)
    for n in range(12):
        item = {
            "id": new("Ships", f"s{n:02}"),
            "port": {"S": "elsewhere"},
            "size": {"S": "1"},
            "theirs": {"BOOL": True},
        }
        moto_world.put(moto_world.name("Ships", TARGET), item)
    monkeypatch.setattr(compare, "MAX_SHOWN", 2)
    pages = []

    def on_page(table, counts):
        pages.append(table)
        if len(pages) == 3:
            raise Interrupted("stop was requested; the current page is complete.")

    with pytest.raises(Interrupted):
        validate(flow.run(), flow._plan(), on_page)
    report = flow.validate()
    groups = report["validation"]["difference_groups"]
    found = {(g["attribute"], g["expected"], g["found"], g["rule"], g["items"]) for g in groups}
    assert found == {
        ("port", "S", "S", "reference port", 12),
        ("size", "N", "S", "fields.size: from size", 12),
        ("label", "S", "absent", "fields.label: template Ship {size}", 12),
        ("theirs", "absent", "BOOL", "copied", 12),
    }
    assert all(g["table"] == "Ships" and g["kind"] == "different" and g["action"] for g in groups)
    assert len(flow.listing("differences")) == 2
    assert all(len(line["code"]) == 6 for line in flow.listing("differences"))


def test_attributes_that_may_differ_are_accepted_and_no_others(make, moto_world):
    """An item is accepted if it differs in nothing else; a query counts it by what the target holds."""
    ships = [{"id": {"S": f"s{n}"}, "seen": {"N": "1"}, "name": {"S": "x"}} for n in range(3)]
    query = f"{{one: {{key: {{id: {new('Ships', 's0')['S']}}}}}}}"
    mapping = f"{{Ports: {{}}, Ships: {{accept: {{differs: [seen]}}, create: {{key: {{id: S}}}}, queries: {query}}}}}"
    flow = make(mapping, PORTS, ships)
    table = moto_world.name("Ships", TARGET)
    moto_world.put(table, {"id": new("Ships", "s0"), "seen": {"N": "2"}, "name": {"S": "x"}})
    report = flow.validate()
    assert (report["validation"]["accepted"], report["validation"]["different"]) == (1, 0)
    assert report["validation"]["queries"][0]["proved"]
    assert (report["verdict"], levels(report, "accepted")) == ("PASS", ["NOTE"])
    moto_world.put(table, {"id": new("Ships", "s1"), "seen": {"N": "2"}, "name": {"S": "y"}})
    report = flow.validate()
    assert (report["validation"]["accepted"], report["validation"]["different"], report["verdict"]) == (1, 1, "FAIL")
    kinds = {(g["attribute"], g["kind"], g["items"]) for g in report["validation"]["difference_groups"]}
    assert kinds == {("seen", "accepted", 2), ("name", "different", 1)}


@pytest.mark.parametrize(("accept", "verdict"), [("", "REVIEW"), ("accept: {extra: true}", "PASS")])
def test_extra_items_are_reason_to_look_unless_accepted(accept, verdict, make, moto_world):
    """The figure is the same."""
    flow = make(f"{{Ports: {{{accept}}}, Ships: {{references: {{port: Ports}}}}}}", PORTS, SHIPS)
    moto_world.put(moto_world.name("Ports", TARGET), {"id": {"S": "theirs"}})
    report = flow.validate()
    assert (report["verdict"], report["validation"]["extra"]) == (verdict, 1)
    assert levels(report, "extra item") == ["NOTE" if accept else "REVIEW"]


def test_the_groups_are_bounded(monkeypatch):
    """Beyond so many the attributes of a table share a group."""
    monkeypatch.setattr(compare, "MAX_GROUPS", 2)
    totals = compare.Totals()
    for n in range(5):
        totals.count(compare.Group("T", f"a{n}", "different", "S", "N"), 1)
    totals.count(compare.Group("T", "a0", "different", "S", "N"), 1)
    assert dict(totals.groups) == {
        compare.Group("T", "a0", "different", "S", "N"): 2,
        compare.Group("T", "a1", "different", "S", "N"): 1,
        compare.Group("T", compare.OTHERS, "different"): 3,
    }


# what proves nothing


@pytest.mark.parametrize(("accept", "verdict"), [("", "REVIEW"), (", accept: {queries: [none], empty: true}", "PASS")])
def test_what_proves_nothing_is_said(accept, verdict, make):
    """An empty source table, and a query that expects and gets nothing."""
    entry = f"create: {{key: {{id: S}}}}, queries: {{none: {{key: {{id: nobody}}}}}}{accept}"
    report = make(f"{{Ports: {{}}, Ships: {{{entry}}}}}", PORTS).validate()
    assert report["verdict"] == verdict, report["alerts"]
    level = ["NOTE" if accept else "REVIEW"]
    assert levels(report, "proves only that the index exists") == level
    assert levels(report, "is empty: nothing was compared") == level
    assert report["validation"]["queries"][0]["vacuous"] is True
    assert report["validation"]["queries"][0]["proved"] is True


# stale comparisons


@pytest.mark.parametrize(
    ("minutes", "stale", "again"), [(11, 10, True), (9, 10, False), (0, 0, True), (9, 1e99, False)]
)
def test_what_was_compared_too_long_ago_is_compared_again(minutes, stale, again, make, moto_world, monkeypatch):
    """The segment is walked from its start, and what has changed in the target since is seen. Interrupted once more, it
    does not count the old records a second time."""
    small_pages(monkeypatch)
    ships = [{"id": {"S": f"s{n:02}"}} for n in range(12)]
    flow = make("{Ports: {}, Ships: {}}", (), ships, segments=1, workers=1, stale=stale)
    for module in (stage, runs):
        set_clock(monkeypatch, module, -minutes)
    stop(flow, 2)
    for module in (stage, runs):
        set_clock(monkeypatch, module, 0)
    lose_ships(moto_world, 12)
    stop(flow, 1)
    seen = validate(flow.run(), flow._plan())
    assert seen.total("checked") == 12
    assert (seen.total("missing") == 12) is again
    assert bool(seen.again_pages) is (stale == 0)
    assert bool(seen.earlier_pages) is (stale != 0)
    if not again:
        assert seen.oldest <= runs.iso(datetime.now(UTC) - timedelta(minutes=minutes - 1))


@pytest.mark.parametrize(
    ("began", "pages", "resumed", "running"),
    [
        (0, 5, None, 0),  # the pages lie in the future
        (0, -5, None, 0),  # they are older than the validation
        pytest.param(-5, -4, (-8, 0), 0, marks=pytest.mark.slow),  # it was resumed before it began
        pytest.param(-9, -1, (0, -5), 0, marks=pytest.mark.slow),  # a page is older than the one before
        (-2, -2, None, 9),  # more time has passed on this machine
    ],
)
def test_a_clock_that_was_set_back_makes_every_comparison_stale(
    began, pages, resumed, running, make, moto_world, monkeypatch
):
    """Nobody can tell how old they are, though each looks younger than the limit. In minutes from now: the clock of the
    events, the clock of the pages, both after it was resumed; and what has passed since."""
    small_pages(monkeypatch)
    flow = make("{Ports: {}, Ships: {}}", (), [{"id": {"S": f"s{n:02}"}} for n in range(16)], segments=1, workers=1)
    set_clock(monkeypatch, stage, began)
    set_clock(monkeypatch, runs, pages)
    stop(flow, 2)
    lose_ships(moto_world, 16)
    if resumed:
        set_clock(monkeypatch, stage, resumed[0])
        set_clock(monkeypatch, runs, resumed[1])
        stop(flow, 1)
    for module in (stage, runs):
        set_clock(monkeypatch, module, 0)
    real = journal.running_time
    monkeypatch.setattr(journal, "running_time", lambda: real() + 60 * running)
    seen = validate(flow.run(), flow._plan())
    assert seen.total("checked") == seen.total("missing") == 16
    assert (seen.earlier_pages, seen.again_pages) == (0, 2 + bool(resumed))
    assert "the clock was set back" in (flow.run().folder / "run.log").read_text()
    assert f"The oldest comparison is of {seen.oldest}." in str(views.validation(seen))


def test_pages_stay_in_order_when_the_clock_is_set_meanwhile(make, monkeypatch):
    """A validation looks at the clock when it begins, and counts on from there."""
    small_pages(monkeypatch)
    flow = make("{Ports: {}, Ships: {}}", (), [{"id": {"S": f"s{n:02}"}} for n in range(16)], segments=1, workers=1)
    seen = validate(flow.run(), flow._plan(), lambda *_: set_clock(monkeypatch, runs, -600))
    assert seen.oldest > runs.iso(datetime.now(UTC) - timedelta(minutes=5))


def set_clock(monkeypatch, module, minutes):
    """A module's clock: so many minutes from now."""
    monkeypatch.setattr(module, "now", lambda: datetime.now(UTC) + timedelta(minutes=minutes))


def stop(flow, after):
    """A validation that is interrupted after so many pages."""
    left = iter(range(after - 1))

    def on_page(table, counts):
        if next(left, None) is None:
            raise Interrupted("stop was requested; the current page is complete.")

    with pytest.raises(Interrupted):
        validate(flow.run(), flow._plan(), on_page)


def lose_ships(world, number):
    """Deletes so many ships from the target."""
    for n in range(number):
        world.delete(world.name("Ships", TARGET), {"id": new("Ships", f"s{n:02}")})


def test_the_report_dates_the_oldest_comparison(make):
    """The earliest of all pages' times."""
    flow = make(REFERRING, PORTS, SHIPS)
    report = flow.validate()
    files = stage.Stage(flow.run(), "validate").read().files
    times = [record["at"] for file in files for record in log.records(file.path, "compared")]
    assert report["validation"]["oldest_comparison"] == min(times)
