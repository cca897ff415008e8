"""04_validate: the walk with `compare` as its last step, then a scan of the target, the structure, and the queries.

Read-only on both sides. It compares every item in both directions, with types, and looks references up in the target.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter

from ...journal.listings import write_listing
from ...journal.log import CONFLICT
from ...journal.snapshot import Snapshot, state_of
from ...journal.stage import Stage
from ...mapping.routes import Row
from ...mapping.walkers import LINK_BYTES
from ...run import folder as runs
from ...run.folder import Run
from ...run.spill import HashLog, HashSet
from ...values import key_hash
from ...verdict import FAIL, REVIEW, Alert, alerts_of_counts, plural
from ...walk import control
from ...walk.insert import OnPage
from ...walk.plan import Plan
from ...walk.preread import prepare
from ...walk.structure import Structures, read_structures
from ...walk.walk import Routed, digests_there, walk
from .. import expiry, references
from ..analyze import names
from ..analyze.checks import alerts_of
from ..analyze.structure import structure_checks
from ..execution import done, resumable
from ..matching import alerts as alerts_of_matches
from ..matching import frozen
from ..migrate.drift import alerts_of_doubles
from . import journal as validation_journal
from .compare import MAX_SHOWN, Difference, EntryValidation, PageComparer
from .groups import UNFINISHED, DifferenceGroup, Group, explained
from .matched.look import MatchedItems, look_at_matches
from .origins import FIGURES, Origins
from .origins import alerts as alerts_of_drift
from .queries import Pattern, PatternProof, compile_patterns, prove
from .residual import Residual, lines_of
from .target_scan import look_at_target
from .vacuous import proves_nothing


@dataclass(frozen=True)
class Validation:
    """The result of comparing both sides."""

    tables: dict[str, EntryValidation]
    extra: dict[str, int]  # target table -> items that the mapping does not produce
    unrouted: int
    differences: list[Difference]
    structure: list[str]  # sentences: what the target's tables lack
    patterns: list[PatternProof]
    alerts: list[Alert] = field(default_factory=list)
    earlier_pages: int = 0  # that interrupted executions compared
    again_pages: int = 0  # compared once more: that was too long ago, or the clock was set back
    oldest: str = ""  # when the first page was compared that counts
    groups: list[DifferenceGroup] = field(default_factory=list)  # all differences by cause
    drift: Counter = field(default_factory=Counter)  # of origins.FIGURES
    migrated: Snapshot | None = None  # the migration's journal
    residual: Residual = field(default_factory=Residual)  # what is left of the source
    matches: MatchedItems | None = None  # items of the target that have the place of source items; None: no `match`
    expired_as_of: str | None = None  # the moment as of which `expired: skip` leaves items out

    def total(self, name: str) -> int:
        """The sum of one figure over all entries."""
        return sum(getattr(table, name) for table in self.tables.values())

    def headline(self) -> str:
        """The result as a sentence."""
        return (
            f"{self.total('equal'):,} of {plural(self.total('checked'), 'item')} equal to what the mapping makes of the source; "
            f"{self.total('missing'):,} missing, {self.total('different'):,} different, {sum(self.extra.values()):,} extra, "
            f"{self.total('dangling'):,} dangling, {self.total('unreadable'):,} unreadable, "
            f"{self.residual.ids.items:,} with ids of the source left."
        )


def validate(run: Run, plan: Plan, on_page: OnPage | None = None) -> Validation:
    """Compares both sides, item by item; starts or resumes. Reads both sides; writes its journal into the run's folder.

    Raises Refused where no target table exists at all, Interrupted (the same run ID resumes).
    """
    if all(plan.target_tables[name] is None for name in plan.target_names()):
        plan.require_targets(shapes=False)
    with resumable(run), run.saving():
        return _validate(run, plan, on_page)


def _validate(run: Run, plan: Plan, on_page: OnPage | None) -> Validation:
    plan = frozen(run, expiry.as_of(run, plan, last=validation_journal.last(run)), "04_validate")
    prepared, winners = prepare(plan, refuse=False)
    migrated = Stage(run, "migrate").read()
    conflicts = _listed_conflicts(migrated, plan)
    patterns, problems = _patterns(prepared)
    structures = read_structures(plan)
    ttl, blind = expiry_of(plan, structures)
    broken, structural = _structure(plan, structures)
    origins = Origins(migrated, prepared)
    journal, totals = validation_journal.go_on(run, plan)
    compare = PageComparer(prepared, patterns, conflicts, ttl, runs.now().timestamp(), origins)

    def step(routed: Routed) -> None:
        counted = plan.meter.page(routed.page.table, len(routed.page.items))
        page = compare(routed, lambda keys, items: counted.answered(keys))
        page.differences = page.differences[: max(0, totals.room())]
        journal.append(routed.page, page)
        totals.add(page)
        counted.end()
        if on_page:
            on_page(routed.page.table, Counter(scanned=len(routed.page.items)))

    def look() -> None:
        control.check(run)

    with journal, origins:
        plan.count("comparing", earlier=journal.items(), left=journal.left())
        walk(prepared, step, winners=winners, resume=journal.positions, segments=journal.segments, counted=True)
        plan.meter.do("looking through the target tables for items that nothing expects")
        parents = {parent for _, _, parent in totals.asked if parent}
        matches = look_at_matches(prepared, parents, totals.held, totals.renewed, look)
        keys = matches.keys if matches else {}
        side = look_at_target(prepared, totals.expected, totals.held, parents, totals.renewed, keys, MAX_SHOWN, look)
        drift = origins.of_extra(side.extra, totals.notes)
    dangling = {
        place: left
        for place, asked in totals.asked.items()
        if len(left := asked.without(totals.held[place[2]] if place[2] else HashLog(LINK_BYTES)))
    }
    plan.meter.do("looking references up in the target")
    listed = references.find(
        prepared,
        dangling,
        set(totals.unreadable),
        attrgetter("link"),
        winners=winners,
        arrived=lambda rows: _in_target(prepared, rows),
        on_page=look,
    )
    for name in FIGURES:
        drift[name] += sum(getattr(table, name, 0) for table in totals.tables.values())
    for target, key in side.keys:
        totals.note(Difference(target, key, "extra"))
    for target, keys in side.extra.items():
        totals.count(Group(target, "", "extra"), len(keys))
    if matches:
        for entry, key, kind in matches.examples:
            totals.note(Difference(entry, key, kind))
        for (entry, kind), number in matches.open.items():
            totals.count(Group(entry, "", kind), number)
    lost: dict[str, Counter] = defaultdict(Counter)  # entry -> path -> dangling references
    for (entry, path, _), left in dangling.items():
        lost[entry][path] += len(left)
        totals.tables[entry].dangling += len(left)
    proofs = []
    plan.meter.do("running the queries")
    for pattern in patterns:
        look()
        foreign = [keys[pattern.table] for keys in (side.extra, conflicts, side.others) if pattern.table in keys]
        matching = totals.matching[pattern.entry, pattern.name]
        proofs.append(prove(plan.target.wire, pattern, matching, foreign))
    validation = Validation(
        {name: totals.tables[name] for name in plan.routes},  # an entry without items has a row of zeros
        {target: len(keys) for target, keys in side.extra.items()},
        totals.unrouted,
        totals.differences,
        broken + problems,
        proofs,
        earlier_pages=journal.pages,
        again_pages=journal.again,
        oldest=totals.oldest,
        groups=explained(totals.groups, plan.mapping.entries, complete=_is_complete(migrated)),
        drift=drift,
        migrated=migrated,
        residual=side.residual,
        matches=matches,
        expired_as_of=plan.expiry and plan.expiry.moment,
    )
    done(run, "04_validate", migrated)
    totals.notes.write(run.folder)
    for name, lines in (listed | lines_of(side.residual)).items():
        write_listing(run.folder, name, lines)
    for name in plan.routes:
        own = [
            {path: n for (of, path), n in all_.items() if of == name} for all_ in (totals.unreadable, totals.several)
        ]
        validation.alerts.extend(references.alerts(plan.mapping.entries[name], lost[name], *own))
    validation.alerts.extend(_alerts(plan, validation, blind) + structural + alerts_of_drift(run, validation.drift))
    validation.alerts.extend(expiry.alerts(plan.mapping.entries, plan.routes, plan.expiry))
    validation.alerts.extend(side.residual.alerts())
    validation.alerts.extend(matches.alerts() if matches else ())
    for delta in list(migrated.events("delta_end"))[-1:]:
        validation.alerts.extend(alerts_of_doubles(delta.get("ambiguous", 0), delta.get("match_gone", 0)))
    validation.alerts.extend(alerts_of_matches(plan.matches and plan.matches.as_json(), plan.routes))
    validation.alerts.extend(proves_nothing(plan, validation.tables, validation.patterns))
    analysis = run.latest_json("migration-analysis")
    validation.alerts.extend(names.alerts_of_latest(analysis, plan, settled=partial(side.residual.settles, plan)))
    return validation


def _in_target(plan: Plan, rows: list[Row]) -> list[bool]:
    """Whether the target holds an item under the key of each row. Read-only."""
    here = [at for at, row in enumerate(rows) if plan.target_tables[plan.routes[row.entry].entry.target] is not None]
    return [held is not None for held in digests_there(plan, rows, here)]


def _patterns(plan: Plan) -> tuple[list[Pattern], list[str]]:
    """The queries of the chosen entries, and sentences on those that do not fit their tables."""
    patterns, problems = [], []
    for route in plan.routes.values():
        try:
            patterns += compile_patterns(plan, route.entry)
        except ValueError as problem:
            problems.append(str(problem))
    return patterns, problems


def expiry_of(plan: Plan, structures: Structures) -> tuple[dict[str, str | None], list[str]]:
    """Target table → the attribute by which its items expire; and the tables where that is unknown."""
    existing = [name for name in plan.target_names() if plan.target_tables[name] is not None]
    known = {name: structures.target[name]["ttl"] for name in existing if "ttl" in structures.target[name]}
    return known, [name for name in existing if name not in known]


def _listed_conflicts(migrated: Snapshot, plan: Plan) -> dict[str, HashSet]:
    """Target table → keys that the migration found taken by different items."""
    found: dict[str, HashLog] = defaultdict(HashLog)
    for file in migrated.files:
        for intent in file.intents(only=set(file.holding[CONFLICT])) if file.holding[CONFLICT] else ():
            for row, letter in zip(intent.rows, intent.outcome, strict=True):
                if letter == CONFLICT:
                    found[plan.mapping.entries[row.entry].target].extend([key_hash(row.key)])
    return {target: log.frozen() for target, log in found.items()}


def _structure(plan: Plan, structures: Structures) -> tuple[list[str], list[Alert]]:
    """Sentences on what the target's tables lack, and alerts on what of the source is lost without harm to the items."""
    missing = [name for name in plan.target_names() if plan.target_tables[name] is None]
    checks = [check for check in structure_checks(plan, structures, ahead=False) if check.table not in missing]
    stopping = [f"{check.table}: {check.message}" for check in checks if check.level == FAIL]
    return (
        sorted([f"{name}: the table does not exist" for name in missing] + stopping),
        alerts_of(check for check in checks if check.level != FAIL),
    )


def _alerts(plan: Plan, validation: Validation, blind: list[str]) -> list[Alert]:
    """`blind`: target tables whose time-to-live setting could not be read."""
    alerts = [
        Alert(FAIL, "", sentence, "Correct the table, or the mapping's `create`.") for sentence in validation.structure
    ]
    complete = validation.migrated is None or _is_complete(validation.migrated)
    for name, table in validation.tables.items():
        if table.missing:
            action = "`runbook validate PARAMS --repair` lists them by cause." if complete else UNFINISHED
            alerts.append(Alert(FAIL, name, f"{plural(table.missing, 'item')} missing in the target", action))
        if table.missing and plan.routes[name].entry.target in blind:
            message = "missing items may have expired: DescribeTimeToLive is not available here"
            alerts.append(Alert("", name, message, "Allow it, or check the time to live of the missing items."))
        if table.expired:
            message = f"{plural(table.expired, 'item')} no longer in the target: their time to live is over"
            alerts.append(Alert("", name, message, "Nothing to do: the target has let them expire."))
        if table.different:
            action = "See differences.jsonl, and drift.jsonl for the side that has changed since 03. `runbook migrate PARAMS "
            action += "--delta` takes over what has changed in the source."
            alerts.append(Alert(FAIL, name, f"{plural(table.different, 'item')} different in the target", action))
        if table.accepted:
            message = f"{plural(table.accepted, 'item')} different only in {_listed(plan, name)}"
            alerts.append(references.accepted_alert(name, message))
        counts = {"quarantined": table.quarantined, "conflicts": table.conflicts, "expired": table.skipped}
        counts["matched"] = table.matched
        alerts += alerts_of_counts({name: counts | {"scanned": sum(counts.values())}}, 0, True)
    alerts += alerts_of_counts({}, validation.unrouted, plan.mapping.ignore_unrouted)
    for target, number in validation.extra.items():
        message = f"{plural(number, 'extra item')} that the mapping does not produce"
        if any(route.entry.model.accept.extra for route in plan.routes.values() if route.entry.target == target):
            alerts.append(references.accepted_alert(target, message))
            continue
        action = "Nothing touched them; see differences.jsonl, and find out whose they are."
        alerts.append(Alert(REVIEW, target, message, action))
    for proof in validation.patterns:
        if proof.problem:
            alerts.append(
                Alert(FAIL, proof.entry, f"query {proof.name}: {proof.problem}", "Check indexes and templates.")
            )
    return alerts


def _is_complete(migrated: Snapshot) -> bool:
    """Whether there is nothing to resume: 03 has ended, or never began in this run."""
    state = state_of(migrated.events())
    return state.finished or state.rolled_back or not migrated.began


def _listed(plan: Plan, entry: str) -> str:
    return ", ".join(plan.routes[entry].entry.model.accept.differs)
