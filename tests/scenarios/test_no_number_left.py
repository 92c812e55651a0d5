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
from tests.scenarios.setup import (
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
    async with opened(idle_timeout_s=900) as setup:
        assert await Assistant(setup).enter() == (201, "")
        setup.make_available()
        await setup.lasts(ATTACH_S)


async def test_the_phone_leaves_while_oscc_e_thinks_about_its_log_on() -> None:
    async with opened(idle_timeout_s=900) as setup:
        phone = Assistant(setup)
        await phone.enter()
        await phone.log_off()
        setup.trouble("frozen", 5)
        leaving = setup.tasks.create_task(phone.enter())
        await setup.clock.advance(1)
        leaving.cancel()
        await setup.clock.advance(4 + SOON_S)
        assert setup.log_ons == 2
        assert setup.nothing_left()


async def test_oscc_e_accepts_a_log_on_whose_answer_is_lost() -> None:
    async with opened(idle_timeout_s=900) as setup:
        phone = Assistant(setup)
        await phone.enter()
        await phone.log_off()
        setup.trouble("one-way", 0)
        asking = setup.tasks.create_task(phone.enter())
        await setup.until(lambda: setup.routed)
        setup.make_available()
        await setup.clock.advance(ANSWER_S)
        assert await asking == (503, "upstream_unavailable")
        await setup.lasts(ATTACH_S - ANSWER_S)


# ---- the phone is gone without a word ----


@pytest.mark.parametrize("says_bye", [False, True])
async def test_the_connection_breaks(says_bye: bool) -> None:
    async with opened() as setup:
        phone = Assistant(setup)
        await phone.serve()
        await setup.clock.advance(2 * IDLE_S)
        if says_bye:
            await phone.send({"kind": "bye"})
        else:
            phone.cut()
        await setup.clock.settle()
        assert await setup.metric("users") == 1
        await setup.lasts(IDLE_S)


async def test_the_phone_says_nothing_any_more() -> None:
    async with opened() as setup:
        phone = Assistant(setup, deaf_to="ping")
        phone.ready.set()
        await phone.serve()
        await setup.clock.advance(27.5 + 10 + SOON_S)
        assert phone.end[:2] == (4109, "no frame after a ping")
        await setup.clock.advance(IDLE_S)
        assert setup.nothing_left()


async def test_the_phone_is_gone_during_a_contact() -> None:
    async with opened() as setup:
        phone = Assistant(setup)
        await phone.serve()
        contact = setup.simulator.center.give(setup.agent(), None, None, "Talking")
        phone.cut()
        await setup.clock.advance(3 * IDLE_S)
        assert setup.routed == ROUTED
        setup.agent().auto = setup.agent().auto.__class__()
        setup.simulator.center.end(contact)
        await setup.lasts(IDLE_S)


# ---- the gateway is gone ----


@pytest.mark.parametrize(("vanishes", "after_s"), [(False, IDLE_S), (True, DROPPED_S + IDLE_S)])
async def test_no_gateway_is_left(vanishes: bool, after_s: float) -> None:
    async with opened() as setup:
        await Assistant(setup).serve()
        if vanishes:
            setup.trouble("lost", 0)
        passed_s = await setup.stop()
        await setup.lasts(after_s - passed_s)
        setup.mend()
        await setup.start()


@pytest.mark.takes(7)
async def test_all_nodes_are_killed(tmp_path: Path) -> None:
    config = tmp_path / "gateway.toml"
    async with opened() as setup:
        config.write_text(CONFIG.format(url=setup.simulator.url))
        with (
            running("serve", "--config", str(config)) as one,
            running("serve", "--config", str(config)) as two,
        ):
            for node, user, number in ((one, "agent1", NUMBER), (two, "agent2", OTHER_NUMBER)):
                port = json.loads(node.until('"listener": "client"'))["port"]
                await Assistant(setup, user=user, base=f"http://127.0.0.1:{port}").serve(number)
            setup.show_no_canary(*(node.end(signal.SIGKILL).out for node in (one, two)))
        await setup.until(lambda: not any(session.link_id for session in setup.simulator.sessions))
        await setup.lasts(IDLE_S)


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
    async with opened() as setup:
        phone = Assistant(setup)
        await phone.serve()
        setup.trouble(trouble, 2 * ANSWER_S)
        asking = setup.tasks.create_task(phone.log_off())
        await setup.clock.advance(answer_s)
        assert await asking == (202, setup.clock.wall_ms() + IDLE_S * 1_000)
        assert await setup.metric("log_offs_pending") == 1
        assert await phone.refused() == (4005, "logged_off", "self")
        await setup.clock.advance(2 * ANSWER_S - answer_s - SOON_S)
        assert setup.routed == routed
        setup.mend()
        await setup.clock.advance(SOON_S + RETRY_S + SOON_S)
        assert setup.nothing_left()
        assert await setup.metric("log_offs_pending") == 0
        assert await phone.log_off() == (204, None)


@pytest.mark.parametrize(("trouble", "after_s"), [("closed", IDLE_S), ("lost", DROPPED_S + IDLE_S)])
async def test_a_log_off_that_oscc_e_never_receives(trouble: Trouble, after_s: float) -> None:
    async with opened() as setup:
        phone = Assistant(setup)
        await phone.serve()
        setup.trouble(trouble, 0)
        setup.tasks.create_task(phone.log_off())
        await setup.lasts(after_s)
        setup.mend()


async def test_a_pending_log_off_ends_with_the_session_at_the_latest() -> None:
    async with opened(session_life_s=IDLE_S // 2) as setup:
        phone = Assistant(setup)
        await phone.serve()
        expires_at_ms = setup.clock.wall_ms() + IDLE_S // 2 * 1_000
        setup.trouble("closed", 0)
        await setup.clock.advance(SOON_S)
        assert await phone.log_off() == (202, expires_at_ms)
        await setup.lasts(IDLE_S // 2 - SOON_S)


async def test_an_app_repeats_its_log_off_at_a_gateway_that_has_forgotten_it() -> None:
    async with opened() as setup, app(setup, ASSISTANT, "agent1") as client:
        await work(client, ASSISTANT, "agent1")
        setup.make_available()
        setup.trouble("closed", 0)
        leaving = setup.tasks.create_task(client.log_off())
        async for event in client.events():
            if isinstance(event, LogOffPending):
                assert event.routed_until_ms == setup.clock.wall_ms() + IDLE_S * 1_000
                break
        await setup.stop()
        await setup.start()
        setup.mend()
        kept = client.session
        assert kept is not None
        assert await setup.metric("log_offs_pending") == 0
        assert setup.routed == ROUTED
        await setup.clock.advance(20)
        await leaving
        assert client.session is None
        assert setup.nothing_left()


async def test_a_log_off_at_a_node_that_has_lost_its_keys() -> None:
    async with opened() as setup:
        phone = Assistant(setup)
        await phone.serve()
        await setup.stop()
        setup.secrets = generate_secrets()
        await setup.start()
        assert await phone.log_off() == (401, None)
        await setup.lasts(IDLE_S)


@pytest.mark.parametrize("within_limit", [True, False])
async def test_a_log_off_during_a_contact(within_limit: bool) -> None:
    async with opened(after_contact_limit_s=90) as setup:
        phone = Assistant(setup)
        await phone.serve()
        contact = setup.simulator.center.give(setup.agent(), None, None, "Talking")
        until_ms = setup.clock.wall_ms() + 90_000
        assert await phone.log_off() == (202, until_ms)
        await setup.clock.advance(30)
        assert await phone.log_off() == (202, until_ms)
        assert (setup.routed, setup.call()) == (ROUTED, [])
        assert await setup.metric("log_offs_pending") == 1
        if within_limit:
            setup.simulator.center.end(contact)
        else:
            await setup.clock.advance(60 + SOON_S)
        assert setup.nothing_left()
        await setup.clock.advance(RETRY_S + SOON_S)
        assert await setup.metric("log_offs_pending") == 0
        assert await phone.log_off() == (204, None)


# ---- tokens that have expired ----


@pytest.mark.parametrize("trouble", [None, "closed"])
async def test_a_token_expires_though_its_session_was_renewed(trouble: Trouble | None) -> None:
    async with opened(session_life_s=90) as setup:
        phone = Assistant(setup, deaf_to="renewed")
        await phone.serve()
        await setup.clock.advance(90 + SOON_S)
        if trouble is not None:
            setup.trouble(trouble, 0)
            assert await phone.log_off() == (202, setup.clock.wall_ms() + IDLE_S * 1_000)
            assert setup.routed == ROUTED
            setup.mend()
            await setup.clock.advance(RETRY_S + SOON_S)
            assert setup.nothing_left()
        assert await phone.log_off() == (204, None)
        assert setup.nothing_left()


async def test_a_session_expires_while_its_phone_is_away() -> None:
    async with opened(session_life_s=IDLE_S // 2) as setup:
        phone = Assistant(setup)
        await phone.serve()
        phone.cut()
        await setup.lasts(IDLE_S // 2)
        assert await phone.log_off() == (204, None)
        setup.clock.jump_wall(23 * 3_600_000)
        assert await phone.log_off() == (204, None)
        setup.clock.jump_wall(2 * 3_600_000)
        assert (await phone.log_off())[0] == 401
