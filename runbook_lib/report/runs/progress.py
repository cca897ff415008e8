"""How far a stage is: as the one line that command, log and status share, and as HTML."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from ...process import visible
from ...run.progress_file import FINISHED, UNDOING, WAITING, StageProgress, TableFollowing, TableProgress
from ...verdict import plural
from ..drawing.html import ACCENT, EXACT, LINE, Html, details, duration, mono, muted

FEW = 2  # tables that wait, and are named in sight
SLOW = "#b26a00"  # of what is slowed down; its words say so, too
_TRACK = f"height:8px;background:{LINE};border-radius:4px"


def line(now: StageProgress) -> str:
    """How far a stage is in one line, for a terminal: every name in it is escaped."""
    stage = f"{now.stage}, undoing" if now.state == UNDOING and now.stage != "05_rollback" else now.stage
    return visible(f"{stage}: {_told(now)}")


def _told(now: StageProgress) -> str:
    """The line without its stage."""
    if now.following:
        return ", ".join([_following(now.following), *([now.doing] if now.doing else []), *_slowed(now)])
    if not now.tables:
        return now.doing or now.ended or "starting"
    if now.ended == FINISHED:
        return f"{plural(len(now.tables), 'table')}, {plural(now.done, 'item')}, {duration(now.seconds)}"
    return ", ".join([_items(now), *_course(now), *_uncertain(now), *_slowed(now)])


def _slowed(now: StageProgress) -> list[str]:
    return [f"slowed: {'; '.join(now.slowed)}"] if now.slowed and not now.ended else []


def _following(tables: Sequence[TableFollowing]) -> str:
    """All tables in one: as far behind as the last of them."""
    applied, drifted = (sum(getattr(table, figure) for table in tables) for figure in ("applied", "drifted"))
    return f"following {plural(len(tables), 'table')}, {_behind(tables)}, {applied:,} applied, {drifted:,} drifted"


def _behind(tables: Sequence[TableFollowing]) -> str:
    records = sum(table.records for table in tables)
    return f"{max(table.behind for table in tables):,.0f} s behind ({plural(records, 'record')})"


def following_lines(now: StageProgress) -> list[str]:
    """A line for each table that is followed."""
    return [
        visible(f"{one.name}: {_behind([one])}, {one.applied:,} applied, {one.drifted:,} drifted")
        for one in now.following
    ]


def _items(now: StageProgress) -> str:
    """The form is the same for one item as for many: scripts read this line."""
    at = f"{now.ended} at " if now.ended else ""
    return at + (f"{now.done:,} items" if now.total is None else f"{now.done:,} of {now.total:,} items")


def _course(now: StageProgress) -> list[str]:
    """How many tables are finished; while the stage goes on also what it does, or how fast it is."""
    tables = f"{len(now.finished):,} of {len(now.tables):,} tables"
    if now.ended or now.doing:
        return [tables, *([] if now.ended else [now.doing])]
    return [tables, f"{now.rate:,.0f} items/s", *([] if now.left is None else [f"{clock(now.left)} left"])]


def _uncertain(now: StageProgress) -> list[str]:
    """What may be in the target, and does not count yet."""
    return [f"{plural(now.uncertain, 'item')} of unfinished pages to look up"] if now.uncertain else []


def clock(seconds: float) -> str:
    """`0:46`, `1:02:46`: minutes and seconds, with hours where there are any."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def active(now: StageProgress) -> list[TableProgress]:
    """The tables that are worked on."""
    return [table for table in now.tables if table.state not in (FINISHED, WAITING)]


def waiting(now: StageProgress) -> list[TableProgress]:
    """The tables whose turn has not come."""
    return [table for table in now.tables if table.state == WAITING]


def amount(table: TableProgress) -> str:
    """`960 of 1,500`; without a total that does not hold."""
    return f"{table.done:,} of {table.total:,}" if table.total else f"{table.done:,}"


def finished(now: StageProgress) -> str:
    """`5 tables, 3,022 items`: what is finished."""
    return f"{plural(len(now.finished), 'table')}, {plural(sum(table.done for table in now.finished), 'item')}"


def progress(now: StageProgress, run_id: str = "") -> Html:
    """How far a stage is as it is shown in place: totals, a bar for each table that is worked on, the others folded."""
    if now.following:
        return _followed(now, run_id)
    if not now.tables:
        return muted(f"{now.doing}…") if now.doing and not now.ended else Html("")
    if now.ended == FINISHED:
        return Html('<div style="font-weight:600">{}</div>{}').format(_told(now), _names("all tables", now.finished))
    blocks = [_top(now), _bar(now.stage, now.done, now.total, slowed=bool(now.slowed))]
    if not now.ended:
        blocks += [
            Html('<div style="color:{};margin:4px 0">{}</div>').format(SLOW, f"slowed: {why}") for why in _general(now)
        ]
        if rows := Html("").join(_row(table) for table in active(now)):
            grid = Html('<table style="border-collapse:collapse;width:100%;margin:8px 0">{}</table>').format(rows)
            blocks.append(Html('<div style="overflow-x:auto">{}</div>').format(grid))
    if now.finished:
        blocks.append(_names(f"✓ {finished(now)} finished", now.finished))
    if now.ended and (begun := active(now)):
        blocks.append(_names(f"{plural(len(begun), 'table')} begun", begun))
    if left := waiting(now):
        told = f"waiting: {_listed(left)}" if len(left) <= FEW else ""
        blocks.append(_line(told) if told else _names(f"{plural(len(left), 'table')} waiting", left))
    if now.earlier or now.uncertain:
        which = [f"this is execution {now.execution}"] if now.execution > 1 else []
        blocks.append(_line("; ".join([*which, f"{plural(now.earlier, 'item')} from before", *_uncertain(now)])))
    if run_id and not now.ended:
        still = f"{_moment(now)}If this stands still, in a terminal:"  # a notebook that is opened shows what was saved
        blocks.append(
            Html('<div style="margin:4px 0">{} {}</div>').format(muted(still), mono(f"runbook status {run_id} --watch"))
        )
    return Html('<div style="max-width:820px">{}</div>').format(Html("").join(blocks))


def _followed(now: StageProgress, run_id: str) -> Html:
    cell = f"padding:4px 14px 4px 0;text-align:left;border-bottom:1px solid {LINE}"
    rows = [
        Html("<tr>{}</tr>").format(
            Html("").join(
                Html('<td style="{}">{}</td>').format(cell, text)
                for text in (one.name, _behind([one]), f"{one.applied:,} applied", f"{one.drifted:,} drifted")
            )
        )
        for one in now.following
    ]
    table = Html('<table style="border-collapse:collapse;margin:8px 0">{}</table>').format(Html("").join(rows))
    blocks = [Html("<b>{}</b>").format(_told(now)), Html('<div style="overflow-x:auto">{}</div>').format(table)]
    if run_id:
        blocks.append(_line(f"Pause, or `runbook stop {run_id}`, ends it; it can be resumed."))
    return Html('<div style="max-width:820px">{}</div>').format(Html("").join(blocks))


def _top(now: StageProgress) -> Html:
    return Html(
        '<div style="display:flex;flex-wrap:wrap;justify-content:space-between;margin:2px 0"><b>{}</b>{}</div>'
    ).format(_items(now), muted(" · ".join([*_course(now), f"since {now.since[11:19]} UTC"])))


def _moment(now: StageProgress) -> str:
    """When it was so far, as a sentence."""
    if not now.since:
        return ""
    return f"As of {datetime.fromisoformat(now.since) + timedelta(seconds=now.seconds):%H:%M:%S} UTC. "


def _row(table: TableProgress) -> Html:
    why = "; ".join(table.slowed)
    state = Html('<span style="color:{}">{}</span>').format(SLOW, f"slowed: {why}") if why else muted(table.state)
    cell = f"padding:4px 10px 4px 0;text-align:{{}};border-bottom:1px solid {LINE}"
    cells = [  # with widths, because JupyterLab makes columns of equal width
        (cell.format("left") + ";width:34%;overflow-wrap:anywhere", table.name),
        (cell.format("left") + ";width:26%", _bar(table.name, table.done, table.total, slowed=bool(why))),
        (cell.format("right") + ";width:14%;white-space:nowrap", amount(table)),
        (cell.format("right") + ";width:11%;white-space:nowrap", f"{table.rate:,.0f} items/s"),
        (cell.format("left") + ";width:15%", state),
    ]
    return Html("<tr>{}</tr>").format(Html("").join(Html('<td style="{}">{}</td>').format(*one) for one in cells))


def _bar(name: str, done: int, total: int | None, *, slowed: bool) -> Html:
    """A bar; without a total that holds it is a full line of no value."""
    colour = SLOW if slowed else ACCENT
    if not total:
        return Html('<div role="progressbar" aria-label="{}" aria-valuetext="{}" style="{}"></div>').format(
            name, f"{done:,} items", _TRACK
        )
    share = min(100, 100 * done // total)
    return Html(
        '<div role="progressbar" aria-label="{}" aria-valuemin="0" aria-valuemax="100" aria-valuenow="{}" style="{}">'
        '<div style="width:{}%;height:8px;border-radius:4px;background:{};{}"></div></div>'
    ).format(name, share, _TRACK, share, colour, EXACT)


def _general(now: StageProgress) -> list[str]:
    """What slows the stage as a whole, or a table without a row of its own."""
    told = {why for table in now.tables for why in table.slowed}
    return [line for line in now.slowed if line not in told]


def _names(summary: str, tables: list[TableProgress]) -> Html:
    """The tables behind one line."""
    return details(summary, muted(_listed(tables)))


def _listed(tables: list[TableProgress]) -> str:
    return ", ".join(
        table.name + (f" (after {', '.join(table.after)})" if table.after else f" {table.done:,}" if table.done else "")
        for table in tables
    )


def _line(text: str) -> Html:
    return Html('<div style="margin:4px 0">{}</div>').format(muted(text))
