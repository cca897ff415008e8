"""The structure of the package: imports run one way, folders and files stay small, and what is light stays light."""

import ast
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from runbook_lib import FOLDERS
from runbook_lib.run import fingerprints

PACKAGE = Path(__file__).resolve().parents[2] / "runbook_lib"
HEAVY = ("pandas", "matplotlib", "papermill", "numpy", "pyarrow", "nbformat", "IPython", "boto3", "moto")
COMMAND = {"cli", "commands", "folder_commands", "__main__"}  # the files at the top that may import folders
LONGEST = 400  # lines of a module
MOST_FILES = 10  # of a folder, __init__.py and __main__.py apart
MOST_ARROWS = 37  # from one folder to another
# From one module to another: a change that needs more is to say why here. What looks at the data whatever the mapping says
# (discovery, names, ledger, checks, structure, costs, listings, groups, repair, what is left out, the sealed plan) and the draft
# of a mapping are a module each, and three stages share the first. Loading asks the fields what they can never write; one
# function opens every file that may be none, those of the journal and the lease among them. Every stage asks the chain of the
# run's folder, holds tables by what they are, and ends what others claim; how a delta replaces is a module of its own.
# What a terminal shows and a log keeps goes through one function that leaves nothing hidden.
# Whoever quotes botocore asks for what may be shown. What the mapping language says has a module a thing (conditions, paths,
# walks to what stands there, what fields take, dates, a function of the user's; reading the file is a folder), discovery and
# draft know single tables (who owns the ids in keys, the draft asks by what discovery knows of chance), and every stage asks as
# of which moment items have expired. Where a key of a mapping belongs is a module, too; discovery
# looks at the slots of texts, and how sure a finding is has a module of its own. A draft looks whether its conditions select what
# they were made from, and whether its rules may stand beside each other. It asks discovery what a uuid is.
# What a mapping probably means otherwise is a module beside the names that match nothing.
# Progress is measured where the work is done and read by three faces; a run has a summary, a bundle, rights and a notifier; the
# notebooks by hand have a folder, each kind of notebook a book, and every step's figures are frames.
MOST_IMPORTS = 1696


def modules() -> dict[str, Path]:
    """Dotted name within the package → file. A folder's `__init__` goes by the folder's name."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(name: str, text: str) -> set[str]:
    """The package's modules that a module's text imports, inside functions as well."""
    found = set()
    is_folder = MODULES[name].name == "__init__.py"
    package = name.split(".") if is_folder else name.split(".")[:-1]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            assert not any(alias.name.startswith("runbook_lib") for alias in node.names), f"{name}: import relatively"
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        base = [part for part in package[: len(package) - node.level + 1] if part]
        inside = [*base, *(node.module.split(".") if node.module else [])]
        for alias in node.names:
            found |= {c for c in (".".join([*inside, alias.name]), ".".join(inside)) if c in MODULES and c}
    return found - {name}


GRAPH = {name: imports(name, path.read_text(encoding="utf-8")) for name, path in MODULES.items()}


def folder_of(name: str) -> str:
    """The folder of a module; "" for the files at the top."""
    head = name.split(".")[0]
    return head if head in FOLDERS else ""


def test_the_folders_are_those_that_the_package_names():
    """No folder beside them, and none missing."""
    assert sorted(path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()) == sorted(FOLDERS)


def test_a_folder_imports_only_folders_before_it():
    """In the order of `FOLDERS`; imports inside functions count."""
    place = {name: number for number, name in enumerate(FOLDERS)}
    wrong = [
        f"{name} imports {other}"
        for name, others in GRAPH.items()
        for other in others
        if folder_of(name) and folder_of(other) and place[folder_of(other)] > place[folder_of(name)]
    ]
    assert wrong == []


def test_files_at_the_top_import_no_folder():
    """Except the command; and nothing imports the command."""
    wrong = [
        f"{name} imports {other}"
        for name, others in GRAPH.items()
        for other in others
        if (not folder_of(name) and folder_of(other) and name not in COMMAND)
        or (other in COMMAND and name not in COMMAND)
    ]
    assert wrong == []


def in_circles(graph: dict[str, set[str]]) -> set[str]:
    """The names that cannot be read after those they import: they lie in a circle, or behind one."""
    done: set[str] = set()
    while ready := {name for name, needed in graph.items() if name not in done and needed - {name} <= done}:
        done |= ready
    return graph.keys() - done


def test_there_is_no_circle_of_modules():
    """Each module can be read after those it imports."""
    graph = {name: others - {""} for name, others in GRAPH.items()}
    assert in_circles(graph) == set()


def test_there_is_no_circle_of_folders():
    """Those inside a folder count as folders, and the files beside them as one more."""
    folders: dict[str, set[str]] = {}
    for name, others in GRAPH.items():
        if name not in COMMAND:
            needed = folders.setdefault(name.rpartition(".")[0], set())
            needed |= {other.rpartition(".")[0] for other in others if MODULES[other].name != "__init__.py"}
    assert in_circles(folders) == set()


def test_what_changes_a_whole_process_stands_in_one_module():
    """Signal handlers, the garbage collector, the environment, the table of modules: each with its reason, in process.py."""
    changes = ("signal.signal(", "gc.", "sys.modules", "os.environ[", "os.environ.update", "os.environ.clear", "putenv")
    for name, path in MODULES.items():
        text = path.read_text(encoding="utf-8")
        assert name == "process" or not [change for change in changes if re.search(rf"\b{re.escape(change)}", text)], (
            name
        )


def test_folders_and_modules_stay_small():
    """At most ten files a folder, 400 lines a module, few arrows between folders."""
    files = Counter(path.parent for path in MODULES.values() if not path.name.startswith("__"))
    assert {folder.name: count for folder, count in files.items() if count > MOST_FILES} == {}
    lines = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in MODULES.items()}
    assert {name: count for name, count in lines.items() if count > LONGEST} == {}
    arrows = {(folder_of(name), folder_of(other)) for name, others in GRAPH.items() for other in others}
    assert len({(a, b) for a, b in arrows if a and b and a != b}) <= MOST_ARROWS
    modules_imported = [other for others in GRAPH.values() for other in others if MODULES[other].name != "__init__.py"]
    assert len(modules_imported) <= MOST_IMPORTS


def test_a_file_that_moves_keeps_the_code_fingerprint(monkeypatch, tmp_path):
    """The fingerprint names parts by meaning; neither a path nor an import line enters it, every other line does."""
    (tmp_path / "here.py").write_text("from ..values import digest\nfrom .log import (\n    Log,\n)\n\nX = 1\n")
    (tmp_path / "there.py").write_text("from .values import digest\nfrom ..journal.log import Log\n\nX = 1\n")
    (tmp_path / "other.py").write_text("from .values import digest\nfrom ..journal.log import Log\n\nX = 2\n")
    monkeypatch.setattr(fingerprints, "PACKAGE", tmp_path)
    of = fingerprints.sources_fingerprint
    assert of({"ids": "here.py"}) == of({"ids": "there.py"})
    assert of({"ids": "here.py"}) != of({"ids": "other.py"})
    assert of({"ids": "here.py"}) != of({"routes": "here.py"})


def test_the_code_fingerprint_reads_files_that_exist():
    """Every part stands in a file of the package."""
    assert all((PACKAGE / file).is_file() for file in fingerprints.DECIDING.values())
    assert len(set(fingerprints.DECIDING.values())) == len(fingerprints.DECIDING)


def test_only_dynamo_talks_to_dynamodb():
    """boto3 and botocore are imported under dynamo/ alone; the embedded world and S3 have clients of their own."""
    for name, path in MODULES.items():
        if folder_of(name) in ("dynamo", "demo") or name == "walk.workers.object_store":
            continue
        text = path.read_text(encoding="utf-8")
        assert "import boto3" not in text, name
        assert "import botocore" not in text, name
        assert "from botocore" not in text, name


@pytest.mark.parametrize(
    "module", ["runbook_lib", "runbook_lib.cli", "runbook_lib.report.runs.status", "runbook_lib.commands"]
)
def test_importing_loads_nothing_heavy(module):
    """A command answers before pandas would have been imported."""
    if module == "runbook_lib.commands":
        heavy = ("pandas", "matplotlib", "papermill", "moto")
    else:
        heavy = HEAVY
    code = f"import {module}, sys; print([name for name in {heavy!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
