"""What is measured, in which order."""

import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator

from . import measure
from .contenders import in_batches
from .measure import Measured
from .report import Report
from .server import Canned
from .shapes import Case

OURS, FLOOR, FLOOR_BATCHES, PUTS, BATCHES = (
    "migrate",
    "floor",
    "floor in batches",
    "boto3 PutItem",
    "boto3 batch_writer",
)
SHAPES = {  # case → items
    "copy-1kB-3": 20_000,
    "copy-1kB-0": 10_000,
    "copy-1kB-8": 10_000,
    "copy-300B-0": 20_000,
    "copy-300B-3": 20_000,
    "copy-20kB-3": 1_000,
    "split-1kB-0": 20_000,
    "single-1kB-3": 20_000,
    "split-300B-0": 20_000,
    "split-20kB-0": 1_000,
}
WITH_BOTO3 = "copy-1kB-3"
BOTO3_ITEMS = {PUTS: 2_000, BATCHES: 4_000}
STAGES = ("analyze", "migrate", "validate", "migrate again", "undo")
SIZES = (10_000, 100_000, 1_000_000)
START_UPS = {
    "python": ["-c", "pass"],
    "import boto3": ["-c", "import boto3"],
    "import boto3 and runbook_lib": ["-c", "import boto3, runbook_lib"],
    "import runbook_lib.cli": ["-c", "import runbook_lib.cli"],
    "import boto3 and all stages": [
        "-c",
        "import boto3, runbook_lib.cli\nfrom runbook_lib.stages import analyze\n"
        "from runbook_lib.stages.migrate import migrate\nfrom runbook_lib.stages.rollback import rollback\n"
        "from runbook_lib.stages.validate import validate\nfrom runbook_lib.walk import plan",
    ],
    "runbook --help": ["-m", "runbook_lib", "--help"],
}


def shapes(report: Report, canned: Canned, cases: dict[str, int], repeat: int) -> None:
    """The program against the floor for each case, and against boto3 for one."""
    for name, items in cases.items():
        contest(report, canned, Case.named(name, items), repeat, with_boto3=name == WITH_BOTO3)
    report.show("shapes")


def contest(report: Report, canned: Canned, case: Case, repeat: int, *, with_boto3: bool, keep: bool = False) -> None:
    """One case, `repeat` times: the contenders take turns, so that what else the machine does hits all of them."""
    for _ in range(repeat):
        canned.reset(case, keep=keep)
        with _folder() as folder:
            ours = measure.run("migrate", case, url=canned.url, folder=folder)
        like = canned.counters()
        report.add("shapes", OURS, ours, like)
        kinds: dict[str, bool | None] = {FLOOR: None}
        if not in_batches(like):
            kinds[FLOOR_BATCHES] = True
        for kind, batched in kinds.items():
            canned.reset(case, keep=keep)
            floor = measure.run("floor", case, url=canned.url, like=like, batched=batched)
            report.add("shapes", kind, floor, done := canned.counters())
            if batched is None:
                report.compare_requests(case.name, like, done)
        for contender, items in BOTO3_ITEMS.items() if with_boto3 else ():
            few = Case(case.mode, case.size, case.references, min(items, case.items))
            canned.reset(few)
            report.add("shapes", contender, measure.run(contender, few, url=canned.url), canned.counters())


def stages(report: Report, canned: Canned, case: Case, repeat: int, names: tuple[str, ...] = STAGES) -> None:
    """Each stage of the program on a target that remembers; and a migration that finds everything there."""
    for _ in range(repeat):
        with _folder() as folder:
            canned.reset(case, keep=True)
            before = canned.counters()
            for stage in names:
                spec = {"url": canned.url, "folder": folder}
                if stage == "migrate again":
                    spec |= {"expect": "already_there", "run_id": "the-second-run"}
                measured = measure.run(stage.split()[0], case, **spec)
                after = canned.counters()
                report.add("stages", stage, measured, spent := _difference(after, before))
                before = after
                if stage == "migrate again":
                    floor = measure.run("floor", case, url=canned.url, like=spent)
                    before = canned.counters()
                    report.add("stages", "floor of that", floor, _difference(before, after))
    report.show("stages")


def follow(report: Report, canned: Canned, case: Case, repeat: int) -> None:
    """A change of every item after its migration; and the same changes a second time."""
    for _ in range(repeat):
        for name, times in (("follow", 1), ("follow, twice", 2)):
            with _folder() as folder:
                canned.reset(case, keep=True)
                spec = {"url": canned.url, "folder": folder}
                measure.run("follow", case, **spec, times=0)
                before = canned.counters()
                measured = measure.run("follow", case, **spec, times=times)
                report.add("follow", name, measured, _difference(canned.counters(), before))
    report.show("follow")


def fallback(report: Report, canned: Canned, case: Case, repeat: int) -> None:
    """The program against the floor where the endpoint has no BatchExecuteStatement."""
    for _ in range(repeat):
        canned.reset(case, batches=False)
        with _folder() as folder:
            ours = measure.run("migrate", case, url=canned.url, folder=folder)
        like = canned.counters()
        report.add("single inserts", OURS, ours, like)
        canned.reset(case)
        floor = measure.run("floor", case, url=canned.url, like=like, batched=False)
        report.add("single inserts", FLOOR, floor, canned.counters())
    report.show("single inserts")


def growth(
    report: Report,
    canned: Canned,
    name: str,
    sizes: list[int],
    *,
    all_stages: bool = False,
    segments: int | None = None,
) -> None:
    """The same case with more and more items: time and memory. The smallest size is repeated.

    Without `segments` the program chooses: one for each 100 MB of the table, up to its workers.
    """
    names = ("analyze", "migrate", "validate", "undo") if all_stages else ("migrate",)
    for items in sizes:
        case = Case.named(name, items)
        for _ in range(3 if items == min(sizes) else 1):
            with _folder() as folder:
                canned.reset(case, keep=all_stages)
                spec = {"url": canned.url, "folder": folder, "segments": segments}
                for stage in names:
                    report.add("growth", stage, measure.run(stage, case, **spec), {})
        report.show_growth(items)


def start_up(report: Report, canned: Canned, repeat: int, items: int = 2_000, runs: int = 5) -> None:
    """What it costs to start: imports, and the commands that only look, in a folder with runs."""
    case = Case.named("copy-1kB-3", items)
    with _folder() as folder:
        for number in range(runs):
            canned.reset(case)
            measure.run("migrate", case, url=canned.url, folder=folder, run_id=f"the-run-{number}")
        look = ["-m", "runbook_lib", "status"]
        commands = START_UPS | {
            "runbook status": [*look, "--outputs", folder],
            "runbook status RUN_ID": [*look, "the-run-0", "--outputs", folder],
        }
        for again in range(repeat + 1):
            for name, words in commands.items():
                started = time.perf_counter()
                _, used, memory = measure.spent([sys.executable, *words])
                seconds = time.perf_counter() - started
                if again:  # the first time may have to compile
                    cpu = used.ru_utime + used.ru_stime
                    report.add("start-up", name, Measured(name, "", 1, cpu, seconds, memory), {})
    report.show("start-up")


def engine(report: Report, items: int, repeat: int) -> None:
    """The program and boto3 on another DynamoDB engine, ministack: a whole server, whose own CPU does not count."""
    sys.path.insert(0, str(measure.ROOT / "tests"))
    import engines

    if reason := engines.missing("ministack"):
        report.note(f"Not measured on ministack: {reason}")
        return
    case = Case.named("copy-1kB-3", items)
    with engines.running("ministack") as running:
        client = running.client()
        _make(client, case.source, case.key)
        _fill(client, case)
        for _ in range(repeat):
            for contender in (OURS, PUTS, BATCHES):
                for target, key in case.targets.items():
                    _make(client, target, key)
                with _folder() as folder:
                    spec = {"folder": folder} if contender == OURS else {}
                    report.add(
                        "ministack", contender, measure.run(contender, case, url=running.endpoint_url, **spec), {}
                    )
                for target in case.targets:
                    client.delete_table(TableName=target)
    report.show("ministack")


def _make(client, name: str, key: list[str]) -> None:
    client.create_table(
        TableName=name,
        KeySchema=[
            {"AttributeName": part, "KeyType": kind} for part, kind in zip(key, ("HASH", "RANGE"), strict=False)
        ],
        AttributeDefinitions=[{"AttributeName": part, "AttributeType": "S"} for part in key],
        BillingMode="PAY_PER_REQUEST",
    )
    client.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})


def _fill(client, case: Case) -> None:
    puts = [{"PutRequest": {"Item": item}} for number in range(case.pages) for item in case.items_of(number)]
    for at in range(0, len(puts), 25):
        left = client.batch_write_item(RequestItems={case.source: puts[at : at + 25]})["UnprocessedItems"]
        assert not left


def _difference(after: dict, before: dict) -> dict:
    return {
        name: {key: number - before[name].get(key, 0) for key, number in value.items()}
        if isinstance(value, dict)
        else value - before[name]
        for name, value in after.items()
    }


@contextlib.contextmanager
def _folder() -> Iterator[str]:
    with tempfile.TemporaryDirectory(dir=measure.work_folder(), prefix="run-") as folder:
        yield folder
