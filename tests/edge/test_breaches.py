"""Each breach of the WebSocket is answered as docs/protocol.md says."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from gateway.edge.request_context import AdmissionLimits
from gateway.protocol import websocket
from tests.edge.conftest import Open
from tests.edge.visits import SETTINGS, Gateway
from tests.protocol.framing import Received, closing, framed, text

BREACHES: Final = {
    "not masked": (websocket.frame(1, b"{}"), 1002),
    "a ping not masked": (websocket.frame(9, b""), 1002),
    "a close not masked": (websocket.close(1000), 1002),
    "reserved bits": (framed(1, b"{}", rsv=4), 1002),
    "reserved opcode": (framed(3), 1002),
    "reserved control opcode": (framed(11), 1002),
    "fragmented ping": (framed(9, fin=False), 1002),
    "long ping": (framed(9, b"x" * 126), 1002),
    "continuation of nothing": (framed(0, b"x"), 1002),
    "message within a message": (framed(1, b"x", fin=False) + framed(1, b"y"), 1002),
    "long length for little": (b"\x81\xfe\x00\x01" + bytes(5), 1002),
    "no length": (b"\x81\xff" + b"\xff" * 8 + bytes(4), 1002),
    "half a code": (framed(8, b"\x03"), 1002),
    "a code that none may have": (closing(1005), 1002),
    "text that is no UTF-8": (text(b'"\xff"'), 1007),
    "fragments that are no UTF-8": (framed(1, b"\xc3", fin=False) + framed(0, b"\x28"), 1007),
    "a reason that is no UTF-8": (closing(1000, b"\xff"), 1007),
    "too many frames": (framed(10) * (websocket.FRAMES_BETWEEN_MAX + 1), 1008),
    "a big message": (text("x" * (16 * 1024 + 1)), 1009),
    "the head of a huge message": (b"\x81\xff" + (1 << 40).to_bytes(8, "big"), 1009),
    "big fragments": (framed(1, b"x" * 10_000, fin=False) + framed(0, b"x" * 10_000), 1009),
    "the wrong type": (framed(2, b"{}"), 1003),
}
MANY = AdmissionLimits(
    handshakes_per_s_of_address=1e6, handshakes_burst_of_address=10_000, handshakes_burst=10_000
)


@pytest.mark.parametrize("attached", [False, True], ids=["before a hello", "while it is attached"])
async def test_before_a_welcome_every_breach_is_4000(gateway: Gateway, attached: bool) -> None:
    gateway.node.gate.clear()
    for name, (data, _) in BREACHES.items():
        async with await gateway.raw() as phone:
            if attached:
                phone.hello(gateway.token())
            phone.send(data)
            assert await phone.end_of_both() == (4000, 4000), name
    await gateway.clock.settle()
    assert all(life.close_reason for life in gateway.lives)
    assert gateway.admission.sockets == 0
    assert len(gateway.node.detached) == len(BREACHES)


async def test_after_a_welcome_every_breach_is_closed_with_the_code_of_the_rfc(gateway: Gateway) -> None:
    for name, (data, code) in BREACHES.items():
        async with await gateway.raw() as phone:
            await phone.served(gateway.token())
            phone.send(data)
            assert await phone.end_of_both() == (None, code), name
    codes = [code for _, code in BREACHES.values()]
    assert [life.close_code for life in gateway.lives] == codes
    assert {life.initiator for life in gateway.lives} == {"gateway"}
    for code in codes:
        assert gateway.sample("closes_total", initiator="gateway", code=str(code)) == codes.count(code)
    assert len(gateway.node.detached) == len(BREACHES)


async def test_what_was_said_before_a_breach_is_served(gateway: Gateway) -> None:
    async with await gateway.raw() as phone:
        await phone.served(gateway.token())
        phone.send(text('{"kind": "bye"}') + framed(3))
        assert await phone.end() == [Received(8, b"\x03\xe8")]


async def test_a_message_of_the_full_size_is_read(gateway: Gateway) -> None:
    async with await gateway.raw() as phone:
        await phone.served(gateway.token())
        phone.send(text('{"kind": "nonsense"}'.ljust(16 * 1024)))
        assert b"bad_request" in (await phone.hear()).payload


async def test_pings_of_the_websocket_are_answered_before_a_hello(gateway: Gateway) -> None:
    async with await gateway.raw() as phone:
        phone.send(framed(9, b"there?"))
        assert await phone.hear() == Received(10, b"there?")


async def test_a_phone_that_only_pings_may_do_so_for_as_long_as_it_likes(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "FRAMES_BETWEEN_MAX", 3)
    async with await gateway.raw() as phone:
        await phone.served(gateway.token())
        for number in range(9):
            phone.send(framed(9, b"%d" % number))
            assert await phone.hear() == Received(10, b"%d" % number)
            await gateway.clock.advance(0.1)
        phone.send(framed(9) * 5)
        *_, last = await phone.end()
    assert (last.opcode, last.payload[:2]) == (8, b"\x03\xf0"), "a flood is still refused"


async def test_pings_allow_no_more_fragments(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "FRAMES_BETWEEN_MAX", 4)
    async with await gateway.raw() as phone:
        await phone.served(gateway.token())
        for opcode in (1, 0):
            phone.send(framed(opcode, fin=False) + framed(9))
            assert await phone.hear() == Received(10, b"")
            await gateway.clock.advance(0.1)
        phone.send(framed(0, fin=False) + framed(9))
        *_, last = await phone.end()
    assert (last.opcode, last.payload[:2]) == (8, b"\x03\xf0")


async def test_a_hello_that_came_with_the_handshake_is_served(gateway: Gateway) -> None:
    early = text('{"kind":"hello","token":"x","client":{"app":"t","version":"1","platform":"p"}}')
    async with await gateway.raw(early=early) as phone:
        assert await phone.end_of_both() == (4001, 4001)


@pytest.mark.parametrize("helloed", [True, False])
async def test_half_a_connection_is_none(gateway: Gateway, *, helloed: bool) -> None:
    async with await gateway.raw() as phone:
        if helloed:
            await phone.served(gateway.token())
        phone.writer.write_eof()
        assert await phone.end() == []
    assert [(life.initiator, life.close_code) for life in gateway.lives] == [("network", 1006)]


@pytest.mark.parametrize("last", [b"", closing(1000), framed(3)])
async def test_a_phone_that_never_hangs_up_is_left_within_a_second(gateway: Gateway, last: bytes) -> None:
    async with await gateway.raw() as phone:
        await phone.served(gateway.token())
        phone.send(text('{"kind": "bye"}') + last)
        assert await phone.end() == [Received(8, b"\x03\xe8")]
    await gateway.clock.settle()
    assert gateway.admission.sockets == 0


async def test_of_hundreds_that_come_and_go_nothing_is_left(gateway_with: Open) -> None:
    gateway = await gateway_with(replace(SETTINGS, admission=MANY))
    async with await gateway.raw() as phone:  # what is made once is made
        await phone.served(gateway.token())
    await gateway.clock.settle()
    before = tasks_and_files()
    ends = [b"", closing(1000), framed(3), text("{"), text('{"kind": "bye"}'), framed(9) * 50, b"\x81"]
    for batch in range(10):
        async with AsyncExitStack() as phones:
            for number in range(20):
                phone = await phones.enter_async_context(await gateway.raw())
                if number % 2:
                    await phone.served(gateway.token())
                phone.send(ends[(batch + number) % len(ends)])
    await gateway.clock.settle()
    assert gateway.admission.sockets == 0
    assert tasks_and_files() == before
    assert (len(gateway.lives), gateway.node.connections) == (201, [])


def tasks_and_files() -> tuple[int, int]:
    """Return how many tasks and open files there are."""
    return len(asyncio.all_tasks()), sum(1 for _ in Path("/proc/self/fd").iterdir())
