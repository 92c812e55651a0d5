"""Requests to one OSCC-E Server, and one user's link to it.

Requests are HTTPS: about, log-on, log-off, sessions, and opening links. A link carries events, requests and
responses. It ends when the server's clock is set.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Final, Literal, NamedTuple, TypeVar
from urllib.parse import quote

import aiohttp
from yarl import URL

from gateway.core.link import ServerClock
from gateway.core.rate_limits import ReaderPace
from gateway.domain.commands import (
    Alive,
    AttachSession,
    DetachSession,
    Execute,
    KeepAlive,
    LinkAnswer,
    LinkRequest,
    Listen,
    Listening,
    QueryDirectory,
    StopListening,
)
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import NO_ITEMS, SessionId, SessionSecret, UserId, with_item
from gateway.domain.upstream import (
    About,
    Attached,
    Feature,
    LinkClosed,
    LinkEvent,
    LinkReplaced,
    LoggedOff,
    LoggedOn,
    LogOn,
    Opened,
    Reading,
    SessionEnded,
    SessionInfo,
    Source,
    UnreachedError,
    trouble_of,
)
from gateway.protocol.websocket import PongFrame, Violation, WebSocketPing
from gateway.runtime.event_loop import LinkScheduler, resolve
from gateway.runtime.ports import Clock, OnAnswer, OnReadings
from gateway.upstream.oscce import http
from gateway.upstream.oscce.errors import (
    NOTHING_UNREAD,
    AnswerError,
    ClockSetError,
    UnreadableData,
    UnreadableMessages,
    WireError,
    check_unread,
    not_accepted,
    with_unread,
    without_read,
)
from gateway.upstream.oscce.http import Answer, Deadlines, RefusedAnswer, answer_of, unreached, upgrade
from gateway.upstream.oscce.messages import LARGE_CHARS, LinkReader, Response, Said, answer, render
from gateway.upstream.oscce.readings import Kept, Readings
from gateway.upstream.oscce.socket import Incoming, LinkSocket, Lost

SLICES_S: Final = 0.001
"""Time of reading a large message in one turn of the loop; a slice that was begun is finished."""
MOST_IN_FLIGHT: Final = 64
"""Requests of one user without an answer; one more is ``busy``."""
GIVEN_UP_MOST: Final = 64
"""Requests for events without an answer in time that are remembered."""
_RESPONSE: Final = '"Response"'
_TYPE_CHARS: Final = 64
"""Beginning of a message in which its type is looked for; it may stand anywhere."""
_ANY_LISTEN: Final = Listen(None, Source.DIRECTORY, None)
NORMAL: Final = 1000
PROTOCOL_ERROR: Final = 1002
"""RFC 6455 §7.4.1."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The parameters of all links to one server, with or without one of its features.

    Args:
        pool: Shared by all links of the node to this server.
        clock: Dates received messages and bounds requests.
        keys: Whether the server supports ``RequestKey``.
        open_s: How long the server may take to report that the link is open.
        request_s: How long an answer may take; a command has its own deadline.
        patience_s: How long an answer with data may take.
        close_s: How long the closing handshake may take.
        left: Called once when the link ended otherwise than by :meth:`OsccLink.close`.
        unreadable: Called with each message that was not accepted.
    """

    pool: Readings
    clock: Clock
    keys: bool
    open_s: float
    request_s: float
    patience_s: float
    close_s: float
    left: Callable[[], None]
    unreadable: Callable[[WireError], None] = lambda _: None


@dataclass(frozen=True, slots=True, eq=False)
class _Pending:
    request: LinkRequest
    asked_at: float
    settle: OnAnswer
    """Takes the outcome. Errors are results here, so that none is lost without a waiting task."""
    is_prompt: bool = False
    """Whether the outcome is taken in the call that reads it; then no task removes this record."""


class _Opening(NamedTuple):
    """A link that has not reported yet that it is open."""

    asked_at: float
    by: float
    """When it is given up."""


class OsccLink:
    """One open link; the port's contract is :class:`gateway.runtime.ports.Link`.

    Invariant: ``Opened`` comes first. Events and answers come in the order of the wire. Nothing comes after
    the link was replaced or sent an unreadable message. It has no task of its own. An answer that cannot be
    read fails its request only.
    """

    __slots__ = (
        "__weakref__", "_clock", "_closed", "_given_up", "_has_passed_on", "_now", "_number", "_on_readings",
        "_opening", "_own_agents", "_pending", "_pool", "_reader", "_reads_since", "_ready", "_replaced",
        "_socket", "_strays", "_terms", "_unread", "_user", "last_received_at",
    )  # fmt: skip

    def __init__(self, socket: LinkSocket, user: UserId, terms: Terms, asked_at: float | None = None) -> None:
        self.last_received_at = terms.clock.now()
        self._user = user
        self._socket = socket
        self._terms = terms
        self._pool = terms.pool
        self._now = terms.clock.now
        self._reader = LinkReader(user.site, terms.pool)
        self._number = 0
        """The number of the last request."""
        self._pending: dict[int, _Pending] = NO_ITEMS
        self._given_up: tuple[int, ...] = ()
        """Abandoned requests for events: if one is answered, its query is stopped."""
        self._strays: tuple[int, ...] = ()
        """Queries to stop that belong to no reader."""
        self._unread: UnreadableData = NOTHING_UNREAD
        self._ready: tuple[LinkEvent, ...] = ()
        """Events of the message that was read last, behind the one that was returned."""
        self._reads_since: float | None = None
        """When the message came that is being read; None: none is."""
        self._own_agents: dict[int, int] = NO_ITEMS
        self._clock = ServerClock()
        self._on_readings: OnReadings | None = None
        asked_at = self.last_received_at if asked_at is None else asked_at
        self._opening: _Opening | None = _Opening(asked_at, self.last_received_at + terms.open_s)
        """None: the link has reported that it is open."""
        self._replaced = False
        self._closed = False
        self._has_passed_on = False
        """Whether the last message that was received was an answer to :meth:`send`."""

    @property
    def has_message(self) -> bool:
        """Whether :meth:`receive` would return at once."""
        return bool(self._ready) or self._socket.has_message

    @property
    def waits_since(self) -> float | None:
        """When the oldest message came that is known to wait here unread; None: none is."""
        return self._socket.waits_since if self._reads_since is None else self._reads_since

    def arrival(self, on_readings: OnReadings) -> asyncio.Future[None] | None:
        """Return what is done when :meth:`receive` has something to process; None: call it now."""
        if self._ready or self._replaced or self._closed or self._opening is not None:
            return None
        self._on_readings = on_readings
        return self._socket.arrival(self)

    async def receive(self, on_readings: OnReadings | None = None) -> LinkEvent | None:
        """Return the next event; None for a message without one.

        Readings, and answers to :meth:`send`, go to their takers straight from the transport.

        Raises:
            LinkClosed: ``lost``.
        """
        event = await self._receive_one(on_readings)
        while event is None and on_readings is not None and self._has_passed_on:
            on_readings(())
            event = await self._receive_one(on_readings)
        return event

    async def _receive_one(self, on_readings: OnReadings | None) -> LinkEvent | None:
        """Return the next event; None for a message without one."""
        if self._ready:
            return self._next_ready()
        if self._replaced or self._closed:
            raise await self._lost(NORMAL)
        self._on_readings = on_readings
        reader, opening = None if on_readings is None else self, self._opening
        try:
            received = await (
                self._socket.receive(reader) if opening is None else self._first_message(opening)
            )
        except TimeoutError:
            raise await self._lost(NORMAL) from None
        finally:
            self._on_readings = None  # it holds the owner, which holds the link
        self.last_received_at = self._socket.came_at
        self._has_passed_on, code = False, NORMAL
        match received:
            case str():
                try:
                    return self._take(await self._read(received))
                except WireError as fault:
                    self._ready = ()
                    code = NORMAL if isinstance(fault, ClockSetError) else PROTOCOL_ERROR
                    self._terms.unreadable(fault)
            case WebSocketPing() | PongFrame():
                return None
            case Violation():
                code = received.code
                self._terms.unreadable(WireError(received.reason))
        raise await self._lost(code)

    async def _first_message(self, opening: _Opening) -> Incoming:
        """Wait for the first message. Raises :class:`TimeoutError` when the link does not open in time."""
        async with self._terms.clock.timeout(max(0.0, opening.by - self._terms.clock.now())):
            return await self._socket.receive()

    async def request(self, request: LinkRequest) -> LinkAnswer:
        """Send *request* and wait for its answer; needs a concurrent :meth:`receive`.

        Raises:
            GatewayError: The server refused it; ``busy`` with too many under way; ``upstream_unavailable``
                when no answer came in time. The wait for a command is unbounded: it may be executed until its
                deadline, which bounds its caller.
            LinkClosed: The link ended before the answer came.
        """
        if self._closed or self._replaced:
            raise LinkClosed("lost")
        if len(self._pending) >= MOST_IN_FLIGHT:
            raise GatewayError(ErrorCode.BUSY, "Too many requests of this user are under way.")
        check_unread(self._unread, request, self._now())
        number = self._next_number()
        text = self._render(request, number)
        outcome: asyncio.Future[LinkAnswer | GatewayError | LinkClosed]
        outcome = asyncio.get_running_loop().create_future()
        pending = _Pending(request, self._terms.clock.now(), partial(resolve, outcome))
        self._pending = with_item(self._pending, number, pending)
        try:
            async with self._patience(request):
                await self._stop_strays()
                await self._socket.send(text)
                sent = await outcome
        except TimeoutError:
            if isinstance(request, Listen):
                self._given_up = _with(self._given_up, number)
            raise GatewayError(
                ErrorCode.UPSTREAM_UNAVAILABLE, "The contact centre did not answer in time."
            ) from None
        except OSError:
            raise LinkClosed("lost") from None
        finally:
            self._forget(number)
        if isinstance(sent, GatewayError | LinkClosed):
            try:
                raise sent
            finally:
                del sent, outcome  # its traceback holds this frame: both would hold each other, and the link
        return sent

    def send(self, request: LinkRequest, answered: OnAnswer) -> Callable[[], object] | None:
        """Send *request* without a task, a command at once; see the port.

        Raises:
            GatewayError: It cannot be sent.
        """
        if isinstance(request, KeepAlive):
            for late in [n for n, one in self._pending.items() if one.is_prompt and one.request == request]:
                self._forget(late)
        if self._closed or self._replaced or self._strays or len(self._pending) >= MOST_IN_FLIGHT:
            return None
        if self._unread:
            check_unread(self._unread, request, self._now())
        number = self._next_number()
        socket = self._socket
        send = socket.send_now if isinstance(request, Execute) else socket.send_soon
        if not send(self._render(request, number)):
            return None
        pending = _Pending(request, self._now(), answered, is_prompt=True)
        self._pending = with_item(self._pending, number, pending)
        return partial(self._withdraw, number)

    def _withdraw(self, number: int) -> _Pending | None:
        """Forget a request: its answer is ignored. None: the answer came before."""
        pending = self._forget(number)
        if pending is not None and isinstance(pending.request, Listen):
            self._given_up = _with(self._given_up, number)
        return pending

    def _forget(self, number: int) -> _Pending | None:
        """Remove and return a request that waits for its answer."""
        pending = self._pending.pop(number, None)
        self._pending = self._pending or NO_ITEMS
        return pending

    def _next_number(self) -> int:
        self._number += 1
        return self._number

    def _render(self, request: LinkRequest, number: int) -> str:
        terms = self._terms
        return render(
            request,
            number,
            own_agents=self._own_agents,
            references=terms.pool.references,
            keys=terms.keys,
        )

    def _patience(self, request: LinkRequest) -> AbstractAsyncContextManager[object]:
        terms = self._terms
        match request:
            case Execute():
                return nullcontext()
            case AttachSession() | Listen() | QueryDirectory():
                return terms.clock.timeout(terms.patience_s)
            case _:
                return terms.clock.timeout(terms.request_s)

    async def _stop_strays(self) -> None:
        while self._strays:
            stop, self._strays = StopListening(self._strays[0]), self._strays[1:]
            await self._socket.send(self._render(stop, self._next_number()))

    async def close(self) -> None:
        """Close it. Requests under way end with :class:`LinkClosed`. It may be closed twice."""
        self._closed, self._on_readings = True, None
        await self._close_socket(NORMAL)

    # ---- as messages arrive (SocketReader) ----

    def take_readings(self, unread: list[Kept], came_at: float | None = None) -> ReaderPace | None:
        """Pass readings on at once; an unreadable one is left, with all behind it."""
        on_readings = self._on_readings
        if on_readings is None or self._opening is not None:
            return None
        pool, readings, clock_now = self._pool, [], self._now
        now = clock_now()
        latest_ms = now * 1000.0 + self._clock.ahead_ms
        for kept in unread:
            reading = pool.event(kept)
            if reading is None:
                reading = self._reader.peek(kept)
            if reading is None:
                break
            if reading.time_ms > latest_ms and self._clock.is_ahead(reading.time_ms, now):
                break  # it is read again, and ends the link
            readings.append(reading)
        if not readings:
            return None
        del unread[: len(readings)]
        self.last_received_at = now if came_at is None else came_at
        return on_readings(readings)

    def take_text(self, text: str) -> bool:
        """Pass on the answer to a request of :meth:`send`, at once; False: *text* is something else."""
        on_readings = self._on_readings
        if on_readings is None or self._opening is not None or _RESPONSE not in text[:_TYPE_CHARS]:
            return False
        try:
            received = self._reader.read(text) if len(text) <= LARGE_CHARS else ()
            if len(received) != 1 or not isinstance(received[0], Response):
                return False
            response = received[0]
            pending = self._pending.get(response.request_id)
            if pending is None or not pending.is_prompt:
                return False
            sent = self._outcome_of(pending, response)
        except WireError:
            return False  # it is read again, and ends the link
        self.last_received_at = self._now()
        self._forget(response.request_id)
        try:
            on_readings(())  # what the request caused comes before its answer
        finally:
            self._finish(pending, sent)
        return True

    def _outcome_of(self, pending: _Pending, response: Response) -> LinkAnswer | GatewayError:
        """Read the answer to a request. Raises :class:`WireError`."""
        try:
            sent = answer(pending.request, response.body, self._terms.pool, response.directory)
        except GatewayError as error:
            return error.with_traceback(None)  # it holds this frame, and so the waiting task
        except AnswerError as fault:
            self._terms.unreadable(fault)  # all sessions of the user need the link
            self._unread = with_unread(self._unread, pending.request, self._now())
            return http.unread_answer(pending.request)
        if self._unread:
            self._unread = without_read(self._unread, pending.request)
        time_ms = response.time_ms if isinstance(pending.request, KeepAlive) else None
        if time_ms is None:
            return sent
        if not self._clock.answered(time_ms, pending.asked_at, self._now()):
            raise ClockSetError("the server's clock was set")
        return Alive(time_ms)

    async def _read(self, text: str) -> Said:
        """Read a message; a large one in slices, with other tasks after each :data:`SLICES_S`.

        Raises:
            WireError: It cannot be read.
        """
        if len(text) <= LARGE_CHARS:
            return self._reader.read(text)
        self._reads_since, clock = self.last_received_at, self._terms.clock
        until = clock.now() + SLICES_S
        try:
            for received in self._reader.slices(text):
                if received is not None:
                    return received
                if clock.now() >= until:
                    await clock.sleep(0)
                    until = clock.now() + SLICES_S
        finally:
            self._reads_since = None
        return ()

    def _take(self, sent: Said) -> LinkEvent | None:
        """Process the content of a message.

        Raises:
            WireError: It cannot be ordered; then all of it is dropped.
        """
        for received in sent:
            if isinstance(received, Response):
                self._settle(received)
            else:
                self._note(received)
                self._ready = (*self._ready, received)
        return self._next_ready() if self._ready else None

    def _next_ready(self) -> LinkEvent:
        event, *others = self._ready
        self._ready = tuple(others)
        return event

    def _settle(self, response: Response) -> None:
        pending = self._pending.get(response.request_id)
        if pending is None:
            self._note_stray(response)
            return
        sent = self._outcome_of(pending, response)
        if pending.is_prompt:
            self._forget(response.request_id)
        self._finish(pending, sent)

    def _finish(self, pending: _Pending, sent: LinkAnswer | GatewayError) -> None:
        """Pass the answer to a request on."""
        self._has_passed_on = self._has_passed_on or pending.is_prompt
        match pending.request, sent:
            case _, GatewayError():
                pass
            case _, Attached():
                self._remember(sent)
            case DetachSession(alias), _:
                self._own_agents.pop(alias, None)
        pending.settle(sent)

    def _note_stray(self, response: Response) -> None:
        """Record a query without a caller: it is stopped with the next message."""
        if response.request_id not in self._given_up:
            return
        self._given_up = tuple([each for each in self._given_up if each != response.request_id])
        with suppress(GatewayError, WireError):
            sent = answer(_ANY_LISTEN, response.body, self._terms.pool)
            if isinstance(sent, Listening):
                self._strays = _with(self._strays, sent.query)

    def _note(self, event: LinkEvent) -> None:
        # not last_received_at: after a pause of reading it is earlier than the event came
        opening = self._opening
        if isinstance(event, Opened) is not (opening is not None):
            raise WireError("a link opens once, before it says anything else")
        match event:
            case Opened() if opening is not None:
                if event.user.id != self._user:
                    raise WireError("the link is another user's")
                self._opening = None
                self._clock.opened(event.time_ms, opening.asked_at, self._now())
                self._remember(event.attached)
            case SessionEnded():
                self._own_agents.pop(event.alias, None)
            case LinkReplaced():
                self._replaced = True
            case Reading() if self._clock.is_ahead(event.time_ms, self._now()):
                raise ClockSetError("the server's clock was set")

    def _remember(self, attached: Attached) -> None:
        if attached.own_agent is not None:
            self._own_agents = with_item(self._own_agents, attached.alias, attached.own_agent)

    async def _lost(self, code: int) -> LinkClosed:
        if not self._closed:
            self._closed = True
            self._terms.left()
        await self._close_socket(code)
        return LinkClosed("lost")

    async def _close_socket(self, code: int) -> None:
        for number, pending in list(self._pending.items()):
            if pending.is_prompt:
                self._forget(number)
            pending.settle(LinkClosed("lost"))
        try:
            async with self._terms.clock.timeout(self._terms.close_s):
                await self._socket.close(code)
        except TimeoutError:
            return  # it was interrupted, and has dropped the connection


def _with(numbers: tuple[int, ...], number: int) -> tuple[int, ...]:
    """Return the newest :data:`GIVEN_UP_MOST` of some numbers and another: a deque takes 760 bytes."""
    return (*numbers, number)[-GIVEN_UP_MOST:]


T = TypeVar("T")

SUBPROTOCOL: Final = "oscce.link.v1"
MESSAGE_BYTES: Final = 8 * 2**20
"""The largest message of a link."""
DOORS: Final = 32
"""HTTP requests under way at once; more wait within their deadline."""
ABOUT_S: Final = 60.0
"""How long the server's answer about its version is valid."""
ABOUT_FAILED_S: Final = 1.0
"""How long its failure is valid: all callers of the same request share it."""


class OsccServer:
    """One organisation's OSCC-E Server: the ports Upstream and Authority.

    Invariant: no request outlives its deadline. Neither texts nor causes of its errors have passwords,
    SessionIDs or numbers. Made inside a running loop; ``async with`` closes it.

    Args:
        base_url: ``https://host:port``, with or without a path.
        tls: Verifies the server; None means the system's authorities.
        link_scheduler: Reads the links of the whole node, and schedules processing. None: at once.
        trace: Called with each request before it is sent, and may add headers; not for links.
    """

    is_late: Callable[[], bool] = staticmethod(bool)
    """Whether the node does not get its core; set by the node."""

    def __init__(
        self,
        site: str,
        base_url: str,
        clock: Clock,
        *,
        tls: ssl.SSLContext | None = None,
        deadlines: Deadlines | None = None,
        link_scheduler: LinkScheduler | None = None,
        trace: aiohttp.TraceConfig | None = None,
    ) -> None:
        self.pool: Final = Readings()
        """Shared by all links; its counters have the amount of sharing."""
        self._site = site
        self._root = base_url.rstrip("/") + "/oscce/v1/"
        self._clock = clock
        self.link_scheduler: Final = link_scheduler or LinkScheduler(clock)
        self._links_open: set[LinkSocket] = set()
        links_open = self._links_open
        self._link_ended: Lost = lambda link, _: links_open.discard(link)
        self._deadlines = deadlines or Deadlines()
        self._tls: ssl.SSLContext | bool = tls or True
        self._http = http.session(most=DOORS, trace=trace)
        # links are bounded by the users of the node, not by the connector
        self._links = http.session(most=0, judge=self._judge)
        self._asking = asyncio.Lock()
        self._about: tuple[float, About | GatewayError] | None = None
        of = self._deadlines
        times_s = of.open_s, of.request_s, of.patience_s, of.close_s
        self.unreadable: Final = UnreadableMessages(site, clock)
        calls = self._forget, self.unreadable.note
        self._terms = {keys: Terms(self.pool, clock, keys, *times_s, *calls) for keys in (False, True)}

    def trust(self, tls: ssl.SSLContext) -> None:
        """Verify the server with *tls* from now on; requests under way and open links continue."""
        self._tls = tls
        self._forget()

    async def __aenter__(self) -> OsccServer:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        await self._http.close()
        await self._links.close()
        for link in list(self._links_open):
            link.abort()

    # ---- Upstream ----

    async def about(self) -> About:
        """Return name, version and features of the server; requested again after a minute, or a lost link.

        Raises:
            GatewayError: ``upstream_version_unsupported`` or ``upstream_unavailable``.
        """
        async with self._asking:
            if self._about is None or self._clock.now() >= self._about[0]:
                self._about = await self._ask_about()
            known = self._about[1]
        if isinstance(known, GatewayError):
            raise GatewayError(known.code, known.message, retry_after_s=known.retry_after_s) from known
        return known

    async def open(self, user: UserId, secret: SessionSecret, *, token: int, holder: str) -> OsccLink:
        """Open the user's link by any of their live sessions; the first event is ``Opened``.

        Raises:
            LinkClosed: ``session_unknown``, ``stale`` (with the token), ``unavailable``,
                ``version_unsupported``.
        """
        try:
            about = await self.about()
        except GatewayError as error:
            unsupported = error.code is ErrorCode.UPSTREAM_VERSION_UNSUPPORTED
            reason: Literal["version_unsupported", "unavailable"]
            reason = "version_unsupported" if unsupported else "unavailable"
            raise LinkClosed(reason, retry_after_s=error.retry_after_s) from error
        headers = {"OSCCE-Session": secret, "OSCCE-Link-Token": str(token), "OSCCE-Link-Holder": holder}
        asked_at = self._clock.now()
        socket = await self._upgrade(headers)
        return OsccLink(socket, user, self._terms[Feature.REQUEST_KEYS in about.features], asked_at)

    # ---- Authority ----

    async def log_on(self, credentials: LogOn) -> LoggedOn:
        """Open a session.

        Raises:
            GatewayError: As the port says.
        """
        await self.about()
        answer = await self._call("POST", "sessions", body=http.log_on_body(credentials))
        return _readable(lambda: http.logged_on(*answer, self._site))

    async def log_off(self, secret: SessionSecret) -> LoggedOff:
        """End the session. An ended or unknown one counts as removed."""
        try:
            answer = await self._call("DELETE", "sessions/current", secret)
        except GatewayError as error:
            if error.code is ErrorCode.SESSION_ENDED:
                return LoggedOff("removed", None)
            raise
        return _readable(lambda: http.logged_off(*answer))

    async def sessions(self, secret: SessionSecret) -> tuple[SessionInfo, ...]:
        """List the sessions of the user."""
        answer = await self._call("GET", "sessions", secret)
        return _readable(lambda: http.sessions(*answer))

    async def end(self, secret: SessionSecret, session: SessionId) -> LoggedOff:
        """End another session of the same user. Raises ``not_found`` when there is none."""
        missing = GatewayError(ErrorCode.NOT_FOUND, "There is no such session.")
        if session in {"", ".", "..", "current"}:
            raise missing
        try:
            answer = await self._send("DELETE", "sessions/" + quote(session, safe=""), secret)
        except RefusedAnswer as refused:
            # another user's session gets the same answer as an unknown one
            others = refused.status in {403, 404}
            raise (missing if others else refused.meaning(of_session=True)) from refused
        return _readable(lambda: http.ended(*answer))

    async def keep_alive(self, secret: SessionSecret) -> int:
        """Request a longer life; return the new end, ms since 1970."""
        answer = await self._call("POST", "sessions/current/keepalive", secret)
        return _readable(lambda: http.kept_alive(*answer))

    # ---- inside ----

    async def _ask_about(self) -> tuple[float, About | GatewayError]:
        try:
            answer = await self._call("GET", "about")
            about = _readable(lambda: http.about(answer.body))
        except GatewayError as error:
            if (fault := not_accepted(error)) is not None:
                self.unreadable.note(fault)
            unsupported = error.code is ErrorCode.UPSTREAM_VERSION_UNSUPPORTED
            sent = error if unsupported else http.unavailable(error.retry_after_s)
            sent.__cause__ = UnreachedError(trouble_of(error))  # the answer is stored, so without a traceback
            return self._clock.now() + ABOUT_FAILED_S, sent
        return self._clock.now() + ABOUT_S, about

    def _forget(self) -> None:
        self._about = None

    async def _call(
        self, method: str, path: str, secret: SessionSecret | None = None, *, body: bytes | None = None
    ) -> Answer:
        """Return the answer of a success.

        Raises:
            GatewayError: The refusal of the server, or ``upstream_unavailable``.
        """
        try:
            return await self._send(method, path, secret, body=body)
        except RefusedAnswer as refused:
            raise refused.meaning(of_session=secret is not None) from refused

    async def _send(
        self, method: str, path: str, secret: SessionSecret | None = None, *, body: bytes | None = None
    ) -> Answer:
        headers: dict[str, str] = {} if secret is None else {"OSCCE-Session": secret}
        if body is not None:
            headers["Content-Type"] = "application/json"
        url = URL(self._root + path, encoded=True)
        try:
            async with (
                self._clock.timeout(self._deadlines.answer_s),
                self._http.request(
                    method,
                    url,
                    headers=headers,
                    data=body,
                    allow_redirects=False,
                    ssl=self._tls,  # a connection that another context has verified is not used again
                ) as response,
            ):
                return await answer_of(response, self._clock)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            raise http.unavailable() from unreached(error)

    async def _judge(self, response: aiohttp.ClientResponse) -> None:
        """Raise on anything but an upgrade."""
        if response.status != 101:
            try:
                await answer_of(response, self._clock, frozenset())
            finally:
                response.close()

    async def _upgrade(self, headers: dict[str, str]) -> LinkSocket:
        try:
            async with self._clock.timeout(self._deadlines.upgrade_s(is_late=self.is_late())):
                link = await upgrade(
                    self._links,
                    URL(self._root + "link", encoded=True),
                    headers,
                    tls=self._tls,
                    subprotocol=SUBPROTOCOL,
                    message_bytes=MESSAGE_BYTES,
                    link_scheduler=self.link_scheduler,
                    ended=self._link_ended,
                )
        except RefusedAnswer as refused:
            raise refused.closed() from refused
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            self._forget()
            raise LinkClosed("unavailable") from unreached(error)
        self._links_open.add(link)
        return link


def _readable(read: Callable[[], T]) -> T:
    try:
        return read()
    except WireError as error:
        raise http.unavailable() from unreached(error)
