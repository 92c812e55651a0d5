"""Sealed messages open only with a key of the cluster and for their channel."""

from __future__ import annotations

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from gateway.bus.sealing import DropReason, Seals

K1, K2, K3 = ("k1", b"1" * 32), ("k2", b"2" * 32), ("k1", b"3" * 32)


def draw(count: int) -> bytes:
    return b"n" * count


def sealer(*keys: tuple[str, bytes]) -> Seals:
    return Seals(keys, draw)


@given(plain=st.binary(max_size=300), channel=st.binary(max_size=40))
def test_what_was_sealed_opens_to_what_it_was(plain: bytes, channel: bytes) -> None:
    seals = sealer(K1)
    sealed = seals.seal(channel, plain)
    assert seals.open(channel, sealed) == plain
    assert len(plain) < 4 or plain not in sealed


def test_keys_rotate_while_nodes_run_and_no_nonce_comes_again() -> None:
    seals, old = sealer(K1), sealer(K1)
    before = seals.seal(b"c", b"x")
    seals.rekey([K2, K1])
    after = seals.seal(b"c", b"x")
    assert after.startswith(b"\x02k2"), "the first key seals"
    assert (seals.open(b"c", before), seals.open(b"c", after)) == (b"x", b"x"), "all open"
    assert old.open(b"c", after) is None
    assert old.dropped == {DropReason.UNKNOWN_KEY: 1}
    assert before[3:15] != after[3:15]
    seals.rekey([K2])
    assert seals.open(b"c", before) is None
    with pytest.raises(ValueError, match="no sealing key"):
        seals.rekey([])
    assert seals.open(b"c", after) == b"x", "the keys in force stay"


def test_another_channel_another_key_or_a_changed_bit_open_nothing() -> None:
    seals = sealer(K1)
    sealed = seals.seal(b"c", b"x")
    assert seals.open(b"d", sealed) is None
    assert seals.open(b"c", sealer(K3).seal(b"c", b"x")) is None
    for at in range(3, len(sealed)):
        assert seals.open(b"c", sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]) is None
    assert seals.dropped == {DropReason.FORGED: 2 + len(sealed) - 3}


@given(data=st.binary(max_size=60))
def test_arbitrary_bytes_open_nothing_and_raise_nothing(data: bytes) -> None:
    seals = sealer(K1, K2)
    for sealed in (data, b"\x02k1" + data):
        assert seals.open(b"c", sealed) is None
    assert seals.dropped.total() == 2


def test_what_is_too_short_is_garbage() -> None:
    seals = sealer(K1)
    sealed = seals.seal(b"c", b"")
    for end in range(len(sealed)):
        assert seals.open(b"c", sealed[:end]) is None
    assert seals.dropped == {DropReason.GARBAGE: len(sealed)}


def test_no_nonce_comes_twice_also_when_the_counter_is_used_up() -> None:
    drawn = iter([b"a" * 8, b"b" * 8])
    seals = Seals([K1], lambda _: next(drawn))
    seals._count = 2**32 - 2
    nonces = [seals.seal(b"c", b"")[3:15] for _ in range(4)]
    assert nonces == [
        b"a" * 8 + b"\xff\xff\xff\xfe",
        b"a" * 8 + b"\xff\xff\xff\xff",
        b"b" * 8 + b"\x00\x00\x00\x00",
        b"b" * 8 + b"\x00\x00\x00\x01",
    ]


def test_the_key_is_for_the_bus_alone() -> None:
    sealed = sealer(K1).seal(b"c", b"x")
    with pytest.raises(InvalidTag):
        AESGCM(K1[1]).decrypt(sealed[3:15], sealed[15:], b"c")


@pytest.mark.parametrize("keys", [[], [("k1", b"short")], [("", b"1" * 32)], [("k" * 256, b"1" * 32)]])
def test_keys_that_are_none_are_refused(keys: list[tuple[str, bytes]]) -> None:
    with pytest.raises(ValueError, match="key"):
        Seals(keys, draw)


def test_keys_are_not_shown() -> None:
    assert repr(sealer(K1, K2)) == "Seals(2 keys)"
