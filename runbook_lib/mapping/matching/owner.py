"""Which items of a target table are an entry's, as far as the mapping tells it of the items themselves. Pure."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from ...values import equal
from .. import conditions
from ..conditions import BEGINS_WITH, Condition
from ..model import Entry
from ..text import templates
from ..text.paths import overlap
from ..text.templates import Parts


@dataclass(frozen=True)
class Owner:
    """What tells an entry's items from others in its target table."""

    attributes: frozenset[str]  # that it looks at; none where nothing tells
    owns: Callable[[dict], bool]  # target item -> whether it is one


def compile_owner(entry: Entry, target_key: Collection[str]) -> Owner:
    """What tells the entry's items. Without `fields` its conditions, on what is copied, and the text around its id.

    With `fields`: their constants, and the text around the holes of the templates that make `target_key`.
    """
    if entry.model.fields is not None:
        return _by_fields(entry, target_key)
    kept = tuple(condition for condition in entry.conditions if _holds_still(condition, entry))
    holds = conditions.holds(kept)
    find, attribute = templates.finder(entry.id_parts) if entry.id_parts else None, entry.model.id

    def owns(item: dict) -> bool:
        if find is not None and not ((text := item.get(attribute, {}).get("S")) and find(text)):
            return False
        return holds(item)

    own = {attribute} if find is not None else set()
    return Owner(frozenset({condition.path[0] for condition in kept} | own), owns)


def _holds_still(condition: Condition, entry: Entry) -> bool:
    """Whether a condition of the source item holds for what it becomes."""
    if condition.path[0] in entry.dropped:
        return False
    around = [(steps, entry.references_to[path]) for path, steps in entry.paths.items()]
    if entry.model.renews_ids:
        around.append(((entry.model.id,), (entry.id_parts,)))
    rewriting = [(steps, parts) for steps, parts in around if overlap(steps, condition.path)]
    if not rewriting:
        return True
    if condition.words != {BEGINS_WITH}:
        return False
    begins = [next(iter(test.values[0].values())) for test in condition.tests]
    return all(
        steps == condition.path and parts and all(_head(one).startswith(begin) for one in parts for begin in begins)
        for steps, parts in rewriting
    )


def _head(parts: Parts) -> str:
    """The text before the first hole."""
    return templates.literals(parts)[0] if parts else ""


def _by_fields(entry: Entry, target_key: Collection[str]) -> Owner:
    constants, forms = {}, {}
    for name, rule in entry.model.fields.items():
        if rule.is_constant:
            constants[name] = rule.constant
        elif rule.template is not None and not rule.holes:
            constants[name] = {"S": rule.text}
        elif rule.template is not None and name in target_key:
            literals = templates.literals(templates.parse(rule.template))
            if any(literals):
                forms[name] = literals

    def owns(item: dict) -> bool:
        return all(equal(item.get(name), value) for name, value in constants.items()) and all(
            _fits(item.get(name, {}).get("S"), literals) for name, literals in forms.items()
        )

    return Owner(frozenset({*constants, *forms}), owns)


def _fits(text: str | None, literals: list[str]) -> bool:
    """Whether a template may have made the text; what stands in its holes is not looked at."""
    if text is None or not (text.startswith(literals[0]) and text.endswith(literals[-1])):
        return False
    at, end = len(literals[0]), len(text) - len(literals[-1])
    for literal in literals[1:-1]:
        place = text.find(literal, at, end)
        if place < 0:
            return False
        at = place + len(literal)
    return at <= end
