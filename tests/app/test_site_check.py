"""Check of a site: an untrusted server is refused with a code and a reason."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.app.certificates import client_context, site_context
from gateway.app.cli.check import check_site
from gateway.app.config.settings import ClientSection, SiteSection
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.runtime.event_loop import SystemClock
from gateway.simulator import Simulator, SimulatorSettings
from gateway.upstream.oscce.client import OsccServer
from tests.app.certificates import Authority

ROOT = Authority()


@asynccontextmanager
async def server(paths: tuple[Path, Path] | None, asked: list[bytes]) -> AsyncIterator[int]:
    """Run a server that answers 404 after the TLS handshake; *asked* gets the request lines."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    tls = None if paths is None else client_context(ClientSection(certificate=paths[0], key=paths[1]))
    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls) as listener:
        yield int(listener.sockets[0].getsockname()[1])


def site_of(port: int, folder: Path, authority: Authority = ROOT) -> SiteSection:
    return SiteSection(
        id="main",
        url=f"https://127.0.0.1:{port}",
        display_name="Main",
        country="DE",
        ca_file=authority.write(folder),
    )


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("wrong authority", "unable to get local issuer certificate"),
        ("wrong host", "IP address mismatch, certificate is not valid for '127.0.0.1'"),
        ("expired", "certificate has expired"),
        ("not yet valid", "certificate is not yet valid"),
        ("clear text", "no version or cipher of TLS is supported by both, or this port has no TLS"),
    ],
)
async def test_a_server_that_must_not_be_believed_is_refused(tmp_path: Path, kind: str, reason: str) -> None:
    match kind:
        case "wrong authority":
            paths = Authority("Other").issue(tmp_path)
        case "wrong host":
            paths = ROOT.issue(tmp_path, hosts=("oscce.example",))
        case "expired":
            paths = ROOT.issue(tmp_path, begins_d=-3, ends_d=-1)
        case _:
            paths = ROOT.issue(tmp_path, begins_d=1)
    asked: list[bytes] = []
    async with server(None if kind == "clear text" else paths, asked) as port, asyncio.timeout(20):
        site = site_of(port, tmp_path)
        answer = await check_site(0, site, SystemClock())
        assert answer.fault == f"Site main at {site.url}: TLS with its server fails: {reason}."
        async with OsccServer("main", site.url, SystemClock(), tls=site_context(0, site)) as adapter:
            with pytest.raises(GatewayError) as refused:
                await adapter.about()
    assert refused.value.code is ErrorCode.UPSTREAM_UNAVAILABLE
    assert not any(line.startswith(b"GET") for line in asked), "nothing is asked of such a server"


async def test_one_that_is_believed_is_asked(tmp_path: Path) -> None:
    asked: list[bytes] = []
    async with server(ROOT.issue(tmp_path, chain=(ROOT,)), asked) as port, asyncio.timeout(20):
        answer = await check_site(0, site_of(port, tmp_path), SystemClock())
    assert answer.fault is not None
    assert "TLS" not in answer.fault
    assert answer.advice is None
    assert any(line.startswith(b"GET") for line in asked)


async def test_one_that_answers_is_reported(tmp_path: Path) -> None:
    async with Simulator(SimulatorSettings(agents=1, queues=1, users=1, tls=True)) as simulator:
        port = int(simulator.url.rpartition(":")[2])
        shown = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", port))
        (tmp_path / "simulator.pem").write_text(shown)
        site = site_of(port, tmp_path).model_copy(update={"ca_file": tmp_path / "simulator.pem"})
        answer = await check_site(0, site, SystemClock())
    assert answer.note == "site main answers: OSCC-E V2R1, contact centre V8R2"
    assert answer.fault is None


async def test_a_certificate_that_ends_soon_is_advised(tmp_path: Path) -> None:
    async with server(ROOT.issue(tmp_path, ends_d=9.1), []) as port, asyncio.timeout(20):
        answer = await check_site(0, site_of(port, tmp_path), SystemClock())
    assert answer.advice == "The certificate of site main's server expires in 9 days."
