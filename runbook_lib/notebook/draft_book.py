"""What 00_draft imports: `begin` returns a `DraftBook`, a book whose mapping file does not exist yet."""

from collections.abc import Mapping
from typing import Any

from ..errors import Refused
from ..report.draft.frames import DraftFrames
from ..report.draft.json_draft import draft_alerts, write_draft
from ..stages import execution
from ..stages.draft.draft import Draft, Sources, check_free, draft, find_sources, write_mapping
from ..verdict import plural
from .base_book import BaseBook
from .progress import Progress
from .steps import Done, refused_as

STAGE = "00_draft"


def begin(namespace: Mapping[str, Any]) -> "DraftBook":
    """The book for 00, from the values that the parameters cell and papermill left in `namespace` (`globals()`).

    Shows the banner. Raises as `book.begin`; Refused where the mapping file exists and `force` is not set.
    """
    book = DraftBook(STAGE)
    book._open(namespace)
    book.check()
    return book


class DraftBook(BaseBook):
    """One execution of 00_draft. Its steps only read; the last one writes the mapping file."""

    def check(self) -> None:
        """Raises Refused where the mapping file exists and is to stay, or `items` is below 0. Before anything is read."""
        check_free(self.parameters.mapping_path(), force=self._values["force"])
        if self._values["items"] < 0:
            raise Refused(f"items is {self._values['items']}; give how many to read of each table, or 0 for all.")

    @refused_as(Refused)
    def find_tables(self) -> Sources:
        """The source tables to draft, by their names, and which of their target tables hold items. Read-only."""
        return find_sources(self.parameters, self._values["pattern"], self.run.id)

    @refused_as(Refused)
    def draft(self, sources: Sources) -> DraftFrames:
        """Reads the tables of both sides, drafts the mapping and writes it to the file that the parameters name."""
        path = self.parameters.mapping_path()
        with Progress(self.run, sources.plan, STAGE) as on_page:
            drafted = draft(self.parameters, sources, on_page, self._values["items"] or None)
        alerts = [*draft_alerts(drafted), *self._notebook.notes()]
        with self.run.saving():
            kept = write_mapping(path, drafted.text, force=self._values["force"])
        execution.done(self.run, STAGE)
        done = Done(drafted, *write_draft(self.run, sources, drafted, alerts), alerts)
        number = len(drafted.entries)
        certain, open_ = (len(drafted.rules(ambiguous=ambiguous)) for ambiguous in (False, True))
        headline = (
            f"{number:,} {'entry' if number == 1 else 'entries'}, {plural(certain, 'reference')} certain, "
            f"{open_:,} ambiguous{_natural_keys(drafted)}; written to {path.name}"
            f"{f', the old one kept as {kept.name}' if kept else ''}."
            f"{drafted.kept and ' '}{drafted.kept}"
        )
        self._done(done, headline)
        return DraftFrames(drafted)


def _natural_keys(drafted: Draft) -> str:
    number = sum(one.to_decide for _, one in drafted.natural_keys())
    return f", {plural(number, 'natural key')} to decide" if number else ""
