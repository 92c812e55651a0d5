"""Do operators get on a command line what the listener gives, and the right exit code?"""

from __future__ import annotations

import asyncio
import json
import shlex
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from gateway.app.cli.admin import ADMIN_COMMANDS
from gateway.app.keys import SealingKey, new_sealing_key, write_lines
from gateway.app.main import main
from gateway.simulator import Simulator, SimulatorSettings
from tests.app.certificates import Authority
from tests.app.samples import SMALLEST, write
from tests.app.test_admin import TOKEN, Operated, operated
from tests.app.test_reloading import FIRST, House
from tests.doubles.servers import redis_server, until
from tests.edge.operated import LINE


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    """The token comes from the environment, as where it is kept apart from the file."""
    monkeypatch.setenv("OSCC_GATEWAY__ADMIN__TOKEN", TOKEN)


def config(folder: Path, port: int) -> str:
    return str(write(folder, SMALLEST.replace("port = 9091", f"port = {port}")))


async def command(at: Operated, folder: Path, *words: str) -> int:
    """Run a command as a person would, beside the node."""
    assert at.addresses.admin is not None
    path = config(folder, int(at.addresses.admin.rpartition(":")[2]))
    return await asyncio.to_thread(main, [*words, "--config", path])


def test_each_act_of_the_listener_has_its_command() -> None:
    assert list(ADMIN_COMMANDS) == [
        "sessions", "end-session", "end-user", "export", "drain", "closes", "log-level", "reload",
        "support-bundle",
    ]  # fmt: skip


async def test_what_is_listed_is_a_table_or_json(
    own_logging: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with operated(tmp_path) as at:
        session = at.session["session"]["id"]
        capsys.readouterr()
        assert await command(at, tmp_path, "sessions") == 0
        heading, line = capsys.readouterr().out.splitlines()
        assert heading.split()[:4] == ["SESSION", "USER", "APPLICATION", "OWNER"]
        assert line.split()[0] == session
        assert line.split()[5] == "attached"
        assert await command(at, tmp_path, "sessions", "--json", "--limit", "5") == 0
        told = json.loads(capsys.readouterr().out)
        assert [each["id"] for each in told["sessions"]] == [session]
        assert await command(at, tmp_path, "nodes") == 0
        assert capsys.readouterr().out.startswith("NODE ")
        await at.ws.close()

        async def is_over() -> bool:
            return bool((await at.ask("GET", "/closes"))["closes"])

        await until(is_over, "the connection is not over")
        assert await command(at, tmp_path, "closes") == 0
        assert "1000" in capsys.readouterr().out.splitlines()[1].split()


async def test_acts_are_done_and_told(
    own_logging: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with operated(tmp_path) as at:
        (session,) = (await at.ask("GET", "/sessions"))["sessions"]
        capsys.readouterr()
        assert await command(at, tmp_path, "log-level", "warning") == 0
        assert await command(at, tmp_path, "log-level", "info") == 0
        assert await command(at, tmp_path, "reload") == 0
        assert capsys.readouterr().out.count("DONE BY") == 3
        assert await command(at, tmp_path, "export", session["user"]) == 0
        assert json.loads(capsys.readouterr().out)["complete"]
        assert await command(at, tmp_path, "end-session", session["id"]) == 0
        assert capsys.readouterr().out.splitlines()[1].split()[-1] == "ended"
        assert await command(at, tmp_path, "end-user", session["user"]) == 1
        assert capsys.readouterr().err == "oscc-gateway: No node has that user. [not_found]\n"
        assert await command(at, tmp_path, "drain", "--node", "nowhere") == 1
        assert await command(at, tmp_path, "drain") == 0
        assert at.stopping.asked.is_set()
        assert TOKEN not in "".join(capsys.readouterr())


def test_nobody_there_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sessions", "--config", config(tmp_path, 1)]) == 1
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == (
        "",
        "oscc-gateway: No admin listener answers at 127.0.0.1 port 1: does the node run?\n",
    )
    assert main(["nodes", "--config", config(tmp_path, 1)]) == 1


@pytest.mark.parametrize("limit", ["0", "-1", "x", "1000001"])
def test_a_limit_is_a_number_of_lines(limit: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["sessions", "--config", config(tmp_path, 1), "--limit", limit])
    assert caught.value.code == 2


class Listener:
    """Answers commands without a node."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.answers = list(answers)
        self.queries: list[dict[str, str]] = []

    async def __call__(self, *_: object, query: dict[str, str] | None = None, **__: object) -> dict[str, Any]:
        self.queries.append(query or {})
        return self.answers.pop(0)


def test_nodes_that_were_not_reached_are_told_and_fail(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    unreached = [{"node": "n2", "reason": "no_answer"}]
    monkeypatch.setattr(
        "gateway.app.cli.admin.ask_admin", Listener({"nodes": ["n1"], "unreached": unreached})
    )
    assert main(["reload", "--config", config(tmp_path, 1)]) == 1
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("DONE BY\nn1\n", "oscc-gateway: Not reached: n2 (no_answer).\n")


def test_nodes_that_keep_something_old_are_told_and_fail(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = [{"node": "n2", "what": ["keys", "certificate"]}, {"node": "n3", "what": ["notices"]}]
    listener = Listener({"nodes": ["n1"], "unreached": [], "kept": kept})
    monkeypatch.setattr("gateway.app.cli.admin.ask_admin", listener)
    assert main(["reload", "--config", config(tmp_path, 1)]) == 1
    shown = capsys.readouterr()
    err = "oscc-gateway: Not changed, see the log: n2 (keys, certificate), n3 (notices).\n"
    assert (shown.out, shown.err) == ("DONE BY\nn1\n", err)


async def test_a_rotation_in_two_steps_goes_on_only_when_all_nodes_have_the_same_keys(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {name: tmp_path / f"keys-{name}" for name in "ab"}
    for file in files.values():
        file.write_text(write_lines([FIRST]), "utf-8")
    small = SimulatorSettings(agents=1, queues=1, users=1)
    next_key, impostor = new_sealing_key([FIRST]), new_sealing_key([FIRST])
    door = f'insecure = true\n[admin]\nhost = "unix:{tmp_path}/%s.sock"'
    async with redis_server() as redis, Simulator(small) as simulator:
        houses = [House(tmp_path, name, simulator.url, bus=redis.url, client=door % name) for name in files]

        async def reload() -> tuple[int, dict[str, str], str]:
            code = await asyncio.to_thread(main, ["reload", "--config", str(houses[0].path), "--json"])
            told, err = capsys.readouterr()
            keys = json.loads(told)["sealing_keys"]
            return code, {each["node"]: " ".join(each["keys"]) for each in keys}, err

        async def same(*keys: SealingKey) -> bool:
            names = " ".join(key.name for key in keys)
            return await reload() == (0, {"a": names, "b": names}, "")

        with ExitStack() as stack:
            for house, file in zip(houses, files.values(), strict=True):
                with monkeypatch.context() as only_this:
                    only_this.setenv("OSCC_GATEWAY__SECRETS__SEALING_KEYS_FILE", str(file))
                    await asyncio.to_thread(house.start, stack)
            async with asyncio.timeout(60):
                await until(lambda: same(FIRST), "the nodes do not know each other")
                for step in ([FIRST, next_key], [next_key, FIRST]):
                    files["a"].write_text(write_lines(step), "utf-8")
                    code, keys, err = await reload()
                    assert (code, keys["a"]) == (1, " ".join(key.name for key in step))
                    assert keys["b"] != keys["a"]
                    assert f"The sealing keys differ: a has {keys['a']}; b has {keys['b']}." in err
                    files["b"].write_text(write_lines(step), "utf-8")
                    assert await same(*step)
                files["b"].write_text(write_lines([impostor, FIRST]), "utf-8")
                code, keys, _ = await reload()
                assert code == 1, "another key under the same id"


async def test_an_operator_is_told_which_node_keeps_what(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = tmp_path / "keys"
    keys.write_text(write_lines([FIRST]), "utf-8")
    root = Authority()
    root.issue(tmp_path)
    door = f'[admin]\nhost = "unix:{tmp_path}/%s.sock"'
    pair = f'certificate = "{tmp_path}/server.crt"\nkey = "{tmp_path}/server.key"'
    small = SimulatorSettings(agents=1, queues=1, users=1)
    async with redis_server() as redis, Simulator(small) as simulator:
        a, b = (
            House(tmp_path, name, simulator.url, bus=redis.url, client=f"{client}\n{door % name}")
            for name, client in (("a", "insecure = true"), ("b", pair))
        )

        async def reload() -> tuple[int, list[str], str]:
            code = await asyncio.to_thread(main, ["reload", "--config", str(a.path)])
            out, err = capsys.readouterr()
            return code, [line.split()[0] for line in out.splitlines()], err

        async def everywhere() -> bool:
            return await reload() == (0, ["DONE", "a", "b"], "")

        with ExitStack() as stack:
            await asyncio.to_thread(a.start, stack)
            with monkeypatch.context() as only_b:
                only_b.setenv("OSCC_GATEWAY__SECRETS__SEALING_KEYS_FILE", str(keys))
                await asyncio.to_thread(b.start, stack)
            async with asyncio.timeout(40):
                await until(everywhere, "the nodes do not know each other")
                keys.write_text("")
                root.issue(tmp_path, ends_d=-0.5)
                err = "oscc-gateway: Not changed, see the log: b (keys, certificate).\n"
                assert await reload() == (1, ["DONE", "a"], err)
                line = await asyncio.to_thread(a.process.until, '"result": "not_in_force"')
                assert json.loads(line)["act"] == "reload"
                keys.write_text(write_lines([FIRST]), "utf-8")
                root.issue(tmp_path)
                assert await everywhere()


def test_pages_are_asked_for_until_there_are_no_more_or_enough(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def page(first: int, count: int, **more: str) -> dict[str, Any]:
        return {"sessions": [{"id": f"{first + n}"} for n in range(count)], "unreached": [], **more}

    listener = Listener(page(0, 1000, next="999"), page(1000, 500, next="1499"))
    monkeypatch.setattr("gateway.app.cli.admin.ask_admin", listener)
    assert main(["sessions", "--json", "--limit", "1500", "--config", config(tmp_path, 1)]) == 0
    shown = capsys.readouterr()
    told = json.loads(shown.out)
    assert (len(told["sessions"]), told["next"]) == (1500, "1499")
    assert shown.err == "oscc-gateway: There are more: --after=1499\n"
    assert listener.queries == [{"limit": "1000"}, {"limit": "500", "after": "999"}]


@pytest.mark.parametrize(("what", "words"), [("sessions", ("--json",)), ("closes", ())])
def test_who_was_told_of_more_goes_on_there(
    what: str,
    words: tuple[str, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listener = Listener({what: [LINE], "unreached": [], "next": "-a b"}, {what: [LINE], "unreached": []})
    monkeypatch.setattr("gateway.app.cli.admin.ask_admin", listener)
    asked = [what, *words, "--limit", "1", "--config", config(tmp_path, 1)]
    assert main(asked) == 0
    (hint,) = capsys.readouterr().err.splitlines()
    assert hint == "oscc-gateway: There are more: --after='-a b'"
    assert main([*asked, *shlex.split(hint.partition("more: ")[2])]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert "next" not in shown.out
    assert listener.queries == [{"limit": "1"}, {"limit": "1", "after": "-a b"}]


def test_a_node_that_one_page_did_not_reach_is_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = [{"node": "n2", "reason": "no_answer"}]
    pages = [{"sessions": [], "unreached": each, "next": "1"} for each in (missing, missing)]
    listener = Listener(*pages, {"sessions": [], "unreached": []})
    monkeypatch.setattr("gateway.app.cli.admin.ask_admin", listener)
    assert main(["sessions", "--config", config(tmp_path, 1)]) == 1
    assert capsys.readouterr().err == "oscc-gateway: Not reached: n2 (no_answer).\n"
