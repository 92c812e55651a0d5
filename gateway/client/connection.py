"""One WebSocket connection: send and receive frames."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Final

import aiohttp

from gateway.client.clock import Clock
from gateway.client.http import ANSWER_S, retry_after_of
from gateway.client.reconnect import ABNORMAL, Ending, Window
from gateway.domain.errors import CloseCode, ErrorCode, GatewayError
from gateway.protocol.codec import BadFrame, Codec, UnknownKind
from gateway.protocol.frames import ClientFrame, CommandFrame, GatewayFrame
from gateway.protocol.limits import BYTES_IN_MAX, BYTES_OUT_MAX

SEND_S: Final = 10.0
"""How long a frame may take to leave: longer than that, the network is gone."""

_REFUSALS: Final = {
    400: CloseCode.PROTOCOL_ERROR,
    401: CloseCode.TOKEN_INVALID,
    403: CloseCode.FORBIDDEN,
}
"""Status of a refused upgrade → the close code that means the same; others may pass: try again."""


class NotOpened(Exception):  # noqa: N818 - names what happened
    """There is no connection, and why."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.reason)
        self.ending = ending


class ClientConnection:
    """An open WebSocket.

    Invariant: frames leave and arrive whole and in order; what breaks is no exception but the end
    of :meth:`frames`.
    """

    __slots__ = ("_clock", "_codec", "_socket", "close_code")

    def __init__(self, socket: aiohttp.ClientWebSocketResponse[bool], codec: Codec, clock: Clock) -> None:
        self._socket = socket
        self._codec = codec
        self._clock = clock
        self.close_code: int | None = None
        """What the gateway closed with; None when it did not say."""

    @classmethod
    async def open(
        cls, session: aiohttp.ClientSession, address: str, codec: Codec, clock: Clock
    ) -> ClientConnection:
        """Return a connection to the gateway at *address*.

        Raises:
            NotOpened: With the ending that this is.
        """
        try:
            async with clock.timeout(ANSWER_S):
                socket = await session.ws_connect(
                    f"{address}/v1/realtime",
                    protocols=(codec.subprotocol,),
                    max_msg_size=BYTES_OUT_MAX,
                    autoclose=False,
                )
        except aiohttp.WSServerHandshakeError as refused:
            raise NotOpened(_ending_of(refused)) from None
        except (aiohttp.ClientError, OSError) as error:
            raise NotOpened(Ending(ABNORMAL, f"unreachable ({type(error).__name__})")) from None
        connection = cls(socket, codec, clock)
        if socket.protocol != codec.subprotocol:
            await connection.close()
            raise NotOpened(Ending(CloseCode.PROTOCOL_ERROR, "no gateway: the subprotocol is not agreed on"))
        return connection

    async def send(self, frame: ClientFrame) -> None:
        """Send *frame*; on a connection that is gone or going it is lost.

        Raises:
            GatewayError: ``bad_request``; a gateway would close for good over a command so long.
        """
        data = self._codec.encode(frame)
        if isinstance(frame, CommandFrame) and len(data) > BYTES_IN_MAX:
            raise GatewayError(ErrorCode.BAD_REQUEST, "It is longer than a gateway takes; nothing was sent.")
        with contextlib.suppress(aiohttp.ClientError, OSError):
            async with self._clock.timeout(SEND_S):
                if self._codec.text:
                    await self._socket.send_str(data.decode())
                else:
                    await self._socket.send_bytes(data)

    async def frames(self) -> AsyncIterator[GatewayFrame | None]:
        """Give what arrives until the connection ends; None for a frame of a kind that is not known."""
        while True:
            message = await self._socket.receive()
            match message.type:
                case aiohttp.WSMsgType.TEXT if self._codec.text:
                    data = message.data.encode()
                case aiohttp.WSMsgType.BINARY if not self._codec.text:
                    data = message.data
                case aiohttp.WSMsgType.CLOSE:
                    self.close_code = message.data
                    return
                case _:
                    return
            try:
                yield self._codec.decode_gateway(data)
            except UnknownKind:
                yield None
            except BadFrame:
                return

    async def close(self) -> None:
        """End it at once. The close frame is sent; nobody waits for the gateway's."""
        with contextlib.suppress(TimeoutError):
            async with self._clock.timeout(0):
                await self._socket.close()


def _ending_of(refused: aiohttp.WSServerHandshakeError) -> Ending:
    code = _REFUSALS.get(refused.status, ABNORMAL)
    wait_s = None if refused.headers is None else retry_after_of(refused.headers)
    window = None if wait_s is None else Window(wait_s, wait_s)
    return Ending(code, f"refused (HTTP {refused.status})", window=window)
