"""Tables, and the wire's writes, on real engines: moto by default, the others in the slow tier."""

import itertools
import re
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError
from botocore.hooks import HierarchicalEmitter
from botocore.session import get_session
from support_wire import HANG_UP, THROTTLED, Stub, error

from runbook_lib.dynamo import backups, session, tables
from runbook_lib.dynamo.aws.partitions import unknown_region
from runbook_lib.dynamo.rate_limiter import RateLimiter
from runbook_lib.dynamo.structure.description import table_of
from runbook_lib.errors import ConditionFailed, DynamoError, Interrupted, Refused
from runbook_lib.mapping.create import Create

numbers = itertools.count(1)


def side(url, **more):
    defaults = dict.fromkeys(("account", "profile", "role_arn", "external_id"))
    return SimpleNamespace(**{**defaults, "environment": "test", "region": "us-west-1", "endpoint_url": url, **more})


@pytest.fixture
def target(engine):
    return session.connect(side(engine.endpoint_url), "target", workers=2)


@pytest.fixture
def name():
    return f"tables-test-{next(numbers)}"


SPLIT = Create(
    key={"PK": "S", "SK": "N"},
    indexes={"GSI1": {"GSI1PK": "S", "SK": "N"}, "GSI2": {"GSI2PK": "B"}},
    tags={"application": "crm"},
)
PLAIN = Create(key={"id": "S"})


def make(target, name, spec=PLAIN):
    tables.create(target, name, spec)
    return tables.wait_active(target, name, timeout=30)


# Tables


def test_a_missing_table_is_none(target, name):
    """describe returns None for what does not exist, and raises nothing."""
    assert tables.describe(target, name) is None


def test_a_created_table_is_as_described(target, name):
    """Key with types, both indexes, on-demand; `difference` finds nothing."""
    table = make(target, name, SPLIT)
    assert table == tables.describe(target, name)
    assert table.name == name
    assert table.key == (("PK", "S"), ("SK", "N"))
    assert {index: found.key for index, found in table.indexes.items()} == {
        "GSI1": (("GSI1PK", "S"), ("SK", "N")),
        "GSI2": (("GSI2PK", "B"),),
    }
    assert table.indexes["GSI1"].projection == "ALL"
    assert (table.status, table.billing, table.items) == ("ACTIVE", "PAY_PER_REQUEST", 0)
    assert not table.stream
    assert not table.deletion_protection
    assert tables.difference(table, SPLIT) == []


def test_tags_arrive(moto, name):
    """The tags of the description are on the table."""
    target = session.connect(side(moto.endpoint_url), "target")
    table = make(target, name, SPLIT)
    tags = target.client.list_tags_of_resource(ResourceArn=table.arn)["Tags"]
    assert tags == [{"Key": "application", "Value": "crm"}]


def test_provisioned_capacity(moto, name):
    """Read and write units count for the table and each index."""
    target = session.connect(side(moto.endpoint_url), "target")
    spec = Create(key={"id": "S"}, indexes={"ByX": {"x": "S"}}, billing={"read": 3, "write": 2})
    table = make(target, name, spec)
    assert (table.billing, table.units, table.indexes["ByX"].units) == ("PROVISIONED", (3, 2), (3, 2))
    content = target.client.describe_table(TableName=name)["Table"]
    for throughput in (content["ProvisionedThroughput"], content["GlobalSecondaryIndexes"][0]["ProvisionedThroughput"]):
        assert (throughput["ReadCapacityUnits"], throughput["WriteCapacityUnits"]) == (3, 2)


def test_create_does_not_touch_what_exists(target, name):
    """A table that is there at the first answer is somebody else's, equal or not; it stays as it is."""
    make(target, name, SPLIT)
    for spec in (PLAIN, SPLIT):
        with pytest.raises(Interrupted, match=f"CreateTable on {name} .*somebody else has created it meanwhile"):
            tables.create(target, name, spec, lambda: pytest.fail("it was answered"))
    assert tables.difference(tables.describe(target, name), SPLIT) == []


def test_difference_names_each(target, name):
    """Another key, a missing index, another index key; indexes beyond the description are no difference."""
    table = make(target, name, SPLIT)
    other = Create(key={"PK": "S", "SK": "S"}, indexes={"GSI1": {"GSI1PK": "S"}, "GSI3": {"x": "S"}})
    assert tables.difference(table, other) == [
        "its key is PK (S) + SK (N), not PK (S) + SK (S)",
        "the key of index GSI1 is GSI1PK (S) + SK (N), not GSI1PK (S)",
        "index GSI3 is missing",
    ]
    assert tables.difference(table, Create(key={"PK": "S", "SK": "N"})) == []


def test_delete_waits_until_the_table_is_gone(target, name):
    """Afterwards it does not exist; deleting again is done already."""
    make(target, name)
    tables.delete(target, name)
    assert tables.describe(target, name) is None
    tables.delete(target, name)


def test_a_protected_table_stays(moto, name):
    """Deletion protection is not switched off for anybody: one sentence says what to do."""
    target = session.connect(side(moto.endpoint_url), "target")
    make(target, name)
    target.client.update_table(TableName=name, DeletionProtectionEnabled=True)
    assert tables.describe(target, name).deletion_protection
    with pytest.raises(DynamoError, match=f"target: {name} is protected against deletion; turn"):
        tables.delete(target, name)
    assert tables.describe(target, name) is not None
    target.client.update_table(TableName=name, DeletionProtectionEnabled=False)
    tables.delete(target, name)


def test_the_source_makes_and_deletes_no_tables(moto, name):
    """The source is only read."""
    source = session.connect(side(moto.endpoint_url), "source")
    with pytest.raises(AssertionError):
        tables.create(source, name, PLAIN)
    with pytest.raises(AssertionError):
        tables.delete(source, name)


# Tables that an engine answers for strangely: a scripted client


class Client:
    """Answers describe_table and create_table with what `script` yields next, raising what is an exception."""

    def __init__(self, *script):
        self.script = list(script)
        self.meta = SimpleNamespace(events=HierarchicalEmitter())

    def _next(self, **_):
        answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    describe_table = create_table = delete_table = list_tables = _next
    describe_time_to_live = update_time_to_live = describe_continuous_backups = create_backup = describe_backup = _next


def scripted(*script, region="us-west-1"):
    about = {"label": "target", "region": region, "endpoint_url": "http://x", "who": ""}
    return SimpleNamespace(**about, address=("http://x", region), client=Client(*script), limiter=RateLimiter())


def refusal(code, status=400, message="about canary-of-a-value"):
    response = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "DescribeTable")


def state(status, *indexes):
    key = [{"AttributeName": "id", "KeyType": "HASH"}]
    table = {"TableName": "T", "TableStatus": status, "KeySchema": key}
    table["AttributeDefinitions"] = [{"AttributeName": "id", "AttributeType": "S"}]
    table["GlobalSecondaryIndexes"] = [
        {"IndexName": f"I{number}", "IndexStatus": index, "KeySchema": key} for number, index in enumerate(indexes)
    ]
    return {"Table": table}


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(tables, "POLL", 0.01)


def test_wait_active_waits_for_the_indexes(name):
    """A table is ready when its last index is."""
    creating = state("CREATING", "CREATING", "CREATING")
    later = state("ACTIVE", "ACTIVE", "CREATING")
    target = scripted(refusal("ResourceNotFoundException"), creating, later, state("ACTIVE", "ACTIVE", "ACTIVE"))
    assert tables.wait_active(target, "T").status == "ACTIVE"
    assert len(target.client.script) == 1


def test_wait_active_has_a_deadline():
    """A table that stays in creation interrupts, and the sentence says what it was waiting for."""
    with pytest.raises(Interrupted, match=r"T is not active after 0 seconds \(CREATING\)"):
        tables.wait_active(scripted(state("ACTIVE", "CREATING")), "T", timeout=0.05)


def test_create_waits_where_too_many_tables_change(monkeypatch):
    """LimitExceeded is retried until there is room, and not for ever."""
    target = scripted(refusal("LimitExceededException"), refusal("LimitExceededException"), {})
    tables.create(target, "T", PLAIN)
    assert target.client.script == [{}]
    monkeypatch.setattr(tables, "DEADLINE", 0.05)
    with pytest.raises(Interrupted, match="too many tables are changing"):
        tables.create(scripted(refusal("LimitExceededException")), "T", PLAIN)


IN_USE, ERROR_500 = error("ResourceInUseException"), error("InternalServerError", 500)


@pytest.mark.parametrize(
    ("answers", "spec", "ours"),
    [
        ([HANG_UP, IN_USE], PLAIN, True),
        ([ERROR_500, IN_USE], PLAIN, True),
        ([THROTTLED, IN_USE], PLAIN, False),
        ([IN_USE], PLAIN, False),
        ([HANG_UP, IN_USE], SPLIT, False),
    ],
    ids=["lost", "5xx", "throttled", "answered", "another"],
)
def test_a_table_that_an_unanswered_request_made_is_ours(answers, spec, ours, monkeypatch):
    """Where it is as described. A request that was answered made none."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # botocore's, between attempts
    monkeypatch.setattr(tables, "wait_active", lambda connection, name: table_of(state("ACTIVE")["Table"]))
    stub, unanswered = Stub(), []
    stub.script = list(answers)
    target, keys = scripted(), dict.fromkeys(("aws_access_key_id", "aws_secret_access_key"), "x")
    target.client = get_session().create_client("dynamodb", "us-west-1", endpoint_url=stub.url, **keys)
    with nullcontext() if ours else pytest.raises(Interrupted, match="somebody else"):
        tables.create(target, "T", spec, lambda: unanswered.append(1))
    assert len(unanswered) == (answers[0] not in (THROTTLED, IN_USE))
    stub.close()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("AccessDeniedException", "access denied; allow dynamodb:DescribeTable on T for the role or user"),
        ("UnrecognizedClientException", r"credentials are not accepted \(UnrecognizedClientException\)"),
        ("ExpiredTokenException", "credentials are not accepted"),
    ],
)
def test_no_access_is_refused_in_one_sentence(code, words):
    """Side, operation, table, region and endpoint, what is wrong and the mend; not the engine's own text."""
    with pytest.raises(Refused, match=rf"^target: DescribeTable on T in us-west-1 \(http://x\): .*{words}") as raised:
        tables.describe(scripted(refusal(code)), "T")
    assert "canary" not in str(raised.value)


def test_an_identity_is_unknown_only_where_a_right_is_missing():
    """Nobody needs a right to describe for an undo; any other answer but a table, or that there is none, is asked for again."""
    denied, missing = refusal("AccessDeniedException"), refusal("ResourceNotFoundException")
    assert tables.identities(scripted({}, denied, missing), ["T", "U"]) == {"T": None, "U": None}
    identified = state("ACTIVE")
    identified["Table"]["TableId"] = "the-id"
    assert tables.identities(scripted({}, identified), ["T"]) == {"T": "the-id"}
    for answer in ({}, GARBLED, refusal("UnrecognizedClientException")):
        with pytest.raises(Interrupted, match="^target: DescribeTable on T"):
            tables.identities(scripted(answer), ["T"])


def test_an_endpoint_that_does_not_answer_is_refused(engines_gone):
    """Nobody listens there: Refused, naming the endpoint."""
    target = session.connect(side(engines_gone), "target")
    with pytest.raises(Refused, match=rf"\({engines_gone}\): the endpoint does not answer"):
        tables.describe(target, "T")


@pytest.fixture
def engines_gone():
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


GARBLED = UnicodeDecodeError("utf-8", b"", 0, 1, "")


def test_garbled_replies_are_asked_for_again():
    """What botocore lets through of a corrupted reply (an escaped decoding error, an empty dict) costs a retry."""
    assert tables.describe(scripted(GARBLED, {}, state("ACTIVE")), "T").status == "ACTIVE"


@pytest.mark.parametrize("answer", [GARBLED, {}, refusal("404", 404), refusal("403", 403)])
def test_something_else_at_the_endpoint_is_refused(answer):
    """A web server or proxy answers: Refused, naming the endpoint."""
    with pytest.raises(Refused, match=r"\(http://x\): what answers there is not DynamoDB; check endpoint_url"):
        tables.describe(scripted(answer), "T")


def test_an_impossible_name_is_refused(moto):
    """What boto3 itself refuses to send is a sentence too."""
    target = session.connect(side(moto.endpoint_url), "target")
    with pytest.raises(Refused, match="Invalid length for parameter TableName"):
        tables.describe(target, "")


def test_an_overloaded_endpoint_interrupts():
    """Throttling that outlasts the client's retries, or 5xx: resume later."""
    for answer in (refusal("ThrottlingException"), refusal("InternalServerError", 500)):
        with pytest.raises(Interrupted, match="overloaded"):
            tables.describe(scripted(answer), "T")


def test_an_overloaded_endpoint_is_waited_for():
    """For the patience of the limits; the limiter says what is waited for. A call that an engine may lack is not waited for."""
    now, seen = [0.0], []
    target = scripted(state("ACTIVE"))
    target.limiter = RateLimiter(
        patience=600, clock=lambda: now[0], sleep=lambda s: now.__setitem__(0, now[0] + 60 * s)
    )
    target.limiter.on_wait = lambda: seen.extend(target.limiter.slowed())

    def answer(**_):
        if now[0] < 300:
            raise refusal("ThrottlingException")
        return state("ACTIVE")

    target.client.describe_table = answer
    assert tables.describe(target, "T").status == "ACTIVE"
    assert re.match(
        r"target T: nothing accepted for 0:\d\d because of ThrottlingException; waiting up to 10:00", seen[0]
    )
    target.client = Client(refusal("ThrottlingException"))
    began = now[0]
    with pytest.raises(Interrupted, match="overloaded"):
        tables.ttl_attribute(target, "T")
    assert now[0] == began
    with pytest.raises(Interrupted, match="overloaded"):
        tables.describe(target, "T")
    assert now[0] >= began + 600


def test_a_region_that_nobody_knows_is_not_waited_for():
    """An engine that answers 5xx for every region it does not have. A known region, and an endpoint that has answered, are."""
    fault = refusal("InternalServerError", 500)
    lost = scripted(fault, region="eu-nowhere-1")
    lost.limiter = RateLimiter(patience=600, sleep=lambda _: None)
    with pytest.raises(
        Refused, match="only InternalServerError; botocore knows no region eu-nowhere-1; did you mean eu-"
    ):
        tables.describe(lost, "T")
    answered = scripted(state("ACTIVE"), fault, region="eu-nowhere-1")
    tables.describe(answered, "T")
    for known in (answered, scripted(fault, region="eu-central-1")):
        with pytest.raises(Interrupted, match="overloaded"):
            tables.describe(known, "T")
    assert unknown_region("x") == "botocore knows no region x; check its name."


UNKNOWN = refusal("RequestEntityTooLarge", 413)


@pytest.mark.parametrize(
    "answer", [UNKNOWN, refusal("SomethingNew"), {}, {"Table": {"TableStatus": "ACTIVE"}}, GARBLED]
)
def test_an_answer_that_is_not_understood_is_asked_again(answer):
    """Bounded: then Interrupted, from an endpoint that has answered as DynamoDB does; with the code, without a value."""
    target = scripted(answer, state("ACTIVE"))
    assert tables.describe(target, "T").status == "ACTIVE"
    target.client.script = [answer]
    with pytest.raises(Interrupted, match="gave up after 5 attempts; the last one failed: ") as raised:
        tables.describe(target, "T")
    assert "canary" not in str(raised.value)
    assert "413" in str(raised.value) or answer is not UNKNOWN


@pytest.mark.parametrize("answer", [UNKNOWN, refusal("SomethingNew")])
def test_an_unknown_refusal_interrupts(answer):
    """Also where it is the first answer of the endpoint."""
    with pytest.raises(Interrupted, match="unknown error"):
        tables.describe(scripted(answer), "T")


DAMAGED = {
    "ListTables": ({"TableNames": ["T"]}, lambda target: tables.names(target), ["T"]),
    "DescribeTimeToLive": (
        {"TimeToLiveDescription": {"TimeToLiveStatus": "ENABLED", "AttributeName": "x"}},
        lambda target: tables.ttl_attribute(target, "T"),
        "x",
    ),
    "CreateBackup": (
        {"BackupDetails": {"BackupArn": "arn"}},
        lambda target: backups.create(target, "T", "b"),
        "arn",
    ),
    "DescribeContinuousBackups": (
        {"ContinuousBackupsDescription": {"ContinuousBackupsStatus": "ENABLED"}},
        lambda target: backups.recovery(target, "T").on,
        False,
    ),
    "DescribeBackup": (
        {"BackupDescription": {"BackupDetails": {"BackupStatus": "AVAILABLE"}}},
        lambda target: backups.describe(target, "arn").status,
        "AVAILABLE",
    ),
}


@pytest.mark.parametrize(("good", "ask", "found"), DAMAGED.values(), ids=DAMAGED)
def test_an_empty_reply_is_no_answer(good, ask, found):
    """No table, no TTL, no backup is found missing for it: asked again, and then Interrupted."""
    target = scripted({}, good)
    assert ask(target) == found
    target.client.script = [{}]
    with pytest.raises(Interrupted, match="gave up after 5 attempts; the last one failed: the reply lacks"):
        ask(target)


def test_a_list_of_tables_that_goes_round_in_a_circle_interrupts():
    """The same name to go on from, again and again."""
    with pytest.raises(Interrupted, match="the reply lacks its TableNames"):
        tables.names(scripted({"TableNames": ["T"], "LastEvaluatedTableName": "T"}))


def test_a_damaged_reply_to_setting_ttl_is_looked_up():
    """DynamoDB refuses to set it twice."""
    off = {"TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}}
    on = {"TimeToLiveDescription": {"TimeToLiveStatus": "ENABLED", "AttributeName": "x"}}
    target = scripted(off, {}, on)
    tables.set_ttl(target, "T", "x")
    assert target.client.script == [on]


def test_a_new_table_that_is_not_found_is_there():
    """For a while after it was active; one that is deleted is not new any more."""
    target = scripted(state("ACTIVE"), refusal("ResourceNotFoundException"), state("ACTIVE"))
    tables.wait_active(target, "a-new-table")
    assert tables.describe(target, "a-new-table").status == "ACTIVE"
    target.client.script = [state("ACTIVE"), {}, refusal("ResourceNotFoundException")]
    tables.delete(target, "a-new-table")
    assert tables.describe(target, "a-new-table") is None


def test_a_new_table_of_another_region_is_missing_here_at_once():
    """One of its name may have been made there by this very process."""
    tables.wait_active(scripted(state("ACTIVE"), region="us-east-1"), "a-table-of-another-region")
    here = scripted(refusal("ResourceNotFoundException"), state("ACTIVE"))
    assert tables.describe(here, "a-table-of-another-region") is None


def test_a_table_that_is_all_but_deleted_is_not_there():
    """DynamoDB says little of it then."""
    assert tables.describe(scripted({"Table": {"TableName": "T", "TableStatus": "DELETING"}}), "T") is None


def test_a_missing_right_names_the_role():
    """Whom DynamoDB names; else who STS says it is. In XML, too, as an engine with IAM sends it."""
    target = scripted(refusal("AccessDeniedException"))
    target.who = "arn:aws:iam::123456789012:role/writer"
    with pytest.raises(
        Refused, match=r"access denied; allow dynamodb:DescribeTable on T for arn:aws:iam::123456789012:role/writer\.$"
    ):
        tables.describe(target, "T")
    said = (
        "User: arn:aws:iam::123456789012:user/ann is not authorized to perform: dynamodb:DescribeTable on resource: *"
    )
    target.client.script = [refusal("403", 403, f"<E><Code>AccessDenied</Code><Message>{said}</Message></E>")]
    with pytest.raises(Refused, match="allow dynamodb:DescribeTable on T for arn:aws:iam::123456789012:user/ann"):
        tables.describe(target, "T")


# Items


def items(count):
    return [{"PK": {"S": f"p{n % 7}"}, "SK": {"N": str(n)}, "text": {"S": "x" * 100}} for n in range(count)]


def keys(of):
    return [{"PK": item["PK"], "SK": item["SK"]} for item in of]


@pytest.fixture
def filled(target, name):
    """A table with 230 items, put one by one."""
    make(target, name, SPLIT)
    for item in items(230):
        assert target.wire.put_new(name, item, "PK") is None
    return target


def test_items_go_in_and_come_out_the_same(filled, name):
    """Every item by scan (paged, in segments), by batch in the order of the keys, and by query."""
    by_scan = []
    for segment in range(3):
        start = None
        while True:
            page, start = filled.wire.scan_page(name, start=start, segment=segment, segments=3, limit=20)
            by_scan += page
            if start is None:
                break
    assert sorted(by_scan, key=lambda item: int(item["SK"]["N"])) == items(230)

    wanted = [*reversed(items(230)), {"PK": {"S": "none"}, "SK": {"N": "1"}}]
    assert filled.wire.get_many(name, keys(wanted)) == [*reversed(items(230)), None]
    assert filled.wire.get(name, keys(wanted)[0]) == wanted[0]
    assert filled.wire.get(name, keys(wanted)[-1]) is None

    body = {
        "TableName": name,
        "KeyConditionExpression": "PK = :p",
        "ExpressionAttributeValues": {":p": {"S": "p3"}},
        "Limit": 10,
    }
    pages = list(filled.wire.query_pages(body))
    assert [item for page, _ in pages for item in page] == [i for i in items(230) if i["PK"] == {"S": "p3"}]
    assert len(pages) >= 4
    assert filled.wire.retries.total() == 0


def test_scan_brings_only_the_attributes_named(target, name):
    """Names with dots and reserved words are names, not paths."""
    make(target, name)
    target.wire.put_new(name, {"id": {"S": "1"}, "a.b": {"N": "1"}, "name": {"S": "x"}, "rest": {"S": "y"}}, "id")
    found, _ = target.wire.scan_page(name, attributes=["a.b", "name"])
    assert found == [{"a.b": {"N": "1"}, "name": {"S": "x"}}]


def test_put_new_leaves_what_is_there(filled, name):
    """The item that has the key comes back, whatever the engine sends with its refusal, and stays."""
    there = items(1)[0]
    assert filled.wire.put_new(name, {**there, "text": {"S": "other"}}, "PK") == there
    assert filled.wire.get(name, keys([there])[0]) == there


def test_delete_if_deletes_only_the_unchanged(filled, name):
    """A changed item stays and comes with the error; the unchanged is deleted and returned; absent is None."""
    item, (key,) = items(1)[0], keys(items(1))
    with pytest.raises(ConditionFailed) as raised:
        filled.wire.delete_if(name, key, [("text", {"S": "other"})])
    assert raised.value.item == item
    assert filled.wire.get(name, key) == item
    assert filled.wire.delete_if(name, key, [(a, item[a]) for a in ("PK", "SK", "text")]) == item
    assert filled.wire.get(name, key) is None
    assert filled.wire.delete_if(name, key, [("text", item["text"])]) is None
    assert filled.wire.delete_if(name, key, []) is None


def test_is_empty(target, name):
    """An item more or less decides; the lagging item count does not."""
    make(target, name)
    assert tables.is_empty(target, name)
    target.wire.put_new(name, {"id": {"S": "1"}}, "id")
    assert not tables.is_empty(target, name)


def test_a_lost_table_is_named(target, name):
    """A data operation on a table that is gone: ResourceNotFoundException, for the caller to interpret."""
    with pytest.raises(DynamoError, match=f"target: PutItem on {name} was refused") as raised:
        target.wire.put_new(name, {"id": {"S": "1"}}, "id")
    assert raised.value.code == "ResourceNotFoundException"


def test_an_item_without_its_key_says_which(moto, name):
    """The engine's sentence about the missing key reaches the user; the item does not."""
    target = session.connect(side(moto.endpoint_url), "target")
    make(target, name)
    with pytest.raises(DynamoError) as raised:
        target.wire.put_new(name, {"x": {"S": "canary-of-a-value"}}, "id")
    assert raised.value.code == "ValidationException"
    assert "canary" not in str(raised.value)
