"""What is counted of one phone's connection, and what is left of it at its end?"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, Literal, NamedTuple

from gateway.core.effects import Answered, Resumed
from gateway.core.ledger import Ledger
from gateway.core.live import Live
from gateway.core.outbox import Outbox
from gateway.domain.commands import Call, Outcome, Status
from gateway.domain.errors import CloseCode, ErrorCode
from gateway.domain.model import Application, Ticket, UserId
from gateway.edge.addresses import Address
from gateway.protocol.codec import Codec
from gateway.telemetry import OTHER, Telemetry

Initiator = Literal["gateway", "client", "network"]

PEER_CODES: Final = frozenset({1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1011})
"""What peers may say (RFC 6455 §7.4.1) and is told apart; a client chooses freely among thousands."""
PLATFORMS: Final = ("android", "ios", "web", OTHER)
"""What clients may call themselves and is told apart."""
OK: Final = "ok"
"""The result of a handshake that led to a welcome."""
LEFT: Final = "left"
"""The result of one whose phone, or the process, went before either a welcome or a refusal."""
REFUSED: Final = {code.value: code.name.lower() for code in CloseCode}
"""Close code → the result of a handshake that it refused after the upgrade."""
FAILED: Final = "failed"
"""The status of a rejected command with which nothing was wrong."""
_FAULTS: Final = frozenset(
    {
        ErrorCode.BUS_DOWN,
        ErrorCode.UPSTREAM_UNAVAILABLE,
        ErrorCode.FUNCTION_UNAVAILABLE,
        ErrorCode.OVERLOADED,
        ErrorCode.INTERNAL,
    }
)


def wrote_news(telemetry: Telemetry, ledger: Ledger, since: float, now: float, phones: int = 1) -> None:
    """Count what was written of *ledger*, to so many phones; *since*: see :attr:`Outbox.waits`."""
    if since < math.inf:
        hops, seconds = telemetry.event_latency_seconds.series, now - since
        hops["edge"].observe(seconds, phones)
        hops["total"].observe(seconds + ledger.under_way_s, phones)
    if ledger.came_at > -math.inf:
        age_s = now - ledger.came_at + ledger.under_way_s
        telemetry.state_age_seconds.series[""].observe(age_s, phones)


@dataclass(frozen=True, slots=True)
class Life:
    """A connection that is over. It shows nothing of what the phone saw."""

    user: UserId | None
    """None: it was never served."""
    application: Application | None
    codec: str
    address: Address
    lasted_s: float
    initiator: Initiator
    close_code: int
    close_reason: str
    frames_in: int
    frames_out: int
    bytes_out: int
    conflated: int
    commands: int


class Book(NamedTuple):
    """Where all connections of a node are counted; *note* is told what is left of each."""

    telemetry: Telemetry
    note: Callable[[Life], None]


class Witness:
    """Sees one connection from its upgrade to its end.

    Invariants: what was counted in is counted out at :meth:`ended`, once; its handshake is counted once, at
    :meth:`welcomed` or, without that, at :meth:`ended`.

    Args:
        book: Where it is counted.
        codec: The agreed subprotocol.
        address: The client's.
        now: When the upgrade was; monotonic seconds, as below.
    """

    __slots__ = (
        "_address",
        "_began",
        "_book",
        "_bytes_out",
        "_commands",
        "_conflated",
        "_connected",
        "_frames_in",
        "_frames_out",
        "_user",
    )

    def __init__(self, book: Book, codec: Codec, address: Address, now: float) -> None:
        self._book = book
        self._connected = _shared(("", OTHER, codec.name))
        self._address = address.packed
        self._began = now
        self._user: UserId | None = None
        self._frames_in = self._frames_out = self._bytes_out = self._conflated = self._commands = 0

    @property
    def telemetry(self) -> Telemetry:
        """Where it is counted."""
        return self._book.telemetry

    @property
    def address(self) -> Address:
        """The client's."""
        return ip_address(self._address)

    def heard(self) -> None:
        """Note that a frame came."""
        self._frames_in += 1

    def welcomed(self, ticket: Ticket, platform: str, now: float) -> None:
        """Note that the session is served, to a client that says that it runs on *platform*."""
        self._user = ticket.user
        told = platform.lower() if platform.lower() in PLATFORMS else OTHER
        self._connected = _shared((ticket.application.value, told, self._connected[2]))
        self.telemetry.handshakes[OK].inc()
        self.telemetry.handshake_seconds.observe(now - self._began)
        self.telemetry.connections[self._connected].inc()

    def noted(self, effect: Resumed | Answered) -> None:
        """Note what the session tells of itself."""
        if isinstance(effect, Resumed):
            self.telemetry.resumes[effect.how].inc()
        else:
            self.telemetry.ping_rtt_seconds.observe(effect.seconds)

    def wrote(
        self, frames: list[bytes], now: float, waited: tuple[int, float] | None, outbox: Outbox | None
    ) -> None:
        """Note that *frames* of *outbox* were written, where *waited* was waiting before."""
        if frames:
            size_bytes = sum(map(len, frames))
            self._frames_out += len(frames)
            self._bytes_out += size_bytes
            self.telemetry.frames.inc(len(frames))
            self.telemetry.frame_bytes.inc(size_bytes)
            if waited is not None and outbox is not None:
                names = waited[0] and waited[0] - outbox.dirty
                self.telemetry.updates.inc(names)
                wrote_news(self.telemetry, outbox.ledger, waited[1] if names else math.inf, now)
        if outbox is not None:
            self._replaced(outbox.conflated)

    def shipped(self, live: Live | None) -> None:
        """Note what a session was told that ends: its frames that left with those of others, too."""
        if live is not None:
            frames, size_bytes = live.outbox.shipped
            self._frames_out += frames
            self._bytes_out += size_bytes
            self._replaced(live.outbox.conflated)

    def _replaced(self, conflated: int) -> None:
        """Note how many values newer ones have replaced so far."""
        if conflated != self._conflated:
            self.telemetry.conflated.inc(conflated - self._conflated)
            self._conflated = conflated

    def asked(self) -> None:
        """Note that a command waits for its result; :meth:`settled` or :meth:`forgot` follows."""
        self._commands += 1
        self.telemetry.commands_in_flight.inc()

    def settled(self, call: Call, outcome: Outcome, seconds: float) -> None:
        """Note what became of a command."""
        self.telemetry.commands_in_flight.dec()
        self.telemetry.commands[call.command.kind, _status(outcome)].inc()
        self.telemetry.command_seconds[call.command.kind].observe(seconds)

    def forgot(self) -> None:
        """Note that nobody waits for a command's result any more."""
        self.telemetry.commands_in_flight.dec()

    def ended(self, initiator: Initiator, code: int, reason: str, now: float) -> None:
        """Note the end. Called once."""
        told = str(code) if initiator == "gateway" or code in PEER_CODES else OTHER
        self.telemetry.closes[initiator, told].inc()
        self.telemetry.connection_age_seconds.observe(now - self._began)
        if initiator == "gateway" and code == CloseCode.SLOW:
            self.telemetry.slow_closes.inc()
        application = None
        if self._user is None:
            self.telemetry.handshakes[REFUSED.get(code, LEFT) if initiator == "gateway" else LEFT].inc()
        else:
            application = Application(self._connected[0])
            self.telemetry.connections[self._connected].dec()
        self._book.note(
            Life(
                user=self._user,
                application=application,
                codec=self._connected[2],
                address=self.address,
                lasted_s=round(now - self._began, 3),
                initiator=initiator,
                close_code=code,
                close_reason=reason,
                frames_in=self._frames_in,
                frames_out=self._frames_out,
                bytes_out=self._bytes_out,
                conflated=self._conflated,
                commands=self._commands,
            )
        )


def _status(outcome: Outcome) -> str:
    error = outcome.error
    is_fault = outcome.status is Status.REJECTED and error is not None and error.code in _FAULTS
    return FAILED if is_fault else outcome.status.value


_SHARED: Final[dict[tuple[str, str, str], tuple[str, str, str]]] = {}


def _shared(labels: tuple[str, str, str]) -> tuple[str, str, str]:
    """Return one tuple for all who have the same *labels*: a phone keeps no object of its own for them."""
    return _SHARED.setdefault(labels, labels)
