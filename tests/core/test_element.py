"""Elements: encoded once for all readers, shared only with equal ones."""

from __future__ import annotations

import sys

import pytest

from gateway.core.element import CATALOGUES_MAX, Composer, Element
from gateway.domain.resources import Queue, Reasons, Skill, Skills
from gateway.protocol.codec import JSON, MSGPACK, Codec
from tests.core.samples import facts_of, ticket_of

CODECS = pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=repr)


def queue(waiting: int | None) -> Element:
    return Element(Queue(name="Sales", contacts_waiting=waiting))


# ---- fragments and patches ----


@CODECS
def test_the_whole_value_is_kept_from_the_second_time_it_is_asked_for(codec: Codec) -> None:
    element = queue(3)
    assert element.fragment(codec) == codec.fragment(element.value)  # type: ignore[arg-type] # it is a queue
    kept = element.fragment(codec)
    assert kept == element.fragment(codec)
    assert kept is element.fragment(codec)


@CODECS
def test_a_patch_is_what_differs_and_is_kept_from_the_second_time_it_is_asked_for(codec: Codec) -> None:
    before, after = queue(3), queue(None)
    assert after.patch(before, codec) == codec.patch_fragment(before.value, after.value)  # type: ignore[arg-type] # both are queues
    kept = after.patch(before, codec)
    assert kept == codec.patch_fragment(before.value, after.value)  # type: ignore[arg-type] # both are queues
    assert after.patch(before, codec) is kept
    assert queue(3).patch(before, codec) is None


@CODECS
def test_a_patch_that_is_needed_soon_is_kept_at_once(codec: Codec) -> None:
    before, after = queue(3), queue(None)
    kept = after.patch(before, codec, keep=True)
    assert kept is not None
    assert after.patch(before, codec) is kept


def test_of_patches_from_several_elements_the_last_one_is_kept() -> None:
    first, second, after = queue(1), queue(2), queue(3)
    for before in (first, second, second, first):
        assert after.patch(before, JSON) == b'{"contacts_waiting":3}'
    assert after.patch(first, JSON) is after.patch(first, JSON)


def test_each_codec_has_its_own_patch() -> None:
    before, after = queue(1), queue(2)
    assert after.patch(before, JSON) == b'{"contacts_waiting":2}'
    assert after.patch(before, MSGPACK) == b"\x81\xb0contacts_waiting\x02"
    after.patch(before, JSON)
    assert after.patch(before, JSON) is after.patch(before, JSON)
    assert after.patch(before, MSGPACK) is after.patch(before, MSGPACK)


def test_an_element_does_not_keep_its_predecessors() -> None:
    before, after = queue(1), queue(2)
    held = sys.getrefcount(before)
    after.patch(before, JSON)
    assert sys.getrefcount(before) == held


def test_facts_of_sessions_are_never_framed() -> None:
    element = Element(facts_of(ticket_of()))
    with pytest.raises(TypeError, match="never framed"):
        element.fragment(JSON)
    with pytest.raises(TypeError, match="never framed"):
        queue(1).patch(element, JSON)


def test_a_catalogue_is_one_element_for_all_users_who_received_the_same_object() -> None:
    composer, rows = Composer(), (Skill("1"),)
    first = composer.catalogue(rows, Skills)
    assert first.value == Skills(rows)
    assert composer.catalogue(rows, Skills) is first
    for number in range(CATALOGUES_MAX + 1):
        assert composer.catalogue((Skill(str(number)),), Skills).value == Skills((Skill(str(number)),))
    assert composer.catalogue(rows, Skills).value == first.value


def test_empty_catalogues_of_several_kinds_are_different_elements() -> None:
    composer = Composer()
    assert composer.catalogue((), Skills).value == Skills(())
    assert composer.catalogue((), Reasons).value == Reasons(())
