"""Socket: serves phones with a valid token, and renews it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.domain.errors import CloseCode, EndReason, SessionRefused
from gateway.domain.model import Application
from gateway.edge.credentials import Tokens
from gateway.protocol import frames
from tests.edge.visits import KEYS, Gateway, bearer, nonces, ticket_of


@pytest.mark.parametrize("token", ["nonsense", None])
async def test_a_token_that_does_not_open_is_4001(gateway: Gateway, token: str | None) -> None:
    phone = await gateway.hello(token)
    bye, code = await phone.end()
    assert (code, bye and bye.reason, bye and bye.reconnect) == (4001, "token_invalid", "never")
    assert gateway.node.connections == []


async def test_the_token_in_the_header_is_enough(gateway: Gateway) -> None:
    phone = await gateway.hello(None, headers=bearer(gateway.token()))
    assert isinstance(await phone.hear(), frames.Welcome)


async def test_two_tokens_of_one_session_are_fine(gateway: Gateway) -> None:
    phone = await gateway.hello(gateway.token(), headers=bearer(gateway.token()))
    assert isinstance(await phone.hear(), frames.Welcome)


@pytest.mark.parametrize("other", [{"session": "public-9"}, {"key": 8}])
async def test_two_tokens_of_different_sessions_are_4001(gateway: Gateway, other: dict[str, object]) -> None:
    shown = gateway.token(ticket_of(gateway.clock, **other))  # type: ignore[arg-type]  # the parameters above
    phone = await gateway.hello(gateway.token(), headers=bearer(shown))
    assert (await phone.end())[1] == 4001


@pytest.mark.parametrize("application", list(Application))
async def test_whether_an_expired_token_is_the_end_of_its_session_says_the_server(
    gateway: Gateway, application: Application
) -> None:
    token = gateway.token(ticket_of(gateway.clock, application=application, expires_in_ms=1_000))
    gateway.clock.jump_wall(13 * 3_600_000)
    phone = await gateway.hello(token)
    await phone.hear_all("welcome", "changes", "ping")
    gateway.node.refusal = SessionRefused(CloseCode.SESSION_ENDED, "expired", window_s=(0, 30))
    phone = await gateway.hello(token)
    assert (await phone.end())[1] == 4300


async def test_a_token_expired_for_long_is_4001(gateway: Gateway) -> None:
    token = gateway.token(ticket_of(gateway.clock, expires_in_ms=1_000))
    gateway.clock.jump_wall(25 * 3_600_000)
    phone = await gateway.hello(token)
    assert (await phone.end())[1] == 4001


async def test_a_denied_session_is_closed_as_it_ended(gateway: Gateway) -> None:
    gateway.node.denials["public-1"] = SessionRefused(
        CloseCode.LOGGED_OFF, EndReason.LOGGED_OFF_BY_SUPERVISOR, by="Eve"
    )
    phone = await gateway.hello(gateway.token())
    bye, code = await phone.end()
    assert (code, bye and bye.reason, bye and bye.by) == (4005, "logged_off_by_supervisor", "Eve")


async def test_a_refused_attach_closes_with_its_code_and_window(gateway: Gateway) -> None:
    gateway.node.refusal = SessionRefused(CloseCode.SESSION_ENDED, "expired", window_s=(0, 30))
    phone = await gateway.hello(gateway.token())
    bye, code = await phone.end()
    assert bye is not None
    assert (code, bye.reconnect, bye.min_s, bye.max_s) == (4300, "log_on", 0, 30)


# ---- renewal ----


async def test_a_moved_end_of_life_renews_the_token(gateway: Gateway) -> None:
    phone = await gateway.served()
    gateway.node.expires_at_ms = gateway.clock.wall_ms() + 9_999_000
    gateway.node.connections[0].learned(gateway.node.facts(ticket_of(gateway.clock)))
    renewed = await phone.hear()
    assert isinstance(renewed, frames.Renewed)
    assert renewed.expires_at_ms == gateway.node.expires_at_ms
    opened = gateway.tokens.open(renewed.token, gateway.clock.wall_ms())
    assert getattr(opened, "ticket", None) == replace(
        ticket_of(gateway.clock), expires_at_ms=renewed.expires_at_ms
    )
    gateway.node.connections[0].learned(gateway.node.facts(ticket_of(gateway.clock)))
    gateway.node.wait_for(2)
    await gateway.clock.advance(1)
    assert isinstance(await phone.hear(), frames.Changes), "the same facts renew nothing"


async def test_a_life_that_moved_before_the_welcome_renews_after_it(gateway: Gateway) -> None:
    gateway.node.expires_at_ms = gateway.clock.wall_ms() + 9_999_000
    phone = await gateway.hello(gateway.token())
    received = await phone.hear_all("welcome", "renewed")
    assert received[0].session.expires_at_ms == received[-1].expires_at_ms


async def test_a_token_of_an_old_key_is_renewed(gateway: Gateway) -> None:
    old = Tokens(KEYS[1:], ("main",), nonces()).seal(ticket_of(gateway.clock))
    phone = await gateway.hello(old)
    renewed = (await phone.hear_all("welcome", "renewed"))[-1]
    opened = gateway.tokens.open(renewed.token, gateway.clock.wall_ms())
    assert getattr(opened, "stale", None) is False
