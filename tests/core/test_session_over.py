"""Commands without a result at the end of a session."""

from __future__ import annotations

import pytest

from gateway.core.session import Close, State
from gateway.domain.commands import Outcome, Status
from gateway.domain.errors import CloseCode, EndReason
from tests.core.samples import command, facts_of, frame
from tests.core.test_live import served
from tests.core.test_session import TICKET, led

LATE = Outcome(Status.APPLIED)
TOO_BIG = b" " * 16_385


@pytest.mark.parametrize("code", CloseCode)
def test_who_does_not_come_back_learns_that_his_commands_are_unknown(code: CloseCode) -> None:
    line = led(State.LIVE)
    for frame_id in ("c1", "c2"):
        line.send(command(frame_id))
    line.session.settled("c1", LATE)
    line.session.close(code, "x")
    assert line.session.settled("c2", LATE) == ()
    received = [(one.get("id"), one.get("outcome", {}).get("status")) for one in line.take()]
    comes_back = 4100 <= code < 4300 or code is CloseCode.REPLACED
    unknown = [] if comes_back else [("c2", "unknown")]
    assert received == [("c1", "applied"), *unknown, (None, None)]
    assert line.take() == []


@pytest.mark.parametrize(("leaves", "code"), [(frame("bye"), 1000), (TOO_BIG, 1009)])
def test_who_leaves_without_a_bye_of_ours_is_sent_nothing(leaves: bytes, code: int) -> None:
    line = led(State.LIVE)
    line.send(command())
    assert line.send(leaves) == (Close(code),)
    assert line.take() == []


def test_after_an_end_from_oscc_e_every_command_has_a_result_and_the_phone_keeps_its_view() -> None:
    line = led(State.LIVE)
    line.send(command())
    line.ledger.record("queue:1", None)
    line.session.learned(facts_of(TICKET, end=EndReason.TAKEN_OVER))
    result, bye = line.take()
    assert (result["outcome"]["error"]["code"], bye["code"]) == ("owner_lost", 4005)


def test_commands_of_one_name_are_counted_and_answered_each() -> None:
    phone = served()
    assert [len(phone.command("same")) for _ in range(9)] == [1] * 8 + [0]
    phone.take()
    phone.live.settled("same", Outcome(Status.APPLIED))
    assert [len(phone.command("same")) for _ in range(2)] == [1, 0]
    assert [result["outcome"]["status"] for result in phone.take()] == ["applied", "rejected"]
    phone.live.over()
    assert [result["outcome"]["status"] for result in phone.take()] == ["unknown"] * 8
