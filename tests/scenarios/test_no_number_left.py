"""No remote number outlives its phone: every way that is known, and when the number is gone."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from gateway.app.config.sources import generate_secrets
from gateway.client import Application, LogOffPending
from tests.app.processes import running
from tests.scenarios.assistant import Assistant, app, work
from tests.scenarios.house import (
    ANSWER_S,
    ATTACH_S,
    DROPPED_S,
    IDLE_S,
    NUMBER,
    OTHER_NUMBER,
    RETRY_S,
    SOON_S,
    Trouble,
    opened,
)

pytestmark = pytest.mark.scenario

ASSISTANT = Application.REMOTE_ASSISTANT
ROUTED = {"agent1": NUMBER}
CONFIG = """
[client]
host = "127.0.0.1"
port = 0
insecure = true
[ops]
port = 0
[log]
level = "debug"
[[sites]]
id = "main"
url = "{url}"
display_name = "Main"
country = "DE"
"""


# ---- the phone never had its token ----


async def test_the_answer_to_a_log_on_is_lost() -> None:
    async with opened(idle_timeout_s=900) as house:
        assert await Assistant(house).enter() == (201, "")
        house.make_available()
        await house.lasts(ATTACH_S)


async def test_the_phone_leaves_while_oscc_e_thinks_about_its_log_on() -> None:
    async with opened(idle_timeout_s=900) as house:
        phone = Assistant(house)
        await phone.enter()
        await phone.log_off()
        house.trouble("frozen", 5)
        leaving = house.tasks.create_task(phone.enter())
        await house.clock.advance(1)
        leaving.cancel()
        await house.clock.advance(4 + SOON_S)
        assert house.log_ons == 2
        assert house.nothing_left()


async def test_oscc_e_accepts_a_log_on_whose_answer_is_lost() -> None:
    async with opened(idle_timeout_s=900) as house:
        phone = Assistant(house)
        await phone.enter()
        await phone.log_off()
        house.trouble("one-way", 0)
        asking = house.tasks.create_task(phone.enter())
        await house.until(lambda: house.routed)
        house.make_available()
        await house.clock.advance(ANSWER_S)
        assert await asking == (503, "upstream_unavailable")
        await house.lasts(ATTACH_S - ANSWER_S)


# ---- the phone is gone without a word ----


@pytest.mark.parametrize("says_bye", [False, True])
async def test_the_connection_breaks(says_bye: bool) -> None:
    async with opened() as house:
        phone = Assistant(house)
        await phone.serve()
        await house.clock.advance(2 * IDLE_S)
        if says_bye:
            await phone.send({"kind": "bye"})
        else:
            phone.cut()
        await house.clock.settle()
        assert await house.metric("users") == 1
        await house.lasts(IDLE_S)


async def test_the_phone_says_nothing_any_more() -> None:
    async with opened() as house:
        phone = Assistant(house, deaf_to="ping")
        phone.ready.set()
        await phone.serve()
        await house.clock.advance(27.5 + 10 + SOON_S)
        assert phone.end[:2] == (4109, "no frame after a ping")
        await house.clock.advance(IDLE_S)
        assert house.nothing_left()


async def test_the_phone_is_gone_during_a_contact() -> None:
    async with opened() as house:
        phone = Assistant(house)
        await phone.serve()
        contact = house.simulator.center.give(house.agent(), None, None, "Talking")
        phone.cut()
        await house.clock.advance(3 * IDLE_S)
        assert house.routed == ROUTED
        house.agent().auto = house.agent().auto.__class__()
        house.simulator.center.end(contact)
        await house.lasts(IDLE_S)


# ---- the gateway is gone ----


@pytest.mark.parametrize(("vanishes", "after_s"), [(False, IDLE_S), (True, DROPPED_S + IDLE_S)])
async def test_no_gateway_is_left(vanishes: bool, after_s: float) -> None:
    async with opened() as house:
        await Assistant(house).serve()
        if vanishes:
            house.road.be("lost")
        passed_s = await house.stop()
        await house.lasts(after_s - passed_s)
        house.road.be("open")
        await house.start()


@pytest.mark.takes(7)
async def test_all_nodes_are_killed(tmp_path: Path) -> None:
    config = tmp_path / "gateway.toml"
    async with opened() as house:
        config.write_text(CONFIG.format(url=house.simulator.url))
        with (
            running("serve", "--config", str(config)) as one,
            running("serve", "--config", str(config)) as two,
        ):
            for node, user, number in ((one, "agent1", NUMBER), (two, "agent2", OTHER_NUMBER)):
                port = json.loads(node.until('"listener": "client"'))["port"]
                await Assistant(house, user=user, base=f"http://127.0.0.1:{port}").serve(number)
            house.show_no_canary(*(node.end(signal.SIGKILL).out for node in (one, two)))
        await house.until(lambda: not any(session.link_id for session in house.simulator.sessions))
        await house.lasts(IDLE_S)


# ---- log-off ----


@pytest.mark.parametrize(
    ("trouble", "answer_s", "routed"),
    [
        ("closed", 0, ROUTED),
        ("one-way", ANSWER_S, {}),
        ("lost", ANSWER_S, ROUTED),
        ("frozen", ANSWER_S, ROUTED),
    ],
)
async def test_a_log_off_that_oscc_e_does_not_confirm_is_tried_until_it_does(
    trouble: Trouble, answer_s: float, routed: dict[str, str]
) -> None:
    async with opened() as house:
        phone = Assistant(house)
        await phone.serve()
        house.trouble(trouble, 2 * ANSWER_S)
        asking = house.tasks.create_task(phone.log_off())
        await house.clock.advance(answer_s)
        assert await asking == (202, house.clock.wall_ms() + IDLE_S * 1_000)
        assert await house.metric("log_offs_pending") == 1
        assert await phone.refused() == (4005, "logged_off", "self")
        await house.clock.advance(2 * ANSWER_S - answer_s - SOON_S)
        assert house.routed == routed
        house.road.be("open")
        await house.clock.advance(SOON_S + RETRY_S + SOON_S)
        assert house.nothing_left()
        assert await house.metric("log_offs_pending") == 0
        assert await phone.log_off() == (204, None)


@pytest.mark.parametrize(("trouble", "after_s"), [("closed", IDLE_S), ("lost", DROPPED_S + IDLE_S)])
async def test_a_log_off_that_oscc_e_never_receives(trouble: Trouble, after_s: float) -> None:
    async with opened() as house:
        phone = Assistant(house)
        await phone.serve()
        house.trouble(trouble, 0)
        house.tasks.create_task(phone.log_off())
        await house.lasts(after_s)
        house.road.be("open")


async def test_a_pending_log_off_ends_with_the_session_at_the_latest() -> None:
    async with opened(session_life_s=IDLE_S // 2) as house:
        phone = Assistant(house)
        await phone.serve()
        expires_at_ms = house.clock.wall_ms() + IDLE_S // 2 * 1_000
        house.trouble("closed", 0)
        await house.clock.advance(SOON_S)
        assert await phone.log_off() == (202, expires_at_ms)
        await house.lasts(IDLE_S // 2 - SOON_S)


async def test_an_app_repeats_its_log_off_at_a_gateway_that_has_forgotten_it() -> None:
    async with opened() as house, app(house, ASSISTANT, "agent1") as client:
        await work(client, ASSISTANT, "agent1")
        house.make_available()
        house.trouble("closed", 0)
        leaving = house.tasks.create_task(client.log_off())
        async for event in client.events():
            if isinstance(event, LogOffPending):
                assert event.routed_until_ms == house.clock.wall_ms() + IDLE_S * 1_000
                break
        await house.stop()
        await house.start()
        house.road.be("open")
        kept = client.session
        assert kept is not None
        assert await house.metric("log_offs_pending") == 0
        assert house.routed == ROUTED
        await house.clock.advance(20)
        await leaving
        assert client.session is None
        assert house.nothing_left()


async def test_a_log_off_at_a_node_that_has_lost_its_keys() -> None:
    async with opened() as house:
        phone = Assistant(house)
        await phone.serve()
        await house.stop()
        house.secrets = generate_secrets()
        await house.start()
        assert await phone.log_off() == (401, None)
        await house.lasts(IDLE_S)


@pytest.mark.parametrize("within_limit", [True, False])
async def test_a_log_off_during_a_contact(within_limit: bool) -> None:
    async with opened(after_contact_limit_s=90) as house:
        phone = Assistant(house)
        await phone.serve()
        contact = house.simulator.center.give(house.agent(), None, None, "Talking")
        until_ms = house.clock.wall_ms() + 90_000
        assert await phone.log_off() == (202, until_ms)
        await house.clock.advance(30)
        assert await phone.log_off() == (202, until_ms)
        assert (house.routed, house.call()) == (ROUTED, [])
        assert await house.metric("log_offs_pending") == 1
        if within_limit:
            house.simulator.center.end(contact)
        else:
            await house.clock.advance(60 + SOON_S)
        assert house.nothing_left()
        await house.clock.advance(RETRY_S + SOON_S)
        assert await house.metric("log_offs_pending") == 0
        assert await phone.log_off() == (204, None)


# ---- tokens that have expired ----


@pytest.mark.parametrize("trouble", [None, "closed"])
async def test_a_token_expires_though_its_session_was_renewed(trouble: Trouble | None) -> None:
    async with opened(session_life_s=90) as house:
        phone = Assistant(house, deaf_to="renewed")
        await phone.serve()
        await house.clock.advance(90 + SOON_S)
        if trouble is not None:
            house.trouble(trouble, 0)
            assert await phone.log_off() == (202, house.clock.wall_ms() + IDLE_S * 1_000)
            assert house.routed == ROUTED
            house.road.be("open")
            await house.clock.advance(RETRY_S + SOON_S)
            assert house.nothing_left()
        assert await phone.log_off() == (204, None)
        assert house.nothing_left()


async def test_a_session_expires_while_its_phone_is_away() -> None:
    async with opened(session_life_s=IDLE_S // 2) as house:
        phone = Assistant(house)
        await phone.serve()
        phone.cut()
        await house.lasts(IDLE_S // 2)
        assert await phone.log_off() == (204, None)
        house.clock.jump_wall(23 * 3_600_000)
        assert await phone.log_off() == (204, None)
        house.clock.jump_wall(2 * 3_600_000)
        assert (await phone.log_off())[0] == 401
