"""Both apps work in each engine: a walk of what people do most, and the moments that matter.

The moments: coming back, a dead link, a tap while things move, the keyboard; sizes are in
:mod:`tests.web.test_sizes`. Each at the size and the round-trip time at which it was seen to fail.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.simulator.faults import notice
from tests.doubles.chaos_proxy import ChaosProxy
from tests.web.engines import HIDDEN, Window, click, one, reads, reload, says, tap, text_of, until, usable
from tests.web.stage import ASSISTANT, DASHBOARD, NUMBER, PASSWORD, Stage, opened

pytestmark = pytest.mark.scenario
_OTHERS: Final = [
    # the tests of one are run by one process, which starts it once
    pytest.param(engine, marks=pytest.mark.xdist_group(engine))
    for engine in ("firefox", "webkit")
]
FEW: Final = os.environ.get("ENGINES") == "few"
"""Whether only what depends most on an engine is seen in all of them, as in .ci/run: it has 20 minutes."""
in_each_engine = pytest.mark.parametrize("engine", ["chromium", *_OTHERS])
in_each_engine_where_all_are_asked_for = pytest.mark.parametrize(
    "engine", ["chromium"] if FEW else ["chromium", *_OTHERS]
)

RTT_S: Final = 0.3
WIDTHS: Final = (320, 360, 390)
ANSWERS_LATE: Final = """(() => {
  const {set} = Object.getOwnPropertyDescriptor(WebSocket.prototype, 'onmessage');
  const late = ({data}) => typeof data === 'string' && JSON.parse(data).kind === 'result';
  Object.defineProperty(WebSocket.prototype, 'onmessage', {set(call) {
    set.call(this, call && ((event) => late(event) ? setTimeout(call, 300, event) : call(event)));
  }});
})()"""
"""Has each command's answer come well after the events that follow from the command."""
FAULTS: Final = """(() => {
  globalThis.faults = [];
  addEventListener('error', ({message}) => faults.push(message));
  addEventListener('unhandledrejection', ({reason}) => faults.push(String(reason)));
})()"""
WATCH: Final = Path(__file__).with_name("watch.js").read_text("utf-8")
"""Notes what the page's head says, and how much of the page moves."""


async def log_on(
    window: Window, stage: Stage, application: str, user: str, *, language: str = "en", first: str = "0"
) -> None:
    """Log on without the hints of a first start, and wait until live data is there.

    The page evaluates *first* before it connects.
    """
    await window.go(f"{stage.base}/app/icon.svg")
    choices = json.dumps(json.dumps({"walked": True, "language": language}))
    await window.run(f"void localStorage.setItem('oscc.choices', {choices})")
    await window.go(f"{stage.base}/app/")
    await window.run(f"void ({FAULTS}, {first})")
    await click(window, f"input[value={application}]")
    fields = {"#in-user": user, "#in-password": PASSWORD}
    fields |= {"#in-number": NUMBER} if application == ASSISTANT else {}
    for selector, value in fields.items():
        there = f"document.querySelector({json.dumps(selector)})"
        await until(window, f"{there} !== null")
        received = "dispatchEvent(new Event('input', {bubbles: true}))"
        await window.run(f"({there}.value = {json.dumps(value)}, {there}.{received})")
    await click(window, "button[type=submit]")
    await reads(window, ".health-text", "Live")
    name = ".tile .q-name" if application == DASHBOARD else ".my-queues li"
    await until(window, f"!['', '–'].includes({text_of(name)})")


@asynccontextmanager
async def far(
    engine: str, application: str, user: str, rtt_s: float = RTT_S, **how: Any
) -> AsyncIterator[tuple[Stage, Window, ChaosProxy]]:
    """Open a live page behind a proxy."""
    async with opened(warm_up_s=0) as stage, stage.far(rtt_s) as proxy, stage.window(engine) as window:
        await log_on(window, stage, application, user, **how)
        yield stage, window, proxy


async def moved(window: Window) -> float:
    """Return how much the page has moved since it was watched."""
    await asyncio.sleep(0.1)  # entries of the last frame
    far_moved = float(await window.run("moved"))
    if far_moved > 0.02:
        print(*await window.run("movers"), sep="\n")  # shown when the test fails
    return far_moved


async def places(window: Window, *selectors: str) -> Any:
    """Return where elements stand."""
    names = json.dumps(", ".join(selectors))
    return await window.run(
        f"[...document.querySelectorAll({names})].map((each) => each.getBoundingClientRect())"
        ".map((box) => [box.x, box.y, box.width, box.height].map(Math.round))"
    )


async def typed(window: Window, selector: str, value: str) -> None:
    """Type into a field, once it is there."""
    field = one(selector)
    await until(window, f"{field} !== undefined")
    received = "dispatchEvent(new Event('input', {bubbles: true}))"
    await window.run(f"({field}.value = {json.dumps(value)}, {field}.{received})")


async def sheet(window: Window, stage: Stage, user: str) -> None:
    """Open the sheet of an agent, from the list, by extension."""
    agent = stage.agent(user)
    await click(window, ".tabs button:nth-of-type(2)")
    await typed(window, ".agents input[type=search]", agent.extension)
    await until(window, "document.querySelectorAll('.agents .agent').length === 1")
    await click(window, ".agents .agent")
    await reads(window, ".detail h2", f"{agent.first_name} {agent.last_name}")


# ---- the walk ----


@in_each_engine
async def test_a_supervisor_sees_a_queue_fill_and_opens_it(engine: str) -> None:
    async with far(engine, DASHBOARD, "supervisor1", 0.0) as (stage, window, _):
        queue = next(iter(stage.simulator.center.directory.queues))
        stage.crowd(queue, 4)
        await says(window, ".tile[data-level=attention] .q-waiting", "4")
        await click(window, ".tile[data-level=attention]")
        await reads(window, ".detail h2", stage.simulator.center.directory.queues[queue].name)


@in_each_engine_where_all_are_asked_for
async def test_a_supervisor_finds_who_helps_changes_a_limit_and_takes_it_back(engine: str) -> None:
    async with far(engine, DASHBOARD, "supervisor1", 0.0) as (stage, window, _):
        queue = stage.simulator.center.directory.queues[stage.queue_of(stage.agent("agent1"))]
        stage.crowd(queue.key, 8)
        await click(window, ".tile[data-level=action]")
        await reads(window, ".why", "8 waiting, limit 8 · 0 available")
        name = await until(window, text_of(".helpers .a-name"))
        await tap(window, ".helpers button", f"Set {name} to Available")
        # a waiting contact comes at once: this agent helps, and the next one is offered
        await until(
            window, f"![undefined, {json.dumps(name)}].includes({one('.helpers .a-name')}?.textContent)"
        )
        await says(window, ".why", "7 waiting")
        await click(window, ".detail summary")
        await click(window, ".detail button", "Edit")
        await typed(window, "dialog[open] input[aria-label='Attention contacts']", "4")
        await click(window, "dialog[open] .primary", "Review")
        await click(window, "dialog[open] .primary", "Apply")
        await until(window, f"{one('dialog[open]')} === undefined")
        await click(window, ".back")
        await click(window, ".tabs button:nth-of-type(3)")
        await says(window, ".act-list li", "Attention contacts: 3 → 4")
        assert queue.parameters["AttentionContacts"] == 4
        await click(window, ".act-list li > .button.small")
        await says(window, ".act-list li", "Attention contacts: 4 → 3")
        await says(window, "#toasts", "Taken back")
        await until(window, f"{one('.act-list li > .button.small')} === undefined")
        assert queue.parameters["AttentionContacts"] == 3


@in_each_engine
async def test_an_agent_becomes_available_has_a_contact_and_logs_off(engine: str) -> None:
    async with far(engine, ASSISTANT, "agent1", 0.0) as (stage, window, _):
        await tap(window, ".set[data-state=available]")
        await reads(window, ".hero-name", "Available")
        key = stage.talk("agent1")
        await reads(window, ".hero-name", "Talking")
        stage.act("EndContact", UserKey=key)
        await reads(window, ".hero-name", "Available")
        await click(window, ".mine button", "Log off")
        await click(window, "dialog button", "Log off")
        await says(window, ".told", "Confirmed")
        assert stage.simulator.sessions.routing_table() == {}


# ---- coming back, and links that are dead ----


@in_each_engine
async def test_coming_back_is_grey_and_still_until_it_is_up_to_date(engine: str) -> None:
    async with far(engine, DASHBOARD, "supervisor1") as (stage, window, _):
        stage.crowd(next(iter(stage.simulator.center.directory.queues)))
        await until(window, "/^0:[0-5][1-9]$/.test(document.querySelectorAll('.kpi dd')[1].textContent)")
        await window.run(WATCH)
        await window.run(f"{HIDDEN}(true)")
        await asyncio.sleep(3.5)
        assert await window.run(text_of(".health-text")) == "Updating …"
        # it comes back before its time is up, however long the machine takes
        await window.run("((at) => { performance.now = () => at; })(performance.now())")
        await window.run(f"{HIDDEN}(false)")
        await reads(window, ".health-text", "Live")
        seen = await window.run("seen")
        assert [each for each in seen if "bad" in each or "Not connected" in each] == []
        stood = {each.split("|")[3] for each in seen if each.split("|")[2]}
        assert len(stood) == 1  # while it is not live, no time runs
        assert await moved(window) <= 0.02


@in_each_engine_where_all_are_asked_for
async def test_what_does_not_come_back_is_said_moves_nothing_and_is_live_again(engine: str) -> None:
    async with far(engine, DASHBOARD, "supervisor1") as (stage, window, proxy):
        await window.run(WATCH)
        ((_, top, _, _),) = before = await places(window, ".kpis")
        await stage.stop()
        await reads(window, ".health-text", "Not connected")
        await says(window, ".banner.bad", "Connection lost.")
        assert await places(window, ".kpis") == before
        ((_, y, _, height),) = await places(window, ".banner.bad")
        assert y + height <= top  # it covers no figure
        assert await moved(window) <= 0.02
        await stage.start()
        proxy.thaw()
        await reads(window, ".health-text", "Live")


@in_each_engine_where_all_are_asked_for
async def test_a_dead_link_is_found_by_the_command_that_gets_no_answer(engine: str) -> None:
    async with far(engine, ASSISTANT, "agent1") as (stage, window, proxy):
        await reads(window, ".hero-name", "Unavailable")
        await window.run(WATCH)
        proxy.freeze()
        await tap(window, ".set[data-state=available]")
        await until(window, f"{usable('.set[data-state=work]')} === null")
        await reads(window, ".health-text", "Not connected")
        assert any(each.startswith("Updating …") for each in await window.run("seen"))
        await says(window, ".act-list", "no answer")
        assert stage.agent().state == "Unavailable"
        proxy.thaw()
        proxy.cut()
        await reads(window, ".health-text", "Live")
        asked = re.compile(r"No answer\. Your state is still Unavailable \(\d\d:\d\d\)\. Try again\?")
        await reads(window, ".unsure", asked)
        await click(window, ".unsure button", "Available")
        await reads(window, ".hero-name", "Available")
        await until(window, f"{one('.unsure')} === undefined")


@in_each_engine_where_all_are_asked_for
async def test_a_link_that_goes_silent_is_not_called_live_for_long(engine: str) -> None:
    async with far(engine, DASHBOARD, "supervisor1") as (_, window, proxy):
        proxy.freeze()
        # a ping is due within 16.5 s, and is said to be late 3 s after that
        await reads(window, ".health-text", "Updating …")
        proxy.thaw()
        await reads(window, ".health-text", "Live")


# ---- nothing moves under a finger ----


@in_each_engine
async def test_nothing_moves_under_the_finger_of_an_agent(engine: str) -> None:
    async with far(engine, ASSISTANT, "agent1", first=ANSWERS_LATE) as (stage, window, proxy):
        await commands_of_an_agent(stage, window, proxy)


async def test_nothing_moves_under_the_finger_where_answers_come_first() -> None:
    async with far("chromium", ASSISTANT, "agent1") as (stage, window, proxy):
        await commands_of_an_agent(stage, window, proxy)


async def commands_of_an_agent(stage: Stage, window: Window, proxy: ChaosProxy) -> None:
    """Give all commands of an agent, and look whether something moves."""
    await window.run(WATCH)
    fixed = (".hero-name", ".sets .set")
    before = await standing(window, *fixed)
    await tap(window, ".set[data-state=available]")
    await reads(window, ".hero-name", "Available")
    await tap(window, ".set[data-state=unavailable]")
    await reads(window, ".hero-name", "Unavailable")
    await tap(window, ".reasons-part button", "Lunch")
    await reads(window, ".hero-reason", "Lunch")
    key = stage.talk("agent1")
    await reads(window, ".hero-name", "Talking")
    await tap(window, ".set[data-state=unavailable]")
    await tap(window, ".hero-next .chip-x")
    await until(window, "document.querySelector('.chip-x') === null")
    await tap(window, "button", "Post-processing after this contact")
    await reads(window, ".hero-next .chip", "Post-processing after this contact")
    stage.act("EndContact", UserKey=key)
    await reads(window, ".hero-name", "Post-processing")
    more = usable("button", "+30 s")
    box = f"(({{x, y, width, height}}) => [x, y, width, height])({more}.getBoundingClientRect())"
    await until(window, f"{more} !== null")
    x, y, width, height = await window.run(box)
    proxy.freeze()
    # a double tap, where the first has not been answered
    await window.touch(round(x + width / 2), round(y + height / 2), 2)
    proxy.thaw()
    await reads(window, ".hero-time", re.compile(r"0:[45]\d"))
    assert await until(window, f"{more} !== null && {box}") == [x, y, width, height]
    assert await window.run("document.querySelector('.post .chip[aria-pressed=true]') === null")
    await tap(window, "button", "Done")
    await reads(window, ".hero-name", "Available")
    assert await standing(window, *fixed) == before
    assert await moved(window) <= 0.02


async def standing(window: Window, *selectors: str) -> list[Any]:
    """Return where elements stand; the words in them may be longer or shorter."""
    return [(x, y) for x, y, _, _ in await places(window, *selectors)]


@in_each_engine_where_all_are_asked_for
async def test_nothing_moves_under_the_finger_of_an_agent_while_a_function_is_down(engine: str) -> None:
    async with far(engine, ASSISTANT, "agent1", first=ANSWERS_LATE) as (stage, window, _):
        stage.simulator.faults.set_function("Voice", "Down")
        no_call = f"{one('.hero .no-call')} !== undefined"
        await until(window, no_call)
        await window.run(WATCH)
        fixed = (".hero-name", ".sets .set")
        before = await standing(window, *fixed)
        await tap(window, ".set[data-state=available]")
        await until(window, f"{one('.hero-next [data-asked]')} !== undefined")
        assert await standing(window, *fixed) == before
        await reads(window, ".hero-name", "Available")
        await until(window, no_call)
        stage.talk("agent1")
        await reads(window, ".hero-name", "Talking")
        await tap(window, ".set[data-state=unavailable]")
        await until(window, f"{one('.hero-next .chip-x')} !== undefined")
        await tap(window, "button", "Post-processing after this contact")
        await says(window, ".hero-next", "Post-processing · Unavailable after this contact")
        assert await standing(window, *fixed) == before
        assert await moved(window) <= 0.02


@in_each_engine
async def test_nothing_moves_under_the_finger_of_a_supervisor(engine: str) -> None:
    async with far(engine, DASHBOARD, "supervisor1") as (stage, window, _):
        await sheet(window, stage, "agent3")
        key = stage.talk("agent3")
        await says(window, ".agent-state .now", "Talking")
        await window.run(WATCH)
        fixed = (".acts .button", ".skills")
        before = await standing(window, *fixed)
        await tap(window, ".acts button", "Unavailable")
        await says(window, ".last", "takes effect after this contact")
        assert await standing(window, *fixed) == before
        assert await moved(window) <= 0.02
        stage.act("EndContact", UserKey=key)
        await says(window, ".agent-state .now", "Unavailable")
        before = await standing(window, *fixed)
        await window.run("moved = 0")
        await tap(window, ".acts button", "Available")
        await says(window, ".last", "Available · done")
        assert await standing(window, *fixed) == before
        assert await moved(window) <= 0.02


@in_each_engine_where_all_are_asked_for
async def test_log_off_in_a_contact_waits_in_the_app_and_can_be_taken_back(engine: str) -> None:
    async with far(engine, ASSISTANT, "agent1") as (stage, window, _):
        key = stage.talk("agent1")
        await reads(window, ".hero-name", "Talking")

        async def wish() -> None:
            await click(window, ".mine button", "Log off")
            await tap(window, "dialog button", "After this contact")
            await reads(window, ".hero-next .chip", "Logged off after this contact")

        await wish()
        await reload(window)  # the wish outlives the page
        await reads(window, ".hero-next .chip", "Logged off after this contact")
        # no call is sent to an agent on the way out
        pressed = "document.querySelector('.set[aria-pressed=true]')?.dataset.state"
        await until(window, f"{pressed} === 'unavailable'")
        await click(window, "button", "Stay logged on")
        await until(window, "document.querySelector('.hero-next .chip') === null")
        await until(window, f"{pressed} === 'available'")
        await wish()
        stage.act("EndContact", UserKey=key)
        await says(window, ".told", "Confirmed")


# ---- what is down, what others did, and logging somebody off ----


@in_each_engine_where_all_are_asked_for
async def test_an_agent_reads_what_is_down_what_is_said_to_all_and_who_changed_the_state(engine: str) -> None:
    async with far(engine, ASSISTANT, "agent1") as (stage, window, _):
        stage.simulator.faults.set_function("Voice", "Down")
        await reads(window, ".banner.caution", "Down: Voice.")
        await reads(window, ".hero .no-call", "No call can ring. Down: Voice")
        stage.simulator.faults.set_function("Voice", "Up")
        await until(window, f"{one('.banner.caution')} === undefined")
        stage.simulator.faults.send(None, notice("Fire drill at noon"))
        await says(window, ".toast", "Fire drill at noon")
        key = stage.agent("agent1").key
        stage.act("SetRoutingState", UserKey=key, RoutingState="Available", By="Supervisor")
        await reads(window, ".hero-name", "Available")
        await says(window, ".toasts, #toasts", "Set to Available by your supervisor")
        await what_others_set_behind_the_contact(stage, window)


async def what_others_set_behind_the_contact(stage: Stage, window: Window) -> None:
    """Let a supervisor put a state behind a contact, and the agent post-processing before it."""
    key = stage.talk("agent1")
    await reads(window, ".hero-name", "Talking")
    reasons = stage.simulator.center.directory.reasons.values()
    lunch = next(each.key for each in reasons if each.name == "Lunch")
    put = {"RoutingState": "Unavailable", "ReasonKey": lunch, "When": "AfterContact"}
    stage.act("SetRoutingState", UserKey=key, By="Supervisor", **put)
    received = "Unavailable – Lunch after this contact"
    await says(window, "#toasts", f"Your supervisor set: {received}")
    await says(window, ".hero-next", f"{received} (by your supervisor)")
    await tap(window, "button", "Post-processing after this contact")
    await says(window, ".act-list", "takes effect after this contact")
    await says(window, ".hero-next", f"Post-processing · {received}")
    stage.act("EndContact", UserKey=key)
    await reads(window, ".hero-name", "Post-processing")
    await tap(window, "button", "Done")
    await reads(window, ".hero-reason", "Lunch · by your supervisor")


@in_each_engine_where_all_are_asked_for
async def test_nobody_is_logged_off_by_one_tap_and_what_is_down_is_said(engine: str) -> None:
    async with far(engine, DASHBOARD, "supervisor1") as (stage, window, _):
        stage.simulator.faults.set_function("Voice", "Down")
        await reads(window, ".banner.caution", "Down: Voice.")
        stage.simulator.faults.set_function("Voice", "Up")
        await until(window, f"{one('.banner.caution')} === undefined")
        agent, key = stage.agent("agent3"), stage.talk("agent3")
        await sheet(window, stage, "agent3")
        await says(window, ".agent-state .now", "Talking")
        assert await window.run(f"{one('.acts button', 'Log off')} === undefined")
        await click(window, ".way-out button")
        await says(window, "dialog[open]", "is in a contact and will be logged off after it")
        assert agent.logged_on
        await tap(window, "dialog[open] button", "Log off")
        await says(window, ".agent-state .chip", "Logged off")
        assert agent.logged_on
        stage.act("EndContact", UserKey=key)
        await says(window, ".agent-state .now", "Logged off")


# ---- a hanging network, messages, the keyboard, names ----


@in_each_engine_where_all_are_asked_for
async def test_a_cold_start_on_a_hanging_network_draws_the_page_at_once(engine: str) -> None:
    async with far(engine, DASHBOARD, "supervisor1", 0.0) as (_, window, proxy):
        await until(window, "navigator.serviceWorker.controller !== null")
        assert await window.run(
            f"{one('button', 'Load it')} === undefined"
        )  # the first version is not a newer one
        proxy.freeze()
        await reload(window)
        await says(window, ".strip .where", "Dashboard")
        await reads(window, ".health-text", "Connecting")
        # what is not known is not called 0
        figures = "[...document.querySelectorAll('.kpi dd')].map((each) => each.textContent.trim())"
        assert set(await until(window, figures)) == {"–"}
        heads = "[...document.querySelectorAll('.pane-head .muted')].map((each) => each.textContent)"
        assert await window.run(heads) == ["–", "–"]
        proxy.thaw()
        await reads(window, ".health-text", "Live")
        await reads(window, ".strip .where", "Dashboard · Berlin")


@in_each_engine_where_all_are_asked_for
async def test_a_message_covers_no_figure(engine: str) -> None:
    async with far(engine, DASHBOARD, "supervisor1") as (stage, window, _):
        agent = stage.agent("agent3")
        stage.act("SetRoutingState", UserKey=agent.key, RoutingState="Available", By="System")
        await sheet(window, stage, "agent3")
        await says(window, ".agent-state .now", "Available")
        stage.simulator.faults.set_function("LocalRouting", "Down")
        await reads(window, ".banner.caution", "Down: Routing.")
        await tap(window, ".acts button", "Unavailable")
        await until(window, f"{one('.toast.bad')} !== undefined")
        ((_, y, _, height),) = await places(window, ".toast.bad")
        ((_, top, _, strip),) = await places(window, ".strip")
        assert y + height <= top + strip + 1


@in_each_engine
async def test_the_keyboard_hides_no_button_of_a_sheet(engine: str) -> None:
    async with far(engine, ASSISTANT, "agent1", 0.0) as (_, window, _way):
        await click(window, "button", "Change number")
        await until(window, f"{one('dialog[open]')} !== undefined")
        await window.run(
            "(Object.defineProperty(visualViewport, 'height', {get: () => innerHeight - 320}),"
            " visualViewport.dispatchEvent(new Event('resize')))"
        )
        send = one("dialog[open] button", "Change number")
        await until(window, f"{send}.getBoundingClientRect().bottom <= innerHeight - 320")


@in_each_engine_where_all_are_asked_for
async def test_a_new_name_reaches_what_is_open(engine: str) -> None:
    async with far(engine, DASHBOARD, "supervisor1", 0.0) as (stage, window, _):
        await sheet(window, stage, "agent1")
        agent = stage.agent("agent1")
        queue = stage.queue_of(agent)
        stage.act("Rename", Key=queue, Name="Brand new queue")
        await says(window, ".detail .facts", "Brand new queue")
        skill = stage.simulator.center.directory.queues[queue].skill_key
        stage.act("Rename", Key=skill, Name="Brand new skill")
        await says(window, ".detail .skills", "Brand new skill")
        stage.talk("agent1")
        await says(window, ".agent-state", "Brand new queue")
        stage.act("Rename", Key=queue, Name="Newer queue")
        await says(window, ".agent-state", "Newer queue")
