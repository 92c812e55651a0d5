"""Acts of an operator reach all nodes within a second, or are reported as incomplete."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.cluster.operator import TOKEN, USERS, Office, office
from tests.doubles.servers import redis_server

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(180)]

EFFECT_S = 1.0


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    """The nodes get their operators' token from the environment."""
    monkeypatch.setenv("OSCC_GATEWAY__ADMIN__TOKEN", TOKEN)


def now() -> float:
    return asyncio.get_running_loop().time()


async def ended_everywhere(there: Office, users: range) -> list[float]:
    """End users whose phones are on the second and third node at the first; returns how long it took."""
    took: list[float] = []
    for number in users:
        phones = [await there.phone(number, node, f"d{node}") for node in (1, 2)]
        user = await there.user_of(phones[0])
        began = now()
        status, received = await there.ask(0, "POST", f"/users/{user}/end")
        assert (status, received["unreached"]) == (200, [])
        assert {each["id"] for each in received["ended"]} == {phone.session for phone in phones}
        took += [await there.gone(phone, began) for phone in phones]
    return took


@pytest.mark.takes(25)
async def test_phones_of_other_nodes_are_sent_away_within_a_second_over_a_slow_redis(tmp_path: Path) -> None:
    async with redis_server() as redis, office(tmp_path, redis, slow=True) as there:
        took = await ended_everywhere(there, range(1, USERS))
        phone = await there.phone(USERS, 2, "d2")
        began = now()
        status, received = await there.ask(1, "DELETE", f"/sessions/{phone.session}")
        assert (status, received["ended"][0]["confirmed"]) == (200, True)
        took.append(await there.gone(phone, began))
        print(f"\nsent away after {min(took) * 1000:.0f} to {max(took) * 1000:.0f} ms, of {len(took)} phones")
        assert max(took) <= EFFECT_S


@pytest.mark.takes(7)
async def test_what_is_listed_and_exported_is_of_all_nodes(tmp_path: Path) -> None:
    async with redis_server() as redis, office(tmp_path, redis) as there:
        phones = [await there.phone(number, number % 3, "d") for number in range(1, 6)]
        phones.append(await there.phone(1, 2, "other"))
        listed = [(await there.ask(node, "GET", "/sessions"))[1] for node in range(3)]
        for received in listed:
            assert received["unreached"] == []
            assert [each["id"] for each in received["sessions"]] == sorted(phone.session for phone in phones)
        user = await there.user_of(phones[0])
        status, held = await there.ask(2, "GET", f"/users/{user}/export")
        assert (status, held["complete"], len(held["nodes"])) == (200, True, 3)
        entries = {entry["category"]: entry["held"] for entry in held["entries"]}
        assert {each["session_id"] for each in entries["token"]} == {phones[0].session, phones[-1].session}
        assert len({each["node"] for each in entries["queue.realtime"]}) == 2, "owner and follower"
        for level in ("debug", "info"):
            _, received = await there.ask(1, "POST", "/log-level", {"level": level})
            assert len(received["nodes"]) == 3


@pytest.mark.takes(10)
async def test_a_frozen_node_is_named_and_holds_nobody_up_for_long(tmp_path: Path) -> None:
    async with redis_server() as redis, office(tmp_path, redis) as there:
        phone = await there.phone(1, 1, "d")
        user = await there.user_of(phone)
        frozen = there.cluster.nodes[2]
        _, received = await there.ask(2, "GET", "/nodes")
        name = next(each["node"] for each in received["nodes"] if each["here"])
        frozen.freeze()
        try:
            began = now()
            _, held = await there.ask(0, "GET", f"/users/{user}/export")
            assert now() - began < 10
            assert (held["complete"], held["unreached"]) == (False, [{"node": name, "reason": "no_answer"}])
            began = now()
            ending = asyncio.create_task(there.ask(0, "POST", f"/users/{user}/end"))
            assert await there.gone(phone, began) <= EFFECT_S
            status, received = await ending
            assert (status, received["unreached"]) == (200, [{"node": name, "reason": "no_answer"}])
        finally:
            frozen.thaw()


@pytest.mark.takes(10)
async def test_without_redis_a_nodes_own_phones_are_ended_and_the_rest_is_said(tmp_path: Path) -> None:
    async with redis_server() as redis, office(tmp_path, redis) as there:
        near, far = await there.phone(1, 0, "d"), await there.phone(2, 1, "d")
        user, other = await there.user_of(near), await there.user_of(far)
        await redis.kill()
        began = now()
        status, received = await there.ask(0, "POST", f"/users/{user}/end")
        assert await there.gone(near, began) <= EFFECT_S
        assert (status, len(received["ended"])) == (200, 1)
        assert {each["reason"] for each in received["unreached"]} == {"bus_down"}
        status, received = await there.ask(0, "POST", f"/users/{other}/end")
        assert (status, received["code"], len(received["unreached"])) == (503, "bus_down", 2)
        began = now()
        assert (await there.ask(1, "POST", f"/users/{other}/end"))[0] == 200
        assert await there.gone(far, began) <= EFFECT_S
