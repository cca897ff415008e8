"""The documentation says what the program does: every command, option, key, parameter, example and link in it is checked.

Marks of code blocks in docs/mapping.md, behind the language:
yaml mapping       a whole mapping file: it is loaded
python FILE.py     a file that lies beside every mapping of the page
yaml entries       what stands under `tables:`: loaded with the names of tables and `id: id` given
yaml mistake       as yaml mapping; the text block that follows is what it is refused with
json source ENTRY  an item, as plain JSON, for an entry of the mapping above; what becomes of it follows:
json target        the item that is written
text quarantined   `attribute: reason`
"""

import argparse
import ast
import json
import re
import runpy
import shlex
import textwrap
import typing
from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from compiled import mapping_of, routes_of
from pydantic import BaseModel

from runbook_lib import FOLDERS, cli
from runbook_lib.errors import MappingError, Refused
from runbook_lib.journal.snapshot import COUNTED
from runbook_lib.mapping.model import MappingModel
from runbook_lib.mapping.routes import Reject
from runbook_lib.notebook.parameters_cell import COMMON, OWN
from runbook_lib.parameters import Parameters, build_parameters, load_parameters
from runbook_lib.values import equal, from_python

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG")),
    *sorted((ROOT / "docs").glob("*.md")),
]
COMMANDS, MAPPING, DESIGN = (ROOT / "docs" / f"{name}.md" for name in ("commands", "mapping", "design"))
TABLE_NAMES = 'defaults: {source: "{table}-dev", target: "{table}-prod", id: id}\ntables:\n'
FENCE = re.compile(r"^( *)```(.*)\n((?:.*\n)*?)\1```$", re.MULTILINE)


def by_name(path: Path) -> str:
    return path.name


def blocks(path: Path) -> list[tuple[str, str]]:
    """The code blocks of a page: what stands behind the fence, and the text."""
    return [(info, textwrap.dedent(text)) for _, info, text in FENCE.findall(path.read_text(encoding="utf-8"))]


def prose(path: Path) -> str:
    """The page without its code blocks."""
    return FENCE.sub("", path.read_text(encoding="utf-8"))


def section(path: Path, heading: str) -> str:
    """The text under a heading, up to the next of the same or a higher level."""
    text = path.read_text(encoding="utf-8")
    level = heading.split(" ")[0]
    found = re.search(rf"^{re.escape(heading)}$\n(.*?)(?=^#{{1,{len(level)}}} |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"{path.name} has no heading {heading!r}"
    return found[1]


def first_column(text: str) -> list[str]:
    """The code spans that begin the rows of a page's tables."""
    return re.findall(r"^\| `([^`]+)`", text, re.MULTILINE)


# commands and options

PARSERS = next(a.choices for a in cli._parser()._actions if isinstance(a, argparse._SubParsersAction))
SHARED = {"--outputs", "--json", "--run-id", "-p", "--execute", "--confirm", "--break-lock", "--accept-changed"}


def options(parser: argparse.ArgumentParser) -> set[str]:
    return {option for action in parser._actions for option in action.option_strings} - {"-h", "--help"}


@pytest.mark.parametrize("command", PARSERS)
def test_every_command_has_a_section_that_names_its_options(command):
    """The options that commands share have a section of their own."""
    text = section(COMMANDS, f"### `runbook {command}`")
    shared = section(COMMANDS, "### Options that commands share")
    for option in options(PARSERS[command]):
        assert f"`{option}" in (shared if option in SHARED else text), f"{option} is not described"


def test_no_page_names_an_option_that_no_command_has():
    """An option that is taken out leaves the pages, too."""
    known = set().union(*map(options, PARSERS.values()))
    for path in (
        COMMANDS,
        ROOT / "README.md",
        *(ROOT / f"docs/{name}.md" for name in ("rollback", "cheatsheet", "tutorial")),
    ):
        for line in re.findall(r"runbook (?:.*)|`--[^`]*`", path.read_text(encoding="utf-8")):
            assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", line)) <= known, line


def test_commands_in_the_pages_exist():
    """`make X` is a target of the Makefile, `runbook X` a command."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        code = "\n".join([*re.findall(r"`([^`\n]+)`", prose(path)), *(body for _, body in blocks(path))])
        assert set(re.findall(r"\bmake ([a-z-]+)", code)) <= targets, path.name
        assert set(re.findall(r"^(?:\$ )?runbook ([a-z-]+)", code, re.MULTILINE)) <= PARSERS.keys(), path.name
        assert set(re.findall(r"`runbook ([a-z-]+)", text)) <= PARSERS.keys(), path.name


def command_lines(path: Path) -> list[str]:
    """The command lines in a page's blocks; in the cheat sheet also those in its tables."""
    code = [line for _, body in blocks(path) for line in body.replace("\\\n", " ").splitlines()]
    code += re.findall(r"`(runbook [^`]+)`", prose(path)) if path.name == "cheatsheet.md" else []
    return [line.removeprefix("$ ") for line in code if re.match(r"(\$ )?runbook ", line)]


@pytest.mark.parametrize("path", PAGES, ids=by_name)
def test_command_lines_in_the_pages_are_right(path):
    """The parser takes each, with all its options, none of them abbreviated."""
    for line in command_lines(path):
        words = shlex.split(line.replace("RUN_ID", "20260301-090000-rental"), comments=True)
        assert {word for word in words if word.startswith("--")} <= options(PARSERS[words[1]]), line
        try:
            cli._parser().parse_args(words[1:])
        except Refused as problem:
            pytest.fail(f"{line}: {problem}")


def test_the_cheat_sheet_has_every_command():
    """So that whoever looks for one finds it there."""
    said = " ".join(command_lines(ROOT / "docs/cheatsheet.md"))
    assert {word for word in PARSERS if f"runbook {word}" not in said} <= {"pause"}  # another name of stop


# keys of the files


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """The dotted keys that a model knows; NAME stands for the names that the user chooses."""
    for name, field in model.model_fields.items():
        name = prefix + (field.alias or name)
        inner = list(models_in(field.annotation))
        if not inner or any(typing.get_origin(part) is typing.Literal for part in typing.get_args(field.annotation)):
            yield name
        for found, named in inner:
            yield from keys(found, f"{name}.NAME." if named else f"{name}.")


def models_in(annotation, named: bool = False) -> Iterator[tuple[type[BaseModel], bool]]:
    """The models in an annotation, and whether each is the value of a dict."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, named
    for part in typing.get_args(annotation):
        yield from models_in(part, named or typing.get_origin(annotation) is dict)


def test_every_key_of_a_parameters_file_is_described():
    """And no other: the table under its heading is the list of keys."""
    assert set(first_column(section(COMMANDS, "## The parameters file"))) == set(keys(Parameters))


def test_every_key_of_a_mapping_file_is_described():
    """And no other. What an entry takes, `defaults` takes as well."""
    entry = {key for key in keys(MappingModel) if not key.startswith("defaults.")} | {"defaults"}
    assert set(first_column(section(MAPPING, "## Every key"))) == entry


# notebooks


def parameters_cell(stage: str) -> str:
    notebook = json.loads((ROOT / f"notebooks/{stage}.ipynb").read_text(encoding="utf-8"))
    return "".join(next(c["source"] for c in notebook["cells"] if "parameters" in c["metadata"].get("tags", [])))


@pytest.mark.parametrize("stage", OWN)
def test_every_parameter_of_a_notebook_is_described_and_carries_a_comment(stage):
    """The notebook declares what the program takes; papermill shows the comments as help."""
    source = parameters_cell(stage)
    assert {node.target.id for node in ast.parse(source).body} == {*COMMON, *OWN[stage]}
    for line in source.splitlines():
        assert re.search(r"  # \w", line), f"no comment: {line}"
    assert set(OWN[stage]) <= set(first_column(section(COMMANDS, f"### {stage}")))


def test_every_common_parameter_is_described():
    """Once, for all notebooks."""
    assert set(first_column(section(COMMANDS, "### Parameters of every notebook"))) == set(COMMON)


@pytest.mark.parametrize("stage", OWN)
def test_the_defaults_in_the_pages_are_those_of_the_notebooks(stage):
    """The second column of the table."""
    rows = re.findall(r"^\| `(\w+)` \| `([^`]*)`", section(COMMANDS, f"### {stage}"), re.MULTILINE)
    declared = {node.target.id: ast.literal_eval(node.value) for node in ast.parse(parameters_cell(stage)).body}
    assert {name: ast.literal_eval(default) for name, default in rows} == {n: declared[n] for n in OWN[stage]}


# examples


def examples() -> Iterator[tuple[str, str, str]]:
    """(what, mapping, text) of each block in docs/mapping.md that can be tried."""
    mapping = ""
    for info, text in blocks(MAPPING):
        if info in ("yaml mapping", "yaml mistake"):
            mapping = text
        elif info == "yaml entries":
            mapping = TABLE_NAMES + re.sub(r"^(?=.)", "  ", text, flags=re.MULTILINE)
        yield info, mapping, text


EXAMPLES = list(examples())
FILES = {info.split()[1]: text for info, text in blocks(MAPPING) if info.startswith("python ")}


def cases(*infos: str) -> list:
    return [pytest.param(*example, id=f"{n}") for n, example in enumerate(EXAMPLES) if example[0] in infos]


@pytest.mark.parametrize(("info", "mapping", "text"), cases("yaml mapping", "yaml entries"))
def test_mappings_in_the_pages_are_right(info, mapping, text, monkeypatch):
    """They load, and so do the README's."""
    monkeypatch.delenv("OLD_TABLE", raising=False)
    assert mapping_of(mapping, FILES, region="eu-west-1").entries


def sequences(first: str) -> list:
    """Each example of a kind with the block that follows it."""
    found = [(a[1], a[0], a[2], b[0], b[2]) for a, b in pairwise(EXAMPLES)]
    return [pytest.param(*case, id=f"{n}") for n, case in enumerate(found) if case[1].startswith(first)]


@pytest.mark.parametrize(("mapping", "info", "source", "kind", "wanted"), sequences("json source"))
def test_items_in_the_pages_become_what_the_pages_say(mapping, info, source, kind, wanted):
    """Through the real route, for target environment prod."""
    entry = info.split()[2]
    names = next((names for names in (("pk", "sk"), ("PK", "SK")) if f'"{names[0]}"' in source), ("id",))
    keys_of_source = dict.fromkeys(names, "S")
    route = routes_of(mapping, {entry: keys_of_source}, files=FILES)[entry]
    result = route.route(typed(json.loads(source, parse_float=Decimal)))
    if kind == "text quarantined":
        assert isinstance(result, Reject)
        assert f"{result.attribute}: {result.reason}" == wanted.strip()
    else:
        assert kind == "json target"
        assert not isinstance(result, Reject), result
        assert equal({"M": result.item}, {"M": typed(json.loads(wanted, parse_float=Decimal))}), result.item


def typed(item: dict) -> dict:
    return {name: from_python(value) for name, value in item.items()}


@pytest.mark.parametrize(("mapping", "info", "text", "kind", "sentence"), sequences("yaml mistake"))
def test_mistakes_in_the_pages_are_reported_as_the_pages_say(mapping, info, text, kind, sentence):
    """Word for word."""
    assert kind == "text"
    with pytest.raises(MappingError) as problem:
        mapping_of(mapping)
    assert str(problem.value) == sentence.strip()


def test_the_readme_example_is_a_migration(tmp_path):
    """Its mapping and its parameters file belong together and are right."""
    yaml = [body for info, body in blocks(ROOT / "README.md") if info == "yaml"]
    mapping, parameters = (next(body for body in yaml if body.startswith(start)) for start in ("defaults:", "mapping:"))
    assert set(mapping_of(mapping).entries) == {"Customers", "Orders"}
    assert mapping.count("\n") == 8
    (tmp_path / "shop.yaml").write_text(parameters, encoding="utf-8")
    assert load_parameters(tmp_path / "shop.yaml").target.environment in (ROOT / "README.md").read_text(
        encoding="utf-8"
    )


def test_the_parameters_example_is_right():
    """The one in docs/commands.md."""
    import yaml

    body = next(body for info, body in blocks(COMMANDS) if info == "yaml" and body.startswith("mapping:"))
    assert build_parameters(yaml.safe_load(body))


def test_the_design_lists_every_folder_and_its_files():
    """In the order of the imports; and nothing that is gone."""
    rows = re.findall(r"^\| `([^`]+)` \| [^|]+ \| (.*) \|$", section(DESIGN, "## The folders"), re.MULTILINE)
    package = ROOT / "runbook_lib"
    listed = {folder: re.findall(r"`([^`]+)`", files) for folder, files in rows}
    assert [name for name in listed if name in FOLDERS] == list(FOLDERS)
    known: dict[str, list[str]] = {}
    for path in sorted(package.rglob("*.py")):
        folder = path.parent.relative_to(package).as_posix()
        if not path.stem.startswith("__"):
            known.setdefault(folder if folder != "." else "runbook_lib", []).append(path.stem)
    assert listed == known


# links and names


def anchors(path: Path) -> set[str]:
    """As GitHub makes them from headings."""
    headings = re.findall(r"^#+ (.*)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=by_name)
def test_links_lead_somewhere(path):
    """Relative ones, with their anchors."""
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        if link.startswith(("http:", "https:")):
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_picture_is_shown_and_can_be_taken_again():
    """By `make screenshots`."""
    code = runpy.run_path(str(ROOT / "docs/screenshots.py"))
    taken = {f"{shot.name}.png" for shot in (*code["SHOTS"], code["LAB"], *code["OF_TUTORIAL"])}
    shown = {name for path in PAGES for name in re.findall(r"!\[[^\]]{20,}\]\([^)]*images/([^)]+)\)", prose(path))}
    assert {path.name for path in (ROOT / "docs/images").iterdir()} == shown == taken


def test_the_glossary_has_the_words_that_are_used():
    """In order, each once; with the counts that everybody sees; and no word that no other page, notebook or module says."""
    page = (ROOT / "docs/glossary.md").read_text(encoding="utf-8")
    tables = [re.findall(r"^\| ([\w -]+) \|", part, re.MULTILINE)[1:] for part in page.split("\n## ")[1:]]
    words = [word for table in tables for word in table]
    assert len(words) == len(set(words)) == len(re.findall(r"^\| ", page, re.MULTILINE)) - len(tables)
    assert tables == [sorted(table, key=str.lower) for table in tables]
    assert {count.replace("_", " ").removesuffix("s") for count in COUNTED} <= set(words)
    sources = [path for path in PAGES if path.name not in ("glossary.md", "CHANGELOG.md")]
    sources += [*(ROOT / "notebooks").glob("*.ipynb"), *(ROOT / "runbook_lib").rglob("*.py")]
    used = re.sub(r"\s+", " ", " ".join(path.read_text(encoding="utf-8") for path in sources)).lower()
    assert [word for word in words if not re.search(rf"\b{re.escape(word.lower())}", used)] == []


@pytest.mark.parametrize("path", PAGES, ids=by_name)
def test_files_that_are_named_exist(path):
    """Paths from the top of the project; NAME, *, < and … stand for what is not fixed."""
    folders = "docs|parameters|notebooks|runbook_lib|tests"
    for span in re.findall(r"`([^`\n]+)`", prose(path)):
        for name in re.findall(rf"(?<![\w/.])(?:{folders})/[\w./-]*", span):
            rest = span[span.index(name) + len(name) :]
            made_up = rest[:1] in ("*", "<", "…") or any(word in name for word in ("NAME", "shop", "rental"))
            assert (ROOT / name).exists() or made_up, span


@pytest.mark.parametrize("path", PAGES, ids=by_name)
def test_pages_name_no_machine(path):
    """No path of a machine, no address of a package registry."""
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"/(?:home|work|root|Users|tmp)/|[/.]pypi\.|registry\.npm", text)


def test_every_page_is_linked_from_the_readme():
    """Nothing to be found by luck."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert f"(docs/{page.name})" in text, page.name
