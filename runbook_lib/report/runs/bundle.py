"""`runbook bundle`: the run's pages and reports as one zip file to send, without keys, lists and journal."""

import hashlib
import io
import json
import os
import re
import zipfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import unquote

from ...errors import Refused
from ...process import is_at_work
from ...run.chain import SAVING, SUMMARY, Chain, read_chain, special_of
from ...run.files import open_file, write_atomically
from ...run.folder import Run
from ...verdict import BUG, STOPPED
from .executions import STAGES, history

MANIFEST = "manifest.json"
REPORTS = ("mapping-draft-*.json", "migration-analysis-*.json", "migration-report-*.json")
CODE = "-code.html"  # shows the parameters: endpoints, roles
_EARLIEST = (1980, 1, 1, 0, 0, 0)  # of a zip file: times of files are no part of what they hold
_HREF = re.compile(rb"""(<a\b[^>]*?)\shref="([^"#:?]+)(?:#[^"]*)?\"""")


@dataclass(frozen=True)
class Bundle:
    """A zip file that was written."""

    path: Path
    size: int  # bytes
    files: dict[str, str]  # name -> SHA-256, as in its manifest
    left_out: list[str]  # pages that are not in it: a sentence each, without its full stop


def write_bundle(run: Run) -> Bundle:
    """Writes `<run_id>.zip` beside the run's folder, whole or not at all. The same run gives the same bytes.

    Refused where the run is being written, has no summary, or a file that belongs in it is not as the audit chain has it.
    """
    chain = _check(run)
    names, left_out = _names(run, chain)
    contents = {name: _content(run.folder / name, chain.files[name]) for name in names}
    contents |= {name: _unlinked(page, contents.keys()) for name, page in contents.items() if name.endswith(".html")}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(contents.items())}
    contents[MANIFEST] = (json.dumps(digests, indent=2) + "\n").encode()
    path, content = run.folder.with_name(f"{run.id}.zip"), _zipped(contents)
    if path.is_dir():
        raise Refused(f"{path} is a folder; move it elsewhere.")
    write_atomically(path, content)
    return Bundle(path, len(content), digests, left_out)


def _check(run: Run) -> Chain:
    """The run's audit chain. Refused where nothing may be sent now."""
    if holder := run.holder():
        raise Refused(f"{run.id} is being written by {holder}; wait for it to end.")
    if not os.path.lexists(run.folder / SUMMARY):
        raise Refused(f"{run.id} has no {SUMMARY}: no stage has ended in it; run one, such as `runbook analyze`.")
    chain = read_chain(run)
    if chain.broken:
        raise Refused(
            f"{chain.broken}: nobody can say whether its files are as they were left; see `runbook verify {run.id}`."
        )
    for who, can in chain.open.items():
        stage, _, executor = who.partition(" ")
        if stage in STAGES and can != [*SAVING] and is_at_work(executor):
            raise Refused(f"{run.id} is being written by {stage}; wait for it to end.")
    return chain


def _names(run: Run, chain: Chain) -> tuple[list[str], list[str]]:
    """The files that belong in the bundle, and why others do not."""
    names, left_out = [], []
    faulty = {Path(one.copy).stem: one for one in history(run).executions if one.verdict in (BUG, STOPPED)}
    for name in sorted({*chain.files, *os.listdir(run.folder)}):
        page = name.endswith(".html") and not name.endswith(CODE) and "/" not in name
        if not page and not any(fnmatchcase(name, pattern) for pattern in REPORTS):
            continue
        if name not in chain.files:
            left_out.append(f"{name} is in no record of the audit chain")
        elif page and name.removesuffix(".html") in faulty:
            left_out.append(f"{name} ended in a fault of the program, whose traceback may quote an item")
        else:
            names.append(name)
    return names, left_out


def _content(path: Path, sha256: str) -> bytes:
    """The file's bytes, read once. Refused where they are not those that the chain knows, or the file is none of its own."""
    if special := special_of(path):
        raise Refused(f"{path.name} is {special} now; put the file back where it was.")
    try:
        with open(open_file(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            content = file.read()
    except FileNotFoundError:
        raise Refused(f"{path.name} was removed; restore it from a copy.") from None
    if hashlib.sha256(content).hexdigest() != sha256:
        fix = "run the stage again" if path.name == SUMMARY else "restore it from a copy"
        raise Refused(f"{path.name} was changed since it was written; {fix}.")
    return content


def _unlinked(page: bytes, names: Collection[str]) -> bytes:
    """The page without links to files that are not in the bundle; their text stays."""

    def kept(link: re.Match[bytes]) -> bytes:
        return link[0] if unquote(link[2].decode()) in names else link[1]

    return _HREF.sub(kept, page)


def _zipped(contents: Mapping[str, bytes]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as file:
        for name, content in sorted(contents.items()):
            about = zipfile.ZipInfo(name, _EARLIEST)
            about.compress_type, about.create_system, about.external_attr = zipfile.ZIP_DEFLATED, 3, 0o644 << 16
            file.writestr(about, content, compresslevel=6)
    return held.getvalue()


def summary_in(path: Path) -> str | None:
    """The SHA-256 of the summary in a bundle; None where it cannot be read. Read-only."""
    try:
        with zipfile.ZipFile(path) as file:
            return json.loads(file.read(MANIFEST)).get(SUMMARY)
    except (OSError, ValueError, KeyError, AttributeError, zipfile.BadZipFile):
        return None
