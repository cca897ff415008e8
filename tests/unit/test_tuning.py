"""Budgets changed while a run works."""

import json
import logging
import os
from decimal import Decimal
from types import SimpleNamespace

import pytest
from support_pace import allowed, overall

from runbook_lib.cli import main
from runbook_lib.dynamo.rate_limiter import RateLimiter
from runbook_lib.errors import ParametersError, Refused
from runbook_lib.parameters import Limits
from runbook_lib.run.folder import open_run
from runbook_lib.walk import control
from runbook_lib.walk.plan import budgets_of

ABOUT = {"fingerprint": "f", "created": "2026-01-01T00:00:00Z"}


ENTRIES = {"Orders": ("orders", "new-orders"), "Notes": ("events", "book"), "Logs": ("events", "book")}


def planned(limits):
    """A plan, as far as budgets are concerned."""
    checked = Limits.model_validate(limits)
    entries = {name: SimpleNamespace(name=name, source=s, target=t) for name, (s, t) in ENTRIES.items()}
    return SimpleNamespace(
        parameters=SimpleNamespace(limits=checked),
        mapping=SimpleNamespace(entries=entries),
        limiter=RateLimiter(budgets_of(checked, ENTRIES)),
    )


@pytest.fixture
def run(tmp_path):
    """A run's folder."""
    return open_run(tmp_path, "the-first-run", ABOUT)


def test_what_is_asked_for_holds_from_the_next_page_on(run, caplog):
    """A later request adds to an earlier one; none is asked for twice; null takes a limit away."""
    plan = planned({"read_units": 100})
    tuned = control.Tuning(run, plan)
    tuned.apply()
    assert allowed(plan.limiter.budgets) == (100, None)
    control.request_tuning(run, {"limits.write_units": 500})
    tuned.apply()
    assert (allowed(plan.limiter.budgets), plan.limiter.limited) == ((100, 500), True)
    control.request_tuning(run, {"limits.read_units": None})
    tuned.apply()
    assert allowed(plan.limiter.budgets) == (None, 500)
    plan.limiter.allow(overall(1, 1))
    tuned.apply()
    assert allowed(plan.limiter.budgets) == (1, 1)  # nothing new was asked for
    logging.shutdown()
    assert "tuned: limits.write_units=500.0" in (run.folder / "run.log").read_text()


def test_a_stage_begins_with_its_parameters(run):
    """What was asked of the one before is forgotten."""
    control.request_tuning(run, {"limits.write_units": 500})
    control.clear(run)
    plan = planned({"read_units": 7, "write_units": 8})
    control.Tuning(run, plan).apply()
    assert allowed(plan.limiter.budgets) == (7, 8)


def test_a_table_has_budgets_of_its_own():
    """Read units hold for each of an entry's two tables, write units for the target; of two entries the lower one."""
    limits = {
        "write_units": 9_000,
        "tables": {
            "Orders": {"read_units": 5, "write_units": 7},
            "Notes": {"write_units": 30},
            "*": {"write_units": 20},
        },
    }
    assert budgets_of(Limits.model_validate(limits), ENTRIES).units == {
        ("", "write"): 9_000,
        ("source orders", "read"): 5,
        ("target new-orders", "read"): 5,
        ("target new-orders", "write"): 7,
        ("target book", "write"): 20,
    }
    with pytest.raises(ParametersError, match="limits.tables: no entry 'Ordres'; did you mean 'Orders'"):
        budgets_of(Limits.model_validate({"tables": {"Ordres": {"read_units": 5}}}), ENTRIES)


def test_a_table_can_be_tuned(run):
    """What is asked of one table leaves the others; of one that was under `*`, the rest of that stays."""
    plan = planned({"tables": {"*": {"read_units": 3, "write_units": 20}}})
    tuned = control.Tuning(run, plan)
    control.request_tuning(run, {"limits.tables.Orders.write_units": 500})
    tuned.apply()
    assert allowed(plan.limiter.budgets, "target new-orders") == (3, 500)
    assert allowed(plan.limiter.budgets, "target book") == (3, 20)
    asked = (run.folder / control.TUNE).stat().st_mtime_ns
    control.request_tuning(run, {"limits.tables.Orders.write_units": None, "limits.tables.*.write_units": 10})
    os.utime(run.folder / control.TUNE, ns=(asked, asked))  # a clock that stands still
    tuned.apply()
    assert allowed(plan.limiter.budgets, "target new-orders") == (3, None)
    assert allowed(plan.limiter.budgets, "target book") == (3, 10)


def test_an_entry_that_the_run_does_not_have_is_refused(run):
    """Where there is a checkpoint, it says which there are; else the run's log tells."""
    plan = planned({})
    control.request_tuning(run, {"limits.tables.Ordres.write_units": 500})
    control.Tuning(run, plan).apply()
    assert plan.limiter.budgets.units == {}
    assert "limits not changed: limits.tables: no entry 'Ordres'" in (run.folder / "run.log").read_text()
    run.write_json("migration-checkpoint", {"entries": {"Orders": {}}})
    with pytest.raises(Refused, match="no entry 'Ordres'; did you mean 'Orders'"):
        control.request_tuning(run, {"limits.tables.Ordres.write_units": 500})


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"limits.workers": 4}, "limits.workers cannot be changed during a run"),
        ({"limits.write_units": 0}, "a number above 0"),
        ({"limits.write_units": True}, "a number above 0"),
        ({"limits.write_units": "fast"}, "a number above 0"),
        ({"limits.write_units": float("nan")}, "a number above 0"),
        ({"limits.write_units": float("inf")}, "a number above 0"),
        ({"limits.write_units": Decimal("1e400")}, "a number above 0"),
        ({"limits.write_units": 10**400}, "a number above 0"),
    ],
)
def test_what_cannot_be_changed_is_refused(run, settings, sentence):
    """In one sentence, and nothing is asked of the run."""
    with pytest.raises(Refused, match=sentence):
        control.request_tuning(run, settings)
    assert not (run.folder / control.TUNE).exists()


def test_the_command(run, tmp_path, capsys):
    """`runbook tune` says whom it asked; where nothing works it refuses."""
    words = ["tune", run.id, "limits.write_units=12.5", "--outputs", str(tmp_path)]
    assert main(words) == 2
    assert "nothing is writing run the-first-run; set the limits" in capsys.readouterr().err
    with run.lock("03_migrate"):
        assert main(words) == 0
        assert capsys.readouterr().out.endswith(": limits.write_units=12.5\n")
        assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tuned"] == {"limits.write_units": 12.5}


def test_a_budget_that_holds_back_is_told():
    """Progress shows why it is slow: which budget."""
    now = [0.0]
    limiter = RateLimiter(overall(write=10), clock=lambda: now[0], sleep=lambda seconds: None)
    assert limiter.slowed() == []
    limiter.wait_write(1_000)
    limiter.elsewhere["worker"] = ["target T: slowed to 5 requests a second because of ThrottlingException"]
    assert limiter.slowed() == ["held to 10 write units a second by limits.write_units", *limiter.elsewhere["worker"]]
    now[0] = 60
    assert limiter.slowed()[0].startswith("held to")  # the wait is not over
    now[0] = 120
    limiter.elsewhere.clear()
    assert limiter.slowed() == []
