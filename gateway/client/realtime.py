"""Realtime: keep one user's mirror in sync over successive connections."""

from __future__ import annotations

import asyncio
import contextlib
import enum
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import aiohttp

from gateway.client import events
from gateway.client.clock import Clock
from gateway.client.connection import ClientConnection, NotOpened
from gateway.client.dialogue import Dialogue, Hooks, Memory, Wishes
from gateway.client.reconnect import Ending, LogOnAgain, Reconnect, Stop, Window
from gateway.domain.errors import ERRORS, CloseCode, ErrorCode, GatewayError
from gateway.protocol import frames
from gateway.protocol.codec import Codec

_NORMAL: Final = 1000
"""RFC 6455 §7.4.1: its purpose is fulfilled."""


class _Mode(enum.Enum):
    """What the application wants of the connection."""

    ON = enum.auto()
    BACKGROUND = enum.auto()
    LEAVING = enum.auto()


@dataclass(frozen=True, slots=True)
class Access:
    """How realtime gets in."""

    token: Callable[[], str]
    """Gives the token of the moment."""
    renewed: Callable[[frames.Renewed], None]
    log_on_again: Callable[[], Awaitable[None]] | None
    """Makes a new session or raises :class:`GatewayError`; None: nothing is stored to do so."""


@dataclass(frozen=True, slots=True)
class Means:
    """What realtime works with: who opens WebSockets to which address, in which encoding, and time.

    *address* has no slash at its end; *jitter* gives numbers in [0, 1).
    """

    http: aiohttp.ClientSession
    address: str
    codec: Codec
    clock: Clock
    jitter: Callable[[], float]


class Realtime:
    """The one WebSocket of a client and what it brings.

    Invariants: at most one connection at a time; :attr:`ended` is set once and is final; what is
    asked of a gateway that is not connected is refused, never queued.
    """

    def __init__(self, means: Means, access: Access, wishes: Wishes) -> None:
        self.memory: Final = Memory(wishes)
        self.events: Final = events.EventStream()
        self.ended: events.Ended | None = None
        self._means = means
        self._clock = means.clock
        self._access = access
        self._reconnect = Reconnect()
        self._mode = _Mode.ON
        self._live: tuple[ClientConnection, Dialogue] | None = None
        self._task: asyncio.Task[None] | None = None
        self._arrived = asyncio.Event()
        self._nudged = asyncio.Event()
        self._hurried = False
        self._probing = False

    # ---- life ----

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Begin to connect, in a task of *tasks*; a second start does nothing."""
        if self._task is None:
            self._task = tasks.create_task(self._run())

    async def arrived(self) -> None:
        """Return as soon as the mirror was in sync.

        Raises:
            GatewayError: ``session_ended``, with what :attr:`ended` says; it never will be.
        """
        await self._arrived.wait()
        if self.ended is not None:
            raise session_ended(self.ended)

    async def finished(self) -> None:
        """Return when no connection will be tried any more."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def leave(self) -> None:
        """Say `bye` and stop. Nothing is connected when it returns."""
        self._mode = _Mode.LEAVING
        self._nudged.set()
        if self._task is not None and self._live is None:
            self._task.cancel()
        await self.finished()

    def end(self, ending: Ending) -> None:
        """Be over for good: forget the mirror, answer whoever waits, tell."""
        if self.ended is None:
            self.ended = events.Ended(ending.code, ending.reason, ending.by)
            self.memory.mirror.clear()
            self._tell(self.ended)
            self.close()

    def close(self) -> None:
        """Answer whoever waits; tell nothing more."""
        over = self.ended or events.Ended(_NORMAL, "closed", "self")
        self.memory.requests.ended(session_ended(over))
        self.events.close()
        self._arrived.set()

    def background(self) -> None:
        """Let the connection rest: `bye`, nothing until :meth:`foreground`."""
        if self._mode is _Mode.ON:
            self._mode = _Mode.BACKGROUND
            self._nudged.set()

    def foreground(self) -> None:
        """Connect at once, at most once per 2 s."""
        if self._mode is _Mode.BACKGROUND:
            self._mode = _Mode.ON
        self._hurried = True
        self._nudged.set()

    def network_changed(self) -> None:
        """Try at once, at most once per 2 s; a connection that is up must give a sign of life in 3 s."""
        self._hurried = self._probing = True
        self._nudged.set()

    # ---- what it gives ----

    @property
    def served(self) -> ClientConnection | None:
        """The connection on which a gateway serves frames now."""
        if self._live is None:
            return None
        connection, dialogue = self._live
        return None if dialogue.welcome is None else connection

    # ---- inner ----

    def _tell(self, event: events.Event) -> None:
        if isinstance(event, events.Connected):
            self._arrived.set()
        self.events.tell(event)

    def _renewed(self, renewed: frames.Renewed) -> None:
        self._access.renewed(renewed)
        self._tell(events.Renewed(renewed.expires_at_ms))

    async def _run(self) -> None:
        while self.ended is None and not self._is(_Mode.LEAVING):
            if self._is(_Mode.BACKGROUND):
                await self._wait()
                if self._is(_Mode.ON):
                    self._hurried = False
                    await self._pause(self._reconnect.hurry(self._clock.now()), "foreground")
            else:
                ending, up_s = await self._serve()
                await self._recover(ending, up_s)

    async def _serve(self) -> tuple[Ending, float]:
        """Run one connection; returns how it ended and how many seconds it was up."""
        means = self._means
        try:
            connection = await ClientConnection.open(means.http, means.address, means.codec, self._clock)
        except NotOpened as not_opened:
            return not_opened.ending, 0.0
        began = self._clock.now()
        hooks = Hooks(self._tell, self._renewed)
        dialogue = Dialogue(self.memory, hooks, self._access.token(), began)
        self._live = connection, dialogue
        self._hurried = self._probing = False
        try:
            await connection.send(dialogue.hello)
            async with asyncio.TaskGroup() as tasks:
                reading = tasks.create_task(self._read(connection, dialogue))
                watching = tasks.create_task(self._watch(connection, dialogue, reading))
                reading.add_done_callback(lambda _: watching.cancel())
        finally:
            self._live = None
            await connection.close()
        return dialogue.ending(connection.close_code), self._clock.now() - began

    async def _read(self, connection: ClientConnection, dialogue: Dialogue) -> None:
        async for frame in connection.frames():
            now, due_at = self._clock.now(), dialogue.due_at
            dialogue.heard(now)
            answers = () if frame is None else dialogue.receive(frame, now)
            if dialogue.due_at < due_at:
                self._nudged.set()
            for answer in answers:
                await connection.send(answer)

    async def _watch(
        self, connection: ClientConnection, dialogue: Dialogue, reading: asyncio.Task[None]
    ) -> None:
        """End the reading when the gateway is silent or the application wants something else."""
        while not dialogue.given_up(now := self._clock.now()):
            if not self._is(_Mode.ON):
                await connection.send(frames.ClientBye())
                break
            self._hurried = False
            if self._probing:
                self._probing = False
                await connection.send(dialogue.probe(now))
            for frame in dialogue.tick(now):
                await connection.send(frame)
            await self._wait(dialogue.due_at - now)
        reading.cancel()

    async def _recover(self, ending: Ending, up_s: float) -> None:
        """Do what the ending of a connection asks for, until another may be tried or none will be."""
        failed: Ending | None = ending
        while failed is not None and self.ended is None and self._is(_Mode.ON):
            step = self._reconnect.after(failed, up_s, self._means.jitter())
            log_on_again = self._access.log_on_again if isinstance(step, LogOnAgain) else None
            if isinstance(step, Stop) or (isinstance(step, LogOnAgain) and log_on_again is None):
                self.end(failed)
                return
            await self._pause(step.in_s, failed.reason)
            # in the background nobody logs on: the foreground says hello, and hears what next
            wanted = log_on_again if self._is(_Mode.ON) else None
            failed = None if wanted is None else await self._log_on(wanted)
            up_s = 0.0

    async def _log_on(self, log_on_again: Callable[[], Awaitable[None]]) -> Ending | None:
        """Make a new session; returns what that failed with. What waiting cannot mend is the end."""
        try:
            await log_on_again()
        except GatewayError as error:
            wait_s = error.retry_after_s
            window = None if wait_s is None else Window(wait_s, wait_s)
            failed = Ending(CloseCode.SESSION_ENDED, error.code.value, window=window)
            if not ERRORS[error.code].retry:
                self.end(failed)
            return failed
        return None

    async def _pause(self, seconds: float, reason: str) -> None:
        """Wait, unless the foreground or the network asks for a try at once."""
        self._tell(events.Reconnecting(seconds, reason))
        until = self._clock.now() + seconds
        while self._is(_Mode.ON) and (now := self._clock.now()) < until:
            await self._wait(until - now)
            if self._hurried:
                self._hurried = False
                now = self._clock.now()
                until = min(until, now + self._reconnect.hurry(now))

    async def _wait(self, seconds: float | None = None) -> None:
        """Return after *seconds*, or as soon as the application wants something else."""
        with contextlib.suppress(TimeoutError):
            async with contextlib.nullcontext() if seconds is None else self._clock.timeout(seconds):
                await self._nudged.wait()
        self._nudged.clear()

    def _is(self, mode: _Mode) -> bool:
        """Tell whether *mode* is wanted now: it may change while anything is awaited."""
        return self._mode is mode


def session_ended(ended: events.Ended) -> GatewayError:
    """Return the error that says so, with `close_code`, `reason` and `by`."""
    return GatewayError(
        ErrorCode.SESSION_ENDED,
        f"The session ended: {ended.reason}.",
        close_code=ended.code,
        reason=ended.reason,
        by=ended.by,
    )
