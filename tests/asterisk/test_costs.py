"""What an event costs a node, in calls: they are the same on every machine, however busy.

CPU time before a small or a real Asterisk: ``python -m bench.profiles.asterisk``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import cast

from gateway.domain.commands import Listen
from gateway.domain.model import Kind, Scope, UserId
from gateway.domain.upstream import Reading, Source
from gateway.simulator.ami import FakeAsterisk, Membership
from gateway.upstream.asterisk.link import AsteriskLink, Server
from gateway.upstream.asterisk.people import AsteriskView, Rules
from gateway.upstream.asterisk.publisher import Publisher
from gateway.upstream.asterisk.state import Queues

QUEUES, MEMBERS, USERS = 20, 200, 200
MOST = 800
"""Calls of an event, 2 for each user among them."""
MOST_LONE = 1_100
"""Of an event that each user sees a part of: 4 for each."""


class NoServer:
    """The server of links that request nothing."""

    last_received_at = 0.0

    def __init__(self, publisher: Publisher) -> None:
        self.queries_changed = publisher.regroup


def calls(work: Callable[[], None]) -> int:
    """Return how many calls *work* makes, of Python and of C."""
    count = 0

    def note(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def test_an_event_with_200_users_who_see_all_members_of_a_queue_costs_few_calls() -> None:
    got, pause = shown_to_users(is_lone=False)
    pause(1)  # the first finds which links see the same
    got.clear()
    cost = calls(lambda: pause(2))
    assert len(got) == USERS
    assert cost <= MOST, f"{cost} calls"


def test_an_event_of_a_queue_is_made_once_for_200_agents_who_see_only_themselves() -> None:
    got, pause = shown_to_users(is_lone=True)
    pause(1)
    got.clear()
    cost = calls(lambda: pause(2))
    assert len(got) == USERS
    assert len({id(one) for one in got}) == 1
    assert cost <= MOST_LONE, f"{cost} calls"


def shown_to_users(*, is_lone: bool) -> tuple[list[Reading], Callable[[int], None]]:
    """Return what the links of all users are sent, and what pauses a member.

    *is_lone*: each sees all queues, but no agent of a queue.
    """
    fake, queues = FakeAsterisk(lambda: 1_000_000.0), Queues()
    publisher = Publisher(queues, AsteriskView(queues, Rules()))
    reading = queues.begin(with_members=True)
    for place in range(QUEUES):
        queue = fake.add_queue(f"q{place}")
        for number in range(MEMBERS):
            name = f"Local/{number}@desk/n"
            queue.members[name] = Membership(name, f"Agent {number}")
        for kind, headers in fake.rows_of(queue.name):
            reading.row({"Event": kind, **dict(headers)}, 1_000)
    reading.end()
    while publisher.has_more:
        publisher.publish(1_000)
    agents, seen = (
        frozenset(publisher._view.parts[kind, Source.DIRECTORY]) for kind in (Kind.AGENT, Kind.QUEUE)
    )
    got: list[Reading] = []
    for user in range(USERS):
        link = AsteriskLink(cast(Server, NoServer(publisher)), UserId("main", user))
        link.scope = Scope(frozenset({user}) if is_lone else agents, seen)
        publisher.links[user] = link
        for kind in (Kind.AGENT, Kind.QUEUE):
            publisher.listen(link, Listen(kind, Source.REALTIME, None))
        link.on_readings = got.extend

    def pause(number: int) -> None:
        said = {"Event": "QueueMemberPause", "Queue": "q7", "Interface": f"Local/{number}@desk/n"}
        queues.event({**said, "Paused": "1", "PausedReason": "Lunch"}, 2_000)
        publisher.publish(2_000)

    return got, pause
