"""What differs between two items: names of attributes with their types, never values. Pure."""

from .values import equal

ABSENT = "absent"


def differences(item: dict, other: dict) -> list[tuple[str, str, str]]:
    """Of each attribute that differs its name and its type in both items, a letter or ABSENT; by name."""
    names = sorted(name for name in item.keys() | other.keys() if not equal(item.get(name), other.get(name)))
    return [(name, _type(item.get(name)), _type(other.get(name))) for name in names]


def _type(value: dict | None) -> str:
    return ABSENT if value is None else next(iter(value))
