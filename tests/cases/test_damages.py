"""Damages planted in the target after a clean migration: each is found, where and as what it is, and nothing else is.

damages/DOMAIN.yaml lists them, for the domains of `test_mistakes.py`.
"""

import functools

import pytest
import support_damages as planting
import support_mistakes as corpus

from runbook_lib.stages.validate import queries, validate


@pytest.fixture
def target(request, moto_world, tmp_path, monkeypatch):
    """A domain with its right mapping, not yet migrated."""
    # No index lags behind its table here: a query that fails is not tried again for a minute.
    monkeypatch.setattr(validate, "prove", functools.partial(queries.prove, seconds=0.0))
    domain = corpus.domain(request.param, moto_world)
    return planting.Target(domain, domain.flow(tmp_path))


def look(target: planting.Target, planted: list[planting.Planted]) -> None:
    """Compares all that 04 finds with what it must."""
    found = planting.found_by_validation(target.flow.validate(), target.flow)
    assert found == planting.expected(planted)


@pytest.mark.parametrize(
    "target",
    [pytest.param(name, marks=() if name == "library" else pytest.mark.slow) for name in corpus.DOMAINS],
    indirect=True,
)
def test_the_right_mapping_raises_no_alarm_and_damages_are_found_and_nothing_else(target):
    """First not one alarm: of attributes that look like ids, of numbers, dates, addresses, codes. Then all damages at once."""
    corpus.look(target.flow, [])
    look(target, [target.plant(damage) for damage in planting.damages(target.domain.name)])


@pytest.mark.long
@pytest.mark.parametrize("target", corpus.DOMAINS, indirect=True)
def test_each_damage_is_found_and_nothing_else(target):
    """One after the other, each mended before the next."""
    corpus.look(target.flow, [])
    for damage in planting.damages(target.domain.name):
        look(target, [target.plant(damage)])
        target.undo()
    look(target, [])
