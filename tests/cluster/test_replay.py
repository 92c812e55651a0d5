"""Somebody records all that a Redis receives and sends it again, without any key: nothing comes of it."""

from __future__ import annotations

import ast
import asyncio
import re
from pathlib import Path

import pytest

from tests.cluster.operator import TOKEN, Office, office
from tests.cluster.programs import Node
from tests.doubles.servers import Server, redis_server, until

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(180)]
_WORD = re.compile(rb'"((?:[^"\\]|\\.)*)"')
"""One word of a command as MONITOR shows it, escaped as in C."""


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    """The nodes get their operators' token from the environment."""
    monkeypatch.setenv("OSCC_GATEWAY__ADMIN__TOKEN", TOKEN)


def published(seen: list[bytes]) -> list[tuple[bytes, bytes]]:
    """Return what MONITOR showed of messages: channel and payload."""
    words = [
        [ast.literal_eval('b"' + word.decode("latin-1") + '"') for word in _WORD.findall(line)]
        for line in seen
    ]
    return [(said[1], said[2]) for said in words if said[:1] == [b"PUBLISH"] and len(said) == 3]


async def replay(redis: Server, recorded: list[tuple[bytes, bytes]]) -> None:
    for channel, payload in recorded:
        await redis.command("PUBLISH", channel, payload)


def audited(there: Office) -> int:
    return sum(node.written().count('"logger": "gateway.audit"') for node in there.cluster.nodes)


def levels(there: Office) -> list[int]:
    return [node.written().count("log_level_changed") for node in there.cluster.nodes]


async def dropped(node: Node, why: str) -> float:
    return await node.metric("bus_unopened_total", reason=why)


@pytest.mark.takes(20)
async def test_what_was_recorded_has_no_effect_also_on_a_node_that_was_restarted(tmp_path: Path) -> None:
    async with redis_server() as redis, office(tmp_path, redis) as there:
        async with redis.spy() as seen:
            gone = await there.phone(1, 2, "d")
            user = await there.user_of(gone)
            for level in ("debug", "info"):
                assert (await there.ask(0, "POST", "/log-level", {"level": level}))[0] == 200
            assert (await there.ask(0, "POST", f"/users/{user}/end"))[0] == 200
            _, known = await there.ask(2, "GET", "/nodes")
            last = next(each["node"] for each in known["nodes"] if each["here"])
            assert (await there.ask(0, "POST", "/drain", {"node": last}))[0] == 202
            assert await there.cluster.nodes[2].ended() == 0
        recorded = published(seen)
        assert {channel for channel, _ in recorded} >= {b"og:ctl", f"og:n:{last}:in".encode()}
        await there.cluster.nodes[2].restart()
        await there.met()
        phones = [await there.phone(1, node, f"again{node}") for node in (0, 2)]
        lines, changed = audited(there), levels(there)
        repeated, unproven = (
            await dropped(there.cluster.nodes[0], "repeated"),
            await dropped(there.cluster.nodes[2], "unproven"),
        )

        await replay(redis, recorded)

        async def is_counted() -> bool:
            old, new = there.cluster.nodes[0], there.cluster.nodes[2]
            return await dropped(old, "repeated") > repeated and (
                await dropped(new, "unproven") > unproven or await dropped(new, "repeated") > 0
            )

        await until(is_counted, "nothing was counted")
        await asyncio.sleep(1.0)
        assert (audited(there), levels(there)) == (lines, changed)
        assert not any(phone.bye.done() for phone in phones), "nobody was logged off"
        status, known = await there.ask(2, "GET", "/nodes")
        assert (status, [each["draining"] for each in known["nodes"]]) == (200, [False] * 3)
        assert (await there.ask(0, "POST", f"/users/{user}/end"))[0] == 200
        for phone in phones:
            await there.gone(phone, 0.0)
