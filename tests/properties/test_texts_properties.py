"""What a link among others reads of a message is what it would read alone, whatever others received."""

from __future__ import annotations

import json
from dataclasses import astuple, replace
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.element import steady
from gateway.domain.model import VALUE_CHARS, readable_or_none
from gateway.domain.resources import QueueFigures
from gateway.domain.upstream import Reading
from gateway.upstream.oscce.decode import MOST, SHAPES, Count, Percentage, QueueRealtime, References, Seconds
from gateway.upstream.oscce.messages import LinkReader, MessageContent
from gateway.upstream.oscce.readings import Readings
from tests.upstream.samples import whole

QUERIES = st.sampled_from([0, 1, 2, 17])
TAILS = st.sampled_from(["", ',"QueryID":5', ',"Query\\u0049D":5', ',"Removed":[9]', ',"Further":1'])
ELEMENTS: list[dict[str, Any]] = [
    {"UserKey": 1, "RoutingState": "Work", "TimeInRoutingState": 2},
    {"UserKey": 1, "RoutingState": "Available"},
    {"UserKey": 2},
    {"UserKey": 2, "Remote": {"RemoteNumber": "+49"}},
    {"UserKey": 2, "Remote": {"RemoteNumber": "+48"}},
]
CONFIGURED = {"ObjectType": "Queue", "Key": 3, "RoutingParameters": {"Overflow": 4}, "Version": 1}
EVENTS = st.one_of(
    st.tuples(st.just("UserRealtime"), st.sampled_from([1, 2]), st.sampled_from(ELEMENTS)),
    st.tuples(st.just("Configuration"), st.just(1), st.just(CONFIGURED)),
)
REFERENCES = st.sampled_from([References(), References(queue=frozenset({"Overflow"}))])
STEPS = st.lists(
    st.one_of(
        st.tuples(QUERIES, EVENTS, st.booleans(), TAILS, st.sampled_from([0.0, 0.5, 5.0])),
        REFERENCES,
    ),
    min_size=3,
    max_size=25,
)


def text(query: int, received: tuple[str, int, dict[str, Any]], complete: bool, tail: str) -> str:
    event_type, time_ms, element = received
    rest = {"EventType": event_type, "Time": time_ms, "Complete": complete, "Elements": [element]}
    return f'{{"Type":"Event","QueryID":{query},' + json.dumps(rest)[1:-1] + tail + "}"


def same(one: MessageContent, other: MessageContent) -> bool:
    """Tell whether the second says what the first does, but for instants that jitter."""
    (left,), (right,) = one, other
    assert isinstance(left, Reading)
    assert isinstance(right, Reading)
    if plain(left) != plain(right):
        return False
    values = zip(left.parts, right.parts, strict=True)
    return all(whole(old) == steady(whole(old), whole(new)) for old, new in values)


def plain(reading: Reading) -> list[object]:
    """Return what was said, but for the values of its parts."""
    parts = [(part.kind, part.number, part.source, part.remote_number) for part in reading.parts]
    return [reading.query, reading.kind, reading.time_ms, reading.complete, reading.removed, parts]


@given(steps=STEPS)
def test_a_message_says_what_it_would_say_on_the_only_link(steps: list[Any]) -> None:
    pool, references, now = Readings(), References(), 0.0
    held: list[MessageContent] = []
    link = LinkReader("main", pool)
    for step in steps:
        if isinstance(step, References):
            references = step
            pool.refer(references)
            continue
        *received, pause_s = step
        now += pause_s
        pool.prune(now)
        message, alone = text(*received), Readings()
        alone.refer(references)
        expected = LinkReader("main", alone).read(message.encode())
        for _ in range(3):
            held.append(link.read(message))
            assert same(held[-1], expected)


@given(query=QUERIES, other=QUERIES, received=EVENTS, complete=st.booleans())
def test_what_is_reported_a_second_time_is_not_read_again(
    query: int, other: int, received: tuple[str, int, dict[str, Any]], complete: bool
) -> None:
    pool = Readings()
    said_by = [
        LinkReader("main", pool).read(text(number, received, complete, ""))
        for number in (query, query, other)
    ]
    read = [said[0] for said in said_by]
    assert all(isinstance(each, Reading) for each in read)
    assert len({id(each.parts) for each in read if isinstance(each, Reading)}) == 1
    assert len({id(each.steps) for each in read if isinstance(each, Reading)}) == 1
    assert (pool.parsed, pool.shared) == (1, 2)


_LETTERS = st.sampled_from(
    ["a", " ", '"', "\\", "/", "\x7f", "\x00", "\n", "ü", "\x85", "\u200b", "\u2028", "😀"]
)
_VALUES: dict[object, st.SearchStrategy[object]] = {
    Count | None: st.none() | st.integers(-3, 3) | st.sampled_from([-MOST, MOST]),
    Seconds | None: st.none() | st.floats(-1, 1e12) | st.just(-0.0),
    Percentage | None: st.none() | st.integers(-3, 3) | st.sampled_from([99.9, 100, 100.1, -0.0, -0.1, 1e12]),
}
"""Figures of a queue, also those that cannot be shown. Each number of a queue has one of these types."""
_WORDS = {
    "ServiceLevelFormula": st.none() | st.text(_LETTERS, max_size=2 * VALUE_CHARS) | st.just("a" * 300),
    "Level": st.sampled_from([None, "Ok", "Action", "Other", "\x7f"]),
}
QUEUES = st.fixed_dictionaries(
    {"QueueKey": st.integers(1, 3)},
    optional={
        field.encode_name: _WORDS[field.encode_name] if field.encode_name in _WORDS else _VALUES[field.type]
        for field in msgspec.structs.fields(QueueRealtime)
        if not field.required
    },
)


@given(queues=st.lists(QUEUES, min_size=1, max_size=2), escaped=st.booleans(), complete=st.booleans())
def test_a_queue_is_read_alike_however_it_is_written(
    queues: list[dict[str, Any]], escaped: bool, complete: bool
) -> None:
    event = {
        "Type": "Event",
        "QueryID": 1,
        "EventType": "QueueRealtime",
        "Time": 10**13,
        "Complete": complete,
    }
    written = json.dumps(event | {"Elements": queues}, ensure_ascii=escaped, separators=(",", ":"))
    reading = Readings().event(written.encode())
    assert reading is not None
    for part, queue in zip(reading.parts, queues, strict=True):
        alone = SHAPES["QueueRealtime"].read(json.dumps(queue).encode(), 10**13, References())
        assert alone is not None
        assert (part.number, part.value) == (queue["QueueKey"], alone.value)
        assert isinstance(part.value, QueueFigures)
        figures = astuple(replace(part.value, oldest_since_ms=None))
        assert all(figure >= 0 for figure in figures if isinstance(figure, int | float))
        shown = part.value.service_level_formula
        assert shown == readable_or_none(queue.get("ServiceLevelFormula") or None, VALUE_CHARS)
