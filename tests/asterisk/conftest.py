"""Fixtures of an Asterisk with the adapter before it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.upstream.asterisk.people import number_of
from tests.asterisk.site import Ear, Place, place
from tests.doubles.kept import kept


@pytest.fixture
async def at() -> AsyncIterator[Place]:
    async with kept(place()) as made:
        yield made


@pytest.fixture
async def ear(at: Place) -> AsyncIterator[Ear]:
    """A supervisor's link that has shown the agent at the desk."""
    async with kept(at.linked(await at.boss())) as made:
        await made.until(lambda: made.agent(number_of("person", "cem")))
        yield made
