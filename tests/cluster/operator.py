"""An operator of a real cluster, and phones that notice when they are sent away."""

from __future__ import annotations

import asyncio
import contextlib
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from tests.cluster.cluster import PASSWORD, Cluster, cluster
from tests.doubles.servers import Server, until

TOKEN = "canary-token-of-operators"
MET_WITHIN_S = 15.0
SLOW_S = 0.1
"""Delay of each way between a node and a slow Redis: below the deadline of a command."""
USERS = 8


class Phone:
    """One device of a supervisor, connected to one node; :attr:`bye` is when and how it was sent away."""

    def __init__(self, http: aiohttp.ClientSession, number: int, base: str, device: str) -> None:
        self._http = http
        self._base = base
        self._user = f"supervisor{number}"
        self._device = device
        self.session = ""
        self.bye: asyncio.Future[tuple[float, dict[str, Any]]] = asyncio.get_running_loop().create_future()

    async def _log_on(self, body: dict[str, Any]) -> Any:
        while True:
            async with self._http.post(f"{self._base}/v1/sessions", json=body) as answer:
                received = await answer.json(content_type=None)
            if answer.status != 429:  # a new node takes its part of the budget slowly
                assert answer.status == 201, received
                return received
            await asyncio.sleep(received["retry_after_s"])

    async def live(self, arrived: asyncio.Event) -> None:
        """Log on, be served, and wait for the end."""
        device = {"id": self._device, "name": "canary-of-a-phone", "platform": "test", "app_version": "1"}
        body = {"site": "main", "application": "dashboard", "device": device}
        body |= {"user_name": self._user, "password": PASSWORD}
        created = await self._log_on(body)
        self.session = created["session"]["id"]
        url = f"{self._base}/v1/realtime"
        async with self._http.ws_connect(url, protocols=["oscc.v1.json"]) as ws:
            client = {"app": "test", "version": "1", "platform": "test"}
            await ws.send_json({"kind": "hello", "token": created["token"], "client": client})
            async for message in ws:
                frame = message.json()
                if frame["kind"] == "changes":
                    arrived.set()
                elif frame["kind"] == "ping":
                    await ws.send_json({"kind": "pong", "nonce": frame["nonce"]})
                elif frame["kind"] == "bye":
                    self.bye.set_result((asyncio.get_running_loop().time(), frame))


class Office:
    """The cluster, an operator at each node, and phones."""

    def __init__(self, running: Cluster, redis: Server, tasks: asyncio.TaskGroup) -> None:
        self.cluster = running
        self.redis = redis
        self._tasks = tasks
        self._living: list[asyncio.Task[None]] = []
        texts = [(running.folder / f"node{number}.toml").read_text() for number in (1, 2, 3)]
        self.admin = [f"http://127.0.0.1:{tomllib.loads(text)['admin']['port']}" for text in texts]

    async def phone(self, number: int, node: int, device: str) -> Phone:
        """Connect a supervisor's phone to a node, by its index."""
        phone = Phone(self.cluster.http, number, self.cluster.nodes[node].base, device)
        arrived = asyncio.Event()
        self._living.append(self._tasks.create_task(phone.live(arrived)))
        async with asyncio.timeout(MET_WITHIN_S):
            await arrived.wait()
        return phone

    async def ask(self, node: int, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Send a request to the admin listener of a node, by its index."""
        headers = {"Authorization": f"Bearer {TOKEN}"}
        url = f"{self.admin[node]}{path}"
        async with (
            asyncio.timeout(20),
            self.cluster.http.request(method, url, json=body, headers=headers) as answer,
        ):
            return answer.status, await answer.json(content_type=None)

    async def user_of(self, phone: Phone) -> str:
        """Return the hash of a phone's user, from the list of sessions."""
        _, received = await self.ask(0, "GET", "/sessions?limit=1000")
        return next(str(each["user"]) for each in received["sessions"] if each["id"] == phone.session)

    async def met(self) -> None:
        """Return when every node has found the others."""

        async def all_know() -> bool:
            known = [len((await self.ask(node, "GET", "/nodes"))[1]["nodes"]) for node in range(3)]
            return known == [3, 3, 3]

        await until(all_know, "the nodes do not know of each other")

    async def gone(self, phone: Phone, since: float) -> float:
        """Return after how many seconds a phone was sent away by the operator."""
        async with asyncio.timeout(10):
            at, bye = await phone.bye
        assert (bye["code"], bye["by"], bye["reconnect"]) == (4005, "operator", "never"), bye
        return at - since

    def leave(self) -> None:
        """End all phones."""
        for living in self._living:
            living.cancel()


@contextlib.asynccontextmanager
async def office(folder: Path, redis: Server, *, slow: bool = False) -> AsyncIterator[Office]:
    """Run three nodes with admin listeners; the environment has their token."""
    made = cluster(
        folder,
        nodes=3,
        redis=redis,
        centre=["--users", str(USERS), "--agents", "20", "--queues", "4"],
        limits={"log_ons_per_s": 200},
        with_roads=True,
    )
    async with made as running, asyncio.TaskGroup() as tasks:
        there = Office(running, redis, tasks)
        await there.met()
        for road in running.bus_roads if slow else ():
            for way in road.ways:
                way.latency_s = SLOW_S / 2
        try:
            yield there
        finally:
            there.leave()
