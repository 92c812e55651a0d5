"""However questions, answers and receipts cross, a node is deaf when its whole history says so."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gateway.core.follower import Peers
from gateway.domain.model import NodeId

NODES = (NodeId("a"), NodeId("b"))
NODE = st.sampled_from(NODES)
WHICH = st.integers(0, 4)


@dataclass
class History:
    """All that ever happened to one node."""

    asked: dict[int, float] = field(default_factory=dict)
    receivers: dict[int, tuple[int, float]] = field(default_factory=dict)
    """In the order in which it became known; of no question that was settled or older than one known."""
    settled: int = 0
    answered_at: float = 0.0
    received: list[tuple[float, bool]] = field(default_factory=list)
    """When it became known whether somebody listens."""

    def is_silent(self) -> bool:
        last = next((at for at, ok in reversed(self.received) if ok), None)
        begin = 0 if last is None else len(self.received) - [ok for _, ok in self.received][::-1].index(True)
        silent = [at for at, _ in self.received[begin:]]
        return len(silent) > 1 and silent[-1] - silent[0] >= 1.0

    def waits_since(self) -> float | None:
        times = [at for number, (count, at) in self.receivers.items() if count and number > self.settled]
        return max(min(times), self.answered_at) if times else None


class Listening(RuleBasedStateMachine):
    """Two nodes, questions whose fates become known in any order, and their whole history."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.peers = Peers(7)
        self.peers.follow(NODES)
        self.histories = {node: History() for node in NODES}
        self.open: dict[NodeId, list[int]] = {node: [] for node in NODES}
        """Questions of which it is not known whether anybody received them."""

    @rule(seconds=st.sampled_from([0.25, 0.5, 1.0, 3.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(node=NODE, receivers=st.sampled_from([None, None, None, 0, 0, 1, 2]))
    def ask(self, node: NodeId, receivers: int | None) -> None:
        number = self.peers.asking(node, self.now)
        assert not any(number in history.asked for history in self.histories.values())
        self.open[node].append(number)
        if node in self.histories:
            self.histories[node].asked[number] = self.now
        if receivers is not None:
            self.it_is_known_who_received_it(node, -1, receivers)

    @rule()
    def ask_all_that_are_due(self) -> None:
        for node in self.peers.due(self.now):
            self.ask(node, 1)
        assert self.peers.due(self.now) == ()
        if self.histories:
            newest = min(max(history.asked.values()) for history in self.histories.values())
            assert self.peers.due_at == newest + 1.0

    @rule(node=NODE, which=WHICH, receivers=st.integers(0, 1))
    def it_is_known_who_received_it(self, node: NodeId, which: int, receivers: int) -> None:
        if not self.open[node]:
            return
        number = self.open[node].pop(which % len(self.open[node]))
        self.peers.received(node, number, receivers, self.now)
        history = self.histories.get(node)
        if history is None or number not in history.asked:
            return
        if number > max([history.settled, *history.receivers]):
            history.receivers[number] = (receivers, self.now)
            history.received.append((self.now, receivers > 0))

    @rule(node=NODE, which=WHICH, is_of_another=st.booleans())
    def an_answer_comes(self, node: NodeId, which: int, is_of_another: bool) -> None:
        history = self.histories.get(node)
        if history is None or not history.asked:
            self.peers.answered(node, 8, self.now)
            return
        number = sorted(history.asked)[-1 - which % len(history.asked)] + 1000 * is_of_another
        self.peers.answered(node, number, self.now)
        if number in history.asked and number > history.settled:
            history.settled, history.answered_at = number, self.now
            history.received.append((self.now, True))

    @rule(nodes=st.sets(NODE, min_size=1))
    def others_are_followed(self, nodes: set[NodeId]) -> None:
        self.peers.follow(nodes)
        self.histories = {node: self.histories.get(node) or History() for node in sorted(nodes)}

    @invariant()
    def a_node_is_deaf_when_its_history_says_so(self) -> None:
        deaf = set()
        for node, history in self.histories.items():
            since = history.waits_since()
            if history.is_silent() or (since is not None and self.now - since >= 3.0):
                deaf.add(node)
        assert self.peers.unreachable(self.now) == deaf
        assert self.peers.are_reachable(self.now) is not bool(deaf)

    @invariant()
    def nothing_is_remembered_of_others(self) -> None:
        assert len(self.peers) == len(self.histories)


TestListening = Listening.TestCase
TestListening.settings = settings(max_examples=max(60, settings().max_examples))
