"""Statistics of one phone's connection, and the summary of a connection that has ended."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, Literal, NamedTuple

from gateway.core.ledger import Ledger
from gateway.core.outbox import News, Outbox
from gateway.core.session import Answered, Live, Resumed
from gateway.domain.commands import Call, Outcome, Status
from gateway.domain.errors import CloseCode, ErrorCode
from gateway.domain.model import Application, Ticket, UserId
from gateway.edge.request_context import Address
from gateway.protocol.codec import Codec
from gateway.telemetry import OTHER, Spread, Telemetry, observe_all

Initiator = Literal["gateway", "client", "network"]

PEER_CODES: Final = frozenset({1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1011})
"""Close codes of peers that have a label of their own (RFC 6455 §7.4.1). Clients may send any other."""
PLATFORMS: Final = ("android", "ios", "web", OTHER)
"""Platforms of clients that are a label of their own."""
OK: Final = "ok"
"""Result of a handshake that led to a welcome."""
LEFT: Final = "left"
"""Result of a handshake that ended before a welcome or a refusal: the phone left, or the process ended."""
REFUSED: Final = {code.value: code.name.lower() for code in CloseCode}
"""Close code → result of a handshake that was refused after the upgrade."""
FAILED: Final = "failed"
"""Status of a command that was rejected for a fault of the system, not of the command."""
_FAULTS: Final = frozenset(
    {
        ErrorCode.BUS_DOWN,
        ErrorCode.UPSTREAM_UNAVAILABLE,
        ErrorCode.FUNCTION_UNAVAILABLE,
        ErrorCode.OVERLOADED,
        ErrorCode.INTERNAL,
    }
)


def record_update_latency(
    telemetry: Telemetry, ledger: Ledger, since: float, now: float, phones: int = 1
) -> None:
    """Record the latency and age of an update of *ledger*. *since*: see :attr:`Outbox.waits`."""
    seen: list[tuple[Spread, float]] = []
    if since < math.inf:
        hops, seconds = telemetry.event_latency_seconds.series, now - since
        seen = [(hops["edge"], seconds), (hops["total"], seconds + ledger.under_way_s)]
    if ledger.came_at > -math.inf:
        age_s = now - ledger.came_at + ledger.under_way_s
        seen.append((telemetry.state_age_seconds.series[""], age_s))
    observe_all(seen, phones)


@dataclass(frozen=True, slots=True)
class ConnectionSummary:
    """Summary of a closed connection. It contains nothing that the phone received."""

    user: UserId | None
    """None: no session was served."""
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


class StatsOutput(NamedTuple):
    """Where connections are counted. *on_close* receives the summary of each."""

    telemetry: Telemetry
    on_close: Callable[[ConnectionSummary], None]


class ConnectionStats:
    """Statistics of one connection, from its upgrade to its end.

    Invariants: what was counted in is counted out once, at :meth:`closed`. The handshake is counted once: at
    :meth:`welcomed`, or else at :meth:`closed`.

    Args:
        output: Where it is counted.
        codec: The agreed subprotocol.
        address: The client's address.
        now: The time of the upgrade, in monotonic seconds, as below.
    """

    __slots__ = (
        "_address",
        "_began",
        "_bytes_out",
        "_commands",
        "_conflated",
        "_connected",
        "_frames_in",
        "_frames_out",
        "_output",
        "_user",
    )

    def __init__(self, output: StatsOutput, codec: Codec, address: Address, now: float) -> None:
        self._output = output
        self._connected = _shared(("", OTHER, codec.name))
        self._address = address.packed
        self._began = now
        self._user: UserId | None = None
        self._frames_in = self._frames_out = self._bytes_out = self._conflated = self._commands = 0

    @property
    def telemetry(self) -> Telemetry:
        """The metrics."""
        return self._output.telemetry

    @property
    def address(self) -> Address:
        """The client's address."""
        return ip_address(self._address)

    def frame_received(self) -> None:
        """Count a received frame."""
        self._frames_in += 1

    def welcomed(self, ticket: Ticket, platform: str, now: float) -> None:
        """Record that the session is served, to a client on *platform*."""
        self._user = ticket.user
        label = platform.lower() if platform.lower() in PLATFORMS else OTHER
        self._connected = _shared((ticket.application.value, label, self._connected[2]))
        self.telemetry.handshakes[OK].inc()
        self.telemetry.handshake_seconds.observe(now - self._began)
        self.telemetry.connections[self._connected].inc()

    def effect_received(self, effect: Resumed | Answered) -> None:
        """Record an effect that is only measured."""
        if isinstance(effect, Resumed):
            self.telemetry.resumes[effect.how].inc()
        else:
            self.telemetry.ping_rtt_seconds.observe(effect.seconds)

    def frames_written(
        self, frames: list[bytes], now: float, waited: tuple[int, float] | None, outbox: Outbox | None
    ) -> None:
        """Count *frames* of *outbox* that were written. *waited*: what was waiting before."""
        if frames:
            size_bytes = sum(map(len, frames))
            self._frames_out += len(frames)
            self._bytes_out += size_bytes
            telemetry = self._output.telemetry
            telemetry.frames.value += len(frames)
            telemetry.frame_bytes.value += size_bytes
            if waited is not None and outbox is not None:
                names = waited[0] and waited[0] - outbox.dirty
                telemetry.updates.value += names
                record_update_latency(telemetry, outbox.ledger, waited[1] if names else math.inf, now)
        if outbox is not None:
            self._count_conflated(outbox.conflated)

    def news_written(self, news: News, now: float, outbox: Outbox) -> None:
        """Count one frame of *outbox* that was written, as :meth:`frames_written` does."""
        size_bytes = len(news.frame)
        self._frames_out += 1
        self._bytes_out += size_bytes
        telemetry = self._output.telemetry
        telemetry.frames.value += 1
        telemetry.frame_bytes.value += size_bytes
        telemetry.updates.value += news.elements
        record_update_latency(telemetry, outbox.ledger, news.since, now)
        if news.conflated != self._conflated:
            self._count_conflated(news.conflated)

    def shared_frames_written(self, live: Live | None) -> None:
        """Count the frames of a session that ends which were written by its fan-out group."""
        if live is not None:
            frames, size_bytes = live.outbox.shipped
            self._frames_out += frames
            self._bytes_out += size_bytes
            self._count_conflated(live.outbox.conflated)

    def _count_conflated(self, conflated: int) -> None:
        """Count values that were replaced by newer ones. *conflated* is the total so far."""
        if conflated != self._conflated:
            self.telemetry.conflated.inc(conflated - self._conflated)
            self._conflated = conflated

    def command_started(self) -> None:
        """Count a command in flight. :meth:`command_finished` or :meth:`command_abandoned` follows."""
        self._commands += 1
        self.telemetry.commands_in_flight.inc()

    def command_finished(self, call: Call, outcome: Outcome, seconds: float) -> None:
        """Record the result of a command."""
        self.telemetry.commands_in_flight.dec()
        self.telemetry.commands[call.command.kind, _status(outcome)].inc()
        self.telemetry.command_seconds[call.command.kind].observe(seconds)

    def command_abandoned(self) -> None:
        """Record that nothing waits for the result of a command."""
        self.telemetry.commands_in_flight.dec()

    def closed(self, initiator: Initiator, code: int, reason: str, now: float) -> None:
        """Record the end of the connection. Called once."""
        label = str(code) if initiator == "gateway" or code in PEER_CODES else OTHER
        self.telemetry.closes[initiator, label].inc()
        self.telemetry.connection_age_seconds.observe(now - self._began)
        if initiator == "gateway" and code == CloseCode.SLOW:
            self.telemetry.slow_closes.inc()
        application = None
        if self._user is None:
            self.telemetry.handshakes[REFUSED.get(code, LEFT) if initiator == "gateway" else LEFT].inc()
        else:
            application = Application(self._connected[0])
            self.telemetry.connections[self._connected].dec()
        self._output.on_close(
            ConnectionSummary(
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
    """Return one shared tuple for equal *labels*, so that a phone stores none of its own."""
    return _SHARED.setdefault(labels, labels)
