"""Client: log on, read, command and leave, whatever happens in between."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from gateway.client import (
    Connected,
    Credentials,
    Ended,
    ErrorCode,
    Event,
    GatewayClient,
    GatewayError,
    HealthChanged,
    NoticeShown,
    Reconnecting,
    Renewed,
    SetAgentRoutingState,
    Status,
    Unreachable,
)
from gateway.client.dialogue import WAITING_MAX
from gateway.protocol import frames
from gateway.protocol.bodies import problem_members
from tests.client.subject import log_on
from tests.doubles.clock import ManualClock
from tests.doubles.refusals import refused_with
from tests.doubles.scripted_gateway import Phone, ScriptedGateway, created, notice, ping
from tests.doubles.tasks import beside, during

# ---- coming and going ----


async def test_leaving_the_block_says_bye_and_it_does_not_connect_again(
    gateway: ScriptedGateway, clock: ManualClock
) -> None:
    gateway.answer("POST", "/v1/sessions", 201, created())
    async with GatewayClient(gateway.address, clock=clock) as client:
        await log_on(client, accepted_notices=[("n1", 2)])
        async with beside(client.connect()):
            phone = await gateway.phone()
            await phone.serve()
    await phone.receive(frames.ClientBye)
    await phone.left()
    assert client.ended is None
    assert (gateway.asked[0].body or {})["accepted_notices"] == [{"id": "n1", "version": 2}]
    error = await _refused(client)
    assert (error.code, error.details["reason"]) == (ErrorCode.SESSION_ENDED, "closed")


async def test_a_log_on_names_the_notices_that_were_accepted_last(
    gateway: ScriptedGateway, clock: ManualClock
) -> None:
    gateway.answer("POST", "/v1/sessions", 201, created())
    shown = [("n0", 1), *((f"n{number}", 1) for number in range(40)), ("n9", 1)]
    async with GatewayClient(gateway.address, clock=clock) as client:
        await log_on(client, accepted_notices=shown)
    named = [notice["id"] for notice in (gateway.asked[0].body or {})["accepted_notices"]]
    assert named == [*(f"n{number}" for number in range(8, 40) if number != 9), "n9"], "32 at most, each once"


async def test_nobody_connects_who_is_not_logged_on(gateway: ScriptedGateway, clock: ManualClock) -> None:
    async with GatewayClient(gateway.address, clock=clock) as client:
        with refused_with(ErrorCode.UNAUTHENTICATED):
            await client.connect()
        assert client.server_time_ms() is None


async def test_connect_raises_when_the_session_is_over(
    client: GatewayClient, gateway: ScriptedGateway
) -> None:
    async with beside(_refused(client)) as connecting:
        phone = await gateway.phone()
        await phone.receive(frames.Hello)
        await phone.bye(4005, "logged_off_by_supervisor", by="Bob")
    assert connecting.result().details == {
        "close_code": 4005,
        "reason": "logged_off_by_supervisor",
        "by": "Bob",
    }
    with pytest.raises(GatewayError):
        await client.connect()


async def _refused(client: GatewayClient) -> GatewayError:
    with pytest.raises(GatewayError) as refused:
        await client.connect()
    return refused.value


async def test_run_returns_how_it_ended(client: GatewayClient, gateway: ScriptedGateway) -> None:
    async with beside(client.run()) as running:
        phone = await gateway.phone()
        await phone.serve()
        await phone.bye(4004, "replaced")
    assert running.result() == client.ended == Ended(4004, "replaced", None)


async def test_an_error_of_the_caller_is_the_callers(gateway: ScriptedGateway, clock: ManualClock) -> None:
    gateway.answer("POST", "/v1/sessions", 201, created())

    async def block() -> None:
        async with GatewayClient(gateway.address, clock=clock) as client:
            await log_on(client)
            async with beside(client.connect()):
                await (await gateway.phone()).serve()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await block()


async def test_a_broken_listener_ends_the_block(gateway: ScriptedGateway, clock: ManualClock) -> None:
    gateway.answer("POST", "/v1/sessions", 201, created())

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    async def block() -> None:
        async with GatewayClient(gateway.address, clock=clock) as client:
            client.mirror.listen(broken)
            await log_on(client)
            async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
                tasks.create_task(client.connect())
                await (await gateway.phone()).serve(put={"site": {}})
                await client.run()
                await asyncio.Event().wait()

    with pytest.raises(BaseExceptionGroup) as raised:
        await block()
    assert raised.group_contains(ZeroDivisionError)


async def test_a_kept_session_is_taken_up(
    client: GatewayClient, gateway: ScriptedGateway, clock: ManualClock
) -> None:
    kept = client.session
    assert kept is not None
    async with GatewayClient(gateway.address, clock=clock) as other, asyncio.TaskGroup() as tasks:
        other.adopt(kept)
        tasks.create_task(other.connect())
        assert (await (await gateway.phone()).serve()).token == "token-1"


async def test_its_own_authorities_may_be_trusted(gateway: ScriptedGateway, clock: ManualClock) -> None:
    context = ssl.create_default_context()
    async with GatewayClient(gateway.address, ssl=context, clock=clock) as client:
        with pytest.raises(Unreachable):
            await client.about()


# ---- what happens ----


async def test_events_tell_what_happens(
    client: GatewayClient, peer: Phone, gateway: ScriptedGateway, clock: ManualClock
) -> None:
    events: list[Event] = []

    async def listen() -> None:
        async for event in client.events():
            events.append(event)  # noqa: PERF401 - they come one by one

    async with beside(listen()):
        await clock.settle()
        await peer.send(ping(5, 5, as_of_ms=7, upstream="stale"), notice(), frames.Renewed("fresh", 9))
        await clock.settle()
        peer.drop()
        await clock.advance(0.25)
        again = await gateway.phone()
        assert (await again.resume()).token == "fresh"
        await again.bye(4008, "account_blocked")
    assert [event for event in events if not isinstance(event, Reconnecting)] == [
        HealthChanged("stale", "live", 7),
        NoticeShown(notice()),
        Renewed(9),
        Connected(resumed=True),
        Ended(4008, "account_blocked", None),
    ]
    assert client.health == HealthChanged("stale", "live", 7)
    assert client.session is not None
    assert client.session.token == "fresh"


@pytest.mark.parametrize("stored", [True, False])
async def test_an_ended_session_asks_for_credentials(
    gateway: ScriptedGateway, clock: ManualClock, stored: bool
) -> None:
    async def credentials() -> Credentials | None:
        return Credentials("ada", "secret") if stored else None

    gateway.answer("POST", "/v1/sessions", 201, created())
    gateway.answer("POST", "/v1/sessions", 201, created("token-2", session="s2"))
    client = GatewayClient(gateway.address, credentials=credentials, clock=clock, chance=lambda: 0.5)
    async with client, asyncio.TaskGroup() as tasks:
        await log_on(client)
        client.acknowledge("n1", 2)
        running = tasks.create_task(client.run())
        phone = await gateway.phone()
        await phone.serve()
        await phone.bye(4300, "session_ended")
        await clock.advance(0.25)
        if not stored:
            assert await running == Ended(4300, "unauthenticated", None)
            return
        assert (await (await gateway.phone()).serve(stream="2.b")).token == "token-2"
        body = gateway.asked[-2].body
        assert body is not None
        assert body["accepted_notices"] == [{"id": "n1", "version": 2}]
        await client.connect()
        running.cancel()


# ---- log-off ----


async def test_log_off_needs_no_connection(client: GatewayClient, gateway: ScriptedGateway) -> None:
    over = GatewayError(ErrorCode.SESSION_ENDED, "Over.", verdict="stop")
    gateway.answer("DELETE", "/v1/session", 401, problem_members(over))
    await client.log_off()
    assert (client.session, client.ended) == (None, Ended(4005, "logged_off", "self"))


@pytest.mark.parametrize("was_connected", [True, False])
async def test_after_a_log_off_refused_for_good_the_client_connects_again(
    client: GatewayClient, gateway: ScriptedGateway, *, was_connected: bool
) -> None:
    if was_connected:
        async with beside(client.connect()):
            phone = await gateway.phone()
            await phone.serve()
    body = problem_members(GatewayError(ErrorCode.UNAUTHENTICATED, "…"))
    gateway.answer("DELETE", "/v1/session", 401, body)
    with pytest.raises(GatewayError):
        await client.log_off()
    async with asyncio.timeout(5), beside(client.connect()) as connecting:
        again = await gateway.phone()
        assert not connecting.done(), "there is no connection yet"
        await again.serve()


async def test_connecting_during_a_log_off_is_refused(
    client: GatewayClient, gateway: ScriptedGateway, clock: ManualClock
) -> None:
    async with beside(client.connect()):
        phone = await gateway.phone()
        await phone.serve()
    pending = {"state": "pending", "routed_until_ms": 77, "retry_after_s": 5.0}
    gateway.answer("DELETE", "/v1/session", 202, pending)
    async with during(client.log_off()):
        await clock.settle()
        error = await _refused(client)
    assert (error.code, error.details["by"]) == (ErrorCode.SESSION_ENDED, "self")
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(client.connect())
        await (await gateway.phone()).serve()


@pytest.mark.parametrize("turns", range(1, 6))
async def test_a_log_off_may_be_cancelled_at_any_moment(
    client: GatewayClient, gateway: ScriptedGateway, peer: Phone, turns: int
) -> None:
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        leaving = tasks.create_task(client.log_off())
        for _ in range(turns):
            await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.wait([leaving])
        connecting = tasks.create_task(client.connect())
        again = await gateway.phone()
        await peer.left()
        assert not connecting.done(), "there is no connection yet"
        await again.serve()


async def test_ending_the_own_session_is_a_log_off(client: GatewayClient, gateway: ScriptedGateway) -> None:
    gateway.answer("DELETE", "/v1/session", 204)
    assert await client.end_session("s1") is None
    assert (client.session, client.ended) == (None, Ended(4005, "logged_off", "self"))


async def test_questions_are_asked_with_the_token_where_it_is_needed(
    client: GatewayClient, gateway: ScriptedGateway
) -> None:
    user = {"user_id": "7", "display_name": "Ada"}
    privacy = {"contact": None, "statement_url": None}
    site = {"id": "main", "display_name": "Main", "applications": ["dashboard"]}
    about = {"name": "gw", "version": "1", "sites": [site], "trusted_transport": True, "privacy": privacy}
    entry = {"id": "s/1", "application": "dashboard", "device": {"id": "d", "name": "n"}, "since_ms": 1}
    shown = {"id": "n1", "version": 2, "category": "privacy", "title": "t", "summary": "s", "link": None}
    notices = {"notices": [shown | {"effective_at_ms": 1, "must_acknowledge": True}]}
    gateway.answer("GET", "/v1/about", 200, about)
    gateway.answer("GET", "/v1/notices", 200, notices)
    gateway.answer("GET", "/v1/session", 200, {"session": created()["session"], "user": user})
    gateway.answer("GET", "/v1/sessions", 200, {"sessions": [entry | {"attached": True, "current": False}]})
    gateway.answer("DELETE", "/v1/sessions/s/1", 204)
    gateway.answer("GET", "/v1/me/export", 200, {"user": user, "at_ms": 5, "entries": []})
    assert (await client.about()).sites[0].id == "main"
    assert [notice.id for notice in await client.notices("de")] == ["n1"]
    _, *anonymous = gateway.asked
    assert anonymous[-1].headers["Accept-Language"] == "de"
    assert all("Authorization" not in asked.headers for asked in anonymous)
    assert (await client.who()).user.display_name == "Ada"
    assert [session.id for session in await client.sessions()] == ["s/1"]
    assert await client.end_session("s/1") is None
    assert (await client.export()).at_ms == 5
    assert {asked.headers["Authorization"] for asked in gateway.asked[3:]} == {"Bearer token-1"}
    assert (client.session is None, client.ended) == (False, None)


# ---- requests on a connection ----


COMMAND = SetAgentRoutingState("5", "unavailable", "3", "after_contact")


async def test_commands_that_wait_are_bounded(client: GatewayClient, peer: Phone, clock: ManualClock) -> None:
    async with asyncio.TaskGroup() as tasks:
        for _ in range(WAITING_MAX):
            tasks.create_task(client.command(COMMAND, deadline_s=1))
        await clock.settle()
        outcome = await client.command(COMMAND)
        await clock.advance(1.1)
    assert outcome.error is not None
    assert (outcome.status, outcome.error.code) == (Status.REJECTED, ErrorCode.OVERLOADED)


async def test_refused_topics_do_not_stay(
    client: GatewayClient, peer: Phone, gateway: ScriptedGateway, clock: ManualClock
) -> None:
    with pytest.raises(GatewayError):
        await client.follow(["queues"] * 65)
    async with beside(_follow_refused(client)) as asking:
        frame = await peer.receive(frames.Follow)
        await peer.send(frames.ErrorFrame("bad_request", "No.", id=frame.id))
    assert asking.result() is ErrorCode.BAD_REQUEST
    peer.drop()
    await clock.advance(0.25)
    assert (await (await gateway.phone()).receive(frames.Hello)).topics is None


async def _follow_refused(client: GatewayClient) -> ErrorCode:
    with pytest.raises(GatewayError) as refused:
        await client.follow(["queues"])
    return refused.value.code


async def test_pace_holds_now_and_for_the_next_connection(
    client: GatewayClient, peer: Phone, gateway: ScriptedGateway, clock: ManualClock
) -> None:
    await client.pace(5.0)
    assert await peer.receive(frames.Pace) == frames.Pace(5.0)
    peer.drop()
    await clock.settle()
    await client.pace(6.0)
    await clock.advance(0.25)
    assert (await (await gateway.phone()).receive(frames.Hello)).pace_s == 6.0
    with pytest.raises(GatewayError):
        await client.pace(61.0)
