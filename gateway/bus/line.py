"""How does a node stay connected to Redis, and what becomes of commands meanwhile?"""

from __future__ import annotations

import asyncio
import math
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from redis.exceptions import RedisError

from gateway.bus.address import Place
from gateway.bus.cable import Cable, Reply, Word, code, pack
from gateway.bus.door import Door, Greeted, Unreachable
from gateway.bus.wire import Ask, Wire, bus_down
from gateway.runtime.ports import Clock

_LATE: Final = "it did not answer in time"
_END: Final = "the node ends"
_HELD_S: Final = 1.0
"""A connection that lasted longer than this ends the back-off."""


class Pace(NamedTuple):
    """How long a line waits for what.

    Attributes:
        deadline_s: For an answer, from when the command was sent; then the connection is dropped,
            since what comes after that can no longer be told from what was asked later. As long
            a command waits to be sent, behind others or for a connection.
        deadline_max_s: The most that it grows to with a server that is far away: opening a connection takes
            two round trips at least, and an answer is waited for twice as long as that took.
        ping_s: Without anything to ask, until a PING whose answer is required. With the deadline it
            finds a peer that froze.
        retry_s: Before the second attempt to connect, at most; doubled for each further one.
        retry_max_s: The most that it grows to. The wait is drawn from [0, that]: full jitter.
        window: Commands sent and not answered, at most: others of the same Redis get their turn
            between two such slices.
        waiting_max: Commands that are not answered, at most; beyond it the newest is refused.
        waiting_max_bytes: The bytes of these commands, at most; a single larger one is taken.
        unsent_max_bytes: What the kernel has not taken, at most; beyond it the newest is refused.
    """

    deadline_s: float = 0.25
    deadline_max_s: float = 1.0
    ping_s: float = 3.0
    retry_s: float = 0.1
    retry_max_s: float = 2.0
    window: int = 200
    waiting_max: int = 20_000
    waiting_max_bytes: int = 64 * 1024 * 1024
    unsent_max_bytes: int = 16 * 1024 * 1024


class Line:
    """One connection that is kept: made, watched, and made again.

    Invariants: commands leave in the order in which they were asked, also over a broken connection:
    what was sent on it and not answered fails, and is never sent again; what was asked in one turn of
    the loop leaves in one write. While nobody is reachable commands fail at once; while the first
    attempt after a loss is under way they wait for it, as long as their deadline allows.

    Args:
        door: Opens connections.
        clock: The only time.
        jitter: Draws from [0, 1).
        pace: How long to wait for what.
        wires: Makes what carries a new connection.
        greetings: What to ask of each new connection before anything else.
        opened: Told of each new connection with the answers to these, before anything else is sent.
    """

    def __init__(
        self,
        door: Door,
        clock: Clock,
        jitter: Callable[[], float],
        pace: Pace,
        *,
        wires: Callable[[Cable], Wire] = Wire,
        greetings: Callable[[], Sequence[Sequence[Word]]] = tuple,
        opened: Callable[[Sequence[Reply]], None] | None = None,
    ) -> None:
        self.trouble: str | None = "not connected yet"
        """Why there is no connection, in words that hold nothing of anybody; None while there is one."""
        self.losses: Final[Counter[str]] = Counter()
        """How often connections ended, or did not come about, by reason."""
        self._door = door
        self._clock = clock
        self._jitter = jitter
        self._pace = pace
        self._wires = wires
        self._greetings = greetings
        self._opened = opened
        self._wire: Wire | None = None
        self._place: Place | None = None
        self._queue: deque[Ask] = deque()
        self._queue_bytes = 0
        self._is_down = False
        self._is_flushing = False
        self._deadline_s = pace.deadline_s
        """How long an answer of this connection is waited for."""

    @property
    def is_up(self) -> bool:
        """Whether there is a connection now."""
        return self._wire is not None and not self._wire.lost.is_set()

    @property
    def is_down(self) -> bool:
        """Whether the last attempt to connect failed."""
        return self._is_down

    @property
    def place(self) -> Place | None:
        """Where the connection leads; None while there is none."""
        return self._place

    def ask(self, *words: Word) -> asyncio.Future[Reply]:
        """Ask a command; returns what will be its answer, errors of Redis included.

        Fails with ``bus_down`` when no answer comes in time. Cancelling it is fine.
        """
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._add([Ask(pack(*words), answer, self._clock.now())])
        return answer

    def ask_about(self, verb: bytes, channels: Sequence[bytes]) -> list[asyncio.Future[Reply]]:
        """Ask one command about some channels, each of which is confirmed on its own."""
        loop, now = asyncio.get_running_loop(), self._clock.now()
        asks = [Ask(b"", loop.create_future(), now, channel) for channel in channels]
        asks[0].packed = pack(verb, *channels)
        self._add(asks)
        return [ask.answer for ask in asks]

    async def answer(self, *words: Word) -> Reply:
        """Ask a command and return its answer.

        Raises:
            GatewayError: ``bus_down``: no answer came in time, or Redis refused.
        """
        return self.accepted(await self.ask(*words))

    async def answers(self, commands: Sequence[Sequence[Word]]) -> list[Reply]:
        """Ask some commands at once and return their answers.

        Raises:
            GatewayError: ``bus_down``: one had no answer in time, or Redis refused one.
        """
        asked = [self.ask(*words) for words in commands]
        for answer in asked:
            answer.add_done_callback(_whatever)
        return [self.accepted(await answer) for answer in asked]

    def accepted(self, reply: Reply) -> Reply:
        """Return *reply* unless it is a refusal. One that only replicas give ends the connection.

        Raises:
            GatewayError: ``bus_down``: Redis refused.
        """
        if not isinstance(reply, RedisError):
            return reply
        refusal = code(reply)
        self._door.refusals.refused(refusal)
        if refusal == "READONLY":
            self.drop("it is a replica")
        raise bus_down(refusal)

    def drop(self, why: str) -> None:
        """End the connection, if there is one; the next one is made at once."""
        if self._wire is not None:
            self._wire.drop(why)

    def leave_unless(self, place: Place) -> None:
        """End the connection if it leads anywhere else."""
        if self._place != place:
            self.drop("another is primary")

    async def run(self) -> None:
        """Keep the connection until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._keep())
                tasks.create_task(self._expire())
        finally:
            self._is_down, self.trouble = True, _END
            self.drop(_END)
            self._wire = None
            self._fail_queued(_END)

    # ---- the connection ----

    async def _keep(self) -> None:
        failures = 0
        while True:
            since = self._clock.now()
            try:
                greeted = await self._door.open(self._greetings())
                self._adapt(self._clock.now() - since)
            except Unreachable as error:
                self._note(str(error))
                self._is_down = True
                self._fail_queued(str(error))
            else:
                await self._live(greeted)
                failures = 0 if self._clock.now() - since > _HELD_S else failures
            failures += 1
            most = min(self._pace.retry_max_s, self._pace.retry_s * 2.0 ** min(failures - 1, 30))
            await self._clock.sleep(self._jitter() * most)

    async def _live(self, greeted: Greeted) -> None:
        wire = self._wires(greeted.cable)
        wire.answered = self._flush_soon
        self._wire, self._place = wire, greeted.place
        self._is_down, self.trouble = False, None
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(wire.run())
                if self._opened is not None:
                    self._opened(greeted.replies)
                self._flush()
                await self._watch(wire)
            self._note(wire.why)
        finally:
            self._wire = self._place = None

    async def _watch(self, wire: Wire) -> None:
        """Return when *wire* is lost; ask for a sign of life while there is nothing else to ask."""
        while not wire.lost.is_set():
            try:
                async with self._clock.timeout(self._pace.ping_s):
                    await wire.lost.wait()
            except TimeoutError:
                if not wire.pending:
                    self.ask("PING").add_done_callback(_whatever)

    def _adapt(self, opened_s: float) -> None:
        """Wait for answers of this connection according to how long it took to open."""
        least, most = self._pace.deadline_s, max(self._pace.deadline_s, self._pace.deadline_max_s)
        self._deadline_s = min(max(2 * opened_s, least), most)

    def _note(self, why: str) -> None:
        self.trouble = why
        self.losses[why] += 1

    # ---- commands ----

    def _add(self, asks: list[Ask]) -> None:
        wire = self._wire
        unsent = 0 if wire is None else wire.unsent_bytes
        if self._is_down:
            _fail(asks, self.trouble or "not connected")
        elif self._has_too_much(asks) or unsent > self._pace.unsent_max_bytes:
            _fail(asks, "too much waits for it")
        else:
            self._queue.extend(asks)
            self._queue_bytes += _size(asks)
            self._flush_soon()

    def _has_too_much(self, asks: list[Ask]) -> bool:
        """Return whether so many commands, or bytes of them, wait that *asks* cannot wait, too."""
        wire = self._wire
        waiting = len(self._queue) + (0 if wire is None else wire.pending)
        waiting_bytes = self._queue_bytes + (0 if wire is None else wire.pending_bytes)
        most_bytes = self._pace.waiting_max_bytes
        is_large = waiting_bytes > 0 and waiting_bytes + _size(asks) > most_bytes
        return waiting + len(asks) > self._pace.waiting_max or is_large

    def _flush_soon(self) -> None:
        if self._queue and not self._is_flushing:
            self._is_flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        """Send what waits, as far as the window allows; comes again when answers came."""
        self._is_flushing = False
        wire = self._wire
        if wire is None or wire.lost.is_set() or not self._queue:
            return
        batch: list[Ask] = []
        room = self._pace.window - wire.pending
        while self._queue and len(batch) < room:
            ask = self._pop()
            if ask.about is not None or not ask.answer.done():
                batch.append(ask)
        now = self._clock.now()
        for ask in batch:
            ask.since = now
        if batch:
            wire.send(batch)

    def _pop(self) -> Ask:
        ask = self._queue.popleft()
        self._queue_bytes -= len(ask.packed)
        return ask

    async def _expire(self) -> None:
        """Fail what is overdue, exactly then: nothing asked while this sleeps is due before it wakes."""
        while True:
            wait_s = self._due_in()
            if wait_s > 0:
                await self._clock.sleep(wait_s)
                continue
            for _ in range(5):  # after a pause of this process the answer may be here, and unread
                await self._clock.sleep(0)
            now = self._clock.now()
            if self._wire is not None and now >= self._due_at(self._wire.oldest_at):
                self.drop(_LATE)
            while self._queue and now >= self._due_at(self._queue[0].since):
                self._pop().fail(self.trouble or _LATE)

    def _due_in(self) -> float:
        pending = None if self._wire is None else self._wire.oldest_at
        queued = self._queue[0].since if self._queue else None
        due_at = min(self._due_at(pending), self._due_at(queued))
        return min(due_at - self._clock.now(), self._deadline_s)

    def _due_at(self, since: float | None) -> float:
        return math.inf if since is None else since + self._deadline_s

    def _fail_queued(self, why: str) -> None:
        asks, self._queue, self._queue_bytes = self._queue, deque(), 0
        _fail(asks, why)


def _fail(asks: list[Ask] | deque[Ask], why: str) -> None:
    for ask in asks:
        ask.refuse(why)


def _size(asks: list[Ask]) -> int:
    return sum(len(ask.packed) for ask in asks)


def _whatever(answer: asyncio.Future[Reply]) -> None:
    """Let an answer that nobody waits for go without complaint."""
    if not answer.cancelled():
        answer.exception()
