"""Is all of a link counted, its beginning and its end told once, and nothing of it changed?"""

from __future__ import annotations

import asyncio
import io
import json
from typing import get_args

import pytest

from gateway.app.keys import SecretKey
from gateway.app.logging import Pseudonyms, configure
from gateway.app.metrics import EVENTS, CountedUpstream
from gateway.app.status import SiteReach
from gateway.domain.commands import Directory, Dropped, KeepAlive, QueryDirectory
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import Application, Device, SessionSecret, UserId
from gateway.domain.resources import FunctionState
from gateway.domain.upstream import (
    About,
    FunctionChanged,
    LinkClosed,
    LinkEvent,
    LinkReplaced,
    LogOn,
    Opened,
    UnreachedError,
)
from gateway.runtime.ports import Link
from gateway.telemetry import Telemetry
from tests.app.metrics import own_lines
from tests.doubles.clock import ManualClock
from tests.doubles.fake_upstream import FakeUpstream


class Counted:
    """A server in memory with one user, behind the counting."""

    def __init__(self) -> None:
        self.telemetry = Telemetry()
        self.clock = ManualClock()
        self.server = FakeUpstream(self.clock)
        self.user = self.server.add_user(7, "anna")
        self.reach = SiteReach()
        self.upstream = CountedUpstream(self.server, self.telemetry, self.reach)

    def value(self, metric: str, **labels: str) -> float | None:
        return self.telemetry.registry.get_sample_value(f"oscc_gateway_{metric}_total", labels)

    def opens(self, result: str) -> float | None:
        return self.value("link_opens", result=result)

    def refused(self, reason: str) -> float | None:
        return self.value("link_refused", reason=reason)

    def events(self, name: str) -> float | None:
        return self.value("upstream_events", type=name)

    async def secret(self) -> SessionSecret:
        credentials = LogOn(Application.DASHBOARD, "anna", "secret", Device("d", "phone"))
        return (await self.server.log_on(credentials)).secret


@pytest.fixture
def counted() -> Counted:
    return Counted()


async def test_a_link_whose_place_is_taken_is_counted(counted: Counted) -> None:
    secret = await counted.secret()
    link = await counted.upstream.open(counted.user, secret, token=1, holder="me")
    inner = counted.server.link(counted.user)
    assert inner is not None
    inner.push(LinkReplaced(2))
    while not isinstance(await link.receive(), LinkReplaced):
        pass
    assert counted.events("link_replaced") == 1
    assert counted.value("link_replaced") == 1


async def test_an_open_link_is_counted_with_its_events(counted: Counted) -> None:
    secret = await counted.secret()
    assert await counted.upstream.about() == await counted.server.about()
    link = await counted.upstream.open(counted.user, secret, token=1, holder="me")
    inner = counted.server.link(counted.user)
    assert inner is not None
    assert isinstance(await link.receive(), Opened)
    inner.push(FunctionChanged("voice", FunctionState.DOWN))
    while inner.speaks:
        assert isinstance(await link.receive(), FunctionChanged)
    told = len(counted.server.functions) + 1
    assert (counted.opens("ok"), counted.events("opened")) == (1, 1)
    assert counted.events("function_changed") == told
    assert link.heard_at == inner.heard_at
    await link.close()
    assert not inner.open
    with pytest.raises(LinkClosed):
        await link.receive()
    with pytest.raises(LinkClosed):
        await link.request(KeepAlive())


async def test_an_answer_is_no_event(counted: Counted) -> None:
    link = await counted.upstream.open(counted.user, await counted.secret(), token=1, holder="me")
    while counted.server.wires[counted.user].link.speaks:
        await link.receive()
    before = own_lines(counted.telemetry)
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(link.request(KeepAlive()))
        assert await link.receive() is None
    assert asking.done()
    assert own_lines(counted.telemetry) == before


@pytest.mark.parametrize(
    ("user", "token", "result"), [(8, 1, "session_unknown"), (7, 1, "stale")], ids=["unknown", "stale"]
)
async def test_a_refused_link_is_counted_by_its_reason(
    counted: Counted, user: int, token: int, result: str
) -> None:
    secret = await counted.secret()
    counted.server.fences[counted.user] = (5, "another")
    with pytest.raises(LinkClosed, match=result):
        await counted.upstream.open(UserId("main", user), secret, token=token, holder="me")
    assert (counted.opens(result), counted.opens("ok")) == (1, None)
    assert counted.refused(result) == 1
    assert counted.reach.error is None


async def test_a_server_that_is_not_reached_refuses_nothing(counted: Counted) -> None:
    secret = await counted.secret()
    counted.server.unreachable = True
    with pytest.raises(LinkClosed, match="unavailable"):
        await counted.upstream.open(counted.user, secret, token=1, holder="me")
    assert (counted.opens("unavailable"), counted.refused("unavailable")) == (1, None)
    assert counted.reach.error is ErrorCode.UPSTREAM_UNAVAILABLE
    counted.server.unreachable = False
    await counted.upstream.open(counted.user, secret, token=1, holder="me")
    assert counted.reach.error is None


@pytest.mark.parametrize(
    ("fault", "result"), [("unreachable", "unavailable"), ("unsupported", "version_unsupported")]
)
async def test_a_server_that_is_not_there_is_counted_when_it_is_asked_what_it_is(
    counted: Counted, fault: str, result: str
) -> None:
    setattr(counted.server, fault, True)
    with pytest.raises(GatewayError):
        await counted.upstream.about()
    assert counted.opens(result) == 1
    assert counted.reach.error == f"upstream_{result}"


async def test_why_a_server_is_not_reached_is_counted_and_kept(
    counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failures(cause: str) -> float | None:
        return counted.value("upstream_failures", cause=cause)

    async def fail(*_: object, **__: object) -> About:
        raise GatewayError(ErrorCode.UPSTREAM_UNAVAILABLE, "no answer") from UnreachedError("tls")

    async def refuse(*_: object, **__: object) -> Link:
        raise LinkClosed("unavailable") from UnreachedError("dns")

    monkeypatch.setattr(counted.server, "about", fail)
    monkeypatch.setattr(counted.server, "open", refuse)
    assert (failures("tls"), failures("timeout")) == (0, 0)
    with pytest.raises(GatewayError):
        await counted.upstream.about()
    assert (failures("tls"), counted.reach.cause) == (1, "tls")
    with pytest.raises(LinkClosed):
        await counted.upstream.open(counted.user, SessionSecret("s"), token=1, holder="me")
    assert (failures("dns"), counted.reach.cause) == (1, "dns")


@pytest.mark.parametrize("by", ["us", "server"])
async def test_whoever_looks_for_a_fault_is_told_when_a_link_opens_and_why_it_ends(
    counted: Counted, own_logging: None, by: str
) -> None:
    written, key = io.StringIO(), SecretKey(bytes(32))
    configure("debug", key, written)
    link = await counted.upstream.open(counted.user, await counted.secret(), token=1, holder="me")
    while counted.server.wires[counted.user].link.speaks:
        await link.receive()
    if by == "server":
        counted.server.drop(counted.user)
    else:
        await link.close()
    for _ in range(2):
        with pytest.raises(LinkClosed):
            await link.receive()
    await link.close()
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    lines = [line for line in lines if line["logger"] == "gateway.link"]
    assert [(line["level"], line["event"], line.get("close_reason")) for line in lines] == [
        ("debug", "link_opened", None),
        ("debug", "link_closed", "closed by this node" if by == "us" else "lost"),
    ]
    assert {line["user"] for line in lines} == {Pseudonyms(key).of(counted.user)}
    assert not any("dropped" in line for line in lines)


async def test_rows_that_cannot_be_read_are_warned_of_once(
    counted: Counted, own_logging: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.StringIO()
    configure("warning", SecretKey(bytes(32)), written)
    link = await counted.upstream.open(counted.user, await counted.secret(), token=1, holder="me")
    dropped = iter((0, 2, 2, 1, 3))

    async def answer(*_: object) -> Directory:
        rows = next(dropped)
        found = (Dropped("Queue", "Key missing", rows), Dropped("Skill", "Key wrong_type", 1)) if rows else ()
        return Directory((), (), (), (), found)

    monkeypatch.setattr(type(counted.server.wires[counted.user].link), "request", answer)
    for _ in range(5):
        await link.request(QueryDirectory())
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    assert {(line["event"], line["site"]) for line in lines} == {
        ("directory_rows_unreadable", counted.user.site)
    }
    assert [(line["kind"], line["dropped"], line["why"]) for line in lines] == [
        ("Queue", 2, "Key missing"),
        ("Skill", 1, "Key wrong_type"),
        ("Queue", 3, "Key missing"),
    ]


def test_every_event_has_a_name() -> None:
    assert set(EVENTS) == set(get_args(LinkEvent))
    assert len(set(EVENTS.values())) == len(EVENTS)
