"""Are the instants that the server's doors tell those of the gateway's clock?"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.domain.errors import GatewayError
from gateway.domain.model import SessionId
from tests.doubles.clock import ManualClock
from tests.upstream.scripted_server import CREDENTIALS, LOGGED_ON, SECRET, Scene, scene

NOW_MS = ManualClock().wall_ms()


@pytest.fixture
async def at() -> AsyncIterator[Scene]:
    async with scene() as made:
        yield made


async def instants(at: Scene, told_ms: int) -> set[object]:
    """Return every instant that the doors tell, when the server means *told_ms* in its own clock."""
    listed = {"ID": "p", "Application": "Dashboard", "Since": told_ms, "Attached": True}
    handling = {"Routing": "AfterContact", "RoutedUntil": told_ms}
    at.server.answers |= {
        "POST sessions": (201, LOGGED_ON | {"ExpiresAt": told_ms}),
        "GET sessions": (200, {"Sessions": [listed]}),
        "POST sessions/current/keepalive": (200, {"ExpiresAt": told_ms}),
        "DELETE sessions/current": (200, handling),
        "DELETE sessions/x": (200, handling),
    }
    logged_on = await at.adapter.log_on(CREDENTIALS)
    at.server.answers["POST sessions"] = (
        409,
        {"Error": "AlreadyLoggedOn", "Where": "Desk", "Since": told_ms},
    )
    with pytest.raises(GatewayError) as elsewhere:
        await at.adapter.log_on(CREDENTIALS)
    (session,) = await at.adapter.sessions(SECRET)
    return {
        logged_on.expires_at_ms,
        elsewhere.value.details["since_ms"],
        session.since_ms,
        await at.adapter.keep_alive(SECRET),
        (await at.adapter.log_off(SECRET)).routed_until_ms,
        (await at.adapter.end(SECRET, SessionId("x"))).routed_until_ms,
    }


@pytest.mark.parametrize("skew_ms", [0, 1_000, -1_000, 120_000, -3_600_000])
async def test_instants_are_told_in_the_gateways_time(at: Scene, skew_ms: int) -> None:
    at.server.skew_ms = skew_ms
    (seen,) = await instants(at, NOW_MS + skew_ms)
    assert isinstance(seen, int)
    assert abs(seen - NOW_MS) <= (1_000 if abs(skew_ms) <= 1_000 else 500)


@pytest.mark.parametrize("date", ["", "yesterday"])
async def test_a_server_that_does_not_say_what_time_it_is_is_taken_at_its_word(at: Scene, date: str) -> None:
    at.server.skew_ms = 120_000
    at.server.headers["Date"] = date
    assert await instants(at, NOW_MS + 120_000) == {NOW_MS + 120_000}
