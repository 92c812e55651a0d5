"""The client under test."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.client import Application, DeviceBody, GatewayClient
from gateway.client.client import Access, Realtime, RealtimeServices
from gateway.client.dialogue import Wishes
from gateway.client.mirror import Connected, Event, Reconnecting
from gateway.domain.errors import GatewayError
from gateway.protocol import frames


class Subject:
    """A running realtime, what it reported, and how often it logged on again."""

    def __init__(self, means: RealtimeServices) -> None:
        self.renewed: list[frames.Renewed] = []
        self.token = "token-1"
        self.refusals: list[GatewayError] = []
        self.received: list[Event] = []
        self.log_ons = 0
        self.realtime = Realtime(
            means, Access(lambda: self.token, self.renewed.append, self._log_on_again), Wishes()
        )

    async def listen(self) -> None:
        async for event in self.realtime.events.read():
            self.received.append(event)

    @property
    def connected(self) -> int:
        return sum(isinstance(event, Connected) for event in self.received)

    @property
    def waits(self) -> list[float]:
        return [event.in_s for event in self.received if isinstance(event, Reconnecting)]

    async def _log_on_again(self) -> None:
        self.log_ons += 1
        if self.refusals:
            raise self.refusals.pop(0)
        self.token = f"again-{self.log_ons}"


async def log_on(client: GatewayClient, *, accepted_notices: Iterable[tuple[str, int]] = ()) -> None:
    """Log a supervisor on."""
    await client.log_on(
        site="main",
        application=Application.DASHBOARD,
        user_name="ada",
        password="secret",
        device=DeviceBody("d1", "Ada's desk", "linux", "1.0"),
        accepted_notices=accepted_notices,
    )
