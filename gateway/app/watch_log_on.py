"""How does a supervisor who watches log on, and how off?"""

from __future__ import annotations

import asyncio
import socket
import sys
import uuid
from collections.abc import Iterator
from typing import Final

import gateway
from gateway.app.stopping import Stopping
from gateway.app.watch_options import Options, Refusal
from gateway.app.watch_view import View
from gateway.client import Application, Clock, DeviceBody, ErrorCode, GatewayClient, GatewayError
from gateway.protocol.bodies import SessionCreated

BUSY: Final = frozenset({ErrorCode.RATE_LIMITED, ErrorCode.OVER_CAPACITY})
PATIENCE_S: Final = 30.0
"""How long a gateway may be busy with the log-ons of others."""
LOG_OFF_S: Final = 10.0
"""How long the log-off may wait to be confirmed."""


async def log_on(client: GatewayClient, options: Options, clock: Clock) -> View:
    """Log on as the options say; returns the view of the session.

    Raises:
        Refusal: With what the gateway says.
    """
    try:
        site, name = await _site(client, options.site)
        try:
            created = await _patiently(client, options, site, (), clock)
        except GatewayError as error:
            if error.code is not ErrorCode.NOTICE_MUST_BE_ACKNOWLEDGED or not options.accept_notices:
                raise
            created = await _patiently(client, options, site, tuple(_notices(error)), clock)
    except GatewayError as error:
        raise Refusal(_advice(error)) from None
    return View(name, created.user.display_name, Application.DASHBOARD.value, clock, options.zone)


async def _site(client: GatewayClient, wanted: str | None) -> tuple[str, str]:
    """Return id and name of the site that is meant."""
    sites = {site.id: site.display_name for site in (await client.about()).sites}
    if wanted is None and len(sites) == 1:
        (wanted,) = sites
    if wanted is None or wanted not in sites:
        raise Refusal(f"Say which site with --site: {', '.join(sorted(sites)) or 'there is none'}.")
    return wanted, sites[wanted]


async def _patiently(
    client: GatewayClient, options: Options, site: str, accepted: tuple[tuple[str, int], ...], clock: Clock
) -> SessionCreated:
    """Log on; when too many do so just now, come back when the gateway says, for as long as is bearable."""
    give_up_at = clock.now() + PATIENCE_S
    while True:
        try:
            return await _ask(client, options, site, accepted)
        except GatewayError as error:
            wait_s = error.retry_after_s
            if error.code not in BUSY or wait_s is None or clock.now() + wait_s > give_up_at:
                raise
            await clock.sleep(wait_s)


async def _ask(
    client: GatewayClient, options: Options, site: str, accepted: tuple[tuple[str, int], ...]
) -> SessionCreated:
    host = socket.gethostname()
    return await client.log_on(
        site=site,
        application=Application.DASHBOARD,
        user_name=options.user_name,
        password=options.password,
        # one machine and person is one device: a second board replaces the first
        device=DeviceBody(
            id=str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{options.user_name}.{host}")),
            name=f"watch on {host}"[:128],
            platform=sys.platform,
            app_version=gateway.__version__,
        ),
        takeover=options.takeover,
        accepted_notices=accepted,
    )


def _notices(error: GatewayError) -> Iterator[tuple[str, int]]:
    listed = error.details.get("notices")
    for notice in listed if isinstance(listed, list) else ():
        id_, version = notice.get("id"), notice.get("version")
        if isinstance(id_, str) and isinstance(version, int):
            yield id_, version


def _advice(error: GatewayError) -> str:
    """Return what to tell: the gateway's sentence and what helps."""
    match error.code:
        case ErrorCode.ALREADY_LOGGED_ON:
            return f"{error.message} --takeover ends that session."
        case ErrorCode.NOTICE_MUST_BE_ACKNOWLEDGED:
            ids = ", ".join(id_ for id_, _ in _notices(error))
            return f"{error.message} ({ids}) --accept-notices accepts them."
        case _:
            return error.message


async def log_off(client: GatewayClient, stop: Stopping, clock: Clock) -> None:
    """Log off; waits for the confirmation as long as that is bearable."""
    if client.ended is not None:
        return
    try:
        async with clock.timeout(LOG_OFF_S), asyncio.TaskGroup() as tasks:
            leaving = tasks.create_task(client.log_off())
            hurrying = tasks.create_task(_cancel_when(stop.hurried, leaving))
            leaving.add_done_callback(lambda _: hurrying.cancel())
    except* (TimeoutError, GatewayError):
        pass
    if client.session is not None:
        sys.stderr.write("oscc-gateway: The log-off is not confirmed; the session ends by itself.\n")


async def _cancel_when(event: asyncio.Event, task: asyncio.Task[None]) -> None:
    await event.wait()
    task.cancel()
