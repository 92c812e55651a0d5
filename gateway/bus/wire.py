"""How do commands go to Redis and answers come back, over one connection?

RESP2 on hiredis. Commands leave in the order in which they are asked, and answers belong to them in the
same order; a channel's messages come between the answers. Nothing here waits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, cast

import hiredis

from gateway.domain.errors import ErrorCode, GatewayError

Word = bytes | str | int
Reply = object
"""``int``, ``bytes``, ``None``, a list of these, or a :class:`hiredis.ReplyError`."""
_MESSAGE: Final = b"message"


def bus_down(why: str) -> GatewayError:
    """Return the error of everything that got no answer from Redis."""
    return GatewayError(ErrorCode.BUS_DOWN, f"the bus gave no answer: {why}")


class Ask:
    """A command on its way, and the answer to come.

    Attributes:
        packed: Its bytes; none when an earlier one's bring about this answer too.
        answer: Settled with the :data:`Reply`, or with ``bus_down``. Cancelling it changes nothing for
            others: the answer is then heard and thrown away.
        since: When it was asked, then when it was sent, in seconds of the clock's ``now``.
        about: The channel that the answer must name, when it must name one.
    """

    __slots__ = ("about", "answer", "packed", "since")

    def __init__(
        self, packed: bytes, answer: asyncio.Future[Reply], since: float, about: bytes | None = None
    ) -> None:
        self.packed = packed
        self.answer = answer
        self.since = since
        self.about = about

    def fail(self, why: str) -> None:
        """Settle it with ``bus_down``."""
        if not self.answer.done():
            self.answer.set_exception(bus_down(why))


def pack(*words: Word) -> bytes:
    """Write a command as Redis reads it."""
    packed: bytes = hiredis.pack_command(words)  # type: ignore[arg-type]  # its stub knows tuples of one word
    return packed


class Wire(asyncio.Protocol):
    """One connection from its begin to its end.

    Invariant: once it is lost, nothing is sent, heard or settled on it any more; every ask that it took
    is settled exactly once.

    Args:
        heard: Called with channel and payload of each message. None: none is expected.
        stray: Called when an answer came that nobody asked for. None: that ends the connection.
    """

    def __init__(
        self,
        heard: Callable[[bytes, bytes], None] | None = None,
        stray: Callable[[], None] | None = None,
    ) -> None:
        self.lost: Final = asyncio.Event()
        self.why = ""
        """What ended it, in words that hold nothing of anybody."""
        self.rest: Callable[[], None] | None = None
        """Called when all that came has been told and settled."""
        self._heard = heard
        self._stray = stray
        self._reader = hiredis.Reader()
        self._pending: deque[Ask] = deque()
        self._transport: asyncio.Transport | None = None

    @property
    def pending(self) -> int:
        """How many answers are still to come."""
        return len(self._pending)

    @property
    def oldest_at(self) -> float | None:
        """When the ask was sent whose answer is the next; None when none is to come."""
        return self._pending[0].since if self._pending else None

    @property
    def unsent_bytes(self) -> int:
        """How much the kernel has not taken yet."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def send(self, asks: Iterable[Ask]) -> None:
        """Send all of them in one write."""
        asks = list(asks)
        if self.lost.is_set() or self._transport is None:
            for ask in asks:
                ask.fail(self.why)
            return
        self._pending.extend(asks)
        self._transport.write(b"".join([ask.packed for ask in asks]))

    def drop(self, why: str) -> None:
        """End it now, unsent bytes and all."""
        if self._transport is not None:
            self._transport.abort()
        self._end(why)

    # ---- asyncio.Protocol ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        if self.lost.is_set():  # whoever dialled has given up meanwhile
            transport.close()
        else:
            self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclasses of it

    def data_received(self, data: bytes) -> None:
        """Tell messages and settle answers, all in this turn."""
        reader = self._reader
        try:
            reader.feed(data)
            while not self.lost.is_set() and (frame := reader.gets()) is not False:
                self._take(frame)
        except hiredis.ProtocolError:
            self.drop("what it said is no RESP")
        if self.rest is not None:
            self.rest()

    def connection_lost(self, exc: Exception | None) -> None:
        """End, and fail what is still to be answered."""
        self._end("it closed the connection" if exc is None else "the connection broke")

    # ---- inner ----

    def _take(self, frame: Reply) -> None:
        if self._heard is not None and isinstance(frame, list) and len(frame) == 3 and frame[0] == _MESSAGE:
            self._heard(frame[1], frame[2])
        elif self._pending and _answers(frame, self._pending[0].about):
            answer = self._pending.popleft().answer
            if not answer.done():
                answer.set_result(frame)
        elif self._stray is not None:
            self._stray()
        else:
            self.drop("it answered what nobody asked")

    def _end(self, why: str) -> None:
        if self.lost.is_set():
            return
        self.why = why
        self.lost.set()
        while self._pending:
            self._pending.popleft().fail(why)


def _answers(frame: Reply, about: bytes | None) -> bool:
    """Tell whether *frame* may be the answer to an ask about that channel."""
    if about is None or isinstance(frame, hiredis.ReplyError):
        return True
    return isinstance(frame, list) and len(frame) == 3 and frame[1] == about
