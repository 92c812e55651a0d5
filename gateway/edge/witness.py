"""What is counted of one phone's connection, and what is left of it at its end?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from gateway.domain.commands import Call, Outcome
from gateway.domain.model import Application, Ticket, UserId
from gateway.edge.addresses import Address
from gateway.protocol.codec import Codec
from gateway.telemetry import OTHER, Telemetry

Initiator = Literal["gateway", "client", "network"]

_PEER_CODES: Final = frozenset({1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1011})
"""What peers may say (RFC 6455 §7.4.1) and is told apart; a client chooses freely among thousands."""


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


class Witness:
    """Sees one connection from its upgrade to its end.

    Invariant: what was counted in is counted out at :meth:`ended`, once.

    Args:
        telemetry: Where it is counted.
        codec: The agreed subprotocol.
        address: The client's.
        now: When the upgrade was; monotonic seconds, as below.
        note: Told what is left of the connection.
    """

    __slots__ = (
        "_address",
        "_began",
        "_bytes_out",
        "_codec",
        "_commands",
        "_conflated",
        "_frames_in",
        "_frames_out",
        "_note",
        "_ticket",
        "telemetry",
    )

    def __init__(
        self,
        telemetry: Telemetry,
        codec: Codec,
        address: Address,
        now: float,
        note: Callable[[Life], None],
    ) -> None:
        self.telemetry: Final = telemetry
        self._codec = codec
        self._address = address
        self._began = now
        self._note = note
        self._ticket: Ticket | None = None
        self._frames_in = self._frames_out = self._bytes_out = self._conflated = self._commands = 0

    def heard(self) -> None:
        """Note that a frame came."""
        self._frames_in += 1

    def welcomed(self, ticket: Ticket, now: float) -> None:
        """Note that the session is served."""
        self._ticket = ticket
        self.telemetry.handshake_seconds.observe(now - self._began)
        self.telemetry.connections[self._labels(ticket)].inc()

    def wrote(self, frames: list[bytes], conflated: int) -> None:
        """Note that *frames* were written, and how many values newer ones have replaced so far."""
        size_bytes = sum(map(len, frames))
        self._frames_out += len(frames)
        self._bytes_out += size_bytes
        self.telemetry.frames.inc(len(frames))
        self.telemetry.frame_bytes.inc(size_bytes)
        self.telemetry.conflated.inc(conflated - self._conflated)
        self._conflated = conflated

    def shipped(self, frames: int, size_bytes: int) -> None:
        """Note that frames were written which are counted together with those of other connections."""
        self._frames_out += frames
        self._bytes_out += size_bytes

    def asked(self) -> None:
        """Note that a command waits for its result; :meth:`settled` or :meth:`forgot` follows."""
        self._commands += 1
        self.telemetry.commands_in_flight.inc()

    def settled(self, call: Call, outcome: Outcome, seconds: float) -> None:
        """Note what became of a command."""
        self.telemetry.commands_in_flight.dec()
        self.telemetry.commands[call.command.kind, outcome.status.value].inc()
        self.telemetry.command_seconds[call.command.kind].observe(seconds)

    def forgot(self) -> None:
        """Note that nobody waits for a command's result any more."""
        self.telemetry.commands_in_flight.dec()

    def ended(self, initiator: Initiator, code: int, reason: str, now: float) -> None:
        """Note the end. Called once."""
        told = str(code) if initiator == "gateway" or code in _PEER_CODES else OTHER
        self.telemetry.closes[initiator, told].inc()
        ticket = self._ticket
        if ticket is not None:
            self.telemetry.connections[self._labels(ticket)].dec()
        self._note(
            Life(
                user=None if ticket is None else ticket.user,
                application=None if ticket is None else ticket.application,
                codec=self._codec.name,
                address=self._address,
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

    def _labels(self, ticket: Ticket) -> tuple[str, str, str]:
        return ticket.application.value, OTHER, self._codec.name
