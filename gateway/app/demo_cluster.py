"""What is there to see of many nodes? The command ``demo-cluster``: three of them, and how to kill one.

A simulated contact centre, three nodes and a Redis, each a process of its own, a front door that
brings phones to the nodes, and a live board that goes through it.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from gateway.app import demo_control, logging, loop
from gateway.app.config import own_secrets
from gateway.app.config_sections import Secrets
from gateway.app.demo import BOARD_USER, PLAIN_REFRESH_S, SITE, add_demonstration
from gateway.app.demo_crew import READY, VERBS, Crew, NodeProcess
from gateway.app.front_door import FrontDoor, open_door
from gateway.app.keys import write_block
from gateway.app.listener import CannotListen
from gateway.app.living import alive
from gateway.app.redis_program import LocalRedis, NoRedis, Program, find
from gateway.app.stopping import Stopping
from gateway.app.watch import watch
from gateway.app.watch_options import Options, Refusal
from gateway.runtime.clock import SystemClock
from gateway.simulator import Simulator, SimulatorSettings

NODES: Final = ("n1", "n2", "n3")
READY_WITHIN_S: Final = 30.0
_LOOK_S: Final = 0.05
_LOG_LINES: Final = 3

_INTRODUCTION: Final = """\
A simulated contact centre: {agents} agents, {queues} queues, {upstream}
Their front door (no TLS):  {door}, for these nodes:
{nodes}
Their Redis:                127.0.0.1:{redis_port}, {redis}
Configuration and logs:     {folder}

In a browser:               {door}/app/
Log on with password {password}:
  dashboard         {board_user} (sees everything) or supervisor2 … supervisor{users}
  remote assistant  agent1 … agent{agents}, remote number e.g. +49 30 1234567

In another terminal, while you watch:
  {cli} kill n1      like kill -9 {pid}
  {cli} start n1     bring it back
  {cli} stop n2      it sends its phones elsewhere
  {cli} kill redis   phones stay live
  oscc-gateway nodes --config {folder}/gateway.toml
  OSCC_GATEWAY_WATCH_PASSWORD={password} \\
    oscc-gateway watch {door} --user supervisor2

Ctrl-C ends it.
"""

_CONFIGURATION: Final = """\
# Made by `oscc-gateway demo-cluster`; gone when it ends. Each node has its name and ports by variables.
[client]
insecure = true
[limits]
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


class DemoFailed(Exception):  # noqa: N818 - names what happened
    """A node does not start. The message is a sentence, and the end of its log."""


class Stage(NamedTuple):
    """What runs."""

    crew: Crew
    folder: Path
    upstream: str
    door: str
    port: int
    board_url: str
    board_door: FrontDoor


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("verb", nargs="?", choices=VERBS, help="do this to a process of the running demo")
    parser.add_argument("name", nargs="?", help=f"which: {', '.join(NODES)} or redis")
    add_demonstration(parser, "the front door")


def run(args: argparse.Namespace) -> int:
    """Run the demo until its end is asked for, or act on the one that runs. Returns the exit code."""
    try:
        if args.verb is not None:
            return _ask(args.port, args.verb, args.name or "")
        center = SimulatorSettings(agents=args.agents, queues=args.queues)
        program, secrets = find(), own_secrets()
        logging.configure("error", secrets.pseudonym_key, sys.stderr)
        loop.raise_file_limit()
        with TemporaryDirectory(prefix="oscc-gateway-demo-") as folder:
            return loop.run(_demo(center, program, secrets, Path(folder), args))
    except ValueError as error:
        sys.stderr.write(f"oscc-gateway: {error}\n")
        return 2
    except (CannotListen, Refusal, NoRedis, DemoFailed, demo_control.NoDemo) as refused:
        sys.stderr.write(f"oscc-gateway: {refused}\n")
        return 1


def _ask(port: int, verb: str, name: str) -> int:
    is_done, sentence = asyncio.run(demo_control.ask(demo_control.socket_path(port), verb, name))
    (sys.stdout if is_done else sys.stderr).write(f"{sentence}\n")
    return 0 if is_done else 1


async def _demo(
    center: SimulatorSettings, program: Program, secrets: Secrets, folder: Path, args: argparse.Namespace
) -> int:
    stopping, clock = Stopping(), SystemClock()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, stopping.ask)  # the terminal was closed
    with stopping.on_signals():
        async with staged(center, program, secrets, folder, args.port) as stage:
            if not await _all_ready(stage.crew, stopping, clock):
                return 0
            sys.stdout.write(f"{introduction(center, stage, program)}\n")
            sys.stdout.flush()
            if args.no_board:
                await stopping.wait(clock, args.for_s)
                return 0
            code = await watch(board_options(center, stage, args.for_s, args.lines), stopping=stopping)
            return 0 if stopping.asked.is_set() else code


@asynccontextmanager
async def staged(
    center: SimulatorSettings, program: Program, secrets: Secrets, folder: Path, port: int
) -> AsyncIterator[Stage]:
    """Run all processes and doors while the block lasts; the nodes may not be ready yet.

    Raises:
        CannotListen: The front door's port is taken.
        NoRedis: The Redis does not start.
    """
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        simulator = await stack.enter_async_context(Simulator(center))
        redis = LocalRedis(program, folder)
        config = folder / "gateway.toml"
        config.write_text(configuration(redis.url, simulator.url, secrets), "utf-8")
        crew = Crew([NodeProcess(name, config, folder) for name in NODES], redis, clock)
        door, board_door = FrontDoor(crew.targets), FrontDoor(crew.targets)
        front = await stack.enter_async_context(open_door(door, port))
        board_port = await stack.enter_async_context(open_door(board_door, 0))
        await stack.enter_async_context(demo_control.controlled(demo_control.socket_path(front), crew.act))
        stack.push_async_callback(crew.end)
        await crew.start()
        await stack.enter_async_context(alive(crew.run()))
        url = f"http://127.0.0.1:{front}"
        yield Stage(crew, folder, simulator.url, url, front, f"http://127.0.0.1:{board_port}", board_door)


async def _all_ready(crew: Crew, stopping: Stopping, clock: SystemClock) -> bool:
    """Return whether all nodes take phones; False when the end was asked for before."""
    give_up_at = clock.now() + READY_WITHIN_S
    while any(node.state != READY for node in crew.nodes):
        if stopping.asked.is_set():
            return False
        for node in crew.nodes:
            if node.child.pid is None or clock.now() >= give_up_at:
                lines = node.child.log.read_text("utf-8", "replace").splitlines()[-_LOG_LINES:]
                raise DemoFailed("\n".join([f"Node {node.name} does not start. Its log ends:", *lines]))
        await stopping.wait(clock, _LOOK_S)
    return True


def configuration(bus: str, upstream: str, secrets: Secrets) -> str:
    """Return the file that all nodes share."""
    block = write_block(secrets.sealing_keys, secrets.pseudonym_key)
    return _CONFIGURATION.format(bus=bus, upstream=upstream, secrets=block, site=SITE)


def board_options(
    center: SimulatorSettings, stage: Stage, for_s: float | None, lines: int | None = None
) -> Options:
    """Return whose board is shown: that of the supervisor who sees everything, through a door of its own."""
    return Options(
        stage.board_url,
        BOARD_USER,
        center.password,
        site=SITE,
        for_s=for_s,
        refresh_s=1.0 if sys.stdout.isatty() else PLAIN_REFRESH_S,
        lines=lines,
        footer=lambda: footer(center, stage),
    )


def footer(center: SimulatorSettings, stage: Stage) -> str:
    """Return what stands below the board: how the processes fare, and what to do to them."""
    here = stage.board_door.last
    return "\n".join(
        [
            stage.crew.line(here),
            f"try elsewhere: {_command(stage)} kill {here or NODES[0]} (then start)",
            f"{stage.door} · password {center.password} · Ctrl-C ends it",
        ]
    )


def introduction(center: SimulatorSettings, stage: Stage, program: Program) -> str:
    """Return what a person who starts it wants to know."""
    crew = stage.crew
    return _INTRODUCTION.format(
        agents=center.agents,
        queues=center.queues,
        users=center.users,
        password=center.password,
        upstream=stage.upstream,
        door=stage.door,
        nodes="\n".join(
            f"  {node.name}  http://127.0.0.1:{node.port}  "
            f"metrics :{node.ops_port}/metrics  pid {node.child.pid}"
            for node in crew.nodes
        ),
        redis_port=crew.redis.port,
        redis=program.where,
        folder=stage.folder,
        board_user=BOARD_USER,
        cli=_command(stage),
        pid=crew.nodes[0].child.pid,
    )


def _command(stage: Stage) -> str:
    return "oscc-gateway demo-cluster" + ("" if stage.port == 8080 else f" --port {stage.port}")
