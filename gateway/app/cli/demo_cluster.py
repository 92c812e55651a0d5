"""Command ``demo-cluster``: three nodes and a Redis, each in its own process, to be killed and restarted.

A small load balancer in front of them carries each connection to the next node that accepts it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Final, NamedTuple

import aiohttp
from aiohttp import web

from gateway.app import logging, process
from gateway.app.cli import CliCommand, program_name
from gateway.app.cli.demo import (
    BOARD_USER,
    SITE,
    ChildProcess,
    LocalRedis,
    RedisProgram,
    RedisUnavailable,
    add_common_arguments,
    admin_table,
    board_options,
    commands_hint,
    demo_folder,
    end_requests,
    find_redis,
    free_port,
    is_terminal,
    operator_access,
    operator_commands,
    print_introduction,
    show_board,
    simulated_center,
)
from gateway.app.cli.watch import WatchOptions
from gateway.app.config.errors import PREFIX
from gateway.app.config.settings import SecretsSection
from gateway.app.config.sources import generate_secrets, write_block
from gateway.app.process import CannotListen, CommandFailed, StopRequest, background_tasks, os_error_text
from gateway.runtime.event_loop import SystemClock, spawn
from gateway.runtime.ports import Clock
from gateway.simulator import Simulator, SimulatorSettings

_CHUNK_BYTES: Final = 64 * 1024
_CONNECT_S: Final = 1.0


class BalancerTarget(NamedTuple):
    """A node that accepts connections."""

    name: str
    port: int


class _NodeConnection(NamedTuple):
    """A connection that a node accepted."""

    name: str
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class LoadBalancer:
    """Forwards connections to nodes of this machine, in turn.

    Invariant: a connection stays with the node that accepted it, and ends when either side ends it.
    """

    def __init__(self, targets: Callable[[], Sequence[BalancerTarget]]) -> None:
        self.carried: Final[Counter[str]] = Counter()
        """Number of open connections, by node."""
        self.last: str | None = None
        """The node that took the last connection."""
        self._targets = targets
        self._tasks: asyncio.TaskGroup | None = None
        self._turn = 0

    def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one connection until its end; it is closed at once if no node accepts it."""
        if not spawn(self._tasks, self._carry(reader, writer)):
            writer.transport.abort()

    async def run(self) -> None:
        """Forward connections until cancelled; then every connection ends."""
        try:
            async with asyncio.TaskGroup() as self._tasks:
                await asyncio.Event().wait()
        finally:
            self._tasks = None

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            found = await self._connected()
            if found is not None:
                await self._joined(found, reader, writer)
        finally:
            await _abort(writer)

    async def _joined(
        self, found: _NodeConnection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        name, from_node, to_node = found
        self.last = name
        self.carried[name] += 1
        try:
            async with asyncio.TaskGroup() as tasks:
                there = tasks.create_task(_copy(reader, to_node))
                back = tasks.create_task(_copy(from_node, writer))
                there.add_done_callback(lambda _: back.cancel())
                back.add_done_callback(lambda _: there.cancel())
        finally:
            self.carried[name] -= 1
            await _abort(to_node)

    async def _connected(self) -> _NodeConnection | None:
        targets = list(self._targets())
        for step in range(len(targets)):
            name, port = targets[(self._turn + step) % len(targets)]
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(_CONNECT_S):
                    streams = await asyncio.open_connection("127.0.0.1", port)
                self._turn += step + 1
                return _NodeConnection(name, *streams)
        return None


@asynccontextmanager
async def open_balancer(balancer: LoadBalancer, port: int) -> AsyncIterator[int]:
    """Have *balancer* listen while the block lasts; yield its port, which is a free one for 0.

    Raises:
        CannotListen: The port is taken.
    """
    try:
        server = await asyncio.start_server(balancer.take, "127.0.0.1", port, start_serving=False)
    except OSError as error:
        raise CannotListen(
            f"The load balancer cannot listen at 127.0.0.1 port {port}: {os_error_text(error)}."
        ) from error
    async with background_tasks(balancer.run()):
        try:
            await server.start_serving()
            yield int(server.sockets[0].getsockname()[1])
        finally:
            server.close()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Copy bytes until either side ends."""
    with suppress(OSError):
        while chunk := await source.read(_CHUNK_BYTES):
            if sink.is_closing():  # uvloop refuses to write to a closed transport
                return
            sink.write(chunk)
            await sink.drain()
        if not sink.is_closing() and sink.can_write_eof():
            sink.write_eof()


async def _abort(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()


# ---- processes ----


VERBS: Final = ("kill", "stop", "start")
STATE_EVERY_S: Final = 0.25
"""Interval in which the state of each node is requested."""
_ANSWER_S: Final = 1.0

DOWN, STARTING, READY, DRAINING = "down", "starting", "ready", "draining"
_MARKS: Final = {DOWN: "✕", STARTING: "○", READY: "●", DRAINING: "▲"}


class NodeProcess:
    """One node of the demonstration."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name: Final = name
        self.port: Final = free_port()
        self.ops_port: Final = free_port()
        self.admin: Final = operator_access(folder)
        self.config: Final = folder / f"{name}.toml"
        self.state = DOWN
        # settings in the environment are meant for another node
        others = {key: value for key, value in os.environ.items() if not key.startswith(f"{PREFIX}__")}
        command = (sys.executable, "-m", "gateway", "serve", "--config", str(self.config))
        self.child: Final = ChildProcess(name, command, folder / f"{name}.log", others)

    async def refresh_state(self, http: aiohttp.ClientSession) -> None:
        """Request its state."""
        if self.child.pid is None:
            self.state = DOWN
            return
        try:
            async with http.get(f"http://127.0.0.1:{self.ops_port}/readyz") as answer:
                status = (await answer.text()).strip()
        except (aiohttp.ClientError, TimeoutError):
            status = STARTING
        self.state = {"ok": READY, "draining": DRAINING}.get(status, STARTING)


class DemoProcesses:
    """The nodes and their Redis."""

    def __init__(self, nodes: Sequence[NodeProcess], redis: LocalRedis, clock: Clock) -> None:
        self.nodes: Final = tuple(nodes)
        self.redis: Final = redis
        self._clock = clock

    @property
    def children(self) -> Mapping[str, ChildProcess]:
        """All processes by their names."""
        return {child.name: child for child in (*(node.child for node in self.nodes), self.redis.child)}

    def targets(self) -> list[BalancerTarget]:
        """Return the nodes that accept phones."""
        return [BalancerTarget(node.name, node.port) for node in self.nodes if node.state == READY]

    async def start(self) -> None:
        """Start all of them.

        Raises:
            RedisUnavailable: The Redis does not start.
        """
        await self.redis.start(self._clock)
        for node in self.nodes:
            await node.child.start()

    async def run(self) -> None:
        """Request the state of the nodes until cancelled."""
        timeout = aiohttp.ClientTimeout(total=_ANSWER_S)
        async with aiohttp.ClientSession(timeout=timeout) as http:
            while True:
                for node in self.nodes:
                    await node.refresh_state(http)
                await self._clock.sleep(STATE_EVERY_S)

    async def end(self) -> None:
        """End all of them."""
        for child in self.children.values():
            child.ask()
        for child in self.children.values():
            await child.end(self._clock)

    async def act(self, verb: str, name: str) -> str:
        """Apply one action of the keyboard to a process; return a sentence about the result.

        Raises:
            ValueError: There is no such process or action, or it is not possible now; with a sentence.
        """
        child = self.children.get(name)
        if child is None or verb not in VERBS:
            raise ValueError(f"Use one of {', '.join(VERBS)} with one of {', '.join(self.children)}.")
        if verb == "start":
            return await self._start(child)
        pid = child.pid
        if pid is None:
            raise ValueError(f"{name} does not run.")
        if verb == "kill":
            await child.kill()
            return f"{name} was killed (kill -9 {pid}); start it again with: start {name}."
        child.ask()
        return f"{name} was asked to end (kill {pid}): it sends its phones elsewhere first."

    def line(self, here: str | None) -> str:
        """Return the state of all processes in one line; *here* is the node that serves the board."""
        parts = [
            f"{_process_text(node.child, node.state)}{' (board)' if node.name == here else ''}"
            for node in self.nodes
        ]
        return "   ".join([*parts, _process_text(self.redis.child, READY)])

    async def _start(self, child: ChildProcess) -> str:
        if child.pid is not None:
            raise ValueError(f"{child.name} runs already (process {child.pid}).")
        if child is self.redis.child:
            try:
                await self.redis.start(self._clock)
            except RedisUnavailable as none:
                raise ValueError(str(none)) from none
        else:
            await child.start()
        return f"{child.name} starts (process {child.pid})."


def _process_text(child: ChildProcess, state: str) -> str:
    seen = DOWN if child.pid is None else state
    return f"{child.name} {_MARKS[seen]} {f'pid {child.pid}' if seen == READY else seen}"


# ---- control socket ----


CONTROL_TIMEOUT_S: Final = 60.0
"""Long enough for a busy machine, like those below: an answer, or the end of a process, comes sooner."""
CONTROL_END_S: Final = 1.0
"""How long the end of a demonstration waits for what was requested before."""

DemoAct = Callable[[str, str], Coroutine[None, None, str]]
"""Applies a verb to a name; returns a sentence, or raises one as ValueError."""


class NoDemoRunning(CommandFailed):
    """No demonstration runs."""


def control_path(port: int) -> Path:
    """Return the control address of the demonstration at the load balancer's *port*; make its folder.

    Raises:
        CannotListen: The folder belongs to another user.
    """
    parent = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    folder = Path(parent) / f"oscc-gateway-demo-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise CannotListen(f"{folder} is another user's.")
    return folder / f"{port}.sock"


@asynccontextmanager
async def control_socket(path: Path, act: DemoAct) -> AsyncIterator[None]:
    """Accept requests for *act* at *path* while the block lasts.

    Raises:
        CannotListen: The path cannot be used.
    """

    async def serve(request: web.Request) -> web.Response:
        try:
            return web.Response(text=await act(request.query["verb"], request.query["name"]))
        except ValueError as refused:
            return web.Response(text=str(refused), status=HTTPStatus.CONFLICT)

    app = web.Application()
    app.router.add_post("/", serve)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=CONTROL_END_S)
    await runner.setup()
    try:
        try:
            await web.UnixSite(runner, path).start()
        except OSError as error:
            raise CannotListen(f"{path} cannot be listened at.") from error
        try:
            yield
        finally:
            _remove_path(path)
    finally:
        await runner.cleanup()


def _remove_path(path: Path) -> None:
    path.unlink(missing_ok=True)


async def ask_demo(path: Path, verb: str, name: str) -> tuple[bool, str]:
    """Send a request to the demonstration at *path*; return whether it was done, and a sentence.

    Raises:
        NoDemoRunning: None runs there, or it does not answer.
    """
    timeout = aiohttp.ClientTimeout(total=CONTROL_TIMEOUT_S)
    try:
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path)), timeout=timeout) as http,
            http.post("http://demo/", params={"verb": verb, "name": name}) as answer,
        ):
            return answer.ok, await answer.text()
    except (aiohttp.ClientError, OSError) as error:  # a timeout is an OSError
        raise NoDemoRunning(
            "No demonstration of many nodes runs here: start it with `make demo-cluster` in another "
            "terminal. If that has a --port, give this command the same one."
        ) from error


# ---- command ----


NODES: Final = ("n1", "n2", "n3")
READY_WITHIN_S: Final = 120.0
_CHECK_S: Final = 0.05
_LOG_LINES: Final = 3

_CLUSTER_INTRODUCTION: Final = """\
A simulated contact centre: {agents} agents, {queues} queues, {upstream}
Load balancer:              {url}, for these nodes:
{nodes}
Redis of the nodes:         127.0.0.1:{redis_port}, {redis}
Configuration and logs:     {folder}

In a browser:               {url}/app/
Log on with password {password}:
  Dashboard         {board_user} (sees everything) or supervisor2 … supervisor{users}
  Remote Assistant  agent1 … agent{agents}, remote number e.g. +49 30 1234567

In another terminal, while you watch:
  {cli} kill n1      like kill -9 {pid}
  {cli} start n1     bring it back
  {cli} stop n2      it sends its phones elsewhere
  {cli} kill redis   end the bus: phones stay live
  OSCC_GATEWAY_WATCH_PASSWORD={password} \\
    {program} watch {url} --user supervisor2

{operators}  {program} drain --config {config} --node n2
  for the listener of another node: --config {folder}/n2.toml

Ctrl-C ends it.
"""

_NODE_CONFIGURATION: Final = """\
# Made by `oscc-gateway demo-cluster`; gone when it ends.
[node]
name = "{name}"
[client]
port = {port}
insecure = true
[ops]
port = {ops_port}
{admin}[limits]
drain_notice_s = 2
drain_s = 10
[bus]
url = "{bus}"
{secrets}
[[sites]]
id = "{site}"
url = "{upstream}"
display_name = "Demo"
country = "DE"
"""


class DemoFailed(CommandFailed):
    """A node does not start. The message ends with the end of its log."""


class DemoCluster(NamedTuple):
    """The parts of a running demonstration."""

    processes: DemoProcesses
    folder: Path
    upstream: str
    url: str
    port: int
    board_url: str
    board_balancer: LoadBalancer


def add_demo_cluster_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("verb", nargs="?", choices=VERBS, help="act on a process of the running demo")
    parser.add_argument("name", nargs="?", help=f"the process: {', '.join(NODES)} or redis")
    add_common_arguments(parser, "the load balancer")


def run_demo_cluster(args: argparse.Namespace) -> int:
    """Run the demo until its end is requested, or act on a running one. Returns the exit code."""
    if args.verb is not None:
        return _run_verb(args.port, args.verb, args.name or "")
    center = simulated_center(args)
    program, secrets = find_redis(), generate_secrets()
    logging.configure("error", secrets.pseudonym_key, sys.stderr)
    process.raise_file_limit()
    with demo_folder() as folder:
        return process.run_loop(_show_cluster(center, program, secrets, folder, args))


def _run_verb(port: int, verb: str, name: str) -> int:
    is_done, sentence = asyncio.run(ask_demo(control_path(port), verb, name))
    (sys.stdout if is_done else sys.stderr).write(f"{sentence}\n")
    return 0 if is_done else 1


async def _show_cluster(
    center: SimulatorSettings,
    program: RedisProgram,
    secrets: SecretsSection,
    folder: Path,
    args: argparse.Namespace,
) -> int:
    stopping, clock = StopRequest(), SystemClock()
    with end_requests(stopping):
        _print(f"A simulated contact centre, a Redis and {len(NODES)} nodes start.")
        async with running_cluster(center, program, secrets, folder, args.port) as cluster:
            if not await _all_ready(cluster.processes, stopping, clock):
                return 0
            print_introduction(f"\n{cluster_introduction(center, cluster, program)}\n", folder)
            options = cluster_board_options(center, cluster, args.for_s, args.lines)
            return await show_board(None if args.no_board else options, args.for_s, stopping, clock)


@asynccontextmanager
async def running_cluster(
    center: SimulatorSettings, program: RedisProgram, secrets: SecretsSection, folder: Path, port: int
) -> AsyncIterator[DemoCluster]:
    """Run all processes and load balancers while the block lasts; the nodes may not be ready yet.

    Raises:
        CannotListen: The port of the load balancer is taken.
        RedisUnavailable: The Redis does not start.
    """
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        simulator = await stack.enter_async_context(Simulator(center))
        redis = LocalRedis(program, folder)
        processes = DemoProcesses([NodeProcess(name, folder) for name in NODES], redis, clock)
        for node in processes.nodes:
            node.config.write_text(node_configuration(node, redis.url, simulator.url, secrets), "utf-8")
        balancer, board_balancer = LoadBalancer(processes.targets), LoadBalancer(processes.targets)
        bound_port = await stack.enter_async_context(open_balancer(balancer, port))
        board_port = await stack.enter_async_context(open_balancer(board_balancer, 0))
        await stack.enter_async_context(control_socket(control_path(bound_port), processes.act))
        stack.push_async_callback(processes.end)
        await processes.start()
        await stack.enter_async_context(background_tasks(processes.run()))
        url = f"http://127.0.0.1:{bound_port}"
        yield DemoCluster(
            processes,
            folder,
            simulator.url,
            url,
            bound_port,
            f"http://127.0.0.1:{board_port}",
            board_balancer,
        )


async def _all_ready(processes: DemoProcesses, stopping: StopRequest, clock: SystemClock) -> bool:
    """Print which nodes accept phones until all do; return False when the end was requested before."""
    began_at, waiting = clock.now(), list(processes.nodes)
    give_up_at = began_at + READY_WITHIN_S
    while True:
        for node in [node for node in waiting if node.state == READY]:
            waiting.remove(node)
            _print(f"Node {node.name} accepts phones after {clock.now() - began_at:.1f} s.")
        if not waiting:
            return True
        if stopping.asked.is_set():
            return False
        for node in processes.nodes:
            if node.child.pid is None or clock.now() >= give_up_at:
                lines = node.child.log.read_text("utf-8", "replace").splitlines()[-_LOG_LINES:]
                raise DemoFailed("\n".join([f"Node {node.name} does not start. Its log ends:", *lines]))
        await stopping.wait(clock, _CHECK_S)


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def node_configuration(node: NodeProcess, bus: str, upstream: str, secrets: SecretsSection) -> str:
    """Return the configuration file of *node*; all nodes have the same secrets."""
    return _NODE_CONFIGURATION.format(
        name=node.name,
        port=node.port,
        ops_port=node.ops_port,
        admin=admin_table(node.admin),
        bus=bus,
        upstream=upstream,
        secrets=write_block(secrets.sealing_keys, secrets.pseudonym_key),
        site=SITE,
    )


def cluster_board_options(
    center: SimulatorSettings, cluster: DemoCluster, for_s: float | None, lines: int | None
) -> WatchOptions:
    """Return the options of the board, which has a port of its own."""
    options = board_options(center.password, cluster.board_url, for_s, lines)
    return replace(options, footer=lambda: cluster_footer(center, cluster))


def cluster_footer(center: SimulatorSettings, cluster: DemoCluster) -> str:
    """Return the text below the board: the state of the processes, and the possible actions."""
    connected = cluster.board_balancer.last
    lines = [
        cluster.processes.line(connected),
        f"in another terminal: {_cli_text(cluster)} kill {connected or NODES[0]}",
        f"{cluster.url} · password {center.password} · Ctrl-C ends it",
    ]
    return "\n".join([*lines, commands_hint(cluster.folder)] if is_terminal() else lines)


def cluster_introduction(center: SimulatorSettings, cluster: DemoCluster, program: RedisProgram) -> str:
    """Return the introduction for the user who starts it."""
    processes = cluster.processes
    return _CLUSTER_INTRODUCTION.format(
        program=program_name(),
        agents=center.agents,
        queues=center.queues,
        users=center.users,
        password=center.password,
        upstream=cluster.upstream,
        url=cluster.url,
        nodes="\n".join(
            f"  {node.name}  http://127.0.0.1:{node.port}  "
            f"metrics :{node.ops_port}/metrics  pid {node.child.pid}"
            for node in processes.nodes
        ),
        redis_port=processes.redis.port,
        redis=program.where,
        folder=cluster.folder,
        board_user=BOARD_USER,
        cli=_cli_text(cluster),
        pid=processes.nodes[0].child.pid,
        operators=operator_commands(processes.nodes[0].config),
        config=processes.nodes[0].config,
    )


def _cli_text(cluster: DemoCluster) -> str:
    return f"{program_name()} demo-cluster" + ("" if cluster.port == 8080 else f" --port {cluster.port}")


COMMANDS: Final = {
    "demo-cluster": CliCommand(
        "run three nodes and their Redis with a live board; stop and start them from another terminal",
        add_demo_cluster_arguments,
        run_demo_cluster,
        "oscc-gateway demo-cluster\n  oscc-gateway demo-cluster kill n1\n"
        "  oscc-gateway demo-cluster start n1",
    ),
}
