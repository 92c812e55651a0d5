"""Check of certificates and TLS files: one sentence for each fault, before a node starts."""

from __future__ import annotations

import datetime as dt
import errno
import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import Mock

import pytest
from cryptography import x509

from gateway.app.adapters import (
    FILE_BYTES_MAX,
    certificate_problems,
    chain_of,
    client_context,
    covers,
    expires_at_s,
    host_names,
    read_pair,
    site_context,
)
from gateway.app.config.errors import ConfigError
from gateway.app.config.settings import ClientSection, SiteSection
from tests.app.certificates import EXPIRES_AT_S, Authority, make

NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
NOW_MS = round(NOW.timestamp() * 1000)
ROOT = Authority()
HOUSE = Authority("House", ROOT)
OTHER = Authority("Other")
UNACCOMPANIED = "comes without its issuer: append the issuer to the file, unless phones trust it as a root."
ADVICES = {"expires in 29 days.", UNACCOMPANIED}
DISORDER = "did not issue certificate 1; the listener's own comes first, then its issuer, and so on."


def client_of(paths: tuple[Path, Path]) -> ClientSection:
    return ClientSection(certificate=paths[0], key=paths[1])


def chain(client: ClientSection) -> list[x509.Certificate]:
    pair = read_pair(client)
    assert pair is not None
    return chain_of(client, pair)


def found(client: ClientSection) -> list[tuple[str, bool]]:
    """Return the flaws, without the name and path before each."""
    problems = certificate_problems(client, chain(client), NOW_MS)
    return [(text.partition(".crt")[2].lstrip(": "), fault) for text, fault in problems]


def test_a_whole_chain_has_no_flaw(tmp_path: Path) -> None:
    hosts = ("gateway.example", "10.1.2.3")
    client = client_of(HOUSE.issue(tmp_path, now=NOW, hosts=hosts, chain=(HOUSE, ROOT)))
    assert found(client) == []
    assert host_names(chain(client)[0]) == ["gateway.example", "10.1.2.3"]


@pytest.mark.parametrize(
    ("odd", "flaw"),
    [
        ({"ends_d": -0.5}, "expired on 2026-05-31: phones refuse it."),
        ({"begins_d": 2}, "is not valid before 2026-06-03: phones refuse it."),
        ({"hosts": ()}, "names no host in its subjectAltName: phones refuse it."),
        ({"chain": (ROOT, HOUSE)}, f"certificate 2 of 3 {DISORDER}"),
        ({"chain": (OTHER,)}, f"certificate 2 of 2 {DISORDER}"),
        ({"ends_d": 29}, "expires in 29 days."),
        ({"chain": ()}, UNACCOMPANIED),
    ],
)
def test_what_phones_refuse_is_a_fault_and_what_may_be_meant_is_advised(
    tmp_path: Path, odd: dict[str, object], flaw: str
) -> None:
    given: dict[str, object] = {"chain": (HOUSE,), **odd}
    flaws = found(client_of(HOUSE.issue(tmp_path, now=NOW, **given)))  # type: ignore[arg-type]  # each case names its own
    assert next(each for each in flaws if each[1] or len(flaws) == 1) == (flaw, flaw not in ADVICES)


def test_the_first_end_of_a_chain_counts(tmp_path: Path) -> None:
    paths = make(tmp_path)
    paths[0].write_bytes(ROOT.pem + paths[0].read_bytes())
    assert expires_at_s(chain(client_of(paths))) == EXPIRES_AT_S
    assert host_names(ROOT.certificate) == []


@pytest.mark.parametrize(
    ("name", "covered", "others"),
    [
        ("gateway.example", "gateway.example Gateway.Example.", "other.example a.gateway.example"),
        ("gateway.example", "", "ü" * 80),
        ("*.oscc.example", "gateway.oscc.EXAMPLE *.oscc.example", "oscc.example a.gateway.oscc.example"),
        ("*.OSCC.example", "gateway.oscc.example", ".oscc.example"),
        ("*.example", "", "gateway.example"),
        ("g*.oscc.example", "", "gateway.oscc.example"),
        ("gateway.*.example", "", "gateway.oscc.example"),
        ("xn--bcher-kva.example", "bücher.example", ""),
        ("10.1.2.3", "10.1.2.3", "10.1.2.4"),
        ("2001:db8::1", "2001:DB8:0::1", ""),
        ("*.1.2.3", "", "10.1.2.3"),
    ],
)
def test_a_host_is_covered_as_browsers_have_it(tmp_path: Path, name: str, covered: str, others: str) -> None:
    paths = HOUSE.issue(tmp_path, now=NOW, hosts=("first.example", name))
    certificate = x509.load_pem_x509_certificate(paths[0].read_bytes())
    assert [host for host in covered.split() if not covers(certificate, host)] == []
    assert [host for host in others.split() if covers(certificate, host)] == []


def test_an_address_is_covered_by_no_name() -> None:
    names = x509.SubjectAlternativeName([x509.DNSName("10.1.2.3")])
    certificate = Authority("Odd", ROOT, (names,)).certificate
    assert host_names(certificate) == ["10.1.2.3"]
    assert not covers(certificate, "10.1.2.3")


def test_what_is_no_certificate_is_reported(tmp_path: Path) -> None:
    paths = make(tmp_path)
    paths[0].write_text("x")
    with pytest.raises(ConfigError, match="is not a PEM certificate"):
        chain(client_of(paths))


def test_a_file_without_end_is_not_read_to_it(tmp_path: Path) -> None:
    paths = make(tmp_path)
    os.truncate(paths[1], FILE_BYTES_MAX + 1)
    with pytest.raises(ConfigError, match=r"client\.key .* is larger than 256 KiB\."):
        read_pair(client_of(paths))


def test_a_pair_shows_nothing(tmp_path: Path) -> None:
    pair = read_pair(client_of(make(tmp_path)))
    assert pair is not None
    assert "PRIVATE" not in repr(pair)


# ---- check of TLS files before a node starts ----


@contextmanager
def no_files() -> Iterator[None]:
    """Let the system have no file to give, as when too many are open."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "memfd_create", Mock(side_effect=OSError(errno.EMFILE, "Too many open files")))
        yield


SITE = SiteSection(id="main", url="https://oscce.example", display_name="Main", country="DE")


def test_a_certificate_and_its_key_make_a_context(tmp_path: Path) -> None:
    certificate, key = make(tmp_path)
    context = client_context(ClientSection(certificate=certificate, key=key))
    assert context is not None
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert ssl.OP_NO_RENEGOTIATION in context.options
    assert context.verify_mode is ssl.CERT_NONE
    names = {str(cipher["name"]) for cipher in context.get_ciphers()}
    assert names, "a list that holds nothing proves nothing"
    assert all(
        name.startswith("TLS_") or ("ECDHE" in name and ("GCM" in name or "CHACHA" in name)) for name in names
    )


@pytest.mark.parametrize("missing", ["certificate", "key"])
def test_a_missing_file_is_named(tmp_path: Path, missing: str) -> None:
    certificate, key = make(tmp_path)
    {"certificate": certificate, "key": key}[missing].unlink()
    with pytest.raises(ConfigError) as caught:
        client_context(ClientSection(certificate=certificate, key=key))
    (fault,) = caught.value.faults
    assert fault.startswith(f"client.{missing} {tmp_path}/server.")
    assert fault.endswith("cannot be read: No such file or directory.")


@pytest.mark.parametrize(
    ("fault", "received"),
    [
        ("other", "the key must be the certificate's"),
        ("password", "the key without a password"),  # and nobody is asked for it
        ("text", "both must be PEM"),
    ],
)
def test_a_pair_that_does_not_work_is_refused(tmp_path: Path, fault: str, received: str) -> None:
    certificate, key = make(tmp_path, password=b"secret" if fault == "password" else None)
    if fault == "other":
        _, key = make(tmp_path, "other")
    elif fault == "text":
        certificate.write_text("x")
    with pytest.raises(ConfigError, match=received):
        client_context(ClientSection(certificate=certificate, key=key))


def test_a_system_that_has_no_file_to_give_is_reported(tmp_path: Path) -> None:
    certificate, key = make(tmp_path)
    site = SITE.model_copy(update={"ca_file": certificate})
    with no_files(), pytest.raises(ConfigError, match="in memory: Too many open files"):
        client_context(ClientSection(certificate=certificate, key=key))
    with no_files(), pytest.raises(ConfigError, match="in memory: Too many open files"):
        site_context(0, site)


def test_so_is_one_that_cannot_open_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = make(tmp_path)
    failing = Mock(side_effect=OSError(errno.EMFILE, "Too many open files"))
    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", failing)
    with pytest.raises(ConfigError, match="in memory: Too many open files"):
        client_context(ClientSection(certificate=certificate, key=key))


def test_sites_are_verified(tmp_path: Path) -> None:
    certificate, _ = make(tmp_path)
    for site in (SITE, SITE.model_copy(update={"ca_file": certificate})):
        context = site_context(0, site)
        assert context is not None
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
    assert site_context(0, SITE.model_copy(update={"url": "http://127.0.0.1"})) is None


def test_an_authority_that_is_none_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    site = SITE.model_copy(update={"ca_file": path})
    with pytest.raises(ConfigError, match=r"sites\[2\].ca_file .* cannot be read"):
        site_context(2, site)
    path.write_text("x")
    with pytest.raises(ConfigError, match=r"sites\[2\].ca_file .* contains no PEM certificate"):
        site_context(2, site)
