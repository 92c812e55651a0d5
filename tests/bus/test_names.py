"""Are the names those of the design, stable for ever, and mute about people?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.bus.connect import KeyNames
from gateway.domain.model import NodeId, UserId
from gateway.protocol.envelopes import Control, Events, Inbox

NAMES = KeyNames(b"p" * 32)
ANN = UserId("main", 4711)


def test_names_are_the_same_in_every_version() -> None:
    own, tok, events = NAMES.user(ANN)
    uid = own.decode().removeprefix("og:{u:main:").removesuffix("}:own")
    assert uid == "d35758bd57d90d9b3656cd0d8421f5e4"
    assert (own, tok, events) == tuple(f"og:{{u:main:{uid}}}:{end}".encode() for end in ("own", "tok", "ev"))
    assert NAMES.channel(Events(ANN)) == events
    assert NAMES.channel(Inbox(NodeId("n1"))) == b"og:n:n1:in"
    assert NAMES.channel(Control()) == b"og:ctl"
    assert NAMES.node("h1") == b"og:node:h1"
    assert NAMES.denied("a1") == b"og:deny:bd7f77cff75740591e68d7a781555de1"
    assert NAMES.throttled("a1") == b"og:thr:0ebaf5d7b3e3c0feeedb18c31fc27b20"


def test_names_of_another_cluster_are_others() -> None:
    other = KeyNames(b"q" * 32)
    assert other.user(ANN) != NAMES.user(ANN)
    assert other.denied("a") != NAMES.denied("a")


@given(
    users=st.sets(st.builds(UserId, st.sampled_from(["main", "other"]), st.integers(1, 10**12)), max_size=20)
)
def test_users_have_names_of_their_own(users: set[UserId]) -> None:
    assert len({NAMES.user(user) for user in users}) == len(users)
    for user in users:
        assert str(user.key).encode() not in NAMES.user(user).own or user.key < 10**6


def test_sites_do_not_share_a_hash_of_the_same_key() -> None:
    one, two = NAMES.user(UserId("a", 1)).own, NAMES.user(UserId("b", 1)).own
    assert one.decode().split(":")[3] != two.decode().split(":")[3]


def test_what_is_denied_is_not_what_is_counted() -> None:
    assert NAMES.denied("x").removeprefix(b"og:deny:") != NAMES.throttled("x").removeprefix(b"og:thr:")


def test_the_memory_of_names_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.bus.connect._USERS_MAX", 3)
    names = KeyNames(b"p" * 32)
    for _ in range(2):
        for key in range(10):
            assert names.user(UserId("main", key)) == NAMES.user(UserId("main", key))
    assert repr(names) in {f"KeyNames({count} users)" for count in (1, 2, 3)}


def test_a_key_of_another_length_is_none() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        KeyNames(b"secret")


def test_the_key_is_not_shown() -> None:
    assert repr(KeyNames(b"p" * 32)) == "KeyNames(0 users)"
