"""Commands on one kept connection to Redis: pipelined in order, each with a deadline, over reconnects.

Commands leave in the order in which they are asked, and replies arrive in the same order; messages of
channels come between the replies.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Sequence
from contextlib import suppress
from importlib import resources
from typing import Any, Final, NamedTuple

from redis.asyncio import Connection
from redis.exceptions import NoScriptError, RedisError

from gateway.bus import Endpoint, RedisUnreachable
from gateway.bus.connect import (
    UNEXPECTED,
    Connector,
    OpenConnection,
    Reply,
    Word,
    bus_down,
    code,
    next_reply,
    pack,
    reason,
)
from gateway.runtime.ports import Clock, NotSentError

LATE: Final = "it did not answer in time"
_END: Final = "the node ends"
_MESSAGES: Final = frozenset({b"message", b"smessage"})
"""First word of a message: of a channel, or of a sharded channel in a Redis Cluster."""
_LEAVE: Final = {"READONLY": "it is a replica", "MOVED": "another serves its slot"}
"""Refusals of a server that is not the right one, or no longer, with the reason to leave it."""
_SCANNED: Final = 2_000
"""Keys per step of a scan: each user has two of them, beside those of the nodes."""
_STABLE_S: Final = 1.0
"""A connection that lasted longer than this resets the back-off."""


class RedisLimits(NamedTuple):
    """Deadlines and bounds of a client.

    Attributes:
        deadline_s: For a reply, counted from the sending of its command. Then the connection is dropped,
            since later replies can no longer be assigned to their commands. A command also waits at most this
            long to be sent.
        deadline_max_s: The most that it grows to with a distant server: opening a connection takes at least
            two round trips, and a reply is awaited twice as long as that took.
        ping_s: Without commands, until a PING is sent. With the deadline it detects a frozen server.
        retry_s: Before the second attempt to connect, at most; doubled for each further one.
        retry_max_s: The most that it grows to. The wait is drawn from [0, that]: full jitter.
        window: Commands sent and not answered, at most: other clients of the same Redis are served between
            two such batches. What the kernel has not taken is never more than one batch.
        waiting_max: Unanswered commands, at most; beyond it the newest is refused.
        waiting_max_bytes: The bytes of these commands, at most; a single larger one is accepted.
    """

    deadline_s: float = 0.25
    deadline_max_s: float = 1.0
    ping_s: float = 3.0
    retry_s: float = 0.1
    retry_max_s: float = 2.0
    window: int = 200
    waiting_max: int = 20_000
    waiting_max_bytes: int = 64 * 1024 * 1024


COMMANDS: Final = RedisLimits()
SCRIPTS: Final = RedisLimits(deadline_s=1.0)
"""One second: renewals of thousands of users may be due at once, and leases last long enough for it."""


class PendingCommand:
    """A command, and the reply to come.

    Attributes:
        packed: Its bytes; none when an earlier command's bytes cause this reply as well.
        reply: Settled with the :data:`Reply`, or with ``bus_down``. Cancelling it changes nothing for other
            commands: the reply is read and discarded.
        since: When it was asked, then when it was sent, in seconds of the clock's ``now``.
        channel: The channel that the reply must name; None: any reply is its own.
    """

    __slots__ = ("channel", "packed", "reply", "since")

    def __init__(
        self, packed: bytes, reply: asyncio.Future[Reply], since: float, channel: bytes | None = None
    ) -> None:
        self.packed = packed
        self.reply = reply
        self.since = since
        self.channel = channel

    def fail(self, why: str) -> None:
        """Settle it with ``bus_down``."""
        if not self.reply.done():
            self.reply.set_exception(bus_down(why))

    def refuse(self, why: str) -> None:
        """Settle it with ``bus_down``, as a command that has not been sent."""
        if not self.reply.done():
            self.reply.set_exception(NotSentError(bus_down(why).message))

    def accepts(self, reply: Reply) -> bool:
        """Return whether *reply* can be the reply to this command."""
        if self.channel is None or isinstance(reply, RedisError):
            return True
        return isinstance(reply, list) and len(reply) == 3 and reply[1] == self.channel


class Begun:
    """The rest of a coroutine whose first step was made outside of a task; a task awaits it.

    redis-py writes in coroutines only. They end in their first step unless the kernel is full, so a task for
    each batch would only delay it by a turn of the loop.
    """

    def __init__(self, work: Coroutine[Any, Any, None], awaited: object) -> None:
        self._work = work
        self._awaited = awaited

    def __await__(self) -> Generator[Any, Any, None]:
        """Make the other steps."""
        awaited, work = self._awaited, self._work
        with suppress(StopIteration):
            while True:
                try:
                    result = yield awaited
                except BaseException as error:  # noqa: BLE001 - it belongs to the coroutine
                    awaited = work.throw(error)
                else:
                    awaited = work.send(result)

    def close(self) -> None:
        """End it."""
        self._work.close()


def begun(work: Coroutine[Any, Any, None]) -> Begun | None:
    """Make the first step of *work* in this call; return what is left, None if nothing is."""
    try:
        return Begun(work, work.send(None))
    except StopIteration:
        return None


class Pipeline:
    """One connection from when it is open to its end: replies are read as they come, without a task each.

    Invariant: once it is lost, nothing is sent, received or settled on it; every command that it accepted is
    settled exactly once.

    Args:
        connection: Connected and logged in; ends with this.
        receive: Called with channel and payload of each message; what it returns is awaited before the next
            reply is read. None: none is expected.
        unrequested: Called for a reply without a command. None: that ends the connection.
    """

    def __init__(
        self,
        connection: Connection,
        receive: Callable[[bytes, bytes], Awaitable[None] | None] | None = None,
        unrequested: Callable[[], None] | None = None,
    ) -> None:
        self.lost: Final = asyncio.Event()
        self.why = ""
        """Why it ended, without text of the server."""
        self.answered: Callable[[], None] | None = None
        """Called after each reply."""
        self.pending_bytes = 0
        """The bytes of the commands without a reply so far."""
        self._connection = connection
        self._receive = receive
        self._unrequested = unrequested
        self._pending: deque[PendingCommand] = deque()

    @property
    def pending(self) -> int:
        """How many replies are still to come."""
        return len(self._pending)

    @property
    def oldest_at(self) -> float | None:
        """When the command was sent whose reply is the next; None when none is to come."""
        return self._pending[0].since if self._pending else None

    async def send(self, commands: Sequence[PendingCommand]) -> None:
        """Send *commands* in one write; returns once the kernel has taken most of it."""
        if self.lost.is_set():
            for command in commands:
                command.fail(self.why)
            return
        self._pending.extend(commands)
        packed = b"".join([command.packed for command in commands])
        self.pending_bytes += len(packed)
        try:
            await self._connection.send_packed_command(packed, check_health=False)
        except (RedisError, OSError, RuntimeError) as error:  # RuntimeError: uvloop's for a closed transport
            self.drop(reason(error))

    def drop(self, why: str) -> None:
        """End it: nothing more is received or settled, and :meth:`run` closes the connection."""
        if self.lost.is_set():
            return
        self.why = why
        self.lost.set()
        self.pending_bytes = 0
        while self._pending:
            self._pending.popleft().fail(why)

    async def run(self) -> None:
        """Read replies until the connection is lost; cancelling ends it."""
        try:
            async with asyncio.TaskGroup() as tasks:
                reading = tasks.create_task(self._read())
                await self.lost.wait()
                reading.cancel()
        finally:
            self.drop(_END)
            await self._connection.disconnect(nowait=True)

    async def _read(self) -> None:
        try:
            while not self.lost.is_set():
                work = self._take(await next_reply(self._connection))
                if work is not None:
                    await work
        except (RedisError, OSError) as error:
            self.drop(reason(error))
        except Exception as error:  # noqa: BLE001 - as for any protocol of asyncio: it costs the connection
            asyncio.get_running_loop().call_exception_handler(
                {"message": "a reply of Redis could not be processed", "exception": error}
            )
            self.drop("its reply could not be processed")

    def _take(self, reply: Reply) -> Awaitable[None] | None:
        """Process a reply; return the work to do before the next one."""
        if self.lost.is_set():
            return None
        if (
            self._receive is not None
            and isinstance(reply, list)
            and len(reply) == 3
            and reply[0] in _MESSAGES
        ):
            return self._receive(reply[1], reply[2])
        if self._pending and self._pending[0].accepts(reply):
            command = self._pending.popleft()
            self.pending_bytes -= len(command.packed)
            if not command.reply.done():
                command.reply.set_result(reply)
            if self.answered is not None:
                self.answered()
        elif self._unrequested is not None:
            self._unrequested()
        else:
            self.drop("it sent a reply to no command")
        return None


class CommandSender(ABC):
    """Sends commands to Redis: to one server, or in a Redis Cluster to the one that serves their key."""

    @abstractmethod
    def ask(self, *words: Word) -> asyncio.Future[Reply]:
        """Send a command; returns its reply to come, refusals of Redis included.

        Fails with ``bus_down`` when no reply comes in time. It may be cancelled.
        """

    @abstractmethod
    def accepted(self, reply: Reply) -> Reply:
        """Return *reply* unless it is a refusal.

        Raises:
            GatewayError: ``bus_down``: Redis refused.
        """

    @abstractmethod
    def together(self, keys: Sequence[bytes]) -> list[list[int]]:
        """Return the groups of *keys* that one command may name, as lists of indexes."""

    @abstractmethod
    async def scan(self, pattern: bytes) -> set[bytes]:
        """Return the hashes whose keys match *pattern*; values of other types are left out.

        Raises:
            GatewayError: ``bus_down``: no reply came in time, or Redis refused.
        """

    async def answer(self, *words: Word) -> Reply:
        """Send a command and return its reply.

        Raises:
            GatewayError: ``bus_down``: no reply came in time, or Redis refused.
        """
        return self.accepted(await self.ask(*words))

    async def answers(self, commands: Sequence[Sequence[Word]]) -> list[Reply]:
        """Send several commands at once and return their replies.

        Raises:
            GatewayError: ``bus_down``: a reply did not come in time, or Redis refused a command.
        """
        replies = [self.ask(*words) for words in commands]
        for reply in replies:
            reply.add_done_callback(ignore)
        return [self.accepted(await reply) for reply in replies]


class RedisClient(CommandSender):
    """One kept connection: opened, watched, and opened again after a loss.

    Invariants: commands are sent in the order of their calls, also over reconnects. A command that was sent
    and not answered fails, and is never sent again. The commands of one turn of the loop are sent in one
    write. While the server is unreachable commands fail at once; during the first attempt after a loss they
    wait for it, as long as their deadline allows.

    Args:
        pipelines: Wraps a new connection.
        first: The commands that each new connection begins with.
        opened: Called for each new connection with the replies to these, before anything else is sent.
    """

    def __init__(
        self,
        connector: Connector,
        clock: Clock,
        jitter: Callable[[], float],
        limits: RedisLimits,
        *,
        pipelines: Callable[[Connection], Pipeline] = Pipeline,
        first: Callable[[], Sequence[Sequence[Word]]] = tuple,
        opened: Callable[[Sequence[Reply]], None] | None = None,
    ) -> None:
        self.trouble: str | None = "not connected yet"
        """Why there is no connection, without text of the server; None while there is one."""
        self.losses: Final[Counter[str]] = Counter()
        """Number of connections that ended, or were not established, by reason."""
        self._connector = connector
        self._clock = clock
        self._jitter = jitter
        self._limits = limits
        self._pipelines = pipelines
        self._first = first
        self._opened = opened
        self._pipeline: Pipeline | None = None
        self._endpoint: Endpoint | None = None
        self._queue: deque[PendingCommand] = deque()
        self._queue_bytes = 0
        self._is_down = False
        self._deadline_s = limits.deadline_s
        """Time limit for a reply on this connection."""
        self._is_planned = False
        """Whether :meth:`flush` is called in the next turn of the loop."""
        self._begun: Begun | None = None
        """The write that the kernel has not taken wholly."""
        self._has_begun: Final = asyncio.Event()

    @property
    def is_up(self) -> bool:
        """Whether there is a connection now."""
        return self._pipeline is not None and not self._pipeline.lost.is_set()

    @property
    def is_down(self) -> bool:
        """Whether the last attempt to connect failed."""
        return self._is_down

    @property
    def endpoint(self) -> Endpoint | None:
        """The server of the connection; None while there is none."""
        return self._endpoint

    def ask(self, *words: Word) -> asyncio.Future[Reply]:
        """See :meth:`CommandSender.ask`."""
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._add([PendingCommand(pack(*words), reply, self._clock.now())])
        return reply

    def ask_about(self, verb: bytes, channels: Sequence[bytes]) -> list[asyncio.Future[Reply]]:
        """Send one command about several channels, each of which is confirmed by a reply of its own."""
        loop, now = asyncio.get_running_loop(), self._clock.now()
        commands = [PendingCommand(b"", loop.create_future(), now, channel) for channel in channels]
        commands[0].packed = pack(verb, *channels)
        self._add(commands)
        return [command.reply for command in commands]

    def flush(self) -> None:
        """Write the waiting commands in this call, as far as the window allows.

        When the kernel does not take all, a task waits until it has, and nothing is written meanwhile.
        """
        pipeline = self._pipeline
        if pipeline is None or self._begun is not None or pipeline.lost.is_set():
            return  # the remaining commands are for the next connection
        if batch := self._batch(self._limits.window - pipeline.pending):
            self._begun = begun(pipeline.send(batch))
            if self._begun is not None:
                self._has_begun.set()

    def _flush_planned(self) -> None:
        self._is_planned = False
        if self._queue:  # what is published is mostly written in the call
            self.flush()

    def accepted(self, reply: Reply) -> Reply:
        """See :meth:`CommandSender.accepted`. A server that must be left is left."""
        if not isinstance(reply, RedisError):
            return reply
        refusal = code(reply)
        self._connector.refusals.add(refusal)
        if refusal in _LEAVE:
            self.drop(_LEAVE[refusal])
        raise bus_down(refusal)

    def together(self, keys: Sequence[bytes]) -> list[list[int]]:
        """See :meth:`CommandSender.together`: one server has them all."""
        return [list(range(len(keys)))]

    async def scan(self, pattern: bytes) -> set[bytes]:
        """See :meth:`CommandSender.scan`."""
        keys: set[bytes] = set()
        cursor = b"0"
        while True:
            match await self.answer("SCAN", cursor, "MATCH", pattern, "COUNT", _SCANNED, "TYPE", "hash"):
                case [bytes(cursor), list(found)]:
                    keys.update(found)
                case _:
                    raise bus_down(UNEXPECTED)
            if cursor == b"0":
                return keys

    def drop(self, why: str) -> None:
        """End the connection, if there is one; the next one is opened at once."""
        if self._pipeline is not None:
            self._pipeline.drop(why)

    def leave_unless(self, primary: Endpoint) -> None:
        """End the connection if it is to another server than *primary*."""
        if self._endpoint != primary:
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
            self._pipeline = None
            self._refuse_queue(_END)

    # ---- the connection ----

    async def _keep(self) -> None:
        failures = 0
        while True:
            since = self._clock.now()
            try:
                found = await self._connector.open(self._first())
                self._adapt(self._clock.now() - since)
            except RedisUnreachable as error:
                self._lose(str(error))
                self._is_down = True
                self._refuse_queue(str(error))
            else:
                await self._use(found)
                failures = 0 if self._clock.now() - since > _STABLE_S else failures
            failures += 1
            most = min(self._limits.retry_max_s, self._limits.retry_s * 2.0 ** min(failures - 1, 30))
            await self._clock.sleep(self._jitter() * most)

    async def _use(self, found: OpenConnection) -> None:
        """Use a connection until it is lost."""
        pipeline = self._pipelines(found.connection)
        pipeline.answered = self._wake
        self._pipeline, self._endpoint = pipeline, found.endpoint
        self._is_down, self.trouble = False, None
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(pipeline.run())
                if self._opened is not None:
                    self._opened(found.replies)
                self._wake()
                sending = tasks.create_task(self._finish_writes(pipeline))
                await self._watch(pipeline)
                sending.cancel()
            self._lose(pipeline.why)
        finally:
            self._pipeline = self._endpoint = None
            self._has_begun.clear()
            if self._begun is not None:
                self._begun.close()
                self._begun = None

    async def _watch(self, pipeline: Pipeline) -> None:
        """Return when *pipeline* is lost; send a PING when there is nothing else to send."""
        while not pipeline.lost.is_set():
            try:
                async with self._clock.timeout(self._limits.ping_s):
                    await pipeline.lost.wait()
            except TimeoutError:
                if not pipeline.pending:
                    self.ask("PING").add_done_callback(ignore)

    def _adapt(self, opened_s: float) -> None:
        """Set the deadline of replies on this connection by how long it took to open."""
        least, most = self._limits.deadline_s, max(self._limits.deadline_s, self._limits.deadline_max_s)
        self._deadline_s = min(max(2 * opened_s, least), most)

    def _lose(self, why: str) -> None:
        self.trouble = why
        self.losses[why] += 1

    # ---- commands ----

    def _add(self, commands: list[PendingCommand]) -> None:
        if self._is_down:
            _refuse(commands, self.trouble or "not connected")
        elif self._has_too_much(commands):
            _refuse(commands, "too much waits for it")
        else:
            self._queue.extend(commands)
            self._queue_bytes += _size(commands)
            self._wake()

    @property
    def waiting_bytes(self) -> int:
        """Bytes of the commands without a reply."""
        return self._queue_bytes + (0 if self._pipeline is None else self._pipeline.pending_bytes)

    def _has_too_much(self, commands: list[PendingCommand]) -> bool:
        """Return whether there are too many waiting commands, or bytes, to add *commands*."""
        pipeline, limits = self._pipeline, self._limits
        waiting = len(self._queue) + (0 if pipeline is None else pipeline.pending)
        waiting_bytes = self.waiting_bytes
        is_large = waiting_bytes > 0 and waiting_bytes + _size(commands) > limits.waiting_max_bytes
        return waiting + len(commands) > limits.waiting_max or is_large

    def _wake(self) -> None:
        if self._queue and not self._is_planned:
            self._is_planned = True
            asyncio.get_running_loop().call_soon(self._flush_planned)

    async def _finish_writes(self, pipeline: Pipeline) -> None:
        """Wait whenever the kernel has not taken a write wholly, then write what came meanwhile."""
        while not pipeline.lost.is_set():
            await self._has_begun.wait()
            self._has_begun.clear()
            if self._begun is not None:
                await self._begun
                self._begun = None
                self.flush()

    def _batch(self, room: int) -> list[PendingCommand]:
        batch: list[PendingCommand] = []
        now = self._clock.now()
        while self._queue and len(batch) < room:
            command = self._pop()
            if command.channel is not None or not command.reply.done():
                command.since = now
                batch.append(command)
        return batch

    def _pop(self) -> PendingCommand:
        command = self._queue.popleft()
        self._queue_bytes -= len(command.packed)
        return command

    async def _expire(self) -> None:
        """Fail overdue commands exactly when due: no later command is due before this wakes."""
        while True:
            wait_s = self._due_in()
            if wait_s > 0:
                await self._clock.sleep(wait_s)
                continue
            for _ in range(5):  # after a stop of this process the reply may be there, and unread
                await self._clock.sleep(0)
            now = self._clock.now()
            if self._pipeline is not None and now >= self._due_at(self._pipeline.oldest_at):
                self.drop(LATE)
            while self._queue and now >= self._due_at(self._queue[0].since):
                self._pop().fail(self.trouble or LATE)

    def _due_in(self) -> float:
        pending = None if self._pipeline is None else self._pipeline.oldest_at
        queued = self._queue[0].since if self._queue else None
        due_at = min(self._due_at(pending), self._due_at(queued))
        return min(due_at - self._clock.now(), self._deadline_s)

    def _due_at(self, since: float | None) -> float:
        return math.inf if since is None else since + self._deadline_s

    def _refuse_queue(self, why: str) -> None:
        commands, self._queue, self._queue_bytes = self._queue, deque(), 0
        _refuse(commands, why)


class Script:
    """A Lua script of this package: called by its hash, and sent to a server that does not have it.

    Args:
        name: The name of its file.
    """

    def __init__(self, name: str) -> None:
        self._text: Final = resources.files("gateway.bus").joinpath(name).read_text("utf-8")
        self._sha: Final = hashlib.sha1(self._text.encode(), usedforsecurity=False).hexdigest()

    @property
    def load(self) -> tuple[Word, ...]:
        """The command that loads it into a server."""
        return ("SCRIPT", "LOAD", self._text)

    async def run(self, client: CommandSender, keys: tuple[bytes, ...], *arguments: Word) -> Reply:
        """Run it on *keys*.

        Raises:
            GatewayError: ``bus_down``: no reply came, or Redis refused.
        """
        reply = await client.ask("EVALSHA", self._sha, len(keys), *keys, *arguments)
        if isinstance(reply, NoScriptError):
            reply = await client.ask("EVAL", self._text, len(keys), *keys, *arguments)
        return client.accepted(reply)


def _refuse(commands: Iterable[PendingCommand], why: str) -> None:
    for command in commands:
        command.refuse(why)


def _size(commands: Iterable[PendingCommand]) -> int:
    return sum(len(command.packed) for command in commands)


def ignore(reply: asyncio.Future[Reply]) -> None:
    """Let a reply that nothing waits for fail without a warning."""
    if not reply.cancelled():
        reply.exception()
