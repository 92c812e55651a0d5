"""A publish reaches the links that see the resource, as the same bytes, in turn; and nobody else."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from bench.centre_links import FLOOD_BYTES, FLOOD_CHUNK, Link, Links, Publish, opened, read_publish
from bench.centre_requests import answer
from bench.layout import Layout
from bench.load.soft_wire import Frames
from gateway.domain.upstream import FunctionChanged, Opened, Reading
from gateway.upstream.oscce.messages import LinkReader
from gateway.upstream.oscce.readings import Readings


class Wire:
    """Stands for a link's transport."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.is_cut = False
        self.unsent_bytes = 0

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def abort(self) -> None:
        self.is_cut = True

    def get_write_buffer_size(self) -> int:
        return self.unsent_bytes

    def readings(self) -> list[Reading]:
        """Return what the gateway reads of it."""
        reader, frames = LinkReader("main", Readings()), Frames()
        payloads = [payload for _, payload in frames.feed(b"".join(self.written))]
        said = [each for payload in payloads for each in reader.read(payload)]
        return [each for each in said if isinstance(each, Reading)]


def enter(links: Links, user: int) -> tuple[Link, Wire]:
    """Let a user's link in."""
    wire = Wire()
    link = Link(user, cast("asyncio.WriteTransport", wire))
    links.enter(link)
    return link, wire


def ask(links: Links, link: Link, method: str, **fields: object) -> bytes:
    """Ask something on a link whose user's sessions are all called ``device``."""
    request = {"Method": method, "RequestID": 1, **fields}
    return answer(request, link, links, lambda secret: "device" if secret == "mine" else None)


def listening(links: Links, user: int, keys: object = "All") -> Wire:
    """Let a user's link in that listens to queues and agents."""
    link, wire = enter(links, user)
    for event_type in ("QueueRealtime", "UserRealtime"):
        ask(links, link, "ListenForEvents", EventType=event_type, Keys=keys)
    return wire


def test_what_all_see_is_the_same_bytes_for_all() -> None:
    links = Links(Layout(2, queues=3))
    first, second = listening(links, 0), listening(links, 1)
    links.publish([Publish(0, 1_000_000_000, 7), Publish(0, 1_000_000_001, 8)])
    assert first.written == second.written
    assert [reading.parts[0].number for reading in first.readings()] == [1, 2]
    assert links.published == 2


def test_what_is_private_reaches_its_user_only() -> None:
    links = Links(Layout(2, queues=3, shared=False))
    first, second = listening(links, 0), listening(links, 1)
    links.publish([Publish(1, 1_000_000_000, 7)])
    assert first.written == []
    assert [reading.parts[0].number for reading in second.readings()] == [4]


def test_one_publish_may_change_many_resources_of_both_kinds() -> None:
    links = Links(Layout(1, queues=2, agents=3))
    wire = listening(links, 0)
    links.publish([Publish(0, 1_000_000_000, 7, 5)])
    assert sorted(len(reading.parts) for reading in wire.readings()) == [2, 3]


def test_who_asked_for_some_keys_hears_of_these() -> None:
    links = Links(Layout(1, queues=3))
    wire = listening(links, 0, keys=[2])
    links.publish([Publish(0, 1_000_000_000, 7, 3)])
    assert [part.number for reading in wire.readings() for part in reading.parts] == [2]


def test_a_new_link_hears_what_is_true_now() -> None:
    links = Links(Layout(1, queues=2))
    links.publish([Publish(0, 1_000_000_123, 7)])
    link, _ = enter(links, 0)
    whole = ask(links, link, "ListenForEvents", EventType="QueueRealtime", Keys="All")
    assert b"S:1000000123" in whole
    links.reset()
    assert b"S:1000000123" not in ask(links, link, "ListenForEvents", EventType="QueueRealtime", Keys="All")


def test_a_users_new_link_replaces_the_old_one() -> None:
    links = Links(Layout(1, queues=2))
    old, wire = enter(links, 0)
    new, _ = enter(links, 0)
    assert wire.is_cut
    links.leave(old)
    assert links.by_user == {0: new}
    links.leave(new)
    assert links.by_user == {}


def test_who_stopped_listening_hears_nothing() -> None:
    links = Links(Layout(1, queues=2))
    link, wire = enter(links, 0)
    ask(links, link, "ListenForEvents", EventType="QueueRealtime", Keys="All")
    ask(links, link, "StopListeningForEvents", QueryID=link.queries[0].number)
    links.publish([Publish(0, 1_000_000_000, 7)])
    assert wire.written == []


def test_a_link_begins_with_what_the_gateway_waits_for() -> None:
    layout = Layout(1, queues=2)
    link, _ = enter(Links(layout), 0)
    reader = LinkReader("main", Readings())
    payloads = [payload for _, payload in Frames().feed(opened(link, 1, "device", layout))]
    said = [each for payload in payloads for each in reader.read(payload)]
    assert [type(each) for each in said] == [Opened, FunctionChanged]


def test_the_effect_of_a_command_comes_before_its_answer_and_to_all() -> None:
    links = Links(Layout(2, queues=1, agents=2))
    link, wire = enter(links, 0)
    ask(links, link, "ListenForEvents", EventType="UserRealtime", Keys="All")
    other = listening(links, 1)
    agent = links.layout.sight(0).agents[1]
    response = ask(links, link, "SetRoutingState", UserKey=agent, RoutingState="Work")
    assert b'"State":"Applied"' in response
    for each in (wire, other):
        assert [part.number for part in each.readings()[0].parts] == [agent]


@pytest.mark.parametrize(
    ("method", "fields", "name"),
    [
        ("Dance", {}, "MethodUnknown"),
        ("AttachSession", {"SessionID": "somebody else's"}, "SessionUnknown"),
        ("SetRoutingState", {"UserKey": 5, "RoutingState": "Work"}, "NotFound"),
        ("ListenForEvents", {"EventType": "Weather"}, "BadRequest"),
    ],
)
def test_what_cannot_be_is_refused(method: str, fields: dict[str, object], name: str) -> None:
    links = Links(Layout(1, queues=1, agents=1))
    link, _ = enter(links, 0)
    assert f'"ErrorName":"{name}"'.encode() in ask(links, link, method, **fields)


@pytest.mark.parametrize("method", ["DetachSession", "Presence", "KeepAlive", "QueryDirectory"])
def test_what_changes_nothing_is_answered(method: str) -> None:
    links = Links(Layout(1, queues=1))
    link, _ = enter(links, 0)
    assert b'"Error":0' in ask(links, link, method)


def test_each_attached_session_has_an_alias_of_its_own() -> None:
    links = Links(Layout(1, queues=1))
    link, _ = enter(links, 0)
    answers = {ask(links, link, "AttachSession", SessionID="mine") for _ in range(3)}
    assert len(answers) == 3


def test_orders_are_read_with_and_without_a_size() -> None:
    assert read_publish(b"00007 1000000000 1700 35") == Publish(7, 1_000_000_000, 1700, 35)
    assert read_publish(b"00000 1 2") == Publish(0, 1, 2, 1)
    with pytest.raises(ValueError, match="invalid literal"):
        read_publish(b"reset 1 2")


def test_the_effect_of_a_command_is_told_to_those_who_see_the_agent_and_nobody_else() -> None:
    links = Links(Layout(2, 1, 1, shared=False))
    wires = [listening(links, user) for user in range(2)]
    agent = links.layout.sight(1).agents[0]
    ask(links, links.by_user[1], "SetRoutingState", UserKey=agent, RoutingState="Work")
    assert [len(wire.readings()) for wire in wires] == [0, 1]


def test_a_flood_is_of_single_readings_of_one_user_and_waits_while_he_does_not_read() -> None:
    links = Links(Layout(users=2, queues=3, agents=0, shared=False))
    first, second = listening(links, 0), listening(links, 1)
    first.written.clear()
    second.written.clear()
    assert links.flood(0, FLOOD_CHUNK + 1) == 2 * FLOOD_CHUNK
    readings = first.readings()
    assert len(readings) == 2 * FLOOD_CHUNK
    assert {len(each.parts) for each in readings} == {1}
    assert second.written == []
    first.unsent_bytes = FLOOD_BYTES + 1
    first.written.clear()
    links.flood(0, 1)
    assert first.written == []
