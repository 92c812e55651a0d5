"""Is what a machine lacks for a node told, and nothing else?"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.app.cli import doctor
from gateway.app.cli.doctor import MachineLimits, machine_advices, machine_faults, this_machine
from gateway.app.listeners import BACKLOG
from gateway.app.main import main
from tests.app.certificates import Authority
from tests.app.samples import SECRET, SMALLEST, loaded, write
from tests.doubles.servers import redis_server

FIT = MachineLimits(files=1_000_000, somaxconn=BACKLOG, syn_backlog=BACKLOG, is_time_kept=True)
SMALL = SMALLEST + "[limits]\nconnections = 1000\n"


def test_nothing_is_said_of_a_machine_that_is_fit(tmp_path: Path) -> None:
    assert list(machine_faults(FIT, loaded(tmp_path).settings)) == []
    assert list(machine_advices(FIT)) == []
    assert list(machine_advices(FIT._replace(somaxconn=None, syn_backlog=None))) == []


def test_each_phone_needs_a_file_and_its_user_one_more(tmp_path: Path) -> None:
    settings = loaded(tmp_path, SMALL).settings
    assert list(machine_faults(FIT._replace(files=2_200), settings)) == []
    (fault,) = machine_faults(FIT._replace(files=2_199), settings)
    assert fault.startswith("This process may open 2199 files, but limits.connections = 1000 needs 2200 ")


@pytest.mark.parametrize(
    ("machine", "start"),
    [
        (FIT._replace(somaxconn=128), "net.core.somaxconn is 128: "),
        (FIT._replace(syn_backlog=512), "net.ipv4.tcp_max_syn_backlog is 512: "),
        (FIT._replace(is_time_kept=False), "No service is seen that keeps the clock right"),
    ],
)
def test_what_is_worth_a_thought_is_advised(machine: MachineLimits, start: str) -> None:
    (advice,) = machine_advices(machine)
    assert advice.startswith(start)


def test_this_machine_says_how_many_files_there_may_be() -> None:
    assert this_machine().files > 0


def test_what_cannot_be_read_is_not_known(tmp_path: Path) -> None:
    assert doctor._number(tmp_path / "none") is None
    (tmp_path / "odd").write_text("many", "ascii")
    assert doctor._number(tmp_path / "odd") is None


# ---- the command ----


@pytest.fixture
def fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "this_machine", lambda: FIT)


def test_a_fit_machine_ends_well(fit: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--config", str(write(tmp_path, SECRET))]) == 0
    shown = capsys.readouterr()
    assert shown.out == f"files: 1000000\nsomaxconn: {BACKLOG}, tcp_max_syn_backlog: {BACKLOG}\nclock: kept\n"
    assert shown.err == ""


def test_a_redis_that_is_away_is_a_fault(
    fit: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, SECRET.replace("memory://", "redis://127.0.0.1:1"))
    assert main(["doctor", "--config", str(path)]) == 1
    assert capsys.readouterr().err.startswith("fault: The Redis at redis://127.0.0.1:1 cannot be used")


async def test_one_that_keeps_what_it_is_told_is_advised(
    fit: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with redis_server("--appendonly", "yes") as server:
        path = write(tmp_path, SECRET.replace("memory://", server.url))
        assert await asyncio.to_thread(main, ["doctor", "--config", str(path)]) == 0
    assert "writes what it holds to a disk" in capsys.readouterr().err


@pytest.mark.parametrize(("seconds", "code"), [(3600, 0), (30, 1)])
def test_a_proxy_that_cuts_quiet_phones_is_a_fault(
    fit: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], seconds: int, code: int
) -> None:
    proxy = tmp_path / "haproxy.cfg"
    proxy.write_text(f"timeout tunnel {seconds}s\n")
    path = write(tmp_path, SECRET.replace("insecure = true", 'trusted_proxies = ["10.0.0.0/8"]'))
    assert main(["doctor", "--config", str(path), "--proxy", str(proxy)]) == code
    shown = capsys.readouterr()
    assert f"timeout tunnel {seconds} s\n" in shown.out
    assert ("cuts phones that are quiet" in shown.err) is bool(code)
    assert "advice" not in shown.err
    main(["doctor", "--config", str(path)])
    assert "advice: client.trusted_proxies names proxies: let each wait 60 s" in capsys.readouterr().err


def test_a_certificate_is_judged(fit: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tls = f'certificate = "{tmp_path}/server.crt"\nkey = "{tmp_path}/server.key"'
    path = write(tmp_path, SECRET.replace("insecure = true", tls))
    root = Authority()
    root.issue(tmp_path, ends_d=9.5, chain=(root,))
    assert main(["doctor", "--config", str(path)]) == 0
    assert "expires in 9 days." in capsys.readouterr().err
    root.issue(tmp_path, ends_d=-0.5, chain=(root,))
    assert main(["doctor", "--config", str(path)]) == 1
    assert "fault: client.certificate" in capsys.readouterr().err
    (tmp_path / "server.key").unlink()
    assert main(["doctor", "--config", str(path)]) == 1
    assert "server.key cannot be read" in capsys.readouterr().err
