"""Nothing of an item and no secret is in what the stages write or say, except that some files hold keys by contract."""

import base64
import html
import io
import json
import os
import re
import sys
import zipfile
from urllib.parse import unquote

import orjson
import pyarrow.parquet
import pytest
import yaml

from runbook_lib.cli import main
from runbook_lib.dynamo.transport import Transport
from runbook_lib.notebook import steps
from runbook_lib.report.runs.status import figures
from runbook_lib.run.progress_file import Published

CONFIRMED = ["--execute", "--confirm"]
# What begins a canary: in a key or a reference, in any other place of an item, in what the program is told in confidence.
KEY, VALUE, SECRET = "kanarikey", "kanarivalue", "kanarisecret"
NUMBER = "8675309867530986"
HIDDEN = (VALUE, SECRET, NUMBER)
# The files of a run that hold keys by contract. A bundle has none of them.
WITH_KEYS = re.compile(
    r"journal/.*|id-map\.parquet"
    r"|(quarantine|conflicts|unrouted|failed|dangling|unreadable|residual-ids|residual-environment|differences|drift|kept)\.jsonl"
)
TRANSFORM = """def check(item):
    if item.get("fate") == "refused":
        raise ValueError(f"does not like {item['name']}")
    if item.get("fate") == "broken":
        raise KeyError(item["name"])
    return item
"""
TABLES = ("Customers", "Orders", "Notes", "Visits")


def every_type(n):
    """Attributes of each type, with canaries in values and in the keys of maps."""
    word = f"{VALUE}{n}"
    return {
        "name": {"S": f"{word} text"},
        "number": {"N": NUMBER},
        "bytes": {"B": word.encode()},
        "texts": {"SS": [f"{word}s1", f"{word}s2"]},
        "numbers": {"NS": [NUMBER, f"{NUMBER}1"]},
        "blobs": {"BS": [word.encode()]},
        "list": {"L": [{"S": word}, {"L": [{"N": NUMBER}, {"M": {f"{word}@example.com": {"S": word}}}]}]},
        "map": {"M": {f"{word}@example.com": {"M": {f"{word} <b>": {"S": word}}}, "plain": {"S": word}}},
        "json": {"S": json.dumps({word: [word, {word: word}]})},
        "mail": {"S": f"{word}@example.com"},
        "date": {"S": f"2024-01-01T{word}"},
    }


def items(shop):
    """Table → items: plain ones, and one or more for everything that can become of an item."""
    fates = ("plain", "plain", "refused", "broken", "failed", "edited", "different", "missing", "older")
    customers = [{"id": {"S": f"{KEY}c{n}"}, "fate": {"S": fate}, **every_type(n)} for n, fate in enumerate(fates)]
    orders = [
        {
            "id": {"S": f"{KEY}o{n}"},
            "customerId": {"S": f"{KEY}c{n}"},
            "notes": {"S": f'["{KEY}o{n}"]'},
            **every_type(n),
        }
        for n in range(4)
    ]
    orders.append({"id": {"S": f"{KEY}dangling"}, "customerId": {"S": f"{KEY}nobody"}, **every_type(7)})
    orders.append({"id": {"S": f"{KEY}unreadable"}, "notes": {"S": f"no json {VALUE}"}, **every_type(8)})
    orders.append(
        {"id": {"S": f"{KEY}undeclared"}, "free": {"S": f"{KEY}c1"}, "said": {"S": f"of {shop.name}dev {KEY}c2"}}
    )
    notes = [
        {"id": {"S": f"{KEY}n{n}"}, "kind": {"S": "note"}, "amount": {"N": "1"}, "text": {"S": f"{VALUE}n"}}
        for n in range(3)
    ]
    notes.append({**notes[0], "id": {"S": f"{KEY}quarantined"}, "amount": {"S": f"{VALUE} is no number"}})
    notes.append({**notes[0], "id": {"S": f"{KEY}large"}, "text": {"S": VALUE + "x" * 250_000}})
    notes.append({**notes[0], "id": {"S": f"{KEY}unrouted"}, "kind": {"S": f"{VALUE}kind"}})
    notes.append({**notes[0], "id": {"S": f"{KEY}leftover"}, "left": {"S": f"{VALUE}left"}})
    visits = [
        {"id": {"S": f"{KEY}v{n}"}, "until": {"N": until}, "text": {"S": f"{VALUE}v"}}
        for n, until in enumerate(("1000000001", "4000000001"))
    ]
    return dict(zip(TABLES, (customers, orders, notes, visits), strict=True))


MAPPING = {
    "defaults": {"source": "{table}-{source.environment}", "target": "{table}-{target.environment}"},
    "tables": {
        "Customers": {"create": {"key": {"id": "S"}}, "transform": "transforms.py:check"},
        "Orders": {"create": {"key": {"id": "S"}}, "references": {"customerId": "Customers", "notes:json[]": "Orders"}},
        "Notes": {
            "create": {"key": {"id": "S"}},
            "id_format": "keep",
            "where": {"kind": "note"},
            "fields": {
                "id": {"from": "id"},
                "amount": {"from": "amount", "type": "number"},
                "one": "{text}",
                "two": "{text}",
            },
            "drop": ["kind", "text"],
        },
        "Visits": {"create": {"key": {"id": "S"}}, "expired": "skip"},
    },
}


def put(shop, table, side, item):
    """Puts an item into a table."""
    shop.client.put_item(TableName=f"{table}-{shop.name}{side}", Item=item)


@pytest.fixture
def told(shop, tmp_path, monkeypatch):
    """Fills the shop with canaries; returns the file where `notify` keeps what it is told."""
    client = shop.client
    for table in TABLES[2:]:
        client.create_table(
            TableName=f"{table}-{shop.name}dev",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
    client.update_time_to_live(
        TableName=f"Visits-{shop.name}dev", TimeToLiveSpecification={"Enabled": True, "AttributeName": "until"}
    )
    for table, found in items(shop).items():
        for old in shop.items(table, "dev"):
            client.delete_item(TableName=f"{table}-{shop.name}dev", Key={"id": old["id"]})
        for item in found:
            put(shop, table, "dev", item)
    (tmp_path / "shop.yaml").write_text(yaml.safe_dump(MAPPING))
    (tmp_path / "transforms.py").write_text(TRANSFORM)
    (tmp_path / "tell.py").write_text(f"import sys\nopen({str(tmp_path / 'told')!r}, 'a').write(sys.stdin.read())\n")
    content = yaml.safe_load(shop.params.read_text())
    content["notify"] = f"{sys.executable} {tmp_path / 'tell.py'} --token {SECRET}"
    content["limits"] |= {"on_failure": "keep"}
    for side in ("source", "target"):
        content[side]["endpoint_url"] = os.environ["AWS_ENDPOINT_URL"].replace("127.0.0.1", "localhost")
    shop.params.write_text(yaml.safe_dump(content))
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"):
        monkeypatch.setenv(f"AWS_{name}", f"{SECRET}{name.lower()}")
    return tmp_path / "told"


@pytest.fixture
def refusing(monkeypatch):
    """The engine refuses one item, in a message that quotes it, as engines do."""
    post = Transport.post

    def posted(transport, keys, operation, body):
        if operation in ("PutItem", "BatchExecuteStatement") and b'"failed"' in orjson.dumps(orjson.loads(body)):
            return (
                400,
                {},
                orjson.dumps(
                    {
                        "__type": "com.amazon.coral.validate#ValidationException",
                        "message": f"{VALUE} in {body[:900]!r} of {SECRET}",
                    }
                ),
            )
        return post(transport, keys, operation, body)

    monkeypatch.setattr(Transport, "post", posted)


class Said:
    """What the commands say on both streams, with and without --json."""

    def __init__(self, shop, capsys):
        self._shop, self._capsys, self.streams = shop, capsys, {}

    def __call__(self, *words):
        """Exit code of a command line."""
        code = main([*map(str, words), "--outputs", str(self._shop.outputs)])
        said = self._capsys.readouterr()
        self.streams[" ".join(map(str, words))] = said.out + said.err
        return code


def content(path):
    """All that a file holds, as texts: of a Parquet file its columns, of a zip file its members."""
    raw = path if isinstance(path, bytes) else path.read_bytes()
    if raw[:4] == b"PAR1":
        return [str(pyarrow.parquet.read_table(io.BytesIO(raw)).to_pydict())]
    if raw[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(raw)) as file:
            return [text for name in file.namelist() for text in (name, *content(file.read(name)))]
    return [raw.decode(errors="replace")]


def spellings(word):
    """The word, and what base64 makes of it wherever it stands in bytes."""
    found = [word]
    for before in range(3):
        text = base64.b64encode(b" " * before + word.encode()).decode()
        found.append(text[-(-before * 8 // 6) : len(text) - 4])  # what stands beside it decides about the rest
    return found


def seen(text, words):
    """Those of the words that stand in a text, however they are written."""
    plain = html.unescape(unquote(text)).lower()
    return {
        word
        for word in words
        for first, *rest in [spellings(word)]
        if first in plain or any(one in text for one in rest)
    }


def leaks(folder, words=(KEY, *HIDDEN)):
    """File → the canaries that it holds and may not."""
    found = {}
    for path in sorted(one for one in folder.rglob("*") if one.is_file()):
        name = path.relative_to(folder).as_posix().partition("/")[2] or path.name
        wanted = [word for word in words if word != KEY or not WITH_KEYS.fullmatch(name)]
        if leaked := set().union(*(seen(text, wanted) for text in content(path))):
            found[path.relative_to(folder).as_posix()] = leaked
    return found


@pytest.fixture(params=["in process", pytest.param("in kernels", marks=[pytest.mark.slow, pytest.mark.pages])])
def say(request, shop, capsys):
    """A function that gives a command line and keeps what is said."""
    if request.param == "in process":
        for name in ("in_process", "refusing"):
            request.getfixturevalue(name)
    return Said(shop, capsys)


@pytest.fixture
def shown(monkeypatch):
    """What `status --watch` and the display of a command show, and the files of the progress hold."""
    found, write = [], Published.write
    monkeypatch.setattr(
        Published, "write", lambda self, now: found.append(json.dumps(figures(now))) or write(self, now)
    )
    return found


def check(say, told, shown, shop, others=()):
    """Nothing that was said or written has a canary where there is none by contract. `others` may hold any."""
    words = (KEY, *HIDDEN)
    assert {line: found for line, text in say.streams.items() if (found := seen(text, words))} == {}
    assert seen("".join(shown), words) == set()
    assert seen(told.read_text(), words) == set()
    assert {name: found for name, found in leaks(shop.outputs).items() if name not in others} == {}


def test_what_a_run_leaves_and_says_holds_no_value(shop, told, say, shown, tmp_path):
    """Through every stage and command, for whatever can become of an item; keys stand only where the contract says so."""
    params, target = shop.params, f"{shop.name}prod"
    execute = [*CONFIRMED, target]
    say("draft", params, "-p", f"mapping={tmp_path / 'drafted.yaml'}", "--run-id", "the-drafting-run")
    assert say("analyze", params) == 1
    assert say("create-tables", params, *execute) == 0
    put(shop, "Notes", "prod", {"id": {"S": f"{KEY}n1"}, "text": {"S": f"{VALUE}theirs"}})
    assert say("test", params, "Orders", "--limit", 9, *execute, "--json") == 0
    assert say("migrate", params, *execute) == 1
    say("migrate", params, "--retry-failed", *execute, "--json")
    found = {item["fate"]["S"]: item for item in shop.items("Customers", "prod")}
    put(shop, "Customers", "prod", {**found["edited"], "mail": {"S": VALUE}, "added": {"M": {VALUE: {"S": VALUE}}}})
    put(shop, "Customers", "prod", {**found["different"], "name": {"N": NUMBER}, "back": {"S": f"{KEY}c2"}})
    put(shop, "Customers", "prod", {"id": {"S": f"{KEY}extra"}, "name": {"S": VALUE}})
    shop.client.delete_item(TableName=f"Customers-{target}", Key={"id": found["missing"]["id"]})
    assert say("validate", params) == 1
    assert say("validate", params, "--repair", "deleted", *execute, "--json") == 1
    found = {item["fate"]["S"]: item for item in shop.items("Customers", "dev")}
    for fate in ("older", "edited"):
        put(shop, "Customers", "dev", {**found[fate], "name": {"S": f"{VALUE}newer"}})
    assert say("migrate", params, "--delta", *execute) == 1
    assert say("validate", params, "--json") == 1
    folder = next(path for path in shop.outputs.glob("*-shop-params") if path.is_dir())
    assert say("rollback", "--checkpoint", max(folder.glob("migration-checkpoint-*")), *execute) == 1
    for words in ("status", f"status {folder.name} --json", f"status {folder.name} --watch", f"verify {folder.name}"):
        assert say(*words.split()) == 0
    assert say("bundle", folder.name) == 0
    assert say("iam", params, "migrate") == 0
    left = {path.name for path in folder.iterdir()}
    lists = {
        "quarantine",
        "conflicts",
        "unrouted",
        "dangling",
        "unreadable",
        "residual-ids",
        "drift",
        "differences",
        "kept",
    }
    assert {f"{name}.jsonl" for name in lists} <= left  # everything was there to be seen
    assert KEY in (folder / "dangling.jsonl").read_text()
    with zipfile.ZipFile(f"{folder}.zip") as file:
        sent = {name: file.read(name).decode() for name in file.namelist()}
    assert not any(map(WITH_KEYS.fullmatch, sent))
    for name, text in sent.items():
        assert "localhost:" not in text, name
        links = re.findall(r'<a\b[^>]*\shref="([^"#:?]+)', text) if name.endswith(".html") else []
        assert {*map(unquote, links)} <= sent.keys(), name
    check(say, told, shown, shop)
    assert seen((tmp_path / "drafted.yaml").read_text(), (KEY, *HIDDEN)) == set()


def test_an_endpoint_with_a_login_is_not_repeated(shop, told, say, monkeypatch):
    """Nor what stands in the environment: it is refused, and not quoted."""
    for url in (f"http://user:{SECRET}@127.0.0.1:1", f"http://127.0.0.1:1/?token={SECRET}", f"127.0.0.1;{SECRET}"):
        for side in ("source", "target"):
            assert say("analyze", shop.params, "-p", f"{side}.endpoint_url={url}", "--json") == 2
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", url)
        assert say("analyze", shop.params) == 2
        monkeypatch.delenv("AWS_ENDPOINT_URL_STS")
    assert {line: text for line, text in say.streams.items() if seen(text, HIDDEN)} == {}
    assert leaks(shop.outputs, HIDDEN) == {}


def test_the_traceback_of_a_fault_is_only_where_one_looks_for_it(in_process, shop, told, shown, capsys, monkeypatch):
    """On stderr and in the copies of that execution, which no bundle has; not in the log, the summary, the index or `notify`."""

    def fail(*_, **__):
        raise KeyError(VALUE)

    say = Said(shop, capsys)
    monkeypatch.setattr(steps, "analyze", fail)
    assert say("analyze", shop.params) == 70
    assert VALUE in say.streams.popitem()[1]
    (folder,) = (path for path in shop.outputs.iterdir() if path.is_dir())
    monkeypatch.setattr("runbook_lib.report.runs.bundle.is_at_work", lambda executor: False)  # the command has ended
    assert say("bundle", folder.name) == 0
    assert VALUE in (folder / "01_analyze.ipynb").read_text()
    check(say, told, shown, shop, [f"{folder.name}/01_analyze.ipynb"])
