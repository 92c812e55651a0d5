"""The client: log on to a gateway, hold a live mirror, send commands.

The mirror is kept in sync over successive connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import enum
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from ssl import SSLContext
from types import TracebackType
from typing import Final, Self, TypeVar
from urllib.parse import quote

import aiohttp
from pydantic import TypeAdapter

from gateway.client.dialogue import Dialogue, FrameHandlers, Reconnect, ResumeState, Wishes
from gateway.client.http import (
    MACHINE_CLOCK,
    PENDING,
    Account,
    Api,
    AskCredentials,
    ClientClock,
    ClientConnection,
    Credentials,
    Ending,
    HttpReply,
    KeptSession,
    Method,
    NotOpened,
    Unreachable,
    Window,
    jitter,
    open_http,
)
from gateway.client.mirror import (
    Connected,
    Ended,
    Event,
    EventStream,
    HealthChanged,
    LogOffDelayed,
    Reconnecting,
    TokenRenewed,
)
from gateway.domain.commands import Command, Outcome, Status
from gateway.domain.errors import CloseCode, ErrorCode, GatewayError
from gateway.domain.model import Application
from gateway.protocol import bodies, frames
from gateway.protocol.codec import JSON, Codec

_NORMAL: Final = 1000
"""RFC 6455 §7.4.1: its purpose is fulfilled."""
_CLOSED: Final = Ended(_NORMAL, "closed", "self")
"""The application itself has left."""


T = TypeVar("T")

_ABOUT: Final = TypeAdapter(bodies.AboutBody)
_NOTICES: Final = TypeAdapter(bodies.NoticesBody)
_SESSION: Final = TypeAdapter(bodies.SessionBody)
_SESSIONS: Final = TypeAdapter(bodies.SessionsBody)
_EXPORT: Final = TypeAdapter(bodies.ExportBody)

EVERYTHING: Final = Wishes()
"""The application's default topics, without a pace."""


class GatewayClient:
    """One person's session at one gateway; an async context manager.

    ::

        async with GatewayClient("https://gateway.example") as client:
            await client.log_on(site="main", application=Application.DASHBOARD, …)
            await client.connect()
            client.mirror.listen(show)
            async for event in client.events():
                …
            await client.log_off()

    Invariants: realtime data is in :attr:`mirror` only, and is removed with the session. Leaving the context
    sends `bye` and is no log-off. The event ``Ended`` is the last one.

    Args:
        address: ``https://host[:port]`` of the gateway.
        wishes: The topics, the pace, and the name of the program.
        codec: :data:`~gateway.protocol.codec.JSON` or :data:`~gateway.protocol.codec.MSGPACK`.
        credentials: Called when the session ended and the protocol demands a new log-on; without it the
            client ends with code 4300.
        ssl: The trusted authorities, when not the machine's.
    """

    def __init__(
        self,
        address: str,
        *,
        wishes: Wishes = EVERYTHING,
        codec: Codec = JSON,
        credentials: AskCredentials | None = None,
        ssl: SSLContext | None = None,
        clock: ClientClock = MACHINE_CLOCK,
        chance: Callable[[], float] = jitter,
    ) -> None:
        self._clock = clock
        self._credentials = credentials
        self._tasks = asyncio.TaskGroup()
        self._http = open_http(True if ssl is None else ssl)
        services = RealtimeServices(self._http, address.rstrip("/"), codec, clock, chance)
        self._api = Api(self._http, services.address, clock)
        self._account = Account(self._api, clock, chance, self._publish)
        access = Access(
            token=lambda: self._account.token,
            renewed=self._account.renew,
            log_on_again=None if credentials is None else self._log_on_again,
        )
        self._realtime = Realtime(services, access, wishes)
        self.mirror: Final = self._realtime.memory.mirror
        """The data that the gateway sent; keys and values have the names of the protocol page."""

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._realtime.leave()
        self._realtime.close()
        await self._http.close()
        if kind is not None and issubclass(kind, asyncio.CancelledError):
            await self._tasks.__aexit__(kind, error, trace)
        else:
            # an error of the caller's block is raised as it is, not as one of our tasks
            await self._tasks.__aexit__(None, None, None)

    # ---- the session ----

    async def log_on(
        self,
        *,
        site: str,
        application: Application,
        user_name: str,
        password: str,
        device: bodies.DeviceBody,
        remote_number: str | None = None,
        takeover: bool = False,
        accepted_notices: Iterable[tuple[str, int]] = (),
    ) -> bodies.SessionCreated:
        """Log on; the token is kept, the password is not.

        Args:
            site: The id of the site, see :meth:`about`.
            application: The app; for a Remote Assistant the agent is logged on, too.
            user_name: The name that the user typed.
            password: Used for this request only.
            device: This device; the same id every time.
            remote_number: The number to which a Remote Assistant's calls are routed.
            takeover: End the session that the user has elsewhere.
            accepted_notices: Notices that the user has accepted, as (id, version).

        Raises:
            GatewayError: With a log-on code and its details.
        """
        for notice_id, version in accepted_notices:
            self.acknowledge(notice_id, version)
        return await self._account.log_on(
            Credentials(user_name, password, remote_number),
            site=site,
            application=application,
            device=device,
            takeover=takeover,
        )

    @property
    def session(self) -> KeptSession | None:
        """The part of the session that a device may store; new after each event ``TokenRenewed``."""
        return self._account.session

    def adopt(self, session: KeptSession) -> None:
        """Continue a session that the device has stored."""
        self._account.session = session

    def acknowledge(self, notice_id: str, version: int) -> None:
        """Record that the user has accepted a notice, for all later log-ons."""
        self._account.accept(bodies.NoticeReference(notice_id, version))

    async def log_off(self) -> None:
        """Log off: the mirror is cleared at once; return when the gateway has confirmed.

        Until then the request is repeated with back-off, and the token is kept. Events ``LogOffDelayed`` have
        the time until which calls may still come.

        Raises:
            GatewayError: The gateway refuses for a reason that is not temporary. The session may still be
                there: :meth:`connect` connects again, as it does when this call was cancelled.
        """
        try:
            await self._realtime.leave()
            self.mirror.clear()
            await self._account.log_off()
        except BaseException:
            self._realtime.stay()
            raise
        self._realtime.end(Ending(CloseCode.LOGGED_OFF, "logged_off", by="self"))

    # ---- realtime ----

    async def connect(self) -> None:
        """Connect and return when the mirror is in sync; it is kept in sync until the end.

        A gateway that cannot be reached is tried without end: bound the call if necessary.

        Raises:
            GatewayError: ``session_ended`` with `close_code`, `reason` and `by`, also while :meth:`log_off`
                is under way; ``unauthenticated`` without a log-on.
        """
        self._start()
        await self._realtime.arrived()

    async def run(self) -> Ended | None:
        """Keep the mirror in sync until the end, which is returned; None after :meth:`log_off` began.

        Raises:
            GatewayError: ``unauthenticated``: there was no log-on.
        """
        self._start()
        await self._realtime.finished()
        return self._realtime.ended

    def events(self) -> AsyncIterator[Event]:
        """Return the events from now on; they end after ``Ended`` and when the client is closed."""
        return self._realtime.events.read()

    @property
    def ended(self) -> Ended | None:
        """How the session ended; None before."""
        return self._realtime.ended

    @property
    def is_current(self) -> bool:
        """Whether the mirror may be shown as current: in sync, and the connection's last ping said `live`.

        It changes with the events ``HealthChanged``, ``Reconnecting`` and ``Ended``, and while a lost change
        is requested again.
        """
        return self._realtime.is_current

    @property
    def health(self) -> HealthChanged | None:
        """The freshness of the data, from the last ping of any connection; None before the first ping."""
        return self._realtime.memory.health

    def server_time_ms(self) -> int | None:
        """Return the gateway's time, from its frames; None before the first."""
        return self._realtime.memory.server_time.at(self._clock.now())

    def background(self) -> None:
        """Send `bye` and disconnect; the mirror stays, and so does the session."""
        self._realtime.background()

    def foreground(self) -> None:
        """Connect at once, at most once per 2 s, and receive what changed since."""
        self._realtime.foreground()

    def network_changed(self) -> None:
        """Try at once, at most once per 2 s; an open connection must receive a frame within 3 s."""
        self._realtime.network_changed()

    async def command(self, command: Command, *, deadline_s: float = 10.0) -> Outcome:
        """Have *command* executed at most once; return its outcome.

        One call is one intended action with one key. After a lost connection it is sent again with the same
        key, stream and deadline, so it is never executed twice. Without a connection it is rejected with
        :class:`Unreachable`: there is no offline queue. Without a result after *deadline_s* (up to 60) it is
        ``unknown``: show the mirror, and let the user decide.
        """
        connection, position = self._realtime.served, self.mirror.position
        time_ms = self.server_time_ms()
        if connection is None or position is None or time_ms is None:
            return Outcome(Status.REJECTED, Unreachable("There is no connection; nothing was sent."))
        requests = self._realtime.memory.requests
        frame = frames.CommandFrame(
            id=requests.next_id(),
            key=str(uuid.uuid4()),
            stream=position.stream,
            expires_at_ms=time_ms + int(deadline_s * 1000),
            command=command,
        )
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        try:
            requests.command(frame, lambda settled: _settle(outcome, settled))
            async with self._clock.timeout(deadline_s):
                await connection.send(frame)
                return await outcome
        except TimeoutError:
            late = GatewayError(ErrorCode.UPSTREAM_TIMEOUT, "No result came in time.")
            return Outcome(Status.UNKNOWN, late)
        except GatewayError as overloaded:
            return Outcome(Status.REJECTED, overloaded)
        finally:
            requests.withdraw(frame.id)

    async def follow(self, topics: Iterable[str]) -> frames.GrantedTopics:
        """Replace the topics; return the granted and refused ones when a gateway has answered.

        Raises:
            GatewayError: ``bad_request``, ``session_ended``, or the refusal of a gateway.
        """
        memory = self._realtime.memory
        asked, before = tuple(topics), memory.wishes.topics
        memory.wishes = dataclasses.replace(memory.wishes, topics=asked)
        frame = frames.Follow(memory.requests.next_id(), asked)
        answer: asyncio.Future[frames.GrantedTopics | GatewayError]
        answer = asyncio.get_running_loop().create_future()
        memory.requests.follow(frame, lambda granted: _settle(answer, granted))
        try:
            if connection := self._realtime.served:
                await connection.send(frame)
            granted = await answer
        finally:
            memory.requests.withdraw(frame.id)
        if isinstance(granted, GatewayError):
            if memory.wishes.topics == asked:
                memory.wishes = dataclasses.replace(memory.wishes, topics=before)
            raise granted
        return granted

    async def pace(self, every_s: float) -> None:
        """Request at most one state frame in *every_s*, now and after each reconnect.

        Raises:
            GatewayError: ``bad_request``; it is not in 0..60.
        """
        memory = self._realtime.memory
        memory.wishes = dataclasses.replace(memory.wishes, pace_s=every_s)
        if connection := self._realtime.served:
            await connection.send(frames.Pace(every_s))

    # ---- questions ----

    async def about(self) -> bodies.AboutBody:
        """Return the gateway's data about itself; needs no log-on."""
        return (await self._api.ask("GET", "/v1/about")).read(_ABOUT)

    async def notices(self, language: str | None = None) -> Sequence[frames.NoticeView]:
        """Return the notices of the log-on page; *language* as in ``Accept-Language``."""
        return (await self._api.ask("GET", "/v1/notices", language=language)).read(_NOTICES).notices

    async def who(self) -> bodies.SessionBody:
        """Return the logged-on user, and the end of the session."""
        return (await self._ask("GET", "/v1/session")).read(_SESSION)

    async def sessions(self) -> Sequence[bodies.SessionEntry]:
        """Return the user's sessions."""
        return (await self._ask("GET", "/v1/sessions")).read(_SESSIONS).sessions

    async def end_session(self, session_id: str) -> LogOffDelayed | None:
        """End one of the user's sessions; this one by :meth:`log_off`.

        Returns:
            Until when calls may come to the number of a session that ended during a contact; None when none
                will.
        """
        if self.session is not None and session_id == self.session.id:
            await self.log_off()
            return None
        answer = await self._ask("DELETE", f"/v1/sessions/{quote(session_id, safe='')}")
        if answer.status != 202:
            return None
        pending = answer.read(PENDING)
        return LogOffDelayed(pending.routed_until_ms, pending.retry_after_s)

    async def export(self) -> bodies.ExportBody:
        """Return all data that the gateway holds about the user."""
        return (await self._ask("GET", "/v1/me/export")).read(_EXPORT)

    # ---- inner ----

    async def _ask(self, method: Method, path: str) -> HttpReply:
        return await self._api.ask(method, path, token=self._account.token)

    def _start(self) -> None:
        if self.ended is None:
            _ = self._account.token
            self._realtime.start(self._tasks)

    def _publish(self, event: Event) -> None:
        self._realtime.events.publish(event)

    async def _log_on_again(self) -> None:
        credentials = None if self._credentials is None else await self._credentials()
        if credentials is None:
            raise GatewayError(ErrorCode.UNAUTHENTICATED, "No login data is stored.")
        await self._account.log_on_again(credentials)


def _settle(future: asyncio.Future[T], value: T) -> None:
    if not future.done():
        future.set_result(value)


# ---- the connection of a client ----


class _Mode(enum.Enum):
    """The state of the connection that the application requests."""

    ON = enum.auto()
    BACKGROUND = enum.auto()
    LEAVING = enum.auto()


@dataclass(frozen=True, slots=True)
class Access:
    """Credentials of the WebSocket."""

    token: Callable[[], str]
    renewed: Callable[[frames.Renewed], None]
    log_on_again: Callable[[], Awaitable[None]] | None
    """Makes a new session or raises :class:`GatewayError`; None: there is no stored data to do so."""


@dataclass(frozen=True, slots=True)
class RealtimeServices:
    """Dependencies of :class:`Realtime`: an opener of WebSockets, an address, an encoding, and time.

    *address* has no slash at its end; *jitter* returns numbers in [0, 1).
    """

    http: aiohttp.ClientSession
    address: str
    codec: Codec
    clock: ClientClock
    jitter: Callable[[], float]


class Realtime:
    """The one WebSocket of a client, and its data.

    Invariants: at most one connection at a time. :attr:`ended` is set once and is final. A request without a
    connection is refused, never queued.
    """

    def __init__(self, services: RealtimeServices, access: Access, wishes: Wishes) -> None:
        self.memory: Final = ResumeState(wishes)
        self.events: Final = EventStream()
        self.ended: Ended | None = None
        self._services = services
        self._clock = services.clock
        self._access = access
        self._reconnect = Reconnect()
        self._mode = _Mode.ON
        self._live: tuple[ClientConnection, Dialogue] | None = None
        self._task: asyncio.Task[None] | None = None
        self._arrived = asyncio.Event()
        self._nudged = asyncio.Event()
        self._hurried = False
        self._probing = False
        self._has_stayed = self._is_closed = False

    # ---- life ----

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Begin to connect, in a task of *tasks*; a second start does nothing."""
        if (self._task is None or self._has_stayed) and not self._is(_Mode.LEAVING):
            self._task, self._has_stayed = tasks.create_task(self._run(self._task)), False

    async def arrived(self) -> None:
        """Return when the mirror has been in sync once.

        Raises:
            GatewayError: ``session_ended``: it will not be in sync, since the session ended or is left.
        """
        arrived = self._arrived
        await arrived.wait()
        if self.ended is not None or self._is(_Mode.LEAVING) or arrived is not self._arrived:
            raise session_ended(self.ended or _CLOSED)

    async def finished(self) -> None:
        """Return when no further connection will be tried."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def leave(self) -> None:
        """Send `bye` and stop. There is no connection when it returns."""
        self._mode = _Mode.LEAVING
        self._nudged.set()
        self._arrived.set()
        if self._task is not None and self._live is None:
            self._task.cancel()
        await self.finished()

    def stay(self) -> None:
        """Record that the session goes on after :meth:`leave`, finished or not: it can be started again."""
        if not self._is_closed and self._is(_Mode.LEAVING):
            self._mode, self._has_stayed, self._arrived = _Mode.ON, True, asyncio.Event()
            if self._task is not None:
                self._task.cancel()

    def end(self, ending: Ending) -> None:
        """End for good: clear the mirror, answer all waiting calls, report the end."""
        if self.ended is None:
            self.ended = Ended(ending.code, ending.reason, ending.by)
            self.memory.mirror.clear()
            self._publish(self.ended)
            self.close()

    def close(self) -> None:
        """Answer all waiting calls; report nothing."""
        self._is_closed = True
        self.memory.requests.ended(session_ended(self.ended or _CLOSED))
        self.events.close()
        self._arrived.set()

    def background(self) -> None:
        """Disconnect with `bye`, until :meth:`foreground`."""
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
        """Try at once, at most once per 2 s; an open connection must receive a frame within 3 s."""
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

    @property
    def is_current(self) -> bool:
        """Whether the mirror is current."""
        return self._live is not None and self._live[1].is_current

    # ---- inner ----

    def _publish(self, event: Event) -> None:
        if isinstance(event, Connected):
            self._arrived.set()
        self.events.publish(event)

    def _renewed(self, renewed: frames.Renewed) -> None:
        self._access.renewed(renewed)
        self._publish(TokenRenewed(renewed.expires_at_ms))

    async def _run(self, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
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
        """Run one connection; return its ending and how many seconds it was up."""
        services = self._services
        try:
            connection = await ClientConnection.open(
                services.http, services.address, services.codec, self._clock
            )
        except NotOpened as not_opened:
            return not_opened.ending, 0.0
        began = self._clock.now()
        handlers = FrameHandlers(self._publish, self._renewed)
        dialogue = Dialogue(self.memory, handlers, self._access.token(), began)
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
        self._hurried = self._hurried or dialogue.is_probed
        return dialogue.ending(connection.close_code), self._clock.now() - began

    async def _read(self, connection: ClientConnection, dialogue: Dialogue) -> None:
        async for frame in connection.frames():
            now, due_at = self._clock.now(), dialogue.due_at
            dialogue.received(now)
            answers = () if frame is None else dialogue.receive(frame, now)
            if dialogue.due_at < due_at:
                self._nudged.set()
            for answer in answers:
                await connection.send(answer)
            if isinstance(frame, frames.Bye):
                return  # however long the end of the socket takes

    async def _watch(
        self, connection: ClientConnection, dialogue: Dialogue, reading: asyncio.Task[None]
    ) -> None:
        """End reading when the gateway is silent, or the application requests another state."""
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
        """Act on the ending of a connection, until another may be tried or none will be."""
        failed: Ending | None = ending
        while failed is not None and self.ended is None and self._is(_Mode.ON):
            step = self._reconnect.after(failed, up_s, self._services.jitter())
            log_on_again = self._access.log_on_again if step is not None and step.logs_on else None
            if step is None or (step.logs_on and log_on_again is None):
                self.end(failed)
                return
            await self._pause(step.in_s, failed.reason)
            # there is no log-on in the background: the foreground sends its hello, and waits for the answer
            wanted = log_on_again if self._is(_Mode.ON) else None
            failed = None if wanted is None else await self._log_on(wanted)
            up_s = 0.0

    async def _log_on(self, log_on_again: Callable[[], Awaitable[None]]) -> Ending | None:
        """Make a new session; return the error. An error that is not temporary is the end."""
        try:
            await log_on_again()
        except GatewayError as error:
            wait_s = error.retry_after_s
            window = None if wait_s is None else Window(wait_s, wait_s)
            failed = Ending(CloseCode.SESSION_ENDED, error.code.value, window=window)
            if not error.code.is_temporary:
                self.end(failed)
            return failed
        return None

    async def _pause(self, seconds: float, reason: str) -> None:
        """Wait, unless the foreground or the network requests a try at once."""
        self._publish(Reconnecting(seconds, reason))
        until = self._clock.now() + seconds
        while self._is(_Mode.ON):
            now = self._clock.now()
            if self._hurried:
                self._hurried = False
                until = min(until, now + self._reconnect.hurry(now))
            if now >= until:
                return
            await self._wait(until - now)

    async def _wait(self, seconds: float | None = None) -> None:
        """Return after *seconds*, or when the application requests another state."""
        with contextlib.suppress(TimeoutError):
            async with contextlib.nullcontext() if seconds is None else self._clock.timeout(seconds):
                await self._nudged.wait()
        self._nudged.clear()

    def _is(self, mode: _Mode) -> bool:
        """Return whether *mode* is requested now: it may change during any await."""
        return self._mode is mode


def session_ended(ended: Ended) -> GatewayError:
    """Return the error for an ended session, with `close_code`, `reason` and `by`."""
    return GatewayError(
        ErrorCode.SESSION_ENDED,
        f"The session ended: {ended.reason}.",
        close_code=ended.code,
        reason=ended.reason,
        by=ended.by,
    )
