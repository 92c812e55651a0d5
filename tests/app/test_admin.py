"""Admin listener of a whole gateway: acts and answers without canaries, and the last closed connections."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest

from gateway.app import wiring
from gateway.app.admin import AdminOperations
from gateway.app.config.settings import SecretKey
from gateway.app.config.sources import generate_secrets
from gateway.app.logging import CLOSES_MAX, CLOSES_MS, CloseHistory, Pseudonyms, configure, log_session
from gateway.app.process import StopRequest
from gateway.domain.model import Application, NodeId, UserId
from gateway.edge.channel import ConnectionSummary
from gateway.protocol.envelopes import Order
from gateway.protocol.schemas import inventory
from gateway.runtime.event_loop import SystemClock
from gateway.simulator import Simulator, SimulatorSettings
from tests.app.phone import Socket, arrived
from tests.app.samples import settings_for
from tests.app.test_logging import DEVICE, NUMBER, PASSWORD, REMOTE
from tests.app.test_wiring import NOTICE

TOKEN = "canary-token-of-operators"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
TITLE = "canary-title"
PAGE = Path(__file__).parents[2].joinpath("docs", "operations.md").read_text("utf-8")


class Operated:
    """A gateway, its log, and one phone."""

    def __init__(
        self, http: aiohttp.ClientSession, addresses: wiring.Addresses, stopping: StopRequest
    ) -> None:
        self.http = http
        self.addresses = addresses
        self.stopping = stopping
        self.log = io.StringIO()
        self.session: dict[str, Any] = {}
        self.ws: Socket

    async def ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Ask as an operator."""
        url = f"{self.addresses.admin}{path}"
        async with self.http.request(method, url, json=body, headers=BEARER) as answer:
            assert answer.status < 300, await answer.text()
            received: dict[str, Any] = await answer.json()
            return received

    async def connect(self) -> None:
        """Log a Remote Assistant on and have it served."""
        async with self.http.post(
            f"{self.addresses.client}/v1/sessions?canary=query", json=REMOTE
        ) as created:
            self.session = await created.json()
            assert created.status == 201, self.session
        self.ws = await self.http.ws_connect(
            f"{self.addresses.client}/v1/realtime", protocols=["oscc.v1.json"]
        )
        phone = {"app": "canary-app", "version": "1", "platform": "canary-platform"}
        await self.ws.send_json({"kind": "hello", "token": self.session["token"], "client": phone})
        await self.until("changes")

    async def until(self, kind: str) -> dict[str, Any]:
        """Return the next frame of a kind."""
        return await arrived(self.ws, kind)

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.getvalue().splitlines()]

    @property
    def acts(self) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["logger"] == "gateway.audit"]

    def said(self, event: str) -> list[dict[str, Any]]:
        """Return the lines of one kind, without when and by whom they were written."""
        left_out = {"event", "logger", "timestamp"}
        found = [line for line in self.lines if line["event"] == event]
        return [{name: value for name, value in line.items() if name not in left_out} for line in found]

    async def name(self) -> str:
        (node,) = (await self.ask("GET", "/nodes"))["nodes"]
        return str(node["node"])

    @property
    def canaries(self) -> list[str]:
        """What is shown to nobody but the user."""
        name = str(self.session["user"]["display_name"])
        number = [NUMBER, NUMBER[1:], NUMBER[-6:]]
        return [self.session["token"], name, *number, PASSWORD, DEVICE, "agent1", TOKEN, "canary-"]


@asynccontextmanager
async def operated(folder: Path) -> AsyncIterator[Operated]:
    """Run a gateway with a notice, a folder for bundles and a token for operators."""
    (folder / "notice.toml").write_text(NOTICE.format(1).replace("Upkeep", TITLE), "utf-8")
    stopping, secrets = StopRequest(), generate_secrets()
    center = SimulatorSettings(agents=2, queues=1, users=1, password=PASSWORD)
    async with asyncio.timeout(30), Simulator(center) as simulator, aiohttp.ClientSession() as http:
        settings = settings_for(
            simulator.url,
            admin={"token": TOKEN, "bundle_folder": folder},
            notices={"files": [folder / "notice.toml"]},
        )
        async with wiring.serving(settings, secrets, SystemClock(), stopping) as addresses:
            made = Operated(http, addresses, stopping)
            configure("info", secrets.pseudonym_key, made.log)
            await made.connect()
            yield made


async def test_a_session_is_ended_and_its_phone_learns_by_whom(own_logging: None, tmp_path: Path) -> None:
    async with operated(tmp_path) as at:
        (session,) = (await at.ask("GET", "/sessions"))["sessions"]
        assert session["id"] == at.session["session"]["id"]
        began = asyncio.get_running_loop().time()
        (ended,) = (await at.ask("DELETE", f"/sessions/{session['id']}"))["ended"]
        assert ended["confirmed"]
        bye = await at.until("bye")
        assert asyncio.get_running_loop().time() - began < 1.0
        assert (bye["code"], bye["by"], bye["reconnect"]) == (4005, "operator", "never")
        await at.ws.receive()
        (close,) = (await at.ask("GET", "/closes"))["closes"]
        assert (close["user"], close["close_code"]) == (session["user"], 4005)


async def test_an_export_is_complete_and_the_address_is_part_of_it(own_logging: None, tmp_path: Path) -> None:
    async with operated(tmp_path) as at:
        (session,) = (await at.ask("GET", "/sessions"))["sessions"]
        received = await at.ask("GET", f"/users/{session['user']}/export")
        held = {entry["category"]: entry["held"] for entry in received["entries"]}
        assert list(held) == [entry.category for entry in inventory().entries]
        assert [each["network_address"] for each in held["connection"]] == ["127.0.0.1"]
        assert [each["remote_number"] for each in held["remote_number"]] == [NUMBER]
        assert received["complete"]
        assert at.session["token"] not in json.dumps(received)
        own = {"Authorization": f"Bearer {at.session['token']}"}
        async with at.http.get(f"{at.addresses.client}/v1/me/export", headers=own) as answer:
            mine = {entry["category"]: entry["held"] for entry in (await answer.json())["entries"]}
        assert list(mine) == list(held)
        for category in ("token", "device", "connection", "remote_number", "me.personal"):
            assert mine[category], category
            shown = [
                {name: value for name, value in each.items() if name != "node"} for each in held[category]
            ]
            assert all(each in mine[category] for each in shown), category


async def test_acts_are_numbered_and_a_change_of_the_level_is_reported_at_any_level(
    own_logging: None, tmp_path: Path
) -> None:
    async with operated(tmp_path) as at:
        before, node = len(at.acts) + 1, await at.name()
        for level in ("error", "error"):
            await at.ask("POST", "/log-level", {"level": level})
        assert logging.getLogger().level == logging.ERROR
        await at.ask("POST", "/log-level", {"level": "info"})
        async with at.http.get(f"{at.addresses.admin}/nodes") as refused:
            assert refused.status == 401

        acts = at.acts
        assert [act["serial"] for act in acts] == list(range(1, before + 5))
        ((by_node, life),) = {(act["by_node"], act["life"]) for act in acts}
        assert (by_node, len(life)) == (node, 16)
        assert [(act["act"], act["result"]) for act in acts[before:]] == [
            *[("set_log_level error", "ok")] * 2,
            ("set_log_level info", "ok"),
            ("list_nodes", "unauthenticated"),
        ]
        received = at.said("log_level_changed")
        assert [(line["level"], line["node"], line["gone"], line["new"]) for line in received] == [
            ("info", node, "info", "error"),
            ("info", node, "error", "info"),
        ]
        assert "| `log_level_changed` | `info`" in PAGE


async def test_reload_shows_a_new_notice_and_says_what_stays_old(own_logging: None, tmp_path: Path) -> None:
    async with operated(tmp_path) as at:
        (tmp_path / "notice.toml").write_text("broken", "utf-8")
        for _ in range(2):  # asked again it is no less so
            received = await at.ask("POST", "/reload")
            assert (received["nodes"], [each["what"] for each in received["kept"]]) == ([], [["notices"]])
            assert (at.acts[-1]["act"], at.acts[-1]["result"]) == ("reload", "not_in_force")
        (tmp_path / "notice.toml").write_text(NOTICE.format(2), "utf-8")
        received = await at.ask("POST", "/reload")
        assert (len(received["nodes"]), "kept" in received, at.acts[-1]["result"]) == (1, False, "ok")
        while (await at.until("notice"))["version"] != 2:
            pass


async def test_a_drain_and_a_signal_after_it_are_in_no_hurry_and_the_next_one_is(
    own_logging: None, tmp_path: Path
) -> None:
    async with operated(tmp_path) as at:
        with at.stopping.on_signals():
            for _ in range(2):
                assert (await at.ask("POST", "/drain"))["state"] == "draining"
            assert at.said("drain_requested") == [{"level": "info", "node": await at.name()}]
            assert "| `drain_requested` | `info` |" in PAGE
            arrived = asyncio.Event()
            asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, arrived.set)
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGUSR1)  # received after it
            await arrived.wait()
            asyncio.get_running_loop().remove_signal_handler(signal.SIGUSR1)
            assert [line["signal"] for line in at.said("stop_requested")] == ["SIGTERM"]
            assert (at.stopping.asked.is_set(), at.stopping.hurried.is_set()) == (True, False)
            os.kill(os.getpid(), signal.SIGTERM)
            await at.stopping.hurried.wait()


async def test_what_was_asked_at_another_node_stands_in_the_own_log(own_logging: None) -> None:
    secrets, log, none = generate_secrets(), io.StringIO(), cast("Any", None)
    configure("info", secrets.pseudonym_key, log)
    asked = AdminOperations(none, none, none, none, none, StopRequest(), none, none)
    for act, subject in (("log_level", "error"), ("log_level", "info"), ("drain", "")):
        await getattr(asked, act)(Order(NodeId("gw-7"), 1, act, subject))
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [(line["event"], line["node"]) for line in lines] == [
        ("log_level_changed", "gw-7"),
        ("log_level_changed", "gw-7"),
        ("drain_requested", "gw-7"),
    ]


@pytest.mark.parametrize("is_socket", [False, True])
async def test_where_the_listener_is_stands_in_the_log_and_its_token_does_not(
    own_logging: None, tmp_path: Path, *, is_socket: bool
) -> None:
    secrets, log = generate_secrets(), io.StringIO()
    configure("info", secrets.pseudonym_key, log)
    host = f"unix:{tmp_path}/admin.sock" if is_socket else "127.0.0.1"
    settings = settings_for("http://127.0.0.1:1", admin={"host": host, "token": TOKEN})
    async with wiring.serving(settings, secrets, SystemClock(), StopRequest()) as addresses:
        lines = [json.loads(line) for line in log.getvalue().splitlines()]
        (line,) = [line for line in lines if line.get("listener") == "admin"]
        if is_socket:
            assert line["socket"] == f"{tmp_path}/admin.sock"
            assert not {"host", "port"} & line.keys()
        else:
            assert f"http://{line['host']}:{line['port']}" == addresses.admin
    assert TOKEN not in log.getvalue()


async def test_no_canary_is_in_what_operators_are_shown_or_in_the_log(
    own_logging: None, tmp_path: Path
) -> None:
    async with operated(tmp_path) as at:
        await at.ws.send_str("{")
        await at.until("error")
        await at.ws.close()
        await at.connect()
        shown = [await at.ask("GET", path) for path in ("/sessions", "/closes", "/nodes")]
        bundle = await at.ask("POST", "/support-bundle", {"preview": True, "purpose": "a test"})
        written = await at.ask("POST", "/support-bundle", {"digest": bundle["digest"]})
        file = await asyncio.to_thread(Path(written["path"]).read_text, "utf-8")
        assert json.loads(file) == bundle["bundle"]
        assert bundle["bundle"]["sessions"]
        assert bundle["bundle"]["metrics"]
        for canary in [*at.canaries, TITLE]:
            assert canary not in file, canary
            assert canary not in json.dumps(shown), canary
            assert canary not in at.log.getvalue(), canary


async def test_without_a_token_there_is_no_listener() -> None:
    settings = settings_for("http://127.0.0.1:1")
    async with wiring.serving(settings, generate_secrets(), SystemClock(), StopRequest()) as addresses:
        assert addresses.admin is None


# ---- the last closed connections are listed, without users ----


PSEUDONYMS = Pseudonyms(SecretKey(bytes(32)))
ANNA = UserId("main", 4711)


def life(*, user: UserId | None = ANNA, reason: str = "no pong", code: int = 4109) -> ConnectionSummary:
    application = None if user is None else Application.DASHBOARD
    address = ip_address("192.0.2.77")
    return ConnectionSummary(
        user, application, "json", address, 1.23456, "gateway", code, reason, 1, 2, 3, 4, 5
    )


class Wall:
    def __init__(self) -> None:
        self.ms = 1_000

    def __call__(self) -> int:
        return self.ms


def closes(wall: Wall, kept: int = CLOSES_MAX) -> CloseHistory:
    return CloseHistory(NodeId("n1"), PSEUDONYMS, wall, kept=kept)


async def page(of: CloseHistory, after: str = "", most: int = 10) -> tuple[list[int], str, bool]:
    """Return when those of a page ended, the last one's id, and whether there are more."""
    found = await of.closes(Order(NodeId("n"), 1, "closes", after=after, most=most))
    ids = [str(record["id"]) for record in found.records]
    return [record["at_ms"] for record in found.records], ids[-1] if ids else "", found.more


def test_a_connection_leaves_one_line_that_is_kept_as_the_log_has_it(own_logging: None) -> None:
    made, log = closes(Wall()), io.StringIO()
    configure("info", SecretKey(bytes(32)), log)
    made.note(life())
    log_session(life())
    (logged,) = (json.loads(line) for line in log.getvalue().splitlines())
    del logged["timestamp"]
    line = {
        "initiator": "gateway", "close_code": 4109, "close_reason": "no pong", "user": PSEUDONYMS.of(ANNA),
        "application": "dashboard", "codec": "json", "address": "192.0.2.0/24", "lasted_s": 1.235,
        "frames_in": 1, "frames_out": 2, "bytes_out": 3, "conflated": 4, "commands": 5,
    }  # fmt: skip
    assert logged == line | {"event": "session_closed", "level": "info", "logger": "gateway.session"}
    assert made.last(5) == [{"id": "000000000001000.0000000001.n1", "node": "n1", "at_ms": 1_000} | line]


def test_what_may_not_be_logged_is_not_kept() -> None:
    made = closes(Wall())
    made.note(life(reason="+49 30 1234567"))
    made.note(life(user=None, reason=""))
    assert [line["close_reason"] for line in made.last(5)] == ["", ""]
    assert "4711" not in repr(vars(made)["_ring"])
    assert "192.0.2.77" not in repr(vars(made)["_ring"])


async def test_pages_go_from_the_newest_to_the_oldest_and_a_clock_that_jumps_back_loses_nothing() -> None:
    wall = Wall()
    made = closes(wall)
    for at_ms in (1_000, 2_000, 2_000, 3_000):
        wall.ms = at_ms
        made.note(life())
    first, last, more = await page(made, most=2)
    assert (first, more) == ([3_000, 2_000], True)
    rest, _, more = await page(made, last, most=2)
    assert (rest, more) == ([2_000, 1_000], False)

    back = closes(wall)
    for at_ms in (2_000, 1_000):
        wall.ms = at_ms
        back.note(life())
    first, last, _ = await page(back, most=1)
    rest, _, _ = await page(back, last, most=1)
    assert first + rest == [2_000, 1_000]


def test_beyond_its_bound_the_oldest_is_forgotten() -> None:
    made = closes(Wall(), kept=3)
    for code in range(4_000, 4_005):
        made.note(life(code=code))
    assert len(made) == 3
    assert [line["close_code"] for line in made.last(10)] == [4_004, 4_003, 4_002]
    assert CLOSES_MAX == 10_000


async def test_what_is_older_than_a_day_is_not_listed_any_more() -> None:
    wall = Wall()
    made = closes(wall)
    made.note(life())
    wall.ms += CLOSES_MS
    made.note(life())
    assert len(made.of(PSEUDONYMS.of(ANNA))) == 2
    wall.ms += 1
    assert await page(made) == ([1_000 + CLOSES_MS], "000000086401000.0000000002.n1", False)
    wall.ms += CLOSES_MS
    assert (made.last(5), made.of(PSEUDONYMS.of(ANNA))) == ([], [])
    assert len(vars(made)["_ring"]) == 0, "nor kept"
    assert CLOSES_MS == 86_400_000


def test_those_of_one_user_are_found() -> None:
    made = closes(Wall())
    made.note(life())
    made.note(life(user=UserId("main", 5)))
    assert [line["user"] for line in made.of(PSEUDONYMS.of(ANNA))] == [PSEUDONYMS.of(ANNA)]
