"""Messages between the gateway and the OSCC-E Server, as recorded."""

from __future__ import annotations

import json
from typing import Protocol

from gateway.simulator.links import Link, Outlet
from gateway.simulator.requests import Requests
from tests.simulator.peer import texts
from tests.transcripts.abridged import Json, LinkEar, wire


class Scribe(Protocol):
    """Writes down what links carry."""

    def server_received(self, user: str, request: Json, reported: str) -> bool:
        """Note a request; returns whether it is executed now."""
        ...

    def server_said(self, user: str, message: Json, reported: str) -> None:
        """Note a message."""
        ...


class Recorded:
    """The server's requests, written down before they are executed.

    What a link says is written down from its first request on.
    """

    def __init__(self, requests: Requests, scribe: Scribe) -> None:
        self._requests = requests
        self._scribe = scribe
        self.held: list[tuple[Link, Json]] = []
        """What is not executed yet."""

    def received(self, link: Link, body: Json) -> None:
        """Execute one request, now or later."""
        user = link.account.user_name
        if link.outlet is not None and not isinstance(link.outlet, RecordedOutlet):
            link.outlet = RecordedOutlet(link.outlet, user, self._scribe)
        if self._scribe.server_received(user, body, wire(body)):
            self._requests.received(link, body)
        else:
            self.held.append((link, body))

    def release(self) -> None:
        """Execute what was held."""
        held, self.held = self.held, []
        for link, body in held:
            self._requests.received(link, body)


class RecordedOutlet:
    """One link's way out."""

    def __init__(self, outlet: Outlet, user: str, scribe: Scribe) -> None:
        self._outlet = outlet
        self._user = user
        self._scribe = scribe
        self._ear = LinkEar()

    def send(self, frames: bytes) -> None:
        """Send whole frames."""
        for text in texts(frames):
            message = json.loads(text)
            self._scribe.server_said(self._user, message, self._ear.received(message))
        self._outlet.send(frames)

    def close(self, code: int) -> None:
        """Say good-bye."""
        self._outlet.close(code)

    def abort(self) -> None:
        """Cut the line."""
        self._outlet.abort()
