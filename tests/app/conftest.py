"""Restore what tests of the composition root change in the process."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.app.watching import SITE, Board, about
from tests.doubles.scripted_gateway import ScriptedGateway, created


@pytest.fixture
def own_logging() -> Iterator[None]:
    """Logging may be configured; afterwards it is as before."""
    root = logging.getLogger()
    handlers, level, raising = list(root.handlers), root.level, logging.raiseExceptions
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.raiseExceptions = raising
    logging.captureWarnings(capture=False)
    logging.getLogger("aiohttp.access").disabled = False


@pytest.fixture
async def gateway() -> AsyncIterator[ScriptedGateway]:
    """A scripted gateway with one site that lets everybody on and off."""
    async with ScriptedGateway() as gateway:
        about(gateway, SITE)
        gateway.answer("POST", "/v1/sessions", 201, created())
        gateway.answer("DELETE", "/v1/session", 204)
        yield gateway


@pytest.fixture
def board(gateway: ScriptedGateway) -> Board:
    """A board before it."""
    return Board(gateway)
