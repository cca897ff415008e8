"""What 05_rollback imports: `begin` returns a `RollbackBook`, a book whose run is the one that a checkpoint names."""

from collections.abc import Mapping
from typing import Any

from ..errors import Refused
from ..report.frames import DeletionFrames, PreviewFrames, RestoredFrames, UndoneFrames
from ..report.runs.status import Bar
from ..stages.rollback import confirmation
from ..stages.rollback.restore import Restored
from ..stages.rollback.rollback import Undoing
from ..stages.rollback.undo import Preview, Undone
from ..verdict import ROLLED_BACK, plural
from . import display
from .base_book import BaseBook
from .steps import Done

STAGE = "05_rollback"


def begin(namespace: Mapping[str, Any]) -> "RollbackBook":
    """The book for 05, from the values that the parameters cell and papermill left in `namespace` (`globals()`).

    Shows the banner. Raises as `book.begin`; Refused where the checkpoint cannot be read.
    """
    book = RollbackBook(STAGE)
    book._open(namespace)
    return book


class RollbackBook(BaseBook):
    """One execution of 05_rollback."""

    _undoing: Undoing | None = None
    _restored: Restored | None = None

    def _choose(self, values: dict[str, Any]) -> bool:
        try:
            given = (values["checkpoint"], values["outputs"], self.parameters, values["accept_changed"])
            self._undoing = Undoing(*given, run_id=values["run_id"])
        except Refused:
            if values["checkpoint"] or self.execute:
                raise
            self._headline = "There is nothing to roll back: no run of these parameters has a checkpoint."
            return False
        self.run, self.parameters = self._undoing.checkpoint.run, self._undoing.checkpoint.parameters
        return True

    def preview(self) -> PreviewFrames:
        """The items that the rollback would look at, from the journal alone. Read-only."""
        if self._undoing is None:
            return PreviewFrames(Preview({}, {}))
        self._facts.append(("checkpoint", self._undoing.checkpoint.path.name))
        preview = self._undoing.preview(self._values["delete_tables"], self._values["restore_from"])
        for entry, number in preview.entries.items() if not self.execute else ():
            self._planned([f"delete {plural(number, 'item')} of {entry} where unchanged"])
        for entry, number in preview.unknown.items() if not self.execute else ():
            unknown = f"{plural(number, 'item')} of {entry} announced without a result"
            self._planned([f"look up {unknown}, and delete what is there and equal"])
        return PreviewFrames(preview)

    def confirm(self, preview: PreviewFrames) -> None:
        """Shows how the user confirmed the undo and what follows it. Raises Refused where nobody did.

        Asks nothing without execute.
        A person at the keyboard is asked for the restore and the deletion when their cells are reached.
        """
        what = confirmation.undoing(self._undoing.checkpoint, preview.result) if self._undoing else ""
        if self.execute and self._undoing:
            for confirm in (self._confirm_restore, self._confirm_delete):
                confirm(later=display.interactive())
        self._confirm(what)

    def _confirm_restore(self, *, later: bool = False) -> None:
        name, given = self._values["restore_from"], self._values["confirm_restore"]
        if given or not later:
            wanted = self._undoing.wanted(name) if name else None
            self._tell(confirmation.confirm_restore(wanted, given, self._ask()))

    def _confirm_delete(self, *, later: bool = False) -> None:
        names, given = self._values["delete_tables"], self._values["confirm_delete"]
        if given or not later:
            self._tell(confirmation.confirm_delete(names, given, self.parameters.target, self._ask()))

    def undo(self) -> UndoneFrames | None:
        """Deletes what the stage inserted and nobody changed. Writes to the target and the journal, with execute."""
        if not self._may_write():
            return None
        done = self._work.undo(self._undoing)
        self._done_rollback(done, done.result)
        return UndoneFrames(done.result)

    def restore(self, undone: UndoneFrames | None) -> RestoredFrames | None:
        """Restores what `restore_from` names: into a new table, or, from a restored one, what the target lacks. With execute."""
        name = self._values["restore_from"]
        if undone is None or not name:
            self._planned([self._undoing.wanted(name).plan()] if name and self._undoing else [])
            return None
        if not self._values["confirm_restore"]:
            self._confirm_restore()
        done = self._work.restore(self._undoing, undone.result, self._undoing.wanted(name))
        self._restored = done.result
        self._done_rollback(done, undone.result)
        return RestoredFrames(done.result)

    def delete_tables(self, undone: UndoneFrames | None) -> DeletionFrames | None:
        """Deletes the tables named in the parameters that this run created and that are empty now. With execute."""
        names = self._values["delete_tables"]
        if undone is None or not names:
            self._planned([f"delete table {name} when it is empty" for name in names])
            return None
        if not self._values["confirm_delete"]:
            self._confirm_delete()
        done = self._work.delete_tables(self._undoing, undone.result, names, self._restored)
        self._done_rollback(done, undone.result)
        return DeletionFrames(done.result)

    def _stages(self) -> Bar:
        """How the stages stand, with what this execution has undone, which the audit chain does not have yet."""
        bar = super()._stages()
        undone = self._content is not None and self._undoing.checkpoint.stage == "migrate"
        return Bar({**bar.words, "03_migrate": ROLLED_BACK}) if undone else bar

    def _done_rollback(self, done: Done, undone: Undone) -> None:
        were = "it was" if undone.kept_edited == 1 else "they were"
        headline = (
            f"{plural(undone.deleted, 'item')} deleted, {undone.kept_edited:,} kept because {were} edited, "
            f"{undone.not_found:,} not found."
        )
        self._done(done, headline)
        self._exit_code = int(any(alert.level for alert in done.alerts))
