"""The parameters that each notebook declares, and the checks that papermill does not make."""

import ast
import re
from collections.abc import Mapping
from typing import Any

from ..errors import ParametersError
from ..yaml_files import shown, suggest
from .display import executed

COMMON = {
    "mapping": str,
    "source": dict,
    "target": dict,
    "limits": dict,
    "run_id": str,
    "outputs": str,
    "advanced": dict,
}
WRITING = {"execute": bool, "confirm": str}
OWN: dict[str, dict[str, type]] = {
    "00_draft": {"pattern": str, "items": int, "force": bool},
    "01_analyze": {},
    "02_test": {"table": str, "limit": int, "keep": bool, **WRITING},
    "03_migrate": {
        "new": bool,
        "tables": list,
        "retry_failed": bool,
        "delta": bool,
        "follow": bool,
        "accept_drift": bool,
        **WRITING,
    },
    "04_validate": {"tables": list, "repair": str, **WRITING},
    "05_rollback": {
        "checkpoint": str,
        "restore_from": str,
        "delete_tables": list,
        **WRITING,
        "confirm_restore": str,
        "confirm_delete": list,
    },
}
# Keys of `advanced`; papermill may also give each by its name. `break_lock` is the command line's: no cell mentions it.
RARE = {"lease": dict, "notify": str}
RARE_WRITING = {"accept_changed": bool, "break_lock": str}
DEMO = ("demodev", "demoprod")  # the environments in the cells as they are released


def values_of(stage: str, namespace: Mapping[str, Any]) -> dict[str, Any]:
    """Every parameter of a stage's notebook, the keys of `advanced` among them, from what its cells set. Pure.

    Raises ParametersError for an undeclared name or type.
    """
    shown_names, rare = COMMON | OWN[stage], _rare(stage)
    check_names(shown_names | rare)
    values = {name: typed(name, namespace.get(name), wanted) for name, wanted in shown_names.items()}
    advanced = values.pop("advanced")
    for name in advanced:
        if name not in rare:
            raise ParametersError(f"advanced: {name} is not a key of it{suggest(name, list(rare))}")
    return values | {name: typed(name, namespace.get(name, advanced.get(name)), rare[name]) for name in rare}


def folded(stage: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """A stage's values as they are injected into its notebook: the rare ones in `advanced`, where they say anything. Pure."""
    rare = _rare(stage)
    advanced = {name: value for name, value in values.items() if name in rare and value}
    return {name: value for name, value in values.items() if name not in rare} | {"advanced": advanced}


def _rare(stage: str) -> dict[str, type]:
    return RARE | (RARE_WRITING if WRITING.keys() <= OWN[stage].keys() else {})


def as_parameters(sentence: str, stage: str) -> str:
    """A sentence about options of the command, for who has the stage's notebook: `--accept-drift` → `accept_drift`. Pure.

    Commands in it stay as they are, and what only the command line takes.
    """
    known = (COMMON | OWN[stage] | _rare(stage)).keys() - {"break_lock"}

    def as_parameter(found: re.Match[str]) -> str:
        name = (found[1] or "").replace("-", "_")
        return f"`{name}`" + (" in `advanced`" if name in RARE_WRITING else "") if name in known else found[0]

    return re.sub(r"`[^`]*`|\brunbook .*|--([a-z]+(?:-[a-z]+)*)", as_parameter, sentence)


def typed(name: str, value: Any, wanted: type) -> Any:
    if value is None:
        return wanted() if wanted in (str, list, dict) else None
    if wanted is list and isinstance(value, str):
        text, value = value, [part.strip() for part in value.split(",") if part.strip()]
        if text and not value:  # an empty list would mean all
            raise ParametersError(f"{name} is {text!r}, which names nothing; name one, or omit the parameter.")
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        raise ParametersError(f"{name} is {shown(repr(value))}; give a value of type {wanted.__name__}.")
    return value


def check_names(declared: Mapping[str, type]) -> None:
    """Raises ParametersError for an unknown parameter. papermill only warns, and a misspelt name would run for real."""
    for cell in executed():
        for name in _assigned(cell):
            if name not in declared:
                raise ParametersError(f"{name} is not a parameter of this notebook{suggest(name, list(declared))}")


def _assigned(cell: str) -> list[str]:
    """The names that a parameters cell sets: papermill's own, or one of plain assignments with `mapping` among them."""
    try:
        statements = ast.parse(cell).body
    except SyntaxError:
        return []
    names = [
        target.id
        for statement in statements
        if isinstance(statement, ast.Assign | ast.AnnAssign)
        for target in (statement.targets if isinstance(statement, ast.Assign) else [statement.target])
        if isinstance(target, ast.Name)
    ]
    only_assignments = len(names) == len(statements)
    return names if cell.startswith("# Parameters") or (only_assignments and "mapping" in names) else []
