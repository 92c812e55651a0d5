"""List of live nodes, also when the bus is unreachable."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.app.adapters import open_bus
from gateway.app.cli import main
from gateway.app.cli.admin import NodesUnknown, keys_differ, live_nodes, nodes_json, nodes_table
from gateway.app.config.settings import BusSection
from gateway.domain.errors import GatewayError
from gateway.domain.model import NodeId
from gateway.protocol.envelopes import NodeRecord
from gateway.runtime.event_loop import SystemClock
from tests.app.samples import SECRET, SMALLEST, loaded, write
from tests.doubles.servers import Server, redis_server, until

KEYS = "k2/9f2b6d44 k1/0c662ac1"
ONE = NodeRecord(NodeId("n1"), "h1", "1.2.3", 1234, 5, draining=False, accepts_per_s=500.0, sealing_keys=KEYS)
OTHER = NodeRecord(NodeId("gw-2.example"), "h2", "1.2.3", 7, 3, draining=True, accepts_per_s=0.5)


@asynccontextmanager
async def announced(folder: Path, *records: NodeRecord) -> AsyncIterator[Server]:
    """A Redis in which nodes have said that they live."""
    secrets = loaded(folder, SECRET).settings.secrets
    assert secrets is not None
    async with redis_server() as server:
        bus = BusSection(url=server.url)
        async with open_bus(bus, secrets, SystemClock(), jitter=lambda: 0.5, draw=os.urandom) as cluster:
            for record in records:

                async def is_said(record: NodeRecord = record) -> bool:
                    try:
                        await cluster.registry.announce(record)
                    except GatewayError:
                        return False
                    return True

                await until(is_said, "Redis was not reached")
            yield server


async def _command(folder: Path, url: str, *options: str) -> int:
    path = write(folder, SECRET.replace("memory://", url))
    return await asyncio.to_thread(main, ["nodes", "--config", str(path), *options])


def test_the_table_has_a_line_for_each() -> None:
    assert nodes_table([ONE, OTHER]) == (
        "NODE          VERSION  PHONES  LINKS  ACCEPTS/S  STATE     SEALING KEYS\n"
        "n1            1.2.3    1234    5      500        live      k2/9f2b6d44 k1/0c662ac1\n"
        "gw-2.example  1.2.3    7       3      0.5        draining  -\n"
    )


async def test_live_nodes_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with announced(tmp_path, ONE, OTHER) as server:
        assert await _command(tmp_path, server.url) == 0
        assert capsys.readouterr().out == nodes_table([OTHER, ONE])
        assert await _command(tmp_path, server.url, "--json") == 0
        assert capsys.readouterr().out == nodes_json([OTHER, ONE])


async def test_that_keys_differ_and_that_two_have_one_name_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = OTHER._replace(sealing_keys="k1/0c662ac1")
    async with announced(tmp_path, ONE, ONE._replace(holder="h3"), other) as server:
        assert await _command(tmp_path, server.url) == 0
        received = capsys.readouterr().err
        assert "advice: n1 is the name of several nodes: " in received
        assert "advice: the sealing keys of the nodes differ: " in received
        assert await _command(tmp_path, server.url, "--json") == 0
        listed = json.loads(capsys.readouterr().out)
    assert [each["sealing_keys"] for each in listed] == [["k1/0c662ac1"], KEYS.split(), KEYS.split()]
    assert not keys_differ([ONE, OTHER, ONE]), "one of a version before does not say"


async def test_that_none_lives_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with announced(tmp_path) as server:
        assert await _command(tmp_path, server.url, "--json") == 1
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("[]\n", "oscc-gateway: There is no live node.\n")


async def test_a_redis_that_is_away_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert await _command(tmp_path, "redis://:canary@127.0.0.1:1") == 1
    assert capsys.readouterr().err.startswith(
        "oscc-gateway: The Redis at redis://********@127.0.0.1:1 cannot be used: it refused the connection. "
        "Check bus.url"
    )


async def test_one_that_may_be_asked_nothing_is_sent_too(tmp_path: Path) -> None:
    secrets = loaded(tmp_path, SECRET).settings.secrets
    async with redis_server() as server:
        await server.command("ACL", "SETUSER", "gw", "on", ">secret", "+ping", "+role")
        bus = BusSection(url=f"redis://gw:secret@127.0.0.1:{server.port}")
        with pytest.raises(NodesUnknown, match=r"Redis does not list the live nodes: .*NOPERM"):
            await live_nodes(bus, secrets, SystemClock())


def test_one_node_alone_reports_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nodes", "--config", str(write(tmp_path, SMALLEST))]) == 1
    assert "bus.url is memory://" in capsys.readouterr().err
