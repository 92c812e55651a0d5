"""One user's link to an OSCC-E Server, which carries events, requests and their responses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple

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
from gateway.domain.model import NO_ITEMS, UserId, with_item
from gateway.domain.upstream import (
    Attached,
    LinkClosed,
    LinkEvent,
    LinkReplaced,
    Opened,
    Reading,
    SessionEnded,
    Source,
)
from gateway.protocol.websocket import PongFrame, Violation, WebSocketPing
from gateway.runtime.event_loop import resolve
from gateway.runtime.ports import Clock, OnAnswer, OnReadings
from gateway.upstream.oscce.errors import (
    NOTHING_UNREAD,
    AnswerError,
    ClockSetError,
    UnreadableData,
    WireError,
    check_unread,
    outcome_unknown,
    with_unread,
    without_read,
)
from gateway.upstream.oscce.http import Deadlines, unavailable
from gateway.upstream.oscce.messages import LARGE_CHARS, LinkReader, MessageContent, Response, answer, render
from gateway.upstream.oscce.readings import Kept, Readings
from gateway.upstream.oscce.socket import Incoming, LinkSocket

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
        deadlines: How long the server may take for each step; a command has its own deadline.
        left: Called once when the link ended otherwise than by :meth:`OsccLink.close`.
        unreadable: Called with each message that was not accepted.
    """

    pool: Readings
    clock: Clock
    keys: bool
    deadlines: Deadlines
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
        self._opening: _Opening | None = _Opening(asked_at, self.last_received_at + terms.deadlines.open_s)
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
            raise LinkClosed("lost", is_unsent=True)
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
                return terms.clock.timeout(terms.deadlines.patience_s)
            case _:
                return terms.clock.timeout(terms.deadlines.request_s)

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
            # a difference of floats: to compare an integer with a float takes 300 instructions more
            if reading.time_ms - latest_ms > 0.0 and self._clock.is_ahead(reading.time_ms, now):
                break  # it is read again, and ends the link
            readings.append(reading)
        if not readings:
            return None
        del unread[: len(readings)]
        self.last_received_at = at = now if came_at is None else came_at
        if readings[-1].time_ms - at * 1000.0 < self._clock.behind_ms:
            self._check_clock(readings[-1].time_ms, at)
        return on_readings(readings)

    def _check_clock(self, time_ms: int, came_at: float) -> None:
        """Ask for the server's time, once an event shows that its clock may have been set back.

        All later events are hidden by earlier ones then, until an answer shows it and ends the link.
        """
        if self._clock.is_behind(time_ms, came_at) and not any(
            isinstance(pending.request, KeepAlive) for pending in self._pending.values()
        ):
            with suppress(GatewayError):
                self.send(KeepAlive(), lambda _: None)

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
            return outcome_unknown() if isinstance(pending.request, Execute) else unavailable()
        if self._unread:
            self._unread = without_read(self._unread, pending.request)
        time_ms = response.time_ms if isinstance(pending.request, KeepAlive) else None
        if time_ms is None:
            return sent
        if not self._clock.answered(time_ms, pending.asked_at, self._now()):
            raise ClockSetError("the server's clock was set")
        return Alive(time_ms)

    async def _read(self, text: str) -> MessageContent:
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

    def _take(self, sent: MessageContent) -> LinkEvent | None:
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
            case Reading():
                self._check_clock(event.time_ms, self._now())

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
            async with self._terms.clock.timeout(self._terms.deadlines.close_s):
                await self._socket.close(code)
        except TimeoutError:
            return  # it was interrupted, and has dropped the connection


def _with(numbers: tuple[int, ...], number: int) -> tuple[int, ...]:
    """Return the newest :data:`GIVEN_UP_MOST` of some numbers and another: a deque takes 760 bytes."""
    return (*numbers, number)[-GIVEN_UP_MOST:]
