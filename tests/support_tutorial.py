"""docs/tutorial.md, followed word for word: its files, edits and commands in order. What it shows must be what is printed.

Code blocks, by what stands behind the fence:
console          `$ ` and a command, then lines that it prints, in this order; `^C`: interrupted after its first insert
yaml             the first line names a file: it is written; `…, as drafted`: the file has these lines, in this order
diff             an edit of the mapping file
text to decide   the open items of the latest analysis that are no notes
"""

import contextlib
import io
import json
import os
import re
import runpy
import shlex
import signal
import time
from pathlib import Path

from engines import ROOT

from runbook_lib import cli, failpoints

TABLES = runpy.run_path(str(ROOT / "docs/tutorial_tables.py"))
BLOCK = re.compile(r"^```(.+)\n((?:.*\n)*?)```$", re.MULTILINE)
BY_HAND = ("make ", "source ", "python ")


def blocks() -> list[tuple[str, str]]:
    """The page's code blocks: what stands behind the fence, and the text."""
    return BLOCK.findall((ROOT / "docs/tutorial.md").read_text(encoding="utf-8"))


class Reader:
    """Somebody who does what the page says, in a project's folder, which is the working directory."""

    def __init__(self, project: Path):
        self.project = project
        self.code = 0  # of the latest command

    def follow(self, kind: str, text: str) -> None:
        """Does what one block says, and compares. Raises AssertionError."""
        lines = text.splitlines()
        if kind == "console":
            for command in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                self._type(*command.splitlines())
        elif kind == "yaml":
            name, _, drafted = lines[0].removeprefix("# ").partition(", ")
            if drafted:
                in_order(lines[1:], (self.project / name).read_text())
            else:
                (self.project / name).write_text(text)
        elif kind == "diff":
            self._edit(lines)
        else:
            assert kind == "text to decide"
            assert [tuple(re.split(r" {2,}", line)) for line in lines] == self._to_decide()

    def run(self) -> Path:
        """The newest run's folder."""
        numbers = {
            path.parent: json.loads(path.read_text())["number"] for path in self.project.glob("outputs/*/run.json")
        }
        return max(numbers, key=numbers.get)

    def _type(self, line: str, *shown: str) -> None:
        if line == "echo $?":
            printed = str(self.code)
        elif line.startswith(BY_HAND):
            printed = TABLES["greeting"](f"http://127.0.0.1:{TABLES['PORT']}") if "tutorial_tables" in line else ""
        else:
            interrupted = shown[:1] == ("^C",)
            shown = shown[interrupted:]
            printed = self._command(line, interrupted)
            assert self.code in ((3,) if interrupted else (0, 1)), printed
        in_order(shown, printed)

    def _command(self, line: str, interrupted: bool) -> str:
        """What the command prints, in the page's words for what is different each time."""
        command, *words = shlex.split(self._meant(line))
        assert command == "runbook", line
        words = [word.replace("write_units=50", "write_units=5000") for word in words]  # nobody waits
        said = io.StringIO()
        if interrupted:
            failpoints.arm(self._interrupt)
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                self.code = cli.main(words)
        finally:
            failpoints.disarm()
        printed = said.getvalue().replace("write_units=5000", "write_units=50")
        printed = printed.replace(f"{self.project}/", "").replace(self.run().name, "RUN_ID")
        return re.sub(r"\b[0-9a-f]{64}\b", "HASH", re.sub(r"\d{8}T\d{6}Z(-\d+)?", "TIME", printed))

    def _interrupt(self, point: str) -> None:
        """Ctrl-C when the first item is in; its reply waits until the program has heard it."""
        if point == "wire.PutItem.after":
            failpoints.disarm()
            os.kill(os.getpid(), signal.SIGINT)
            until = time.monotonic() + 60
            while not (self.run() / ".stop").exists() and time.monotonic() < until:
                time.sleep(0.01)

    def _meant(self, line: str) -> str:
        """The command with the run's ID and the migration's checkpoint in it."""
        if "TIME" in line:
            files = self.run().glob("migration-checkpoint-*.json")
            (file,) = (path for path in files if json.loads(path.read_text())["stage"] == "migrate")
            line = line.replace("migration-checkpoint-TIME.json", file.name)
        return line.replace("RUN_ID", self.run().name) if "RUN_ID" in line else line

    def _edit(self, lines: list[str]) -> None:
        """Puts the block's new lines in the place of its old ones, which the file has exactly once."""
        path = self.project / "parameters/mappings/rental.yaml"
        old, new = ("".join(f"{line[1:]}\n" for line in lines if line[0] in kinds) for kinds in (" -", " +"))
        content = path.read_text()
        assert content.count(old) == 1, f"{old}\nis not in\n{content}"
        path.write_text(content.replace(old, new))

    def _to_decide(self) -> list[tuple[str, str, str]]:
        analysis = json.loads(next(self.run().glob("migration-analysis-*.json")).read_text())
        found = [(one["level"], one["message"], one["table"]) for one in analysis["alerts"]]
        return [item for item in found if item[0] != "NOTE"]


def in_order(shown, text: str) -> None:
    """Each line that is shown is a line of the text, behind the one before; `…` stands for anything. Raises AssertionError."""
    lines = iter(text.splitlines())
    for line in shown:
        pattern = re.escape(line).replace("…", ".*")
        assert line == "…" or any(re.fullmatch(pattern, one) for one in lines), f"{line}\nis not, there, in\n{text}"
