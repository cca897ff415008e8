"""May this run write? Checks that refuse before the first request that changes anything."""

import shlex
import sys
from collections.abc import Callable, Collection, Mapping
from getpass import getpass
from importlib.util import find_spec
from ipaddress import ip_address
from urllib.parse import urlsplit

from ..dynamo.aws.partitions import is_aws
from ..dynamo.errors import table_name
from ..dynamo.session import Connection, sign_in
from ..dynamo.structure.description import Table
from ..errors import Refused
from ..mapping.model import Entry
from ..parameters import LOGIN, LeaseSettings, Limits, Parameters, Target, has_login


def check_endpoint(target: Target, endpoint_url: str) -> None:
    """Refused where a production target lies at an endpoint that is neither AWS nor this machine."""
    if target.production and not is_aws(endpoint_url) and not is_loopback(urlsplit(endpoint_url).hostname or ""):
        raise Refused(
            f"target {target.environment} is production, but its endpoint {endpoint_url} is neither AWS nor this machine; "
            "unset AWS_ENDPOINT_URL or correct target.endpoint_url."
        )


def is_loopback(host: str) -> bool:
    """Whether the host name is this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_same_table(
    entries: Collection[Entry],
    source: Connection,
    target: Connection,
    sources: Mapping[str, Table],
    targets: Mapping[str, Table | None],
) -> None:
    """Refused where an entry would write into a table that it, or another entry, reads, however both are named.

    `sources`, `targets`: table name → what DescribeTable says; None: does not exist. Pure.
    """
    same_place = _address(source) == _address(target) and (
        not source.account or not target.account or source.account == target.account
    )
    fix = "give the target another environment, region or table name."
    for entry in entries:
        if (written := targets[entry.target]) is None:
            continue
        for reader in sorted(entries, key=lambda other: other.name != entry.name):  # its own source first
            same = sources[reader.source].is_same(written)
            if same is None:  # the engine does not say: what is left is how they are spelled
                same = same_place and reader.source == entry.target
            if same and reader.name == entry.name:
                name = entry.target if entry.target == entry.source else f"{entry.source} and {entry.target}"
                raise Refused(f"{entry.name}: source and target are the same table, {name}; {fix}")
            if same:
                raise Refused(
                    f"{entry.name}: its target {entry.target} is the source of {reader.name}, and the program never writes "
                    f"to a source; {fix}"
                )


def check_names(connection: Connection, tables: Mapping[str, Table | None]) -> None:
    """Refused where a side's table goes by two names, or by the ARN of another region. `tables` as in `check_same_table`."""
    names: dict[str, str] = {}
    for name, table in tables.items():
        region = name.split(":")[3] if name.startswith("arn:") else connection.region
        if region != connection.region:
            raise Refused(
                f"{connection.label}: {name} is in {region}, but the {connection.label} is in {connection.region}; correct "
                f"the ARN or {connection.label}.region."
            )
        if table and table.identity and (other := names.setdefault(table.identity, name)) != name:
            raise Refused(
                f"{connection.label}: {other} and {name} are one table; give it the same name in every entry."
            )


def check_lease(lease: LeaseSettings | None, entries: Collection[Entry], limits: Limits | None = None) -> None:
    """Refused where the leases would lie in a table that an entry reads or writes, or workers could not follow them."""
    if lease and limits and limits.journal:
        raise Refused(
            "lease and limits.journal exclude each other: a worker elsewhere cannot follow the lease; remove one."
        )
    for entry in entries if lease else ():
        own, *others = map(table_name, (lease.table, entry.source, entry.target))
        if own in others:  # wherever the source lies: a table named like it misleads
            raise Refused(
                f"lease.table {lease.table} is a table of {entry.name}; give the leases a table of their own."
            )


def check_engine(limits: Limits) -> None:
    """Refused where the engine cannot be had: without its package, or by a connection that others could use.

    Whoever can speak to a Dask scheduler can run programs on its workers.
    """
    if limits.scheduler and limits.engine != "dask":
        raise Refused("limits.scheduler needs limits.engine: dask; add that, or remove the scheduler.")
    if limits.journal and limits.engine != "dask":
        raise Refused("limits.journal needs limits.engine: dask; add that, or remove the journal.")
    if limits.engine != "dask":
        return
    if limits.scheduler and not _is_safe(limits.scheduler):
        raise Refused(
            f"limits.scheduler is {limits.scheduler}; outside this machine, use tls://HOST:PORT; see docs/scale.md."
        )
    if find_spec("distributed") is None:
        raise Refused(
            "limits.engine: dask needs the package distributed; run pip install '.[dask]' in the project's folder."
        )
    if limits.journal:
        check_journal_url(limits.journal)


def check_journal_url(url: str) -> None:
    """Refused where a URL is not valid, holds a secret, or belongs to a package that is missing. Asks for nothing."""
    parts = urlsplit(url)
    if has_login(url):
        raise Refused(f"limits.journal contains {LOGIN}; each worker has its own credentials.")
    if not parts.scheme or (parts.scheme == "file" and parts.netloc):
        raise Refused(f"limits.journal is {url}; write s3://BUCKET/PREFIX, or file:///FOLDER.")
    if parts.scheme == "s3" and not parts.netloc:
        raise Refused(f"limits.journal is {url}, without a bucket; write s3://BUCKET/PREFIX.")
    if parts.scheme not in ("file", "s3") and find_spec("fsspec") is None:
        raise Refused(f"limits.journal: {parts.scheme}:// needs the package fsspec; pip install '.[dask]'.")


def _is_safe(scheduler: str) -> bool:
    try:
        parts = urlsplit(scheduler)
        known = bool(parts.hostname and parts.port)
    except ValueError:  # a port that is no number
        return False
    return known and (parts.scheme == "tls" or (parts.scheme == "tcp" and is_loopback(parts.hostname)))


def _address(connection: Connection) -> tuple:
    """Region and endpoint, so that two spellings of one address are equal."""
    parts = urlsplit(connection.endpoint_url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return connection.region, "this machine" if is_loopback(host) else host, port, parts.path.rstrip("/")


def confirm(
    target: Target, given: str | None, what: str, *, needed: bool = True, ask: Callable[[str], str] | None = None
) -> str:
    """A line saying how it was confirmed to do `what`, a phrase such as "insert 8 items into …". Refused where it was not.

    `given` is what `--confirm` or the notebook's parameter says: the target environment, whole. Where it is empty, `ask`
    (a function that puts a question to the person at the keyboard) is used twice; without it the answer is no.
    """
    name = target.environment
    if given:
        if given != name:
            raise Refused(f"confirmation {given!r} is not the target environment; to {what} needs --confirm {name}.")
        return f"confirmed for {name} by parameter"
    if not needed:
        return f"no confirmation needed: {name} is not production"
    if ask is None:
        raise Refused(f"to {what} needs --confirm {name}.")
    first = f"{what[0].upper()}{what[1:]}? Type the environment to confirm: "
    for question in (first, f"Once more, {name}, to be sure: "):
        if ask(question).strip() != name:
            raise Refused(f"the answer was not {name}; nothing was written.")
    return f"confirmed for {name} twice at the keyboard"


def confirm_step(
    wanted: Collection[str],
    given: Collection[str],
    option: str,
    what: str,
    word: str,
    ask: Callable[[str], str] | None = None,
) -> str:
    """A line saying how a further step of a rollback was confirmed; "" where none is `wanted`. Refused where it was not.

    `wanted` is what the step names (a backup, tables), `given` what `option` names: the same, in any order. Where that is
    empty, `ask` puts the question `what`, to be answered with `word`; without it the answer is no.
    """
    if given and {*given} != {*wanted}:
        of = f"what this rollback would do is: {what}" if wanted else "this rollback has no such step"
        raise Refused(f"{option} {','.join(given)} does not fit: {of}.")
    if not wanted:
        return ""
    if given:
        return "confirmed by parameter"
    if ask is None:
        raise Refused(f"to {what} needs its own confirmation: {option} {shlex.quote(','.join(wanted))}.")
    if ask(f"{what[0].upper()}{what[1:]}? Type {word} to confirm: ").strip() != word:
        raise Refused(f"the answer was not {word}; this was not done: {what}.")
    return "confirmed at the keyboard"


def ask_for_codes(parameters: Parameters, *labels: str) -> None:
    """Asks at the terminal for the MFA codes that the profiles of these sides want. Refused where there is no terminal."""
    for label in labels:
        sign_in(getattr(parameters, label), label, _code if terminal() else None)


def _code(question: str) -> str:
    """What the person at the terminal types, which it does not show; "" where nothing comes, as on Ctrl-D."""
    try:
        return getpass(question, stream=sys.stderr).strip()
    except EOFError:
        print(file=sys.stderr)
        return ""


def terminal() -> Callable[[str], str] | None:
    """A function that asks the person at the terminal, or None if there is no terminal."""
    if not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):
        return None

    def ask(question: str) -> str:
        print(question, end="", file=sys.stderr, flush=True)
        return sys.stdin.readline()

    return ask
