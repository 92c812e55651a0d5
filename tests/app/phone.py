"""A phone before a whole gateway, in JSON: log on, say hello, command, and receive frames."""

from __future__ import annotations

from typing import Any

import aiohttp

from gateway.runtime.event_loop import SystemClock
from tests.app.samples import LOG_ON

Socket = aiohttp.ClientWebSocketResponse[bool]


async def log_on(http: aiohttp.ClientSession, client: str, **changed: object) -> dict[str, Any]:
    async with http.post(f"{client}/v1/sessions", json={**LOG_ON, **changed}) as created:
        assert created.status == 201
        received: dict[str, Any] = await created.json()
        return received


async def hello(http: aiohttp.ClientSession, client: str, token: str, platform: str = "test") -> Socket:
    """Connect and send hello."""
    ws = await http.ws_connect(f"{client}/v1/realtime", protocols=["oscc.v1.json"])
    phone = {"app": "test", "version": "1", "platform": platform}
    await ws.send_json({"kind": "hello", "token": token, "client": phone})
    return ws


async def command(ws: Socket, stream: str, **command: object) -> None:
    """Send a command that expires in 5 s."""
    key, deadline_ms = "00000000-0000-4000-8000-000000000001", SystemClock().wall_ms() + 5_000
    asked = {"id": "1", "key": key, "stream": stream, "expires_at_ms": deadline_ms}
    await ws.send_json({"kind": "command", **asked, "command": command})


async def arrived(ws: Socket, *kinds: str) -> dict[str, Any]:
    """Return the next frame of one of *kinds*."""
    while True:
        frame: dict[str, Any] = await ws.receive_json()
        if frame["kind"] in kinds:
            return frame
