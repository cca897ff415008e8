"""Opening a side: credentials, region, endpoint and account, as botocore finds them, checked before anything else."""

import os
import threading
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from ..errors import Interrupted, Refused
from ..parameters import Side
from .items import Wire
from .rate_limiter import RateLimiter

_AWS = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws", ".amazonaws.eu")
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


def connect(
    side: Side, label: str, *, workers: int = 8, limiter: RateLimiter | None = None, role_arn: str | None = None
) -> Connection:
    """Return the opened side; `role_arn` wins over the side's own. Read-only; the "source" can only be read ever after.

    Asks STS who it is, nothing else. Raises Refused: no credentials, no region, an unknown profile, a role that cannot
    be assumed, a declared account that STS does not confirm.
    """
    from botocore.config import Config

    with _refusals(label):
        login = Login(label, side.profile, side.region, role_arn or side.role_arn)
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
            ),
        )
        login.use_endpoint(client.meta.endpoint_url, given=bool(side.endpoint_url))
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
    wire = open_wire(workers=workers, limiter=limiter)
    endpoint_url = client.meta.endpoint_url
    return Connection(label, side.environment, login.region, login.account, endpoint_url, wire, client, open_wire)


def is_aws(endpoint_url: str) -> bool:
    """Return whether the endpoint is AWS's own, in any partition that is open to the public."""
    return (urlsplit(endpoint_url).hostname or "").endswith(_AWS)


class Login:
    """Whose requests a side's are: botocore's credentials, loaded again once they have expired. Thread-safe.

    Where STS told the account at first, other keys are used only after it has told the same account for them.
    """

    def __init__(self, label: str, profile: str | None, region: str | None, role_arn: str | None):
        """Finds region and credentials. Raises Refused, or what botocore raises."""
        self._label, self._profile, self._role_arn = label, profile, role_arn
        self._sts_endpoint: str | None = None
        self._lock = threading.Lock()
        self._checked: str | None = None  # the access key whose account is known to be right
        self.account: str | None = None
        self.session = self._load()
        self.region = region or os.environ.get("AWS_REGION") or self.session.get_config_variable("region")
        if not self.region:
            raise Refused(f"{label}: no region; set {label}.region in the parameters, or AWS_REGION.")
        self._credentials = self.session.get_credentials()
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
        keys = self._credentials.get_frozen_credentials()
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
        except Exception as problem:  # of botocore, a profile's helper process, SSO, ...
            raise Interrupted(
                f"{self._label}: the credentials cannot be refreshed ({type(problem).__name__}); renew them."
            ) from None
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
            return client.get_caller_identity().get("Account") or None
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
        from botocore.session import Session

        base = Session(profile=self._profile)
        if not self._role_arn:
            return base
        own = base.get_credentials()
        if own is None:
            raise Refused(f"{self._label}: no AWS credentials to assume {self._role_arn} with; {_MEND}.")
        fetcher = credentials.AssumeRoleCredentialFetcher(
            # Called at the first request, when region and endpoint are known.
            client_creator=lambda service, **keys: self._sts(3, **keys),
            source_credentials=own,
            role_arn=self._role_arn,
            extra_args={"RoleSessionName": "runbook"},
        )
        assumed = credentials.DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")
        session = Session(profile=self._profile)
        session.get_component("credential_provider").providers.insert(0, _Given(assumed))
        return session


class _Given:
    """A link of botocore's credential chain that already has them."""

    METHOD = CANONICAL_NAME = "runbook"

    def __init__(self, credentials: Any):
        self._credentials = credentials

    def load(self) -> Any:
        return self._credentials


def _same(keys: Any, others: Any) -> bool:
    return (keys.access_key, keys.token) == (others.access_key, others.token)


@contextmanager
def _refusals(label: str):
    """Turns what botocore says about configuration, credentials and roles into one sentence."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as problem:  # STS, when the role was to be assumed
        code = problem.response.get("Error", {}).get("Code", "unknown")
        fix = "check the role and its trust policy"
        raise Refused(f"{label}: {problem.operation_name} was refused ({code}); {fix}.") from None
    except (BotoCoreError, ValueError) as problem:
        fix = "correct the AWS configuration or the parameters"
        raise Refused(f"{label}: {str(problem).rstrip('.')}; {fix}.") from None
