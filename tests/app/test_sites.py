"""State of each site, moved by its log-ons and links."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from pydantic import SecretStr

from gateway.app import wiring
from gateway.app.adapters import SiteServer, Tracing, measured_sites, open_server
from gateway.app.config.settings import AsteriskSection, SiteSection
from gateway.app.config.sources import generate_secrets
from gateway.app.process import StopRequest
from gateway.app.status import StatusLog
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import Application, Device
from gateway.domain.upstream import Feature, LogOn
from gateway.runtime.event_loop import SystemClock
from gateway.telemetry import Telemetry
from gateway.upstream.asterisk.server import AsteriskServer
from gateway.upstream.oscce.client import OsccServer
from tests.app.samples import settings_for
from tests.asterisk.site import place
from tests.doubles.servers import redis_server

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


@pytest.mark.parametrize("is_shared", [False, True], ids=["memory", "redis"])
async def test_an_asterisk_fences_links_where_one_process_is_its_only_client(
    is_shared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[SiteServer] = []
    opening: Callable[..., SiteServer] = open_server

    def noted(*args: object, **options: object) -> SiteServer:
        opened.append(opening(*args, **options))
        return opened[-1]

    monkeypatch.setattr(wiring, "open_server", noted)
    async with asyncio.timeout(30), place() as at, redis_server() as redis:
        asterisk = AsteriskSection(user="oscc", secret=SecretStr("secret"), people_file=at.people)
        url = f"ami://127.0.0.1:{at.fake.port}"
        site = SiteSection(id="main", url=url, display_name="Main", country="DE", asterisk=asterisk)
        settings = settings_for(NOBODY, **({"bus": {"url": redis.url}} if is_shared else {}))
        settings = settings.model_copy(update={"sites": (site,)})
        async with wiring.serving(settings, generate_secrets(), SystemClock(), StopRequest()):
            (server,) = opened
            assert isinstance(server, AsteriskServer)
            assert await server.reached()
            features = (await server.about()).features
    assert (Feature.LINK_FENCING in features) == (not is_shared)


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
