"""05_rollback, step by step: find the checkpoint, connect, undo, conclude."""

from collections import Counter
from collections.abc import Iterable
from itertools import takewhile
from typing import Any

from ...dynamo.session import Connection
from ...errors import Refused
from ...journal import audit, repair
from ...journal.checkpoint import Checkpoint, read_checkpoint
from ...journal.snapshot import Snapshot
from ...journal.stage import Stage
from ...mapping.file.load import load_mapping
from ...parameters import Parameters
from ...run.folder import run_json, runs
from ...verdict import REVIEW, Alert, plural
from ...walk import control
from ...walk.guard import check_endpoint
from ...walk.insert import OnPage
from ...walk.progress import Meter
from ..selection import checkpoint_file, latest_checkpoint
from . import restore
from .drop_tables import TableDeletion, delete_tables, resolve_tables
from .restore import Restored, Wanted
from .undo import Preview, Undone, connect, identities, limiter_of, preview, undo


class Undoing:
    """One rollback from one checkpoint."""

    def __init__(self, path: str, outputs: str, parameters: Parameters, accept_changed: bool = False, run_id: str = ""):
        """Opens the checkpoint at `path`, or, where that is empty, the latest of the same migration, or of the run `run_id`.

        Raises Refused, also where the run's folder is not as it was left, unless `accept_changed`.
        """
        known = None
        if not path:
            about = run_json(parameters, load_mapping(parameters), "")
            path, known = latest_checkpoint(outputs or "outputs", about["fingerprint"], run_id)
        self.checkpoint: Checkpoint = read_checkpoint(checkpoint_file(str(path), outputs or "outputs"))
        run = self.checkpoint.run
        heads = audit.journal_heads(run)
        self._stage = self.checkpoint.stage_journal()
        self.journal = self._stage.read(known, heads=heads)
        about = {"accepts": lambda one: accept_changed, "elsewhere": self._stage.elsewhere}
        found = audit.check(run, [self.journal], **about)
        self.checkpoint.check_named(self._stage, accept_changed=accept_changed)
        self.changed = [one.told for one in found]  # sentences
        self._target: Connection | None = None
        self._tables: dict[str, str | None] | None = None
        self._made_again: tuple[str, ...] | None = None
        self.limiter = limiter_of(self.checkpoint)
        self.meter = Meter(self.limiter)

    def target(self) -> Connection:
        """The target, opened with the rollback role where one is given. Raises Refused."""
        if self._target is None:
            self._target = connect(self.checkpoint.parameters, self.limiter, self.checkpoint.run.id)
            check_endpoint(self.checkpoint.parameters.target, self._target.endpoint_url)
            held, now = self.checkpoint.target_account, self._target.account
            if held and now and held != now:
                raise Refused(
                    f"the checkpoint was written for account {held}, but these credentials belong to {now}; use that account's."
                )
        return self._target

    def preview(self, delete: list[str], restore_from: str = "") -> Preview:
        """What the undo would look at. Read-only.

        Refused where `delete` names a table that the run did not create, `restore_from` what cannot be restored, or a
        later run built on this one.
        """
        self.journal = self._stage.read()
        resolve_tables(self.checkpoint, delete)
        if restore_from:
            restore.check(self.wanted(restore_from), self.target())
        if later := later_run(self.checkpoint, self.journal):
            raise Refused(
                f"run {later} inserted into the same target after this one, as far as its journal can tell, and is not "
                "rolled back; what it inserted may build on this. Roll it back first."
            )
        return preview(self.journal)._replace(changed=self.changed)

    def tables(self) -> dict[str, str | None]:
        """The target tables of the checkpoint's entries → their identity now, as far as it is known. Read-only.

        Refused where none of them is the one that the run wrote into.
        """
        if self._tables is None:
            there, others = identities(self.target(), self._stage, tables_of(self.checkpoint))
            if others and not [name for name in self._stage.targets() if there[name] and name not in others]:
                raise Refused(
                    f"the target tables were deleted and made again since run {self.checkpoint.run.id} wrote into them, or are "
                    "at another endpoint, so nothing in them is this run's; correct the endpoint if it is another."
                )
            self._tables, self._made_again = there, others
        return self._tables

    def undo(self, on_page: OnPage | None = None) -> Undone:
        """Deletes what the stage inserted; calls `on_page` after each batch. Writes to the target and the journal."""

        def check(entry: str, counts: Counter) -> None:
            if on_page:
                on_page(entry, counts)
            control.check(self.checkpoint.run)
            self.target().wire.check_guards()

        run = self.checkpoint.run
        self.limiter.follow_waits(run.logger().warning, lambda: control.check_wait(run))
        undone = undo(
            self.checkpoint,
            self.target(),
            known=self.journal,
            on_page=check,
            made_again=self._made_again,
            meter=self.meter,
        )
        self.journal = undone.journal
        return undone

    def delete_tables(self, names: list[str]) -> list[TableDeletion]:
        """Deletes created tables that are empty now. Writes to the target's account."""
        return delete_tables(self.checkpoint, self.target(), names)

    def wanted(self, restore_from: str) -> Wanted:
        """What `restore_from` means for this checkpoint. Raises Refused."""
        return restore.wanted(restore_from, self.checkpoint)

    def restore(self, wanted: Wanted) -> Restored:
        """Restores into a new table, or copies a restored table back. Writes to the target's account, run and journal."""

        def look(told: str) -> None:
            control.check(self.checkpoint.run)
            self.target().wire.check_guards()
            self.meter.do(told)

        return restore.restore(self.checkpoint, wanted, self.target(), look, self.meter)

    def sides(self) -> dict[str, Any]:
        """Source and target as the report names them."""
        return self.checkpoint.sides

    def alerts(self, undone: Undone, deletions: list[TableDeletion], restored: Restored | None = None) -> list[Alert]:
        """The open items of the rollback."""
        alerts = []
        if undone.kept_edited:
            were = "it was" if undone.kept_edited == 1 else "they were"
            message = f"{plural(undone.kept_edited, 'item')} edited since {were} inserted, and kept"
            alerts.append(Alert(REVIEW, "", message, "See kept.jsonl for what differs; decide on each by hand."))
        if undone.not_found:
            message = f"{plural(undone.not_found, 'item')} no longer there: deleted by someone else, or expired"
            alerts.append(Alert("", "", message, "Nothing to do."))
        if undone.unanswered:
            message = (
                f"{plural(undone.unanswered, 'item')} deleted of which no answer had said that this run inserted them: "
                "the run was cut off, or replies were lost, and the items were equal to its own"
            )
            action = "If your application writes equal items under the same keys, compare with what it wrote."
            alerts.append(Alert("", "", message, action))
        for table in undone.made_again:
            message = "deleted, and another table made under its name, since this run wrote into it; its items were left alone"
            action = "If it was restored from a backup, items of this run may be in it: check by hand."
            alerts.append(Alert(REVIEW, table, message, action))
        if others := undone.others():
            alerts.append(Alert("", "", f"items of others were not touched: {others}", "Nothing to do."))
        if self.checkpoint.code_changed:
            message = "the program is not the version that inserted the items"
            alerts.append(
                Alert("", "", message, "Nothing to do: the undo compares what is stored with what was written.")
            )
        for deletion in deletions:
            if not deletion.deleted:
                message = f"the table was not deleted: {deletion.reason}"
                alerts.append(Alert(REVIEW, deletion.table, message, "Check it by hand."))
        alerts += repair.alerts(self._stage)
        return alerts + (restore.alerts(restored) if restored else [])


def tables_of(checkpoint: Checkpoint) -> list[str]:
    """The target tables of a checkpoint's entries."""
    return sorted({about["target"] for about in checkpoint.entries.values()})


def later_run(checkpoint: Checkpoint, journal: Snapshot) -> str | None:
    """A run that started after the checkpoint's stage and may have items in one of its target tables. Read-only.

    By the turns that their executions took; where one has none (an earlier version, a repair), by the order of the runs.
    """
    mine, names = _turn(journal.events()), set(tables_of(checkpoint))
    written = set().union(*checkpoint.stage_journal().targets().values())
    known = runs(checkpoint.run.folder.parent)
    newer = list(takewhile(lambda run: run.id != checkpoint.run.id, known))
    for run in (run for run in known if run.id != checkpoint.run.id):
        for name in ("test", "migrate"):
            stage = Stage(run, name)
            if not stage.exists():
                continue
            try:
                turn = _turn(stage.events())
                later = turn > mine if turn and mine else run in newer
                if not later or not stage.read().may_stand():
                    continue
                path = stage.checkpoint()
                other = read_checkpoint(path) if path else None
            except Refused as problem:
                raise Refused(
                    f"run {run.id} may have built on this one, but cannot be read: {str(problem).rstrip('.')}. To roll back "
                    "regardless, move its folder elsewhere."
                ) from problem
            if other is None:
                continue
            same_place = other.sides["target"] == checkpoint.sides["target"]
            same_tables = written & set().union(*stage.targets().values())  # whatever both call them and the way there
            if same_tables or (same_place and names & set(tables_of(other))):
                return run.id
    return None


def _turn(events: Iterable[dict[str, Any]]) -> int:
    """The turn of a stage's first execution among those of all runs; 0 where nothing says it."""
    return next((event.get("turn", 0) for event in events if event["kind"] == "execution"), 0)
