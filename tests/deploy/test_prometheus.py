"""A real Prometheus with real nodes: every panel has data, a drain raises no alert."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from gateway.telemetry import PREFIX
from tests.cluster.cluster import Cluster, Size, cluster
from tests.cluster.crowd import Crowd
from tests.cluster.stage import options_of
from tests.deploy.expressions import alerts, recorded, shown
from tests.deploy.programs import machine
from tests.deploy.prometheus_server import Prometheus, prometheus
from tests.doubles.servers import redis_server
from tests.doubles.tasks import beside

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(240)]

SIZE: Final = Size(users=6, phones=2, agents=20, queues=4, fault_s=0, nodes=2)
LIMITS: Final = {"drain_notice_s": 8, "drain_s": 5, "log_ons_per_s": 2.0}
"""One user moves per second, so that the planned duration of a drain is there for some scrapes."""
EACH: Final = 'namespace=~".*",job=~".*",instance=~".*"'
EMPTY: Final = {
    # there is none before the first fault, and no reason while Redis refuses nothing
    f"sum by (part) (increase(oscc_gateway_faults_total{{{EACH}}}[10m]))",
    f"max by (instance, reason) (oscc_gateway_bus_refused{{{EACH}}}) > 0",
    f"oscc_gateway_drain_state{{{EACH}}} == 1",
    f"max by (instance) (time() - oscc_gateway_drain_began_timestamp_seconds{{{EACH}}})",
    'ALERTS{namespace=~".*|",alertname=~"OsccGateway.*", alertstate="firing"}',
    # no site is an Asterisk
    f"max by (site, what) (oscc_gateway_asterisk_waiting{{{EACH}}})",
    # these nodes speak clear text
    f"min (oscc_gateway_certificate_expiry_timestamp_seconds{{{EACH}}}) - time()",
}
"""What has no value while all is well."""
PERHAPS: Final = "oscc_gateway_memory_limit_bytes"
"""What has one only where the machine gives its processes a limit."""
CRITICAL: Final = 'ALERTS{severity="critical"}'


@pytest.mark.takes(15)
async def test_every_panel_shows_something_and_a_drain_wakes_nobody(tmp_path: Path) -> None:
    machine("prometheus")
    async with (
        redis_server() as redis,
        cluster(tmp_path, nodes=2, redis=redis, centre=options_of(SIZE), limits=LIMITS) as running,
        await Crowd.of(running, SIZE) as crowd,
        prometheus(tmp_path, running) as seer,
    ):
        await crowd.arrive(within_s=30)
        crowd.start_traffic(roam_s=None, command_s=2)
        await drain(running, seer)
        await everything_is_shown(seer)
        await nobody_is_woken(seer)
        await what_is_wrong_is_found(seer)
        await crowd.rest()


async def drain(running: Cluster, seer: Prometheus) -> None:
    """Let a node leave and come back, while Prometheus looks on."""
    leaving = running.nodes[await running.busiest()]
    async with beside(leaving.term()) as ending:
        await seer.until_seen("oscc_gateway_drain_state == 1", 10)
    assert ending.result() == 0
    await leaving.start()
    await leaving.until_ready()
    # at the node that stays: the other ends when it has given its users away, perhaps between two scrapes
    await seer.until_seen('sum(oscc_gateway_takeovers_total{kind="planned"}) > 0', 10)
    await seer.until_seen("max_over_time(oscc_gateway_drain_planned_seconds[5m]) > 3", 10)


async def everything_is_shown(seer: Prometheus) -> None:
    """Return when each expression has a value, but for those that rightly have none."""
    found: dict[str, set[str]] = {}

    async def is_so() -> bool:
        empty = {one for one in await seer.empty({*shown(), *recorded()}) if PERHAPS not in one}
        found.update(nothing=empty - EMPTY, something=EMPTY - empty)
        return empty == EMPTY

    await seer.until(is_so, 30, "not as it is to be", found)
    received = await seer.rules()
    assert len(received) == len(recorded()) + len(alerts())
    assert [(rule["name"], rule["lastError"]) for rule in received if rule["health"] != "ok"] == []


async def nobody_is_woken(seer: Prometheus) -> None:
    """Return when no critical alert is about to fire; none has fired since Prometheus was there."""

    async def is_calm() -> bool:
        return await seer.values(CRITICAL) == []

    await seer.until(is_calm, 20, "somebody would be woken")
    fired = CRITICAL.replace("}", ', alertstate="firing"}')
    assert await seer.values(f"count_over_time({fired}[5m])") == []


async def what_is_wrong_is_found(seer: Prometheus) -> None:
    """See that what is asked here could be answered otherwise."""
    misspelt = f"{PREFIX}_drains"
    assert await seer.empty([misspelt, f"{PREFIX}_users"]) == {misspelt}
    with pytest.raises(AssertionError, match="parse error"):
        await seer.values("sum(")
