"""Listeners: sockets, loops and threads."""

from __future__ import annotations

import asyncio
import platform
import resource
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError

import aiohttp
import pytest
import uvloop
from aiohttp import web

from gateway.app import process
from gateway.app.config.sources import generate_secrets
from gateway.app.metrics import STUCK_S
from gateway.app.process import CannotListen, StopRequest, listening, listening_in_thread, on_this_loop
from gateway.app.wiring import serving
from gateway.core.rate_limits import KeyedRates
from gateway.edge.limits import PENDING_CONNECTIONS, AddressGroup, PendingConnections
from gateway.runtime.event_loop import SystemClock
from tests.app.certificates import both_ends
from tests.app.samples import settings_for


def _app() -> web.Application:
    async def hello(request: web.Request) -> web.Response:
        return web.Response(text="hello")

    async def echo(request: web.Request) -> web.StreamResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        await ws.send_str(await ws.receive_str())
        await ws.close()
        return ws

    app = web.Application()
    app.router.add_get("/", hello)
    app.router.add_get("/echo", echo)
    return app


async def test_it_refuses_newcomers_and_keeps_who_is_there() -> None:
    async with (
        listening("client", _app(), "127.0.0.1", 0) as listener,
        aiohttp.ClientSession() as http,
        aiohttp.ClientSession() as other,
        http.ws_connect(f"{listener.url}/echo") as ws,
    ):
        await listener.refuse()
        await listener.refuse()
        with pytest.raises(aiohttp.ClientConnectorError):
            await other.get(listener.url)
        await ws.send_str("still here")
        assert await ws.receive_str() == "still here"


async def test_an_address_of_others_is_reported_in_a_sentence() -> None:
    with pytest.raises(CannotListen, match=r"The client listener cannot listen at 203.0.113.1 port 0: "):
        async with listening("client", _app(), "203.0.113.1", 0):
            pass


async def test_brackets_stand_around_ipv6() -> None:
    try:
        async with listening("client", _app(), "::1", 0) as listener:
            assert listener.url == f"http://[::1]:{listener.port}"
    except CannotListen:
        pytest.skip("this machine has no IPv6")


LOOPS = pytest.mark.parametrize(
    "loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
SITTING = """
import socket, sys
there = []
for _ in range(int(sys.argv[2])):
    there.append(socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=5))
print(len(there), flush=True)
sys.stdin.read()
"""


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - of what another process does
            await asyncio.sleep(0.01)


@LOOPS
def test_who_is_silent_before_tls_is_counted_from_the_first_moment(
    tmp_path: Path, loop: Callable[[], asyncio.AbstractEventLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "TLS_HANDSHAKE_S", 2.0)

    async def main() -> None:
        app, (tls, trust) = _app(), both_ends(tmp_path)
        there = app[PENDING_CONNECTIONS] = PendingConnections(10, 3)
        async with listening("client", app, "127.0.0.1", 0, tls) as listener:
            silent = [await asyncio.open_connection("127.0.0.1", listener.port) for _ in range(5)]
            async with asyncio.timeout(10):
                for reader, _ in silent[:2]:
                    assert await _rest_of(reader) == b"", (
                        "beyond the bound of an address its oldest silent connection makes way"
                    )
            assert (len(there), there.dropped) == (3, 2)
            assert not any(reader.at_eof() for reader, _ in silent[2:])
            async with aiohttp.ClientSession() as http, http.get(listener.url, ssl=trust) as response:
                assert await response.text() == "hello", "a caller in a handshake is not counted twice"
            assert there.dropped == 3, "a newcomer who speaks is served though the address is full"
            await _until(lambda: len(there) == 2)
            async with asyncio.timeout(10):
                assert await _rest_of(silent[4][0]) == b"", "a handshake is done in time"
            await _until(lambda: len(there) == 0)
            for _, writer in silent:
                writer.close()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())


@LOOPS
def test_an_address_does_so_many_tls_handshakes(
    tmp_path: Path, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def main() -> None:
        app, (tls, trust) = _app(), both_ends(tmp_path)
        rates: KeyedRates[AddressGroup] = KeyedRates(0.01, 3, keys_max=10)
        there = app[PENDING_CONNECTIONS] = PendingConnections(100, 100, handshakes=rates)
        async with listening("client", app, "127.0.0.1", 0, tls) as listener, asyncio.timeout(20):
            for _ in range(3):
                _, writer = await asyncio.open_connection("127.0.0.1", listener.port, ssl=trust)
                writer.transport.abort()
            with pytest.raises(ConnectionError):
                await asyncio.open_connection("127.0.0.1", listener.port, ssl=trust)
            assert there.dropped == 1
            _, writer = await asyncio.open_connection(
                "127.0.0.1", listener.port, ssl=trust, local_addr=("127.0.0.2", 0)
            )
            writer.transport.abort()
            await _until(lambda: len(there) == 0)

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())


async def _rest_of(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionError:
        return b""


@contextmanager
def _few_files(more: int) -> Iterator[None]:
    """Let this process have as many descriptors *more* as it has now."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = {int(path.name) for path in Path("/proc/self/fd").iterdir()}
    free = [number for number in range(len(taken) + more) if number not in taken]
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[more - 1] + 1, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize(
    ("loop", "is_tls"),
    [(uvloop.new_event_loop, False), (uvloop.new_event_loop, True), (asyncio.new_event_loop, False)],
    ids=["uvloop clear", "uvloop tls", "asyncio"],
)
def test_the_ops_listener_answers_when_clients_have_taken_all_descriptors(
    tmp_path: Path, loop: Callable[[], asyncio.AbstractEventLoop], *, is_tls: bool
) -> None:
    async def main() -> None:
        tls = both_ends(tmp_path)[0] if is_tls else None
        async with (
            listening_in_thread("ops", _app(), "127.0.0.1", 0) as ops,
            listening("client", _app(), "127.0.0.1", 0, tls, keeps_reserve=True) as client,
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(5)) as http,
        ):
            async with http.get(ops.url) as response:  # what that needs is loaded
                assert response.status == 200
            crowd = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                SITTING,
                str(client.port),
                "400",
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            assert crowd.stdin is not None
            assert crowd.stdout is not None
            try:
                with _few_files(120):
                    assert await crowd.stdout.readline() == b"400\n"
                    for _ in range(5):
                        async with aiohttp.ClientSession() as other, other.get(ops.url) as response:
                            assert await response.text() == "hello"
            finally:
                crowd.stdin.close()
                await crowd.wait()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())


async def test_who_comes_in_a_crowd_at_the_limit_of_files_is_answered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The reserve is not used up by resets: new connections wait in the kernel until others are answered."""
    async with listening("client", _app(), "127.0.0.1", 0, keeps_reserve=True) as client:
        asking = await asyncio.create_subprocess_exec(
            sys.executable, "-c", ASKING, str(client.port), "300", stdout=subprocess.PIPE
        )
        assert asking.stdout is not None
        with _few_files(60):
            answered = int(await asking.stdout.read())
        await asking.wait()
    assert answered >= 270
    assert caplog.messages.count("file_limit_reached") > 0


ASKING = """
import asyncio, sys

async def ask(port):
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n")
        answer = await reader.read()
        writer.close()
        return answer.startswith(b"HTTP/1.1 200")
    except ConnectionError:
        return False

async def main():
    print(sum(await asyncio.gather(*(ask(int(sys.argv[1])) for _ in range(int(sys.argv[2]))))))

asyncio.run(main())
"""


# ---- the gateway runs on uvloop with as many files as it may open ----


async def _loop_name() -> str:
    return type(asyncio.get_running_loop()).__module__


@pytest.fixture
def file_limit() -> Iterator[tuple[int, int]]:
    """The limit of open files, restored afterwards."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_cpython_on_linux_has_uvloop() -> None:
    expected = (
        "uvloop" if (platform.python_implementation(), sys.platform) == ("CPython", "linux") else "asyncio"
    )
    assert process.run_loop(_loop_name()).partition(".")[0] == expected


def test_elsewhere_it_is_the_platforms_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "python_implementation", lambda: "PyPy")
    assert process.run_loop(_loop_name()).startswith("asyncio.")


def test_as_many_files_as_may_be(file_limit: tuple[int, int]) -> None:
    most = file_limit[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, most))
    process.raise_file_limit()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (most, most)


# ---- listener in a thread of its own: answers while the main loop is blocked ----


class JumpingClock(SystemClock):
    """The machine's time, and what a test adds to it."""

    __slots__ = ("ahead_s",)

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def now(self) -> float:
        return super().now() + self.ahead_s


def app_of(tell: Callable[[], str]) -> web.Application:
    async def received(request: web.Request) -> web.Response:
        return web.Response(text=tell())

    app = web.Application()
    app.router.add_get("/", received)
    return app


def read(url: str) -> tuple[int, str]:
    """Ask as kubelet does, while this thread's event loop is stuck in here."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - an address of our own
            return answer.status, answer.read().decode()
    except HTTPError as refused:
        return refused.code, refused.read().decode()


def threads(name: str) -> int:
    return sum(thread.name == name for thread in threading.enumerate())


async def test_it_answers_from_another_thread_and_ends_with_the_block() -> None:
    here = threading.get_ident()
    async with listening_in_thread(
        "beside", app_of(lambda: str(threading.get_ident())), "127.0.0.1", 0
    ) as door:
        code, there = read(door.url)
        assert code == 200
        assert int(there) != here
        assert threads("beside") == 1
    async with aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.ClientConnectorError):
            await http.get(door.url)


async def test_a_taken_port_is_reported_here() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            CannotListen, match=rf"The beside listener cannot listen at 127\.0\.0\.1 port {port}"
        ):
            async with listening_in_thread("beside", app_of(str), "127.0.0.1", port):
                pass


async def test_an_error_of_the_block_leaves_it_as_it_is() -> None:
    with pytest.raises(KeyError, match="own"):
        async with listening_in_thread("beside", app_of(str), "127.0.0.1", 0):
            raise KeyError("own")


async def test_what_needs_the_loop_is_done_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    ask = on_this_loop(threading.get_ident, SystemClock())
    there: list[int | str] = []
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def beside() -> None:
        try:
            there.append(asyncio.run(ask()))
        except TimeoutError:
            there.append("stuck")
        loop.call_soon_threadsafe(done.set)

    asking = threading.Thread(target=beside)
    asking.start()
    await done.wait()
    asking.join()
    monkeypatch.setattr(process, "LOOP_ANSWER_S", 0.05)
    asking = threading.Thread(target=beside)
    asking.start()
    asking.join()  # this loop is stuck until that one has lost its patience
    assert there == [threading.get_ident(), "stuck"]


async def test_a_node_whose_loop_is_stuck_says_so_itself() -> None:
    clock = JumpingClock()
    settings = settings_for("http://127.0.0.1:1")
    async with asyncio.timeout(30), serving(settings, generate_secrets(), clock, StopRequest()) as addresses:
        paths = ("livez", "readyz", "startupz")
        assert [read(f"{addresses.ops}/{path}") for path in paths] == [(200, "ok\n")] * 3
        clock.ahead_s = STUCK_S + 1
        received = [read(f"{addresses.ops}/{path}") for path in paths]
        clock.ahead_s = 0.0
        stuck = (503, "the event loop is stuck\n")
        assert received == [stuck, stuck, (200, "ok\n")]
        async with aiohttp.ClientSession() as http, http.get(f"{addresses.ops}/metrics") as shown:
            assert "oscc_gateway_build_info" in await shown.text()
