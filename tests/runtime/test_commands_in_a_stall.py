"""Commands of followed users while Redis loses messages for a short time: each has its outcome soon after."""

from __future__ import annotations

from gateway.domain.commands import Execute
from gateway.protocol.envelopes import CallAnswer, CallRequest
from gateway.runtime.cluster import REPEATED_AFTER_S
from tests.runtime.followed import followed
from tests.runtime.scene import PhoneLine
from tests.runtime.street import Street

STALL_S = 1.6
SOON_S = 2.5
"""Time in which a node finds that its bus works again, and its messages have left."""


def stall(at: Street) -> None:
    """Lose all messages, and confirm none."""
    at.trouble.lose = lambda *_: True
    at.trouble.unanswered = lambda _: True


def end(at: Street) -> None:
    at.trouble.lose = at.trouble.unanswered = None


def executed(at: Street) -> list[str]:
    """Return the keys of the commands that OSCC-E got, without their leading zeros."""
    return [one.key[24:].lstrip("0") for _, one in at.upstream.requests if isinstance(one, Execute)]


def state_at_result(phone: PhoneLine, identity: str) -> object:
    """Return the agent's state that the phone showed when it received a result."""
    frames = phone.frames
    at = next(n for n, frame in enumerate(frames) if frame["kind"] == "result" and frame["id"] == identity)
    phone.frames = frames[:at]
    try:
        return phone.shown["agent:7"]["routing_state"]
    finally:
        phone.frames = frames


async def test_a_request_that_was_lost_is_sent_again(at: Street) -> None:
    _, far = await followed(at)
    stall(at)
    far.command("1", "1")
    await at.pass_time(STALL_S)
    assert executed(at) == []
    end(at)
    await at.pass_time(SOON_S)
    assert (far.result("1"), executed(at)) == ({"status": "applied"}, ["1"])
    assert state_at_result(far, "1") == "unavailable"


async def test_an_answer_that_was_lost_is_sent_again_after_the_state(at: Street) -> None:
    _, far = await followed(at)
    at.link().holds = lambda request: isinstance(request, Execute)
    far.command("1", "1")
    await at.clock.settle()
    stall(at)
    at.link().serve_held()
    await at.pass_time(STALL_S)
    assert (far.result("1"), executed(at)) == (None, ["1"])
    end(at)
    await at.pass_time(SOON_S)
    assert (far.result("1"), executed(at)) == ({"status": "applied"}, ["1"])
    assert state_at_result(far, "1") == "unavailable"


async def test_commands_of_a_stall_are_executed_before_later_ones(at: Street) -> None:
    _, far = await followed(at)
    stall(at)
    far.command("1", "1")
    far.command("2", "2")
    await at.pass_time(0.1)
    end(at)
    far.command("3", "3")
    await at.clock.settle()
    assert executed(at) == ["1", "2", "3"]
    await at.pass_time(SOON_S)
    assert [far.result(each) for each in "123"] == [{"status": "applied"}] + [{"status": "unchanged"}] * 2


async def test_a_repeated_command_that_is_denied_may_have_been_executed(at: Street) -> None:
    _, far = await followed(at)
    at.trouble.lose = lambda *received: isinstance(received[-1], CallAnswer)
    at.trouble.unanswered = lambda node: node == 1
    far.command("1", "1")
    await at.clock.settle()
    assert executed(at) == ["1"]
    end(at)
    owner = at.scenes[0].owner()
    owner.execution._is_closed = True  # as while it gives the user away
    at.trouble.lose = None
    await at.pass_time(REPEATED_AFTER_S + 0.25)
    assert far.outcome("1") == ("unknown", "owner_lost")
    assert executed(at) == ["1"]


async def test_a_command_is_unknown_by_its_deadline_in_a_long_stall(at: Street) -> None:
    _, far = await followed(at)
    stall(at)
    far.command("1", "1")
    await at.pass_time(12)
    assert far.outcome("1") == ("unknown", "upstream_timeout")
    sent = len(at.received(CallRequest))
    end(at)
    await at.pass_time(SOON_S)
    assert (executed(at), len(at.received(CallRequest))) == ([], sent)
