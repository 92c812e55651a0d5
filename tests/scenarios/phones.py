"""Phones for scenarios: each follows the client protocol strictly.

Written from the protocol's page, not from the gateway's code, so that it may disagree with it.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

import aiohttp
import msgspec

SUBPROTOCOL = "oscc.v1.json"
CLIENT = {"app": "scenario", "version": "1.0", "platform": "test"}


class ProtocolError(AssertionError):
    """The gateway sent what the protocol forbids."""


class Phone:
    """One device of one user: logs on once, connects as often as the script wants."""

    def __init__(self, http: aiohttp.ClientSession, base: str, name: str, device: str) -> None:
        self.http, self.base = http, base
        self.name, self.device = name, device
        self.token = ""
        self.shown: dict[str, dict[str, Any]] = {}
        self.position: dict[str, Any] | None = None
        self.results: dict[str, dict[str, Any]] = {}
        self.ready = asyncio.Event()
        self._parts: dict[str, dict[str, Any]] | None = None
        self._stream: str | None = None
        self._ws: aiohttp.ClientWebSocketResponse | None = None

    async def log_on(self) -> None:
        """Log on with a Dashboard, waiting when asked to."""
        device = {"id": self.device, "name": "Phone", "platform": "test", "app_version": "1.0"}
        body: dict[str, object] = {"site": "main", "application": "dashboard", "device": device}
        body |= {"user_name": self.name, "password": "demo"}
        while True:
            async with self.http.post(f"{self.base}/v1/sessions", json=body) as response:
                answer = await response.json(content_type=None)
                if response.status == 201:
                    self.token = answer["token"]
                    return
                if response.status not in (429, 503):
                    raise ProtocolError(f"log-on answered {response.status} {answer.get('code')}")
                await asyncio.sleep(float(response.headers.get("Retry-After", "1")))

    async def live(self) -> None:
        """Connect and take in frames until the connection ends."""
        self._parts, self._stream = None, None
        self.ready.clear()
        async with self.http.ws_connect(
            f"{self.base}/v1/realtime", protocols=(SUBPROTOCOL,), max_msg_size=1 << 20
        ) as ws:
            self._ws = ws
            hello: dict[str, Any] = {"kind": "hello", "token": self.token, "client": CLIENT}
            if self.position is not None:
                hello["position"] = self.position
            await ws.send_str(msgspec.json.encode(hello).decode())
            async for message in ws:
                if message.type is not aiohttp.WSMsgType.TEXT:
                    break
                await self._take(ws, message.data)
        self._ws = None

    async def send(self, frame: dict[str, Any]) -> None:
        """Send a frame on the open connection."""
        assert self._ws is not None
        await self._ws.send_str(msgspec.json.encode(frame).decode())

    def cut(self) -> None:
        """Break the connection as a dead network does: without a word."""
        if self._ws is not None:
            raw = self._ws.get_extra_info("socket")
            if raw is not None:
                # a reset instead of a goodbye (SO_LINGER of no seconds), as when a network dies
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                raw.shutdown(socket.SHUT_RDWR)

    async def _take(self, ws: aiohttp.ClientWebSocketResponse, text: str) -> None:
        frame = msgspec.json.decode(text)
        match frame["kind"]:
            case "changes":
                self._changes(frame)
            case "ping":
                self._ping(frame)
                await ws.send_str(f'{{"kind":"pong","nonce":"{frame["nonce"]}"}}')
            case "renewed":
                self.token = frame["token"]
            case "result":
                self.results[frame["id"]] = frame["outcome"]
            case _:
                pass

    def _ping(self, frame: dict[str, Any]) -> None:
        if self._parts is not None:
            raise ProtocolError("a ping among the parts of an answer")
        if self.position is None or frame["after"] != self.position["seq"]:
            raise ProtocolError("a ping that does not follow")
        self.position = {"stream": self.position["stream"], "seq": frame["upto"]}
        self.ready.set()

    def _changes(self, frame: dict[str, Any]) -> None:
        shown = self._begin(frame)
        self._stream = frame.get("stream", self._stream)
        for key in frame.get("gone", ()):
            shown.pop(key, None)
        for key, value in frame.get("put", {}).items():
            shown[key] = _known(value)
        for key, fields in frame.get("patch", {}).items():
            shown[key] = _known({**shown[key], **fields})
        if frame.get("more"):
            self._parts = shown
            return
        self._parts, self.shown = None, shown
        stream = self._stream or (self.position or {}).get("stream")
        self.position = {"stream": stream, "seq": frame["upto"]}
        self._stream = None

    def _begin(self, frame: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """Return what *frame* is applied to: what is shown, a copy of it for a split answer, or nothing."""
        if frame.get("reset"):
            return {}
        if self._parts is not None:
            return self._parts
        if self.position is None or frame["after"] != self.position["seq"]:
            raise ProtocolError("changes that do not follow")
        return dict(self.shown) if frame.get("more") else self.shown


def _known(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: one for name, one in fields.items() if one is not None}
