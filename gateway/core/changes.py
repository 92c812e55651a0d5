"""Split changes of keys into frames."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from typing import Final, Literal, NamedTuple

from gateway.core.element import Element
from gateway.core.ledger import Ledger
from gateway.core.view import ME_PREFIX, View
from gateway.protocol.codec import Codec

FRAME_BYTES_MAX: Final = 256 * 1024
_FRAME_HEAD_BYTES: Final = 256
_PER_KEY_BYTES: Final = 8


class Held(enum.Enum):
    """What a reader holds of a key when it is no element that we know."""

    NOTHING = enum.auto()
    SOMETHING = enum.auto()


Base = Element | Held


class Waiting(dict[str, Base]):
    """Names that wait to be told, each with what its reader holds.

    *since*: when the oldest news among them came to this node; monotonic seconds.
    """

    __slots__ = ("since",)
    since: float


def waiting(since: float) -> Waiting:
    """Return room for what waits from now on, for news that came at *since*."""
    made = Waiting()
    made.since = since
    return made


class Cursor(NamedTuple):
    """What was last told to the phone."""

    stream: str
    seq: int


class Change(NamedTuple):
    """What happened to one key, from what the reader holds to now."""

    verb: Literal["put", "patch", "gone"]
    key: str
    fragment: bytes


class _Puts(NamedTuple):
    """The values of keys, and how many bytes they take in a frame."""

    puts: list[tuple[str, bytes]]
    size_bytes: int


def _everything(ledger: Ledger, view: View, codec: Codec) -> _Puts:
    """Return what takes a reader who holds nothing to what the ledger holds now.

    What views of equal shared keys have in common is kept as soon as a second reader asks for it.
    """
    place = view.shared, codec.name
    found = ledger.firsts.get(place)
    if not isinstance(found, _Puts):
        shared = view.shared
        puts = [(key, element.fragment(codec)) for key, element in ledger.shared() if key in shared]
        made = _Puts(puts, sum(_size_of(key, fragment) for key, fragment in puts))
        ledger.firsts[place] = made if place in ledger.firsts else None
        found = made
    me = ledger.get(view.me)
    if me is None:
        return found
    own = View.wire_key(view.me), Element(me.value).fragment(codec)  # as in :func:`_change`
    return _Puts([*found.puts, own], found.size_bytes + _size_of(*own))


def first_of(ledger: Ledger, view: View, codec: Codec, *, head: Cursor, frame_bytes: int) -> list[bytes]:
    """Write the frames that make a reader forget all that he holds, and take him to *head*."""
    first = _everything(ledger, view, codec)
    if first.size_bytes > frame_bytes - _FRAME_HEAD_BYTES:
        changes = [Change("put", key, fragment) for key, fragment in first.puts]
        nowhere = Cursor("", 0)
        return list(frames_of(changes, codec, cursor=nowhere, head=head, reset=True, frame_bytes=frame_bytes))
    frame = codec.changes(
        after=0,
        upto=head.seq,
        stream=head.stream,
        reset=True,
        more=False,
        put=first.puts,
        patch=(),
        gone=(),
    )
    return [frame]


def news_of(
    dirty: Mapping[str, Base],
    ledger: Ledger,
    view: View,
    codec: Codec,
    cursor: Cursor,
    head: Cursor,
    *,
    frame_bytes: int,
    is_owed: bool,
) -> list[bytes]:
    """Write the frames that take a reader who holds the bases in *dirty* from *cursor* to *head*.

    There are none when he holds all of it, unless he *is_owed* one or is to be told a name.
    """
    changes = changes_of(dirty, ledger, view, codec)
    if not (changes or is_owed or head.stream):
        return []
    return list(frames_of(changes, codec, cursor=cursor, head=head, reset=False, frame_bytes=frame_bytes))


def changes_of(dirty: Mapping[str, Base], ledger: Ledger, view: View, codec: Codec) -> list[Change]:
    """Return what takes readers that hold the bases in *dirty* to what the ledger holds now."""
    changes = []
    for key, base in dirty.items():
        change = _change(key, base, ledger.get(key) if view.sees(key) else None, codec)
        if change is not None:
            changes.append(change)
    return changes


def _change(key: str, base: Base, element: Element | None, codec: Codec) -> Change | None:
    name = View.wire_key(key)
    if element is None:
        return None if base is Held.NOTHING else Change("gone", name, b"")
    if element is not base and key.startswith(ME_PREFIX):
        element = Element(element.value)  # one phone reads it, once: its wire forms are not kept
    if isinstance(base, Held):
        return Change("put", name, element.fragment(codec))
    patch = None if element is base else element.patch(base, codec)
    return None if patch is None else Change("patch", name, patch)


def frames_of(
    changes: list[Change], codec: Codec, *, cursor: Cursor, head: Cursor, reset: bool, frame_bytes: int
) -> Iterator[bytes]:
    """Write *changes* as the frames that take a reader from *cursor* to *head*.

    Args:
        changes: In any order; one for a key.
        codec: The reader's.
        cursor: What he was told last; at a reset nothing.
        head: What he is told up to.
        reset: Whether he forgets all that he holds first.
        frame_bytes: What one frame may have, as far as single values allow.
    """
    after = cursor.seq
    announce = reset or head.stream != cursor.stream
    parts = _split(changes, frame_bytes)
    for index, part in enumerate(parts):
        first, last = index == 0, index == len(parts) - 1
        put: list[tuple[str, bytes]] = []
        patch: list[tuple[str, bytes]] = []
        gone: list[str] = []
        for verb, key, fragment in part:
            if verb == "patch":
                patch.append((key, fragment))
            elif verb == "put":
                put.append((key, fragment))
            else:
                gone.append(key)
        yield codec.changes(
            after=after,
            upto=head.seq if last else after,
            stream=head.stream if announce and first else None,
            reset=reset and first,
            more=not last,
            put=put,
            patch=patch,
            gone=gone,
        )


def _split(changes: list[Change], size_bytes: int) -> list[list[Change]]:
    """Cut into parts whose frames stay within *size_bytes*, as far as single values allow."""
    if len(changes) < 2:
        return [changes]
    parts: list[list[Change]] = [[]]
    room = size_bytes - _FRAME_HEAD_BYTES
    for change in changes:
        need = _size_of(change.key, change.fragment)
        if need > room and parts[-1]:
            parts.append([])
            room = size_bytes - _FRAME_HEAD_BYTES
        parts[-1].append(change)
        room -= need
    return parts


def _size_of(key: str, fragment: bytes) -> int:
    return len(key) + len(fragment) + _PER_KEY_BYTES
