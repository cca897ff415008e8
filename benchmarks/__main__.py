"""`python -m benchmarks [compare|growth|stages|rules|…]`: prints figures, keeps them in outputs/benchmarks/."""

import argparse

from . import rules, scenarios
from .profiling import STAGES, TOP, profile
from .report import MAIN, Report
from .server import serving
from .shapes import Case


def main() -> None:
    """Runs what the command line asks for."""
    options = _parser().parse_args()
    try:
        options.run(options)
    except RuntimeError as problem:  # a contender failed; it has said why
        raise SystemExit(f"benchmarks: {problem}") from None


def _compare(options: argparse.Namespace) -> None:
    report = Report()
    cases = {name: options.items or scenarios.SHAPES.get(name, 10_000) for name in options.cases or scenarios.SHAPES}
    with serving() as canned:
        scenarios.shapes(report, canned, cases, options.repeat)
        if not options.cases:
            few = Case.named(MAIN, options.items or 5_000)
            scenarios.stages(report, canned, few, options.repeat)
            scenarios.fallback(report, canned, few, options.repeat)
            scenarios.start_up(report, canned, 2 * options.repeat + 1)
    if not options.cases:
        scenarios.engine(report, min(few.items, 2_000), 1)
    report.close("compare")


def _growth(options: argparse.Namespace) -> None:
    report = Report()
    with serving() as canned:
        how = {"all_stages": options.all_stages, "segments": options.segments}
        scenarios.growth(report, canned, options.case, options.sizes, **how)
    report.close("growth")


def _start_up(options: argparse.Namespace) -> None:
    report = Report()
    with serving() as canned:
        scenarios.start_up(report, canned, options.repeat)
    report.close("start-up")


def _stages(options: argparse.Namespace) -> None:
    report = Report()
    with serving() as canned:
        scenarios.stages(report, canned, Case.named(options.case, options.items), options.repeat)
    report.close("stages")


def _follow(options: argparse.Namespace) -> None:
    report = Report()
    with serving() as canned:
        scenarios.follow(report, canned, Case.named(options.case, options.items), options.repeat)
    report.close("follow")


def _engine(options: argparse.Namespace) -> None:
    report = Report()
    scenarios.engine(report, options.items, options.repeat)
    report.close("engine")


def _rules(options: argparse.Namespace) -> None:
    report = Report()
    rules.measure(report, options.repeat, options.names)
    report.close("rules")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m benchmarks", description="Measures the program beside boto3 and a floor."
    )
    parts = parser.add_subparsers(metavar="PART")

    def part(name: str, run, summary: str) -> argparse.ArgumentParser:
        added = parts.add_parser(name, help=summary, description=summary)
        added.set_defaults(run=run)
        return added

    parser.set_defaults(run=_compare, cases=[], items=None, repeat=5)
    added = part("compare", _compare, "everything but growth (the default), or some cases alone")
    added.add_argument("cases", nargs="*", metavar="CASE", help=f"such as {', '.join(list(scenarios.SHAPES)[::3])}")
    added.add_argument("--items", type=int, help="items of each case")
    added.add_argument("--repeat", type=int, default=5, help="how often each is measured (default %(default)s)")
    added = part("growth", _growth, "the same case with 10,000, 100,000 and 1,000,000 items")
    added.add_argument("--case", default=MAIN)
    added.add_argument("--sizes", type=int, nargs="+", default=list(scenarios.SIZES))
    added.add_argument("--all-stages", action="store_true", help="analysis, validation and rollback as well")
    added.add_argument("--segments", type=int, help="scan segments of every size (default: the program's choice)")
    added = part("stages", _stages, "analysis, migration, validation, rollback of one case")
    added.add_argument("--case", default=MAIN)
    added.add_argument("--items", type=int, default=5_000)
    added.add_argument("--repeat", type=int, default=3)
    added = part("follow", _follow, "changes of every item, after its migration")
    added.add_argument("--case", default=MAIN)
    added.add_argument("--items", type=int, default=5_000)
    added.add_argument("--repeat", type=int, default=3)
    added = part("start-up", _start_up, "imports, and commands that only look")
    added.add_argument("--repeat", type=int, default=7)
    added = part("engine", _engine, "on ministack")
    added.add_argument("--items", type=int, default=2_000)
    added.add_argument("--repeat", type=int, default=1)
    added = part("rules", _rules, "what each rule of a mapping costs an item")
    added.add_argument("names", nargs="*", metavar="RULE", help="such as 'reference inside text' (default: all)")
    added.add_argument("--repeat", type=int, default=40)
    added = part("profile", profile, "the functions that take most CPU time")
    added.add_argument("--case", default=MAIN)
    added.add_argument("--stage", choices=STAGES, default="migrate")
    added.add_argument("--items", type=int, default=20_000)
    added.add_argument("--workers", type=int, default=8)
    added.add_argument("--sort", choices=("own", "cumulative"), default="own")
    added.add_argument("--top", type=int, default=TOP, help=f"how many functions (default {TOP})")
    return parser


if __name__ == "__main__":
    main()
