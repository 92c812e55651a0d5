"""Each distinct text and object is read once per node, and freed in time."""

from __future__ import annotations

import gc
import json
import random  # noqa: TID251 - seeded
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from gateway.domain.model import Kind
from gateway.domain.resources import Queue
from gateway.domain.upstream import Part, Reading, Source
from gateway.upstream.oscce.decode import SHAPES, References
from gateway.upstream.oscce.readings import (
    ALIKE_MAX,
    ENTRY_BYTES,
    GENERATION_S,
    MISSES_MAX,
    SAMPLED,
    SHORT_BYTES,
    SOUGHT_BYTES,
    Readings,
)
from tests.upstream.samples import QUEUE_CONFIGURATION, TIME_MS, USER_REALTIME

READING = Reading(1, Kind.QUEUE, Source.REALTIME, TIME_MS, complete=False, parts=())
CONFIGURATION = json.dumps(QUEUE_CONFIGURATION).encode()


def raws(*elements: dict[str, Any]) -> tuple[msgspec.Raw, ...]:
    """Split elements as a message's reader does."""
    return msgspec.json.decode(json.dumps(elements), type=tuple[msgspec.Raw, ...])


def configured(readings: Readings) -> Part:
    """Read the sample configuration of a queue."""
    part = readings.part("Queue", SHAPES["Configuration"], CONFIGURATION)
    assert part is not None
    return part


def test_a_text_is_known_for_one_to_two_periods_after_it_was_looked_for() -> None:
    readings = Readings()
    assert readings.reading(b"a") is None
    readings.prune(0.0)
    readings.note(b"a", READING)
    readings.prune(GENERATION_S)
    assert readings.reading(b"a") is READING
    assert readings.reading(b"b") is None
    readings.prune(2 * GENERATION_S)
    readings.prune(3 * GENERATION_S - 0.1)
    assert readings.reading(b"a") is READING
    for periods in (4, 5):
        readings.prune(periods * GENERATION_S)
    assert readings.reading(b"a") is None


def alike(number: int, size_bytes: int = SHORT_BYTES) -> bytes:
    """Return a long text that differs from others only in the middle, where nothing is looked up by it."""
    ends = b"x" * max(SOUGHT_BYTES, size_bytes // 2)
    return ends + b"%10d" % number + ends


def test_a_long_text_is_known_by_all_its_bytes() -> None:
    readings, contents = Readings(), [replace(READING, time_ms=number) for number in range(ALIKE_MAX)]
    for number, content in enumerate(contents):
        readings.note(alike(number), content)
    for number, content in enumerate(contents):
        assert readings.reading(alike(number)) is content
        assert readings.reading(b"head" + alike(number), at=4) is content
    for other in (alike(-1), alike(0)[1:], b"x" + alike(0), alike(0) + b"x", alike(0)[: SOUGHT_BYTES * 2]):
        assert readings.reading(other) is None


def test_of_texts_that_begin_and_end_alike_the_newest_are_kept() -> None:
    readings = Readings()
    for number in range(3 * ALIKE_MAX):
        readings.note(alike(number), READING)
    known = [number for number in range(3 * ALIKE_MAX) if readings.reading(alike(number)) is not None]
    assert known == list(range(2 * ALIKE_MAX, 3 * ALIKE_MAX))


def test_no_more_is_kept_than_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    most = 3 * ENTRY_BYTES
    monkeypatch.setattr("gateway.upstream.oscce.readings.GENERATION_BYTES", most)
    readings = Readings()
    for number in range(100):
        readings.note(b"%10d" % number, READING)
        assert readings.reading(b"%10d" % number) is READING
        if number:
            readings.reading(b"%10d" % (number - 1))
    assert sum(len(held) for held in (readings._young, readings._old)) <= 2 * 3


def test_an_object_is_stored_when_it_comes_again() -> None:
    readings = Readings()
    assert configured(readings) is not (second := configured(readings))
    assert (readings.parsed, readings.shared) == (2, 0)
    assert configured(readings) is second
    assert (readings.parsed, readings.shared) == (2, 1)
    readings.prune(0.0)
    readings.prune(GENERATION_S)
    assert configured(readings) is second
    readings.prune(2 * GENERATION_S)
    assert configured(readings) is second
    for periods in (3, 4):
        readings.prune(periods * GENERATION_S)
    assert configured(readings) is not second


def test_objects_of_single_links_are_not_stored() -> None:
    readings = Readings()
    for number in range(100):
        readings.part("Queue", SHAPES["QueueCumulative"], b'{"QueueKey":%d}' % number)
    assert len(readings._young) < 10


def test_an_object_that_came_long_ago_came_never() -> None:
    readings = Readings()
    readings.prune(0.0)
    configured(readings)
    for periods in (1, 2):
        readings.prune(periods * GENERATION_S)
    second = configured(readings)
    assert configured(readings) is not second


def test_equal_bytes_of_two_labels_are_two_parts() -> None:
    readings, raw = Readings(), b'{"QueueKey":1,"UserKey":1}'
    user = readings.part("User", SHAPES["UserCumulative"], raw)
    queue = readings.part("Queue", SHAPES["QueueCumulative"], raw)
    assert user is not None
    assert queue is not None
    assert user.kind is not queue.kind


def test_learning_of_references_reads_again() -> None:
    readings = Readings()
    before = configured(readings)
    readings.note(b"a", READING)
    readings.refer(References(queue=frozenset({"OverflowQueue"})))
    assert readings.reading(b"a") is None
    after = configured(readings)
    assert isinstance(before.value, Queue)
    assert isinstance(after.value, Queue)
    assert before.value.routing_parameters is not None
    assert after.value.routing_parameters is not None
    assert before.value.routing_parameters["OverflowQueue"] == 9
    assert after.value.routing_parameters["OverflowQueue"] == "9"
    readings.refer(References(queue=frozenset({"OverflowQueue"})))
    assert configured(readings) is after


def test_objects_of_no_kind_are_left_out() -> None:
    elements = raws({"ObjectType": "Balloon", "Key": 1}, QUEUE_CONFIGURATION)
    (part,) = Readings().parts(SHAPES["Configuration"], TIME_MS, elements)
    assert part.number == 3


def test_dated_elements_about_nothing_known_are_left_out_too() -> None:
    users = SHAPES["UserRealtime"]

    def even_only(raw: bytes | str, time_ms: int, references: References) -> Part | None:
        part = users.read(raw, time_ms, references)
        return part if part is not None and part.number % 2 == 0 else None

    shape = replace(users, read=even_only)
    elements = raws(USER_REALTIME, USER_REALTIME | {"UserKey": 8})
    (part,) = Readings().parts(shape, TIME_MS, elements)
    assert part.number == 8


def test_equal_lists_of_keys_are_one_set_while_anybody_holds_it() -> None:
    readings = Readings()
    first = readings.keys(b"[1,2]")
    assert first == {1, 2}
    assert readings.keys(b"[1,2]") is first
    assert readings.keys(b"[1,2,3]") is not first
    del first
    gc.collect()
    assert len(readings._sets) == 0


@pytest.mark.parametrize("raw", [b"{}", b'["1"]', b"[-1]"])
def test_what_is_no_list_of_keys_is_refused(raw: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        Readings().keys(raw)


@pytest.mark.parametrize(("raw", "keys"), [(b"null", set()), (b"[null]", set()), (b"[3, null, 5]", {3, 5})])
def test_null_is_no_key(raw: bytes, keys: set[int]) -> None:
    assert Readings().keys(raw) == keys


def single(key: int, time_ms: int) -> bytes:
    """Return a reading of one queue."""
    return (
        f'{{"Type":"Event","QueryID":5,"EventType":"QueueRealtime","Time":{time_ms},"Complete":false,'
        f'"Elements":[{{"QueueKey":{key},"Contacts":1}}]}}'
    ).encode()


def test_links_that_share_are_noticed_after_many_readings_that_no_other_link_got() -> None:
    readings = Readings()
    for number in range(2 * MISSES_MAX):
        readings.event(single(number, 1_000))
    assert (readings.parsed, readings.shared) == (2 * MISSES_MAX, 0)
    for number in range(4 * SAMPLED):
        for _ in ("one link", "another"):
            readings.event(single(number, 2_000))
    assert readings.shared > 2 * SAMPLED
    readings.event(single(1, 3_000))
    shared = readings.shared
    readings.event(single(1, 3_000))
    assert readings.shared == shared + 1


@pytest.mark.parametrize("seed", range(3))
def test_teams_are_noticed_among_many_users_who_come_at_once(seed: int) -> None:
    readings, users = Readings(), list(range(1_000))
    random.Random(seed).shuffle(users)
    for user in users:
        for text in (single(user // 5, 1_000), single(user // 5, 1_001), single(10_000 + user, 1_000)):
            readings.event(text)
    assert (readings.parsed, readings.shared) == (1_000 + 2 * 200, 2 * 800)


def test_users_who_share_only_empty_sets_share_nothing() -> None:
    readings = Readings()
    filled = Reading(1, Kind.QUEUE, Source.REALTIME, TIME_MS, complete=True, parts=(configured(readings),))
    readings.note(b"empty", READING)
    for number in range(2 * MISSES_MAX):
        assert readings.reading(b"empty") is READING
        readings.note(b"own %d" % number, filled)
    late = range(MISSES_MAX, 2 * MISSES_MAX)
    kept = [number for number in late if readings.reading(b"own %d" % number) is not None]
    assert len(kept) <= MISSES_MAX // SAMPLED + 1
