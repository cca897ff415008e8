"""Those who run against each other, each measured in a process of its own: `python -m benchmarks.contenders NAME SPEC`.

Each does its set-up (imports, connections, descriptions of tables), notes what that has cost, does its work, and prints
one line of JSON. The parent subtracts the set-up from what the whole process and its children have used.
"""

import json
import random
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import orjson

from .shapes import SOURCE, TARGET, Case

REGION = "us-west-1"
RUN_ID = "the-only-run"
BATCH_STATEMENTS, BATCH_KEYS = 25, 100  # DynamoDB's limits


class Meter:
    """What was used before the work began, and how long the work took."""

    def __init__(self) -> None:
        self.before = self.seconds = 0.0

    def __enter__(self) -> None:
        self.before = sum(
            used.ru_utime + used.ru_stime
            for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        )
        self._started = time.perf_counter()

    def __exit__(self, *exception) -> None:
        self.seconds = time.perf_counter() - self._started


def main(name: str, spec: dict[str, Any]) -> None:
    """Runs a contender and prints what it did."""
    meter = Meter()
    done = CONTENDERS[name](Case(**spec.pop("case")), meter, **spec)
    print(json.dumps({"before": meter.before, "seconds": meter.seconds, "items": done}), flush=True)


# the program


def _opened(
    case: Case, url: str, folder: str, workers: int, segments: int | None, run_id: str = RUN_ID
) -> tuple[Any, Any]:
    """The run's folder and the plan."""
    from runbook_lib.mapping.file.load import load_mapping
    from runbook_lib.parameters import build_parameters
    from runbook_lib.run.folder import open_run, run_json
    from runbook_lib.walk.plan import open_plan

    path = Path(folder, "mapping.yaml")
    path.write_text(case.mapping(), encoding="utf-8")
    side = {"region": REGION, "endpoint_url": url}
    parameters = build_parameters(
        {
            "mapping": str(path),
            "source": {"environment": SOURCE, **side},
            "target": {"environment": TARGET, **side},
            "limits": {"workers": workers, "segments": segments, "on_failure": "keep"},
        }
    )
    run = open_run(folder, run_id, run_json(parameters, load_mapping(parameters), "benchmark"))
    return run, open_plan(parameters)


def migrate_items(
    case: Case,
    meter: Meter,
    *,
    url: str,
    folder: str,
    workers: int = 8,
    segments: int | None = None,
    expect: str = "inserted",
    run_id: str = RUN_ID,
) -> int:
    """The migration, journal included. `expect`: what all items must be counted as."""
    from runbook_lib.stages.migrate.migrate import migrate

    run, plan = _opened(case, url, folder, workers, segments, run_id)
    with meter:
        migration = migrate(run, plan)
    done = sum(counts[expect] for counts in migration.state.tables.values())
    if migration.failure or done != case.items:
        raise SystemExit(f"{done} of {case.items} items are {expect}: {migration.failure or migration.state.tables}")
    return done


def analyze_items(
    case: Case, meter: Meter, *, url: str, folder: str, workers: int = 8, segments: int | None = None
) -> int:
    """The analysis."""
    from runbook_lib.stages.analyze.analyze import analyze

    _, plan = _opened(case, url, folder, workers, segments)
    with meter:
        analysis = analyze(plan)
    return analysis.records


def validate_items(
    case: Case, meter: Meter, *, url: str, folder: str, workers: int = 8, segments: int | None = None
) -> int:
    """The validation of what was migrated."""
    from runbook_lib.stages.validate.validate import validate

    run, plan = _opened(case, url, folder, workers, segments)
    with meter:
        validation = validate(run, plan)
    if validation.total("equal") != case.items or any(alert.level == "FAIL" for alert in validation.alerts):
        raise SystemExit(f"{validation.total('equal')} of {case.items} items are equal: {validation.alerts}")
    return case.items


def undo_items(
    case: Case, meter: Meter, *, url: str, folder: str, workers: int = 8, segments: int | None = None
) -> int:
    """The rollback of what was migrated."""
    from runbook_lib.journal.checkpoint import read_checkpoint
    from runbook_lib.stages.rollback.undo import undo

    path = next(Path(folder, RUN_ID).glob("migration-checkpoint-*.json"))
    with meter:
        undone = undo(read_checkpoint(path))
    if undone.deleted != case.items:
        raise SystemExit(f"{undone.deleted} of {case.items} items are deleted")
    return undone.deleted


def follow_items(
    case: Case, meter: Meter, *, url: str, folder: str, workers: int = 8, segments: int | None = None, times: int = 1
) -> int:
    """A change of every item of what was migrated, in an order of chance, from a stream that costs nothing to read.

    It comes so many `times`; at 0 times all is only migrated, and the position of the stream noted.
    """
    from runbook_lib.stages.follow import follow as following
    from runbook_lib.stages.follow import table

    run, plan = _opened(case, url, folder, workers, segments)
    following.open_stream = lambda connection, table: CannedStream(case)
    table.StreamReader = CannedReader
    stream = CannedStream(case)
    CannedReader.left = stream.batches() * times
    with meter:
        migration = following.follow(run, plan, hook=lambda states: "over" if not CannedReader.left else None)
    (done,) = migration.followed.tables.values()
    if done.replaced != case.items * bool(times) or done.drifted:
        raise SystemExit(f"{done.replaced} of {case.items} items are replaced: {done}")
    return done.records or case.items


class CannedStream:
    """The stream of a case's source: every item changed once."""

    def __init__(self, case: Case):
        """Asks nobody."""
        self.case, self.table, self.arn, self.label = case, case.source, "arn", "label"

    def positions_now(self) -> Any:
        """A position."""
        from runbook_lib.dynamo.streams.positions import Position, Positions

        return Positions(self.arn, self.label, {"shard": Position(None, "0")})

    def batches(self, size: int = 1_000) -> list[list[Any]]:
        """The records, as many at once as a shard gives."""
        from runbook_lib.dynamo.streams.records import Record

        case = self.case
        places = [(n // case.page_items, n % case.page_items) for n in range(case.items)]
        random.Random(0).shuffle(places)
        images = [orjson.loads(case.changed(*place)) for place in places]
        records = [
            Record("MODIFY", {name: image[name] for name in case.key}, image, str(n), "shard", time.time())
            for n, image in enumerate(images)
        ]
        return [records[at : at + size] for at in range(0, len(records), size)]


class CannedReader:
    """Gives the batches one after the other."""

    left: ClassVar[list] = []

    def __init__(self, stream: CannedStream, positions: Any):
        """Asks nobody."""
        self._positions = positions

    def read(self) -> Any:
        """The next batch."""
        from runbook_lib.dynamo.streams.reader import Batch, Newest

        records = self.left.pop(0) if self.left else []
        return Batch(records, self._positions, 0, Newest(0.0, time.time()), not self.left, 0.0)

    def __enter__(self) -> "CannedReader":
        return self

    def __exit__(self, *exception: object) -> None:
        pass


# what scripts do


def boto3_puts(case: Case, meter: Meter, *, url: str) -> int:
    """boto3's resource: Scan, and one conditional PutItem after the other. Nothing is rewritten."""
    from boto3.dynamodb.conditions import Attr

    source, target = _boto3_tables(case, url)
    condition = Attr(next(iter(case.key))).not_exists()
    done = 0
    with meter:
        for items in _boto3_pages(source):
            for item in items:
                target.put_item(Item=item, ConditionExpression=condition)
            done += len(items)
    return done


def boto3_batches(case: Case, meter: Meter, *, url: str) -> int:
    """boto3's resource: Scan and batch_writer, which overwrites. Nothing is rewritten."""
    source, target = _boto3_tables(case, url)
    done = 0
    with meter, target.batch_writer() as writer:
        for items in _boto3_pages(source):
            for item in items:
                writer.put_item(Item=item)
            done += len(items)
    return done


def _boto3_tables(case: Case, url: str) -> tuple[Any, Any]:
    import boto3

    resource_ = boto3.resource("dynamodb", region_name=REGION, endpoint_url=url)
    return resource_.Table(case.source), resource_.Table(next(iter(case.targets)))


def _boto3_pages(table: Any):
    more: dict[str, Any] = {}
    while True:
        page = table.scan(ConsistentRead=True, **more)
        yield page["Items"]
        if "LastEvaluatedKey" not in page:
            return
        more = {"ExclusiveStartKey": page["LastEvaluatedKey"]}


# the floor


def floor(case: Case, meter: Meter, *, url: str, like: dict[str, Any], batched: bool | None = None) -> int:
    """urllib3 and orjson, one thread, unsigned: the requests that the program made (`like`: its counters), no more.

    `batched` says whether to insert in batches where that should not be as the program did.
    Each page is parsed, each request serialized from the parsed items, each reply parsed. Nothing is rewritten, recorded,
    compared or counted.
    """
    import orjson
    import urllib3

    pool = urllib3.connection_from_url(url)
    heads: dict[str, dict[str, str]] = {}
    dumps, loads = orjson.dumps, orjson.loads

    def ask(operation: str, body: dict[str, Any]) -> Any:
        if (head := heads.get(operation)) is None:
            head = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": f"DynamoDB_20120810.{operation}"}
            heads[operation] = head
        return loads(pool.urlopen("POST", "/", body=dumps(body), headers=head, retries=False).data)

    def pages(**form):
        request = {"TableName": case.source, "ConsistentRead": True, **form}
        while True:
            page = ask("Scan", request)
            yield page["Items"]
            if "LastEvaluatedKey" not in page:
                return
            request["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def write(items: list[dict]) -> None:
        if not like["inserted"]:
            return
        if not batches:
            for item in items:
                ask("PutItem", {"TableName": target, "Item": item, **CONDITION})
            return
        for at in range(0, len(items), BATCH_STATEMENTS):
            group = [
                {"Statement": _insert_statement(target, item, texts), "Parameters": list(item.values())}
                for item in items[at : at + BATCH_STATEMENTS]
            ]
            ask("BatchExecuteStatement", {"Statements": group})

    batches = in_batches(like) if batched is None else batched
    looks = like["requests"].get("BatchGetItem", 0) >= case.items // BATCH_KEYS
    target, key_names = next(iter(case.targets.items()))
    renamed = list(zip(key_names, case.key, strict=True))
    texts: dict[tuple, str] = {}
    ask("Scan", {"TableName": target, "Limit": 1})  # the connection is set-up
    done = 0
    with meter:
        for form, times in _scans_before(case, like["scans"]).items():
            for _ in range(times):
                for _ in pages(**(_projection(form.split(",")) if form else {})):
                    pass
        for items in pages():
            for at in range(0, len(items) if looks else 0, BATCH_KEYS):
                keys = [{new: item[old] for new, old in renamed} for item in items[at : at + BATCH_KEYS]]
                ask("BatchGetItem", {"RequestItems": {target: {"Keys": keys, "ConsistentRead": True}}})
            write(items)
            done += len(items)
    return done


def in_batches(counters: dict[str, Any]) -> bool:
    """Whether the program inserted in batches, more than to find out whether it can."""
    requests = counters["requests"]
    return requests.get("BatchExecuteStatement", 0) > requests.get("PutItem", 0) / BATCH_STATEMENTS


CONDITION = {
    "ConditionExpression": "attribute_not_exists(#k)",
    "ExpressionAttributeNames": {"#k": "id"},
    "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
}


def _insert_statement(table: str, item: dict, texts: dict[tuple, str]) -> str:
    """The PartiQL for an item's attributes, made once for each set of them."""
    if (text := texts.get(names := tuple(item))) is None:
        pairs = ", ".join(f"'{name}': ?" for name in names)
        texts[names] = text = f'INSERT INTO "{table}" VALUE {{{pairs}}}'
    return text


def _scans_before(case: Case, scans: dict[str, int]) -> dict[str, int]:
    """Projection → how often the whole source was read with it besides the pass that migrates."""
    times = {form: round(number / case.pages) for form, number in scans.items()}
    times[""] = times.get("", 1) - 1
    return times


def _projection(names: list[str]) -> dict[str, Any]:
    short = {f"#a{number}": name for number, name in enumerate(names)}
    return {"ProjectionExpression": ",".join(short), "ExpressionAttributeNames": short}


CONTENDERS: dict[str, Callable[..., int]] = {
    "migrate": migrate_items,
    "analyze": analyze_items,
    "validate": validate_items,
    "undo": undo_items,
    "follow": follow_items,
    "boto3 PutItem": boto3_puts,
    "boto3 batch_writer": boto3_batches,
    "floor": floor,
}

if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
