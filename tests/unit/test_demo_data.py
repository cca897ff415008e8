"""The demo's data: reproducible, legal, and holding what EXPECTED says, counted here by other means."""

import base64
import json
import re
from collections import Counter
from datetime import datetime
from itertools import chain
from pathlib import Path

import orjson
import pytest
import yaml

from runbook_lib.demo import data as demo_data
from runbook_lib.demo.data import EXPECTED
from runbook_lib.demo.plants import HOSTILE_IDS
from runbook_lib.values import canonical_number, size

ROOT = Path(__file__).resolve().parents[2]
ENV, CRM = EXPECTED["env_copy"], EXPECTED["table_split"]
KINDS = {"Leads": "LEAD", "Deals": "DEAL", "Resources": "RESOURCE", "Pipelines": "PIPELINE"}
NUMBERS = {
    "Leads": ("bio_match", "followers"),
    "Deals": ("value",),
    "Resources": ("size", "version"),
    "Pipelines": (),
}
EMPTY = (None, {"NULL": True}, {"S": ""})


@pytest.fixture(scope="module")
def env():
    return demo_data.env_copy_source()


@pytest.fixture(scope="module")
def crm():
    return demo_data.table_split_source()


@pytest.fixture(scope="module")
def references():
    """(table, path, its rule, wanted table, attribute that names the table, its only name) of the shipped mapping.

    The last but one or two are None. What a record holds has the path of the record as its rule.
    """
    mapping = yaml.safe_load((ROOT / "parameters/mappings/env_copy.yaml").read_text(encoding="utf-8"))
    tables = {table: (entry or {}).get("references") or {} for table, entry in mapping["tables"].items()}
    found = []
    for table, rules in tables.items():
        for path, to in rules.items():
            to = to if isinstance(to, dict) else {"to": to}
            record = to.get("record_of")
            if record is None:
                found.append((table, path, path, to.get("to"), to.get("table_named_by"), None))
                continue
            named_by = record["table_named_by"] if isinstance(record, dict) else None
            for name in tables if named_by else [record]:
                found.append((table, f"{path}.id", path, name, named_by, name))
                inner = {at: parent for at, parent in tables[name].items() if isinstance(parent, str)}
                found += [(table, f"{path}.{at}", path, parent, named_by, name) for at, parent in inner.items()]
            if named_by:  # of no table: the record itself cannot be followed
                found.append((table, f"{path}.id", path, None, named_by, None))
    return found


def ids_at(item: dict, path: str) -> list[str]:
    """The ids at a path of the mapping's three forms; ValueError where JSON is expected and is not there."""
    attribute, _, inside = path.partition(":json")
    value = item.get(attribute)
    if value in EMPTY:
        return []
    if ":json" not in path:
        return [value["S"]]
    parsed = json.loads(value["S"])
    if inside == "[]":
        return [text for text in parsed or [] if text]
    return [parsed[inside[1:]]] if parsed.get(inside[1:]) else []


def values_of(item: dict):
    """(name, typed value) at every depth."""
    pending = list(item.items())
    while pending:
        name, value = pending.pop()
        yield name, value
        if "M" in value:
            pending += value["M"].items()
        if "L" in value:
            pending += [("", member) for member in value["L"]]


def month(item: dict) -> str:
    try:
        return datetime.fromisoformat(item["created_at"]["S"]).strftime("%Y-%m")
    except (KeyError, ValueError):
        return "0000-00"


def of_kind(crm: list[dict], entry: str) -> list[dict]:
    return [item for item in crm if item.get("entity_type") == {"S": KINDS[entry]}]


def quarantined(entry: str, item: dict) -> set[str]:
    """The attributes for which an item must be quarantined."""
    reasons = set()
    for name in NUMBERS[entry]:
        text = item.get(name, {}).get("S")
        if text and not re.fullmatch(r"-?\d+(\.\d+)?", text):
            reasons.add(name)
    if item.get("is_default", {}).get("S", "true").lower() not in ("true", "false"):
        reasons.add("is_default")
    if "id" not in item:
        reasons.add("id")
    old = item.get("custom_fields", {"M": {}})
    if "M" not in old:
        reasons.add("custom_fields")
    reasons |= old.get("M", {}).keys() & item.keys()
    if size(item) > 400_000:
        reasons.add("")
    return reasons


def test_same_seed_same_bytes(env, crm):
    """The same seed gives the same bytes, another seed others; what is planted is there with any seed."""
    assert orjson.dumps(demo_data.env_copy_source()) == orjson.dumps(env)
    assert orjson.dumps(demo_data.table_split_source()) == orjson.dumps(crm)
    assert demo_data.env_copy_source(1) != env
    assert len(demo_data.table_split_source(1)) == len(crm)


def test_tables_and_totals(env, crm):
    """35 tables, none empty, as many items as EXPECTED says, every id once."""
    mapping = yaml.safe_load((ROOT / "parameters/mappings/env_copy.yaml").read_text(encoding="utf-8"))
    assert set(env) == set(mapping["tables"])
    assert len(env) == 35
    assert {table: len(items) for table, items in env.items()} == ENV["items"]
    assert all(1 <= len(items) <= 400 for items in env.values())
    assert sum(map(len, env.values())) == ENV["total"]
    for items in env.values():
        assert len({item["id"]["S"] for item in items}) == len(items)
    assert len(crm) == CRM["items"] == len({(item["pk"]["S"], item["sk"]["S"]) for item in crm})


def test_references_and_dangling(env, references):
    """Every declared path is used; references, dangling and unreadable ones are those of EXPECTED."""
    ids = {table: {item["id"]["S"] for item in items} for table, items in env.items()}
    found, dangling, unreadable = Counter(), Counter(), Counter()
    for table, path, rule, to, named_by, name in references:
        named = {item["id"]["S"]: item[named_by]["S"] for item in env[table]} if named_by else {}
        for item in env[table]:
            says = named.get(item["id"]["S"])
            if rule != path and named_by and (says != name if name else says in env):
                continue
            try:
                values = ids_at(item, path)
            except json.JSONDecodeError:
                unreadable[table, rule] += 1
                continue
            known = ids.get(to or says, set())
            found[table, rule] += len(values)
            dangling[table, rule] += sum(value not in known for value in values)
    assert [key for key in found if not found[key]] == []
    assert sum(found.values()) == ENV["references"]
    for counter, name in ((dangling, "dangling"), (unreadable, "unreadable")):
        planted = {(table, path): n for table, paths in ENV[name].items() for path, n in paths.items()}
        assert {key: count for key, count in counter.items() if count} == planted


def test_shapes_of_references(env):
    """There are a cycle between tables, one within a table, an item that is its own parent, and odd ids."""
    quotes = {item["id"]["S"]: item for item in env["Quotes"]}
    back = [
        project
        for project in env["Projects"]
        if quotes.get(project.get("quoteId", {}).get("S"), {}).get("projectId") == project["id"]
    ]
    assert len(back) > 50
    parents = {item["id"]["S"]: item.get("parentStageId", {}).get("S") for item in env["QuoteItems"]}
    assert sum(parent == child for child, parent in parents.items()) == 1
    assert sum(parent != child and parents.get(parent) == child for child, parent in parents.items()) == 2
    referred = {item.get("homeownerContactId", {}).get("S") for item in env["Requests"]}
    assert referred >= set(HOSTILE_IDS)
    unknown = [item for item in env["AuditLog"] if item["tableName"]["S"] not in env]
    assert len(unknown) == 1
    assert all("N" in item["ttl"] for item in env["AuditLog"][3:])


def test_what_the_target_has_already(env):
    """Residents, among them people of the source: some addresses stand in one item, some in two. Others refer to them."""
    residents = demo_data.env_copy_target()
    assert {name: len(items) for name, items in residents.items()} == ENV["foreign"]
    there = Counter(item["email"]["S"] for item in residents["Contacts"])
    known = [item for item in env["Contacts"] if item["email"]["S"] in there]
    found = Counter(item["email"]["S"] for item in known)
    assert found.total() == len(found)
    assert sum(there[email] == 1 for email in found) == ENV["matched"]["Contacts"]
    assert sum(there[email] > 1 for email in found) == ENV["ambiguous"]["Contacts"]
    text = orjson.dumps([item for name, items in env.items() if name != "Contacts" for item in items]).decode()
    assert all(item["id"]["S"] in text for item in known)


def test_undeclared_references(env, references):
    """Two attributes, and no others, hold another table's ids although no mapping says so."""
    declared = {(table, path) for table, path, *_ in references}
    owners = {item["id"]["S"]: table for table, items in env.items() for item in items}
    found = {}
    for table, items in env.items():
        for item in items:
            for name, value in item.items():
                owner = owners.get(value.get("S"))
                if owner and name != "id" and (table, name) not in declared:
                    found[f"{table}.{name}"] = owner
    assert found == ENV["undeclared"]


def test_every_type_is_there(env, crm):
    """Both worlds have all ten types, empty values, 38 digits, text beyond ASCII, scripts and formulas."""
    for items in (chain(*env.values()), crm):
        pairs = [pair for item in items for pair in values_of(item)]
        assert {next(iter(value)) for _, value in pairs} == {
            "S",
            "N",
            "B",
            "BOOL",
            "NULL",
            "L",
            "M",
            "SS",
            "NS",
            "BS",
        }
        texts = [value["S"] for _, value in pairs if "S" in value]
        assert "" in texts
        assert {"B": ""} in [value for _, value in pairs]
        assert any(len(value.get("N", "").strip("-0.").replace(".", "")) == 38 for _, value in pairs)
        assert any(not name.isascii() for name, _ in pairs)
        assert any("<script>" in text for text in texts)
        assert any(text.startswith("=") for text in texts)
        assert {"35000.75", "7.5"} <= set(texts)


def test_items_are_legal(env, crm):
    """DynamoDB takes every item: sizes, keys, names, numbers, sets, binary, depth."""
    for item in chain(*env.values(), crm):
        key = item["pk"]["S"] if "pk" in item else item["id"]["S"]
        assert 1 <= len(key.encode()) <= 2048
        assert size(item) <= 400 * 1024
        for _, value in values_of(item):
            ((letter, content),) = value.items()
            if letter == "N":
                canonical_number(content)
            if letter == "B":
                base64.b64decode(content, validate=True)
            if letter in ("SS", "NS", "BS"):
                assert content
                assert len(set(content)) == len(content)
        assert all(item)  # no attribute without a name
    assert all(item["email"]["S"] for item in env["Contacts"])  # an index key


def test_nobody_real(env, crm):
    """Mail addresses and telephone numbers belong to nobody."""
    text = orjson.dumps([env, crm]).decode()
    assert set(re.findall(r"@([\w.]+\.\w+)", text)) == {"example.com"}
    assert {number[:6] for number in re.findall(r"\+1-\d{3}-\d{3}-\d{4}", text)} == {"+1-555"}
    assert set(re.findall(r"https?://([^/\"\\ ]+)", text)) == {"example.com"}


def test_crm_selection(crm):
    """What each entry selects, what none does, and who is quarantined for which attribute."""
    assert {entry: len(of_kind(crm, entry)) for entry in KINDS} == CRM["selected"]
    assert CRM["items"] - sum(CRM["selected"].values()) == CRM["unrouted"]
    found = {entry: Counter(n for item in of_kind(crm, entry) for n in quarantined(entry, item)) for entry in KINDS}
    assert found == CRM["quarantined"]


def test_crm_written(crm):
    """Conflicts, undated items and items outside GSI1 are those of EXPECTED, among what is written."""
    conflicts, undated, sparse = {}, {}, {}
    for entry in KINDS:
        kept = [item for item in of_kind(crm, entry) if not quarantined(entry, item)]
        keys = Counter((month(item), item["id"]["S"]) for item in kept)
        if len(kept) > len(keys):
            conflicts[entry] = len(kept) - len(keys)
        undated[entry] = sum(month(item) == "0000-00" for item in kept)
        sparse[entry] = sum(item.get("created_at") in EMPTY for item in kept)
    assert (conflicts, undated, sparse) == (CRM["conflicts"], CRM["undated"], CRM["sparse"])


def test_giant_outgrows_the_limit_by_its_keys_alone(crm):
    """One item is within 400 KB, but no longer with the keys that the split adds."""
    (giant,) = [item for item in crm if size(item) > 400_000]
    added = {
        "PK": "LEAD",
        "SK": f"2025-01#{giant['id']['S']}",
        "GSI1PK": "STATUS#new",
        "GSI2PK": "COMPANY#unknown",
    }
    added |= {"GSI1SK": giant["created_at"]["S"], "GSI2SK": giant["id"]["S"]}
    lost = sum(len(name) + len(giant[name]["S"]) for name in ("pk", "sk", "entity_type"))
    assert size(giant) <= 400 * 1024 < size(giant) - lost + sum(len(n) + len(v) for n, v in added.items())


def test_tags_and_stages_come_in_every_shape(crm):
    """Lists, JSON text, text with commas and exported DynamoDB JSON text, for tags and for stages."""
    for entry, name in (("Leads", "tags"), ("Pipelines", "stages")):
        values = [item[name] for item in of_kind(crm, entry) if name in item]
        texts = [value["S"] for value in values if value.get("S")]
        assert any("L" in value for value in values)
        assert any(text[0] not in "[{" and "," in text for text in texts)
        assert any(text.startswith('{"L": [') for text in texts)
        assert any(text.startswith(('[{"S"', '[{"M"')) for text in texts)
        assert any(text.startswith(('["', '[{"id"')) for text in texts)


def test_parameters_name_the_demo_world():
    """The demo's parameter files point at the tables that the demo makes."""
    env = yaml.safe_load((ROOT / "parameters/demo_env_copy.yaml").read_text(encoding="utf-8"))
    crm = yaml.safe_load((ROOT / "parameters/demo_table_split.yaml").read_text(encoding="utf-8"))
    assert env["source"] == {"environment": demo_data.ENV_SOURCE, "region": demo_data.ENV_REGION}
    assert env["target"]["environment"] == demo_data.ENV_TARGET
    assert env["target"]["production"] is True
    assert crm["source"]["region"] == crm["target"]["region"] == demo_data.CRM_REGION
    assert {crm["mapping"], env["mapping"]} == {
        "parameters/mappings/table_split.yaml",
        "parameters/mappings/demo_env_copy.yaml",
    }


def test_the_demo_copies_as_the_shipped_mapping_does():
    """But for one rule, which a mapping for real data has only where somebody decides it."""
    shipped, demo = (
        yaml.safe_load((ROOT / f"parameters/mappings/{name}.yaml").read_text(encoding="utf-8"))
        for name in ("env_copy", "demo_env_copy")
    )
    assert demo["tables"]["Contacts"] == {"match": {"by": ["email"], "found": "reuse"}}
    demo["tables"]["Contacts"] = {}
    assert demo == shipped
