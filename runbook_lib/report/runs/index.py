"""The index of the runs in a folder: a page that works from the file system."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from ...errors import Refused
from ...journal.snapshot import Snapshot
from ...journal.stage import Stage
from ...run.files import write_atomically
from ...run.folder import Run, about_of, runs
from ..drawing.html import Html
from .status import UNKNOWN, stage_line, standing_verdict

_STYLE = Html(
    "body{font:15px/1.5 system-ui,sans-serif;max-width:1080px;margin:2rem auto;padding:0 1rem;color:#1f2933}"
    "table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.5rem .6rem;border-bottom:1px solid #d9e2ec;"
    "vertical-align:top}th{font-weight:600;color:#52606d}a{color:#0b5394;text-decoration:none}a:hover{text-decoration:"
    "underline}small{color:#52606d}.PASS{color:#1b7f3b}.REVIEW{color:#9a6700}.FAIL{color:#b42318}.ROLLED_BACK{color:#475467}"
    "b{font-weight:650}"
)


def write_index(outputs: Path, journals: Iterable[Snapshot] = ()) -> Path:
    """Writes the index of the runs in a folder; returns its path. What stands as in `journals` is not read again."""
    seen = {journal.folder: journal for journal in journals}
    page = Html(
        "<!doctype html><html lang=en><meta charset=utf-8><title>Runs</title>"
        "<style>{}</style><h1>Runs</h1><p>Newest first. A name opens the report without code.</p>"
        "<table><thead><tr><th>Run<th>From → to<th>Verdict<th>Stages</tr></thead>"
        "<tbody>{}</tbody></table></html>"
    ).format(
        _STYLE,
        Html("").join(_row(run, seen) for run in runs(outputs)) or Html("<tr><td colspan=4>No runs yet.</td></tr>"),
    )
    path = outputs / "index.html"
    write_atomically(path, page.encode())
    return path


def _row(run: Run, seen: Mapping[Path, Snapshot]) -> Html:
    known = about_of(run) or {"created": "", "mapping": UNKNOWN}
    paths: list[Path] = []
    try:
        paths = run.in_order(run.folder.glob("0*.ipynb"))
        test, migrated = (Stage(run, name).read(seen.get(run.journal(name))) for name in ("test", "migrate"))
        verdict, stages = standing_verdict(run, migrated) or "–", [stage_line(test), stage_line(migrated)]
    except Refused as problem:  # the affair of that run alone
        verdict, stages = "–", [str(problem)]
    places = [known[side]["environment"] for side in ("source", "target") if side in known]
    links = Html(" · ").join(_link(run, path) for path in paths) or "–"
    lines = Html("<br>").join(line for line in stages if line)
    return Html(
        "<tr><td><b>{}</b><br><small>{}</small></td><td>{}<br><small>{}</small></td>"
        "<td><b class='{}'>{}</b></td><td>{}<br><small>{}</small></td></tr>"
    ).format(run.id, known["created"], " → ".join(places), known["mapping"], verdict, verdict, links, lines)


def _link(run: Run, notebook: Path) -> Html:
    page = notebook.with_suffix(".html")
    target = page if page.exists() else notebook
    return Html('<a href="{}/{}">{}</a>').format(run.id, target.name, notebook.stem)
