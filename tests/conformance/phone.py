"""One socket of the kit's gateway: frames sent and received."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Mapping
from typing import Any, Final

from tests.conformance import wire
from tests.conformance.saying import changes, hail
from tests.conformance.timing import Failed, Time
from tests.conformance.wire import Codec, Frame

PATIENCE_S: Final = 8.0
"""Real seconds that a client may take for what it should do at once; machines may be busy."""
_KINDS: Final = frozenset({"hello", "follow", "pace", "command", "pong", "resync", "bye"})
_BYTES_IN_MAX: Final = 16_384
_RATE: Final = 60
"""Frames that any two seconds may bring: a burst of 40 and 20 per second."""


class Phone:
    """One client's socket, as its gateway sees it.

    Invariant: what no client may ever do is noted in :attr:`faults`, whatever the check looks at.

    Args:
        streams: The connection, after the upgrade.
        codec: As agreed.
        time: The check's clock.
    """

    def __init__(
        self, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], codec: Codec, time: Time
    ) -> None:
        self.codec = codec
        self.came_at = time.now()
        self.faults: list[str] = []
        self.close_code: int | None = None
        """What the client closed with."""
        self.gone = asyncio.Event()
        self.gone_at: float | None = None
        self._reader, self._writer = streams
        self._time = time
        self._received: asyncio.Queue[Frame] = asyncio.Queue()
        self._pongs: asyncio.Queue[bytes] = asyncio.Queue()
        self._arrivals: list[float] = []
        self._hellos = 0
        self._welcomed = False
        self._seq: int | None = None

    # ---- what the check says ----

    async def send(self, *frames: Mapping[str, Any], parts: int = 1, between: bytes = b"") -> None:
        """Send frames: each in *parts* fragments, all of them in one packet."""
        data = b""
        for frame in frames:
            self._welcomed |= frame["kind"] == "welcome"
            data += wire.fragmented(self.codec.opcode, self.codec.encode(frame), parts, between=between)
        await self.write(data)

    async def dribble(self, *frames: Mapping[str, Any]) -> None:
        """Send frames byte by byte, each byte in a packet of its own."""
        for frame in frames:
            for byte in wire.framed(self.codec.opcode, self.codec.encode(frame)):
                await self.write(bytes([byte]))
                await asyncio.sleep(0)

    async def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._writer.write(data)
        try:
            await self._writer.drain()
        except OSError:
            return

    async def welcome(self, **fields: object) -> None:
        """Send `welcome`, by this gateway's clock."""
        await self.send(hail(self._time.server_ms(), **fields))

    async def serve(
        self, *, stream: str = "1.a", seq: int = 5, put: Mapping[str, Any] | None = None, **fields: object
    ) -> Frame:
        """Take `hello`, welcome and reset; returns the hello."""
        hello = await self.receive("hello")
        await self.welcome(**fields)
        await self.send(changes(0, seq, stream=stream, reset=True, put=dict(put or {})))
        return hello

    async def resume(self, **fields: object) -> Frame:
        """Take `hello`, welcome and tell that nothing changed since its position; returns the hello."""
        hello = await self.receive("hello")
        position = hello.get("position")
        if not isinstance(position, dict):
            raise Failed("a client that has a position names it in its hello")
        await self.welcome(resumed=True, **fields)
        await self.send(changes(position["seq"], position["seq"]))
        return hello

    async def ping(self, after: int, upto: int | None = None, **fields: object) -> str:
        """Send a `ping` and take its `pong`; whatever was sent before has been taken in then.

        Returns:
            The nonce of the pong.
        """
        nonce = f"n{after}-{self._time.now():.6f}"
        said: Frame = {
            "kind": "ping", "after": after, "upto": after if upto is None else upto, "nonce": nonce,
            "as_of_ms": self._time.server_ms(), "upstream": "live", "bus": "live",
            "server_time_ms": self._time.server_ms(), **fields,
        }  # fmt: skip
        await self.send(said)
        pong = await self.receive("pong")
        if pong.get("nonce") != nonce:
            raise Failed(f"the pong's nonce is {pong.get('nonce')!r}, the ping's was {nonce!r}")
        return nonce

    async def settle(self) -> None:
        """Return when the client has most likely taken in what was sent, without a frame of the protocol."""
        await self.write(wire.framed(wire.PING, b"settle"))
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._pongs.get()
        except TimeoutError:
            raise Failed("a WebSocket ping was not answered (RFC 6455 section 5.5.2)") from None
        await asyncio.sleep(0.1)

    async def bye(self, code: int, reason: str = "why", **fields: object) -> None:
        """Send `bye` and close with the same code; *fields*: by, min_s, max_s."""
        ranges = {0: "never", 1: "after", 2: "after", 3: "log_on"}
        advice = ranges.get((code - 4000) // 100, "never")
        await self.send({"kind": "bye", "code": code, "reason": reason, "reconnect": advice, **fields})
        await self.close(code)

    async def close(self, code: int | None, reason: str = "") -> None:
        """Close without a `bye`; the client answers or leaves."""
        await self.write(wire.closing(code, reason))
        try:
            async with asyncio.timeout(0.5):
                await self.gone.wait()
        except TimeoutError:
            pass
        self._writer.close()

    def drop(self) -> None:
        """Break the connection as a network does: with a reset."""
        connection = self._writer.get_extra_info("socket")
        if connection is not None:
            linger = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._writer.transport.abort()

    def hang_up(self) -> None:
        """End the connection in order, but without a close frame, as a balancer does."""
        self._writer.close()

    # ---- what the check hears ----

    async def receive(self, kind: str, within_s: float | None = None) -> Frame:
        """Return the next frame, which must be of *kind*; a `pong` that nobody waits for is passed over.

        Raises:
            Failed: Another came, or none within *within_s* (check's seconds; else the kit's patience).
        """
        patience_s = PATIENCE_S if within_s is None else self._time.real(within_s)
        try:
            async with asyncio.timeout(patience_s):
                while (frame := await self._received.get())["kind"] != kind:
                    if frame["kind"] != "pong":
                        raise Failed(f"{frame['kind']!r} came where {kind!r} was due")
        except TimeoutError:
            raise Failed(f"no {kind!r} came") from None
        return frame

    async def hears_nothing(self, seconds: float) -> None:
        """Hold that nothing but pongs comes for *seconds*.

        Raises:
            Failed: Something came.
        """
        await self._time.sleep(seconds)
        while not self._received.empty():
            frame = self._received.get_nowait()
            if frame["kind"] != "pong":
                raise Failed(f"{frame['kind']!r} came where nothing was due")

    async def left(self, within_s: float | None = None) -> float:
        """Return when the client is gone, in the check's seconds.

        Raises:
            Failed: It stays.
        """
        try:
            async with asyncio.timeout(PATIENCE_S if within_s is None else self._time.real(within_s)):
                await self.gone.wait()
        except TimeoutError:
            raise Failed("the client keeps the connection") from None
        return self.gone_at or self._time.now()

    # ---- inner ----

    async def run(self) -> None:
        """Listen until the connection ends."""
        try:
            while await self._take(await wire.read_message(self._reader)):
                pass
        except (EOFError, OSError):
            pass
        finally:
            self.gone_at = self._time.now()
            self.gone.set()
            self._writer.close()

    async def _take(self, message: wire.Message) -> bool:
        """Take in one message; returns False when it was the last."""
        if not message.masked:
            self.faults.append("a frame is not masked (RFC 6455 section 5.1)")
        if message.opcode == wire.CLOSE:
            if len(message.payload) >= 2:
                (self.close_code,) = struct.unpack("!H", message.payload[:2])
            await self.write(wire.framed(wire.CLOSE, message.payload[:2]))
            return False
        if message.opcode == wire.PONG:
            self._pongs.put_nowait(message.payload)
        elif message.opcode == wire.PING:
            await self.write(wire.framed(wire.PONG, message.payload))
        else:
            self._note(message)
        return True

    def _note(self, message: wire.Message) -> None:
        try:
            frame = self.codec.decode(message.payload)
        except ValueError:
            frame = None
        if not isinstance(frame, dict) or message.opcode != self.codec.opcode:
            self.faults.append("a message is no frame of the agreed encoding")
            return
        self._judge(frame, len(message.payload))
        self._received.put_nowait(frame)

    def _judge(self, frame: Frame, size: int) -> None:
        kind, now = frame.get("kind"), self._time.loop_now()
        self._hellos += kind == "hello"
        self._arrivals = [*(at for at in self._arrivals if at > now - 2.0), now]
        rules = {
            f"a frame of an unknown kind: {kind!r}": kind not in _KINDS,
            "the first frame is no hello": not self._hellos,
            "a second hello on one socket": self._hellos > 1,
            f"{kind!r} before the welcome": not self._welcomed and kind not in {"hello", "pong", "bye"},
            f"{size} bytes in one frame": size > _BYTES_IN_MAX,
            f"{len(self._arrivals)} frames within 2 s": len(self._arrivals) > _RATE,
        }
        self.faults += [rule for rule, broken in rules.items() if broken]
