"""The figures of a step's result as pandas DataFrames: names, types, counts and short codes, never a value or a key.

docs/dataframes.md lists every frame with its columns.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ..discover.references import Finding
from ..journal.snapshot import COUNTED
from ..stages.analyze.analysis import Analysis
from ..stages.migrate.migrate import Migration
from ..stages.rollback.drop_tables import TableDeletion
from ..stages.rollback.restore import Restored
from ..stages.rollback.undo import Preview, Undone
from ..stages.sealed import said
from ..stages.test.canary import Canary, Created
from ..stages.validate.validate import Validation
from ..walk.ledger import WORDS
from .drawing.frame import COUNT, FLAG, MAYBE, NUMBER, TEXT, TIME, Frames, Rows, frame
from .samples import key_tag, tag

MATCH_FIGURES = ("found", "source_items", "target_items", "matched", "ambiguous", "nearly")


def _ledger(ledgers: Mapping[str, Mapping[str, Mapping[str, int]]]) -> Rows:
    for entry, attributes in ledgers.items():
        for attribute, words in sorted(attributes.items()):
            yield entry, attribute, *(words.get(word, 0) for word in WORDS)


class AnalysisFrames(Frames):
    """An analysis. Entries stand by level, parents first."""

    result: Analysis

    @frame(
        entry=TEXT, level=COUNT, records=COUNT, routed=COUNT, quarantined=COUNT, conflicts=COUNT, expired=COUNT,
        matched=COUNT, already_there=COUNT, references=COUNT, dangling=COUNT, unreadable=COUNT, write_units=COUNT, bytes=COUNT,
    )  # fmt: skip
    def tables(self) -> Rows:
        """One row an entry."""
        for name, t in self.result.ordered():
            conflicts, level = t.losers + t.different_there, self.result.levels.get(name, 0)
            counts = t.records, t.routed, t.quarantined, conflicts, t.skipped, t.matched, t.already_there
            references = t.references.total(), t.dangling.total(), t.unreadable.total()
            yield name, level, *counts, *references, t.write_units, t.bytes

    @frame(
        entry=TEXT, attribute=TEXT, items=COUNT, share=NUMBER, types=TEXT, mixed=FLAG, empty=COUNT, distinct=COUNT,
        exact=FLAG, shortest=MAYBE, longest=MAYBE,
    )  # fmt: skip
    def attributes(self) -> Rows:
        """One row an attribute, of each entry the most present first."""
        for name, entry in self.result.ordered():
            for attribute, a in sorted(entry.profile.items(), key=lambda one: (-one[1].types.total(), one[0])):
                items, mixed = a.types.total(), len(a.types.keys() - {"NULL"}) > 1
                share = items / entry.records if entry.records else 0.0
                types = " · ".join(f"{letter} {count:,}" for letter, count in a.types.most_common())
                distinct = min(a.distinct.count, items), a.distinct.exact
                yield name, attribute, items, share, types, mixed, a.empty, *distinct, a.shortest, a.longest

    @frame(entry=TEXT, path=TEXT, to=TEXT, references=COUNT, dangling=COUNT, unreadable=COUNT)
    def references(self) -> Rows:
        """One row for each path and entry it refers to, and one without `to` for what no entry can be named for."""
        for name, t in self.result.ordered():
            for path in sorted({*t.references, *t.dangling, *t.unreadable}):
                parents = {to: count for (p, to), count in sorted(t.parents.items()) if p == path}
                left = t.references[path] - sum(parents.values())  # to nothing that can be named: all of them dangle
                if len(parents) == 1:
                    ((to, count),) = parents.items()
                    yield name, path, to, count, t.dangling[path] - left, t.unreadable[path]
                    if left:
                        yield name, path, None, left, left, 0
                    continue
                for to, count in parents.items():
                    yield name, path, to, count, 0, 0
                if left or t.dangling[path] or t.unreadable[path]:
                    yield name, path, None, left, t.dangling[path], t.unreadable[path]

    @frame(
        entry=TEXT, by=TEXT, found=TEXT, source_items=MAYBE, target_items=COUNT, matched=COUNT, ambiguous=COUNT, nearly=COUNT,
    )  # fmt: skip
    def matches(self) -> Rows:
        """One row an entry that says `match`: what the target has of it already."""
        for name, about in self.result.matches.items():
            yield name, ", ".join(about["by"]), *(about[column] for column in MATCH_FIGURES)

    @frame(entry=TEXT, path=TEXT, to=TEXT, values=COUNT, found=COUNT, coverage=NUMBER, certain=FLAG, accepted=FLAG)
    def undeclared(self) -> Rows:
        """One row a path whose values are ids that no rule rewrites; `accepted` where the mapping calls it no reference."""
        found: list[tuple[Finding, bool]] = [(one, False) for one in self.result.undeclared]
        for one, accepted in (*found, *((one, True) for one in self.result.not_references)):
            yield one.table, one.path, one.to, one.values, one.found, one.coverage, one.is_certain, accepted

    @frame(entry=TEXT, attribute=TEXT, **dict.fromkeys(WORDS, COUNT))
    def ledger(self) -> Rows:
        """One row a source attribute: what becomes of its values, in items."""
        return _ledger(self.result.ledgers)

    @frame(entry=TEXT, attribute=TEXT, reason=TEXT, items=COUNT)
    def quarantined(self) -> Rows:
        """One row a reason why items would be quarantined."""
        for name, t in self.result.ordered():
            for (attribute, reason), count in sorted(t.reasons.items()):
                yield name, attribute, reason, count

    @frame(entry=TEXT, at_most=COUNT, items=COUNT)
    def sizes(self) -> Rows:
        """The items as they will be written, by size: one row for each power of two that any of them needs."""
        for name, t in self.result.ordered():
            for power, count in sorted(t.sizes.items()):
                yield name, 2**power, count

    @frame(table=TEXT, key=TEXT, values=COUNT, write_units=COUNT, heaviest=COUNT, share=NUMBER, code=TEXT)
    def partitions(self) -> Rows:
        """One row a partition key of a target table or an index: how much is written under its heaviest value."""
        for target, keys in self.result.skew.items():
            for key, use in keys.items():
                value = use.top[0][0] if use.top else ""
                code = tag({"S": value}) if value else None
                yield target, key, use.distinct, use.units, use.hot, use.share, code

    @frame(stage=TEXT, read_units=COUNT, write_units=COUNT, usd=NUMBER)
    def costs(self) -> Rows:
        """One row a stage."""
        return ((stage, *cost) for stage, cost in self.result.costs.items())

    @frame(level=TEXT, side=TEXT, table=TEXT, check=TEXT, message=TEXT, action=TEXT)
    def checks(self) -> Rows:
        """The go/no-go list."""
        return ((c.level or "OK", c.side, c.table, c.what, c.message, c.action) for c in self.result.checks)


class CreatedFrames(Frames):
    """Target tables that were created."""

    result: Sequence[Created]

    @frame(entry=TEXT, table=TEXT, seconds=NUMBER)
    def tables(self) -> Rows:
        """One row a table, with the time until it was active."""
        return ((one.entry, one.table, one.seconds) for one in self.result)


class CanaryFrames(Frames):
    """A test."""

    result: Canary

    @frame(entry=TEXT, items=COUNT, equal=COUNT, inserted=COUNT, already_there=COUNT, conflicts=COUNT, failed=COUNT)
    def counts(self) -> Rows:
        """One row an entry."""
        for name, counts in sorted(self.result.state.tables.items()):
            pairs = [pair.equal for pair in self.result.pairs if pair.row.entry == name]
            outcomes = (counts[word] for word in ("inserted", "already_there", "conflicts", "failed"))
            yield name, len(pairs), sum(pairs), *outcomes

    @frame(entry=TEXT, item=TEXT, found=FLAG, equal=FLAG)
    def pairs(self) -> Rows:
        """One row an item, by the code of its source key."""
        for pair in self.result.pairs:
            yield pair.row.entry, key_tag(pair.row.source_key), pair.found is not None, pair.equal


class BackupFrames(Frames):
    """The backups before the first insert."""

    result: Mapping[str, Mapping[str, Any]]

    @frame(table=TEXT, kind=TEXT)
    def tables(self) -> Rows:
        """One row a target table in production."""
        return ((table, about["kind"]) for table, about in self.result.items())


class _Paced(Frames):
    """A stage that reads every page, with its pace by its report."""

    @frame(at=TIME, seconds=NUMBER, items=COUNT, throttled=COUNT, held_back=NUMBER, per_second=NUMBER)
    def throughput(self) -> Rows:
        """One row for each stretch of time, at most 240."""
        for one in self.report.get("throughput") or ():
            per_second = one["items"] / one["seconds"] if one["seconds"] else 0.0
            yield one["at"], one["seconds"], one["items"], one["throttled"], one.get("held_back", 0.0), per_second

    @frame(table=TEXT, reason=TEXT, refused=COUNT, seconds=NUMBER)
    def held_back(self) -> Rows:
        """One row a table and reason that requests waited for, in this execution; no table: all of them."""
        for one in self.report.get("held_back", ()):
            yield one["table"] or None, one["reason"], one["refused"], one["seconds"]


class MigrationFrames(_Paced):
    """A migration."""

    result: Migration

    @frame(entry=TEXT, **dict.fromkeys(COUNTED, COUNT), adds_up=FLAG)
    def counts(self) -> Rows:
        """One row an entry, over all executions of the run."""
        for name, counts in sorted(self.result.state.tables.items()):
            values = [counts[word] for word in COUNTED]
            yield name, *values, values[0] == sum(values[1:])

    @frame(entry=TEXT, attribute=TEXT, **dict.fromkeys(WORDS, COUNT))
    def ledger(self) -> Rows:
        """One row a source attribute: what became of its values, in items."""
        return _ledger(self.result.ledgers)

    @frame(side=TEXT, table=TEXT, what=TEXT, name=TEXT, planned=TEXT, found=TEXT, accepted=FLAG)
    def drift(self) -> Rows:
        """One row for each thing that is not as 01 saw it; none where 01 was not run."""
        held = self.result.held
        for one in held.drift if held else ():
            yield one.side, one.table, one.what, one.name, said(one.planned), said(one.found), held.accepted

    @frame(figure=TEXT, items=COUNT)
    def delta(self) -> Rows:
        """What a delta found and did; empty where it was none."""
        return self.result.drift.as_json().items() if self.result.drift else ()


FIGURES = (
    "scanned", "skipped", "matched", "checked", "equal", "missing", "expired", "different", "accepted", "conflicts",
    "quarantined", "references", "dangling", "unreadable", "added", "changed", "edited_in_target",
)  # fmt: skip


class ValidationFrames(_Paced):
    """A validation."""

    result: Validation

    @frame(entry=TEXT, **dict.fromkeys(FIGURES, COUNT))
    def tables(self) -> Rows:
        """One row an entry."""
        return ((name, *(getattr(t, word) for word in FIGURES)) for name, t in sorted(self.result.tables.items()))

    @frame(table=TEXT, kind=TEXT, attribute=TEXT, expected=TEXT, found=TEXT, key=TEXT)
    def differences(self) -> Rows:
        """One row a difference: only the first 1,000, as `differences.jsonl` has them. `causes` counts all."""
        for one in self.result.differences:
            yield one.table, one.kind, one.attribute, one.expected, one.found, key_tag(one.key)

    @frame(table=TEXT, kind=TEXT, attribute=TEXT, expected=TEXT, found=TEXT, rule=TEXT, items=COUNT)
    def causes(self) -> Rows:
        """All differences by cause, the most items first."""
        for one in self.result.groups:
            yield one.table, one.kind, one.attribute, one.expected, one.found, one.rule, one.items

    @frame(table=TEXT, items=COUNT)
    def extra(self) -> Rows:
        """One row a target table that holds items which the mapping does not make."""
        return sorted(self.result.extra.items())

    @frame(kind=TEXT, entry=TEXT, path=TEXT, items=COUNT)
    def residual(self) -> Rows:
        """One row a path at which ids of the source, or the name of its environment, are left."""
        for kind, left in (("id", self.result.residual.ids), ("environment", self.result.residual.environment)):
            for entry, paths in sorted(left.by_path.items()):
                for path, items in sorted(paths.items()):
                    yield kind, entry, path, items

    @frame(
        entry=TEXT, name=TEXT, index=TEXT, expected=COUNT, returned=COUNT, pages=COUNT, foreign=COUNT, proved=FLAG,
        vacuous=FLAG,
    )  # fmt: skip
    def queries(self) -> Rows:
        """One row a query of the mapping."""
        for one in self.result.patterns:
            counts = one.expected, one.returned, one.pages, one.foreign
            yield one.entry, one.name, one.index, *counts, one.problem is None, one.vacuous


class PreviewFrames(Frames):
    """What an undo would look at."""

    result: Preview

    @frame(entry=TEXT, inserted=COUNT, unknown=COUNT)
    def counts(self) -> Rows:
        """One row an entry."""
        entries, unknown = self.result.entries, self.result.unknown
        return ((name, entries.get(name, 0), unknown.get(name, 0)) for name in sorted({**entries, **unknown}))


class UndoneFrames(Frames):
    """An undo."""

    result: Undone

    @frame(outcome=TEXT, items=COUNT)
    def counts(self) -> Rows:
        """What became of the inserted items, and whose others were left alone."""
        for name in ("deleted", "kept_edited", "not_found", "already_there", "conflicts", "unanswered"):
            yield name, getattr(self.result, name)

    @frame(entry=TEXT, key=TEXT, attribute=TEXT, was=TEXT, found=TEXT, reason=TEXT)
    def kept(self) -> Rows:
        """One row for each attribute that differs in an item that stays, by the code of its key; one where none is known."""
        unknown = {"attribute": None, "was": None, "is": None}
        for one in self.result.kept:
            code = key_tag(one.get("target_key", one["key"]))
            for differs in one.get("differences") or (unknown,):
                yield one["table"], code, differs["attribute"], differs["was"], differs["is"], one["reason"]


class RestoredFrames(Frames):
    """A restore."""

    result: Restored

    @frame(source=TEXT, kind=TEXT, table=TEXT, items=COUNT, inserted=COUNT, equal=COUNT, different=COUNT)
    def counts(self) -> Rows:
        """One row."""
        one = self.result
        yield one.source, one.kind, one.table, one.items, one.inserted, one.equal, one.different


class DeletionFrames(Frames):
    """Target tables that 05 was asked to delete."""

    result: Sequence[TableDeletion]

    @frame(table=TEXT, deleted=FLAG, reason=TEXT)
    def tables(self) -> Rows:
        """One row a table."""
        return ((one.table, one.deleted, one.reason) for one in self.result)
