"""What 01 to 04 import. `begin` returns a `Book`; each of its steps does one thing and returns one result."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from ..errors import Refused
from ..mapping.model import Entry
from ..report import json_analysis
from ..report import json_report as report
from ..report.drawing import html
from ..report.frames import AnalysisFrames, BackupFrames, CanaryFrames, CreatedFrames, MigrationFrames, ValidationFrames
from ..stages import confirmation, expiry, matching
from ..stages.analyze.analysis import Analysis
from ..stages.follow.follow import follow, planned
from ..stages.migrate import backup_gate
from ..stages.migrate.delta import catch_up
from ..stages.migrate.migrate import Migration, migrate
from ..stages.migrate.retry_failed import failed, retry_failed
from ..stages.selection import is_complete
from ..stages.test.canary import Canary, collect
from ..stages.validate.validate import Validation
from ..verdict import plural
from ..walk.plan import Plan, open_plan
from . import display
from .base_book import BaseBook
from .display import Chosen, dropdown
from .progress import Progress, opening
from .steps import refused_as

FEW = 3  # entries that a sentence names
LEFT = {  # items that did not arrive -> how the headline names them
    "conflicts": "in conflict",
    "quarantined": "quarantined",
    "failed": "still failed",
    "expired": "expired and left out",
    "matched": "matched",
}


def begin(stage: str, namespace: Mapping[str, Any]) -> "Book":
    """The book for a stage, from the values that the parameters cell and papermill left in `namespace` (`globals()`).

    Shows the banner. Raises ParametersError for an undeclared name or type, Refused where a named file does not exist.
    """
    book = Book(stage)
    book._open(namespace)
    return book


class Book(BaseBook):
    """One execution of 01, 02, 03 or 04."""

    _complete = False  # so that nobody was asked to confirm 03

    @refused_as(Refused)
    def plan(self) -> Plan:
        """The plan: parameters and mapping matched with the real tables. Read-only."""
        chosen = self._values.get("tables") or None
        with opening(self.run, self.stage) as follow:
            return open_plan(self.parameters, chosen=chosen, run_id=self.run.id, follow=follow)

    def analyze(self, plan: Plan) -> AnalysisFrames:
        """The dry run over every page. Reads both sides; writes the analysis into the run's folder."""
        done = self._work.analyze(plan)
        analysis: Analysis = done.result
        left = json_analysis.left_open(plan, done.content["totals"], analysis.alerts)
        entries, sources = len(analysis.tables), len(analysis.sources)
        split = f" of {plural(entries, 'entry', 'entries')}" if entries != sources else ""
        headline = (
            f"{plural(analysis.records, 'record')}{split} in {plural(sources, 'table')}, "
            f"{plural(analysis.relationships, 'reference')}; {left}."
        )
        self._done(done, headline if analysis.records else _why_nothing(_entries(plan)) + headline)
        return AnalysisFrames(analysis)

    def create_tables(self, plan: Plan) -> CreatedFrames | None:
        """Creates the missing target tables. Writes to the target's account, with execute."""
        if not self._may_write():
            missing = [(entry.name, entry.target) for entry in plan.missing_targets()]
            self._planned([f"create {table} for {entry}" for entry, table in missing] or ["create no table: all exist"])
            return None
        done = self._work.create_tables(plan, last=not self._values["table"])
        self._created = done.result
        if done.content:
            self._done(done, f"{plural(len(done.result), 'table')} created; every target table exists.")
        return CreatedFrames(done.result)

    @refused_as(Refused)
    def canary(self, table: str | None = None) -> CanaryFrames | None:
        """Inserts a few items of one entry with what they refer to, compares and undoes them. Writes to the target."""
        table = table or self._values["table"]
        limit, keep = self._values["limit"], self._values["keep"]
        if not table:
            return None
        if limit < 1:
            raise Refused(f"limit is {limit}; test at least one item.")
        plan = self.plan()
        plan.mapping.check_names([table])
        if not self._may_write():
            closure = collect(matching.frozen(self.run, expiry.as_of(self.run, plan), "02_test"), table, limit, {})
            per_entry = Counter(row.entry for row in closure.rows)
            self._planned([f"insert {plural(n, 'item')} of {entry}, compare, undo" for entry, n in per_entry.items()])
            return None
        done = self._work.test(plan, table, limit, keep=keep, created=self._created)
        canary: Canary = done.result
        inserted = sum(counts["inserted"] for counts in canary.state.tables.values())
        end = "kept" if keep else f"{plural(canary.undone.deleted, 'insert')} undone"
        headline = f"{plural(len(canary.closure.rows), 'item')} compared, {inserted:,} of them inserted; {end}."
        if not canary.closure.rows:
            source = plan.routes[table].entry.source
            headline = f"No item was tested: {source} has none that {table} selects and can write. {headline}"
        self._done(done, headline)
        return CanaryFrames(canary)

    @refused_as(Refused)
    def backups(self, plan: Plan) -> BackupFrames:
        """The backup of each target table before the first insert; none where the target is not production. Read-only."""
        found = backup_gate.outlook(self.run, plan)
        if not self.execute:
            wanted = {table: about["kind"] for table, about in found.items() if not about.get("arn")}  # else taken
            self._planned([backup_gate.PLANNED[kind].format(table) for table, kind in wanted.items()], show=False)
        return BackupFrames(found)

    def confirm(self, plan: Plan, table: str | None = None) -> None:
        """Shows how the user confirmed what follows. Raises Refused where nobody did. Asks nothing without execute.

        `table` is the entry that 02 is to test, where it was chosen in the notebook.
        """
        values, target = self._values, self.parameters.target
        if self.stage == "02_test":
            if table is not None and display.interactive():
                values["table"] = table
                self.show(html.note, _to_test(table))
            about = {"limit": values["limit"], "keep": values["keep"]}
            what = confirmation.testing(target, len(plan.missing_targets()), table or values["table"], **about)
            self._confirm(what, always=False)
            return
        counts = {name: found.items for name, found in plan.source_tables.items()}
        again = next((word for word in ("retry_failed", "delta", "follow") if values[word]), "")
        about = {"complete": self._is_complete(plan), "again": again}
        self._complete = (
            self.execute and about["complete"] and not again and not values["confirm"] and display.interactive()
        )
        if self._complete:
            self._confirmed = True
            self.show(
                html.note, "This run is complete: 03 reports it and writes nothing, so there is nothing to confirm."
            )
            return
        self._confirm(confirmation.migrating(self.run, _entries(plan), target, counts, **about))

    def _is_complete(self, plan: Plan) -> bool:
        return is_complete(self.run, [entry.name for entry in _entries(plan)])

    def migrate(self, plan: Plan) -> MigrationFrames | None:
        """Starts or resumes the migration. Writes to the target and the run's folder, with execute."""
        again = bool(self._values["retry_failed"])
        chosen = [word for word in ("delta", "follow", "retry_failed") if self._values[word]]
        if len(chosen) > 1:
            raise Refused(f"{' and '.join(chosen)} cannot run together; run one after the other.")
        if self._values["follow"]:
            return self._follow(plan)
        if self._values["delta"]:
            return self._catch_up(plan)
        if not self._may_write() and again:
            waiting = failed(self.run, list(plan.routes))
            steps = [f"retry {plural(number, 'failed item')} of {entry}" for entry, number in waiting.items()]
            self._planned(steps or ["retry nothing: no item failed"])
            return None
        if not self.execute and self._is_complete(plan):
            self._planned([f"write nothing: run {self.run.id} is complete; `new` begins another one"])
            return None
        if not self.execute:
            self._planned([f"insert {one.name} from {one.source} into {one.target}" for one in _entries(plan)])
            return None
        if self._complete and not self._is_complete(plan):
            raise Refused("the run has changed since the confirmation cell; run the cells again, in order.")
        done = self._work.migrate(plan, retry_failed if again else migrate)
        migration: Migration = done.result
        totals = done.content["totals"]
        nothing = (
            "no item had failed"
            if again
            else "this run was complete (`delta` applies later changes, `new` begins another run)"
        )
        first = ""
        if migration.wrote_nothing:
            first = f"Nothing was written: {nothing}. "
        elif not any(done.content["tables"].get(name, {}).get("scanned") for name in plan.routes):
            first = _why_nothing(_entries(plan))
        left = "".join(
            f", {totals[key]:,} {words}"
            for key, words in LEFT.items()
            if totals.get(key) and (again or key != "failed")
        )
        unrouted = totals["unrouted"]
        beside = (
            f" No entry selects {unrouted:,} more of the {totals['scanned'] + unrouted:,} read." if unrouted else ""
        )
        headline = (
            f"{first}{totals['inserted']:,} of {plural(totals['scanned'], 'item')} inserted, "
            f"{totals['already_there']:,} already there{left}.{beside}"
        )
        if migration.failure:  # its last words may be a command to copy
            before = "" if migration.undone else f"{headline} "
            headline = f"{before}Failed: {migration.failure}{report.taken_back(migration)}"
        self._done(done, headline)
        return MigrationFrames(migration, done.content)

    def _catch_up(self, plan: Plan) -> MigrationFrames | None:
        """Brings the target up to date with the source; without execute it only counts the changes."""
        if not self._may_write():
            with Progress(self.run, plan, self.stage) as on_page:
                self._planned(catch_up(self.run, plan, on_page, write=False).drift.steps())
            return None
        done = self._work.migrate(plan, catch_up)
        self._done(done, done.result.drift.headline())
        return MigrationFrames(done.result, done.content)

    def _follow(self, plan: Plan) -> MigrationFrames | None:
        """Migrates, then applies what the streams hold until somebody stops it; without execute it looks at the streams."""
        if not self._may_write():
            self._planned(planned(self.run, plan))
            return None
        done = self._work.migrate(plan, follow)
        migration: Migration = done.result
        failed = f"Failed: {migration.failure}{report.taken_back(migration)}"
        self._done(done, migration.followed.headline() if migration.followed else failed)
        return MigrationFrames(migration, done.content)

    def validate(self, plan: Plan) -> ValidationFrames | None:
        """Starts or resumes the comparison of both sides; writes the report. With `repair` it first inserts what is missing."""
        word = self._values["repair"]
        if word and not self._confirmed:
            self._confirm(confirmation.repairing(_entries(plan), self.parameters.target))
        if word and not self._may_write():
            self._planned(self._work.plan_repair(plan, word))
            return None
        done = self._work.repair(plan, word) if word else self._work.validate(plan)
        found: Validation = done.result
        nothing = not any(
            found.total(of) for of in ("checked", "expired", "skipped", "matched", "conflicts", "quarantined")
        )
        self._done(done, (_why_nothing(_entries(plan)) if nothing else "") + found.headline())
        return ValidationFrames(done.result, done.content)

    def choose_table(self, plan: Plan) -> Any:
        """A dropdown of the entries, set to the parameter; its value is the test's entry. In batch it is only text."""
        chosen = self._values["table"]
        if not display.interactive():
            self.show(html.note, _to_test(chosen))
            return Chosen(chosen)
        return dropdown("Test", [("none", ""), *((name, name) for name in plan.routes)], chosen)


def _to_test(name: str) -> str:
    return f"Entry to test: {name or 'none, only the tables are created'}."


def _entries(plan: Plan) -> list[Entry]:
    return [route.entry for route in plan.routes.values()]


def _why_nothing(entries: list[Entry]) -> str:
    """A sentence that opens the headline of a stage that has found no item to work on, by entry, the first few of them."""
    found = [
        f"{entry.name} selects no item of {entry.source} ({'look at its `where`' if entry.conditions else 'it is empty'})"
        for entry in entries[:FEW]
    ]
    more = [f"nor do {plural(len(entries) - FEW, 'more entry', 'more entries')}"] if len(entries) > FEW else []
    return f"Nothing to do: {'; '.join([*found, *more])}. "
