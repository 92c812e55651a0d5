"""Nothing moves or is pressed under a finger in the commands that are given less often.

At each width of a phone, with answers that are late. The others are in :mod:`tests.web.test_engines`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.web.engines import WHERE_TOUCHED, Window, click, one, reads, says, tap, until, usable
from tests.web.stage import ASSISTANT, DASHBOARD
from tests.web.test_engines import FEW, WATCH, WIDTHS, far, moved, sheet, typed

pytestmark = pytest.mark.scenario


@asynccontextmanager
async def still(window: Window, what: str) -> AsyncIterator[None]:
    """Hold that nothing moves on the page from before a command until after its outcome."""
    await asyncio.sleep(0.2)  # what was before has come to rest
    await window.run("(moved = 0, movers = [])")
    yield
    await asyncio.sleep(0.5)  # what the outcome says has come, too
    assert await moved(window) <= 0.02, what


@pytest.mark.parametrize("width", WIDTHS[:1] if FEW else WIDTHS)
async def test_nothing_moves_during_an_agents_other_commands_on_phones_of_each_width(width: int) -> None:
    async with far("chromium", ASSISTANT, "agent1") as (stage, window, _):
        await window.resize(width, 844)
        await window.run(WATCH)
        async with still(window, "work"):
            await tap(window, ".set[data-state=work]")
            await tap(window, "dialog[open] .pick")
            await reads(window, ".hero-name", "Work")
        for number in ("112", "+49 89 7654321"):
            await click(window, ".mine button", "Change number")
            await typed(window, "#new-number", number)
            async with still(window, f"the number {number}"):
                await tap(window, "dialog[open] .primary")
                if number == "112":
                    await says(window, "dialog[open] [role=alert]", "may not be sent")
                else:
                    await reads(window, ".number", "+49 897 654 321")
            if number == "112":
                await click(window, "dialog[open] header button")
        async with still(window, "post-processing by itself"):
            await click(window, "#auto-post")
            await until(window, "document.querySelector('#auto-post').ariaChecked === 'true'")
        stage.talk("agent1")
        await reads(window, ".hero-name", "Talking")
        async with still(window, "log off"):
            await click(window, ".mine button", "Log off")
            await tap(window, "dialog[open] button", "After this contact")
            await reads(window, ".hero-next .chip", "Logged off after this contact")


@pytest.mark.parametrize("width", WIDTHS[:1] if FEW else WIDTHS)
async def test_nothing_moves_during_a_supervisors_other_commands_on_phones_of_each_width(width: int) -> None:
    async with far("chromium", DASHBOARD, "supervisor1") as (stage, window, _):
        await window.resize(width, 844)
        await window.run(WATCH)
        await click(window, ".tile")
        await click(window, ".detail summary")
        await click(window, ".detail button", "Edit")
        await typed(window, "dialog[open] input[aria-label='Overflow after']", "90")
        await click(window, "dialog[open] .primary", "Review")
        async with still(window, "routing parameters"):
            await tap(window, "dialog[open] .primary")
            await says(window, ".detail .part .facts", "90 s")
        await click(window, ".back")
        await sheet(window, stage, "agent3")
        async with still(window, "work"):
            await tap(window, ".acts button", "Work")
            if await window.run(f"{one('dialog[open]')} !== undefined"):
                await tap(window, "dialog[open] .pick")
            await says(window, ".agent-state .now", "Work")
        await click(window, ".skills + *, .part button", "Edit")
        await typed(window, "dialog[open] .skill-edit input", "41")
        await click(window, "dialog[open] .primary", "Review")
        async with still(window, "skills"):
            await tap(window, "dialog[open] .primary")
            await says(window, ".skills", "41")
        stage.talk("agent3")
        await says(window, ".agent-state .now", "Talking")
        async with still(window, "log off"):
            await click(window, ".way-out button")
            await tap(window, "dialog[open] button", "Log off")
            await says(window, ".agent-state .chip", "Logged off")


async def touched_twice(window: Window, selector: str, name: str | None = None) -> None:
    """Touch an element twice, fast, where it stands at first."""
    x, y = await until(window, f"{WHERE_TOUCHED}({usable(selector, name)})")
    await window.touch(x, y, 2)


# WebKit's driver waits a second between two touches
@pytest.mark.parametrize("engine", ["chromium"] if FEW else ["chromium", "firefox"])
async def test_the_second_of_two_taps_presses_nothing_in_what_has_come_under_it(engine: str) -> None:
    async with far(engine, ASSISTANT, "agent1", 0.0) as (stage, window, _):
        for row in range(4):  # wherever the finger is, when the sheet with the reasons comes
            await window.resize(390, 844 - 40 * row)
            await touched_twice(window, ".set[data-state=work]")
            await asyncio.sleep(0.5)
            assert await window.run(f"{one('dialog[open] .pick')} !== undefined")
            await click(window, "dialog[open] header button")
        assert stage.agent().state == "Unavailable"
    async with far(engine, DASHBOARD, "supervisor1", 0.0) as (stage, window, _):
        await sheet(window, stage, "agent3")
        await click(window, ".part button", "Edit")
        await typed(window, "dialog[open] .skill-edit input", "41")
        await touched_twice(window, "dialog[open] .primary", "Review")
        await asyncio.sleep(0.5)
        await reads(window, "dialog[open] .primary", "Apply")
        await tap(window, "dialog[open] .primary")
        await says(window, ".skills", "41")


async def test_what_a_sheet_says_of_the_connection_is_true_when_it_is_back() -> None:
    async with far("chromium", ASSISTANT, "agent1", 0.0) as (stage, window, proxy):
        await until(window, "navigator.serviceWorker.controller !== null")  # its script has been read
        await click(window, ".mine button", "Change number")
        await typed(window, "#new-number", "+49 89 7654321")
        await stage.stop()
        await says(window, ".toast:last-child", "Not connected")
        await click(window, "dialog[open] .primary")
        await reads(window, "dialog[open] [role=alert]", "The server was not reached.")
        assert await window.run("document.querySelector('#new-number').ariaInvalid") is None
        await stage.start()
        proxy.thaw()
        await says(window, ".toast:last-child", "Live")
        assert not await window.run("document.getElementById('toasts').textContent.includes('Not connected')")
        await click(window, "dialog[open] .primary")
        await reads(window, ".number", "+49 897 654 321")
