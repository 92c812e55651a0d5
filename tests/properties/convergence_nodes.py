"""Owner and follower of one user over a bus that loses, repeats and reorders."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.core.element import Element
from gateway.core.ledger import Delta, Ledger, Receipt
from gateway.core.view import me_key
from gateway.domain.model import ME, Position
from gateway.domain.resources import Me, Resource
from tests.properties.phone import KEYS, value_for


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
