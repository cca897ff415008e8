"""Matches, frozen: what `match` finds in the target is decided once for all stages of a run, and recorded with its SHA-256.

1. 03's first execution decides; its record `execution` says which file it went by.
2. Before that `plan.json` of 01 counts. 01 itself searches anew, as long as 03 has not begun.
3. Without a plan 02 goes by what its last execution recorded, and else searches; 03 searches.

03 searches once more before its first insert. What is not as 01 saw it is drift; the frozen matches hold all the same.
"""

from collections.abc import Iterable, Iterator
from collections.abc import Mapping as Dict
from itertools import chain
from typing import Any, NamedTuple

from ..errors import Refused
from ..journal.listings import entry_of, write_listing
from ..journal.stage import Stage
from ..mapping.model import INSERT, Mapping
from ..parameters import Parameters
from ..run.files import remove_file
from ..run.fingerprints import Identity, identity_of
from ..run.folder import Run
from ..run.matches import FILE, Matches
from ..run.spill import HashLog
from ..verdict import REVIEW, Alert, plural
from ..walk.matching.search import Search, search
from ..walk.plan import Plan
from . import sealed
from .sealed import Deviation

LISTING = "matches"  # .jsonl: what is ambiguous
SINCE = "the target has an item with these values that it did not have when the matches were frozen; it is written beside that"
NO_LONGER = (
    "its match no longer holds: one of the two items is gone, or has other values; references keep the target's id"
)
CORRECT = "Correct the items, or name further attributes under `by`"
STOP = "stop"


class Again(NamedTuple):
    """What a look at the target, after all was inserted, has found of an entry."""

    ambiguous: int  # source items that are there twice, or may be
    gone: int  # frozen matches that no longer hold


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
        if found := recorded(begun):
            return found
        raise Refused(f"run {run.id} began without matches, because its mapping did not say `match`; start a new run.")
    if stage == "01_analyze":
        return None
    if found := (sealed.read_plan(run) or {}).get("matches"):
        return found
    return None if stage == "03_migrate" else recorded(Stage(run, "test").events("execution"))


def alerts(found: Dict[str, Any] | None, names: Iterable[str]) -> list[Alert]:
    """What the matches leave open in the entries `names`: source items that may be in the target twice.

    `found`: the matches as a journal or plan has them; None without any.
    """
    open_items = []
    for name, about in (found or {}).get("tables", {}).items():
        if name not in names:
            continue
        by, matched, doubtful = ", ".join(about["by"]), about["matched"], about["ambiguous"]
        if doubtful:
            message = (
                f"{plural(doubtful, 'item')} ambiguous by {by}: written beside those of the target that may be the same"
            )
            action = f"See matches.jsonl. If they are the same, roll back. {CORRECT}, and start a new run."
            open_items.append(Alert(REVIEW, name, message, action))
        if matched and about["found"] == INSERT:
            message = f"{plural(matched, 'item')} written beside those that the target has, by {by}"
            open_items.append(Alert("", name, message, "Nothing to do: the mapping says `found: insert`."))
    return open_items


def recorded(executions: Iterable[Dict[str, Any]]) -> Dict[str, Any] | None:
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
        write_listing(
            stage.run.folder, LISTING, chain(found.ambiguous, _gone(plan, found.matches), _since(plan, found.matches))
        )
    if searches or stage.name == "test":
        _refuse(plan, figures)
    return plan, deviations


def look_again(run: Run, plan: Plan) -> dict[str, Again]:
    """Entry → how what the target has now differs from the frozen matches; {} where all is as it should be.

    Reads both sides, and writes `matches.jsonl`. Call it when all that was inserted is in the target. Raises as `search`.
    """
    if plan.matches is None:
        return {}
    found = search(plan.with_matches(None))
    write_listing(run.folder, LISTING, chain(found.ambiguous, _gone(plan, found.matches)))
    gone = {one.table: one.found["gone"] for one in _deviations(plan, found.matches)}
    now = {name: Again(about["ambiguous"], gone.get(name, 0)) for name, about in found.matches.figures.items()}
    return {name: one for name, one in now.items() if any(one)}


def _gone(plan: Plan, now: Matches) -> Iterator[dict[str, Any]]:
    """Lines of `matches.jsonl`: frozen matches that no longer hold."""
    return _lines(plan, plan.matches, now, NO_LONGER)


def _since(plan: Plan, now: Matches) -> Iterator[dict[str, Any]]:
    """Likewise: matches that are not frozen."""
    return _lines(plan, now, plan.matches, SINCE)


def _lines(plan: Plan, these: Matches, others: Matches, reason: str) -> Iterator[dict[str, Any]]:
    log = HashLog()
    log.extend(hashed for _, hashed in others.hashes())
    known = log.frozen()
    for line, (name, hashed) in zip(these, these.hashes(), strict=True):
        if hashed not in known:
            yield entry_of(name, line["key"], ", ".join(plan.mapping.entries[name].model.match.by), reason)


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
