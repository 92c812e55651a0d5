"""Metrics of a node and its process."""

from __future__ import annotations

import asyncio
import gc
import math
import os
import platform
import re
from collections import Counter
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from weakref import ref

import aiohttp
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from docs._generate.metrics import ANY, VALUES
from gateway.app import wiring
from gateway.app.config.sources import generate_secrets
from gateway.app.metrics import (
    BUS_STATES,
    FRESH_S,
    LOOP_CHECK_S,
    STUCK_S,
    CountedAuthority,
    ProcessMetrics,
    SiteReach,
    create_startup_series,
    measure_bus,
    measure_functions,
    measure_node,
    measure_owned,
    measure_phones,
    measure_shared,
    measure_users,
    memory_limit_bytes,
)
from gateway.app.process import (
    GC_EVERY_S,
    GC_FOUND,
    GC_FULL_S,
    GC_IDLE_CHECK_S,
    GC_IDLE_CHECKS,
    GC_SHARE,
    GC_THRESHOLDS,
    GC_YOUNG_S,
    StopRequest,
    background_tasks,
    collect_when_idle,
    tuned_gc,
)
from gateway.app.wiring import PRUNE_EVERY_S, prune_at_intervals
from gateway.bus.connect import BusKeys
from gateway.bus.stores import RedisBackend
from gateway.core.lease import BusState
from gateway.domain.resources import FunctionState
from gateway.protocol.envelopes import Here
from gateway.runtime.event_loop import SystemClock
from gateway.runtime.ports import NODE_TTL_S
from gateway.simulator import Simulator, SimulatorSettings
from gateway.telemetry import CHILDREN_MAX, PREFIX, Telemetry
from gateway.upstream.oscce.readings import Readings
from tests.app.metrics import values_of
from tests.app.phone import Socket, arrived, command, hello, log_on
from tests.app.samples import LOG_ON, settings_for
from tests.deploy.expressions import RULES
from tests.deploy.programs import ask, machine
from tests.doubles.alone import alone
from tests.doubles.clock import ManualClock
from tests.doubles.fake_upstream import FakeUpstream
from tests.doubles.tasks import during
from tests.runtime.nodes import open_nodes
from tests.runtime.scene import scene, user


async def test_users_links_and_sessions_are_counted_as_they_come_and_go() -> None:
    telemetry = Telemetry()
    async with scene() as made:
        phone = await made.phone("anna")
        phone.hello()
        await made.clock.advance(1)
        measure_users(made.node, telemetry)
        there = values_of(telemetry)
        assert (there["users"], there["linkslive"], there["linksdown"]) == (1, 1, 0)
        assert (there["sessions_attacheddashboard"], there["sessions_attachedremote_assistant"]) == (1, 0)
        phone.leave()
        await made.clock.advance(120)
        measure_users(made.node, telemetry)
        gone = values_of(telemetry)
    assert (gone["users"], gone["linkslive"], gone["sessions_attacheddashboard"]) == (0, 0, 0)
    assert gone["upstream_silence_seconds"] == 0


async def test_phones_are_fresh_while_link_and_bus_are_and_nothing_waits_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    telemetry = Telemetry()
    async with scene() as at:
        phone = await at.served()
        measure_phones(at.node, telemetry)
        fine = values_of(telemetry)
        assert (fine["served_connections"], fine["fresh_connections"]) == (1, 1)
        assert (fine["dirty_keys"], fine["pace_level"]) == (0, 0)
        live = phone.session.live
        assert live is not None
        live.outbox.pace.flushed(drained=False)  # as after a write to a full socket
        with monkeypatch.context() as patch:
            patch.setattr(phone, "wake", lambda: None)
            for waiting in (3, 4):
                at.upstream.set_waiting(waiting)
                await at.clock.settle()
            measure_phones(at.node, telemetry)
            waits = values_of(telemetry)
            assert (waits["dirty_keys"], waits["pace_level"], waits["fresh_connections"]) == (1, 1, 1)
            await at.clock.advance(FRESH_S)
            measure_phones(at.node, telemetry)
            assert values_of(telemetry)["fresh_connections"] == 0
        phone.take()
        measure_phones(at.node, telemetry)
        assert values_of(telemetry)["fresh_connections"] == 1


async def test_phones_in_step_are_counted_each() -> None:
    telemetry = Telemetry()
    async with scene() as at:
        phones = [await at.served(device=f"d{number}") for number in range(3)]
        await at.pass_time(60)
        measure_phones(at.node, telemetry)
        assert values_of(telemetry)["served_connections"] == len(phones)


async def test_the_features_of_a_site_come_from_any_node_with_a_link() -> None:
    telemetry = Telemetry()

    def level(function: str) -> float:
        measure_functions(at.node, ["main", "other"], telemetry)
        return values_of(telemetry)[f"site_function_up{function}main"]

    async with scene() as at:
        assert math.isnan(level("realtime"))  # nobody is here who would know
        await at.served()
        at.upstream.set_function("realtime", FunctionState.UP)
        at.upstream.set_function("voice", FunctionState.DEGRADED)
        at.upstream.set_function("email", FunctionState.DOWN)
        await at.clock.settle()
        assert (level("realtime"), level("voice"), level("email")) == (1, 0.5, 0)
        assert math.isnan(level("callback"))
        assert math.isnan(values_of(telemetry)["site_function_uprealtimeother"])
        at.upstream.unreachable = True
        at.upstream.drop(user(1))
        await at.pass_time(1)
        assert (level("realtime"), level("callback")) == (0, 0)


async def test_readings_of_all_links_and_elements_that_came_late_are_counted() -> None:
    telemetry = Telemetry()

    def readings() -> float:
        measure_node(at.node, [], telemetry)
        return values_of(telemetry)["upstream_events_totalreading"]

    async with scene() as at:
        assert readings() == 0
        await at.served()
        before = readings()
        assert before > 0
        at.upstream.set_waiting(9)
        await at.clock.settle()
        at.node.composer.late = 3
        assert readings() == before + 1
    assert values_of(telemetry)["late_elements_total"] == 3


async def test_while_the_link_is_gone_its_phone_is_not_fresh_and_the_silence_goes_on_until_it_is_back() -> (
    None
):
    telemetry = Telemetry()
    async with scene() as at:

        def silence_s() -> float:
            measure_users(at.node, telemetry)
            return values_of(telemetry)["upstream_silence_seconds"]

        await at.served()
        at.upstream.unreachable = True
        at.upstream.drop(user(1))
        await at.pass_time(5)
        before_s = silence_s()
        assert 5 <= before_s <= 6
        measure_phones(at.node, telemetry)
        gone = values_of(telemetry)
        assert (gone["linksdown"], gone["served_connections"], gone["fresh_connections"]) == (1, 1, 0)
        await at.pass_time(30)
        assert silence_s() == pytest.approx(before_s + 30)
        at.upstream.unreachable = False
        await at.pass_time(60)
        assert silence_s() < before_s + 30


async def test_of_whom_nothing_was_ever_received_no_silence_is_reported() -> None:
    telemetry = Telemetry()
    async with scene() as at:
        phone = await at.phone("anna")
        at.upstream.unreachable = True
        phone.hello()
        await at.pass_time(5)
        measure_users(at.node, telemetry)
        assert (values_of(telemetry)["linksdown"], values_of(telemetry)["upstream_silence_seconds"]) == (1, 0)


async def test_leases_are_counted_on_the_node_that_holds_them_with_the_time_that_is_left() -> None:
    async with open_nodes() as at:
        near, _ = await at.served(0), await at.served(1, device="d2")
        await at.pass_time(8)
        one, other = Telemetry(), Telemetry()
        for scene_, telemetry in zip(at.scenes, (one, other), strict=True):
            measure_owned(scene_.node, telemetry)
        mine, others = values_of(one), values_of(other)
        assert (mine["leases_held"], others["leases_held"]) == (1, 0)
        assert (mine["owners_without_local_device"], mine["bus_state"]) == (0, 0)
        assert 5 <= mine["lease_margin_seconds"] <= 10
        assert math.isnan(others["lease_margin_seconds"])
        assert (mine["registry_sizehouseholds"], mine["registry_sizepeers"]) == (1, 0)
        assert others["registry_sizepeers"] == 1
        near.bye()
        at.trouble.take_away(0)
        await at.pass_time(20)
        measure_owned(at.scenes[0].node, one)
        cut_off = values_of(one)
        assert (cut_off["owners_without_local_device"], cut_off["bus_state"]) == (1, 3)
        assert cut_off["lease_margin_seconds"] == 0


async def test_a_live_node_of_the_same_name_is_shown_while_it_is_there() -> None:
    async with open_nodes() as at:
        node, telemetry, shown = at.scenes[0].node, Telemetry(), []
        for has_another in (False, True, False):
            await at.pass_time(NODE_TTL_S)
            if has_another:
                node.membership.received(Here(node.record()._replace(holder="n0-2")))
            measure_owned(node, telemetry)
            shown.append(values_of(telemetry)["duplicate_node_name"])
        assert shown == [0, 1, 0]


def test_every_state_of_the_bus_has_a_number() -> None:
    assert set(BUS_STATES) == set(BusState)
    assert sorted(BUS_STATES.values()) == [0, 1, 2, 3]


def test_the_offset_of_the_clock_is_that_of_the_store_and_none_without_one() -> None:
    telemetry, clock = Telemetry(), ManualClock()
    keys = BusKeys([("k1", b"k" * 32)], b"p" * 32)
    backend = RedisBackend("redis://h", keys, clock, lambda: 0.5, os.urandom)
    store = alone(clock)._replace(clock_offset_s=backend.clock_offset_s)
    for offset_s in (None, -1.5):
        backend.leases.clock_offset_s = offset_s
        measure_bus(store, telemetry)
        shown = values_of(telemetry)["clock_offset_seconds"]
        assert shown == offset_s or (offset_s is None and math.isnan(shown))
    measure_bus(alone(clock), telemetry)
    assert values_of(telemetry)["clock_offset_seconds"] == 0


def test_what_was_known_already_is_a_share_of_all() -> None:
    telemetry, pool, other = Telemetry(), Readings(), Readings()
    measure_shared([pool], telemetry)
    assert values_of(telemetry)["pool_hit_ratio"] == 0
    pool.shared, pool.parsed, other.parsed = 6, 1, 1
    measure_shared([pool, other], telemetry)
    assert values_of(telemetry)["pool_hit_ratio"] == 0.75


# ---- metrics of a live node: valid for promtool, with the listed labels ----


BESIDES = {"le"}


async def _visit(http: aiohttp.ClientSession, url: str) -> Socket:
    """Fail to log on, log on, be served, command; returns the phone."""
    device = {**LOG_ON["device"], "platform": "ios"}
    async with http.post(
        f"{url}/v1/sessions", json={**LOG_ON, "device": device, "password": "wrong"}
    ) as refused:
        assert refused.status == 401
    token = (await log_on(http, url, device=device))["token"]
    async with http.get(f"{url}/v1/realtime") as refused:
        assert refused.status == 400
    ws = await hello(http, url, token, "iOS")
    received = [await ws.receive_json() for _ in range(3)]
    nonce = next(frame["nonce"] for frame in received if frame["kind"] == "ping")
    await ws.send_json({"kind": "pong", "nonce": nonce})
    stream = next(frame["stream"] for frame in received if frame["kind"] == "changes")
    await command(ws, stream, kind="agent.routing_state.set", agent_id="999", state="work", when="now")
    await arrived(ws, "result")
    return ws


@pytest.fixture(scope="module")
def scraped() -> str:
    """What a node shows after a phone's visit."""

    async def live() -> str:
        async with (
            asyncio.timeout(30),
            Simulator(SimulatorSettings(agents=2, queues=1, users=1)) as simulator,
            wiring.serving(
                settings_for(simulator.url), generate_secrets(), SystemClock(), StopRequest()
            ) as addresses,
            aiohttp.ClientSession() as http,
        ):
            phone = await _visit(http, addresses.client)
            async with http.get(f"{addresses.ops}/metrics") as response:
                text = await response.text()
            await phone.close()
            return text

    return asyncio.run(live())


def test_promtool_finds_no_fault_and_would_find_one(scraped: str) -> None:
    said = ask(machine("promtool"), "check", "metrics", given=scraped)
    assert (said.code, said.text) == (0, "")
    wrong = scraped.replace(f"{PREFIX}_slow_closes_total", f"{PREFIX}_slow_closes")
    assert ask(machine("promtool"), "check", "metrics", given=wrong).code != 0


def test_labels_have_no_value_that_is_not_listed(scraped: str) -> None:
    strangers, seen = [], set()
    for family in text_string_to_metric_families(scraped):
        name = family.name.removeprefix(f"{PREFIX}_")
        for sample in family.samples:
            for label in sample.labels.keys() - BESIDES:
                allowed, value = VALUES[f"{name}.{label}"], sample.labels[label]
                seen.add(f"{name}.{label}")
                if ANY not in allowed and value not in allowed:
                    strangers.append((name, label, value))
    assert strangers == []
    assert len(seen) > 15


def test_what_the_phone_lived_through_is_reported(scraped: str) -> None:
    received = {
        (sample.name.removeprefix(f"{PREFIX}_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(scraped)
        for sample in family.samples
    }
    expected = {
        ("connections", "dashboard", "json", "ios"): 1,
        ("log_ons_total", "dashboard", "invalid_credentials"): 1,
        ("log_ons_total", "dashboard", "ok"): 1,
        ("site_log_ons_total", "answered", "main"): 2,
        ("site_log_ons_total", "unavailable", "main"): 0,
        ("handshakes_total", "bad_request"): 1,
        ("handshakes_total", "ok"): 1,
        ("ping_rtt_seconds_count",): 1,
        ("commands_in_flight",): 0,
        ("served_connections",): 1,
        ("fresh_connections",): 1,
        ("site_function_up", "realtime", "main"): 1,
        ("devices_per_user_count",): 1,
        ("registry_size", "households"): 1,
    }
    assert {key: received.get(key) for key in expected} == expected
    assert received["frames_total",] > 0
    assert received["state_age_seconds_count",] > 0


def test_names_and_numbers_of_people_are_not_there(scraped: str) -> None:
    assert not [word for word in ("supervisor1", "agent1", "127.0.0.1", "test") if word in scraped]


# ---- process metrics, and the detection of a blocked loop ----


async def test_a_loop_that_turns_is_alive_and_its_lag_is_measured() -> None:
    clock, telemetry = ManualClock(), Telemetry()
    lagged: list[float] = []
    vitals = ProcessMetrics(clock, telemetry, lambda lag_s, _: lagged.append(lag_s))
    async with during(vitals.run()):
        await clock.advance(LOOP_CHECK_S * 4)
        assert vitals.live() is None
    values = values_of(telemetry)
    assert values["loop_lag_seconds_count"] == 4
    assert values["loop_lag_seconds_sum"] < 0.001
    assert lagged == pytest.approx([0.0] * 4, abs=0.001)
    await clock.advance(STUCK_S - 1)
    assert vitals.live() is None
    await clock.advance(1)
    assert vitals.live() == "the event loop is stuck"


async def test_the_process_is_measured_when_asked_for() -> None:
    telemetry = Telemetry()
    ProcessMetrics(ManualClock(), telemetry).sample()
    values = values_of(telemetry)
    assert values["tasks"] >= 1
    assert values["rss_bytes"] > 10_000_000
    assert 3 <= values["fdsopen"] <= values["fdslimit"]


def test_the_client_librarys_own_names_are_there() -> None:
    values = values_of(Telemetry())
    assert values["process_cpu_seconds_total"] > 0
    assert values["process_resident_memory_bytes"] > 10_000_000
    assert 3 <= values["process_open_fds"] <= values["process_max_fds"]


def test_the_limit_of_memory_is_the_tightest_of_the_groups_around(tmp_path: Path) -> None:
    named, groups = tmp_path / "cgroup", tmp_path / "cgroups"
    (groups / "pods" / "one").mkdir(parents=True)
    named.write_text("1:cpu:/else\n0::/pods/one\n")
    assert math.isnan(memory_limit_bytes(named, groups))
    (groups / "pods" / "one" / "memory.max").write_text("max\n")
    assert math.isnan(memory_limit_bytes(named, groups))
    (groups / "pods" / "memory.max").write_text("2048\n")
    assert memory_limit_bytes(named, groups) == 2048
    (groups / "pods" / "one" / "memory.max").write_text("1024\n")
    assert memory_limit_bytes(named, groups) == 1024
    assert math.isnan(memory_limit_bytes(tmp_path / "none", groups))


# ---- counters that alerts use are 0 at the start ----


Labels = frozenset[tuple[str, str]]
_COUNTER = re.compile(rf"({PREFIX}_[a-z_]+_total)(?:\{{([^}}]*)\}})?")
_MATCHER = re.compile(r'(\w+)=~?"([^"]*)"')


def begun() -> Telemetry:
    """Return the metrics of a node with one site at its start."""
    telemetry = Telemetry()
    create_startup_series(telemetry)
    CountedAuthority(FakeUpstream(ManualClock()), "main", telemetry, SiteReach())
    return telemetry


def counters(telemetry: Telemetry) -> dict[str, dict[Labels, float]]:
    """Return name → labels → value, without what the process itself has used."""
    found: dict[str, dict[Labels, float]] = {}
    for family in text_string_to_metric_families(telemetry.render().decode()):
        for sample in family.samples if not family.name.startswith("process_") else ():
            found.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return found


def asked() -> set[tuple[str, Labels]]:
    """Return each counter of the rules, with each set of the values that it is asked for."""
    text = " ".join(
        rule["expr"]
        for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"]
        for rule in group["rules"]
    )
    return {
        (name, frozenset(labels))
        for name, matchers in _COUNTER.findall(text)
        for labels in product(
            *([(label, value) for value in values.split("|")] for label, values in _MATCHER.findall(matchers))
        )
    }


def missing(telemetry: Telemetry) -> set[tuple[str, Labels]]:
    """Return what is asked for and not there."""
    there = counters(telemetry)
    return {
        (name, labels) for name, labels in asked() if not any(labels <= one for one in there.get(name, {}))
    }


def test_whatever_the_rules_ask_for_is_there_and_what_is_not_would_be_found() -> None:
    assert len(asked()) > 10
    assert missing(begun()) == set()
    names = {name for name, _ in missing(Telemetry())}
    assert f"{PREFIX}_commands_total" in names
    assert f"{PREFIX}_self_fences_total" not in names


def test_nothing_has_happened() -> None:
    ends = ("_total", "_count")
    counts = {name: values for name, values in counters(begun()).items() if name.endswith(ends)}
    assert {value for values in counts.values() for value in values.values()} == {0}


def test_what_is_rare_is_not_lost_for_being_the_first_of_its_kind() -> None:
    there = counters(begun())
    for name, label in (("command_seconds", "kind"), ("budget_wait_seconds", "class")):
        every = {frozenset({(label, value)}) for value in VALUES[f"{name}.{label}"]}
        assert there[f"{PREFIX}_{name}_count"].keys() == every


@pytest.mark.parametrize("name", ["commands", "takeovers", "ownership_moves", "bus_gaps", "link_opens"])
def test_all_values_of_small_sets_are_there_and_no_other(name: str) -> None:
    labels = {
        place.partition(".")[2]: values for place, values in VALUES.items() if place.startswith(f"{name}.")
    }
    every = {frozenset(zip(labels, map(str, one), strict=True)) for one in product(*labels.values())}
    assert counters(begun())[f"{PREFIX}_{name}_total"].keys() == every
    assert len(every) < CHILDREN_MAX


# ---- garbage collection: when cycles are collected, and how long the pauses are ----


@pytest.mark.freezes
def test_what_was_there_is_not_looked_through_and_the_rest_seldom() -> None:
    before = gc.get_threshold()
    with tuned_gc(ManualClock(), lambda _: None):
        assert gc.get_freeze_count() > 0
        assert gc.get_threshold() == GC_THRESHOLDS
    assert gc.get_freeze_count() == 0
    assert gc.get_threshold() == before


def test_each_look_is_reported_and_none_afterwards() -> None:
    pauses: list[float] = []
    with tuned_gc(ManualClock(), pauses.append):
        gc.collect()
    gc.collect()
    assert pauses == [0.0]


class Knot:
    """Holds itself."""

    def __init__(self) -> None:
        self.own = self


@pytest.fixture
def seldom_at_all() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.mark.freezes
@pytest.mark.usefixtures("seldom_at_all")
async def test_what_holds_itself_is_collected_when_the_node_is_idle() -> None:
    clock, knot = ManualClock(), ref(Knot())
    async with background_tasks(collect_when_idle(clock)):
        await clock.advance(GC_EVERY_S - 1)
        assert knot() is not None
        await clock.advance(2)
        assert knot() is None


@pytest.mark.freezes
@pytest.mark.usefixtures("seldom_at_all")
async def test_what_was_there_at_a_look_is_passed_by_until_all_is_looked_through() -> None:
    clock, knot = ManualClock(), Knot()
    seen = ref(knot)
    async with background_tasks(collect_when_idle(clock)):
        await clock.advance(GC_EVERY_S + 1)
        del knot
        await clock.advance(GC_EVERY_S + 1)
        assert seen() is not None
        await clock.advance(GC_FULL_S[0])
        assert seen() is None


async def looks_in_an_hour(found: int, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Return how many looks there are, and how many of them through everything, if each finds *found*."""
    clock, looks = ManualClock(), Counter[str]()

    def count(what: str, value: int) -> int:
        looks[what] += 1
        return value

    monkeypatch.setattr(gc, "collect", lambda: count("any", found))
    monkeypatch.setattr(gc, "unfreeze", lambda: count("full", 0))
    async with background_tasks(collect_when_idle(clock)):
        await clock.advance(3600)
        return looks["any"], looks["full"]


async def test_looks_become_rare_while_they_find_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    looks, full = await looks_in_an_hour(GC_FOUND - 1, monkeypatch)
    assert 3600 / GC_FULL_S[1] < full < 3600 / GC_FULL_S[1] + 6
    assert looks - full < 3600 / GC_YOUNG_S[1] + 8


async def test_looks_are_frequent_while_they_find_something(monkeypatch: pytest.MonkeyPatch) -> None:
    looks, full = await looks_in_an_hour(GC_FOUND, monkeypatch)
    assert full > 0.9 * 3600 / GC_FULL_S[0]
    assert looks > 0.9 * 3600 / GC_YOUNG_S[0]


@pytest.mark.freezes
@pytest.mark.usefixtures("seldom_at_all")
async def test_a_look_goes_through_what_came_lately_only() -> None:
    clock = ManualClock()
    async with background_tasks(collect_when_idle(clock)):
        await clock.advance(GC_EVERY_S * 2 + 1)
        knots = [Knot() for _ in range(1000)]
        frozen = gc.get_freeze_count()
        await clock.advance(GC_EVERY_S)
        assert gc.get_freeze_count() >= frozen + len(knots)


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * 4096


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries differ")
async def test_memory_that_was_freed_in_pieces_is_returned() -> None:
    clock = ManualClock()
    pieces = [b"x" * (10_000 + at % 2) for at in range(6_000)]
    del pieces[::2]
    del pieces[:-100]  # the last ones keep the heap from shrinking at its end
    before = resident_bytes()
    async with background_tasks(collect_when_idle(clock)):
        await clock.advance(GC_EVERY_S + 1)
        assert before - resident_bytes() > 20_000_000
    assert pieces


class BusyClock(ManualClock):
    """Each turn of the loop takes a while."""

    async def sleep(self, seconds: float) -> None:
        if seconds == 0:
            await super().sleep(0.01)
        else:
            await super().sleep(seconds)


async def test_a_busy_node_is_not_stopped_but_neither_goes_on_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, looks = BusyClock(), []

    def collect() -> int:
        looks.append(clock.now())
        return 0

    monkeypatch.setattr(gc, "collect", collect)
    began = clock.now()
    async with background_tasks(collect_when_idle(clock)):
        for _ in range(600):
            await clock.advance(0.1)
    (first, *_) = looks
    assert (
        GC_EVERY_S + GC_IDLE_CHECKS * GC_IDLE_CHECK_S / 2
        < first - began
        < GC_EVERY_S + 2 * GC_IDLE_CHECKS * GC_IDLE_CHECK_S
    )


async def test_the_longer_it_takes_the_more_seldom_it_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, looks = ManualClock(), []
    now = clock.now

    def collect() -> int:
        looks.append(now())
        monkeypatch.setattr(clock, "now", lambda: now() + 0.1 * len(looks))
        return 0

    monkeypatch.setattr(gc, "collect", collect)
    async with background_tasks(collect_when_idle(clock)):
        await clock.advance(GC_EVERY_S + 1)
        assert len(looks) == 1
        await clock.advance(0.1 / GC_SHARE - 2)
        assert len(looks) == 1
        await clock.advance(3 + GC_EVERY_S)
        assert len(looks) == 2


class Turned:
    def __init__(self) -> None:
        self.at: list[float] = []

    def turn(self, now: float) -> None:
        self.at.append(now)


async def test_pools_turn_by_time() -> None:
    clock, pool = ManualClock(), Turned()
    began = clock.now()
    async with background_tasks(prune_at_intervals([pool.turn], clock)):
        await clock.advance(PRUNE_EVERY_S * 2 + 0.5)
    assert pool.at == [began + PRUNE_EVERY_S, began + 2 * PRUNE_EVERY_S]
