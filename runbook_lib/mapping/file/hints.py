"""What is said of keys of a mapping file that stand at the wrong place, and of values that lack the key before them. Pure."""

import re
from typing import Any

from pydantic import BaseModel

from ...errors import Place
from ...yaml_files import literal, models_at, models_in, shown
from ..model import MappingModel

_MEANT = (("indexes", r"global_.*|gsis?"), ("local_indexes", r"local_.*|lsis?"))  # what others call them
_KEY_OF = {"references": "to", "fields": "value"}  # the key that a value there lacks
_LONGEST = 60  # characters of a value that is written out


def hint(kind: str, place: Place, value: Any) -> str | None:
    """What to say of a mistake that pydantic found, such as `extra_forbidden`, at a place; None where nothing better is known."""
    if kind == "extra_forbidden":
        return _of_key(place, value)
    if kind == "model_type" and (key := _KEY_OF.get(str(place[-2]) if len(place) > 1 else "")):
        text = _written(value)
        if text and not (key == "to" and not isinstance(value, list)):
            return f"is {text}; write {{{key}: {text}}}" + (", or text in quotes" if key == "value" else "")
    return None


def _of_key(place: Place, value: Any) -> str | None:
    *before, key = place
    here = models_at(MappingModel, (*before,))
    for name, others in _MEANT:
        if re.fullmatch(others, str(key), re.IGNORECASE) and any(name in model.model_fields for model in here):
            return f"unknown key; did you mean {name!r}?"
    for depth in range(len(before) - 1, 0, -1):
        if depth > 1 and _has(models_at(MappingModel, (*before[:depth],)), key):
            return f"unknown key here; write it beside `{before[depth]}`, in {'.'.join(map(str, before[:depth]))}"
    for depth in range(len(before), 0 if before else -1, -1):
        if homes := _homes(models_at(MappingModel, (*before[:depth],)), key, value):
            there = "".join(f"{part}." for part in before[:depth]) if depth < len(before) else ""
            return f"unknown key here; write it in {' or '.join(f'`{there}{home}`' for home in homes)}"
    return None


def _has(models: list[type[BaseModel]], key: Any) -> bool:
    return any(key == (field.alias or name) for model in models for name, field in model.model_fields.items())


def _homes(models: list[type[BaseModel]], key: Any, value: Any) -> list[str]:
    """The nearest places below some models at which a key with this value may stand; NAME stands for a name of the user's."""
    level = [("", model) for model in models]
    while level:
        level = [
            (f"{path}.{field.alias or name}{'.NAME' if 'dict[' in str(field.annotation) else ''}".lstrip("."), inner)
            for path, model in level
            for name, field in model.model_fields.items()
            for inner in models_in(field.annotation)
        ]
        found = [(path, model) for path, model in level if _has([model], key)]
        if fitting := [path for path, model in found if _takes(model, key, value)] or [path for path, _ in found]:
            return [*dict.fromkeys(fitting)]
    return []


def _takes(model: type[BaseModel], key: str, value: Any) -> bool:
    """Whether the model takes a list there, and the value is one; or neither."""
    field = next(field for name, field in model.model_fields.items() if key == (field.alias or name))
    return ("list[" in str(field.annotation)) is isinstance(value, list)


def _written(value: Any) -> str | None:
    """A value as YAML, as far as it is short and no map."""
    if isinstance(value, list):
        inner = [_written(one) for one in value]
        text = f"[{', '.join(map(str, inner))}]" if None not in inner else None
    elif isinstance(value, str):
        text = shown(literal(value))
    else:
        text = None if isinstance(value, dict) else "null" if value is None else str(value)
        text = text.lower() if isinstance(value, bool) else text
    return text if text and len(text) <= _LONGEST else None
