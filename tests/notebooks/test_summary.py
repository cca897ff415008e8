"""The summary and the bundle of runs that notebooks have made: by command, by hand, refused."""

import re
from types import SimpleNamespace

import pytest
import yaml
from support_notebooks import run

from runbook_lib.cli import main
from runbook_lib.journal import audit
from runbook_lib.notebook import book as notebook

pytestmark = pytest.mark.usefixtures("in_process")
CONFIRMED = ["--execute", "--confirm"]


def headline(folder):
    """The first sentence of a run's summary."""
    return re.search(r"<h1>(.*?)</h1>", (folder / "summary.html").read_text())[1]


def test_every_command_leaves_a_summary(shop, capsys):
    """Also one that is refused; the folder is untouched after each, and the index says the same."""
    target = f"{shop.name}prod"

    def after(*words):
        result = run(shop, capsys, *words)[1]
        folder = shop.outputs / result["run_id"]
        assert main(["verify", folder.name, "--outputs", str(shop.outputs)]) == 0
        assert "untouched" in capsys.readouterr().out
        said = headline(folder)
        assert said in (shop.outputs / "index.html").read_text()
        return said

    assert after("analyze").startswith("26 items read; nothing was written yet")
    assert after("migrate").startswith("26 items read; nothing was written yet")  # a plan
    assert after("create-tables", *CONFIRMED, target).startswith("2 tables created; nothing was migrated yet")
    assert after("migrate", *CONFIRMED, target).startswith("26 of 26 items copied; not proved yet")
    assert after("validate").startswith("26 of 26 items copied and proved equal; ")
    folder = next(path for path in shop.outputs.iterdir() if path.is_dir())
    page = (shop.outputs / "index.html").read_text()
    verdicts = re.findall(r'<li><a href="[^"]*">([^<]*)</a> <b class="\w+">([^<]*)</b>', page)
    assert verdicts[:3] == [("01_analyze", "REVIEW"), ("03_migrate", "PLAN"), ("02_create_tables", "PASS")]
    path = next(path for path in folder.glob("migration-checkpoint-*.json"))
    checkpoint = ["rollback", "--checkpoint", path, *CONFIRMED, target]
    assert run(shop, capsys, *checkpoint, params=False)[0] == 0
    assert headline(folder) == "Rolled back: 26 items deleted again"
    assert run(shop, capsys, "migrate", "--run-id", folder.name, *CONFIRMED, target)[0] == 2
    assert headline(folder) == "Rolled back: 26 items deleted again"


def test_by_hand_finish_writes_it_too(shop, capsys, monkeypatch):
    """Where the notebook ends it says verdict, what is open, and the way there."""
    run(shop, capsys, "create-tables", *CONFIRMED, f"{shop.name}prod")
    values = yaml.safe_load(shop.params.read_text()) | {"outputs": str(shop.outputs)}
    shown, handle = [], SimpleNamespace(update=lambda _: None)
    monkeypatch.setattr("IPython.display.display", lambda one, **_: shown.append(getattr(one, "data", "")) or handle)
    monkeypatch.chdir(shop.outputs)
    monkeypatch.delenv("RUNBOOK_HEADLESS", raising=False)
    book = notebook.begin("01_analyze", values)
    book.analyze(book.plan())
    book.finish()
    folder = book.run.folder
    assert headline(folder).startswith("26 items read; nothing was written yet")
    assert (audit.verify(book.run).problems, audit.verify(book.run).growth) == ([], [])
    ending = next(one for one in shown if isinstance(one, str) and "summary.html" in one)
    assert f'href="{folder.name}/summary.html"' in ending
    assert "REVIEW" in ending
    assert "3 dangling references" in ending
