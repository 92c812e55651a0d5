"""Commands of a user at the owner."""

from __future__ import annotations

import asyncio
import math
from functools import partial
from typing import Final

import pytest

from gateway.domain.commands import (
    Call,
    Execute,
    ExtendPostProcessing,
    Listen,
    Outcome,
    SetAgentRoutingState,
    Status,
)
from gateway.domain.errors import CloseCode, ErrorCode, GatewayError
from gateway.domain.model import LONG_AGO, Application
from gateway.domain.upstream import Feature
from tests.runtime.scene import FakePhone, Scene, shown_after, user

_WORK: Final = {"kind": "agent.routing_state.set", "agent_id": "7", "state": "work", "when": "now"}


def _runs(at: Scene) -> int:
    return len(at.asked(Execute))


def _mute(at: Scene) -> None:
    at.link().mute()


def _call(phone: FakePhone, key: str = "k", *, left_ms: int = 5_000, retry: bool = False) -> Call:
    at = phone.scene
    deadline_ms = at.clock.wall_ms() + left_ms
    command = SetAgentRoutingState("7", "work")
    return Call(key, phone.ticket.handle, command, at.owner().epoch, retry, deadline_ms)


async def _unmute(at: Scene) -> None:
    at.link().unmute()
    await at.clock.settle()


async def test_a_command_is_waited_for_until_its_deadline_unless_its_user_is_let_go(at: Scene) -> None:
    phone = await at.served()
    _mute(at)
    phone.command("1", "1", expires_at_ms=at.clock.wall_ms() + 20_000)
    await at.pass_time(19)
    assert phone.result("1") is None
    await _unmute(at)
    assert phone.result("1") == {"status": "applied"}
    _mute(at)
    await phone.send_command("2", "2", expires_at_ms=at.clock.wall_ms() + 60_000)
    at.owner().stop()
    link = at.link()
    await at.pass_time(2)
    assert phone.outcome("2") == ("unknown", "upstream_timeout")
    assert not link.open


async def test_a_result_on_a_new_link_comes_after_the_state_that_it_caused(at: Scene) -> None:
    phone = await at.served()
    at.upstream.slow = lambda request: isinstance(request, Listen)
    at.upstream.drop(user(1))
    await at.pass_time(2)
    await phone.send_command("1", "1")
    assert _runs(at) == 1
    assert phone.result("1") is None
    at.link().serve_held()
    await at.clock.settle()
    assert phone.result("1") == {"status": "applied"}
    result = next(place for place, frame in enumerate(phone.frames) if frame["kind"] == "result")
    assert shown_after(phone.frames[:result])["agent:7"]["routing_state"] == "unavailable"


async def test_a_result_waits_for_the_first_answers_of_a_link_until_its_deadline(at: Scene) -> None:
    phone = await at.served()
    at.upstream.slow = lambda request: isinstance(request, Listen)
    at.upstream.drop(user(1))
    await at.pass_time(2)
    phone.command("1", "1", expires_at_ms=at.clock.wall_ms() + 5_000)
    await at.pass_time(4)
    assert phone.result("1") is None
    await at.pass_time(2)
    assert phone.result("1") == {"status": "applied"}


async def test_without_a_link_a_command_is_refused(at: Scene) -> None:
    phone = await at.served()
    at.upstream.unreachable = True
    at.upstream.drop(user(1))
    await at.clock.settle()
    assert await phone.send_command("1", "1") == ("rejected", "upstream_unavailable")


@pytest.mark.parametrize("settled", [False, True])
async def test_a_command_that_a_link_could_not_send_since_it_had_just_ended_is_refused(
    at: Scene, settled: bool
) -> None:
    phone = await at.served()
    at.upstream.unreachable = True
    at.upstream.drop(user(1))
    if settled:
        await at.clock.settle()
    assert await phone.send_command("1", "1") == ("rejected", "upstream_unavailable")
    assert await phone.send_command("2", "1", retry=True) == ("rejected", "upstream_unavailable")
    assert _runs(at) == 0


async def test_an_answer_of_oscc_e_is_passed_on_as_it_is(at: Scene) -> None:
    phone = await at.served()
    at.upstream.refusals[Execute] = GatewayError(ErrorCode.REASON_REQUIRED, "say why")
    await phone.send_command("1", "1")
    assert phone.result("1") == {
        "status": "rejected",
        "error": {"code": "reason_required", "message": "say why"},
    }


async def test_a_phone_whose_session_is_unknown_to_oscc_e_gets_that_as_the_result_and_then_the_bye(
    at: Scene,
) -> None:
    phone, other = await at.served(), await at.served(device="d2")
    at.upstream.refusals[Execute] = GatewayError(ErrorCode.SESSION_ENDED, "The session has ended.")
    del at.upstream.live[phone.ticket.secret]
    assert await phone.send_command("1", "1") == ("rejected", "session_ended")
    assert [phone.code] == [None], "the link may report how it ended"
    await at.pass_time(1)
    assert (phone.code, other.code) == (CloseCode.SESSION_ENDED, None)
    assert [frame["kind"] for frame in phone.frames if frame["kind"] in {"result", "bye"}] == [
        "result",
        "bye",
    ]


async def test_a_session_that_lives_is_not_told_that_it_ended_when_it_repeats_the_command_of_one_that_did(
    at: Scene,
) -> None:
    phone, waits = await at.served(), await at.served(device="d2")
    at.upstream.refusals[Execute] = GatewayError(ErrorCode.SESSION_ENDED, "The session has ended.")
    _mute(at)
    for each in (phone, waits):
        await each.send_command("1", "1", retry=each is waits)
    await _unmute(at)
    later = await at.served(device="d3")
    assert phone.outcome() == ("rejected", "session_ended")
    assert waits.outcome() == ("rejected", "upstream_unavailable")
    assert await later.send_command("1", "1", retry=True) == ("rejected", "upstream_unavailable")
    assert len(at.asked(Execute)) == 1


@pytest.mark.parametrize("by_ms", [3_600_000, -3_600_000])
async def test_no_deadline_is_later_because_this_nodes_clock_was_set(at: Scene, by_ms: int) -> None:
    phone = await at.served()
    server_ms = phone.server_ms()
    at.clock.jump_wall(by_ms)
    await phone.send_command("1", "1")
    assert [asked.not_after_ms - server_ms for asked in at.asked(Execute)] == [10_000]


async def test_no_deadline_is_later_because_another_link_has_another_clock(at: Scene) -> None:
    at.services.offsets.nearest(-1_500, at.clock.now())
    phone = await at.served()
    assert at.owner().mirror.offset_ms == -1_500
    deadline_ms = at.clock.wall_ms() + 5_000
    await phone.send_command("1", "1", expires_at_ms=deadline_ms)
    assert at.asked(Execute)[0].not_after_ms == deadline_ms


async def test_too_many_commands_are_refused_and_the_others_go_on(at: Scene) -> None:
    phone, twin = await at.served(), await at.served(device="d2")
    _mute(at)
    for number in range(9):
        phone.command(str(number), str(number))
    await twin.send_command("1", "77")
    assert (phone.outcome("8") or ("",))[0] == "rejected"
    assert at.owner().execution.in_flight == 9
    await _unmute(at)
    assert all(phone.result(str(number)) is not None for number in range(9))
    assert twin.result("1") is not None
    assert at.owner().execution.in_flight == 0


async def test_a_server_that_does_not_fence_links_is_commanded_under_the_lease_only(at: Scene) -> None:
    at.upstream.features = frozenset(Feature) - {Feature.LINK_FENCING}
    phone = await at.served()
    assert await phone.send_command("1", "1") == ("applied", None)
    lease = at.owner().lease
    lease.ask(at.clock.now())
    lease.refused()
    assert await phone.send_command("2", "2") == ("rejected", "bus_down")
    assert _runs(at) == 1


async def test_on_a_fenced_link_the_lease_does_not_matter(at: Scene) -> None:
    phone = await at.served()
    lease = at.owner().lease
    lease.ask(at.clock.now())
    lease.refused()
    assert await phone.send_command("1", "1") == ("applied", None)


async def test_what_comes_too_late_or_to_an_owner_that_has_ended_is_not_sent(at: Scene) -> None:
    phone = await at.served()
    owner, late, in_time = at.owner(), _call(phone, left_ms=0), _call(phone)
    outcomes: list[Outcome | None] = []
    owner.execution.execute(late, outcomes.append)
    assert [one and one.error and one.error.code for one in outcomes] == [ErrorCode.EXPIRED]
    assert _runs(at) == 0
    owner.stop()
    await at.clock.settle()
    owner.execution.execute(in_time, outcomes.append)
    assert outcomes[1:] == [None], "the next owner is to be asked"
    assert _runs(at) == 0


async def test_a_command_cancelled_before_its_first_step_is_unknown_when_its_owner_ends(at: Scene) -> None:
    phone = await at.served()
    owner, call, outcomes = at.owner(), _call(phone), list[Outcome | None]()
    at.link().is_full = True
    before = asyncio.all_tasks()
    owner.execution.execute(call, outcomes.append)
    (begun,) = asyncio.all_tasks() - before
    begun.cancel()
    owner.stop()
    await at.clock.settle()
    assert [outcome and outcome.status for outcome in outcomes] == [Status.UNKNOWN]
    assert _runs(at) == 0


async def test_what_the_server_cannot_do_is_not_asked_of_it(at: Scene) -> None:
    at.upstream.features = frozenset(Feature) - {Feature.POST_PROCESSING_EXTEND}
    phone = await at.served("bert", Application.REMOTE_ASSISTANT, number="+49301234567")
    phone.command("1", "1", command={"kind": "post_processing.extend", "until_ms": 5})
    await phone.send_command("2", "2", command={"kind": "post_processing.start"})
    assert phone.outcome("1") == ("rejected", "unsupported_by_upstream")
    assert phone.outcome("2") == ("applied", None)
    assert _runs(at) == 1


async def test_no_command_overtakes_one_whose_sending_takes_time(at: Scene) -> None:
    phone = await at.served()
    at.link().is_full = True
    phone.command("1", "1")
    at.link().is_full = False
    await phone.send_command("2", "2")
    assert [asked.key[-1] for asked in at.asked(Execute)] == list("12")


async def test_a_command_whose_sending_failed_is_under_way_no_longer(at: Scene) -> None:
    phone = await at.served()
    at.link().fault = RuntimeError("a bug")
    with pytest.raises(RuntimeError):
        phone.command("1", "1")
    assert phone.outcome("1") == ("unknown", "upstream_timeout")
    assert at.owner().execution.in_flight == 0


async def test_one_key_has_one_outcome_for_all_who_send_it_while_it_is_under_way(at: Scene) -> None:
    phone, twin = await at.served(), await at.served(device="d2")
    _mute(at)
    phone.command("1", "1")
    twin.command("2", "1")
    twin.command("3", "2")
    twin.command("4", "1", retry=True)
    twin.command("5", "1", command=_WORK, retry=True)
    assert at.owner().execution.in_flight == 2
    assert twin.outcome("5") == ("rejected", "key_reused")
    await _unmute(at)
    assert [phone.outcome("1"), twin.outcome("2"), twin.outcome("4")] == [("applied", None)] * 3
    assert _runs(at) == 2


async def test_waits_are_bounded_by_the_earliest_deadline_whenever_it_was_set(at: Scene) -> None:
    phone = await at.served()
    _mute(at)
    for number, left_s in enumerate((9, 3, 6), start=1):
        phone.command(str(number), str(number), expires_at_ms=at.clock.wall_ms() + left_s * 1000)
    await at.pass_time(3)
    phone.command("4", "4", expires_at_ms=at.clock.wall_ms() + 1_000)
    assert [phone.outcome(str(each)) is None for each in range(1, 5)] == [True, False, True, True]
    await at.pass_time(2)
    assert [phone.outcome(str(each)) is None for each in range(1, 5)] == [True, False, True, False]
    await at.pass_time(5)
    phone.command("5", "5", expires_at_ms=at.clock.wall_ms() + 2_000)
    await at.pass_time(3)
    assert [phone.outcome(str(each)) for each in range(1, 6)] == [("unknown", "upstream_timeout")] * 5
    await _unmute(at)
    assert at.owner().execution.in_flight == 0


async def test_a_fault_of_one_caller_leaves_the_other_callers_and_later_waits_as_they_are(
    at: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    phone, twin = await at.served(), await at.served(device="d2")
    _mute(at)
    with monkeypatch.context() as patch:
        patch.setattr(phone, "_settled", fail)
        phone.command("1", "1", expires_at_ms=at.clock.wall_ms() + 1_000)
        twin.command("1", "1", retry=True)
        twin.command("9", "9", expires_at_ms=at.clock.wall_ms() + 1_000)
        await at.pass_time(2)
    assert [twin.outcome(each) for each in "19"] == [("unknown", "upstream_timeout")] * 2
    assert [record.getMessage() for record in caplog.records] == ["command_failed"]
    phone.command("2", "2", expires_at_ms=at.clock.wall_ms() + 2_000)
    await at.pass_time(3)
    assert phone.outcome("2") == ("unknown", "upstream_timeout")


async def test_instants_of_a_command_are_in_the_servers_time_and_come_back_in_ours(at: Scene) -> None:
    phone = await at.served("bert", Application.REMOTE_ASSISTANT, number="+49301234567")
    at.owner(7).mirror._server.offset_ms = 750
    refusal = GatewayError(ErrorCode.LIMIT_REACHED, "no longer", until_ms=9_000)
    at.upstream.refusals[Execute] = refusal
    await phone.send_command("1", "1", command={"kind": "post_processing.extend", "until_ms": 10_750})
    assert at.asked(Execute)[0].command == ExtendPostProcessing(10_000)
    assert phone.error("1")["until_ms"] == 9_750


async def test_an_acknowledgement_asks_nobody_and_is_remembered_by_its_key(at: Scene) -> None:
    phone = await at.served()
    at.upstream.unreachable = True
    at.upstream.drop(user(1))
    await at.clock.settle()
    wanted = {"kind": "notices.acknowledge", "notice_id": "terms", "version": 2}
    phone.command("1", "1", command=wanted)
    await phone.send_command("2", "1", command=wanted | {"version": 3})
    assert phone.outcome("1") == ("applied", None)
    assert phone.outcome("2") == ("rejected", "key_reused")
    assert _runs(at) == 0


async def test_no_command_overtakes_one_that_waits_for_the_history_of_the_last_owner(at: Scene) -> None:
    phone = await at.served()
    owner = at.owner()
    owner._history_by = math.inf
    phone.command("1", "1", retry=True)
    phone.command("2", "2")
    phone.command("3", "3", expires_at_ms=at.clock.wall_ms() + 1_000)
    await at.pass_time(1.1)
    assert [phone.outcome(each) for each in "123"] == [None, None, ("rejected", "expired")]
    owner._history_by = LONG_AGO
    owner.answered()
    await at.clock.settle()
    assert [asked.key[-1] for asked in at.asked(Execute)] == list("12")
    assert phone.outcome("2") == ("unchanged", None)


async def test_a_command_that_is_sent_again_without_a_link_has_the_outcome_that_it_had(at: Scene) -> None:
    phone = await at.served()
    assert await phone.send_command("1", "1") == ("applied", None)
    at.upstream.unreachable = True
    at.upstream.drop(user(1))
    await at.clock.settle()
    assert await phone.send_command("2", "1", retry=True) == ("applied", None)
    assert await phone.send_command("3", "2", retry=True) == ("unknown", "owner_lost")


async def test_a_command_whose_phone_left_while_it_waited_holds_back_no_other(at: Scene) -> None:
    phone, twin = await at.served(), await at.served(device="d2")
    owner, member = at.owner(), at.member(phone)
    owner.link_health.is_taking_over, member.on_link = True, False
    leave = owner.execution.execute(_call(phone), partial(pytest.fail, "it left"))
    twin.command("2", "2")
    await at.clock.settle()
    assert twin.outcome("2") is None
    leave()
    await at.clock.settle()
    assert twin.outcome("2") == ("applied", None)


@pytest.mark.parametrize("is_given", [True, False])
async def test_what_waits_for_the_history_goes_to_the_next_owner_at_once(at: Scene, is_given: bool) -> None:
    phone = await at.served()
    owner, outcomes = at.owner(), list[Outcome | None]()
    owner._history_by = math.inf
    _, _, leave = (
        owner.execution.execute(_call(phone, key, retry=True), partial(outcomes.append)) for key in "123"
    )
    leave()
    if is_given:
        await owner.execution.give(1.0)
    else:
        owner.execution.run_in(None)
    assert outcomes == [None, None]
    assert owner.execution.in_flight == 0
    await at.clock.settle()
    assert not owner._running, "no task waits"
    owner.execution.run_in(owner)
