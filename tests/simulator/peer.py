"""A gateway in miniature: logs on, opens links, asks, and folds what it receives. No sockets."""

from __future__ import annotations

import itertools
import json
import struct
from collections.abc import Iterator
from typing import Any

from gateway.simulator import ManualClock, Simulator, SimulatorSettings
from gateway.simulator.links import Link
from gateway.simulator.model import Kind
from gateway.simulator.sessions import LogOn, Session

QUIET = SimulatorSettings(agents=20, queues=4, groups=2, users=4, warm_up_s=0, start_paused=True)
AGENT = 10_001
SUPERVISOR = "supervisor1"

Message = dict[str, Any]
Free = Any
"""Whatever a test says; it is the simulator that must cope."""


def texts(frames: bytes) -> Iterator[bytes]:
    """Take whole text frames of a server apart (RFC 6455 §5.2, unmasked)."""
    at = 0
    while at < len(frames):
        assert frames[at] == 0x81
        size, at = frames[at + 1], at + 2
        if size == 126:
            (size,), at = struct.unpack_from("!H", frames, at), at + 2
        elif size == 127:
            (size,), at = struct.unpack_from("!Q", frames, at), at + 8
        yield frames[at : at + size]
        at += size


def messages(frames: bytes) -> Iterator[Message]:
    """Take whole text frames of a server apart, and read them."""
    return map(json.loads, texts(frames))


def key_of(kind: str, element: Message) -> int:
    if kind == Kind.CONFIGURATION:
        return int(element["Key"])
    return int(element[kind.replace("Realtime", "").replace("Cumulative", "") + "Key"])


class Peer:
    """The other end of one link. Invariant: :attr:`state` is what folding all events leads to."""

    def __init__(self) -> None:
        self.received: list[Message] = []
        self.raw: list[bytes] = []
        self.closed: int | None = None
        self.aborted = False
        self.state: dict[str, dict[int, Message]] = {}

    def send(self, frames: bytes) -> None:
        assert self.closed is None, "nothing may follow a good-bye"
        self.raw.append(frames)
        for message in messages(frames):
            self.received.append(message)
            if message["Type"] == "Event":
                self._fold(message)

    def close(self, code: int) -> None:
        """OnReadings the good-bye."""
        self.closed = code

    def abort(self) -> None:
        self.aborted = True

    def take(self) -> list[Message]:
        """Return what came since the last time."""
        taken, self.received = self.received, []
        return taken

    def _fold(self, event: Message) -> None:
        kind = event["EventType"]
        if kind == "Administration":
            return
        elements = {key_of(kind, element): element for element in event["Elements"]}
        held = {} if event["Complete"] else self.state.get(kind, {})
        self.state[kind] = held | elements
        for key in event.get("Removed", ()):
            self.state[kind].pop(key, None)


class World:
    """A simulator without listeners, and hands to play a gateway with."""

    def __init__(self, settings: SimulatorSettings = QUIET) -> None:
        self.clock = ManualClock()
        self.sim = Simulator(settings, self.clock)
        if settings.start_paused:
            self.sim.center.pause()
        self._ids = itertools.count(1)
        self._tokens = itertools.count(1)

    def log_on(self, user: str = SUPERVISOR, device: str = "d1", **more: Free) -> Session:
        """Log on: agents at the Remote Assistant, others at the Dashboard."""
        remote = user.startswith("agent")
        fields: dict[str, Any] = {
            "application": "RemoteAssistant" if remote else "Dashboard",
            "user_name": user,
            "password": "demo",
            "device_id": device,
            "device_name": f"phone {device}",
            "remote_number": f"+4930{user[5:].zfill(7)}" if remote else None,
        }
        session = self.sim.sessions.log_on(LogOn(**(fields | more)))
        self.sim.board.flush_ended()
        return session

    def link(self, session: Session, token: int | None = None, holder: str = "me") -> tuple[Link, Peer]:
        """Open the user's link."""
        link = self.sim.board.admit(session, next(self._tokens) if token is None else token, holder)
        peer = Peer()
        self.sim.board.opened(link, peer)
        return link, peer

    def open(self, user: str = SUPERVISOR, **more: Free) -> tuple[Link, Peer]:
        """Log on and open the link; the greeting is received already."""
        link, peer = self.link(self.log_on(user, **more))
        peer.take()
        return link, peer

    def ask(self, link: Link, method: str, **fields: Free) -> Message:
        """Send a request and return its response; what else it causes stands in the peer's messages."""
        peer = link.outlet
        assert isinstance(peer, Peer)
        request_id = next(self._ids)
        request = {"Type": "Request", "RequestID": request_id, "Method": method, **fields}
        self.sim.requests.received(link, request)
        return next(each for each in peer.received if each.get("RequestID") == request_id)

    def listen(self, link: Link, *kinds: str) -> None:
        """Listen to everything of *kinds*."""
        for kind in kinds:
            assert self.ask(link, "ListenForEvents", EventType=kind, Keys="All")["Error"] == 0

    def pass_time(self, seconds: float) -> None:
        """Let time pass without a loop: each slice is a turn and a reading."""
        left_ms = round(seconds * 1000)
        while left_ms > 0:
            step_ms = min(left_ms, 250)
            left_ms -= step_ms
            self.clock.step(step_ms)
            self.sim.board.turn(self.clock.now_ms())
            self.sim.board.publish()

    def agent(self, key: int = AGENT) -> Free:
        return self.sim.center.directory.agents[key]
