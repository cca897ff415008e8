"""Which run a stage takes where none is named."""

import pytest
import yaml

from runbook_lib.errors import Refused
from runbook_lib.journal.stage import Stage
from runbook_lib.mapping.file.load import load_mapping
from runbook_lib.parameters import load_parameters
from runbook_lib.run.fingerprints import identity_of
from runbook_lib.run.folder import open_run, run_json
from runbook_lib.stages.selection import find_run, select_run

ENTRIES = ["Customers", "Orders"]


class Migration:
    """A migration of two tables, and a first run of it that the test fills."""

    def __init__(self, folder):
        self.outputs = folder / "outputs"
        (folder / "shop.yaml").write_text(yaml.safe_dump({"tables": {name: {} for name in ENTRIES}} | DEFAULTS))
        sides = {side: {"environment": side, "region": "us-west-1"} for side in ("source", "target")}
        (folder / "params.yaml").write_text(yaml.safe_dump({"mapping": str(folder / "shop.yaml"), **sides}))
        self.file = folder / "params.yaml"
        self.parameters = load_parameters(self.file)
        self.mapping = load_mapping(self.parameters)
        self.run = open_run(self.outputs, "the-first-run", run_json(self.parameters, self.mapping, "shop"))

    def record(self, stage, *kinds, entries=ENTRIES, **other):
        """Adds to a stage's journal what its executions left there."""
        with Stage(self.run, stage) as journal:
            identity = journal.identity(identity_of(self.mapping, self.parameters)) | other
            for kind in kinds:
                about = {"entries": entries, "turn": 1, **identity} if kind == "execution" else {}
                journal.record(kind, **about)

    def found(self, stage="03_migrate", *, parameters=None, **chosen):
        """Whether the stage goes on with the first run."""
        parameters = parameters or self.parameters
        run = find_run(stage, parameters, load_mapping(parameters), outputs=str(self.outputs), **chosen)
        assert run in (None, self.run)
        return run is not None


DEFAULTS = {"defaults": {"source": "{table}-{source.environment}", "target": "{table}-{target.environment}"}}


@pytest.fixture
def migration(tmp_path):
    """Two tables, and an empty run."""
    return Migration(tmp_path)


def test_a_complete_run_is_taken_again_unless_another_one_is_wanted(migration):
    """So that 03 reports it and writes nothing."""
    migration.record("migrate", "execution", "end")
    assert migration.found()
    assert migration.found(tables=["Orders"])
    assert not migration.found(new=True)
    assert not migration.found(run_id="a-run-of-its-own")
    assert migration.found(run_id="the-first-run")
    other = select_run("03_migrate", migration.parameters, migration.mapping, outputs=str(migration.outputs), new=True)
    assert other.id != "the-first-run"
    for chosen in ({"run_id": "the-first-run"}, {"migrated": True}):
        with pytest.raises(Refused, match="`new` begins another run"):
            migration.found(new=True, **chosen)


@pytest.mark.parametrize("tables", [None, ["Customers"], ["Orders"]])
def test_a_run_that_is_complete_for_some_entries_goes_on(migration, tables):
    """With those that it has, too: there is nothing to write then."""
    migration.record("migrate", "execution", "end", entries=["Customers"])
    assert migration.found(tables=tables)


@pytest.mark.parametrize("undone", ["rollback", "rolled_back"])
def test_a_run_that_was_rolled_back_is_over(migration, undone):
    """Wholly or in part; a validation still asks for it."""
    migration.record("migrate", "execution", "end", undone)
    assert not migration.found()
    assert not migration.found("02_test")
    assert migration.found("04_validate")


def test_a_run_that_was_only_tested_is_not_migrated(migration):
    """After an analysis it is: 03 is held against what 01 saw."""
    migration.record("test", "execution", "end")
    assert not migration.found()
    assert migration.found("02_test")
    migration.run.write_json("migration-analysis", {})
    assert migration.found()


def test_other_parameters_are_another_migration(migration):
    """Another environment, region or account, whatever else is equal."""
    migration.record("migrate", "execution", "end")
    assert not migration.found(parameters=load_parameters(migration.file, {"target.environment": "other"}))
    assert migration.found(parameters=load_parameters(migration.file, {"limits.workers": 2}))


def test_a_complete_run_of_another_mapping_has_nothing_to_report(migration):
    """The file is the same, its content is not; an interrupted run is taken, and refused when it is resumed."""
    migration.record("migrate", "execution", mapping="another")
    assert migration.found()
    migration.record("migrate", "end")
    assert not migration.found()


def test_an_interrupted_run_goes_on(migration):
    """Whatever entries are chosen."""
    migration.record("migrate", "execution")
    assert migration.found()
    assert migration.found(tables=["Orders"])
