"""Random items of every type through a whole migration that keeps everything: what the target holds is what the source holds."""

import base64
import itertools
from decimal import ROUND_DOWN, Context, Decimal

import engines
import pytest
import strategies
import support_worlds as worlds
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support_flows import flow_of

SOURCE, TARGET = worlds.SOURCE, worlds.TARGET
KEYS = {"text": {"id": "S"}, "number": {"id": "N"}, "bytes": {"id": "B"}, "two": {"id": "S", "at": "N"}}
# Beside what the strategies have: reserved words, and what PartiQL or expressions might take for their own.
NAMES = strategies.names | st.sampled_from(
    [
        "select",
        "VALUE",
        "table",
        "missing",
        "null",
        "it's",
        "''",
        '"',
        "?",
        ":v",
        "#n",
        "$",
        "a[0]",
        "x.y.z",
        "größe",
        "名前",
    ]
)
VALUES = {
    "S": st.text(st.characters(codec="utf-8"), min_size=1, max_size=8),
    "N": strategies.numbers,
    "B": st.binary(min_size=1, max_size=6).map(lambda raw: base64.b64encode(raw).decode()),
}


def items_with(key):
    """Lists of items with such a key, each another one, and anything else."""
    keys = st.fixed_dictionaries({name: VALUES[letter].map(lambda v, t=letter: {t: v}) for name, letter in key.items()})
    content = st.dictionaries(NAMES.filter(lambda name: name not in key), strategies.values, max_size=6)
    item = st.builds(lambda content, key: {**content, **key}, content, keys)
    return st.lists(
        item, min_size=4, max_size=25, unique_by=lambda i: worlds.as_text(worlds.plain_item({n: i[n] for n in key}))
    )


class Table:
    """A pair of tables that one example after the other is put through."""

    def __init__(self, world, key, folder):
        self._world, self._key, self._folder, self._numbers = world, key, folder, itertools.count()
        for environment in (SOURCE, TARGET):
            world.build({"Any": {"key": key}}, environment)

    def hold(self, items):
        """Makes the source hold these items, as far as the engine takes them. Gives them as it has them."""
        name = self._world.name("Any", SOURCE)
        for item in self._world.items(name):
            self._world.delete(name, {n: item[n] for n in self._key})
        for item in items:
            try:
                self._world.put(name, item)
            except engines.Rejected:  # it has limits of its own
                continue
        return self.content(SOURCE)

    def content(self, environment):
        return self._world.items(self._world.name("Any", environment))

    def flow(self):
        outputs = self._folder / f"{next(self._numbers)}"
        outputs.mkdir()
        return flow_of("{Any: {id_format: keep}}", self._world, outputs)


def check(table, items):
    """Copied value for value, proved by the validation, and gone again. Gives what was copied."""
    source = table.hold(items)
    flow = table.flow()
    report = flow.migrate()
    assert table.content(TARGET) == source
    assert report["totals"]["inserted"] == len(source), report["totals"]
    if source:
        assert flow.validate()["validation"]["equal"] == len(source)
    assert flow.rollback()["rollback"]["deleted"] == len(source)
    assert table.content(TARGET) == []
    assert table.content(SOURCE) == source
    return source


CUT = Context(prec=28, rounding=ROUND_DOWN)  # up, the largest numbers would leave DynamoDB's range


def short(value):
    """The value with numbers in as few digits as can be: moto, which keeps them as they come, cannot project longer ones."""
    ((letter, content),) = value.items()
    if letter == "N":
        return {"N": f"{Decimal(content).normalize(CUT)}"}
    if letter == "NS":
        return {"NS": [f"{Decimal(number).normalize(CUT)}" for number in content]}
    if letter == "L":
        return {"L": [short(member) for member in content]}
    return {"M": {name: short(member) for name, member in content.items()}} if letter == "M" else value


EXAMPLES = {"moto": 6, "ministack": 12, "dynalite": 10}
SLOW_KINDS = [pytest.param(kind, marks=pytest.mark.long) for kind in KEYS if kind != "two"]


@pytest.mark.parametrize("kind", ["two", *SLOW_KINDS])
def test_whatever_an_item_holds_arrives(kind, world, tmp_path, batches):
    """Every type, nested, numbers to the last digit, any name and any key: the same on both sides, and nothing is left after a
    rollback. In batches where the engine takes them."""
    table, seen = Table(world, KEYS[kind], tmp_path), []

    @settings(max_examples=EXAMPLES[world.engine.name], suppress_health_check=[HealthCheck.too_slow])
    @given(items_with(KEYS[kind]))
    def run(items):
        if world.engine.name == "moto":
            items = [short({"M": item})["M"] for item in items]
        seen.extend(check(table, items))

    run()
    assert len(seen) > 20
    assert bool(batches) == (world.engine.name == "ministack")


def test_the_largest_number_stays_in_range():
    """Cut for moto, it is not rounded to one that DynamoDB has not."""
    assert Decimal(short({"N": f"-{'9' * 38}E+88"})["N"]) > -(Decimal(10) ** 126)
