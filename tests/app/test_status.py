"""Each change around a node leaves exactly one log line; faults of a Redis have a sentence each."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import pytest
from pydantic import SecretStr

from gateway.app import admin, wiring
from gateway.app.adapters import SiteServer, Tracing, measured_sites, open_server
from gateway.app.admin import (
    BUS_RETRY_S,
    CLOCK_EVERY_S,
    DUPLICATE_NAME_EVERY_S,
    KEYS_CHECK_S,
    STATUS_EVERY_S,
    CheckReport,
    NodeStatus,
    StatusLog,
    check_bus,
    log_bus_faults,
    log_clock_offset,
    log_duplicate_name,
    log_key_differences,
    log_status,
    report_on,
)
from gateway.app.config.settings import AsteriskSection, BusSection, SiteSection
from gateway.app.config.sources import generate_secrets
from gateway.app.logging import configure
from gateway.app.metrics import SiteReach
from gateway.app.process import StopRequest
from gateway.bus import Endpoint, ServerFacts
from gateway.core.lease import BusState
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import Application, Device, NodeId
from gateway.domain.upstream import Feature, LogOn
from gateway.runtime.event_loop import SystemClock
from gateway.runtime.ports import Clock
from gateway.telemetry import Telemetry
from gateway.upstream.asterisk import AsteriskServer
from gateway.upstream.oscce import OsccServer
from tests.app.certificates import make
from tests.app.samples import LOG_ON, settings_for
from tests.asterisk.site import place
from tests.doubles.clock import ManualClock
from tests.doubles.log_lines import Line, capture_logs
from tests.doubles.sentinels import sentinel_trio
from tests.doubles.servers import Engine, free_port, redis_server
from tests.doubles.tasks import beside, during
from tests.runtime.scene import scene

QUIET = NodeStatus(BusState.LIVE, 0, 0, 0)
AWAY = ErrorCode.UPSTREAM_UNAVAILABLE


def look(surroundings: StatusLog, *facts: NodeStatus) -> list[Line]:
    """Return what is logged of *facts*, each seen thrice."""
    with capture_logs() as lines:
        for each in facts:
            for _ in range(3):
                surroundings.update(each)
    return lines


def _lines(written: io.StringIO) -> list[Line]:
    return [json.loads(line) for line in written.getvalue().splitlines()]


@pytest.fixture
def surroundings() -> StatusLog:
    """Those of a node whose bus has begun to carry."""
    made = StatusLog(["main", "other"])
    look(made, QUIET)
    return made


def test_each_word_by_which_redis_refuses_is_logged_when_it_comes_and_goes(surroundings: StatusLog) -> None:
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


def test_a_bus_that_changes_each_second_writes_few_lines_and_the_last_state_is_one(
    surroundings: StatusLog,
) -> None:
    with capture_logs() as lines:
        for second in range(600):
            surroundings.update(QUIET._replace(bus=BusState.LIVE if second % 2 else BusState.DEGRADED))
        assert len(lines) <= 4 * 10
        assert sum(1 + line.get("suppressed", 0) for line in lines) > 500, "each change counts once"
        for _ in range(60):
            surroundings.update(QUIET)
        assert (lines[-1]["bus"], lines[-1]["suppressed"] > 0) == ("live", True)
        surroundings.update(QUIET._replace(bus=BusState.DOWN))
        assert lines[-1] == {"event": "bus_state_changed", "log_level": "warning", "bus": "down"}


def test_a_bus_that_is_down_after_many_changes_is_a_warning_at_once(surroundings: StatusLog) -> None:
    with capture_logs() as lines:
        for second in range(20):
            surroundings.update(QUIET._replace(bus=BusState.LIVE if second % 2 else BusState.DEGRADED))
        surroundings.update(QUIET._replace(bus=BusState.DOWN))
    assert (lines[-1]["log_level"], lines[-1]["bus"], lines[-1]["suppressed"]) == ("warning", "down", 17)


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
    made.update(NodeStatus(BusState.DOWN, 1, 2, 3))
    made.reaches["main"].note()
    made.update(NodeStatus(BusState.LIVE, 0, 2, 3))
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
    seen = [CheckReport(faults=("It is away.",))] * 2 + [
        CheckReport(("There.",), advices=("It writes to a disk.",))
    ]

    async def found(bus: BusSection, clock: Clock) -> CheckReport:
        return seen.pop(0)

    monkeypatch.setattr(admin, "check_bus", found)
    clock = ManualClock()
    with capture_logs() as lines:
        async with beside(log_bus_faults(BusSection(url="redis://h"), clock)) as running:
            await clock.advance(2 * BUS_RETRY_S - 0.1)
            assert not running.done()
            await clock.advance(0.2)
    assert [(line["log_level"], line["fault"]) for line in lines] == [
        ("error", "It is away."),
        ("error", "It is away."),
        ("warning", "It writes to a disk."),
    ]


async def test_a_node_with_the_same_name_is_reported_once_while_it_is_there() -> None:
    clock, membership = ManualClock(), SimpleNamespace(has_namesake=True, node=NodeId("n1"))
    with capture_logs() as lines:
        async with during(log_duplicate_name(membership, clock)):  # type: ignore[arg-type]  # stands in
            await clock.advance(DUPLICATE_NAME_EVERY_S - 0.1)
            assert lines == []
            await clock.advance(3 * DUPLICATE_NAME_EVERY_S)
            assert [(line["log_level"], line["node"]) for line in lines] == [("error", "n1")]
            membership.has_namesake = False
            await clock.advance(DUPLICATE_NAME_EVERY_S)
            membership.has_namesake = True
            await clock.advance(DUPLICATE_NAME_EVERY_S)
    assert len(lines) == 2


async def test_a_clock_that_differs_is_reported_once_and_when_it_agrees_again() -> None:
    seen: list[float | None] = [None, 0.9, -1.0, -30.0, -30.0, 0.2, 0.1]
    clock = ManualClock()
    with capture_logs() as lines:
        async with during(log_clock_offset(lambda: seen.pop(0), clock)):
            await clock.advance(6 * CLOCK_EVERY_S)
    assert [(line["event"], line["offset_s"]) for line in lines] == [
        ("clock_differs", -1.0),
        ("clock_agrees", 0.2),
    ]


async def test_keys_that_stay_different_are_reported_once_and_when_they_agree_again() -> None:
    n2, n3 = NodeId("n2"), NodeId("n3")
    clock, others = ManualClock(), {n2: "k1/00000001", n3: "k1/00000001"}
    membership = SimpleNamespace(sealing_keys="k1/00000001", sealing_keys_of_others=others)
    with capture_logs() as lines:
        async with during(log_key_differences(membership, clock)):  # type: ignore[arg-type]  # stands in
            await clock.advance(2.5 * KEYS_CHECK_S)
            membership.sealing_keys = "k1/00000001 k2/00000002"
            others[n2] = membership.sealing_keys
            await clock.advance(KEYS_CHECK_S)
            assert lines == [], "a reload of all nodes takes a moment"
            await clock.advance(3 * KEYS_CHECK_S)
            others[n3] = membership.sealing_keys
            await clock.advance(2 * KEYS_CHECK_S)
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


# ---- state of each site, moved by its log-ons and links ----


ANNA = LogOn(Application.DASHBOARD, "anna", "secret", Device("d", "phone"))
NOBODY = "http://127.0.0.1:9"


@pytest.mark.parametrize("way", ["log on", "link"])
async def test_a_server_that_is_not_there_is_noted_for_its_site_only(way: str) -> None:
    surroundings, clock = StatusLog(["main", "other"]), SystemClock()
    async with OsccServer("main", NOBODY, clock) as main, OsccServer("other", NOBODY, clock) as other:
        servers = {"main": main, "other": other}
        sites = measured_sites(servers, Telemetry(), Tracing(), surroundings.reaches, {})
        assert list(sites) == ["main", "other"]
        site = sites["main"]
        with pytest.raises(GatewayError):
            await (site.authority.log_on(ANNA) if way == "log on" else site.upstream.about())
    noted = [reach.error for reach in surroundings.reaches.values()]
    assert noted == [ErrorCode.UPSTREAM_UNAVAILABLE, None]


@pytest.mark.parametrize("is_shared", [False, True], ids=["memory", "redis"])
async def test_an_asterisk_fences_links_where_one_process_is_its_only_client(
    is_shared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[SiteServer] = []
    opening: Callable[..., SiteServer] = open_server

    def noted(*args: object, **options: object) -> SiteServer:
        opened.append(opening(*args, **options))
        return opened[-1]

    monkeypatch.setattr(wiring, "open_server", noted)
    async with asyncio.timeout(30), place() as at, redis_server() as redis:
        asterisk = AsteriskSection(user="oscc", secret=SecretStr("secret"), people_file=at.people)
        url = f"ami://127.0.0.1:{at.fake.port}"
        site = SiteSection(id="main", url=url, display_name="Main", country="DE", asterisk=asterisk)
        settings = settings_for(NOBODY, **({"bus": {"url": redis.url}} if is_shared else {}))
        settings = settings.model_copy(update={"sites": (site,)})
        async with wiring.serving(settings, generate_secrets(), SystemClock(), StopRequest()):
            (server,) = opened
            assert isinstance(server, AsteriskServer)
            assert await server.reached()
            features = (await server.about()).features
    assert (Feature.LINK_FENCING in features) == (not is_shared)


async def test_what_waits_at_an_asterisk_is_measured() -> None:
    async with place() as at, at.linked(await at.boss()):
        telemetry = Telemetry()
        reaches = StatusLog(["main"]).reaches
        sites = measured_sites({"main": at.server}, telemetry, Tracing(), reaches, {"main": 3.0})
        assert (sites["main"].links_per_s, sites["main"].log_ons_per_s) == (500.0, 3.0)
        text = telemetry.render().decode()
        assert 'oscc_gateway_asterisk_waiting{site="main",what="actions"} 0.0' in text
        assert 'oscc_gateway_asterisk_waiting{site="main",what="events"} 0.0' in text
        at.fake.freeze()
        async with beside(at.server.monitor.action("Ping")) as asked:
            await asyncio.sleep(0)
            assert 'what="actions"} 1.0' in telemetry.render().decode()
            at.fake.thaw()
        assert asked.result()["Ping"] == "Pong"


# ---- check of a Redis ----


WELL = ServerFacts(Endpoint("h", 6379), "Redis", (8, 0, 2), persists=False, evicts=False, clock_offset_s=0.1)
CLOCK = SystemClock()
CLOCK_OF = "The clock of the server at h:6379"


def test_a_server_that_is_as_it_should_be_is_only_described() -> None:
    assert report_on(WELL) == (("Redis at h:6379 answers: Redis 8.0.2",), (), ())
    assert report_on(WELL._replace(engine="Valkey", version=(9, 1))).notes == (
        "Redis at h:6379 answers: Valkey 9.1",
    )


@pytest.mark.parametrize(
    ("seen", "start"),
    [
        (WELL._replace(engine=None, version=()), "The server at h:6379 does not report its version"),
        (WELL._replace(persists=True), "The server at h:6379 writes its data to a disk"),
        (WELL._replace(persists=None), "The server at h:6379 does not show this user whether it writes"),
        (WELL._replace(evicts=True), "The server at h:6379 evicts keys when its memory is full"),
        (WELL._replace(clock_offset_s=3.4), f"{CLOCK_OF} is 3 s ahead of this machine's"),
        (WELL._replace(clock_offset_s=-3600.0), f"{CLOCK_OF} is 3600 s behind this machine's"),
    ],
)
def test_what_is_worth_a_thought_is_advised(seen: ServerFacts, start: str) -> None:
    found = report_on(seen)
    (advice,) = found.advices
    assert advice.startswith(start)
    assert advice.endswith(".")
    assert found.faults == ()


@pytest.mark.parametrize("offset_s", [None, 1.9, -1.9])
def test_what_is_unknown_or_small_is_not(offset_s: float | None) -> None:
    assert report_on(WELL._replace(evicts=None, clock_offset_s=offset_s)).advices == ()


def test_an_old_one_is_a_fault() -> None:
    (fault,) = report_on(WELL._replace(version=(7, 0, 15))).faults
    assert fault == "The server at h:6379 is too old: the gateway needs Redis 7.2 or Valkey 8.0, or newer."


async def test_without_redis_there_is_nothing_to_find_or_to_say() -> None:
    assert await check_bus(BusSection(), CLOCK) == CheckReport()
    with capture_logs() as lines:
        await log_bus_faults(BusSection(), ManualClock())
    assert lines == []


async def test_no_answer_is_a_fault_without_the_password() -> None:
    url = f"redis://gw:canary@127.0.0.1:{free_port()}"
    (fault,) = (await check_bus(BusSection(url=url), CLOCK)).faults
    assert fault.startswith("The Redis at redis://********@127.0.0.1:")
    assert fault.endswith(
        " cannot be used: it refused the connection. Check bus.url and firewalls, that the server runs, and "
        "that TLS is off at its port."
    )
    assert "canary" not in fault


async def test_a_fault_of_redis_says_what_to_do() -> None:
    async def fault_of(url: str) -> str:
        (fault,) = (await check_bus(BusSection(url=url), CLOCK)).faults
        return fault.partition(" cannot be used: ")[2]

    async with redis_server() as server:
        at = f"127.0.0.1:{server.port}"
        assert (await fault_of(f"redis://{at}/99")).endswith(
            "Check bus.url, and look into the log of that server."
        )
        await server.command("ACL", "SETUSER", "poor", "on", ">secret", "-@all")
        await server.command("ACL", "SETUSER", "default", ">secret", "resetpass", ">other")
        assert await fault_of(f"redis://{at}") == (
            "it refused PING: NOAUTH. It wants a password: put it into bus.url or bus.password."
        )
        assert await fault_of(f"redis://poor:wrong@{at}") == (
            "it refused AUTH: WRONGPASS. Correct user and password in bus.url (percent-encoded), or in "
            "bus.password (as it is)."
        )
        assert (await fault_of(f"redis://poor:secret@{at}")).endswith(
            "NOPERM. Give the user the rights of the user in deploy/redis.conf."
        )
    unknown = await fault_of("redis://redis.invalid")
    assert unknown.startswith("its host name cannot be resolved. Check bus.url")


async def test_a_file_of_an_authority_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    (fault,) = (await check_bus(BusSection(url="rediss://h", ca_file=tmp_path / "none.pem"), CLOCK)).faults
    assert "the file of trusted certificates cannot be read: No such file" in fault


async def test_over_tls_only_the_named_authority_is_believed(tmp_path: Path) -> None:
    certificate, key = make(tmp_path, days=36_500)
    stranger, _ = make(tmp_path, "stranger", days=36_500)
    port = str(free_port())
    files = ("--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-auth-clients", "no")
    async with redis_server("--tls-port", port, *files, engine=Engine.REDIS):
        url = f"rediss://127.0.0.1:{port}"
        assert (await check_bus(BusSection(url=url, ca_file=certificate), CLOCK)).faults == ()
        for ca_file in (stranger, None):
            (fault,) = (await check_bus(BusSection(url=url, ca_file=ca_file), CLOCK)).faults
            assert "its certificate is not trusted" in fault
        (fault,) = (await check_bus(BusSection(url=f"redis://127.0.0.1:{port}"), CLOCK)).faults
        assert " cannot be used: " in fault


async def test_behind_sentinels_the_primary_is_found() -> None:
    async with sentinel_trio() as trio:
        found = await check_bus(BusSection(url=trio.url), CLOCK)
    assert found.notes[0].startswith(f"Redis at 127.0.0.1:{trio.primary.port} answers: ")
    (fault,) = (await check_bus(BusSection(url=trio.url), CLOCK)).faults
    assert " cannot be used: no sentinel knows the primary. Check bus.url" in fault
