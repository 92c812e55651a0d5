"""Model of a phone: what it may rely on, and its state.

Written from the protocol's page alone, for every property that ends at a phone.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import event
from hypothesis import strategies as st

from gateway.core.fanout_group import ChangesFrame, Writer
from gateway.core.ledger import Ledger
from gateway.core.outbox import Outbox, PaceLadder
from gateway.core.view import View, view_of
from gateway.domain.model import NO_ITEMS, Kind, Scope, key_of
from gateway.domain.resources import Agent, Queue, Resource, RoutingState, Site
from gateway.protocol.codec import JSON, BadFrame, Codec
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
TOPICS = st.lists(st.sampled_from(["agents", "queues", "queue:1", "agent:2", "groups"]), max_size=3).map(
    tuple
)
FRAME_BYTES = 330


def value_for(draw: st.DataObject, key: str) -> Resource:
    kinds: dict[str, st.SearchStrategy[Resource]] = {"queue": QUEUES, "agent": AGENTS, "site": SITES}
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
        self.ledger, self.codec, self.scope, self.topics = ledger, codec, scope, topics
        self.allowed = _seen_in(view_of("h", scope, topics))
        self.outbox = Outbox(
            ledger, view_of("h", scope, topics), codec, PaceLadder(), frame_bytes=FRAME_BYTES
        )
        self.outbox.sink = self
        self.wire: list[bytes] = []

    @property
    def channel(self) -> Writer:
        """Never asked for: who takes from the fanout group puts its frames on the wires."""
        raise NotImplementedError

    def wake(self) -> None:
        """Do nothing: lines are flushed when the test says so."""

    def fail(self, fault: Exception) -> None:
        """Never called."""
        raise fault

    def begin(self, position: tuple[str, int] | None) -> bool:
        """Serve a phone that received as much as *position* says; returns whether it resumes."""
        resumes = self.outbox.begin(None if position is None else StreamPosition(*position))
        if resumes:
            assert position is not None
            assert position[0] == self.outbox.stream, "resumed in another stream"
            assert position[1] <= self.ledger.position.seq, "resumed from what this node does not know yet"
        return resumes

    def ping(self) -> None:

        def make(after: int, upto: int) -> bytes:
            return self.codec.encode(Ping(after, upto, "1", None, "live", "live", 0))

        self.outbox.ping(make)

    def look(self, scope: Scope, topics: tuple[str, ...]) -> None:
        view = view_of("h", scope, topics)
        self.scope, self.topics, self.allowed = scope, topics, _seen_in(view)
        self.outbox.change_view(view)

    def take(self, now: float) -> None:
        """Have what is due leave, for all who are in step when nothing is this phone's own."""
        self.hears_of_changes()
        fanout_group = self.outbox.fanout_group
        due_at = None if fanout_group is None else fanout_group.due_at(now)
        if fanout_group is None or due_at is None or due_at > now:
            self.put(self.outbox.take(now))
            return
        event(f"a fanout group of {len(fanout_group.members)}")
        news = fanout_group.take_news(now)
        taken = [news.frame] if isinstance(news, ChangesFrame) else fanout_group.take(now)
        own, fanout_group.own_frames = fanout_group.own_frames, NO_ITEMS
        for member in fanout_group.members:
            assert isinstance(member.sink, Line)
            member.sink.put([own[member]] if member in own else taken)
        if taken:
            fanout_group.unite(now)

    def close(self) -> None:
        self.hears_of_changes()
        self.outbox.close()

    def hears_of_changes(self) -> None:
        """Assert that it reads the mirror, alone or with those in step."""
        reader = self.outbox.fanout_group or self.outbox
        assert reader in self.ledger.readers, "it receives no change"

    def put(self, taken: list[bytes]) -> None:
        try:
            received = [self.codec.decode_gateway(one) for one in taken]
        except BadFrame as bad:
            raise AssertionError(bad) from None
        parts = [frame for frame in received if isinstance(frame, Changes)]
        for part in parts:
            assert part.put.keys() | part.patch.keys() <= self.allowed, (
                "a resource outside the view was framed"
            )
        assert [part.more for part in parts] == [True] * (len(parts) - 1) + [False] * bool(parts)
        self.wire += taken

    def arrived(self) -> Changes | Ping:
        frame = self.codec.decode_gateway(self.wire.pop(0))
        assert isinstance(frame, Changes | Ping)
        return frame


def _seen_in(view: View) -> frozenset[str]:
    return frozenset(map(View.wire_key, view.keys))


def on_the_wire(values: dict[str, Resource]) -> dict[str, Any]:
    return {key: json.loads(JSON.fragment(value)) for key, value in values.items()}
