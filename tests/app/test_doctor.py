"""``doctor`` reports what a machine lacks for a node."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from aiohttp import web

from gateway.app.cli import doctor, main
from gateway.app.cli.demo import free_port
from gateway.app.cli.doctor import MachineLimits, RunningNode, machine_advices, machine_faults, this_machine
from gateway.app.process import BACKLOG, listening
from tests.app.certificates import Authority
from tests.app.samples import SECRET, SMALLEST, loaded, write

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
    assert fault.startswith("This shell may open 2199 files, but limits.connections = 1000 needs 2200 ")


def test_a_node_that_runs_is_judged_by_its_own_limit(tmp_path: Path) -> None:
    settings = loaded(tmp_path, SMALL).settings
    fit, small = RunningNode(7, 2_200), RunningNode(8, 1_024)
    shell = FIT._replace(files=1_024)
    assert list(machine_faults(shell._replace(nodes=(fit,)), settings)) == []
    (fault,) = machine_faults(FIT._replace(nodes=(fit, small)), settings)
    assert fault.startswith("The node with process id 8 may open 1024 files, but ")
    assert "LimitNOFILE of its unit" in fault
    (alone,) = machine_faults(shell, settings)
    assert "A service has a limit of its own" in alone


def process(proc: Path, pid: int, words: str, files: str) -> None:
    (proc / str(pid)).mkdir()
    (proc / str(pid) / "cmdline").write_bytes(words.replace(" ", "\0").encode())
    (proc / str(pid) / "limits").write_text(f"Max processes 1 1 x\nMax open files  1024  {files}  files\n")


def test_nodes_that_run_here_are_found(tmp_path: Path) -> None:
    process(tmp_path, 3, "/usr/bin/python /opt/bin/oscc-gateway serve --config gateway.toml", "131072")
    process(tmp_path, 40, "/opt/bin/oscc-gateway serve", "unlimited")
    process(tmp_path, 5, "/opt/bin/oscc-gateway watch https://serve.example", "5")
    process(tmp_path, 6, "/usr/bin/other serve", "5")
    (tmp_path / "7").mkdir()
    assert list(doctor.running_nodes(tmp_path)) == [(3, 131_072), (40, sys.maxsize)]


@pytest.mark.parametrize(
    ("machine", "start"),
    [
        (FIT._replace(somaxconn=128), "net.core.somaxconn is 128: "),
        (FIT._replace(syn_backlog=512), "net.ipv4.tcp_max_syn_backlog is 512: "),
        (FIT._replace(is_time_kept=False), "No service that synchronises the clock was found"),
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
    queues = f"somaxconn: {BACKLOG}, tcp_max_syn_backlog: {BACKLOG}"
    assert shown.out == f"files: 1000000 (of this shell)\n{queues}\nclock: a service sets it\n"
    assert shown.err == ""


def test_a_redis_that_is_away_is_a_fault(
    fit: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, SECRET.replace("memory://", "redis://127.0.0.1:1"))
    assert main(["doctor", "--config", str(path)]) == 1
    assert capsys.readouterr().err.startswith("fault: The Redis at redis://127.0.0.1:1 cannot be used")


def behind_proxy(tmp_path: Path, port: int) -> Path:
    changed = SECRET.replace("insecure = true", 'trusted_proxies = ["127.0.0.0/8"]')
    return write(tmp_path, changed.replace("port = 8080", f"port = {port}").replace("9090", "0"))


@asynccontextmanager
async def proxy(target: int, idle_s: float, *, refuses: int = 0) -> AsyncIterator[str]:
    """Carry bytes to *target*, and close what is quiet for *idle_s*; the first *refuses* requests get 503."""
    left = refuses

    async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(TimeoutError, OSError):
            while True:
                async with asyncio.timeout(idle_s):
                    chunk = await source.read(65_536)
                if not chunk:
                    break
                sink.write(chunk)
        sink.close()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal left
        if left:
            left -= 1
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 503 No node\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            writer.close()
            return
        there, to_node = await asyncio.open_connection("127.0.0.1", target)
        async with asyncio.TaskGroup() as group:
            group.create_task(copy(reader, to_node))
            group.create_task(copy(there, writer))

    server = await asyncio.start_server(carry, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def test_a_quiet_stream_is_held_through_the_proxy(
    fit: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    words = ["doctor", "--config", str(behind_proxy(tmp_path, port)), "--hold"]
    async with proxy(port, 60) as patient, proxy(port, 0.3) as hasty:
        assert await asyncio.to_thread(main, [*words, "1", "--through", patient]) == 0
        shown = capsys.readouterr()
        assert f"{patient} kept a quiet WebSocket open for 1 s\n" in shown.out
        assert "advice" not in shown.err
        # much longer than the hasty one waits, on a busy machine too
        assert await asyncio.to_thread(main, [*words, "2", "--through", hasty, "--through", patient]) == 1
    shown = capsys.readouterr()
    closed = (
        rf"fault: {re.escape(hasty)} closed a quiet WebSocket after \d+ s: let the proxy wait 60 s or more"
    )
    assert re.search(closed, shown.err), shown.err
    assert patient in shown.out


async def test_a_proxy_has_time_to_find_the_listener_by_its_health_checks(
    fit: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    async with proxy(port, 60, refuses=2) as late:
        words = ["doctor", "--config", str(behind_proxy(tmp_path, port)), "--hold", "1", "--through", late]
        assert await asyncio.to_thread(main, words) == 0
    assert f"{late} kept a quiet WebSocket open for 1 s\n" in capsys.readouterr().out


async def test_a_proxy_that_leads_elsewhere_or_nowhere_is_a_fault(
    fit: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["doctor", "--config", str(behind_proxy(tmp_path, free_port())), "--hold", "1"]
    no_address = "is not an address such as https://gateway.example or http://127.0.0.1:8080."
    for url, why in (
        (f"http://127.0.0.1:{free_port()}", "refuses the connection: start the proxy,"),
        ("127.0.0.1:8443", no_address),
        ("https://127.0.0.1:99999", no_address),
        ("http://[::1", no_address),
        ("https://gateway.invalid", "has a host name that cannot be resolved: check it."),
    ):
        assert await asyncio.to_thread(main, [*words, "--through", url]) == 1
        assert f"fault: {url} {why}" in capsys.readouterr().err
    other = web.Application()
    other.router.add_get(doctor.STREAM_PATH, doctor._quiet_stream("another process"))
    async with listening("other", other, "127.0.0.1", 0) as there:
        assert await asyncio.to_thread(main, [*words, "--through", there.url]) == 1
    assert "leads to another machine" in capsys.readouterr().err


async def test_a_node_that_runs_must_be_stopped_for_it(
    fit: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with listening("node", web.Application(), "127.0.0.1", 0) as node:
        words = ["doctor", "--config", str(behind_proxy(tmp_path, node.port)), "--through", node.url]
        assert await asyncio.to_thread(main, words) == 1
    assert "Stop the node first" in capsys.readouterr().err


def test_a_node_behind_a_proxy_is_advised_to_try_it(
    fit: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--config", str(behind_proxy(tmp_path, free_port()))]) == 0
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
