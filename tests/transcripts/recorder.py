"""Recorder of conversations, readable for people and comparable for tests."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

from gateway.core.element import Element
from gateway.core.ledger import Health, Ledger
from gateway.core.rate_limits import SessionLimits
from gateway.core.session import Answered, Close, Effects, Invoke, Resumed, Session
from gateway.core.view import me_key
from gateway.domain.commands import Outcome
from gateway.domain.errors import CloseCode, EndReason
from gateway.domain.model import Application, Right, Scope
from gateway.domain.resources import Agent, Me, Queue, Resource, RoutingState, Site
from gateway.protocol.codec import JSON
from gateway.protocol.frames import ControlFrame
from tests.core.samples import CLIENT, KEY, LIVE, SCOPE, WALL_MS, facts_of, ticket_of

FOLDER: Final = Path(__file__).parent
RESOURCES: Final[dict[str, Resource]] = {
    "site": Site("V2R1", "V8R2"),
    "agent:5": Agent(display_name="Cleo", routing_state=RoutingState.AVAILABLE),
    "queue:1": Queue(name="Sales", contacts_waiting=2),
    "queue:2": Queue(name="Help", contacts_waiting=0),
}


class Transcript:
    """Lines of a conversation; the same line again and again is written once, and counted."""

    def __init__(self, title: str, *, width: int = 8) -> None:
        self._lines = [title, ""]
        self._width = width
        self._times = 1

    def head(self, says: str) -> None:
        """Add what the next lines show."""
        self._times = 1
        self._lines += ["", f"-- {says}"]

    def write(self, at_s: float, who: str, says: str) -> None:
        """Add what *who* says at *at_s* seconds."""
        line = f"{at_s:7.2f}  {who:<{self._width}} {says}"
        if self._times == 1:
            repeats = self._lines[-1] == line
        else:
            repeats = self._lines[-1] == f"{line}  ({self._times} times)"
        if repeats:
            self._times += 1
            self._lines[-1] = f"{line}  ({self._times} times)"
        else:
            self._times = 1
            self._lines.append(line)

    def text(self) -> str:
        """Return what was said."""
        return "\n".join(self._lines) + "\n"


def check(name: str, text: str) -> None:
    """Compare with the file of that name, or write it when ``TRANSCRIPTS=rewrite`` asks for it."""
    path = FOLDER / f"{name}.txt"
    if os.environ.get("TRANSCRIPTS") == "rewrite":
        path.write_text(text, "utf-8")
    assert path.is_file(), f"{path.name} is missing; run make transcripts"
    assert text == path.read_text("utf-8"), f"{path.name} differs; run make transcripts and read the diff"


def shown(frame: dict[str, object]) -> str:
    """Return a frame's kind and its fields; limits are the same in every welcome."""
    kind = frame.pop("kind")
    if "limits" in frame:
        frame["limits"] = "…"
    return f"{kind} {json.dumps(frame, ensure_ascii=False)}" if frame else str(kind)


class PhoneCall:
    """A phone, a session, and the messages between them and the owner of the session."""

    def __init__(self, title: str, application: Application = Application.DASHBOARD) -> None:
        self.transcript = Transcript(title)
        self.now = 0.0
        self.ledger = Ledger(7)
        self.ticket = ticket_of(application)
        self.facts = facts_of(self.ticket)
        self.health = replace(LIVE, as_of=self.now)
        self.ledger.record(me_key(self.ticket.handle), Element(Me(user_id="7")))
        for key, value in RESOURCES.items():
            self.ledger.record(key, Element(value))
        self.session = Session(JSON, SessionLimits(), self.now, 0.5)

    # ---- the phone ----

    def hello(self, **fields: object) -> None:
        self.send("hello", token="sealed", client=CLIENT, **fields)

    def command(self, frame_id: str = "c1", **fields: object) -> None:
        asked = {
            "kind": "agent.routing_state.set",
            "agent_id": "5",
            "state": "work",
            "reason_id": "3",
            **fields,
        }
        expires_at_ms = self.wall_ms + 5_000
        self.send(
            "command", id=frame_id, key=KEY, stream=self.stream, expires_at_ms=expires_at_ms, command=asked
        )

    def send(self, kind: str, **fields: object) -> None:
        self.transcript.write(self.now, "phone →", shown({"kind": kind, **fields}))
        self._effects(
            self.session.receive(json.dumps({"kind": kind, **fields}).encode(), self.now, self.wall_ms)
        )

    def send_bytes(self, data: bytes, received: str) -> None:
        self.transcript.write(self.now, "phone →", received)
        self._effects(self.session.receive(data, self.now, self.wall_ms))

    def wrong_type(self) -> None:
        self.transcript.write(self.now, "phone →", "a binary message")
        self._effects(self.session.violated(1003, "wrong message type"))

    # ---- OSCC-E and the gateway ----

    def accept(self) -> None:
        self.transcript.write(self.now, "OSCC-E", "accepts the session")
        self._effects(self.session.attached(self.ticket, self.facts, self.ledger, self.now, self.wall_ms))

    def learn(
        self, scope: Scope = SCOPE, rights: tuple[Right, ...] = tuple(Right), end: EndReason | None = None
    ) -> None:
        self.facts = facts_of(self.ticket, scope, rights, end=end, by=None if end is None else "Bob")
        received = (
            f"ends the session: {end}, by Bob" if end else f"grants {_numbers(scope)}, {len(rights)} rights"
        )
        self.transcript.write(self.now, "OSCC-E", received)
        self._effects(self.session.learned(self.facts))

    def change(self, key: str, value: Resource | None) -> None:
        self.transcript.write(self.now, "mirror", f"{key} {'changes' if value else 'goes'}")
        self.ledger.record(key, None if value is None else Element(value))

    def settle(self, outcome: Outcome, frame_id: str = "c1") -> None:
        self.transcript.write(self.now, "OSCC-E", f"answers {frame_id}: {outcome.status}")
        self._effects(self.session.settled(frame_id, outcome))

    def post(self, frame: ControlFrame, received: str) -> None:
        self.transcript.write(self.now, "gateway", received)
        self._effects(self.session.post(frame))

    def close(self, code: CloseCode, reason: str) -> None:
        self.transcript.write(self.now, "gateway", f"closes with {code}")
        self._effects(self.session.close(code, reason))

    # ---- time and the socket ----

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self._effects(self.session.tick(self.now))

    def drain(self, *, drained: bool = True) -> None:
        """Write what is due, and tell how the socket was found."""
        taken = self.session.take(self.now, self.wall_ms, self.health)
        for frame in taken:
            self.transcript.write(self.now, "phone ←", shown(json.loads(frame)))
        if taken:
            self.session.flushed(drained=drained)
        if not drained:
            self.transcript.write(self.now, "socket", "is still full")

    def say(self, health: Health, received: str) -> None:
        self.transcript.write(self.now, "gateway", received)
        self.health = health

    @property
    def wall_ms(self) -> int:
        return WALL_MS + round(self.now * 1_000)

    @property
    def stream(self) -> str:
        return "" if self.session.live is None else self.session.live.outbox.stream

    def arrive(self, **fields: object) -> None:
        """Go the whole way from hello to live."""
        self.hello(**fields)
        self.accept()
        self.drain()
        self.send("pong", nonce="1")

    def _effects(self, effects: Effects) -> None:
        for effect in effects:
            match effect:
                case Invoke():
                    received = (
                        f"Invoke {effect.id}: {effect.call.command.kind}, epoch {effect.call.stream_epoch}"
                    )
                case Close():
                    received = f"Close {int(effect.code)} {effect.reason}".rstrip()
                case Resumed() | Answered():
                    continue
                case _:
                    received = (
                        f"Attach {'the session' if effect.token else 'as before'}, topics {effect.topics}"
                    )
            self.transcript.write(self.now, "session", received)


def _numbers(scope: Scope) -> str:
    kinds: Iterable[tuple[str, frozenset[int]]] = (
        ("agents", scope.agents),
        ("queues", scope.queues),
        ("groups", scope.groups),
        ("aggregates", scope.aggregates),
    )
    return ", ".join(f"{name} {sorted(numbers)}" for name, numbers in kinds if numbers) or "nothing"
