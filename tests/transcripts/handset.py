"""A phone on the gateway's real connection, without a socket."""

from __future__ import annotations

import json
from typing import Final, Protocol

from gateway.domain.model import Ticket
from gateway.edge.channel import NO_FD, ChannelListener, Disconnect
from gateway.protocol.codec import JSON
from gateway.protocol.websocket import Message
from tests.core.samples import CLIENT
from tests.transcripts.abridged import Json, PhoneEar, wire


class Journal(Protocol):
    """Where a conversation is written down, and what a phone needs of the world."""

    @property
    def wall_ms(self) -> int:
        """The gateway's clock, ms since 1970."""
        ...

    @property
    def requests(self) -> int:
        """How many requests OSCC-E was sent."""
        ...

    def next_key(self) -> int:
        """Give a number that names an intended action."""
        ...

    def write(self, who: str, says: str) -> None:
        """Write down what somebody says or hears."""
        ...

    async def settle(self) -> None:
        """Let everybody come to rest."""
        ...

    async def passes(self, seconds: float) -> None:
        """Let time pass."""
        ...


class Line:
    """What a :class:`gateway.edge.socket.PhoneSocket` needs of a channel; nothing waits in it."""

    codec: Final = JSON
    open_fd: Final = NO_FD
    unsent_bytes: Final = 0
    is_full: Final = False

    def __init__(self, phone: Handset) -> None:
        self._phone = phone
        self._listener: ChannelListener | None = None
        self._early: list[Message] = []

    def listen(self, listener: ChannelListener) -> None:
        """Tell who listens from now on."""
        self._listener = listener
        for message in self._early:
            listener.event_received(message)

    def say(self, message: Message) -> None:
        """Bring what the phone says."""
        if self._listener is None:
            self._early.append(message)
        else:
            self._listener.event_received(message)

    def lose(self) -> None:
        """Break."""
        if self._listener is not None:
            self._listener.disconnected(Disconnect("network", 1006))

    def put_frame(self, frame: bytes) -> None:
        """Bring a frame to the phone."""
        self.write([frame])

    def put(self, data: bytes) -> None:
        """Bring WebSocket messages to the phone."""
        while data:
            size, start = (data[1], 2) if data[1] < 126 else (int.from_bytes(data[2:4], "big"), 4)
            self.write([data[start : start + size]])
            data = data[start + size :]

    def abort(self) -> None:
        """Do nothing: there is no connection."""

    def write(self, frames: list[bytes]) -> None:
        """Bring frames to the phone."""
        for frame in frames:
            self._phone.hear(json.loads(frame))

    async def close(self, code: int, reason: str) -> None:
        """Tell the phone that it is over."""
        self._listener = None
        self._phone.closed(code)


class Handset:
    """One phone, and each of its connections in turn.

    Args:
        name: How it is called in the conversation.
        ticket: Whose it is.
        token: The same, sealed.
        journal: Where what it says and hears is written down.
    """

    def __init__(self, name: str, ticket: Ticket, token: str, journal: Journal) -> None:
        self.name = name
        self.ticket = ticket
        self.line = Line(self)
        self.position: Json = {"stream": "", "seq": 0}
        """What it holds, for its next hello."""
        self.outcomes: dict[str, Json] = {}
        """What became of each command, by the id of its frame."""
        self.last: Json = {}
        """The last command."""
        self._is_lost = False
        self._token = token
        self._journal = journal
        self._ear = PhoneEar()
        self._ids = 0
        self._health = ("live", "live")
        self._news: list[str] = []
        """The kinds of the frames that came since the last command, until its result."""

    # ---- what it says ----

    def hello(self, **fields: object) -> None:
        """Say who it is, on a new connection."""
        self.line = Line(self)
        self._is_lost = False
        self.say("hello", token=self._token, client=CLIENT, **fields)

    def say(self, kind: str, **fields: object) -> None:
        """Say one frame."""
        self._journal.write(f"{self.name} →", self._ear.received({"kind": kind, **fields}))
        self._send({"kind": kind, **fields})

    def lose(self) -> None:
        """Let the connection break."""
        self._journal.write(f"{self.name} →", "loses the connection")
        self._is_lost = True
        self.line.lose()

    async def asks(
        self, command: str, *, expires_in_s: float = 10.0, then_s: float = 1.0, **fields: object
    ) -> None:
        """Command something with a new key.

        The state that it caused has come before its result; without any no state came. Then time passes.
        """
        self.last = {
            "key": f"00000000-0000-4000-8000-{self._journal.next_key():012}",
            "stream": self.position["stream"],
            "expires_at_ms": self._journal.wall_ms + round(expires_in_s * 1000),
            "command": {"kind": command, **fields},
        }
        outcome = await self._command({})
        if outcome:
            did_something = bool({"changes", "renewed"} & set(self._news))
            assert did_something is (outcome["status"] in {"applied", "pending"})
        await self._journal.passes(then_s)

    async def repeats(self, **fields: object) -> None:
        """Send the last command again, with its key: OSCC-E is not asked, and nothing changes."""
        requests = self._journal.requests
        await self.sends_again(**fields)
        assert self._journal.requests == requests
        assert "changes" not in self._news
        await self._journal.passes(1)

    async def sends_again(self, **fields: object) -> None:
        """Send the last command again, with its key, but for *fields*."""
        before = {} if "key" in fields else self.last
        self.last = {**self.last, **fields}
        await self._command(before)

    async def _command(self, before: Json) -> Json:
        self._ids += 1
        self._news = []
        frame_id = f"c{self._ids}"
        frame = {"id": frame_id, **self.last}
        self._journal.write(f"{self.name} →", f"command {wire(frame, before)}")
        self._send({"kind": "command", **frame})
        await self._journal.settle()
        return self.outcomes.get(frame_id, {})

    def _send(self, frame: Json) -> None:
        self.line.say(Message(json.dumps(frame).encode(), text=True))

    # ---- what it hears ----

    def hear(self, frame: Json) -> None:
        """Take in one frame."""
        match frame["kind"]:
            case "ping":
                self._ping(frame)
                return
            case "changes":
                stream = frame.get("stream", self.position["stream"])
                self.position = {"stream": stream, "seq": frame["upto"]}
            case "renewed":
                self._token = frame["token"]
            case "result":
                assert frame["id"] not in self.outcomes, "a command gets one result"
                self.outcomes[frame["id"]] = frame["outcome"]
        if self._news[-1:] != ["result"]:
            self._news.append(frame["kind"])
        self._journal.write(f"{self.name} ←", self._ear.received(frame))

    def closed(self, code: int) -> None:
        """Note that the gateway closed; who lost the connection does not hear it."""
        if not self._is_lost:
            self._journal.write(f"{self.name} ←", f"close {code}")

    def _ping(self, frame: Json) -> None:
        """Answer a ping; it is written down when it is news."""
        self.position = {**self.position, "seq": frame["upto"]}
        health = (frame["upstream"], frame["bus"])
        if health != self._health:
            self._health = health
            self._journal.write(f"{self.name} ←", self._ear.received(frame))
        self._send({"kind": "pong", "nonce": frame["nonce"]})
