"""However late messages come and however long nodes pause, never two hold the lease at once."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.core.lease import Acquire, Lease, LeaseState, Renew
from tests.properties.lease_store import Owns, Store

NODES = st.integers(0, 2)


@dataclass
class Message:
    """A question on its way to the store, or its answer on the way back."""

    node: int
    question: Acquire | Renew
    kicks: int
    """How often its node had been kicked when it was sent."""
    awaited: bool = True
    answer: Owns | bool | None = None


class Holders(RuleBasedStateMachine):
    """Three nodes whose clocks differ and drift, one store, messages that are late or lost."""

    RATES = (1.0, 0.9, 1.1)

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.store = Store()
        self.leases = [Lease() for _ in range(3)]
        self.network: list[Message] = []
        self.releases: list[tuple[str, int]] = []
        self.floors = [0, 0, 0]
        self.kicks = [0, 0, 0]
        self.cleared = [0, 0, 0]
        self.epochs: dict[int, int] = {}

    def clock(self, node: int) -> float:
        return 1000.0 * node + self.now * self.RATES[node]

    @rule(seconds=st.sampled_from([0.5, 1.0, 4.0, 7.0, 11.0, 16.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(node=NODES)
    def ask(self, node: int) -> None:
        question = self.leases[node].ask(self.clock(node))
        if question is not None:
            assert not any(one.node == node and one.awaited for one in self.network)
            self.network.append(Message(node, question, self.kicks[node]))

    @precondition(lambda self: self.network)
    @rule(which=st.integers(0, 5))
    def the_store_works(self, which: int) -> None:
        one = self.network[which % len(self.network)]
        if one.answer is not None:
            return
        match one.question:
            case Acquire():
                one.answer = self.store.acquire(str(one.node), one.question, self.now)
            case Renew(token):
                one.answer = self.store.renew(str(one.node), token, self.now)

    @precondition(lambda self: self.network)
    @rule(which=st.integers(0, 5))
    def an_answer_arrives(self, which: int) -> None:
        one = self.network[which % len(self.network)]
        if one.answer is None:
            return
        self.network.remove(one)
        lease = self.leases[one.node]
        if not one.awaited:
            return
        match one.answer:
            case Owns(holder, token, _):
                if holder != str(one.node):
                    lease.refused(token)
                elif lease.granted(token):
                    self.cleared[one.node] = self.kicks[one.node]
                else:
                    self.releases.append((str(one.node), token))
            case True:
                self.cleared[one.node] = max(self.cleared[one.node], one.kicks)
                if not lease.renewed():
                    self.releases.append((str(one.node), lease.epoch))
            case _:
                lease.refused()

    @rule(node=NODES, seconds=st.sampled_from([1.0, 4.0, 8.0]))
    def ask_and_hear(self, node: int, seconds: float) -> None:
        self.ask(node)
        mine = [i for i, one in enumerate(self.network) if one.node == node and one.awaited]
        if mine:
            self.the_store_works(mine[0])
            self.time_passes(seconds)
            self.an_answer_arrives(mine[0])

    @rule(node=NODES)
    def an_answer_is_lost(self, node: int) -> None:
        self.ask(node)
        for which, one in enumerate(self.network):
            if one.node == node and one.awaited:
                self.the_store_works(which)
        self.no_answer_comes_in_time(node)

    @rule(node=NODES)
    def its_link_is_replaced(self, node: int) -> None:
        lease = self.leases[node]
        if lease.state in (LeaseState.HELD, LeaseState.RENEWING):
            self.kicks[node] += 1
            lease.kicked(self.store.newest)

    @rule(node=NODES)
    def no_answer_comes_in_time(self, node: int) -> None:
        for one in self.network:
            if one.node == node and one.awaited:
                one.awaited = False
                self.leases[node].unanswered(self.clock(node))

    @precondition(lambda self: self.network)
    @rule(which=st.integers(0, 5))
    def a_message_is_lost(self, which: int) -> None:
        one = self.network[which % len(self.network)]
        if not one.awaited:
            self.network.remove(one)

    @rule(node=NODES)
    def release(self, node: int) -> None:
        if self.leases[node].release():
            self.releases.append((str(node), self.leases[node].epoch))

    @precondition(lambda self: self.releases)
    @rule()
    def a_release_arrives(self) -> None:
        self.store.release(*self.releases.pop())

    @rule(node=NODES)
    def another_epoch_is_seen(self, node: int) -> None:
        self.leases[node].seen(self.store.newest)

    @invariant()
    def never_two_holders(self) -> None:
        assert sum(lease.holds(self.clock(node)) for node, lease in enumerate(self.leases)) <= 1

    @invariant()
    def a_holder_has_the_newest_token(self) -> None:
        for node, lease in enumerate(self.leases):
            if lease.holds(self.clock(node)):
                assert lease.epoch == self.store.newest

    @invariant()
    def nobody_dials_in_doubt(self) -> None:
        for node, lease in enumerate(self.leases):
            ours = lease.state in (LeaseState.HELD, LeaseState.RENEWING)
            assert lease.may_dial == (ours and self.cleared[node] == self.kicks[node])

    @invariant()
    def tokens_only_grow_and_have_one_owner(self) -> None:
        for node, lease in enumerate(self.leases):
            assert lease.epoch <= lease.floor
            assert self.floors[node] <= lease.floor
            self.floors[node] = lease.floor
            if lease.epoch:
                assert self.epochs.setdefault(lease.epoch, node) == node


TestHolders = Holders.TestCase
TestHolders.settings = settings(max_examples=max(60, settings().max_examples))
