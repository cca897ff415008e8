"""The ledger: what became of every source attribute of every routed item. Pure.

It looks for each value in the target item and does not believe the rules: what it finds nowhere, and what no rule
drops, is unaccounted. A value that no rule changes is the same object in both items, which makes the look cheap.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from operator import eq, is_, itemgetter, ne

from ..mapping.model import Entry, FieldRule, default_of, made_of
from ..mapping.routes import Route, Row
from ..mapping.text.derivation import are_derived, has_value
from ..mapping.text.templates import finder
from ..mapping.transform import touched
from ..mapping.walkers import Places
from ..values import MAX_ATTRIBUTES, add_counts, is_empty, text_of
from ..verdict import FAIL, REVIEW, Alert, plural

# Exactly one of them for each item and attribute it has. An item that lacks the attribute counts where a default stands in.
WORDS = ("copied", "rewritten", "converted", "transformed", "defaulted", "rest", "dropped", "unaccounted")
_FIRST = {w: n for n, w in enumerate(("rewritten", "converted", "transformed", "copied", "defaulted", "rest"))}

_TEXT = itemgetter("S")

LedgerPage = dict[str, Counter]  # source attribute -> word -> items
TYPED = 32  # rows of a page, at least, whose values' types are looked at


class Ledger:
    """What became of the attributes of one entry's rows."""

    def __init__(self, entry: Entry):
        """`entry`: whose rows they are."""
        self._model = model = entry.model
        self._id = model.id if model.renews_ids else None
        self._tops = {path: steps[0] for path, steps in entry.paths.items()}
        # Attributes in which ids stand deeper, within text or within a record: what is written there is not an id itself.
        # Each with the steps below it at which something may differ; the records' own lie in `inside`.
        self._inside: dict[str, Places] = {}
        for path, steps in entry.paths.items():
            rule = entry.model.references[path]
            of_record = rule.record_of is not None
            if len(steps) > 1 or _in_text(entry, path) or of_record or rule.dangling == "remove":
                places = self._inside.setdefault(steps[0], Places())
                if not of_record:
                    places.add(steps[1:], may_go=rule.dangling == "remove")
        for steps, dangling in entry.inside.items():
            self._inside[steps[0]].add(steps[1:], may_go=dangling == "remove")
        self._cut = {steps[0] for steps in entry.drops if len(steps) > 1}  # attributes that lose a part
        for steps in entry.drops:
            if len(steps) > 1:
                self._inside.setdefault(steps[0], Places()).add(steps[1:], may_go=True)
        self._id_in = finder(entry.id_parts) if entry.id_parts else None
        self._changing = {*self._tops.values(), self._id, *self._cut}
        self._fields = model.fields
        self._drop = entry.dropped
        self._rest = model.rest
        # Attribute -> fields that take it as a whole. What a field reads inside an attribute, that accounts for itself.
        self._taken: dict[str, list[tuple[str, FieldRule]]] = defaultdict(list)
        for name, rule in (model.fields or {}).items():
            if rule.uses_up:
                self._taken[rule.uses_up].append((name, rule))
        self._derived = {name: rule.derivation() for name, rule in (model.fields or {}).items() if rule.derives}
        self._defaults = [
            (source, name, default_of(rule))
            for source, fields in self._taken.items()
            for name, rule in fields
            if rule.has_default
        ]
        # Of the others a row holds each value as it is, beside the rest of the item or in the rest's map.
        self._touched = {*self._taken, *self._changing, *self._drop, self._rest}
        if self._rest == "copy":
            self._touched |= self._fields.keys()
        # Those that one field copies as they are, and those that go: looked at together, too.
        self._plain = {
            source: fields[0][0]
            for source, fields in self._taken.items()
            if len(fields) == 1 and not fields[0][1].derives
        }
        for name in (*self._changing, self._rest):
            self._plain.pop(name, None)
        self._gone = self._drop - {*self._taken, *self._changing, self._rest}
        if self._rest == "copy" or self._fields is None:
            self._gone = set()  # there what has the name may be a field's
        self._falling = [
            (name, has_value(rule.steps)) for name, rule in (model.fields or {}).items() if rule.falls_back
        ]

    def page(self, rows: Sequence[Row]) -> LedgerPage:
        """What became of the attributes of these rows."""
        found: LedgerPage = defaultdict(Counter)
        sources, items = [row.source for row in rows], [row.item for row in rows]
        if self._model.transform:
            items = [row.before or row.item for row in rows]  # the rules' words are decided on what they have made
        columns = (rows, sources, items, self._rests(items))
        alike: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for at, source in enumerate(sources):
            alike[tuple(source)].append(at)
        names: Counter = Counter()
        for shape, group in alike.items():
            self._count_alike(found, shape, columns, group)
            for name in shape:
                names[name] += len(group)
        news = self._news(rows)
        for name in (names.keys() & self._touched) - self._plain.keys() - self._gone:
            new = news.get(name) or [None] * len(rows)
            where = range(len(rows))
            if names[name] < len(rows):
                where = [at for at, source in enumerate(sources) if name in source]
            self._count(found[name], name, *_those(where, *columns, new))
        for source, field, default in self._defaults:
            lacking = [item for item, has in zip(items, sources, strict=True) if source not in has]
            if number := sum([item.get(field) == default for item in lacking]):
                found[source]["defaulted"] += number
        if self._model.transform:
            self._count_transformed(found, columns, news)
        return found

    def _count_transformed(self, found: LedgerPage, columns: tuple[Sequence, ...], news: dict[str, list]) -> None:
        """Counts as transformed what would be copied or in the rest, where the transform has changed it or taken it out."""
        for at, row in enumerate(columns[0]):
            for name in touched(row, self._model):
                one = Counter()
                self._count(one, name, *_those([at], *columns), [news[name][at] if name in news else None])
                if one["copied"] or one["rest"]:
                    found[name] -= one
                    found[name]["transformed"] += 1

    def _count_alike(
        self, found: LedgerPage, shape: tuple[str, ...], columns: tuple[Sequence, ...], group: list[int]
    ) -> None:
        """Counts what no rule touches, what is copied as it is and what goes, of rows that have the same attributes.

        One look at all of these attributes of a row; where it does not show what is expected, one at each.
        """
        rows, sources, items, rests = _those(group, *columns)
        untouched = [name for name in shape if name not in self._touched]
        plain = [name for name in shape if name in self._plain]
        gone = [name for name in shape if name in self._gone]
        stays = "copied" if self._fields is None else "rest"
        for names, word, as_expected in (
            (untouched, stays, lambda: _same(untouched, sources, untouched, rests)),
            (plain, "copied", lambda: _same(plain, sources, [self._plain[name] for name in plain], items)),
            (gone, "dropped", lambda: all(map(frozenset(gone).isdisjoint, rests))),
        ):
            if not names:
                continue
            if as_expected():
                for name in names:
                    found[name][word] += len(group)
            else:
                for name in names:
                    self._count(found[name], name, rows, sources, items, rests, [None] * len(rows))

    def fallen(self, rows: Sequence[Row]) -> tuple[Counter, Counter]:
        """Field → items whose value did not convert; field → items that have a value. Only of fields that can fall back."""
        fell, valued = Counter(), Counter()
        for name, is_valued in self._falling:
            fell[name] += sum([name in row.fell_back for row in rows])
            valued[name] += sum([is_valued(row.source) for row in rows])
        return +fell, +valued

    def _rests(self, items: list[dict]) -> list[dict]:
        """Where each item holds the attributes that no rule names: the item itself, or a map in it."""
        if self._fields is None or self._rest == "copy":
            return items
        return [item.get(self._rest, {}).get("M", {}) for item in items]

    def _news(self, rows: list[Row]) -> dict[str, list[dict | None]]:
        """Attribute with references → of each row an id that was written there, or None."""
        news: dict[str, list[dict | None]] = {top: [None] * len(rows) for top in self._tops.values()}
        tops = self._tops
        for at, row in enumerate(rows) if tops else ():
            for path, _, old, new, _ in row.references:
                # One reference that became null, or is left out, may have taken a text with several along.
                held = news[tops[path]][at]
                if new is not old and (held is None or next(iter(held), "NULL") != "NULL"):
                    news[tops[path]][at] = new
        return news

    def _count(
        self,
        counts: Counter,
        name: str,
        rows: Sequence[Row],
        sources: Sequence[dict],
        items: Sequence[dict],
        rests: Sequence[dict],
        new: Sequence[dict | None],
    ) -> None:
        """Counts one attribute of rows that have it. `new`: see `_news`."""
        values = [source[name] for source in sources]
        taken = self._taken.get(name, ())
        columns = [(field, rule, [item.get(field) for item in items]) for field, rule in taken]
        # Beside the other attributes, a field of this name is what rules make, unless the value itself fell back there.
        is_made = self._rest == "copy" and name in self._fields
        if any(rule.on_error == "rest" for _, rule in taken) if taken else not is_made:
            columns.append((None, None, [rest.get(name) for rest in rests]))
        if len(columns) == 1 and (words := self._whole(name, values, rows, columns[0], new)):
            counts.update(words)
            return
        for at, (row, value) in enumerate(zip(rows, values, strict=True)):
            places = [(field, rule, column[at]) for field, rule, column in columns]
            counts[self._word(name, value, row, places, rests[at], new[at])] += 1

    def _whole(
        self, name: str, values: list[dict], rows: Sequence[Row], column: tuple, new: Sequence[dict | None]
    ) -> dict[str, int]:
        """Word → rows, where a look at the one column as a whole tells it; {} where each row wants a look of its own."""
        (field, rule, there), number = column, len(values)
        stays = "copied" if rule or self._fields is None else "rest"
        if (same := sum(map(is_, values, there))) == number:
            return {stays: number}
        if not any(there):
            return {"dropped": number} if name in self._drop and name != self._rest else {}
        if name == self._id and not same and all(map(self._is_new_id, values, there, rows)):
            return {"rewritten": number}
        # What was written for a reference is never what stood there.
        if name in self._changing and None not in there and same + (made := sum(map(is_, new, there))) == number:
            return {"rewritten": made} | ({stays: same} if same else {})
        if name in self._inside and not (rule and (rule.derives or rule.has_default)):
            places, cut = self._inside[name], name in self._cut
            made = None
            if places.are_all and None not in new and None not in there:
                with suppress(KeyError):  # one is no text
                    made = sum(map(ne, map(_TEXT, values), map(_TEXT, there)))
            if made is None:
                looks = zip(values, there, new, strict=True)
                made = sum([(cut or one is not None) and places.differ(value, now) for value, now, one in looks])
            return {"rewritten": made} | ({stays: same} if same else {}) if same + made == number else {}
        derive = self._derived.get(field)
        if (
            derive
            and name not in self._changing
            and are_derived(values, there, derive, is_number=rule.type == "number" and rule.form is None)
        ):
            same = sum(map(eq, values, there))
            return {"copied": same, "converted": number - same}
        return {}

    def _word(self, name: str, value: dict, row: Row, places: list[tuple], rest: dict, new: dict | None) -> str:
        """`places`: (field, its rule, what the target holds there); no field is the rest. `new`: see `_news`."""
        words = [self._word_at(name, value, row, new, *place) for place in places if place[2] is not None]
        if name == self._rest and self._merged(value, rest):
            words.append("rest")
        if words := [word for word in words if word]:
            return min(words, key=_FIRST.__getitem__)
        is_left_out = (name in self._cut or (new is not None and not new)) and (
            name in self._inside and self._inside[name].may_go(value)
        )
        return "dropped" if is_left_out or name in self._drop else "unaccounted"

    def _word_at(
        self,
        name: str,
        value: dict,
        row: Row,
        new: dict | None,
        field: str | None,
        rule: FieldRule | None,
        there: dict,
    ) -> str | None:
        """The word for one place; None where what is there does not come from this value."""
        derive = self._derived.get(field)
        fell_back = field in row.fell_back
        if there is value or there == value:
            return "rest" if fell_back or (field is None and self._fields is not None) else "copied"
        if fell_back or (rule and rule.has_default and is_empty(value)):
            return "defaulted" if there == default_of(rule) else None
        if name == self._id and self._is_new_id(value, there, row):
            return "rewritten"
        if (new is not None or name in self._cut) and (
            (new is not None and there == new)
            or (name in self._inside and self._inside[name].differ(value, there))
            # It was converted in turn. Of ids that stand inside a value no look can tell what it became.
            or (
                rule
                and new is not None
                and ((rule.derives and name in self._inside) or there == made_of(rule, derive, new))
            )
        ):
            # A reference that `dangling` has taken away leaves the place to the field's default.
            is_gone = new is not None and (not new or is_empty(new))
            is_default = is_gone and rule and rule.has_default and there == default_of(rule)
            return "defaulted" if is_default else "rewritten"
        was = self._renewed(value, row) if name == self._id else value
        if derive and there == made_of(rule, derive, was):
            return "converted" if was is value else "rewritten"
        return None

    def _is_new_id(self, value: dict, there: dict | None, row: Row) -> bool:
        """Whether the target holds the row's new id, and nothing else differs; what references rewrote beside it may."""
        if there is None or self._id_in is None:
            return there is not None and (there.get("S") or text_of(there)) == row.new_id
        old, new = value.get("S", ""), there.get("S", "")
        if self._id in self._tops.values():
            now = self._id_in(new)
            return now is not None and new[now[0] : now[1]] == row.new_id
        was = self._id_in(old)
        return was is not None and new == old[: was[0]] + row.new_id + old[was[1] :]

    def _renewed(self, value: dict, row: Row) -> dict:
        """The value of the id attribute with the row's new id in the place of the old one; the value itself where it has none."""
        if row.old is None:
            return value
        if self._id_in is None:
            return {next(iter(value)): row.new_id}
        text = value["S"]
        start, end = self._id_in(text)
        return {"S": text[:start] + row.new_id + text[end:]}

    def _merged(self, value: dict, rest: dict) -> bool:
        """Whether an attribute that is named like the rest's map went into it, member by member."""
        changes = self._rest in self._changing
        return "M" in value and all(
            rest.get(member) == content or (changes and member in rest) for member, content in value["M"].items()
        )


def _same(names: list[str], some: Sequence[dict], others: list[str], there: Sequence[dict]) -> bool:
    """Whether all of some maps hold under `names` what the maps beside them hold under the other names."""
    try:
        return all(map(eq, map(itemgetter(*names), some), map(itemgetter(*others), there)))
    except KeyError:
        return False


def _in_text(entry: Entry, path: str) -> bool:
    return any(isinstance(part, str) for parts in entry.references_to[path] for part in parts)


class Ledgers:
    """The ledgers of a walk's entries, as the journal has them."""

    def __init__(self, routes: Iterable[Route]):
        """`routes`: of the entries."""
        self._ledgers = {route.entry.name: Ledger(route.entry) for route in routes}

    def record(self, rows: Sequence[Row], first: Sequence[Row]) -> dict[str, dict]:
        """What an outcome says of its rows' attributes; {} without rows.

        `ledger`: entry → attribute → word → items, of the rows that come `first` for their items. `types`: entry →
        attribute → letters, of all rows; where all come first, of a part of a large page's.
        """
        ledger, types = {}, {}
        entries = {row.entry for row in rows}
        for entry in entries:
            here, counted = rows, first
            if len(entries) > 1:
                here, counted = ([row for row in some if row.entry == entry] for some in (rows, first))
            ledger[entry] = {}
            add_counts(ledger[entry], self._ledgers[entry].page(counted))
            types[entry] = _types(here[:: max(1, len(here) // TYPED)] if rows is first else here)
        return {"ledger": ledger, "types": types} if ledger else {}


def _types(rows: Sequence[Row]) -> dict[str, list[str]]:
    """Source attribute → its values' types, sorted. Names beyond a ledger's are left out."""
    found: dict[str, set[str]] = {}
    for name, value in chain.from_iterable([row.source.items() for row in rows]):
        letters = found.get(name)
        if letters is not None:
            letters.update(value)
        elif len(found) < MAX_ATTRIBUTES:
            found[name] = {*value}
    return {name: sorted(letters) for name, letters in found.items()}


def _those(where: Sequence[int], *columns: Sequence) -> list[Sequence]:
    """The members of each column at these places."""
    return [column if len(where) == len(column) else [column[at] for at in where] for column in columns]


def alerts(table: str, ledger: LedgerPage, fell_back: Counter, valued: Counter, accepted: Sequence[str]) -> list[Alert]:
    """The open items: values that are found nowhere, and conversions that fell back.

    `valued`: field → items that have a value for it; `accepted`: names that need no decision.
    """
    found = []
    if lost := {name: counts["unaccounted"] for name, counts in ledger.items() if counts["unaccounted"]}:
        message = (
            f"{plural(sum(lost.values()), 'value')} at {', '.join(sorted(lost))} neither in the target nor dropped"
        )
        found.append(Alert(FAIL, table, message, "Do not migrate: this is a fault of the program. Report it."))
    for field, number in sorted(fell_back.items()):
        whole = number == valued[field] and field not in accepted
        message = f"{field}: {number:,} of {plural(valued[field], 'value')} did not convert and fell back"
        action = "Check the field's type: it fits no value." if whole else "`on_error` decides what is written."
        found.append(Alert(REVIEW if whole else "", table, message, action))
    return found


def as_json(ledger: Mapping[str, Counter]) -> dict[str, dict[str, int]]:
    """Attribute → word → items, every word named."""
    return {name: {word: counts[word] for word in WORDS} for name, counts in sorted(ledger.items())}
