"""Schedules of simulations: the events and their times.

A schedule is a list of plain values, so that it can be printed, shortened and pinned.
"""

from __future__ import annotations

import inspect
from dataclasses import replace
from random import Random
from typing import Final, NamedTuple

from tests.simulation.cluster import Setup, SimulatedCluster
from tests.simulation.events import Events
from tests.simulation.sorts import EVERYDAY, UNMOVED


class Action(NamedTuple):
    """An event *after* so many seconds since the last."""

    after: float
    what: str
    args: tuple[int, ...] = ()


_PAUSES: Final = (0.0, 0.0, 0.003, 0.05, 0.3, 1.0, 2.0, 4.0, 7.0)
_LENGTHS: Final = (3, 10, 30, 60, 120)
"""Tenths of a second."""
_FAULTS: Final = (
    "log_off_for",
    "haunt",
    "kill",
    "drain",
    "flush",
    "step",
    "freeze",
    "redis_down",
    "fail_over",
    "split",
    "cut_bus",
    "storm",
    "drop_link",
    "restart_centre",
    "centre_down",
    "site",
    "pause",
    "set_clock",
)


_AIMED_AT_COMMANDS: Final = ("cut_bus", "kill", "freeze", "drain", "site")
"""Events that move a user, or hide the move from a node."""
_BESIDE_REFUSALS: Final = (
    "centre_down",
    "cut_bus",
    "drain",
    "drop_link",
    "fail_over",
    "flush",
    "kill",
    "site",
)
_BESIDE_STALLS: Final = ("centre_down", "cut_bus", "drain", "fail_over", "kill", "log_off_for", "site")
_SOON: Final = (0.003, 0.05, 0.3, 1.0, 1.0, 2.0)
_HURRIED: Final = (0.0, 0.001, 0.003, 0.01, 0.05, 0.2)
_AT_ONCE: Final = (0.0, 0.0, 0.003, 0.05, 0.3)


def generate(seed: int) -> tuple[Setup, tuple[Action, ...]]:
    """Return the setup and schedule of a seed, with a few sorts of faults."""
    rng = Random(seed)
    setup = _setup(seed, rng)
    everyday, faults = _sorts(rng)
    actions = []
    for _ in range(rng.randrange(6, 18)):
        what = rng.choice(faults) if rng.random() < 0.4 else rng.choice(everyday)
        actions.append(_action(what, rng))
    return setup, tuple(actions)


def generate_aimed(seed: int) -> tuple[Setup, tuple[Action, ...]]:
    """Return a schedule of phones that are lost just after their command, while their user moves."""
    rng = Random(seed)
    setup = _setup(seed, rng)
    faults = rng.sample(_AIMED_AT_COMMANDS, rng.choice((1, 2, 2, 3)))
    actions = []
    for _ in range(rng.randrange(3, 9)):
        if rng.random() < 0.8:
            actions.append(_action(rng.choice(faults), rng))
        for _ in range(rng.choice((1, 2, 3))):
            which, state = rng.randrange(12), rng.randrange(2)
            actions.append(Action(rng.choice(_SOON), "command", (which, state)))
            actions.append(Action(rng.choice(_AT_ONCE), "vanish", (which,)))
    return setup, tuple(actions)


def generate_refused(seed: int) -> tuple[Setup, tuple[Action, ...]]:
    """Return a schedule of a Redis that carries messages and refuses writes, alone or with other faults."""
    rng = Random(seed)
    setup = _setup(seed, rng)
    others = rng.sample(_BESIDE_REFUSALS, rng.choice((0, 0, 1, 2, 3)))
    actions = []
    for _ in range(rng.randrange(4, 14)):
        what = rng.choice(("refuse", *others)) if rng.random() < 0.5 else rng.choice(EVERYDAY)
        actions.append(_action(what, rng))
    if rng.random() < 0.5:  # an owner ends, and no node can be granted its lease
        actions += [Action(0.3, "refuse", (600,)), Action(0.05, "kill", (rng.randrange(12), 120, 1))]
        actions += [Action(7.0, "count")] * 4
    return setup, tuple(actions)


def generate_stalled(seed: int) -> tuple[Setup, tuple[Action, ...]]:
    """Return a schedule of stopped nodes and of clocks that are set, alone or with other faults."""
    rng = Random(seed)
    setup = replace(_setup(seed, rng), skewed=rng.random() < 0.7)
    faults = [*rng.choice((("pause",), ("set_clock",), ("pause", "set_clock")))]
    faults += rng.sample(_BESIDE_STALLS, rng.choice((0, 0, 1, 2)))
    actions = []
    for _ in range(rng.randrange(4, 16)):
        what = rng.choice(faults) if rng.random() < 0.5 else rng.choice(EVERYDAY)
        actions.append(_action(what, rng))
    return setup, tuple(actions)


def generate_orphaned(seed: int) -> tuple[Setup, tuple[Action, ...]]:
    """Return a schedule of nodes that are killed while their phones leave, some for good."""
    rng = Random(seed)
    setup = replace(_setup(seed, rng), patient=rng.random() < 0.5)
    actions = []
    for _ in range(rng.randrange(1, 4)):
        kill = _action("kill", rng)
        left = [rng.choice(("abandon", "vanish", "leave", "count")) for _ in range(rng.randrange(4))]
        beside = [_action(what, rng, _AT_ONCE) for what in left]
        at = rng.randrange(len(beside) + 1)
        actions += [*beside[:at], kill, *beside[at:]]
    return setup, tuple(actions)


def generate_hurried(seed: int) -> tuple[Setup, tuple[Action, ...]]:
    """Return a schedule of many commands of each phone while its user moves."""
    rng = Random(seed)
    setup = _setup(seed, rng)
    faults = ("drain", *rng.sample(_AIMED_AT_COMMANDS, rng.choice((0, 0, 1))))
    actions = []
    for _ in range(rng.randrange(2, 6)):
        actions.append(_action(rng.choice(faults), rng))
        which, pauses = rng.randrange(12), [rng.choice(_HURRIED) for _ in range(rng.randrange(4, 30))]
        actions += [Action(pause, "command", (which, number)) for number, pause in enumerate(pauses)]
    return setup, tuple(actions)


def _setup(seed: int, rng: Random) -> Setup:
    supervisors = rng.choice((1, 1, 1, 1, 2, 2, 6))
    return Setup(
        seed,
        nodes=rng.choice((2, 2, 3, 3, 4)),
        supervisors=supervisors,
        devices=rng.choice((1, 2, 2, 3) if supervisors < 6 else (1, 1, 2)),
        assistant=rng.random() < 0.2,
        fences=rng.random() < 0.85,
        patient=rng.random() < 0.1,
        skewed=rng.random() < 0.3,
        jostled=bool(seed % 2),
    )


def _sorts(rng: Random) -> tuple[tuple[str, ...], list[str]]:
    """Return the sorts of events in this run: the usual ones, and others."""
    sort = rng.random()
    if sort < 0.12:
        everyday = ("count", "command")
        return everyday, rng.sample(sorted(UNMOVED - set(everyday)), rng.choice((1, 1, 2)))
    if sort < 0.25:
        return EVERYDAY, ["drain", "leave", "roam"]
    if sort < 0.4:
        return ("command", "command", "roam", "vanish", "leave"), rng.sample(_FAULTS, 2)
    return EVERYDAY, rng.sample(_FAULTS, rng.choice((1, 1, 2, 2, 3, 5)))


def _action(what: str, rng: Random, pauses: tuple[float, ...] = _PAUSES) -> Action:
    return Action(rng.choice(pauses), what, _args(what, rng))


def _args(what: str, rng: Random) -> tuple[int, ...]:
    drawn = {
        "which": rng.randrange(12),
        "tenths": rng.choice(_LENGTHS),
        "state": rng.randrange(2),
        "silently": rng.randrange(2),
        "seconds": rng.choice((-300, -8, 8, 30)),
        "mask": rng.randrange(1, 15),
        "kind": rng.randrange(1, 8),
        "ahead": rng.choice((-3600, -30, -8, -2, 2, 8, 30, 3600, 46_800)),
    }
    names = tuple(inspect.signature(getattr(Events, what)).parameters)[1:]
    return tuple(drawn[name] for name in names)


def apply(cluster: SimulatedCluster, action: Action) -> None:
    cluster.note(f"{action.what} {action.args}")
    if action.what not in {"count", "command"}:
        cluster.changed_at = cluster.now()
    getattr(Events(cluster), action.what)(*action.args)
