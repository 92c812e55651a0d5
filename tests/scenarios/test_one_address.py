"""A whole company behind one address logs on: everybody is in soon, and nobody is refused again and again.

``SCENARIO_SIZE=full``: 1,000 people at a node's defaults, in two minutes; else 200, at the same proportions.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from tests.cluster.cluster import PASSWORD, Cluster, cluster
from tests.deploy import test_haproxy, test_nginx
from tests.deploy.behind_proxy import Started, in_front

FULL = os.environ.get("SCENARIO_SIZE") == "full"
PEOPLE = 1_000 if FULL else 200
IN_WITHIN_S = 120.0
BURST = PEOPLE // 2
"""Of one address; the default is 500."""

PROXIES: Final[Mapping[str, Started]] = {
    "haproxy": partial(test_haproxy.proxy, OSCC_MAXCONN="4000"),
    "nginx": partial(test_nginx.proxy, more={"worker_connections 32768;": "worker_connections 4000;"}),
}

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(240)]


def log_on(number: int) -> dict[str, Any]:
    return {
        "site": "main",
        "application": "remote_assistant",
        "user_name": f"agent{number}",
        "password": PASSWORD,
        "device": {"id": f"device-{number}", "name": "Phone", "platform": "test", "app_version": "1"},
        "remote_number": f"+49 30 {1_000_000 + number}",
    }


async def arrive(http: aiohttp.ClientSession, url: str, tls: ssl.SSLContext | bool, number: int) -> int:
    """Log on, coming back exactly when asked to; returns how often it was refused."""
    refusals = 0
    while True:
        async with http.post(f"{url}/v1/sessions", json=log_on(number), ssl=tls) as answer:
            received = await answer.json(content_type=None)
        if answer.status == 201:
            return refusals
        assert answer.status == 429, received
        refusals += 1
        await asyncio.sleep(received["retry_after_s"])


@asynccontextmanager
async def address(
    at: Cluster, http: aiohttp.ClientSession, through: str
) -> AsyncIterator[tuple[str, ssl.SSLContext | bool]]:
    """Yield where people log on, and how its certificate is trusted."""
    if through == "direct":
        yield at.nodes[0].base, True
        return
    async with in_front(at.folder, http, [at.nodes[0].ports] * 2, PROXIES[through]) as front:
        yield front.url, front.tls


@pytest.mark.parametrize("through", ["direct", "haproxy", "nginx"])
@pytest.mark.takes(15)
async def test_everybody_behind_one_address_is_in_within_two_minutes(tmp_path: Path, through: str) -> None:
    limits = {"handshakes_per_s_of_address": 100, "handshakes_burst_of_address": BURST}
    centre = (f"--agents={PEOPLE}", "--users=1", "--start-paused", "--warm-up-s=0")
    is_behind = through != "direct"
    # shorter than a proxy's: a log-on is not sent on a connection that just ends
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=2)
    async with (
        cluster(tmp_path, nodes=1, limits=limits, centre=centre, behind_proxy=is_behind) as at,
        aiohttp.ClientSession(connector=connector) as http,
        address(at, http, through) as (url, tls),
    ):
        began = time.monotonic()
        async with asyncio.timeout(IN_WITHIN_S), asyncio.TaskGroup() as tasks:
            people = [tasks.create_task(arrive(http, url, tls, number)) for number in range(1, PEOPLE + 1)]
        refusals = Counter(person.result() for person in people)
        print(f"{through}: all in after {time.monotonic() - began:.0f} s")
        print(f"people by refusals: {dict(sorted(refusals.items()))}")
        # nginx gives no appointments
        most = 3 if through != "nginx" else 12
        assert sum(times * count for times, count in refusals.items()) <= most * PEOPLE
