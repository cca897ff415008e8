"""What is refused: in one sentence, with exit code 2, before anything is written."""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import support_notebooks
import support_worlds as worlds
import yaml
from support_flows import CASES, Flow, begin, flow_of

from runbook_lib import cli
from runbook_lib.demo import run as demo_run
from runbook_lib.dynamo import errors as faults
from runbook_lib.dynamo import session
from runbook_lib.errors import Refused
from runbook_lib.parameters import load_parameters
from runbook_lib.process import outlive_readers
from runbook_lib.report.runs.index import write_index
from runbook_lib.run.files import json_seal, lock_file
from runbook_lib.run.folder import open_run, runs

in_process = support_notebooks.in_process
TARGET = worlds.TARGET
ROOT = Path(__file__).resolve().parents[2]
_closed = socket.socket()
_closed.bind(("127.0.0.1", 0))  # held, so that nobody else listens there
CLOSED = f"http://127.0.0.1:{_closed.getsockname()[1]}"


@pytest.fixture
def shop(moto_world, tmp_path, monkeypatch):
    """The shop with its parameters file, all target tables made, and a run that was migrated: `the-first-run`."""
    monkeypatch.chdir(ROOT)
    flow = begin("shop", moto_world, tmp_path / "outputs")
    flow.create()
    flow.migrate()
    return flow


def sealed(content):
    """Content as the program seals its files."""
    return json.dumps({**content, "sha256": json_seal(content)})


def command(*arguments, capsys):
    """Exit code and stderr of a command line, in this process."""
    code = cli.main([str(argument) for argument in arguments])
    return code, capsys.readouterr().err.strip()


def content_of(folder):
    """Every file below a folder."""
    return {
        path: path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file() and path.name != "run.log"
    }


def check_refused(arguments, parts, flow, world, capsys):
    """Refused by the command in one sentence that holds the parts; target and outputs are as they were."""
    before = world.digest(TARGET), content_of(flow.outputs)
    code, error = command(*arguments, capsys=capsys)
    assert code == 2
    assert "\n" not in error
    assert error.endswith((".", "?"))
    for part in parts:
        assert part in error
    assert (world.digest(TARGET), content_of(flow.outputs)) == before


PARAMS = CASES / "shop" / "parameters.yaml"
WRITE = ("--execute", "--confirm", TARGET)
COMMANDS = {
    "a missing file": (["analyze", "nowhere.yaml"], ["nowhere.yaml", "no such file"]),
    "a folder for a file": (["analyze", "tests"], ["tests", "cannot be read"]),
    "a missing mapping": (["analyze", PARAMS, "-p", "mapping=nowhere.yaml"], ["nowhere.yaml", "no such file"]),
    "an unknown key": (["analyze", PARAMS, "-p", "limits.wokers=2"], ["limits.wokers", "did you mean 'workers'"]),
    "a value out of range": (
        ["analyze", PARAMS, "-p", "limits.workers=0"],
        ["limits.workers", "greater than or equal to 1"],
    ),
    "a text for a number": (["analyze", PARAMS, "-p", "limits.workers=many"], ["limits.workers"]),
    "an unknown policy": (
        ["analyze", PARAMS, "-p", "limits.on_failure=ignore"],
        ["limits.on_failure", "'rollback' or 'keep'"],
    ),
    "execute by -p": (["migrate", PARAMS, "-p", "execute=true"], ["execute=true", "key of PARAMS"]),
    "code by -p": (["analyze", PARAMS, "-p", "x=1; import os"], ["key of PARAMS"]),
    "an unset variable": (["analyze", PARAMS, "-p", "source.region=${NOT_SET}"], ["NOT_SET", "is not set"]),
    "an unknown entry to test": (["test", PARAMS, "Order", *WRITE], ["Order", "did you mean 'Orders'"]),
    "an unknown entry to migrate": (
        ["migrate", PARAMS, "--tables", "Orders,Linse", *WRITE],
        ["Linse", "did you mean 'Lines'"],
    ),
    "an unknown entry to validate": (["validate", PARAMS, "--tables", "X"], ["no entry 'X'"]),
    "a test of nothing": (["test", PARAMS, "Orders", "--limit", "0", *WRITE], ["at least one"]),
    "tables of an empty variable": (
        ["migrate", PARAMS, "--tables", "", *WRITE],
        ["--tables", "the list of tables is empty"],
    ),
    "nothing but commas": (["validate", PARAMS, "--tables", " , "], ["--tables", "the list of tables is empty"]),
    "a run id of an empty variable": (["migrate", PARAMS, "--run-id", "", *WRITE], ["run ID ''", "8 to 64"]),
    "no table to test": (["test", PARAMS, *WRITE], ["TABLE", "--help"]),
    "a limit in words": (["test", PARAMS, "Orders", "--limit", "many"], ["--limit", "'many'"]),
    "an option that is none": (["analyze", PARAMS, "--fast"], ["--fast", "--help"]),
    "a command that is none": (["mirgate", PARAMS], ["'mirgate'", "--help"]),
    "a run id with a path": (["migrate", PARAMS, "--run-id", "../../etc", *WRITE], ["../../etc", "not valid"]),
    "a run id with capitals": (["analyze", PARAMS, "--run-id", "The-First-Run"], ["The-First-Run", "not valid"]),
    "a run id too short": (["analyze", PARAMS, "--run-id", "short"], ["short", "8 to 64"]),
    "no confirmation": (["migrate", PARAMS, "--execute"], ["--confirm prod"]),
    "a wrong confirmation": (["migrate", PARAMS, "--execute", "--confirm", "dev"], ["'dev'", "--confirm prod"]),
    "half a confirmation": (["full-migration", PARAMS, "--execute", "--confirm", "pro"], ["'pro'", "--confirm prod"]),
    "a run of another migration": (
        ["migrate", PARAMS, "--run-id", "the-first-run", "-p", "source.environment=stage", *WRITE],
        ["the-first-run", "other environments"],
    ),
    "the status of no run": (["status", "20240101-000000-none"], ["20240101-000000-none"]),
    "the proof of no run": (["verify", "20240101-000000-none"], ["20240101-000000-none"]),
}


def test_a_command_line_that_cannot_be_is_refused(shop, moto_world, capsys):
    """Bad files, keys, names, ids and confirmations: one sentence on stderr, exit code 2, not a file more than before."""
    for name, (arguments, parts) in COMMANDS.items():
        print(name)
        check_refused([*arguments, "--outputs", shop.outputs], parts, shop, moto_world, capsys)


def test_a_folder_of_runs_that_is_none_is_refused(tmp_path):
    """A file, or a name that no folder can have; one that is not there yet holds no runs."""
    (tmp_path / "file").touch()
    assert runs(tmp_path / "nowhere") == []
    for name, why in (("file", "Not a directory"), ("x" * 300, "File name too long")):
        with pytest.raises(Refused, match=f"{name} cannot be read: {why}; name the folder of the runs"):
            runs(tmp_path / name)


PASSWORDS = {
    "in PARAMS": (["-p", "target.endpoint_url=http://user:sekret@127.0.0.1:1"], {}, "target.endpoint_url"),
    "with a slash": (["-p", "source.endpoint_url=http://user:sek/sekret@host"], {}, "source.endpoint_url"),
    "without a scheme": (["-p", "source.endpoint_url=user:sekret@host"], {}, "source.endpoint_url"),
    "before a path like a URL": (
        ["-p", "source.endpoint_url=http://user:sekret@127.0.0.1:1/a://b"],
        {},
        "source.endpoint_url",
    ),
    "a token": (["-p", "source.endpoint_url=http://host?token=sekret"], {}, "source.endpoint_url"),
    "of the scheduler": (["-p", "limits.scheduler=tls://user:sekret@host:1"], {}, "limits.scheduler"),
    "of the journal": (["-p", "limits.journal=s3://key:sekret@bucket?x"], {}, "limits.journal"),
    "beside another mistake": (["-p", "source=http://user:sekret@host"], {}, "source"),
    "in wide letters beside another mistake": (["-p", "source=http://us er:sekret\uff20host"], {}, "source"),
    "without a scheme beside another mistake": (["-p", "source=user:sek/sekret@host"], {}, "source"),
    "a token beside another mistake": (["-p", "source=http://host?token=sekret"], {}, "source"),
    "of an unknown key": (["-p", "endpoint=http://user:sekret@host"], {}, "-p endpoint"),
    "for all services": ([], {"AWS_ENDPOINT_URL": "http://user:sekret@host"}, "AWS_ENDPOINT_URL"),
    "for DynamoDB": ([], {"AWS_ENDPOINT_URL_DYNAMODB": "http://user:sekret@host"}, "AWS_ENDPOINT_URL_DYNAMODB"),
    "of a profile": ([], {"AWS_PROFILE": "p"}, "endpoint_url in the AWS configuration"),
    "of a profile's service": ([], {"AWS_PROFILE": "s"}, "endpoint_url in the AWS configuration"),
    "of a profile in PARAMS": (["-p", "source.profile=p"], {}, "endpoint_url in the AWS configuration"),
}
CONFIG = """[profile p]
endpoint_url = http://user:sekret@host
[profile s]
services = mine
[services mine]
dynamodb =
  endpoint_url = http://user:sekret@host
"""


@pytest.mark.parametrize("name", PASSWORDS)
def test_an_endpoint_with_a_password_is_refused_before_anything_is_written(name, tmp_path, monkeypatch, capsys):
    """In one sentence without the password, wherever it stands."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("CASE_ENDPOINT", CLOSED)
    monkeypatch.setenv("CASE_SUFFIX", "x")
    (tmp_path / "config").write_text(CONFIG)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    arguments, environment, told = PASSWORDS[name]
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    for words in (["analyze", PARAMS], ["migrate", PARAMS, *WRITE]):
        code, error = command(*words, *arguments, "--outputs", tmp_path / "outputs", capsys=capsys)
        assert (code, "sekret" in error, told in error) == (2, False, True), error
        assert "\n" not in error
    assert not (tmp_path / "outputs").exists()


def test_a_mistake_in_the_command_line_is_told_as_json_too(capsys):
    """With --json whatever is refused has an object on stdout, and one sentence on stderr."""
    for words in (["analyze", "--json"], ["fly", "--json"], ["migrate", "x", "--tables", ",", "--json"]):
        assert cli.main(words) == 2
        told = capsys.readouterr()
        result = json.loads(told.out)
        assert (result["verdict"], result["exit_code"]) == ("REFUSED", 2)
        assert result["error"] == told.err.strip()


def test_the_command_that_resumes_is_one(capsys):
    """What an interrupted command says to type is taken by the command line, and names the run once."""
    params, writes = ["migrate", "p.yaml"], ["--execute", "--confirm", "prod"]
    for words, run_ids in {
        (*params, *writes): ["--run-id", "the-first-run"],
        (*params, *writes, "--run-id", "the-first-run"): [],
        (*params, *writes, "--run-id=the-first-run"): [],
        ("rollback", "--checkpoint", "c.json", *writes): [],
    }.items():
        options = cli._parser().parse_args(words)
        options.words, options.run_id = [*words], "the-first-run"  # as a rollback takes it from its checkpoint
        told = cli._resume(options, SimpleNamespace(result={"run_id": "the-first-run"}))
        assert shlex.split(told) == ["runbook", *words, *run_ids]
        assert cli._parser().parse_args(shlex.split(told)[1:])


def test_a_demo_prints_its_result_as_json(tmp_path, monkeypatch, capsys):
    """With --json what a demo tells goes to stderr, and stdout holds one object."""
    for code, verdict in ((0, "PASS"), (1, "FAIL")):
        monkeypatch.setattr(demo_run, "run_demo", lambda outputs, code=code: print("a line") or code)
        assert cli.main(["demo", "--json", "--outputs", str(tmp_path)]) == code
        told = capsys.readouterr()
        assert (json.loads(told.out), told.err) == ({"verdict": verdict, "exit_code": code}, "a line\n")


@pytest.mark.parametrize("name", ["demo", "lab"])
def test_a_demo_outside_the_project_is_refused_before_anything_starts(name, tmp_path, monkeypatch, capsys):
    """Whoever is in another folder is told so; nothing is started, nothing is left there."""
    monkeypatch.chdir(tmp_path)
    code, error = command(name, capsys=capsys)
    assert (code, error) == (2, "no folder notebooks/ here or above; run this from the project's folder.")
    assert not any(tmp_path.iterdir())


def test_a_checkpoint_that_is_not_what_it_was_is_refused(shop, moto_world, tmp_path, capsys):
    """Missing, damaged in any place, cut short, moved, or of another run: nothing is deleted."""
    good = shop.checkpoint()
    text = good.read_text(encoding="utf-8")
    other = flow_of("{Lines: {}}", moto_world, shop.outputs, "the-second-run").run().folder
    (other / "journal" / "migrate").mkdir(parents=True)

    def refuse(path, *parts):
        check_refused(["rollback", "--checkpoint", path, *WRITE], [path.name, *parts], shop, moto_world, capsys)

    refuse(good.with_name("migration-checkpoint-19990101T000000Z.json"), "no such checkpoint")
    bad = good.with_name("migration-checkpoint-20000101T000000Z.json")
    middle = len(text) // 2
    spoiled = {
        "another table": text.replace("Sales-prod", "Sales-dev"),
        "another target": text.replace('"environment": "prod"', '"environment": "dev"'),
        "another run": text.replace("the-first-run", "the-second-run"),
        "one bit": text[:middle] + chr(ord(text[middle]) ^ 1) + text[middle + 1 :],
        "cut": text[:middle],
        "empty": "",
        "a list": "[]",
        "a number": "7",
        "no end": "[" * 100_000,
        "another file of the run": sealed({"schema": 1, "run_id": "the-first-run", "tables": {}}),
        "no seal": json.dumps({k: v for k, v in json.loads(text).items() if k != "sha256"}),
    }
    for name, content in spoiled.items():
        assert content != text, name
        bad.write_text(content, encoding="utf-8")
        refuse(bad, "damaged")
    bad.write_bytes(b"\xff\xfe\x00")
    refuse(bad, "damaged")
    bad.unlink()
    os.mkfifo(bad)  # nobody ever writes to it
    for path in (bad, Path("/dev/zero"), good.parent):
        refuse(path, "not a checkpoint")
    bad.unlink()
    for place in (tmp_path / good.name, other / good.name):
        shutil.copy(good, place)
        refuse(place, "the-first-run", "move it back")


def test_a_rollback_needs_its_confirmation_too(shop, moto_world, capsys):
    """The checkpoint's own target environment, whole."""
    checkpoint = ["rollback", "--checkpoint", shop.checkpoint(), "--execute"]
    check_refused(checkpoint, ["--confirm prod"], shop, moto_world, capsys)
    check_refused([*checkpoint, "--confirm", "dev"], ["'dev'", "--confirm prod"], shop, moto_world, capsys)


def test_a_damaged_journal_is_refused_by_all_who_read_it(shop, moto_world, capsys):
    """One changed byte: neither resumed, nor reported, nor rolled back; the record is named. Other runs are still shown."""
    path = next((shop.outputs / shop.run_id / "journal" / "migrate").glob("Shop-*.jsonl"))
    content = bytearray(path.read_bytes())
    lines = content.splitlines(keepends=True)
    content[len(lines[0]) + len(lines[1]) // 2] ^= 1
    path.write_bytes(content)
    before = moto_world.digest(TARGET)
    for stage in (shop.migrate, shop.rollback, shop.validate):
        with pytest.raises(Refused, match="record 2 is damaged"):
            stage()
    assert moto_world.digest(TARGET) == before
    other = flow_of("{Lines: {}}", moto_world, shop.outputs, "the-second-run").run()
    third = flow_of("{Lines: {}}", moto_world, shop.outputs, "the-third-run").run()
    (third.folder / "migration-report-20260101T000000Z.json").write_text("[" * 100_000)
    (third.folder.with_name("a-folder") / "run.json").mkdir(parents=True)
    assert cli.main(["status", "--outputs", str(shop.outputs)]) == 0
    lines = [line.replace(";", ":").split(": ")[:2] for line in capsys.readouterr().out.splitlines()]
    assert dict(lines) == {"a-folder": "new", "the-third-run": "damaged", other.id: "new", "the-first-run": "damaged"}
    assert other.id in write_index(shop.outputs).read_text(encoding="utf-8")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_what_is_no_file_is_waited_for_by_nobody(make, shop, moto_world, capsys, in_time):
    """Where a file of a run's journal should be. One sentence names it, and the other runs in the folder work on."""
    folder, other = shop.outputs / shop.run_id, Flow(shop.parameters, shop.outputs, "the-second-run")
    for path in (
        folder / "journal/migrate/stage.jsonl",
        *folder.glob("journal/migrate/*.0*.jsonl"),
        folder / "audit.jsonl",
    ):
        content = path.read_bytes()
        path.unlink()
        make(path)
        for stage in (shop.migrate, shop.rollback, shop.validate):
            with pytest.raises(
                Refused, match=rf"{path.name} (cannot be used|is neither a file nor a folder|is a folder)"
            ):
                stage()
        for words in (["status", shop.run_id], ["repair", shop.run_id, "--execute"]):
            code, told = command(*words, "--outputs", shop.outputs, capsys=capsys)
            assert (code, told.count("\n"), path.name in told) == (2, 0, True)
        assert cli.main(["verify", shop.run_id, "--outputs", str(shop.outputs)]) == 1
        assert other.migrate()["totals"]["scanned"] > 0
        os.rmdir(path) if path.is_dir() else path.unlink()
        path.write_bytes(content)
        shutil.rmtree(other.run().folder)


# who reads the output


def test_a_name_neither_steers_the_terminal_nor_makes_a_line_of_its_own(shop, capsys):
    """A file in a run's folder that somebody named so: `verify` and a refusal show what is in the name."""
    folder, outputs = shop.outputs / shop.run_id, ("--outputs", str(shop.outputs))
    name = "\x1b[2J\x9b1m\u202e\u200b\r\x7fa\nb: untouched"
    (folder / name).touch()
    (folder / ".lock").write_text(json.dumps(dict.fromkeys(("pid", "host", "stage", "since"), name)))
    shown = r"\u001b[2J\u009b1m\u202e\u200b\u000d\u007fa\u000ab: untouched"
    assert cli.main(["verify", shop.run_id, *outputs]) == 1
    assert capsys.readouterr().out.splitlines()[0] == f"{shown} was added: it is in no record"
    with open(folder / ".lock") as file:
        assert lock_file(file)
        for words in (["status", shop.run_id], ["status"], ["stop", shop.run_id]):
            assert cli.main([*words, *outputs]) == 0
            assert f"process {shown} on {shown} ({shown}, since {shown})" in capsys.readouterr().out.splitlines()[0]
        assert cli.main(["status", "--json", *outputs]) == 0
        assert name in json.loads(capsys.readouterr().out)["runs"][0]["holder"]
    code, told = command("repair", "no-such-run", "--outputs", folder / name, capsys=capsys)
    assert (code, told.isprintable(), "\\u001b[2J" in told) == (2, True, True)
    with pytest.raises(Refused, match="untouched was added"):
        shop.migrate()
    shop.run().logger().warning("accepted: %s", name)
    assert (folder / "run.log").read_text().splitlines()[-1].endswith(f"accepted: {shown}")


def test_line_breaks_of_the_program_and_its_json_stay(capsys):
    """JSON leaves one control character as it is."""
    with outlive_readers():
        print("a\n\tb", json.dumps("\x7fä\U000e0001"), "\U000e0001", "日本語")
    first, second = capsys.readouterr().out.splitlines()
    assert (first, json.loads(second.split()[1])) == ("a", "\x7fä\U000e0001")
    assert second.split()[2:] == [r"\U000e0001", "日本語"]


@pytest.fixture
def unread(monkeypatch):
    """Standard streams, by name, whose readers are gone; each is given its own file with the rest of what it holds."""

    def close(*names):
        for name in names:
            reader, writer = os.pipe()
            os.close(reader)
            monkeypatch.setattr("sys." + name, os.fdopen(writer, "w", encoding="ascii"))

    return close


@pytest.mark.parametrize("closed", [("stdout",), ("stderr",), ("stdout", "stderr")])
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["status"], 0),
        (["status", "--json"], 0),
        (["status", "the-first-run"], 0),
        (["status", "no-such-run", "--json"], 2),
        (["verify", "the-first-run"], 2),
        (["repair", "the-first-run"], 0),
        (["stop", "the-first-run"], 2),
        (["rollback", "--checkpoint", "the-first-run"], 2),
        (["no-such-command"], 2),
    ],
)
def test_a_reader_that_goes_ends_no_command(words, code, closed, unread, tmp_path, capsys):
    """As with `| head -1`: the exit code is the one of the work, and nobody is told of the pipe."""
    open_run(tmp_path, "the-first-run", {"created": "", "fingerprint": ""})
    unread(*closed)
    assert cli.main([*words, *([] if words[0].startswith("no") else ["--outputs", str(tmp_path)])]) == code
    streams = dict(zip(("stdout", "stderr"), capsys.readouterr(), strict=True))
    assert "Traceback" not in streams["stderr"]
    assert "roken" not in streams["stderr"]


def test_help_ends_quietly_too(unread):
    """argparse leaves with an exception of its own."""
    unread("stdout")
    with pytest.raises(SystemExit) as left:
        cli.main(["--help"])
    assert left.value.code == 0


def test_output_that_is_lost_is_not_taken_for_written(monkeypatch, tmp_path, capsys):
    """A full disk behind stdout: whoever reads the file later must not believe the exit code."""
    monkeypatch.setattr("sys.stdout", open("/dev/full", "w"))  # noqa: SIM115
    assert cli.main(["status", "--outputs", str(tmp_path)]) == 2
    assert (
        capsys.readouterr().err
        == "the result cannot be written: No space left on device; make room, or write it elsewhere.\n"
    )


def test_streams_that_are_closed_from_the_start_take_no_file(tmp_path):
    """No file that the command opens gets their numbers, and what was meant for stderr does not go to stdout."""
    program = "import os, sys; from runbook_lib.process import outlive_readers\nwith outlive_readers():\n"
    program += f" print('x', file=sys.stderr, flush=True); print(os.open({str(tmp_path / 'file')!r}, os.O_CREAT))"
    program += "; assert all(map(os.get_inheritable, (0, 1, 2)))"  # a kernel dies without them
    for closed in ("2>&-", "<&- 2>&-"):
        said = subprocess.run(["sh", "-c", f'"$0" -c "$1" {closed}', sys.executable, program], capture_output=True)
        assert (said.returncode, int(said.stdout) > 2) == (0, True)
    assert subprocess.run(["sh", "-c", '"$0" -c "$1" >&- 2>&-', sys.executable, program]).returncode == 0


# where the data lie


def side(flow, label, **changes):
    """The flow with another source or target."""
    changed = getattr(flow.parameters, label).model_copy(update=changes)
    flow.parameters = flow.parameters.model_copy(update={label: changed})
    return flow


@pytest.mark.parametrize("label", ["source", "target"])
@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"endpoint_url": CLOSED}, ["does not answer", "127.0.0.1", "us-west-1"]),
        ({"account": "999999999999"}, ["123456789012", "999999999999"]),
        ({"profile": "nobody"}, ["nobody"]),
        ({"region": "eu-central-1"}, ["does not exist in eu-central-1"]),
        ({"endpoint_url": "nonsense"}, ["nonsense"]),
    ],
    ids=["closed-port", "wrong-account", "no-profile", "wrong-region", "no-endpoint"],
)
def test_a_side_that_cannot_be_opened_is_refused(label, changes, parts, moto_world, tmp_path, monkeypatch):
    """The sentence names the side and the mend; the other side's tables are as they were."""
    flow = begin("shop", moto_world, tmp_path)
    if "endpoint_url" in changes:  # botocore's own retries are not what is tested
        monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)
    flow.create()
    monkeypatch.setattr(faults, "_new", {})  # in another region they are not new, but missing
    flow.run_id = "another-run"
    before = moto_world.content(worlds.SOURCE), moto_world.content(TARGET)
    with pytest.raises(Refused) as raised:
        side(flow, label, **changes).migrate()
    sentence = str(raised.value)
    assert label in sentence
    assert "\n" not in sentence
    for part in parts:
        assert part in sentence
    assert (moto_world.content(worlds.SOURCE), moto_world.content(TARGET)) == before


@pytest.mark.parametrize(
    "missing", [("AWS_ACCESS_KEY_ID", "no AWS credentials"), ("region", "no region")], ids=["keys", "region"]
)
def test_without_credentials_or_region_the_sentence_says_what_to_set(missing, moto_world, tmp_path, monkeypatch):
    """Before anything else."""
    flow = begin("shop", moto_world, tmp_path)
    name, words = missing
    if name == "region":
        side(flow, "target", region=None)
    else:
        monkeypatch.delenv(name)
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(Refused, match=words):
        flow.analyze()


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://dynamodb.example.com",
        "http://10.0.0.7:8000",
        "http://127.0.0.1.example.com",
        "https://x.amazonaws.com.example.org",
    ],
)
def test_a_production_target_at_a_strange_endpoint_is_refused(endpoint, moto_world, tmp_path, monkeypatch):
    """Neither AWS nor this machine; also where the address only looks like one, or comes from AWS_ENDPOINT_URL."""
    monkeypatch.setattr(session.Login, "check", lambda *_: None)  # nobody is asked there
    flow = side(begin("shop", moto_world, tmp_path), "target", endpoint_url=endpoint, production=True)
    with pytest.raises(Refused, match=r"is production, but its endpoint .* is neither AWS nor this machine"):
        flow.migrate()
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(Refused, match=r"is production, but its endpoint .* is neither AWS nor this machine"):
        side(flow, "target", endpoint_url=None).migrate()


def test_a_production_target_on_this_machine_is_not_refused(moto_world, tmp_path):
    """Loopback is the demo's and the tests' place."""
    flow = side(begin("shop", moto_world, tmp_path), "target", production=True)
    assert flow.analyze()["verdict"] == "PASS"


SHIPS = {"Ships": {"key": {"id": "S"}, "items": [{"id": {"S": "s"}}]}, "Ports": {"key": {"id": "S"}}}


def test_a_source_is_known_as_the_target_however_its_address_is_spelled(moto_world, tmp_path):
    """By what the tables say of themselves, not by the endpoint; also another entry's source. No stage writes."""
    moto_world.build(SHIPS, worlds.SOURCE)
    before = moto_world.digest(worlds.SOURCE)
    port = moto_world.engine.endpoint_url.rpartition(":")[2]
    own = f"{{Ships: {{target: Ships-dev-{moto_world.suffix}}}}}"
    crossed = f"{{Ports: {{target: Ships-dev-{moto_world.suffix}}}, Ships: {{target: other-{moto_world.suffix}}}}}"
    for host in ("localhost", "127.1", "0.0.0.0", "[::ffff:127.0.0.1]"):
        flow = side(flow_of(own, moto_world, tmp_path), "target", endpoint_url=f"http://{host}:{port}")
        with pytest.raises(Refused, match="source and target are the same table"):
            flow.migrate()
    flow = side(flow_of(crossed, moto_world, tmp_path), "target", endpoint_url=f"HTTP://127.1:{port}/")
    for stage in (flow.create, lambda: flow.test("Ships"), flow.retry, flow.delta, flow.validate):
        with pytest.raises(Refused, match="Ports: its target Ships-.* is the source of Ships"):
            stage()
    assert moto_world.digest(worlds.SOURCE) == before


@pytest.mark.slow
def test_a_replica_of_the_source_is_the_source(ministack, tmp_path):
    """In another region, with another id: what is written there arrives in the source."""
    world = worlds.World(ministack)
    world.build(SHIPS, worlds.SOURCE)
    name = world.name("Ships", worlds.SOURCE)
    world.client.update_table(TableName=name, ReplicaUpdates=[{"Create": {"RegionName": "us-east-1"}}])
    flow = side(flow_of(f"{{Ships: {{target: {name}}}}}", world, tmp_path), "target", region="us-east-1")
    with pytest.raises(Refused, match="source and target are the same table"):
        flow.migrate()


# what was begun with something else


@pytest.mark.parametrize("create", ["null", "like_source"])
@pytest.mark.parametrize("exists", [False, True])
def test_a_key_cannot_become_null_whoever_describes_it(create, exists, moto_world, tmp_path):
    """The target where it exists, else the source that it is a copy of; told before an item is read."""
    table = {"key": {"id": "S"}, "indexes": {"byOther": {"other": "S"}}}
    moto_world.build({"Ports": table | {"items": [{"id": {"S": "p"}}]}}, worlds.SOURCE)
    if exists:
        moto_world.build({"Ports": table}, TARGET)
    rule = "references: {other: {to: Ports, dangling: null}}"
    flow = flow_of(f"{{Ports: {{create: {create}, {rule}}}}}", moto_world, tmp_path)
    for stage in (flow.analyze, flow.migrate):
        with pytest.raises(
            Refused, match="tables.Ports.references.other: `dangling: null` makes other null, a key of an"
        ):
            stage()
    assert flow_of(f"{{Ports: {{create: {create}, {rule.replace('null', 'remove')}}}}}", moto_world, tmp_path).analyze()


@pytest.mark.parametrize(
    ("source", "target", "rules", "sentence"),
    [
        ("S", None, "fields: {id: x}, rest: copy", ".fields.id: `rest: copy` keeps the source's id beside the field"),
        ("S", None, "fields: {a: x}", ".fields: no rule uses up id, which every item has, and the entry has no `rest`"),
        ("S", {"pk": "S"}, "fields: {id: {from: id}}", ".fields: the key attribute 'pk' of the target is missing"),
        (
            "N",
            {"id": "S"},
            "fields: {id: {from: id}}",
            ".fields.id is a key of type S, and the source's key id has type N",
        ),
        ("N", None, "create: {key: {id: S}}", ".create: id is a key of type S, in the source it has type N"),
        ("S", {"id": "S"}, "drop: [id]", ".drop: leaves out id, a key of the target table"),
    ],
)
def test_rules_that_can_write_no_item_are_refused_before_one_is_read(
    source, target, rules, sentence, moto_world, tmp_path
):
    """What the tables' keys say of the mapping; the source has an item, and no stage reads it."""
    moto_world.build({"Ports": {"key": {"id": source}, "items": [{"id": {source: "1"}}]}}, worlds.SOURCE)
    if target:
        moto_world.build({"Ports": {"key": target}}, TARGET)
    flow = flow_of(f"{{Ports: {{id_format: keep, {rules}}}}}", moto_world, tmp_path)
    with pytest.raises(Refused, match=re.escape(f"tables.Ports{sentence}")):
        flow.analyze()


def test_a_run_goes_on_only_with_what_it_was_begun_with(moto_world, tmp_path):
    """Another mapping under the same name is refused where the run was begun, and where it was analyzed."""
    moto_world.build({"Ships": {"key": {"id": "S"}, "items": [{"id": {"S": "s"}}]}}, worlds.SOURCE)
    moto_world.build({"Ships": {"key": {"id": "S"}}}, TARGET)
    flow_of("{Ships: {}}", moto_world, tmp_path, "was-analyzed").analyze()
    flow_of("{Ships: {}}", moto_world, tmp_path, "was-migrated").migrate()
    after = moto_world.digest(TARGET)
    for run_id in ("was-analyzed", "was-migrated"):
        with pytest.raises(Refused, match="another mapping"):
            flow_of("{Ships: {id_format: short}}", moto_world, tmp_path, run_id).migrate()
        with pytest.raises(Refused, match="other environments"):
            side(flow_of("{Ships: {}}", moto_world, tmp_path, run_id), "target", environment="prod2").migrate()
    assert moto_world.digest(TARGET) == after
    assert (
        flow_of("{Ships: {}}", moto_world, tmp_path, "was-analyzed", workers=1).migrate()["totals"]["already_there"]
        == 1
    )


def make_again(world, table, *items):
    """The target table deleted, and another one made under its name."""
    name = world.name(table, TARGET)
    world.engine.call("DeleteTable", TableName=name)
    world.build({table: {"key": {"id": "S"}, "items": items}}, TARGET)


def test_a_target_that_was_made_again_is_not_the_one_that_was_written_into(moto_world, tmp_path):
    """Its items, though equal, are not this run's: no stage goes on with it, and a rollback leaves them and says so."""
    moto_world.build(SHIPS, worlds.SOURCE)
    moto_world.put(moto_world.name("Ports", worlds.SOURCE), {"id": {"S": "p"}})
    moto_world.build({name: {"key": {"id": "S"}} for name in SHIPS}, TARGET)
    flow = flow_of("{Ships: {id_format: keep}, Ports: {id_format: keep}}", moto_world, tmp_path)
    flow.migrate()
    make_again(moto_world, "Ships", {"id": {"S": "s"}})
    for stage in (flow.migrate, flow.delta):
        with pytest.raises(
            Refused, match="Ships-prod-.* was deleted and made again since run the-first-run wrote into it"
        ):
            stage()
    report = flow.rollback()
    assert (report["rollback"]["deleted"], report["rollback"]["not_found"]) == (1, 1)
    assert [alert["table"] for alert in report["alerts"]] == ["", moto_world.name("Ships", TARGET)]
    assert {name: len(items) for name, items in moto_world.content(TARGET).items()} == {"Ships": 1, "Ports": 0}


def test_a_rollback_where_no_table_is_the_one_that_was_written_into_is_refused(moto_world, tmp_path):
    """As at another endpoint, whose items may be equal: nothing is deleted, nothing is marked as undone."""
    moto_world.build({"Ships": SHIPS["Ships"]}, worlds.SOURCE)
    moto_world.build({"Ships": {"key": {"id": "S"}}}, TARGET)
    flow = flow_of("{Ships: {id_format: keep}}", moto_world, tmp_path)
    flow.migrate()
    make_again(moto_world, "Ships", {"id": {"S": "s"}})
    before = moto_world.digest(TARGET), content_of(flow.run().folder / "journal")
    with pytest.raises(Refused, match="nothing in them is this run's"):
        flow.rollback()
    assert (moto_world.digest(TARGET), content_of(flow.run().folder / "journal")) == before


# the whole command


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (
            ["analyze", "-p", f"target.endpoint_url={CLOSED}"],
            ["target", "does not answer"],
        ),
        (["analyze", "-p", "source.region=eu-central-1"], ["source table", "does not exist in eu-central-1"]),
        (
            ["migrate", "-p", "target.environment=other", "--execute", "--confirm", "other"],
            ["does not exist", "create-tables"],
        ),
        (["migrate", "--run-id", "rolled-back", *WRITE], ["rolled-back", "was rolled back"]),
    ],
    ids=["closed-port", "wrong-region", "missing-target", "rolled-back"],
)
def test_a_refusal_inside_the_notebook_reaches_the_terminal(arguments, parts, moto_world, tmp_path, in_process, capsys):
    """Through the cells: still one sentence on stderr, exit code 2, and nothing in the target."""
    flow = begin("shop", moto_world, tmp_path / "outputs")
    flow.create()
    flow.run_id = "rolled-back"
    flow.migrate()
    flow.rollback()
    name, *rest = arguments
    before = moto_world.digest(TARGET)
    code, content, said = support_notebooks.command(capsys, name, PARAMS, *rest, "--outputs", flow.outputs)
    assert code == 2, said
    sentence = said.strip().splitlines()[0]
    for part in parts:
        assert part in sentence
    assert "Traceback" not in said
    assert content["exit_code"] == 2
    assert moto_world.digest(TARGET) == before


def test_the_parameters_of_every_case_are_parameters(monkeypatch):
    """The files here are of the same form as those a user writes."""
    monkeypatch.setenv("CASE_ENDPOINT", "http://127.0.0.1:1")
    files = sorted(CASES.glob("*/parameters.yaml"))
    assert len(files) > 10
    for path in files:
        assert load_parameters(path).mapping_path() == path.with_name("mapping.yaml")
        assert set(yaml.safe_load(path.read_text())) <= {"mapping", "source", "target", "limits"}
