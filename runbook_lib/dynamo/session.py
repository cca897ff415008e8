"""Opening a side: credentials, region, endpoint and account, as botocore finds them, checked before anything else."""

import os
import re
import threading
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from ..errors import Interrupted, Refused, RunbookError
from ..parameters import LOGIN, Side, has_login
from ..yaml_files import shown
from .aws.mfa import mention_codes, wants_code
from .aws.partitions import is_aws, partition_of
from .items import Wire
from .rate_limiter import RateLimiter

CACHE = "~/.aws/cli/cache"  # the AWS CLI's, of sessions of assumed roles
SESSION_NAME = 64  # characters, at most, of a role session's name
_MEND = "set AWS_PROFILE, the side's `profile`, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"


@dataclass(frozen=True)
class Connection:
    """One side, opened."""

    label: str  # "source" or "target"
    environment: str
    region: str
    account: str | None  # None where the endpoint has no STS
    endpoint_url: str
    wire: Wire  # the data path
    client: Any  # boto3's low-level client, for table operations only
    open_wire: Callable[..., Wire]  # another data path with these credentials; takes what Wire takes by name
    limiter: RateLimiter = field(default_factory=RateLimiter)  # of the data path and the client
    who: str = ""  # the role or user, where STS or the parameters say it

    @property
    def address(self) -> tuple[str, str]:
        """Endpoint and region."""
        return self.endpoint_url, self.region


def connect(
    side: Side,
    label: str,
    *,
    workers: int = 8,
    limiter: RateLimiter | None = None,
    role_arn: str | None = None,
    run_id: str = "",
) -> Connection:
    """Return the opened side; `role_arn` wins over the side's own. Read-only; the "source" can only be read ever after.

    Asks STS who it is, nothing else. A role's session is named after the run, so that CloudTrail shows which run did what.
    Raises Refused: no credentials, no region, an unknown profile, a role that cannot be assumed, a declared account that
    STS does not confirm, a profile that wants an MFA code (`sign_in` asks for it).
    """
    with _refusals(label):
        login, client = _log_in(side, label, workers, role_arn or side.role_arn, run_id)
        login.check(side.account)
    open_wire = partial(
        Wire,
        client.meta.endpoint_url,
        login.region,
        login,
        label=label,
        read_only=label == "source",
        ca_bundle=login.ca_bundle(),
    )
    limiter = limiter or RateLimiter()
    wire = open_wire(workers=workers, limiter=limiter)
    place = login.region, login.account, client.meta.endpoint_url
    return Connection(label, side.environment, *place, wire, client, open_wire, limiter, login.who)


class Place(NamedTuple):
    """Where a side's tables are, as their ARNs say it."""

    partition: str
    region: str
    account: str | None  # None: nobody says it


def place_of(side: Side, label: str) -> Place:
    """Return where the side's tables are: the account as declared, else of the side's role, else as STS tells it. Read-only.

    Asks STS as `connect` does, where it has to, and nobody for a code. Raises Refused without a region.
    """
    with _refusals(label):
        region = side.region or _region(label, _session(label, side.profile, None))
    account = side.account or next(filter(None, map(_account_of, (side.role_arn, _eraser(side)))), None)
    if account is None and not side.role_arn:
        with suppress(RunbookError), _refusals(label):  # without credentials there is nobody to ask
            login, _ = _log_in(side, label, 1, None, "")
            login.check(None)
            account = login.account
    return Place(partition_of(region), region, account)


def _account_of(role_arn: str | None) -> str | None:
    found = re.fullmatch(r"arn:[^:]+:iam::(\d+):role/.+", role_arn or "")
    return found and found[1]


def _eraser(side: Side) -> str | None:
    """The role that deletes in the same account, of the target."""
    return getattr(side, "rollback_role_arn", None)


def _log_in(side: Side, label: str, workers: int, role_arn: str | None, run_id: str) -> tuple["Login", Any]:
    """The side's credentials, and boto3's client for DynamoDB. Raises Refused, or what botocore raises."""
    from botocore.config import Config

    login = Login(label, side.profile, side.region, role_arn, external_id=side.external_id, run_id=run_id)
    client = login.session.create_client(
        "dynamodb",
        region_name=login.region,
        endpoint_url=side.endpoint_url,
        config=Config(
            retries={"mode": "standard", "max_attempts": 5},
            user_agent_extra="runbook",
            connect_timeout=5,
            read_timeout=30,
            max_pool_connections=workers,
            # The data path has one endpoint. With "required", botocore refuses every call of one that has no account.
            account_id_endpoint_mode="disabled",
        ),
    )
    login.use_endpoint(client.meta.endpoint_url, given=bool(side.endpoint_url))
    return login, client


def sign_in(side: Side, label: str, ask: Callable[[str], str] | None) -> None:
    """Asks for the MFA code that the side's profile wants, if it wants one, and keeps the session that it gives.

    Where the AWS CLI keeps such sessions, so that each asks only when the other's has expired. `ask` puts a question to a
    person; "" is no answer. Raises Refused: there is nobody to ask, or STS does not take the code.
    """
    if not mention_codes():  # most users: no need to load botocore
        return
    with _refusals(label):
        session = _session(label, side.profile, side.region, ask)
        if wants_code(session) and (keys := _had(label, session.get_credentials)):
            _had(label, keys.get_frozen_credentials)


def check_endpoints(*sides: Side) -> None:
    """Refused where the AWS configuration gives a side an endpoint with a user or a password. Asks nobody."""
    from botocore.exceptions import BotoCoreError

    for side in sides:
        with suppress(BotoCoreError):  # `connect` tells what is wrong with a profile
            _session("", side.profile, side.region)


class Login:
    """Whose requests a side's are: botocore's credentials, loaded again once they have expired. Thread-safe.

    Where STS told the account at first, other keys are used only after it has told the same account for them.
    """

    def __init__(
        self,
        label: str,
        profile: str | None,
        region: str | None,
        role_arn: str | None,
        *,
        external_id: str | None = None,
        run_id: str = "",
    ):
        """Finds region and credentials. Raises Refused, or what botocore raises."""
        self._label, self._profile, self._region, self._role_arn = label, profile, region, role_arn
        self.who = role_arn or (f"profile {profile}" if profile else "")
        self._assuming = {"RoleSessionName": (f"runbook-{run_id}" if run_id else "runbook")[:SESSION_NAME]}
        self._assuming |= {"ExternalId": external_id} if external_id else {}
        self._sts_endpoint: str | None = None
        self._lock = threading.Lock()
        self._checked: str | None = None  # the access key whose account is known to be right
        self.account: str | None = None
        self.session = self._load()
        self.region = _region(label, self.session)
        self._credentials = _had(label, self.session.get_credentials)
        if self._credentials is None:
            raise Refused(f"{label}: no AWS credentials were found; {_MEND}.")

    def use_endpoint(self, endpoint_url: str, *, given: bool) -> None:
        """Sends STS requests where DynamoDB is, unless that is AWS, which has an endpoint for each.

        `given`: by the parameters, which win over an STS endpoint in the environment or the configuration.
        """
        if not is_aws(endpoint_url) and (given or is_aws(self._sts(1).meta.endpoint_url)):
            self._sts_endpoint = endpoint_url

    def ca_bundle(self) -> str | None:
        """Return the file or folder of certificates to trust, None for botocore's own. Raises Refused."""
        path = self.session.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")
        if path and not os.path.exists(path):
            raise Refused(f"{self._label}: the CA bundle {path} does not exist; correct AWS_CA_BUNDLE or ca_bundle.")
        return path or None

    def check(self, declared: str | None) -> None:
        """Learns the account from STS, if there is one. Raises Refused where it is not the declared one."""
        keys = _had(self._label, self._credentials.get_frozen_credentials)
        self.account = self._account(keys, attempts=3 if declared else 1)
        self._checked = keys.access_key
        if declared and self.account is None:
            raise Refused(
                f"{self._label}: account {declared} is declared, but STS does not say whose these credentials are; "
                f"check them, or remove {self._label}.account if the endpoint has no STS."
            )
        if declared and self.account != declared:
            raise Refused(
                f"{self._label}: these credentials belong to account {self.account}, not to {declared} as declared; "
                "use other credentials or correct the parameters."
            )

    def frozen(self) -> Any:
        """Return the keys to sign a request with. Raises Interrupted: not refreshable, or of another account."""
        try:
            keys = self._credentials.get_frozen_credentials()
        except Interrupted:  # nobody to ask for a code
            raise
        except Exception as problem:  # of botocore, a profile's helper process, SSO, ...
            name = type(problem).__name__
            why = "that takes an MFA code" if name == "RefreshWithMFAUnsupportedError" else name
            raise Interrupted(f"{self._label}: the credentials cannot be refreshed ({why}); renew them.") from None
        if keys.access_key != self._checked:
            self._check_again(keys)
        return keys

    def renew(self, stale: Any) -> bool:
        """Return whether there are other keys than the stale ones, loaded anew from where those came from."""
        with self._lock:
            try:
                if _same(self._credentials.get_frozen_credentials(), stale):
                    fresh = self._load().get_credentials()
                    if fresh is None or _same(fresh.get_frozen_credentials(), stale):
                        return False
                    self._credentials = fresh
            except Exception:  # as in frozen
                return False
        return True

    def _check_again(self, keys: Any) -> None:
        with self._lock:
            if self._checked == keys.access_key:
                return
            account = self.account and self._account(keys, attempts=3)
            if account != self.account:
                raise Interrupted(
                    f"{self._label}: the refreshed credentials belong to account {account or 'unknown'}, but the run uses "
                    f"{self.account}; log in to that account."
                )
            self._checked = keys.access_key

    def _account(self, keys: Any, attempts: int) -> str | None:
        """The account that STS names, or None where it does not answer."""
        try:
            client = self._sts(
                attempts,
                aws_access_key_id=keys.access_key,
                aws_secret_access_key=keys.secret_key,
                aws_session_token=keys.token,
            )
            identity = client.get_caller_identity()
            self.who = identity.get("Arn") or self.who
            return identity.get("Account") or None
        except Exception:  # no STS there, no way there, or an answer that makes no sense
            return None

    def _sts(self, attempts: int, **keys: Any) -> Any:
        from botocore.config import Config

        retries = {"mode": "standard", "total_max_attempts": attempts}
        config = Config(connect_timeout=3, read_timeout=5, retries=retries, user_agent_extra="runbook")
        return self.session.create_client(
            "sts", region_name=self.region, endpoint_url=self._sts_endpoint, config=config, **keys
        )

    def _load(self) -> Any:
        """A botocore session for the profile and, over it, the role."""
        from botocore import credentials

        base = _session(self._label, self._profile, self._region)
        if not self._role_arn:
            return base
        own = _had(self._label, base.get_credentials)
        if own is None:
            raise Refused(f"{self._label}: no AWS credentials to assume {self._role_arn} with; {_MEND}.")
        fetcher = credentials.AssumeRoleCredentialFetcher(
            # Called at the first request, when region and endpoint are known.
            client_creator=lambda service, **keys: self._sts(3, **keys),
            source_credentials=own,
            role_arn=self._role_arn,
            extra_args=self._assuming,
        )
        assumed = credentials.DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")
        session = _session(self._label, self._profile, self._region)
        session.get_component("credential_provider").providers.insert(0, _Given(assumed))
        return session


class _Given:
    """A link of botocore's credential chain that already has them."""

    METHOD = CANONICAL_NAME = "runbook"

    def __init__(self, credentials: Any):
        self._credentials = credentials

    def load(self) -> Any:
        return self._credentials


def _session(label: str, profile: str | None, region: str | None, ask: Callable[[str], str] | None = None) -> Any:
    """A botocore session. Where its profile wants an MFA code, with the AWS CLI's cache, and `ask` in place of getpass.

    The region is set before the profile's role is assumed: botocore asks an STS there, and does not read AWS_REGION.
    Without `ask` a question is Interrupted: a notebook's kernel has nobody to ask, and would wait for ever.
    Raises Refused where the configuration has an endpoint with a user or a password.
    """
    from botocore.session import Session
    from botocore.utils import JSONFileCache

    session = Session(profile=profile)
    about, services = session.get_scoped_config(), session.full_config.get("services", {})
    own = services.get(about.get("services"), {}).values()
    if any(has_login(one.get("endpoint_url") or "") for one in (about, *own) if isinstance(one, dict)):
        raise Refused(f"endpoint_url in the AWS configuration file contains {LOGIN}.")
    if region := region or os.environ.get("AWS_REGION"):
        session.set_config_variable("region", region)
    if wants_code(session):
        name = session.get_config_variable("profile") or "default"

        def prompt(question: str) -> str:
            if ask is None:
                raise Interrupted(
                    f"{label}: profile {name} wants an MFA code, and nobody can be asked here; run "
                    f"`aws sts get-caller-identity --profile {name}` or this program's command on a terminal first."
                )
            if code := ask(f"{label}, profile {name}: {question}"):
                return code
            raise Refused(f"{label}: no MFA code was given for profile {name}; run the command again and type it.")

        roles = session.get_component("credential_provider").get_provider("assume-role")
        roles.cache, roles._prompter = JSONFileCache(os.path.expanduser(CACHE)), prompt
    return session


def _region(label: str, session: Any) -> str:
    if region := session.get_config_variable("region"):
        return region
    raise Refused(f"{label}: no region; set {label}.region in the parameters, or AWS_REGION.")


def _had(label: str, get: Callable[[], Any]) -> Any:
    """What a link of the credential chain gives. Raises Refused where it fails in a way that botocore has no word for.

    Such as a helper process that does not exist or prints something else, or a token's file that is gone.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return get()
    except (BotoCoreError, ClientError, RunbookError):
        raise
    except Exception as problem:  # other texts may quote a secret
        found = isinstance(problem, OSError) and problem.filename
        why = f"{problem.filename}: {problem.strerror}" if found else type(problem).__name__
        raise Refused(f"{label}: the AWS credentials cannot be loaded ({why}); correct their configuration.") from None


def _same(keys: Any, others: Any) -> bool:
    return (keys.access_key, keys.token) == (others.access_key, others.token)


@contextmanager
def _refusals(label: str):
    """Turns what botocore says about configuration, credentials and roles into one sentence."""
    from botocore import exceptions as wrong

    try:
        yield
    except Interrupted as problem:  # nobody to ask for a code: nothing has begun yet
        raise Refused(str(problem)) from None
    except wrong.ClientError as problem:  # STS, when the role was to be assumed
        code = problem.response.get("Error", {}).get("Code", "unknown")
        fix = "check the role and its trust policy, with external_id and MFA code where it wants them"
        raise Refused(f"{label}: {problem.operation_name} was refused ({code}); {fix}.") from None
    except (wrong.SSOError, wrong.TokenRetrievalError) as problem:
        fix = "run `aws sso login` with its profile"
        raise Refused(f"{label}: the single sign-on cannot be used ({type(problem).__name__}); {fix}.") from None
    except (wrong.BotoCoreError, ValueError) as problem:
        quotes = type(problem) in (wrong.HTTPClientError, wrong.ProxyConnectionError)  # a proxy, with its password
        why = "STS cannot be asked (look at HTTP_PROXY and HTTPS_PROXY)" if quotes else shown(str(problem)).rstrip(".")
        raise Refused(f"{label}: {why}; correct the AWS configuration or the parameters.") from None
