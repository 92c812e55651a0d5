"""Lease, link and commands together: at most once, one epoch one node, and nobody is kicked for ever."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gateway.core.commands import CommandRecords, Decision
from gateway.core.lease import Acquire, Lease, LeaseState, Renew
from gateway.core.link import LinkMachine
from gateway.domain.commands import AcknowledgeNotice, Call, Outcome, Status
from tests.properties.lease_store import Store

NODES = st.integers(0, 2)


class Server:
    """OSCC-E: one link per user, and the token decides."""

    def __init__(self) -> None:
        self.link: tuple[str, int] | None = None
        self.highest = 0
        self.holder = ""
        self.kicks: list[tuple[str, int, int]] = []
        self.opens = 0
        self.done: list[str] = []

    def open(self, holder: str, token: int) -> int | None:
        """Return None, or the token that makes this one stale."""
        if token < self.highest or (token == self.highest and holder != self.holder):
            return self.highest
        if self.link is not None and self.link != (holder, token):
            self.kicks.append((*self.link, token))
        self.link, self.highest, self.holder = (holder, token), token, holder
        self.opens += 1
        return None

    def execute(self, holder: str, token: int, key: str) -> bool:
        if self.link != (holder, token):
            return False
        self.done.append(key)
        return True

    def close(self, holder: str) -> None:
        if self.link is not None and self.link[0] == holder:
            self.link = None


@dataclass
class Node:
    """One life of one process."""

    holder: str
    lease: Lease = field(default_factory=Lease)
    link: LinkMachine = field(default_factory=LinkMachine)
    calls: CommandRecords[int] = field(default_factory=CommandRecords)
    linked: int | None = None
    """The token of the link that it believes to have."""
    in_doubt: bool = False
    """Whether it was kicked, and the store has not confirmed since that it still holds the lease."""
    stale_below: int = 0
    """The token for whose sake OSCC-E refused its link."""
    paused: bool = False
    cut_off: bool = False


class Ownership(RuleBasedStateMachine):
    """Three nodes want one user; the store forgets, nodes pause, crash, are cut off and steal."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1.0
        self.store = Store()
        self.server = Server()
        self.nodes = [Node(f"{number}.0") for number in range(3)]
        self.lives = 0
        self.sent: list[tuple[str, int]] = []
        self.replaced: list[str] = []

    # ---- what a node does when it runs ----

    def step(self, node: Node) -> None:
        if node.paused:
            return
        self.receive(node)
        if node.lease.state is LeaseState.FREE or (node.lease.due_at or 0.0) <= self.now:
            self.ask(node, expected=None)
        due_at = node.link.dial_at(self.now)
        if node.lease.may_dial and node.linked is None and due_at is not None and due_at <= self.now:
            self.dial(node)

    def receive(self, node: Node) -> None:
        for kick in [kick for kick in self.server.kicks if kick[0] == node.holder]:
            self.server.kicks.remove(kick)
            if kick[1] == node.linked:
                node.lease.kicked(kick[2])
                node.link.kicked(self.now, 0.0)
                node.linked = None
                node.in_doubt = True
        if node.linked is not None and self.server.link != (node.holder, node.linked):
            node.link.failed(self.now, 0.0)
            node.linked = None

    def ask(self, node: Node, *, expected: int | None) -> None:
        question = node.lease.ask(self.now, expected=expected)
        if node.cut_off:
            node.lease.unanswered(self.now)
            return
        match question:
            case Acquire():
                answer = self.store.acquire(node.holder, question, self.now)
                if answer.holder != node.holder:
                    node.lease.refused(answer.token)
                elif node.lease.granted(answer.token):
                    node.in_doubt = False
                else:
                    self.store.release(node.holder, answer.token)
            case Renew(token):
                if self.store.renew(node.holder, token, self.now):
                    node.lease.renewed()
                    node.in_doubt = False
                else:
                    node.lease.refused()
                    assert not node.lease.holds(self.now)
                    self.hang_up(node)
            case None:
                raise AssertionError("a question was under way")

    def hang_up(self, node: Node) -> None:
        if node.linked is not None:
            self.server.close(node.holder)
            node.link.failed(self.now, 0.0)
            node.linked = None

    def dial(self, node: Node) -> None:
        assert node.link.dialling()
        assert not node.in_doubt
        assert node.lease.epoch > node.stale_below
        stale = self.server.open(node.holder, node.lease.epoch)
        if stale is None:
            node.link.opened(self.now)
            node.link.synced(self.now)
            node.linked = node.lease.epoch
            return
        node.link.refused()
        node.stale_below = stale
        if node.lease.superseded(stale) and not node.cut_off:
            self.store.release(node.holder, node.lease.epoch)

    # ---- what happens ----

    @rule(node=NODES)
    def run(self, node: int) -> None:
        self.step(self.nodes[node])

    @rule(seconds=st.integers(1, 12))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds

    @rule()
    def everybody_runs_for_a_while(self) -> None:
        for _ in range(3):
            self.now += 3
            for node in self.nodes:
                self.step(node)

    @rule(node=NODES, paused=st.booleans())
    def pause(self, node: int, paused: bool) -> None:
        self.nodes[node].paused = paused

    @rule(node=NODES, cut_off=st.booleans())
    def cut_off(self, node: int, cut_off: bool) -> None:
        self.nodes[node].cut_off = cut_off

    @rule(skew=st.integers(-100, 20))
    def the_store_forgets(self, skew: int) -> None:
        self.store.forget(skew)

    @rule(node=NODES)
    def crash(self, node: int) -> None:
        self.server.close(self.nodes[node].holder)
        self.lives += 1
        self.nodes[node] = Node(f"{node}.{self.lives}")

    @rule(node=NODES)
    def steal(self, node: int) -> None:
        thief, owns = self.nodes[node], self.store.present(self.now)
        free = thief.lease.state is LeaseState.FREE and not thief.paused and not thief.cut_off
        if free and owns is not None and owns.holder != thief.holder:
            thief.lease.seen(owns.token)
            self.ask(thief, expected=owns.token)

    @rule(node=NODES, slow=st.integers(0, 300))
    def go_on_without_the_store(self, node: int, slow: int) -> None:
        one = self.nodes[node]
        if one.cut_off and not one.paused:
            floor, token = one.lease.floor, one.lease.assume(max(0, int(self.now) * 10 - slow))
            if token is not None:
                assert token > floor
                one.in_doubt = False

    @rule(node=NODES, which=st.integers(0, 20), first=st.booleans(), stale=st.booleans())
    def command(self, node: int, which: int, first: bool, stale: bool) -> None:
        """A phone sends a command, or repeats one wherever it lands."""
        one = self.nodes[node]
        if one.paused or one.linked is None:
            return
        if first or not self.sent:
            self.sent.append((f"k{len(self.sent)}", one.linked - stale))
            key, stream = self.sent[-1]
            retry = False
        else:
            (key, stream), retry = self.sent[which % len(self.sent)], True
        call = Call(key, "s", AcknowledgeNotice("n", 1), stream, retry, 0)
        began = one.calls.begin(call, 0, self.now, one.linked)
        if began == Decision.NEW:
            ran = self.server.execute(one.holder, one.linked, key)
            one.calls.settle(key, Outcome(Status.APPLIED if ran else Status.UNKNOWN), self.now)

    # ---- what always holds ----

    @invariant()
    def nothing_is_executed_twice(self) -> None:
        assert len(set(self.server.done)) == len(self.server.done)

    @invariant()
    def one_epoch_has_one_node(self) -> None:
        linked = [node.linked for node in self.nodes if node.linked is not None]
        assert len(set(linked)) == len(linked)

    def teardown(self) -> None:
        """Everything is healed: one node comes to own, is linked, and nobody dials any more."""
        for node in self.nodes:
            node.paused = node.cut_off = False
        for _ in range(200):
            self.a_round()
        opens = self.server.opens
        for _ in range(200):
            self.a_round()
        assert self.server.opens == opens, "they kick each other for ever"
        owns = self.store.present(self.now)
        assert owns is not None
        assert self.server.link == (owns.holder, owns.token)
        assert [node.holder for node in self.nodes if node.linked] == [owns.holder]

    def a_round(self) -> None:
        self.now += 3
        for node in self.nodes:
            self.step(node)


TestOwnership = Ownership.TestCase
