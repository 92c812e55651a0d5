"""An open link: its messages and their effects."""

from __future__ import annotations

import itertools

import pytest

from gateway.core.element import Element
from gateway.core.ledger import Health
from gateway.core.link import BEAT_S, LinkMachine
from gateway.core.view import UserSessions
from gateway.domain.commands import (
    AttachSession,
    KeepAlive,
    LinkAnswer,
    LinkRequest,
    Listen,
    Presence,
    QueryDirectory,
)
from gateway.domain.errors import CloseCode, EndReason
from gateway.domain.model import Application, Kind, NodeId, Scope
from gateway.domain.resources import Agent, FunctionState, Queue, RoutingState
from gateway.domain.upstream import Announced, Attached, Part, SessionEnded, Source
from gateway.runtime.link_session import REPORT_EVERY_S, REPORT_LIVE_S, LinkHealth
from gateway.runtime.mirror import Feed, Mirror, SharedOffsets
from tests.core.test_ledger import Reader
from tests.doubles.fake_people import UserLink
from tests.doubles.fake_upstream import KEEP_ALIVE_S
from tests.runtime.nodes import Nodes
from tests.runtime.scene import FakePhone, Scene, replace_method, user


def _as_of(at: Scene) -> float:
    """Return when the data of the first user was received."""
    as_of = at.node.health(user(1)).as_of
    assert as_of is not None
    return as_of


async def test_a_server_that_dates_its_silence_does_not_look_like_a_clock_that_was_set(
    at: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reading that a new query brings at an Asterisk is made here; its last message may be old."""
    phone = await at.served()
    link = at.link()
    silent_since = property(lambda _: at.clock.now() - 10, lambda *_: None)
    monkeypatch.setattr(type(link), "last_received_at", silent_since, raising=False)
    for contacts in (7, 8):
        at.upstream.set_waiting(contacts)
        await at.pass_time(1)
        assert phone.waiting == contacts
        assert phone.server_ms() == at.clock.wall_ms()
        assert at.owner().mirror.offset_ms == 0


async def test_the_requester_runs_before_the_next_event_is_processed(at: Scene) -> None:
    """A first reading follows its answer at once: it must find its query known."""
    phone = await at.phone("anna")
    at.upstream.put(*(Part(Kind.AGENT, n, Source.REALTIME, _AVAILABLE) for n in (7, 8)))
    await phone.connect()
    assert {phone.shown[f"agent:{n}"]["routing_state"] for n in (7, 8)} == {"available"}


async def test_silence_is_broken_after_half_a_keep_alive(at: Scene) -> None:
    await at.served(settled_s=KEEP_ALIVE_S / 2 - 1)
    assert at.asked(KeepAlive) == []
    await at.pass_time(2)
    assert len(at.asked(KeepAlive)) == 1
    await at.pass_time(KEEP_ALIVE_S / 2 + 1)
    assert len(at.asked(KeepAlive)) == 2


async def test_nothing_is_said_before_the_server_has_spoken(at: Scene) -> None:
    phone = await at.served()
    at.upstream.mute_links = True
    at.upstream.drop(user(1))
    await at.pass_time(2 * KEEP_ALIVE_S)
    link = at.link()
    asked = len(at.upstream.requests)
    assert at.asked(KeepAlive) == []
    link.unmute()
    await at.pass_time(1)
    assert len(at.upstream.requests) > asked
    assert phone.health == "live"


async def test_a_silent_link_is_stale_then_dropped_then_dialled(at: Scene) -> None:
    phone = await at.served()
    old = at.link()
    old.mute()
    await at.pass_time(1.5 * KEEP_ALIVE_S - 2)
    assert phone.health == "live"
    await at.pass_time(3)
    assert phone.health == "stale"
    assert phone.of_kind("ping")[-1]["as_of_ms"] <= at.clock.wall_ms() - 1_500 * KEEP_ALIVE_S
    await at.pass_time(1.5 * KEEP_ALIVE_S + 2)
    assert not old.open
    assert phone.health == "live"
    assert at.upstream.link(user(1)) is not old


async def test_after_a_long_silence_everything_is_requested_again_before_it_is_live(at: Scene) -> None:
    phone = await at.served()
    link = at.link()
    link.mute()
    await at.pass_time(1.6 * KEEP_ALIVE_S)
    queries = set(at.upstream.user_links[user(1)].queries)
    at.upstream.set_waiting(8)
    link.unmute()
    await at.clock.settle()
    assert phone.health == "stale", "what came after the silence may not be all"
    await at.pass_time(2)
    assert (phone.health, phone.waiting) == ("live", 8)
    assert not queries & set(at.upstream.user_links[user(1)].queries)


@pytest.mark.parametrize("asked", [Listen, AttachSession, QueryDirectory, Presence])
async def test_a_link_lost_in_the_middle_of_its_first_questions_is_dialled_again(
    at: Scene, asked: type[LinkRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: list[LinkRequest] = []
    serve = at.upstream.serve

    def lose(user_link: UserLink, request: LinkRequest) -> LinkAnswer:
        if isinstance(request, asked) and len(lost) < 2:
            lost.append(request)
            user_link.link.finish("lost", discard=True)
        return serve(user_link, request)

    monkeypatch.setattr(at.upstream, "serve", lose)
    phone = await at.served(settled_s=3)
    assert len(lost) == 2
    assert (phone.health, phone.closed) == ("live", None)
    assert _resources(phone) == {"agent:7", "agent:8", "queue:5"}


async def test_the_reason_of_an_end_closes_its_phone_and_nobody_elses(at: Scene) -> None:
    phone, other = await at.served(), await at.served(device="d2")
    at.upstream.end_session(at.upstream.session(phone.ticket.secret), EndReason.BLOCKED, "Cleo")
    await at.pass_time(1)
    assert (phone.ended.code, phone.ended.by) == (CloseCode.ACCOUNT_BLOCKED, "Cleo")
    assert (other.closed, other.health) == (None, "live")
    phone = await at.served()
    at.link().push(SessionEnded(4711, EndReason.EXPIRED, None))
    await at.pass_time(1)
    assert (phone.closed, phone.health) == (None, "live")


async def test_the_reason_of_an_end_that_comes_before_the_answer_to_the_attach_counts(
    at: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, serve = await at.served(device="d2"), at.upstream.serve

    def end_at_once(user_link: UserLink, request: LinkRequest) -> LinkAnswer:
        answer = serve(user_link, request)
        if isinstance(request, AttachSession):
            session = at.upstream.session(request.secret)
            at.upstream.end_session(session, EndReason.TAKEN_OVER, "Cleo")
        return answer

    monkeypatch.setattr(at.upstream, "serve", end_at_once)
    phone = await at.phone("anna")
    phone.hello()
    await at.pass_time(1)
    assert (phone.ended.code, phone.ended.by) == (CloseCode.LOGGED_OFF, "Cleo")
    assert (other.closed, other.health) == (None, "live")


async def test_an_early_end_concerns_no_other_alias(at: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    await at.served(device="d2")
    serve = at.upstream.serve

    def end_another(user_link: UserLink, request: LinkRequest) -> LinkAnswer:
        if isinstance(request, AttachSession):
            user_link.link.push(SessionEnded(4711, EndReason.TAKEN_OVER, None))
        return serve(user_link, request)

    monkeypatch.setattr(at.upstream, "serve", end_another)
    phone = await at.served(settled_s=1)
    assert (phone.closed, phone.health) == (None, "live")


async def test_an_early_end_of_a_reused_alias_ends_none(monkeypatch: pytest.MonkeyPatch, at: Scene) -> None:
    await at.served(device="d2")
    serve, attached = at.upstream.serve, list[LinkRequest]()

    def end_the_one_before(user_link: UserLink, request: LinkRequest) -> LinkAnswer:
        answer = serve(user_link, request)
        if isinstance(answer, Attached):
            attached.append(request)
            if len(attached) == 1:
                user_link.link.push(SessionEnded(answer.alias, EndReason.TAKEN_OVER, None))
        return answer

    monkeypatch.setattr(at.upstream, "serve", end_the_one_before)
    phone = await at.served(settled_s=1)
    assert (phone.closed, phone.health) == (None, "live")
    assert len(attached) == 2, "the server is asked whether the session lives"


class _Reader(Reader):
    """Notes every state that an agent is ever recorded with."""

    def __init__(self, at: Scene, key: str) -> None:
        self.states: list[RoutingState | None] = []
        self._ledger = at.owner().feed.ledger
        self._key = key
        super().__init__(self._ledger)

    def mark(self, key: str, before: Element | None) -> None:
        element = self._ledger.get(key)
        if key == self._key and element is not None:
            assert isinstance(element.value, Agent)
            self.states.append(element.value.routing_state)


@pytest.mark.parametrize("present", [True, False])
async def test_a_gained_agent_is_not_called_logged_off_before_the_whole_set(at: Scene, present: bool) -> None:
    at.upstream.put(Part(Kind.AGENT, 9, Source.DIRECTORY, Agent(display_name="Dora")))
    if present:
        at.upstream.put(Part(Kind.AGENT, 9, Source.REALTIME, _AVAILABLE))
    phone = await at.served()
    reader = _Reader(at, "agent:9")
    at.upstream.set_scope(user(1), Application.DASHBOARD, Scope(agents=frozenset({7, 8, 9})))
    await at.pass_time(1)
    assert reader.states == [RoutingState.AVAILABLE if present else RoutingState.LOGGED_OFF]
    assert _resources(phone) == {"agent:7", "agent:8", "agent:9"}


async def test_what_left_the_scope_leaves_the_mirror(at: Scene) -> None:
    phone = await at.served()
    at.upstream.set_scope(user(1), Application.DASHBOARD, Scope(agents=frozenset({8})))
    await at.pass_time(1)
    assert _resources(phone) == {"agent:8"}
    kept = {key for key, _ in at.owner().feed.ledger.items() if key.split(":")[0] in set(Kind)}
    assert kept == {"agent:8"}
    assert at.owner().mirror.assembly.addresses() == {(Kind.AGENT, 8)}


def _resources(phone: FakePhone) -> set[str]:
    return {key for key in phone.shown if key.split(":")[0] in set(Kind)}


_AVAILABLE = Agent(routing_state=RoutingState.AVAILABLE)


async def test_announcements_are_shown_to_connected_phones_and_stored_nowhere(at: Scene) -> None:
    phone, other = await at.served(), await at.served("bert", Application.REMOTE_ASSISTANT, number="+491")
    link = at.link()
    link.push(Announced("n1", 2, "maintenance", "Tonight", "From ten on.", None, None))
    await at.clock.settle()
    assert phone.of_kind("notice") == [
        {
            "kind": "notice",
            "id": "n1",
            "version": 2,
            "category": "maintenance",
            "title": "Tonight",
            "summary": "From ten on.",
            "link": None,
            "effective_at_ms": at.clock.wall_ms(),
            "must_acknowledge": False,
        }
    ]
    assert other.of_kind("notice") == []
    assert (await at.again(phone)).of_kind("notice") == []


async def test_a_stream_of_readings_is_noted_as_received_now_and_then_and_all_shown(
    at: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone = await at.served()
    at.upstream.put(Part(Kind.QUEUE, 5, Source.DIRECTORY, Queue(name="Support")))
    owner, received = at.owner(), list[float]()
    was_received = owner.link_health.received_live

    def spy(now: float) -> bool:
        received.append(at.clock.now())
        return was_received(now)

    replace_method(monkeypatch, owner.link_health, "received_live", spy)
    for contacts in range(20):
        at.upstream.set_waiting(contacts)
        await at.clock.advance(REPORT_LIVE_S / 5)
    assert phone.waiting == 19
    assert 3 <= len(received) <= 5
    assert all(later - earlier >= REPORT_LIVE_S - 1e-9 for earlier, later in itertools.pairwise(received))


async def test_the_age_of_data_is_that_of_the_last_message_also_in_a_stream(at: Scene) -> None:
    await at.served()
    at.upstream.put(Part(Kind.QUEUE, 5, Source.DIRECTORY, Queue(name="Support")))
    for contacts in range(20):
        at.upstream.set_waiting(contacts)
        await at.clock.advance(0.09)
        assert at.clock.now() - _as_of(at) <= 0.1


@pytest.mark.parametrize("is_lost", [True, False])
async def test_data_that_grows_old_after_a_stream_of_readings_is_as_old_as_the_last_one(
    at: Scene, *, is_lost: bool
) -> None:
    phone = await at.served()
    for contacts in range(25):
        await at.clock.advance(0.09)
        at.upstream.set_waiting(contacts)
        await at.clock.settle()
    last_ms, last_at = at.clock.wall_ms(), at.clock.now()
    link = at.link()
    if is_lost:
        at.upstream.drop(user(1))
        at.upstream.unreachable = True
    else:
        link.mute()
        await at.clock.advance(1.5 * KEEP_ALIVE_S - 0.1)
        assert at.node.health(user(1)).upstream == "live"
    await at.pass_time(2)
    assert phone.health == ("down" if is_lost else "stale")
    assert phone.of_kind("ping")[-1]["as_of_ms"] == last_ms
    assert at.node.health(user(1)).as_of == last_at


@pytest.mark.parametrize(("is_read", "health"), [(True, "live"), (False, "stale")])
async def test_a_stall_after_a_stream_of_readings_counts_from_the_last_one(
    at: Scene, health: str, *, is_read: bool
) -> None:
    """It lasts nearly so long that all would be read again, or that the link would be dropped."""
    await at.served()
    link, listened = at.link(), at.asked(Listen)
    await at.pass_time(REPORT_LIVE_S)
    for contacts, wait_s in enumerate((0.9 * REPORT_LIVE_S, 0.0)):
        at.upstream.set_waiting(contacts)
        await at.clock.advance(wait_s)
    link.holds = lambda request: isinstance(request, KeepAlive)
    at.clock.stand_still((1 if is_read else 3) * KEEP_ALIVE_S - 1.5)
    if is_read:
        at.upstream.set_waiting(7)
        await at.clock.settle()
    await at.clock.advance(1)
    assert at.link() is link
    assert at.node.health(user(1)).upstream == health
    assert at.asked(Listen) == listened


@pytest.mark.parametrize(
    ("unread_s", "transit_ms", "age_s"),
    [(0.0, 3_000, 0.0), (5.0, 3_000, 3.0), (2.0, 3_000, 2.0), (5.0, 0, 0.0)],
)
async def test_data_that_waited_unread_in_a_busy_node_is_as_old_as_the_server_says(
    at: Scene, unread_s: float, transit_ms: int, age_s: float
) -> None:
    """Its age is never more than how long the node may not have read."""
    await at.served(settled_s=4)
    at.node.unread_s = lambda: unread_s
    await at.pass_time(BEAT_S)
    at.upstream.transit_ms = transit_ms
    at.upstream.set_waiting(1)
    await at.clock.settle()
    assert at.clock.now() - _as_of(at) == pytest.approx(age_s, abs=0.01)


async def test_a_silent_link_whose_messages_were_all_slow_is_timed_by_its_keep_alive(at: Scene) -> None:
    began_ms, at.upstream.transit_ms = at.clock.wall_ms(), 7_000
    at.upstream.put(Part(Kind.AGENT, 7, Source.REALTIME, Agent(routing_state_since_ms=began_ms - 60_000)))
    phone = await at.served()
    late_ms = phone.shown["agent:7"]["routing_state_since_ms"]
    at.upstream.transit_ms = 0
    await at.pass_time(KEEP_ALIVE_S / 2 + 1)
    assert late_ms - phone.shown["agent:7"]["routing_state_since_ms"] == 7_000


async def test_data_read_while_the_node_was_behind_stays_old_when_it_is_processed_later(at: Scene) -> None:
    await at.served(settled_s=4)
    at.node.unread_s = lambda: 5.0
    await at.pass_time(2)
    at.node.unread_s = lambda: 0.0
    await at.pass_time(2 * BEAT_S)
    at.link().behind_s, at.upstream.transit_ms = 2.0, 3_000
    at.upstream.set_waiting(1)
    await at.clock.settle()
    assert at.clock.now() - _as_of(at) == pytest.approx(3.0, abs=0.01), "by the time in the message"


async def test_an_answer_that_may_have_waited_unread_makes_data_only_as_new_as_that(at: Scene) -> None:
    await at.served()
    at.node.unread_s = lambda: 1.5
    await at.pass_time(KEEP_ALIVE_S / 2 + 1)
    assert 1.5 <= at.clock.now() - _as_of(at) <= 3.0


@pytest.mark.parametrize("stood_s", [1.5, 5.0, 3 * KEEP_ALIVE_S])
async def test_what_a_stopped_process_finds_may_be_as_old_as_the_stop(at: Scene, stood_s: float) -> None:
    phone = await at.served(settled_s=1.25)
    health = at.node.user_states[user(1)].feed
    stopped_at = at.clock.now()
    at.clock.stand_still(stood_s)
    at.upstream.set_waiting(1)  # the server wrote it at any time since
    await at.clock.settle()
    assert phone.waiting == 1
    assert health.ledger.health.as_of is not None
    assert health.ledger.health.as_of <= stopped_at, "read before a beat"
    await at.clock.advance(0)
    at.upstream.set_waiting(2)
    await at.clock.settle()
    assert health.ledger.health.as_of <= stopped_at, "there was more in the socket than is read in one turn"
    await at.pass_time(BEAT_S)
    await at.pass_time(2 * KEEP_ALIVE_S)  # the server is asked again after a long silence
    at.upstream.set_waiting(3)
    await at.clock.settle()
    assert at.clock.now() - health.ledger.health.as_of <= REPORT_EVERY_S


async def test_a_link_that_was_opened_after_a_stop_has_nothing_from_before(at: Scene) -> None:
    await at.served(settled_s=1.25)
    at.clock.stand_still(30.0)
    went_on_at = at.clock.now()
    at.upstream.drop(user(1))
    await at.clock.settle()
    await at.pass_time(0.25)
    await at.pass_time(5.0)
    at.upstream.set_waiting(2)
    await at.clock.settle()
    assert _as_of(at) >= went_on_at


# ---- freshness of the owner's data ----


async def test_what_another_owner_showed_is_stale_until_a_link_was_tried(at: Scene) -> None:
    feed = Feed(user(1))
    feed.ledger.health = Health("live", "live", 77.0)
    mirror = Mirror(feed, UserSessions(), at.node.composer, SharedOffsets(), at.clock)
    link_health = LinkHealth(feed, mirror, LinkMachine(), at.services, is_taking_over=True)
    link_health.publish()
    assert (feed.ledger.health.upstream, feed.ledger.health.as_of) == ("stale", 77)
    link_health.unreached()
    assert (feed.ledger.health.upstream, feed.ledger.health.as_of) == ("down", 77)


async def test_the_owners_phones_are_shown_how_the_bus_stands(at: Nodes) -> None:
    near = await at.served(0, settled_s=1)
    assert near.of_kind("ping")[-1]["bus"] == "live"
    at.trouble.take_away()
    await at.pass_time(3)
    assert near.of_kind("ping")[-1]["bus"] == "degraded"
    await at.pass_time(6)
    ping = near.of_kind("ping")[-1]
    assert (ping["bus"], ping["upstream"]) == ("down", "live")


async def test_data_is_as_old_as_it_is_until_a_new_link_has_sent_it_again(at: Scene) -> None:
    phone = await at.served(settled_s=2)
    at.upstream.unreachable = True
    at.upstream.drop(user(1))
    dropped_at = at.clock.now()
    await at.pass_time(25)
    at.upstream.unreachable, at.upstream.slow = False, lambda asked: isinstance(asked, Listen)
    await at.pass_time(31)
    link = at.link()
    at.upstream.set_function("routing", FunctionState.DEGRADED)
    await at.pass_time(1)
    assert _as_of(at) <= dropped_at
    link.serve_held()
    await at.pass_time(1)
    assert phone.health == "live"
    assert at.owner().feed.ledger.health.as_of == at.clock.now() - 1


async def test_the_first_byte_after_a_long_silence_makes_nothing_fresh(at: Scene) -> None:
    await at.served()
    link = at.link()
    link.mute()
    silent_since = at.clock.now()
    await at.pass_time(KEEP_ALIVE_S + 5)
    link.holds = lambda asked: isinstance(asked, Listen)
    link.unmute()
    await at.pass_time(3)
    assert _as_of(at) <= silent_since
    link.serve_held()
    await at.pass_time(1)
    assert _as_of(at) > silent_since + 20


async def test_an_owner_whose_renewal_is_refused_is_stale_until_its_link_brings_something(at: Scene) -> None:
    phone = await at.served(settled_s=2)
    link = at.link()
    link.mute()
    token = at.owner().epoch
    await at.leases.acquire(user(1), NodeId("n2"), "n2-1", floor=0, expected=token)
    await at.pass_time(7)
    assert at.owner().lease.lost
    assert phone.health == "stale", "the link may have been replaced"
    link.unmute()
    await at.pass_time(2)
    assert phone.health == "live", "the link is still this node's"


@pytest.mark.parametrize("by_ms", [-3_600_000, -30_000, 3_600_000])
async def test_a_wall_clock_that_is_set_makes_no_data_older_or_newer(at: Scene, by_ms: int) -> None:
    phone = await at.served(settled_s=2)
    at.upstream.unreachable = True
    at.upstream.drop(user(1))
    at.clock.jump_wall(by_ms)
    await at.pass_time(30)
    ping = phone.of_kind("ping")[-1]
    assert ping["upstream"] == "down"
    assert 0 <= ping["server_time_ms"] - ping["as_of_ms"] <= 33_000


async def test_data_of_a_link_that_a_busy_node_opened_is_not_said_to_be_newer_than_it_is(at: Scene) -> None:
    at.node.unread_s = lambda: 5.0
    at.upstream.transit_ms = 3_000
    await at.pass_time(2 * BEAT_S)
    await at.served(settled_s=6)
    at.upstream.set_waiting(1)
    await at.clock.settle()
    assert at.clock.now() - _as_of(at) >= 3.0
