"""Canaries: nothing that people typed or phones saw leaves a live cluster's known places.

Two real nodes at the level debug, a real Redis, a simulated contact centre. Afterwards everything is searched
that somebody could get at without looking into the memory of a process.
"""

from __future__ import annotations

import signal
import tomllib
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.spy import Spy
from tests.doubles.servers import redis_server
from tests.privacy.house import NUMBER, house, live

pytestmark = [pytest.mark.timeout(120)]
LIVES_S = 3.0
OPERATORS = "canary-token-of-operators-0123456789"


def found_in(texts: dict[str, bytes], canaries: Iterable[str]) -> list[str]:
    known = {canary.encode() for canary in canaries}
    return sorted(where for where, text in texts.items() if any(canary in text for canary in known))


def written_in(folder: Path, but: Iterable[Path] = ()) -> dict[str, bytes]:
    """Return all files of *folder* that nobody put there."""
    there = {path for path in folder.rglob("*") if path.is_file() and path not in set(but)}
    return {str(path.relative_to(folder)): path.read_bytes() for path in there}


async def shown_of(made: Cluster) -> dict[str, bytes]:
    """Return what ops listeners show, and what a support bundle would hold."""
    shown: dict[str, bytes] = {}
    headers = {"Authorization": f"Bearer {OPERATORS}"}
    for node in made.nodes:
        for path in ("livez", "readyz", "startupz", "metrics"):
            async with made.http.get(f"{node.ops}/{path}") as answer:
                shown[f"{node.name} {path}"] = await answer.read()
        port = tomllib.loads((made.folder / f"{node.name}.toml").read_text("utf-8"))["admin"]["port"]
        url, asked = f"http://127.0.0.1:{port}", {"preview": True, "purpose": "search"}
        async with made.http.post(f"{url}/support-bundle", json=asked, headers=headers) as answer:
            shown[f"{node.name} bundle"] = await answer.read()
            assert answer.status == 200
        async with made.http.get(f"{url}/closes", headers=headers) as answer:
            shown[f"{node.name} closes"] = await answer.read()
    return shown


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Folders of its own for what a process might write: here, at home, and for a while."""
    made = {name: tmp_path / name for name in ("here", "home", "while")}
    for path in made.values():
        path.mkdir()
    monkeypatch.chdir(made["here"])
    monkeypatch.setenv("HOME", str(made["home"]))
    monkeypatch.setenv("TMPDIR", str(made["while"]))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setenv("OSCC_GATEWAY__LOG__LEVEL", "debug")
    monkeypatch.setenv("OSCC_GATEWAY__ADMIN__TOKEN", OPERATORS)
    return made


@pytest.mark.scenario
@pytest.mark.takes(5)
async def test_nothing_of_it_is_anywhere(tmp_path: Path, places: dict[str, Path]) -> None:
    folder = tmp_path / "cluster"
    folder.mkdir()
    async with house(folder) as (made, spy):
        secrets, names = await live(made, LIVES_S)
        assert len(names) >= 3, "phones saw nobody"
        canaries = [*secrets, *names]
        spy.add_canaries(canaries)
        await spy.look()
        shown = await shown_of(made)
        made.nodes[0].send(signal.SIGABRT)
        assert await made.nodes[0].ended() == -signal.SIGABRT
        logs = {name: text.encode() for name, text in made.logs().items() if name.startswith("node")}
    assert spy.found == set()
    assert {where for where, size in spy.looked().items() if size} >= {"keys", "monitor", "replication"}
    assert found_in(shown, canaries) == []
    assert all(b'"close_code"' in text for where, text in shown.items() if "bundle" in where), (
        "an empty bundle"
    )
    assert all(b"listening" in text for where, text in shown.items() if "bundle" in where), "no log lines"
    assert found_in(logs, canaries) == []
    assert all(b'"session_closed"' in text for text in logs.values()), "nothing was logged of them"
    assert b"********042" in logs["node2.log"], "the audit line was not masked"
    for path in places.values():
        assert written_in(path) == {}, "a node wrote to the disk"


async def test_every_writer_of_a_canary_is_found(tmp_path: Path) -> None:
    canaries = ["canary-", NUMBER]
    (tmp_path / "core").write_bytes(b"\0" * 9 + NUMBER.encode() + b"\0")
    (tmp_path / "well").write_bytes(b"nothing")
    assert found_in(written_in(tmp_path), canaries) == ["core"]
    assert found_in(written_in(tmp_path, [tmp_path / "core"]), canaries) == []
    assert found_in({"log": b'{"event": "canary-event"}', "metrics": b"up 1"}, canaries) == ["log"]


async def test_a_spied_redis_that_received_clear_text_is_found(tmp_path: Path) -> None:
    async with redis_server() as redis:
        spy = Spy(redis, tmp_path / "spied", [NUMBER])
        await spy.prepare()
        await redis.insist("SET", "leak", NUMBER)
        await spy.look()
    assert {where.partition(":")[0] for where in spy.found} == {"keys", "slowlog"}
