"""Is each distinct element read once per node, and forgotten in time?"""

from __future__ import annotations

import gc
import json
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from gateway.domain.model import Kind
from gateway.domain.resources import Queue
from gateway.domain.steady import STEADY_MS
from gateway.domain.upstream import Part, Reading, Source
from gateway.upstream.wire_elements import SHAPES, References
from gateway.upstream.wire_pool import PartPool, TextPool
from tests.upstream.samples import QUEUE_CONFIGURATION, TIME_MS, USER_REALTIME

NOW = 100.0


def raws(*elements: dict[str, Any]) -> tuple[msgspec.Raw, ...]:
    """Split elements as a message's reader does."""
    return msgspec.json.decode(json.dumps(elements), type=tuple[msgspec.Raw, ...])


def read(
    pool: PartPool, *elements: dict[str, Any], time_ms: int = TIME_MS, now: float = NOW
) -> tuple[Part, ...]:
    """Read realtime elements of users."""
    return pool.parts("UserRealtime", SHAPES["UserRealtime"], time_ms, raws(*elements), now)


def configured(pool: PartPool) -> Part:
    """Read the sample configuration of a queue."""
    (part,) = pool.parts("Configuration", SHAPES["Configuration"], TIME_MS, raws(QUEUE_CONFIGURATION), NOW)
    return part


def test_equal_bytes_of_one_time_are_one_part() -> None:
    pool = PartPool()
    (first,), (second,) = read(pool, USER_REALTIME), read(pool, USER_REALTIME)
    assert first is second
    assert (pool.parsed, pool.shared) == (1, 1)


def test_another_time_or_other_bytes_are_another_part() -> None:
    pool = PartPool()
    (first,) = read(pool, USER_REALTIME)
    (later,) = read(pool, USER_REALTIME, time_ms=TIME_MS + STEADY_MS + 1)
    (other,) = read(pool, USER_REALTIME | {"UserKey": 8})
    assert len({first, later, other}) == 3
    assert read(pool, USER_REALTIME, time_ms=TIME_MS + 2) == (later,) != (first,), "jitter is no news"


def test_a_later_part_that_says_the_same_is_the_same_while_anybody_holds_it() -> None:
    pool = PartPool()
    undated = {"UserKey": 8, "RoutingState": "Work"}
    (first,) = read(pool, undated)
    (same,) = read(pool, undated, time_ms=TIME_MS + 5_000, now=NOW + 60)
    assert same is first
    assert pool.parsed == 2
    (other,) = read(pool, undated | {"RoutingState": "Available"}, time_ms=TIME_MS + 6_000)
    (numbered,) = read(pool, undated | {"Remote": {"RemoteNumber": "+49891"}}, time_ms=TIME_MS + 7_000)
    assert len({first, other, numbered}) == 3
    del first, same, other, numbered
    read(pool, now=NOW + 90)
    read(pool, now=NOW + 100)
    gc.collect()
    assert len(pool._newest) == 0


def test_equal_bytes_of_two_event_types_are_two_parts() -> None:
    pool = PartPool()
    element = {"QueueKey": 1, "UserKey": 1}
    (user,) = read(pool, element)
    (queue,) = pool.parts("QueueRealtime", SHAPES["QueueRealtime"], TIME_MS, raws(element), NOW)
    assert user.kind is not queue.kind


def test_order_is_kept_and_repetitions_too() -> None:
    pool = PartPool()
    other = USER_REALTIME | {"UserKey": 8}
    assert [part.number for part in read(pool, other, USER_REALTIME, other)] == [8, 7, 8]


def test_a_reading_is_shared_for_two_periods_and_then_forgotten() -> None:
    pool = PartPool()
    (first,) = read(pool, USER_REALTIME)
    (young,) = read(pool, USER_REALTIME, now=NOW + 1.9)
    (old,) = read(pool, USER_REALTIME, now=NOW + 3.9)
    assert first is young
    assert first is old
    assert pool.parsed == 1
    read(pool, USER_REALTIME, now=NOW + 8.0)
    assert pool.parsed == 2


@pytest.mark.parametrize(("bound", "most"), [("MOST_PARTS", 2), ("MOST_BYTES", 1_500)])
def test_many_parts_turn_the_generation_early(monkeypatch: pytest.MonkeyPatch, bound: str, most: int) -> None:
    monkeypatch.setattr(f"gateway.upstream.wire_pool.{bound}", most)
    pool = PartPool()
    for number in range(100):
        read(pool, USER_REALTIME | {"UserKey": number}, time_ms=TIME_MS + number)
    held = sum(len(known) for known in (*pool._young.values(), *pool._old.values()))
    assert held <= 2 * 2


def test_what_is_not_dated_is_shared_over_time_while_somebody_holds_it() -> None:
    pool = PartPool()
    first = configured(pool)
    assert configured(pool) is first
    known = id(first)
    del first
    gc.collect()
    assert len(pool._lasting) == 0
    assert known


def test_learning_of_references_reads_anew() -> None:
    pool = PartPool()
    before = configured(pool)
    pool.refer(References(queue=frozenset({"OverflowQueue"})))
    after = configured(pool)
    assert isinstance(before.value, Queue)
    assert isinstance(after.value, Queue)
    assert before.value.routing_parameters is not None
    assert after.value.routing_parameters is not None
    assert before.value.routing_parameters["OverflowQueue"] == 9
    assert after.value.routing_parameters["OverflowQueue"] == "9"
    pool.refer(References(queue=frozenset({"OverflowQueue"})))
    assert configured(pool) is after


def test_objects_of_no_kind_are_left_out() -> None:
    pool = PartPool()
    elements = raws({"ObjectType": "Balloon", "Key": 1}, QUEUE_CONFIGURATION)
    (part,) = pool.parts("Configuration", SHAPES["Configuration"], TIME_MS, elements, NOW)
    assert part.number == 3


def test_dated_elements_about_nothing_known_are_left_out_too() -> None:
    users = SHAPES["UserRealtime"]

    def even_only(raw: bytes, time_ms: int, references: References) -> Part | None:
        part = users.read(raw, time_ms, references)
        return part if part is not None and part.number % 2 == 0 else None

    shape = replace(users, read=even_only)
    elements = raws(USER_REALTIME, USER_REALTIME | {"UserKey": 8})
    (part,) = PartPool().parts("UserRealtime", shape, TIME_MS, elements, NOW)
    assert part.number == 8


READING = Reading(1, Kind.QUEUE, Source.REALTIME, TIME_MS, complete=False, parts=())


def test_a_text_is_known_from_its_second_time_on_for_two_periods() -> None:
    texts = TextPool()
    for _ in range(2):
        assert texts.find("a", NOW) is None
        texts.note("a", READING)
    assert texts.find("a", NOW) is READING
    assert texts.find("b", NOW) is None
    assert texts.find("a", NOW + 2.5) is READING
    assert texts.find("a", NOW + 5) is None


def test_a_text_that_comes_after_a_long_pause_is_not_known() -> None:
    texts = TextPool()
    texts.find("a", NOW)
    for _ in range(2):
        texts.note("a", READING)
    assert texts.find("a", NOW + 4) is None


def test_no_more_of_texts_is_kept_than_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.upstream.wire_pool.MOST_CHARS", 30)
    monkeypatch.setattr("gateway.upstream.wire_pool.MOST_PARTS", 50)
    texts = TextPool()
    for number in range(200):
        for _ in range(1 + number % 2):
            texts.find(f"{number:10}", NOW)
            texts.note(f"{number:10}", READING)
    assert sum(len(text) for text in (*texts._young, *texts._old)) <= 2 * 30
    assert len(texts._met) <= 50


def test_equal_lists_of_keys_are_one_set_while_anybody_holds_it() -> None:
    pool = PartPool()
    first = pool.keys(b"[1,2]")
    assert first == {1, 2}
    assert pool.keys(b"[1,2]") is first
    assert pool.keys(b"[1,2,3]") is not first
    del first
    gc.collect()
    assert len(pool._sets) == 0


@pytest.mark.parametrize("raw", [b"{}", b'["1"]', b"[-1]"])
def test_what_is_no_list_of_keys_is_refused(raw: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        PartPool().keys(raw)


@pytest.mark.parametrize(("raw", "keys"), [(b"null", set()), (b"[null]", set()), (b"[3, null, 5]", {3, 5})])
def test_null_is_no_key(raw: bytes, keys: set[int]) -> None:
    assert PartPool().keys(raw) == keys
