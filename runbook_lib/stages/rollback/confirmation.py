"""What a rollback is about to do, in words, and the confirmation of each step that follows its undo."""

from collections.abc import Callable, Collection

from ...journal.checkpoint import Checkpoint
from ...parameters import Target
from ...verdict import plural
from ...walk.guard import confirm_step
from ..confirmation import place
from .restore import Wanted
from .undo import Preview

Ask = Callable[[str], str] | None


def undoing(checkpoint: Checkpoint, preview: Preview) -> str:
    """What the undo of 05 would do. Pure."""
    items = sum(preview.entries.values()) + sum(preview.unknown.values())
    tables = {checkpoint.entries[name]["target"] for name in (*preview.entries, *preview.unknown)}
    unknown = "up to " if preview.unknown else ""
    where = f"{plural(len(tables), 'table')} of {place(checkpoint.parameters.target)}" if tables else "no table"
    them = "it" if items == 1 else "them"
    return f"delete {unknown}{plural(items, 'inserted item')} from {where}, unless somebody has changed {them}"


def confirm_restore(wanted: Wanted | None, given: str, ask: Ask) -> str:
    """How the restore that follows an undo was confirmed, a line; "" where none is wanted. Refused where it was not."""
    names = [wanted.text] if wanted else []
    what = wanted.plan() if wanted else ""
    return _said(what, confirm_step(names, [given] if given else [], "--confirm-restore", what, "RESTORE", ask))


def confirm_delete(names: Collection[str], given: Collection[str], target: Target, ask: Ask) -> str:
    """How the deletion of tables was confirmed, a line; "" where none is named. Refused where it was not."""
    what = f"delete {plural(len(names), 'table')} of {place(target)}, where empty: {', '.join(names)}" if names else ""
    return _said(what, confirm_step(names, given, "--confirm-delete", what, "DELETE", ask))


def _said(what: str, how: str) -> str:
    return f"{what}: {how}" if how else ""
