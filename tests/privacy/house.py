"""Canaries in a cluster of real processes, and a user who makes every value travel once."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from gateway.app.config.sources import load
from gateway.edge.credentials import OpenedToken, Tokens
from tests.cluster.cluster import PASSWORD, Cluster, cluster
from tests.cluster.programs import AS_INSTALLED
from tests.cluster.spy import Spy
from tests.doubles.servers import redis_server

NUMBER = "+4930555019042"
DEVICE = "canary-of-a-device"
CENTRE = ["--users", "2", "--agents", "3", "--queues", "2", "--warm-up-s", "0"]
PROTOCOL = "oscc.v1.json"


@asynccontextmanager
async def house(folder: Path) -> AsyncIterator[tuple[Cluster, Spy]]:
    """Run two nodes on a Redis that is spied upon, with *folder* as all that they may write to."""
    async with redis_server() as redis:
        spy = Spy(redis, folder / "spied", [NUMBER, NUMBER[1:], NUMBER[-8:], DEVICE])
        await spy.prepare()
        started = cluster(folder, nodes=2, redis=redis, centre=CENTRE, launch=AS_INSTALLED)
        async with started as made, asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(spy.read_traffic())
            yield made, spy
            watching.cancel()


async def log_on(
    made: Cluster, node: int, application: str, name: str, password: str = PASSWORD
) -> dict[str, Any]:
    body: dict[str, Any] = {
        "site": "main",
        "application": application,
        "user_name": name,
        "password": password,
        "device": {"id": f"{DEVICE}-{name}", "name": DEVICE, "platform": "ios", "app_version": "1"},
    }
    if application == "remote_assistant":
        body["remote_number"] = NUMBER
    async with asyncio.timeout(30):
        while True:
            url = f"{made.nodes[node].base}/v1/sessions?q={DEVICE}"
            async with made.http.post(url, json=body) as answer:
                received: dict[str, Any] = await answer.json()
            if received.get("code") != "rate_limited":
                return received
            await asyncio.sleep(
                float(received["retry_after_s"])
            )  # a cluster that has just started is careful


@asynccontextmanager
async def phone(made: Cluster, node: int, token: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    async with made.http.ws_connect(f"{made.nodes[node].base}/v1/realtime", protocols=[PROTOCOL]) as ws:
        client = {"app": DEVICE, "version": "1", "platform": "ios"}
        await ws.send_json({"kind": "hello", "token": token, "client": client})
        yield ws


async def live(made: Cluster, seconds: float) -> tuple[list[str], list[str]]:
    """Do what phones do, right and wrong, on both nodes; returns secrets, and names that were seen."""
    refused = await log_on(made, 0, "dashboard", "supervisor1", "canary-wrong")
    assert refused["code"] == "invalid_credentials", refused
    boss = await log_on(made, 0, "dashboard", "supervisor1")
    agent = await log_on(made, 1, "remote_assistant", "agent1")
    other = await log_on(made, 1, "dashboard", "supervisor2")
    tokens = [str(each["token"]) for each in (boss, agent, other)]
    sessions = [str(each["session"]["id"]) for each in (boss, agent, other)]
    seen: list[str] = []
    async with asyncio.timeout(seconds + 20):
        async with (
            phone(made, 0, tokens[0]) as one,
            phone(made, 1, tokens[2]) as two,
            phone(made, 0, tokens[1]) as it,
        ):
            end = asyncio.get_running_loop().time() + seconds
            for ws in (one, two, it):
                while True:
                    frame = json.loads(str((await ws.receive()).data))
                    seen += names_in(frame.get("put", {}))
                    if frame["kind"] == "changes" and not frame.get("more"):
                        break
            await one.send_str('{"kind": "canary-kind"}')
            await asyncio.sleep(max(0.0, end - asyncio.get_running_loop().time()))
    for node, token in ((1, tokens[0]), (0, tokens[1])):
        url, headers = made.nodes[node].base, {"Authorization": f"Bearer {token}"}
        async with made.http.get(f"{url}/v1/me/export", headers=headers) as answer:
            assert answer.status == 200
        async with made.http.delete(f"{url}/v1/session", headers=headers) as answer:
            assert answer.status in {202, 204}
    secrets = [secret_in(token, made.folder / "node1.toml") for token in tokens]
    return [PASSWORD, "canary-", NUMBER[1:], NUMBER[-8:], *tokens, *sessions, *secrets], sorted(set(seen))


def secret_in(token: str, configuration: Path) -> str:
    """Return OSCC-E's secret SessionID, which takes the sealing keys."""
    secrets = load(configuration, {}).settings.secrets
    assert secrets is not None
    keys = [(key.id, key.key.raw) for key in secrets.sealing_keys]
    opened = Tokens(keys, ["main"], os.urandom).open(token, 0, grace_s=0.0)
    assert isinstance(opened, OpenedToken)
    return opened.ticket.secret


def names_in(put: dict[str, Any]) -> list[str]:
    return [str(value["display_name"]) for value in put.values() if value and value.get("display_name")]
