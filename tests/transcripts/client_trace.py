"""One conversation for writers of clients: annotated on a page, and as recorded frames in both codecs.

Real sessions of the gateway over one ledger; only the network and OSCC-E are played.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from gateway.core.element import Element
from gateway.core.ledger import Health, Ledger
from gateway.core.rate_limits import SessionLimits
from gateway.core.session import Session
from gateway.core.view import me_key
from gateway.domain.commands import Outcome, Status
from gateway.domain.errors import CloseCode
from gateway.domain.resources import Agent, Me, Queue, RoutingState, Site
from gateway.protocol import codec
from gateway.protocol.codec import JSON, MSGPACK, Codec
from gateway.protocol.frames import NoticeFrame, Renewed
from tests.core.samples import CLIENT, KEY, LIVE, WALL_MS, facts_of, ticket_of

LIMITS: Final = SessionLimits(frame_bytes_out=480)
"""So small that the first state is split; a gateway's own limit is 256 KiB."""
Frame = dict[str, object]


@dataclass(frozen=True, slots=True)
class Line:
    """A frame that travelled, or something that happened, and what a client does about it."""

    at_s: float
    sender: str
    """``client`` or ``gateway``; empty for what is no frame."""
    data: bytes
    frame: Frame
    note: str = ""


class Conversation:
    """A client, and the gateway that it meets again after each connection.

    Args:
        codec: The subprotocol of all connections.
    """

    def __init__(self, codec: Codec) -> None:
        self.lines: list[Line] = []
        self._codec = codec
        self._now = 0.0
        self._ticket = ticket_of()
        self._ledger = Ledger(7)
        self._ledger.record(me_key(self._ticket.handle), Element(Me(user_id="7")))
        self.change("site", Site("V2R1", "V8R2"))
        self.change("agent:5", Agent(display_name="Cleo", routing_state=RoutingState.AVAILABLE))
        self.change("queue:1", Queue(name="Sales", contacts_waiting=2))
        self.change("queue:2", Queue(name="Help", contacts_waiting=0))
        self._health: Health = replace(LIVE, as_of=0.0)
        self._session: Session | None = None

    # ---- what happens ----

    def happens(self, note: str, *, after_s: float = 0.0) -> None:
        """Add what is no frame."""
        self._now += after_s
        self.lines.append(Line(self._now, "", b"", {}, note))

    def change(self, key: str, value: Agent | Queue | Site) -> None:
        """Have OSCC-E report a value."""
        self._ledger.record(key, Element(value))

    def connect(self, note: str, **fields: object) -> None:
        """Open a connection and say hello; the session is accepted."""
        self._session = Session(self._codec, LIMITS, self._now, 0.5)
        self.sends({"kind": "hello", "token": "sealed", "client": CLIENT, **fields}, note)
        facts = facts_of(self._ticket)
        self._session.attached(self._ticket, facts, self._ledger, self._now, self._wall_ms)

    def sends(self, frame: Frame, note: str = "") -> None:
        data = (codec.write_json if self._codec.text else codec.write_msgpack)(frame)
        self.lines.append(Line(self._now, "client", data, frame, note))
        self._at.receive(data, self._now, self._wall_ms)

    def hears(self, *notes: str, after_s: float = 0.0) -> None:
        """Take the frames that are due. The last note is that of all further ones."""
        self._now += after_s
        taken = self._at.take(self._now, self._wall_ms, replace(self._health, as_of=self._now))
        for number, data in enumerate(taken):
            frame = (codec.read_json if self._codec.text else codec.read_msgpack)(data)
            assert isinstance(frame, dict)
            self.lines.append(
                Line(self._now, "gateway", data, frame, notes[number] if notes[number:] else "")
            )
        self._at.flushed(drained=True)

    def result(self, frame_id: str) -> None:
        """Have OSCC-E answer a command."""
        self._at.settled(frame_id, Outcome(Status.APPLIED))

    def posts(self, frame: NoticeFrame | Renewed) -> None:
        """Have the gateway send a frame of its own."""
        self._at.post(frame)

    def closes(self, code: CloseCode, reason: str, window_s: tuple[float, float]) -> None:
        """Have the gateway end the connection."""
        self._at.close(code, reason, window_s=window_s)

    def lost(self, note: str) -> None:
        self._at.release()
        self.happens(note)

    @property
    def stream(self) -> str:
        live = self._at.live
        assert live is not None
        return live.outbox.stream

    @property
    def _at(self) -> Session:
        assert self._session is not None
        return self._session

    @property
    def _wall_ms(self) -> int:
        return WALL_MS + round(self._now * 1000)


def _command(stream: str) -> Frame:
    """Return the command that is sent twice."""
    return {
        "kind": "command", "id": "1", "key": KEY, "stream": stream, "expires_at_ms": WALL_MS + 12_000,
        "command": {"kind": "agent.routing_state.set", "agent_id": "5", "state": "work", "when": "now"},
    }  # fmt: skip


def annotated(codec: Codec = JSON) -> Conversation:
    """Return the conversation of the page."""
    talk = Conversation(codec)
    talk.connect("no `position`: the client holds nothing", topics=["agents", "queues"])
    talk.hears(
        "`hello` was accepted; from here on `ping_s` counts, and `topics` says what is followed",
        "a part of a reset, for `more`: `reset` and `stream` stand here only. Show nothing yet",
        "the last part: show all, forget what is not in it, hold `upto` as `seq`",
        "how old the data is, and the gateway's clock; `upto` = `after`: nothing was skipped",
    )
    talk.sends({"kind": "pong", "nonce": "1"}, "at once, with the same nonce")
    stream = talk.stream
    talk.change("queue:1", Queue(name="Sales", contacts_waiting=3))
    talk.hears("`after` is the `seq` that is held: merge the fields, hold `upto`", after_s=2.0)
    command = _command(stream)
    talk.sends(command, "one key per intention; the deadline by the gateway's clock; `stream` as it is now")
    talk.lost("the connection is lost before the result; the command was carried out. Back-off")
    talk.change("agent:5", Agent(display_name="Cleo", routing_state=RoutingState.WORK))
    talk.happens("a random wait of 0 to 0.5 s", after_s=0.3)
    position = {"stream": stream, "seq": 6}
    talk.connect("again, now with the position", topics=["agents", "queues"], position=position)
    talk.hears(
        "`resumed`: the stream goes on. The clock of this node counts from here",
        "what changed meanwhile; in sync again",
        "",
    )
    talk.sends({"kind": "pong", "nonce": "1"})
    talk.sends({**command, "retry": True}, "same `key`, `stream` and `expires_at_ms`, and `retry`")
    talk.result("1")
    talk.hears("exactly one result: with the same key it is carried out once. The state came before it")
    talk.closes(CloseCode.DRAINING, "draining", (1.0, 8.0))
    talk.hears("the node stops: the end, whatever the close frame says; 4200 is `window`")
    talk.happens("a random instant of 1 to 8 s; the foreground would cut it short", after_s=4.0)
    position = {"stream": stream, "seq": 7}
    talk.connect(
        "to another node, which may be the same address", topics=["agents", "queues"], position=position
    )
    talk.hears("", "empty: in sync, nothing is drawn again", "")
    talk.sends({"kind": "pong", "nonce": "1"})
    talk.sends({"kind": "bye"}, "the app goes to the background: keep position and token, close; no log-off")
    return talk


def everything(codec: Codec) -> Conversation:
    """Return the same with a frame of every other kind."""
    talk = annotated(codec)
    talk.connect("", topics=["queues"])
    talk.hears()
    talk.sends({"kind": "pong", "nonce": "1"})
    talk.sends({"kind": "follow", "id": "2", "topics": ["queue:1", "queue:99"]})
    talk.sends({"kind": "pace", "every_s": 1})
    talk.hears(after_s=1.0)
    talk.sends({"kind": "resync"})
    talk.sends({"kind": "resync"})
    talk.posts(
        NoticeFrame("n1", 2, "maintenance", "Tonight", "We close.", None, WALL_MS, must_acknowledge=False)
    )
    talk.posts(Renewed("sealed again", WALL_MS + 36_000_000))
    talk.hears(after_s=1.0)
    return talk


def trace_lines() -> Iterator[str]:
    """Yield the lines of the page."""
    yield "```text"
    for line in annotated().lines:
        if not line.sender:
            yield f"{line.at_s:5.1f}       -- {line.note}"
            continue
        arrow = "→" if line.sender == "client" else "←"
        frame = {name: value for name, value in line.frame.items() if name != "kind"}
        for long in ("limits", "rights", "user", "session"):
            if long in frame:
                frame[long] = "…"
        received = json.dumps(frame, ensure_ascii=False) if frame else ""
        yield f"{line.at_s:5.1f} {arrow} {line.frame['kind']} {received}".rstrip()
        if line.note:
            yield f"          {line.note}"
    yield "```"


def fixtures() -> str:
    """Return the recorded frames: who sent each, and its bytes in both codecs."""
    pairs = zip(everything(JSON).lines, everything(MSGPACK).lines, strict=True)
    frames = [
        {
            "sender": text.sender,
            "kind": text.frame["kind"],
            "json": text.data.decode(),
            "msgpack_base64": base64.b64encode(binary.data).decode(),
        }
        for text, binary in pairs
        if text.sender
    ]
    about = (
        "Recorded frames, in order; written by the tests (TRANSCRIPTS=rewrite). Both codecs carry the same."
    )
    return json.dumps({"about": about, "frames": frames}, indent=1, ensure_ascii=False) + "\n"
