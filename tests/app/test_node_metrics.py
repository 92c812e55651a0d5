"""Gauges of a node: present things are counted, past ones are not."""

from __future__ import annotations

import math

import pytest

from gateway.app.metrics import (
    BUS_STATES,
    FRESH_S,
    measure_clock_offset,
    measure_functions,
    measure_late,
    measure_owned,
    measure_phones,
    measure_shared,
    measure_users,
)
from gateway.bus.connect import KeyNames
from gateway.bus.memory import MemoryLeases
from gateway.bus.redis import RedisClient, RedisLimits
from gateway.bus.stores import RedisLeases
from gateway.core.lease import BusState
from gateway.domain.model import Kind
from gateway.domain.resources import FunctionState, Queue
from gateway.domain.upstream import Part, Source
from gateway.telemetry import Telemetry
from gateway.upstream.oscce.readings import Readings
from tests.app.metrics import values_of
from tests.bus.peer import Peer, door
from tests.doubles.clock import ManualClock
from tests.runtime.scene import scene, user
from tests.runtime.street import street


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
                at.upstream.put(Part(Kind.QUEUE, 5, Source.REALTIME, Queue(contacts_waiting=waiting)))
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


async def test_a_phone_whose_link_is_gone_is_not_fresh() -> None:
    telemetry = Telemetry()
    async with scene() as at:
        await at.served()
        at.upstream.unreachable = True
        at.upstream.drop(user(1))
        await at.pass_time(1)
        measure_phones(at.node, telemetry)
        gone = values_of(telemetry)
    assert (gone["served_connections"], gone["fresh_connections"]) == (1, 0)


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


async def test_elements_that_came_late_are_reported() -> None:
    telemetry = Telemetry()
    async with scene() as at:
        at.node.composer.late = 3
        measure_late(at.node, telemetry)
    assert values_of(telemetry)["late_elements_total"] == 3


async def test_readings_of_all_links_are_counted() -> None:
    telemetry = Telemetry()

    def readings() -> float:
        measure_late(at.node, telemetry)
        return values_of(telemetry)["upstream_events_totalreading"]

    async with scene() as at:
        assert readings() == 0
        await at.served()
        before = readings()
        assert before > 0
        at.upstream.put(Part(Kind.QUEUE, 5, Source.REALTIME, Queue(contacts_waiting=9)))
        await at.clock.settle()
        assert readings() == before + 1


async def test_a_silence_goes_on_while_the_link_is_gone_and_ends_when_it_is_back() -> None:
    telemetry = Telemetry()
    async with scene() as at:

        def silence_s() -> float:
            measure_users(at.node, telemetry)
            return values_of(telemetry)["upstream_silence_seconds"]

        await at.served()
        at.upstream.unreachable = True
        at.upstream.drop(user(1))
        await at.pass_time(5)
        measure_users(at.node, telemetry)
        assert values_of(telemetry)["linksdown"] == 1
        before_s = silence_s()
        assert 5 <= before_s <= 6
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
    async with street() as at:
        near, _ = await at.scenes[0].served(), await at.scenes[1].served(device="d2")
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


def test_every_state_of_the_bus_has_a_number() -> None:
    assert set(BUS_STATES) == set(BusState)
    assert sorted(BUS_STATES.values()) == [0, 1, 2, 3]


def test_the_offset_of_the_clock_is_that_of_the_store_and_none_without_one() -> None:
    telemetry, clock = Telemetry(), ManualClock()
    line = RedisClient(door(Peer(), clock), clock, lambda: 0.5, RedisLimits())
    stored = RedisLeases(line, KeyNames(b"p" * 32), clock)
    for offset_s in (None, -1.5):
        stored.clock_offset_s = offset_s
        measure_clock_offset(stored, telemetry)
        shown = values_of(telemetry)["clock_offset_seconds"]
        assert shown == offset_s or (offset_s is None and math.isnan(shown))
    measure_clock_offset(MemoryLeases(clock), telemetry)
    assert values_of(telemetry)["clock_offset_seconds"] == 0


def test_what_was_known_already_is_a_share_of_all() -> None:
    telemetry, pool, other = Telemetry(), Readings(), Readings()
    measure_shared([pool], telemetry)
    assert values_of(telemetry)["pool_hit_ratio"] == 0
    pool.shared, pool.parsed, other.parsed = 6, 1, 1
    measure_shared([pool, other], telemetry)
    assert values_of(telemetry)["pool_hit_ratio"] == 0.75
