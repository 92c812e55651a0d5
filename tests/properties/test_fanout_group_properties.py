"""Phones that form a fan-out group while a change waits: what each gets, and when, stays the same."""

from __future__ import annotations

from hypothesis import event, given
from hypothesis import strategies as st

from gateway.core.element import ChangeSet, Element
from gateway.core.fanout_group import ChangesFrame, FanoutGroup
from gateway.core.ledger import Ledger
from gateway.core.outbox import Outbox, PaceLadder, unite_due
from gateway.core.view import me_key, view_of
from gateway.domain.model import NO_ITEMS
from gateway.domain.resources import Queue
from gateway.protocol.codec import JSON, MSGPACK
from gateway.protocol.frames import ErrorFrame, Ping
from tests.core.outbox_line import SCOPE

QUEUES = ("queue:1", "queue:2", "queue:3")
TOPICS = (("queues",), ("queue:1", "queue:2"))
PHONES = st.integers(0, 7)
KEYS = st.sampled_from(QUEUES)
VALUES = st.integers(0, 3)
ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("change"), KEYS, VALUES),
        st.tuples(st.just("change"), KEYS, VALUES),
        st.tuples(st.just("remove"), KEYS),
        st.tuples(st.just("several"), VALUES, VALUES),
        st.tuples(st.just("own"), PHONES, VALUES),
        st.tuples(st.just("come"), PHONES, st.sampled_from(TOPICS), st.sampled_from([0.0, 0.2])),
        st.tuples(st.just("leave"), PHONES),
        st.tuples(st.just("ping"), PHONES),
        st.tuples(st.just("post"), PHONES),
        st.tuples(st.just("look"), PHONES, st.sampled_from(TOPICS)),
        st.tuples(st.just("flushed"), PHONES, st.booleans()),
        st.tuples(st.just("apart"), PHONES, st.booleans()),
        st.tuples(st.just("epoch")),
        st.tuples(st.just("pass"), st.integers(1, 8)),
        st.tuples(st.just("pass"), st.integers(1, 8)),
    ),
    min_size=5,
    max_size=60,
)


class _Setup:
    """A mirror, its phones, and what each phone was sent at what time."""

    def __init__(self, *, unites: bool) -> None:
        self._unites = unites
        self.ledger = Ledger(1)
        for key in QUEUES:
            self.ledger.record(key, Element(Queue(name=key, contacts_waiting=9)))
        self.outboxes: dict[int, Outbox] = {}
        self.sent: list[tuple[float, int, bytes]] = []
        self.now, self.united, self.apart_sent = 100.0, 0, 0
        for number in range(6):
            self.come(number, TOPICS[0], 0.0)
            self.pass_(2)
        self.pass_(5)

    def change(self, key: str, waiting: int) -> None:
        self.ledger.record(key, Element(Queue(name=key, contacts_waiting=waiting)))

    def remove(self, key: str) -> None:
        self.ledger.record(key, None)

    def several(self, one: int, another: int) -> None:
        changes = []
        for key, waiting in (("queue:3", one), ("queue:1", another)):
            before, element = self.ledger.get(key), Element(Queue(name=key, contacts_waiting=waiting))
            if before is None or before.value != element.value:
                changes.append((key, before, element))
        self.ledger.record_all(ChangeSet(changes))

    def own(self, number: int, waiting: int) -> None:
        self.ledger.record(me_key(f"s{number}"), Element(Queue(contacts_waiting=waiting)))

    def come(self, number: int, topics: tuple[str, ...], every_s: float) -> None:
        self.leave(number)
        codec = MSGPACK if number % 2 else JSON
        outbox = Outbox(self.ledger, view_of(f"s{number}", SCOPE, topics), codec, PaceLadder(every_s))
        self.outboxes[number] = outbox
        outbox.begin(None)

    def leave(self, number: int) -> None:
        if (outbox := self.outboxes.pop(number, None)) is not None:
            outbox.close()

    def ping(self, number: int) -> None:
        if (outbox := self.outboxes.get(number)) is not None:
            codec = outbox.codec
            outbox.ping(lambda after, upto: codec.encode(Ping(after, upto, "1", None, "live", "live", 0)))

    def post(self, number: int) -> None:
        if (outbox := self.outboxes.get(number)) is not None:
            outbox.post(ErrorFrame("busy", "x"))

    def look(self, number: int, topics: tuple[str, ...]) -> None:
        if (outbox := self.outboxes.get(number)) is not None:
            outbox.change_view(view_of(f"s{number}", SCOPE, topics))

    def flushed(self, number: int, drained: bool) -> None:
        if (outbox := self.outboxes.get(number)) is not None and outbox.fanout_group is None:
            outbox.pace.flushed(drained=drained)

    def apart(self, number: int, apart: bool) -> None:
        if (outbox := self.outboxes.get(number)) is not None:
            outbox.keep_apart(apart=apart)

    def epoch(self) -> None:
        self.ledger.rebase(self.ledger.epoch + 1)

    def pass_(self, steps: int) -> None:
        """Let time pass in steps, and send what is due after each."""
        for _ in range(steps):
            self._unite()
            for reader in list(self.ledger.readers):
                if isinstance(reader, Outbox):
                    self._send(reader)
                elif isinstance(reader, FanoutGroup):
                    self._send_all(reader)
            self.now += 0.01

    def _unite(self) -> None:
        if self._unites:
            before = len(self.ledger.readers)
            unite_due(self.ledger, self.now)
            self.united += before - len(self.ledger.readers)

    def _send(self, outbox: Outbox) -> None:
        due_at = outbox.due_at(self.now)
        if due_at is None or due_at > self.now:
            return
        news = outbox.take_news(self.now)
        self._sent(outbox, [news.frame] if isinstance(news, ChangesFrame) else outbox.take(self.now))

    def _send_all(self, fanout_group: FanoutGroup) -> None:
        members, news = list(fanout_group.members), fanout_group.take_news(self.now)
        due_at = fanout_group.due_at(self.now)
        if isinstance(news, ChangesFrame):
            frames = [news.frame]
        elif members and due_at is not None and due_at <= self.now:
            frames = fanout_group.take(self.now)
        else:
            return
        own, fanout_group.own_frames = fanout_group.own_frames, NO_ITEMS
        self.apart_sent += len(own)
        parted = [member for member in members if member not in fanout_group.members]
        for member in fanout_group.members:
            self._sent(member, [own[member]] if member in own else frames)
        for member in parted:
            assert isinstance(member, Outbox)
            self._send(member)
        if frames:
            fanout_group.unite(self.now)

    def _sent(self, outbox: object, frames: list[bytes]) -> None:
        [number] = [number for number, each in self.outboxes.items() if each is outbox]
        self.sent += [(self.now, number, frame) for frame in frames]

    def run(self, acts: list[tuple[object, ...]]) -> list[tuple[float, int, bytes]]:
        for name, *arguments in acts:
            act = getattr(self, "pass_" if name == "pass" else str(name))
            act(*arguments)
        self.pass_(600)
        return sorted(self.sent, key=lambda each: each[:2])


@given(acts=ACTS)
def test_phones_that_unite_for_a_waiting_change_get_what_they_would_get_alone(
    acts: list[tuple[object, ...]],
) -> None:
    setup = _Setup(unites=True)
    assert setup.run(acts) == _Setup(unites=False).run(acts)
    event("united" if setup.united else "never united")
    event("at different positions" if setup.apart_sent else "at one position")
