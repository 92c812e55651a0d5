"""Schedules that have broken a law before: ``pinned.json``.

A seed found each of them, and it was shortened. ``fault`` says what was wrong.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.simulation.cluster import Setup
from tests.simulation.schedule import Action


class Pinned(NamedTuple):
    """A schedule that must break no law."""

    name: str
    setup: Setup
    actions: tuple[Action, ...]


def _pinned(given: dict[str, Any]) -> Pinned:
    schedule = (Action(after, what, tuple(*args)) for after, what, *args in given["actions"])
    return Pinned(given["name"], Setup(**given["setup"]), tuple(schedule))


PINNED: Final = tuple(
    _pinned(each) for each in json.loads(Path(__file__).with_name("pinned.json").read_text("utf-8"))
)
