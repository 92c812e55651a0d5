"""Effects that a client connection requests, and the health that it is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gateway.domain.commands import Call
from gateway.protocol import frames

Resumption = Literal["in_sync", "since", "reset", "foreign"]
"""What a phone that knew a position gets: nothing, what changed since, everything because the removals
since are not remembered, or everything because its stream is another one."""


@dataclass(frozen=True, slots=True, repr=False)
class AcceptSession:
    """Have the session accepted and its topics listened to. *client* None: as before, with other topics."""

    token: str | None
    topics: tuple[str, ...] | None
    client: frames.ClientInfo | None = None
    """Which program asks; it may be too old."""


@dataclass(frozen=True, slots=True)
class Invoke:
    """Have a command executed; the session gets its outcome under *id*."""

    id: str
    call: Call


@dataclass(frozen=True, slots=True)
class Close:
    """Send what is left, then close with *code*. A code of 4000 and above has a `bye` before it."""

    code: int
    reason: str = ""
    by: str | None = None
    window_s: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Resumed:
    """Record what a phone's position was worth. Nothing is to be done."""

    how: Resumption


@dataclass(frozen=True, slots=True)
class Answered:
    """Record that a phone answered the newest ping after *seconds*. Nothing is to be done."""

    seconds: float


Effect = AcceptSession | Invoke | Close | Resumed | Answered
Effects = tuple[Effect, ...]


@dataclass(frozen=True, slots=True)
class Health:
    """How old a user's data may be. *as_of*: when it was read last, by the steady clock; None: never."""

    upstream: frames.Health
    bus: frames.BusHealth
    as_of: float | None


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """What one connection may take. The defaults are the protocol's."""

    hello_s: float = 5.0
    hello_bytes: int = 8 * 1024
    frame_bytes_in: int = 16 * 1024
    frame_bytes_out: int = 256 * 1024
    frames_per_s: float = 20.0
    frames_burst: int = 40
    dropped_max: int = 200
    errors_per_s: int = 4
    topics: int = 64
    commands_in_flight: int = 8
    command_ahead_s: float = 60.0
    devices: int = 5
    ping_s: float = 25.0
    pong_s: float = 10.0
    resync_s: float = 5.0
    pace_min_s: float = 0.05

    def told(self) -> frames.Limits:
        """Return those of these limits that phones are sent."""
        return frames.Limits(
            frame_bytes_in=self.frame_bytes_in,
            frame_bytes_out=self.frame_bytes_out,
            frames_per_s=self.frames_per_s,
            frames_burst=self.frames_burst,
            topics=self.topics,
            commands_in_flight=self.commands_in_flight,
            devices=self.devices,
        )
