"""What lies where the program writes its pages and its progress: nothing hangs, nothing elsewhere is read or changed."""

import os

import pytest
from support_notebooks import command

from runbook_lib.cli import main

pytestmark = pytest.mark.usefixtures("in_process", "in_time")
RUN = "the-only-run"
NAMES = (
    "summary.html",
    ".progress.01_analyze",
    ".progress.command",
    "lab",
    "01_analyze.ipynb",
    "../index.html",
    f"../{RUN}.zip",
)
KINDS = {
    "a symlink": lambda path, victim: path.symlink_to(victim),
    "a symlink to nothing": lambda path, victim: path.symlink_to(victim.with_name("nothing")),
    "a hard link": lambda path, victim: os.link(victim, path),
    "a pipe": lambda path, victim: os.mkfifo(path),
    "a folder": lambda path, victim: path.mkdir(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_stage_ends_as_it_would_and_says_what_it_could_not_write(kind, shop, capsys, tmp_path):
    """A link is replaced, and not followed. A folder stays, and is named. So for the commands that read the run."""
    victim, folder = tmp_path / "victim", shop.outputs / RUN
    victim.write_text("precious")
    folder.mkdir(parents=True)
    for name in NAMES:
        KINDS[kind](folder / name, victim)
    code, result, said = command(capsys, "analyze", shop.params, "--run-id", RUN, "--outputs", shop.outputs)
    assert (code, result["verdict"], result["totals"]["records"]) == (1, "REVIEW", 26)
    is_folder = kind == "a folder"
    pages = (folder / "summary.html", shop.outputs / "index.html")
    assert [f"{page} cannot be written: Is a directory" in said for page in pages] == [is_folder] * 2
    assert (".progress.01_analyze cannot be written: Is a directory" in (folder / "run.log").read_text()) == is_folder
    assert ("cannot be written" in said + (folder / "run.log").read_text()) == is_folder
    for words in (["status"], ["status", RUN], ["status", RUN, "--watch"]):
        assert main([*words, "--outputs", str(shop.outputs)]) == 0
        assert RUN in capsys.readouterr().out
    main(["verify", RUN, "--outputs", str(shop.outputs)])
    assert ("lab" in capsys.readouterr().out) == (not is_folder)
    assert main(["bundle", RUN, "--outputs", str(shop.outputs)]) == (2 if is_folder else 0)
    assert victim.read_text() == "precious"
    assert not (tmp_path / "nothing").exists()


def test_outputs_that_cannot_be_written_leave_the_verdict(shop, capsys, monkeypatch):
    """The index is of the folder above the run's; the page that stays there is out of date, and that is said."""
    from runbook_lib.report.runs import index

    def denied(path, content):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(index, "write_atomically", denied)
    code, result, said = command(capsys, "analyze", shop.params, "--outputs", shop.outputs)
    assert (code, result["verdict"]) == (1, "REVIEW")
    assert f"{shop.outputs}/index.html cannot be written: Permission denied" in said
    folder = shop.outputs / result["run_id"]
    assert main(["verify", folder.name, "--outputs", str(shop.outputs)]) == 0
    assert "untouched" in capsys.readouterr().out
