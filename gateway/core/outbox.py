"""What waits to be sent to one phone, and when may it leave?

Control frames wait in order, state waits as a set of names: of each dirty key the outbox
keeps the element that its reader holds, and :meth:`Outbox.take` sends the difference between
that and now. So a slow phone costs a set of names, not a queue.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, Literal, NamedTuple

from gateway.core.element import Element
from gateway.core.ledger import Ledger
from gateway.core.pace import Pace
from gateway.core.view import View
from gateway.domain.model import Position
from gateway.protocol.codec import Codec
from gateway.protocol.frames import ControlFrame, StreamPosition


class Held(enum.Enum):
    """What a reader holds of a key when it is no element that we know."""

    NOTHING = enum.auto()
    SOMETHING = enum.auto()


Base = Element | Held


class Cursor(NamedTuple):
    """What was last told to the phone."""

    stream: str
    seq: int


PingMaker = Callable[[Cursor, int], bytes]
"""Makes a ping from its `after` and `upto`."""


class _Change(NamedTuple):
    """What happened to one key, from what the reader holds to now."""

    verb: Literal["put", "patch", "gone"]
    key: str
    fragment: bytes


class _Waiting(NamedTuple):
    frame: bytes
    after_state: bool


FRAME_BYTES_MAX: Final = 256 * 1024
CONTROL_MAX: Final = 64
_FRAME_HEAD_BYTES: Final = 256
_PER_KEY_BYTES: Final = 8


class Outbox:
    """All that one phone is still to be told.

    Invariants: at most one entry per key of its view; a frame never holds a key outside the
    view; parts of one answer leave together and in order; the cursor only moves with the last
    part; control frames are never dropped.

    Args:
        ledger: The mirror it reads. The outbox is one of its readers until :meth:`close`.
        view: What may be seen.
        codec: How frames are written.
        pace: When state may leave.
    """

    __slots__ = (
        "_codec",
        "_control",
        "_cursor",
        "_dirty",
        "_frame_bytes",
        "_ledger",
        "_owed",
        "_pace",
        "_ping",
        "_reset",
        "_view",
        "conflated",
    )

    def __init__(
        self, ledger: Ledger, view: View, codec: Codec, pace: Pace, *, frame_bytes: int = FRAME_BYTES_MAX
    ) -> None:
        self._ledger = ledger
        self._view = view
        self._codec = codec
        self._pace = pace
        self._frame_bytes = frame_bytes
        self._control: deque[_Waiting] = deque()
        self._dirty: dict[str, Base] = {}
        self._cursor = Cursor("", 0)
        self._reset = True
        self._owed = True
        self._ping: PingMaker | None = None
        self.conflated = 0
        ledger.readers.append(self)

    def close(self) -> None:
        """Stop reading the ledger."""
        self._ledger.readers.remove(self)

    @property
    def stream(self) -> str:
        """The name of the stream in force: epoch and view."""
        return f"{self._ledger.position.epoch}.{self._view.mark}"

    @property
    def dirty(self) -> int:
        """How many keys wait."""
        return len(self._dirty)

    @property
    def view(self) -> View:
        """What may be seen."""
        return self._view

    # ---- what is told to it ----

    def begin(self, position: StreamPosition | None) -> bool:
        """Start at the phone's *position*; returns whether it resumes without a reset.

        Either way a `changes` frame is owed, empty when the phone is in sync. It follows at once on
        the first control frame, which is the `welcome`.
        """
        self._owed = True
        if position is None or position.stream != self.stream:
            self.reset()
            return False
        delta = self._ledger.since(Position(self._ledger.position.epoch, position.seq))
        if delta.reset:
            self.reset()
            return False
        self._reset = False
        self._cursor = Cursor(position.stream, position.seq)
        keys = self._view.keys
        self._dirty = {update.key: Held.SOMETHING for update in delta.updates if update.key in keys}
        return True

    def reset(self) -> None:
        """Send everything again, as to a phone that holds nothing."""
        self._reset = True
        keys = self._view.keys
        self._dirty = {key: Held.NOTHING for key, _ in self._ledger.items() if key in keys}

    def mark(self, key: str, before: Element | None) -> None:
        """Note that *key* changed in the ledger, which held *before*."""
        if key not in self._view.keys:
            return
        if key in self._dirty:
            self.conflated += 1
        else:
            self._dirty[key] = Held.NOTHING if before is None else before

    def look(self, view: View) -> None:
        """Change the view in place: keys left will go, keys gained will be put."""
        for key, held in self._ledger.items():
            had, has = key in self._view.keys, key in view.keys
            if had and not has:
                self._dirty.setdefault(key, held)
            elif has and not had:
                self._dirty.setdefault(key, Held.NOTHING)
        self._view = view

    def post(self, frame: ControlFrame, *, after_state: bool = False) -> bool:
        """Queue a frame that must arrive. False: the phone is too slow, :data:`CONTROL_MAX` wait.

        *after_state*: whatever state waits is sent before it, without regard to the pace.
        """
        if len(self._control) >= CONTROL_MAX:
            return False
        self._control.append(_Waiting(self._codec.encode(frame), after_state))
        return True

    def ping(self, make: PingMaker) -> None:
        """Send a ping as soon as possible; a newer one replaces one that still waits."""
        self._ping = make

    # ---- what it gives ----

    def due_at(self, now: float) -> float | None:
        """Return when there is something to send: *now* or earlier, later, or None when nothing waits."""
        if self._control or self._ping or self._owed:
            return now
        if not self._has_state():
            return None
        return self._pace.due_at(now)

    def take(self, now: float) -> list[bytes]:
        """Remove and return the frames that leave now, in order.

        State comes whole: all parts of it are in the list, and the caller sends them before
        it takes again.
        """
        frames, state_sent = self._take_control(now)
        if not state_sent and (self._owed or self._pace.due_at(now) <= now):
            frames += self._state(now)
        if self._ping is not None:
            frames.append(self._take_ping(self._ping))
            self._ping = None
        return frames

    def take_last(self, now: float) -> list[bytes]:
        """Remove and return what is told before the end: control frames, and the state they follow."""
        return self._take_control(now)[0]

    def _take_control(self, now: float) -> tuple[list[bytes], bool]:
        frames: list[bytes] = []
        state_sent = False
        while self._control:
            waiting = self._control.popleft()
            if waiting.after_state and not state_sent:
                frames += self._state(now)
                state_sent = True
            frames.append(waiting.frame)
            if self._owed:
                frames += self._state(now)
                state_sent = True
        return frames, state_sent

    def _has_state(self) -> bool:
        return bool(self._dirty) or self._reset or self._owed or self._cursor.stream != self.stream

    def _take_ping(self, make: PingMaker) -> bytes:
        after = self._cursor
        if not self._has_state():
            self._cursor = Cursor(after.stream, self._ledger.position.seq)
        return make(after, self._cursor.seq)

    def _state(self, now: float) -> list[bytes]:
        if not self._has_state():
            return []
        changes = [change for key, base in self._dirty.items() if (change := self._change(key, base))]
        self._dirty.clear()
        if not changes and not (self._reset or self._owed or self._cursor.stream != self.stream):
            return []
        self._pace.sent(now)
        return list(self._frames(_split(changes, self._frame_bytes)))

    def _change(self, key: str, base: Base) -> _Change | None:
        name = self._view.wire_key(key)
        element = self._ledger.get(key) if key in self._view.keys else None
        if element is None:
            return None if base is Held.NOTHING else _Change("gone", name, b"")
        if isinstance(base, Held):
            return _Change("put", name, element.fragment(self._codec))
        patch = None if element is base else element.patch(base, self._codec)
        return None if patch is None else _Change("patch", name, patch)

    def _frames(self, parts: list[list[_Change]]) -> Iterator[bytes]:
        head = Cursor(self.stream, self._ledger.position.seq)
        after = 0 if self._reset else self._cursor.seq
        announce = self._reset or head.stream != self._cursor.stream
        for index, part in enumerate(parts):
            first, last = index == 0, index == len(parts) - 1
            yield self._codec.changes(
                after=after,
                upto=head.seq if last else after,
                stream=head.stream if announce and first else None,
                reset=self._reset and first,
                more=not last,
                put=[(key, fragment) for verb, key, fragment in part if verb == "put"],
                patch=[(key, fragment) for verb, key, fragment in part if verb == "patch"],
                gone=[key for verb, key, _ in part if verb == "gone"],
            )
        self._cursor, self._reset, self._owed = head, False, False


def _split(changes: list[_Change], size_bytes: int) -> list[list[_Change]]:
    """Cut into parts whose frames stay within *size_bytes*, as far as single values allow."""
    parts: list[list[_Change]] = [[]]
    room = size_bytes - _FRAME_HEAD_BYTES
    for change in changes:
        need = len(change.key) + len(change.fragment) + _PER_KEY_BYTES
        if need > room and parts[-1]:
            parts.append([])
            room = size_bytes - _FRAME_HEAD_BYTES
        parts[-1].append(change)
        room -= need
    return parts
