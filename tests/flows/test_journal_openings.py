"""How often one command opens a journal file, and parses an intent in it: one reading before it writes, and one after.

Parsed is what is made an `Intent`: a snapshot looks at the rows of pages that were cut off alone. A command is what its
notebook does, with what the process does that executes the notebook, in one forked child.
"""

import json
import os
import sys
import threading
from collections import Counter
from hashlib import blake2b
from types import SimpleNamespace

import IPython.display
import orjson
import pytest
import support_worlds as worlds
from support_batches import inserts
from support_crashes import in_child, small_pages
from support_flows import flow_of

from runbook_lib.dynamo.transport import Transport
from runbook_lib.errors import RunbookError
from runbook_lib.failpoints import arm
from runbook_lib.journal import audit, intents
from runbook_lib.journal.stage import Stage
from runbook_lib.notebook import book as notebook
from runbook_lib.notebook import rollback_book
from runbook_lib.notebook.execute import conclude
from runbook_lib.report.runs.status import status

SOURCE, TARGET = worlds.SOURCE, worlds.TARGET
OPENINGS, PARSES = 7, 2  # one of the openings is the audit chain's, before anything else


class Commands:
    """The commands on one run, each in a child of its own, which counts."""

    def __init__(self, flow, folder):
        self._flow, self._result = flow, folder / "counted.json"

    def run(self, stage, *arms, **parameters):
        """Executes a stage's notebook; gives its exit code."""
        return self._count(lambda: self._execute(stage, parameters), *arms)

    def status(self):
        """Asks how the run is; gives the word."""
        return self._count(lambda: status(self._flow.run()).state)

    def _execute(self, stage, parameters):
        flow = self._flow
        audit.begin(flow.run(), stage)
        common = flow.parameters.model_dump(mode="json") | {"outputs": str(flow.outputs), "run_id": flow.run_id}
        writing = {} if stage == "04_validate" else {"execute": True, "confirm": TARGET}
        if stage == "05_rollback":
            common["checkpoint"] = str(flow.checkpoint())
            del common["run_id"]
        IPython.display.display = lambda *_, **__: SimpleNamespace(update=lambda _: None)  # nobody looks
        values = common | writing | parameters
        book = rollback_book.begin(values) if stage == "05_rollback" else notebook.begin(stage, values)
        try:
            if stage == "05_rollback":
                book.confirm(book.preview())
                book.undo()
            else:
                plan = book.plan()
                if stage == "03_migrate":
                    book.backups(plan)
                    book.confirm(plan)
                getattr(book, stage[3:])(plan)
            book.finish()
        except RunbookError as problem:
            conclude(flow.run(), stage, over=problem.exit_code == 2)
            return problem.exit_code
        conclude(flow.run(), stage)
        return book._exit_code if book._exit_code is not None else int(book._verdict != "PASS")

    def _count(self, work, *arms):
        """What the work gives; fails where it opened a journal file, or parsed an intent, more often than it may."""
        code = in_child(lambda: self._result.write_text(json.dumps(counted(work))), *arms)
        assert code == 0
        opened, parsed, result = json.loads(self._result.read_text())
        assert opened
        assert max(opened.values()) <= OPENINGS, opened
        assert max(parsed, default=0) <= PARSES, parsed
        return result


def counted(work):
    """(Journal file → openings, how often each intent was parsed, what the work gave); to be called in a child."""
    opened, parsed, lock = Counter(), Counter(), threading.Lock()

    def look(event, arguments):
        if event == "open" and isinstance(arguments[0], str | os.PathLike):
            path = os.fspath(arguments[0])
            if "/journal/" in path and path.endswith(".jsonl"):
                with lock:
                    opened[path.rpartition("/journal/")[2]] += 1

    def parse(body, at):
        with lock:
            parsed[blake2b(body, digest_size=8).hexdigest()] += 1
        return whole(body, at)

    whole, intents._intent_of = intents._intent_of, parse
    sys.addaudithook(look)
    result = work()
    return opened, list(parsed.values()), result


@pytest.fixture
def commands(moto_world, tmp_path, monkeypatch):
    """A migration of two tables, not yet begun."""
    for side in (SOURCE, TARGET):
        moto_world.build({"Ports": {"key": {"id": "S"}}, "Ships": {"key": {"id": "S"}}}, side)
    for number in range(12):
        moto_world.put(moto_world.name("Ports", SOURCE), {"id": {"S": f"p{number}"}})
        moto_world.put(moto_world.name("Ships", SOURCE), {"id": {"S": f"s{number}"}, "port": {"S": f"p{number}"}})
    moto_world.put(moto_world.name("Ships", TARGET), {"id": {"S": "theirs"}})
    small_pages(monkeypatch)
    mapping = "{Ports: {}, Ships: {references: {port: Ports}}}"
    return Commands(flow_of(mapping, moto_world, tmp_path, on_failure="keep", segments=1, workers=2), tmp_path)


def refusing():
    """Every insert of a ship is refused for good."""
    post = Transport.post

    def posted(transport, keys, operation, body):
        if any("Ships" in table for table, _ in inserts(operation, body)):
            content = {"__type": "com.amazonaws.dynamodb.v20120810#ValidationException", "message": "no"}
            return 400, {}, orjson.dumps(content)
        return post(transport, keys, operation, body)

    Transport.post = posted


def test_from_the_migration_to_the_rollback(commands, moto_world):
    """Begun, interrupted, resumed, given again, validated, brought up to date, and rolled back."""
    assert commands.run("03_migrate", lambda: arm("journal.append.after=eio@9")) == 3
    assert commands.status() == "interrupted"
    assert commands.run("03_migrate") == 0
    assert commands.run("03_migrate") == 0
    assert commands.status() == "complete"
    ships = moto_world.name("Ships", SOURCE)
    moto_world.put(ships, {"id": {"S": "s3"}, "port": {"S": "p1"}})
    moto_world.put(ships, {"id": {"S": "s99"}, "port": {"S": "p1"}})
    assert commands.run("04_validate") == 1
    assert commands.run("03_migrate", delta=True) == 0
    assert commands.run("04_validate") == 1  # the ship that was there
    assert commands.run("05_rollback") == 0
    assert moto_world.content(TARGET) == {"Ports": [], "Ships": [{"id": {"S": "theirs"}}]}
    assert commands.status() == "rolled back"


@pytest.mark.slow
def test_what_failed_is_tried_again(commands, moto_world):
    """Its rows are read once, and the files once more."""
    assert commands.run("03_migrate", refusing) == 1
    assert commands.run("03_migrate", retry_failed=True) == 0
    assert len(moto_world.content(TARGET)["Ships"]) == 13


def test_a_rollback_of_what_was_cut_off_is_cut_off_and_given_again(commands, moto_world):
    """The same command goes on."""
    assert commands.run("03_migrate", lambda: arm("journal.append.after=eio@9")) == 3
    assert commands.run("05_rollback", lambda: arm("journal.append.after=eio@4")) == 3
    assert commands.run("05_rollback") == 0
    assert moto_world.content(TARGET) == {"Ports": [], "Ships": [{"id": {"S": "theirs"}}]}


def test_one_more_execution_reads_what_another_process_wrote(commands, moto_world):
    """A snapshot that is handed on is no excuse: a file that was written since is read anew."""
    assert commands.run("03_migrate") == 0
    stage = Stage(commands._flow.run(), "migrate")
    before = stage.read()
    assert all(one is other for one, other in zip(stage.read(before).files, before.files, strict=True))
    assert commands.run("05_rollback") == 0
    after = stage.read(before)
    assert (before.state().rolled_back, after.state().rolled_back) == (False, True)
    assert (before.state().undone, after.state().undone["deleted"]) == ({}, 24)
    assert not any(head.stands for head in before.heads().values())
    assert after.state() == Stage(commands._flow.run(), "migrate").read().state()
