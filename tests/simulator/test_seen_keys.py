"""Repeated requests at the simulator: seen and executed."""

from __future__ import annotations

from gateway.simulator import requests
from gateway.simulator.requests import SeenKeys
from tests.simulator.peer import AGENT
from tests.simulator.wire import Wire


def counted(keys: SeenKeys) -> tuple[int, int, int]:
    return keys.keys, keys.again, keys.twice


def test_a_key_is_counted_per_user_when_it_comes_and_when_it_is_executed() -> None:
    keys = SeenKeys()
    for user, key in ((1, "a"), (1, "b"), (2, "a")):
        keys.came(user, {"RequestKey": key})
        keys.executed(user, {"RequestKey": key})
    assert counted(keys) == (3, 0, 0)
    keys.came(1, {"RequestKey": "a"})
    assert counted(keys) == (3, 1, 0)
    keys.executed(1, {"RequestKey": "a"})
    assert counted(keys) == (3, 1, 1)


def test_a_key_that_was_refused_before_is_not_executed_twice() -> None:
    keys = SeenKeys()
    keys.came(1, {"RequestKey": "a"})
    keys.came(1, {"RequestKey": "a"})
    keys.executed(1, {"RequestKey": "a"})
    assert counted(keys) == (1, 1, 0)


def test_what_has_no_key_is_not_counted() -> None:
    keys = SeenKeys()
    keys.came(1, {})
    keys.executed(1, {})
    keys.executed(1, {})
    assert counted(keys) == (0, 0, 0)


def test_the_oldest_keys_are_forgotten() -> None:
    keys = SeenKeys()
    for number in range(requests.KEPT + 1):
        keys.came(1, {"RequestKey": str(number)})
    keys.came(1, {"RequestKey": "1"})
    keys.came(1, {"RequestKey": "0"})
    assert counted(keys) == (requests.KEPT + 2, 1, 0)


async def test_the_control_interface_counts_a_repeated_request_once(wire: Wire) -> None:
    line = await wire.link((await wire.log_on("supervisor1"))["SessionID"], 7)
    await line.greeting()
    assert (await wire.control("GET", "links"))[1]["Keys"] == {"Seen": 0, "CameAgain": 0, "ExecutedTwice": 0}
    request = {"Session": 1, "UserKey": AGENT, "RoutingState": "Work", "When": "Now", "RequestKey": "k"}
    for _ in range(2):
        await line.ask("SetRoutingState", **request)
    assert (await wire.control("GET", "links"))[1]["Keys"] == {"Seen": 1, "CameAgain": 1, "ExecutedTwice": 0}
