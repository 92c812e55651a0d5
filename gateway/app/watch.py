"""How does one watch a contact centre live in a terminal? The command ``watch``.

A supervisor logs on, sees the board until the time is over or Ctrl-C, and is logged off. On a
terminal the board is on its second screen, so nothing of it stays in the scroll-back.
"""

from __future__ import annotations

import argparse
import asyncio
import getpass
import io
import os
import socket
import ssl
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path
from typing import Final

from rich.console import Console, RenderableType
from rich.live import Live

import gateway
from gateway.app.board import board
from gateway.app.stopping import Stopping
from gateway.app.watch_view import View
from gateway.client import (
    Application,
    Clock,
    DeviceBody,
    ErrorCode,
    GatewayClient,
    GatewayError,
)
from gateway.client.clock import MACHINE_CLOCK
from gateway.protocol.bodies import SessionCreated

PASSWORD_VARIABLE: Final = "OSCC_GATEWAY_WATCH_PASSWORD"  # noqa: S105 - the name of a variable, not a password
SOON_S: Final = 0.1
FIRST_DATA_S: Final = 30.0
"""How long ``--once`` waits for something to show."""
LOG_OFF_S: Final = 10.0
"""How long the command waits for the log-off to be confirmed."""


@dataclass(frozen=True, slots=True, repr=False)
class Options:
    """Whose board, and for how long. Its repr shows no password.

    *for_s*: None until the end is asked for; 0: one frame, as soon as there is data.
    """

    address: str
    user_name: str
    password: str
    site: str | None = None
    takeover: bool = False
    accept_notices: bool = False
    for_s: float | None = None
    refresh_s: float = 1.0
    trusted: ssl.SSLContext | None = None
    zone: tzinfo | None = None


class Refusal(Exception):  # noqa: N818 - names what happened
    """The board cannot be shown, and a sentence why."""


# ---- command line ----


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("address", metavar="URL", help="the gateway, for example https://gateway.example")
    parser.add_argument("--user", required=True, metavar="NAME", help="the supervisor's user name")
    parser.add_argument("--site", metavar="ID", help="the site; needed when the gateway has several")
    parser.add_argument("--takeover", action="store_true", help="end the session that is open elsewhere")
    parser.add_argument(
        "--accept-notices", action="store_true", help="accept the notices that must be acknowledged"
    )
    span = parser.add_mutually_exclusive_group()
    span.add_argument("--once", action="store_true", help="print one frame and log off")
    span.add_argument("--for", dest="for_s", type=_seconds, metavar="S", help="end after so many seconds")
    parser.add_argument("--refresh", type=_seconds, default=1.0, metavar="S", help="seconds between frames")
    parser.add_argument("--ca-file", type=Path, metavar="FILE", help="trust these authorities instead")


def run(args: argparse.Namespace) -> int:
    """Show the board. Returns the exit code."""
    try:
        options = Options(
            address=args.address,
            user_name=args.user,
            password=_password(),
            site=args.site,
            takeover=args.takeover,
            accept_notices=args.accept_notices,
            for_s=0.0 if args.once else args.for_s,
            refresh_s=args.refresh,
            trusted=_trusted(args.ca_file),
        )
        return asyncio.run(watch(options))
    except Refusal as refusal:
        sys.stderr.write(f"oscc-gateway: {refusal}\n")
        return 1


async def watch(
    options: Options,
    *,
    console: Console | None = None,
    stopping: Stopping | None = None,
    clock: Clock = MACHINE_CLOCK,
) -> int:
    """Log on, show the board, log off. Returns 0, or 1 when the session was ended or no data came.

    Args:
        options: Whose board.
        console: Where; standard output when None.
        stopping: Asks for the end; SIGINT and SIGTERM do when None.
        clock: Time.

    Raises:
        Refusal: The gateway cannot be reached or refuses the log-on.
    """
    screen = console or _console()
    stop = stopping or Stopping()
    async with GatewayClient(options.address, ssl=options.trusted, clock=clock) as client:
        view = await _log_on(client, options, clock)
        with stop.on_signals() if stopping is None else nullcontext():
            async with asyncio.TaskGroup() as tasks:
                listening = tasks.create_task(view.listen(client))
                running = tasks.create_task(client.run())
                try:
                    await _Show(client, view, options, screen, clock).until(stop.asked)
                finally:
                    code = 1 if client.ended is not None or client.mirror.position is None else 0
                    await _log_off(client, stop, clock)
                    running.cancel()
                    listening.cancel()
    return code


class _Show:
    """Draws the board again and again.

    Invariant: with ``--once`` one frame is drawn, as soon as there is data or none will come.
    """

    def __init__(
        self, client: GatewayClient, view: View, options: Options, screen: Console, clock: Clock
    ) -> None:
        self._client = client
        self._view = view
        self._options = options
        self._screen = screen
        self._clock = clock
        self._ends_at = None if options.for_s is None else clock.now() + (options.for_s or FIRST_DATA_S)

    async def until(self, asked: asyncio.Event) -> None:
        """Draw until the time is over, the session is, or the end is *asked* for."""
        once = self._options.for_s == 0
        with self._drawing() as draw:
            while not (over := self._is_over(asked)):
                if not once:
                    draw(self._frame())
                elif self._has_data():
                    break
                await self._pause(asked)
            if once or over:
                draw(self._frame())

    def _is_over(self, asked: asyncio.Event) -> bool:
        late = self._ends_at is not None and self._clock.now() >= self._ends_at
        return late or asked.is_set() or self._client.ended is not None

    def _has_data(self) -> bool:
        return self._client.mirror.position is not None and self._client.health is not None

    async def _pause(self, asked: asyncio.Event) -> None:
        """Wait for the next frame or the end."""
        wait_s = SOON_S if self._options.for_s == 0 else self._options.refresh_s
        if self._ends_at is not None:
            wait_s = min(wait_s, self._ends_at - self._clock.now())
        with suppress(TimeoutError):
            async with self._clock.timeout(wait_s):
                await asked.wait()

    def _frame(self) -> RenderableType:
        return board(
            self._client.mirror,
            self._view.health,
            self._client.server_time_ms(),
            zone=self._options.zone,
            lines=self._screen.height if self._screen.is_terminal else None,
        )

    @contextmanager
    def _drawing(self) -> Iterator[Callable[[RenderableType], None]]:
        """Give what draws a frame: in place on a terminal, one below the other elsewhere."""
        if not self._screen.is_terminal or self._options.for_s == 0:
            yield self._screen.print
            return
        with Live(console=self._screen, screen=True, auto_refresh=False) as live:
            yield lambda frame: live.update(frame, refresh=True)


# ---- log-on and log-off ----


async def _log_on(client: GatewayClient, options: Options, clock: Clock) -> View:
    """Log on as the options say; returns the view of the session.

    Raises:
        Refusal: With what the gateway says.
    """
    try:
        site, name = await _site(client, options.site)
        try:
            created = await _ask(client, options, site, ())
        except GatewayError as error:
            if error.code is not ErrorCode.NOTICE_MUST_BE_ACKNOWLEDGED or not options.accept_notices:
                raise
            created = await _ask(client, options, site, tuple(_notices(error)))
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


async def _log_off(client: GatewayClient, stop: Stopping, clock: Clock) -> None:
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


# ---- the machine ----


def _console() -> Console:
    """Return standard output; what its encoding has not becomes a question mark."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    return Console(highlight=False)


def _password() -> str:
    password = os.environ.get(PASSWORD_VARIABLE)
    if password is not None:
        return password
    if not sys.stdin.isatty():
        raise Refusal(f"There is nobody to ask for the password: set {PASSWORD_VARIABLE}.")
    return getpass.getpass()


def _trusted(ca_file: Path | None) -> ssl.SSLContext | None:
    if ca_file is None:
        return None
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError):
        raise Refusal(f"{ca_file} holds no certificate that can be read.") from None


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0.1 <= seconds <= 86_400:
        raise argparse.ArgumentTypeError("between 0.1 and 86400 seconds")
    return seconds
