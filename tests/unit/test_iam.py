"""`runbook iam`: the document for these tables, what it says beside it, and the table of rights in docs/commands.md."""

import json
import re
import warnings
from functools import cache
from pathlib import Path

import pytest
import yaml

from runbook_lib.cli import main
from runbook_lib.parameters import build_parameters
from runbook_lib.stages import rights
from runbook_lib.stages.policy import MANAGED
from runbook_lib.stages.rights import STAGES, UNSEEN

DOCS = Path(__file__).resolve().parents[2] / "docs/commands.md"
ACCOUNT = "123456789012"
MAPPING = {
    "defaults": {"source": "{table}-{source.environment}", "target": "{table}-{target.environment}", "id": "id"},
    "tables": {
        "Ports": {"create": "like_source", "expired": "skip"},
        "Ships": {
            "create": {"key": {"id": "S"}, "indexes": {"byPort": {"portId": "S"}}, "tags": {"a": "b"}},
            "queries": {"at": {"index": "byPort", "key": {"portId": "x"}}, "one": {"key": {"id": "x"}}},
        },
        "Docks": {},
    },
}


@pytest.fixture
def iam(tmp_path, capsys, monkeypatch):
    """Gives the exit code, the document (None: none), and the lines on stderr. Keys of PARAMS are given by name."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    (tmp_path / "mapping.yaml").write_text(yaml.safe_dump(MAPPING))

    def run(stage, *words, source=None, target=None, **more):
        sides = {"source": source or {}, "target": target or {}}
        content = {"mapping": str(tmp_path / "mapping.yaml"), **more}
        for side, environment in (("source", "dev"), ("target", "prod")):
            content[side] = {"environment": environment, "region": "us-west-1", "account": ACCOUNT} | sides[side]
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
        code = main(["iam", str(tmp_path / "params.yaml"), stage, *words])
        said = capsys.readouterr()
        return code, json.loads(said.out) if said.out else None, said.err.splitlines()

    return run


EVERYTHING = {
    "target": {"production": True, "rollback_role_arn": f"arn:aws:iam::{ACCOUNT}:role/eraser"},
    "lease": {"table": "leases"},
    "limits": {"engine": "dask", "journal": "s3://bucket/some/prefix"},
}


def allowed(document):
    """The action → resources that it is allowed on, as far as they are tables and what belongs to them by their names."""
    found = {}
    for one in document["Statement"]:
        for action in one["Action"]:
            found.setdefault(action.removeprefix("dynamodb:"), []).extend(
                resource.partition(":table/")[2] or resource for resource in one["Resource"]
            )
    return found


def findings(document):
    """What parliament finds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pkg_resources
        import parliament
    return [str(one) for one in parliament.analyze_policy_string(json.dumps(document)).findings]


@pytest.mark.parametrize("more", [{}, EVERYTHING], ids=["little", "everything"])
@pytest.mark.parametrize("stage", STAGES)
def test_a_document_is_valid_and_names_what_it_is_about(iam, stage, more):
    """As parliament reads IAM; no ARN stands twice, and `*` only where there is no resource to name."""
    code, document, _ = iam(stage, **more)
    assert (code, document["Version"], findings(document)) == (0, "2012-10-17", [])
    named = [resource for one in document["Statement"] for resource in one["Resource"] if resource != "*"]
    assert len(named) == len(set(named))
    for one in document["Statement"]:
        if "*" in one["Resource"]:
            assert set(one["Action"]) <= {"dynamodb:ListTables", "sts:GetCallerIdentity"}
        assert re.fullmatch("(Source|Target|Caller)[A-Za-z0-9]*", one["Sid"])
        service, _ = one["Action"][0].split(":")
        for resource in one["Resource"]:
            assert (
                resource == "*"
                or service != "dynamodb"
                or resource.startswith(f"arn:aws:dynamodb:us-west-1:{ACCOUNT}:table/")
            )


def test_conditions_are_looked_at_for_each_table(iam):
    """What an entry does not ask for, its tables get no right for."""
    found = allowed(iam("create-tables")[1])
    assert found["CreateTable"] == ["Ports-prod", "Ships-prod"]
    assert found["TagResource"] == ["Ships-prod"]
    assert found["UpdateTimeToLive"] == ["Ports-prod"]
    assert found["DescribeTimeToLive"] == ["Ports-dev", "Ports-prod"]
    assert sorted(found["DescribeTable"]) == sorted(
        f"{e}-{s}" for e in ("Docks", "Ports", "Ships") for s in ("dev", "prod")
    )
    assert not found.keys() & {"UpdateContinuousBackups", "PutItem", "Scan"}
    assert allowed(iam("validate")[1])["Query"] == ["Ships-prod", "Ships-prod/index/byPort"]
    assert allowed(iam("test")[1])["DescribeTimeToLive"] == ["Ports-dev", "Ports-prod"]
    assert allowed(iam("rollback")[1])["DeleteTable"] == ["Ports-prod", "Ships-prod"]


def test_conditions_are_looked_at_in_the_parameters(iam):
    """Backups, the lease, the bucket and the role that deletes."""
    plain, whole = (allowed(iam("migrate", **more)[1]) for more in ({}, EVERYTHING))
    assert not plain.keys() & {
        "CreateBackup",
        "DescribeBackup",
        "GetItem",
        "sts:AssumeRole",
        "s3:PutObject",
        "DeleteItem",
    }
    assert whole["CreateBackup"] == ["Docks-prod", "Ports-prod", "Ships-prod"]
    assert whole["DescribeBackup"] == [f"{entry}-prod/backup/*" for entry in ("Docks", "Ports", "Ships")]
    assert whole["GetItem"] == ["leases"]
    assert whole["sts:AssumeRole"] == [f"arn:aws:iam::{ACCOUNT}:role/eraser"]
    assert (whole["s3:PutObject"], whole["s3:ListBucket"]) == (
        ["arn:aws:s3:::bucket/some/prefix/*"],
        ["arn:aws:s3:::bucket"],
    )
    waived = allowed(iam("migrate", target={"production": True, "backup": "waived"})[1])
    assert "CreateBackup" not in waived


def test_following_reads_the_streams_of_the_source(iam):
    """And nothing else of them; of the target's streams, nothing."""
    found = allowed(iam("follow")[1])
    for action in ("DescribeStream", "GetShardIterator", "GetRecords"):
        assert found[action] == [f"{entry}-dev/stream/*" for entry in ("Docks", "Ports", "Ships")]
    assert not [
        action for action in allowed(iam("follow", "--side", "source")[1]) if action.startswith(("Put", "Delete"))
    ]
    delta = allowed(iam("delta")[1])
    assert {action: found[action] for action in delta if action != "Scan"} == {
        a: of for a, of in delta.items() if a != "Scan"
    }


def test_migrate_deletes_nothing(iam):
    """In whatever parameters; the undo is a matter of the policy of `rollback`, and that is said."""
    for more in ({}, EVERYTHING):
        assert not [action for action in allowed(iam("migrate", **more)[1]) if "Delete" in action or "Update" in action]
    assert [line for line in iam("migrate")[2] if "policy of `rollback`" in line and "exits with 1" in line]
    said = iam("migrate", **EVERYTHING)[2]
    assert [line for line in said if "role/eraser does what deletes" in line]
    assert not [line for line in said if "exits with 1" in line]
    for stage in ("test", "delta"):
        assert "DeleteItem" in allowed(iam(stage)[1])
        assert "DeleteItem" not in allowed(iam(stage, **EVERYTHING)[1])


def test_a_side_has_a_document_of_its_own(iam):
    """Together they allow what the whole one does. Where two principals work, that is said."""
    whole, source, target = (
        allowed(document)
        for _, document, _ in (iam("migrate"), iam("migrate", "--side", "source"), iam("migrate", "--side", "target"))
    )
    assert source["Scan"] == ["Docks-dev", "Ports-dev", "Ships-dev"]
    assert "PutItem" not in source
    assert {action: sorted({*source.get(action, ()), *target.get(action, ())}) for action in whole} == {
        action: sorted(of) for action, of in whole.items()
    }
    for one, other in (({"profile": "a"}, {"profile": "b"}), ({}, {"account": "210987654321"}), ({"profile": "a"}, {})):
        said = iam("migrate", source=one, target=other)[2]
        assert [line for line in said if "--side source and --side target" in line]
        assert not [
            line for line in iam("migrate", "--side", "target", source=one, target=other)[2] if "--side" in line
        ]
    assert not [line for line in iam("migrate")[2] if "--side" in line]


def test_accounts_and_partitions(iam, monkeypatch, moto):
    """As declared, else of the role, else as STS of the endpoint says it, else a placeholder; the partition by the region."""

    def arn(*words, **target):
        _, document, said = iam("migrate", "--side", "target", *words, target=target)
        return document["Statement"][0]["Resource"][0].removesuffix(":table/Docks-prod"), said

    assert (
        arn(account=None, role_arn="arn:aws:iam::210987654321:role/x")[0] == "arn:aws:dynamodb:us-west-1:210987654321"
    )
    assert arn(region="cn-north-1")[0] == f"arn:aws-cn:dynamodb:cn-north-1:{ACCOUNT}"
    assert arn(region="us-gov-west-1")[0] == f"arn:aws-us-gov:dynamodb:us-gov-west-1:{ACCOUNT}"
    assert arn(region="eu-somewhere-9")[0] == f"arn:aws:dynamodb:eu-somewhere-9:{ACCOUNT}"
    placeholder, said = arn(account=None)
    assert placeholder == "arn:aws:dynamodb:us-west-1:ACCOUNT_ID"
    assert "The account of target is not known: replace ACCOUNT_ID, or set target.account." in said
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    assert arn(account=None, endpoint_url="http://127.0.0.1:1")[0] == "arn:aws:dynamodb:us-west-1:ACCOUNT_ID"
    assert arn(account=None, endpoint_url=moto.endpoint_url)[0] == f"arn:aws:dynamodb:us-west-1:{ACCOUNT}"


def test_tables_named_by_arn_keep_their_account(iam, tmp_path):
    """As shared by another account; what is made of a restored one is a table of our own."""
    arn = "arn:aws:dynamodb:eu-west-1:210987654321:table/Docks"
    MAPPING["tables"]["Docks"]["target"] = arn
    (tmp_path / "mapping.yaml").write_text(yaml.safe_dump(MAPPING))
    del MAPPING["tables"]["Docks"]["target"]
    resources = {resource for one in iam("restore")[1]["Statement"] for resource in one["Resource"]}
    assert {arn, f"{arn}/backup/*", f"arn:aws:dynamodb:us-west-1:{ACCOUNT}:table/Docks-restored-*"} <= resources


def test_a_draft_reads_what_its_pattern_describes(iam):
    """Its mapping does not exist yet. One table by name needs no list of all."""
    found = allowed(iam("draft")[1])
    assert (found["Scan"], found["ListTables"]) == (["*dev*", "*prod*"], ["*"])
    assert allowed(iam("draft", "--pattern", "{table}-{source.environment}")[1])["Scan"] == ["*-dev", "*-prod"]
    assert allowed(iam("draft", "--pattern", "{table}")[1])["Scan"] == ["*", "*-prod"]
    one = allowed(iam("draft", "--pattern", "crm-{source.environment}")[1])
    assert one["Scan"] == ["crm-dev", "crm-prod"]
    assert "ListTables" not in one
    assert one["DescribeTimeToLive"] == ["crm-dev"]
    assert allowed(iam("draft", "--side", "target")[1])["Scan"] == ["*prod*"]


def test_a_document_that_is_too_long_is_whole_and_said_to_be(iam, tmp_path):
    """With what to do: by side, else by statements."""
    many = {"defaults": MAPPING["defaults"], "tables": {f"Table{'x' * 60}{n}": {} for n in range(30)}}
    (tmp_path / "mapping.yaml").write_text(yaml.safe_dump(many))
    _, document, said = iam("migrate")
    size = len(json.dumps(document, separators=(",", ":")))
    assert size > MANAGED
    assert len(allowed(document)["PutItem"]) == 30
    assert [line for line in said if f"The policy has {size:,} characters" in line and "--side source" in line]
    (line,) = iam("restore", "--side", "target")[2]
    assert "divide its statements" in line
    assert iam("migrate", "--side", "source")[2] == []


def test_refusals(iam):
    """One sentence, exit code 2, and nothing on stdout."""
    stages = "draft, analyze, test, create-tables, migrate, validate, rollback, delta, follow, restore"
    assert iam("nothing") == (2, None, [f"'nothing' is no stage; give one of {stages}."])
    assert iam("migrate", "--pattern", "x")[0] == 2
    code, document, (line,) = iam("migrate", target={"region": None})
    assert (code, document) == (2, None)
    assert line.startswith("target: no region")
    assert iam("rollback", "--side", "source")[0] == 0


# the table in the documentation

WHERE = {
    rights.STREAM: "on their streams",
    rights.INDEX: "on their indexes",
    rights.BACKUP: "on their backups",
    rights.RESTORED: "on the tables that it makes",
}
OF_SOURCE = (rights.SOURCE, rights.LIST, rights.STREAM)
COLUMNS = (OF_SOURCE, (rights.TARGET, *(WHERE.keys() - OF_SOURCE)))
BESIDES = {
    rights.LEASE: "the lease table",
    rights.ROLE: "the role",
    rights.JOURNAL: "what is below the URL",
    rights.BUCKET: "its bucket",
}


def marked(right):
    """The actions; in italics what no test sees."""
    return [f"*{one}*" if (right.on, one) in UNSEEN else one for one in right.actions.split()]


def row(stage):
    """The line of a stage."""
    cells = []
    for kinds in COLUMNS:
        parts = {}
        for right in STAGES[stage]:
            if right.on in kinds:
                says = ", ".join(filter(None, (WHERE.get(right.on), right.when and right.when.says)))
                parts.setdefault(says, []).extend(marked(right))
        texts = [
            f"{says}: {', '.join(parts[says])}" if says else ", ".join(parts[says]) for says in sorted(parts, key=bool)
        ]
        cells.append("; ".join(texts) or "nothing")
    return f"| `{stage}` | {' | '.join(cells)} |"


def besides(kind):
    """The line of what belongs to no entry."""
    of = {stage: right for stage, rights in STAGES.items() for right in rights if right.on == kind}
    assert len({*of.values()}) == 1
    right = next(iter(of.values()))
    stages = ", ".join(f"`{stage}`" for stage in of)
    return f"| {right.when.says} | {BESIDES[kind]} | {', '.join(marked(right))} | {stages} |"


@cache
def page():
    return DOCS.read_text(encoding="utf-8")


@pytest.mark.parametrize("line", [*map(row, STAGES), *map(besides, BESIDES)])
def test_the_tables_in_the_docs_are_that_of_the_program(line):
    """Copy the expected line where it differs."""
    assert line in page().splitlines()


def test_every_stage_asks_sts_who_it_is():
    """The docs say that once, below their table, which has a line for each stage and no other."""
    assert all(rights.CALLS_STS in of for of in STAGES.values())
    section = page().partition("## What a stage needs to be allowed\n")[2]
    assert re.findall(r"^\| `([a-z-]+)` \|", section, re.MULTILINE) == list(STAGES)


def test_conditions_of_rights_that_no_entry_decides_need_none():
    """They are asked without an entry."""
    given = build_parameters({"mapping": "m.yaml", "source": {"environment": "a"}, "target": {"environment": "b"}})
    of_no_entry = (rights.LEASE, rights.ROLE, rights.JOURNAL, rights.BUCKET, rights.LIST, rights.CALLER)
    for of in STAGES.values():
        for right in of:
            if right.on in of_no_entry and right.when:
                assert right.when.holds(given, None) is False
