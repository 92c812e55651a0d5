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

from gateway.bus.cable import Cable, Reply, reason, reply
from gateway.domain.errors import ErrorCode, GatewayError

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


class Wire:
    """One connection from when it is open to its end; works while :meth:`run` runs.

    Invariant: once it is lost, nothing is sent, heard or settled on it any more; every ask that it took
    is settled exactly once.

    Args:
        cable: Connected; ends with this.
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
        self.unsent_bytes = 0
        """How much was not given to the kernel yet, but for a last buffer of it."""
        self._cable = cable
        self._heard = heard
        self._stray = stray
        self._pending: deque[Ask] = deque()
        self._outgoing: list[bytes] = []
        self._sends = asyncio.Event()

    @property
    def pending(self) -> int:
        """How many answers are still to come."""
        return len(self._pending)

    @property
    def oldest_at(self) -> float | None:
        """When the ask was sent whose answer is the next; None when none is to come."""
        return self._pending[0].since if self._pending else None

    def send(self, asks: Iterable[Ask]) -> None:
        """Send all of them, and what else is sent in this turn, in one write."""
        asks = list(asks)
        if self.lost.is_set():
            for ask in asks:
                ask.fail(self.why)
            return
        self._pending.extend(asks)
        if packed := b"".join([ask.packed for ask in asks]):
            self._outgoing.append(packed)
            self.unsent_bytes += len(packed)
            self._sends.set()

    def drop(self, why: str) -> None:
        """End it now, unsent bytes and all."""
        if self.lost.is_set():
            return
        self._cable.abort()
        self.why = why
        self.lost.set()
        while self._pending:
            self._pending.popleft().fail(why)

    async def run(self) -> None:
        """Carry what is sent and tell what comes, until it is lost; cancelling loses it."""
        try:
            async with asyncio.TaskGroup() as tasks:
                works = [tasks.create_task(self._read()), tasks.create_task(self._write())]
                try:
                    await self.lost.wait()
                finally:
                    self.drop("the node ends")  # before redis-py may let go gracefully what is unsent
                    for work in works:
                        work.cancel()
        finally:
            await self._cable.end()

    # ---- inner ----

    async def _read(self) -> None:
        while not self.lost.is_set():
            try:
                self._take(await reply(self._cable))
            except RedisError as error:
                self.drop(reason(error))
            except Exception as error:  # noqa: BLE001 - as for any protocol of asyncio: it costs the connection
                asyncio.get_running_loop().call_exception_handler(
                    {"message": "what came from Redis could not be taken", "exception": error}
                )
                self.drop("what it said could not be taken")

    async def _write(self) -> None:
        while True:
            await self._sends.wait()
            if self.lost.is_set():  # redis-py would connect again
                return
            self._sends.clear()
            batch = b"".join(self._outgoing)
            self._outgoing.clear()
            try:
                await self._cable.send_packed_command(batch, check_health=False)
            except (RedisError, RuntimeError) as error:  # uvloop's for what is closed already
                self.drop(reason(error))
            self.unsent_bytes -= len(batch)

    def _take(self, frame: Reply) -> None:
        if self.lost.is_set():
            return
        if self._heard is not None and isinstance(frame, list) and len(frame) == 3 and frame[0] == _MESSAGE:
            self._heard(frame[1], frame[2])
        elif self._pending and _answers(frame, self._pending[0].about):
            answer = self._pending.popleft().answer
            if not answer.done():
                answer.set_result(frame)
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
