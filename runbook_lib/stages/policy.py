"""The least-privilege IAM policy of a stage for the tables of a mapping, from the table in `rights`. Pure.

Tables with the same rights share a statement, so that no ARN stands twice: 35 tables are long enough.
"""

import json
from collections import defaultdict
from collections.abc import Mapping as Names
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ..dynamo.backups import restored_name
from ..dynamo.session import Place
from ..errors import Refused
from ..mapping.model import Entry, Mapping
from ..parameters import Parameters, Side
from . import rights
from .rights import STAGES, Right

SIDES = ("source", "target")
NOTHING: Names[str, str] = MappingProxyType({})
VERSION = "2012-10-17"  # of IAM's policy language
NO_ACCOUNT = "ACCOUNT_ID"
# IAM's limits in characters, which do not count white space: of a managed policy, and of all inline policies of a role.
MANAGED, INLINE = 6_144, 10_240
_OF_SOURCE, _OF_BOTH = (rights.SOURCE, rights.STREAM, rights.LIST), (rights.CALLER,)
_ANY = (rights.LIST, rights.CALLER)  # DynamoDB and STS know no resource for these


class Policy(NamedTuple):
    """A policy document, and what whoever attaches it has to know, one sentence each."""

    document: dict[str, Any]
    notes: list[str]

    @property
    def size(self) -> int:
        """Characters as IAM counts them: without white space."""
        return len(json.dumps(self.document, separators=(",", ":")))


def sides_of(stage: str, side: str | None) -> list[str]:
    """The sides of a stage's policy; `side` for one alone. Raises Refused for what is no stage."""
    if stage not in STAGES:
        raise Refused(f"{stage!r} is no stage; give one of {', '.join(STAGES)}.")
    return [side] if side else [*SIDES]


def policy_of(
    stage: str,
    parameters: Parameters,
    mapping: Mapping,
    places: Names[str, Place],
    *,
    side: str | None = None,
    drafted: Names[str, str] = NOTHING,
) -> Policy:
    """Return the policy of a stage, for one side's principal or (None) for one that works on both.

    `places` says where each side's tables are. `drafted`: side → the name, with wildcards, of the tables that a draft
    reads: it has no mapping yet. Raises Refused for what is no stage.
    """
    asked = sides_of(stage, side)
    made = _Maker(parameters, mapping, places, drafted)
    statements = made.statements([right for right in STAGES[stage] if side is None or _is_of(right, side)])
    found = Policy({"Version": VERSION, "Statement": statements}, [])
    found.notes.extend(_notes(stage, parameters, places, asked))
    if found.size > MANAGED:
        found.notes.append(_too_long(found, divisible=len(asked) > 1))
    return found


class _Maker:
    """Makes statements of rights."""

    def __init__(self, parameters: Parameters, mapping: Mapping, places: Names[str, Place], drafted: Names[str, str]):
        self._parameters, self._entries, self._drafted = parameters, list(mapping.entries.values()), drafted
        self._places = places

    def statements(self, wanted: list[Right]) -> list[dict[str, Any]]:
        """One statement for all resources of a kind that take the same actions, in the order of the rights."""
        actions: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))  # kind → resource → actions
        for right in wanted:
            for resource in self._resources(right):
                actions[right.on][resource] |= {_full(action) for action in right.actions.split()}
        found = []
        for kind, of_kind in actions.items():
            groups: dict[tuple[str, ...], list[str]] = defaultdict(list)
            for resource in sorted(of_kind):
                groups[tuple(sorted(of_kind[resource]))].append(resource)
            for number, (group, resources) in enumerate(groups.items(), 1):
                sid = kind if number == 1 else f"{kind}{number}"
                found.append({"Sid": sid, "Effect": "Allow", "Action": list(group), "Resource": resources})
        return found

    def _resources(self, right: Right) -> set[str]:
        given = self._parameters
        kinds = {
            rights.SOURCE: lambda entry: [self._table("source", entry.source)],
            rights.STREAM: lambda entry: [f"{self._table('source', entry.source)}/stream/*"],
            rights.TARGET: lambda entry: [self._table("target", entry.target)],
            rights.INDEX: self._indexes,
            rights.BACKUP: lambda entry: [f"{self._table('target', entry.target)}/backup/*"],
            rights.RESTORED: lambda entry: [self._table("target", restored_name(entry.target, "*"))],
        }
        if resources := kinds.get(right.on):
            if self._drafted:
                side = "source" if right.on == rights.SOURCE else "target"
                return {self._table(side, self._drafted[side])}
            chosen = [entry for entry in self._entries if right.when is None or right.when.holds(given, entry)]
            return {one for entry in chosen for one in resources(entry)}
        if right.when is not None and not right.when.holds(given, None):
            return set()
        if right.on in _ANY:
            return {"*"} if right.on == rights.CALLER or "*" in self._drafted.get("source", "") else set()
        if right.on == rights.LEASE:
            return {self._table("target", given.lease.table)}
        if right.on == rights.ROLE:
            return {given.target.rollback_role_arn}
        bucket = f"arn:{self._places['target'].partition}:s3:::{urlsplit(given.limits.journal).netloc}"
        prefix = urlsplit(given.limits.journal).path.strip("/")
        return {bucket} if right.on == rights.BUCKET else {"/".join(filter(None, (bucket, prefix, "*")))}

    def _table(self, side: str, name: str) -> str:
        if name.startswith("arn:"):
            return name
        place = self._places[side]
        return f"arn:{place.partition}:dynamodb:{place.region}:{place.account or NO_ACCOUNT}:table/{name}"

    def _indexes(self, entry: Entry) -> list[str]:
        table = self._table("target", entry.target)
        return [f"{table}/index/{query.index}" for query in entry.model.queries.values() if query.index]


def _full(action: str) -> str:
    return action if ":" in action else f"dynamodb:{action}"


def _is_of(right: Right, side: str) -> bool:
    return right.on in _OF_BOTH or (right.on in _OF_SOURCE) == (side == "source")


def _principal(side: Side, stage: str) -> tuple[str | None, str | None]:
    """Profile and role with which a stage works on a side."""
    eraser = getattr(side, "rollback_role_arn", None) if stage in ("rollback", "restore") else None
    return side.profile, eraser or side.role_arn


def _notes(stage: str, parameters: Parameters, places: Names[str, Place], used: list[str]) -> list[str]:
    """What the document cannot say."""
    found = []
    who = {label: _principal(getattr(parameters, label), stage) for label in used}
    accounts = {places[label].account for label in used} - {None}
    if len(accounts) > 1 or len({who[label] for label in used}) > 1:
        found.append(
            "Source and target differ in account, profile or role: two principals need a policy each. Print them with "
            "--side source and --side target."
        )
    if unknown := [label for label in used if places[label].account is None]:
        found.append(
            f"The account of {' and '.join(unknown)} is not known: replace {NO_ACCOUNT}, or set "
            f"{' and '.join(f'{label}.account' for label in unknown)}."
        )
    for label in used:
        profile, role = who[label]
        if role:
            by = f"profile {profile}" if profile else "the credentials that boto3 finds"
            found.append(
                f"The {label}'s policy is for {role}. To assume it is a right of its own, sts:AssumeRole, for {by}."
            )
    if "target" in used:
        found += _of_target(stage, parameters)
    return found


def _of_target(stage: str, parameters: Parameters) -> list[str]:
    target, found = parameters.target, []
    eraser = target.rollback_role_arn
    if eraser and stage in ("test", "migrate", "delta"):
        assumed = " The credentials behind it need sts:AssumeRole on both roles." if target.role_arn else ""
        found.append(f"{eraser} does what deletes: give it the policy of `rollback`.{assumed}")
    elif stage == "migrate":
        found.append(
            "The automatic undo also needs the policy of `rollback`. Without it, a migration that fails leaves its items, "
            "exits with 1 and names the `runbook rollback` command that takes them back."
        )
    if stage == "validate":
        found.append("`validate --repair` inserts: it also needs the policy of `migrate`.")
    keeps = any(right.on == rights.JOURNAL and right.when.holds(parameters, None) for right in STAGES[stage])
    if keeps and (target.profile or target.role_arn or eraser):
        found.append("The journal's bucket is used with the credentials that boto3 finds, not with profile or role.")
    return found


def _too_long(policy: Policy, *, divisible: bool) -> str:
    size = (
        f"The policy has {policy.size:,} characters without white space, more than the {MANAGED:,} of a managed policy"
    )
    if divisible:
        return f"{size}: print it by side (--side source, --side target), and attach both policies."
    fits = f" It fits into the {INLINE:,} of a role's inline policies." if policy.size <= INLINE else ""
    return f"{size}: divide its statements, or a statement's resources, over several policies.{fits}"
