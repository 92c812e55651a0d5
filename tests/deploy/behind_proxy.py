"""Two nodes, a Redis and an OSCC-E Server behind a real proxy, and what phones live through there.

A proxy is any program that takes TLS at a port, trusts nothing that clients say of themselves, and carries
HTTP and WebSockets to the two nodes: the same story is played with each with an example. Where only
the proxy's own bounds matter, both nodes are a stand-in that lets everybody on at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiohttp import web
from yarl import URL

from gateway.app.cli.demo import ChildProcess
from gateway.client import (
    Application,
    Connected,
    DeviceBody,
    GatewayClient,
    GatewayError,
    Outcome,
    Reconnecting,
    SetAgentRoutingState,
    Status,
)
from tests.app import certificates
from tests.cluster.centre import Centre
from tests.cluster.cluster import PASSWORD, config, make_secrets
from tests.cluster.operator import TOKEN
from tests.cluster.programs import Node
from tests.doubles.servers import free_port, lasting, redis_server, until

NOTICE_S: Final = 10.0
"""How long a node that leaves only says so."""
FOREIGN: Final = "203.0.113.9"
"""An address that a client claims to have."""
TOO_MANY: Final = 700
"""Log-ons at once that a proxy does not let through."""
PATIENCE_S: Final = 30.0
CENTRE: Final = ("--agents=20", "--queues=3", "--users=3", "--start-paused", "--password", PASSWORD)
OFFICE: Final = 300
"""People behind one address who log on at once: several times what a proxy lets through at once."""
OFFICE_IS_ON_S: Final = 120.0
TRIES: Final = 30
"""Log-ons of one neighbourhood, of which a proxy that lets only 5 through at once refuses some."""


@dataclass(kw_only=True)
class Front:
    """A proxy before two nodes, and the way in."""

    folder: Path
    http: aiohttp.ClientSession
    ports: Sequence[Mapping[str, int]]
    tls: ssl.SSLContext
    port: int
    """Where the proxy takes phones."""
    watch_port: int
    """Where it reports whether any node is ready."""

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"


@dataclass(kw_only=True)
class ProxiedNodes(Front):
    """What stands behind the proxy, too."""

    centre: Centre
    nodes: Sequence[Node]

    async def home(self) -> Node:
        """Return the node that has a phone."""
        for node in self.nodes:
            if node.runs and await node.metric("connections"):
                return node
        raise AssertionError("no node has a phone")


Started = Callable[[Front], ChildProcess]
"""Makes the proxy."""


@contextlib.asynccontextmanager
async def proxied_nodes(folder: Path, proxy: Started) -> AsyncIterator[ProxiedNodes]:
    """Run all of it while the block lasts."""
    tls = _tls(folder)
    async with contextlib.AsyncExitStack() as stack:
        redis = await stack.enter_async_context(redis_server())
        http = await stack.enter_async_context(aiohttp.ClientSession())
        centre = Centre(folder, http, (free_port(), free_port()), *CENTRE)
        stack.push_async_callback(centre.kill9)
        await centre.open()
        ports = [{name: free_port() for name in ("client", "ops", "admin")} for _ in range(2)]
        nodes = [Node(f"node{number}", folder, one, http) for number, one in enumerate(ports, 1)]
        for node, one in zip(nodes, ports, strict=True):
            limits = {"drain_notice_s": NOTICE_S, "drain_s": 5}
            text = config(one, redis.url, centre.port, limits, behind_proxy=True)
            text = text.replace("[admin]", f'[admin]\ntoken = "{TOKEN}"')
            (folder / f"{node.name}.toml").write_text(text + make_secrets())
            stack.push_async_callback(node.kill9)
            await node.start()
        for node in nodes:
            await node.until_ready()
        await _met(http, ports)
        made = ProxiedNodes(
            folder=folder,
            http=http,
            ports=ports,
            tls=tls,
            port=free_port(),
            watch_port=free_port(),
            centre=centre,
            nodes=nodes,
        )
        await _start(made, proxy, stack)
        yield made


async def _met(http: aiohttp.ClientSession, ports: Sequence[Mapping[str, int]]) -> None:
    """Return when both nodes know each other: a node alone leaves without notice."""

    async def do_all_know() -> bool:
        known = []
        for each in ports:
            url, headers = f"http://127.0.0.1:{each['admin']}/nodes", {"Authorization": f"Bearer {TOKEN}"}
            async with http.get(url, headers=headers) as answer:
                known.append(len((await answer.json())["nodes"]))
        return known == [2, 2]

    await until(do_all_know, "the nodes do not know of each other")


@contextlib.asynccontextmanager
async def stand_in(folder: Path, proxy: Started) -> AsyncIterator[Front]:
    """Run the proxy before nodes that let everybody on at once while the block lasts."""
    async with contextlib.AsyncExitStack() as stack:
        # shorter than a proxy's: a log-on is not sent on a connection that just ends
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=2)
        http = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        port = _port_of_the_stand_in()
        nodes = [{"client": port, "ops": port}] * 2
        yield await stack.enter_async_context(in_front(folder, http, nodes, proxy))


@contextlib.asynccontextmanager
async def in_front(
    folder: Path, http: aiohttp.ClientSession, ports: Sequence[Mapping[str, int]], proxy: Started
) -> AsyncIterator[Front]:
    """Run the proxy before the nodes at *ports* while the block lasts."""
    async with contextlib.AsyncExitStack() as stack:
        made = Front(
            folder=folder, http=http, ports=ports, tls=_tls(folder), port=free_port(), watch_port=free_port()
        )
        await _start(made, proxy, stack)
        yield made


@cache
def _port_of_the_stand_in() -> int:
    """Return its port. On a loop of its own it answers health checks while many connections are opened."""
    return lasting(_lets_everybody_on)


@contextlib.asynccontextmanager
async def _lets_everybody_on() -> AsyncIterator[int]:
    async def ok(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(status=201 if request.method == "POST" else 200)

    app = web.Application()
    app.add_routes([web.post("/v1/sessions", ok), web.get("/v1/about", ok), web.get("/readyz", ok)])
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port := free_port())
        await site.start()
        yield port
    finally:
        await runner.cleanup()


def _tls(folder: Path) -> ssl.SSLContext:
    """Make the proxy's certificate; returns how it is trusted."""
    certificate, key = certificates.make(folder, days=20_000)
    (folder / "both.pem").write_bytes(certificate.read_bytes() + key.read_bytes())
    return ssl.create_default_context(cafile=certificate)


async def _start(made: Front, proxy: Started, stack: contextlib.AsyncExitStack) -> None:
    child = proxy(made)
    stack.push_async_callback(child.kill)
    await child.start()
    await until(lambda: _is_up(made, child), "the proxy let nobody in")


async def _is_up(made: Front, child: ChildProcess) -> bool:
    assert child.pid is not None, child.log.read_text("utf-8")
    with contextlib.suppress(aiohttp.ClientError, OSError):
        async with made.http.get(f"{made.url}/v1/about", ssl=made.tls) as answer:
            return answer.status == 200
    return False


class Person:
    """A supervisor with a phone on the SDK."""

    def __init__(self, made: ProxiedNodes, number: int) -> None:
        self.client = GatewayClient(made.url, ssl=made.tls)
        self.losses: list[str] = []
        """Why its connections ended."""
        self.is_connected = False
        self._number = number

    async def arrive(self) -> None:
        """Log on and be in sync."""
        while True:
            try:
                await self.client.log_on(
                    site="main",
                    application=Application.DASHBOARD,
                    user_name=f"supervisor{self._number}",
                    password=PASSWORD,
                    device=DeviceBody(f"phone-{self._number}", "Phone", "test", "1.0"),
                )
                return await self.client.connect()
            except GatewayError as refused:
                if refused.retry_after_s is None:
                    raise
                await asyncio.sleep(refused.retry_after_s)

    async def note(self) -> None:
        """Remember what happens to its connection, for ever."""
        async for event in self.client.events():
            match event:
                case Connected():
                    self.is_connected = True
                case Reconnecting():
                    self.is_connected = False
                    self.losses.append(event.reason)
                case _:
                    pass

    async def sees(self, name: str, centre: Centre) -> None:
        """Return when a queue that is renamed now has that name on the phone."""
        key = next(key for key in self.client.mirror if key.startswith("queue:"))
        await centre.act("Rename", Key=int(key.partition(":")[2]), Name=name)
        await reached(lambda: self.client.mirror[key]["name"] == name, "the phone does not see a change")

    async def acts(self) -> Outcome:
        """Take an agent out of routing; returns what became of it."""
        agent = next(
            key.partition(":")[2]
            for key, value in self.client.mirror.items()
            if key.startswith("agent:") and value["routing_state"] == "available" and not value["handling"]
        )
        received = self.client.mirror["catalogue:reasons"]["reasons"]
        assert isinstance(received, Sequence)
        reasons: list[Any] = list(received)
        fitting = (one["reason_id"] for one in reasons if "unavailable" in (one.get("required_for") or ()))
        command = SetAgentRoutingState(
            agent_id=agent, state="unavailable", reason_id=next(fitting, None), when="after_contact"
        )
        return await self.client.command(command)


async def reached(holds: Callable[[], bool], otherwise: str) -> None:

    async def look() -> bool:
        return holds()

    await until(look, otherwise)


async def tell_the_story(made: ProxiedNodes, *, looks_at_readyz: bool) -> None:
    """Live through it: log on, see changes, act, lose a node that drains, come back on the other one."""
    one = Person(made, 1)
    async with one.client, asyncio.TaskGroup() as tasks, asyncio.timeout(4 * PATIENCE_S):
        noting = tasks.create_task(one.note())
        await one.arrive()
        await one.sees("before", made.centre)
        assert await one.acts() == Outcome(Status.APPLIED)
        leaving = await made.home()
        await _drain(made, leaving, one, tasks, looks_at_readyz=looks_at_readyz)
        (staying,) = [node for node in made.nodes if node is not leaving]
        assert await made.home() is staying
        await one.sees("after", made.centre)
        assert await one.acts() == Outcome(Status.APPLIED)
        noting.cancel()
    _nobody_believed_what_was_claimed(made)


async def _drain(
    made: ProxiedNodes, leaving: Node, one: Person, tasks: asyncio.TaskGroup, *, looks_at_readyz: bool
) -> None:
    ending = tasks.create_task(leaving.term())
    if looks_at_readyz:

        async def is_seen() -> bool:
            async with contextlib.AsyncExitStack() as stack:
                for _ in range(6):  # held open: else all would go to the other node for its few connections
                    await stack.enter_async_context(connected(made))
                return await leaving.metric("unhelloed_connections") == 0

        # within the notice new phones all go elsewhere, and nobody was sent away yet
        await until(is_seen, "the proxy does not see that a node leaves")
        assert one.losses == []
    assert await ending == 0
    await reached(lambda: one.is_connected, "the phone did not come back")
    assert one.losses == ["draining"]
    async with connected(made):
        pass


@contextlib.asynccontextmanager
async def connected(made: ProxiedNodes) -> AsyncIterator[None]:
    """Hold a WebSocket open while the block lasts; it claims to come from elsewhere."""
    claims = {"X-Forwarded-For": FOREIGN, "Forwarded": f"for={FOREIGN}", "X-Forwarded-Proto": "http"}
    url = f"{made.url}/v1/realtime"
    async with made.http.ws_connect(url, protocols=("oscc.v1.json",), ssl=made.tls, headers=claims):
        yield


def _nobody_believed_what_was_claimed(made: ProxiedNodes) -> None:
    lives = [
        line for node in made.nodes for line in node.written().splitlines() if '"session_closed"' in line
    ]
    assert lives
    assert not [line for line in lives if "203.0.113" in line]
    assert [line for line in lives if '"127.0.0.0/24"' in line]


async def knock_too_often(made: ProxiedNodes) -> None:
    """Log on again and again: the proxy refuses, says when to come back, and no node is bothered."""
    statuses: list[int] = []
    refusals: list[tuple[str | None, str | None, str]] = []
    turns = itertools.count()

    async def knock() -> None:
        while next(turns) < TOO_MANY:
            url = f"{made.url}/v1/sessions"
            async with made.http.post(url, json={}, ssl=made.tls) as answer:
                statuses.append(answer.status)
                if answer.status == 429:
                    body = await answer.json(content_type="application/problem+json")
                    refusals.append(
                        (answer.headers.get("Retry-After"), answer.headers.get("Server"), body["code"])
                    )

    async with asyncio.TaskGroup() as tasks:
        for _ in range(8):
            tasks.create_task(knock())
    assert set(statuses) == {400, 429}
    assert {code for _, _, code in refusals} == {"rate_limited"}
    assert all(wait is not None and int(wait) >= 1 for wait, _, _ in refusals)
    assert not [server for _, server, _ in refusals if server == "oscc-gateway"]


async def log_on(
    made: Front, path: str = "/v1/sessions", headers: Mapping[str, str] | None = None
) -> tuple[int, float]:
    """Log on once; returns the status, and after how many seconds to come again."""
    url = URL(f"{made.url}{path}", encoded=True)
    async with made.http.post(url, json={}, ssl=made.tls, headers=headers) as answer:
        wait_s = float(answer.headers.get("Retry-After", "0"))
        if answer.status == 429:
            received = await answer.json(content_type="application/problem+json")
            assert received["retry_after_s"] == wait_s > 0
        return answer.status, wait_s


async def let_an_office_on(made: Front) -> int:
    """Let many behind one address log on at once, each coming again exactly when it may: all get in.

    Returns:
        How many refusals there were.
    """
    waits = Counter[float]()

    async def arrive() -> None:
        while True:
            status, wait_s = await log_on(made)
            if status == 201:
                return
            assert status == 429, f"{status}, to come again in {wait_s} s"
            waits[wait_s] += 1
            await asyncio.sleep(wait_s)

    async with asyncio.timeout(OFFICE_IS_ON_S), asyncio.TaskGroup() as tasks:
        for _ in range(OFFICE):
            tasks.create_task(arrive())
    # nobody is sent to the same instant as all others
    assert max(waits.values()) < sum(waits.values()) / 5
    return sum(waits.values())


async def lose_all_nodes(made: ProxiedNodes) -> None:
    """Kill every node: the proxy reports it inside, and sends phones the time to try again."""
    for node in made.nodes:
        await node.kill9()

    async def is_reported() -> bool:
        async with made.http.get(f"{made.url}/v1/about", ssl=made.tls) as answer:
            received = answer.status, answer.headers.get("Retry-After")
        return received == (503, "5")

    await until(is_reported, "nobody says when to come back")
