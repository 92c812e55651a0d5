"""First readings that come late, or never, or before the answer about their session."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.domain.commands import AttachSession, LinkRequest, Listen, QueryDirectory
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import Application, Kind, Scope
from gateway.domain.resources import Agent
from gateway.domain.upstream import CatalogueChanged, Part, Source
from gateway.runtime import mirror
from gateway.runtime.link_session import WAITS_S
from gateway.runtime.mirror import OUTSIDE_MOST
from gateway.runtime.node import TICK_S
from gateway.runtime.subscriptions import DATA_ANSWER_S, REFUSED_PAUSE_S, ROUND_S, SERVED_S
from tests.doubles.fake_link import FakeLink, Waiting, _tell
from tests.runtime.scene import Scene

LINE = 8
"""So many queries a supervisor's link has."""
DOWN = GatewayError(ErrorCode.FUNCTION_UNAVAILABLE, "down")


def _of(source: Source) -> Callable[[LinkRequest], bool]:
    """Return whether a request listens to one source."""
    return lambda asked: isinstance(asked, Listen) and asked.source is source


@pytest.mark.parametrize("source", [Source.CUMULATIVE, Source.REALTIME])
async def test_a_first_reading_that_is_late_for_long_is_asked_for_again(at: Scene, source: Source) -> None:
    at.upstream.put(Part(Kind.AGENT, 7, Source.CUMULATIVE, Agent(handled_today=2)))
    at.upstream.unsent = _of(source)
    phone = await at.served(settled_s=SERVED_S + 2)
    asked = len(at.asked(Listen))
    at.upstream.unsent = lambda _: False
    await at.pass_time(DATA_ANSWER_S - SERVED_S - 3)
    assert len(at.asked(Listen)) == asked
    await at.pass_time(REFUSED_PAUSE_S + 2)
    shown = phone.shown["agent:7"]
    assert (shown["handled_today"], shown["routing_state"], phone.health) == (2, "available", "live")
    assert at.queries == LINE, "the query without a reading was stopped"
    asked = len(at.asked(Listen))
    await at.pass_time(2 * DATA_ANSWER_S)
    assert len(at.asked(Listen)) == asked


async def test_data_that_never_comes_is_asked_for_less_and_less_often(at: Scene) -> None:
    at.upstream.unsent = _of(Source.CUMULATIVE)
    await at.served()
    asked = []
    for _ in range(6):
        await at.pass_time(10 * DATA_ANSWER_S)
        asked.append(len(at.asked(Listen)))
    missing = 2  # of agents and of queues
    assert asked[0] <= LINE + 3 * missing
    assert asked[-1] <= LINE + 7 * missing
    assert asked[-1] > asked[-3], "it may come after all"


async def test_once_all_data_has_come_later_data_is_asked_for_again_as_soon_as_the_first(at: Scene) -> None:
    at.upstream.put(Part(Kind.AGENT, 7, Source.CUMULATIVE, Agent(handled_today=2)))
    at.upstream.unsent = _of(Source.CUMULATIVE)
    phone = await at.served(topics=["queues"], settled_s=10 * DATA_ANSWER_S)
    at.upstream.unsent = lambda _: False
    await at.pass_time(16 * DATA_ANSWER_S)
    at.upstream.unsent = _of(Source.CUMULATIVE)
    at.node.follow(phone, ("queues", "agents"))
    await at.pass_time(SERVED_S + 2)
    at.upstream.unsent = lambda _: False
    asked = len(at.asked(Listen))
    await at.pass_time(DATA_ANSWER_S + REFUSED_PAUSE_S)
    assert len(at.asked(Listen)) == asked + 1


async def test_a_repeated_request_for_a_first_reading_may_be_refused(at: Scene) -> None:
    at.upstream.put(Part(Kind.AGENT, 7, Source.CUMULATIVE, Agent(handled_today=2)))
    at.upstream.unsent = _of(Source.CUMULATIVE)
    phone = await at.served(settled_s=SERVED_S + 2)
    refused = _of(Source.CUMULATIVE)
    at.upstream.refused = lambda request: DOWN if refused(request) else None
    await at.pass_time(DATA_ANSWER_S)
    at.upstream.refused, at.upstream.unsent = (lambda _: None), (lambda _: False)
    await at.pass_time(2 * REFUSED_PAUSE_S)
    assert (phone.shown["agent:7"]["handled_today"], at.queries) == (2, LINE)


@pytest.mark.parametrize(
    ("is_late", "outside_most"),
    [(True, OUTSIDE_MOST), (False, OUTSIDE_MOST), (True, 0)],
    ids=["late", "unreadable", "too many"],
)
async def test_readings_that_come_before_the_answer_about_their_session_are_not_lost(
    at: Scene, monkeypatch: pytest.MonkeyPatch, is_late: bool, outside_most: int
) -> None:
    monkeypatch.setattr(mirror, "OUTSIDE_MOST", outside_most)
    at.upstream.add_user(2, "dana", scope=Scope(agents=frozenset({7, 8}), queues=frozenset({5})), own_agent=7)
    topics = ["agents", "queues"]
    await at.served("dana", Application.REMOTE_ASSISTANT, number="+49301234567", topics=topics)
    link, late = at.link(2), list[Callable[[], None]]()
    have_served = link._have_served

    def serve(request: LinkRequest, answer: Waiting) -> None:
        if not isinstance(request, AttachSession) or late:
            have_served(request, answer)
            return
        received = link._serve(request)
        outcome = received if is_late else GatewayError(ErrorCode.UPSTREAM_UNAVAILABLE, "unreadable")
        late.append(lambda: link._put(lambda: _tell(answer, outcome)))
        if not is_late:
            late[0]()

    monkeypatch.setattr(link, "_have_served", serve)
    phone = await at.phone("dana", device="d2")
    phone.hello(topics=topics)
    await at.pass_time(ROUND_S + 1)
    if is_late:
        late[0]()
    await at.pass_time(REFUSED_PAUSE_S + 2)
    assert {key for key in phone.shown if key.split(":")[0] in set(Kind)} == {"agent:7", "agent:8", "queue:5"}
    assert phone.waiting == 3


async def test_a_new_link_is_not_live_while_messages_wait(at: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    waits_since: list[float | None] = [at.clock.now()]
    waits = property(lambda _: waits_since[0], lambda *_: None)
    monkeypatch.setattr(FakeLink, "waits_since", waits, raising=False)
    await at.clock.advance(2 * WAITS_S)
    phone = await at.served(settled_s=3)
    assert (phone.waiting, phone.health) == (3, "stale")
    waits_since[0] = None
    await at.pass_time(TICK_S)
    assert phone.health == "live"


@pytest.mark.parametrize("began_s", [0.0, 0.3, 0.6, 0.9])
async def test_data_is_old_while_a_message_of_its_link_is_read(at: Scene, began_s: float) -> None:
    phone = await at.served()
    link = at.link(1)
    link.holds = lambda request: isinstance(request, QueryDirectory)
    link.push(CatalogueChanged())
    await at.pass_time(TICK_S + began_s)
    link.waits_since = at.clock.now()
    await at.clock.advance(WAITS_S)
    assert phone.health == "live"
    await at.clock.advance(TICK_S)
    assert phone.health == "stale", "before a message has waited for 2 s"
    link.waits_since = None
    link.serve_held()
    await at.pass_time(TICK_S)
    assert phone.health == "live"
