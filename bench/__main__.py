"""``python -m bench``: mini_flink beside a bare Starlette handler (baseline) and a bare echo (ceiling).

Needs wrk, and a machine that does nothing else meanwhile: about three minutes per round. ``python -m bench
snapshots``, ``rescale``, ``upgrade`` and ``metrics`` measure what these cost those who are served meanwhile;
each has options of its own.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from pathlib import Path

from bench import changeovers, costs, report, snapshots
from bench.rounds import run_rounds
from bench.servers import KINDS, Kind

_RESULTS = Path(__file__).with_name("results")


def main() -> int:
    if shutil.which("wrk") is None:
        print("bench needs wrk: apt-get install wrk", file=sys.stderr)
        return 69
    match sys.argv[1:]:
        case ["snapshots", *arguments]:
            return snapshots.main(arguments)
        case ["metrics", *arguments]:
            return costs.main(arguments)
        case ["rescale" | "upgrade" as kind, *arguments]:
            return changeovers.main(kind, arguments)
    options = _parser().parse_args()
    kinds = _chosen(options.only)
    rounds = run_rounds(kinds, options.rounds, options.seconds, options.connections, tuple(options.serve))
    result = report.as_json(rounds, {**vars(options), "json": str(options.json)})
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=1) + "\n")
    print(report.table(rounds))
    print(f"\nkept as {options.json}")
    return 1 if report.problems(rounds) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__, allow_abbrev=False)
    parser.add_argument("--rounds", type=int, default=5, help="alternating rounds; medians are over them (5)")
    parser.add_argument("--seconds", type=int, default=5, help="length of each run of wrk (5)")
    parser.add_argument(
        "--connections", type=int, nargs="+", default=[1, 64, 256], help="numbers of connections (1 64 256)"
    )
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="NAME",
        help=f"only these, and the baseline; the begin of a name will do: {', '.join(k.name for k in KINDS)}",
    )
    parser.add_argument("--json", type=Path, default=_default_path(), help="where the result is kept")
    parser.add_argument(
        "--serve",
        nargs=argparse.REMAINDER,
        default=[],
        help="further options of mini_flink serve, last on the line: --serve --workers 2",
    )
    return parser


def _default_path() -> Path:
    return _RESULTS / time.strftime("%Y-%m-%dT%H-%M-%S.json", time.gmtime())


def _chosen(only: list[str] | None) -> list[Kind]:
    """The baseline is always among them: ratios are to it."""
    wanted = (report.BASELINE, *only) if only else ("",)
    return [kind for kind in KINDS if kind.name.startswith(wanted)]


if __name__ == "__main__":
    sys.exit(main())
