"""Watch of certificates and authorities: new ones take effect, broken ones do not, a near end is reported."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from unittest.mock import Mock

import pytest
from cryptography import x509

from gateway.app import reload
from gateway.app.config.errors import ConfigError
from gateway.app.config.settings import ClientSection, SiteSection
from gateway.app.reload import WARN_EVERY_MS, AuthoritiesReloader, CertificateReloader
from gateway.telemetry import Telemetry
from tests.app.certificates import Authority
from tests.app.test_certificates import no_files
from tests.doubles.clock import ManualClock
from tests.doubles.log_lines import capture_logs

ROOT = Authority()
DAY_S = WARN_EVERY_MS / 1000


class Door:
    """A folder with a certificate, somebody who watches it, and what he logs."""

    def __init__(self, folder: Path, ends_d: float = 90.0) -> None:
        self.folder = folder
        self.clock = ManualClock()
        self.telemetry = Telemetry()
        self.renew(ends_d)
        self.client = ClientSection(certificate=folder / "server.crt", key=folder / "server.key")
        self.watch = CertificateReloader(self.client, self.clock, self.telemetry)

    def renew(self, ends_d: float = 90.0, **odd: object) -> None:
        now = instant(self.clock)
        ROOT.issue(self.folder, ends_d=ends_d, now=now, chain=(ROOT,), **odd)  # type: ignore[arg-type]  # each test names its own

    async def looked(self) -> list[tuple[str, str]]:
        """Look once; returns the level and the sentence of each line."""
        with capture_logs() as logged:
            await self.watch.check_files()
        return [(line["log_level"], line["event"]) for line in logged]

    def gauge(self, name: str) -> str:
        lines = self.telemetry.render().decode().splitlines()
        return next(line.partition(" ")[2] for line in lines if line.startswith(f"oscc_gateway_{name}"))


def instant(clock: ManualClock) -> dt.datetime:
    return dt.datetime.fromtimestamp(clock.wall_ms() // 1000, dt.UTC)


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path)


@asynccontextmanager
async def listening(context: ssl.SSLContext) -> AsyncIterator[int]:
    """An echo behind TLS."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    async with await asyncio.start_server(echo, "127.0.0.1", 0, ssl=context) as server:
        yield int(server.sockets[0].getsockname()[1])


def trusting() -> ssl.SSLContext:
    """Return a client that looks at no certificate: time is in the test's hand, the library's is not."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def serial(writer: asyncio.StreamWriter) -> int:
    shown: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    return x509.load_der_x509_certificate(shown).serial_number


def filed(folder: Path) -> int:
    return x509.load_pem_x509_certificate((folder / "server.crt").read_bytes()).serial_number


async def test_a_phone_that_comes_back_resumes_by_its_ticket(door: Door) -> None:
    assert door.watch.context is not None
    context = trusting()
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # its tickets come within the handshake
    async with listening(door.watch.context) as port:

        def visit(session: ssl.SSLSession | None) -> tuple[ssl.SSLSession | None, bool | None]:
            with (
                socket.create_connection(("127.0.0.1", port)) as raw,
                context.wrap_socket(raw, session=session) as phone,
            ):
                return phone.session, phone.session_reused

        session, _ = await asyncio.to_thread(visit, None)
        assert (await asyncio.to_thread(visit, session))[1] is True
        door.renew(80)
        await door.watch.check_files()
        assert (await asyncio.to_thread(visit, session))[1] is True


@pytest.mark.parametrize("fault", ["gone", "garbage", "mismatch", "expired", "nameless", "sort"])
async def test_a_broken_pair_changes_nothing_and_is_reported_once(door: Door, fault: str) -> None:
    assert door.watch.context is not None
    served = filed(door.folder)
    ends = door.gauge("certificate_expiry_timestamp_seconds")
    match fault:
        case "gone":
            (door.folder / "server.key").unlink()
        case "garbage":
            (door.folder / "server.crt").write_text("x")
        case "mismatch":
            key = (door.folder / "server.key").read_bytes()
            door.renew()
            (door.folder / "server.key").write_bytes(key)
        case "expired":
            door.renew(-0.5)
        case "sort":
            door.renew(is_rsa=True)
        case _:
            door.renew(hosts=())
    assert await door.looked() == [("error", "certificate_reload_failed")]
    assert await door.looked() == []
    assert await door.watch.check_files() == "certificate"
    assert door.gauge('reload_failed{what="certificate"}') == "1.0"
    assert door.gauge("certificate_expiry_timestamp_seconds") == ends
    async with listening(door.watch.context) as port, asyncio.timeout(20):
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting())
        assert serial(writer) == served
        writer.close()
    door.renew()
    assert await door.looked() == [("info", "certificate_reloaded")]
    assert door.gauge('reload_failed{what="certificate"}') == "0.0"
    assert await door.watch.check_files() is None


async def test_what_could_not_be_used_is_tried_again(door: Door) -> None:
    first = filed(door.folder)
    door.renew()
    with no_files():
        assert await door.looked() == [("error", "certificate_reload_failed")]
        assert await door.looked() == []
    assert await door.looked() == [("info", "certificate_reloaded")]
    assert filed(door.folder) != first
    later = instant(door.clock) + dt.timedelta(days=5)
    ROOT.issue(door.folder, now=later, chain=(ROOT,))
    assert await door.looked() == [("error", "certificate_reload_failed")]
    await door.clock.advance(5 * DAY_S)
    assert await door.looked() == [("info", "certificate_reloaded")], "its first day has come"


async def test_one_that_the_system_cannot_show_is_not_said_to_be_in_force(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    door.renew()
    monkeypatch.setattr(reload, "load_pair", Mock(side_effect=ConfigError(["No file."])))
    assert await door.looked() == [("error", "certificate_reload_failed")]
    assert await door.watch.check_files() == "certificate"


async def test_names_that_are_gone_are_reported_and_the_certificate_is_shown(tmp_path: Path) -> None:
    door = Door(tmp_path)
    door.renew(hosts=("a.oscc.example", "b.oscc.example", "10.1.2.3"))
    await door.watch.check_files()
    door.renew(hosts=("*.oscc.example", "10.1.2.3"))
    assert await door.looked() == [("info", "certificate_reloaded")], "a wildcard covers them"
    door.renew(hosts=("a.oscc.example",))
    with capture_logs() as logged:
        await door.watch.check_files()
    assert [(line["log_level"], line.get("gone")) for line in logged] == [
        ("info", None),
        ("warning", "*.oscc.example, 10.1.2.3"),
    ]
    assert await door.looked() == []
    assert door.gauge('reload_failed{what="certificate"}') == "0.0"


async def test_an_end_that_is_near_is_reported_once_a_day(tmp_path: Path) -> None:
    door = Door(tmp_path, ends_d=31)
    near = [("warning", "certificate_expires_soon")]
    assert await door.looked() == []
    await door.clock.advance(DAY_S + 1)
    assert (await door.looked(), await door.looked()) == (near, [])
    await door.clock.advance(DAY_S - 1)
    assert await door.looked() == []
    await door.clock.advance(1)
    assert await door.looked() == near
    door.renew(20)
    assert await door.looked() == [("info", "certificate_reloaded"), *near]


async def test_a_node_starts_with_what_phones_refuse_and_says_so(tmp_path: Path) -> None:
    with capture_logs() as logged:
        Door(tmp_path, ends_d=-0.5)
    assert [(line["log_level"], line["event"]) for line in logged] == [("error", "certificate_problem")]


# ---- watch of certificate authorities ----


OLD, NEW = Authority("Old"), Authority("New")
STAY = "authorities_reload_failed"


class Server:
    """Shows by which authorities it would be verified, each time it is asked."""

    def __init__(self) -> None:
        self.trusted: list[list[str]] = []

    def trust(self, tls: ssl.SSLContext) -> None:
        assert tls.verify_mode is ssl.CERT_REQUIRED
        assert tls.check_hostname
        names = [dict(part[0] for part in each["subject"]) for each in tls.get_ca_certs()]  # type: ignore[misc]  # typeshed knows less of it
        self.trusted.append([name["commonName"] for name in names])


class Sites:
    """Three sites, of which the first is verified by a file, and who watches it."""

    def __init__(self, folder: Path) -> None:
        self.file = OLD.write(folder)
        site = SiteSection(id="own", url="https://oscce.example", display_name="Own", ca_file=self.file)
        clear = site.model_copy(update={"id": "clear", "url": "http://127.0.0.1"})
        public = site.model_copy(update={"id": "public", "ca_file": None})
        self.servers = {each.id: Server() for each in (site, clear, public)}
        self.telemetry = Telemetry()
        self.watch = AuthoritiesReloader(
            [site, clear, public], {name: each.trust for name, each in self.servers.items()}, self.telemetry
        )

    @property
    def trusted(self) -> list[list[str]]:
        return self.servers["own"].trusted

    async def looked(self) -> list[tuple[str, str]]:
        """Look once; returns the sentence of each line, and its fault."""
        with capture_logs() as logged:
            await self.watch.check_files()
        assert {line["site"] for line in logged} <= {"own"}
        assert not self.servers["clear"].trusted
        assert not self.servers["public"].trusted
        return [(line["event"], line.get("fault", "")) for line in logged]

    @property
    def has_failed(self) -> bool:
        return b'oscc_gateway_reload_failed{what="authorities"} 1.0' in self.telemetry.render()


async def test_another_authority_comes_into_force_once(tmp_path: Path) -> None:
    at = Sites(tmp_path)
    assert await at.looked() == []
    assert at.trusted == [["Old"]], "whatever changed since the start"
    assert await at.looked() == []
    at.file.write_bytes(OLD.pem + NEW.pem)
    assert await at.looked() == [("authorities_reloaded", "")]
    at.file.write_bytes(NEW.pem)
    assert await at.looked() == [("authorities_reloaded", "")]
    assert await at.looked() == []
    assert [sorted(each) for each in at.trusted] == [["Old"], ["New", "Old"], ["New"]]
    assert not at.has_failed


async def test_a_file_that_cannot_be_used_changes_nothing_and_is_reported_once(tmp_path: Path) -> None:
    at = Sites(tmp_path)
    await at.looked()
    at.file.write_text("broken")
    assert await at.looked() == [(STAY, f"sites[0].ca_file {at.file} contains no PEM certificate.")]
    assert await at.looked() == []
    assert await at.watch.check_files() == "authorities"
    at.file.unlink()
    assert await at.looked() == [
        (STAY, f"sites[0].ca_file {at.file} cannot be read: No such file or directory.")
    ]
    assert at.has_failed
    at.file.write_bytes(OLD.pem)
    assert await at.looked() == []
    assert at.trusted == [["Old"]]
    assert await at.watch.check_files() is None
    assert not at.has_failed


async def test_a_system_that_has_no_file_to_give_ends_nothing(tmp_path: Path) -> None:
    at = Sites(tmp_path)
    await at.looked()
    at.file.write_bytes(NEW.pem)
    with no_files():
        assert await at.looked() == [
            (STAY, "Certificates and keys cannot be held in memory: Too many open files.")
        ]
    assert at.trusted == [["Old"]]
    assert await at.looked() == [("authorities_reloaded", "")]
    assert at.trusted[-1] == ["New"]


async def test_one_that_was_broken_from_the_first_look_is_mended(tmp_path: Path) -> None:
    at = Sites(tmp_path)
    at.file.write_text("broken")
    assert [said for said, _ in await at.looked()] == [STAY]
    at.file.write_bytes(NEW.pem)
    assert await at.looked() == []
    assert at.trusted == [["New"]]
