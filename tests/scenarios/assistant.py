"""The phones of agents away from their desks, by the protocol's page, and apps on the SDK."""

from __future__ import annotations

from typing import Any

import aiohttp
import msgspec

from gateway.client import Application, Credentials, DeviceBody, GatewayClient
from tests.scenarios.phones import Phone
from tests.scenarios.setup import NUMBER, PASSWORD, GatewaySetup


class Assistant(Phone):
    """A Remote Assistant with one session. Its connection lives in the setup's tasks."""

    def __init__(
        self,
        setup: GatewaySetup,
        device: str = "d1",
        *,
        user: str = "agent1",
        deaf_to: str = "",
        base: str = "",
    ) -> None:
        super().__init__(setup.http, base or setup.base, user, device)
        self.bye: dict[str, Any] = {}
        self._deaf_to = deaf_to
        """Frames of this kind are lost on it."""
        self._setup = setup

    def credentials(self, number: str = NUMBER, **more: object) -> dict[str, object]:
        """Return what it logs on with."""
        device = {"id": self.device, "name": f"phone {self.device}", "platform": "test", "app_version": "1.0"}
        return {
            "site": "main",
            "application": "remote_assistant",
            "user_name": self.name,
            "password": PASSWORD,
            "remote_number": number,
            "device": device,
            **more,
        }

    async def enter(self, number: str = NUMBER, **more: object) -> tuple[int, str]:
        """Log on; returns the answer's status and code."""
        body = self.credentials(number, **more)
        async with self.http.post(f"{self.base}/v1/sessions", json=body) as response:
            answer = await response.json(content_type=None)
            self.token = answer.get("token", self.token)
            return response.status, answer.get("code", "")

    async def serve(self, number: str = NUMBER, **more: object) -> None:
        """Log on, connect and let calls come."""
        assert await self.enter(number, **more) == (201, "")
        self.connect()
        await self._setup.until(self.ready.is_set)
        self._setup.make_available(self.name)
        assert number in self._setup.call()

    def connect(self) -> None:
        """Say hello; what comes of it is seen later."""
        self.bye = {}
        self._setup.tasks.create_task(self.live())

    async def refused(self) -> tuple[int, str, str | None]:
        """Say hello and return how that is answered: code, reason, by whom."""
        self.connect()
        await self._setup.until(lambda: self.bye)
        return self.end

    @property
    def end(self) -> tuple[int, str, str | None]:
        """Return how the connection ended: code, reason, by whom."""
        return self.bye["code"], self.bye["reason"], self.bye.get("by")

    async def log_off(self) -> tuple[int, int | None]:
        """Ask once to be logged off; returns the status and until when calls may come."""
        headers = {"Authorization": f"Bearer {self.token}"}
        async with self.http.delete(f"{self.base}/v1/session", headers=headers) as response:
            answer = await response.json(content_type=None) if response.status != 204 else {}
            return response.status, answer.get("routed_until_ms")

    async def _take(self, ws: aiohttp.ClientWebSocketResponse, text: str) -> None:
        frame = msgspec.json.decode(text)
        if frame["kind"] == "bye":
            self.bye = frame
        if frame["kind"] != self._deaf_to:
            await super()._take(ws, text)


def app(setup: GatewaySetup, application: Application, user: str) -> GatewayClient:
    """Return an app on the SDK, as it logs on again by itself with what its person once entered."""

    async def stored() -> Credentials:
        return Credentials(user, PASSWORD, NUMBER if application is Application.REMOTE_ASSISTANT else None)

    return GatewayClient(setup.base, credentials=stored, clock=setup.clock)


async def work(client: GatewayClient, application: Application, user: str) -> None:
    """Log on and connect."""
    number = NUMBER if application is Application.REMOTE_ASSISTANT else None
    await client.log_on(
        site="main",
        application=application,
        user_name=user,
        password=PASSWORD,
        remote_number=number,
        device=DeviceBody(id=f"app-{user}", name="app", platform="test", app_version="1.0"),
    )
    await client.connect()
