"""Which schedules have broken a law before?

Each was found by a seed, and shortened. What was wrong stands beside it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from tests.simulation.schedule import Action
from tests.simulation.world import Setup


class Pinned(NamedTuple):
    """A schedule that must break nothing any more."""

    name: str
    setup: Setup
    actions: tuple[Action, ...]


PINNED: Final[tuple[Pinned, ...]] = ()
