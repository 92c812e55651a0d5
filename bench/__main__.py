"""Command line of the benchmarks: ``python -m bench``.

Exit codes: 0 done, 1 a measurement failed, 2 invalid command line, 130 interrupted.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from bench import runs
from bench.case import Scale
from bench.contenders import Other
from bench.kept import Key, ResultStore
from bench.machine import LOAD_CORE, about, cores, free_bytes
from bench.peers import PEERS
from bench.plan import CaseGroup, case_groups, plan_text
from bench.report import main as report
from bench.scenarios import SCENARIOS
from bench.stage import BUILD, Stage

RUNS = 3
INTERRUPTED = 130
BUSY_FROM = 3.0
"""Load average from which other programs use the machine; the benchmark itself takes 2."""
SEALED_BYTES = 400_000
"""Memory of an encrypted connection, both ends together, rounded up."""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure the gateway as its phones see it, side by side with others.",
        epilog="`python -m bench report` writes docs/benchmarks.md from what was measured.",
    )
    made.add_argument(
        "scenarios",
        nargs="*",
        metavar="scenario",
        help=f"scenarios to run, default all: {', '.join(SCENARIOS)}",
    )
    made.add_argument(
        "--quick", action="store_true", help="a short run: few phones, little time, each case once"
    )
    made.add_argument(
        "--peers",
        default=None,
        help=f"peers to compare with, separated by commas, default all: {', '.join(PEERS)}; or 'none'",
    )
    made.add_argument("--runs", type=int, default=None, help=f"runs of each case; {RUNS} unless --quick")
    made.add_argument("--resume", action="store_true", help="measure only what has no result yet")
    made.add_argument("--case", default="", help="only cases whose names hold this text")
    return made


async def measure(args: argparse.Namespace) -> int:
    """Run the requested cases and store each result; returns the number of failures."""
    stage = await Stage.make()
    machine = {**about(), "generator": stage.generator.name}
    scale = Scale(stage.phones_most, args.quick, free_bytes() // SEALED_BYTES)
    most = args.runs or (1 if args.quick else RUNS)
    plan = planned(args.scenarios or SCENARIOS, scale, args.case)
    peers: list[Other] = []
    if any(case.with_peers for group in plan for case in group.cases):
        peers = await runs.prepared(stage, [PEERS[name] for name in peers_of(args.peers)])
    store = ResultStore(BUILD / "quick" if args.quick else BUILD, machine)
    (store.retry if args.resume else store.renew)(keys(plan, peers))
    plan = missing(plan, store, peers, most)
    print(plan_text(plan, peers, most), flush=True)
    play = runs.Play(stage, store, peers, most)
    for group in plan:
        if (busy := not_idle(os.getloadavg()[0])) is not None:
            print(busy, file=sys.stderr, flush=True)
        await play.run_group(group)
    return play.failures


def not_idle(load: float) -> str | None:
    """Return a warning when other programs use the machine; *load* is its load average."""
    if load < BUSY_FROM:
        return None
    return f"the machine is not idle (load {load:.1f}): delays and CPU times are more than they would be"


def planned(scenarios: Iterable[str], scale: Scale, text: str) -> list[CaseGroup]:
    """Return the case groups of *scenarios*, with the cases whose names contain *text*."""
    return [
        group
        for name in scenarios
        for group in case_groups(name, [case for case in SCENARIOS[name](scale) if text in case.name])
    ]


def missing(
    plan: Iterable[CaseGroup], store: ResultStore, peers: Sequence[Other], most: int
) -> list[CaseGroup]:
    """Return the case groups that lack a result."""
    return [
        group
        for group in plan
        if not all(
            store.has((group.scenario, case.name, contender.name), run)
            for contender in group.contenders(peers)
            for case in group.asked(contender)
            for run in range(group.runs(most))
        )
    ]


def keys(plan: Iterable[CaseGroup], peers: Sequence[Other]) -> set[Key]:
    """Return the keys of all results that *plan* will produce."""
    return {
        (group.scenario, case.name, contender.name)
        for group in plan
        for contender in group.contenders(peers)
        for case in group.asked(contender)
    }


def peers_of(names: str | None) -> list[str]:
    """Return the names of the peers that the option ``--peers`` selects."""
    if names is None:
        return list(PEERS)
    return [] if names == "none" else names.split(",")


@contextlib.contextmanager
def alone(file: Path) -> Iterator[None]:
    """Hold the lock of this tree, once it is free: two benchmarks would disturb each other."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print("another benchmark is running: waiting until it ends …", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["report"]:
        return report()
    args = parser().parse_args(words)
    unknown = {*args.scenarios} - {*SCENARIOS} | {*peers_of(args.peers)} - {*PEERS}
    if unknown:
        print(f"unknown: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    if len(cores()) < 2:
        print("only one core: load and server share it, so the figures are not meaningful", file=sys.stderr)
    os.sched_setaffinity(0, {LOAD_CORE})
    with alone(BUILD / "lock"):
        try:
            return 1 if asyncio.run(measure(args)) else 0
        except KeyboardInterrupt:
            print(
                "interrupted; what was measured is kept: `report` shows it, `--resume` goes on",
                file=sys.stderr,
            )
            return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
