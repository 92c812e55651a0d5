"""Why a queue is red, who can help, what was changed, and which announcements are made."""

from __future__ import annotations

import re
from typing import Any

import pytest

from gateway.simulator import elements
from gateway.simulator.model import AutoPostProcessing
from tests.web.stage import ASSISTANT, DASHBOARD, DESK, Page, expect, live_page, open_parameters, opened

pytestmark = pytest.mark.scenario


async def test_a_red_queue_says_why_and_who_could_help() -> None:
    async with live_page(DASHBOARD, "supervisor1", warm_up_s=0) as (stage, page):
        agent = stage.agent("agent1")
        queue = stage.queue_of(agent)
        stage.crowd(queue, 8)
        there = page.locator(stage.tile(queue))
        await expect(there).to_have_attribute("data-level", "action")
        await expect(there).to_have_attribute("data-cause", "waiting")
        await expect(there.locator(".q-why")).to_have_text("8 waiting, limit 8 · 0 available")
        assert "longest" in (await there.get_attribute("aria-label") or "")
        await there.click()
        await expect(page.locator(".why")).to_have_text("8 waiting, limit 8 · 0 available")
        await expect(page.locator(".facts").first).to_contain_text(
            "Received8Answered0Abandoned0 · –Average wait–"
        )
        help_ = page.locator(".help")
        await expect(help_.locator("h3")).to_have_text("Could help")
        name = f"{agent.first_name} {agent.last_name}"
        row = help_.locator("li").filter(has=page.locator(f'.a-name:text-is("{name}")'))
        await expect(row).to_contain_text("Unavailable")
        await row.get_by_role("button", name=f"Set {name} to Available").click()
        # a waiting contact comes at once
        await expect(row).to_have_count(0)
        assert agent.handling or agent.contacts


async def test_the_end_of_post_processing_is_said_in_words_and_moves_nothing() -> None:
    async with live_page(DASHBOARD, "supervisor1", warm_up_s=0) as (stage, page):
        agent = stage.agent("agent1")
        queue = stage.queue_of(agent)
        key = stage.talk("agent1")
        await stage.sheet(page, "agent1")
        await expect(page.locator(".detail .now")).to_contain_text("Talking")
        top = "document.querySelector('.detail .acts').getBoundingClientRect().top"
        before = await page.evaluate(top)
        agent.auto = AutoPostProcessing(on=True, duration_s=300)
        stage.act("EndContact", UserKey=key)
        await expect(page.locator(".agent-state")).to_contain_text(re.compile(r"[45]:\d\d left"))
        assert await page.evaluate(top) == before
        stage.crowd(queue, 8)
        await page.locator(".tabs button").first.click()
        await page.locator(stage.tile(queue)).click()
        await expect(page.locator(".help li").first).to_contain_text(re.compile(r"[45]:\d\d left"))


async def test_those_who_are_free_stand_first_and_counts_are_filters() -> None:
    async with live_page(DASHBOARD, "supervisor1", DESK, warm_up_s=0) as (stage, page):
        queue = stage.queue_of(stage.agent("agent1"))
        stage.crowd(queue, 8)
        await page.locator(stage.tile(queue)).click()
        rows = page.locator(".helpers .agent")
        await expect(rows.first).to_have_attribute("data-state", "unavailable")
        states = page.locator(".states").get_by_role("button", name="Unavailable")
        await states.click()
        await expect(states).to_have_attribute("aria-pressed", "true")
        listed = page.locator(".detail .rows .agent")
        await page.locator(".detail .rows").evaluate(
            "list => list.scrollIntoView()"
        )  # only rows in sight exist
        await expect(listed.first).to_have_attribute("data-state", "unavailable")
        found = await listed.evaluate_all("rows => rows.map((row) => row.dataset.state)")
        assert set(found) == {"unavailable"}


async def test_what_is_pinned_searched_and_filtered_survives_a_reload() -> None:
    async with live_page(DASHBOARD, "supervisor1", DESK, warm_up_s=0) as (_, page):
        last = await page.locator(".tile .q-name").last.inner_text()
        await page.locator(".tile").last.click()
        await page.get_by_role("button", name="Pin", exact=True).click()
        await expect(page.locator(".tile .q-name").first).to_have_text(last)
        await page.locator(".filters .chip").filter(has_text="Unavailable").click()
        teams = page.get_by_label("Team or queue").locator("optgroup[label=Teams] option")
        team = str(await teams.last.text_content())
        await page.get_by_label("Team or queue").select_option(label=team)
        where = await page.get_by_label("Team or queue").input_value()
        await page.get_by_role("button", name="Team page").click()
        await expect(page.locator(".detail h2")).to_have_text(team)
        await page.get_by_role("button", name="Pin", exact=True).click()
        await expect(teams.first).to_have_text(team)
        await page.get_by_label("Name or extension").fill("Somebody")
        kept = await page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
        assert last not in kept  # ids only
        assert team not in kept
        assert "Somebody" not in kept
        await page.reload()
        await expect(page.locator(".health-text")).to_have_text("Live")
        await expect(page.locator(".tile .q-name").first).to_have_text(last)
        await expect(page.locator(".filters .chip[aria-pressed=true]")).to_contain_text("Unavailable")
        await expect(teams.first).to_have_text(team)
        assert await page.get_by_label("Team or queue").input_value() == where
        await page.get_by_label("Search", exact=True).fill(last[:4].lower())
        await expect(page.locator(".tile .q-name").first).to_contain_text(last[:4])
        await expect(page.locator(".tile")).to_have_count(1)


async def edited(page: Page, value: str) -> None:
    """Change a routing parameter of the first queue."""
    await page.locator(".tile").first.click()
    dialog = await open_parameters(page)
    await dialog.get_by_label("Attention contacts").fill(value)
    await dialog.get_by_role("button", name="Review").click()
    await dialog.get_by_role("button", name="Apply").click()
    await expect(dialog).to_be_hidden()
    await page.locator(".back").click()


async def test_parameters_have_names_and_a_line_of_help_in_ones_language() -> None:
    async with live_page(DASHBOARD, "supervisor1", {**DESK, "locale": "de-DE"}, warm_up_s=0) as (_, page):
        await page.locator(".tile").first.click()
        await page.locator(".detail summary").click()
        await expect(page.locator(".detail .facts").last).to_contain_text("Servicelevel-Schwelle")
        await page.locator(".detail").get_by_role("button", name="Ändern").click()
        dialog = page.get_by_role("dialog")
        await expect(dialog).to_contain_text("Ein in dieser Zeit angenommener Kontakt zählt als rechtzeitig.")
        # a value out of bounds, too: the browser itself speaks English
        due = dialog.get_by_label("Servicelevel-Schwelle")
        for value, told in (("7777", "Der Wert muss 5 bis 600 s sein."), ("7", "in Schritten von 5")):
            await due.fill(value)
            await dialog.get_by_role("button", name="Prüfen").click()
            assert await due.evaluate("(input) => input.validationMessage") == told
        await due.fill("30")
        await dialog.get_by_role("button", name="Prüfen").click()
        await expect(dialog.locator(".diff")).to_be_visible()


async def test_what_somebody_else_has_changed_since_is_not_taken_back() -> None:
    async with opened(users=2, warm_up_s=0) as stage, stage.page(**DESK) as page, stage.page(**DESK) as other:
        await stage.live(page, DASHBOARD, "supervisor1")
        await edited(page, "4")
        await stage.live(other, DASHBOARD, "supervisor2")
        await edited(other, "5")
        await page.get_by_role("button", name=re.compile("^Undo")).click()
        await expect(page.locator(".toast.bad")).to_contain_text("It was changed meanwhile.")


async def test_a_queue_that_gets_critical_is_spoken_felt_and_counted_in_the_title() -> None:
    async with opened(warm_up_s=0) as stage, stage.page() as page:
        await page.add_init_script(
            "globalThis.buzzed = []; navigator.vibrate = (how) => buzzed.push(how);"
            "globalThis.badges = []; navigator.setAppBadge = async (count) => { badges.push(count); };"
            "globalThis.tones = []; globalThis.AudioContext = class {"
            " state = 'running'; currentTime = 0; resume() { return Promise.resolve(); }"
            " createGain() { return {connect() {},"
            " gain: {setValueAtTime() {}, exponentialRampToValueAtTime() {}}}; }"
            " createOscillator() { const frequency = {value: 0}; return {frequency, connect: (to) => to,"
            " stop() {}, start() { tones.push(frequency.value); }}; } };"
            "globalThis.told = []; addEventListener('DOMContentLoaded', () => new MutationObserver((all) =>"
            " all.forEach(({addedNodes}) => addedNodes.forEach((each) => told.push(each.textContent))))"
            ".observe(document.getElementById('say'), {childList: true}))"
        )
        await stage.live(page, DASHBOARD, "supervisor1")
        queue, other = list(stage.simulator.center.directory.queues.values())[:2]
        stage.crowd(queue.key, 8)
        await expect(page).to_have_title("(1) Dashboard · Berlin")
        received = f"{queue.name}: Act now, 8 waiting, limit 8 · 0 available"
        await page.wait_for_function("(said) => told.includes(said)", arg=received)
        assert await page.evaluate("[buzzed.length, tones, badges]") == [1, [], [1]]
        await page.get_by_role("button", name="Settings").click()
        await page.get_by_role("dialog").get_by_text("Sound for alerts").click()
        sample = await page.evaluate("tones")
        assert len(sample) == 1
        await page.keyboard.press("Escape")
        later = "(now) => { performance.now = () => now() + 6000; }"  # alerts are 5 s apart
        await page.evaluate(f"({later})(performance.now.bind(performance))")
        for _ in range(8):
            stage.act("Arrive", QueueKey=other.key)
        await expect(page).to_have_title("(2) Dashboard · Berlin")
        await page.wait_for_function("() => tones.length === 2")
        assert await page.evaluate("[buzzed.length, badges]") == [2, [1, 2]]


async def test_ones_own_limit_of_a_queue_is_kept_as_its_id_and_a_number() -> None:
    async with live_page(DASHBOARD, "supervisor1", DESK, warm_up_s=0) as (stage, page):
        key, queue = next(iter(stage.simulator.center.directory.queues.items()))
        await page.locator(stage.tile(key)).click()
        await page.get_by_label("Alert me at a wait of").fill("5")
        await page.keyboard.press("Enter")
        stage.crowd(key)
        there = page.locator(stage.tile(key))
        await expect(there).to_have_attribute("data-level", "action")
        await expect(there.locator(".q-why")).to_have_text(
            re.compile(r"longest 0:\d\d, limit 0:05 · 0 available")
        )
        # a key figure is marked for what it says itself: one contact waits, for long
        figures = page.locator(".kpi dd")
        await expect(figures.nth(1)).to_have_attribute("data-level", "action")
        assert await figures.nth(0).get_attribute("data-level") is None
        kept = await page.evaluate("localStorage.getItem('oscc.choices')")
        assert '"limits":{"' in kept
        assert queue.name not in kept


async def test_on_a_desk_one_may_be_alerted_by_a_page_that_is_hidden() -> None:
    async with opened(warm_up_s=0) as stage, stage.page(**DESK) as page:
        await page.add_init_script(
            "globalThis.notes = []; globalThis.Notification = class extends EventTarget {"
            " constructor(title, {body}) { super(); notes.push([title, body]); }"
            " static permission = 'granted';"
            " static requestPermission() { return Promise.resolve('granted'); } }"
        )
        await stage.live(page, DASHBOARD, "supervisor1")
        await page.get_by_role("button", name="Settings").click()
        await page.get_by_role("dialog").get_by_text("Alert me while this window is hidden").click()
        await page.keyboard.press("Escape")
        await page.evaluate(
            "() => { Object.defineProperty(document, 'hidden', {configurable: true, get: () => true});"
            " document.dispatchEvent(new Event('visibilitychange')); }"
        )
        queue = next(iter(stage.simulator.center.directory.queues.values()))
        stage.crowd(queue.key, 8)
        await page.wait_for_function("() => notes.length === 1")
        [[title, body]] = await page.evaluate("notes")
        assert title == "Dashboard · Berlin"
        assert body == f"{queue.name}: Act now, 8 waiting, limit 8 · 0 available"
        await expect(page.locator(".health-text")).to_have_text("Live")


async def test_an_agent_sees_what_others_did_and_what_ends() -> None:
    async with live_page(ASSISTANT, "agent1", warm_up_s=0) as (stage, page):
        agent = stage.agent()
        await page.locator(".set[data-state=available]").click()
        await expect(page.locator(".hero-name")).to_have_text("Available")
        await page.wait_for_timeout(300)
        assert await page.locator(".toast").count() == 0  # one's own doing
        stage.act("SetRoutingState", UserKey=agent.key, RoutingState="Unavailable", By="Supervisor")
        await expect(page.locator(".toast").last).to_contain_text("Set to Unavailable by your supervisor")
        await expect(page.locator(".hero-reason")).to_have_text("by your supervisor")
        await page.locator(".set[data-state=available]").click()
        await expect(page.locator(".hero-reason")).to_have_text("")
        stage.act("GiveContact", UserKey=agent.key, QueueKey=stage.queue_of(agent), State="Ringing")
        await expect(page.locator(".hero-name")).to_have_text("Ringing")
        stage.act("EndContact", UserKey=agent.key)
        vain = page.locator(".toast").filter(has_text="A contact rang, and nobody answered.")
        await expect(vain).to_have_count(1)
        key = stage.talk("agent1")
        agent.auto = AutoPostProcessing(on=False, duration_s=14)
        await expect(page.locator(".hero-name")).to_have_text("Talking")
        await page.get_by_role("button", name="Post-processing after this contact").click()
        await expect(page.locator(".hero-next")).to_contain_text("Post-processing")
        stage.act("EndContact", UserKey=key)
        await expect(page.locator(".toast").last).to_contain_text("Post-processing ends in 10 s")


async def test_who_could_help_stands_by_the_level_in_what_the_queue_needs() -> None:
    async with live_page(DASHBOARD, "supervisor1", DESK, warm_up_s=0) as (stage, page):
        directory = stage.simulator.center.directory
        key = stage.queue_of(stage.agent("agent1"))
        queue = directory.queues[key]
        skill = directory.skills[queue.skill_key].name
        stage.crowd(key, 8)
        await page.locator(stage.tile(key)).click()
        rows = page.locator(".helpers .a-line")
        await expect(rows.first).to_contain_text(f"· {skill} ")
        found = [int(text.split()[-1]) for text in await rows.all_inner_texts()]
        there = [agent for agent in directory.agents_of[key] if agent.logged_on and not agent.handling]
        best = sorted((agent.skills[queue.skill_key].level for agent in there), reverse=True)
        assert found == best[: len(found)]
        # by skill, also those of other queues
        await page.get_by_label("Team or queue").select_option(f"skill:{queue.skill_key}")
        able = sum(queue.skill_key in agent.skills for agent in directory.agents.values())
        await expect(page.locator(".agents .pane-head .muted")).to_have_text(str(able))


async def test_a_server_that_does_not_report_who_changed_a_state_is_still_heeded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    received = elements._user

    def older(*args: Any, **how: Any) -> Any:
        new = {"RoutingStateBy", "PendingReasonKey", "PendingPostProcessing"}
        return {name: value for name, value in received(*args, **how).items() if name not in new}

    monkeypatch.setattr(elements, "_user", older)
    async with live_page(ASSISTANT, "agent1", warm_up_s=0) as (stage, page):
        await page.locator(".set[data-state=available]").click()
        await expect(page.locator(".hero-name")).to_have_text("Available")
        stage.act("SetRoutingState", UserKey=stage.agent().key, RoutingState="Unavailable", By="Supervisor")
        await expect(page.locator(".toast")).to_have_text("Your state was changed: Unavailable")
