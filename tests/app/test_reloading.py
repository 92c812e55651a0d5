"""Reload of files and notices on whole nodes, without a phone that is disconnected."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography import x509

from gateway.app.config.settings import SealingKey
from gateway.app.config.sources import new_sealing_key, new_secret_key, write_block
from gateway.app.process import SystemdNotifier, signal_handlers
from gateway.app.reload import RELOAD_EVERY_S, NoticesReloader, Reloader, ReloadFailed, reload_on_hangup
from gateway.simulator import Simulator, SimulatorSettings
from gateway.telemetry import Telemetry
from tests.app import processes
from tests.app.certificates import Authority
from tests.app.phone import Socket, arrived, hello
from tests.app.samples import LOG_ON
from tests.doubles.clock import ManualClock
from tests.doubles.log_lines import capture_logs
from tests.doubles.servers import redis_server
from tests.doubles.tasks import during


class Desk:
    """Counts looks, by who looks."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.clock = ManualClock()
        self.reloading = Reloader((self.files, self.more), (self.keys,), self.clock)
        self.old: dict[str, str] = {}
        """What stays old, by who looks."""

    async def files(self) -> str | None:
        self.done.append("files")
        await asyncio.sleep(0)  # a caller that does not wait for its turn would run here
        return self.old.get("files")

    async def more(self) -> str | None:
        self.done.append("more")
        return self.old.get("more")

    async def keys(self) -> str | None:
        self.done.append("keys")
        return self.old.get("keys")

    async def after(self) -> None:
        self.done.append("after")

    def took(self) -> list[str]:
        """Return who has looked since it was asked last."""
        done, self.done = self.done, []
        return done


@asynccontextmanager
async def running() -> AsyncIterator[Desk]:
    desk = Desk()
    async with during(desk.reloading.run(desk.after)):
        await desk.clock.settle()
        yield desk


async def test_files_are_looked_at_again_and_again_keys_when_asked_whatever_stays_old() -> None:
    async with running() as desk:
        assert desk.took() == ["files", "more", "after"]
        desk.old = {"keys": "the keys", "files": "the files"}
        await desk.clock.advance(RELOAD_EVERY_S - 0.1)
        assert desk.took() == []
        await desk.clock.advance(0.2)
        assert desk.took() == ["files", "more", "after"]
        desk.reloading.ask()
        desk.reloading.ask()
        await desk.clock.settle()
        assert desk.took() == ["keys", "files", "more", "after"], "asking twice is one look"
        await desk.clock.advance(RELOAD_EVERY_S)
        assert desk.took() == ["files", "more", "after"]


async def test_a_hang_up_asks_and_afterwards_is_as_before() -> None:
    async with running() as desk:
        desk.took()
        before = signal.getsignal(signal.SIGHUP)
        with signal_handlers({signal.SIGHUP: desk.reloading.ask}):
            assert signal.getsignal(signal.SIGHUP) != before
            os.kill(os.getpid(), signal.SIGHUP)
            await asyncio.sleep(0)  # the loop hears of the signal in its next turn
            await desk.clock.settle()
        assert desk.took() == ["keys", "files", "more", "after"]
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL


async def test_looks_come_one_after_the_other() -> None:
    desk = Desk()
    await asyncio.gather(desk.reloading.reload_all(), desk.reloading.reload_all())  # noqa: TID251 - two operators at once
    assert desk.took() == ["keys", "files", "more"] * 2


async def test_who_asks_sees_what_stays_old_when_all_were_looked_at() -> None:
    desk = Desk()
    desk.old = {"keys": "the keys", "more": "the rest"}
    with pytest.raises(ReloadFailed, match="the keys, the rest") as caught:
        await desk.reloading.reload_all()
    assert (caught.value.what, desk.took()) == (("the keys", "the rest"), ["keys", "files", "more"])
    desk.old = {}
    await desk.reloading.reload_all()


@pytest.mark.parametrize("is_any", [True, False])
async def test_sighup_ends_only_commands_without_files_to_reload(*, is_any: bool) -> None:
    desk = Desk()
    nobody = SystemdNotifier({}, os.getpid(), desk.clock)
    for supervisor in (None, nobody):
        with reload_on_hangup(desk.reloading, desk.after, supervisor, is_any=is_any) as cry:
            assert cry == desk.after
            assert (signal.getsignal(signal.SIGHUP) != signal.SIG_DFL) is is_any
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL


# ---- whole nodes ----

FIRST, PSEUDONYM = new_sealing_key(), new_secret_key()
NEXT = new_sealing_key([FIRST])
LAST = new_sealing_key([FIRST, NEXT])


class ConfiguredNode:
    """A configuration file, and the process of a node that reads it."""

    def __init__(
        self, folder: Path, name: str, upstream: str, *, bus: str = "memory://", client: str
    ) -> None:
        self.path = folder / f"{name}.toml"
        self._head = (
            f'[client]\nport = 0\n{client}\n[ops]\nport = 0\n[node]\nname = "{name}"\n[bus]\nurl = "{bus}"\n'
            f'[limits]\ndrain_s = 0\n[[sites]]\nid = "main"\nurl = "{upstream}"\ndisplay_name = "Main"\n'
            'country = "DE"\n'
        )
        self.write(FIRST)

    def write(self, *keys: SealingKey) -> None:
        """Say other keys."""
        self.path.write_text(self._head + write_block(keys, PSEUDONYM), "utf-8")

    def also(self, line: str) -> None:
        """Say one thing more of the site."""
        self._head += f"{line}\n"
        self.write(FIRST)

    def start(self, stack: ExitStack) -> None:
        """Start the node; it ends with *stack*."""
        self.process = stack.enter_context(processes.running("serve", "--config", str(self.path)))
        ops, client = (json.loads(self.process.until(f'"listener": "{name}"')) for name in ("ops", "client"))
        self.ops = f"http://127.0.0.1:{ops['port']}"
        scheme = "https" if client["tls"] else "http"
        self.client = f"{scheme}://localhost:{client['port']}"

    async def reload(self, words: str) -> dict[str, Any]:
        """Send SIGHUP; returns the line with *words* that it leads to."""
        self.process.hang_up()
        line: dict[str, Any] = json.loads(await asyncio.to_thread(self.process.until, words))
        return line


async def asked_for_log_on(http: aiohttp.ClientSession, node: ConfiguredNode) -> dict[str, Any]:
    """Ask for a log-on; a node that has just come lets nobody in until it knows who shares the budget."""
    asked = {**LOG_ON, "device": {**LOG_ON["device"], "id": node.path.stem}}
    while True:
        async with http.post(f"{node.client}/v1/sessions", json=asked) as response:
            if response.status == 429:
                await asyncio.sleep(float(response.headers["Retry-After"]))
                continue
            received: dict[str, Any] = await response.json()
            return received


async def stream(http: aiohttp.ClientSession, node: ConfiguredNode, token: str) -> Socket:
    ws = await hello(http, node.client, token)
    await arrived(ws, "welcome")
    return ws


async def opens(http: aiohttp.ClientSession, node: ConfiguredNode, token: str) -> bool:
    async with http.get(f"{node.client}/v1/me/export", headers={"Authorization": f"Bearer {token}"}) as found:
        assert found.status in {200, 401}
        return found.status == 200


@pytest.mark.takes(10)
async def test_keys_rotate_on_all_nodes_without_a_log_out(tmp_path: Path) -> None:
    sized = SimulatorSettings(agents=50, queues=5, users=1, events_per_s=50)
    async with redis_server() as redis, Simulator(sized) as simulator, aiohttp.ClientSession() as http:
        nodes = [
            ConfiguredNode(tmp_path, name, simulator.url, bus=redis.url, client="insecure = true")
            for name in ("a", "b")
        ]
        with ExitStack() as stack:
            for node in nodes:
                await asyncio.to_thread(node.start, stack)
            async with asyncio.timeout(40):
                tokens = [(await asked_for_log_on(http, node))["token"] for node in nodes]
                streams = [await stream(http, *pair) for pair in zip(nodes, tokens, strict=True)]
                # 1. all learn the new key; 2. it seals, the old one still opens; 3. the old one goes
                for node in nodes:
                    node.write(FIRST, NEXT)
                    await node.reload("keys_reloaded")
                for node in nodes:
                    node.write(NEXT, FIRST)
                    assert (await node.reload("keys_reloaded"))["new"] == "k2, k1"
                fresh = [(await arrived(ws, "renewed"))["token"] for ws in streams]
                assert [await opens(http, node, each) for node in nodes for each in (*tokens, *fresh)] == [
                    True
                ] * 8
                for node in nodes:
                    node.write(NEXT, LAST)
                    await node.reload("keys_reloaded")
                for node in nodes:
                    node.write(LAST, NEXT)
                    await node.reload("keys_reloaded")
                newest = [(await arrived(ws, "renewed"))["token"] for ws in streams]
                for node in nodes:
                    assert [await opens(http, node, each) for each in tokens] == [False, False]
                    assert [await opens(http, node, each) for each in (*fresh, *newest)] == [True] * 4
                for ws in streams:  # the nodes hear each other still, and no stream was dropped
                    assert (await arrived(ws, "changes"))["kind"] == "changes"
                    assert not ws.closed
                    await ws.close()


@pytest.mark.takes(5)
async def test_a_renewed_certificate_is_shown_and_open_streams_flow_on(tmp_path: Path) -> None:
    root = Authority()
    trusts = ssl.create_default_context(cadata=root.pem.decode())
    client = f'certificate = "{tmp_path}/server.crt"\nkey = "{tmp_path}/server.key"'
    root.issue(tmp_path)
    async with (
        Simulator(SimulatorSettings(agents=50, queues=5, users=1, events_per_s=50)) as simulator,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusts, force_close=True)) as http,
    ):
        node = ConfiguredNode(tmp_path, "a", simulator.url, client=client)
        with ExitStack() as stack:
            await asyncio.to_thread(node.start, stack)
            async with asyncio.timeout(40):
                ws = await stream(http, node, (await asked_for_log_on(http, node))["token"])
                before = await shown(node, trusts)
                (tmp_path / "server.key").write_text("broken")
                await asyncio.to_thread(node.process.until, "certificate_reload_failed")  # by itself
                assert await shown(node, trusts) == before
                assert (await metrics(http, node))['reload_failed{what="certificate"}'] == 1
                root.issue(tmp_path, ends_d=20)
                await node.reload("certificate_reloaded")
                await asyncio.to_thread(node.process.until, "certificate_expires_soon")
                after = await shown(node, trusts)
                assert after.serial_number != before.serial_number
                received = await metrics(http, node)
                assert (
                    received["certificate_expiry_timestamp_seconds"] == after.not_valid_after_utc.timestamp()
                )
                assert received['reload_failed{what="certificate"}'] == 0
                assert (await arrived(ws, "changes"))["kind"] == "changes"
                await ws.close()


async def test_other_authorities_of_a_site_are_trusted_by_the_next_request(tmp_path: Path) -> None:
    client, trusted = "insecure = true", Authority().write(tmp_path)
    sized = SimulatorSettings(agents=5, queues=1, users=1, tls=True)
    async with Simulator(sized) as simulator, aiohttp.ClientSession() as http:
        node = ConfiguredNode(tmp_path, "a", simulator.url, client=client)
        node.also(f'ca_file = "{trusted}"')
        with ExitStack() as stack:
            await asyncio.to_thread(node.start, stack)
            async with asyncio.timeout(40):
                assert (await asked_for_log_on(http, node))["code"] == "upstream_unavailable"
                port = int(simulator.url.rpartition(":")[2])
                shown_pem = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", port))
                trusted.write_text(shown_pem)
                await node.reload("authorities_reloaded")
                ws = await stream(http, node, (await asked_for_log_on(http, node))["token"])
                trusted.write_text("broken")
                await node.reload("authorities_reload_failed")
                assert (await metrics(http, node))['reload_failed{what="authorities"}'] == 1
                assert "token" in await asked_for_log_on(http, node)
                assert (await arrived(ws, "changes"))["kind"] == "changes"
                await ws.close()


async def shown(node: ConfiguredNode, trusts: ssl.SSLContext) -> x509.Certificate:
    """Return what a new handshake is shown."""
    port = int(node.client.rpartition(":")[2])
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusts, server_hostname="localhost")
    found = x509.load_der_x509_certificate(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
    writer.close()
    return found


PAGE_S = 1.1
"""A page of metrics is kept for 1 s."""


async def metrics(http: aiohttp.ClientSession, node: ConfiguredNode) -> dict[str, float]:
    await asyncio.sleep(PAGE_S)
    async with http.get(f"{node.ops}/metrics") as response:
        lines = (await response.text()).splitlines()
    received = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name.removeprefix("oscc_gateway_"): float(value) for name, _, value in received}


# ---- watch of notices ----


NOTICE = """\
id = "{name}"
version = {version}
category = "{category}"
effective_at = {at}
texts.en = {{title = "Title", summary = "Summary"}}
"""
PAST, FUTURE = "2023-11-14T00:00:00Z", "2023-11-15T00:00:00Z"
"""Before and after the manual clock's start."""


class Folder:
    """A folder of notices, somebody who watches it, and what he logs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = ManualClock()
        self.telemetry = Telemetry()
        self.write("upkeep")
        self.watch = NoticesReloader([path], self.clock, self.telemetry)

    def write(
        self, name: str, version: int = 1, category: str = "maintenance", at: str = PAST, more: str = ""
    ) -> None:
        text = NOTICE.format(name=name, version=version, category=category, at=at)
        (self.path / f"{name}.toml").write_text(text + more, "utf-8")

    @property
    def in_force(self) -> list[tuple[str, int]]:
        return [(notice.id, notice.version) for notice in self.watch.notices.all]

    async def looked(self) -> list[tuple[str, str]]:
        """Look once; returns what is logged: level, and the sentence with its fields."""
        with capture_logs() as logged:
            await self.watch.check_files()
        received = [{name: text for name, text in line.items() if name != "log_level"} for line in logged]
        return [
            (line["log_level"], ": ".join([fields.pop("event"), *map(" ".join, fields.items())]))
            for line, fields in zip(logged, received, strict=True)
        ]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


async def test_a_change_takes_effect_and_is_logged_once_also_if_the_last_notice_goes(folder: Folder) -> None:
    folder.write("upkeep", 2)
    folder.write("key", category="security")
    assert await folder.looked() == [("info", "notices_reloaded: new key v1, upkeep v2: gone upkeep v1")]
    assert folder.in_force == [("key", 1), ("upkeep", 2)]
    assert await folder.looked() == []
    for name in ("key", "upkeep"):
        (folder.path / f"{name}.toml").unlink()
    assert await folder.looked() == [("info", "notices_reloaded: new none: gone key v1, upkeep v2")]
    assert folder.in_force == []


async def test_a_config_map_that_swaps_its_link_is_seen(tmp_path: Path) -> None:
    for number, name in enumerate(("..1", "..2"), 1):
        version = tmp_path / name
        version.mkdir()
        text = NOTICE.format(name="upkeep", version=number, category="maintenance", at=PAST)
        (version / "upkeep.toml").write_text(text, "utf-8")
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "upkeep.toml").symlink_to("..data/upkeep.toml")
    watch = NoticesReloader([tmp_path], ManualClock(), Telemetry())
    (tmp_path / "..swap").symlink_to("..2")
    (tmp_path / "..swap").replace(tmp_path / "..data")
    await watch.check_files()
    assert [notice.version for notice in watch.notices.all] == [2]


async def test_each_fault_is_reported_once_and_the_old_ones_stay(folder: Folder) -> None:
    folder.write("upkeep", 0, "fun")
    received = await folder.looked()
    path = folder.path / "upkeep.toml"
    word = "category is fun, but must be 'privacy', 'security' or 'maintenance'"
    assert received == [
        ("error", f"notices_reload_failed: fault Notice {path}: {fault}.")
        for fault in ("version is 0, but must be at least 1", word)
    ]
    assert (await folder.looked(), folder.in_force) == ([], [("upkeep", 1)])
    folder.write("upkeep", 0)
    assert len(await folder.looked()) == 1, "another fault"
    assert b'reload_failed{what="notices"} 1.0' in folder.telemetry.render()
    assert await folder.watch.check_files() == "notices", "also when it was reported before"
    folder.write("upkeep")
    assert await folder.looked() == [("info", "notices_reloaded: new none: gone none")]
    assert await folder.watch.check_files() is None
    assert b'reload_failed{what="notices"} 0.0' in folder.telemetry.render()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: (path / "upkeep.toml").unlink() or path.rmdir(),
        lambda path: (path / "other.toml").write_text((path / "upkeep.toml").read_text("utf-8"), "utf-8"),
        lambda path: (path / "gone.toml").symlink_to("nowhere"),
    ],
    ids=["no folder", "twice the same id", "a dangling link"],
)
async def test_whatever_is_wrong_the_old_ones_stay(folder: Folder, spoil: Callable[[Path], object]) -> None:
    spoil(folder.path)
    (line,) = await folder.looked()
    assert (line[0], folder.in_force) == ("error", [("upkeep", 1)])


@pytest.mark.parametrize(
    ("category", "at", "warned"),
    [("privacy", PAST, True), ("privacy", FUTURE, False), ("security", PAST, False)],
)
async def test_a_privacy_notice_that_takes_effect_unannounced_is_a_warning(
    folder: Folder, category: str, at: str, warned: bool
) -> None:
    folder.write("upkeep", 2, category, at)
    late = ("warning", "privacy_notice_late: new upkeep v2")
    assert (late in await folder.looked()) is warned
    folder.write("other")
    assert late not in await folder.looked(), "it has been reported"
    assert folder.in_force == [("other", 1), ("upkeep", 2)]
