"""Schedules of simulations: the events and their times.

A schedule is a list of plain values, so that it can be printed, shortened and pinned.
"""

from __future__ import annotations

import inspect
from dataclasses import replace
from random import Random
from typing import Final, NamedTuple

from tests.simulation.happenings import Happenings
from tests.simulation.sorts import EVERYDAY, UNMOVED
from tests.simulation.world import Setup, World


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
    dice = Random(seed)
    setup = _setup(seed, dice)
    everyday, faults = _sorts(dice)
    actions = []
    for _ in range(dice.randrange(6, 18)):
        what = dice.choice(faults) if dice.random() < 0.4 else dice.choice(everyday)
        actions.append(Action(dice.choice(_PAUSES), what, _args(what, dice)))
    return setup, tuple(actions)


def generate_aimed(seed: int) -> tuple[Setup, tuple[Action, ...]]:
    """Return a schedule of phones that are lost just after their command, while their user moves."""
    dice = Random(seed)
    setup = _setup(seed, dice)
    faults = dice.sample(_AIMED_AT_COMMANDS, dice.choice((1, 2, 2, 3)))
    actions = []
    for _ in range(dice.randrange(3, 9)):
        if dice.random() < 0.8:
            what = dice.choice(faults)
            actions.append(Action(dice.choice(_PAUSES), what, _args(what, dice)))
        for _ in range(dice.choice((1, 2, 3))):
            which, state = dice.randrange(12), dice.randrange(2)
            actions.append(Action(dice.choice(_SOON), "command", (which, state)))
            actions.append(Action(dice.choice(_AT_ONCE), "vanish", (which,)))
    return setup, tuple(actions)


def generate_refused(seed: int) -> tuple[Setup, tuple[Action, ...]]:
    """Return a schedule of a Redis that carries messages and refuses writes, alone or with other faults."""
    dice = Random(seed)
    setup = _setup(seed, dice)
    others = dice.sample(_BESIDE_REFUSALS, dice.choice((0, 0, 1, 2, 3)))
    actions = []
    for _ in range(dice.randrange(4, 14)):
        what = dice.choice(("refuse", *others)) if dice.random() < 0.5 else dice.choice(EVERYDAY)
        actions.append(Action(dice.choice(_PAUSES), what, _args(what, dice)))
    if dice.random() < 0.5:  # an owner ends, and no node can be granted its lease
        actions += [Action(0.3, "refuse", (600,)), Action(0.05, "kill", (dice.randrange(12), 120, 1))]
        actions += [Action(7.0, "count")] * 4
    return setup, tuple(actions)


def generate_stalled(seed: int) -> tuple[Setup, tuple[Action, ...]]:
    """Return a schedule of stopped nodes and of clocks that are set, alone or with other faults."""
    dice = Random(seed)
    setup = replace(_setup(seed, dice), skewed=dice.random() < 0.7)
    faults = [*dice.choice((("pause",), ("set_clock",), ("pause", "set_clock")))]
    faults += dice.sample(_BESIDE_STALLS, dice.choice((0, 0, 1, 2)))
    actions = []
    for _ in range(dice.randrange(4, 16)):
        what = dice.choice(faults) if dice.random() < 0.5 else dice.choice(EVERYDAY)
        actions.append(Action(dice.choice(_PAUSES), what, _args(what, dice)))
    return setup, tuple(actions)


def generate_orphaned(seed: int) -> tuple[Setup, tuple[Action, ...]]:
    """Return a schedule of nodes that are killed while their phones leave, some for good."""
    dice = Random(seed)
    setup = replace(_setup(seed, dice), patient=dice.random() < 0.5)
    actions = []
    for _ in range(dice.randrange(1, 4)):
        kill = Action(dice.choice(_PAUSES), "kill", _args("kill", dice))
        left = [dice.choice(("abandon", "vanish", "leave", "count")) for _ in range(dice.randrange(4))]
        beside = [Action(dice.choice(_AT_ONCE), what, _args(what, dice)) for what in left]
        at = dice.randrange(len(beside) + 1)
        actions += [*beside[:at], kill, *beside[at:]]
    return setup, tuple(actions)


def generate_hurried(seed: int) -> tuple[Setup, tuple[Action, ...]]:
    """Return a schedule of many commands of each phone while its user moves."""
    dice = Random(seed)
    setup = _setup(seed, dice)
    faults = ("drain", *dice.sample(_AIMED_AT_COMMANDS, dice.choice((0, 0, 1))))
    actions = []
    for _ in range(dice.randrange(2, 6)):
        what = dice.choice(faults)
        actions.append(Action(dice.choice(_PAUSES), what, _args(what, dice)))
        which, pauses = dice.randrange(12), [dice.choice(_HURRIED) for _ in range(dice.randrange(4, 30))]
        actions += [Action(pause, "command", (which, number)) for number, pause in enumerate(pauses)]
    return setup, tuple(actions)


def _setup(seed: int, dice: Random) -> Setup:
    supervisors = dice.choice((1, 1, 1, 1, 2, 2, 6))
    return Setup(
        seed,
        nodes=dice.choice((2, 2, 3, 3, 4)),
        supervisors=supervisors,
        devices=dice.choice((1, 2, 2, 3) if supervisors < 6 else (1, 1, 2)),
        assistant=dice.random() < 0.2,
        fences=dice.random() < 0.85,
        patient=dice.random() < 0.1,
        skewed=dice.random() < 0.3,
        jostled=bool(seed % 2),
    )


def _sorts(dice: Random) -> tuple[tuple[str, ...], list[str]]:
    """Return the sorts of events in this run: the usual ones, and others."""
    sort = dice.random()
    if sort < 0.12:
        everyday = ("count", "command")
        return everyday, dice.sample(sorted(UNMOVED - set(everyday)), dice.choice((1, 1, 2)))
    if sort < 0.25:
        return EVERYDAY, ["drain", "leave", "roam"]
    if sort < 0.4:
        return ("command", "command", "roam", "vanish", "leave"), dice.sample(_FAULTS, 2)
    return EVERYDAY, dice.sample(_FAULTS, dice.choice((1, 1, 2, 2, 3, 5)))


def _args(what: str, dice: Random) -> tuple[int, ...]:
    drawn = {
        "which": dice.randrange(12),
        "tenths": dice.choice(_LENGTHS),
        "state": dice.randrange(2),
        "silently": dice.randrange(2),
        "seconds": dice.choice((-300, -8, 8, 30)),
        "mask": dice.randrange(1, 15),
        "kind": dice.randrange(1, 8),
        "ahead": dice.choice((-3600, -30, -8, -2, 2, 8, 30, 3600, 46_800)),
    }
    names = tuple(inspect.signature(getattr(Happenings, what)).parameters)[1:]
    return tuple(drawn[name] for name in names)


def apply(world: World, action: Action) -> None:
    world.note(f"{action.what} {action.args}")
    if action.what not in {"count", "command"}:
        world.changed_at = world.now()
    getattr(Happenings(world), action.what)(*action.args)
