"""Opening a side: what is found, what is refused, and what happens when credentials change."""

import os
import pty
import shutil
import subprocess
import sys
import threading
from collections import defaultdict
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import product
from types import SimpleNamespace
from urllib.parse import parse_qsl

import pytest
from botocore.awsrequest import AWSResponse
from botocore.endpoint_provider import EndpointProvider
from botocore.exceptions import EndpointProviderError
from botocore.loaders import create_loader
from botocore.session import Session
from botocore.utils import ContainerMetadataFetcher

from runbook_lib.dynamo import session
from runbook_lib.dynamo.aws import mfa, partitions
from runbook_lib.errors import Interrupted, Refused
from runbook_lib.walk import guard

MOTO_ACCOUNT = "123456789012"
OF_ACCOUNT = {"AccountId": "111111111111", "AccountIdEndpointMode": "preferred"}


def side(**given):
    defaults = dict.fromkeys(("region", "account", "profile", "role_arn", "external_id", "endpoint_url"))
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
        ("https://DynamoDB.us-west-1.amazonaws.com.:443/", True),
        ("https://123456789012.ddb.us-west-1.amazonaws.com", True),
        ("https://dynamodb-fips.us-gov-west-1.amazonaws.com", True),
        ("https://vpce-0a-1b.dynamodb.us-east-1.vpce.amazonaws.com", True),
        ("https://vpce-0a-1b-us-east-1a.dynamodb.us-east-1.vpce.amazonaws.com", True),
        ("https://dynamodb.cn-north-1.amazonaws.com.cn", True),
        ("https://dynamodb.cn-north-1.api.amazonwebservices.com.cn", True),
        ("https://dynamodb.us-west-1.api.aws", True),
        ("https://dynamodb.us-iso-east-1.c2s.ic.gov", True),
        ("https://dynamodb.us-isob-east-1.api.aws.scloud", True),
        ("https://dynamodb.eu-isoe-west-1.cloud.adc-e.uk", True),
        ("https://dynamodb.us-isof-east-1.csp.hci.ic.gov", True),
        ("https://dynamodb.eusc-de-east-1.amazonaws.eu", True),
        ("https://sts.amazonaws.com", True),
        ("https://amazonaws.com.example.org", False),
        ("https://dynamodb.us-west-1.amazonaws.com.example.org", False),
        ("https://dynamodb.us-west-1.amazonaws.com@example.org", False),
        ("https://ec2-1-2-3-4.compute-1.amazonaws.com", False),
        ("https://mine-1.us-west-1.elb.amazonaws.com", False),
        ("https://dynamodb.s3.amazonaws.com", False),
        ("https://notamazonaws.com", False),
        ("http://127.0.0.1:8000", False),
    ],
)
def test_is_aws(url, aws):
    """By botocore's partitions and the service before their ends; not by what else stands in the name."""
    assert partitions.is_aws(url) is aws


PARTITIONS = ("aws", "aws-cn", "aws-us-gov", "aws-iso", "aws-iso-b", "aws-iso-e", "aws-iso-f", "aws-eusc")


def test_every_partition_of_botocore_is_aws():
    """Whatever endpoint botocore makes for DynamoDB in any region: standard, FIPS, dual stack, of an account, of a VPC."""
    loader, made = create_loader(), defaultdict(set)
    known = loader.load_data("partitions")
    of = EndpointProvider(loader.load_service_model("dynamodb", "endpoint-rule-set-1"), known).resolve_endpoint
    for partition in known["partitions"]:
        for region in partition["regions"]:
            if region.endswith("-global"):  # stands for services without regions
                continue
            made[partition["id"]].add(f"https://vpce-0a-1b.dynamodb.{region}.vpce.{partition['outputs']['dnsSuffix']}")
            for dual, fips, account in product((False, True), (False, True), ({}, OF_ACCOUNT)):
                with suppress(EndpointProviderError):  # not every partition has each
                    made[partition["id"]].add(of(Region=region, UseDualStack=dual, UseFIPS=fips, **account).url)
    assert set(PARTITIONS) <= set(made)
    assert {name: urls for name, urls in made.items() if len(urls) < 5} == {}
    assert "https://111111111111.ddb.us-gov-west-1.api.aws" in made["aws-us-gov"]
    every = set().union(*made.values())
    assert [url for url in sorted(every) if not partitions.is_aws(url)] == []
    assert [url for url in sorted(every) if partitions.is_aws(url + ".example.org")] == []


@pytest.mark.parametrize("mode", ["required", "preferred"])
@pytest.mark.parametrize("account", ["1" * 12, None])
def test_endpoints_of_accounts_are_not_asked_for(monkeypatch, account, mode):
    """Data and tables go to one endpoint, whatever the credentials know; "required" needs an account, which not all have."""
    monkeypatch.setenv("AWS_ACCOUNT_ID_ENDPOINT_MODE", mode)  # account_id_endpoint_mode of the configuration
    if account:
        monkeypatch.setenv("AWS_ACCOUNT_ID", account)
    monkeypatch.setattr(session.Login, "check", lambda *_: None)
    opened = session.connect(side(region="us-west-1"), "source")
    client, sent = opened.client, []
    assert opened.endpoint_url == opened.wire.address[0] == "https://dynamodb.us-west-1.amazonaws.com"

    def answer(request, **_):
        sent.append(request.url)
        return AWSResponse(request.url, 200, {}, SimpleNamespace(stream=lambda: iter([b'{"TableNames": []}'])))

    client.meta.events.register("before-send.dynamodb", answer)
    assert client.list_tables()["TableNames"] == []
    assert sent == ["https://dynamodb.us-west-1.amazonaws.com/"]


@pytest.mark.parametrize("role", [None, "arn:aws:iam::222222222222:role/runbook"])
@pytest.mark.parametrize("proxy", ["http://user:sek/ret@host:1", "http://user:sek[ret@host", "ftp://user:sekret@host"])
def test_a_proxy_that_cannot_be_used_is_refused_without_its_password(monkeypatch, proxy, role):
    """A part of a password that is not encoded would else be read as the host, and quoted. STS is asked for a role first."""
    monkeypatch.setenv("HTTP_PROXY", proxy)
    if role is None:
        monkeypatch.setattr(session.Login, "check", lambda *_: None)
    told = r"STS cannot be asked \(look at HTTP_PROXY" if role else "the proxy in HTTP_PROXY is not a URL"
    with pytest.raises(Refused, match=told) as problem:
        session.connect(side(region="us-west-1", endpoint_url="http://host.example", role_arn=role), "source")
    assert "sek" not in str(problem.value)


def test_an_address_of_credentials_is_quoted_without_its_password(monkeypatch):
    """Botocore's own sentences name the URL that they failed at."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://user:sekret@127.0.0.1:1/x")
    monkeypatch.setattr(ContainerMetadataFetcher, "SLEEP_TIME", 0)
    with pytest.raises(Refused, match=r"//\*\*\*@127\.0\.0\.1:1/x") as problem:
        session.connect(side(region="us-west-1", endpoint_url="http://127.0.0.1:1"), "source")
    assert "sek" not in str(problem.value)


def test_an_endpoint_of_the_configuration_has_no_password(monkeypatch, tmp_path):
    """However the side is opened."""
    (tmp_path / "config").write_text("[profile p]\nregion = us-west-1\nendpoint_url = http://user:sekret@host\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    with pytest.raises(Refused, match="endpoint_url in the AWS configuration") as problem:
        session.connect(side(profile="p"), "source")
    assert "sekret" not in str(problem.value)


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


# Roles: what STS is asked, and the codes that a profile may want

ROLE = "arn:aws:iam::222222222222:role/reader"
IDENTITY = (
    "<GetCallerIdentityResponse><GetCallerIdentityResult><Account>222222222222</Account></GetCallerIdentityResult>"
    "</GetCallerIdentityResponse>"
)
ASSUMED = (
    "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ASIA</AccessKeyId><SecretAccessKey>s</SecretAccessKey>"
    "<SessionToken>t</SessionToken><Expiration>{}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
)
DENIED = "<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>"
CODE = "123456"


@pytest.fixture
def sts(monkeypatch, tmp_path):
    """An STS that takes CODE alone, in a home of its own; it gives what it was asked, by parameter."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            about = dict(parse_qsl(self.rfile.read(int(self.headers["content-length"])).decode()))
            asked.append(about)
            until = f"{datetime.now(UTC) + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
            right = about.get("TokenCode", CODE) == CODE
            body = IDENTITY if about["Action"] == "GetCallerIdentity" else ASSUMED.format(until) if right else DENIED
            self.send_response(200 if right else 403)
            self.send_header("content-type", "text/xml")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{server.server_port}")
    yield asked
    server.shutdown()
    server.server_close()


@pytest.fixture
def configure(monkeypatch, tmp_path):
    """Write the AWS configuration."""

    def write(text):
        (tmp_path / "config").write_text(text)
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))

    return write


@pytest.fixture
def careful(configure):
    """Profile `work` reaches its role through one that wants a code."""
    configure(
        "[profile keys]\naws_access_key_id=k\naws_secret_access_key=s\n"
        f"[profile careful]\nrole_arn={ROLE}\nsource_profile=keys\nmfa_serial=arn:aws:iam::111111111111:mfa/me\n"
        f"[profile work]\nrole_arn={ROLE}\nsource_profile=careful\n"
    )


def assumed(asked):
    return [about for about in asked if about["Action"] == "AssumeRole"]


@pytest.mark.parametrize(
    ("run_id", "name"), [("20260101-000000-copy", "runbook-20260101-000000-copy"), ("", "runbook")]
)
def test_a_role_session_is_named_after_the_run(sts, run_id, name):
    """CloudTrail shows the name. The external id goes with it, and neither where the side has none."""
    where = {"region": "us-west-1", "role_arn": ROLE}
    session.connect(side(**where, external_id="of-us"), "source", run_id=run_id)
    session.connect(side(**where), "target", role_arn=f"{ROLE}-undo", run_id=run_id)
    first, second = assumed(sts)
    assert (first["RoleSessionName"], first["ExternalId"]) == (name, "of-us")
    assert (second["RoleSessionName"], second["RoleArn"], second.get("ExternalId")) == (name, f"{ROLE}-undo", None)


def test_a_long_run_id_is_cut(sts):
    """STS takes 64 characters."""
    session.connect(side(region="us-west-1", role_arn=ROLE), "source", run_id="x" * 64)
    assert assumed(sts)[0]["RoleSessionName"] == "runbook-" + "x" * 56


def test_a_code_is_asked_for_once(sts, careful, tmp_path):
    """What the command got from a person is what a kernel finds, in the AWS CLI's cache; also behind source_profile."""
    questions = []
    work = side(region="us-west-1", profile="work")
    for _ in range(2):
        session.sign_in(work, "source", lambda question: questions.append(question) or CODE)
    assert questions == ["source, profile work: Enter MFA code for arn:aws:iam::111111111111:mfa/me: "]
    # The file's name is made of what is asked, so that the AWS CLI finds it.
    assert len(list((tmp_path / ".aws/cli/cache").glob("*.json"))) == 2
    assert session.connect(work, "source").account == "222222222222"
    assert len(assumed(sts)) == 2


def test_two_sides_tell_their_questions_apart(sts, configure):
    """Each names its side and its profile. For one role and device, whatever profiles name them, one code is enough."""
    keys = "[profile keys]\naws_access_key_id=k\naws_secret_access_key=s\n"
    about = "source_profile=keys\nmfa_serial=arn:aws:iam::111111111111:mfa/me\n"
    roles = {"from": ROLE, "like-from": ROLE, "to": f"{ROLE}-to"}
    configure(keys + "".join(f"[profile {name}]\nrole_arn={role}\n{about}" for name, role in roles.items()))
    questions = []
    for label, profile in (("source", "from"), ("target", "like-from"), ("target", "to")):
        where = side(region="us-west-1", profile=profile)
        session.sign_in(where, label, lambda question: questions.append(question) or CODE)
        session.connect(where, label)
    assert [question.partition(":")[0] for question in questions] == ["source, profile from", "target, profile to"]
    assert len(assumed(sts)) == 2


def test_no_code_is_refused(sts, careful, monkeypatch, capsys):
    """Ctrl-D, or Enter alone: one sentence, on a line of its own, and STS gets no question."""
    parameters = SimpleNamespace(source=side(region="us-west-1", profile="work"))
    monkeypatch.setattr(guard, "terminal", lambda: input)

    def end_of_file(question, stream):
        raise EOFError

    for answer in (end_of_file, lambda question, stream: " "):
        monkeypatch.setattr(guard, "getpass", answer)
        with pytest.raises(Refused) as raised:
            guard.ask_for_codes(parameters, "source")
        said = "source: no MFA code was given for profile work; run the command again and type it."
        assert str(raised.value) == said
    assert capsys.readouterr().err == "\n"
    assert not assumed(sts)


def test_a_profile_that_names_itself_is_looked_at_once(configure):
    """A role in an account of the keys beside it; without a device it wants no code."""
    configure(f"[profile work]\naws_access_key_id=k\naws_secret_access_key=s\nrole_arn={ROLE}\nsource_profile=work\n")
    assert not mfa.wants_code(Session(profile="work"))


def test_nobody_to_ask_is_refused(sts, careful):
    """In a kernel, in a command without a terminal: one sentence, never a prompt, and nothing is sent."""
    work = side(region="us-west-1", profile="work")
    for attempt in (lambda: session.connect(work, "source"), lambda: session.sign_in(work, "source", None)):
        with pytest.raises(
            Refused, match=r"source: profile work wants an MFA code.*sts get-caller-identity --profile work"
        ):
            attempt()
    assert not assumed(sts)


def test_a_wrong_code_is_refused(sts, careful):
    """One sentence that names it."""
    with pytest.raises(Refused, match=r"source: AssumeRole was refused \(AccessDenied\); .* MFA code"):
        session.sign_in(side(region="us-west-1", profile="work"), "source", lambda question: "000000")


@pytest.mark.parametrize(
    ("profile", "said"),
    [
        ("careful", r"cannot be refreshed \(that takes an MFA code\); renew them"),
        ("work", "profile work wants an MFA code"),
    ],
)
def test_a_session_that_expires_is_not_asked_for(sts, careful, profile, said):
    """In mid-run, for lack of anybody to ask: Interrupted, and the same command asks when it resumes."""
    session.sign_in(side(region="us-west-1", profile=profile), "source", lambda question: CODE)
    login = session.Login("source", profile, "us-west-1", None)
    login.frozen()
    login._credentials._expiry_time = datetime.now(UTC)
    shutil.rmtree(os.path.expanduser(session.CACHE))
    with pytest.raises(Interrupted, match=said):
        login.frozen()


def test_without_codes_nothing_is_asked_or_kept(sts, configure, tmp_path):
    """A role without an MFA device is assumed as ever: no file holds its session."""
    configure(
        f"[profile keys]\naws_access_key_id=k\naws_secret_access_key=s\n[profile work]\nrole_arn={ROLE}\nsource_profile=keys\n"
    )
    session.sign_in(side(region="us-west-1", profile="work"), "source", None)
    assert session.connect(side(region="us-west-1", profile="work"), "source").account == "222222222222"
    assert not (tmp_path / ".aws").exists()


@pytest.mark.parametrize(
    ("profile", "said"),
    [
        ("credential_process = /nowhere/helper", r"cannot be loaded \(/nowhere/helper: No such file"),
        ("credential_process = echo secret", r"cannot be loaded \(JSONDecodeError\)"),
        ("credential_process = echo []", r"cannot be loaded \(AttributeError\)"),
        ("credential_process = sh -c 'echo log in first >&2; exit 1'", "log in first"),
        (f"role_arn = {ROLE}\nsource_profile = nobody", 'source_profile "nobody"'),
        (f"role_arn = {ROLE}\nweb_identity_token_file = /nowhere/token", "/nowhere/token: No such file"),
        ("sso_account_id = 1\nsso_region = us-east-1\nsso_role_name = r\nsso_start_url = https://x", "aws sso login"),
        ("sso_session = s\nsso_account_id = 1\nsso_role_name = r\n[sso-session s]\nsso_region = us-east-1\n"
         "sso_start_url = https://x", "aws sso login"),
    ],
)  # fmt: skip
def test_a_credential_chain_that_fails_is_refused(sts, configure, profile, said):
    """Helper processes, missing profiles and files, an expired single sign-on: one sentence, without what they printed."""
    configure(f"[profile work]\n{profile}\n")
    with pytest.raises(Refused, match=said) as raised:
        session.connect(side(region="us-west-1", profile="work"), "source")
    assert str(raised.value).startswith("source: ")
    assert "secret" not in str(raised.value)


@pytest.mark.slow
def test_a_code_is_asked_for_at_the_terminal(sts, careful, moto, tmp_path):
    """By the command, before its kernel starts; the kernel goes on with the session. Without a terminal: exit code 2."""
    (tmp_path / "mapping.yaml").write_text("tables: {Nothing: {source: no-such-table, target: other}}\n")
    where = f"{{environment: dev, region: us-west-1, profile: work, endpoint_url: '{moto.endpoint_url}'}}"
    (tmp_path / "p.yaml").write_text(f"mapping: {tmp_path}/mapping.yaml\nsource: {where}\ntarget: {where}\n")
    command = [sys.executable, "-m", "runbook_lib", "analyze", f"{tmp_path}/p.yaml", "--outputs", str(tmp_path)]
    alone = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert (alone.returncode, alone.stderr.count("\n")) == (2, 1)
    assert "wants an MFA code" in alone.stderr
    child, terminal = pty.fork()
    if not child:
        os.execv(command[0], command)
    said = b""
    while b"MFA code" not in said:
        said += os.read(terminal, 1000)
    os.write(terminal, f"{CODE}\n".encode())
    try:
        while part := os.read(terminal, 1000):
            said += part
    except OSError:  # the other side is closed
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
    assert b"source table no-such-table does not exist" in said
    assert (said.count(b"MFA code"), said.count(CODE.encode())) == (1, 0)
