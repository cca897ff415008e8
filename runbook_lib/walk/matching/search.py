"""The search for source items that the target has already. Reads both sides, and writes to neither.

1. The target's items of an entry are read once, and hashed by their values of `match.by`.
2. The source is walked through its routes; what has values that the target has is remembered.
3. The two are joined. Exactly one item on each side with the same values is a match.

Entries come in the order in which their matches decide each other's values; see `mapping/matching/order`.
"""

import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import Refused
from ...mapping.matching.order import match_levels, needed
from ...mapping.routes import Row
from ...run.matches import FILE, Matches
from ...run.spill import Spool
from ..plan import Plan
from ..preread import source_ids, with_known
from ..walk import Routed, walk
from .sides import Sides


@dataclass(frozen=True)
class Search:
    """What the target has already, of every entry that says `match`, chosen or not."""

    matches: Matches
    ambiguous: Spool  # lines of `matches.jsonl`: table, source key, attribute, reason
    lacking: dict[str, dict[str, list[str]]]  # entry -> source, target -> paths of `by` that lead to nothing there
    looked_at: dict[str, int]  # entry -> its items of both sides
    examples: dict[str, list[list[dict]]]  # entry -> values of its first matches


def scans(plan: Plan) -> tuple[Counter, Counter]:
    """Source table, and target table, → how often the search that gave the plan's matches has read it whole. Pure."""
    figures = plan.matches.figures if plan.matches else {}
    entries, level = plan.mapping.entries, _levels(plan)
    walked = {(entries[name].source, level[name]) for name in figures if figures[name]["source_items"] is not None}
    targets = [entries[name].target for name in figures]
    there = Counter(target for target in targets if plan.target_tables[target] is not None)
    return Counter(source for source, _ in walked), there


def _levels(plan: Plan) -> dict[str, int]:
    """Entry that says `match` → when it is matched."""
    entries = plan.mapping.entries
    return match_levels({name: needed(entry, entries) for name, entry in entries.items() if entry.model.match})


def search(plan: Plan) -> Search:
    """What of the source the target has now. Read-only.

    Raises Refused where nothing tells an entry's items from others in its target table; DynamoError, Interrupted.
    """
    level = _levels(plan)
    known = source_ids(plan) if any(plan.mapping.entries[name].asking() for name in level) else None
    ambiguous, lines, figures = Spool(), Spool(), {}
    lacking, looked_at, examples = {}, {}, {}
    with tempfile.TemporaryDirectory(prefix="runbook-") as folder:
        matches = Matches.write(Path(folder, FILE), ())
        for number in sorted(set(level.values())):
            names = [name for name in level if level[name] == number]
            now = plan.with_matches(matches)
            sides = _read(now if known is None else with_known(now, known), names)
            for name, of_entry in sides.items():
                for line in of_entry.join(_listing(ambiguous, name, of_entry)):
                    lines.append(line)
                figures[name] = _figures(of_entry)
                if of_entry.lacking:
                    lacking[name] = of_entry.lacking
                examples[name], looked_at[name] = of_entry.examples, of_entry.looked_at
            matches = Matches.write(Path(folder, FILE), lines, figures)
    return Search(matches, ambiguous, lacking, looked_at, examples)


def _read(plan: Plan, names: list[str]) -> dict[str, Sides]:
    """What both sides hold of some entries, by entry."""
    sides = {name: Sides(plan.all_routes[name]) for name in names}
    for name, of_entry in sides.items():
        _check_told_apart(plan, name, of_entry)
        target = of_entry.entry.target
        if plan.target_tables[target] is not None:
            plan.meter.do(f"looking in {target} for items of {name} that it has already")
            of_entry.add_target(plan.target.wire.scan_pages(target, attributes=of_entry.attributes))
    if reading := [name for name in names if sides[name].needs_source()]:
        for name in reading:
            sides[name].begin_source()

        def step(routed: Routed) -> None:
            rows: dict[str, list[Row]] = defaultdict(list)
            for row in (*routed.rows, *routed.losers):
                rows[row.entry].append(row)
            for name, of_entry in rows.items():
                sides[name].add_source(of_entry)

        plan.meter.do(f"looking for source items that the target has already: {', '.join(reading)}")
        walk(plan.choose(reading), step)
    return sides


def _check_told_apart(plan: Plan, name: str, sides: Sides) -> None:
    """Refused where other entries write to the same table, and nothing of an item says whose it is."""
    target = sides.entry.target
    others = [one.name for one in plan.mapping.entries.values() if one.target == target and one.name != name]
    if others and not sides.is_told_apart:
        raise Refused(
            f"{plan.mapping.file}: tables.{name}.match: nothing tells its items in {target} from those of {others[0]}; give a "
            "condition under `where` on an attribute that is copied, or a field with a constant."
        )


def _listing(ambiguous: Spool, name: str, sides: Sides) -> Callable[[dict, str], object]:
    attribute = ", ".join(sides.entry.model.match.by)
    return lambda key, reason: ambiguous.append({"table": name, "key": key, "attribute": attribute, "reason": reason})


def _figures(sides: Sides) -> dict[str, Any]:
    """As reports have them."""
    match, figures = sides.entry.model.match, sides.figures
    return {
        "by": match.by,
        "found": match.found,
        "source_items": figures.source,
        "target_items": figures.target,
        "matched": figures.matched,
        "ambiguous": figures.ambiguous,
        "nearly": figures.nearly,
    }
