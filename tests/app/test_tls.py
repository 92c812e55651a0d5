"""Check of TLS files before a node starts."""

from __future__ import annotations

import errno
import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import Mock

import pytest

from gateway.app.certificates import client_context, site_context
from gateway.app.config.errors import ConfigError
from gateway.app.config.settings import ClientSection, SiteSection
from tests.app.certificates import make


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
