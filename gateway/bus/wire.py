"""How do commands go to Redis and answers come back, over one connection?

Commands leave in the order in which they are asked, and answers belong to them in the same order; a
channel's messages come between the answers.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from redis.exceptions import RedisError

from gateway.bus.cable import CLOSED, NOTHING_YET, Cable, Opened, Reply, reason
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.runtime.ports import NotSentError

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

    def refuse(self, why: str) -> None:
        """Settle it with ``bus_down``, as one that has not been sent."""
        if not self.answer.done():
            self.answer.set_exception(NotSentError(bus_down(why).message))


class Wire(asyncio.Protocol):
    """One connection from when it is open to its end.

    A protocol of its own, not streams: a message costs no task and no future, and what came in one piece is
    taken in one turn.

    Invariant: once it is lost, nothing is sent, heard or settled on it any more; every ask that it took
    is settled exactly once.

    Args:
        cable: Connected; handed over to this, and ends with it.
        heard: Called with channel and payload of each message. None: none is expected.
        stray: Called when an answer came that nobody asked for. None: that ends the connection.
    """

    def __init__(
        self,
        cable: Cable,
        heard: Callable[[bytes, bytes], None] | None = None,
        stray: Callable[[], None] | None = None,
    ) -> None:
        self.lost: Final = asyncio.Event()
        self.why = ""
        """What ended it, in words that hold nothing of anybody."""
        self.answered: Callable[[], None] | None = None
        """Called after each answer."""
        self._cable = cable
        self._heard = heard
        self._stray = stray
        self._pending: deque[Ask] = deque()
        self.pending_bytes = 0
        """The bytes of the commands whose answers are still to come."""
        self._opened: Opened | None = None
        try:
            self._opened = cable.hand_over(self)
        except RedisError as error:
            self.drop(reason(error))
        else:
            asyncio.get_running_loop().call_soon(self.data_received, b"")  # what came before this was there

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
        """How much was not given to the kernel yet."""
        return 0 if self._opened is None else self._opened.transport.get_write_buffer_size()

    def send(self, asks: Iterable[Ask]) -> None:
        """Send all of them in one write."""
        asks = list(asks)
        if self.lost.is_set() or self._opened is None:
            for ask in asks:
                ask.fail(self.why)
            return
        self._pending.extend(asks)
        if packed := b"".join([ask.packed for ask in asks]):
            self.pending_bytes += len(packed)
            try:
                self._opened.transport.write(packed)
            except (OSError, RuntimeError) as error:  # uvloop's for what is closed already
                self.drop(reason(error))

    def drop(self, why: str) -> None:
        """End it now, unsent bytes and all."""
        if self.lost.is_set():
            return
        self._cable.abort()
        self.why = why
        self.lost.set()
        self.pending_bytes = 0
        while self._pending:
            self._pending.popleft().fail(why)

    async def run(self) -> None:
        """Return when it is lost; cancelling loses it."""
        try:
            await self.lost.wait()
        finally:
            self.drop("the node ends")  # before redis-py may let go gracefully what is unsent
            await self._cable.end()

    # ---- what the transport tells ----

    def data_received(self, data: bytes) -> None:
        """Take in what came."""
        opened = self._opened
        if opened is None:
            return
        try:
            opened.replies.feed(data)
            while not self.lost.is_set() and (frame := opened.replies.gets()) is not NOTHING_YET:
                self._take(frame)
        except RedisError as error:
            self.drop(reason(error))
        except Exception as error:  # noqa: BLE001 - as for any protocol of asyncio: it costs the connection
            asyncio.get_running_loop().call_exception_handler(
                {"message": "what came from Redis could not be taken", "exception": error}
            )
            self.drop("what it said could not be taken")

    def eof_received(self) -> None:
        """Take in that nothing more comes: the transport ends, too."""
        self.drop(CLOSED)

    def connection_lost(self, exc: Exception | None) -> None:
        """Take in that the connection ended."""
        self.drop(CLOSED if exc is None else reason(exc))

    # ---- inner ----

    def _take(self, frame: Reply) -> None:
        if self._heard is not None and isinstance(frame, list) and len(frame) == 3 and frame[0] == _MESSAGE:
            self._heard(frame[1], frame[2])
        elif self._pending and _answers(frame, self._pending[0].about):
            ask = self._pending.popleft()
            self.pending_bytes -= len(ask.packed)
            if not ask.answer.done():
                ask.answer.set_result(frame)
            if self.answered is not None:
                self.answered()
        elif self._stray is not None:
            self._stray()
        else:
            self.drop("it answered what nobody asked")


def _answers(frame: Reply, about: bytes | None) -> bool:
    """Tell whether *frame* may be the answer to an ask about that channel."""
    if about is None or isinstance(frame, RedisError):
        return True
    return isinstance(frame, list) and len(frame) == 3 and frame[1] == about
