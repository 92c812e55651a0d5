"""Whatever is lost, doubled, delayed, reordered, conflated, split or cut off, every phone converges.

One user, two nodes. Node 0 or node 1 owns; the other keeps a replica over a bus that loses,
duplicates, delays and reorders. Four phones with other scopes and topics come, go, move and change
their minds. After one quiet ping every phone equals the truth within its view, and no resource
outside of it was ever framed.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.core.element import Element
from gateway.core.ledger import Delta, Ledger, Receipt
from gateway.core.view import me_key
from gateway.domain.model import ME, Position, Scope
from gateway.domain.resources import Me, Resource
from gateway.protocol.codec import JSON, MSGPACK, Codec
from gateway.protocol.frames import Changes
from tests.properties.phone import KEYS, SCOPES, TOPICS, Line, Phone, on_the_wire, value_for


def ledger_key(key: str) -> str:
    """Return under which key a ledger holds what phones, which are of one session, see as *key*."""
    return me_key("h") if key == ME else key


class TwoNodes(RuleBasedStateMachine):
    """An owner, his replica, and what is on its way between them."""

    def __init__(self) -> None:
        super().__init__()
        self.truth: dict[str, Resource] = {}
        self.ledgers = [Ledger(1, tombstones=2), Ledger(0, tombstones=2)]
        self.owner = 0
        self.reached = [ledger.position for ledger in self.ledgers]
        self.published = Position(1, 0)
        self.air: list[Delta] = []

    # ---- the owner ----

    @rule(key=st.sampled_from(KEYS), data=st.data())
    def change(self, key: str, data: st.DataObject) -> None:
        value = value_for(data, key)
        before = self.truth.get(key)
        changed = self.ledgers[self.owner].record(key, Element(value))
        assert changed == (before != value), "only a change is recorded"
        self.truth[key] = value

    @rule(user_id=st.sampled_from(["1", "2"]))
    def change_own(self, user_id: str) -> None:
        """What is the phones' own, who are of one session, becomes another."""
        self.truth[ME] = Me(user_id=user_id)
        self.ledgers[self.owner].record(ledger_key(ME), Element(self.truth[ME]))

    @rule(changes=st.integers(1, 3))
    def change_others_own(self, changes: int) -> None:
        """What is another session's own changes, which no phone receives."""
        ledger = self.ledgers[self.owner]
        for _ in range(changes):
            ledger.record(me_key("other"), Element(Me(user_id=str(ledger.position.seq))))

    @rule(key=st.sampled_from(KEYS))
    def remove(self, key: str) -> None:
        self.truth.pop(key, None)
        self.ledgers[self.owner].record(key, None)

    @rule(first=st.integers(0, 5), count=st.integers(1, 4))
    def remove_many(self, first: int, count: int) -> None:
        """More than the tombstones of which a ledger remembers."""
        for index in range(first, first + count):
            self.remove(KEYS[index % len(KEYS)])

    @rule()
    def publish(self) -> None:
        delta = self.ledgers[self.owner].since(self.published)
        self.published = self.ledgers[self.owner].position
        self.air.append(delta)

    @rule(same_node=st.booleans())
    def change_owner(self, same_node: bool) -> None:
        """A new epoch begins, here or on the other node, from what that node has; then the link sends all."""
        epoch = max(ledger.position.epoch for ledger in self.ledgers) + 1
        self.owner = self.owner if same_node else 1 - self.owner
        ledger = self.ledgers[self.owner]
        ledger.rebase(epoch)
        for key in [*KEYS, ME]:
            value = self.truth.get(key)
            ledger.record(ledger_key(key), None if value is None else Element(value))
        self.published = Position(epoch, 0)

    # ---- the bus ----

    @rule(lost=st.sampled_from(KEYS), found=st.sampled_from(KEYS), data=st.data())
    def lose(self, lost: str, found: str, data: st.DataObject) -> None:
        """A message is lost, and the next one arrives."""
        self.change(lost, data)
        self.publish()
        self.air.pop()
        self.change(found, data)
        self.publish()
        self.hand_over(self.air.pop())

    @precondition(lambda self: self.air)
    @rule(index=st.integers(0, 99), fate=st.sampled_from(["deliver", "deliver", "drop", "double"]))
    def bus(self, index: int, fate: str) -> None:
        delta = self.air[index % len(self.air)]
        if fate != "double":
            self.air.remove(delta)
        if fate != "drop":
            self.hand_over(delta)

    # ---- always ----

    @invariant()
    def the_same_position_is_the_same_state(self) -> None:
        mine, other = self.ledgers
        if mine.position == other.position:
            values = [{key: element.value for key, element in ledger.items()} for ledger in self.ledgers]
            assert values[0] == values[1]

    @invariant()
    def positions_only_grow(self) -> None:
        now = [ledger.position for ledger in self.ledgers]
        assert all(new >= old for old, new in zip(self.reached, now, strict=True))
        self.reached = now

    @invariant()
    def a_replica_is_never_ahead(self) -> None:
        assert self.ledgers[1 - self.owner].position <= self.ledgers[self.owner].position

    # ---- inner ----

    def hand_over(self, delta: Delta) -> None:
        replica = self.ledgers[1 - self.owner]
        if replica.receive(delta) is Receipt.GAP:
            self.air.append(self.ledgers[self.owner].since(replica.position))


NODES = st.integers(0, 1)
PHONES = st.integers(0, 3)


class Convergence(TwoNodes):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.phones = [Phone() for _ in range(4)]
        self.lines: list[Line | None] = [None] * 4
        self.last: list[tuple[Scope, tuple[str, ...]]] = []

    @initialize(scopes=st.tuples(SCOPES, SCOPES, SCOPES, SCOPES), data=st.data())
    def arrive(self, scopes: tuple[Scope, ...], data: st.DataObject) -> None:
        for key in KEYS:
            self.change(key, data)
        self.change_own("1")
        self.hand_over(self.ledgers[0].since(self.ledgers[1].position))
        self.last = [(scope, ("agents", "queues")) for scope in scopes]
        for index, scope in enumerate(scopes):
            self._connect(index, index % 2, scope, ("agents", "queues"))

    # ---- the phones ----

    @rule(index=PHONES)
    def flush(self, index: int) -> None:
        self.now += 10
        if (line := self.lines[index]) is not None:
            line.take(self.now)

    @rule(key=st.sampled_from(KEYS), data=st.data(), pause_s=st.sampled_from([0.0, 0.001, 0.02, 10.0]))
    def turn(self, key: str, data: st.DataObject, pause_s: float) -> None:
        """One turn in which all are flushed, after a change that most see: those in step meet."""
        self.change(key, data)
        self.now += pause_s
        for line in self.lines:
            if line is not None:
                line.take(self.now)

    @rule(index=PHONES, key=st.sampled_from(KEYS), data=st.data(), scope=SCOPES)
    def look_between(self, index: int, key: str, data: st.DataObject, scope: Scope) -> None:
        """A phone is moved to another scope and pinged before its pace lets it be sent anything."""
        self.turn(key, data, 10.0)
        self.rescope(index, scope)
        self.ping(index)

    @rule(index=PHONES, key=st.sampled_from(KEYS), data=st.data(), scope=SCOPES, again=st.booleans())
    def overtake(self, index: int, key: str, data: st.DataObject, scope: Scope, again: bool) -> None:
        """One of those in step is served before the others, and has news of its own when they are served."""
        for other in range(4):
            self.cut(other)
            self._connect(other, self.owner, *self.last[index])
        self.turn(key, data, 10.0)
        self.now += 10
        self.change(key, data)
        self.ping(index)
        if again:
            self.resync(index)
        else:
            self.rescope(index, scope)
        for line in self.lines:
            if line is not None and line is not self.lines[index]:
                line.take(self.now)

    @rule(index=PHONES, apart=st.booleans())
    def fill(self, index: int, apart: bool) -> None:
        """A phone does not take what is written, or does again."""
        if (line := self.lines[index]) is not None:
            line.outbox.keep_apart(apart=apart)

    @rule(index=PHONES)
    def ping(self, index: int) -> None:
        if (line := self.lines[index]) is not None:
            line.ping()
            line.take(self.now)

    @rule(index=PHONES, frames=st.integers(1, 5))
    def deliver(self, index: int, frames: int) -> None:
        line = self.lines[index]
        for _ in range(frames):
            if line is not None and line.wire:
                self.phones[index].take(line.arrived())

    @rule(index=PHONES)
    def cut(self, index: int) -> None:
        """The connection breaks; what is on the wire is lost."""
        line = self.lines[index]
        if line is not None:
            line.close()
            self.lines[index] = None
            self.phones[index].cut()

    @rule(index=PHONES, scope=SCOPES)
    def come_back_to_another_scope(self, index: int, scope: Scope) -> None:
        self.flush(index)
        self.deliver(index, 99)
        self.cut(index)
        self._connect(index, self.owner, scope, self.last[index][1])

    @rule(index=PHONES, node=NODES, codec=st.sampled_from([JSON, MSGPACK]))
    def reconnect(self, index: int, node: int, codec: Codec) -> None:
        scope, topics = self.last[index]
        self.cut(index)
        self._connect(index, node, scope, topics, codec)

    @rule(index=PHONES, scope=SCOPES)
    def rescope(self, index: int, scope: Scope) -> None:
        line = self.lines[index]
        if line is not None:
            line.look(scope, line.topics)
            self.last[index] = (line.scope, line.topics)

    @rule(
        index=PHONES, frames=st.sampled_from([0, 1, 99, 99]), first=st.integers(0, 5), count=st.integers(1, 4)
    )
    def blink(self, index: int, frames: int, first: int, count: int) -> None:
        """A phone is gone for a moment, in the midst of an answer or in sync, and misses removals."""
        self.flush(index)
        self.deliver(index, frames)
        line = self.lines[index]
        node = self.owner if line is None else self.ledgers.index(line.ledger)
        self.cut(index)
        self.remove_many(first, count)
        self.reconnect(index, node, JSON)

    @rule(index=PHONES, scope=SCOPES)
    def rescope_in_sync(self, index: int, scope: Scope) -> None:
        """A phone that has everything is moved to another scope, and served."""
        self.flush(index)
        self.rescope(index, scope)
        self.flush(index)

    @rule(index=PHONES, key=st.sampled_from(KEYS), data=st.data(), gone=st.booleans())
    def ping_between(self, index: int, key: str, data: st.DataObject, gone: bool) -> None:
        """A ping leaves while a change may not yet, and the phone may be gone before it may."""
        self.flush(index)
        self.change(key, data)
        self.ping(index)
        if gone and (line := self.lines[index]) is not None:
            self.deliver(index, 99)
            self.reconnect(index, self.ledgers.index(line.ledger), JSON)

    @rule(index=PHONES, key=st.sampled_from(KEYS), data=st.data())
    def lag(self, index: int, key: str, data: st.DataObject) -> None:
        """One phone misses a change that the others see, and then all see the next."""
        for change in range(3):
            if change:
                self.change(key, data)
            for other in range(4):
                if other != index or change != 1:
                    self.flush(other)

    @rule(index=PHONES, same_node=st.booleans(), first=st.integers(0, 5), count=st.integers(1, 4))
    def roam(self, index: int, same_node: bool, first: int, count: int) -> None:
        """An epoch begins; a phone in sync moves to the other node, which learns all only then."""
        self.change_owner(same_node)
        self.reconnect(index, self.owner, JSON)
        self.flush(index)
        self.deliver(index, 99)
        self.remove_many(first, count)
        self.hand_over(self.ledgers[self.owner].since(self.ledgers[1 - self.owner].position))
        self.reconnect(index, 1 - self.owner, MSGPACK)

    @rule(index=PHONES, changes=st.integers(0, 3))
    def begin_to_follow(self, index: int, changes: int) -> None:
        """A phone in sync moves to a node that knows nothing: that receives all, and the phone nothing."""
        for other, line in enumerate(self.lines):
            if line is not None and (other == index or line.ledger is not self.ledgers[self.owner]):
                self.cut(other)
        self._connect(index, self.owner, *self.last[index])
        self.flush(index)
        self.deliver(index, 99)
        self.change_others_own(changes)
        self.cut(index)
        self.ledgers[1 - self.owner], self.reached[1 - self.owner] = Ledger(0, tombstones=2), Position(0, 0)
        self.hand_over(self.ledgers[self.owner].since(Position(0, 0)))
        assert self._connect(index, 1 - self.owner, *self.last[index]), "a phone in sync is reset"
        self.flush(index)
        line = self.lines[index]
        assert line is not None
        received = line.arrived()
        assert received == Changes(received.after, received.after), "a phone in sync receives something"
        self.phones[index].take(received)

    @rule(index=PHONES, key=st.sampled_from(KEYS), data=st.data())
    def run_ahead(self, index: int, key: str, data: st.DataObject) -> None:
        """A phone moves to a node that does not know yet what the phone knows."""
        self.hand_over(self.ledgers[self.owner].since(self.ledgers[1 - self.owner].position))
        self.reconnect(index, self.owner, JSON)
        self.change(key, data)
        self.flush(index)
        self.deliver(index, 99)
        self.reconnect(index, 1 - self.owner, JSON)

    @rule(same_node=st.booleans(), first=st.integers(0, 5), count=st.integers(1, 4))
    def take_over(self, same_node: bool, first: int, count: int) -> None:
        """Things go unseen, an epoch begins, and its first message is the first that the other node gets."""
        self.remove_many(first, count)
        self.change_owner(same_node)
        self.publish()
        self.hand_over(self.air[-1])

    @rule(index=PHONES, topics=TOPICS)
    def follow(self, index: int, topics: tuple[str, ...]) -> None:
        line = self.lines[index]
        if line is not None:
            line.look(line.scope, topics)
            self.last[index] = (line.scope, line.topics)

    @rule(index=PHONES)
    def resync(self, index: int) -> None:
        if (line := self.lines[index]) is not None:
            line.outbox.reset()

    # ---- always ----

    @invariant()
    def what_waits_is_bounded_by_the_number_of_keys(self) -> None:
        assert all(line.outbox.dirty <= len(KEYS) + 1 for line in self.lines if line is not None)

    def teardown(self) -> None:
        if not self.last:
            return
        replica = self.ledgers[1 - self.owner]
        self.hand_over(self.ledgers[self.owner].since(replica.position))
        assert replica.position == self.ledgers[self.owner].position
        for index in range(4):
            line = self.lines[index]
            if line is None:
                self._connect(index, index % 2, *self.last[index])
                line = self.lines[index]
            assert line is not None
            self.now += 10
            line.take(self.now)
            line.ping()
            line.take(self.now)
            while line.wire:
                self.phones[index].take(line.arrived())
            phone = self.phones[index]
            expected = {key: value for key, value in self.truth.items() if key in line.allowed}
            assert phone.shown == on_the_wire(expected), "a phone does not show the truth within its view"
            assert phone.position is not None
            assert phone.position == (line.outbox.stream, replica.seen_upto(line.outbox.view.me))

    # ---- inner ----

    def _connect(
        self, index: int, node: int, scope: Scope, topics: tuple[str, ...], codec: Codec = JSON
    ) -> bool:
        self.last[index] = (scope, topics)
        line = Line(self.ledgers[node], scope, topics, codec)
        self.lines[index] = line
        return line.begin(self.phones[index].position)


TestConvergence = Convergence.TestCase
TestConvergence.settings = settings(max_examples=max(150, settings().max_examples), stateful_step_count=40)
