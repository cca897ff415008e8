"""The corpus of planted mistakes: a domain's data and right mapping, a mistake in it, and what the stages find of it.

`tests/cases/mistakes/DOMAIN.yaml` lists the mistakes; see its first lines for the form. A change is laid over the mapping
key by key; the word GONE takes a key away.
"""

import functools
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import support_worlds as worlds
import yaml
from support_domains import DOMAINS, WHOLE
from support_flows import Flow

from runbook_lib.demo.data import ENV_SOURCE
from runbook_lib.discover.confidence import CERTAIN
from runbook_lib.mapping.file.load import load_mapping
from runbook_lib.parameters import build_parameters
from runbook_lib.verdict import FAIL, PASS, REVIEW

HERE = Path(__file__).parent / "cases/mistakes"
GONE = "GONE"
MADE = DOMAINS | WHOLE
PASSED = {"verdict": PASS}
_runs = itertools.count()
_UNMATCHED = ("table", "rule", "name", "suggestion")
_UNDECLARED = ("table", "path", "to", "found", "line")


@dataclass
class Domain:
    """A domain's source tables on an engine, and its right mapping."""

    name: str
    world: worlds.World
    mapping: dict[str, Any]

    @property
    def source(self) -> str:
        """The name of the source's environment: the demo's data name their own."""
        return ENV_SOURCE if self.name in WHOLE else worlds.SOURCE

    def items(self, entry: str) -> list[dict[str, Any]]:
        """The source items of an entry."""
        about = self.mapping["tables"][entry]
        table = about.get("source", f"{entry}@source").removesuffix("@source")
        wanted = {name: {"S": value} for name, value in about.get("where", {}).items()}
        return [one for one in MADE[self.name]()[0][table]["items"] if wanted.items() <= one.items()]

    def settle(self, flow: Flow) -> None:
        """Makes the target's tables, with what they hold before the migration."""
        flow.create()
        entries = load_mapping(flow.parameters).entries
        for name, about in MADE[self.name]()[0].items():
            for item in about.get("residents", ()):
                self.world.put(entries[name].target, item)

    def flow(self, outputs: Path, *changes: Mapping[str, Any]) -> Flow:
        """A migration of the domain into empty tables of its own, with its mapping changed, not yet begun."""
        number = next(_runs)
        folder = outputs / f"run-{number}"
        folder.mkdir()
        content = json.dumps(functools.reduce(laid_over, [{"tables": one} for one in changes], self.mapping))
        content = content.replace("@source", f"-{{source.environment}}-{self.world.suffix}")
        content = content.replace("@target", f"-{{target.environment}}-{self.world.suffix}")
        (folder / "mapping.yaml").write_text(content, encoding="utf-8")
        # Environments that no text of the data holds, and that differ from run to run: each has its own tables.
        sides = {
            label: {"environment": name, "region": "us-west-1", "endpoint_url": self.world.engine.endpoint_url}
            for label, name in (("source", self.source), ("target", target_of(number)))
        }
        return Flow(build_parameters({"mapping": str(folder / "mapping.yaml"), **sides}), folder)


def target_of(number: int) -> str:
    """The name of a run's target environment."""
    return f"goal{number}"


def laid_over(content: Any, change: Any) -> Any:
    """The content with a change laid over it."""
    if not isinstance(change, Mapping) or not isinstance(content, Mapping):
        return deepcopy(change)
    merged = dict(content)
    for key, value in change.items():
        if value == GONE:
            del merged[key]  # what is taken away must have been there
        else:
            merged[key] = laid_over(merged[key], value) if key in merged else deepcopy(value)
    return merged


def corpus() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every mistake with the name of its domain, those in the demo's whole data apart."""
    for name in DOMAINS:
        yield from ((name, mistake) for mistake in mistakes_in(name))


def mistakes_in(name: str) -> list[dict[str, Any]]:
    """The mistakes of a domain."""
    return yaml.safe_load((HERE / f"{name}.yaml").read_text(encoding="utf-8"))


def domain(name: str, world: worlds.World) -> Domain:
    """Fills the source tables of a domain."""
    tables, mapping = MADE[name]()
    made = Domain(name, world, mapping)
    world.build(tables, made.source)
    return made


def look(flow: Flow, mistakes: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Compares all that 01 and 04 find with what they must; gives the analysis."""
    analysis = flow.analyze()
    assert found_by_analysis(analysis) == expected(mistakes, "analysis")
    flow.create()
    flow.migrate()
    assert found_by_validation(flow.validate(), flow) == expected(mistakes, "validation")
    return analysis


def found_by_analysis(content: Mapping[str, Any]) -> dict[str, Any]:
    """What 01 finds, without what is empty."""
    tables, found = content["tables"], {}
    for key, wanted in (("undeclared", _UNDECLARED), ("unmatched", _UNMATCHED)):
        found[key] = sorted([one[name] for name in wanted] + _extra(one) for one in content[key])
    for key in ("fell_back", "dangling", "unreadable", "quarantined", "conflicts"):
        found[key] = {name: table[key] for name, table in tables.items() if table[key]}
    found["not_references"] = sorted([one[name] for name in _UNDECLARED] for one in content["not_references"])
    found["kept"] = sorted(c["table"] for c in content["checks"] if c["what"] == "ids" and c["level"] != "OK")
    found["unrouted"] = content["totals"]["unrouted"]
    found["unaccounted"] = [n for n, t in tables.items() if any(w["unaccounted"] for w in t["ledger"].values())]
    return _filled(found) | {"verdict": content["verdict"]}


def _extra(one: Mapping[str, Any]) -> list[str]:
    note = one["confidence"] < CERTAIN if "confidence" in one else one["level"] != REVIEW
    said = [f"{key} {one[key]}" for key in ("declared", "record") if one.get(key)]
    return said + (["accepted"] if one.get("accepted") else ["note"] if note else [])


def found_by_validation(content: Mapping[str, Any], flow: Flow) -> dict[str, Any]:
    """What 04 finds, without what is empty."""
    about = content["validation"]
    found = {name: about[name] for name in ("missing", "different", "extra", "dangling", "unreadable")}
    found["residual"] = about["residual_ids"]["by_path"]
    found["environment"] = about["residual_environment"]["by_path"]
    found["coincidences"] = {plain(t): p for t, p in about["residual_ids"]["coincidences_by_path"].items()}
    kept = load_mapping(flow.parameters).entries
    left_out = about["residual_ids"]["left_out"]  # where all ids are kept, that nothing else is says nothing
    found["left_out"] = left_out if any(entry.model.renews_ids for entry in kept.values()) else {}
    found["queries"] = sorted(
        f"{one['name']}: {'nothing' if one['vacuous'] else 'wrong'}"
        for one in about["queries"]
        if one["vacuous"] or not one["proved"]
    )
    groups = ("table", "attribute", "kind", "expected", "found", "rule", "items")
    found["groups"] = sorted(
        [plain(one[key]) if key == "table" else one[key] for key in groups] for one in about["difference_groups"]
    )
    check_listings(about, flow)
    return _filled(found) | {"verdict": content["verdict"]}


def check_listings(about: Mapping[str, Any], flow: Flow) -> None:
    """The listings hold each value that the report counts, and nothing else."""
    by_path: dict[str, dict[str, set]] = {}
    for line in flow.listing("residual-ids"):
        by_path.setdefault(line["table"], {}).setdefault(line["path"], set()).add(worlds.as_text(line["key"]))
    counted = {table: {path: len(keys) for path, keys in paths.items()} for table, paths in by_path.items()}
    assert counted == about["residual_ids"]["by_path"]
    for name in ("dangling", "unreadable"):
        assert len(flow.listing(name)) == about[name]


def expected(mistakes: Iterable[Mapping[str, Any]], stage: str) -> dict[str, Any]:
    """All that a stage must find of some mistakes."""
    found: dict[str, Any] = dict(PASSED)
    for mistake in mistakes:
        for key, value in mistake.get(stage, PASSED).items():
            if key == "verdict":
                found[key] = max(found[key], value, key=(PASS, REVIEW, FAIL).index)
            else:
                found[key] = _sums(found[key], value) if key in found else value
    return _left(found)


def _left(found: dict[str, Any]) -> dict[str, Any]:
    """The figures without those that sum up to nothing."""
    within = {key: _left(value) if isinstance(value, dict) else value for key, value in found.items()}
    return {key: value for key, value in within.items() if value}


def _sums(one: Any, other: Any) -> Any:
    """Two trees of numbers and lists as one."""
    if not isinstance(one, dict):
        return sorted(one + other) if isinstance(one, list) else one + other
    return {**one, **{key: _sums(one[key], value) if key in one else value for key, value in other.items()}}


def once_mended(mistake: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is left of a mistake when the lines that 01 gives are in the mapping: nothing, if it gives any."""
    gives = any(one[4] and "note" not in one[5:] for one in mistake.get("analysis", {}).get("undeclared", ()))
    return mistake.get("mended", {}) if gives else mistake


def mend(content: Mapping[str, Any], changes: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The change that 01 asks for: its lines go in, and the references of the changes that match nothing go."""
    tables: dict[str, dict] = {}
    changed = {(name, path) for change in changes for name, of in change.items() for path in of.get("references", ())}
    for one in content["undeclared"]:
        if one["line"] and one["confidence"] >= CERTAIN:
            tables.setdefault(one["table"], {}).setdefault("references", {}).update(yaml.safe_load(one["line"]))
    for one in content["unmatched"] if tables else ():
        if one["rule"] == "reference" and one["table"] in tables and (one["table"], one["name"]) in changed:
            tables[one["table"]]["references"].setdefault(one["name"], GONE)
    return tables


def plain(table: str) -> str:
    """A target table's name without environment and suffix."""
    return re.sub(r"-goal\d+-\w+$", "", table)


def _filled(found: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if value}
