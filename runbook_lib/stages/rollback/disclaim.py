"""Ends what executions that were cut off claim, before others insert into the same tables."""

import os
from collections import defaultdict
from contextlib import closing, suppress

from ...dynamo.items import Wire
from ...errors import Refused
from ...journal import audit
from ...journal.checkpoint import read_checkpoint
from ...journal.intents import Intent
from ...journal.log import MADE_ROOM
from ...journal.snapshot import state_of
from ...journal.stage import Stage
from ...run.folder import runs
from ...walk.plan import Plan


def disclaim(stage: Stage, plan: Plan) -> None:
    """Ends the claims of executions that were cut off to what they announced for the plan's tables and what has not arrived.

    Those of this run's other stage, and of the other runs in its folder. To be called before this stage inserts: equal items
    under the same keys would count as theirs once they are resumed or rolled back. Writes to their journals.
    """
    for run in runs(stage.run.folder.parent):
        for other in (Stage(run, name) for name in ("test", "migrate")):
            if other.folder != stage.folder and other.exists():
                with suppress(Refused, OSError):  # whoever needs that journal is told what is wrong with it
                    _disclaim(other, plan)


def _disclaim(other: Stage, plan: Plan) -> None:
    state, path = state_of(other.events()), other.checkpoint()
    if (
        path is None
        or (state.finished and not (state.catching_up or state.following))
        or state.rolled_back
        or other.unsettled()
    ):
        return
    checkpoint, names = read_checkpoint(path), set(plan.target_names())
    targets = {name: about["target"] for name, about in checkpoint.entries.items() if about["target"] in names}
    if checkpoint.sides["target"] != plan.sides()["target"] or not targets:
        return
    journal, folder = other.read(), other.run.folder
    files = [file for file in journal.files if file.maybe_landed]
    if not files or not os.access(folder / audit.FILE, os.W_OK):  # nothing to end, or another user's
        return
    names = {str(file.path.relative_to(folder)) for file in files}
    names -= {one.name for one in audit.check(other.run, [journal], accepts=lambda found: True)}
    audit.append(other.run, audit.DISCLAIM, names, journals=[journal])
    for file in files:
        log, file = other.hold(file)
        with closing(log):
            for intent in file.intents(only={row.n for row in file.cut_off}, file=log.reader()):
                if gone := _absent(intent, plan.target.wire, targets):
                    rows = {str(index): MADE_ROOM for index in gone}
                    log.append("undone", n=intent.n, execution=intent.execution, rows=rows, counts={})
    audit.append(other.run, audit.DISCLAIM)


def _absent(intent: Intent, wire: Wire, targets: dict[str, str]) -> list[int]:
    """The rows of an open intent that may have landed and have not, of entries with these target tables."""
    if intent.outcome is not None:
        return []
    by_table: dict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(intent.rows):
        if not row.present and index not in intent.undone and row.entry in targets:
            by_table[targets[row.entry]].append(index)
    gone = []
    for table, indexes in by_table.items():
        items = wire.get_many(table, [intent.rows[index].key for index in indexes])
        gone += [index for index, item in zip(indexes, items, strict=True) if item is None]
    return gone
