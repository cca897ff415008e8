"""The parameters that each notebook declares, and the checks that papermill does not make."""

import ast
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
    "lease": dict,
    "notify": str,
    "run_id": str,
    "outputs": str,
}
WRITING = {"execute": bool, "confirm": str, "break_lock": str, "accept_changed": bool}
OWN: dict[str, dict[str, type]] = {
    "00_draft": {"pattern": str, "items": int, "force": bool},
    "01_analyze": {},
    "02_test": {"table": str, "limit": int, "keep": bool, **WRITING},
    "03_migrate": {"new": bool, "tables": list, "retry_failed": bool, "delta": bool, "accept_drift": bool, **WRITING},
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
