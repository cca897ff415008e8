"""The names in a mapping that match nothing: of each, whether an item has what it names, page by page.

Once an item has it, a name is watched no longer, so a right mapping costs nothing after its first pages.
"""

import difflib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ...discover.confidence import CERTAIN
from ...discover.profile import Profile
from ...mapping.fields import feeding, field_of
from ...mapping.model import Entry
from ...mapping.routes import Route, Row
from ...mapping.text.paths import EACH, JSON, KEYS, VALUES, Split, escaped, members, spelled
from ...run.fingerprints import mapping_fingerprint
from ...values import MAX_ATTRIBUTES, SETS, from_python, is_empty
from ...verdict import REVIEW, Alert
from ...walk.matching.search import Search
from ...walk.plan import Plan
from ...walk.walk import Routed
from .analysis import EntryAnalysis, Unmatched

_SAID = {"id": "id attribute", "from": "attribute under `from`", "template": "attribute of a template"}
_SAID |= {"match": "attribute under `match`, on one of the sides,"}
_SAID |= {"drop": "attribute under `drop`", "query": "attribute of a query", "index": "index key attribute"}


@dataclass
class _Name:
    """One name that no item has had so far."""

    rule: str
    name: str  # as the mapping has it
    steps: tuple
    level: str
    entry: str
    could: bool = False  # an item has an empty value on the way, which cannot tell
    broke: bool = False  # an item has something else on the way
    beside: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))  # where it broke off -> names there
    instead: Counter = field(default_factory=Counter)  # how the path would go on into values of another kind -> times

    def is_in(self, items: Iterable[dict]) -> bool:
        """Whether it leads to something in one of these items."""
        top, *rest = self.steps
        return any(self._leads(item[top], rest, top) for item in items if top in item)

    def _leads(self, value: dict, steps: Sequence, at: str) -> bool:
        """Whether the steps lead to something, null included; notes where not. `at`: the path to the value."""
        if not steps:
            return True
        if is_empty(value):
            self.could = True
            return False
        (step, *rest), ((letter, content),) = steps, value.items()
        here = f"{at}.{escaped(step)}" if isinstance(step, str) else at + spelled((step,))
        if step is JSON and letter == "S" and (inside := _parsed(content)) is not None:
            return self._leads(inside, rest, here)
        if step is EACH and letter == "L":
            return any(self._leads(member, rest, here) for member in content)
        if step is EACH and letter in SETS and not rest:
            return True
        if step is VALUES and letter == "M":
            return any(self._leads(member, rest, here) for member in content.values())
        if step is KEYS and letter == "M":
            return True
        if isinstance(step, Split) and letter == "S":
            return self._leads({"L": [{"S": part} for part in content.split(step.separator)]}, rest, here)
        if letter == "M" and step in content:
            return self._leads(content[step], rest, here)
        self.broke = True
        if letter != "M" or not isinstance(step, str):
            self.instead[_spelt(at, letter, content)] += 1
        elif len(self.beside[here]) < MAX_ATTRIBUTES:
            self.beside[here] |= {f"{at}.{escaped(name)}" for name in content}
        return False

    def suggestion(self, attributes: Iterable[str]) -> str | None:
        """The nearest path that the items do have, else the nearest of their attributes."""
        for broken in sorted(self.beside, key=len, reverse=True):
            if near := nearest(broken, self.beside[broken]):
                return near
        commonest = min(self.instead, key=lambda path: (-self.instead[path], path), default=None)
        return commonest or nearest(self.steps[0], attributes)


def _parsed(text: str) -> dict | None:
    """JSON text as a typed value, numbers as text; None where it is not JSON."""
    try:
        return from_python(json.loads(text, parse_int=str, parse_float=str))
    except (ValueError, RecursionError):
        return None


def _spelt(at: str, letter: str, content: Any) -> str:
    """How a path goes on into a value."""
    if letter == "L" or letter in SETS:
        return f"{at}[]"
    return f"{at}:json" if letter == "S" and content[:1] in ("[", "{") else at


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant: the same but for capitals, else a similar one."""
    known = sorted(known)
    same = [one for one in known if one.casefold() == name.casefold()]
    return next(iter(same or difflib.get_close_matches(name, known, 1, 0.6)), None)


class Names:
    """Watches the names of every entry of a plan. Not thread-safe."""

    def __init__(self, plan: Plan):
        """`plan`: whose entries they are."""
        self._plan = plan
        self._of_source = {name: list(_source_names(route)) for name, route in plan.routes.items()}
        # Target table -> names of its indexes and of queries: whichever entry's items have them.
        self._of_target: dict[str, list[_Name]] = {}
        for name, route in plan.routes.items():
            indexes = [_Name("index", key, (key,), REVIEW, name) for key in route.shape.index_keys]
            self._of_target.setdefault(route.entry.target, indexes).extend(_query_names(route.entry))
        self._made: dict[str, set[str]] = defaultdict(set)  # target table -> attributes of the items for it
        # Source table -> attributes of the pages from which an entry had selected nothing so far.
        self._around: dict[str, set[str]] = defaultdict(set)
        self._read: Counter = Counter()  # source table -> items
        self._selecting: set[str] = set()  # entries that have selected something

    def look(self, routed: Routed, profiles: Mapping[str, Profile], rows: Mapping[str, list[Row]]) -> None:
        """Looks for names in one page. `profiles` and `rows` are the page's, by entry."""
        items, table = routed.page.items, routed.page.table
        self._read[table] += len(items)
        self._selecting |= routed.scanned.keys()
        routes = self._plan.by_source()[table]
        if any(route.entry.name not in self._selecting for route in routes):
            _add(self._around[table], items)
        for route in routes:
            name = route.entry.name
            if watched := self._of_source[name]:
                self._of_source[name] = list(_unseen(watched, route, items, profiles[name]))
            target = route.entry.target
            if name in rows and self._of_target[target]:
                made = [row.item for row in rows[name]]
                self._of_target[target] = [one for one in self._of_target[target] if not one.is_in(made)]
                if self._of_target[target]:
                    _add(self._made[target], made)

    def unmatched(self, tables: Mapping[str, EntryAnalysis]) -> list[Unmatched]:
        """What matched nothing, in the order of the mapping. Call it after the last page; `tables` are the results."""
        found: list[Unmatched] = []
        for name, route in self._plan.routes.items():
            target, records = route.entry.target, tables[name].records
            if not records:
                found.append(self._nothing(route.entry))
            else:
                found += self._told(self._of_source[name], tables[name].profile, records)
            sharing = [tables[other] for other, r in self._plan.routes.items() if r.entry.target == target]
            if any(table.routed for table in sharing):
                own = [one for one in self._of_target[target] if one.entry == name]
                queries = [one for one in own if one.rule == "query" and records]
                indexes = [one for one in own if one.rule == "index"]
                if route.entry.like_source and not route.entry.model.fields:
                    # What no item of the source has either is no mistake of the mapping.
                    had = {attribute for table in sharing for attribute in table.profile}
                    indexes = [one if one.name in had else replace(one, level="") for one in indexes]
                found += self._told(queries, self._made[target], records)
                found += self._told(indexes, self._made[target], sum(table.records for table in sharing))
        return found

    def _told(self, watched: list[_Name], attributes: Iterable[str], items: int) -> Iterator[Unmatched]:
        entries = self._plan.mapping.entries
        for one in watched:
            if one.broke or not one.could:
                near, accepted = one.suggestion(attributes), is_accepted(entries, one.entry, one.rule, one.name)
                yield Unmatched(one.entry, one.rule, one.name, items, near, one.level, accepted)

    def _nothing(self, entry: Entry) -> Unmatched:
        """What is told of an entry that selects nothing."""
        entries = self._plan.mapping.entries
        if not self._read[entry.source]:
            accepted = is_accepted(entries, entry.name, "empty", entry.source)
            return Unmatched(entry.name, "empty", entry.source, 0, None, REVIEW, accepted)
        around = self._around[entry.source]
        absent = [one.path[0] for one in entry.conditions if one.path[0] not in around]
        wanted = absent[0] if absent else next(iter(entry.model.where))
        near = nearest(wanted, around) if absent else None
        return Unmatched(
            entry.name, "where", wanted, 0, near, REVIEW, is_accepted(entries, entry.name, "where", wanted)
        )


def _source_names(route: Route) -> Iterator[_Name]:
    """The names that an entry has for its source items."""
    model, names = route.entry.model, {}

    def note(rule: str, name: str, steps: tuple = (), level: str = "") -> None:
        known = names.setdefault((rule, name), _Name(rule, name, steps or (name,), level, route.entry.name))
        known.level = known.level or level

    for path, steps in route.entry.paths.items():
        note("reference", path, steps, REVIEW)
        if by := model.references[path].named_by:
            note("reference", by, level=REVIEW)
    if model.id:
        note("id", model.id, level=REVIEW)
    fields = model.fields or {}
    in_keys = feeding(fields, {*dict(route.shape.target_key), *route.shape.index_keys})[0]
    for name, rule in fields.items():
        if rule.source:
            note("from", rule.source, rule.steps)
        for hole in rule.holes:
            if field_of(hole.steps, fields) in (None, name):  # else it reads that field, whose own names are told
                note("template", hole.name, hole.steps, REVIEW if name in in_keys else "")
    for path, steps in zip(model.drop, route.entry.drops, strict=True):
        note("drop", path, steps)
    yield from names.values()


def _query_names(entry: Entry) -> Iterator[_Name]:
    keys = {attribute for query in entry.model.queries.values() for attribute in query.key}
    for path in {path: None for query in entry.model.queries.values() for path in (*query.key, *query.filter)}:
        yield _Name("query", path, (path,) if path in keys else members(path), "", entry.name)


def _unseen(watched: list[_Name], route: Route, items: list[dict], profile: Profile) -> Iterator[_Name]:
    """The names that no item of the page has. `profile`: of the items that the entry selects."""
    for one in watched:
        top, *rest = one.steps
        if top not in profile or (rest and not one.is_in(item for item in items if route.selects(item))):
            yield one


def _add(names: set[str], items: list[dict]) -> None:
    """Adds the attributes of items, until there are MAX_ATTRIBUTES."""
    if len(names) < MAX_ATTRIBUTES:
        names.update(*map(dict.keys, items))


def is_accepted(entries: Mapping[str, Entry], table: str, rule: str, name: str) -> bool:
    """Whether the mapping accepts that a name matches nothing. An index key: any entry of its target table may say so."""
    own = entries[table]
    if rule == "empty" and own.model.accept.empty:
        return True
    sharing = [e for e in entries.values() if e.target == own.target] if rule == "index" else [own]
    return any(name in entry.model.accept.unmatched for entry in sharing)


def names_of_matches(plan: Plan, found: Search | None) -> list[Unmatched]:
    """The paths of `match.by` at which no item of one side has a value, though there are items."""
    unmatched = []
    for entry, sides in (found.lacking if found else {}).items():
        for name in dict.fromkeys(name for names in sides.values() for name in names):
            accepted = name in plan.mapping.entries[entry].model.accept.unmatched
            unmatched.append(Unmatched(entry, "match", name, found.looked_at[entry], None, REVIEW, accepted))
    return unmatched


def alerts(unmatched: Iterable[Unmatched]) -> list[Alert]:
    """One for each entry, rule and level; what is accepted stays a note. An empty table has a check of its own."""
    groups: dict[tuple[str, str, str, bool], list[Unmatched]] = defaultdict(list)
    for one in unmatched:
        if one.rule != "empty":
            groups[one.table, one.rule, one.level, one.accepted].append(one)
    return [_alert(*place, members) for place, members in groups.items()]


def _alert(table: str, rule: str, level: str, accepted: bool, members: list[Unmatched]) -> Alert:
    named = ", ".join(map(said, members))
    if rule == "where":
        message = f"where selects nothing: no item has the attribute {named}, or none has its value"
        action = "Correct the condition in the mapping, or remove the entry."
    else:
        message = f"no item has the {_SAID.get(rule, rule)} {named}"
        action = "Correct the name in the mapping, or list it under `accept: {unmatched: […]}` of the entry."
        if rule == "index" and not level:
            action = "Nothing to do: the index is the source's, and as empty there."
    return Alert("", table, message, "The mapping accepts it.") if accepted else Alert(level, table, message, action)


def said(one: Unmatched) -> str:
    """The name, with what was probably meant."""
    return one.name if one.suggestion is None else f"{one.name} (did you mean {one.suggestion}?)"


def alerts_of_latest(
    analysis: Mapping[str, Any] | None, plan: Plan, *, settled: Callable[[Mapping[str, Any]], bool] | None = None
) -> list[Alert]:
    """What an analysis (the content of its JSON file) left to decide about names, conversions, undeclared references and ids.

    For 03 and 04 of its run: one alert a table and kind. An analysis of another mapping says nothing; what the mapping
    accepts by now is left out. 04 looks for empty tables itself, and gives `settled`: whether it has its own answer to a line
    of `undeclared`.
    """
    if analysis is None:
        return []
    matches = (analysis.get("matches") or {}).get("sha256")
    if analysis["fingerprints"]["mapping"] != mapping_fingerprint(plan.mapping, matches):
        return []
    entries = plan.mapping.entries
    names: dict[str, list[str]] = defaultdict(list)
    unfit: dict[str, list[str]] = defaultdict(list)
    ids: dict[str, list[str]] = defaultdict(list)
    shared: dict[str, list[str]] = defaultdict(list)
    for table, about in analysis.get("tables", {}).items():
        for name, number in about["fell_back"].items() if table in plan.routes else ():
            if number == about["valued"][name] and name not in entries[table].model.accept.unmatched:
                unfit[table].append(name)
    for one in analysis.get("unmatched", ()):
        place = one["table"], one["rule"], one["name"]
        if one["rule"] == "empty" and settled:
            continue
        if one["level"] == REVIEW and place[0] in plan.routes and not is_accepted(entries, *place):
            names[place[0]].append(f"{place[2]} ({place[1]})")
    for one in analysis.get("undeclared", ()):
        table, path = one["table"], one["path"]
        if one["confidence"] < CERTAIN or table not in plan.routes or path in entries[table].model.not_references:
            continue
        if not (settled and settled(one)):
            ids[table].append(f"{path} ({one['to']})")
    for check in analysis.get("checks", ()):
        table = check["table"]
        if check["what"] == "ids" and check["level"] == REVIEW and table in plan.routes:
            model = entries[table].model
            if spelled((model.id,)) not in model.not_references:
                shared[table].append(check["message"])
    action = "See the analysis of this run: correct the mapping, or accept it there."
    return [
        Alert(REVIEW, table, f"{what} {', '.join(found)}", action)
        for what, by_table in (
            ("the analysis found nothing for", names),
            ("the analysis found no value that converts for", unfit),
            ("the analysis found ids that no rule rewrites at", ids),
            ("the analysis found that", shared),
        )
        for table, found in by_table.items()
    ]
