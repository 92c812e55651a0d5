"""What may a session see and do?"""

from __future__ import annotations

import msgspec
import pytest

from gateway.domain.model import Right, Scope
from gateway.upstream.oscce.decode import RIGHTS
from gateway.upstream.oscce.directory import Scoped, rights, scope
from gateway.upstream.oscce.errors import UNREADABLE
from gateway.upstream.oscce.readings import Readings


def read(text: bytes, pool: Readings) -> Scope:
    return scope(msgspec.json.decode(text, type=Scoped), pool)


def test_a_scope_is_four_sets_of_keys_and_what_is_not_told_is_empty() -> None:
    found = read(b'{"Users":[7,8],"Groups":[3],"Aggregates":[],"More":[1]}', Readings())
    assert found == Scope(frozenset({7, 8}), frozenset(), frozenset({3}), frozenset())


@pytest.mark.parametrize("told", [b"null", b"[null]", b"[]"])
def test_null_lets_nobody_see_anything(told: bytes) -> None:
    assert read(b'{"Users":' + told + b"}", Readings()).agents == frozenset()


def test_the_same_keys_are_held_once() -> None:
    pool = Readings()
    one, other = (read(b'{"Users":[7,8]}', pool) for _ in range(2))
    assert one.agents is other.agents


@pytest.mark.parametrize("told", [b'"All"', b'["7"]', b"{}"])
def test_what_is_no_list_of_keys_is_refused(told: bytes) -> None:
    with pytest.raises(UNREADABLE):
        read(b'{"Queues":' + told + b"}", Readings())


def test_rights_are_those_that_are_known() -> None:
    name, right = next(iter(RIGHTS.items()))
    assert isinstance(right, Right)
    assert rights([name, name, "Fly", None, 7]) == {right}
