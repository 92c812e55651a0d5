"""The client: log on to a gateway, hold a live mirror, send commands."""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from ssl import SSLContext
from types import TracebackType
from typing import Final, Self, TypeVar

from gateway.client.dialogue import Wishes
from gateway.client.http import (
    MACHINE_CLOCK,
    Account,
    Api,
    AskCredentials,
    ClientClock,
    Credentials,
    Ending,
    KeptSession,
    Unreachable,
    jitter,
    open_http,
)
from gateway.client.mirror import Ended, Event, HealthChanged, LogOffDelayed
from gateway.client.realtime import Access, Means, Realtime
from gateway.domain.commands import Command, Outcome, Status
from gateway.domain.errors import CloseCode, ErrorCode, GatewayError
from gateway.domain.model import Application
from gateway.protocol import bodies, frames
from gateway.protocol.codec import JSON, Codec

T = TypeVar("T")

EVERYTHING: Final = Wishes()
"""What the application sees by default, as fast as it comes."""


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

    Invariants: realtime data lives in :attr:`mirror` only and is gone when the session is; leaving
    the context says `bye` and is no log-off; after the event ``Ended`` nothing follows.

    Args:
        address: ``https://host[:port]`` of the gateway.
        wishes: What to see and how often, and which program asks.
        codec: :data:`~gateway.protocol.codec.JSON` or :data:`~gateway.protocol.codec.MSGPACK`.
        credentials: Asked when the session ended and the page says to log on again; without it
            the client ends with code 4300.
        ssl: The authorities to trust, when not the machine's.
        clock: Time.
        chance: Gives numbers in [0, 1).
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
        means = Means(self._http, address.rstrip("/"), codec, clock, chance)
        self._account = Account(Api(self._http, means.address, clock), clock, chance, self._tell)
        access = Access(
            token=lambda: self._account.token,
            renewed=self._account.renew,
            log_on_again=None if credentials is None else self._log_on_again,
        )
        self._realtime = Realtime(means, access, wishes)
        self.mirror: Final = self._realtime.memory.mirror
        """What the gateway sent; keys and values as the protocol's page names them."""

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
            # an error of the caller's block is the caller's, not one of our task
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
            site: As :meth:`about` names it.
            application: Which of the two apps this is; a Remote Assistant's agent is logged on too.
            user_name: As the person types it.
            password: Lives for this request.
            device: This device; the same id every time.
            remote_number: Where a Remote Assistant takes calls.
            takeover: End the session that the person has elsewhere.
            accepted_notices: Notices that the person has accepted, as (id, version).

        Raises:
            GatewayError: With one of the page's log-on codes and its details.
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
        """What a device may keep of the session; fresh after each event ``Renewed``."""
        return self._account.session

    def adopt(self, session: KeptSession) -> None:
        """Go on with a session that the device has kept."""
        self._account.session = session

    def acknowledge(self, notice_id: str, version: int) -> None:
        """Record that the person has accepted a notice: every log-on from now on says so."""
        accepted = bodies.NoticeReference(notice_id, version)
        self._account.accepted |= {accepted}

    async def log_off(self) -> None:
        """Log off: the mirror is forgotten at once; returns when the gateway has confirmed.

        Until then it is asked again with back-off, the token is kept, and events ``LogOffPending``
        say until when calls may still come.

        Raises:
            GatewayError: The gateway refuses for a reason that does not pass by waiting.
        """
        await self._realtime.leave()
        self.mirror.clear()
        await self._account.log_off()
        self._realtime.end(Ending(CloseCode.LOGGED_OFF, "logged_off", by="self"))

    # ---- realtime ----

    async def connect(self) -> None:
        """Connect and return when the mirror is in sync; it is kept so until the end.

        A gateway that cannot be reached is tried for ever: bound the call when that is too long.

        Raises:
            GatewayError: ``session_ended`` with `close_code`, `reason` and `by`; ``unauthenticated``
                when nobody is logged on.
        """
        self._start()
        await self._realtime.arrived()

    async def run(self) -> Ended | None:
        """Keep the mirror in sync until the end, which is returned; None after :meth:`log_off` began.

        Raises:
            GatewayError: ``unauthenticated``; nobody is logged on.
        """
        self._start()
        await self._realtime.finished()
        return self._realtime.ended

    def events(self) -> AsyncIterator[Event]:
        """Return what happens from now on; ends after ``Ended`` and when the client is closed."""
        return self._realtime.events.read()

    @property
    def ended(self) -> Ended | None:
        """How the session ended; None as long as it has not."""
        return self._realtime.ended

    @property
    def health(self) -> HealthChanged | None:
        """How current the data is, as the last ping said; None before the first ping."""
        return self._realtime.memory.health

    def server_time_ms(self) -> int | None:
        """Return the gateway's clock, as far as its frames show it; None before the first."""
        return self._realtime.memory.server_time.at(self._clock.now())

    def background(self) -> None:
        """Say `bye` and rest; the mirror stays, and the session too."""
        self._realtime.background()

    def foreground(self) -> None:
        """Go on at once, at most once per 2 s, with what changed since."""
        self._realtime.foreground()

    def network_changed(self) -> None:
        """Try at once, at most once per 2 s; a connection that is up must give a sign of life in 3 s."""
        self._realtime.network_changed()

    async def command(self, command: Command, *, deadline_s: float = 10.0) -> Outcome:
        """Have *command* carried out at most once; returns what became of it.

        One call is one intended action with one key. After a lost connection it is sent again with
        the same key, stream and deadline, so it is never carried out twice. Without a connection it
        is rejected with :class:`Unreachable`: there is no offline queue. After *deadline_s* (up to
        60) without a result it is ``unknown``: show the mirror and let the person decide.
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
        """Replace the topics; returns what became of them as soon as a gateway has said so.

        Raises:
            GatewayError: ``bad_request``, ``session_ended``, and what a gateway answers.
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
        """Ask for at most one state frame in *every_s*, now and after each reconnect.

        Raises:
            GatewayError: ``bad_request``; it is not in 0..60.
        """
        memory = self._realtime.memory
        memory.wishes = dataclasses.replace(memory.wishes, pace_s=every_s)
        if connection := self._realtime.served:
            await connection.send(frames.Pace(every_s))

    # ---- questions ----

    async def about(self) -> bodies.AboutBody:
        """Return what the gateway says about itself; needs no log-on."""
        return await self._account.about()

    async def notices(self, language: str | None = None) -> Sequence[bodies.NoticeView]:
        """Return the notices of the log-on page; *language* as in ``Accept-Language``."""
        return await self._account.notices(language)

    async def who(self) -> bodies.SessionBody:
        """Return who is logged on, and until when."""
        return await self._account.who()

    async def sessions(self) -> Sequence[bodies.SessionEntry]:
        """Return the person's sessions."""
        return await self._account.sessions()

    async def end_session(self, session_id: str) -> LogOffDelayed | None:
        """End one of the person's sessions; this one as :meth:`log_off` does.

        Returns:
            Until when calls may come to the number of a session that ended during a contact; None
            when none will.
        """
        if self.session is not None and session_id == self.session.id:
            await self.log_off()
            return None
        return await self._account.end_session(session_id)

    async def export(self) -> bodies.ExportBody:
        """Return everything that the gateway holds about the person."""
        return await self._account.export()

    # ---- inner ----

    def _start(self) -> None:
        if self.ended is None:
            _ = self._account.token
            self._realtime.start(self._tasks)

    def _tell(self, event: Event) -> None:
        self._realtime.events.tell(event)

    async def _log_on_again(self) -> None:
        credentials = None if self._credentials is None else await self._credentials()
        if credentials is None:
            raise GatewayError(ErrorCode.UNAUTHENTICATED, "There is nothing to log on with.")
        await self._account.log_on_again(credentials)


def _settle(future: asyncio.Future[T], value: T) -> None:
    if not future.done():
        future.set_result(value)
