"""A client of a simulator on real sockets."""

from __future__ import annotations

import itertools
import json
from types import TracebackType
from typing import Self

import aiohttp

from gateway.simulator import ManualClock, Simulator
from tests.simulator.peer import Free, Message

PATIENCE_S = 20


class SimulatorClient:
    """HTTPS and links, as a gateway uses them."""

    def __init__(self, simulator: Simulator) -> None:
        self.sim = simulator
        assert isinstance(simulator.clock, ManualClock)
        self.clock = simulator.clock
        self._ids = itertools.count(1)

    async def __aenter__(self) -> Self:
        unverified = aiohttp.TCPConnector(ssl=False)
        self.http = aiohttp.ClientSession(connector=unverified)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.http.close()

    async def call(
        self, method: str, path: str, body: object = None, secret: str | None = None
    ) -> tuple[int, Message]:
        """One HTTPS request of the page."""
        headers = {} if secret is None else {"OSCCE-Session": secret}
        url = f"{self.sim.url}/oscce/v1/{path}"
        async with self.http.request(method, url, json=body, headers=headers) as response:
            return response.status, await response.json()

    async def control(self, method: str, path: str, body: object = None) -> tuple[int, Message]:
        """One request at the control door."""
        url = f"{self.sim.control_url}/simulator/v1/{path}"
        async with self.http.request(method, url, json=body) as response:
            return response.status, await response.json()

    async def log_on(self, user: str = "supervisor1", device: str = "d1", **more: Free) -> Message:
        """Log on and expect success."""
        status, answer = await self.try_log_on(user, device, **more)
        assert status == 201, answer
        return answer

    async def try_log_on(self, user: str, device: str = "d1", **more: Free) -> tuple[int, Message]:
        """Log on: agents at the Remote Assistant, others at the Dashboard."""
        body: Message = {
            "Application": "Dashboard",
            "UserName": user,
            "Password": "demo",
            "Device": {"ID": device, "Name": f"phone {device}"},
        }
        if user.startswith("agent"):
            body |= {"Application": "RemoteAssistant", "RemoteNumber": f"030 {user[5:].zfill(7)}"}
        return await self.call("POST", "sessions", body | more)

    async def link(self, secret: str, token: int = 1, holder: str = "me") -> Line:
        """Open a link; its greeting is still to be read."""
        headers = {"OSCCE-Session": secret, "OSCCE-Link-Token": str(token), "OSCCE-Link-Holder": holder}
        url = f"{self.sim.url}/oscce/v1/link"
        protocols = ("oscce.link.v1",)
        socket = await self.http.ws_connect(url, protocols=protocols, headers=headers, max_msg_size=2**23)
        return Line(socket, self._ids)

    async def refused_link(self, headers: dict[str, str], protocol: str = "oscce.link.v1") -> int:
        """Try to open a link and return the status that refuses it."""
        try:
            await self.http.ws_connect(
                f"{self.sim.url}/oscce/v1/link", protocols=(protocol,), headers=headers
            )
        except aiohttp.WSServerHandshakeError as refused:
            return refused.status
        raise AssertionError("the link was opened")


class Line:
    """One open link."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, ids: itertools.count[int]) -> None:
        self.socket = socket
        self._ids = ids

    async def read(self) -> Message:
        message: Message = json.loads(await self.socket.receive_str(timeout=PATIENCE_S))
        return message

    async def greeting(self) -> Message:
        """Read everything that the server says first."""
        opened = await self.read()
        for _ in range(10):
            assert (await self.read())["Type"] == "ManagerStateChanged"
        return opened

    async def ask(self, method: str, **fields: Free) -> list[Message]:
        """Send a request; returns everything up to its response."""
        request_id = next(self._ids)
        await self.socket.send_json({"Type": "Request", "RequestID": request_id, "Method": method, **fields})
        received = [await self.read()]
        while received[-1].get("RequestID") != request_id:
            received.append(await self.read())
        return received

    async def closed(self) -> int | None:
        """Read on until the line is closed; returns the code."""
        while not self.socket.closed:
            await self.socket.receive(timeout=PATIENCE_S)
        return self.socket.close_code
