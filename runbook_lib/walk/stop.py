"""Asking a running stage to stop: a file in the run's folder, looked at after every page. Works from any terminal."""

import json

from ..errors import Interrupted
from ..run.files import write_atomically
from ..run.folder import Run, iso, now

FILE = ".stop"


def request(run: Run, word: str) -> None:
    """Asks the run to end with the page it is at. Writes to the run's folder. `word` is pause or stop."""
    write_atomically(run.folder / FILE, json.dumps({"request": word, "at": iso(now())}).encode(), 0o600)


def clear(run: Run) -> None:
    """Takes a request back, so that the next stage begins. Writes to the run's folder."""
    (run.folder / FILE).unlink(missing_ok=True)


def check(run: Run) -> None:
    """Raises Interrupted where somebody asked the run to stop. Read-only."""
    try:
        word = json.loads((run.folder / FILE).read_text(encoding="utf-8"))["request"]
    except FileNotFoundError:
        return
    except (ValueError, KeyError):
        word = "stop"
    raise Interrupted(f"{word} was asked for; the page was finished.")
