"""Faults of the simulated server, when they occur, and the outlet that they change.

Some stay in force until they are removed, others occur once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from gateway.simulator.contact_center import FunctionState
from gateway.simulator.elements import message, text_frame
from gateway.simulator.fields import CODES, Body, Refused
from gateway.simulator.links import Link, Switchboard
from gateway.simulator.model import About, FirstResponses
from gateway.simulator.settings import Clock


class SocketOutlet:
    """The sender of one WebSocket, which bypasses aiohttp so that links share bytes.

    Invariant: frames are sent whole and in order. At most *limit_bytes* wait; beyond that the line is cut.
    """

    def __init__(
        self, transport: asyncio.Transport, clock: Clock, limit_bytes: int, send_close: Callable[[int], None]
    ) -> None:
        self._transport = transport
        self._clock = clock
        self._limit_bytes = limit_bytes
        self._send_close = send_close
        self._held: deque[tuple[float, bytes | int]] = deque()
        self._held_bytes = 0
        self._closed = False
        self.frozen_until_s = 0.0
        self.delay_s = 0.0
        self.cut_slow = False
        """Whether it was cut because too much data waited."""

    def send(self, frames: bytes) -> None:
        """Send whole frames; later while the line is frozen or delayed."""
        if not self._closed:
            self._leave(frames)

    def close(self, code: int) -> None:
        """Send a close frame after everything sent so far."""
        if not self._closed:
            self._leave(code)
            self._closed = True

    def abort(self) -> None:
        """Cut the line without a close frame."""
        self._closed = True
        self._held.clear()
        self._transport.abort()

    @property
    def waiting(self) -> bool:
        """Whether data waits to be sent."""
        return bool(self._held)

    def turn(self) -> None:
        """Send what has waited long enough."""
        now_s = self._clock.transport_s()
        while self._held and max(self._held[0][0], self.frozen_until_s) <= now_s:
            _, item = self._held.popleft()
            if isinstance(item, bytes):
                self._held_bytes -= len(item)
            self._write(item)

    def _leave(self, item: bytes | int) -> None:
        now_s = self._clock.transport_s()
        if not self._held and self.delay_s <= 0 and self.frozen_until_s <= now_s:
            self._write(item)
            return
        self._held.append((now_s + self.delay_s, item))
        self._held_bytes += len(item) if isinstance(item, bytes) else 0
        if self._held_bytes > self._limit_bytes:
            self._cut()

    def _write(self, item: bytes | int) -> None:
        if isinstance(item, int):
            self._send_close(item)
            return
        if self._transport.is_closing():
            return
        self._transport.write(item)
        if self._transport.get_write_buffer_size() > self._limit_bytes:
            self._cut()

    def _cut(self) -> None:
        self.cut_slow = True
        self.abort()


@dataclass(slots=True)
class Line:
    """One open socket of one link."""

    link: Link
    outlet: SocketOutlet
    last_received_s: float
    inbox: list[Body] = field(default_factory=list)
    """Requests read while the line is frozen."""


MALFORMED: Final = text_frame(b'{"Type":"Event","QueryID":1,"Elements":[{')
OVERSIZED_BYTES: Final = 8 * 1024 * 1024 + 1
"""One byte more than a message may have."""


def notice(text: str) -> bytes:
    """Return the frame of a notice."""
    return message({"Type": "Notice", "Text": text})


class Faults:
    """The fault script. *user* None means all users.

    Invariant: without a fault the server behaves as the page demands.
    """

    def __init__(
        self, board: Switchboard, about: About, clock: Clock, first_responses: FirstResponses
    ) -> None:
        self._board = board
        self._about = about
        self._clock = clock
        self._first_responses = first_responses
        self.lines: dict[str, Line] = {}
        """Open sockets by link; the link routes maintain it."""
        self.refuse_log_ons = False
        self.delay_s = 0.0
        self.frozen_until_s = 0.0
        self._answers: deque[Refused] = deque(maxlen=10_000)

    # ---- asked by the doors ----

    def check_log_on(self) -> None:
        """Refuse a log-on while log-ons are refused.

        Raises:
            Refused: ``FunctionUnavailable``.
        """
        if self.refuse_log_ons:
            raise Refused("FunctionUnavailable", Function="AdministrationDatabase")

    def check_request(self) -> None:
        """Refuse a request instead of executing it, while refusals are set.

        Raises:
            Refused: The error that was set by :meth:`answer`.
        """
        if self._answers:
            raise self._answers.popleft()

    def apply_to(self, line: Line) -> None:
        """Apply the present faults to a new line."""
        line.outlet.delay_s = self.delay_s
        line.outlet.frozen_until_s = self.frozen_until_s

    def wait_s(self) -> float:
        """Return how long an HTTP request has to wait."""
        return max(0.0, self.frozen_until_s - self._clock.transport_s()) + self.delay_s

    # ---- lines ----

    def drop_links(self, user: str | None) -> int:
        """Cut lines without a close frame; return their number."""
        dropped = list(self._lines(user))
        for line in dropped:
            line.outlet.abort()
        return len(dropped)

    def freeze(self, seconds: float, user: str | None) -> None:
        """Neither read nor write for *seconds*; for all users HTTP waits as well."""
        until_s = self._clock.transport_s() + seconds
        if user is None:
            self.frozen_until_s = until_s
        for line in self._lines(user):
            line.outlet.frozen_until_s = until_s

    def delay(self, seconds: float, user: str | None) -> None:
        """Delay everything that is sent by *seconds*; 0 ends this."""
        if user is None:
            self.delay_s = seconds
        for line in self._lines(user):
            line.outlet.delay_s = seconds

    def send(self, user: str | None, frame: bytes) -> None:
        """Send a message that is not the server's own: :data:`MALFORMED`, too long, or a notice."""
        for line in self._lines(user):
            line.outlet.send(frame)

    # ---- events ----

    def duplicate_event(self, user: str | None) -> None:
        """Send the last partial events once more."""
        for link in self._links(user):
            link.send(*link.repeatable)

    def late_event(self, user: str | None) -> None:
        """Send the next partial events after those that follow them."""
        for link in self._links(user):
            link.hold_next = True

    def unknown_state(self, user_key: int, value: str | None) -> None:
        """Send a routing state of a user that is not on the page; None ends this.

        Raises:
            Refused: ``NotFound``.
        """
        agent = self._board.center.directory.agents.get(user_key)
        if agent is None:
            raise Refused("NotFound")
        if value is None:
            self._board.center.overrides.pop(user_key, None)
        else:
            self._board.center.overrides[user_key] = value
        self._board.center.mark_agent(agent)

    # ---- sessions and the server ----

    def expire_sessions(self, user: str | None) -> int:
        """End sessions as expired; return their number."""
        expired = [each for each in self._board.sessions if user in {None, each.account.user_name}]
        for session in expired:
            self._board.sessions.end(session, "Expired")
        self._board.flush_ended()
        return len(expired)

    def set_refuse_log_ons(self, *, on: bool) -> None:
        """Refuse all log-ons, or end this."""
        self.refuse_log_ons = on

    def restart(self) -> None:
        """Restart without memory: no session, no token, no routing; all lines are cut."""
        for line in self._lines(None):
            line.outlet.abort()
        self._board.restart()
        self._first_responses.clear()

    def split(self, user: str | None, token: int | None) -> None:
        """Act as if another holder had opened the link with a higher token."""
        for link in list(self._links(user)):
            self._board.open_elsewhere(link.account.key, token)

    def answer(self, name: str, times: int) -> None:
        """Answer the next *times* requests with an error instead of executing them.

        Raises:
            Refused: ``BadRequest`` for an error that the page does not know.
        """
        if name not in CODES:
            raise Refused("BadRequest")
        self._answers.extend(Refused(name) for _ in range(times))

    def set_function(self, name: str, state: FunctionState) -> None:
        """Set the state of a function, and send it to all links.

        Raises:
            Refused: ``NotFound``.
        """
        functions = self._board.center.functions
        if name not in functions.states:
            raise Refused("NotFound")
        if functions.states[name] != state:
            functions.states[name] = state
            self._board.broadcast(functions.message(name))
            for agent in self._board.center.directory.agents.values():
                self._board.center.mark_agent(agent)

    def set_features(self, features: set[str]) -> None:
        """Offer other features; without LinkFencing the newest link replaces the others."""
        self._about.features = features
        self._board.links.fencing = "LinkFencing" in features

    def set_versions(self, extensions: str | None, contact_center: str | None) -> None:
        """Report other versions."""
        self._about.extensions_version = extensions or self._about.extensions_version
        self._about.contact_center_version = contact_center or self._about.contact_center_version

    def link_fencing(self, *, on: bool) -> None:
        """Offer and enforce LinkFencing, or do not."""
        fenced = {"LinkFencing"}
        self.set_features(self._about.features | fenced if on else self._about.features - fenced)

    # ---- inside ----

    def _lines(self, user: str | None) -> Iterator[Line]:
        chosen = list(self.lines.values())
        return (each for each in chosen if user in {None, each.link.account.user_name})

    def _links(self, user: str | None) -> Iterator[Link]:
        chosen = list(self._board.open_links.values())
        return (each for each in chosen if user in {None, each.account.user_name})
