"""Names in a mapping that match nothing: planted in the shipped mappings, whose own names all match."""

import copy
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from compiled import routes_of, watched

from runbook_lib.demo import data
from runbook_lib.mapping.text import paths
from runbook_lib.stages.analyze import names
from runbook_lib.stages.analyze.analysis import Unmatched
from runbook_lib.stages.analyze.doubts import Doubts
from runbook_lib.stages.analyze.names import Names, _Name
from runbook_lib.verdict import REVIEW
from runbook_lib.yaml_files import expand

ROOT = Path(__file__).resolve().parents[2]


def shipped(name: str) -> dict:
    """A mapping of this repository as plain data, its variables filled in."""
    text = (ROOT / f"parameters/mappings/{name}.yaml").read_text(encoding="utf-8")
    return expand(yaml.safe_load(text), [])


def unmatched(
    mapping: dict | str, items: dict[str, list[dict]], keys: dict | None = None, page: int = 100, watcher=Names
) -> list[Unmatched]:
    """What matches nothing. `items`: source table → its items, which come in pages of `page`."""
    text = mapping if isinstance(mapping, str) else json.dumps(mapping, default=str)
    watching, tables = watched(watcher, text, items, keys, page)
    return watching.unmatched(tables)


@pytest.fixture(scope="module")
def env():
    """Source table → items of the environment copy."""
    return {f"{entry}-dev-NONE": items for entry, items in data.env_copy_source().items()}


@pytest.fixture(scope="module")
def crm():
    """The CRM table's items, by its name in the mapping."""
    return {"expressnext-crm": data.table_split_source()}


CRM_KEYS = {entry: {"pk": "S", "sk": "S"} for entry in ("Leads", "Deals", "Resources", "Pipelines")}


@pytest.mark.parametrize("page", [1000, 7])
def test_every_name_in_the_shipped_mappings_matches(env, crm, page):
    """On the demo's data nothing is listed, and nothing is doubtful, in pages of any size."""
    for name, items, keys in (("env_copy", env, None), ("table_split", crm, CRM_KEYS)):
        assert unmatched(shipped(name), items, keys, page=page) == []
        doubts, tables = watched(Doubts, json.dumps(shipped(name), default=str), items, keys, page)
        assert doubts.found(tables) == []


def planted(mapping: dict, *path: str, value: object = None, named: str = "") -> dict:
    """A copy with a value set at a path of keys, or with the key there renamed."""
    made = copy.deepcopy(mapping)
    *into, last = path
    place = made
    for key in into:
        if place.get(key) is None:
            place[key] = {}
        place = place[key]
    place[named or last] = place.pop(last) if named else value
    return made


LIST, DATA, REST = "recipientIds:json[]", "previousData:json", "custom_fields"
BY_MAIL = {"key": {"id": "S"}, "indexes": {"byMail": {"emial": "S"}}}


@pytest.mark.parametrize(
    ("path", "change", "wanted"),
    [
        (["Requests", "references", "agentContactId"], {"named": "agentContactID"}, ("agentContactID", "agentContactId")),
        (["NotificationQueue", "references", LIST], {"named": "recipientids:json[]"}, ("recipientids:json[]", "recipientIds")),
        (["NotificationQueue", "references", LIST], {"named": "recipientIds[]"}, ("recipientIds[]", "recipientIds:json")),
        (["ContactAuditLog", "references", f"{DATA}.contactId"], {"named": f"{DATA}.contactID"},
         (f"{DATA}.contactID", f"{DATA}.contactId")),
        (["AuditLog", "references", DATA], {"named": "previousdata:json"}, ("previousdata:json", "previousData")),
        (["AuditLog", "references", DATA, "record_of", "table_named_by"], {"value": "tablName"}, ("tablName", "tableName")),
        (["AuditLog", "references", "recordId", "table_named_by"], {"value": "tablName"}, ("tablName", "tableName")),
        (["Contacts", "id"], {"value": "ID"}, ("id", "ID", "id", REVIEW)),
        (["Contacts", "drop"], {"value": ["emial"]}, ("drop", "emial", "email", "")),
        (["Contacts", "where"], {"value": {"emial": "x"}}, ("where", "emial", "email", REVIEW)),
        (["Contacts", "where"], {"value": {"email": "nobody"}}, ("where", "email", None, REVIEW)),
        (["Contacts", "create"], {"value": BY_MAIL}, ("index", "emial", "email", REVIEW)),
        (["Contacts", "queries", "q"], {"value": {"key": {"id": "x"}, "filter": {"emial": 1}}}, ("query", "emial", "email", "")),
    ],
)  # fmt: skip
def test_a_mistake_in_the_environment_copy_is_listed(env, path, change, wanted):
    """And nothing else is, whatever else the entry says."""
    mapping = planted(shipped("env_copy"), "tables", *path, **change)
    rule, name, near, level = wanted if len(wanted) == 4 else ("reference", *wanted, REVIEW)
    items = 0 if rule == "where" else len(env[f"{path[0]}-dev-NONE"])
    assert unmatched(mapping, env) == [Unmatched(path[0], rule, name, items, near, level, False)]


@pytest.mark.parametrize(
    ("path", "change", "wanted"),
    [
        (["fields", "company"], {"value": {"from": "compny"}}, [("from", "compny", "company", "")]),
        (["fields", "SK"], {"value": "{creatd_at:%Y-%m|0}#{id}"}, [("template", "creatd_at", "created_at", REVIEW)]),
        (["fields", "GSI1PK"], {"value": "STATUS#{statsu|new}"}, [("template", "statsu", "status", REVIEW)]),
        (["fields", "label"], {"value": "{statsu|new}"}, [("template", "statsu", "status", "")]),
        (["fields", "GSI2PK"], {"value": "{label}"}, None),  # a field is no attribute: refused by nothing, listed by nothing
        (["drop"], {"value": ["pk", "sk", "entity_type", "Entity_Type"]}, [("drop", "Entity_Type", "entity_type", "")]),
        (["queries", "q"], {"value": {"key": {"PK": "LEAD"}, "filter": {f"{REST}.industri": 1}}},
         [("query", f"{REST}.industri", f"{REST}.industry", "")]),
        (["id"], {"value": "uid"}, [("id", "uid", "id", REVIEW)]),
    ],
)  # fmt: skip
def test_a_mistake_in_the_table_split_is_listed(crm, path, change, wanted):
    """A hole that names a field reads the field. The template of a key, directly or not, needs a decision."""
    mapping = planted(shipped("table_split"), "tables", "Leads", *path, **change)
    if wanted is None:
        mapping = planted(mapping, "tables", "Leads", "fields", "label", value="{compny|x}")
        wanted = [("template", "compny", "company", REVIEW)]
    found = unmatched(mapping, crm, CRM_KEYS)
    assert {one.items for one in found} == {sum(i.get("entity_type") == {"S": "LEAD"} for i in crm["expressnext-crm"])}
    assert [one[1:3] + one[4:6] for one in found] == wanted
    assert {(one.table, one.accepted) for one in found} == {("Leads", False)}


NESTED = """
defaults: {source: t, target: u, id: null}
tables:
  A:
    rest: more
    fields:
      a: {from: info.rating}
      b: {from: info.ratign}
      c: {from: "js:json.customer.uid"}
      d: {from: "js:json.customer.id"}
      e: "{info.rating}{info.ratinng}{a\\\\.b}"
      f: "{a}"
      g: {value: nobody}
"""


def test_names_inside_attributes_are_paths():
    """Of `from` and of holes; where a path breaks off, the nearest that goes on is suggested."""
    items = [{"id": {"S": "1"}, "info": {"M": {"rating": {"N": "8"}}}, "js": {"S": '{"customer": {"id": 1}}'}}]
    assert [(one.rule, one.name, one.suggestion) for one in unmatched(NESTED, {"t": items})] == [
        ("from", "info.ratign", "info.rating"),
        ("from", "js:json.customer.uid", "js:json.customer.id"),
        ("template", "info.ratinng", "info.rating"),
        ("template", "a\\.b", None),
    ]


def test_an_entry_that_selects_nothing_is_listed_once(crm):
    """Its fields, templates and queries are not. An empty table is called so."""
    mapping = planted(shipped("table_split"), "tables", "Leads", "where", value={"entity_typ": "LEAD"})
    assert unmatched(mapping, crm, CRM_KEYS) == [
        Unmatched("Leads", "where", "entity_typ", 0, "entity_type", REVIEW, False)
    ]
    assert [one[1:4] for one in unmatched(mapping, {}, CRM_KEYS)] == [("empty", "expressnext-crm", 0)] * 4


TWO = "defaults: {source: t, target: u, id: id, create: {key: {id: S}, indexes: {byA: {a: S}, byB: {b: S}}}}\ntables:\n"


def test_an_index_is_judged_over_all_entries_of_its_table():
    """So is a query: it reads the table. Each is listed once."""
    text = TWO + "  A: {where: {k: a}}\n  B: {where: {k: b}, queries: {q: {key: {id: x}, filter: {a: 1, z: 1}}}}\n"
    items = [{"id": {"S": "1"}, "k": {"S": "a"}, "a": {"S": "x"}}, {"id": {"S": "2"}, "k": {"S": "b"}}]
    found = unmatched(text, {"t": items})
    assert [one[:4] for one in found] == [("A", "index", "b", 2), ("B", "query", "z", 1)]
    assert unmatched(text, {"t": [{**item, "b": {"S": "x"}, "z": {"N": "1"}} for item in items]}) == []


def like_the_sources(plan):
    """Names, where what the mapping says under `create` is what its sources are."""
    plan.routes = {
        name: replace(route, entry=replace(route.entry, like_source=True)) for name, route in plan.routes.items()
    }
    return Names(plan)


def test_an_index_that_is_as_empty_in_the_source_is_a_note():
    """Where its table is to be like the source's. One that the rules empty is for the reader to decide."""
    text = TWO + "  A: {drop: [b]}\n"
    item = {"id": {"S": "1"}, "a": {"S": "x"}}
    found = unmatched(text, {"t": [item]}, watcher=like_the_sources)
    assert [(one.rule, one.name, one.level) for one in found] == [("drop", "b", ""), ("index", "b", "")]
    assert names.alerts(found)[1].action == "Nothing to do: the index is the source's, and as empty there."
    found = unmatched(text, {"t": [item | {"b": {"S": "x"}}]}, watcher=like_the_sources)
    assert [(one.name, one.level) for one in found] == [("b", REVIEW)]
    assert ("b", REVIEW) in [(one.name, one.level) for one in unmatched(text, {"t": [item]})]


def test_what_the_mapping_accepts_stays_listed():
    """An index key is accepted by any entry that writes to the table, an empty table by `empty`, which has no alert here."""
    text = TWO + "  A: {where: {k: a}, drop: [x]}\n  B: {where: {k: a}, drop: [x], accept: {unmatched: [x, b]}}\n"
    text += "  C: {source: w, accept: {empty: true}}\n"
    found = unmatched(text, {"t": [{"id": {"S": "1"}, "k": {"S": "a"}, "a": {"S": "x"}}]})
    assert [(one.table, one.rule, one.name, one.accepted) for one in found] == [
        ("A", "drop", "x", False),
        ("A", "index", "b", True),
        ("B", "drop", "x", True),
        ("C", "empty", "w", True),
    ]
    assert [(alert.level, alert.table) for alert in names.alerts(found)] == [("", "A"), ("", "A"), ("", "B")]


def test_one_alert_for_an_entry_and_a_rule():
    """It names the names and what was probably meant. A key's template and another one are two."""
    found = [
        Unmatched("A", "reference", "x", 3, "X", REVIEW, False),
        Unmatched("A", "reference", "y", 3, None, REVIEW, False),
        Unmatched("A", "template", "t", 3, None, REVIEW, False),
        Unmatched("A", "template", "u", 3, None, "", False),
        Unmatched("B", "where", "k", 0, "K", REVIEW, False),
    ]
    assert [(alert.level, alert.table, alert.message) for alert in names.alerts(found)] == [
        (REVIEW, "A", "no item has the reference x (did you mean X?), y"),
        (REVIEW, "A", "no item has the attribute of a template t"),
        ("", "A", "no item has the attribute of a template u"),
        (REVIEW, "B", "where selects nothing: no item has the attribute k (did you mean K?), or none has its value"),
    ]


def text(value: object) -> dict:
    """JSON text as a typed value."""
    return {"S": json.dumps(value)}


@pytest.mark.parametrize(
    ("path", "value", "leads", "could", "near"),
    [
        ("a", {"NULL": True}, True, False, None),
        ("a.b", {"M": {"b": {"NULL": True}}}, True, False, None),
        ("a.b", {"M": {"B": {"S": "x"}}}, False, False, "a.B"),
        ("a.b", {"M": {}}, False, True, None),
        ("a.b", {"NULL": True}, False, True, None),
        ("a.b", {"S": "x"}, False, False, "a"),
        ("a[]", {"L": [{"S": "x"}]}, True, False, None),
        ("a[]", {"SS": ["x"]}, True, False, None),
        ("a[].b", {"SS": ["x"]}, False, False, "a[]"),
        ("a[].b", {"L": [{"M": {}}, {"M": {"b": {"S": "x"}}}]}, True, False, None),
        ("a[].bb", {"L": [{"M": {"b": {"S": "x"}, "zz": {"S": "x"}}}]}, False, False, "a[].b"),
        ("a[]", {"L": []}, False, True, None),
        ("a[]", {"M": {"x": {"S": "y"}}}, False, False, "a"),
        ("a:json", text([1]), True, False, None),
        ("a:json.b.c[]", {"S": '{"b": {"c": [1e400]}}'}, True, False, None),
        ("a:json.b", text({"b": None}), True, False, None),
        ("a:json[].b", text([{"B": 1}]), False, False, "a:json[].B"),
        ("a:json.b", {"S": "{b"}, False, False, "a:json"),
        ("a:json.b", {"S": "[" * 100_000}, False, False, "a:json"),
        ("a:json.b", {"N": "1"}, False, False, "a"),
        ("a:json.b:json.c", text({"b": json.dumps({"c": 1})}), True, False, None),
        ("a.b", {"L": [{"M": {"b": {"S": "x"}}}]}, False, False, "a[]"),
    ],
)  # fmt: skip
def test_where_a_path_leads(path, value, leads, could, near):
    """To something, null included; nowhere for lack of content, which proves nothing; or off, and what is there instead."""
    one = _Name("reference", path, paths.parse(path), REVIEW, "A")
    assert one.is_in([{"z": value}, {"a": value}]) == leads
    assert leads or (one.could, one.broke) == (could, not could)
    assert leads or could or one.suggestion(["a"]) == near


def test_one_empty_value_does_not_hide_a_misspelling():
    """Where another item shows that the path is wrong. Where none does, nothing is listed."""
    mapping = "defaults: {source: t, target: u, id: id}\ntables: {A: {references: {'a.bb': A}}}"
    empty, other = {"id": {"S": "1"}, "a": {"M": {}}}, {"id": {"S": "2"}, "a": {"M": {"b": {"S": "1"}}}}
    for items in ([empty, other], [other, empty]):
        for page in (1, 2):
            assert [one[2:5] for one in unmatched(mapping, {"t": items}, page=page)] == [("a.bb", 2, "a.b")]
    assert unmatched(mapping, {"t": [empty]}) == []


def test_the_names_of_a_map_without_end_do_not_fill_the_memory(monkeypatch):
    """Suggestions come from so many names at most."""
    monkeypatch.setattr(names, "MAX_ATTRIBUTES", 5)
    one = _Name("reference", "a.b", ("a", "b"), REVIEW, "A")
    assert not one.is_in([{"a": {"M": {f"n{number}": {"S": "x"}}}} for number in range(50)])
    assert len(one.beside["a.b"]) == 5
    found: set[str] = set()
    for number in range(50):
        names._add(found, [{f"n{number}": {}}])
    assert len(found) == 5


def test_later_stages_repeat_what_is_left_to_decide():
    """Of their entries alone; not what the mapping accepts by now, nor an analysis of another mapping."""
    mapping = "defaults: {source: t, target: u, id: id}\ntables: {A: {accept: {unmatched: [ok]}, not_references: [seen]}, B: {}}"
    entries = {name: route.entry for name, route in routes_of(mapping).items()}

    def plan(fingerprint: str) -> SimpleNamespace:
        found = SimpleNamespace(entries=entries, fingerprint=fingerprint)
        return SimpleNamespace(mapping=found, routes={"A": None})

    def one(table: str, name: str, level: str = REVIEW) -> dict:
        return {"table": table, "rule": "reference", "name": name, "level": level}

    analysis = {
        "fingerprints": {"mapping": "f"},
        "unmatched": [one("A", "x"), one("A", "y"), one("A", "ok"), one("A", "note", "NOTE"), one("B", "x")],
        "undeclared": [
            {"table": table, "path": path, "to": "B", "confidence": sure}
            for table, path, sure in (("A", "p", 0.9), ("A", "seen", 1.0), ("A", "low", 0.89), ("B", "p", 1.0))
        ],
        "checks": [
            {"table": table, "what": "ids", "level": level, "message": f"{level} of {table}"}
            for table, level in (("A", REVIEW), ("A", "NOTE"), ("A", "OK"), ("B", REVIEW))
        ],
    }
    assert [alert[:3] for alert in names.alerts_of_latest(analysis, plan("f"))] == [
        (REVIEW, "A", "the analysis found nothing for x (reference), y (reference)"),
        (REVIEW, "A", "the analysis found ids that no rule rewrites at p (B)"),
        (REVIEW, "A", "the analysis found that REVIEW of A"),
    ]
    told = names.alerts_of_latest(analysis, plan("f"), settled=lambda one: one["path"] == "p")
    assert [alert.message.partition(" found ")[2] for alert in told] == [
        "nothing for x (reference), y (reference)",
        "that REVIEW of A",
    ]
    accepted = {
        **entries,
        "A": replace(entries["A"], model=entries["A"].model.model_copy(update={"not_references": ["id"]})),
    }
    seen = SimpleNamespace(entries=accepted, fingerprint="f")
    told = names.alerts_of_latest(
        {**analysis, "unmatched": [], "undeclared": []}, SimpleNamespace(mapping=seen, routes={"A": None})
    )
    assert told == []
    assert names.alerts_of_latest(analysis, plan("other")) == []
    assert names.alerts_of_latest(None, plan("f")) == []
    assert len(names.alerts_of_latest({**analysis, "undeclared": [], "checks": []}, plan("f"))) == 1
