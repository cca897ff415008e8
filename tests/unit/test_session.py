"""Opening a side: what is found, what is refused, and what happens when credentials change."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from runbook_lib.dynamo import session
from runbook_lib.errors import Interrupted, Refused

MOTO_ACCOUNT = "123456789012"


def side(**given):
    defaults = dict.fromkeys(("region", "account", "profile", "role_arn", "endpoint_url"))
    return SimpleNamespace(**{**defaults, "environment": "dev", **given})


def test_import_is_light():
    """Importing the package's modules loads neither botocore nor boto3 nor urllib3."""
    code = (
        "import sys, runbook_lib.dynamo.session, runbook_lib.dynamo.tables, runbook_lib.dynamo.items;"
        "sys.exit(str(sorted({'botocore', 'boto3', 'urllib3', 'pandas'} & set(sys.modules))).strip('[]'))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr.strip() == ""


def test_a_side_is_opened(moto):
    """Region and endpoint as given, the account as STS at the same endpoint tells it."""
    opened = session.connect(side(region="us-west-1", endpoint_url=moto.endpoint_url), "source")
    assert (opened.label, opened.environment, opened.region) == ("source", "dev", "us-west-1")
    assert (opened.account, opened.endpoint_url) == (MOTO_ACCOUNT, moto.endpoint_url)


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB"])
def test_what_the_side_leaves_out_comes_from_the_environment(moto, monkeypatch, variable):
    """AWS_REGION, and an endpoint for all services or for DynamoDB alone; STS is then asked there too."""
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv(variable, moto.endpoint_url)
    opened = session.connect(side(), "source")
    assert (opened.region, opened.endpoint_url, opened.account) == ("eu-west-1", moto.endpoint_url, MOTO_ACCOUNT)


def test_an_endpoint_without_sts_has_no_account(monkeypatch):
    """Nothing answers there: the account is unknown, which is no refusal where none is declared."""
    opened = session.connect(side(region="us-west-1", endpoint_url="http://127.0.0.1:1"), "source")
    assert opened.account is None
    with pytest.raises(Refused, match="account 111111111111 is declared, but STS does not say"):
        session.connect(side(region="us-west-1", endpoint_url="http://127.0.0.1:1", account="1" * 12), "source")


def test_a_declared_account_must_be_confirmed(moto):
    """STS says another account: Refused, naming both. The right one passes."""
    where = {"region": "us-west-1", "endpoint_url": moto.endpoint_url}
    with pytest.raises(
        Refused, match=f"target: these credentials belong to account {MOTO_ACCOUNT}, not to 999999999999"
    ):
        session.connect(side(**where, account="999999999999"), "target")
    assert session.connect(side(**where, account=MOTO_ACCOUNT), "target").account == MOTO_ACCOUNT


def test_a_role_is_assumed(moto):
    """Requests are signed as the role; the argument wins over the side's own role."""
    role, undo = (f"arn:aws:iam::{account}:role/runbook" for account in ("222222222222", "333333333333"))
    given = side(region="us-west-1", endpoint_url=moto.endpoint_url, role_arn=role)
    opened = session.connect(given, "target")
    assert opened.account == "222222222222"
    opened.client.create_table(
        TableName="of-the-role",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    opened.wire.put_new("of-the-role", {"id": {"S": "1"}}, "id")  # the wire and the client are the same account
    assert session.connect(given, "target", role_arn=undo).account == "333333333333"


def test_a_role_that_cannot_be_assumed_is_refused():
    """No STS there to assume it with: one sentence."""
    role = "arn:aws:iam::222222222222:role/runbook"
    with pytest.raises(Refused, match="target: "):
        session.connect(side(region="us-west-1", endpoint_url="http://127.0.0.1:1", role_arn=role), "target")


@pytest.mark.parametrize("role", [None, "arn:aws:iam::222222222222:role/runbook"])
def test_no_credentials_is_refused(monkeypatch, role):
    """The sentence says how to give some."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(Refused, match=r"source: no AWS credentials.*set AWS_PROFILE"):
        session.connect(side(region="us-west-1", role_arn=role), "source")


def test_no_region_is_refused():
    """The sentence says where to set it."""
    with pytest.raises(Refused, match=r"source: no region; set source.region in the parameters, or AWS_REGION"):
        session.connect(side(), "source")


@pytest.mark.parametrize(
    "wrong",
    [
        {"profile": "nobody", "region": "us-west-1"},
        {"region": "us west"},
        {"region": "us-west-1", "endpoint_url": "not a url"},
    ],
)
def test_wrong_configuration_is_refused(wrong):
    """An unknown profile, an impossible region or endpoint: botocore's reason and where to mend it."""
    with pytest.raises(Refused, match=r"source: .*; correct the AWS configuration or the parameters"):
        session.connect(side(**wrong), "source")


def test_a_missing_ca_bundle_is_refused(monkeypatch):
    """The file is named before the first request."""
    monkeypatch.setenv("AWS_CA_BUNDLE", "/nowhere/ca.pem")
    with pytest.raises(Refused, match=r"the CA bundle /nowhere/ca\.pem does not exist"):
        session.connect(side(region="us-west-1", endpoint_url="http://127.0.0.1:1"), "source")


@pytest.mark.parametrize(
    ("url", "aws"),
    [
        ("https://dynamodb.us-west-1.amazonaws.com", True),
        ("https://123456789012.ddb.us-west-1.amazonaws.com", True),
        ("https://dynamodb.cn-north-1.amazonaws.com.cn", True),
        ("https://dynamodb.us-west-1.api.aws", True),
        ("https://amazonaws.com.example.org", False),
        ("https://notamazonaws.com", False),
        ("http://127.0.0.1:8000", False),
    ],
)
def test_is_aws(url, aws):
    """By the end of the host name, not by what stands in it."""
    assert session.is_aws(url) is aws


# Credentials that change while the run goes on


@pytest.fixture
def credentials_file(tmp_path, monkeypatch):
    """Write keys into the profile `work`; it is what a login tool renews."""
    path = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))

    def write(key):
        path.write_text(f"[work]\naws_access_key_id={key}\naws_secret_access_key=s\naws_session_token=t-{key}\n")

    write("first")
    return write


@pytest.fixture
def login(credentials_file):
    return session.Login("target", "work", "us-west-1", None)


def test_expired_credentials_are_loaded_again(login, credentials_file):
    """Unchanged there: nothing to renew. Changed: the new keys sign from now on, for every thread that asks."""
    stale = login.frozen()
    assert stale.access_key == "first"
    assert not login.renew(stale)
    credentials_file("second")
    assert login.renew(stale)
    assert login.renew(stale)
    assert login.frozen().access_key == "second"


def test_a_profile_that_has_gone_is_no_renewal(login, credentials_file, monkeypatch):
    """A file that cannot be read, or no longer has the profile: not renewed, no crash."""
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    assert not login.renew(login.frozen())


def test_other_keys_of_the_same_account_go_on(login, credentials_file, monkeypatch):
    """STS is asked once for each new key."""
    asked = []
    monkeypatch.setattr(login, "_account", lambda keys, attempts: asked.append(keys.access_key) or "1" * 12)
    login.check(None)
    credentials_file("second")
    login.renew(login.frozen())
    assert [login.frozen().access_key for _ in range(3)] == ["second"] * 3
    assert asked == ["first", "second"]


@pytest.mark.parametrize(("account", "told"), [("2" * 12, "222222222222"), (None, "unknown")])
def test_keys_of_another_account_stop_the_run(login, credentials_file, monkeypatch, account, told):
    """No request is signed with them: Interrupted, and resumable after the right login."""
    monkeypatch.setattr(login, "_account", lambda keys, attempts: "1" * 12 if keys.access_key == "first" else account)
    login.check(None)
    credentials_file("second")
    login.renew(login.frozen())
    with pytest.raises(Interrupted, match=f"belong to account {told}, but the run uses 111111111111"):
        login.frozen()


def test_credentials_that_cannot_be_refreshed_interrupt(login, monkeypatch):
    """Whatever the source of the credentials raises becomes one sentence without its text."""

    def fail():
        raise RuntimeError("secret detail")

    monkeypatch.setattr(login, "_credentials", SimpleNamespace(get_frozen_credentials=fail))
    with pytest.raises(Interrupted, match=r"cannot be refreshed \(RuntimeError\)") as raised:
        login.frozen()
    assert "secret" not in str(raised.value)
