"""Two source items for one target key: found before the first insert, by reading no more of the items than that needs."""

import support_worlds as worlds
from support_flows import flow_of

from runbook_lib.dynamo.items import Wire

KEY = {"key": {"id": "S"}}
MAPPING = """{
  Ships: {
    id: null,
    create: {key: {PK: S}, indexes: {ByFlag: {flag: S}}},
    fields: {
      PK: "SHIP#{name|none}",
      name: {from: called, default: ""},
      flag: {from: flag, default: 5},
      tons: {from: tons, type: number}},
    rest: others}}"""


def ship(number, **attributes):
    """A source item; its flag is what an index of the target wants, the mapping's default is not."""
    return {"id": {"S": f"s{number}"}, "flag": {"S": "x"}, **attributes}


def test_the_smallest_that_can_be_written_wins(world, tmp_path, monkeypatch):
    """An item that is quarantined takes no key from another; what the key is made of decides, through other fields too."""
    name = {"S": "Anna"}
    items = [
        ship(0, called=name, tons={"S": "many"}),  # quarantined
        ship(1, called=name, tons={"N": "1"}),
        ship(2, called=name, tons={"N": "2"}),
        ship(3, called={"S": "Berta"}, log={"S": "x" * 1000}),
        ship(4),
        ship(5, name={"S": "none"}),  # not read: a field of that name is made of another attribute
    ]
    world.build({"Ships": KEY | {"items": items}}, worlds.SOURCE)
    world.build({"Ships": {"key": {"PK": "S"}, "indexes": {"ByFlag": {"flag": "S"}}}}, worlds.TARGET)
    brought = []
    scan_page = Wire.scan_page

    def noting(wire, table, **options):
        if wire.label == "source":
            brought.append(options.get("attributes"))
        return scan_page(wire, table, **options)

    monkeypatch.setattr(Wire, "scan_page", noting)
    flow = flow_of(MAPPING, world, tmp_path)
    report = flow.migrate()
    assert {key: number for key, number in report["totals"].items() if number} == {
        "scanned": 6,
        "inserted": 3,
        "conflicts": 2,
        "quarantined": 1,
    }
    made = {item["PK"]["S"]: item for item in world.items(world.name("Ships", worlds.TARGET))}
    assert sorted(made) == ["SHIP#Anna", "SHIP#Berta", "SHIP#none"]
    assert made["SHIP#Anna"]["tons"] == {"N": "1"}
    assert [one["key"] for one in flow.listing("conflicts")] == [{"id": {"S": "s2"}}, {"id": {"S": "s5"}}]
    assert brought == [["PK", "called", "id", "name"]] * 2 + [None]
