"""Is a value written once, however many read it, and shared only with its equals?"""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from gateway.core.element import Element, Interner, Pool
from gateway.domain.resources import Queue
from gateway.protocol.codec import JSON, MSGPACK, Codec
from tests.core.samples import facts_of, ticket_of

CODECS = pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=repr)


def queue(waiting: int | None) -> Element:
    return Element(Queue(name="Sales", contacts_waiting=waiting))


# ---- fragments and patches ----


@CODECS
def test_the_whole_value_is_written_once(codec: Codec) -> None:
    element = queue(3)
    assert element.fragment(codec) == codec.fragment(element.value)  # type: ignore[arg-type] # it is a queue
    assert element.fragment(codec) is element.fragment(codec)


def test_each_codec_has_its_own_fragment() -> None:
    element = queue(3)
    assert element.fragment(JSON) == b'{"name":"Sales","contacts_waiting":3}'
    assert element.fragment(MSGPACK) != element.fragment(JSON)


@CODECS
def test_a_patch_is_what_differs_and_is_written_once(codec: Codec) -> None:
    before, after = queue(3), queue(None)
    patch = after.patch(before, codec)
    assert patch == codec.patch_fragment(before.value, after.value)  # type: ignore[arg-type] # both are queues
    assert after.patch(before, codec) is patch
    assert queue(3).patch(before, codec) is None


def test_a_patch_from_another_element_is_another_patch() -> None:
    one, other, after = queue(1), queue(2), queue(2)
    assert after.patch(one, JSON) == b'{"contacts_waiting":2}'
    assert after.patch(other, JSON) is None
    assert after.patch(one, JSON) == b'{"contacts_waiting":2}'


def test_each_codec_has_its_own_patch() -> None:
    before, after = queue(1), queue(2)
    assert after.patch(before, JSON) == b'{"contacts_waiting":2}'
    assert after.patch(before, MSGPACK) == b"\x81\xb0contacts_waiting\x02"


def test_an_element_does_not_keep_its_predecessors() -> None:
    before, after = queue(1), queue(2)
    after.patch(before, JSON)
    gone = weakref.ref(before)
    del before
    gc.collect()
    assert gone() is None


def test_facts_of_sessions_are_never_framed() -> None:
    element = Element(facts_of(ticket_of()))
    with pytest.raises(TypeError, match="never framed"):
        element.fragment(JSON)
    with pytest.raises(TypeError, match="never framed"):
        queue(1).patch(element, JSON)


# ---- the pool ----


class Making:
    """Counts what it makes."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self) -> list[int]:
        self.made += 1
        return [self.made]


def test_an_equal_key_gets_what_was_made() -> None:
    pool, make = Pool[str, list[int]](), Making()
    first = pool.get("a", make, 0.0)
    assert pool.get("a", make, 1.9) is first
    assert pool.get("b", make, 1.9) is not first
    assert (pool.hits, pool.misses, make.made) == (1, 2, 2)


def test_what_is_used_in_each_period_is_kept() -> None:
    pool, make = Pool[str, list[int]](period_s=2.0), Making()
    first = pool.get("a", make, 0.0)
    for now in (2.0, 4.0, 6.0, 8.0):
        assert pool.get("a", make, now) is first
    assert pool.hits == 4


def test_what_is_not_used_for_two_periods_is_forgotten() -> None:
    pool, make = Pool[str, list[int]](period_s=2.0), Making()
    first = pool.get("a", make, 0.0)
    pool.get("b", make, 2.0)
    pool.get("b", make, 4.0)
    assert pool.get("a", make, 4.1) is not first


def test_two_periods_are_the_most_however_rarely_it_is_asked() -> None:
    pool, make = Pool[str, list[int]](period_s=2.0), Making()
    first = pool.get("a", make, 0.0)
    pool.get("b", make, 3.5)
    assert pool.get("a", make, 4.5) is not first


def test_a_long_pause_forgets_everything() -> None:
    pool, make = Pool[str, list[int]](period_s=2.0), Making()
    first = pool.get("a", make, 0.0)
    assert pool.get("a", make, 4.0) is not first


def test_it_is_bounded_by_what_is_made_in_two_periods() -> None:
    pool, make = Pool[int, list[int]](period_s=2.0), Making()
    for number in range(1_000):
        pool.get(number, make, number / 10)
    assert len(pool) <= 2 * 20


# ---- the interner ----


def test_equal_values_of_one_key_are_one_element() -> None:
    interner, first = Interner(), queue(1)
    assert interner.intern("queue:1", first, JSON) is first
    assert interner.intern("queue:1", queue(1), JSON) is first


@pytest.mark.parametrize(("key", "waiting"), [("queue:2", 1), ("queue:1", 2)])
def test_other_keys_and_other_values_are_others(key: str, waiting: int) -> None:
    interner, first = Interner(), queue(1)
    interner.intern("queue:1", first, JSON)
    other = queue(waiting)
    assert interner.intern(key, other, JSON) is other


def test_nothing_is_kept_that_nobody_holds() -> None:
    interner = Interner()
    held: list[Any] = [interner.intern("queue:1", queue(1), JSON)]
    gone = weakref.ref(held.pop())
    gc.collect()
    assert gone() is None
