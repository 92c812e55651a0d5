"""Changes of remote numbers: their rate and their log lines."""

from __future__ import annotations

from gateway.domain.commands import Execute
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import Application, NumberAct
from tests.runtime.scene import PhoneLine, Scene, scene, user
from tests.runtime.street import street

NUMBERS = [f"+4930123456{last}" for last in range(10)]


async def _assistant(at: Scene) -> PhoneLine:
    return await at.served("bert", Application.REMOTE_ASSISTANT, number="+49301234567")


async def _change(at: Scene, phone: PhoneLine, turn: int) -> tuple[str, str | None] | None:
    phone.command(str(turn), str(turn), command={"kind": "remote_number.change", "number": NUMBERS[turn]})
    await at.clock.settle()
    return phone.outcome(str(turn))


async def test_a_remote_number_is_changed_three_times_an_hour_at_most() -> None:
    async with scene() as at:
        phone = await _assistant(at)
        assert [await _change(at, phone, turn) for turn in range(3)] == [("applied", None)] * 3
        assert await _change(at, phone, 3) == ("rejected", "rate_limited")
        outcome = phone.result("3")
        assert outcome is not None
        assert outcome["error"]["retry_after_s"] == 3600.0
        assert at.upstream.routing == {7: NUMBERS[2]}


async def test_only_changes_that_were_applied_count() -> None:
    async with scene() as at:
        phone = await _assistant(at)
        at.upstream.refusals[Execute] = GatewayError(ErrorCode.NOT_ALLOWED_WHILE_HANDLING, "busy")
        for turn in range(4):
            assert await _change(at, phone, turn) == ("rejected", "not_allowed_while_handling")
        at.upstream.refusals.clear()
        assert [await _change(at, phone, turn) for turn in range(4, 7)] == [("applied", None)] * 3


async def test_what_is_under_way_counts_until_it_came_to_nothing() -> None:
    async with scene() as at:
        phone = await _assistant(at)
        at.link(7).mute()
        for turn in range(4):
            number = {"kind": "remote_number.change", "number": NUMBERS[turn]}
            phone.command(str(turn), str(turn), command=number)
        await at.clock.settle()
        assert phone.outcome("3") == ("rejected", "rate_limited")
        assert len(at.asked(Execute)) == 3


async def test_numbers_are_audited_masked_at_log_on_and_at_each_change() -> None:
    async with scene() as at:
        phone = await _assistant(at)
        await _change(at, phone, 1)
        at.upstream.refusals[Execute] = GatewayError(ErrorCode.REMOTE_NUMBER_IN_USE, "taken")
        await _change(at, phone, 2)
        session = phone.ticket.session
        assert at.audited == [
            NumberAct(user(7), session, "log_on", "*********567", "applied"),
            NumberAct(user(7), session, "change", "*********561", "applied"),
            NumberAct(user(7), session, "change", "*********562", "remote_number_in_use"),
        ]


async def test_what_was_changed_counts_also_where_the_user_is_given_to_and_once_when_he_comes_back() -> None:
    async with street() as at:
        phone = await _assistant(at.scenes[0])
        await at.scenes[1].served("bert", device="d2")
        await at.pass_time(7)
        assert [await _change(at.scenes[0], phone, turn) for turn in range(2)] == [("applied", None)] * 2
        for giver in (0, 1):
            assert at.owners(7) == [giver]
            at.scenes[giver].node.drain()
            await at.pass_time(10)
            at.scenes[giver].node.is_draining = False
        assert at.owners(7) == [0]
        assert await _change(at.scenes[0], phone, 2) == ("applied", None)
        at.scenes[0].node.drain()
        await at.pass_time(10)
        assert at.owners(7) == [1]
        phone.command("3", "3", command={"kind": "remote_number.change", "number": NUMBERS[3]})
        await at.pass_time(1)
        assert phone.outcome("3") == ("rejected", "rate_limited")
        assert at.upstream.routing == {7: NUMBERS[2]}
