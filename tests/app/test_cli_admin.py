"""Admin commands: what the listener answers, exit codes, and support bundles, which are shown first."""

from __future__ import annotations

import asyncio
import io
import json
import shlex
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.app.cli import main
from gateway.app.config.settings import SealingKey
from gateway.app.config.sources import new_sealing_key, write_lines
from gateway.simulator import Simulator, SimulatorSettings
from tests.app.certificates import Authority
from tests.app.samples import SMALLEST, write
from tests.app.test_admin import TOKEN, Operated, operated
from tests.app.test_reloading import FIRST, ConfiguredNode
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
        received = json.loads(capsys.readouterr().out)
        assert [each["id"] for each in received["sessions"]] == [session]
        assert await command(at, tmp_path, "nodes") == 0
        assert capsys.readouterr().out.startswith("NODE ")
        await at.ws.close()

        async def is_over() -> bool:
            return bool((await at.ask("GET", "/closes"))["closes"])

        await until(is_over, "the connection is not over")
        assert await command(at, tmp_path, "closes") == 0
        assert "1000" in capsys.readouterr().out.splitlines()[1].split()


async def test_acts_are_done_and_reported(
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


class Listener:
    """Answers commands without a node."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.answers = list(answers)
        self.queries: list[dict[str, str]] = []

    async def __call__(self, *_: object, query: dict[str, str] | None = None, **__: object) -> dict[str, Any]:
        self.queries.append(query or {})
        return self.answers.pop(0)


CERTIFICATE_KEPT = {"node": "n3", "what": ["certificate"]}


@pytest.mark.parametrize(
    ("received", "err"),
    [
        ({"unreached": [{"node": "n2", "reason": "no_answer"}]}, "Not reached: n2 (no_answer)."),
        (
            {"unreached": [], "kept": [{"node": "n2", "what": ["keys", "notices"]}, CERTIFICATE_KEPT]},
            "Not changed, see the log: n2 (keys, notices), n3 (certificate).",
        ),
    ],
)
def test_nodes_that_were_not_reached_or_keep_something_old_are_reported_and_fail(
    received: dict[str, Any],
    err: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.app.cli.admin.ask_admin", Listener({"nodes": ["n1"], **received}))
    assert main(["reload", "--config", config(tmp_path, 1)]) == 1
    assert capsys.readouterr() == ("DONE BY\nn1\n", f"oscc-gateway: {err}\n")


@asynccontextmanager
async def two_nodes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[dict[str, ConfiguredNode]]:
    """Nodes `a` and `b` of one Redis, each with a file of sealing keys; `b` shows a certificate."""
    pair = f'certificate = "{folder}/server.crt"\nkey = "{folder}/server.key"'
    small = SimulatorSettings(agents=1, queues=1, users=1)
    async with redis_server() as redis, Simulator(small) as simulator:
        nodes = {
            name: ConfiguredNode(
                folder,
                name,
                simulator.url,
                bus=redis.url,
                client=f'{client}\n[admin]\nhost = "unix:{folder}/{name}.sock"',
            )
            for name, client in (("a", "insecure = true"), ("b", pair))
        }
        with ExitStack() as stack:
            for name, node in nodes.items():
                (folder / f"keys-{name}").write_text(write_lines([FIRST]), "utf-8")
                with monkeypatch.context() as only_this:
                    only_this.setenv("OSCC_GATEWAY__SECRETS__SEALING_KEYS_FILE", f"{folder}/keys-{name}")
                    await asyncio.to_thread(node.start, stack)
            yield nodes


async def test_a_rotation_goes_on_only_when_all_have_the_same_keys_and_it_reports_which_node_keeps_what(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, next_key, impostor = Authority(), new_sealing_key([FIRST]), new_sealing_key([FIRST])
    root.issue(tmp_path)
    first, second = tmp_path / "keys-a", tmp_path / "keys-b"
    async with two_nodes(tmp_path, monkeypatch) as nodes, asyncio.timeout(60):

        async def reload() -> tuple[int, dict[str, str], str]:
            code = await asyncio.to_thread(main, ["reload", "--config", str(nodes["a"].path), "--json"])
            received, err = capsys.readouterr()
            keys = json.loads(received)["sealing_keys"]
            return code, {each["node"]: " ".join(each["keys"]) for each in keys}, err

        async def same(*keys: SealingKey) -> bool:
            names = " ".join(key.name for key in keys)
            return await reload() == (0, {"a": names, "b": names}, "")

        await until(lambda: same(FIRST), "the nodes do not know each other")
        second.write_text("")
        root.issue(tmp_path, ends_d=-0.5)
        code, _, err = await reload()
        assert (code, err) == (1, "oscc-gateway: Not changed, see the log: b (keys, certificate).\n")
        line = await asyncio.to_thread(nodes["a"].process.until, '"result": "not_in_force"')
        assert json.loads(line)["act"] == "reload"
        root.issue(tmp_path)

        for step in ([FIRST, next_key], [next_key, FIRST]):
            second.write_text(first.read_text())
            first.write_text(write_lines(step), "utf-8")
            code, keys, err = await reload()
            assert (code, keys["a"]) == (1, " ".join(key.name for key in step))
            assert keys["b"] != keys["a"]
            assert f"The sealing keys differ: a has {keys['a']}; b has {keys['b']}." in err
            second.write_text(write_lines(step), "utf-8")
            assert await same(*step)
        second.write_text(write_lines([impostor, FIRST]), "utf-8")
        assert (await reload())[0] == 1, "another key under the same id"


def test_pages_are_asked_for_until_there_are_no_more_or_enough(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def page(first: int, count: int, **more: str) -> dict[str, Any]:
        return {"sessions": [{"id": f"{first + n}"} for n in range(count)], "unreached": [], **more}

    listener = Listener(page(0, 1000, next="999"), page(1000, 500, next="1499"))
    monkeypatch.setattr("gateway.app.cli.admin.ask_admin", listener)
    assert main(["sessions", "--json", "--limit", "1500", "--config", config(tmp_path, 1)]) == 0
    shown = capsys.readouterr()
    received = json.loads(shown.out)
    assert (len(received["sessions"]), received["next"]) == (1500, "1499")
    assert shown.err == "oscc-gateway: There are more: --after=1499\n"
    assert listener.queries == [{"limit": "1000"}, {"limit": "500", "after": "999"}]


@pytest.mark.parametrize(("what", "words"), [("sessions", ("--json",)), ("closes", ())])
def test_who_was_shown_that_there_is_more_goes_on_there(
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


@pytest.mark.parametrize("what", ["sessions", "closes"])
def test_an_empty_page_after_a_value_says_after_which(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    empty: dict[str, Any] = {what: [], "unreached": []}
    monkeypatch.setattr("gateway.app.cli.admin.ask_admin", Listener(empty, empty))
    assert main([what, "--after", "a b", "--config", config(tmp_path, 1)]) == 0
    assert capsys.readouterr().err == "oscc-gateway: There are none after 'a b'\n"
    assert main([what, "--config", config(tmp_path, 1)]) == 0
    assert capsys.readouterr().err == ""


def test_a_node_that_one_page_did_not_reach_is_reported_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = [{"node": "n2", "reason": "no_answer"}]
    pages = [{"sessions": [], "unreached": each, "next": "1"} for each in (missing, missing)]
    listener = Listener(*pages, {"sessions": [], "unreached": []})
    monkeypatch.setattr("gateway.app.cli.admin.ask_admin", listener)
    assert main(["sessions", "--config", config(tmp_path, 1)]) == 1
    assert capsys.readouterr().err == "oscc-gateway: Not reached: n2 (no_answer).\n"


# ---- ``bundle`` ----


class Terminal(io.StringIO):
    """Somebody who types."""

    def isatty(self) -> bool:
        return True


def _files(folder: Path) -> list[Path]:
    return list(folder.glob("oscc-gateway-*.json"))


async def test_without_a_terminal_it_is_only_shown_unless_writing_was_said_beforehand(
    own_logging: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    async with operated(tmp_path) as at:
        capsys.readouterr()
        assert await command(at, tmp_path, "support-bundle", "--purpose", "case 7") == 0
        assert json.loads(capsys.readouterr().out)["bundle"]["purpose"] == "case 7"
        assert _files(tmp_path) == []
        assert await command(at, tmp_path, "support-bundle", "--write", "--json") == 0
        bundle, _, last = capsys.readouterr().out.rstrip("\n").rpartition("\n")
        (file,) = _files(tmp_path)
        assert json.loads(last) == {"path": str(file)}
        assert file.read_text("utf-8") == bundle + "\n"


async def test_who_sees_it_decides(
    own_logging: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    written = 0
    async with operated(tmp_path) as at:
        for typed, writes in (("y\n", True), ("yes\n", True), ("n\n", False), ("\n", False), ("", False)):
            monkeypatch.setattr("sys.stdin", Terminal(typed))
            assert await command(at, tmp_path, "support-bundle", "--purpose", typed.strip() or "case") == 0
            shown = capsys.readouterr()
            written += writes
            assert "Write it? [y/N]" in shown.err
            assert ("Written to " in shown.out) is writes
            assert len(_files(tmp_path)) == written
