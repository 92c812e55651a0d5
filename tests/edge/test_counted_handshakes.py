"""Metric of handshakes: one outcome for each, once it is known."""

from __future__ import annotations

import aiohttp
import pytest

from docs._generate.metrics import VALUES
from gateway.domain.errors import CloseCode, SessionRefused
from gateway.edge import handshake
from gateway.protocol import frames
from tests.edge.test_routes_realtime import knock
from tests.edge.visits import Gateway


def results(gateway: Gateway) -> dict[str, float]:
    """Return what was counted, without what never happened."""
    counts = {of: gateway.sample("handshakes_total", result=of) for of in VALUES["handshakes.result"]}
    return {of: count for of, count in counts.items() if count}


async def test_an_upgrade_alone_is_nothing_yet(gateway: Gateway) -> None:
    await gateway.connect()
    assert results(gateway) == {}


async def test_who_is_welcomed_is_ok_once(gateway: Gateway) -> None:
    phone = await gateway.served()
    assert results(gateway) == {"ok": 1}
    await phone.ws.close()
    await gateway.clock.settle()
    assert results(gateway) == {"ok": 1}


async def test_many_with_a_bad_token_are_not_ok(gateway: Gateway) -> None:
    for _ in range(3):
        assert (await (await gateway.hello("nonsense")).end())[1] == 4001
    assert results(gateway) == {"token_invalid": 3}


async def test_a_refusal_is_counted_by_the_name_of_its_code(gateway: Gateway) -> None:
    for code in CloseCode:
        gateway.node.refusal = SessionRefused(code, "why")
        assert (await (await gateway.hello(gateway.token())).end())[1] == code
    assert results(gateway) == {code.name.lower(): 1 for code in CloseCode}


async def test_who_says_no_hello_is_counted_at_the_end(gateway: Gateway) -> None:
    phone = await gateway.connect()
    await gateway.clock.advance(5.1)
    assert (await phone.end())[1] == 4110
    assert results(gateway) == {"hello_timeout": 1}


@pytest.mark.parametrize("code", [1000, 4001])
async def test_who_goes_before_either_has_left_whatever_he_calls_it(gateway: Gateway, code: int) -> None:
    phone = await gateway.connect()
    await phone.ws.close(code=code)
    await gateway.clock.settle()
    assert results(gateway) == {"left": 1}


async def test_who_goes_during_the_handshake_has_left(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(*_: object, **__: object) -> None:
        raise ConnectionResetError

    monkeypatch.setattr(handshake, "accept", gone)
    with pytest.raises(aiohttp.ClientError):
        await gateway.connect()
    assert results(gateway) == {"left": 1}
    assert gateway.admission.sockets == 0


async def test_a_phone_that_is_there_when_the_process_ends_has_left(gateway: Gateway) -> None:
    await gateway.connect()
    for socket in list(gateway.parts.phones):
        socket.abandon()
    assert results(gateway) == {"left": 1}


async def test_whose_end_overtakes_the_welcome_is_not_ok(gateway: Gateway) -> None:
    gateway.node.gate.clear()
    phone = await gateway.hello(gateway.token())
    await gateway.clock.settle()
    (socket,) = gateway.parts.phones
    gateway.node.gate.set()  # the node's answer is there before the socket's turn, and too late
    socket.close(CloseCode.REPLACED, "replaced")
    assert (await phone.end())[1] == CloseCode.REPLACED
    assert results(gateway) == {"replaced": 1}


async def test_they_add_up_to_all_who_came(gateway: Gateway) -> None:
    await knock(gateway, Authorization="Bearer nonsense")
    await knock(gateway, Upgrade=None)
    await gateway.served()
    await (await gateway.hello(None)).end()
    hasty = await gateway.connect()
    await hasty.say(frames.Follow("f", ("queues",)))
    await hasty.end()
    await (await gateway.connect()).ws.close()
    await gateway.clock.settle()
    refused = {"unauthenticated": 1, "bad_request": 1, "token_invalid": 1, "protocol_error": 1}
    assert results(gateway) == refused | {"ok": 1, "left": 1}
