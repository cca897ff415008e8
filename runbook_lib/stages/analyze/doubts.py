"""What a mapping probably means otherwise, as the items are: of each a note that says what to write."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations

from ...discover.profile import Profile
from ...mapping.conditions import telling
from ...mapping.create import Create
from ...mapping.model import Entry, FieldRule
from ...mapping.routes import Row
from ...mapping.text import templates
from ...mapping.text.conversions import text_of_scalar
from ...mapping.text.paths import escaped, parse, value_at
from ...verdict import plural
from ...walk.plan import Plan
from ...walk.walk import Routed
from .analysis import Doubt, EntryAnalysis
from .names import nearest

_MEANT, _TEXT_MEANT = "Nothing to do, if that is meant; else", "Nothing to do, if the text is meant"
_SIGNED = re.compile(r"[{<$%]\s*([^\W\d][\w.-]*)")  # what other languages write for a hole
SAMPLED, MOST = 200, 0.9  # ids of an entry that are looked at; share of them that makes a doubt
_DATED = re.compile(r"(?:19|20)\d\d-?(?:0[1-9]|1[0-2])-?(?:[0-2]\d|3[01])(?!\d)(?![0-9A-Fa-f]*-[0-9A-Fa-f]{4}-)")
_RULE_WORDS = frozenset(field.alias or name for name, field in FieldRule.model_fields.items())
_TYPED = frozenset("S N B BOOL NULL L M SS NS BS".split())  # what DynamoDB's JSON calls its types
_RULES = ({"from"}, {"value"}, {"template"})  # words of which one makes a rule of a map


@dataclass
class _Watch:
    """What has no effect as long as no value, or no item, tells."""

    entry: str
    doubt: Callable[[Profile], tuple[str, str]]
    tells: Callable[[dict], bool]


class Doubts:
    """Watches what only all items together can tell. What tells with its first page costs nothing afterwards. Not thread-safe."""

    def __init__(self, plan: Plan):
        """`plan`: whose entries they are."""
        self._plan = plan
        # Source table → conditions of its entries; target table → what `create` names.
        self._of_source: dict[str, list[_Watch]] = defaultdict(list)
        self._of_target: dict[str, list[_Watch]] = defaultdict(list)
        sharing: dict[tuple[str, str], list[str]] = defaultdict(list)
        for name, route in plan.routes.items():
            self._of_source[route.entry.source] += _conditions(route.entry)
            if route.entry.model.described:
                self._of_target[route.entry.target] += _created(name, route.entry.model.described)
            sharing[route.entry.source, route.entry.target].append(name)
        self._sharing = {name for names in sharing.values() if len(names) > 1 for name in names}
        self._ids: dict[str, list[str]] = {n: [] for n, route in plan.routes.items() if route.entry.model.renews_ids}
        self._twice: Counter = Counter()  # two entries with one target table → items that both select

    def look(self, routed: Routed, _: Mapping[str, Profile], rows: Mapping[str, list[Row]]) -> None:
        """Looks at one page. `rows` are the page's, by entry."""
        table, items = routed.page.table, routed.page.items
        if watched := self._of_source[table]:
            self._of_source[table] = [one for one in watched if not any(map(one.tells, items))]
        takers: dict[tuple[str, int], list[str]] = defaultdict(list)
        for name, of_entry in rows.items():
            target = self._plan.routes[name].entry.target
            if watched := self._of_target[target]:
                self._of_target[target] = [one for one in watched if not any(one.tells(row.item) for row in of_entry)]
            ids = self._ids.get(name)
            if ids is not None and len(ids) < SAMPLED:
                ids += [row.old_id for row in of_entry[:SAMPLED]]
            if name in self._sharing:
                for row in of_entry:
                    takers[target, id(row.source)].append(name)
        self._twice.update(pair for names in takers.values() if len(names) > 1 for pair in combinations(names, 2))

    def found(self, tables: Mapping[str, EntryAnalysis]) -> list[Doubt]:
        """All doubts, in the order of the mapping. Call it after the last page; `tables` are the results."""
        of_source, of_target = ([*chain(*several.values())] for several in (self._of_source, self._of_target))
        found = []
        for name, route in self._plan.routes.items():
            table = tables[name]
            watched = [*of_source, *(of_target if table.routed else ())]
            own = [one.doubt(table.profile) for one in watched if one.entry == name]
            own += _of_ids(route.entry, self._ids.get(name, ()))
            for (one, other), number in self._twice.items():
                if other == name:
                    said = f"{one} and {name} both select {plural(number, 'item')}, for one target table"
                    own.append((said, f"{_MEANT} let their conditions exclude each other."))
            if table.records:
                found += [Doubt(name, *one) for one in (*own, *doubtful(route.entry, table.profile, table.records))]
        return found


def _of_ids(entry: Entry, ids: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Ids that are probably more than the id. `ids`: some of the entry's."""
    before = templates.literals(entry.id_parts)[-2:-1] if entry.id_parts[-1:] == (templates.Hole("id"),) else []
    sign = before[0][-1:] if before else ""
    if ids and sum(map(bool, map(_DATED.match, ids))) >= MOST * len(ids):
        said = "the ids begin with dates, and new ones are in no order of time"
        yield said, f"{_MEANT} write {{*}} where the date stands, as in 'ORDER#{{*}}#{{id}}'."
    elif ids and sign and not sign.isalnum() and sum(sign in one for one in ids) >= MOST * len(ids):
        said = f"the ids hold {sign}, which stands before them in `as`, too"
        yield said, f"{_MEANT} write {{*}} for each part that is not of the id, as in 'ORG#{{*}}#USER#{{id}}'."


def _conditions(entry: Entry) -> Iterator[_Watch]:
    """The parts of `where` that select nothing, or leave out nothing, unless a value of the source table tells."""
    for path, condition in zip(entry.model.where, entry.conditions, strict=True):
        for value, tells in telling(condition):

            def doubt(profile: Profile, path: str = path, value: dict | None = value) -> tuple[str, str]:
                if value is not None:
                    text = text_of_scalar(value) or next(iter(value))
                    return f"no item has {text} as {path}, which `where` lists", f"{_MEANT} correct it there."
                top = parse(path)[0]
                near = nearest(top, profile) if top not in profile else None
                mend = f"write {near}" if near else "correct its name or its value"
                return f"`where` leaves out no item by its condition on {path}", f"{_MEANT} {mend} there."

            yield _Watch(
                entry.name, doubt, lambda item, tells=tells, at=condition.path: bool(tells(value_at(item, at)))
            )


def _created(entry: str, create: Create) -> Iterator[_Watch]:
    """Attributes that a new table names beside its keys."""
    if create.ttl:
        said = f"no item has a number as {create.ttl}, by which the items of the target are to expire"
        mend = f"{_MEANT} correct `create.ttl`, or make it a number by `fields`."
        yield _Watch(entry, lambda _: (said, mend), lambda item: "N" in item.get(create.ttl, {}))
    for index, about in create.all_indexes.items():
        for name in about.projection if isinstance(about.projection, list) else ():
            said_of = f"no item has {name}, which the index {index} projects", f"{_MEANT} correct it there."
            yield _Watch(entry, lambda _, said=said_of: said, lambda item, name=name: name in item)


def doubtful(entry: Entry, profile: Profile, items: int) -> Iterator[tuple[str, str]]:
    """What an entry's names and constants probably mean: what is said, and what to do. `items`: how many it has."""
    for path, wanted in entry.model.where.items():
        have = profile[path].types.total() if path in profile else items
        if wanted == {"not": None} and have < items:
            said = f"`where` takes {plural(items - have, 'item')} without {path}, because {{not: null}} does"
            yield said, "To leave them out, write {exists: true, not: null}."
    for name, rule in (entry.model.fields or {}).items():
        yield from _of_texts(name, rule, profile)
        yield from _of_maps(name, rule)
        types = profile[rule.uses_up].types if rule.values and rule.uses_up in profile else {}
        for letter, kind in (("N", "number"), ("BOOL", "boolean")):
            for text, right in rule.misspelt(letter).items() if letter in types and "S" not in types else ():
                yield f"`values` of {name}: no {kind} is compared as {text}", f'Write "{right}" there.'
        if "*" in (rule.values or ()):
            what = f"`values` of {name}: * stands for itself alone"
            yield what, "For all other values give a default, and `on_error: default`."
    for path in entry.model.not_references:
        if not path.startswith("{") and parse(path)[0] not in profile:
            yield f"no item has {path}, which is under `not_references`", "Correct it there, or remove it."


def _of_texts(name: str, rule: FieldRule, profile: Profile) -> Iterator[tuple[str, str]]:
    """Texts that go in as they stand, and name an attribute."""
    path, named = _named(rule.text or "", profile), "is also the name of an attribute"
    if path and rule.has_default:
        said = f"the default of {name} is the text {rule.text}, which {named}"
        yield said, f"{_TEXT_MEANT}: it is the same for every item. A template reads an attribute."
    elif path:
        said = f"every item gets the text {rule.text} as {name}, which {named}"
        yield said, f'{_TEXT_MEANT}; else write {{from: {path}}}, or "{{{path}}}" for its text.'
    if (rule.template or rule.text or "").endswith("\n"):
        said = f"the text of {name} ends with a line break"
        yield (
            said,
            "Nothing to do, if that is meant; else write |- instead of | (>- instead of >), or the text in quotes.",
        )
    for hole in rule.holes:
        for text in (hole.default or "").split("|"):
            if _named(text, profile):
                said = f"the default of {{{hole.name}}} in {name} is the text {hole.default}, and {text} {named}"
                yield said, f"{_TEXT_MEANT}; the first of several attributes that has a value takes a `transform`."
    plain = [rule.text] if rule.text else templates.literals(templates.parse(rule.template or ""))
    for found in (found for text in plain for found in _SIGNED.finditer(text)):
        if path := _named(found[1], profile):
            said = f"the text {found[0]} in {name} goes in as it stands, and {found[1]} {named}"
            yield said, f'{_TEXT_MEANT}; else write "{{{path}}}": one brace on each side, no space.'


def _of_maps(name: str, rule: FieldRule) -> Iterator[tuple[str, str]]:
    """Constants that look like a rule, or like DynamoDB's own JSON, and go in as maps."""
    constants = {"value": rule.value, "default": rule.default} | {
        f"values.{text}": value for text, value in (rule.values or {}).items()
    }
    for key, value in constants.items():
        if not isinstance(value, dict) or not value:
            continue
        is_rule = value.keys() <= _RULE_WORDS and any(words <= value.keys() for words in _RULES)
        if is_rule or (len(value) == 1 and value.keys() <= _TYPED):
            said = f"`{key}` of {name} is a map, and goes in as a map with the name {', '.join(value)}"
            mend = "write the value alone: a constant takes no rule, and is typed as it is written."
            yield said, f"Nothing to do, if the map is meant; else {mend}"


def _named(text: str, profile: Profile) -> str:
    """The path to the attribute whose name, or whose path into a map, a text is; "" where the items have none."""
    if text in profile:
        return escaped(text)
    top, _, below = text.partition(".")
    return text if below and " " not in text and top in profile and "M" in profile[top].types else ""
