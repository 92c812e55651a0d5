"""Keys: read as written, never shown."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.app import keys
from gateway.app.keys import SealingKey, SecretKey
from tests.app.samples import KEY


@given(st.binary(min_size=32, max_size=32), st.from_regex(r"[a-z0-9]{1,16}", fullmatch=True))
def test_what_is_written_is_read(raw: bytes, key_id: str) -> None:
    sealing, pseudonym = SealingKey(key_id, SecretKey(raw)), SecretKey(raw[::-1])
    block = tomllib.loads(keys.write_block([sealing], pseudonym))["secrets"]
    assert [keys.parse_sealing_key(text) for text in block["sealing_keys"]] == [sealing]
    assert keys.parse_secret_key(block["pseudonym_key"]) == pseudonym


@pytest.mark.parametrize(
    "text", ["", "x", KEY[:-1], KEY + "AAAA", KEY[4:], "é" * 44, KEY.replace("A", "-", 1)]
)
def test_what_is_no_key_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(ValueError, match="make one with `oscc-gateway keys`") as caught:
        keys.parse_secret_key(text)
    assert len(text) < 2 or text not in str(caught.value)


def test_new_keys_are_numbered_on() -> None:
    present = [SealingKey(name, SecretKey(bytes(32))) for name in ("k7", "old", "k2")]
    assert keys.new_sealing_key().id == "k1"
    assert keys.new_sealing_key(present).id == "k8"


@pytest.mark.parametrize(
    ("present", "received"),
    [
        (("k9", "k10", "old"), ["k10", "k9", "old"]),
        (("k2", "k1"), ["k2", "k1"]),
        (("old", "new"), ["new", "old"]),
        (("k1",), ["k1"]),
    ],
)
def test_the_newest_key_comes_to_the_head(present: tuple[str, ...], received: list[str]) -> None:
    made = [SealingKey(name, keys.new_secret_key()) for name in present]
    led = keys.newest_first(made)
    assert [key.id for key in led] == received
    assert [keys.parse_sealing_key(line) for line in keys.write_lines(led).splitlines()] == led


def test_new_keys_are_long_and_differ() -> None:
    one, other = keys.new_secret_key(), keys.new_secret_key()
    assert len(one.raw) == len(other.raw) == 32
    assert one != other


def test_keys_are_never_shown() -> None:
    key = SealingKey("k1", SecretKey(b"canary" + bytes(26)))
    for text in (repr(key), str(key), f"{key}", repr(key.key), str(key.key), repr([key])):
        assert "canary" not in text
