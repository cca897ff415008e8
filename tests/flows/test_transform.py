"""A function of the user's through all stages: what it quarantines, what refuses it, and who never runs it."""

import json
from dataclasses import replace

import pytest
import support_worlds as worlds
from support_crashes import small_pages
from support_flows import counts_of, flow_of
from support_schemas import UUIDS, text

from runbook_lib.dynamo.items import Wire
from runbook_lib.errors import Interrupted, Refused
from runbook_lib.stages.rollback import kept
from runbook_lib.walk.workers import engines
from runbook_lib.walk.workers import worker as units

SOURCE, TARGET = worlds.SOURCE, worlds.TARGET
KEY = {"key": {"id": "S"}}
ITEMS = 12
MAPPING = "{Users: {}, Leads: {references: {owner: Users}, transform: 'clean.py:clean_lead'}}"
CLEAN = """
def clean_lead(item):
    if "@" not in item["email"]:
        raise ValueError("no e-mail address")
    item["email"] = item["email"].strip().lower()
    item.pop("legacy", None)
    return item
"""


@pytest.fixture
def make(moto_world, tmp_path):
    """A function that gives the migration with the code of its transform; two of the leads have no address."""
    users = [{"id": text(one)} for one in UUIDS[:3]]
    leads = [
        {
            "id": text(f"L-{n}"),
            "owner": text(UUIDS[n % 3]),
            "email": text("none" if n in (3, 7) else f" Ann{n}@Example.org"),
            "legacy": text("x"),
        }
        for n in range(ITEMS)
    ]
    moto_world.build({"Users": KEY | {"items": users}, "Leads": KEY | {"items": leads}}, SOURCE)
    moto_world.build({"Users": KEY, "Leads": KEY}, TARGET)

    def made(code: str = CLEAN, **limits):
        (tmp_path / "clean.py").write_text(code)
        return flow_of(MAPPING, moto_world, tmp_path, **limits)

    return made


def leads(world) -> dict[str, dict]:
    """E-mail address → the item of the target."""
    return {item["email"]["S"]: item for item in world.items(world.name("Leads", TARGET))}


def test_what_it_makes_is_written_and_proved_and_what_it_refuses_is_listed(make, moto_world):
    """The reason is the function's, the attribute its name; the ledger says what it changed; a rollback takes all back."""
    flow = make()
    analysis = flow.analyze()
    assert (analysis["verdict"], analysis["tables"]["Leads"]["records"]) == ("REVIEW", ITEMS)
    assert analysis["tables"]["Leads"]["ledger"]["legacy"]["transformed"] == ITEMS - 2
    report = flow.migrate()
    counts = counts_of(report)["Leads"]
    assert (counts["scanned"], counts["inserted"], counts["quarantined"]) == (ITEMS, ITEMS - 2, 2)
    ledger = report["tables"]["Leads"]["ledger"]
    assert (ledger["email"]["transformed"], ledger["owner"]["rewritten"]) == (ITEMS - 2, ITEMS - 2)
    assert not any(words["unaccounted"] for words in ledger.values())
    assert [(line["attribute"], line["reason"]) for line in flow.listing("quarantine")] == [
        ("clean.py:clean_lead", "no e-mail address")
    ] * 2
    found = leads(moto_world)
    assert found.keys() == {f"ann{n}@example.org" for n in range(ITEMS) if n not in (3, 7)}
    assert all(item.keys() == {"id", "owner", "email"} for item in found.values())
    validation = flow.validate()["validation"]
    assert [validation[key] for key in ("missing", "different", "extra", "dangling")] == [0, 0, 0, 0]
    assert flow.rollback()["rollback"]["deleted"] == ITEMS - 2 + 3


def test_a_difference_names_it(make, moto_world):
    """So that the user looks there, too."""
    flow = make()
    flow.migrate()
    item = leads(moto_world)["ann0@example.org"]
    moto_world.put(moto_world.name("Leads", TARGET), item | {"email": text("edited")})
    (group,) = flow.validate()["validation"]["difference_groups"]
    assert group["rule"] == "copied, transform clean.py:clean_lead"


def test_an_old_id_that_it_writes_is_found(make):
    """04 looks at the target, whatever made it."""
    flow = make(f"def clean_lead(item):\n    item['note'] = 'was of {UUIDS[1]}'\n    return item\n")
    flow.migrate()
    assert flow.validate()["validation"]["residual_ids"]["by_path"] == {"Leads": {"note": ITEMS}}


def test_a_function_that_gives_different_results_is_refused_by_01(make):
    """Before anything is written."""
    flow = make("import random\ndef clean_lead(item):\n    item['luck'] = str(random.random())\n    return item\n")
    with pytest.raises(Refused) as problem:
        flow.analyze()
    assert problem.value.exit_code == 2
    assert str(problem.value) == (
        "Leads, luck: clean.py:clean_lead gives different results for one item; it must depend on the item alone."
    )


def test_a_file_that_changed_after_the_analysis_is_refused(make, moto_world):
    """The migration does what was decided on; changed back it goes on."""
    make().analyze()
    with pytest.raises(Refused, match="was made with another mapping; analyze again in a new run"):
        make(CLEAN.replace("lower", "upper")).migrate()
    assert not moto_world.items(moto_world.name("Leads", TARGET))
    assert make().migrate()["totals"]["inserted"] == ITEMS - 2 + 3


def test_a_run_is_resumed_only_with_the_same_file(make, moto_world, monkeypatch):
    """Half of the items by one function and half by another would be neither."""
    small_pages(monkeypatch)
    scan_page, pages = Wire.scan_page, []

    def stopping(wire, table, **options):
        if wire.label == "source" and table.startswith("Leads"):
            pages.append(table)
            if len(pages) == 2:
                raise Interrupted("as if the machine had stopped.")
        return scan_page(wire, table, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Wire, "scan_page", stopping)
        with pytest.raises(Interrupted):
            make(segments=1).migrate()
    there = len(leads(moto_world))
    assert 0 < there < ITEMS - 2
    with pytest.raises(Refused, match="was started with another mapping; change it back"):
        make(CLEAN + "\n", segments=1).migrate()
    assert len(leads(moto_world)) == there
    assert make(segments=1).migrate()["totals"]["inserted"] == ITEMS - 2 + 3


def test_a_rollback_runs_nothing_of_it(make, moto_world, monkeypatch):
    """Where an item was kept, the list says why the differences are unknown."""
    flow = make()
    flow.migrate()
    item = leads(moto_world)["ann0@example.org"]
    moto_world.put(moto_world.name("Leads", TARGET), item | {"email": text("edited")})
    running = "runbook_lib.mapping.transform._execute"
    monkeypatch.setattr(running, lambda code: pytest.fail("it runs"))
    assert flow.rollback()["rollback"]["kept_edited"] == 1
    (line,) = flow.listing("kept")
    reason = "The differences are unknown: a rollback does not run clean.py:clean_lead."
    assert (line["reason"], line["differences"]) == (f"{kept.REASON}. {reason}", [])


def test_a_rollback_needs_no_file(make, moto_world, tmp_path):
    """It works from the checkpoint."""
    flow = make()
    flow.migrate()
    (tmp_path / "clean.py").unlink()
    assert flow.rollback()["rollback"]["deleted"] == ITEMS - 2 + 3


def test_where_two_items_have_one_key_what_it_quarantines_takes_part_no_more(moto_world, tmp_path):
    """The first by source key is no item of the target; the second is written, and is no conflict."""
    items = [{"id": text(name), "code": text("c"), "n": {"N": n}} for name, n in (("a", "1"), ("b", "2"), ("c", "3"))]
    moto_world.build({"Parts": KEY | {"items": items}}, SOURCE)
    moto_world.build({"Parts": {"key": {"PK": "S"}}}, TARGET)
    (tmp_path / "odd.py").write_text(
        "def f(item):\n    if item['r']['n'] == 1: raise ValueError('one')\n    return item\n"
    )
    flow = flow_of(
        "{Parts: {id_format: keep, fields: {PK: '{code}'}, rest: r, transform: 'odd.py:f'}}", moto_world, tmp_path
    )
    counts = counts_of(flow.migrate())["Parts"]
    assert (counts["inserted"], counts["conflicts"], counts["quarantined"]) == (1, 1, 1)
    (item,) = moto_world.items(moto_world.name("Parts", TARGET))
    assert item["r"]["M"]["id"] == text("b")


def test_an_extra_item_under_a_key_that_it_quarantines_is_found_without_its_entry(moto_world, tmp_path):
    """An entry that `--tables` leaves out accounts only for the items that it makes."""
    items = [{"id": text(name), "kind": text(kind)} for name, kind in (("a", "A"), ("b", "B"), ("c", "B"))]
    moto_world.build({"Things": KEY | {"items": items}}, SOURCE)
    moto_world.build({"Things": KEY}, TARGET)
    (tmp_path / "odd.py").write_text("def f(item):\n    if item['id'] == 'b': raise ValueError('b')\n    return item\n")
    name = {side: moto_world.name("Things", side) for side in (SOURCE, TARGET)}
    both = f"source: {name[SOURCE]}, target: {name[TARGET]}, id_format: keep"
    flow = flow_of(
        f"{{A: {{{both}, where: {{kind: A}}}}, B: {{{both}, where: {{kind: B}}, transform: 'odd.py:f'}}}}",
        moto_world,
        tmp_path,
    )
    flow.migrate()
    assert flow.validate(["A"])["validation"]["extra"] == 0
    moto_world.put(name[TARGET], {"id": text("b")})
    assert flow.validate(["A"])["validation"]["extra"] == 1


class Here:
    """A worker of the engine with several processes, in this one."""

    def __init__(self, job_of=lambda job: job):
        self._job_of = job_of

    def advance(self, job, *slice_):
        return units.advance(self._job_of(job), *slice_)

    def items(self):
        return 0

    def close(self):
        units._Worker.forget()


def test_a_worker_that_finds_another_file_refuses_before_it_runs(make, moto_world, tmp_path, monkeypatch):
    """Its text is not the one that the run was started with."""

    def changed(job):
        (tmp_path / "clean.py").write_text("raise SystemExit('it runs')\n" + CLEAN)
        return job

    monkeypatch.setattr(engines, "_processes", lambda plan, segments: [Here(changed)])
    with pytest.raises(Refused, match="a worker has a different mapping from the process that started it"):
        make(engine="processes").migrate()
    assert not leads(moto_world)


def test_a_worker_that_sees_no_folder_gets_the_file(make, moto_world, tmp_path, monkeypatch):
    """As it was read with the mapping, whatever lies in its place now."""
    flow = make(engine="dask", journal=f"file://{tmp_path}/store")

    def away(job):
        (tmp_path / "clean.py").unlink(missing_ok=True)
        return replace(job, parameters=job.parameters | {"mapping": ""})

    monkeypatch.setattr(engines, "_cluster", lambda plan, segments: [Here(away)])
    report = flow.migrate()
    assert report["totals"]["inserted"] == ITEMS - 2 + 3
    assert "ann0@example.org" in leads(moto_world)
    assert "Ann" not in json.dumps(report)
