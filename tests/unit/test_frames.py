"""A step's figures as DataFrames: the columns and dtypes that the documentation lists, filled or empty, and each one's sums."""

import json
import re
import subprocess
import sys
from collections import Counter
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pandas
import pytest
from support_results import analysis_of, migration_of, state_of

from runbook_lib.discover.profile import profile_items
from runbook_lib.notebook import display
from runbook_lib.report import frames
from runbook_lib.report.draft.frames import DraftFrames
from runbook_lib.report.drawing.frame import as_table, inner
from runbook_lib.stages.analyze.analysis import EntryAnalysis
from runbook_lib.stages.draft.draft import Draft
from runbook_lib.stages.draft.entries import Drafted
from runbook_lib.stages.draft.matching.natural_keys import NaturalKey, Tally
from runbook_lib.stages.draft.references import Rule
from runbook_lib.stages.rollback.drop_tables import TableDeletion
from runbook_lib.stages.rollback.restore import Restored
from runbook_lib.stages.rollback.undo import Preview, Undone
from runbook_lib.stages.test.canary import Canary, Closure, Created
from runbook_lib.stages.validate.groups import DifferenceGroup
from runbook_lib.stages.validate.validate import EntryValidation, Validation
from runbook_lib.verdict import plural

PAGE = Path(__file__).resolve().parents[2] / "docs" / "dataframes.md"
EMPTY = {
    "draft": DraftFrames(Draft("", None, {}, [], None)),
    "analysis": frames.AnalysisFrames(analysis_of({})),
    "created": frames.CreatedFrames([]),
    "canary": frames.CanaryFrames(Canary("T", 1, Closure({}, [], [], 0), state_of({}), [], None)),
    "backups": frames.BackupFrames({}),
    "migration": frames.MigrationFrames(migration_of({})),
    "validation": frames.ValidationFrames(Validation({}, {}, 0, [], [], [])),
    "preview": frames.PreviewFrames(Preview({}, {})),
    "undone": frames.UndoneFrames(Undone(0, 0, 0, [])),
    "restored": frames.RestoredFrames(Restored("S", "copy", "T", 0)),
    "deletions": frames.DeletionFrames([]),
}
POINTS = [
    {"at": "2025-01-01T00:00:00Z", "seconds": 2.0, "items": 10, "throttled": 0, "held_back": 0.5},
    {"at": "2025-01-01T00:00:02.500000+00:00", "seconds": 0.0, "items": 0, "throttled": 3},
]


def documented() -> dict[str, dict[str, str]]:
    """Frame, as in the headings of the page → column → dtype."""
    found = {}
    for name, body in re.findall(r"^### `(\w+\.\w+)`\n(.*?)(?=^##|\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL):
        found[name] = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \| [^|]+ \|$", body, re.MULTILINE))
    return found


def dtypes(frame: pandas.DataFrame) -> dict[str, str]:
    return {name: str(dtype) for name, dtype in frame.dtypes.items()}


def test_the_page_lists_every_frame_with_its_columns_and_dtypes():
    """Of frames without rows; they are those of filled ones."""
    found = {f"{name}.{which}": dtypes(getattr(face, which)) for name, face in EMPTY.items() for which in face.names()}
    assert found == documented()
    assert sum(frame not in ("undone.counts", "restored.counts") for frame in found) == sum(
        getattr(face, which).empty for face in EMPTY.values() for which in face.names()
    )


def test_filled_frames_have_the_same_dtypes():
    """Missing texts, times and counts among them."""
    profile = profile_items([{"id": {"S": "a"}, "n": {"N": "1"}}])
    entry = EntryAnalysis(records=1, profile=profile, unreadable=Counter(x=2), references=Counter(x=1))
    report = {"throughput": POINTS, "held_back": [{"table": "", "reason": "limit", "refused": 0, "seconds": 1.0}]}
    kept = [{"table": "T", "key": {"id": {"S": "a"}}, "reason": "edited", "differences": []}]
    rules = [Rule("ref", "A", {"A": 3, "B": 1}, 5, 4, 0.9, ambiguous, "why") for ambiguous in (True, False, False)]
    named = SimpleNamespace(name="t", attribute="id", key=(("id", "S"),))
    natural = NaturalKey("a.b", Tally(9, 8, 7), Tally(6, 6, 6), 3, 2, 1, False)
    drafted = Drafted("E", named, {}, 7, 7, named, rules, {}, {}, None, [natural])
    filled = {
        "draft": (DraftFrames(Draft("", None, {"E": drafted}, [], None)), ("entries", "matches", "references")),
        "analysis": (frames.AnalysisFrames(analysis_of({"T": entry})), ("tables", "attributes", "references")),
        "created": (frames.CreatedFrames([Created("T", "t", 1)]), ("tables",)),
        "migration": (frames.MigrationFrames(migration_of({"T": {}}), report), ("counts", "throughput", "held_back")),
        "undone": (frames.UndoneFrames(Undone(0, 1, 0, kept)), ("kept",)),
        "deletions": (frames.DeletionFrames([TableDeletion("t", True, "")]), ("tables",)),
    }
    for name, (face, names) in filled.items():
        for which in names:
            assert len(getattr(face, which))
            assert dtypes(getattr(face, which)) == documented()[f"{name}.{which}"], which
    assert filled["draft"][0].entries.values.tolist() == [["E", "t", 7, "id", False, 2, 1]]
    assert filled["draft"][0].matches.values.tolist() == [["E", "a\\.b", 9, 7, 6, 6, 3, 2, 1, True]]
    assert filled["draft"][0].references["ambiguous"].tolist() == [False, False, True]
    assert set(filled["draft"][0].references["to"]) == {"A, B"}
    attributes = filled["analysis"][0].attributes.set_index("attribute")
    assert attributes.loc["n", "longest"] is pandas.NA
    assert filled["migration"][0].throughput["per_second"].tolist() == [5.0, 0.0]
    assert filled["migration"][0].throughput["held_back"].tolist() == [0.5, 0.0]
    assert filled["migration"][0].throughput["at"].dt.microsecond.tolist() == [0, 500_000]


def test_references_add_up_to_those_of_the_analysis():
    """Each reference and each dangling one stands in one row; what no entry can be named for in the row without one."""
    entry = EntryAnalysis(
        references=Counter(one=5, several=7, none=2),
        dangling=Counter(one=3, several=4, none=2),
        parents=Counter({("one", "A"): 4, ("several", "A"): 4, ("several", "B"): 2}),
        unreadable=Counter(several=1),
    )
    rows = frames.AnalysisFrames(analysis_of({"T": entry})).references.fillna("?").drop(columns="entry")
    assert rows.values.tolist() == [
        ["none", "?", 2, 2, 0],
        ["one", "A", 4, 2, 0],
        ["one", "?", 1, 1, 0],
        ["several", "A", 4, 0, 0],
        ["several", "B", 2, 0, 0],
        ["several", "?", 1, 4, 1],
    ]


def test_a_frame_is_made_once_and_keeps_what_is_added_to_it():
    face = frames.MigrationFrames(migration_of({"T": {"scanned": 2, "inserted": 1}}))
    face.counts["open"] = face.counts["scanned"] - face.counts["inserted"]
    assert face.counts["open"].tolist() == [1]
    assert face.counts["adds_up"].tolist() == [False]
    with pytest.raises(AttributeError, match="work on a copy"):
        face.counts = None
    assert repr(face) == "MigrationFrames with the DataFrames throughput, held_back, counts, ledger, drift, delta"


@pytest.fixture
def shown(monkeypatch):
    """What is displayed, as text."""
    found = []
    monkeypatch.setattr("IPython.display.display", lambda one, **_: found.append(one.data))
    return found


def test_views_take_the_result_and_queries_its_frames(shown):
    face = frames.CreatedFrames([Created("<b>", "t", 1.5)])
    display.show(lambda result: plural(len(result), "table"), face)
    display.show(lambda result: "", face)
    display.show_frame(lambda found: found.tables.query("seconds > 1"), face)
    assert len(shown) == 2
    assert shown[0] == '<div class="mathjax_ignore">1 table</div>'
    assert "&lt;b&gt;" in shown[1]


def test_a_query_shows_fifty_rows_and_says_so_or_why_there_are_none(shown):
    face = frames.CreatedFrames([Created(f"T{number}", "t", 1.0) for number in range(60)])
    display.show_frame(lambda found: found.tables, face)
    assert shown[0].count("<tr") == 51
    assert "50 of 60 shown" in shown[0]
    display.show_frame(lambda found: found.tables.query("seconds > 1"), face, empty="None.")
    display.show_frame(lambda found: found.tables, None, without="Not done.")
    assert ["None." in shown[1], "Not done." in shown[2]] == [True, True]
    display.show_frame(lambda found: found.tables, None)
    assert len(shown) == 3


def test_a_frame_is_shown_as_the_other_tables_are():
    """What is missing is a dash, whatever its dtype; nothing stays invisible; the index shows where it has a name."""
    found = pandas.DataFrame(
        {
            "share": [1 / 3, None],
            "items": pandas.Series([1234, None], dtype="Int64"),
            "name": pandas.Series(["a\u202eb", None], dtype="str"),
            "sure": [True, False],
        }
    )
    words = re.sub(r"<[^>]+>", " ", as_table(found, 50)).split()
    assert words == "share items name sure 0.3333 1,234 a�b yes – – – no".split()
    by_name = as_table(found.groupby("sure")["items"].sum(), 50)
    assert re.sub(r"<[^>]+>", " ", by_name).split() == "sure items no · yes 1,234".split()
    assert "<th" in as_table(pandas.Series([1], name=3), 50)


def test_pandas_comes_with_the_first_frame():
    code = (
        "import sys; from runbook_lib.report import frames; assert 'pandas' not in sys.modules; "
        "frames.DeletionFrames([]).tables; assert 'pandas' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_face_hides_a_frame_behind_a_field():
    """`result` and `report` are not names of frames."""
    for face in EMPTY.values():
        assert not {"result", "report"} & set(face.names())
        assert isinstance(inner(face), type(face.result))
    assert isinstance(inner(SimpleNamespace(result=1)), SimpleNamespace)  # a thing of another kind stays


def queries() -> dict[str, tuple[str, str]]:
    """Result → the cell's source, and the notebook, of the section "Your own look"."""
    found = {}
    for path in sorted(PAGE.parents[1].glob("notebooks/*.ipynb")):
        cells = ["".join(cell["source"]) for cell in json.loads(path.read_text())["cells"]]
        for heading, code in pairwise(cells):
            if heading.startswith("## Your own look"):
                found[path.stem[3:]] = code, heading
    return found


@pytest.mark.parametrize(
    ("stage", "name"), [("analyze", "analysis"), ("migrate", "migration"), ("validate", "validation")]
)
def test_the_query_of_a_notebook_runs_on_any_result(stage, name, shown):
    """On what a step found, on nothing, and where the step was not done."""
    code, heading = queries()[stage]
    assert f"`{name}`" in heading
    counts = {"scanned": 4, "inserted": 2, "conflicts": 1, "expired": 1}
    cause = DifferenceGroup("A", "n", "different", "N", "S", "copied", 3, "")
    profile = profile_items([{"id": {"S": "a"}, "n": {"N": "1"}}, {"id": {"N": "1"}}])
    filled = {
        "analysis": frames.AnalysisFrames(analysis_of({"A": EntryAnalysis(records=20, profile=profile)})),
        "migration": frames.MigrationFrames(migration_of({"A": counts, "B": {}, "C": {"scanned": 1, "failed": 1}})),
        "validation": frames.ValidationFrames(
            Validation({"A": EntryValidation(4, 4, 1), "B": EntryValidation()}, {}, 0, [], [], [], groups=[cause])
        ),
    }
    book = SimpleNamespace(show_frame=partial(display.show_frame, without="Not done."))
    for result in (filled[name], EMPTY[name], None):
        exec(code, {"book": book, name: result})
    words = re.sub(r"<[^>]+>", " ", shown[0]).split()
    assert (
        " ".join(words)
        == {
            "analysis": "entry attribute items share types mixed empty distinct exact shortest longest "
            "A n 1 0.05 N 1 no · 1 yes – – A id 2 0.1 S 1 · N 1 yes · 2 yes 1 1",
            "migration": "entry scanned absent share A 4 1 0.25 C 1 1 1 B · · –",
            "validation": "entry checked share kind attribute items A 4 0.25 different n 3 B · – – – –",
        }[name]
    )
    assert "Not done." in shown[-1]
