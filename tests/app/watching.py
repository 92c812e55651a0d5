"""A board before a scripted gateway."""

from __future__ import annotations

import io
from collections.abc import Mapping
from datetime import UTC

from rich.console import Console

from gateway.app.cli import watch
from gateway.app.cli.watch import WatchOptions
from gateway.app.process import StopRequest
from gateway.protocol import frames
from tests.doubles.clock import ManualClock
from tests.doubles.scripted_gateway import Phone, ScriptedGateway, ping

SITE = {"id": "main", "display_name": "Main site", "applications": ["dashboard"]}
QUEUES = {"queue:1": {"name": "Sales", "level": "ok", "contacts_waiting": 7}}


class Board:
    """A running command: its screen, its time and its gateway."""

    def __init__(self, gateway: ScriptedGateway, *, terminal: bool = False) -> None:
        self.gateway = gateway
        self.clock = ManualClock()
        self.stopping = StopRequest()
        self.file = io.StringIO()
        self.console = Console(
            file=self.file,
            width=80,
            height=30,
            force_terminal=terminal,
            color_system=None,
            legacy_windows=False,
        )

    async def run(self, **options: object) -> int:
        """Run the command with *options* until it ends."""
        given = {"address": self.gateway.address, "user_name": "eve", "password": "secret", "zone": UTC}
        return await watch.watch(
            WatchOptions(**(given | options)),  # type: ignore[arg-type]  # each test names what it changes
            console=self.console,
            stopping=self.stopping,
            clock=self.clock,
        )

    async def serve(self) -> Phone:
        """Be the gateway that lets the board in and sends it everything."""
        phone = await self.gateway.phone()
        await phone.serve(put=QUEUES)
        await phone.send(ping(5, 5))
        await phone.receive(frames.Pong)
        return phone

    @property
    def frames(self) -> int:
        """How many frames were drawn."""
        return self.file.getvalue().count("site Main site")


def about(gateway: ScriptedGateway, *sites: Mapping[str, object]) -> None:
    """Have the gateway tell of *sites*."""
    privacy = {"contact": None, "statement_url": None}
    about = {"name": "gw", "version": "1", "sites": sites, "trusted_transport": True, "privacy": privacy}
    gateway.answer("GET", "/v1/about", 200, about)
