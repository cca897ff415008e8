"""The command `runbook`: parses, calls, and turns what comes back into lines and an exit code.

0 PASS, or nothing to do · 1 complete, but not PASS · 2 refused: one sentence on stderr · 3 interrupted, resumable ·
70 a fault in the program, with its traceback.
"""

import argparse
import contextlib
import json
import re
import shlex
import sys
import traceback
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Any

from .errors import Refused, RunbookError, lines_of
from .process import outlive_readers, visible
from .verdict import EXIT_BUG, EXIT_INTERRUPTED, EXIT_REFUSED, FAIL, INTERRUPTED, PASS, PLANNED, REFUSED, STOPPED

# What the banner's data holds for the program itself.
INSIDE = ("file", "stage", "resume", "execution", "executor", "copy")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; return its exit code. Whoever reads its output may go before it is done."""
    with outlive_readers() as output:
        code = _run(list(sys.argv[1:] if arguments is None else arguments))
        output.flush()
        if output.problem is None:
            return code
        print(
            f"the result cannot be written: {output.problem.strerror}; make room, or write it elsewhere.",
            file=sys.stderr,
        )
        return code or EXIT_REFUSED


def _run(words: list[str]) -> int:
    try:
        options = _parser().parse_args(words)
        options.words = words
        return options.command(options)
    except RunbookError as problem:
        print(_sentence(problem), file=sys.stderr)
        if problem.exit_code == EXIT_INTERRUPTED and not problem.hint:
            print(f"Resume with: {shlex.join(['runbook', *words])}", file=sys.stderr)
        if "--json" in words:
            verdict = INTERRUPTED if problem.exit_code == EXIT_INTERRUPTED else REFUSED
            print(json.dumps({"verdict": verdict, "error": _sentence(problem), "exit_code": problem.exit_code}))
        return problem.exit_code
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return EXIT_INTERRUPTED
    except Exception:  # Python's own exit code for it is 1, which means something else here
        traceback.print_exc()
        return EXIT_BUG


def _sentence(problem: object) -> str:
    """Return the problem on one line; what it quotes may have several. The mistakes of a file have a line each."""
    return "\n".join(" ".join(line.split()) for line in lines_of(str(problem)))


def _draft(options: argparse.Namespace) -> int:
    from . import commands

    return _finish(options, commands.run_draft(options))


def _analyze(options: argparse.Namespace) -> int:
    from . import commands

    return _finish(options, commands.run_stage(options, "01_analyze", {}))


def _test(options: argparse.Namespace) -> int:
    from . import commands

    own = {"table": options.table, "limit": options.limit, "keep": options.keep}
    return _finish(options, commands.run_writing_stage(options, "02_test", own, always=False))


def _create_tables(options: argparse.Namespace) -> int:
    from . import commands

    return _finish(options, commands.run_writing_stage(options, "02_test", {}, always=False))


def _migrate(options: argparse.Namespace) -> int:
    from . import commands

    own = {"tables": options.tables, "retry_failed": options.retry_failed, "delta": options.delta}
    own["follow"] = options.follow
    own["accept_drift"] = options.accept_drift
    return _finish(options, commands.run_writing_stage(options, "03_migrate", own))


def _validate(options: argparse.Namespace) -> int:
    from . import commands

    own = {"tables": options.tables}
    if options.repair:
        own["repair"] = options.repair
        return _finish(options, commands.run_writing_stage(options, "04_validate", own))
    if options.execute:
        raise Refused("--execute belongs to --repair; a validation without it only reads.")
    return _finish(options, commands.run_stage(options, "04_validate", own))


def _full_migration(options: argparse.Namespace) -> int:
    from . import commands

    return _finish(options, *commands.full_migration(options))


def _rollback(options: argparse.Namespace) -> int:
    from . import commands

    return _finish(options, commands.run_rollback(options))


def _iam(options: argparse.Namespace) -> int:
    from . import commands

    return commands.run_iam(options)


def _folder(name: str) -> Callable[[argparse.Namespace], int]:
    def run(options: argparse.Namespace) -> int:
        from . import folder_commands

        return getattr(folder_commands, f"run_{name}")(options)

    return run


def _demo(options: argparse.Namespace) -> int:
    from .demo.run import run_demo
    from .parameters import outputs_folder

    with contextlib.redirect_stdout(sys.stderr if options.json else sys.stdout):
        code = run_demo(outputs_folder(options.outputs))
    if options.json:
        print(json.dumps({"verdict": FAIL if code else PASS, "exit_code": code}))
    return code


def _finish(options: argparse.Namespace, *executions: Any) -> int:
    """Print what each stage did and where its files are; return the worst exit code."""
    lines = sys.stderr if options.json else sys.stdout
    for execution in executions:
        _tell(execution, lines)
    if executions[-1].exit_code == EXIT_INTERRUPTED and executions[-1].result.get("resume", "") is not None:
        print(f"Resume with: {_resume(options, executions[-1])}", file=sys.stderr)
    if options.json:
        print(json.dumps(_as_json(executions[-1])))
    return max(
        (execution.exit_code for execution in executions), key=(0, 1, EXIT_INTERRUPTED, EXIT_REFUSED, EXIT_BUG).index
    )


def _resume(options: argparse.Namespace, execution: Any) -> str:
    """Return the same command line, with the run's ID if it was not given."""
    given = "params" not in options or any(word.startswith("--run-id") for word in options.words)  # by the checkpoint
    named = given or not execution.result.get("run_id")
    return shlex.join(["runbook", *options.words, *([] if named else ["--run-id", execution.result["run_id"]])])


def _tell(execution: Any, lines: Any) -> None:
    from .run.released import DIFFERS

    result = execution.result
    headline = f"{execution.notebook.stem}: {result.get('verdict', STOPPED)}. {result.get('headline', '')}"
    if execution.exit_code in (EXIT_REFUSED, EXIT_INTERRUPTED):
        said = result["headline"].removesuffix(result.get("resume") or "")  # the command that resumes follows
        print(_sentence(said), file=sys.stderr)
    elif execution.traceback:
        print(execution.traceback, file=sys.stderr)
    else:
        for line in (headline, *(f"  would {step}" for step in result.get("plan", []))):
            print(visible(line), file=lines)
        if result.get("verdict") == PLANNED and "plan" in result:
            print("  to do it, add --execute", file=lines)
    if execution.released is False:
        print(f"{execution.notebook.stem}: {DIFFERS}.", file=sys.stderr)
    if result.get("file"):
        print(visible(f"  figures   {execution.notebook.parent / result['file']}"), file=lines)
    for word, what in (("notebook", execution.notebook), ("report", execution.html), ("audit", execution.head)):
        if what:
            print(visible(f"  {word:<9} {what}"), file=lines)


def _as_json(execution: Any) -> dict[str, Any]:
    result = {key: value for key, value in execution.result.items() if key not in INSIDE}
    if name := execution.result.get("file"):
        path = execution.notebook.parent / name
        content = json.loads(path.read_text(encoding="utf-8"))
        held = {"plan": content["plan"]} if "plan" in content else {}  # of 01; what would be done is nothing any more
        result = {**content, **result, "file": str(path), **held}
    if execution.exit_code in (EXIT_REFUSED, EXIT_INTERRUPTED):
        result["error"] = _sentence(result["headline"])
    return {
        **result,
        "exit_code": execution.exit_code,
        "notebook": str(execution.notebook),
        "html": str(execution.html) if execution.html else None,
        "audit_head": execution.head or None,
    }


def _tables(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:  # an empty variable of a script must not mean all tables
        raise argparse.ArgumentTypeError("the list of tables is empty; name one, or leave the option out")
    return names


def _seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 <= (found := float(text)) <= 86_400:
            return found
    raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 0 to 86,400")


def _program(text: str) -> str:
    from .parameters import check_program

    try:
        return check_program(text)
    except ValueError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from None


def _run_id(text: str) -> str:
    from .run.folder import check_run_id

    return check_run_id(text)


class _Parser(argparse.ArgumentParser):
    """A mistake in the command line is a refusal like any other: one sentence, exit code 2, and JSON if requested."""

    def error(self, message: str):
        if match := re.search(r"argument COMMAND: invalid choice: '([^']*)' \(choose from (.*)\)", message):
            near = get_close_matches(match[1], re.findall(r"'([^']+)'", match[2]), 1)
            message = f"no command {match[1]!r}" + (f" (did you mean {near[0]!r}?)" if near else "")
        raise Refused(f"{message}; see `{self.prog} --help`.")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser("runbook", description="Moves DynamoDB data safely, one notebook a stage.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, function, summary: str, *aliases: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, aliases=aliases, help=summary, description=summary)
        added.set_defaults(command=function)
        added.add_argument("--outputs", metavar="DIR", help="folder of the runs (default: outputs)")
        added.add_argument("--json", action="store_true", help="print the result as one JSON object on stdout")
        return added

    def stage(name: str, function, summary: str, *, writes: bool, params: str | None = None) -> argparse.ArgumentParser:
        added = command(name, function, summary)
        _reading(added, params)
        added.add_argument(
            "--run-id", type=_run_id, metavar="ID", help="the run to start or resume (8 to 64 of a-z, 0-9, -)"
        )
        if writes:
            _writing(added)
        return added

    added = stage("draft", _draft, "write the mapping file that the source tables suggest (reads only)", writes=False)
    added.add_argument("--pattern", default="", metavar="P", help='how names are built: "{table}-{source.environment}"')
    added.add_argument("--items", type=int, default=0, metavar="N", help="read at most N items of each table")
    added.add_argument("--force", action="store_true", help="replace the mapping file; the old one is kept beside it")
    stage("analyze", _analyze, "dry run: show what the migration would do (reads only)", writes=False)
    added = stage("test", _test, "insert a few items of one entry, compare them, undo them", writes=True)
    added.add_argument("table", metavar="TABLE", help="an entry of the mapping")
    added.add_argument("--limit", type=int, default=1, metavar="N", help="how many items of TABLE (default 1)")
    added.add_argument("--keep", action="store_true", help="leave the items in the target")
    stage("create-tables", _create_tables, "create the missing target tables", writes=True)
    added = stage("migrate", _migrate, "insert everything; resumes an unfinished run", writes=True)
    _choosing(added)
    added.add_argument("--retry-failed", action="store_true", help="only retry the items that the run could not write")
    added.add_argument(
        "--delta", action="store_true", help="apply to the target what the source has changed since a finished run"
    )
    added.add_argument(
        "--follow",
        action="store_true",
        help="then apply what the streams of the source tables hold, until it is stopped",
    )
    _accepting(added)
    _beginning(added)
    added = stage("validate", _validate, "compare both sides, item by item (reads only without --repair)", writes=True)
    _choosing(added)
    added.add_argument(
        "--repair",
        nargs="?",
        const="missing",
        choices=("missing", "deleted"),
        help="first insert what is missing; with `deleted` also what was deleted in the target since",
    )
    added = stage("full-migration", _full_migration, "create-tables, migrate and validate in sequence", writes=True)
    _accepting(added)
    _beginning(added)
    added = command("rollback", _rollback, "delete what a stage inserted and nobody has changed since")
    added.add_argument("--checkpoint", required=True, metavar="FILE", help="migration-checkpoint-*.json of the run")
    added.add_argument(
        "--restore-from",
        default="",
        metavar="BACKUP",
        help="then restore: a backup's ARN, TABLE@TIME, or a restored table to copy back from",
    )
    added.add_argument(
        "--delete-tables", type=_tables, default=[], metavar="A,B", help="then delete these created tables"
    )
    _writing(added)
    added.add_argument("--confirm-restore", default="", metavar="BACKUP", help="the same as --restore-from")
    added.add_argument("--confirm-delete", type=_tables, default=[], metavar="A,B", help="the same as --delete-tables")
    added.add_argument("--notify", type=_program, metavar="COMMAND", help="as `notify` in PARAMS")
    added = command("status", _folder("status"), "show what a run is doing or did; without RUN_ID list all runs")
    added.add_argument("of", nargs="?", metavar="RUN_ID", help="the run's ID")
    added.add_argument(
        "--watch", action="store_true", help="a line at once and every 2 seconds while the run is at work"
    )
    added = command("stop", _folder("stop"), "ask a run to stop after its current page; you can resume it", "pause")
    added.add_argument("of", metavar="RUN_ID", help="the run to stop")
    added = command(
        "cutover", _folder("cutover"), "ask whether both sides are equal, and the application may change over"
    )
    added.add_argument("of", metavar="RUN_ID", help="the run that `migrate --follow` works on")
    added.add_argument(
        "--quiet", type=_seconds, default=10.0, metavar="S", help="seconds without a change that it takes (default 10)"
    )
    added.add_argument("--accept-drift", action="store_true", help="also where drift.jsonl lists items")
    added = command("tune", _folder("tune"), "change the limits of a running migration or validation")
    added.add_argument("of", metavar="RUN_ID", help="the run's ID")
    added.add_argument("settings", nargs="+", metavar="KEY=VALUE", help="limits.read_units or limits.write_units")
    added = command("verify", _folder("verify"), "prove that a run's folder is untouched, or name what changed")
    added.add_argument("of", metavar="RUN_ID", help="the run's ID")
    added.add_argument(
        "--head", default="", metavar="HASH", help="a head that a command printed: the chain must hold it"
    )
    added = command("bundle", _folder("bundle"), "write a run's pages and reports to one zip file to send")
    added.add_argument("of", metavar="RUN_ID", help="the run's ID")
    added = command("repair", _folder("repair"), "keep a damaged journal's records before the first break")
    added.add_argument("of", metavar="RUN_ID", help="the run's ID")
    added.add_argument("--execute", action="store_true", help="write; without it the plan is shown")
    added = command("iam", _iam, "print the IAM policy with the rights that a stage needs on these tables")
    _reading(added)
    added.add_argument("of", metavar="STAGE", help="draft, analyze, test, create-tables, migrate, validate, …")
    added.add_argument("--side", choices=("source", "target"), help="only what this side's principal needs")
    added.add_argument("--pattern", default="", metavar="P", help="of draft: how names are built")
    command("demo", _demo, "run four migrations of made-up data in an embedded DynamoDB")
    summary = "open JupyterLab on working copies of the notebooks; without PARAMS on made-up data"
    stage("lab", _folder("lab"), summary, writes=False, params="?")
    return parser


def _reading(parser: argparse.ArgumentParser, number: str | None = None) -> None:
    about = "parameters file, such as parameters/env_copy.yaml"
    parser.add_argument("params", metavar="PARAMS", nargs=number, help=about)
    parser.add_argument(
        "-p", dest="set", action="append", default=[], metavar="KEY=VALUE", help="override a key of PARAMS, dotted"
    )


def _writing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--execute", action="store_true", help="write; without it show the plan")
    parser.add_argument("--confirm", metavar="ENVIRONMENT", help="the full name of the target environment")
    parser.add_argument("--break-lock", default="", metavar="PID@HOST", help="take the lock of this hung process")
    parser.add_argument("--accept-changed", action="store_true", help="go on although the run's folder was changed")


def _accepting(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--accept-drift", action="store_true", help="go on where tables are not as `analyze` saw them")


def _beginning(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--new", action="store_true", help="begin another run, although the latest one is complete")


def _choosing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tables", type=_tables, default=[], metavar="A,B", help="only these entries")
