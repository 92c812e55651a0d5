"""Effect of each end of a connection, as documented."""

from __future__ import annotations

import pytest

from gateway.client.mirror import Ended
from gateway.domain.errors import GatewayError
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
    assert subject.received[-1] == expected
    assert len(subject.realtime.memory.mirror) == 0
    await clock.advance(100)
    assert not gateway.called
    assert subject.log_ons == 0
    with pytest.raises(GatewayError) as over:
        await subject.realtime.arrived()
    assert over.value.details == {"close_code": code, "reason": expected.reason, "by": expected.by}
