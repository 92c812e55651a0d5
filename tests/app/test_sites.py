"""Does what happens at one site move the note of that site, by log-ons and by links?"""

from __future__ import annotations

import asyncio

import pytest

from gateway.app.adapters import Tracing, measured_sites
from gateway.app.status import StatusLog
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import Application, Device
from gateway.domain.upstream import LogOn
from gateway.runtime.event_loop import SystemClock
from gateway.telemetry import Telemetry
from gateway.upstream.oscce.client import OsccServer
from tests.asterisk.site import place

ANNA = LogOn(Application.DASHBOARD, "anna", "secret", Device("d", "phone"))
NOBODY = "http://127.0.0.1:9"


@pytest.mark.parametrize("way", ["log on", "link"])
async def test_a_server_that_is_not_there_is_noted_for_its_site_only(way: str) -> None:
    surroundings, clock = StatusLog(["main", "other"]), SystemClock()
    async with OsccServer("main", NOBODY, clock) as main, OsccServer("other", NOBODY, clock) as other:
        servers = {"main": main, "other": other}
        sites = measured_sites(servers, Telemetry(), Tracing(), surroundings.reaches, {})
        assert list(sites) == ["main", "other"]
        site = sites["main"]
        with pytest.raises(GatewayError):
            await (site.authority.log_on(ANNA) if way == "log on" else site.upstream.about())
    noted = [reach.error for reach in surroundings.reaches.values()]
    assert noted == [ErrorCode.UPSTREAM_UNAVAILABLE, None]


async def test_what_waits_at_an_asterisk_is_measured() -> None:
    async with place() as at, at.linked(await at.boss()):
        telemetry = Telemetry()
        reaches = StatusLog(["main"]).reaches
        sites = measured_sites({"main": at.server}, telemetry, Tracing(), reaches, {"main": 3.0})
        assert (sites["main"].links_per_s, sites["main"].log_ons_per_s) == (500.0, 3.0)
        text = telemetry.render().decode()
        assert 'oscc_gateway_asterisk_waiting{site="main",what="actions"} 0.0' in text
        assert 'oscc_gateway_asterisk_waiting{site="main",what="events"} 0.0' in text
        at.fake.freeze()
        async with asyncio.TaskGroup() as tasks:
            asked = tasks.create_task(at.server.monitor.action("Ping"))
            await asyncio.sleep(0)
            assert 'what="actions"} 1.0' in telemetry.render().decode()
            at.fake.thaw()
        assert asked.result()["Ping"] == "Pong"
