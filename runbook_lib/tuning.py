"""Changing a run's budgets while it works: a file in the run's folder, looked at after every page. From any terminal."""

import json
import math
from decimal import Decimal
from typing import Any

from .dynamo.pace import Pace
from .errors import Refused
from .run import Run, iso, now, write_atomically

FILE = ".tune"
KEYS = ("limits.read_units", "limits.write_units")


def request(run: Run, settings: dict[str, Any]) -> dict[str, float | None]:
    """Asks the run to keep other budgets until its stage ends; gives all that are asked for. Writes to the run's folder.

    Refused for other keys, and for what is neither a number above 0 nor None (no limit).
    """
    asked = _asked(run) or {}
    for key, value in settings.items():
        if key not in KEYS:
            raise Refused(f"{key} cannot be changed while a run works; {' and '.join(KEYS)} can.")
        number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
        if value is not None and not (number and math.isfinite(value) and value > 0):
            raise Refused(f"{key}={value}: give units a second, a number above 0, or `null` for no limit.")
        asked[key] = None if value is None else float(value)
    write_atomically(run.folder / FILE, json.dumps({"at": iso(now()), "settings": asked}).encode(), 0o600)
    return asked


def clear(run: Run) -> None:
    """Takes all requests back: a stage begins with what its parameters say. Writes to the run's folder."""
    (run.folder / FILE).unlink(missing_ok=True)


class Tuning:
    """Keeps a pace at what was last asked for."""

    def __init__(self, run: Run, pace: Pace):
        """`pace` has the budgets of the parameters now."""
        self._run, self._pace = run, pace
        self._seen: int | None = None  # the file's time

    def apply(self) -> None:
        """Sets the budgets where others were asked for since the last call. Costs one look at the file's time."""
        try:
            changed = (self._run.folder / FILE).stat().st_mtime_ns
        except FileNotFoundError:
            return
        if changed == self._seen:
            return
        self._seen = changed
        if asked := _asked(self._run):
            budgets = dict(zip(KEYS, self._pace.budget(), strict=True)) | asked
            self._pace.allow(*(budgets[key] for key in KEYS))
            words = ", ".join(f"{key}={value or 'no limit'}" for key, value in budgets.items())
            self._run.logger().info("tuned: %s", words)


def _asked(run: Run) -> dict[str, float | None] | None:
    try:
        return json.loads((run.folder / FILE).read_text(encoding="utf-8"))["settings"]
    except (FileNotFoundError, ValueError, KeyError):
        return None
