"""`outputs/index.html`: all runs, newest first, with their verdicts and links to what they left."""

import html
import json
from pathlib import Path

from ..journal.stage import Stage
from ..run.folder import Run, runs, write_atomically
from .status import stage_line, standing_verdict

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:1080px;margin:2rem auto;padding:0 1rem;color:#1f2933}"
    "table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.5rem .6rem;border-bottom:1px solid #d9e2ec;"
    "vertical-align:top}th{font-weight:600;color:#52606d}a{color:#0b5394;text-decoration:none}a:hover{text-decoration:"
    "underline}small{color:#52606d}.PASS{color:#1b7f3b}.REVIEW{color:#9a6700}.FAIL{color:#b42318}.ROLLED_BACK{color:#475467}"
    "b{font-weight:650}"
)


def write_index(outputs: Path) -> Path:
    """Writes the index of the runs in a folder; gives its path."""
    rows = "".join(_row(run) for run in runs(outputs)) or "<tr><td colspan=4>No runs yet.</td></tr>"
    page = (
        "<!doctype html><html lang=en><meta charset=utf-8><title>Runs</title>"
        f"<style>{_STYLE}</style><h1>Runs</h1><p>Newest first. A name opens the report without code.</p>"
        "<table><thead><tr><th>Run<th>From → to<th>Verdict<th>Stages</tr></thead>"
        f"<tbody>{rows}</tbody></table></html>"
    )
    path = outputs / "index.html"
    write_atomically(path, page.encode())
    return path


def _row(run: Run) -> str:
    known = json.loads((run.folder / "run.json").read_text(encoding="utf-8"))
    verdict = standing_verdict(run) or "–"
    places = [known[side]["environment"] for side in ("source", "target")]
    links = " · ".join(_link(run, path) for path in _copies(run.folder)) or "–"
    stages = [stage_line(Stage(run, name)) for name in ("test", "migrate")]
    lines = "<br>".join(html.escape(line) for line in stages if line)
    return (
        f"<tr><td><b>{html.escape(run.id)}</b><br><small>{html.escape(known['created'])}</small></td>"
        f"<td>{html.escape(' → '.join(places))}<br><small>{html.escape(known['mapping'])}</small></td>"
        f"<td><b class='{html.escape(verdict)}'>{html.escape(verdict)}</b></td>"
        f"<td>{links}<br><small>{lines}</small></td></tr>"
    )


def _copies(folder: Path) -> list[Path]:
    """The executed copies in the order of their making."""
    return sorted(folder.glob("0*.ipynb"), key=lambda path: path.stat().st_mtime)


def _link(run: Run, notebook: Path) -> str:
    page = notebook.with_suffix(".html")
    target = page if page.exists() else notebook
    return f'<a href="{html.escape(run.id)}/{html.escape(target.name)}">{html.escape(notebook.stem)}</a>'
