"""Do both apps work in Firefox and in WebKit, too? A walk of the moments that matter, in each."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.web.engines import Engine, firefox, until, webkit
from tests.web.stage import ASSISTANT, DASHBOARD, NUMBER, PASSWORD, Stage, opened

pytestmark = pytest.mark.scenario
ENGINES = ("firefox", "webkit")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@asynccontextmanager
async def window(name: str, folder: Path) -> AsyncIterator[Engine]:
    async with firefox(folder) if name == "firefox" else webkit(folder, free_port()) as engine:
        yield engine


def text(selector: str) -> str:
    """Return the expression for the text of an element; null where there is none."""
    return f"document.querySelector({json.dumps(selector)})?.textContent"


async def has_text(engine: Engine, selector: str, wanted: str) -> None:
    await until(engine, f"({text(selector)} ?? '').includes({json.dumps(wanted)})")


async def click(engine: Engine, selector: str) -> None:
    """Click an element as soon as it is there and can be used."""
    there = f"document.querySelector({json.dumps(selector)})"
    await until(engine, f"{there} && !{there}.disabled && {there}.ariaDisabled !== 'true'")
    await engine.run(f"void {there}.click()")


async def log_on(engine: Engine, stage: Stage, application: str, user: str) -> None:
    """Log on without the hints of a first start, and wait until live data is there."""
    await engine.go(f"{stage.base}/app/")
    choices = json.dumps(json.dumps({"walked": True}))
    await engine.run(f"void localStorage.setItem('oscc.choices', {choices})")
    await engine.go(f"{stage.base}/app/")
    await click(engine, f"input[value={application}]")
    fields = {"#in-user": user, "#in-password": PASSWORD}
    fields |= {"#in-number": NUMBER} if application == ASSISTANT else {}
    for selector, value in fields.items():
        there = f"document.querySelector({json.dumps(selector)})"
        await until(engine, there + " !== null")
        told = "dispatchEvent(new Event('input', {bubbles: true}))"
        filled = f"({there}.value = {json.dumps(value)}, {there}.{told})"
        await engine.run(filled)
    await click(engine, "button[type=submit]")
    await has_text(engine, ".health-text", "Live")


@pytest.mark.parametrize("name", ENGINES)
async def test_a_supervisor_sees_a_queue_fill_and_sets_an_agent(name: str, tmp_path: Path) -> None:
    async with opened(warm_up_s=0) as stage, window(name, tmp_path) as engine:
        await log_on(engine, stage, DASHBOARD, "supervisor1")
        queue = next(iter(stage.simulator.center.directory.queues))
        stage.send_away()
        for _ in range(4):
            stage.act("Arrive", QueueKey=queue)
        await has_text(engine, ".tile[data-level=attention] .q-waiting", "4")
        await click(engine, ".tile[data-level=attention]")
        await has_text(engine, ".detail h2", stage.simulator.center.directory.queues[queue].name)
        await engine.run("void history.back()")


@pytest.mark.parametrize("name", ENGINES)
async def test_an_agent_becomes_available_has_a_contact_and_logs_off(name: str, tmp_path: Path) -> None:
    async with opened(warm_up_s=0) as stage, window(name, tmp_path) as engine:
        await log_on(engine, stage, ASSISTANT, "agent1")
        await click(engine, ".set[data-state=available]")
        await has_text(engine, ".hero-name", "Available")
        key = stage.talk("agent1")
        await has_text(engine, ".hero-name", "Talking")
        stage.act("EndContact", UserKey=key)
        await has_text(engine, ".hero-name", "Available")
        for within in ("button", "[role=dialog] button, dialog button"):
            there = f"[...document.querySelectorAll('{within}')].find((one) => one.textContent === 'Log off')"
            await until(engine, f"Boolean({there})")
            await engine.run(f"{there}.click()")
        await has_text(engine, ".told", "Confirmed")
        assert stage.simulator.sessions.routing_table() == {}


@pytest.mark.parametrize("name", ENGINES)
async def test_a_gateway_that_comes_back_is_live_again(name: str, tmp_path: Path) -> None:
    async with opened(warm_up_s=0) as stage, window(name, tmp_path) as engine:
        await log_on(engine, stage, DASHBOARD, "supervisor1")
        await stage.stop()
        await until(engine, f"{text('.health-text')} !== 'Live'")
        await stage.start()
        await has_text(engine, ".health-text", "Live")
