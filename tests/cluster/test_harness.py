"""The harness notices what scenarios are to prove absent. One node on the memory bus, planted faults."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import cast

import pytest

from gateway.protocol.codec import JSON, BadFrame
from gateway.protocol.frames import Changes
from tests.cluster import crowd as crowd_module
from tests.cluster.caching import CachingCodec
from tests.cluster.centre import Centre, Lines, Observer
from tests.cluster.cluster import PASSWORD, Size, cluster
from tests.cluster.crowd import Crowd
from tests.cluster.phones import FRESH_S
from tests.cluster.spy import Spy
from tests.doubles.servers import redis_server

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(120)]

SMALL = Size(6, 2, agents=40, queues=8, fault_s=2.0, nodes=1)


CENTRE = ["--users", "6", "--agents", "40", "--queues", "8", "--interval-s", "0.5", "--events-per-s", "40"]


@asynccontextmanager
async def small(folder: Path) -> AsyncIterator[Crowd]:
    async with (
        cluster(folder, nodes=1, centre=CENTRE, limits={"log_ons_per_s": 200}) as made,
        await Crowd.of(made, SMALL) as crowd,
    ):
        await crowd.arrive(within_s=30)
        yield crowd


@pytest.mark.takes(8)
async def test_a_crowd_without_a_fault_sees_the_truth_and_a_wrong_mirror_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with small(tmp_path) as crowd:
        began = asyncio.get_running_loop().time()
        crowd.start_traffic(roam_s=3, command_s=2)
        await asyncio.sleep(8)  # two or three roamings of each phone
        assert await crowd.settle(within_s=15) == []
        figures = await crowd.figures("none", began, budget_per_s=200)
        assert figures.blind_s is not None
        assert figures.blind_s < 2 * FRESH_S, figures
        assert figures.lie_s is not None
        assert figures.lie_s < FRESH_S, figures
        assert (figures.twice, figures.disconnected, figures.without_link) == (0, 0, 0), figures
        assert figures.executed > 0
        assert figures.log_ons_over <= 0
        assert sum(phone.seen.roamed for phone in crowd.phones) > 0
        assert {phone.seen.reset for phone in crowd.phones} == {1}, "a cut phone resumes: its stream stayed"
        assert not re.search(r'Traceback|"error"', crowd.cluster.nodes[0].written())

        values = crowd.phones[0].client.mirror._values
        key = next(key for key in values if key.startswith("agent:"))
        true = values[key]
        values[key] = MappingProxyType(true | {"routing_state": "levitating"})
        assert [each for each in await crowd.differences() if "levitating" in each]
        values[key] = true
        assert await crowd.settle(within_s=15) == []  # what is under way just now is no wrong mirror

        seen = crowd.phones[0].seen

        monkeypatch.setattr(crowd_module, "waited_s", lambda: 0.0)  # a busy machine excuses nothing here

        def is_newer() -> bool:
            seen.beacons.clear()  # as if the phone showed what was true at the beginning; new ones may come
            return seen.dated_s > 1

        await crowd.until(is_newer, 30, "say how new it is")
        with pytest.raises(AssertionError, match="newer than it is"):
            await crowd.figures("none", began, budget_per_s=200)


async def test_an_old_view_that_is_shown_as_live_is_noticed(tmp_path: Path) -> None:
    async with small(tmp_path) as crowd:
        (node,) = crowd.cluster.nodes
        since = asyncio.get_running_loop().time()
        node.freeze()
        await asyncio.sleep(3)  # the view grows older than is allowed
        node.thaw()
        again_s = await crowd.fresh(since + 3, within_s=10)
        figures = await crowd.figures("frozen", since, budget_per_s=200)
        assert again_s < 3
        assert figures.lie_s is not None
        assert figures.blind_s is not None
        assert 2.5 <= figures.lie_s <= figures.blind_s
        for phone in crowd.phones:
            assert phone.blind_s(since, since + 3, crowd.beacon.lit) >= 2.5


async def test_a_broken_connection_a_kick_and_a_second_execution_are_noticed(tmp_path: Path) -> None:
    async with small(tmp_path) as crowd:
        centre = crowd.cluster.centre
        since = asyncio.get_running_loop().time()
        await centre.fault("Split", User="supervisor1")
        await twice(crowd)
        await crowd.cluster.nodes[0].restart()
        await crowd.until(lambda: all(phone.seen.breaks for phone in crowd.phones), 10, "break")
        figures = await crowd.figures("many", since, budget_per_s=200)
        assert figures.kicks_max >= 1
        assert (figures.twice, figures.disconnected) == (1, len(crowd.phones))
        assert figures.gap_s > 0 or figures.without_link > 0


async def twice(crowd: Crowd) -> None:
    """Be a gateway that carries one command out in two sessions: its second link replaces the first."""
    http, port = crowd.cluster.http, crowd.cluster.centre.port
    url = f"http://127.0.0.1:{port}/oscce/v1"
    agent = crowd.scopes["supervisor2"]["Users"][0]
    wish = {"UserKey": agent, "RoutingState": "Available", "When": "AfterContact", "RequestKey": "k"}
    for token in (10**17, 10**17 + 1):
        who = {"Application": "Dashboard", "UserName": "supervisor2", "Password": PASSWORD}
        body = {**who, "Device": {"ID": f"intruder{token}", "Name": "x"}}
        async with http.post(f"{url}/sessions", json=body) as answer:
            secret = (await answer.json())["SessionID"]
        headers = {"OSCCE-Session": secret, "OSCCE-Link-Token": str(token), "OSCCE-Link-Holder": "x"}
        async with http.ws_connect(f"{url}/link", protocols=("oscce.link.v1",), headers=headers) as line:
            await line.send_json(
                {"Type": "Request", "RequestID": 1, "Session": 1, "Method": "SetRoutingState", **wish}
            )
            while "RequestID" not in (received := await line.receive_json(timeout=5)):
                pass
            assert received["Error"] == 0, received


def test_what_the_centre_counted_is_read() -> None:
    line = {"Present": 1, "LongestGap": 1500, "Replacements": 3, "Opens": 5}
    links = {
        "Links": {"a": line, "b": {**line, "Present": 0}},
        "Sessions": [{"UserName": "a"}, {"UserName": "b"}],
        "LogOnAttempts": 7,
        "Executed": {"SetSkills": 2, "KeepAlive": 9},
        "Keys": {"Seen": 2, "CameAgain": 1, "ExecutedTwice": 1},
    }
    lines = Lines.of(links)
    assert (lines.gap_ms, lines.kicks_max, lines.without) == (1500, 3, ["b"])
    assert (lines.executed, lines.again, lines.twice) == (2, 1, 1)


def test_log_ons_over_the_budget_are_noticed_and_one_seconds_worth_at_once_is_not() -> None:
    observer = Observer(cast("Centre", None))
    for now, count in ((0.0, 0), (0.5, 20), (1.0, 30), (2.0, 50), (5.0, 70), (5.5, 100)):
        observer.take(now, {"LogOnAttempts": count})
    assert observer.log_on_rate(20, 0.0) == (30.0, 0.0)
    observer.take(6.0, {"LogOnAttempts": 131})
    assert observer.log_on_rate(20, 0.0)[1] == 21.0
    assert observer.log_on_rate(20, 5.2)[1] == 1.0


@pytest.mark.parametrize(
    "body",
    [
        b',"patch":{"queue:1":{"name":"a","contacts_waiting":null}}}',
        b',"stream":"s","reset":true,"put":{"agent:1":{"display_name":"a"}},"gone":["agent:2"]}',
        b',"kind":"ping","nonce":"a"}',
        b',"after":3}',
        b',"put":{"queue:1":{"a":1,"a":2}}}',
        b',"put":{"queue:1":{"a":9007199254740993}}}',
        b',"put":{"queue:1":1}}',
        b',"put":{"queue:1":{}}',
    ],
)
def test_frames_with_a_known_body_are_accepted_and_refused_as_by_the_codec_itself(body: bytes) -> None:
    codec = CachingCodec()
    for after, upto in ((1, 2), (1, 2), (0, 999_999_999_999_999), (7, 10**16), (1, -1)):
        data = b'{"kind":"changes","after":%d,"upto":%d%b' % (after, upto, body)
        try:
            expected: object = JSON.decode_gateway(data)
        except BadFrame as refused:
            with pytest.raises(BadFrame, match=f"^{re.escape(refused.reason)}$"):
                codec.decode_gateway(data)
        else:
            assert codec.decode_gateway(data) == expected


def test_a_body_is_decoded_once_and_the_cache_is_bounded() -> None:
    codec = CachingCodec()

    def decoded(name: str, after: int) -> Changes:
        data = b'{"kind":"changes","after":%d,"upto":%d,"put":{"k":{"name":"%b"}}}'
        frame = codec.decode_gateway(data % (after, after + 1, name.encode()))
        assert isinstance(frame, Changes)
        return frame

    first = decoded("a", 1)
    assert decoded("a", 5).put is first.put
    for number in range(40):
        decoded(f"{number}".rjust(200_000, "x"), 1)
    assert len(codec._frames) < 40
    assert decoded("a", 1) == first


async def test_a_canary_that_redis_could_read_is_found_wherever_it_went(tmp_path: Path) -> None:
    async with redis_server() as redis, asyncio.TaskGroup() as tasks:
        spy = Spy(redis, tmp_path / "spy", ["Schröder"])
        await spy.prepare()
        attending = tasks.create_task(spy.read_traffic())
        while spy.received() != {"monitor", "replication"}:
            await redis.command("PUBLISH", "og:ctl", "nothing to see")
            await asyncio.sleep(0.05)  # between two looks
        await spy.look()
        assert spy.found == set()
        await redis.command("PUBLISH", "og:ctl", "it is Schröder")
        await redis.command("SET", "og:x", f"x{PASSWORD}x")
        await redis.command("PUBLISH", "og:ctl", "a token that was told of later")
        await asyncio.sleep(0.2)  # it has come, and nobody looked for it
        spy.add_canaries(["told of later"])
        await spy.look()
        attending.cancel()
        places = {where.partition(":")[0] for where in spy.found}
        assert places == {"monitor", "replication", "keys", "slowlog"}
        later = {where for where in spy.found if "told of later" in where}
        assert {where.partition(":")[0] for where in later} == {"monitor", "replication", "slowlog"}
        assert spy.looked().keys() == {"monitor", "replication", "keys", "slowlog"}
        assert "Schröder" in "".join(spy.found).encode().decode("unicode_escape").encode("latin-1").decode()
