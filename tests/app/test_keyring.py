"""Users of keys always have those in force."""

from __future__ import annotations

from gateway.app.keys import Keyring, RawKeys, SealingKey, new_sealing_key

FIRST = new_sealing_key()
NEXT = new_sealing_key([FIRST])


def test_users_of_keys_get_new_ones_once() -> None:
    ring, received = Keyring([FIRST]), list[RawKeys]()
    ring.subscribe(received.append)
    assert (ring.replace([FIRST]), received) == (False, [])
    assert ring.replace([FIRST, NEXT]) is False
    assert received == [[(FIRST.id, FIRST.key.raw), (NEXT.id, NEXT.key.raw)]] == [ring.raw]
    assert ring.replace([NEXT, FIRST]) is True
    assert ring.ids == ("k2", "k1")
    assert ring.replace([NEXT]) is False
    assert len(received) == 3


def test_a_key_under_an_old_name_is_another_key() -> None:
    ring = Keyring([FIRST])
    assert ring.replace([SealingKey("k1", NEXT.key)]) is True


def test_the_names_of_keys_tell_two_of_one_id_apart() -> None:
    ring = Keyring([FIRST, NEXT])
    assert [name.partition("/")[0] for name in ring.names] == ["k1", "k2"]
    assert ring.names[0] == SealingKey("k1", FIRST.key).name != SealingKey("k1", NEXT.key).name
    assert NEXT.key.raw.hex()[:8] not in ring.names[1]


def test_a_keyring_shows_no_key() -> None:
    assert str(FIRST.key.raw) not in repr(Keyring([FIRST]))
