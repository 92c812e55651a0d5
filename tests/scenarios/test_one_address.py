"""A whole company behind one address logs on: everybody is in soon, and nobody is refused again and again.

``SCENARIO_SIZE=full``: 1,000 people at a node's defaults, in two minutes; else 200, at the same proportions.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.cluster import PASSWORD, Cluster, cluster

FULL = os.environ.get("SCENARIO_SIZE") == "full"
PEOPLE = 1_000 if FULL else 200
IN_WITHIN_S = 120.0
BURST = PEOPLE // 2
"""Of one address; the default is 500."""

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


async def arrive(at: Cluster, number: int) -> int:
    """Log on, coming back exactly when told to; returns how often it was refused."""
    refusals = 0
    while True:
        async with at.http.post(f"{at.nodes[0].base}/v1/sessions", json=log_on(number)) as answer:
            told = await answer.json(content_type=None)
        if answer.status == 201:
            return refusals
        assert answer.status == 429, told
        refusals += 1
        await asyncio.sleep(told["retry_after_s"])


async def test_everybody_behind_one_address_is_in_within_two_minutes(tmp_path: Path) -> None:
    limits = {"handshakes_per_s_of_address": 100, "handshakes_burst_of_address": BURST}
    centre = (f"--agents={PEOPLE}", "--users=1", "--start-paused", "--warm-up-s=0")
    async with cluster(tmp_path, nodes=1, limits=limits, centre=centre) as at:
        async with asyncio.timeout(IN_WITHIN_S), asyncio.TaskGroup() as tasks:
            people = [tasks.create_task(arrive(at, number)) for number in range(1, PEOPLE + 1)]
        refusals = Counter(person.result() for person in people)
        print(f"people by refusals: {dict(sorted(refusals.items()))}")
        assert sum(times * count for times, count in refusals.items()) <= 3 * PEOPLE
