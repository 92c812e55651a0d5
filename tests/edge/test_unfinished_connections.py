"""Unfinished connections never keep others out."""

from __future__ import annotations

import asyncio
from ipaddress import ip_network
from typing import Any, cast

import pytest
from aiohttp import web

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.edge.limits import PendingConnections
from gateway.edge.request_context import BODY_S, read_body_in_time
from tests.doubles.clock import ManualClock


class Line:
    """A transport that knows where it comes from, and whether it was cut."""

    def __init__(self, host: str | None) -> None:
        self.cut = False
        self._host = host

    def get_extra_info(self, name: str) -> object:
        return None if self._host is None else (self._host, 1)

    def abort(self) -> None:
        self.cut = True


def come(callers: PendingConnections, *hosts: str | None) -> list[Line]:
    lines = [Line(host) for host in hosts]
    for line in lines:
        callers.opened(line, cast(asyncio.Transport, line))
    return lines


def cut(lines: list[Line]) -> list[int]:
    return [number for number, line in enumerate(lines) if line.cut]


def test_the_oldest_silent_connection_of_a_crowded_address_makes_way() -> None:
    callers = PendingConnections(10, 2)
    assert cut(come(callers, "192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2")) == [0]
    assert (len(callers), callers.dropped) == (3, 1)


def test_who_has_sent_a_request_makes_way_for_nobody() -> None:
    callers = PendingConnections(10, 2)
    lines = come(callers, "192.0.2.1", "192.0.2.1")
    callers.head_received(lines[0])
    assert cut(come(callers, "192.0.2.1")) == []
    assert cut(lines) == [1]
    (third,) = [each for each in callers._open if each not in lines]
    callers.head_received(third)
    assert cut(come(callers, "192.0.2.1")) == [0], "all others have sent one: the newcomer is refused"
    for line in list(callers._open):
        callers.closed(line)
    assert (len(callers), callers._silent, callers._of.total()) == (0, {}, 0)


def test_a_subscriber_has_one_share_however_many_addresses_are_his() -> None:
    lines = come(
        PendingConnections(10, 2), "2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::3", "2001:db8:0:1::1"
    )
    assert cut(lines) == [0]


def test_who_waits_longest_goes_when_all_are_too_many() -> None:
    callers = PendingConnections(2, 2)
    lines = come(callers, "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4")
    assert (cut(lines), len(callers)) == ([0, 1], 2)


def test_a_trusted_proxy_and_a_socket_of_the_machine_have_no_share_of_their_own() -> None:
    callers = PendingConnections(10, 1, (ip_network("10.0.0.0/8"),))
    assert cut(come(callers, "10.0.0.1", "10.0.0.1", None, None)) == []


def test_who_left_is_counted_no_more_and_only_once() -> None:
    callers = PendingConnections(10, 1)
    (first,) = come(callers, "192.0.2.1")
    callers.closed(first)
    callers.closed(first)
    assert cut(come(callers, "192.0.2.1")) == []
    assert (len(callers), callers._of.total()) == (1, 1)


class Endless:
    """A request whose body never ends."""

    async def read(self) -> bytes:
        await asyncio.Event().wait()
        return b""


class Whole:
    async def read(self) -> bytes:
        return b"{}"


async def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    clock = ManualClock()
    async with asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(_refused(read_body_in_time(cast(web.Request, Endless()), clock)))
        await clock.advance(BODY_S - 0.1)
        assert not reading.done()
        await clock.advance(0.2)
    assert reading.result() is ErrorCode.BAD_REQUEST
    assert await read_body_in_time(cast(web.Request, Whole()), clock) == b"{}"


async def _refused(asked: Any) -> ErrorCode:  # noqa: ANN401 - a coroutine of anything
    with pytest.raises(GatewayError) as raised:
        await asked
    return raised.value.code
