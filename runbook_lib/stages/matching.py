"""Matches, frozen: what `match` finds in the target is decided once for all stages of a run, and recorded with its SHA-256.

1. 03's first execution decides; its record `execution` says which file it went by.
2. Before that `plan.json` of 01 counts. 01 itself searches anew, as long as 03 has not begun.
3. Without a plan 02 goes by what its last execution recorded, and else searches; 03 searches.

03 searches once more before its first insert. What is not as 01 saw it is drift; the frozen matches hold all the same.
"""

from collections.abc import Iterable
from collections.abc import Mapping as Dict
from typing import Any

from ..errors import Refused
from ..journal.listings import write_listing
from ..journal.stage import Stage
from ..mapping.model import Mapping
from ..parameters import Parameters
from ..run.files import remove_file
from ..run.fingerprints import Identity, identity_of
from ..run.folder import Run
from ..run.matches import FILE, Matches
from ..run.spill import HashLog
from ..verdict import plural
from ..walk.matching.search import Search, search
from ..walk.plan import Plan
from . import sealed
from .sealed import Deviation

LISTING = "matches"  # .jsonl: what is ambiguous
STOP, INSERT = "stop", "insert"


def says_match(plan: Plan) -> bool:
    """Whether an entry, chosen or not, says `match`."""
    return any(entry.model.match for entry in plan.mapping.entries.values())


def frozen(run: Run, plan: Plan, stage: str) -> Plan:
    """The plan with the matches that are frozen for a stage; itself where no entry says `match`, or none are frozen yet.

    Reads the run's folder. Raises Refused where the file is missing or not as recorded, where 03 began without one, and
    where there is none for 04, which has nothing else to go by.
    """
    if plan.matches or not says_match(plan):
        return plan
    found = _of_run(run, stage)
    if found is None and stage == "04_validate":
        raise Refused(
            f"run {run.id} has matched nothing yet, and its mapping says `match`; analyze or migrate with it first."
        )
    if found is None:
        return plan
    return plan.with_matches(Matches.open(run.folder / FILE, found["sha256"], found["tables"]))


def _of_run(run: Run, stage: str) -> Dict[str, Any] | None:
    migrated = Stage(run, "migrate")
    if begun := list(migrated.events("execution")):
        if found := _recorded(begun):
            return found
        raise Refused(f"run {run.id} began without matches, because its mapping did not say `match`; start a new run.")
    if stage == "01_analyze":
        return None
    if found := (sealed.read_plan(run) or {}).get("matches"):
        return found
    return None if stage == "03_migrate" else _recorded(Stage(run, "test").events("execution"))


def _recorded(executions: Iterable[Dict[str, Any]]) -> Dict[str, Any] | None:
    """What the last of a journal's events `execution` says that has matches."""
    found = [event["matches"] for event in executions if event.get("matches")]
    return found[-1] if found else None


def identity_then(stage: Stage, mapping: Mapping, parameters: Parameters) -> Identity:
    """The identity that a migration has with the matches by which the stage's first execution went. Read-only.

    An undo, and whoever chooses a run, has not read them.
    """
    first = next(stage.events("execution"), {})
    return identity_of(mapping, parameters, first.get("matches", {}).get("sha256"))


def analyzed(run: Run, plan: Plan) -> tuple[Plan, Search | None]:
    """The plan by which 01 goes, and what it has searched; None where the matches were frozen, or nothing says `match`."""
    plan = frozen(run, plan, "01_analyze")
    if plan.matches or not says_match(plan):
        return plan, None
    found = search(plan)
    return plan.with_matches(found.matches), found


def freeze(run: Run, found: Search) -> Matches:
    """The matches in the run's folder: writes `plan-matches.jsonl` and `matches.jsonl`."""
    write_listing(run.folder, LISTING, found.ambiguous)
    return found.matches.save(run.folder / FILE)


def clear(run: Run) -> None:
    """Removes what an analysis with another mapping has frozen, unless 03 goes by it. Writes to the run's folder."""
    if Stage(run, "migrate").executions():
        return
    write_listing(run.folder, LISTING, ())
    remove_file(run.folder / FILE)


def before_first_insert(stage: Stage, plan: Plan) -> tuple[Plan, list[Deviation]]:
    """The plan with frozen matches, and what is not as 01 saw it. Reads both sides.

    Where the run has none, it searches, and writes what it finds into the run's folder. 03 searches also where it has,
    before its first execution. Raises Refused where an entry that says `found: stop` has matches or ambiguous items.
    """
    if not says_match(plan):
        return plan, []
    deviations, searches = [], stage.name == "migrate" and not stage.executions()
    figures = plan.matches.figures if plan.matches else {}
    if plan.matches is None or searches:
        base = plan.with_matches(None)
        found = search(base)
        figures = found.matches.figures
        if plan.matches is None:
            _refuse(plan, figures)
            return base.with_matches(freeze(stage.run, found)), []
        deviations = _deviations(plan, found.matches)
    if searches or stage.name == "test":
        _refuse(plan, figures)
    return plan, deviations


def _refuse(plan: Plan, figures: Dict[str, Dict[str, Any]]) -> None:
    for name, about in figures.items():
        number = about["matched"] + about["ambiguous"]
        if about["found"] == STOP and name in plan.routes and number:
            raise Refused(
                f"{name}: the target has {plural(number, 'source item')} already, by {', '.join(about['by'])}, and the mapping "
                "says `found: stop`; correct them, or choose reuse or insert."
            )


def _deviations(plan: Plan, now: Matches) -> list[Deviation]:
    """One for each entry whose matches are others now. `planned` and `found` are counts."""
    planned, found = _bags(plan.matches), _bags(now)
    deviations = []
    for name in sorted(planned.keys() | found.keys()):
        before, after = planned.get(name, HashLog()), found.get(name, HashLog())
        new, gone = len(after.without(before)), len(before.without(after))
        if new or gone:
            by = ", ".join(plan.mapping.entries[name].model.match.by)
            counts = {"matched": len(after), "new": new, "gone": gone}
            deviations.append(Deviation("target", name, sealed.MATCH, by, {"matched": len(before)}, counts))
    return deviations


def _bags(matches: Matches) -> dict[str, HashLog]:
    """Entry → a hash of each of its matches."""
    bags: dict[str, HashLog] = {}
    for name, hashed in matches.hashes():
        bags.setdefault(name, HashLog()).extend([hashed])
    return bags
