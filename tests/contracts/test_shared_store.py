"""Contract of the SharedStore port."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.domain.errors import EndReason
from gateway.domain.model import Application, UserId
from gateway.runtime.ports import KeptLogOff
from tests.contracts.buses import DIRECT, SITES, BusSite
from tests.doubles.tickets import ticket as made_ticket


@pytest.fixture(params=DIRECT)
async def site(request: pytest.FixtureRequest) -> AsyncIterator[BusSite]:
    async with SITES[request.param]() as opened:
        yield opened


@pytest.mark.parametrize("reason", [EndReason.LOGGED_OFF_BY_SUPERVISOR, EndReason.UNKNOWN])
async def test_all_nodes_know_why_a_session_ended(site: BusSite, reason: EndReason) -> None:
    here, there = site.stores
    await here.deny("a1b2", reason, 60.0)
    assert (await here.denied("a1b2"), await there.denied("a1b2")) == (reason, reason)


async def test_a_session_is_denied_for_as_long_as_was_said(site: BusSite) -> None:
    here, there = site.stores
    await here.deny("a", EndReason.BLOCKED, 60.0)
    await here.deny("b", EndReason.EXPIRED, 200.0)
    await site.pass_time(90.0)
    assert (await there.denied("a"), await there.denied("b")) == (None, EndReason.EXPIRED)


async def test_an_end_is_kept_for_a_shorter_time_by_who_knows_its_pseudonym_only(site: BusSite) -> None:
    here, there = site.stores
    await here.deny("a", EndReason.BLOCKED, 200.0)
    await here.deny("b", EndReason.BLOCKED, 200.0)
    assert here.pseudonym("a") == there.pseudonym("a") != here.pseudonym("b")
    await there.shorten_denial(there.pseudonym("a"), 60.0)
    assert (await here.denied("a"), await here.denied("b")) == (EndReason.UNKNOWN, EndReason.BLOCKED)
    await site.pass_time(90.0)
    assert (await here.denied("a"), await here.denied("b")) == (None, EndReason.BLOCKED)


async def test_nodes_count_together(site: BusSite) -> None:
    here, there = site.stores
    assert [await here.count("x", 60.0), await there.count("x", 60.0), await here.count("x", 60.0)] == [
        1,
        2,
        3,
    ]
    assert [await there.counted("x"), await there.counted("y")] == [3, 0]
    assert await there.count("y", 60.0) == 1


async def test_a_counter_lives_from_its_first(site: BusSite) -> None:
    here, there = site.stores
    await here.count("x", 60.0)
    await site.pass_time(40.0)
    assert await there.count("x", 60.0) == 2
    await site.pass_time(40.0)
    assert await there.counted("x") == 0
    assert await there.count("x", 60.0) == 1


async def test_a_forgotten_name_starts_at_zero(site: BusSite) -> None:
    here, there = site.stores
    for name in ("x", "x", "y"):
        await here.count(name, 60.0)
    await there.forget("x")
    await there.forget("z")
    assert [await here.counted("x"), await here.counted("y")] == [0, 1]
    assert await here.count("x", 60.0) == 1


async def test_reservations_of_all_nodes_have_an_order_and_an_end(site: BusSite) -> None:
    here, there = site.stores
    made = [
        await store.reserve("x", entry, 60.0)
        for store, entry in ((here, "b 1"), (there, "a 1"), (here, "b 1"))
    ]
    assert made == [("b 1",), ("b 1", "a 1"), ("b 1", "a 1")]
    assert await there.reserve("y", "b 1", 60.0) == ("b 1",)
    await there.end_reservation("x", "b 1")
    await there.end_reservation("x", "c 1")
    assert await here.reserve("x", "c 1", 60.0) == ("a 1", "c 1")
    await site.pass_time(90.0)
    assert await there.reserve("x", "a 2", 60.0) == ("a 2",)


async def test_no_more_reservations_of_a_name_are_kept_than_fit(
    site: BusSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("gateway.bus.stores", "gateway.bus.memory"):
        monkeypatch.setattr(f"{module}.RESERVATIONS_MAX", 2)
    here, there = site.stores
    made = [
        await store.reserve("x", entry, 60.0) for store, entry in ((here, "a"), (there, "b"), (here, "c"))
    ]
    assert made[-1] == ("a", "b")


async def test_a_name_that_is_counted_is_not_denied(site: BusSite) -> None:
    here, there = site.stores
    await here.count("x", 60.0)
    assert await there.denied("x") is None


# ---- log-offs that nobody has confirmed ----


def _log_off(number: int, holder: str = "h1") -> KeptLogOff:
    ticket = made_ticket(
        UserId("main", number), f"s{number}", application=Application.REMOTE_ASSISTANT, idle_timeout_s=300
    )
    return KeptLogOff(holder, 2, ticket)


async def test_a_log_off_is_kept_for_all_nodes_until_it_is_dropped(site: BusSite) -> None:
    here, there = site.stores
    assert await here.keep_log_off(_log_off(1), 60.0)
    assert await here.keep_log_off(_log_off(2), 60.0)
    assert {kept.ticket.session: kept for kept in await there.log_offs()} == {
        "s1": _log_off(1),
        "s2": _log_off(2),
    }
    await there.drop_log_off(_log_off(1).ticket.handle)
    await there.drop_log_off(_log_off(3).ticket.handle)
    assert await here.log_offs() == (_log_off(2),)


async def test_a_log_off_that_another_node_takes_over_is_kept_once(site: BusSite) -> None:
    here, there = site.stores
    await here.keep_log_off(_log_off(1), 60.0)
    assert await there.keep_log_off(_log_off(1, "h2"), 60.0)
    assert await here.log_offs() == (_log_off(1, "h2"),)


async def test_a_log_off_is_kept_for_as_long_as_was_said(site: BusSite) -> None:
    here, there = site.stores
    await here.keep_log_off(_log_off(1), 60.0)
    await here.keep_log_off(_log_off(2), 200.0)
    await site.pass_time(90.0)
    assert await there.log_offs() == (_log_off(2),)


async def test_no_more_log_offs_are_kept_than_fit(site: BusSite, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("gateway.bus.stores", "gateway.bus.memory"):
        monkeypatch.setattr(f"{module}.LOG_OFFS_MAX", 2)
    here, there = site.stores
    assert [await here.keep_log_off(_log_off(number), 60.0) for number in range(3)] == [True, True, False]
    assert await here.keep_log_off(_log_off(1, "h2"), 60.0), "it is there already"
    assert len(await there.log_offs()) == 2
