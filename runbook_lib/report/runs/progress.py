"""How far a stage is, as HTML."""

from collections.abc import Sequence

from ..drawing.html import Html, duration, muted, table

DONE, WAITING = "done", "waiting"  # states of a table in `progress` that share a line
Progress = tuple[str, int, int | None, float, float | None, str]  # table, done, total, per second, seconds left, state


def progress(rows: Sequence[Progress], slowed: Sequence[str] = ()) -> Html:
    """(table, done, total or None, items per second, seconds left or None, state) a table, as it stands now.

    Tables in state DONE or WAITING share one line each. A total is an estimate; `done` may exceed it. `slowed` says what
    slows the run down.
    """
    finished = [row for row in rows if row[5] == DONE]
    waiting = [row for row in rows if row[5] == WAITING]
    active = [row for row in rows if row[5] not in (DONE, WAITING)]
    items = sum(row[1] for row in rows)
    head = f"{len(finished)} of {len(rows)} tables finished, {items:,} items"
    rate = sum(row[3] for row in active)
    if rate:
        head += f", {rate:,.0f} a second"
    blocks = [Html('<div style="font-weight:600;margin:2px 0 4px 0">{}</div>').format(head)]
    cells = []
    for name, done, total, speed, left, state in active:
        until = None if left is None else duration(left)
        cells.append([name, _bar(done, total), _of(done, total), f"{speed:,.0f}/s", until, state])
    if cells:
        blocks.append(table(["table", "", "items", "rate", "left", "state"], cells, align="llrrrw"))
    if finished:
        blocks.append(_line("✓ finished", [f"{row[0]} {row[1]:,}" for row in finished]))
    if waiting:
        blocks.append(_line("waiting", [row[0] for row in waiting]))
    blocks += [_line("slowed", [reason]) for reason in slowed]
    return Html("").join(blocks)


def _bar(done: int, total: int | None) -> Html:
    known = "" if total is None else Html(' max="{}" value="{}"').format(max(total, 1), min(done, total))
    return Html('<progress style="width:180px;height:12px;vertical-align:middle"{}></progress>').format(known)


def _of(done: int, total: int | None) -> Html:
    return Html("{:,} {}").format(done, "" if total is None else muted(f"of {total:,}"))


def _line(label: str, names: list[str]) -> Html:
    said = muted(f"{len(names)}: {', '.join(names)}")
    return Html('<div style="margin:2px 0"><b>{}</b> {}</div>').format(label, said)
