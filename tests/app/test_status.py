"""Each change around a node leaves exactly one log line."""

from __future__ import annotations

import asyncio
import io
import json
from types import SimpleNamespace

import aiohttp
import pytest
import structlog
from structlog.testing import capture_logs

from gateway.app import status, wiring
from gateway.app.config.settings import BusSection
from gateway.app.config.sources import generate_secrets
from gateway.app.logging import configure
from gateway.app.process import StopRequest
from gateway.app.status import (
    BUS_RETRY_S,
    CLOCK_EVERY_S,
    DUPLICATE_NAME_EVERY_S,
    KEYS_LOOK_S,
    STATUS_EVERY_S,
    BusReport,
    NodeStatus,
    SiteReach,
    StatusLog,
    log_bus_faults,
    log_clock_offset,
    log_duplicate_name,
    log_key_differences,
    log_status,
)
from gateway.core.lease import BusState
from gateway.domain.errors import ErrorCode
from gateway.domain.model import NodeId
from gateway.runtime.ports import Clock
from gateway.telemetry import Telemetry
from tests.app.samples import LOG_ON, settings_for
from tests.doubles.clock import ManualClock
from tests.runtime.scene import scene

QUIET = NodeStatus(BusState.LIVE, 0, 0, 0)
AWAY = ErrorCode.UPSTREAM_UNAVAILABLE

Line = structlog.typing.EventDict


def look(surroundings: StatusLog, *facts: NodeStatus) -> list[Line]:
    """Return what is logged of *facts*, each seen thrice."""
    with capture_logs() as lines:
        for each in facts:
            for _ in range(3):
                surroundings.look(each)
    return lines


def _lines(written: io.StringIO) -> list[Line]:
    return [json.loads(line) for line in written.getvalue().splitlines()]


@pytest.fixture
def surroundings() -> StatusLog:
    """Those of a node whose bus has begun to carry."""
    made = StatusLog(["main", "other"])
    look(made, QUIET)
    return made


def test_each_word_by_which_redis_refuses_is_logged_when_it_comes_and_goes(
    surroundings: StatusLog,
) -> None:
    both = QUIET._replace(refused=frozenset({"OOM", "MISCONF"}))
    one = QUIET._replace(refused=frozenset({"OOM"}), fences=2)
    lines = look(surroundings, both, one, QUIET._replace(fences=2))
    assert [(line["log_level"], line["event"], line.get("cause")) for line in lines] == [
        ("error", "bus_refuses", "MISCONF"),
        ("error", "bus_refuses", "OOM"),
        ("info", "bus_refuses_no_more", "MISCONF"),
        ("warning", "leases_expired", "OOM"),
        ("info", "bus_refuses_no_more", "OOM"),
    ]


def test_each_state_of_the_bus_is_reported_once_and_only_down_is_a_warning(surroundings: StatusLog) -> None:
    states = BusState.DEGRADED, BusState.DOWN, BusState.RECOVERING, BusState.LIVE
    lines = look(surroundings, *(QUIET._replace(bus=state) for state in states))
    assert [(line["log_level"], line["bus"]) for line in lines] == [
        ("info", "degraded"),
        ("warning", "down"),
        ("info", "recovering"),
        ("info", "live"),
    ]
    assert {line["event"] for line in lines} == {"bus_state_changed"}


def test_leases_and_other_owners_are_reported_by_how_many_more_there_are(surroundings: StatusLog) -> None:
    lines = look(surroundings, QUIET._replace(fences=3), NodeStatus(BusState.LIVE, 0, 5, 1))
    assert [(line["log_level"], line["event"], line["users"]) for line in lines] == [
        ("warning", "leases_expired", 3),
        ("warning", "leases_expired", 2),
        ("warning", "two_owners_seen", 1),
    ]


def test_log_offs_that_wait_are_reported_when_they_begin_and_end(surroundings: StatusLog) -> None:
    lines = look(surroundings, *(QUIET._replace(log_offs=count) for count in (2, 5, 1, 0)))
    assert [(line["log_level"], line.get("log_offs")) for line in lines] == [("warning", 2), ("info", None)]


def test_each_site_is_reported_when_it_goes_and_when_it_is_back(surroundings: StatusLog) -> None:
    assert look(StatusLog(["main"]), NodeStatus(BusState.DEGRADED, 0, 0, 0)) == [], "as it begins"
    reach = surroundings.reaches["main"]
    received: list[Line] = []
    for error in (None, AWAY, ErrorCode.UPSTREAM_VERSION_UNSUPPORTED, AWAY, None, None, AWAY):
        reach.note(error)
        received += look(surroundings, QUIET)
    away = {"event": "site_unreachable", "log_level": "warning", "site": "main", "error": AWAY}
    assert received == [away, {"event": "site_reachable", "log_level": "info", "site": "main"}, away]
    surroundings.reaches["other"].note(AWAY)
    assert [line["site"] for line in look(surroundings, QUIET)] == ["other"]


def test_who_refuses_was_reached() -> None:
    for code in set(ErrorCode) - {AWAY, ErrorCode.UPSTREAM_VERSION_UNSUPPORTED}:
        reach = SiteReach()
        reach.note(AWAY)
        reach.note(code)
        assert reach.error is None, code


def test_each_line_is_written_whole(own_logging: None) -> None:
    written = io.StringIO()
    configure("info", generate_secrets().pseudonym_key, written)
    made = StatusLog(["main"])
    made.reaches["main"].note(AWAY)
    made.look(NodeStatus(BusState.DOWN, 1, 2, 3))
    made.reaches["main"].note()
    made.look(NodeStatus(BusState.LIVE, 0, 2, 3))
    lines = _lines(written)
    assert len(lines) == 8
    assert not any("dropped" in line for line in lines)
    assert lines[0]["bus"] == "down"
    assert lines[4]["error"] == "upstream_unavailable"


async def test_a_node_is_looked_at_as_it_lives() -> None:
    telemetry, surroundings = Telemetry(), StatusLog(["main"])
    async with scene() as at, asyncio.TaskGroup() as tasks:
        with capture_logs() as lines:
            watching = tasks.create_task(log_status(surroundings, at.node, telemetry, at.clock))
            await at.pass_time(10)
            assert lines[-1]["bus"] == "live"
            lines.clear()
            telemetry.self_fences.inc(2)
            telemetry.dual_owner_observed.inc()
            surroundings.reaches["main"].note(AWAY)
            await at.pass_time(STATUS_EVERY_S * 3)
        watching.cancel()
    assert [line.get("users") for line in lines] == [2, 1, None]


async def test_a_gateway_reports_a_bus_and_a_site_once(own_logging: None) -> None:
    written, secrets, clock, stopping = io.StringIO(), generate_secrets(), ManualClock(), StopRequest()
    configure("debug", secrets.pseudonym_key, written)
    served = wiring.serving(settings_for("http://127.0.0.1:9"), secrets, clock, stopping)
    async with asyncio.timeout(20), aiohttp.ClientSession() as http, served as addresses:
        await clock.advance(10)
        for _ in range(3):
            async with http.post(f"{addresses.client}/v1/sessions", json=LOG_ON) as refused:
                assert refused.status == 503
            await clock.advance(STATUS_EVERY_S)
        stopping.ask()
        stopping.ask()
    received = [(line["event"], line.get("bus"), line.get("error")) for line in _lines(written)]
    assert [line for line in received if line[0] in {"bus_state_changed", "site_unreachable"}] == [
        ("bus_state_changed", "live", None),
        ("site_unreachable", None, "upstream_unavailable"),
    ]
    assert str(LOG_ON["user_name"]) not in written.getvalue()


# ---- warnings at the start of a node about its cluster ----


async def test_a_redis_is_looked_at_until_it_was_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = [BusReport(faults=("It is away.",))] * 2 + [
        BusReport(("There.",), advices=("It writes to a disk.",))
    ]

    async def found(bus: BusSection, clock: Clock) -> BusReport:
        return seen.pop(0)

    monkeypatch.setattr(status, "check_bus", found)
    clock = ManualClock()
    with capture_logs() as lines:
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(log_bus_faults(BusSection(url="redis://h"), clock))
            await clock.advance(2 * BUS_RETRY_S - 0.1)
            assert not running.done()
            await clock.advance(0.2)
    assert [(line["log_level"], line["fault"]) for line in lines] == [
        ("error", "It is away."),
        ("error", "It is away."),
        ("warning", "It writes to a disk."),
    ]


async def test_without_redis_there_is_nothing_to_say() -> None:
    with capture_logs() as lines:
        await log_bus_faults(BusSection(), ManualClock())
    assert lines == []


async def test_a_node_with_the_same_name_is_reported_once_while_it_is_there() -> None:
    clock, membership = ManualClock(), SimpleNamespace(has_namesake=True, node=NodeId("n1"))
    with capture_logs() as lines:
        async with asyncio.TaskGroup() as tasks:
            looking_ = tasks.create_task(log_duplicate_name(membership, clock))  # type: ignore[arg-type]  # stands in
            await clock.advance(DUPLICATE_NAME_EVERY_S - 0.1)
            assert lines == []
            await clock.advance(3 * DUPLICATE_NAME_EVERY_S)
            assert [(line["log_level"], line["node"]) for line in lines] == [("error", "n1")]
            membership.has_namesake = False
            await clock.advance(DUPLICATE_NAME_EVERY_S)
            membership.has_namesake = True
            await clock.advance(DUPLICATE_NAME_EVERY_S)
            looking_.cancel()
    assert len(lines) == 2


async def test_a_clock_that_differs_is_reported_once_and_when_it_agrees_again() -> None:
    seen: list[float | None] = [None, 0.9, -1.0, -30.0, -30.0, 0.2, 0.1]
    clock = ManualClock()
    with capture_logs() as lines:
        async with asyncio.TaskGroup() as tasks:
            looking_on = tasks.create_task(log_clock_offset(lambda: seen.pop(0), clock))
            await clock.advance(6 * CLOCK_EVERY_S)
            looking_on.cancel()
    assert [(line["event"], line["offset_s"]) for line in lines] == [
        ("clock_differs", -1.0),
        ("clock_agrees", 0.2),
    ]


async def test_keys_that_stay_different_are_reported_once_and_when_they_agree_again() -> None:
    n2, n3 = NodeId("n2"), NodeId("n3")
    clock, others = ManualClock(), {n2: "k1/00000001", n3: "k1/00000001"}
    membership = SimpleNamespace(sealing_keys="k1/00000001", sealing_keys_of_others=others)
    with capture_logs() as lines:
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(log_key_differences(membership, clock))  # type: ignore[arg-type]  # stands in
            await clock.advance(2.5 * KEYS_LOOK_S)
            membership.sealing_keys = "k1/00000001 k2/00000002"
            others[n2] = membership.sealing_keys
            await clock.advance(KEYS_LOOK_S)
            assert lines == [], "a reload of all nodes takes a moment"
            await clock.advance(3 * KEYS_LOOK_S)
            others[n3] = membership.sealing_keys
            await clock.advance(2 * KEYS_LOOK_S)
            running.cancel()
    own = "k1/00000001 k2/00000002"
    assert lines == [
        {
            "event": "sealing_keys_differ",
            "log_level": "warning",
            "node": n3,
            "sealing_keys": own,
            "other_keys": "k1/00000001",
        },
        {"event": "sealing_keys_agree", "log_level": "info", "node": n3, "sealing_keys": own},
    ]
