"""Links of the simulator: one per user, decided by the token; their sockets and repeated requests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulator import requests
from gateway.simulator.elements import message
from gateway.simulator.fields import Refused
from gateway.simulator.links import Link, Links
from gateway.simulator.requests import SeenKeys
from tests.simulator.client import SimulatorClient
from tests.simulator.peer import AGENT, Peer, World


def admit(links: Links, link: str, token: int | None, holder: str | None, now_ms: int = 0) -> str | None:
    return links.admit(1, "anna", link, token, holder, now_ms)


def test_without_the_feature_the_newest_replaces() -> None:
    links = Links(fencing=False)
    admit(links, "a", 9, "one")
    assert admit(links, "b", None, None) == "a"


def test_an_outbid_link_is_replaced_by_a_higher_token() -> None:
    links = Links()
    admit(links, "a", 5, "one")
    assert links.open_elsewhere(1) == (6, "a")
    with pytest.raises(Refused, match="LinkStale"):
        admit(links, "b", 6, "one")
    assert admit(links, "b", 7, "one") is None


def test_gaps_are_measured_between_links() -> None:
    links = Links()
    admit(links, "a", 1, "one", 1000)
    links.closed(1, "a", 2000)
    admit(links, "b", 2, "one", 5000)
    admit(links, "c", 3, "one", 9000)
    assert links.counts()["anna"].longest_gap_ms == 3000


def test_restart_forgets_tokens_and_keeps_counts() -> None:
    links = Links()
    admit(links, "a", 5, "one")
    links.restart()
    assert admit(links, "b", 1, "two") is None
    assert links.counts()["anna"].opens == 2


OPENS = st.lists(st.tuples(st.integers(0, 5), st.sampled_from("xy"), st.booleans()), max_size=30)


@given(OPENS)
def test_never_two_links_and_never_a_lower_token(opens: list[tuple[int, str, bool]]) -> None:
    links, highest, holder, present = Links(), -1, "", None
    for number, (token, asking, close) in enumerate(opens):
        allowed = token > highest or (token == highest and asking == holder)
        try:
            assert admit(links, str(number), token, asking) == present
        except Refused:
            assert not allowed
        else:
            assert allowed
            highest, holder, present = token, asking, str(number)
        if close and present is not None:
            links.closed(1, present, 0)
            present = None
        assert links.present(1) == present


# ---- order of a link ----


def test_frames_leave_joined_and_in_order() -> None:
    link, peer = Link("l", World().log_on()), Peer()
    one, two = message({"Type": "A"}), message({"Type": "B"})
    link.send(one)
    link.outlet = peer
    link.send()
    link.send(one)
    link.send(one, two)
    assert peer.raw == [one, one + two]


# ---- webSockets that become a link, and those that do not ----


NORMAL = {"OSCCE-Link-Token": "3", "OSCCE-Link-Holder": "me"}


async def test_refusals_before_the_upgrade(client: SimulatorClient) -> None:
    secret = (await client.log_on())["SessionID"]
    known = {"OSCCE-Session": secret}
    assert await client.refused_link(NORMAL) == 401
    assert await client.refused_link(known) == 400
    assert await client.refused_link(known | NORMAL | {"OSCCE-Link-Token": "x"}) == 400
    line = await client.link(secret, 5)
    await line.greeting()
    assert await client.refused_link(known | NORMAL) == 409


@pytest.mark.parametrize("sent", ["{", '{"Type":"Request","RequestID":-1}', "[" * 100_000, b"{}"])
async def test_what_cannot_be_read_and_what_is_binary_closes_with_1002(
    client: SimulatorClient, sent: str | bytes
) -> None:
    line = await client.link((await client.log_on())["SessionID"])
    await (line.socket.send_str(sent) if isinstance(sent, str) else line.socket.send_bytes(sent))
    assert await line.closed() == 1002


async def test_requests_of_a_frozen_line_wait_and_may_be_too_late(client: SimulatorClient) -> None:
    line = await client.link((await client.log_on())["SessionID"])
    await line.greeting()
    client.sim.faults.freeze(10, "supervisor1")
    now_ms = client.clock.now_ms()
    for request_id, not_after in ((1, now_ms + 5000), (2, now_ms + 50_000)):
        await line.socket.send_json(
            {"Type": "Request", "RequestID": request_id, "Method": "KeepAlive", "NotAfter": not_after}
        )
    while len(next(iter(client.sim.faults.lines.values())).inbox) < 2:
        await line.socket.ping()
        await client.control("POST", "publish")
    await client.clock.advance(11)
    answers = [await line.read(), await line.read()]
    assert [each.get("ErrorName") for each in answers] == ["Expired", None]


# ---- repeated requests at the simulator ----


FIRST = [(act, user, key) for user, key in ((1, "a"), (1, "b"), (2, "a")) for act in ("came", "executed")]


@pytest.mark.parametrize(
    ("acts", "counts"),
    [
        pytest.param(FIRST, (3, 0, 0), id="per user"),
        pytest.param([*FIRST, ("came", 1, "a")], (3, 1, 0), id="comes again"),
        pytest.param([*FIRST, ("came", 1, "a"), ("executed", 1, "a")], (3, 1, 1), id="executed twice"),
        pytest.param([("came", 1, "a")] * 2 + [("executed", 1, "a")], (1, 1, 0), id="refused before"),
        pytest.param([("came", 1, None), *[("executed", 1, None)] * 2], (0, 0, 0), id="no key"),
    ],
)
def test_a_key_is_counted_when_it_comes_and_when_it_is_executed(
    acts: list[tuple[str, int, str | None]], counts: tuple[int, int, int]
) -> None:
    keys = SeenKeys()
    for act, user, key in acts:
        getattr(keys, act)(user, {} if key is None else {"RequestKey": key})
    assert (keys.keys, keys.again, keys.twice) == counts


def test_the_oldest_keys_are_forgotten() -> None:
    keys = SeenKeys()
    for number in range(requests.KEPT + 1):
        keys.came(1, {"RequestKey": str(number)})
    keys.came(1, {"RequestKey": "1"})
    keys.came(1, {"RequestKey": "0"})
    assert (keys.keys, keys.again, keys.twice) == (requests.KEPT + 2, 1, 0)


async def test_the_control_interface_counts_a_repeated_request_once(client: SimulatorClient) -> None:
    line = await client.link((await client.log_on("supervisor1"))["SessionID"], 7)
    await line.greeting()
    assert (await client.control("GET", "links"))[1]["Keys"] == {
        "Seen": 0,
        "CameAgain": 0,
        "ExecutedTwice": 0,
    }
    request = {"Session": 1, "UserKey": AGENT, "RoutingState": "Work", "When": "Now", "RequestKey": "k"}
    for _ in range(2):
        await line.ask("SetRoutingState", **request)
    assert (await client.control("GET", "links"))[1]["Keys"] == {
        "Seen": 1,
        "CameAgain": 1,
        "ExecutedTwice": 0,
    }
