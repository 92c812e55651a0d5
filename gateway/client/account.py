"""Log-on, log-off and the account's requests over HTTP."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from pydantic import TypeAdapter

from gateway.client import events
from gateway.client.http import Api, Clock
from gateway.client.reconnect import Backoff
from gateway.domain.errors import ERRORS, ErrorCode, GatewayError
from gateway.domain.model import Application
from gateway.protocol import frames
from gateway.protocol.bodies import (
    AboutBody,
    DeviceBody,
    ExportBody,
    LogOffPending,
    LogOnBody,
    NoticeReference,
    NoticesBody,
    NoticeView,
    SessionBody,
    SessionCreated,
    SessionEntry,
    SessionsBody,
)
from gateway.protocol.http_form import write_body

_CREATED: Final = TypeAdapter(SessionCreated)
_ABOUT: Final = TypeAdapter(AboutBody)
_NOTICES: Final = TypeAdapter(NoticesBody)
_SESSION: Final = TypeAdapter(SessionBody)
_SESSIONS: Final = TypeAdapter(SessionsBody)
_PENDING: Final = TypeAdapter(LogOffPending)
_EXPORT: Final = TypeAdapter(ExportBody)


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """What a person logs on with; lives for one request. Its repr shows nothing."""

    user_name: str
    password: str
    remote_number: str | None = None


AskCredentials = Callable[[], Awaitable[Credentials | None]]
"""Gives what the device stores or the person types; None when there is nothing."""


@dataclass(frozen=True, slots=True, repr=False)
class KeptSession:
    """What a device may keep of a session. Its repr shows no token."""

    token: str
    id: str
    application: Application
    expires_at_ms: int
    site: str
    device: DeviceBody


class Account:
    """The session of one person at one gateway, and the routes about it.

    Invariants: a password is in memory only while its request is on its way; the token is kept
    until the log-off is confirmed.

    Args:
        api: The gateway's routes.
        clock: Waits between repeated log-offs.
        jitter: Gives numbers in [0, 1).
        tell: Called when a log-off is pending.
    """

    __slots__ = ("_api", "_clock", "_jitter", "_tell", "accepted", "session")

    def __init__(
        self, api: Api, clock: Clock, jitter: Callable[[], float], tell: Callable[[events.Event], None]
    ) -> None:
        self._api = api
        self._clock = clock
        self._jitter = jitter
        self._tell = tell
        self.session: KeptSession | None = None
        self.accepted: frozenset[NoticeReference] = frozenset()
        """Notices that the person has accepted; they go with every log-on."""

    @property
    def token(self) -> str:
        """The token in force.

        Raises:
            GatewayError: ``unauthenticated``; nobody is logged on.
        """
        if self.session is None:
            raise GatewayError(ErrorCode.UNAUTHENTICATED, "Nobody is logged on.")
        return self.session.token

    # ---- log-on and log-off ----

    async def log_on(
        self,
        credentials: Credentials,
        *,
        site: str,
        application: Application,
        device: DeviceBody,
        takeover: bool = False,
    ) -> SessionCreated:
        """Log on and keep the session.

        Raises:
            GatewayError: With a log-on code, as the page lists them.
        """
        body = LogOnBody(
            site=site,
            application=application,
            user_name=credentials.user_name,
            password=credentials.password,
            device=device,
            remote_number=credentials.remote_number,
            takeover=takeover,
            accepted_notices=tuple(self.accepted) or None,
        )
        answer = await self._api.ask("POST", "/v1/sessions", body=write_body(body))
        created = answer.read(_CREATED)
        view = created.session
        self.session = KeptSession(created.token, view.id, view.application, view.expires_at_ms, site, device)
        return created

    async def log_on_again(self, credentials: Credentials) -> None:
        """Log on as before: same site, application and device.

        Raises:
            GatewayError: As :meth:`log_on`; ``unauthenticated`` when nobody was logged on.
        """
        before = self.session
        if before is None:
            raise GatewayError(ErrorCode.UNAUTHENTICATED, "Nobody was logged on.")
        await self.log_on(credentials, site=before.site, application=before.application, device=before.device)

    def renew(self, renewed: frames.Renewed) -> None:
        """Put a fresh token in the place of the old one."""
        if self.session is not None:
            self.session = dataclasses.replace(
                self.session, token=renewed.token, expires_at_ms=renewed.expires_at_ms
            )

    async def log_off(self) -> None:
        """Log off and return when that is confirmed; until then the token is kept and it is asked again.

        Raises:
            GatewayError: The gateway refuses for a reason that does not pass by waiting. Nothing is
                confirmed then: after ``unauthenticated`` (the gateway has lost its keys) calls may
                come until the session's own end.
        """
        backoff = Backoff()
        while self.session is not None:
            wait_s: float | None = None
            until_ms: int | None = None
            try:
                answer = await self._api.ask("DELETE", "/v1/session", token=self.token)
                if answer.status != 202:
                    break
                until_ms = answer.read(_PENDING).routed_until_ms
            except GatewayError as error:
                if error.code is ErrorCode.SESSION_ENDED:
                    break
                if error.status < 500 and not ERRORS[error.code].retry:
                    raise
                wait_s = error.retry_after_s
            self._tell(events.LogOffPending(until_ms))
            backed_off_s = backoff.failed(self._jitter())
            await self._clock.sleep(backed_off_s if wait_s is None else wait_s)
        self.session = None

    # ---- questions ----

    async def about(self) -> AboutBody:
        """Return what the gateway says about itself."""
        return (await self._api.ask("GET", "/v1/about")).read(_ABOUT)

    async def notices(self, language: str | None = None) -> Sequence[NoticeView]:
        """Return the notices of the log-on page; *language* as in ``Accept-Language``."""
        return (await self._api.ask("GET", "/v1/notices", language=language)).read(_NOTICES).notices

    async def who(self) -> SessionBody:
        """Return who is logged on, and until when."""
        return (await self._api.ask("GET", "/v1/session", token=self.token)).read(_SESSION)

    async def sessions(self) -> Sequence[SessionEntry]:
        """Return the person's sessions."""
        return (await self._api.ask("GET", "/v1/sessions", token=self.token)).read(_SESSIONS).sessions

    async def end_session(self, session_id: str) -> events.LogOffPending | None:
        """End another of the person's sessions; return until when calls may come, or None: none will."""
        path = f"/v1/sessions/{quote(session_id, safe='')}"
        answer = await self._api.ask("DELETE", path, token=self.token)
        return events.LogOffPending(answer.read(_PENDING).routed_until_ms) if answer.status == 202 else None

    async def export(self) -> ExportBody:
        """Return everything that the gateway holds about the person."""
        return (await self._api.ask("GET", "/v1/me/export", token=self.token)).read(_EXPORT)
