"""Watch of certificate authorities: the newest file is trusted, a broken one changes nothing."""

from __future__ import annotations

import ssl
from pathlib import Path

from structlog.testing import capture_logs

from gateway.app.config.settings import SiteSection
from gateway.app.reload import AuthoritiesReloader
from gateway.telemetry import Telemetry
from tests.app.certificates import Authority
from tests.app.test_tls import no_files

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
        self.watch = AuthoritiesReloader([site, clear, public], self.servers, self.telemetry)

    @property
    def trusted(self) -> list[list[str]]:
        return self.servers["own"].trusted

    async def looked(self) -> list[tuple[str, str]]:
        """Look once; returns the sentence of each line, and its fault."""
        with capture_logs() as logged:
            await self.watch.look()
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
    assert await at.watch.look() == "authorities"
    at.file.unlink()
    assert await at.looked() == [
        (STAY, f"sites[0].ca_file {at.file} cannot be read: No such file or directory.")
    ]
    assert at.has_failed
    at.file.write_bytes(OLD.pem)
    assert await at.looked() == []
    assert at.trusted == [["Old"]]
    assert await at.watch.look() is None
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
