"""What the benchmark's OSCC-E Server says is what the gateway's own reader understands."""

from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import centre_frames as say
from bench.layout import FIRST_AGENT, Layout
from bench.load.soft_wire import Frames
from gateway.domain.model import Kind
from gateway.domain.resources import Agent, Queue
from gateway.domain.upstream import Reading, Source
from gateway.upstream.oscce.directory import directory
from gateway.upstream.oscce.messages import LinkReader
from gateway.upstream.oscce.readings import Readings

LAYOUT = Layout(2, queues=3, agents=2)


def read(frames: bytes) -> list[object]:
    """Return what the gateway reads of *frames*."""
    reader = LinkReader("main", Readings())
    return [said for _, payload in Frames().feed(frames) for said in reader.read(payload)]


@pytest.mark.parametrize(("key", "kind"), [(7, Kind.QUEUE), (FIRST_AGENT + 7, Kind.AGENT)])
def test_a_publish_travels_in_a_field_that_is_handed_on(key: int, kind: Kind) -> None:
    event_type, element = say.element(key, 1_000_000_007, 1_700_000_000_123_456_789)
    (reading,) = read(say.event(1, event_type, 5, [element], complete=False))
    assert isinstance(reading, Reading)
    (part,) = reading.parts
    value = part.value
    told = value.service_level_formula if isinstance(value, Queue) else getattr(value, "presence_state", None)
    assert (part.kind, part.number, part.source) == (kind, key, Source.REALTIME)
    assert told is not None
    assert told.startswith("S:1000000007,T:1700000000123456789,")
    assert len(told) == 256, "the gateway clamps it: phones get less than the others'"


@pytest.mark.parametrize("event_type", say.QUERIES[:-1])
def test_first_events_can_be_read_and_are_whole(event_type: str) -> None:
    elements = say.first(event_type, LAYOUT.sight(0), None)
    (reading,) = read(say.event(3, event_type, 5, elements, complete=True))
    assert isinstance(reading, Reading)
    assert reading.complete
    assert len(reading.parts) == {"QueueRealtime": 3, "UserRealtime": 2}.get(event_type, 0)


def test_a_query_for_keys_has_only_these() -> None:
    keys = frozenset(LAYOUT.sight(0).queues[:1])
    assert len(list(say.first("QueueRealtime", LAYOUT.sight(0), keys))) == 1


def test_a_changed_element_differs_in_its_news_only() -> None:
    (old,) = read(say.event(1, "UserRealtime", 5, [say.agent(FIRST_AGENT, "a")], complete=False))
    (new,) = read(say.event(1, "UserRealtime", 5, [say.agent(FIRST_AGENT, "b")], complete=False))
    assert isinstance(old, Reading)
    assert isinstance(new, Reading)
    was, now = old.parts[0].value, new.parts[0].value
    assert isinstance(was, Agent)
    assert isinstance(now, Agent)
    different = [each.name for each in fields(Agent) if getattr(was, each.name) != getattr(now, each.name)]
    assert different == ["presence_state"]


def test_an_element_is_as_large_as_others_messages() -> None:
    queue, agent = (say.element(key, 1_000_000_000, 10**18)[1] for key in (1, FIRST_AGENT))
    for raw, field in ((queue, b'"ServiceLevelFormula":"'), (agent, b'"PresenceState":"')):
        news = raw.partition(field)[2].partition(b'"')[0]
        assert say.ELEMENT_BYTES - 100 < len(news) < say.ELEMENT_BYTES


def test_the_directory_can_be_read() -> None:
    kinds = ["User", "Queue", "Group", "Skill"]
    frames = say.response(1, Objects=say.directory(LAYOUT, 0, kinds))
    (payload,) = (payload for _, payload in Frames().feed(frames))
    found = directory(payload, Readings())
    assert [part.kind for part in found.parts] == [Kind.AGENT] * 2 + [Kind.QUEUE] * 3


@given(st.binary(max_size=70_000))
def test_frames_hold_what_was_put_in(payload: bytes) -> None:
    assert list(Frames().feed(say.frame(payload))) == [(1, payload)]
