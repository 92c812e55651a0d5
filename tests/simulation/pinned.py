"""Schedules that have broken a law before.

A seed found each of them, and it was shortened. A comment has the fault.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from tests.simulation.schedule import Action
from tests.simulation.world import Setup


class Pinned(NamedTuple):
    """A schedule that must break no law."""

    name: str
    setup: Setup
    actions: tuple[Action, ...]


PINNED: Final = (
    # The owner's node was connected again a second after the follower's: its inbox was empty twice, the
    # follower's own bus had not missed a probe, so that the owner counted as deaf and lost his link.
    Pinned(
        "nobody is deaf who renews his connection a little later",
        Setup(seed=1406, nodes=2, supervisors=2, devices=3),
        (
            Action(1.0, "command", (3, 0)),
            Action(1.0, "count"),
            Action(0.05, "command", (10, 1)),
            Action(0.0, "command", (1, 0)),
            Action(2.0, "redis_down", (3,)),
        ),
    ),
    # "He is gone" got no answer within 5 s and was taken for unsaid; it arrived after he had come back.
    Pinned(
        "who came back before it was heard that he left is present",
        Setup(seed=2055, nodes=2, supervisors=1, devices=2),
        (Action(0.3, "site", (4, 4, 120)), Action(0.003, "drain", (11, 60)), Action(7.0, "site", (2, 6, 30))),
    ),
    # Without fencing the lower token won: its follower's replica was ahead, and dropped all it was told.
    Pinned(
        "a replica of a higher epoch does not keep a follower from his owner",
        Setup(seed=1084, nodes=2, supervisors=2, devices=3, fences=False),
        (
            Action(0.05, "freeze", (120,)),
            Action(4.0, "leave", (8, 3)),
            Action(1.0, "vanish", (5,)),
            Action(7.0, "count"),
            Action(2.0, "roam", (8,)),
            Action(4.0, "haunt", (7, 3)),
            Action(1.0, "count"),
        ),
    ),
    # A command was executed, its phone gone; asked again after its deadline it was called rejected.
    Pinned(
        "what was executed is not called rejected when it is sent again too late",
        Setup(seed=428, nodes=3, supervisors=1, devices=3, assistant=True),
        (
            Action(2.0, "leave", (9, 10)),
            Action(0.0, "command", (10, 1)),
            Action(0.0, "leave", (10, 30)),
            Action(7.0, "leave", (7, 3)),
            Action(0.0, "drain", (10, 60)),
            Action(7.0, "drain", (8, 10)),
        ),
    ),
    # A node that was kicked while its own Redis still knew nothing of it served a phone that had seen more.
    Pinned(
        "nobody is served from an epoch that another has overtaken",
        Setup(seed=4486, nodes=3, supervisors=2, devices=3),
        (
            Action(0.05, "split", (1, 60)),
            Action(0.0, "vanish", (9,)),
            Action(0.003, "centre_down", (30,)),
            Action(0.3, "leave", (8, 60)),
            Action(7.0, "centre_down", (10,)),
            Action(0.0, "vanish", (1,)),
            Action(7.0, "vanish", (1,)),
        ),
    ),
    # A phone was lost right behind its command. What was held for the next owner was executed by it as if it
    # had just been sent, while the phone's second sending was executed by the old one, or by a third.
    Pinned(
        "a command that waited for its owner is not executed beside the one that was sent again",
        Setup(seed=248, nodes=3, supervisors=2, devices=2),
        (
            Action(0.3, "drain", (10, 60)),
            Action(2.0, "command", (9, 0)),
            Action(0.003, "vanish", (9,)),
            Action(1.0, "command", (8, 0)),
            Action(2.0, "cut_bus", (6, 3)),
            Action(0.3, "command", (10, 0)),
            Action(0.0, "vanish", (10,)),
            Action(0.3, "command", (11, 1)),
            Action(0.05, "command", (1, 0)),
            Action(0.003, "command", (0, 0)),
            Action(0.3, "command", (1, 0)),
        ),
    ),
    Pinned(
        "a command that was held by a node cut off is not executed by the owner after the next",
        Setup(seed=671, nodes=4, supervisors=1, devices=3, patient=True),
        (
            Action(4.0, "cut_bus", (10, 60)),
            Action(0.003, "vanish", (7,)),
            Action(2.0, "command", (0, 1)),
            Action(0.3, "vanish", (0,)),
            Action(1.0, "command", (7, 1)),
            Action(0.05, "vanish", (7,)),
            Action(0.003, "command", (11, 0)),
            Action(0.3, "vanish", (11,)),
            Action(0.3, "vanish", (10,)),
            Action(7.0, "cut_bus", (6, 30)),
            Action(0.3, "command", (6, 0)),
            Action(0.05, "vanish", (6,)),
        ),
    ),
    # An owner accepted a session in a new epoch; the follower, which had heard nothing of that while its bus
    # was away, served the session at once from its replica of the epoch before.
    Pinned(
        "who is accepted in a later epoch is not served from a replica of an earlier one",
        Setup(seed=15, nodes=3, supervisors=1, devices=1),
        (
            Action(0.3, "vanish", (1,)),
            Action(1.0, "command", (0, 1)),
            Action(0.3, "vanish", (0,)),
            Action(1.0, "command", (9, 0)),
            Action(0.0, "vanish", (9,)),
            Action(0.0, "cut_bus", (1, 120)),
            Action(0.003, "command", (6, 1)),
            Action(0.003, "vanish", (6,)),
            Action(2.0, "command", (3, 1)),
            Action(0.003, "vanish", (3,)),
            Action(7.0, "cut_bus", (8, 120)),
            Action(2.0, "command", (3, 0)),
            Action(1.0, "command", (7, 0)),
            Action(0.05, "vanish", (7,)),
            Action(0.0, "vanish", (11,)),
            Action(4.0, "cut_bus", (7, 30)),
            Action(1.0, "command", (6, 0)),
            Action(0.05, "vanish", (6,)),
            Action(4.0, "cut_bus", (3, 10)),
            Action(0.0, "vanish", (8,)),
            Action(0.3, "vanish", (7,)),
            Action(0.003, "vanish", (4,)),
        ),
    ),
    # An age was kept as an instant of the wall clock: it changed when somebody set that clock.
    Pinned(
        "a wall clock that is set makes no data newer than now",
        Setup(seed=137, nodes=2, supervisors=1, devices=3, skewed=True),
        (Action(0.003, "set_clock", (9, -30)), Action(2.0, "drop_link", (2,))),
    ),
    # A node whose clock is behind took the deadline for too far ahead, and called rejected what was executed.
    Pinned(
        "a command that comes again is not refused for the clock of another node",
        Setup(seed=52, nodes=3, supervisors=1, devices=3, patient=True, skewed=True),
        (
            Action(0.05, "vanish", (1,)),
            Action(2.0, "command", (1, 1)),
            Action(0.003, "vanish", (1,)),
            Action(2.0, "kill", (8, 120, 1)),
            Action(0.3, "vanish", (3,)),
            Action(0.0, "vanish", (8,)),
            Action(4.0, "kill", (9, 10, 1)),
            Action(0.0, "vanish", (2,)),
        ),
    ),
    # Each node counted a wrong password of another one when that was answered: each let four through.
    Pinned(
        "several nodes at the same instant show no more wrong passwords than one",
        Setup(seed=1, nodes=3, supervisors=2, devices=2),
        (Action(1.0, "guess"), Action(4.0, "guess")),
    ),
)
