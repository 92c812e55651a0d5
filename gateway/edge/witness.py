"""What is counted of one phone's connection?"""

from __future__ import annotations

from typing import Final, Literal

from gateway.domain.commands import Call, Outcome
from gateway.domain.model import Application
from gateway.protocol.codec import Codec
from gateway.telemetry import OTHER, Telemetry

Initiator = Literal["gateway", "client", "network"]

_PEER_CODES: Final = frozenset({1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1011})
"""What peers may say (RFC 6455 §7.4.1) and is told apart; a client chooses freely among thousands."""


class Witness:
    """Sees one connection from its upgrade to its end.

    Invariant: what was counted in is counted out at :meth:`ended`, once.
    """

    __slots__ = ("_began", "_codec", "_served", "_telemetry")

    def __init__(self, telemetry: Telemetry, codec: Codec, now: float) -> None:
        self._telemetry = telemetry
        self._codec = codec
        self._began = now
        self._served: tuple[str, str, str] | None = None

    def welcomed(self, application: Application, now: float) -> None:
        """Note that the session is served."""
        self._telemetry.handshake_seconds.observe(now - self._began)
        self._served = (application.value, OTHER, self._codec.name)
        self._telemetry.connections[self._served].inc()

    def wrote(self, frames: list[bytes]) -> None:
        """Note that *frames* were written."""
        self._telemetry.frames.inc(len(frames))
        self._telemetry.frame_bytes.inc(sum(map(len, frames)))

    def asked(self) -> None:
        """Note that a command waits for its result; :meth:`settled` or :meth:`forgot` follows."""
        self._telemetry.commands_in_flight.inc()

    def settled(self, call: Call, outcome: Outcome, seconds: float) -> None:
        """Note what became of a command."""
        self._telemetry.commands_in_flight.dec()
        self._telemetry.commands[call.command.kind, outcome.status.value].inc()
        self._telemetry.command_seconds[call.command.kind].observe(seconds)

    def forgot(self) -> None:
        """Note that nobody waits for a command's result any more."""
        self._telemetry.commands_in_flight.dec()

    def ended(self, initiator: Initiator, code: int) -> None:
        """Note the end."""
        told = str(code) if initiator == "gateway" or code in _PEER_CODES else OTHER
        self._telemetry.closes[initiator, told].inc()
        if self._served is not None:
            self._telemetry.connections[self._served].dec()
            self._served = None
