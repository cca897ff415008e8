"""The ledger: what became of every source attribute of every routed item. Pure.

It looks for each value in the target item and does not believe the rules: what it finds nowhere, and what no rule
drops, is unaccounted. A value that no rule changes is the same object in both items, which makes the look cheap.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from operator import eq, is_

from ...discover.profile import place_of
from ...mapping.conversions import convert
from ...mapping.model import Entry, FieldRule, default_of
from ...mapping.routes import Row
from ...values import is_empty, text_of
from ...verdict import FAIL, REVIEW, Alert, plural

# Exactly one of them for each item and attribute it has. An item that lacks the attribute counts where a default stands in.
WORDS = ("copied", "rewritten", "converted", "transformed", "defaulted", "rest", "dropped", "unaccounted")
_FIRST = {w: n for n, w in enumerate(("rewritten", "converted", "transformed", "copied", "defaulted", "rest"))}

LedgerPage = dict[str, Counter]  # source attribute -> word -> items


class Ledger:
    """What became of the attributes of one entry's rows."""

    def __init__(self, entry: Entry):
        """`entry`: whose rows they are."""
        model = entry.model
        self._id = model.id if model.renews_ids else None
        self._tops = {path: steps[0] for path, steps in entry.paths.items()}
        # Attributes in which ids stand deeper, or within text: what is written there is not an id itself.
        self._inside = {steps[0] for path, steps in entry.paths.items() if len(steps) > 1 or _in_text(entry, path)}
        self._changing = {*self._tops.values(), self._id}
        self._fields = model.fields
        self._drop = set(model.drop)
        self._rest = model.rest
        self._taken: dict[str, list[tuple[str, FieldRule]]] = defaultdict(list)  # attribute -> fields copied from it
        for name, rule in (model.fields or {}).items():
            if rule.source:
                self._taken[rule.source].append((name, rule))
        self._defaults = [
            (source, name, default_of(rule))
            for source, fields in self._taken.items()
            for name, rule in fields
            if rule.has_default
        ]
        self._falling = [
            (source, name) for source, fields in self._taken.items() for name, rule in fields if rule.falls_back
        ]

    def page(self, rows: Sequence[Row]) -> LedgerPage:
        """What became of the attributes of these rows."""
        found: LedgerPage = defaultdict(Counter)
        alike: dict[tuple[str, ...], list[Row]] = defaultdict(list)
        for row in rows:
            alike[tuple(row.source)].append(row)
        for names, group in alike.items():
            items = [row.item for row in group]
            rests, news = self._rests(items), self._news(group)
            for name, values in zip(names, zip(*[row.source.values() for row in group], strict=True), strict=True):
                self._count(found[name], name, values, group, items, rests, news)
            for source, field, default in self._defaults:
                if source not in names and (number := sum([item.get(field) == default for item in items])):
                    found[source]["defaulted"] += number
        return found

    def fallen(self, rows: Sequence[Row]) -> tuple[Counter, Counter]:
        """Field → items whose value did not convert; field → items that have a value. Only of fields that can fall back."""
        fell, valued = Counter(), Counter()
        for source, name in self._falling:
            fell[name] += sum([name in row.fell_back for row in rows])
            valued[name] += sum([source in row.source and not is_empty(row.source[source]) for row in rows])
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
                if new is not old:
                    news[tops[path]][at] = new
        return news

    def _count(
        self,
        counts: Counter,
        name: str,
        values: tuple,
        rows: list[Row],
        items: list[dict],
        rests: list[dict],
        news: dict[str, list[dict | None]],
    ) -> None:
        """Counts one attribute of rows that have it."""
        taken = self._taken.get(name, ())
        columns = [(field, rule, [item.get(field) for item in items]) for field, rule in taken]
        # Beside the other attributes, a field of this name is what rules make, unless the value itself fell back there.
        is_made = self._rest == "copy" and name in self._fields
        if any(rule.on_error == "rest" for _, rule in taken) if taken else not is_made:
            columns.append((None, None, [rest.get(name) for rest in rests]))
        if len(columns) == 1 and (words := self._whole(name, values, rows, columns[0], news)):
            counts.update(words)
            return
        new = news.get(name) or [None] * len(rows)
        for at, (row, value) in enumerate(zip(rows, values, strict=True)):
            places = [(field, rule, column[at]) for field, rule, column in columns]
            counts[self._word(name, value, row, places, rests[at], new[at])] += 1

    def _whole(
        self, name: str, values: tuple, rows: list[Row], column: tuple, news: dict[str, list[dict | None]]
    ) -> dict[str, int]:
        """Word → rows, where a look at the one column as a whole tells it; {} where each row wants a look of its own."""
        (_, rule, there), number = column, len(values)
        if all(map(is_, values, there)):
            return {"copied" if rule or self._fields is None else "rest": number}
        if not any(there):
            return {"dropped": number} if name in self._drop and name != self._rest else {}
        is_id = name == self._id and [new and new.get("S") for new in there] == [row.new_id for row in rows]
        if is_id or (name in news and all(there) and all(map(is_, news[name], there))):
            return {"rewritten": number}
        if rule and rule.type and name not in self._changing:
            try:
                if [convert(value, rule.type) for value in values] == there:
                    same = sum(map(eq, values, there))
                    return {"copied": same, "converted": number - same}
            except ValueError:
                pass
        return {}

    def _word(self, name: str, value: dict, row: Row, places: list[tuple], rest: dict, new: dict | None) -> str:
        """`places`: (field, its rule, what the target holds there); no field is the rest. `new`: see `_news`."""
        words = [self._word_at(name, value, row, new, *place) for place in places if place[2] is not None]
        if name == self._rest and self._merged(value, rest):
            words.append("rest")
        if words := [word for word in words if word]:
            return min(words, key=_FIRST.__getitem__)
        return "dropped" if name in self._drop else "unaccounted"

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
        fell_back = field in row.fell_back
        if there is value or there == value:
            return "rest" if fell_back or (field is None and self._fields is not None) else "copied"
        if fell_back or (rule and rule.has_default and is_empty(value)):
            return "defaulted" if there == default_of(rule) else None
        if name == self._id and (there.get("S") or text_of(there)) == row.new_id:
            return "rewritten"
        if new is not None and (
            there == new
            or (name in self._inside and there.keys() == value.keys())
            or (rule and (rule.type or rule.has_default))  # the new id was converted in turn
        ):
            return "rewritten"
        if rule and rule.type:
            try:
                return "converted" if there == convert(value, rule.type) else None
            except ValueError:
                return None
        return None

    def _merged(self, value: dict, rest: dict) -> bool:
        """Whether an attribute that is named like the rest's map went into it, member by member."""
        changes = self._rest in self._changing
        return "M" in value and all(
            rest.get(member) == content or (changes and member in rest) for member, content in value["M"].items()
        )


def _in_text(entry: Entry, path: str) -> bool:
    return any(isinstance(part, str) for part in entry.references_to[path])


def merge_into(whole: LedgerPage, page: LedgerPage) -> None:
    """Adds a page's ledger to the table's; names beyond those of a profile share one line."""
    for name, counts in page.items():
        whole.setdefault(place_of(name, whole), Counter()).update(counts)


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
