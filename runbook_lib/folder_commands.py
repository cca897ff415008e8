"""The commands about a run's folder: they execute no notebook themselves, and return their exit code."""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from .commands import override
from .errors import Refused
from .journal.audit import verify
from .journal.repair import examine, repair
from .journal.stage import Stage
from .parameters import load_parameters, outputs_folder
from .process import visible
from .report.runs.progress import line
from .report.runs.status import figures, status, status_of_all, watch
from .run.folder import Run, check_run_id, open_run, runs
from .run.progress_file import StageProgress, at_work
from .stages.follow.gate import ask, follower
from .verdict import PASS, plural
from .walk.control import request_stop, request_tuning

WATCH_EVERY = 2.0  # seconds between two lines of `status --watch`


def run_status(options: argparse.Namespace) -> int:
    outputs = outputs_folder(options.outputs)
    if options.watch:
        return _watch(options, outputs)
    if options.of:
        found = status(open_run(outputs, check_run_id(options.of)))
        print(json.dumps(found.as_json()) if options.json else found.text())
        return 0
    found = status_of_all(outputs)
    if options.json:
        print(json.dumps({"runs": [one.as_json() for one in found]}))
    else:
        print("\n".join(one.text().splitlines()[0] for one in found) or f"No runs in {outputs}.")
    return 0


def _watch(options: argparse.Namespace, outputs: Path) -> int:
    """Prints a line at once and every WATCH_EVERY seconds until nothing goes on in the run, then how it stands."""
    if options.of:
        chosen = [open_run(outputs, check_run_id(options.of))]
    elif not (chosen := [run for run in runs(outputs) if at_work(run) or run.holder()]):
        raise Refused(f"nothing is at work on a run in {outputs}; `runbook status` lists the runs there.")

    def tell(run: Run, now: StageProgress) -> None:
        if options.json:
            print(json.dumps({"run_id": run.id, "progress": figures(now)}), flush=True)
        else:
            print(f"{run.id} {line(now)}" if len(chosen) > 1 else line(now), flush=True)

    try:
        watch(chosen, tell, lambda: time.sleep(WATCH_EVERY))
        for run in chosen:
            found = status(run)
            print(json.dumps(found.as_json()) if options.json else found.text(), flush=True)
    except KeyboardInterrupt:  # whoever watches has seen enough; the run goes on
        pass
    return 0


def run_stop(options: argparse.Namespace) -> int:
    run, asked = open_run(outputs_folder(options.outputs), check_run_id(options.of)), options.words[0]  # stop or pause
    holder = run.holder()
    if holder is None:
        raise Refused(f"nothing is writing run {run.id}; there is nothing to {asked}.")
    request_stop(run)
    told = f"asked {holder} to {asked}; it ends after its current page"
    print(json.dumps({"run_id": run.id, "asked": asked, "holder": holder}) if options.json else visible(told))
    return 0


def run_cutover(options: argparse.Namespace) -> int:
    """Asks the process that follows the run whether the application may write to the target, and waits for the answer."""
    run = open_run(outputs_folder(options.outputs), check_run_id(options.of))
    if not follower(run):
        events = [event["kind"] for event in Stage(run, "migrate").events()]
        last = (
            run.latest_json("cutover") if events[-1:] == ["follow_end"] else None
        )  # else the target has changed since
        if last and last["open"]:
            return _tell_cutover(options, run, last)
        raise Refused(
            f"nothing follows the source of {run.id} now; see `runbook status {run.id}`, and start it with "
            f"`runbook migrate PARAMS --follow --run-id {run.id}`."
        )

    def waiting(now: StageProgress) -> None:
        print(line(now), file=sys.stderr, flush=True)
        time.sleep(WATCH_EVERY)

    if answer := ask(run, options.quiet, accept_drift=options.accept_drift, waiting=waiting):
        return _tell_cutover(options, run, answer)
    raise Refused(
        f"the process that followed {run.id} ended before it answered; `runbook status {run.id}` says how it stands."
    )


def _tell_cutover(options: argparse.Namespace, run: Run, answer: dict[str, Any]) -> int:
    code = int(answer["verdict"] != PASS)
    if options.json:
        print(json.dumps({**answer, "exit_code": code}))
        return code
    if answer["open"]:
        print(
            visible(
                f"{run.id}: both sides are equal; the application may write to the target from {answer['moment']} on."
            )
        )
    else:
        print(visible(f"{run.id}: not yet. The source is followed further."))
    for sentence in (*answer["missing"], *(f"accepted: {one}" for one in answer["accepted"])):
        print(visible(f"  {sentence}"))
    return code


def run_tune(options: argparse.Namespace) -> int:
    run = open_run(outputs_folder(options.outputs), check_run_id(options.of))
    settings = override(options.settings)
    holder = run.holder()
    if holder is None:
        raise Refused(f"nothing is writing run {run.id}; set the limits in its next command: -p KEY=VALUE.")
    asked = request_tuning(run, settings)
    told = f"asked {holder}: " + ", ".join(f"{k}={'no limit' if v is None else v}" for k, v in asked.items())
    print(json.dumps({"run_id": run.id, "tuned": asked, "holder": holder}) if options.json else visible(told))
    return 0


def run_lab(options: argparse.Namespace) -> int:
    from .demo.run import check_project, run_lab

    check_project()
    outputs = outputs_folder(options.outputs)
    if not options.params:
        if options.set or options.run_id:
            raise Refused("-p and --run-id need PARAMS: without it, the demo's data is new and so is the run.")
        return run_lab(outputs)
    from .notebook.lab.start import choose, open_lab

    parameters = load_parameters(options.params, override(options.set))
    return open_lab(choose(parameters, outputs, Path(options.params).stem, options.run_id), parameters)


def run_verify(options: argparse.Namespace) -> int:
    found = verify(open_run(outputs_folder(options.outputs), check_run_id(options.of)), options.head)
    if options.json:
        print(json.dumps(vars(found)))
    else:
        allowed = [f"{line} (an execution that has begun and not ended may do that)" for line in found.growth]
        for line in (*found.repairs, *found.readable, *allowed, *found.problems):
            print(visible(line))
        word = "NOT as it was left" if found.problems else "grew, as it may" if found.growth else "untouched"
        print(
            f"{options.of}: {word}; {plural(found.files, 'file')}, {plural(found.records, 'record')}, head {found.head}"
        )
    return int(bool(found.problems))


def run_bundle(options: argparse.Namespace) -> int:
    from .report.runs.bundle import write_bundle
    from .report.runs.index import in_turn, refresh_index

    outputs = outputs_folder(options.outputs)
    run = open_run(outputs, check_run_id(options.of))
    with run.saving():
        found = write_bundle(run)
        with in_turn(run.folder.parent):
            problem = refresh_index(run.folder.parent)
    if problem:
        print(visible(problem), file=sys.stderr)
    for sentence in found.left_out:
        print(visible(f"left out: {sentence}"), file=sys.stderr)
    if options.json:
        print(json.dumps({**vars(found), "path": str(found.path), "run_id": run.id}))
    else:
        print(visible(f"{found.path}: {len(found.files)} files, {found.size:,} bytes"))
    return 0


def run_repair(options: argparse.Namespace) -> int:
    run = open_run(outputs_folder(options.outputs), check_run_id(options.of))
    found = (repair if options.execute else examine)(run)
    if options.json:
        print(json.dumps({"run_id": run.id, "repaired": options.execute and found.needed, "files": found.files()}))
        return 0
    for name, sentence in found.files().items():
        print(visible(f"{name}: {sentence}"))
    if not found.needed:
        told = "nothing to repair"
    elif options.execute:
        told = "repaired; the damaged files are kept in `damaged`. Resume the run, or roll it back"
    else:
        told = "can be repaired, with --execute; nothing was changed"
    print(f"{run.id}: {told}.")
    return 0
