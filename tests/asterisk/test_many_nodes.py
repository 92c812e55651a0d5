"""Nodes of one gateway before an Asterisk, with a real Redis: moves, ends of nodes, log-ons at two."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import aiohttp
import pytest

from gateway.domain.commands import ChangeRemoteNumber, Command, SetRoutingState, Status
from gateway.domain.errors import GatewayError
from gateway.domain.model import Application
from gateway.protocol.bodies import DeviceBody
from gateway.runtime.event_loop import SystemClock
from gateway.upstream.asterisk.people import number_of
from tests.asterisk.site import NUMBER, PASSWORD, PEOPLE
from tests.cluster.cluster import config, make_secrets
from tests.cluster.phones import RoamingClient
from tests.cluster.programs import Node
from tests.doubles.fake_ami import FakeAsterisk
from tests.doubles.servers import free_port, redis_server

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(300)]

REMOTE = "Local/ana@oscc-remote/n"
ANA = f"agent:{number_of('person', 'ana')}"
OTHER = "+498912345678"
WITHIN_S = 60.0
SETTLED = {Status.APPLIED, Status.UNCHANGED}


@dataclass
class Nodes:
    """The nodes, and the Asterisk behind them."""

    fake: FakeAsterisk
    nodes: list[Node]
    stack: AsyncExitStack

    async def phone(self, node: int, *, device: str = "phone", login: str = "ana") -> RoamingClient:
        """Log on at a node; a Remote Assistant's unless it is Bea's."""
        client = await self.stack.enter_async_context(RoamingClient(self.nodes[node].base))
        is_agent = login == "ana"
        await client.log_on(
            site="main",
            application=Application.REMOTE_ASSISTANT if is_agent else Application.DASHBOARD,
            user_name=login,
            password=PASSWORD,
            device=DeviceBody(device, device, "test", "1.0"),
            remote_number=NUMBER if is_agent else None,
            takeover=True,
        )
        return client

    @property
    def is_paused(self) -> bool:
        return self.fake.queues["sales"].members[REMOTE].paused


@asynccontextmanager
async def nodes(folder: Path, count: int = 2) -> AsyncIterator[Nodes]:
    """Run nodes before an Asterisk of this process."""
    clock = SystemClock()
    fake = FakeAsterisk(lambda: clock.wall_ms() / 1000)
    fake.add_queue("sales")
    fake.add_queue("support")
    await fake.start()
    people = folder / "people.toml"
    people.write_text(PEOPLE, "utf-8")
    table = f'[sites.asterisk]\nuser = "oscc"\nsecret = "secret"\npeople_file = "{people}"\n'
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(redis_server())
        http = await stack.enter_async_context(aiohttp.ClientSession())
        made = Nodes(fake, [], stack)
        for number in range(1, count + 1):
            ports = {name: free_port() for name in ("client", "ops", "admin")}
            text = config(ports, redis.url, 1, {"drain_notice_s": 1, "drain_s": 3})
            text = text.replace("http://127.0.0.1:1", f"ami://127.0.0.1:{fake.port}") + table
            (folder / f"node{number}.toml").write_text(text + make_secrets(), "utf-8")
            node = Node(f"node{number}", folder, ports, http)
            stack.push_async_callback(node.kill9)
            made.nodes.append(node)
        await together(*(node.start() for node in made.nodes))
        await together(*(node.until_ready() for node in made.nodes))
        yield made
    await fake.stop()


ResultT = TypeVar("ResultT")


async def together(*all_of: Coroutine[None, None, ResultT]) -> list[ResultT]:
    """Await all at once."""
    async with asyncio.TaskGroup() as tasks:
        made = [tasks.create_task(one) for one in all_of]
    return [task.result() for task in made]


async def holds(what: Callable[[], object], within_s: float = WITHIN_S) -> None:
    """Return once *what* holds."""
    async with asyncio.timeout(within_s):
        while not what():  # noqa: ASYNC110 - of other processes
            await asyncio.sleep(0.05)


async def applied(client: RoamingClient, command: Command) -> None:
    """Give a command until it is carried out: while a user moves, it is refused with a reason to wait."""
    async with asyncio.timeout(WITHIN_S):
        while (await client.command(command, deadline_s=3.0)).status not in SETTLED:  # noqa: ASYNC110
            await asyncio.sleep(0.25)


def number_of_ana(client: RoamingClient) -> object:
    return dict(client.mirror.get("me", {})).get("remote_number")


async def test_a_user_moves_when_its_node_drains_and_when_it_is_killed(tmp_path: Path) -> None:
    async with nodes(tmp_path, 3) as at:
        first, second, third = at.nodes
        ana, bea = await at.phone(0), await at.phone(2, login="bea")
        await together(ana.connect(), bea.connect())
        await applied(ana, SetRoutingState("available"))
        await applied(ana, ChangeRemoteNumber(OTHER))
        await holds(lambda: dict(bea.mirror.get(ANA, {})).get("routing_state") == "available")
        ana.move(second.base)
        assert await first.term() == 0
        await applied(ana, SetRoutingState("unavailable"))
        await holds(lambda: number_of_ana(ana) == OTHER)
        assert at.is_paused
        assert at.fake.rings_at("ana") == OTHER
        ana.move(third.base)
        await second.kill9()
        await applied(ana, SetRoutingState("available"))
        await holds(lambda: dict(bea.mirror.get(ANA, {})).get("routing_state") == "available")
        assert at.fake.rings_at("ana") == OTHER
        ended = [one for one in at.fake.received if one.get("Action") == "QueueRemove"]
        assert ended == [], "nobody was logged off"


async def test_two_log_ons_at_two_nodes_end_with_one(tmp_path: Path) -> None:
    async with nodes(tmp_path) as at:
        one, other = await together(at.phone(0, device="one"), at.phone(1, device="two"))
        for client in (one, other):
            with suppress(GatewayError, TimeoutError):
                async with asyncio.timeout(WITHIN_S):
                    await client.connect()
        await holds(lambda: len([one for one in _sessions(at) if "|ana|" in one]) == 1)
        # where those log-ons read before the loser's session was gone, the next whole reading is 30 s away
        await holds(lambda: (one.ended is None) != (other.ended is None), 3 * WITHIN_S)
        left = one if one.ended is None else other
        await left.connect()
        await applied(left, SetRoutingState("available"))
        assert at.fake.rings_at("ana") == NUMBER


def _sessions(at: Nodes) -> list[str]:
    return list(at.fake.db.get("oscc-session", {}).values())
