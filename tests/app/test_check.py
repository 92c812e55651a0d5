"""``check-config`` finds faults of settings and sites before a node starts."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.app.adapters import client_context, site_context
from gateway.app.cli import main
from gateway.app.cli.check import (
    check_reachable,
    check_site,
    check_sites,
    describe_certificate,
    file_faults,
    setting_advices,
    socket_faults,
    strange_hosts,
    uncovered_hosts,
)
from gateway.app.config.errors import ConfigError
from gateway.app.config.settings import ClientSection, SiteSection
from gateway.app.config.sources import json_schema, reference_page
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.runtime.event_loop import SystemClock
from gateway.simulator import Simulator, SimulatorSettings
from gateway.upstream.oscce import OsccServer
from tests.app.certificates import EXPIRES_AT_S, Authority, make
from tests.app.samples import SECRET, SMALLEST, loaded, write
from tests.doubles.servers import redis_server

CONTACT = '[privacy]\ncontact = "privacy@example"\n'
TOKEN = "0c662ac1904cb458"
QUIET = (
    SECRET.replace("insecure = true", 'trusted_proxies = ["127.0.0.1"]').replace(
        'token = "…"', f'token = "{TOKEN}"'
    )
    + CONTACT
)
WIDE = "client.trusted_proxies has the network"
DAY_MS = 86_400_000


async def test_sites_that_answer_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with Simulator(SimulatorSettings(agents=1, queues=1, users=1, start_paused=True)) as simulator:
        settings = loaded(tmp_path, SMALLEST.replace("https://oscce.example", simulator.url)).settings
        assert await check_sites(settings, SystemClock()) == []
    assert capsys.readouterr().out == "# site main answers: OSCC-E V2R1, contact centre V8R2\n"


def test_an_address_that_is_not_of_this_machine_is_a_fault(tmp_path: Path) -> None:
    def faults(host: str) -> list[str]:
        text = SMALLEST.replace('host = "127.0.0.1"', f'host = "{host}"', 1)
        return list(strange_hosts(loaded(tmp_path, text).settings))

    for host in ("127.0.0.1", "0.0.0.0", "localhost"):
        assert faults(host) == []
    # TEST-NET-1 is nobody's address
    (fault,) = faults("192.0.2.7")
    assert fault.startswith("client.host 192.0.2.7 is not an address of this machine")
    (fault,) = faults("nowhere.invalid")
    assert fault.startswith("client.host nowhere.invalid cannot be resolved")


def test_files_are_tried(tmp_path: Path) -> None:
    text = SMALLEST.replace("insecure = true", 'certificate = "none.crt"\nkey = "none.key"').replace(
        'country = "DE"', 'country = "DE"\nca_file = "none.pem"'
    )
    settings = loaded(tmp_path, text + '[notices]\nfiles = ["none.toml"]\n').settings
    found = list(file_faults(settings, 0))
    assert [fault.split()[0] for fault in found] == ["client.certificate", "Notice", "sites[0].ca_file"]
    assert list(file_faults(loaded(tmp_path).settings, 0)) == []


@pytest.mark.parametrize(
    ("old", "new", "advice"),
    [
        ("[secrets]", "", "[secrets] is not set"),
        ('trusted_proxies = ["127.0.0.1"]', "insecure = true", "client.insecure is true"),
        (f'token = "{TOKEN}"', "", "admin.token is not set"),
        (CONTACT, "", "privacy.contact, privacy.statement_url and notices.files are empty"),
        *(
            (TOKEN, token, "admin.token can be guessed: make one with `openssl rand -hex 24`.")
            for token in ("aaaaaaaaaaaaaaaaaaaa", "changemechangeme", "My-Password-is-2026")
        ),
        *(
            ('127.0.0.1"]', f'{network}", "172.16.0.0/16"]', f"{WIDE} {network}: each machine in it may")
            for network in ("::/0", "10.0.0.0/8", "0.0.0.0/0")
        ),
    ],
)
def test_what_is_worth_a_thought_is_advised(tmp_path: Path, old: str, new: str, advice: str) -> None:
    text = QUIET
    if old == "[secrets]":
        text = text.partition("[secrets]")[0] + text[text.index("[[sites]]") :]
    else:
        text = text.replace(old, new)
    (found,) = setting_advices(loaded(tmp_path, text).settings, 0)
    assert found.startswith(advice)


@pytest.mark.parametrize(
    "received",
    [CONTACT, '[privacy]\nstatement_url = "https://example/"\n', '[notices]\nfiles = ["a.toml"]\n'],
)
def test_nothing_is_advised_where_all_is_well(tmp_path: Path, received: str) -> None:
    assert list(setting_advices(loaded(tmp_path, QUIET.replace(CONTACT, received)).settings, 0)) == []


def test_a_right_configuration_is_shown_and_an_advice_is_no_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["check-config", "--offline", "--config"]
    assert main([*words, str(write(tmp_path, QUIET))]) == 0
    shown = capsys.readouterr()
    assert 'sealing_keys = ["k1:********"]' in shown.out
    assert shown.err == ""
    assert main([*words, str(write(tmp_path, QUIET.replace(CONTACT, "")))]) == 0
    assert capsys.readouterr().err == (
        "advice: privacy.contact, privacy.statement_url and notices.files are empty: users are shown "
        "neither how their data is handled nor a contact.\n"
    )


def test_the_certificate_is_judged(tmp_path: Path) -> None:
    assert describe_certificate(loaded(tmp_path).settings) is None
    text = QUIET.replace('trusted_proxies = ["127.0.0.1"]', 'certificate = "server.crt"\nkey = "server.key"')
    settings = loaded(tmp_path, text).settings
    assert describe_certificate(settings) is None, "it cannot be read"
    make(tmp_path)
    end_ms, of = round(EXPIRES_AT_S * 1000), f"client.certificate {tmp_path}/server.crt"
    itself = f"{of} is self-signed: only devices on which it is installed trust it."
    assert list(setting_advices(settings, end_ms - 31 * DAY_MS)) == [itself]
    assert list(setting_advices(settings, end_ms - 29 * DAY_MS)) == [f"{of} expires in 29 days.", itself]
    assert list(file_faults(settings, end_ms - 29 * DAY_MS)) == []
    assert list(file_faults(settings, end_ms)) == [f"{of} expired on 2026-04-01: phones refuse it."]
    assert describe_certificate(settings) == "for 127.0.0.1 until 2026-04-01 00:00 UTC"


async def test_redis_is_tried_beside_the_sites(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with redis_server("--save", "60 1") as server:
        text = SECRET.replace("memory://", server.url).replace("https://oscce.example", "http://127.0.0.1:1")
        (fault,) = await check_reachable(loaded(tmp_path, text).settings, SystemClock())
    shown = capsys.readouterr()
    assert fault.startswith("Site main at ")
    assert shown.out.startswith(f"# Redis at 127.0.0.1:{server.port} answers: ")
    assert shown.err.startswith(f"advice: The server at 127.0.0.1:{server.port} writes its data to a disk")
    first, second = await check_reachable(loaded(tmp_path, text).settings, SystemClock())
    where = f"redis://127.0.0.1:{server.port}/0"
    assert first.startswith(f"The Redis at {where} cannot be used: it refused the connection. Check bus.url")
    assert second == fault


# ---- the command ----


def test_a_fault_has_its_line_and_its_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, QUIET + '[notices]\nfiles = ["none.toml"]\n')
    assert main(["check-config", "--config", str(path)]) == 1
    assert capsys.readouterr().err.startswith(f"fault: Notice {tmp_path}/none.toml cannot be read")


def test_a_host_that_the_certificate_is_not_for_is_a_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Authority().issue(tmp_path, hosts=("other.example", "*.oscc.example"))
    shown = 'certificate = "server.crt"\nkey = "server.key"'
    path = write(tmp_path, QUIET.replace('trusted_proxies = ["127.0.0.1"]', shown))
    words = ["check-config", "--offline", "--config", str(path), "--host"]
    assert main([*words, "gateway.oscc.example", "--host", "other.example"]) == 0
    assert main(words[:-1]) == 0, "nobody asked"
    capsys.readouterr()
    assert main([*words, "other.example", "--host", "a.example", "--host", "127.0.0.1"]) == 1
    assert [line for line in capsys.readouterr().err.splitlines() if line.startswith("fault")] == [
        f"fault: client.certificate {tmp_path}/server.crt is not for a.example.",
        f"fault: client.certificate {tmp_path}/server.crt is not for 127.0.0.1.",
    ]


def test_a_host_cannot_be_looked_for_without_a_certificate(tmp_path: Path) -> None:
    (received,) = uncovered_hosts(loaded(tmp_path).settings, ["a.example"])
    assert received.startswith("client.certificate is not set, so whether it is for a.example can")
    text = SMALLEST.replace("insecure = true", 'certificate = "none.crt"\nkey = "none.key"')
    assert list(uncovered_hosts(loaded(tmp_path, text).settings, ["a.example"])) == []


def test_a_folder_for_bundles_that_cannot_be_made_is_a_fault_of_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "no" / "where"
    path = write(tmp_path, QUIET.replace("port = 9091", f'port = 9091\nbundle_folder = "{folder}"'))
    assert main(["check-config", "--offline", "--config", str(path)]) == 1
    assert capsys.readouterr().err == (
        f"fault: admin.bundle_folder {folder} is not there, and this user cannot make it.\n"
    )


def test_a_socket_that_cannot_be_opened_is_a_fault(tmp_path: Path) -> None:
    def faults(path: Path) -> list[str]:
        text = QUIET.replace('"127.0.0.1"\nport = 9091', f'"unix:{path}"')
        return list(file_faults(loaded(tmp_path, text).settings, 0))

    assert faults(tmp_path / "admin.sock") == []
    (absent,) = faults(tmp_path / "none" / "admin.sock")
    assert absent.startswith(f"admin.host: the folder {tmp_path}/none is missing: make it")
    (other,) = faults(write(tmp_path, QUIET))
    assert other.endswith("is another file: choose another path.")
    (long,) = faults(tmp_path / ("x" * 108))
    assert "is longer than 107 bytes" in long


def test_a_socket_in_a_folder_that_this_user_may_not_see_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> bool:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    text = QUIET.replace('"127.0.0.1"\nport = 9091', f'"unix:{tmp_path}/sub/admin.sock"')
    settings = loaded(tmp_path, text).settings
    monkeypatch.setattr(Path, "is_dir", refuse)
    (fault,) = socket_faults(settings)
    assert fault.startswith(f"admin.host: this user may not look into {tmp_path}/sub: run this as")


def test_a_silent_site_is_a_fault_of_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, QUIET.replace("https://oscce.example", "http://127.0.0.1:1"))
    assert main(["check-config", "--config", str(path)]) == 1
    assert capsys.readouterr().err == (
        "fault: Site main at http://127.0.0.1:1: Nothing listens there: check host and port, or start its "
        "server.\n"
    )


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "Its HTTP status is not that of"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno", "What answers there is not an OSCC-E Server"),
        (b"-ERR unknown command\r\n", "What answers there is not an OSCC-E Server"),
        (b"", "The connection breaks, or there is no route"),
    ],
)
async def test_a_site_that_is_not_reached_has_its_cause(tmp_path: Path, answer: bytes, expected: str) -> None:
    async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(answering, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        text = QUIET.replace("https://oscce.example", f"http://127.0.0.1:{port}")
        (fault,) = await check_reachable(loaded(tmp_path, text).settings, SystemClock())
    assert fault.startswith(f"Site main at http://127.0.0.1:{port}: {expected}")
    text = QUIET.replace("https://oscce.example", "https://oscce.invalid")
    (fault,) = await check_reachable(loaded(tmp_path, text).settings, SystemClock())
    assert "Its host name cannot be resolved" in fault


def test_a_configuration_that_cannot_be_used_has_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check-config", "--config", str(write(tmp_path, QUIET.replace("port", "prot")))]) == 2
    assert "did you mean client.port?" in capsys.readouterr().err


def test_schema_and_reference_need_no_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-config", "--schema"]) == 0
    assert capsys.readouterr().out == json_schema()
    assert main(["check-config", "--reference"]) == 0
    assert capsys.readouterr().out == reference_page()


ASTERISK = SECRET.replace("https://oscce.example", "ami://127.0.0.1:1").replace(
    'country = "DE"',
    'country = "DE"\n[sites.asterisk]\nuser = "oscc"\nsecret = "SAID"\npeople_file = "people.toml"',
)


def test_nothing_but_sentences_is_printed(tmp_path: Path) -> None:
    people = tmp_path / "people.toml"
    people.write_text("people = []\n", "utf-8")
    people.chmod(0o600)
    file = write(tmp_path, ASTERISK.replace('"people.toml"', f'"{people}"'))
    command = [sys.executable, "-m", "gateway", "check-config", "--config", str(file)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = ended.stderr.splitlines()
    assert "fault: Site main at ami://127.0.0.1:1: nothing listens there." in lines
    assert [line for line in lines if not line.startswith(("advice: ", "fault: "))] == []


def test_an_asterisk_of_several_nodes_is_advised(tmp_path: Path) -> None:
    people = tmp_path / "people.toml"
    people.write_text("people = []\n", "utf-8")
    people.chmod(0o600)
    alone = ASTERISK.replace('"people.toml"', f'"{people}"')
    many = alone.replace("memory://", "redis://127.0.0.1:6379")
    assert not [text for text in setting_advices(loaded(tmp_path, alone).settings, 0) if "Asterisk" in text]
    (received,) = [text for text in setting_advices(loaded(tmp_path, many).settings, 0) if "Asterisk" in text]
    assert received.startswith(
        "Site main is an Asterisk, which fences no links: with several nodes the lease"
    )


def test_a_file_of_people_that_others_may_read_is_advised_and_one_that_is_not_there_a_fault(
    tmp_path: Path,
) -> None:
    people = tmp_path / "people.toml"
    people.write_text("people = []\n", "utf-8")
    people.chmod(0o644)
    settings = loaded(tmp_path, ASTERISK.replace('"people.toml"', f'"{people}"')).settings
    assert list(file_faults(settings, 0)) == []
    assert [text for text in setting_advices(settings, 0) if text.endswith(": chmod 600.")]
    settings = loaded(tmp_path, ASTERISK.replace('"people.toml"', f'"{tmp_path / "none.toml"}"')).settings
    (fault,) = file_faults(settings, 0)
    assert fault.startswith("Site main: the people file ")


def test_the_meaning_of_a_missing_setting_keeps_its_abbreviations(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        loaded(tmp_path, ASTERISK.replace('people_file = "people.toml"', ""))
    (fault,) = refused.value.faults
    assert fault.startswith("sites[0].asterisk.people_file is missing: TOML file of the people ")


def test_the_secret_of_the_documentation_is_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        loaded(tmp_path, ASTERISK.replace("SAID", "…"))
    assert list(refused.value.faults) == ["sites[0].asterisk.secret is missing: the account's secret."]
    variable = {"OSCC_GATEWAY__SITES__0__ASTERISK__SECRET": "told"}
    site = loaded(tmp_path, ASTERISK.replace("SAID", "…"), **variable).settings.sites[0]
    assert site.asterisk is not None
    assert site.asterisk.secret.get_secret_value() == "told"


# ---- check of a site ----


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
        assert answer.faults == (f"Site main at {site.url}: TLS with its server fails: {reason}.",)
        async with OsccServer("main", site.url, SystemClock(), tls=site_context(0, site)) as adapter:
            with pytest.raises(GatewayError) as refused:
                await adapter.about()
    assert refused.value.code is ErrorCode.UPSTREAM_UNAVAILABLE
    assert not any(line.startswith(b"GET") for line in asked), "nothing is asked of such a server"


async def test_one_that_is_believed_is_asked(tmp_path: Path) -> None:
    asked: list[bytes] = []
    async with server(ROOT.issue(tmp_path, chain=(ROOT,)), asked) as port, asyncio.timeout(20):
        answer = await check_site(0, site_of(port, tmp_path), SystemClock())
    (fault,) = answer.faults
    assert "TLS" not in fault
    assert answer.advices == ()
    assert any(line.startswith(b"GET") for line in asked)


async def test_a_certificate_that_ends_soon_is_advised(tmp_path: Path) -> None:
    async with server(ROOT.issue(tmp_path, ends_d=9.1), []) as port, asyncio.timeout(20):
        answer = await check_site(0, site_of(port, tmp_path), SystemClock())
    assert answer.advices == ("The certificate of site main's server expires in 9 days.",)
