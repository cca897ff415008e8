"""Budgets changed while a run works."""

import json
import logging

import pytest

from runbook_lib import tuning
from runbook_lib.cli import main
from runbook_lib.dynamo.pace import Pace
from runbook_lib.errors import Refused
from runbook_lib.run import open_run

ABOUT = {"fingerprint": "f", "created": "2026-01-01T00:00:00Z"}


@pytest.fixture
def run(tmp_path):
    """A run's folder."""
    return open_run(tmp_path, "the-first-run", ABOUT)


def test_what_is_asked_for_holds_from_the_next_page_on(run, caplog):
    """A later request adds to an earlier one; none is asked for twice; null takes a limit away."""
    pace = Pace(100, None)
    tuned = tuning.Tuning(run, pace)
    tuned.apply()
    assert pace.budget() == (100, None)
    tuning.request(run, {"limits.write_units": 500})
    tuned.apply()
    assert (pace.budget(), pace.limited) == ((100, 500), True)
    tuning.request(run, {"limits.read_units": None})
    tuned.apply()
    assert pace.budget() == (None, 500)
    pace.allow(1, 1)
    tuned.apply()
    assert pace.budget() == (1, 1)  # nothing new was asked for
    logging.shutdown()
    assert "tuned: limits.read_units=100, limits.write_units=500.0" in (run.folder / "run.log").read_text()


def test_a_stage_begins_with_its_parameters(run):
    """What was asked of the one before is forgotten."""
    tuning.request(run, {"limits.write_units": 500})
    tuning.clear(run)
    pace = Pace(7, 8)
    tuning.Tuning(run, pace).apply()
    assert pace.budget() == (7, 8)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"limits.workers": 4}, "limits.workers cannot be changed while a run works"),
        ({"limits.write_units": 0}, "a number above 0"),
        ({"limits.write_units": True}, "a number above 0"),
        ({"limits.write_units": "fast"}, "a number above 0"),
        ({"limits.write_units": float("nan")}, "a number above 0"),
    ],
)
def test_what_cannot_be_changed_is_refused(run, settings, sentence):
    """In one sentence, and nothing is asked of the run."""
    with pytest.raises(Refused, match=sentence):
        tuning.request(run, settings)
    assert not (run.folder / tuning.FILE).exists()


def test_the_command(run, tmp_path, capsys):
    """`runbook tune` says whom it asked; where nothing works it refuses."""
    words = ["tune", run.id, "limits.write_units=12.5", "--outputs", str(tmp_path)]
    assert main(words) == 2
    assert "nothing works at run the-first-run now" in capsys.readouterr().err
    with run.lock("03_migrate"):
        assert main(words) == 0
        assert capsys.readouterr().out.endswith(": limits.write_units=12.5\n")
        assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tuned"] == {"limits.write_units": 12.5}


def test_a_budget_that_holds_back_is_told():
    """Progress shows why it is slow: which budget."""
    now = [0.0]
    pace = Pace(None, 10, clock=lambda: now[0], sleep=lambda seconds: None)
    assert pace.slowed() == []
    pace.wait_write(1_000)
    pace.elsewhere["worker"] = ["target T: slowed to 5 requests a second because of ThrottlingException"]
    assert pace.slowed() == ["held to 10 write units a second by limits.write_units", *pace.elsewhere["worker"]]
    now[0] = 60
    pace.elsewhere.clear()
    assert pace.slowed() == []
