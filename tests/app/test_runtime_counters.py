"""Each event between nodes, log-on, log-off and attempt to open a link moves its metric, and no other."""

from __future__ import annotations

import asyncio
import io
import json
import math
from collections.abc import Callable, Coroutine, Iterator
from typing import get_args

import pytest

from gateway.app.config.settings import SecretKey
from gateway.app.logging import configure
from gateway.app.metrics import ANSWERED, UNAVAILABLE, CountedAuthority, CountedUpstream, SiteReach
from gateway.core.rate_limits import Urgency
from gateway.domain.commands import Dropped
from gateway.domain.errors import EndReason, ErrorCode, GatewayError
from gateway.domain.model import Application, Device, SessionId, SessionSecret, UserId
from gateway.domain.upstream import About, LinkClosed, LinkEvent, LinkReplaced, LogOn, UnreachedError
from gateway.runtime.ports import Link
from gateway.telemetry import EVENTS, RuntimeCounters, Telemetry
from tests.app.metrics import own_lines
from tests.doubles.clock import ManualClock
from tests.doubles.fake_upstream import FakeUpstream
from tests.doubles.tasks import during

HAPPENED: dict[str, tuple[Callable[[RuntimeCounters], None], dict[str, float]]] = {
    "took over: planned": (lambda t: t.took_over("planned"), {"takeovers_total planned": 1}),
    "took over: early": (
        lambda t: t.took_over("early"),
        {"takeovers_total early": 1, "ownership_moves_total deaf": 1},
    ),
    "took over: expired": (
        lambda t: t.took_over("expired"),
        {"takeovers_total expired": 1, "ownership_moves_total expired": 1},
    ),
    "took over: assumed": (
        lambda t: t.took_over("assumed"),
        {"takeovers_total assumed": 1, "ownership_moves_total island": 1},
    ),
    "realtime resumed": (
        lambda t: t.realtime_resumed(2.0),
        {"takeover_blind_seconds_count": 1, "takeover_blind_seconds_sum": 2.0},
    ),
    "user given": (lambda t: t.user_given("drain"), {"ownership_moves_total drain": 1}),
    "link fenced": (lambda t: t.link_fenced(), {"self_fences_total": 1}),
    "two owners found": (lambda t: t.two_owners_found(), {"dual_owner_observed_total": 1}),
    "dropped stale epoch": (lambda t: t.dropped_stale_epoch(), {"stale_epoch_dropped_total": 1}),
    "found gap": (lambda t: t.found_gap("probe"), {"bus_gaps_total probe": 1}),
    "resynced": (lambda t: t.resynced("bus"), {"resyncs_total bus": 1}),
    "probed": (lambda t: t.probed(0.5), {"bus_probe_seconds_count": 1, "bus_probe_seconds_sum": 0.5}),
    "published": (lambda t: t.published(), {"bus_publish_total": 1}),
    "event came": (
        lambda t: t.event_came(LinkReplaced(2)),
        {"upstream_events_total link_replaced": 1, "link_replaced_total": 1},
    ),
    "left out": (lambda t: t.left_out("main", (Dropped("Queue", "Key missing", 2),)), {}),
    "read": (
        lambda t: t.read(100.0, 100.5),
        {"event_latency_seconds_count upstream": 1, "event_latency_seconds_sum upstream": 0.5},
    ),
    "arrived": (
        lambda t: t.arrived(0.5),
        {"event_latency_seconds_count bus": 1, "event_latency_seconds_sum bus": 0.5},
    ),
    "attached": (lambda t: t.attached(2), {"devices_per_user_count": 1, "devices_per_user_sum": 2}),
    "session ended": (lambda t: t.session_ended(EndReason.EXPIRED), {"session_ends_total expired": 1}),
    "faulted": (lambda t: t.faulted("fleet"), {"faults_total fleet": 1}),
    "waited": (
        lambda t: t.waited(Urgency.ROAMING, 3.0),
        {"budget_wait_seconds_count roaming": 1, "budget_wait_seconds_sum roaming": 3.0},
    ),
}


def _values(telemetry: Telemetry) -> Iterator[tuple[str, float]]:
    for family in telemetry.registry.collect():
        for sample in family.samples:
            if not sample.name.endswith("_bucket"):
                name = sample.name.removeprefix("oscc_gateway_")
                yield " ".join([name, *sample.labels.values()]), sample.value


@pytest.mark.parametrize("happened", HAPPENED)
def test_what_happened_moves_its_metric_and_no_other(happened: str) -> None:
    act, moved = HAPPENED[happened]
    telemetry = Telemetry()
    before = dict(_values(telemetry))
    act(RuntimeCounters(telemetry))
    after = {
        name: value
        for name, value in _values(telemetry)
        if not math.isnan(value) and value != before.get(name, 0)
    }
    assert after == moved


def test_every_report_of_the_runtime_is_counted() -> None:
    received = {name for name in vars(RuntimeCounters) if not name.startswith("_")}
    assert {happened.partition(":")[0].replace(" ", "_") for happened in HAPPENED} == received


def test_rows_that_cannot_be_read_are_warned_of_once(own_logging: None) -> None:
    written, counters = io.StringIO(), RuntimeCounters(Telemetry())
    configure("warning", SecretKey(bytes(32)), written)
    for rows in (0, 2, 2, 1, 3):
        found = (Dropped("Queue", "Key missing", rows), Dropped("Skill", "Key wrong_type", 1)) if rows else ()
        counters.left_out("main", found)
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    assert {(line["event"], line["site"]) for line in lines} == {("directory_rows_unreadable", "main")}
    assert [(line["kind"], line["dropped"], line["why"]) for line in lines] == [
        ("Queue", 2, "Key missing"),
        ("Skill", 1, "Key wrong_type"),
        ("Queue", 3, "Key missing"),
    ]


# ---- metric of each site ----


ANNA = LogOn(Application.DASHBOARD, "anna", "secret", Device("d", "phone"))


class Counted:
    """A server in memory with one user, behind the counting."""

    def __init__(self) -> None:
        self.telemetry = Telemetry()
        self.server = FakeUpstream(ManualClock())
        self.user = self.server.add_user(7, "anna")
        self.reach = SiteReach()
        self.authority = CountedAuthority(self.server, "main", self.telemetry, self.reach)
        self.upstream = CountedUpstream(self.server, self.telemetry, self.reach)

    def value(self, metric: str, **labels: str) -> float | None:
        return self.telemetry.registry.get_sample_value(f"oscc_gateway_{metric}_total", labels)

    def count(self, name: str) -> tuple[float | None, ...]:
        """Return how many were answered, and how many were not."""
        return tuple(
            self.value(f"site_{name}", site="main", result=result) for result in (ANSWERED, UNAVAILABLE)
        )

    def opens(self, result: str) -> float | None:
        return self.value("link_opens", result=result)

    def refused(self, reason: str) -> float | None:
        return self.value("link_refused", reason=reason)

    async def secret(self) -> SessionSecret:
        return (await self.server.log_on(ANNA)).secret


@pytest.fixture
def counted() -> Counted:
    return Counted()


async def test_who_is_let_in_and_out_was_answered(counted: Counted) -> None:
    logged_on = await counted.authority.log_on(ANNA)
    assert counted.count("log_ons") == (1, 0)
    assert (await counted.authority.log_off(logged_on.secret)).routing == "none"
    assert counted.count("log_offs") == (1, 0)


@pytest.mark.parametrize(
    ("code", "counts"),
    [
        (ErrorCode.INVALID_CREDENTIALS, (1, 0)),
        (ErrorCode.UPSTREAM_REJECTED, (1, 0)),
        (ErrorCode.UPSTREAM_VERSION_UNSUPPORTED, (0, 1)),
        (ErrorCode.FUNCTION_UNAVAILABLE, (0, 1)),
        (ErrorCode.BUSY, (0, 1)),
    ],
)
async def test_a_refusal_of_a_person_is_an_answer_and_one_that_meets_everybody_is_none(
    counted: Counted, code: ErrorCode, counts: tuple[int, int]
) -> None:
    counted.reach.note(ErrorCode.UPSTREAM_UNAVAILABLE)
    counted.server.log_on_refusals.append(GatewayError(code, "No."))
    with pytest.raises(GatewayError, match=r"No\."):
        await counted.authority.log_on(ANNA)
    assert counted.count("log_ons") == counts
    if code is ErrorCode.INVALID_CREDENTIALS:
        assert counted.reach.error is None, "who is refused has reached the site"


async def test_a_site_that_is_not_reached_is_unavailable_until_it_is(counted: Counted) -> None:
    secret = (await counted.authority.log_on(ANNA)).secret

    def asks() -> tuple[Coroutine[object, object, object], ...]:
        return counted.authority.log_on(ANNA), counted.authority.log_off(secret)

    counted.server.unreachable = True
    for ask in asks():
        counted.reach.note()
        with pytest.raises(GatewayError):
            await ask
        assert counted.reach.error is ErrorCode.UPSTREAM_UNAVAILABLE
    assert (counted.count("log_ons"), counted.count("log_offs")) == ((1, 1), (0, 1))
    counted.server.unreachable = False
    for ask in asks():
        counted.reach.note(ErrorCode.UPSTREAM_UNAVAILABLE)
        await ask
        assert counted.reach.error is None


async def test_a_log_off_that_is_refused_is_as_open_as_one_that_is_not_received(
    counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(secret: SessionSecret) -> None:
        raise GatewayError(ErrorCode.UPSTREAM_REJECTED, "No.")

    monkeypatch.setattr(counted.server, "log_off", refuse)
    with pytest.raises(GatewayError, match=r"No\."):
        await counted.authority.log_off(SessionSecret("any"))
    assert counted.count("log_offs") == (0, 1)


async def test_who_gives_up_says_nothing_of_the_site(
    counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def for_ever(credentials: LogOn) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(counted.server, "log_on", for_ever)
    async with during(counted.authority.log_on(ANNA)):
        await asyncio.sleep(0)  # the request begins
    assert counted.count("log_ons") == (0, 0)


async def test_everything_else_passes_uncounted(counted: Counted) -> None:
    secret = (await counted.authority.log_on(ANNA)).secret
    before = own_lines(counted.telemetry)
    assert await counted.authority.sessions(secret) == await counted.server.sessions(secret)
    assert await counted.authority.keep_alive(secret) > 0
    with pytest.raises(GatewayError):
        await counted.authority.end(secret, SessionId("none"))
    with pytest.raises(GatewayError):
        await counted.authority.sessions(SessionSecret("none"))
    assert own_lines(counted.telemetry) == before


# ---- metric of attempts to open a link ----


async def test_an_open_link_is_counted_and_is_the_servers_own(counted: Counted) -> None:
    secret = await counted.secret()
    assert await counted.upstream.about() == await counted.server.about()
    link = await counted.upstream.open(counted.user, secret, token=1, holder="me")
    assert link is counted.server.link(counted.user)
    assert counted.opens("ok") == 1


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


def test_every_event_has_a_name() -> None:
    assert set(EVENTS) == set(get_args(LinkEvent))
    assert len(set(EVENTS.values())) == len(EVENTS)
