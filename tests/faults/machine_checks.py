"""What must hold after every command of the state machine, told from outside: tables, reports, listings."""

from collections import Counter
from typing import Any

from faults.machine_model import (
    ENTRIES,
    INSERTED,
    OPEN,
    SOURCES,
    TARGETS,
    Expected,
    Model,
    Origin,
    RunModel,
    expect,
    text,
)
from faults.machine_operator import DONE, INTERRUPTED, KILLED, REFUSED, End
from support_flows import counts_of
from support_memory import Memory, Place

from runbook_lib.journal import audit
from runbook_lib.report.runs.status import status
from runbook_lib.run.folder import Run
from runbook_lib.stages.migrate.drift import DELETED, UNSELECTED
from runbook_lib.values import digest

STATES = ("deleted", "kept_edited", "not_found")
LETTERS = ("inserted", "already_there", "conflicts", "quarantined", "failed")
BUILT_ON = "inserted into the same target after this one"
ENDING = {  # what a fault may do to a command besides letting it through
    "kill": {KILLED},
    "kill at a request": {KILLED},
    "lost": set(),
    "gone": {INTERRUPTED, REFUSED},
    "gone for writes": {INTERRUPTED},
    "eio": {INTERRUPTED, REFUSED},
    "enospc": {INTERRUPTED, REFUSED},
    "pause": {INTERRUPTED},
    "by hand": {INTERRUPTED},
}


class Checks:
    """Compares what a command did with the model."""

    def __init__(self, model: Model, memory: Memory):
        self.model, self.memory = model, memory
        self._was: str | None = None

    def refusal(self, run: RunModel, command: str) -> str | None:
        """A part of the sentence with which the command must be refused; None where it must not be."""
        last = run.last_event()
        if command == "validate":
            return None
        if command == "rollback":
            return BUILT_ON if any(other.id in self.model.writer.values() for other in self._later(run)) else None
        if command == "retry" and not run.started():
            return "has migrated nothing yet"
        if last in ("rollback", "rolled_back"):
            return "rolled back"
        if command == "delta" and last != "end":
            return "has not finished its migration"
        return None

    def may_be_refused(self, run: RunModel, command: str) -> str | None:
        """As `refusal`, where the journal cannot know better: that others have edited all that a later run inserted, or
        that nothing of what it announced arrived."""
        claimed = any(row.letter in (INSERTED, OPEN) for other in self._later(run) for row in other.rows())
        return BUILT_ON if command == "rollback" and claimed else None

    def _later(self, run: RunModel) -> list[RunModel]:
        return [
            other
            for other in self.model.runs.values()
            if other.last_event() not in (None, "rolled_back") and other.started() > run.started()
        ]

    def before(self, run: RunModel, command: str) -> None:
        """Remembers what is compared with afterwards."""
        self._was = run.last_event()
        if not run.started():
            run.first = dict(self.model.target)
            run.touched.clear()
            run.changed.clear()

    def after(self, run: RunModel, command: str, fault: tuple | None, end: End, expected: str | None) -> None:
        """What must hold whatever became of the command, and what if it was done."""
        assert not self.model.wrong, self.model.wrong
        assert not self.model.taken, f"not put back: {self.model.taken}"
        self.check_tables()
        assert "\n" not in end.sentence, end.sentence
        kind = fault[0] if fault else ""
        assert end.how in {DONE, REFUSED} | ENDING.get(kind, set()), end
        if end.how == REFUSED:
            assert self.model.writes == 0
            assert end.sentence.endswith("."), end.sentence
            reason = expected or self.may_be_refused(run, command)
            assert (reason or "") in end.sentence, end.sentence
            assert reason or REFUSED in ENDING.get(kind, set()), end.sentence
        if end.how == DONE:
            assert not expected, f"not refused: {expected}"
            getattr(self, f"_{command}")(run, end.report)
            found = audit.verify(Run(run.id, run.folder))
            assert not found.problems, found.problems
        else:
            run.note_open_intents()
            run.cut_off |= end.how != REFUSED
        self._check_claims(run)
        if command == "validate":
            assert self.model.writes == 0
            run.comparing = run.to_compare = end.how != DONE
            run.compared_before &= run.comparing
            run.compared_before |= run.comparing and self.model.meddled
        status(Run(run.id, run.folder))

    def _check_claims(self, run: RunModel) -> None:
        """The journal claims all that the run wrote and that stands; and nothing of others' that it may know of."""
        sure, unsure = run.claimed()
        for place, writer in self.model.writer.items():
            found = digest(self.model.target[place])
            if writer == run.id:
                assert found in sure[place] | unsure[place], (
                    f"{place} was written by the run; its journal does not say so"
                )
            elif found in sure[place]:
                assert run.claims(place, self.model.target[place]), f"{place} is others', and the journal claims it"
        for place, digests in sure.items():
            for one in digests - run.wrote[place]:
                assert one in run.dubious[place] & run.others[place], (
                    f"{place} was never inserted, and the journal says so"
                )

    def check_tables(self) -> None:
        """Both sides are as the model was told."""
        for tables, content in ((SOURCES, self.model.source), (TARGETS, self.model.target)):
            for table in tables:
                wanted = {place[1]: item for place, item in content.items() if place[0] == table}
                assert self.memory.content(table) == wanted, table

    @staticmethod
    def counts(report: dict[str, Any]) -> dict[str, Any]:
        """What a second look must find the same."""
        return {"tables": report["tables"], "totals": report["totals"], "rows": report["id_map"]["rows"]}

    def _add_up(self, report: dict[str, Any]) -> None:
        """Invariant 4."""
        for entry, counts in counts_of(report).items():
            assert min(counts.values()) >= 0, (entry, counts)
            assert counts["scanned"] == sum(counts[letter] for letter in LETTERS), (entry, counts)
        totals = report["totals"]
        assert totals["scanned"] == sum(counts["scanned"] for counts in report["tables"].values())
        assert report["id_map"]["rows"] == totals["scanned"] - totals["quarantined"]

    # migrate

    def _migrate(self, run: RunModel, report: dict[str, Any]) -> None:
        if report["verdict"] == "ROLLED_BACK":
            self._taken_back(run)
            return
        if self._was == "end":
            assert self.model.writes == 0
        assert run.last_event() == "end"
        self._migrated(run, report)

    def _migrated(self, run: RunModel, report: dict[str, Any]) -> None:
        self._add_up(report)
        if run.last_event() != "end" or run.caught_up:
            return
        now = expect(self.model.source)
        if not run.changed and not run.touched:
            self._counts_exactly(run, report, now)
        for origin, row in now.rows.items():
            if self._is_quiet(run, now, origin) and run.first.get(row.place) is None and row.place not in run.refused:
                assert text(self.model.target.get(row.place) or {}) == text(row.item), origin
                assert self.model.writer[row.place] == run.id
                assert digest(row.item) in run.claimed()[0][row.place], (
                    f"{origin} is inserted, and counts as something else"
                )

    def _retry(self, run: RunModel, report: dict[str, Any]) -> None:
        self._migrated(run, report)

    def _counts_exactly(self, run: RunModel, report: dict[str, Any], now: Expected) -> None:
        wanted = {entry: Counter() for entry in ENTRIES}
        for origin, row in now.rows.items():
            there = run.first.get(row.place)
            letter = "inserted" if there is None else "conflicts"
            letter = "already_there" if there and text(there) == text(row.item) else letter
            wanted[origin[0]][letter] += 1
        for entry, _ in now.losers:
            wanted[entry]["conflicts"] += 1
        for entry, _ in now.rejects:
            wanted[entry]["quarantined"] += 1
        for entry, counts in report["tables"].items():
            failed = counts["failed"]
            assert not failed or run.refused
            found = Counter(counts_of(report)[entry]) + Counter(inserted=failed)
            for letter in LETTERS[:4]:
                assert found[letter] == wanted[entry][letter], (entry, letter, counts, wanted)
        assert report["totals"]["unrouted"] == len(now.unrouted)
        landed = sum(writer == run.id for writer in self.model.writer.values())
        assert report["totals"]["inserted"] == landed

    def _is_quiet(self, run: RunModel, now: Expected, origin: Origin) -> bool:
        """Whether nobody touched the item, what it refers to, what competes with it, and its place, since the run began."""
        place = now.rows[origin].place
        if place in run.touched or origin[0] in ("Logs", "Notes"):
            return place not in run.touched and not any(table == ENTRIES["Logs"] for table, _ in run.changed)
        if origin[0] == "Ships" and any(table == ENTRIES["Ports"] for table, _ in run.changed):
            return False
        return now.source[origin] not in run.changed

    # delta

    def _delta(self, run: RunModel, report: dict[str, Any]) -> None:
        run.caught_up = True
        self._add_up(report)
        if self.model.meddled:
            return
        now, drifted = expect(self.model.source), run.listed("drift")
        listed = run.listed("drift", "conflicts", "failed")
        stale, rows = self._stale(run, now), list(run.rows())
        for origin, row in now.rows.items():
            held = self.model.target.get(row.place)
            if held is not None and text(held) == text(row.item):
                continue
            copies = {place for place, found in run.versions.items() if origin in found.values()}
            settled = {(one.place, one.digest) for one in rows if one.letter in "iac"}
            is_new = copies and (row.place, digest(row.item)) not in settled
            if run.touched & {row.place, *copies} or row.place in run.first:
                assert origin in listed or not is_new, f"{origin} changed, is left as it was, and not listed"
                continue
            assert origin in listed, f"{origin} is neither brought to the target nor listed"
            excused = row.place in run.refused or row.place in stale
            assert excused, f"{origin} is left behind without a reason: {listed[origin]}"
        for place, origins in stale.items():
            assert any(origin in drifted for origin in origins), f"{place} is no longer made, and not listed"
        stays = Counter(entry for (entry, _), reason in drifted.items() if reason in (DELETED, UNSELECTED))
        for entry, counts in report["tables"].items():
            selected = len(now.selected(entry))
            assert counts["scanned"] >= selected, (entry, counts, selected)
            if not run.cut_off:  # else some stay that landed without a word, and were never counted
                assert counts["scanned"] >= selected + stays[entry], (entry, counts, selected, stays)
            if not run.cut_off and not run.touched:
                assert counts["scanned"] == selected + stays[entry], (entry, counts, selected, stays)

    def _stale(self, run: RunModel, now: Expected) -> dict[Place, set[Origin]]:
        """What the run wrote and nothing makes any more, with what it was made of."""
        wanted = {row.place: text(row.item) for row in now.rows.values()}
        return {
            place: {origin for version, origin in run.versions[place].items() if version == text(item)}
            for place, item in self.model.target.items()
            if self.model.writer[place] == run.id and text(item) != wanted.get(place)
        }

    # rollback

    def _rollback(self, run: RunModel, report: dict[str, Any]) -> None:
        self._taken_back(run)
        counts = report["rollback"]
        rows = [row for row in run.rows() if row.letter in (INSERTED, OPEN) and row.undone != "replaced"]
        states = Counter(row.undone for row in rows)
        for state in STATES:
            assert counts[state] == states[state], (state, counts, states)
        told = Counter((row.place, row.digest) for row in rows if row.letter == OPEN and row.undone in STATES[:2])
        assert not told or max(told.values()) == 1, "an item of a page that was open twice is counted twice"
        for row in rows:
            assert row.undone or row.letter == OPEN, f"{row.place} was inserted, and nothing became of it"
            if row.undone == "not_found":
                assert row.place in run.touched, f"{row.place} was deleted by the run, and counts as not found"
            if row.undone == "kept_edited" and not self.model.meddled:
                item = self.model.target.get(row.place)
                assert item is None or digest(item) != row.digest, f"{row.place} is as it was inserted, and kept"

    def _taken_back(self, run: RunModel) -> None:
        assert run.last_event() == "rolled_back"
        left = [place for place, writer in self.model.writer.items() if writer == run.id]
        assert not left, f"the run wrote {left}, and its rollback left them"

    # validate

    def _validate(self, run: RunModel, report: dict[str, Any]) -> None:
        mixed = self.model.meddled or run.compared_before
        run.comparing = run.compared_before = False
        if mixed:
            return
        now, found = expect(self.model.source), report["validation"]
        held = {origin: self.model.target.get(row.place) for origin, row in now.rows.items()}
        equal = {origin for origin, item in held.items() if item and text(item) == text(now.rows[origin].item)}
        missing = {origin for origin, item in held.items() if item is None}
        places = now.places()
        assert found["checked"] == len(now.rows)
        assert found["equal"] == len(equal)
        assert found["missing"] == len(missing)
        assert found["different"] + found["conflicts"] == len(held) - len(equal) - len(missing) + len(now.losers)
        assert found["quarantined"] == len(now.rejects)
        assert found["unrouted"] == len(now.unrouted)
        assert found["extra"] == sum(place not in places for place in self.model.target)
