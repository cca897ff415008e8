"""The parameters cell of a working copy: a migration's parameters as Python that a person reads and edits. Pure."""

import ast
from collections.abc import Mapping
from typing import Any

from ...parameters import Parameters, project_root
from ...run.folder import Run

ALWAYS = ("workers", "on_failure")  # limits that the cell shows although they are the default


def of_run(parameters: Parameters, run: Run) -> dict[str, str]:
    """Name → literal of what all notebooks of a run share; of the sides and limits only what is not the default."""
    side = {"mode": "json", "exclude_defaults": True}
    limits = parameters.limits.model_dump(mode="json")
    chosen = parameters.limits.model_dump(**side)
    outputs = run.folder.parent.resolve()
    inside = outputs.is_relative_to(project_root())  # else a kernel finds no project around its notebook
    rare = {"lease": parameters.lease and parameters.lease.model_dump(mode="json"), "notify": parameters.notify}
    values = {
        "mapping": parameters.mapping if inside else str(parameters.mapping_path()),
        "source": parameters.source.model_dump(**side),
        "target": parameters.target.model_dump(**side),
        "limits": {name: limits[name] for name in limits if name in ALWAYS or name in chosen},
        "run_id": run.id,
        "outputs": str(outputs.relative_to(project_root()) if inside else outputs),
        "advanced": {name: value for name, value in rare.items() if value},
    }
    return {name: literal(value) for name, value in values.items()}


def filled(source: str, values: Mapping[str, str]) -> str:
    """The cell with these literals in the place of its values; annotations and comments stay. Raises SyntaxError.

    Names that the cell does not set are left out.
    """
    lines = source.splitlines()
    for statement in reversed(ast.parse(source).body):
        target = statement.targets[0] if isinstance(statement, ast.Assign) else getattr(statement, "target", None)
        if not isinstance(target, ast.Name) or target.id not in values:
            continue
        kind = f": {ast.unparse(statement.annotation)}" if isinstance(statement, ast.AnnAssign) else ""
        last = lines[statement.end_lineno - 1].encode()  # ast counts bytes
        comment = last[statement.end_col_offset :].decode()
        lines[statement.lineno - 1 : statement.end_lineno] = [f"{target.id}{kind} = {values[target.id]}{comment}"]
    return "\n".join(lines)


def literal(value: Any) -> str:
    """A plain value as Python, in double quotes where that needs no escape."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{literal(key)}: {literal(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(literal, value)) + "]"
    text = repr(int(value) if isinstance(value, float) and value.is_integer() else value)
    return f'"{text[1:-1]}"' if isinstance(value, str) and not {'"', "'"} & {*value} else text
