"""Phones behind our proxies' files while the nodes restart one after the other."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.app.cli import doctor
from gateway.app.cli.demo import ChildProcess
from gateway.app.config.settings import LimitsSection
from gateway.app.drain import drain_limit_s
from gateway.app.process import run_loop
from gateway.runtime.event_loop import SystemClock
from tests.cluster.cluster import Size, size
from tests.cluster.sizes import IS_FULL
from tests.deploy import test_haproxy, test_nginx
from tests.deploy.behind_proxy import Front
from tests.deploy.rolling import LIE_MAX_S, behind
from tests.doubles.machine import Watch

USERS = int(os.environ.get("ROLLING_PHONES", "2000"))
"""Phones of the full size, each of a user of its own."""
SIZE = size(
    Size(30, 1, agents=30, queues=6, fault_s=0.0, nodes=2),
    Size(USERS, 1, agents=400, queues=40, fault_s=0.0, nodes=2),
)
BUDGET_PER_S = 40.0
FITTING = doctor.size(doctor.Wanted(SIZE.users, SIZE.users, SIZE.users // 10, log_ons_per_s=BUDGET_PER_S))
DRAIN_S = float(os.environ.get("ROLLING_DRAIN_S", FITTING.drain_s))
LIMITS = LimitsSection(log_ons_per_s=BUDGET_PER_S, drain_notice_s=5.0, drain_s=DRAIN_S)
"""As ``oscc-gateway size`` says for so many users, but with a short notice: the proxies look each second."""
BACK_WITHIN_S = 60.0
STEADY_S = 20.0 if IS_FULL else 1.0
"""How long CPU time is measured before the first restart."""
SPARE_S = 60.0
"""How much longer a drain may take on a busy machine."""
pytestmark = [pytest.mark.scenario, pytest.mark.timeout(1800 if IS_FULL else 400)]


def haproxy(made: Front) -> ChildProcess:
    """Return HAProxy with its file; all phones come from one address here."""
    return test_haproxy.proxy(made, OSCC_MAXCONN="9000", OSCC_LOG_ONS="100000")


def nginx(made: Front) -> ChildProcess:
    """Return nginx with its file; all phones come from one address here."""
    many = {"rate=14r/s": "rate=10000r/s", "worker_connections 32768;": "worker_connections 9000;"}
    return test_nginx.proxy(made, many)


@pytest.mark.parametrize("proxy", [haproxy, nginx])
def test_each_phone_is_notified_and_comes_back_at_once(
    tmp_path: Path, proxy: Callable[[Front], ChildProcess]
) -> None:
    # uvloop: with asyncio's own loop the phones' TLS takes as much CPU time as a node
    run_loop(restart_all(tmp_path, proxy))


async def restart_all(folder: Path, proxy: Callable[[Front], ChildProcess]) -> None:
    """Restart the nodes one after the other under all phones."""
    clock, watch = SystemClock(), Watch()
    began = clock.now()
    async with behind(folder, SIZE, proxy, LIMITS) as play:
        play.crowd.start_traffic(roam_s=None, command_s=5)
        shares = await play.cpu_shares(STEADY_S)
        codes = []
        for node in play.cluster.nodes:
            codes.append(await node.term(drain_limit_s(LIMITS) + SPARE_S))
            await node.start()
            await node.until_ready()
        await play.crowd.until(
            lambda: all(gap.whole_s < math.inf for gap in play.gaps.all), BACK_WITHIN_S, "come back"
        )
        figures = await play.crowd.figures("rolling restart behind a proxy", play.since, BUDGET_PER_S)
        lie_s = max(phone.seen.lie_run_s for phone in play.crowd.phones)
        print(f"\n{shares}\n{play.gaps.report()}\n{figures.text()}")  # noqa: T201 - the figures of the page on operations
        assert await play.crowd.settle(BACK_WITHIN_S) == []
    assert codes == [0] * SIZE.nodes
    assert lie_s <= LIE_MAX_S, f"{lie_s:.1f} s old, shown as live\n{play.gaps.report()}"
    assert play.gaps.overruns == [], play.gaps.report()
    # no phone waits before its first try, or tries twice; without a core a proxy does not see nodes in time
    if watch.run_s() > (clock.now() - began) / 2:
        assert play.gaps.reasons.keys() == {"draining"}
        parts = [gap.parts() for gap in play.gaps.all]
        assert max(part["window"] for part in parts) <= 1.0
        assert max(part["tries"] for part in parts) == 0.0
    assert (figures.twice, figures.without_link) == (0, 0), figures
