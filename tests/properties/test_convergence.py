"""Whatever is lost, doubled, delayed, reordered, conflated, split or cut off, every phone converges.

One user, two nodes. Node 0 or node 1 owns; the other keeps a replica over a bus that loses,
duplicates, delays and reorders. Four phones with other scopes and topics come, go, move and change
their minds. After one quiet ping every phone equals the truth within its view, and no resource
outside of it was ever framed.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.core.element import Element
from gateway.core.ledger import Delta, Ledger, Receipt
from gateway.core.outbox import Cursor, Outbox
from gateway.core.pace import Pace
from gateway.core.view import view_of
from gateway.domain.model import Kind, Position, Scope, key_of
from gateway.domain.resources import Agent, Queue, Resource, RoutingState, Site
from gateway.protocol.codec import JSON, MSGPACK, Codec
from gateway.protocol.frames import Changes, Ping, StreamPosition

KEYS = [*(key_of(Kind.QUEUE, n) for n in (1, 2, 3)), *(key_of(Kind.AGENT, n) for n in (1, 2)), "site"]
QUEUES = st.builds(Queue, name=st.sampled_from(["a", None]), contacts_waiting=st.sampled_from([0, 7, None]))
AGENTS = st.builds(
    Agent, display_name=st.sampled_from(["x", "y" * 90]), routing_state=st.sampled_from(RoutingState)
)
SITES = st.builds(Site, extensions_version=st.sampled_from(["V2R1", "V3R0"]))
SCOPES = st.builds(
    Scope,
    agents=st.frozensets(st.sampled_from([1, 2])),
    queues=st.frozensets(st.sampled_from([1, 2, 3])),
)
TOPICS = st.lists(st.sampled_from(["agents", "queues", "queue:1", "agent:2", "groups"]), max_size=3).map(tuple)
NODES = st.integers(0, 1)
PHONES = st.integers(0, 3)
FRAME_BYTES = 330


def value_for(draw: st.DataObject, key: str) -> Resource:
    """Draw a value that fits *key*."""
    kinds = {"queue": QUEUES, "agent": AGENTS, "site": SITES}
    return draw.draw(kinds[key.partition(":")[0]])


class Phone:
    """A client written from the protocol's page alone; asserts what it may rely on."""

    def __init__(self) -> None:
        self.shown: dict[str, dict[str, Any]] = {}
        self.position: tuple[str, int] | None = None
        self.pending: tuple[str | None, dict[str, dict[str, Any]]] | None = None

    def cut(self) -> None:
        self.pending = None

    def take(self, frame: Changes | Ping) -> None:
        if isinstance(frame, Ping):
            assert self.pending is None, "nothing is interleaved with the parts of an answer"
            if self.position is not None:
                assert frame.after == self.position[1]
                self.position = (self.position[0], frame.upto)
            return
        stream, shown = self.pending or (None, {key: dict(value) for key, value in self.shown.items()})
        if frame.reset:
            assert frame.stream is not None
            assert frame.after == 0
            shown = {}
        elif self.pending is None:
            assert self.position is not None, "a phone without a position is sent a reset"
            assert frame.after == self.position[1], "a gap on an ordered channel"
        stream = frame.stream or stream
        self._apply(shown, frame)
        if frame.more:
            assert frame.upto == frame.after
            self.pending = (stream, shown)
            return
        self.pending, self.shown = None, shown
        name = stream or (self.position[0] if self.position else None)
        assert name is not None
        self.position = (name, frame.upto)

    def _apply(self, shown: dict[str, dict[str, Any]], frame: Changes) -> None:
        for key in frame.gone:
            assert key in shown or self.position is not None
            shown.pop(key, None)
        for key, value in frame.put.items():
            shown[key] = {name: field for name, field in value.items() if field is not None}
        for key, fields in frame.patch.items():
            assert key in shown, "a patch only to a reader that holds the previous value"
            merged = {**shown[key], **fields}
            shown[key] = {name: field for name, field in merged.items() if field is not None}


class Line:
    """One connection: an outbox at a node, and what is on the wire to the phone."""

    def __init__(self, ledger: Ledger, scope: Scope, topics: tuple[str, ...], codec: Codec) -> None:
        self.codec, self.scope, self.topics = codec, scope, topics
        self.allowed = view_of("h", scope, topics).keys
        self.outbox = Outbox(ledger, view_of("h", scope, topics), codec, Pace(), frame_bytes=FRAME_BYTES)
        self.wire: list[bytes] = []

    def look(self, scope: Scope, topics: tuple[str, ...]) -> None:
        view = view_of("h", scope, topics)
        self.scope, self.topics, self.allowed = scope, topics, view.keys
        self.outbox.look(view)

    def take(self, now: float) -> None:
        for frame in self.outbox.take(now):
            decoded = self.codec.decode_gateway(frame)
            if isinstance(decoded, Changes):
                names = decoded.put.keys() | decoded.patch.keys()
                assert names <= self.allowed, "a resource outside the view was framed"
            self.wire.append(frame)


class Convergence(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.truth: dict[str, Resource] = {}
        self.ledgers = [Ledger(1, tombstones=2), Ledger(0, tombstones=2)]
        self.owner = 0
        self.published = Position(1, 0)
        self.air: list[Delta] = []
        self.phones = [Phone() for _ in range(4)]
        self.lines: list[Line | None] = [None] * 4
        self.last: list[tuple[Scope, tuple[str, ...]]] = []

    @initialize(scopes=st.tuples(SCOPES, SCOPES, SCOPES, SCOPES))
    def arrive(self, scopes: tuple[Scope, ...]) -> None:
        self.last = [(scope, ("agents", "queues")) for scope in scopes]
        for index, scope in enumerate(scopes):
            self._connect(index, index % 2, scope, ("agents", "queues"))

    # ---- the owner ----

    @rule(key=st.sampled_from(KEYS), data=st.data())
    def change(self, key: str, data: st.DataObject) -> None:
        value = value_for(data, key)
        before = self.truth.get(key)
        changed = self.ledgers[self.owner].record(key, Element(value))
        assert changed == (before != value), "only a change is recorded"
        self.truth[key] = value

    @rule(key=st.sampled_from(KEYS))
    def remove(self, key: str) -> None:
        self.truth.pop(key, None)
        self.ledgers[self.owner].record(key, None)

    @rule()
    def publish(self) -> None:
        delta = self.ledgers[self.owner].since(self.published)
        self.published = self.ledgers[self.owner].position
        self.air.append(delta)

    @rule(same_node=st.booleans())
    def change_owner(self, same_node: bool) -> None:
        """A new epoch begins, here or on the other node, from what that node has; then the link tells all."""
        epoch = max(ledger.position.epoch for ledger in self.ledgers) + 1
        self.owner = self.owner if same_node else 1 - self.owner
        ledger = self.ledgers[self.owner]
        ledger.rebase(epoch)
        for key in KEYS:
            value = self.truth.get(key)
            ledger.record(key, None if value is None else Element(value))
        self.published = Position(epoch, 0)

    # ---- the bus ----

    @precondition(lambda self: self.air)
    @rule(index=st.integers(0, 99), fate=st.sampled_from(["deliver", "deliver", "drop", "double"]))
    def bus(self, index: int, fate: str) -> None:
        delta = self.air[index % len(self.air)]
        if fate != "double":
            self.air.remove(delta)
        if fate != "drop":
            self._deliver(delta)

    # ---- the phones ----

    @rule(index=PHONES)
    def flush(self, index: int) -> None:
        self.now += 10
        line = self.lines[index]
        if line is not None:
            line.take(self.now)

    @rule(index=PHONES)
    def ping(self, index: int) -> None:
        line = self.lines[index]
        if line is not None:
            self._ping(line)
            line.take(self.now)

    @rule(index=PHONES, frames=st.integers(1, 5))
    def deliver(self, index: int, frames: int) -> None:
        line = self.lines[index]
        for _ in range(frames):
            if line is not None and line.wire:
                self._hear(index, line)

    @rule(index=PHONES)
    def cut(self, index: int) -> None:
        """The connection breaks; what is on the wire is lost."""
        line = self.lines[index]
        if line is not None:
            line.outbox.close()
            self.lines[index] = None
            self.phones[index].cut()

    @rule(index=PHONES, node=NODES, codec=st.sampled_from([JSON, MSGPACK]))
    def reconnect(self, index: int, node: int, codec: Codec) -> None:
        line = self.lines[index]
        scope, topics = (line.scope, line.topics) if line is not None else self.last[index]
        self.cut(index)
        self._connect(index, node, scope, topics, codec)

    @rule(index=PHONES, scope=SCOPES)
    def rescope(self, index: int, scope: Scope) -> None:
        line = self.lines[index]
        if line is not None:
            line.look(scope, line.topics)
            self.last[index] = (line.scope, line.topics)

    @rule(index=PHONES, topics=TOPICS)
    def follow(self, index: int, topics: tuple[str, ...]) -> None:
        line = self.lines[index]
        if line is not None:
            line.look(line.scope, topics)
            self.last[index] = (line.scope, line.topics)

    @rule(index=PHONES)
    def resync(self, index: int) -> None:
        line = self.lines[index]
        if line is not None:
            line.outbox.reset()

    # ---- always ----

    @invariant()
    def what_waits_is_bounded_by_the_number_of_keys(self) -> None:
        assert all(line.outbox.dirty <= len(KEYS) for line in self.lines if line is not None)

    @invariant()
    def the_same_position_is_the_same_state(self) -> None:
        mine, other = self.ledgers
        if mine.position == other.position:
            values = [{key: element.value for key, element in ledger.items()} for ledger in self.ledgers]
            assert values[0] == values[1]

    @invariant()
    def a_replica_is_never_ahead(self) -> None:
        assert self.ledgers[1 - self.owner].position <= self.ledgers[self.owner].position

    def teardown(self) -> None:
        if not self.last:
            return
        replica = self.ledgers[1 - self.owner]
        self._deliver(self.ledgers[self.owner].since(replica.position))
        assert replica.position == self.ledgers[self.owner].position
        for index in range(4):
            line = self.lines[index]
            if line is None:
                self._connect(index, index % 2, *self.last[index])
                line = self.lines[index]
            assert line is not None
            self.now += 10
            line.take(self.now)
            self._ping(line)
            line.take(self.now)
            while line.wire:
                self._hear(index, line)
            phone = self.phones[index]
            expected = {key: value for key, value in self.truth.items() if key in line.allowed}
            assert phone.shown == on_the_wire(expected), "a phone does not show the truth within its view"
            assert phone.position is not None
            assert phone.position == (line.outbox.stream, replica.position.seq)

    # ---- inner ----

    def _connect(
        self, index: int, node: int, scope: Scope, topics: tuple[str, ...], codec: Codec = JSON
    ) -> None:
        self.last[index] = (scope, topics)
        line = Line(self.ledgers[node], scope, topics, codec)
        position = self.phones[index].position
        line.outbox.begin(None if position is None else StreamPosition(*position))
        self.lines[index] = line

    def _hear(self, index: int, line: Line) -> None:
        frame = line.codec.decode_gateway(line.wire.pop(0))
        assert isinstance(frame, Changes | Ping)
        self.phones[index].take(frame)

    def _ping(self, line: Line) -> None:
        def make(cursor: Cursor, upto: int) -> bytes:
            return line.codec.encode(Ping(cursor.seq, upto, "1", None, "live", "live", 0))

        line.outbox.ping(make)

    def _deliver(self, delta: Delta) -> None:
        replica = self.ledgers[1 - self.owner]
        if replica.receive(delta) is Receipt.GAP:
            self.air.append(self.ledgers[self.owner].since(replica.position))


def on_the_wire(values: dict[str, Resource]) -> dict[str, Any]:
    """Return *values* as a phone holds them."""
    return {key: json.loads(JSON.fragment(value)) for key, value in values.items()}


TestConvergence = Convergence.TestCase
