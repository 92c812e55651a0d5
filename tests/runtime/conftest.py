"""Where a test takes place: the fixture ``at`` is what the test annotates it with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from tests.doubles.kept import kept
from tests.runtime.nodes import open_nodes
from tests.runtime.pair import pair
from tests.runtime.rivals import Gates
from tests.runtime.scene import Scene, scene

PLACES: Final = {"Pair": pair, "Scene": scene, "Nodes": open_nodes}
"""What all modules know; a module may have ``PLACES`` of its own."""


@pytest.fixture
async def at(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """Run a place with its defaults."""
    places = PLACES | getattr(request.module, "PLACES", {})
    async with kept(places[request.function.__annotations__["at"]]()) as place:
        yield place


@pytest.fixture
def gates(at: Scene, monkeypatch: pytest.MonkeyPatch) -> Gates:
    """Let a test hold what the node and its OSCC-E Server say to each other."""
    return Gates(at, monkeypatch)
