"""Notices before the log-on and in sessions, until they are acknowledged."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.domain.commands import AcknowledgeNotice, Outcome, Status
from gateway.domain.errors import CloseCode, ErrorCode, GatewayError, SessionRefused
from gateway.edge.policies import NOTICES_MAX, NoticeBroadcast, NoticesInForce, NoticeText, OperatorNotice
from gateway.protocol import frames
from gateway.protocol.codec import JSON, MSGPACK, Codec
from tests.doubles.clock import ManualClock
from tests.edge.bad_requests import LOG_ON
from tests.edge.conftest import Open
from tests.edge.visits import HELLO, SETTINGS, Gateway, Phone, ticket_of

START_MS = ManualClock().wall_ms()
TEXTS = {"en": NoticeText("Read", "this"), "de": NoticeText("Lies", "das")}
UPKEEP = OperatorNotice("upkeep", 1, "maintenance", START_MS, False, TEXTS)
PRIVACY = OperatorNotice("privacy", 3, "privacy", START_MS + 60_000, True, TEXTS)
"""Must be acknowledged, a minute from the start on."""
CODECS = pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=lambda codec: codec.name)


@pytest.fixture
async def gateway(gateway_with: Open) -> Gateway:
    return await gateway_with(notices=NoticesInForce([UPKEEP, PRIVACY]))


async def entered(
    gateway: Gateway, token: str | None = None, language: str = "", codec: Codec = JSON
) -> Phone:
    """Say hello with a language; what comes of it ends with a ping."""
    headers = {"Accept-Language": language} if language else {}
    return await gateway.hello(token or gateway.token(), codec, headers)


async def acknowledge(gateway: Gateway, phone: Phone, notice: OperatorNotice, number: int = 1) -> list[Any]:
    """Acknowledge a notice; returns what is received up to the result."""
    command = AcknowledgeNotice(notice.id, notice.version)
    key = f"00000000-0000-4000-8000-{number:012}"
    expires_at_ms = gateway.clock.wall_ms() + 5_000
    await phone.say(frames.CommandFrame(f"c{number}", key, "1.x", expires_at_ms, command))
    return await phone.hear_all("result")


def names(received: list[Any]) -> list[str]:
    """Return kinds of frames, of notices their ids."""
    return [frame.id if frame.kind == "notice" else frame.kind for frame in received]


# ---- before the log-on ----


async def test_future_notices_and_the_statement_are_shown_while_the_server_is_down(
    gateway_with: Open,
) -> None:
    settings = replace(SETTINGS, privacy_statement_url="https://example.org/privacy")
    gateway = await gateway_with(settings, NoticesInForce([UPKEEP, PRIVACY]))
    gateway.node.error = GatewayError(ErrorCode.UPSTREAM_UNAVAILABLE, "down", retry_after_s=5)
    gateway.node.refusal = SessionRefused(CloseCode.INTERNAL, "upstream_unavailable")
    assert (await gateway.client.post("/v1/sessions", json=LOG_ON)).status == 503
    about = await (await gateway.client.get("/v1/about")).json()
    shown = await (await gateway.client.get("/v1/notices", headers={"Accept-Language": "de"})).json()
    assert about["privacy"]["statement_url"] == "https://example.org/privacy"
    assert [(each["id"], each["title"], each["effective_at_ms"]) for each in shown["notices"]] == [
        ("upkeep", "Lies", UPKEEP.effective_at_ms),
        ("privacy", "Lies", PRIVACY.effective_at_ms),
    ]


async def test_a_log_on_depends_on_a_notice_from_its_instant_on(gateway: Gateway) -> None:
    assert (await gateway.client.post("/v1/sessions", json=LOG_ON)).status == 201
    gateway.clock.jump_wall(59_999)
    assert (await gateway.client.post("/v1/sessions", json=LOG_ON)).status == 201
    gateway.clock.jump_wall(1)
    refused = await gateway.client.post("/v1/sessions", json=LOG_ON)
    problem = await refused.json()
    assert (refused.status, problem["code"]) == (409, "notice_must_be_acknowledged")
    assert [(each["id"], each["version"]) for each in problem["notices"]] == [("privacy", 3)]


async def test_what_was_accepted_at_the_log_on_is_not_shown_in_its_session(gateway: Gateway) -> None:
    accepted = [{"id": "privacy", "version": 3}]
    created = await gateway.client.post("/v1/sessions", json=LOG_ON | {"accepted_notices": accepted})
    phone = await entered(gateway, (await created.json())["token"])
    assert names(await phone.hear_all("ping")) == ["welcome", "changes", "upkeep", "ping"]
    gateway.clock.jump_wall(60_000)
    await NoticeBroadcast(gateway.parts.notices, gateway.parts.phones, gateway.clock).send()
    assert names(await acknowledge(gateway, phone, UPKEEP)) == ["renewed", "result"], "nothing was due"


# ---- in a session ----


@pytest.mark.parametrize(
    ("codec", "language", "title"),
    [(JSON, "", "Read"), (JSON, "de-AT, en;q=0.5", "Lies"), (MSGPACK, "fr", "Read")],
)
async def test_notices_follow_the_first_state_in_the_phones_language(
    gateway: Gateway, codec: Codec, language: str, title: str
) -> None:
    phone = await entered(gateway, language=language, codec=codec)
    received = await phone.hear_all("ping")
    assert names(received) == ["welcome", "changes", "privacy", "upkeep", "ping"]
    assert received[2] == frames.NoticeFrame(
        "privacy", 3, "privacy", title, TEXTS["de" if title == "Lies" else "en"].summary, None,
        PRIVACY.effective_at_ms, True,
    )  # fmt: skip


async def test_notices_come_before_a_token_that_is_fresh(gateway: Gateway) -> None:
    gateway.node.expires_at_ms = gateway.clock.wall_ms() + 9_999_000
    phone = await entered(gateway)
    received = names(await phone.hear_all("ping"))
    assert received == ["welcome", "changes", "privacy", "upkeep", "renewed", "ping"]


async def test_as_many_notices_as_there_may_be_reach_a_phone(gateway_with: Open) -> None:
    all_ids = [f"n{number}" for number in range(NOTICES_MAX)]
    gateway = await gateway_with(notices=NoticesInForce(replace(UPKEEP, id=each) for each in all_ids))
    phone = await entered(gateway)
    assert names(await phone.hear_all("ping")) == ["welcome", "changes", *all_ids, "ping"]


async def test_what_is_new_or_changed_reaches_every_phone_that_is_served(gateway: Gateway) -> None:
    broadcast = NoticeBroadcast(gateway.parts.notices, gateway.parts.phones, gateway.clock)
    await broadcast.send()
    served = [await entered(gateway, language=language) for language in ("en", "de")]
    for phone in served:
        await phone.hear_all("ping")
    waiting = await gateway.connect()
    await gateway.clock.settle()
    more = replace(UPKEEP, id="more")
    gateway.parts.notices.replace(NoticesInForce([more, UPKEEP, replace(PRIVACY, version=4)]))
    await broadcast.send()
    for phone, title in zip(served, ("Read", "Lies"), strict=True):
        received = await phone.hear_all("notice") + await phone.hear_all("notice")
        assert [(each.id, each.version, each.title) for each in received] == [
            ("privacy", 4, title),
            ("more", 1, title),
        ]
    await waiting.say(frames.Hello(HELLO.client, gateway.token(ticket_of(gateway.clock, session="public-2"))))
    assert names(await waiting.hear_all("ping"))[2:-1] == ["privacy", "more", "upkeep"]


async def test_what_comes_to_bind_is_shown_again_to_who_has_not_acknowledged_it(gateway: Gateway) -> None:
    broadcast = NoticeBroadcast(gateway.parts.notices, gateway.parts.phones, gateway.clock)
    await broadcast.send()
    late, early = await entered(gateway), await entered(gateway)
    for phone in (late, early):
        await phone.hear_all("ping")
    await acknowledge(gateway, early, PRIVACY)
    gateway.clock.jump_wall(60_000)
    await broadcast.send()
    again = await late.hear_one(frames.NoticeFrame)
    assert (again.id, again.version) == ("privacy", 3)
    for phone in (late, early):
        assert names(await acknowledge(gateway, phone, UPKEEP, 2)) == ["renewed", "result"]


# ---- acknowledging ----


@CODECS
async def test_an_acknowledgement_is_in_a_token_before_its_result(gateway: Gateway, codec: Codec) -> None:
    phone = await entered(gateway, codec=codec)
    welcome = (await phone.hear_all("ping"))[0]
    tokens = []
    for number in (1, 2):
        renewed, result = await acknowledge(gateway, phone, PRIVACY, number)
        assert (renewed.kind, result.outcome) == ("renewed", frames.OutcomeView("applied"))
        assert renewed.expires_at_ms == welcome.session.expires_at_ms
        assert gateway.ticket_in(renewed.token) == replace(
            ticket_of(gateway.clock), notices=(("privacy", 3),)
        )
        tokens.append(renewed.token)
    again = await entered(gateway, tokens[-1])
    assert names(await again.hear_all("ping")) == ["welcome", "changes", "upkeep", "ping"]


async def test_what_was_acknowledged_stays_in_the_token_when_its_life_moves(gateway: Gateway) -> None:
    phone = await entered(gateway)
    await phone.hear_all("ping")
    await acknowledge(gateway, phone, PRIVACY)
    gateway.node.expires_at_ms = gateway.clock.wall_ms() + 9_999_000
    gateway.node.connections[0].facts_changed(gateway.node.facts(ticket_of(gateway.clock)))
    (renewed,) = await phone.hear_all("renewed")
    assert gateway.ticket_in(renewed.token) == replace(
        ticket_of(gateway.clock), notices=(("privacy", 3),), expires_at_ms=renewed.expires_at_ms
    )


@pytest.mark.parametrize("unknown", [replace(PRIVACY, version=2), replace(PRIVACY, id="other")])
async def test_what_is_not_there_cannot_be_acknowledged(gateway: Gateway, unknown: OperatorNotice) -> None:
    phone = await entered(gateway)
    await phone.hear_all("ping")
    (result,) = await acknowledge(gateway, phone, unknown)
    assert (result.outcome.status, result.outcome.error["code"]) == ("rejected", "not_found")
    assert gateway.node.calls == []


@pytest.mark.parametrize("status", [Status.REJECTED, Status.UNKNOWN])
async def test_what_was_not_applied_changes_no_token(gateway: Gateway, status: Status) -> None:
    phone = await entered(gateway)
    await phone.hear_all("ping")
    gateway.node.outcome = Outcome(status, GatewayError(ErrorCode.KEY_REUSED, "Used."))
    (result,) = await acknowledge(gateway, phone, PRIVACY)
    assert result.outcome.status == status.value


async def test_acknowledgements_add_up_in_the_versions_in_force(gateway: Gateway) -> None:
    ticket = replace(ticket_of(gateway.clock), notices=(("privacy", 3), ("gone", 1)))
    phone = await entered(gateway, gateway.token(ticket))
    await phone.hear_all("ping")
    renewed, _ = await acknowledge(gateway, phone, UPKEEP)
    assert gateway.ticket_in(renewed.token) == replace(ticket, notices=(("upkeep", 1), ("privacy", 3)))


async def test_a_changed_version_must_be_acknowledged_again(gateway: Gateway) -> None:
    phone = await entered(gateway)
    await phone.hear_all("ping")
    await acknowledge(gateway, phone, PRIVACY)
    newer = replace(PRIVACY, version=4)
    gateway.parts.notices.replace(NoticesInForce([newer]))
    await NoticeBroadcast(gateway.parts.notices, gateway.parts.phones, gateway.clock).send()
    received = await phone.hear_one(frames.NoticeFrame)
    assert received.version == 4
    renewed, _ = await acknowledge(gateway, phone, newer, 2)
    assert gateway.ticket_in(renewed.token) == replace(ticket_of(gateway.clock), notices=(("privacy", 4),))
