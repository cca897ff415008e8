"""Fingerprints: what must be the same for a run to resume, for an analysis to be trusted, for a comparison to be reused."""

import hashlib
import json
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

from ..mapping.model import Mapping
from ..parameters import Parameters

PACKAGE = Path(__file__).resolve().parents[1]
DECIDING = {  # what decides what an item becomes and how that is recorded → the file where it stands today
    "typed values": "values.py",
    "mapping model": "mapping/model.py",
    "mapping file": "mapping/file/load.py",
    "mapping checks": "mapping/file/checks.py",
    "mapping rules": "mapping/file/rules.py",
    "what can never be written": "mapping/file/unwritable.py",
    "conditions": "mapping/conditions.py",
    "paths": "mapping/text/paths.py",
    "tables to create": "mapping/create.py",
    "yaml files": "yaml_files.py",
    "templates": "mapping/text/templates.py",
    "json text": "mapping/text/json_text.py",
    "conversions": "mapping/text/conversions.py",
    "datetimes": "mapping/text/datetimes.py",
    "derived values": "mapping/text/derivation.py",
    "ids": "mapping/ids.py",
    "references": "mapping/references.py",
    "walks to what stands at paths": "mapping/walkers.py",
    "fields": "mapping/fields.py",
    "routes": "mapping/routes.py",
    "matches": "run/matches.py",
    "ids of matched items": "mapping/matching/ids.py",
    "values that match": "mapping/matching/values.py",
    "transform": "mapping/transform.py",
    "journal": "journal/log.py",
    "journal rows": "journal/intents.py",
    "journal on a store": "walk/workers/object_log.py",
    "walk": "walk/walk.py",
    "reading ahead": "walk/preread.py",
    "insert": "walk/insert.py",
}
_IMPORT = re.compile(rb"^(?:from|import) [^(\n]*(?:\([^)]*\)[^\n]*)?\n", re.MULTILINE)


class Identity(NamedTuple):
    """What a resumed run must have in common with the one it resumes; each a SHA-256 in hex."""

    mapping: str
    environments: str
    code: str


def identity_of(mapping: Mapping, parameters: Parameters, matches: str | None = None) -> Identity:
    """The identity of a migration as this program would run it now. `matches`: the SHA-256 of its frozen matches, if any."""
    return Identity(mapping_fingerprint(mapping, matches), environments_fingerprint(parameters), code_fingerprint())


def mapping_fingerprint(mapping: Mapping, matches: str | None = None) -> str:
    """SHA-256 over what decides ids and items: the mapping, and the SHA-256 of the frozen matches, if any."""
    if matches is None:
        return mapping.fingerprint
    return hashlib.sha256(f"{mapping.fingerprint} {matches}".encode()).hexdigest()


@cache
def code_fingerprint() -> str:
    """SHA-256 over the code that decides what an item becomes and how that is recorded."""
    return sources_fingerprint(DECIDING)


def sources_fingerprint(files: dict[str, str]) -> str:
    """SHA-256 over parts of the program: name of the part → its file, relative to the package.

    The name counts, the path does not, nor do import lines: a file that only moves changes nothing.
    """
    hashed = hashlib.sha256()
    for part, file in sorted(files.items()):
        hashed.update(part.encode() + b"\0" + _IMPORT.sub(b"", (PACKAGE / file).read_bytes()) + b"\0")
    return hashed.hexdigest()


def environments_fingerprint(parameters: Parameters) -> str:
    """SHA-256 over environment, region and account of both sides; endpoints, roles and limits do not count."""
    names = [[side.environment, side.region, side.account] for side in (parameters.source, parameters.target)]
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()
