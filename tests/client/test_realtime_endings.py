"""Effect of each end of a connection, as documented."""

from __future__ import annotations

import pytest

from gateway.client.http import Unreachable
from gateway.client.mirror import Ended
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.protocol import frames
from tests.client.subject import Subject
from tests.doubles.clock import ManualClock
from tests.doubles.scripted_gateway import Phone, ScriptedGateway


@pytest.mark.parametrize("code", [4000, 4005, 4008, 1008])
async def test_a_stop_is_the_end(
    subject: Subject, phone: Phone, gateway: ScriptedGateway, clock: ManualClock, code: int
) -> None:
    if code >= 4000:
        await phone.bye(code, "why", by="Bob")
    else:
        await phone.close(code)
    await subject.realtime.finished()
    expected = Ended(code, "why", "Bob") if code >= 4000 else Ended(code, "connection closed", None)
    assert subject.realtime.ended == expected
    await clock.settle()
    assert subject.told[-1] == expected
    assert len(subject.realtime.memory.mirror) == 0
    await clock.advance(100)
    assert not gateway.called
    assert subject.log_ons == 0
    with pytest.raises(GatewayError) as over:
        await subject.realtime.arrived()
    assert over.value.details == {"close_code": code, "reason": expected.reason, "by": expected.by}


@pytest.mark.parametrize("code", [4100, 4109, 1012])
async def test_the_others_come_back_with_back_off(
    subject: Subject, phone: Phone, gateway: ScriptedGateway, clock: ManualClock, code: int
) -> None:
    for wait_s in (0.25, 0.5, 1.0):
        await phone.close(code)
        await clock.advance(wait_s - 0.01)
        assert not gateway.called
        await clock.advance(0.02)
        phone = await gateway.phone()
        await phone.resume()
    await clock.settle()
    assert subject.waits == [0.25, 0.5, 1.0]


@pytest.mark.parametrize("code", [4200, 4103])
async def test_an_advised_window_wins(
    subject: Subject, phone: Phone, gateway: ScriptedGateway, clock: ManualClock, code: int
) -> None:
    await phone.bye(code, window_s=(10.0, 30.0))
    await clock.advance(19.9)
    assert not gateway.called
    await clock.advance(0.2)
    await gateway.phone()
    assert subject.waits == [20.0]


async def test_retry_after_wins(
    subject: Subject, phone: Phone, gateway: ScriptedGateway, clock: ManualClock
) -> None:
    gateway.answer("GET", "/v1/realtime", 503, b"", {"Retry-After": "40"})
    phone.drop()
    await clock.advance(0.25)
    gateway.answer("GET", "/v1/realtime", 101)
    await clock.advance(39.9)
    assert not gateway.called
    await clock.advance(0.2)
    await gateway.phone()
    assert subject.waits == [0.25, 40.0]


async def test_an_ended_session_is_logged_on_again_within_the_window(
    subject: Subject, phone: Phone, gateway: ScriptedGateway, clock: ManualClock
) -> None:
    await phone.bye(4300, "session_ended", window_s=(4.0, 8.0))
    await clock.advance(5.9)
    assert subject.log_ons == 0
    await clock.advance(0.2)
    assert (await (await gateway.phone()).serve(stream="2.b")).token == "again-1"
    assert subject.log_ons == 1


async def test_a_log_on_that_fails_for_a_while_is_tried_again(
    subject: Subject, phone: Phone, gateway: ScriptedGateway, clock: ManualClock
) -> None:
    subject.refusals = [
        Unreachable("Nobody answers."),
        GatewayError(ErrorCode.OVER_CAPACITY, "Full.", retry_after_s=50.0),
    ]
    await clock.advance(34)
    await phone.bye(4300)
    for wait_s in (0.25, 0.5, 50.0):
        await clock.advance(wait_s)
    assert (await (await gateway.phone()).serve()).token == "again-3"
    assert subject.waits == [0.25, 0.5, 50.0]


async def test_in_the_background_nobody_logs_on_again(
    subject: Subject, phone: Phone, gateway: ScriptedGateway, clock: ManualClock
) -> None:
    await phone.bye(4300, "session_ended", window_s=(4.0, 8.0))
    await clock.advance(1)
    subject.realtime.background()
    await clock.advance(1000)
    assert subject.log_ons == 0
    subject.realtime.foreground()
    await (await gateway.phone()).receive(frames.Hello)
    assert subject.log_ons == 0


@pytest.mark.parametrize("code", [ErrorCode.INVALID_CREDENTIALS, ErrorCode.ALREADY_LOGGED_ON])
async def test_a_log_on_that_waiting_cannot_mend_is_the_end(
    subject: Subject, phone: Phone, clock: ManualClock, code: ErrorCode
) -> None:
    subject.refusals = [GatewayError(code, "No.")]
    await phone.bye(4300)
    await clock.advance(0.25)
    assert subject.realtime.ended == Ended(4300, code.value, None)
    assert subject.log_ons == 1
