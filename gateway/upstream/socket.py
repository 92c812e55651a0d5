"""The WebSocket of one link, after its handshake."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Final

from gateway.protocol.websocket import PONG, TEXT, WebSocketPing
from gateway.runtime.epoll_transport import READ_BYTES, Wire
from gateway.runtime.turns import Turns
from gateway.upstream.framing import MASK_BYTES, Closed, Frames, Heard, masked, masked_close
from gateway.upstream.intake import Unread

WAITING_CHARS_MAX: Final = 256 * 1024
"""What may wait for the reader; with more the server has to wait until half of it was read."""
_CONTROL_CHARS: Final = 128
"""What something that is no text counts as."""


class LinkSocket(asyncio.Protocol):
    """The connection of one link: the protocol of its transport, without a task or a timer.

    Readings wait for the link's turn, of each key only the newest; anything else that comes is received
    behind all readings before it.

    Invariants: what comes is received in its order, except for readings that newer ones have replaced;
    what waits is bounded, in both directions; nothing is sent after the close.

    Args:
        transport: The connection. Nobody else reads, writes or closes it.
        message_bytes: The largest message that may come.
        lost: Called once, when the connection has ended.
        turns: When readings are digested.
    """

    __slots__ = (
        "__weakref__",
        "_arrival",
        "_change",
        "_frames",
        "_has_closed",
        "_has_server_closed",
        "_inbox",
        "_is_full",
        "_is_lost",
        "_is_resting",
        "_lost",
        "_read_bytes",
        "_take",
        "_transport",
        "_turns",
        "_unread",
        "_waiting_chars",
        "is_due",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        message_bytes: int,
        lost: Callable[[Exception | None], None],
        turns: Turns,
    ) -> None:
        self.is_due = False
        self._turns = turns
        self._unread = Unread()
        self._read_bytes = 0
        """What came since its last turn, where no budget of the transport's own bounds that."""
        self._transport = transport
        self._frames = Frames(message_bytes)
        self._lost = lost
        self._inbox: list[Heard] = []
        self._waiting_chars = 0
        self._arrival: asyncio.Future[None] | None = None
        self._take: Callable[[str], bool] | None = None
        """Who takes texts at once; there is nobody unless :meth:`receive` waits."""
        self._change: asyncio.Event | None = None
        """Set when there is room again, or the connection has ended; there is one while somebody waits."""
        self._has_closed = False
        self._has_server_closed = False
        self._is_full = False
        self._is_lost = False
        self._is_resting = False
        """Whether nothing is read, since enough waits."""

    # ---- for the link ----

    @property
    def speaks(self) -> bool:
        """Whether something waits to be received."""
        return bool(self._inbox)

    async def receive(self, take: Callable[[str], bool] | None = None) -> Heard:
        """Wait for what comes next; for one caller at a time. At the end it is :class:`Closed`, for ever.

        Args:
            take: Called with each reading that is digested while this waits; it is returned unless *take*
                returns True. What *take* raises is raised here.
        """
        while not self._inbox:
            if self._has_closed or self._is_lost:
                return Closed()
            if self._unread:
                self._turns.want(self)
            self._arrival = asyncio.get_running_loop().create_future()
            self._take = take
            try:
                await self._arrival
            finally:
                self._take = None
        said = self._inbox.pop(0)
        self._waiting_chars -= _chars(said)
        self._read_on(WAITING_CHARS_MAX // 2)
        return said

    async def send(self, text: str) -> None:
        """Send a message; waits while the server does not take what was sent before.

        Raises:
            ConnectionError: The connection is closed.
        """
        while self._is_full and not self._is_lost:
            await self._changed()
        if self._has_closed or self._is_lost or self._transport.is_closing():
            raise ConnectionResetError
        self._transport.write(masked(TEXT, text.encode(), _mask()))

    async def close(self, code: int) -> None:
        """Close with *code*, if that was not done; returns when the connection has ended.

        The server is waited for: whoever lets go first may take the close away with what he has not read.
        Cancelled, it ends the connection at once.
        """
        if not (self._has_closed or self._is_lost):
            self._has_closed = True
            self._transport.write(masked_close(code, _mask()))
            self._let_go()
        try:
            while not self._is_lost:
                await self._changed()
        finally:
            if not self._is_lost:
                self._transport.abort()

    def abort(self) -> None:
        """End the connection now. Does nothing when it has ended."""
        if not self._is_lost:
            self._transport.abort()

    # ---- its turn (Digester) ----

    def digest(self) -> None:
        """Have whoever waits take what is unread; with nobody there it waits, too."""
        is_share_read, self._read_bytes = self._read_bytes > READ_BYTES, 0
        if self._unread.chars and not self._inbox and self._arrival is not None:
            self._turns.skipped += self._unread.skipped
            self._unread.skipped = 0
            texts = self._unread.take()
            for at, text in enumerate(texts):
                if self._take is None or not self._is_taken(text, self._take):
                    self._keep_all(texts[at:])
                    break
        self._read_on(WAITING_CHARS_MAX if is_share_read else WAITING_CHARS_MAX // 2)

    # ---- asyncio.Protocol ----

    def data_received(self, data: bytes) -> None:
        """Take in what came."""
        heard = self._frames.feed(data, self._unread.skim)
        if heard and type(heard[-1]) is Closed:
            self._has_server_closed = True
        if self._has_closed:
            if self._has_server_closed:
                self._transport.close()
            return
        unread = self._unread
        for said in heard:
            if type(said) is not str or not unread.add(said):
                self._flush()
                self._keep(said)
        if unread.chars:
            self._turns.want(self)
        self._bound(len(data))

    def pause_writing(self) -> None:
        """Take in that the kernel does not take all."""
        self._is_full = True

    def resume_writing(self) -> None:
        """Take in that the kernel has taken what was sent."""
        self._is_full = False
        self._note()

    def connection_lost(self, fault: Exception | None) -> None:
        """Take in that the connection has ended."""
        self._flush()
        self._is_lost = True
        self._arrived()
        self._note()
        self._lost(fault)

    # ---- inner ----

    def _bound(self, size_bytes: int) -> None:
        """Let the server wait when enough waits here, or when the link's share of a turn was read."""
        if not isinstance(self._transport, Wire):  # which reads so much at once by itself
            self._read_bytes += size_bytes
            if self._read_bytes > READ_BYTES:
                self._turns.want(self)
        if not (self._is_resting or self._frames.is_over or self._has_room(WAITING_CHARS_MAX)):
            self._is_resting = True
            self._transport.pause_reading()

    def _read_on(self, most_chars: int) -> None:
        """Read again, if that was paused, and no more waits than *most_chars*."""
        if self._is_resting and self._has_room(most_chars):
            self._is_resting = False
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def _has_room(self, most_chars: int) -> bool:
        return self._waiting_chars + self._unread.chars <= most_chars and self._read_bytes <= READ_BYTES

    def _flush(self) -> None:
        """Let what is unread be received before what follows."""
        if self._unread:
            self._keep_all(self._unread.take())

    def _keep_all(self, texts: list[str]) -> None:
        for text in texts:
            self._keep(text)

    def _is_taken(self, text: str, take: Callable[[str], bool]) -> bool:
        if self._arrival is None or self._arrival.done():  # who waited was cancelled just now
            return False
        try:
            return take(text)
        except Exception as fault:  # noqa: BLE001 - it belongs to who waits, and not to the event loop
            self._arrived(fault)
            return True

    def _keep(self, said: Heard) -> None:
        """Let what came wait for the reader, who is woken."""
        self._inbox.append(said)
        self._waiting_chars += _chars(said)
        if type(said) is WebSocketPing:
            self._answer(said)
        self._arrived()

    def _let_go(self) -> None:
        """Wait for nothing more but the end."""
        self._inbox.clear()
        self._unread.take()
        self._waiting_chars = 0
        self._arrived()
        if self._has_server_closed:
            self._transport.close()
        elif self._is_resting and not self._transport.is_closing():
            self._transport.resume_reading()
        self._is_resting = False

    def _answer(self, ping: WebSocketPing) -> None:
        """Answer a ping (§5.5.2), unless what was sent before waits: then the server knows that it does."""
        if not (self._is_full or self._transport.is_closing()):
            self._transport.write(masked(PONG, ping.payload, _mask()))

    def _arrived(self, fault: Exception | None = None) -> None:
        """Wake the reader; until he waits again all that comes waits, too."""
        arrival, self._arrival, self._take = self._arrival, None, None
        if arrival is None or arrival.done():
            return
        if fault is None:
            arrival.set_result(None)
        else:
            arrival.set_exception(fault)

    async def _changed(self) -> None:
        if self._change is None:
            self._change = asyncio.Event()
        await self._change.wait()

    def _note(self) -> None:
        change, self._change = self._change, None
        if change is not None:
            change.set()


def _chars(said: Heard) -> int:
    return len(said) + _CONTROL_CHARS if type(said) is str else _CONTROL_CHARS


def _mask() -> bytes:
    return secrets.token_bytes(MASK_BYTES)
