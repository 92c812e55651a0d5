"""Protocol of the client on one connection, without I/O."""

from __future__ import annotations

import dataclasses

import pytest

from gateway.client.dialogue import Dialogue, FrameHandlers, ResumeState, Wishes
from gateway.client.http import LOST, Ending, Window
from gateway.client.mirror import Connected, Event, HealthChanged, Refused
from gateway.domain.errors import ErrorCode
from gateway.protocol import frames
from tests.doubles.refusals import refused_with
from tests.doubles.scripted_gateway import ping, welcome

RESET = frames.Changes(0, 5, stream="1.a", reset=True, put={"site": {}})


class Received:
    """What the hooks received."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.renewed: list[frames.Renewed] = []
        self.hooks = FrameHandlers(self.events.append, self.renewed.append)


@pytest.fixture
def received() -> Received:
    return Received()


@pytest.fixture
def memory() -> ResumeState:
    return ResumeState(Wishes())


@pytest.fixture
def dialogue(memory: ResumeState, received: Received) -> Dialogue:
    return Dialogue(memory, received.hooks, "token", 100.0)


@pytest.mark.parametrize(
    "wrong", [{"pace_s": 61.0}, {"ping_s": 9.0}, {"topics": ("x",) * 65}, {"topics": ("",)}]
)
def test_wishes_that_no_gateway_takes_are_refused(wrong: dict[str, object]) -> None:
    with refused_with(ErrorCode.BAD_REQUEST) as refused:
        dataclasses.replace(Wishes(), **wrong)  # type: ignore[arg-type]  # wrong on purpose
    assert next(iter(wrong)) in refused.value.message


def test_it_is_in_sync_when_welcome_and_the_changes_that_it_owes_are_there(
    dialogue: Dialogue, received: Received
) -> None:
    assert dialogue.receive(welcome(resumed=False), 100.0) == ()
    assert not dialogue.in_sync
    dialogue.receive(dataclasses.replace(RESET, more=True, upto=0), 100.0)
    assert received.events == []
    dialogue.receive(frames.Changes(0, 5), 100.0)
    dialogue.receive(frames.Changes(5, 6), 100.0)
    assert received.events == [Connected(False)]


def test_pings_are_answered_and_tell_how_current_the_data_is(
    dialogue: Dialogue, memory: ResumeState, received: Received
) -> None:
    dialogue.receive(welcome(), 100.0)
    dialogue.receive(RESET, 100.0)
    assert dialogue.receive(ping(5, 9, nonce="a", as_of_ms=7), 101.0) == (frames.Pong("a"),)
    assert dialogue.receive(ping(9, 9, nonce="b", as_of_ms=7), 102.0) == (frames.Pong("b"),)
    dialogue.receive(ping(9, 9, upstream="stale", as_of_ms=7), 103.0)
    live, stale = HealthChanged("live", "live", 7), HealthChanged("stale", "live", 7)
    assert received.events[1:] == [live, stale]
    assert memory.health == stale


def test_the_mirror_is_current_from_the_first_live_ping_of_a_connection_on(
    dialogue: Dialogue, memory: ResumeState, received: Received
) -> None:
    def is_current_after(connection: Dialogue, *received_frames: frames.GatewayFrame) -> list[bool]:
        states = []
        for frame in received_frames:
            connection.receive(frame, 110.0)
            states.append(connection.is_current)
        return states

    live, lost = ping(5, 5, as_of_ms=7), frames.Changes(8, 9)
    stale = ping(5, 5, upstream="stale", as_of_ms=7)
    assert is_current_after(dialogue, welcome(), RESET, live, stale, live, lost, RESET) == [
        False, False, True, False, True, False, True,
    ]  # fmt: skip
    again = Dialogue(memory, received.hooks, "token", 110.0)
    resumed = frames.Changes(5, 5)
    assert is_current_after(again, welcome(resumed=True), resumed, live) == [False, False, True]
    health = HealthChanged("live", "live", 7)
    assert received.events[-2:] == [Connected(True), health], "an app has an event at which to look again"


def test_a_ping_that_shows_a_lost_change_does_not_date_the_data(
    dialogue: Dialogue, memory: ResumeState, received: Received
) -> None:
    dialogue.receive(welcome(), 100.0)
    dialogue.receive(RESET, 100.0)
    dialogue.receive(ping(5, 5, as_of_ms=7), 101.0)
    dialogue.receive(ping(6, 6, upstream="stale", as_of_ms=8), 102.0)
    assert memory.health == HealthChanged("stale", "live", 7), "the change of 6 is missing here"
    dialogue.receive(RESET, 103.0)
    dialogue.receive(ping(5, 5, as_of_ms=9), 104.0)
    assert memory.health == HealthChanged("live", "live", 9)


def test_a_gap_soon_after_a_reset_waits_its_turn(dialogue: Dialogue) -> None:
    dialogue.receive(welcome(), 100.0)
    dialogue.receive(RESET, 100.0)
    dialogue.receive(frames.Changes(8, 9), 101.0)
    dialogue.receive(RESET, 102.0)
    assert dialogue.receive(frames.Changes(8, 9), 103.0) == ()
    assert dialogue.due_at == 106.0


def test_a_change_of_network_is_answered_in_three_seconds_or_it_is_over(dialogue: Dialogue) -> None:
    assert dialogue.probe(110.0) == frames.Pong()
    assert not dialogue.given_up(112.9)
    assert dialogue.given_up(113.0)
    dialogue.received(112.0)
    assert dialogue.due_at == 147.0
    dialogue.probe(146.0)
    assert dialogue.due_at == 147.0, "a probe never grants more time"


def test_wishes_that_changed_since_hello_are_sent_after_welcome(
    dialogue: Dialogue, memory: ResumeState
) -> None:
    memory.wishes = dataclasses.replace(memory.wishes, topics=("queues",), pace_s=3.0)
    follow = frames.Follow("1", ("queues",))
    granted: list[object] = []
    memory.requests.follow(follow, granted.append)
    assert dialogue.receive(welcome(), 100.0) == (frames.Pace(3.0), follow)
    dialogue.receive(frames.Followed("1", frames.GrantedTopics(("queues",), ())), 100.0)
    assert granted == [frames.GrantedTopics(("queues",), ())]


def test_an_error_is_handed_on(dialogue: Dialogue, received: Received) -> None:
    error = frames.ErrorFrame("rate_limited", "Slower.")
    dialogue.receive(error, 100.0)
    assert received.events == [Refused(error)]


def test_a_bye_knows_best_how_it_ended(dialogue: Dialogue) -> None:
    assert dialogue.ending(None) == LOST
    assert dialogue.ending(1006) == LOST
    assert dialogue.ending(4108) == Ending(4108, "connection closed")
    dialogue.receive(frames.Bye(4200, "draining", "after", "ops", 2.0, 8.0), 100.0)
    assert dialogue.ending(None) == Ending(4200, "draining", "ops", Window(2.0, 8.0))
