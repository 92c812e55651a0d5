"""Runs schedules, finds one that breaks a law, and shortens it."""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import gc
import logging
import resource
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from tests.simulation import laws
from tests.simulation.cluster import TICK_S, Broken, Setup, SimulatedCluster
from tests.simulation.loop import StuckError, VirtualLoop
from tests.simulation.pinned import PINNED
from tests.simulation.schedule import (
    Action,
    apply,
    generate,
    generate_aimed,
    generate_hurried,
    generate_orphaned,
    generate_refused,
    generate_stalled,
)

Generate = Callable[[int], tuple[Setup, tuple[Action, ...]]]
_SORTS: Final[dict[str, tuple[str, Generate]]] = {
    "aimed": ("at commands of phones that are lost", generate_aimed),
    "hurried": ("at many commands while users move", generate_hurried),
    "refused": ("at a Redis that takes no writes", generate_refused),
    "stalled": ("at nodes that stop, and at wrong clocks", generate_stalled),
    "orphaned": ("at sessions of nodes that die", generate_orphaned),
}
BUSY_S: Final = 90.0
"""Real seconds for a seed and its shortening: they end a task that never yields to the loop."""
FOUND: Final = 3
"""Exit code of a search that found something; 1 would be a fault of its own."""
MEMORY_BYTES: Final = 2 * 2**30
QUIET_S: Final = 75.0
"""Time within which all is well again after the last fault."""
STILL_S: Final = 3.0
"""How long it must stay well."""
SETTLED_S: Final = 6.0
"""Time until every user has logged on and is served: nodes share the budget of the site."""
PATIENT_S: Final = 65.0
"""Additional time of a long run."""

UNSEEN_S: Final = 40.0
"""Time until a node sees that a silent phone is gone: a ping, and the time to answer it."""


@dataclass(frozen=True, slots=True)
class Report:
    """Result of a schedule."""

    broken: Broken | None
    log: tuple[str, ...]
    lasted_s: float
    opened: int


class _Received(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


def run(setup: Setup, actions: tuple[Action, ...]) -> Report:
    loop = VirtualLoop(rng=Random(setup.seed + 3) if setup.jostled else None)
    arrived = _Received()
    logger = logging.getLogger("gateway")
    logger.addHandler(arrived)
    loop.set_exception_handler(lambda _, context: arrived.said.append(str(context)))
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(_live(setup, actions, loop, arrived))
    except StuckError as stuck:
        return Report(Broken("nobody is busy for ever", str(stuck), loop.time()), (), 0.0, 0)
    finally:
        logger.removeHandler(arrived)
        asyncio.set_event_loop(None)
        loop.close()


async def _live(setup: Setup, actions: tuple[Action, ...], loop: VirtualLoop, arrived: _Received) -> Report:
    strangers = laws.objects_of_users() if setup.patient else []
    async with asyncio.TaskGroup() as tasks:
        cluster = SimulatedCluster(setup, frozenset(action.what for action in actions), loop, tasks)
        try:
            cluster.begin_life()
            await _pass(cluster, arrived, SETTLED_S)
            for action in actions:
                await _pass(cluster, arrived, action.after)
                if cluster.broken_laws:
                    break
                apply(cluster, action)
            if not cluster.broken_laws:
                await _become_quiet(cluster, arrived, strangers)
        finally:
            cluster.end()
            await asyncio.sleep(60)
    first = cluster.broken_laws[0] if cluster.broken_laws else None
    return Report(first, tuple(cluster.log), loop.time() - cluster.began_at, cluster.centre.opens.total())


async def _pass(cluster: SimulatedCluster, arrived: _Received, seconds: float) -> None:
    until = cluster.now() + seconds
    while True:
        left = until - cluster.now()
        await asyncio.sleep(max(0.0, min(TICK_S, left)))
        cluster.tick()
        laws.at_every_step(cluster)
        for said in arrived.said:
            cluster.broken("nothing fails", said)
        if cluster.broken_laws or cluster.now() >= until:
            return


async def _become_quiet(cluster: SimulatedCluster, arrived: _Received, strangers: Sequence[object]) -> None:
    cluster.calm()
    cluster.note("calm")
    began, well_since = cluster.now(), None
    unseen_s = UNSEEN_S if "abandon" in cluster.event_names else 0.0
    still_s = PATIENT_S + unseen_s if cluster.setup.patient else STILL_S
    missing: list[str] = []
    while cluster.now() - began < QUIET_S + still_s:
        await _pass(cluster, arrived, TICK_S)
        if cluster.broken_laws:
            return
        missing = laws.when_quiet(cluster)
        if missing:
            well_since = None
        elif well_since is None:
            well_since = cluster.now()
        elif cluster.now() - well_since >= still_s:
            laws.in_the_end(cluster)
            await _leave(cluster, arrived, strangers)
            return
    cluster.broken("all is well in the end", "; ".join(missing))


async def _leave(cluster: SimulatedCluster, arrived: _Received, strangers: Sequence[object]) -> None:
    """In a long run without ended nodes: log all users off, and check the laws."""
    are_alive = all(process.is_alive for process in cluster.processes)
    has_ended = cluster.lives > cluster.setup.nodes or not are_alive
    if not cluster.setup.patient or has_ended or cluster.broken_laws:
        return
    for phone in cluster.phones:
        phone.log_off()
    await _pass(cluster, arrived, laws.GONE_S)
    laws.when_all_are_gone(cluster, strangers)


def shrink(setup: Setup, actions: tuple[Action, ...], law: str) -> tuple[Action, ...]:
    """Return a schedule from which no action can be removed without the law holding."""
    size = max(1, len(actions) // 2)
    while True:
        at = 0
        while at < len(actions):
            shorter = actions[:at] + actions[at + size :]
            found = run(setup, shorter).broken
            if found is not None and found.law == law:
                actions = shorter
            else:
                at += size
        if size == 1:
            return actions
        size //= 2


def tell(seed: int, generated: Generate = generate) -> str:
    """Return how a seed fails; empty when it does not."""
    setup, actions = generated(seed)
    report = run(setup, actions)
    if report.broken is None:
        return ""
    shortest = shrink(setup, actions, report.broken.law)
    last = run(setup, shortest)
    received = [f"seed {seed}: {report.broken}", f"shortest: {last.broken}", f"    {setup!r},"]
    return "\n".join([*received, *(f"    {tuple(each)!r}," for each in shortest), *last.log])


def main() -> int:
    """Search seeds, and stop before a pinned one if required. Exits with FOUND when a law was broken."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("first", type=int)
    parser.add_argument("last", type=int)
    parser.add_argument("step", type=int, nargs="?", default=1)
    parser.add_argument(
        "--stop", action="store_true", help="at the first that is found, which is not shortened"
    )
    for name, (searched, _) in _SORTS.items():
        parser.add_argument(f"--{name}", action="store_true", help=searched)
    asked = parser.parse_args()
    generated = next((of for name, (_, of) in _SORTS.items() if getattr(asked, name)), generate)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    gc.collect()
    gc.freeze()  # what is imported stays, and is looked through no more
    seeds = range(asked.first, asked.last, asked.step)
    found = 0
    for pinned in PINNED if asked.stop else ():
        if (broken := run(pinned.setup, pinned.actions).broken) is not None:
            print(f"{pinned.name}: {broken}")
            return FOUND
    for seed in seeds:
        faulthandler.dump_traceback_later(BUSY_S, exit=True)
        if asked.stop and (broken := run(*generated(seed)).broken) is not None:
            print(f"seed {seed}: {broken}")
            return FOUND
        received = "" if asked.stop else tell(seed, generated)
        found += bool(received)
        print(received, end="\n" if received else "", flush=True)
    print(f"{len(seeds)} schedules, {found} broke a law")
    return FOUND if found else 0


if __name__ == "__main__":
    sys.exit(main())
