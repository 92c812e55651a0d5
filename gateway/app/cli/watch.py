"""Command ``watch``: log on as a supervisor and show the live board until the end is requested.

On a terminal the board uses the alternate screen, so nothing of it stays in the scroll-back.
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
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Final, assert_never

from rich.console import Console, RenderableType
from rich.live import Live

import gateway
from gateway.app.cli import CliCommand, within
from gateway.app.cli.board import Board, BoardHealth
from gateway.app.process import CommandFailed, StopRequest
from gateway.client import (
    Application,
    Clock,
    Connected,
    DeviceBody,
    Ended,
    ErrorCode,
    Event,
    GatewayClient,
    GatewayError,
    HealthChanged,
    LogOffPending,
    NoticeShown,
    Reconnecting,
    Refused,
    Renewed,
    Unreachable,
    Value,
    Wishes,
)
from gateway.client.http import MACHINE_CLOCK
from gateway.protocol.bodies import SessionCreated

PASSWORD_VARIABLE: Final = "OSCC_GATEWAY_WATCH_PASSWORD"  # noqa: S105 - the name of a variable, not a password
PLAIN_LINES: Final = 40
"""Lines of a frame without a terminal's height."""
_SECONDS: Final = within(float, 0.1, 86_400, "between 0.1 and 86400 seconds")
_LINES: Final = within(int, 16, 10_000, "between 16 and 10000 lines")


@dataclass(frozen=True, slots=True, repr=False)
class WatchOptions:
    """User, gateway and duration of a board. Its repr shows no password.

    *for_s*: None: until the end is requested; 0: one frame, as soon as there is data. *lines*: of a frame;
    None: as many as the terminal has, or :data:`PLAIN_LINES`.
    """

    address: str
    user_name: str
    password: str
    site: str | None = None
    takeover: bool = False
    accept_notices: bool = False
    for_s: float | None = None
    refresh_s: float = 1.0
    lines: int | None = None
    footer: str | Callable[[], str] | None = None
    """Text below the board, of one or more lines; made for each frame."""
    trusted: ssl.SSLContext | None = None
    zone: tzinfo | None = None
    waits_for_site: bool = False
    """Whether to repeat the log-on while the site is not reached, because it starts together with the
    board.
    """


class WatchError(CommandFailed):
    """The board cannot be shown."""


def add_watch_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "address", type=_address, metavar="URL", help="the gateway, for example https://gateway.example"
    )
    parser.add_argument("--user", required=True, metavar="NAME", help="the supervisor's user name")
    parser.add_argument("--site", metavar="ID", help="the site; needed when the gateway has several")
    parser.add_argument("--takeover", action="store_true", help="replace a session that is open elsewhere")
    parser.add_argument(
        "--accept-notices", action="store_true", help="accept the notices that must be acknowledged"
    )
    span = parser.add_mutually_exclusive_group()
    span.add_argument("--once", action="store_true", help="print one frame and log off")
    span.add_argument("--for", dest="for_s", type=_SECONDS, metavar="S", help="end after S seconds")
    parser.add_argument(
        "--refresh", type=_SECONDS, default=1.0, metavar="S", help="seconds between frames; default 1"
    )
    add_lines(parser)
    parser.add_argument(
        "--ca-file",
        type=Path,
        metavar="FILE",
        help="certificate authorities to trust instead of the system's",
    )


def add_lines(parser: argparse.ArgumentParser) -> None:
    """Add the option for the height of a board."""
    lines = f"lines of the board; default: the terminal's, {PLAIN_LINES} without one"
    parser.add_argument("--lines", type=_LINES, metavar="N", help=lines)


def watch_options(args: argparse.Namespace) -> WatchOptions:
    """Return the options of the command line; ask for the password if a terminal is there.

    Raises:
        WatchError: There is no password, or a file holds no certificate.
    """
    return WatchOptions(
        address=args.address,
        user_name=args.user,
        password=_password(),
        site=args.site,
        takeover=args.takeover,
        accept_notices=args.accept_notices,
        for_s=0.0 if args.once else args.for_s,
        refresh_s=args.refresh,
        lines=args.lines,
        trusted=_trusted(args.ca_file),
    )


def _password() -> str:
    password = os.environ.get(PASSWORD_VARIABLE)
    if password is not None:
        return password
    if sys.stdin.isatty():
        with suppress(EOFError):
            return getpass.getpass()
    raise WatchError(f"There is no password: type it at a terminal, or set {PASSWORD_VARIABLE}.")


def _trusted(ca_file: Path | None) -> ssl.SSLContext | None:
    if ca_file is None:
        return None
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise WatchError(f"{ca_file} holds no certificate that can be read.") from error


def _address(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise argparse.ArgumentTypeError("must begin with https:// or http://")
    return text


# ---- state of the board ----


WORSE: Final = frozenset({"attention", "action"})


class BoardState:
    """The state of one user's board, updated by events and changes.

    Args:
        zone: The time zone of shown times; None: the machine's.
    """

    def __init__(self, site: str, user: str, application: str, clock: Clock, zone: tzinfo | None) -> None:
        self._clock = clock
        self._zone = zone
        self._shown = BoardHealth(site, user, application, connected=False)
        self._next_try_at: float | None = None
        self._changed_ms: int | None = None
        """When data last changed."""

    @property
    def health(self) -> BoardHealth:
        """The user of the board, and the health of its data."""
        shown = self._shown
        # while OSCC-E is silent, the gateway sends data that it received before
        if shown.as_of_ms is not None and self._changed_ms is not None and shown.upstream == "live":
            shown = replace(shown, as_of_ms=max(shown.as_of_ms, self._changed_ms))
        if self._next_try_at is not None:
            shown = replace(shown, reconnect_in_s=self._next_try_at - self._clock.now())
        return shown

    async def listen(self, client: GatewayClient) -> None:
        """Process everything that *client* reports until it ends."""
        end = client.mirror.listen(lambda *change: self.changed(*change, at_ms=client.server_time_ms()))
        try:
            async for event in client.events():
                self.received(event, client.server_time_ms())
        finally:
            end()

    def changed(self, key: str, before: Value | None, after: Value | None, *, at_ms: int | None) -> None:
        """Process a change of the mirror; a queue that gets worse becomes the last event."""
        self._changed_ms = at_ms
        if before is None or after is None or not key.startswith("queue:"):
            return
        level = after.get("level")
        if level != before.get("level") and level in WORSE:
            self._note(f"{after.get('name', key)}: {level}", at_ms)

    def received(self, event: Event, at_ms: int | None) -> None:
        """Process an event that came at *at_ms*."""
        text = self._apply(event)
        if text is not None:
            self._note(text, at_ms)

    def _apply(self, event: Event) -> str | None:
        """Record *event*; return its text when it belongs in the last line."""
        before = self._shown
        match event:
            case Connected():
                self._shown, self._next_try_at = replace(before, connected=True, reason=None), None
                return "connected"
            case Reconnecting():
                self._shown = replace(before, connected=False, reason=event.reason)
                self._next_try_at = self._clock.now() + event.in_s
                return f"connection lost: {event.reason}"
            case HealthChanged(upstream=upstream, bus=bus, as_of_ms=as_of_ms):
                self._shown = replace(before, upstream=upstream, bus=bus, as_of_ms=as_of_ms)
                is_news = before.upstream is not None and (before.upstream, before.bus) != (upstream, bus)
                return f"upstream {upstream}, bus {bus}" if is_news else None
            case Ended():
                ended = event.reason if event.by is None else f"{event.reason} by {event.by}"
                self._shown = replace(before, connected=False, ended=ended)
                return f"session ended: {ended}"
            case _:
                return _event_text(event)

    def _note(self, text: str, at_ms: int | None) -> None:
        if at_ms is not None:
            text = f"{datetime.fromtimestamp(at_ms / 1000, self._zone):%H:%M:%S} {text}"
        self._shown = replace(self._shown, last_event=text)


def _event_text(event: NoticeShown | Refused | Renewed | LogOffPending) -> str | None:
    match event:
        case NoticeShown():
            return f"notice: {event.notice.title}"
        case Refused():
            return f"refused: {event.error.message}"
        case LogOffPending():
            return "log-off is not confirmed yet"
        case Renewed():
            return None
        case _:
            assert_never(event)


# ---- log on and off ----


BUSY: Final = frozenset({ErrorCode.RATE_LIMITED, ErrorCode.OVER_CAPACITY})
LOG_ON_PATIENCE_S: Final = 30.0
"""How long a gateway may be busy with other log-ons."""
LOG_OFF_S: Final = 10.0
"""How long the log-off may wait to be confirmed."""


async def log_on(client: GatewayClient, options: WatchOptions, clock: Clock) -> BoardState:
    """Log on with the options; return the view of the session.

    Raises:
        WatchError: With the refusal of the gateway.
    """
    try:
        site, name = await _site(client, options.site)
        try:
            created = await _log_on_with_retries(client, options, site, (), clock)
        except GatewayError as error:
            if error.code is not ErrorCode.NOTICE_MUST_BE_ACKNOWLEDGED or not options.accept_notices:
                raise
            created = await _log_on_with_retries(client, options, site, tuple(_notices(error)), clock)
    except GatewayError as error:
        raise WatchError(_advice(error)) from error
    return BoardState(name, created.user.display_name, Application.DASHBOARD.value, clock, options.zone)


async def _site(client: GatewayClient, wanted: str | None) -> tuple[str, str]:
    """Return id and name of the wanted site."""
    sites = {site.id: site.display_name for site in (await client.about()).sites}
    if wanted is None and len(sites) == 1:
        (wanted,) = sites
    if wanted is None or wanted not in sites:
        raise WatchError(f"Choose a site with --site: {', '.join(sorted(sites)) or 'there is none'}.")
    return wanted, sites[wanted]


async def _log_on_with_retries(
    client: GatewayClient,
    options: WatchOptions,
    site: str,
    accepted: tuple[tuple[str, int], ...],
    clock: Clock,
) -> SessionCreated:
    """Log on; after a refusal for its rate, try again at the gateway's time, for a bounded time."""
    give_up_at = clock.now() + LOG_ON_PATIENCE_S
    repeated = BUSY | ({ErrorCode.UPSTREAM_UNAVAILABLE} if options.waits_for_site else set())
    while True:
        try:
            return await _try_log_on(client, options, site, accepted)
        except GatewayError as error:
            wait_s = error.retry_after_s
            if error.code not in repeated or wait_s is None or clock.now() + wait_s > give_up_at:
                raise
            await clock.sleep(wait_s)


async def _try_log_on(
    client: GatewayClient, options: WatchOptions, site: str, accepted: tuple[tuple[str, int], ...]
) -> SessionCreated:
    host = socket.gethostname()
    return await client.log_on(
        site=site,
        application=Application.DASHBOARD,
        user_name=options.user_name,
        password=options.password,
        # one machine and user is one device: a second board replaces the first
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
    """Return the text to print: the gateway's sentence and advice."""
    match error.code:
        case ErrorCode.ALREADY_LOGGED_ON:
            return f"{error.message} --takeover ends that session."
        case ErrorCode.NOTICE_MUST_BE_ACKNOWLEDGED:
            ids = ", ".join(id_ for id_, _ in _notices(error))
            return f"{error.message} ({ids}) --accept-notices accepts them."
        case _ if isinstance(error, Unreachable):
            return f"{error.message} Check the address, and for https the certificate (--ca-file)."
        case _:
            return error.message


async def log_off(client: GatewayClient, stop: StopRequest, clock: Clock) -> None:
    """Log off; wait for the confirmation for a bounded time."""
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


# ---- command ----


SOON_S: Final = 0.1
EARLY_S: Final = 0.002
"""Event loops wake up to a millisecond early."""
FIRST_DATA_S: Final = 30.0
"""How long ``--once`` waits for data."""
FIRST_FRAME_S: Final = 3.0
"""Time after which a frame that is not drawn in place is shown even without data."""
WISHES: Final = Wishes(ping_s=10)
"""Interval of pings: a board shows the age of its data, which each ping has."""


def run_watch(args: argparse.Namespace) -> int:
    """Show the board. Returns the exit code."""
    return asyncio.run(watch(watch_options(args)))


async def watch(
    options: WatchOptions,
    *,
    console: Console | None = None,
    stopping: StopRequest | None = None,
    clock: Clock = MACHINE_CLOCK,
) -> int:
    """Log on, show the board, log off. Returns 0, or 1 when the session was ended or no data came.

    *console* None: standard output. *stopping* None: SIGINT and SIGTERM request the end.

    Raises:
        WatchError: The gateway cannot be reached or refuses the log-on.
    """
    screen = console or _console()
    stop = stopping or StopRequest()
    async with GatewayClient(options.address, wishes=WISHES, ssl=options.trusted, clock=clock) as client:
        view = await log_on(client, options, clock)
        with stop.on_signals() if stopping is None else nullcontext():
            async with asyncio.TaskGroup() as tasks:
                listening = tasks.create_task(view.listen(client))
                running = tasks.create_task(client.run())
                try:
                    await _Screen(client, view, options, screen, clock).until(stop.asked)
                finally:
                    code = 1 if client.ended is not None or client.mirror.position is None else 0
                    await log_off(client, stop, clock)
                    running.cancel()
                    listening.cancel()
    return code


class _Screen:
    """Draws the board at intervals.

    Invariant: with ``--once`` one frame is drawn, when there is data or it is certain that there will be
    none.
    """

    def __init__(
        self, client: GatewayClient, view: BoardState, options: WatchOptions, screen: Console, clock: Clock
    ) -> None:
        self._client = client
        self._view = view
        self._options = options
        self._screen = screen
        self._clock = clock
        self._is_once = options.for_s == 0
        self._is_printed = False
        self._in_place = screen.is_terminal and not self._is_once
        began = clock.now()
        self._ends_at = None if options.for_s is None else began + (options.for_s or FIRST_DATA_S)
        self._show_anyway_at = began + (FIRST_DATA_S if self._is_once else FIRST_FRAME_S)

    async def until(self, asked: asyncio.Event) -> None:
        """Draw until the time is over, the session has ended, or the end is *asked* for."""
        with self._drawing() as draw:
            while not self._is_over(asked):
                if self._is_worth_a_frame():
                    draw(self._frame())
                    if self._is_once:
                        return
                await self._pause(asked)
            draw(self._frame())

    def _is_over(self, asked: asyncio.Event) -> bool:
        late = self._ends_at is not None and self._clock.now() >= self._ends_at - EARLY_S
        return late or asked.is_set() or self._client.ended is not None

    def _has_data(self) -> bool:
        return self._client.mirror.position is not None and self._client.health is not None

    def _is_worth_a_frame(self) -> bool:
        """Return whether to print a frame below the last one: there is data, or none for some time."""
        return self._in_place or self._has_data() or self._clock.now() >= self._show_anyway_at

    async def _pause(self, asked: asyncio.Event) -> None:
        """Wait for the next frame or the end."""
        is_soon = not self._has_data() and self._clock.now() < self._show_anyway_at
        wait_s = SOON_S if is_soon else self._options.refresh_s
        if self._ends_at is not None:
            wait_s = min(wait_s, self._ends_at - self._clock.now())
        with suppress(TimeoutError):
            async with self._clock.timeout(wait_s):
                await asked.wait()

    def _frame(self) -> RenderableType:
        footer = self._options.footer
        return Board(
            self._client.mirror,
            self._view.health,
            self._client.server_time_ms(),
            zone=self._options.zone,
            lines=self._options.lines or (self._screen.height if self._in_place else PLAIN_LINES),
            footer=footer() if callable(footer) else footer,
        )

    @contextmanager
    def _drawing(self) -> Iterator[Callable[[RenderableType], None]]:
        """Yield the function that draws a frame: in place on a terminal, one below the other elsewhere."""
        if not self._in_place:
            yield self._print
            return
        with Live(console=self._screen, screen=True, auto_refresh=False) as live:
            yield lambda frame: live.update(frame, refresh=True)

    def _print(self, frame: RenderableType) -> None:
        if self._is_printed:
            self._screen.print()
        self._screen.print(frame)
        self._is_printed = True


def _console() -> Console:
    """Return standard output; characters that its encoding lacks become question marks."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    return Console(highlight=False)


COMMANDS: Final = {
    "watch": CliCommand(
        "log on as a supervisor and show a live board in this terminal",
        add_watch_arguments,
        run_watch,
        "oscc-gateway watch https://gateway.example --user anna\n"
        "  OSCC_GATEWAY_WATCH_PASSWORD=… oscc-gateway watch https://gateway.example --user anna --once",
    ),
}
