"""Is what is listened to what is wanted, however late, or never, the server answers or tells?"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.domain.commands import (
    AttachSession,
    LinkRequest,
    Listen,
    QueryDirectory,
    StopListening,
)
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import Kind
from gateway.domain.resources import FunctionState, Queue
from gateway.domain.upstream import Part, Source
from gateway.runtime.subscriptions import AGAIN_S, KEPT_S, ROUND_S, SERVED_S, STOPPED_MOST, Asking
from tests.doubles.fake_link import PATIENCE_S, FakeLink
from tests.doubles.fake_upstream import KEEP_ALIVE_S
from tests.runtime.scene import PhoneLine, Scene, scene, user

LINE = 8
"""So many queries a supervisor's link has: of four kinds, of what is counted of two, and two more."""
DOWN = GatewayError(ErrorCode.FUNCTION_UNAVAILABLE, "down")


def _is_listen(request: LinkRequest) -> bool:
    return isinstance(request, Listen)


def _of(source: Source, kind: Kind | None = None) -> Callable[[LinkRequest], bool]:
    """Return whether a request listens to one kind and source."""
    return lambda asked: isinstance(asked, Listen) and asked.source is source and kind in (None, asked.kind)


def _link(at: Scene) -> FakeLink:
    return at.link()


def _asking(at: Scene) -> Asking:
    linked = at.owner()._linked
    assert linked is not None
    assert linked._asking is not None
    return linked._asking


def _queries(at: Scene) -> int:
    return len(at.upstream.wires[user(1)].queries)


async def _come(at: Scene) -> PhoneLine:
    """Give a phone that has said hello, and may have to wait."""
    phone = await at.phone("anna")
    phone.hello()
    await at.clock.settle()
    return phone


# ---- answers that come late ----


async def test_a_late_answer_counts_and_nothing_is_asked_twice() -> None:
    async with scene() as at:
        at.upstream.slow = _is_listen
        phone = await _come(at)
        await at.pass_time(2 * ROUND_S + 1)
        _link(at).serve_held()
        await at.pass_time(1)
        assert phone.health == "live"
        assert phone.shown["queue:5"]["contacts_waiting"] == 3
        assert phone.shown["agent:7"]["routing_state"] == "available"
        await at.pass_time(3 * AGAIN_S)
        assert _queries(at) == LINE
        assert at.asked(StopListening) == []


async def test_a_server_that_is_always_slow_is_asked_for_each_set_once_at_a_time() -> None:
    async with scene() as at:
        at.upstream.slow = _is_listen
        await _come(at)
        link = _link(at)
        asked: list[LinkRequest] = []

        def hold(request: LinkRequest) -> bool:
            asked.append(request)
            return _is_listen(request)

        link.holds = hold
        await at.pass_time(PATIENCE_S - 1)
        listens = [each for each in asked if _is_listen(each)]
        assert (len(listens), len(set(listens))) == (LINE - 1, LINE - 1)
        await at.pass_time(PATIENCE_S)
        assert max(asked.count(each) for each in listens) <= 2


async def test_what_is_not_wanted_any_more_when_it_is_answered_is_stopped() -> None:
    async with scene() as at:
        phone = await at.served(topics=["agents"])
        queues = _of(Source.REALTIME, Kind.QUEUE)
        _link(at).holds = queues
        phone.send(kind="follow", id="1", topics=["agents", "queues"])
        await at.pass_time(ROUND_S + 1)
        phone.send(kind="follow", id="2", topics=["agents"])
        await at.pass_time(1)
        _link(at).serve_held()
        await at.pass_time(1)
        listens = at.upstream.wires[user(1)].queries.values()
        assert not any(queues(listen) for listen in listens)
        assert "queue:5" not in phone.shown


async def test_a_late_directory_is_shown_and_asked_for_once() -> None:
    async with scene() as at:
        at.upstream.slow = lambda request: isinstance(request, QueryDirectory)
        phone = await _come(at)
        await at.pass_time(ROUND_S + 3)
        assert not phone.shown
        _link(at).serve_held()
        await at.pass_time(1)
        assert (phone.health, phone.shown["agent:7"]["display_name"]) == ("live", "Bert")
        await at.pass_time(3 * AGAIN_S)
        assert len(at.asked(QueryDirectory)) == 1


async def test_a_directory_that_changed_while_it_was_asked_for_is_asked_for_again() -> None:
    async with scene() as at:
        at.upstream.slow = lambda request: isinstance(request, QueryDirectory)
        phone = await _come(at)
        await at.pass_time(ROUND_S + 1)
        at.upstream.set_catalogue()
        await at.pass_time(1)
        _link(at).serve_held()
        await at.pass_time(1)
        assert (len(at.asked(QueryDirectory)), phone.health) == (2, "live")


async def test_a_session_that_is_accepted_late_is_served_and_told_to_be_there() -> None:
    async with scene() as at:
        await at.served()
        _link(at).holds = lambda request: isinstance(request, AttachSession)
        second = await at.phone("anna", device="d2")
        second.hello()
        await at.pass_time(ROUND_S + 1)
        assert not second.of_kind("welcome")
        _link(at).serve_held()
        await at.pass_time(1)
        assert second.of_kind("welcome")
        assert at.upstream.session(second.ticket.secret).present


# ---- what is never told ----


async def test_realtime_data_that_is_not_told_is_unknown_and_nothing_is_called_live() -> None:
    async with scene() as at:
        at.upstream.slow = _of(Source.REALTIME)
        phone = await _come(at)
        await at.pass_time(SERVED_S - 1)
        assert not phone.shown
        await at.pass_time(3)
        assert phone.of_kind("welcome")
        assert phone.shown["agent:7"]["routing_state"] == "unknown"
        assert phone.shown["queue:5"] == {"name": "Billing"}
        assert phone.health == "stale"
        _link(at).serve_held()
        await at.pass_time(1)
        assert phone.shown["agent:7"]["routing_state"] == "available"
        assert phone.shown["queue:5"]["contacts_waiting"] == 3
        assert phone.health == "live"
        _link(at).holds = lambda _: False
        at.upstream.put(Part(Kind.QUEUE, 5, Source.REALTIME, Queue(contacts_waiting=9)))
        await at.pass_time(1)
        assert phone.shown["queue:5"]["contacts_waiting"] == 9


@pytest.mark.parametrize("source", [Source.CUMULATIVE, Source.CONFIGURATION])
async def test_a_first_reading_that_never_comes_is_done_without(source: Source) -> None:
    async with scene() as at:
        at.upstream.untold = _of(source)
        phone = await _come(at)
        await at.pass_time(SERVED_S + 2)
        assert (phone.health, phone.shown["queue:5"]["contacts_waiting"]) == ("live", 3)
        again = await at.again(phone)
        assert again.of_kind("welcome"), "whoever comes next does not wait"
        assert _queries(at) == LINE


async def test_what_phones_show_is_kept_longer_when_a_new_link_is_slow() -> None:
    async with scene() as at:
        phone = await at.served()
        at.upstream.untold = _of(Source.REALTIME)
        at.upstream.drop(user(1))
        await at.pass_time(KEPT_S - 5)
        assert (phone.health, phone.shown["queue:5"]["contacts_waiting"]) == ("stale", 3)
        await at.pass_time(10)
        assert (phone.health, phone.shown["queue:5"]) == ("stale", {"name": "Billing"})


async def _fall_silent(at: Scene) -> None:
    """Let the link be silent for so long that everything is asked anew, and time for that pass."""
    _link(at).mute()
    await at.pass_time(KEEP_ALIVE_S + 3)
    _link(at).unmute()
    await at.pass_time(SERVED_S + 3)


async def test_old_data_is_kept_and_called_old_while_what_is_asked_anew_is_not_told() -> None:
    async with scene() as at:
        phone = await at.served()
        at.upstream.untold = _of(Source.REALTIME)
        await _fall_silent(at)
        assert (phone.health, phone.shown["queue:5"]["contacts_waiting"]) == ("stale", 3)
        assert phone.shown["agent:8"]["routing_state"] == "logged_off"
        at.upstream.untold = lambda _: False
        _asking(at).listen_anew()
        await at.pass_time(1)
        assert (phone.health, _queries(at)) == ("live", LINE)


@pytest.mark.parametrize("source", [Source.REALTIME, Source.CUMULATIVE])
async def test_what_is_not_followed_any_more_is_not_waited_for(source: Source) -> None:
    async with scene() as at:
        at.upstream.untold = _of(source, Kind.QUEUE)
        phone = await _come(at)
        await at.pass_time(2)
        at.owner().follow(phone.ticket.handle, ("agents",))
        await at.pass_time(1)
        at.upstream.untold = lambda _: False
        await at.pass_time(SERVED_S)
        assert phone.shown
        assert at.owner().mirror.live
        assert _asking(at).settled


async def test_what_is_late_is_done_without_also_after_a_doubt() -> None:
    async with scene() as at:
        at.upstream.slow = _of(Source.CUMULATIVE, Kind.QUEUE)
        phone = await _come(at)
        await at.pass_time(SERVED_S + 3)
        at.owner()._machine.doubt()
        await at.pass_time(1)
        await at.pass_time(SERVED_S + 2)
        assert phone.health == "live"


async def test_what_is_remembered_of_queries_that_were_stopped_is_bounded() -> None:
    async with scene() as at:
        await at.served()
        at.upstream.untold = _of(Source.REALTIME)
        for _ in range(STOPPED_MOST // 4):
            await _fall_silent(at)
        assert _queries(at) == LINE
        assert len(_asking(at)._queries._stopped) <= STOPPED_MOST


async def test_a_first_reading_may_come_before_it_is_said_which_query_it_is() -> None:
    async with scene() as at:
        at.upstream.tells_first = True
        phone = await at.served()
        assert phone.of_kind("welcome")
        await at.pass_time(1)
        assert (phone.health, phone.shown["queue:5"]["contacts_waiting"]) == ("live", 3)


# ---- functions ----


async def test_what_is_refused_though_no_function_is_told_to_be_down_is_asked_for_again() -> None:
    async with scene() as at:
        at.upstream.refusals[Listen] = DOWN
        phone = await _come(at)
        assert phone.shown["agent:7"]["routing_state"] == "unknown"
        at.upstream.refusals.clear()
        await at.pass_time(AGAIN_S + 1)
        assert phone.shown["agent:7"]["routing_state"] == "available"


async def test_what_a_function_refuses_that_is_down_is_asked_for_when_it_is_up_again() -> None:
    async with scene() as at:
        at.upstream.functions["historical"] = FunctionState.DOWN
        refused = _of(Source.CUMULATIVE)
        at.upstream.refused = lambda request: DOWN if refused(request) else None
        phone = await _come(at)
        asked = len(at.asked(Listen))
        await at.pass_time(3 * AGAIN_S)
        assert (len(at.asked(Listen)), phone.health) == (asked, "live")
        at.upstream.refused = lambda _: None
        at.upstream.set_function("historical", FunctionState.UP)
        await at.pass_time(1)
        assert len(at.asked(Listen)) == asked + 2
        assert _queries(at) == LINE
