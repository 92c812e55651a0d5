"""One user with many sessions: one link, and each session feels its own changes at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gateway.client import Application, DeviceBody, Ended, GatewayClient
from gateway.domain.model import ALWAYS
from tests.scenarios.office import AT_ONCE_S, Answer, Handset, Office, empty_office, office

pytestmark = pytest.mark.scenario

LEADER, LEADER_KEY = "agent10", 10_010
"""Leads a team: uses both applications."""
NUMBER, OTHER_NUMBER = "+49 30 1234567", "+49 30 7654321"
KINDS = ("agent", "queue", "group", "aggregate")
SUPERVISED = {"skills_write", "routing_state_write", "routing_parameters_write"}
OWN = {"own_routing_state", "own_post_processing"}
HOUR_MS = 3_600_000
STOP, LOG_ON = (401, "session_ended", "stop"), (401, "session_ended", "log_on")


def received(bye: dict[str, Any]) -> tuple[int, str, str | None]:
    return bye["code"], bye["reason"], bye.get("by")


def verdict(answer: Answer) -> tuple[int, object, object]:
    return answer.status, answer.body.get("code"), answer.body.get("verdict")


# ---- one user, two applications ----


async def test_both_applications_of_a_user_share_one_link_and_nothing_else() -> None:
    async with office() as at:
        dashboard = await at.served(LEADER, "desk")
        assistant = await at.served(LEADER, "pocket", NUMBER)
        line = await at.link_of(LEADER)
        assert (line["Present"], line["MostAtOnce"], line["Opens"]) == (1, 1, 1)

        assert set(dashboard.last("welcome")["rights"]) == set(dashboard.me["rights"]) == SUPERVISED | OWN
        assert set(assistant.last("welcome")["rights"]) == set(assistant.me["rights"]) == OWN
        leads, has = at.keys_of(dashboard, *KINDS), at.keys_of(assistant, *KINDS)
        assert leads > has
        assert (dashboard.me["scope_size"], assistant.me["scope_size"]) == (len(leads), len(has))
        assert dashboard.keys_sent() == leads | ALWAYS | {"me"}
        assert assistant.keys_sent() == at.keys_of(assistant, "agent", "queue") | ALWAYS | {"me"}

        assert await assistant.asks_for(LEADER_KEY, "available") == "forbidden"
        own = await dashboard.command("routing_state.set", state="available", when="now")
        assert own["error"]["code"] == "forbidden"


async def test_what_changes_for_one_application_is_not_reported_to_the_other() -> None:
    async with office() as at:
        dashboard = await at.served(LEADER, "desk")
        assistant = await at.served(LEADER, "pocket", NUMBER)
        me, stream = dict(assistant.me), assistant.place["stream"]
        await at.act("Rename", Key=10_006, Name="Renamed")
        await at.act("SetScope", User=LEADER, Scope={"Users": [10_006]})
        await dashboard.until(lambda: dashboard.me["scope_size"] == 1, AT_ONCE_S)
        assert dashboard.shown["agent:10006"]["display_name"].endswith("Renamed")
        await assistant.caught_up()
        assert assistant.keys_sent() <= at.keys_of(assistant, "agent", "queue") | ALWAYS | {"me"}
        assert (assistant.me, assistant.place["stream"]) == (me, stream)


async def test_the_remote_number_is_whole_in_its_own_session_only() -> None:
    async with office() as at:
        dashboard = await at.served(LEADER, "desk")
        assistant = await at.served(LEADER, "pocket", NUMBER)
        await dashboard.until(lambda: dashboard.me.get("remote_number") == "*********567", AT_ONCE_S)
        assert assistant.me["remote_number"] == "+49301234567"
        streams = dashboard.place["stream"], assistant.place["stream"]

        assert await assistant.command("remote_number.change", number=OTHER_NUMBER) == {"status": "applied"}
        await dashboard.until(lambda: dashboard.me["remote_number"] == "*********321", AT_ONCE_S)
        await assistant.until(lambda: assistant.me["remote_number"] == "+49307654321", AT_ONCE_S)
        assert (dashboard.place["stream"], assistant.place["stream"]) == streams
        assert (dashboard.counts.resets, assistant.counts.resets) == (1, 1)
        assert not [frame for frame in dashboard.frames if "30123" in str(frame) or "30765" in str(frame)]


# ---- my sessions ----


async def test_sessions_are_listed_with_their_devices() -> None:
    async with office() as at:
        dashboard = await at.served(LEADER, "desk")
        assistant = await at.served(LEADER, "pocket", NUMBER)
        unattached = await at.phone(LEADER, "drawer").logged_on()
        phones = {dashboard: "dashboard", assistant: "remote_assistant", unattached: "dashboard"}
        for asking in phones:
            answer = await asking.ask(path="/v1/sessions")
            assert answer.body["sessions"] == [
                {
                    "id": phone.session,
                    "application": application,
                    "device": {"id": phone.device, "name": phone.device.upper()},
                    "since_ms": at.session_of(phone).since_ms,
                    "attached": phone is not unattached,
                    "current": phone is asking,
                }
                for phone, application in phones.items()
            ]


async def test_another_session_of_mine_can_be_ended() -> None:
    async with office() as at:
        dashboard = await at.served(LEADER, "desk")
        assistant = await at.served(LEADER, "pocket", NUMBER)
        assert (await dashboard.ask("DELETE", f"/v1/sessions/{assistant.session}")).status == 204
        bye = await assistant.over(AT_ONCE_S)
        assert (*received(bye), bye["reconnect"]) == (4005, "logged_off", "DESK", "never")
        assert verdict(await assistant.ask()) == STOP
        assert await assistant.refused() == bye
        assert await at.looked_at("routing") == {}
        left = (await dashboard.ask(path="/v1/sessions")).body["sessions"]
        assert [each["id"] for each in left] == [dashboard.session]
        await dashboard.caught_up()


async def test_a_program_of_the_sdk_learns_how_its_session_ended() -> None:
    async with office() as at, GatewayClient(at.base) as dashboard, GatewayClient(at.base) as assistant:
        for client, application, name, number in (
            (dashboard, Application.DASHBOARD, "desk", None),
            (assistant, Application.REMOTE_ASSISTANT, "pocket", NUMBER),
        ):
            await client.log_on(
                site="main",
                application=application,
                user_name=LEADER,
                password="demo",
                device=DeviceBody(name, name.upper(), "test", "1.0"),
                remote_number=number,
            )
            await client.connect()
        (other,) = [each for each in await dashboard.sessions() if not each.current]
        await dashboard.end_session(other.id)
        async with asyncio.timeout(AT_ONCE_S):
            assert await assistant.run() == Ended(4005, "logged_off", "DESK")
        assert dict(assistant.mirror) == {}
        assert dashboard.ended is None


async def test_an_assistant_who_is_ended_from_his_desk_is_called_until_his_contact_is_over() -> None:
    async with office() as at:
        desk, pocket = await at.served(LEADER, "desk"), await at.served(LEADER, "pocket", NUMBER)
        centre = at.simulator.center
        contact = centre.give(centre.directory.agents[LEADER_KEY], None, "Voice", "Talking")
        until_ms = at.time.wall_ms() + at.simulator.settings.after_contact_limit_s * 1000
        path = f"/v1/sessions/{pocket.session}"
        pending = await desk.ask("DELETE", path)
        assert pending.status == 202
        assert abs(pending.body["routed_until_ms"] - until_ms) < AT_ONCE_S * 1000
        assert received(await pocket.over()) == (4005, "logged_off", "DESK")
        assert (await desk.ask("DELETE", path)).body == pending.body
        centre.end(contact)
        assert (await desk.ask("DELETE", path)).status == 204
        assert at.simulator.sessions.routing_table() == {}


async def test_the_session_of_another_is_none_of_mine() -> None:
    async with office() as at:
        mine, other = await at.served("supervisor1", "desk"), await at.served("supervisor2", "desk")
        foreign = await mine.ask("DELETE", f"/v1/sessions/{other.session}")
        unknown = await mine.ask("DELETE", "/v1/sessions/sNobodyHasIt")
        assert (foreign.status, foreign.body["code"]) == (404, "not_found")
        assert foreign.raw == unknown.raw
        await other.caught_up()
        assert (await other.ask()).status == 200


async def test_a_session_whose_end_nobody_reported_learns_what_to_do_by_the_routes_that_ask_the_server() -> (
    None
):
    async with office() as at:
        phones = {await at.phone(LEADER, "desk").logged_on(): LOG_ON}
        phones[await at.phone(LEADER, "pocket").logged_on(NUMBER)] = STOP
        await at.act("EndSession", User=LEADER)
        for phone, said in phones.items():
            assert verdict(await phone.ask(path="/v1/sessions")) == said
            assert verdict(await phone.ask("DELETE", "/v1/sessions/sAnother")) == said


# ---- who makes way ----


async def test_a_second_socket_of_a_session_takes_the_place_of_the_first() -> None:
    async with office() as at:
        first = await at.served("supervisor1", "desk")
        second = await first.twin(first.token).connected()
        bye = await first.over(AT_ONCE_S)
        assert (*received(bye), bye["reconnect"]) == (4004, "replaced", None, "never")
        await second.caught_up()
        assert (await at.link_of("supervisor1"))["Opens"] == 1


async def clocks_known(at: Office, phone: Handset) -> None:
    """Return when a message of the OSCC-E Server has shown the gateway that clocks were set."""
    key = min(at.keys_of(phone, "queue"))
    before = phone.shown[key]
    await at.act("Arrive", QueueKey=int(key.partition(":")[2]))
    await phone.until(lambda: phone.shown[key] != before)


async def test_a_sixth_device_is_refused_unless_one_has_been_silent_for_long() -> None:
    async with office() as at:
        silent, *others = [await at.served("supervisor1", f"d{number}") for number in range(5)]
        sixth = await at.phone("supervisor1", "d5").logged_on()
        assert received(await sixth.refused()) == (4006, "too_many_devices", None)
        silent.deaf = True
        at.time.ahead_s += 601
        await clocks_known(at, others[0])
        for phone in others:
            await phone.caught_up()
        await sixth.connected()
        assert received(await silent.over(AT_ONCE_S)) == (4004, "replaced", None)
        for phone in (*others, sixth):
            await phone.caught_up()
        seventh = await at.phone("supervisor1", "d6").logged_on()
        assert received(await seventh.refused()) == (4006, "too_many_devices", None)


# ---- how sessions end ----


async def test_an_agent_whom_a_supervisor_logs_off_learns_by_whom() -> None:
    async with office() as at:
        supervisor = await at.served("supervisor1", "desk")
        dashboard = await at.served(LEADER, "desk")
        assistant = await at.served(LEADER, "pocket", NUMBER)
        outcome = await supervisor.asks_for(LEADER_KEY, "logged_off")
        bye = await assistant.over(AT_ONCE_S)
        assert outcome == "applied"
        assert received(bye) == (
            4005,
            "logged_off_by_supervisor",
            at.simulator.accounts.by_name["supervisor1"].name,
        )
        assert supervisor.shown[f"agent:{LEADER_KEY}"]["routing_state"] == "logged_off"
        assert verdict(await assistant.ask()) == STOP
        assert await assistant.refused() == bye
        assert await at.looked_at("routing") == {}
        await dashboard.until(lambda: "remote_number" not in dashboard.me, AT_ONCE_S)
        await (await assistant.logged_on(OTHER_NUMBER)).connected()


async def block(at: Office) -> None:
    await at.act("Block", User=LEADER, By="Ada")


async def expire(at: Office) -> None:
    await at.fault("ExpireSessions", User=LEADER)


async def maintain(at: Office) -> None:
    await at.act("EndSession", User=LEADER)


@pytest.mark.parametrize(
    ("end", "said", "advice", "http"),
    [
        (block, (4008, "blocked", "Ada"), ("never", None, None), STOP),
        (expire, (4300, "expired", None), ("log_on", 1.0, 30.0), LOG_ON),
        (maintain, (4300, "maintenance", None), ("log_on", 1.0, 30.0), LOG_ON),
    ],
)
async def test_sessions_ended_by_the_server_stay_refused_with_their_reason_until_the_next_log_on(
    end: Callable[[Office], Awaitable[None]],
    said: tuple[int, str, str | None],
    advice: tuple[str, float | None, float | None],
    http: tuple[int, str, str],
) -> None:
    async with office() as at:
        phones = [await at.served(LEADER, "desk"), await at.served(LEADER, "pocket", NUMBER)]
        await end(at)
        for phone in phones:
            bye = await phone.over(AT_ONCE_S)
            assert received(bye) == said
            assert (bye["reconnect"], bye["min_s"], bye["max_s"]) == advice
            assert verdict(await phone.ask()) == http
            assert await phone.refused() == bye
        await at.act("Block", User=LEADER, On=False)
        again = await at.served(LEADER, "tablet")
        # nobody remembers now how they ended, but the server does not take them back
        assert [received(await phone.refused()) for phone in phones] == [
            (4300, "unknown", None),
            (4005, "unknown", None),
        ]
        await again.caught_up()


# ---- tokens ----


async def renewed(phone: Handset) -> None:
    await phone.until(lambda: bool(phone.of_kind("renewed")))


async def test_a_longer_life_is_pushed_and_both_tokens_open_while_the_session_lives() -> None:
    async with office() as at:
        phone = await at.served("supervisor1", "desk")
        old = phone.token
        at.time.wall_ahead_ms += 6 * HOUR_MS
        await renewed(phone)
        assert phone.last("renewed")["expires_at_ms"] == at.session_of(phone).expires_ms
        assert [(await phone.ask(token=token)).status for token in (old, phone.token)] == [200, 200]
        again = await phone.twin(old).connected()
        assert received(await phone.over()) == (4004, "replaced", None)
        await renewed(again)

        # the old token has expired, which is no proof: OSCC-E has prolonged the session
        at.time.wall_ahead_ms += 2 * HOUR_MS
        tokens = old, phone.token, again.token
        assert [(await phone.ask(token=token)).status for token in tokens] == [200, 200, 200]
        await clocks_known(at, again)
        await again.caught_up()
        assert (await phone.ask("DELETE", token=again.token)).status == 204
        assert (await phone.ask(token=old)).status == 401


async def test_new_keys_log_nobody_off() -> None:
    async with empty_office() as at:
        async with at.gateway("k1"):
            phone = await at.served("supervisor1", "desk")
            old = phone.token
        assert received(await phone.over()) == (4200, "draining", None)
        async with at.gateway("k2", "k1"):
            await phone.connected()
            await renewed(phone)
        async with at.gateway("k2"):
            await phone.connected()
            assert not phone.of_kind("renewed")
            assert (await phone.ask()).status == 200
            late = await phone.ask(token=old)
            assert (late.status, late.body["code"]) == (401, "unauthenticated")
            assert received(await phone.twin(old).refused()) == (4001, "token_invalid", None)
        counted = await at.looked_at("links")
        assert (counted["LogOns"], counted["Links"]["supervisor1"]["MostAtOnce"]) == (1, 1)
