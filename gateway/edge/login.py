"""Log-on: exchange of credentials for a sealed token, and the minimum versions of apps."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Final

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import Application, Device, Ticket
from gateway.domain.texts import has_controls, readable
from gateway.domain.upstream import LoggedOn, LogOn
from gateway.edge.credentials import session_view, user_view
from gateway.edge.parts import EdgeParts
from gateway.protocol.bodies import LogOnBody, SessionCreated

_NUMBERS: Final = re.compile(r"v?(\d{1,9}(?:\.\d{1,9}){0,7})", re.ASCII)


def parse_version(text: str) -> tuple[int, ...]:
    """Return the numbers at the beginning of *text*, without trailing zeros; empty when there are none."""
    found = _NUMBERS.match(text.strip())
    numbers = [int(number) for number in found[1].split(".")] if found else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def check_version(platform: str, version: str, minimum: Mapping[str, str]) -> None:
    """Refuse an app older than the minimum of its platform, if there is one.

    Raises:
        GatewayError: ``version_unsupported`` with the ``minimum``.
    """
    least = minimum.get(platform.lower())
    if least is not None and parse_version(version) < parse_version(least):
        raise GatewayError(
            ErrorCode.VERSION_UNSUPPORTED,
            "This version of the app is too old. Please update it.",
            minimum=least,
        )


_OK: Final = "ok"
_SAY_NOTHING: Final = frozenset(
    {ErrorCode.INVALID_CREDENTIALS, ErrorCode.ACCOUNT_LOCKED, ErrorCode.ACCOUNT_BLOCKED}
)
"""Refusals whose response time must not reveal whether the user exists."""


class Login:
    """Log-ons.

    Invariant: the password exists for one call only. It is neither stored, logged nor returned.
    """

    def __init__(self, parts: EdgeParts) -> None:
        self._parts = parts
        self._sites: Final = {site.id: site for site in parts.settings.sites}

    async def log_on(self, body: LogOnBody, accept_language: str, address: str = "") -> SessionCreated:
        """Log on. Checks that do not need the OSCC-E Server come first.

        *address*: the client's address, as it is limited.

        Raises:
            GatewayError: One of the protocol's log-on errors.
        """
        began, result = self._parts.clock.now(), ErrorCode.INTERNAL.value
        try:
            created = await self._log_on(body, accept_language, address)
            result = _OK
        except GatewayError as error:
            result = error.code.value
            raise
        else:
            return created
        finally:
            self._parts.telemetry.log_ons[body.application.value, result].inc()
            self._parts.telemetry.log_on_seconds.observe(self._parts.clock.now() - began)

    async def _log_on(self, body: LogOnBody, accept_language: str, address: str) -> SessionCreated:
        site = self._sites.get(body.site)
        if site is None or body.application not in site.applications:
            raise GatewayError(
                ErrorCode.SITE_UNKNOWN,
                "There is no such site for this application. See GET /v1/about for the sites.",
            )
        check_version(body.device.platform, body.device.app_version, self._parts.settings.app_minimum)
        wall_ms = self._parts.clock.wall_ms()
        notices = self._parts.notices.acknowledged(body.accepted_notices or (), accept_language, wall_ms)
        if has_controls(body.user_name):
            raise GatewayError(ErrorCode.BAD_REQUEST, "user_name contains a control character.")
        logged_on = await self._ask(body.site, self._credentials(body), address)
        return self._created(body, logged_on, notices)

    def _credentials(self, body: LogOnBody) -> LogOn:
        number = None
        if body.application is Application.REMOTE_ASSISTANT:
            number = self._parts.numbers.accept(body.site, body.remote_number or "")
        return LogOn(
            application=body.application,
            user_name=body.user_name,
            password=body.password,
            device=Device(body.device.id, body.device.name),
            remote_number=number,
            takeover=body.takeover,
        )

    async def _ask(self, site: str, credentials: LogOn, address: str) -> LoggedOn:
        began = self._parts.clock.now()
        try:
            return await self._parts.accounts.log_on(site, credentials, address)
        except GatewayError as error:
            if error.code not in _SAY_NOTHING:
                raise
            await self._level(began)
            if error.code is ErrorCode.INVALID_CREDENTIALS:
                # one text and no details: an unknown user and a wrong password look alike
                raise GatewayError(error.code, "User name or password is wrong.") from None
            raise

    async def _level(self, began: float) -> None:
        """Wait until the next whole multiple of the floor, so that the response time reveals nothing."""
        floor_s, taken_s = self._parts.settings.log_on_floor_s, self._parts.clock.now() - began
        await self._parts.clock.sleep(max(1, math.ceil(taken_s / floor_s)) * floor_s - taken_s)

    def _created(
        self, body: LogOnBody, logged_on: LoggedOn, notices: tuple[tuple[str, int], ...]
    ) -> SessionCreated:
        user = logged_on.user
        ticket = Ticket(
            user=user.id,
            display_name=readable(user.display_name),
            application=body.application,
            secret=logged_on.secret,
            session=logged_on.session,
            device=Device(body.device.id, body.device.name),
            notices=notices,
            issued_at_ms=self._parts.clock.wall_ms(),
            expires_at_ms=logged_on.expires_at_ms,
            idle_timeout_s=logged_on.idle_timeout_s,
            server=logged_on.server,
        )
        return SessionCreated(
            token=self._parts.tokens.seal(ticket),
            session=session_view(ticket),
            user=user_view(ticket),
            remote_number=logged_on.remote_number,
        )
