"""The figures of a draft as pandas DataFrames."""

from ...stages.draft.draft import Draft
from ..drawing.frame import COUNT, FLAG, NUMBER, TEXT, Frames, Rows, frame


class DraftFrames(Frames):
    """A drafted mapping."""

    result: Draft

    @frame(entry=TEXT, table=TEXT, items=COUNT, id=TEXT, keeps_ids=FLAG, references=COUNT, to_decide=COUNT)
    def entries(self) -> Rows:
        """One row an entry."""
        for one in self.result.entries.values():
            open_ = sum(rule.ambiguous for rule in one.rules)
            certain = len(one.rules) - open_
            yield one.name, one.table.name, one.items, one.id.attribute, one.keeps_ids, certain, open_

    @frame(
        entry=TEXT, by=TEXT, source_values=COUNT, source_unique=COUNT, target_values=COUNT, target_unique=COUNT,
        both=COUNT, ambiguous=COUNT, nearly=COUNT, to_decide=FLAG,
    )  # fmt: skip
    def matches(self) -> Rows:
        """One row an attribute that is nearly unique on both sides, where the target holds items."""
        for name, one in self.result.natural_keys():
            (values, _, unique), (there, _, unique_there) = one.source, one.target
            yield (
                name, ", ".join(one.by), values, unique, there, unique_there,
                one.both, one.ambiguous, one.nearly, one.to_decide,
            )  # fmt: skip

    @frame(entry=TEXT, path=TEXT, to=TEXT, values=COUNT, found=COUNT, coverage=NUMBER, ambiguous=FLAG, why=TEXT)
    def references(self) -> Rows:
        """One row a path, those that are certain and those that need a decision."""
        for name, one in (*self.result.rules(ambiguous=False), *self.result.rules(ambiguous=True)):
            yield name, one.path, ", ".join(one.parents), one.values, one.found, one.coverage, one.ambiguous, one.why
