"""Is what comes back through the server's doors heard, also when it asks to come later?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from email.utils import formatdate

import pytest

from gateway.domain.errors import GatewayError
from gateway.domain.upstream import LinkClosed
from gateway.upstream.oscce.http import BODY_BYTES
from tests.upstream.scripted_server import CREDENTIALS, Scene, scene


@pytest.fixture
async def at() -> AsyncIterator[Scene]:
    async with scene() as made:
        yield made


async def refused(at: Scene) -> GatewayError:
    """Return why a log-on was refused."""
    with pytest.raises(GatewayError) as raised:
        await at.adapter.log_on(CREDENTIALS)
    return raised.value


async def closed(at: Scene) -> LinkClosed:
    """Return why no link was opened."""
    with pytest.raises(LinkClosed) as raised:
        await at.open()
    return raised.value


@pytest.mark.parametrize(
    ("status", "told", "code"),
    [
        (503, b"<html>", "upstream_unavailable"),
        (503, {"Error": "FunctionUnavailable"}, "function_unavailable"),
        (429, b"", "busy"),
    ],
)
async def test_a_server_that_asks_to_wait_is_heard(at: Scene, status: int, told: object, code: str) -> None:
    await at.adapter.about()
    at.server.answers |= {"POST sessions": (status, told), "GET link": (status, told)}
    at.server.headers["Retry-After"] = "33"
    error = await refused(at)
    assert (error.code, error.retry_after_s) == (code, 33.0)
    why = await closed(at)
    assert (why.reason, why.retry_after_s) == ("unavailable", 33.0)


async def test_a_date_to_wait_for_is_told_in_the_servers_time(at: Scene) -> None:
    await at.adapter.about()
    at.server.skew_ms = 3_600_000
    until_s = (at.clock.wall_ms() + at.server.skew_ms) / 1000 + 42
    at.server.answers |= {"POST sessions": (429, b""), "GET link": (503, b"")}
    at.server.headers["Retry-After"] = formatdate(until_s, usegmt=True)
    waits_s = [
        (await refused(at)).retry_after_s,
        (await closed(at)).retry_after_s,
    ]
    assert [wait_s is not None and 41 <= wait_s <= 43 for wait_s in waits_s] == [True, True]


async def test_a_server_that_does_not_even_say_who_it_is_may_ask_to_wait(at: Scene) -> None:
    at.server.answers["GET about"] = (503, b"")
    at.server.headers["Retry-After"] = "17"
    error = await refused(at)
    assert (error.code, error.retry_after_s) == ("upstream_unavailable", 17.0)
    assert (await closed(at)).retry_after_s == 17.0


async def test_an_answer_that_is_too_big_asks_for_nothing(at: Scene) -> None:
    await at.adapter.about()
    too_big = b"x" * (BODY_BYTES + 1)
    at.server.answers |= {"POST sessions": (503, too_big), "GET link": (503, too_big)}
    at.server.headers["Retry-After"] = "33"
    error = await refused(at)
    assert (error.code, error.retry_after_s) == ("upstream_unavailable", None)
    assert (await closed(at)).retry_after_s is None
