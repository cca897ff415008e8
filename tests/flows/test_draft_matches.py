"""The natural keys that 00 proposes are rules that 01 takes: taken in as they stand they find what 00 has counted."""

import re

import pytest
import support_worlds as worlds
from support_flows import Flow
from support_single_tables import KINDS

from runbook_lib.parameters import build_parameters
from runbook_lib.stages.draft.draft import Draft, draft, find_sources


def drafted(world, folder) -> tuple[Draft, Flow]:
    """The draft, its proposals taken in, and a flow that goes on with it."""
    side = {"region": "us-west-1", "endpoint_url": world.engine.endpoint_url}
    sides = {"source": {"environment": worlds.SOURCE, **side}, "target": {"environment": worlds.TARGET, **side}}
    parameters = build_parameters({"mapping": str(folder / "drafted.yaml"), **sides})
    pattern = f"{{table}}-{{source.environment}}-{world.suffix}"
    made = draft(parameters, find_sources(parameters, pattern), None, None)
    text = re.sub(r"^    # (match: )", r"    \1", made.text, flags=re.MULTILINE)
    assert text != made.text
    parameters.mapping_path().write_text(text, encoding="utf-8")
    return made, Flow(parameters, folder)


def with_mails(items: list[dict], first: int, letters: dict[int, int]) -> list[dict]:
    """The items, each with a mail address of its own; `letters` change those of ids: they are another environment's."""
    return [
        {name: _with_other_ids(value, letters) for name, value in item.items()}
        | {"email": {"S": f"someone{first + at}@example.com"}}
        for at, item in enumerate(items)
    ]


def _with_other_ids(value: dict, letters: dict[int, int]) -> dict:
    if "S" not in value:
        return value
    return {"S": re.sub(r"[0-9a-f]{16}", lambda found: found[0].translate(letters), value["S"])}


OTHER = str.maketrans("0123456789abcdef", "fedcba9876543210")


@pytest.mark.parametrize("kind", KINDS)
def test_of_a_single_table_01_finds_what_00_has_counted(kind, moto_world, tmp_path):
    """For each kind of its items, whatever tells the kinds apart."""
    made = KINDS[kind]()
    source = with_mails(made.items, 0, {})
    target = with_mails(made.items, 3, OTHER)
    table = {"key": made.key, "indexes": made.indexes}
    moto_world.build({"App": table | {"items": source}}, worlds.SOURCE)
    moto_world.build({"App": table | {"items": target}}, worlds.TARGET)
    first, flow = drafted(moto_world, tmp_path)
    counted = {name: key.both - key.ambiguous for name, key in first.natural_keys() if key.to_decide}
    assert counted
    analysis = flow.analyze()
    assert {name: analysis["tables"][name]["matched"] for name in counted} == counted
