"""What can one ask of ``python -m bench``?

Exit codes: 0 done, 1 something was not measured, 2 the command line cannot be used.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench import runs
from bench.case import Scale
from bench.contenders import Other
from bench.machine import LOAD_CORE, about, cores
from bench.peers import PEERS
from bench.report import main as report
from bench.scenarios import SCENARIOS
from bench.stage import BUILD, Stage
from bench.work import Record

RUNS = 3


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure the gateway as its phones see it, side by side with others.",
        epilog="`python -m bench report` writes docs/benchmarks.md from what was measured.",
    )
    made.add_argument(
        "scenarios", nargs="*", metavar="scenario", help=f"of {', '.join(SCENARIOS)}; none: all"
    )
    made.add_argument("--quick", action="store_true", help="a glance: few phones, short, once")
    made.add_argument(
        "--peers", default=None, help=f"of {', '.join(PEERS)}, with commas; 'none'; default: all"
    )
    made.add_argument("--runs", type=int, default=None, help=f"of each case; {RUNS} unless --quick")
    made.add_argument("--case", default="", help="only cases whose names hold this text")
    return made


async def measure(args: argparse.Namespace) -> list[Record]:
    """Run what is asked for; results are kept as they come."""
    stage = await Stage.make()
    machine = {**about(), "generator": stage.generator.name}
    scale = Scale(stage.phones_most, is_quick=args.quick)
    chosen = {
        name: [case for case in SCENARIOS[name](scale) if args.case in case.name]
        for name in args.scenarios or SCENARIOS
    }
    peers: list[Other] = []
    if any(case.with_peers for cases in chosen.values() for case in cases):
        peers = await runs.prepared(stage, [PEERS[name] for name in peers_of(args.peers)])
    records: list[Record] = []
    for name, cases in chosen.items():
        for case in cases:
            count = args.runs or (1 if args.quick else RUNS)
            found = await runs.play(stage, name, case, peers, count)
            runs.add(BUILD / "quick" if args.quick else BUILD, found, machine)
            records += found
    return records


def peers_of(told: str | None) -> list[str]:
    """Return the names of the peers that are wanted."""
    if told is None:
        return list(PEERS)
    return [] if told == "none" else told.split(",")


@contextlib.contextmanager
def alone(file: Path) -> Iterator[None]:
    """Wait until no other benchmark runs in this tree: two at once would measure each other."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print("another benchmark is running: waiting for its end …", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["report"]:
        return report()
    args = parser().parse_args(words)
    unknown = {*args.scenarios} - {*SCENARIOS} | {*peers_of(args.peers)} - {*PEERS}
    if unknown:
        print(f"there is no {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    if len(cores()) < 2:
        print("one core only: load and server share it, so figures say little", file=sys.stderr)
    os.sched_setaffinity(0, {LOAD_CORE})
    with alone(BUILD / "lock"):
        records = asyncio.run(measure(args))
    return 1 if any(record.trouble for record in records) else 0


if __name__ == "__main__":
    sys.exit(main())
