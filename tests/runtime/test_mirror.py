"""Mirror of a user, made of the messages of a link, however many come at once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest

from gateway.core import view as views
from gateway.core.assembly import Composer
from gateway.core.element import Element, Parts
from gateway.core.link import wanted_by
from gateway.core.view import Member, UserSessions, me_key
from gateway.domain.commands import Directory, Listen
from gateway.domain.model import Application, Device, Kind, Scope, SessionId, UserId
from gateway.domain.resources import Agent, FunctionState, LastEnd, Queue, Resource, RoutingState
from gateway.domain.upstream import Attached, FunctionChanged, ObjectChanged, Part, Reading, Source
from gateway.runtime import mirror as mirrors
from gateway.runtime.mirror import (
    COMPARED_S,
    COMPOSED_AT_ONCE,
    OFFSETS_MAX,
    OUTSIDE_MOST,
    REBASED_MS,
    SLEWED_MS,
    WALL_CLOCK_S,
    WINDOW_S,
    Feed,
    Mirror,
    ServerOffset,
    SharedOffsets,
    WaitingForSessions,
)
from gateway.upstream.oscce import link as oscc_link
from gateway.upstream.oscce.directory import ROWS_AT_ONCE
from gateway.upstream.oscce.readings import Readings
from tests.runtime.mirror_room import ABOUT, ALL_AGENTS, ALL_QUEUES, REMOTE, Room
from tests.runtime.scene import scene
from tests.runtime.test_forgotten import GIVE_UP_S, simulated, until


@pytest.fixture
def room() -> Room:
    return Room()


def settled(application: Application = Application.DASHBOARD, own: int | None = None) -> Room:
    """Return a mirror to which a link has brought everything."""
    room = Room(application, own)
    room.learn()
    room.mirror.settle()
    return room


def test_nothing_is_shown_before_everything_was_sent(room: Room) -> None:
    room.learn()
    assert [key for key, _ in room.feed.ledger.items()] == []
    room.mirror.settle()
    assert room.resources == {"agent:7", "agent:8", "queue:5"}
    assert {"site", "catalogue:skills", "catalogue:reasons", "catalogue:routing_parameters"} <= {
        key for key, _ in room.feed.ledger.items()
    }
    assert me_key(room.ticket.handle) in {key for key, _ in room.feed.ledger.items()}


def test_there_is_a_snapshot_once_some_link_has_sent_all(room: Room) -> None:
    room.learn()
    known = [room.mirror.has_snapshot]
    room.mirror.settle()
    known.append(room.mirror.has_snapshot)
    room.begin()
    known.append(room.mirror.has_snapshot)
    assert known == [False, True, True]


def test_a_new_link_replaces_what_it_does_not_name_and_only_when_it_has_sent_all() -> None:
    room = settled()
    room.begin()
    assert not room.mirror.live
    room.mirror.assembly.listening(1, Listen(Kind.AGENT, Source.REALTIME, None))
    room.mirror.directory(
        Directory((Part(Kind.AGENT, 7, Source.DIRECTORY, Agent(display_name="B.")),), (), (), ())
    )
    assert room.resources == {"agent:7", "agent:8", "queue:5"}
    room.agents(Agent(routing_state=RoutingState.WORK), complete=True)
    room.mirror.settle()
    assert room.resources == {"agent:7"}
    assert (room.agent.display_name, room.agent.routing_state) == ("B.", RoutingState.WORK)


def test_nothing_outside_the_union_of_scopes_is_shown_or_kept() -> None:
    room = settled()
    before = room.user_sessions.scope
    room.accept(Scope(agents=frozenset({8})))
    room.mirror.rescoped(before)
    assert room.resources == {"agent:8"}
    room.agents(Agent(routing_state=RoutingState.WORK))
    assert room.resources == {"agent:8"}, "a late reading brings nothing back"
    room.mirror.prune()
    assert room.mirror.assembly.addresses() == {(Kind.AGENT, 8)}


@pytest.mark.parametrize("number", [-7, 2**32, 10**16], ids=["below 0", "large", "no number for phones"])
def test_any_number_leaves_with_its_scope(room: Room, number: int) -> None:
    room.accept(Scope(agents=frozenset({number}), queues=frozenset({5})))
    room.learn()
    for source in (Source.DIRECTORY, Source.REALTIME):
        part = Part(Kind.AGENT, number, source, Agent())
        if source is Source.DIRECTORY:
            room.mirror.object(ObjectChanged(Kind.AGENT, number, part))
        else:
            room.read(Reading(1, Kind.AGENT, source, room.clock.wall_ms(), complete=True, parts=(part,)))
    room.mirror.settle()
    assert room.resources == {f"agent:{number}", "queue:5"}
    before = room.user_sessions.scope
    room.accept(Scope(queues=frozenset({5})))
    room.mirror.rescoped(before)
    assert room.resources == {"queue:5"}


def test_what_a_server_sends_of_resources_outside_all_scopes_is_bounded() -> None:
    room = settled()
    now_ms = room.clock.wall_ms()
    for number in range(10, OUTSIDE_MOST + 20):
        part = Part(Kind.QUEUE, number, Source.REALTIME, Queue(contacts_waiting=1))
        room.read(Reading(2, Kind.QUEUE, Source.REALTIME, now_ms, complete=False, parts=(part,)))
    assert room.mirror.assembly.size < 20
    assert room.resources == {"agent:7", "agent:8", "queue:5"}


def test_nothing_is_taken_away_while_no_session_is_accepted() -> None:
    room = settled()
    room.user_sessions.forget_acceptances()
    room.mirror.narrowed()
    assert room.resources == {"agent:7", "agent:8", "queue:5"}
    room = settled()
    room.user_sessions.remove(room.ticket.handle)
    room.mirror.narrowed()
    # a server sends whole sets again when it sees that fewer sessions are on the link
    room.read(Reading(2, Kind.QUEUE, Source.REALTIME, room.clock.wall_ms(), complete=True, parts=()))
    assert room.resources == {"agent:7", "agent:8", "queue:5"}


@pytest.mark.parametrize("steps", [None, []], ids=["alone", "with others"])
def test_what_left_the_scope_and_is_still_shown_stays(room: Room, steps: list[object] | None) -> None:
    room.learn()
    room.mirror.settle()
    room.accept(Scope(queues=frozenset({5})))
    assert "agent:7" in room.resources
    part = Part(Kind.AGENT, 7, Source.REALTIME, Agent(routing_state=RoutingState.WORK))
    room.read(Reading(1, Kind.AGENT, Source.REALTIME, room.clock.wall_ms(), False, (part,), (), steps))
    assert "agent:7" not in room.resources


def test_a_changed_directory_object_is_shown_and_a_removed_or_unknown_one_is_not() -> None:
    room = settled()
    named = Part(Kind.AGENT, 7, Source.DIRECTORY, Agent(display_name="Bertha"))
    room.mirror.object(ObjectChanged(Kind.AGENT, 7, named))
    assert room.agent.display_name == "Bertha"
    room.mirror.object(ObjectChanged(Kind.QUEUE, 5, None))
    assert room.resources == {"agent:7", "agent:8"}
    room = settled()
    room.mirror.object(ObjectChanged(Kind.AGENT, 7, None))
    room.agents(Agent(routing_state=RoutingState.WORK))
    assert room.resources == {"agent:8", "queue:5"}


def test_the_number_is_whole_in_the_remote_assistant_and_that_of_the_own_agent() -> None:
    for application, number in ((REMOTE, "+49891234567"), (Application.DASHBOARD, "*********567")):
        room = settled(application, own=7)
        assert room.me.remote_number == number
    room = settled(REMOTE, own=7)
    room.agents(Agent(routing_state=RoutingState.WORK), number="+49897654321")
    assert room.me.remote_number == "+49897654321"
    assert room.me.last_end == LastEnd("expired", None, 5)


def test_the_number_is_reported_to_a_session_of_which_the_server_does_not_say_whose_agent_it_is() -> None:
    room = Room(Application.DASHBOARD)
    other = replace(room.ticket, application=REMOTE, session=SessionId("other"))
    room.user_sessions.join(other, ())
    attached = Attached(2, other.session, REMOTE, frozenset(), Scope(agents=frozenset({7})), 7)
    room.user_sessions.accepted(other.handle, attached)
    room.learn()
    room.mirror.settle()
    assert (room.me.agent, room.me.remote_number) == (None, "*********567")


@pytest.mark.parametrize("skew_ms", [0, 90_000, -3_600_000])
def test_the_last_end_is_reported_in_the_gateways_time(skew_ms: int, room: Room) -> None:
    ended_ms = room.clock.wall_ms() - 30_000
    room.mirror.begin(ABOUT, room.clock.wall_ms() + skew_ms, LastEnd("expired", "Eva", ended_ms + skew_ms))
    assert room.last_end == LastEnd("expired", "Eva", ended_ms)


def test_an_end_without_an_instant_stays_without(room: Room) -> None:
    room.mirror.begin(ABOUT, room.clock.wall_ms() + 90_000, LastEnd("unknown"))
    assert room.last_end == LastEnd("unknown")
    room.mirror.begin(ABOUT, room.clock.wall_ms() + 90_000, None)
    assert room.last_end is None


@pytest.mark.parametrize(("late_ms", "moved_ms"), [(250, 0), (2_000, 0), (-2_000, 0), (2_250, 2_250)])
def test_the_last_end_does_not_jitter_from_link_to_link(late_ms: int, moved_ms: int, room: Room) -> None:
    now_ms = room.clock.wall_ms()
    room.mirror.begin(ABOUT, now_ms, LastEnd("expired", None, now_ms))
    room.mirror.begin(ABOUT, now_ms - late_ms, LastEnd("logged_off", "Eva", now_ms))
    assert room.last_end == LastEnd("logged_off", "Eva", now_ms + moved_ms)


def test_functions_are_the_present_links() -> None:
    room = settled()
    room.mirror.function(FunctionChanged("voice", FunctionState.UP))
    assert room.voice == FunctionState.UP.value
    room.begin()
    assert room.voice == FunctionState.UP.value
    room.mirror.settle()
    assert room.voice == FunctionState.UNKNOWN.value


def test_the_offset_is_the_smallest_seen_on_the_link_in_steps(room: Room) -> None:
    room.learn()
    for late_ms, offset_ms in ((900, 0), (-600, -500), (-100, -500), (-1_300, -1_250)):
        time_ms = room.clock.wall_ms() - late_ms
        room.read(Reading(9, Kind.AGENT, Source.REALTIME, time_ms, complete=False, parts=()))
        assert room.mirror.offset_ms == offset_ms
    room.begin()
    assert room.mirror.offset_ms == -1_250  # of the same server, by its earlier link


@pytest.mark.parametrize("by_ms", [3_600_000, -3_600_000])
def test_after_a_jump_of_this_nodes_clock_every_instant_is_shown_by_the_new_one(by_ms: int) -> None:
    room = Room()
    room.learn()
    began_ms = room.clock.wall_ms()
    room.agents(Agent(routing_state=RoutingState.AVAILABLE, routing_state_since_ms=began_ms - 5_000))
    room.mirror.settle()
    room.clock.jump_wall(by_ms)
    room.clock.stand_still(WALL_CLOCK_S)
    reading = Reading(2, Kind.QUEUE, Source.REALTIME, began_ms, complete=False, parts=())
    room.read(reading)
    assert room.mirror.offset_ms == by_ms
    assert room.agent.routing_state_since_ms == began_ms - 5_000 + by_ms


@pytest.mark.parametrize("by_ms", [3_600_000, -3_600_000])
def test_durations_are_right_all_the_time_while_this_nodes_clock_is_set(by_ms: int) -> None:
    room = Room()
    room.learn()
    began_ms = room.clock.wall_ms()
    room.agents(Agent(routing_state=RoutingState.AVAILABLE, routing_state_since_ms=began_ms - 5_000))
    room.mirror.settle()

    def lasted_ms() -> int:
        now_ms = room.feed.ledger.dated_ms(room.clock.now(), room.clock.wall_ms())
        return now_ms - (room.agent.routing_state_since_ms or 0)

    assert lasted_ms() == 5_000
    room.clock.jump_wall(by_ms)
    assert lasted_ms() == 5_000, "also before the next message of the link"
    room.clock.stand_still(WALL_CLOCK_S)
    room.read(Reading(2, Kind.QUEUE, Source.REALTIME, began_ms, complete=False, parts=()))
    assert lasted_ms() == pytest.approx(5_000, abs=WALL_CLOCK_S * 1000)
    assert room.feed.ledger.dated_ms(room.clock.now(), 0) == room.clock.wall_ms()


def test_a_clock_that_drifts_is_followed_and_a_slow_message_moves_none() -> None:
    offset = ServerOffset(SharedOffsets())
    for second in range(0, 3 * 3_600, 10):  # 100 ppm fast for three hours: a second
        offset.see(round(second * 1000 * (1 - 1e-4)), float(second), second * 1000)
    assert offset.offset_ms >= 500
    slow_ms = 3 * 3_600_000 * (1 - 1e-4)
    for second in range(0, 3 * 3_600, 10):
        at_s = second + 3 * 3_600
        offset.see(round(slow_ms + second * 1000 * (1 + 1e-4)), float(at_s), at_s * 1000)
    assert abs(offset.offset_ms) <= 500
    offset = ServerOffset(SharedOffsets())
    for second in range(0, 600, 5):
        assert not offset.see(second * 1000 - (5_000 if second % 10 else 0), float(second), second * 1000)
        assert offset.offset_ms == 0


def test_links_compare_their_clocks_when_the_wall_clock_moved_and_by_time() -> None:
    shared = SharedOffsets()
    shared.set_wall_clock(1.0, 1_000)
    version = shared.version
    shared.set_wall_clock(2.0, 2_000 + round(SLEWED_MS) - 1)
    assert shared.version == version
    shared.set_wall_clock(3.0, 3_000 + round(SLEWED_MS))
    assert shared.version == version + 1
    shared.set_wall_clock(3.0 + COMPARED_S, 3_000 + round(1000 * COMPARED_S + SLEWED_MS))
    assert shared.version == version + 2


def test_the_offset_follows_a_link_that_became_slower_within_two_windows() -> None:
    room = Room()
    room.learn()
    room.mirror.settle()
    assert room.mirror.offset_ms == 0
    room.late_ms, began_at = 2_500, room.clock.now()
    while room.clock.now() - began_at <= 2 * (WINDOW_S + COMPARED_S):
        room.clock.stand_still(1.0)
        room.agents(Agent(routing_state=RoutingState.WORK))
    assert room.mirror.offset_ms == 2_500


def test_a_wall_clock_that_is_slewed_is_read_again_in_time(room: Room) -> None:
    room.learn()
    room.mirror.settle()
    began_ms, moved_ms, shown_ms = room.feed.ledger.clock_ms, 0.0, 0.0
    while moved_ms < 3 * REBASED_MS:
        room.clock.stand_still(1.0)
        room.clock.jump_wall(10)
        moved_ms += 10
        room.agents(Agent(routing_state=RoutingState.WORK))
        shown_ms = room.feed.ledger.clock_ms - began_ms
        assert 0 <= moved_ms - shown_ms <= REBASED_MS + SLEWED_MS
    assert shown_ms >= REBASED_MS


def test_links_of_one_server_use_the_smallest_of_their_offsets() -> None:
    shared = SharedOffsets()
    fast, slow = ServerOffset(shared), ServerOffset(shared)
    slow.see(0, 1.4, 1_400)  # each of its messages comes 1.4 s late
    assert slow.offset_ms == 1_500
    fast.see(1_500, 1.5, 1_500)
    assert fast.offset_ms == 0
    slow.see(300, 1.7, 1_700)
    assert slow.offset_ms == 0


def test_instants_are_shown_again_once_a_message_comes_that_was_not_slow(room: Room) -> None:
    began_ms, room.late_ms = room.clock.wall_ms(), 7_000
    room.begin()
    room.learn()
    room.agents(Agent(routing_state=RoutingState.AVAILABLE, routing_state_since_ms=began_ms - 5_000))
    room.mirror.settle()

    def since_ms() -> int | None:
        return room.agent.routing_state_since_ms

    assert since_ms() == began_ms + 2_000, "nothing shows that all of it was slow"
    room.mirror.see_clock(room.clock.wall_ms())
    assert since_ms() == began_ms - 5_000
    room.clock.stand_still(1.0)
    room.mirror.see_clock(room.clock.wall_ms() - 9_000)
    assert since_ms() == began_ms - 5_000


def test_offsets_of_another_server_are_apart_and_bounded() -> None:
    shared = SharedOffsets()
    one, other = ServerOffset(shared), ServerOffset(shared)
    for at_s in range(1, 4):
        one.see(at_s * 1_000, float(at_s), at_s * 1_000)
        other.see(at_s * 1_000 - 60_000, float(at_s), at_s * 1_000)
    assert (one.offset_ms, other.offset_ms) == (0, 60_000)
    shared = SharedOffsets()
    for number in range(10 * OFFSETS_MAX):
        assert shared.nearest(number * 60_000, float(number)) == number * 60_000
    assert len(shared) == OFFSETS_MAX


def test_a_site_with_a_clock_that_differs_a_little_does_not_move_the_instants_of_another() -> None:
    room, ahead = Room(), Feed(UserId("other", 1))
    other = Mirror(ahead, UserSessions(), room.composer, SharedOffsets(), room.clock)
    other.begin(ABOUT, room.clock.wall_ms() + 1_500, None)
    assert other.offset_ms == -1_500
    room.begin()
    assert room.mirror.offset_ms == 0


def test_the_offset_of_a_link_that_ended_is_no_longer_used_after_ten_minutes() -> None:
    shared = SharedOffsets()
    ServerOffset(shared).see(0, 0.0, 0)
    later = ServerOffset(shared)
    later.see(0, 1.0, 1_000)
    assert later.offset_ms == 0
    for second in range(2, 1_500):
        later.see(second * 1_000 - 1_000, float(second), second * 1_000)
        ServerOffset(shared).see(second * 1_000 - 9_000, float(second), second * 1_000)
    assert later.offset_ms == 1_000


def test_the_day_of_somebody_who_is_not_there_is_shown(room: Room) -> None:
    room.mirror.assembly.listening(3, Listen(Kind.AGENT, Source.CUMULATIVE, None))
    room.learn()
    room.mirror.settle()
    day = Part(Kind.AGENT, 8, Source.CUMULATIVE, Agent(handled_today=4))
    room.read(Reading(3, Kind.AGENT, Source.CUMULATIVE, room.clock.wall_ms(), False, (day,)))
    shown = room.shown("agent:8")
    assert isinstance(shown, Agent)
    assert (shown.routing_state, shown.handled_today) == (RoutingState.LOGGED_OFF, 4)


def test_links_of_one_node_show_the_same_element() -> None:
    rooms = [Room(), Room()]
    rooms[1].stand_beside(rooms[0])
    rooms[1].begin()
    known = Part(Kind.QUEUE, 5, Source.DIRECTORY, Queue(name="Billing"))
    at_ms = rooms[0].clock.wall_ms()
    for contacts, complete in ((3, True), (4, False)):
        now = Part(Kind.QUEUE, 5, Source.REALTIME, Queue(contacts_waiting=contacts))
        for room in rooms:
            if complete:
                room.mirror.assembly.listening(2, Listen(Kind.QUEUE, Source.REALTIME, None))
                room.mirror.directory(Directory((known,), (), (), ()))
            room.read(Reading(2, Kind.QUEUE, Source.REALTIME, at_ms, complete, (now,)))
            room.mirror.settle()
    first, second = (room.feed.ledger.get("queue:5") for room in rooms)
    assert first is second
    assert first is not None
    assert first.value == Queue(name="Billing", contacts_waiting=4)


def bring(room: Room, since_ms: int | None = None) -> None:
    """Let a link bring the directory and the state of a queue, in objects of their own."""
    known = Part(Kind.QUEUE, 5, Source.DIRECTORY, Queue(name="Held once"))
    now = Part(Kind.QUEUE, 5, Source.REALTIME, Queue(contacts_waiting=3, oldest_since_ms=since_ms))
    room.mirror.assembly.listening(2, Listen(Kind.QUEUE, Source.REALTIME, None))
    room.mirror.directory(Directory((known,), (), (), ()))
    room.read(Reading(2, Kind.QUEUE, Source.REALTIME, room.clock.wall_ms(), True, (now,)))


def test_a_link_that_opens_holds_no_copies_of_what_another_shows_even_before_it_shows_them() -> None:
    rooms = [Room(), Room()]
    rooms[1].stand_beside(rooms[0])
    for at, room in enumerate(rooms):
        room.begin()
        bring(room, 50_000 + at)
        if room is rooms[0]:
            room.mirror.settle()
    held = [room.mirror.assembly.parts((Kind.QUEUE, 5)) for room in rooms]
    assert held[0] is not None
    assert held[1] is not None
    assert held[1].directory is held[0].directory
    assert held[1].realtime is held[0].realtime


def test_a_user_who_sees_a_value_keeps_its_instants_whatever_another_link_delivers_next() -> None:
    rooms = [Room(), Room()]
    rooms[1].stand_beside(rooms[0])
    for room, since_ms in ((rooms[1], 50_000), (rooms[0], 53_500), (rooms[1], 51_900)):
        room.begin()
        bring(room, since_ms)
        room.mirror.settle()
    shown = rooms[1].shown("queue:5")
    assert isinstance(shown, Queue)
    assert shown.oldest_since_ms == 50_000


def read_all(room: Room) -> Member:
    """Let a session's first readings come, or be refused; return what is known of the session."""
    member = room.user_sessions.by_handle.get(room.ticket.handle)
    assert member is not None
    following = room.user_sessions.following(member)
    assert following is not None
    room.learn()
    for query, listen in enumerate(wanted_by(following) - {ALL_AGENTS, ALL_QUEUES}, start=10):
        room.mirror.assembly.refused(query, listen)
    room.mirror.settle()
    return member


def test_a_session_is_read_when_what_it_follows_was_whatever_others_ask_now(room: Room) -> None:
    member = read_all(room)
    assert not room.mirror.has_read(member), "the directory may be asked for just now"
    room.mirror.synced()
    assert room.mirror.has_read(member)
    room.mirror.assembly.listening(20, Listen(Kind.GROUP, Source.REALTIME, None))
    assert room.mirror.has_read(member)
    room.user_sessions.follow(member, ("groups",))
    assert not room.mirror.has_read(member)
    room.user_sessions.follow(member, ("agents",))
    assert room.mirror.has_read(member)
    room.accept(Scope(frozenset({7, 8, 9}), frozenset({5})))
    assert not room.mirror.has_read(member), "what has come into scope is unread"
    room.mirror.synced()
    assert room.mirror.has_read(member)
    room.begin()
    assert not room.mirror.has_read(member)


def test_what_an_assistant_follows_is_not_known_to_be_read_before_all_is() -> None:
    room = Room(REMOTE, own=7)
    member = read_all(room)
    room.mirror.synced()
    assert not room.mirror.has_read(member)


def test_sessions_that_see_the_same_of_their_user_share_it(room: Room) -> None:
    other = replace(room.ticket, session=SessionId("t"), device=Device("e", "Phone"))
    room.user_sessions.join(other, ("agents",))
    scope = Scope(frozenset({7, 8}), frozenset({5}))
    room.user_sessions.accepted(
        other.handle, Attached(2, other.session, other.application, frozenset(), scope, None)
    )
    room.learn()
    room.mirror.settle()
    held = [room.feed.ledger.get(me_key(ticket.handle)) for ticket in (room.ticket, other)]
    assert held[0] is held[1] is not None


def test_a_number_that_stays_is_shown_to_nobody_again() -> None:
    room = settled(REMOTE, own=7)
    room.agents(Agent(routing_state=RoutingState.WORK), number="+49897654321")
    shown: list[str] = []
    room.mirror._waiting = cast("WaitingForSessions", SimpleNamespace(wake=shown.append))
    room.agents(Agent(routing_state=RoutingState.AVAILABLE), number="+49897654321")
    assert shown == []
    room.agents(Agent(routing_state=RoutingState.AVAILABLE), number="+49897654322")
    assert shown == [room.ticket.handle]
    assert room.me.remote_number == "+49897654322"


def test_a_number_that_changes_alone_is_shown_however_it_comes() -> None:
    room = settled(REMOTE, own=7)
    room.agents(Agent(routing_state=RoutingState.WORK), number="+49897654321")
    part = Part(Kind.AGENT, 7, Source.REALTIME, Agent(routing_state=RoutingState.WORK), "+49897654322")
    room.read(Reading(1, Kind.AGENT, Source.REALTIME, room.clock.wall_ms(), False, (part,), (), None))
    assert room.me.remote_number == "+49897654322"
    room = settled(REMOTE, own=7)
    working = Agent(routing_state=RoutingState.WORK)
    room.agents(working, number="+49897654321", complete=True)
    room.agents(working, number="+49897654322", complete=True)
    assert room.me.remote_number == "+49897654322"


def test_a_reading_that_came_before_the_answer_to_its_question_is_taken_and_counted_once(room: Room) -> None:
    room.mirror.pending_readings.expect(True)
    whole = Reading(9, Kind.QUEUE, Source.REALTIME, room.clock.wall_ms(), True, (), (), None)
    room.mirror.read_all((whole,))
    room.mirror.listening(9, ALL_QUEUES)
    assert not room.mirror.assembly.awaits(9)
    assert room.composer.readings == 1


def test_a_directory_that_says_the_same_composes_nothing_again(monkeypatch: pytest.MonkeyPatch) -> None:
    room = settled()
    parts = (
        Part(Kind.AGENT, 7, Source.DIRECTORY, Agent(display_name="Bert B.")),
        Part(Kind.QUEUE, 5, Source.DIRECTORY, Queue(name="Support")),
    )
    room.mirror.directory(Directory(parts, (), (), ()))
    before = dict(room.feed.ledger.shared())
    composed: list[Parts] = []
    element_of = Composer.element

    def counted(composer: Composer, parts: Parts, held: Element | None, offset_ms: int) -> Element:
        composed.append(parts)
        return element_of(composer, parts, held, offset_ms)

    monkeypatch.setattr(Composer, "element", counted)
    room.mirror.directory(Directory(parts, (), (), ()))
    assert composed == []
    assert dict(room.feed.ledger.shared()) == before
    room.mirror.directory(Directory((parts[0],), (), (), ()))
    assert "queue:5" not in dict(room.feed.ledger.shared())


# ---- a link brings 1,000 agents, and others have turns meanwhile ----


AGENTS = 1_000


async def test_what_a_session_sees_is_narrowed_when_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    narrowed, within = 0, views.within

    def counted(value: Resource, scope: Scope) -> Resource:
        nonlocal narrowed
        narrowed += 1
        return within(value, scope)

    async with scene() as at:
        phone = await at.served()
        monkeypatch.setattr(views, "within", counted)
        seen = at.node.seen_by(phone.ticket)
        assert {"agent:7", "agent:8", "queue:5"} <= set(seen)
        assert narrowed == 0
        assert isinstance(seen["agent:7"], Agent)
        assert narrowed == 1


class Work:
    """How much was read and composed, in all and at most in one turn of the loop."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.read = self.rows = self.composed = self.most_read = self.most_rows = self.most_composed = 0
        parts_of, part_of, element_of = Readings.parts, Readings.part, Composer.element

        def counted_parts(pool: Readings, *args: object) -> object:
            found = parts_of(pool, *args)  # type: ignore[arg-type] # as it was called
            self.read += len(found)
            return found

        def counted_part(pool: Readings, *args: object) -> object:
            self.rows += 1
            return part_of(pool, *args)  # type: ignore[arg-type] # as it was called

        def counted_element(composer: Composer, *args: object) -> Element:
            self.composed += 1
            return element_of(composer, *args)  # type: ignore[arg-type] # as it was called

        monkeypatch.setattr(Readings, "parts", counted_parts)
        monkeypatch.setattr(Readings, "part", counted_part)
        monkeypatch.setattr(Composer, "element", counted_element)

    async def watch(self) -> None:
        """Have turns with everybody else, for ever."""
        while True:
            read, rows, composed = self.read, self.rows, self.composed
            await asyncio.sleep(0)
            self.most_read = max(self.most_read, self.read - read)
            self.most_rows = max(self.most_rows, self.rows - rows)
            self.most_composed = max(self.most_composed, self.composed - composed)


@pytest.mark.parametrize("budget_s", [0.0, GIVE_UP_S], ids=["no time", "time for all"])
async def test_others_have_turns_while_agents_come(monkeypatch: pytest.MonkeyPatch, budget_s: float) -> None:
    monkeypatch.setattr(oscc_link, "SLICES_S", budget_s)
    monkeypatch.setattr(mirrors, "COMPOSED_S", budget_s)
    work = Work(monkeypatch)
    async with simulated(AGENTS) as (at, _):
        phone = await at.phone("supervisor1")
        watching = at.tasks.create_task(work.watch())
        phone.hello()
        assert await until(lambda: phone.of_kind("changes") and len(phone.shown) >= AGENTS, GIVE_UP_S)
        watching.cancel()
        phone.leave()
        at.lines.clear()
    assert min(work.read, work.rows, work.composed) >= AGENTS
    if budget_s:
        assert min(work.most_read, work.most_rows, work.most_composed) >= AGENTS
        return
    # a message of less than 64 KiB is read at once
    assert work.most_read <= AGENTS // 10
    assert work.most_rows <= 4 * ROWS_AT_ONCE
    # and what changed while the others were composed is composed when it is shown
    assert work.most_composed <= 4 * COMPOSED_AT_ONCE
