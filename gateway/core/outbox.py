"""The outbox of one phone: what waits to be sent, and when changes are sent.

Control frames wait in order. State waits as a set of keys: for each changed key the outbox keeps the element
that the phone holds, and sends the difference to the newest. A slow phone costs a set of keys, not a queue.
Changes that many phones get alike wait as one set until another change comes: its patches are encoded once.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Container, Hashable, Iterable
from typing import Final, NamedTuple

from gateway.core.element import ChangeSet, Element, patches_of
from gateway.core.fanout_group import (
    FRAME_BYTES_MAX,
    MADE_AT_ONCE,
    Base,
    ChangesFrame,
    Cursor,
    FanoutGroup,
    GroupMember,
    Held,
    Sink,
    WireForms,
    first_of,
    forms_of,
    forms_of_all,
    news_of,
    place_of,
)
from gateway.core.ledger import Ledger
from gateway.core.view import ME_PREFIX, View
from gateway.domain.model import NO_ITEMS, Position, with_item
from gateway.protocol.codec import Codec, Members
from gateway.protocol.frames import ControlFrame, StreamPosition

LADDER_S: Final = (0.05, 0.25, 1.0, 5.0)
_GOOD_FLUSHES_DOWN: Final = 3
_NEVER: Final = -math.inf


class PaceLadder:
    """At most one state frame in an interval that grows while the phone is slow.

    The first change after a pause is sent at once. A flush that finds the socket not drained goes one step
    up; three good ones in a row go one step down. Never faster than the phone requested.
    """

    __slots__ = ("_least_s", "every_s", "interval_s", "sent_at", "to_go")

    def __init__(self, every_s: float = 0.0, least_s: float = LADDER_S[0]) -> None:
        self.sent_at = _NEVER
        self._least_s = least_s
        self.to_go = 0
        """Number of good flushes until the lowest step."""
        self.request(every_s)

    def request(self, every_s: float) -> None:
        """Send state at most once in *every_s*."""
        self.every_s = every_s
        self._slow_down(self.to_go)

    def _slow_down(self, to_go: int) -> None:
        self.to_go = to_go
        self.interval_s = max(self.every_s, LADDER_S[self.level] if to_go else self._least_s)
        """The minimum time between two state frames now."""

    @property
    def level(self) -> int:
        """The step of the ladder, 0 for a phone that keeps up."""
        return -(-self.to_go // _GOOD_FLUSHES_DOWN)

    def due_at(self, now: float) -> float:
        """Return when state may be sent: *now*, or later."""
        return max(now, self.sent_at + self.interval_s)

    def sent(self, now: float) -> None:
        """Record that state is sent."""
        self.sent_at = now

    def flushed(self, *, drained: bool) -> None:
        """Record whether a flush found everything written before it *drained* from the socket."""
        if drained:
            if self.to_go:
                self._slow_down(self.to_go - 1)
        else:
            self._slow_down(min(self.level + 1, len(LADDER_S) - 1) * _GOOD_FLUSHES_DOWN)


PingMaker = Callable[[int, int], bytes]
"""Makes a ping from its `after` and `upto`."""


class _Waiting(NamedTuple):
    frame: bytes
    after_state: bool


class _WaitingPing(NamedTuple):
    make: PingMaker
    after_state: bool


CONTROL_MAX: Final = 64
BATCH_MAX: Final = 256
"""Most changes that wait as one set. Its patches are encoded in one turn, once for all phones: some 5 ms."""


class Outbox(GroupMember):
    """All frames that are still to be sent to one phone.

    Invariants: at most one entry per key of its view. A frame never holds a key outside the view. Parts of
    one answer leave together and in order. The cursor only moves with the last part. Control frames are never
    dropped.

    It is one of the readers of *ledger* until :meth:`close`.
    """

    __slots__ = (
        "_apart", "_conflated", "_control", "_dirty", "_forms", "_frame_bytes", "_owed", "_packed", "_ping",
        "_reset", "_sent_epoch", "_sent_view", "_seq", "_shipped_bytes", "_shipped_frames", "_since", "codec",
        "fanout_group", "has_only_changes", "ledger", "pace", "sink", "view",
    )  # fmt: skip

    def __init__(
        self,
        ledger: Ledger,
        view: View,
        codec: Codec,
        pace: PaceLadder,
        *,
        frame_bytes: int = FRAME_BYTES_MAX,
    ) -> None:
        self.ledger: Final = ledger
        self.view = view
        self.codec: Final = codec
        self.pace: Final = pace
        self._frame_bytes = frame_bytes
        self.sink: Sink | None = None
        self._control: deque[_Waiting] | None = None
        self.fanout_group: FanoutGroup | None = None
        """The fan-out group that sends its state; None while it is alone."""
        self._apart = False
        self._dirty: dict[str, Base] | None = None
        self._packed: ChangeSet | tuple[str, Element] | None = None
        """What waits instead of single keys: changes whose present elements the ledger holds, or one change
        with the element that the phone holds. Most changes wait alone, and need no dictionary.
        """
        self._since = math.inf
        """When the oldest waiting change came to this node; infinity: unknown, or none waits."""
        self._seq = self._sent_epoch = 0
        self._sent_view: View | None = None
        """With the epoch: the last stream whose name was sent to the phone."""
        self._reset = self._owed = True
        self._ping: _WaitingPing | None = None
        self._forms: WireForms | None = None
        """The encodings that a large state still needs."""
        self.has_only_changes = False
        """Whether nothing but changes can be due, as :meth:`take` found: then :meth:`take_news` takes them.
        Anything else to send ends it, and so does the socket before a turn in which all is to be done.
        """
        self._conflated = self._shipped_frames = self._shipped_bytes = 0
        ledger.readers[self] = None

    def close(self) -> None:
        """Stop reading the ledger."""
        self.leave_group()
        self._apart = True
        del self.ledger.readers[self]
        if not self.ledger.readers:
            self.ledger.joinable = NO_ITEMS  # a closed outbox joins no group, and nothing holds it

    @property
    def stream(self) -> str:
        """The name of the present stream: epoch and view."""
        return f"{self.ledger.epoch}.{self.view.mark}"

    @property
    def dirty(self) -> int:
        """Number of waiting keys."""
        if self._reset:
            return sum(self.view.sees(key) for key, _ in self.ledger.seen_by(self.view.me))
        return self.waits[0]

    @property
    def waits(self) -> tuple[int, float]:
        """Number of waiting keys without a whole state, and when the oldest change came; infinity: none."""
        if (fanout_group := self.fanout_group) is not None:
            return fanout_group.waits
        packed = self._packed
        if isinstance(packed, tuple):
            return 1, self._since
        return len((self._dirty if packed is None else packed) or ()), self._since

    @property
    def conflated(self) -> int:
        """Number of values that newer ones have replaced so far."""
        return self._conflated + (0 if self.fanout_group is None else self.fanout_group.conflated)

    @property
    def shipped(self) -> tuple[int, int]:
        """Frames that were sent with those of others, and their bytes."""
        fanout_group = self.fanout_group
        frames, size_bytes = (
            (0, 0) if fanout_group is None else (fanout_group.frames, fanout_group.frame_bytes)
        )
        return self._shipped_frames + frames, self._shipped_bytes + size_bytes

    # ---- what goes in ----

    def begin(self, position: StreamPosition | None) -> bool:
        """Start at the phone's *position*; return whether it resumes without a reset.

        In both cases a `changes` frame is owed, empty when the phone is in sync. It follows at once on the
        first control frame, which is the `welcome`.
        """
        self.leave_group()
        self._owed = True
        if position is None or position.stream != self.stream:
            self.reset()
            return False
        delta = self.ledger.since(Position(self.ledger.epoch, position.seq), self.view.me)
        if delta.reset:
            self.reset()
            return False
        self._reset, self._seq, self._packed = False, position.seq, None
        self._sent_epoch, self._sent_view = self.ledger.epoch, self.view
        self._dirty = {update.key: Held.SOMETHING for update in delta.updates if self.view.sees(update.key)}
        self._since = math.inf
        return True

    def reset(self) -> None:
        """Send everything again, as to a phone without data."""
        self.leave_group()
        self._reset, self._since = True, math.inf
        self._dirty = self._packed = self._forms = None

    def mark(self, key: str, before: Element | None) -> None:
        """Record that *key* changed in the ledger, which held *before*."""
        view = self.view
        if not (key in view.shared or view.sees(key)):
            return
        if self._reset:  # everything is sent anyway
            self._conflated += before is not None
            return
        packed = self._packed
        if packed is not None:
            if isinstance(packed, tuple) and packed[0] == key:
                self._conflated += 1
                return
            self._unpack()
        dirty = self._dirty
        if not dirty:
            self._since = self.ledger.came_at
            if before is None:
                self._dirty = {key: Held.NOTHING}
            else:
                self._packed = (key, before)
        elif key in dirty:
            self._conflated += 1
        else:
            dirty[key] = Held.NOTHING if before is None else before

    def mark_all(self, changes: ChangeSet) -> None:
        """Record that several shared keys changed in the ledger."""
        packed = self._packed
        if (
            self._dirty
            or self._reset
            or isinstance(packed, tuple)
            or not changes.is_within(self.view.shared)
            or not self._is_batched(packed, changes)
        ):
            for key, before in changes.befores.items():
                self.mark(key, before)

    def _is_batched(self, batch: ChangeSet | None, changes: ChangeSet) -> bool:
        """Let *changes*, which the phone may see, wait in one set with those of *batch*, if they are few."""
        both = changes if batch is None else batch.then(changes)
        count = len(both.elements)
        if count > BATCH_MAX:
            return False
        if batch is None:
            self._since = self.ledger.came_at
        else:
            self._conflated += len(batch) + len(changes) - count
        self._packed = both
        return True

    def _unpack(self) -> None:
        """Split what waits together into single waiting keys."""
        packed, self._packed = self._packed, None
        if packed is not None:
            befores = (packed,) if isinstance(packed, tuple) else packed.befores.items()
            self._dirty = {key: Held.NOTHING if before is None else before for key, before in befores}

    def change_view(self, view: View) -> None:
        """Change the view in place: keys that left are removed, new ones are sent."""
        self.leave_group()
        self._unpack()
        self._forms = None
        dirty = self._dirty = self._dirty or {}
        for key, held in self.ledger.seen_by(self.view.me):
            had, has = self.view.sees(key), view.sees(key)
            if had and not has:
                dirty.setdefault(key, held)
            elif has and not had:
                dirty.setdefault(key, Held.NOTHING)
        self.view = view

    def post(self, frame: ControlFrame, *, after_state: bool = False, most: int = CONTROL_MAX) -> bool:
        """Queue a frame that must arrive. False: the phone is too slow, *most* wait.

        *after_state*: all waiting state is sent before it, without regard to the pace.
        """
        self.leave_group()
        if self._control is None:
            self._control = deque()
        if len(self._control) >= most:
            return False
        self._control.append(_Waiting(self.codec.encode(frame), after_state))
        return True

    def ping(self, make: PingMaker, *, after_state: bool = False) -> None:
        """Send a ping as soon as possible; a newer one replaces one that still waits.

        *after_state*: all waiting state is sent before it, without regard to the pace.
        """
        self.leave_group()
        self._ping = _WaitingPing(make, after_state)

    def ping_in_step(self, make: PingMaker) -> bytes | None:
        """Return a ping for a phone that is in step with its fan-out group, and stays in it.

        None: the phone does not hold everything yet; use :meth:`ping`.
        """
        fanout_group = self.fanout_group
        if fanout_group is None or fanout_group.dirty:
            return None
        seq = fanout_group.seq
        return make(seq, seq) if seq == self.ledger.seen_upto(self.view.me) else None

    # ---- in step with others ----

    def leave_group(self) -> None:
        """Leave the fan-out group, if it is in one."""
        self.has_only_changes = False
        fanout_group = self.fanout_group
        if fanout_group is not None:
            self._shipped_frames, self._shipped_bytes = self.shipped
            self._conflated, self.fanout_group = self.conflated, None
            self._seq, self._dirty, self._since = fanout_group.leave(self)
            self.pace.sent(fanout_group.sent_at)
            self.ledger.readers[self] = None

    def keep_apart(self, *, apart: bool) -> None:
        """Join no fan-out group while *apart* holds: the phone accepts less than others."""
        self._apart = apart
        self.leave_group()

    def epoch_began(self) -> None:
        """See :meth:`gateway.core.ledger.Reader.epoch_began`: the next state contains the new name."""
        self.has_only_changes = False

    def waiting(self) -> str | None:
        """Return the handle of its session, when anything waits."""
        is_any = self._dirty or self._control or self._ping or self._has_state()
        return self.view.handle if is_any else None

    def enter_group(self, fanout_group: FanoutGroup) -> None:
        """Continue in *fanout_group*, which holds the same."""
        if self.fanout_group is not None:
            self.leave_group()
        del self.ledger.readers[self]
        self._dirty, self._packed, self._since = None, None, math.inf
        self.fanout_group, self.has_only_changes = fanout_group, False
        self._conflated -= fanout_group.conflated
        self._shipped_frames -= fanout_group.frames
        self._shipped_bytes -= fanout_group.frame_bytes
        fanout_group.join(self, self._seq, self.pace.sent_at)

    def _join_group(self, now: float) -> None:
        """Join the readers at the same position that may be sent to at the same time, if there are any."""
        ledger = self.ledger
        if ledger.readers.only_key is not None or (place := self.place(now)) is None:
            return
        found = ledger.joinable.get(place)
        if found is None and len(ledger.readers) == 2:  # the other one may have been alone until now
            found = next(
                (each for each in ledger.readers if each is not self and isinstance(each, Outbox)), None
            )
        if isinstance(found, FanoutGroup) and found.has_room:
            self.enter_group(found)
        elif isinstance(found, Outbox) and found is not self and found.place(now) == place:
            fanout_group = found.found_group()
            self.enter_group(fanout_group)
            ledger.joinable = with_item(ledger.joinable, place, fanout_group)
        else:
            ledger.joinable = with_item(ledger.joinable, place, self)

    def place(self, now: float) -> Hashable | None:
        """Return the key by which readers at the same position are found.

        None while a change waits for this one alone.
        """
        head = self.ledger.shared_seq
        is_own = self._control or self._ping or self._apart or self.pace.level
        if is_own or self._has_state() or self._seq != head:
            return None
        every_s, at, size = self.pace.interval_s, self.pace.sent_at, self._frame_bytes
        return place_of(
            self.view, self.codec, seq=head, interval_s=every_s, sent_at=at, frame_bytes=size, now=now
        )

    def due_place(self, now: float) -> Hashable | None:
        """Return the key by which readers are found for which the same changes are due.

        None while something for this phone alone is to be sent, or nothing is due.
        """
        packed, pace, view = self._packed, self.pace, self.view
        dirty: Container[str] | None = packed[:1] if isinstance(packed, tuple) else self._dirty
        if (
            not (dirty or packed is not None)
            or (dirty and ME_PREFIX + view.handle in dirty)
            or self._control
            or self._ping
            or self._apart
            or self._forms is not None
            or pace.to_go
            or self._reset
            or self._owed
            or pace.sent_at + pace.interval_s > now
            or self._sent_view is not view
            or self._sent_epoch != self.ledger.epoch
        ):
            return None
        return (view.common.digest, self.codec.name, self._frame_bytes, pace.interval_s)

    def waiting_changes(self) -> dict[str, Base]:
        """Return the waiting keys, each with the element that the phone holds."""
        if self._packed is not None:
            self._unpack()
        return self._dirty or {}

    def found_group(self) -> FanoutGroup:
        """Enter a new fan-out group at the same position, for which the same changes wait."""
        every_s, seq, dirty, since = self.pace.interval_s, self._seq, self.waiting_changes(), self._since
        fanout_group = FanoutGroup(
            self.ledger, self.view, self.codec, interval_s=every_s, frame_bytes=self._frame_bytes
        )
        fanout_group.seq, fanout_group.dirty, fanout_group.since = seq, dirty, since
        self.enter_group(fanout_group)
        return fanout_group

    # ---- what comes out ----

    def due_at(self, now: float) -> float | None:
        """Return when there is something to send: *now* or earlier, later, or None when nothing waits.

        Changes that wait for a whole group belong to :meth:`FanoutGroup.due_at`.
        """
        if self.fanout_group is not None:
            return None
        if self._control or self._ping or self._owed:
            return now
        return self.pace.due_at(now) if self._has_state() else None

    def take_news(self, now: float) -> ChangesFrame | float | None:
        """Remove and return the waiting changes, if they are few and of elements that the phone holds.

        Or return when they may be sent, if that is later than *now*. None: :meth:`take` is to be called.
        """
        dirty, packed = self._dirty, self._packed
        if not self.has_only_changes or not (packed is not None or dirty):
            return None
        ledger, codec, pace = self.ledger, self.codec, self.pace
        due_at = pace.sent_at + pace.interval_s
        if due_at > now:
            return due_at
        after = self._seq
        upto = ledger.seq if ledger.seq == ledger.shared_seq else self._head(is_new=False)
        if isinstance(packed, tuple):  # mostly
            key, base = packed
            element, count = ledger.versions.elements.get(key), 1
            fragment = None if element is None or element is base else element.patch(base, codec)
            if fragment is None or 2 * len(fragment) >= self._frame_bytes:
                return None
            frame = codec.one_patch(after, upto, key, fragment)
        else:
            patches, count = self._patches(dirty, packed)
            if not patches:
                return None
            frame = codec.patches(after, upto, patches)
        news = ChangesFrame(frame, count, self._since, self._conflated)
        self._seq, self._since = upto, math.inf
        self._dirty = self._packed = None
        pace.sent_at = now
        if ledger.readers.only_key is None:
            self._join_group(now)
        return news

    def _patches(
        self, dirty: dict[str, Base] | None, batch: ChangeSet | None
    ) -> tuple[list[tuple[str, bytes]] | Members | None, int]:
        """Return the patches of all waiting changes, and their number; None as :meth:`take_news`."""
        size_bytes = self._frame_bytes // 2
        if batch is not None:
            members = batch.patches(self.codec)
            is_small = members is not None and 0 < len(members.written) <= size_bytes
            return members if is_small else None, len(batch.elements)
        if not dirty:
            return None, 0
        return patches_of(dirty, self.ledger.versions.elements, self.codec, size_bytes), len(dirty)

    def prepare(self) -> bool:
        """Encode some of the elements that a large state needs; False: call it again in a later turn.

        Then :meth:`take` has to encode only what changed since.
        """
        forms = self._forms
        if forms is None:
            size = len(self.ledger.elements) if self._reset else len(self._dirty or ())
            if size <= MADE_AT_ONCE:
                return True
            ledger, view, codec = self.ledger, self.view, self.codec
            is_all, dirty = self._reset, self._dirty or {}
            forms = forms_of_all(ledger, view, codec) if is_all else forms_of(dirty, ledger, view, codec)
        is_made = forms.make_some()
        self._forms = None if is_made else forms
        return is_made

    def take(self, now: float) -> list[bytes]:
        """Remove and return the frames that are sent now, in order.

        State is complete: all its parts are in the list, and the caller sends them before the next call.
        """
        self.leave_group()
        self._unpack()
        frames, state_sent = self._take_control(now)
        ping = self._ping
        is_undated = self._since == math.inf  # no ping can report the age of the shown data
        is_before_ping = ping is not None and (ping.after_state or is_undated)
        if not state_sent and (self._owed or is_before_ping or self.pace.due_at(now) <= now):
            frames += self._state(now)
        if ping is not None:
            frames.append(self._take_ping(ping.make))
            self._ping = None
        is_waiting = self._control or self._reset or self._owed
        is_named = self._sent_view is self.view and self._sent_epoch == self.ledger.epoch
        self.has_only_changes = is_named and not is_waiting
        self._join_group(now)
        return frames

    def take_last(self, now: float) -> list[bytes]:
        """Remove and return the last frames: control frames, and the state that they follow."""
        self.leave_group()
        self._unpack()
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
        self._control = None  # most of the time a phone has none
        return frames, state_sent

    def _has_state(self) -> bool:
        if self._dirty or self._packed is not None or self._reset or self._owed:
            return True
        return self._is_renamed()

    def _is_renamed(self) -> bool:
        sent, view = self._sent_view, self.view
        if sent is not view and (sent is None or sent.mark != view.mark):
            return True
        return self._sent_epoch != self.ledger.epoch

    def _head(self, *, is_new: bool) -> int:
        """Return the seq up to which all is sent, if all waiting changes are: never lower in one stream.

        *is_new*: a stream begins.
        """
        ledger = self.ledger
        head = ledger.seq if ledger.seq == ledger.shared_seq else ledger.seen_upto(self.view.me)
        return head if is_new else max(head, self._seq)

    def _take_ping(self, make: PingMaker) -> bytes:
        after = self._seq
        if not self._has_state():
            self._seq = self._head(is_new=False)
        return make(after, self._seq)

    def _state(self, now: float) -> list[bytes]:
        is_new = self._reset or self._is_renamed()
        if not (is_new or self._dirty or self._owed):
            return []
        head = Cursor(self.stream if is_new else None, self._head(is_new=is_new))
        ledger, view, codec, size = self.ledger, self.view, self.codec, self._frame_bytes
        dirty, is_owed = self._dirty or {}, self._owed
        patches = None if is_new or is_owed else patches_of(dirty, ledger.versions.elements, codec, size // 2)
        if patches:
            frames = [codec.patches(self._seq, head.seq, patches)]
        elif self._reset:
            frames = first_of(ledger, view, codec, head=head, frame_bytes=size)
        else:
            after = self._seq
            frames = news_of(dirty, ledger, view, codec, after, head, frame_bytes=size, is_owed=is_owed)
        self._dirty, self._since = None, math.inf
        if frames:
            self.pace.sent(now)
            self._seq, self._reset, self._owed = head.seq, False, False
            self._sent_epoch, self._sent_view = self.ledger.epoch, self.view
        return frames


def unite_due(ledger: Ledger, now: float) -> None:
    """Unite the readers of *ledger* for which the same changes are due, so that these are encoded once.

    What a phone gets, and when, stays the same.
    """
    places: dict[Hashable, list[Outbox | FanoutGroup]] = {}
    for reader in ledger.readers:
        if isinstance(reader, FanoutGroup | Outbox) and (place := reader.due_place(now)) is not None:
            places.setdefault(place, []).append(reader)
    for readers in places.values():
        if len(readers) > 1:
            _unite_all(readers)


def _unite_all(readers: Iterable[Outbox | FanoutGroup]) -> None:
    """Unite *readers* with equal keys, as far as the same changes wait for them."""
    fanout_group = next((reader for reader in readers if isinstance(reader, FanoutGroup)), None)
    for reader in readers:
        if isinstance(reader, Outbox):
            if fanout_group is None or not fanout_group.has_room:
                fanout_group = reader.found_group()
            elif reader.waiting_changes() == fanout_group.dirty:
                reader.enter_group(fanout_group)
        elif fanout_group is not None and reader is not fanout_group:
            reader.join_group(fanout_group)
