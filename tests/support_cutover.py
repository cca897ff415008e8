"""docs/cutover.md by command: its code blocks in order, small tables in the shape of both shipped migrations, and an application
that writes to the source meanwhile.
"""

import contextlib
import io
import json
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from engines import ROOT, Engine
from naive import Naive
from support_worlds import plain_items

from runbook_lib.cli import main
from runbook_lib.demo.crm import crm_items
from runbook_lib.demo.env import env_tables

PAGE = ROOT / "docs/cutover.md"
BLOCK = re.compile(r"^(?:#+ (.+)|\*\*(\d+)\. .*|( *)```\n((?:.*\n)*?)\3```)$", re.MULTILINE)
PATIENCE = 120  # seconds
PACE = 0.1  # seconds between two changes of the application
SEED = 2025


class Migration(NamedTuple):
    """One of the shipped migrations, as docs/cutover.md names it."""

    name: str
    entry: str  # what the page calls TABLE
    environment: str

    @property
    def params(self) -> Path:
        """The shipped file."""
        return ROOT / f"parameters/{self.name}.yaml"

    @property
    def mapping(self) -> dict[str, Any]:
        """The shipped file's content."""
        return yaml.safe_load((ROOT / f"parameters/mappings/{self.name}.yaml").read_text())

    def tables(self) -> dict[str, list[dict]]:
        """Source table → its items: a few of the demo's of each kind."""
        if self.name == "table_split":
            kinds: dict[str, list[dict]] = {}
            for item in crm_items(SEED):
                kinds.setdefault(item["pk"]["S"].partition("#")[0], []).append(item)
            del kinds["L"]  # one item of 400 KB
            return {"expressnext-crm": [item for items in kinds.values() for item in items[-12:]]}
        return {self.source(entry): items[2:9] for entry, items in env_tables(SEED).items()}

    def target(self, entry: str) -> str:
        """The name of an entry's target table."""
        if self.name == "table_split":
            return f"CRM-{entry}-v2"
        return f"{entry}-{self.environment}-NONE"

    def source(self, entry: str) -> str:
        """The name of an entry's source table."""
        if self.name == "table_split":
            return "expressnext-crm"
        source = yaml.safe_load(self.params.read_text())["source"]["environment"]
        return f"{entry}-{source}-NONE"


ENV_COPY = Migration("env_copy", "QuoteItems", "aqnqdrctpzfwfjwyxxsmu6peoq")
TABLE_SPLIT = Migration("table_split", "Leads", "crm-v2")


def commands() -> dict[str, list[str]]:
    """The command lines of the page, in order: the number of a step of the timetable, or a heading → its lines."""
    found: dict[str, list[str]] = {}
    under = ""
    for heading, step, indent, block in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        under = heading or step or under
        if block:
            found.setdefault(under, []).extend(line.removeprefix(indent) for line in block.splitlines())
    return found


class Application(threading.Thread):
    """Inserts, edits and deletes items of the source tables, again and again, until it is stopped."""

    def __init__(self, engine: Engine, tables: dict[str, list[dict]], keys: dict[str, list[str]]):
        """`keys`: table → names of its key attributes."""
        super().__init__(daemon=True)
        self._engine, self._keys, self._random = engine, keys, random.Random(SEED)
        self._items = {table: list(items) for table, items in tables.items()}
        self._over = threading.Event()
        self.done = dict.fromkeys(("insert", "edit", "delete"), 0)

    def run(self) -> None:
        """The thread."""
        while not self._over.wait(PACE):
            self._write()

    def stop(self) -> None:
        """Returns when the last change is made."""
        self._over.set()
        self.join()

    def _write(self) -> None:
        table = self._random.choice(list(self._items))
        items = self._items[table]
        one = self._random.randrange(len(items))
        what = self._random.choice([*self.done]) if len(items) > 3 else "insert"
        self.done[what] += 1
        if what == "delete":
            item = items.pop(one)
            self._engine.call("DeleteItem", TableName=table, Key={name: item[name] for name in self._keys[table]})
            return
        item = {**items[one], "status": {"S": self._random.choice(["new", "won", "lost"])}}
        if what == "insert":
            mark = f"{self._random.getrandbits(64):016x}"
            item |= {name: {"S": f"{mark}-{name}"} for name in {"id", *self._keys[table]} - {"sk"}}
            items.append(item)
        else:
            item |= {"created_at": {"S": f"2025-{self._random.randint(1, 12):02}-03T04:05:06.789Z"}}
            items[one] = item
        self._engine.call("PutItem", TableName=table, Item=item)


class Cutover:
    """A reader who does what the page says in a project of his own, the working directory. A `with` block."""

    def __init__(self, migration: Migration, engine: Engine, project: Path):
        """Fills the source; the target has one item in an entry's table, where that is there already."""
        self.migration, self.engine, self.project = migration, engine, project
        self.run_id = f"cutover-{migration.name.replace('_', '-')}"
        self.code, self.said = 0, ""  # of the latest command
        self.follower: subprocess.Popen | None = None
        (project / "notebooks").symlink_to(ROOT / "notebooks")
        shutil.copytree(ROOT / "parameters", project / "parameters")
        tables = migration.tables()
        self.keys = {table: ["pk", "sk"] if migration.name == "table_split" else ["id"] for table in tables}
        for table, items in tables.items():
            self._create(table, self.keys[table], items)
        self.first: dict[str, list[dict]] = {}
        if migration.name == "env_copy":  # one table is there, and not empty
            self.first = {migration.target("Contacts"): [{"id": {"S": "nobody's"}, "email": {"S": "a@example.com"}}]}
            for table, items in self.first.items():
                self._create(table, ["id"], items)
        self.application = Application(engine, tables, self.keys)

    def __enter__(self) -> "Cutover":
        return self

    def __exit__(self, *_: object) -> None:
        self.application._over.set()
        if self.follower:
            self.follower.kill()
            self.follower.wait()

    def do(self, line: str) -> None:
        """Does what one line of the page says; `code` and `said` have what came of it."""
        words = [self._meant(word) for word in shlex.split(line)]
        if words[:3] == ["aws", "dynamodb", "update-table"]:
            return self._turn_on(words)
        assert words[0] == "runbook", line
        if "--follow" in words:
            return self.follow(words)
        return self.command(*words[1:])

    def command(self, *words: str) -> None:
        """A command, given in this process."""
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            self.code = main(words)
        self.said = said.getvalue()

    def start(self, *words: str) -> subprocess.Popen:
        """A command, as a process of its own."""
        command = [sys.executable, "-m", "runbook_lib", *words]
        return subprocess.Popen(
            command, cwd=self.project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1
        )

    def follow(self, words: list[str]) -> None:
        """Starts following, in the background; returns when it follows."""
        assert self.follower is None or self.follower.poll() is not None
        self.follower = self.start(*words[1:])
        until(lambda: "03_migrate: following" in self.status(), self.follower)

    def ended(self) -> tuple[int, str]:
        """Exit code and output of what followed, once it has ended by itself."""
        said, _ = self.follower.communicate(timeout=PATIENCE)
        return self.follower.returncode, said

    def status(self) -> str:
        """What `runbook status` prints."""
        self.command("status", self.run_id)
        return self.said

    def watched(self, line: str, wanted: str) -> None:
        """Watches, until a line shows what is wanted, as a regular expression."""
        process = self.start(*[self._meant(word) for word in shlex.split(line)][1:])
        try:
            shown = []
            for one in process.stdout:
                shown.append(one)
                if re.search(wanted, one):
                    return
            raise AssertionError("".join(shown))
        finally:
            process.kill()
            process.communicate()

    def content(self) -> dict[str, list[dict]]:
        """Target table → its items, read by nobody's code but the test's."""
        return {name: self._scan(name) for name in sorted(self._names() - {*self.keys})}

    def expected(self) -> dict[str, list[dict]]:
        """What the target has to hold: what docs/mapping.md makes of the source as it is now, and what was there."""
        mapping, found = self.migration.mapping, {}
        letters = {name: dict.fromkeys(self.keys[self.migration.source(name)], "S") for name in mapping["tables"]}
        naive = Naive(mapping, self.migration.environment, letters, set())
        for entry in mapping["tables"]:
            outcomes = (naive.outcome(entry, item) for item in self._scan(self.migration.source(entry)))
            items = [one.item for one in outcomes if one and not one.causes]
            target = self.migration.target(entry)
            found[target] = plain_items([*items, *self.first.get(target, ())])
        return found

    def emptied(self) -> dict[str, list[dict]]:
        """What the target holds where every table is there, and nothing was copied."""
        targets = map(self.migration.target, self.migration.mapping["tables"])
        return {target: plain_items(self.first.get(target, [])) for target in sorted(targets)}

    def _turn_on(self, words: list[str]) -> None:
        given = dict(pair.split("=") for pair in words[words.index("--stream-specification") + 1].split(","))
        about = {"StreamEnabled": given["StreamEnabled"] == "true", "StreamViewType": given["StreamViewType"]}
        for table in self.keys:
            self.engine.client().update_table(TableName=table, StreamSpecification=about)

    def _meant(self, word: str) -> str:
        if "TIME" in word:
            (file,) = self.checkpoints()
            word = word.replace("migration-checkpoint-TIME.json", file)
        about = {
            "PARAMS": f"parameters/{self.migration.name}.yaml",
            "RUN_ID": self.run_id,
            "ENVIRONMENT": self.migration.environment,
            "TABLE": self.migration.entry,
        }
        return re.sub("|".join(about), lambda found: about[found[0]], word)

    def checkpoints(self) -> list[str]:
        """The names of the migration's checkpoints."""
        files = (self.project / "outputs" / self.run_id).glob("migration-checkpoint-*.json")
        return [path.name for path in files if json.loads(path.read_text())["stage"] == "migrate"]

    def _names(self) -> set[str]:
        pages = self.engine.client().get_paginator("list_tables").paginate()
        return {name for page in pages for name in page["TableNames"]}

    def _scan(self, table: str) -> list[dict]:
        found = self._pages(table)
        return plain_items([item for page in found for item in page["Items"]])

    def _pages(self, table: str) -> Iterator[dict]:
        return self.engine.pages("Scan", "LastEvaluatedKey", "ExclusiveStartKey", TableName=table, ConsistentRead=True)

    def _create(self, table: str, key: list[str], items: list[dict]) -> None:
        self.engine.client().create_table(
            TableName=table,
            KeySchema=[{"AttributeName": n, "KeyType": k} for n, k in zip(key, ("HASH", "RANGE"), strict=False)],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in key],
            BillingMode="PAY_PER_REQUEST",
        )
        for item in items:
            self.engine.call("PutItem", TableName=table, Item=item)


@contextlib.contextmanager
def running(command: list[str], **how: Any) -> Iterator[subprocess.Popen]:
    """A process in a group of its own with its kernel. It is killed where the block fails: nobody waits for it then."""
    with subprocess.Popen(command, start_new_session=True, **how) as process:
        try:
            yield process
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise


def until(what: Callable[[], object], process: subprocess.Popen) -> None:
    """Waits until something is so, as long as the process goes on."""
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.2)
