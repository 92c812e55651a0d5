"""Log-on, log-off, log-offs that were not confirmed, and changes of the remote number."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

import pytest

from gateway.bus.memory import MemoryStore
from gateway.core.log_ons import name_hash
from gateway.core.rate_limits import AdmissionQueue, Budget, Quota
from gateway.domain.commands import Execute, NumberAct
from gateway.domain.errors import CloseCode, ErrorCode, GatewayError
from gateway.domain.model import Application, Device, NodeId, SessionId, SessionSecret
from gateway.domain.upstream import LoggedOff, LogOn, SessionInfo
from gateway.runtime.accounts import LogOns
from gateway.runtime.node import NodeSettings
from gateway.runtime.sessions import RETRY_S, OtherNodes
from tests.doubles.clock import ManualClock
from tests.doubles.fake_upstream import FakeUpstream
from tests.doubles.tasks import beside
from tests.runtime.nodes import Nodes
from tests.runtime.rivals import Gate, Gates, begin
from tests.runtime.scene import FakePhone, Scene, scene, user

ASSISTANT = Application.REMOTE_ASSISTANT
DASHBOARD = Application.DASHBOARD
COUNTERS = 3
"""Which all nodes share, and a log-on looks at."""


def _credentials(password: str = "secret", login: str = "anna") -> LogOn:
    return LogOn(DASHBOARD, login, password, Device("d1", "Phone"))


@pytest.mark.parametrize("login", ["anna", "nobody"])
async def test_wrong_passwords_lock_a_name_whether_or_not_it_exists(at: Scene, login: str) -> None:
    codes = [await _outcome(at, _credentials("wrong", login)) for _ in range(4)]
    assert _codes(codes) == [ErrorCode.INVALID_CREDENTIALS] * 3 + [ErrorCode.ACCOUNT_LOCKED]
    locked = await _outcome(at, _credentials(login=login))
    assert _codes([locked]) == [ErrorCode.ACCOUNT_LOCKED]
    assert ((locked and locked.retry_after_s) or 0) > 0


async def _outcome(at: Scene, credentials: LogOn, address: str = "") -> GatewayError | None:
    """Return how a log-on was refused; None when it was not."""
    try:
        await at.node.account.log_on("main", credentials, address)
    except GatewayError as error:
        return error
    return None


def _codes(outcomes: Iterable[GatewayError | None]) -> list[ErrorCode | None]:
    return [None if each is None else each.code for each in outcomes]


async def _code(at: Scene, password: str) -> ErrorCode | None:
    refused = await _outcome(at, _credentials(password))
    return None if refused is None else refused.code


async def test_of_wrong_passwords_that_come_at_once_no_more_are_shown_than_one_after_the_other(
    at: Scene, gates: Gates, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared, gate = at.cluster.shared, Gate()
    counted = shared.counted

    async def slowly(name: str) -> int:
        await gate.passed()
        return await counted(name)

    monkeypatch.setattr(shared, "counted", slowly)
    gate.shut()
    gates.asks.shut()
    trying = [begin(at, _code(at, "wrong")) for _ in range(15)]
    await at.clock.settle()
    assert (gate.waiting, gates.asks.waiting) == (15 * COUNTERS, 0)
    gate.open()
    await at.clock.settle()
    assert gates.asks.waiting == 3
    gates.asks.open()
    codes = Counter([await each for each in trying])
    assert codes == {ErrorCode.INVALID_CREDENTIALS: 3, ErrorCode.RATE_LIMITED: 12}
    assert await _code(at, "wrong") is ErrorCode.ACCOUNT_LOCKED


async def test_a_right_password_beside_a_wrong_one_forgets_nothing(at: Scene, gates: Gates) -> None:
    gates.asks.shut()
    trying = [begin(at, _code(at, password)) for password in ("wrong", "secret")]
    await at.clock.settle()
    gates.asks.open()
    assert [await each for each in trying] == [ErrorCode.INVALID_CREDENTIALS, None]
    shared, name = at.cluster.shared, name_hash("main", "anna").hex()
    assert await shared.counted(name) == 1
    assert await _code(at, "secret") is None
    assert await shared.counted(name) == 0


async def test_log_ons_wait_for_their_turn_and_a_crowd_gets_appointments_one_after_the_other() -> None:
    async with scene(NodeSettings(NodeId("n1"), "n1-1", log_ons_per_s=2.0)) as at:
        at.upstream.add_user(21, "cora")
        await at.node.account.log_on("main", _credentials())
        waiting = [begin(at, _outcome(at, _credentials(login="cora"))) for _ in range(2)]
        await at.clock.settle()
        crowd = [begin(at, _outcome(at, _credentials(login=f"nobody{number}"))) for number in range(5)]
        await at.clock.settle()
        refused = [await each for each in crowd]
        waits = [error.retry_after_s for error in refused if isinstance(error, GatewayError)]
        assert waits == [pytest.approx(3.0 + 1.1 * number) for number in range(5)]
        await at.clock.advance(1.9)
        assert [each.done() for each in waiting] == [True, False]
        await at.clock.advance(0.2)
        assert [await each for each in waiting] == [None, None]
        assert at.node.sizes["log_ons_waiting"] == 0


async def test_four_strangers_lock_nobody_out_who_comes_from_elsewhere(at: Scene) -> None:
    codes = [await _outcome(at, _credentials("wrong"), "192.0.2.1") for _ in range(4)]
    assert _codes(codes) == [ErrorCode.INVALID_CREDENTIALS] * 3 + [ErrorCode.ACCOUNT_LOCKED]
    assert await _outcome(at, _credentials(), "192.0.2.2") is None


async def test_a_device_that_had_a_session_may_try_whatever_others_did() -> None:
    own = Device("0d3bd2a2-7b1f-4c0e-9f55-6a1c2b7e8d10", "Phone")
    async with scene() as at:
        assert await _outcome(at, replace(_credentials(), device=own), "192.0.2.9") is None
        for number in range(6):
            await _outcome(at, _credentials("wrong"), f"192.0.2.{number}")
        assert _codes([await _outcome(at, _credentials(), "192.0.2.9")]) == [ErrorCode.ACCOUNT_LOCKED]
        for device in (Device("0d3bd2a2-7b1f-4c0e-9f55-6a1c2b7e8d11", "Phone"), Device("d1", "Phone")):
            refused = await _outcome(at, replace(_credentials(), device=device), "192.0.2.9")
            assert _codes([refused]) == [ErrorCode.ACCOUNT_LOCKED]
        assert await _outcome(at, replace(_credentials(), device=own), "192.0.2.9") is None


@pytest.mark.parametrize(
    "device", ["d1", "board-of-the-second-floor", "0d3bd2a2-7b1f-1c0e-9f55-6a1c2b7e8d10"]
)
async def test_an_id_of_a_device_that_may_be_guessed_proves_nothing(device: str) -> None:
    known = replace(_credentials(), device=Device(device, "Phone"))
    async with scene() as at:
        assert await _outcome(at, known) is None
        for _ in range(3):
            await _outcome(at, replace(known, password="wrong"))
        assert _codes([await _outcome(at, known)]) == [ErrorCode.ACCOUNT_LOCKED]


async def test_that_oscc_e_locked_an_account_looks_like_a_wrong_password_and_counts_as_one(at: Scene) -> None:
    locked = GatewayError(ErrorCode.ACCOUNT_LOCKED, "locked", retry_after_s=60)
    at.upstream.log_on_refusals.extend([locked] * 4)
    codes = [await _outcome(at, _credentials()) for _ in range(4)]
    assert _codes(codes) == [ErrorCode.INVALID_CREDENTIALS] * 3 + [ErrorCode.ACCOUNT_LOCKED]
    assert len(at.upstream.log_on_refusals) == 1


async def test_ten_numbers_by_ten_log_ons_are_changes_of_the_number(at: Scene) -> None:
    codes = []
    for last in range(10):
        number = f"+4930123456{last}"
        codes.append(
            await _outcome(
                at, replace(_credentials(login="bert"), remote_number=number, application=ASSISTANT)
            )
        )
    assert _codes(codes) == [None] * 4 + [ErrorCode.RATE_LIMITED] * 6
    same = replace(_credentials(login="bert"), remote_number="+49301234563", application=ASSISTANT)
    assert [await _outcome(at, same) for _ in range(5)] == [None] * 5
    at.clock.stand_still(3601)
    other = replace(same, remote_number="+49301234569")
    assert await _outcome(at, other) is None


async def test_ten_log_ons_with_ten_numbers_at_once_change_it_no_more_often(at: Scene, gates: Gates) -> None:
    gates.asks.shut()
    bert = replace(_credentials(login="bert"), application=ASSISTANT, takeover=True)
    trying = [
        begin(at, _outcome(at, replace(bert, remote_number=f"+4930123456{last}"), f"192.0.2.{last}"))
        for last in range(10)
    ]
    await at.clock.settle()
    gates.asks.open()
    await at.clock.advance(2.0)
    codes = Counter(_codes([await each for each in trying]))
    assert codes == {None: 4, ErrorCode.RATE_LIMITED: 6}


async def test_a_log_on_of_a_dead_process_holds_the_next_up_for_20_s(monkeypatch: pytest.MonkeyPatch) -> None:
    async def lost(*_: object) -> None:
        """End nothing: the process is gone."""

    async with scene() as at:
        bert = replace(_credentials(login="bert"), remote_number="+49301234560", application=ASSISTANT)
        with monkeypatch.context() as patched:
            patched.setattr(MemoryStore, "end_reservation", lost)
            assert await _outcome(at, bert) is None
        again = begin(at, _outcome(at, replace(bert, takeover=True)))
        await at.clock.advance(4)
        assert _codes([await again]) == [ErrorCode.RATE_LIMITED]
        await at.clock.advance(16)
        again = begin(at, _outcome(at, replace(bert, takeover=True)))
        await at.clock.advance(4)
        assert await again is None


async def test_the_turn_of_a_process_that_is_no_live_node_any_more_ends_at_once() -> None:
    clock, living = ManualClock(), ["n1", "n2"]
    store = MemoryStore(clock)
    centre = FakeUpstream(clock)
    centre.add_user(2, "bert", own_agent=2)
    budget = AdmissionQueue(Budget(rate_per_s=20.0, burst=20.0, in_flight_max=20))
    node = LogOns(
        {"main": budget}, clock, OtherNodes(store, "n1", lambda: living), Quota(most=3, window_s=3600.0)
    )
    turn = name_hash("main", "bert", "numbers", "turn").hex()
    await store.reserve(turn, "n2 0", 20.0)
    bert = replace(_credentials(login="bert"), remote_number="+49301234560", application=ASSISTANT)

    async with beside(node.log_on(centre, "main", bert, "192.0.2.1")) as waiting:
        await clock.advance(1.0)
        assert not waiting.done(), "n2 lives"
        living.remove("n2")
        await clock.advance(0.2)
        assert waiting.done()


async def test_a_log_on_with_another_number_that_failed_changed_nothing(at: Scene) -> None:
    first = replace(_credentials(login="bert"), remote_number="+49301234560", application=ASSISTANT)
    assert await _outcome(at, first) is None
    at.upstream.log_on_refusals.extend([GatewayError(ErrorCode.REMOTE_NUMBER_IN_USE, "in use")] * 5)
    for last in range(1, 6):
        refused = await _outcome(at, replace(first, remote_number=f"+4930123456{last}"))
        assert _codes([refused]) == [ErrorCode.REMOTE_NUMBER_IN_USE]
    for last in range(1, 4):
        assert await _outcome(at, replace(first, remote_number=f"+4930123456{last}")) is None


async def test_a_confirmed_log_off_closes_the_phone_and_refuses_its_token(at: Scene) -> None:
    phone = await at.served("bert", ASSISTANT, number="1234")
    assert await at.node.account.log_off(phone.ticket) == LoggedOff("removed", None)
    await at.clock.settle()
    assert (phone.ended.code, phone.ended.by) == (CloseCode.LOGGED_OFF, "self")
    assert at.upstream.routing == {}
    assert len(at.node.account.log_offs) == 0
    again = await at.again(phone)
    assert again.code == CloseCode.LOGGED_OFF
    assert not at.node.user_states


async def test_an_unconfirmed_log_off_is_pending_and_retried_until_it_is_confirmed(at: Scene) -> None:
    phone = await at.served("bert", ASSISTANT, number="1234")
    at.upstream.unreachable = True
    answer = await at.node.account.log_off(phone.ticket)
    assert phone.closed is not None, "at once, also when no other node can be reached"
    await at.clock.settle()
    assert answer.routing == "after_contact"
    assert answer.routed_until_ms == at.clock.wall_ms() + phone.ticket.idle_timeout_s * 1_000
    await at.clock.advance(10 * RETRY_S)
    assert len(at.node.account.log_offs) == 1
    assert at.upstream.routing != {}
    at.upstream.unreachable = False
    await at.clock.advance(2 * RETRY_S)
    assert len(at.node.account.log_offs) == 0
    assert at.upstream.routing == {}


async def test_a_log_off_is_retried_until_routing_ends(at: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    phone = await at.served("bert", ASSISTANT, number="1234")
    answers = [LoggedOff("after_contact", 77), LoggedOff("after_contact", 77), LoggedOff("removed", None)]

    async def log_off(_: object) -> LoggedOff:
        return answers.pop(0)

    monkeypatch.setattr(at.upstream, "log_off", log_off)
    assert await at.node.account.log_off(phone.ticket) == LoggedOff("after_contact", 77)
    await at.clock.advance(RETRY_S)
    assert len(at.node.account.log_offs) == 1
    await at.clock.advance(RETRY_S)
    assert (len(at.node.account.log_offs), answers) == (0, [])


async def test_a_log_off_is_given_up_when_the_session_is_over_anyway(at: Scene) -> None:
    phone = await at.phone("bert", ASSISTANT, number="1234")
    at.upstream.unreachable = True
    at.clock.jump_wall(phone.ticket.expires_at_ms - at.clock.wall_ms() - 12_000)
    answer = await at.node.account.log_off(phone.ticket)
    assert answer.routed_until_ms == phone.ticket.expires_at_ms
    await at.clock.advance(10)
    assert len(at.node.account.log_offs) == 1
    await at.clock.advance(10)
    assert len(at.node.account.log_offs) == 0


async def test_a_log_off_with_an_expired_token_is_tried_until_an_idle_session_is_over(at: Scene) -> None:
    phone = await at.phone("bert", ASSISTANT, number="1234")
    at.upstream.unreachable = True
    at.clock.jump_wall(phone.ticket.expires_at_ms - at.clock.wall_ms() + 1_000)
    idle_s = phone.ticket.idle_timeout_s
    answer = await at.node.account.log_off(phone.ticket)
    assert answer.routed_until_ms == at.clock.wall_ms() + idle_s * 1_000
    await at.clock.advance(idle_s - RETRY_S)
    assert len(at.node.account.log_offs) == 1
    at.upstream.unreachable = False
    await at.clock.advance(2 * RETRY_S)
    assert at.upstream.routing == {}
    assert len(at.node.account.log_offs) == 0


@pytest.mark.parametrize("reached", [False, True])
async def test_a_logged_off_session_is_never_served_again_after_a_log_on(at: Scene, reached: bool) -> None:
    phone = await at.served()
    at.upstream.unreachable = not reached
    await at.node.account.log_off(phone.ticket)
    at.upstream.unreachable = False
    await at.clock.advance(1)
    await at.served(device="d2")
    for _ in range(3):
        line = await at.again(phone)
        assert line.code is CloseCode.LOGGED_OFF
        await at.pass_time(65)


async def test_sessions_are_listed_and_another_one_ended(at: Scene) -> None:
    phone, other = await at.served(), await at.served(device="d2")
    listed = await at.node.account.sessions(phone.ticket)
    assert {info.session for info in listed} == {phone.ticket.session, other.ticket.session}
    answer = await at.node.account.end(phone.ticket, other.ticket.session)
    await at.clock.settle()
    assert answer == LoggedOff("none", None)
    assert (other.ended.code, other.ended.by) == (CloseCode.LOGGED_OFF, phone.ticket.device.name)
    assert phone.closed is None
    with pytest.raises(GatewayError) as unknown:
        await at.node.account.end(phone.ticket, SessionId("none"))
    assert unknown.value.code is ErrorCode.NOT_FOUND
    assert user(1) in at.node.user_states


async def test_a_list_under_way_serves_all_who_ask_for_it(at: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    phone, other = await at.served(), await at.served(device="d2")
    listing, asked, gate = at.upstream.sessions, [], asyncio.Event()

    async def sessions(secret: SessionSecret) -> tuple[SessionInfo, ...]:
        asked.append(secret)
        await gate.wait()
        return await listing(secret)

    monkeypatch.setattr(at.upstream, "sessions", sessions)
    async with asyncio.TaskGroup() as tasks:
        works = [tasks.create_task(at.node.account.sessions(phone.ticket)) for _ in range(20)]
        elsewhere = tasks.create_task(at.node.account.sessions(other.ticket))
        await at.clock.settle()
        assert asked == [phone.ticket.secret, other.ticket.secret]
        gate.set()
    assert {len(work.result()) for work in works} == {2}
    assert len(elsewhere.result()) == 2
    await at.node.account.sessions(phone.ticket)
    assert len(asked) == 3


async def test_who_joined_a_list_learns_how_it_failed(at: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    phone, gate = await at.served(), asyncio.Event()

    async def sessions(_: object) -> tuple[SessionInfo, ...]:
        await gate.wait()
        raise GatewayError(ErrorCode.UPSTREAM_UNAVAILABLE, "not now")

    monkeypatch.setattr(at.upstream, "sessions", sessions)

    async def code() -> ErrorCode:
        with pytest.raises(GatewayError) as refused:
            await at.node.account.sessions(phone.ticket)
        return refused.value.code

    async with asyncio.TaskGroup() as tasks:
        works = [tasks.create_task(code()) for _ in range(3)]
        first = tasks.create_task(at.node.account.sessions(phone.ticket))
        await at.clock.settle()
        first.cancel()
        gate.set()
    assert {work.result() for work in works} == {ErrorCode.UPSTREAM_UNAVAILABLE}


async def test_one_end_of_another_session_at_a_time(at: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    phone, other = await at.served(), await at.served(device="d2")
    ending, asked, gate = at.upstream.end, [], asyncio.Event()

    async def end(secret: SessionSecret, session: SessionId) -> LoggedOff:
        asked.append(session)
        await gate.wait()
        return await ending(secret, session)

    monkeypatch.setattr(at.upstream, "end", end)
    async with beside(at.node.account.end(phone.ticket, other.ticket.session)) as first:
        await at.clock.settle()
        with pytest.raises(GatewayError) as refused:
            await at.node.account.end(phone.ticket, other.ticket.session)
        assert (refused.value.code, refused.value.retry_after_s) == (ErrorCode.RATE_LIMITED, 1.0)
        gate.set()
    assert (first.result(), asked) == (LoggedOff("none", None), [other.ticket.session])
    with pytest.raises(GatewayError) as unknown:
        await at.node.account.end(phone.ticket, other.ticket.session)
    assert unknown.value.code is ErrorCode.NOT_FOUND


async def test_of_another_session_that_ended_during_a_contact_it_is_reported_until_when_calls_may_come(
    at: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone, desk = (await at.served("bert", ASSISTANT, number="1234"), await at.served("bert", device="desk"))

    async def end(*_: object) -> LoggedOff:
        return LoggedOff("after_contact", 77)

    monkeypatch.setattr(at.upstream, "end", end)
    answer = await at.node.account.end(desk.ticket, phone.ticket.session)
    await at.clock.settle()
    assert answer == LoggedOff("after_contact", 77)
    assert (phone.ended.code, phone.ended.by) == (CloseCode.LOGGED_OFF, desk.ticket.device.name)
    assert len(at.node.account.log_offs) == 0
    assert desk.closed is None


@pytest.mark.parametrize("unreachable", [False, True])
async def test_ending_the_own_session_is_a_log_off(at: Scene, unreachable: bool) -> None:
    phone = await at.served("bert", ASSISTANT, number="1234")
    at.upstream.unreachable = unreachable
    answer = await at.node.account.end(phone.ticket, phone.ticket.session)
    await at.clock.settle()
    assert answer.routing == ("after_contact" if unreachable else "removed")
    assert (phone.ended.code, phone.ended.by) == (CloseCode.LOGGED_OFF, "self")
    assert len(at.node.account.log_offs) == int(unreachable)


async def test_a_site_that_does_not_exist_is_refused(at: Scene) -> None:
    with pytest.raises(GatewayError) as refused:
        await at.node.account.log_on("nowhere", _credentials())
    assert refused.value.code is ErrorCode.SITE_UNKNOWN


# ---- changes of remote numbers ----


NUMBERS = [f"+4930123456{last}" for last in range(10)]


async def _assistant(at: Scene) -> FakePhone:
    return await at.served("bert", Application.REMOTE_ASSISTANT, number="+49301234567")


async def _change(at: Scene, phone: FakePhone, turn: int) -> tuple[str, str | None] | None:
    await phone.send_command(
        str(turn), str(turn), command={"kind": "remote_number.change", "number": NUMBERS[turn]}
    )
    return phone.outcome(str(turn))


async def test_a_remote_number_is_changed_three_times_an_hour_at_most(at: Scene) -> None:
    phone = await _assistant(at)
    assert [await _change(at, phone, turn) for turn in range(3)] == [("applied", None)] * 3
    assert await _change(at, phone, 3) == ("rejected", "rate_limited")
    assert phone.error("3")["retry_after_s"] == 3600.0
    assert at.upstream.routing == {7: NUMBERS[2]}


async def test_the_number_in_effect_is_unchanged_also_when_no_change_is_left(at: Scene) -> None:
    phone = await _assistant(at)
    for turn in range(3):
        await _change(at, phone, turn)
    for key in ("20", "21"):
        assert await phone.send_command(
            key, key, command={"kind": "remote_number.change", "number": NUMBERS[2]}
        ) == ("unchanged", None)
    assert await _change(at, phone, 3) == ("rejected", "rate_limited"), "another number is still one too many"


async def test_only_changes_that_were_applied_count(at: Scene) -> None:
    phone = await _assistant(at)
    at.upstream.refusals[Execute] = GatewayError(ErrorCode.NOT_ALLOWED_WHILE_HANDLING, "busy")
    for turn in range(4):
        assert await _change(at, phone, turn) == ("rejected", "not_allowed_while_handling")
    at.upstream.refusals.clear()
    assert [await _change(at, phone, turn) for turn in range(4, 7)] == [("applied", None)] * 3


async def test_a_change_that_is_only_looked_up_is_called_expired_and_is_not_audited(at: Scene) -> None:
    phone = await _assistant(at)
    for turn in range(3):
        await _change(at, phone, turn)
    audited = list(at.audited)
    number = {"kind": "remote_number.change", "number": NUMBERS[5]}
    late_ms = at.clock.wall_ms() - 1_000
    assert await phone.send_command("5", "5", command=number, retry=True, expires_at_ms=late_ms) == (
        "rejected",
        "expired",
    )
    assert at.audited == audited


async def test_what_is_under_way_counts_until_it_came_to_nothing(at: Scene) -> None:
    phone = await _assistant(at)
    at.link(7).mute()
    for turn in range(4):
        number = {"kind": "remote_number.change", "number": NUMBERS[turn]}
        phone.command(str(turn), str(turn), command=number)
    await at.clock.settle()
    assert phone.outcome("3") == ("rejected", "rate_limited")
    assert len(at.asked(Execute)) == 3


async def test_numbers_are_audited_masked_at_log_on_and_at_each_change(at: Scene) -> None:
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


async def test_what_was_changed_counts_where_the_user_is_given_to_and_once_when_back(at: Nodes) -> None:
    phone = await _assistant(at.scenes[0])
    await at.served(1, "bert", device="d2", settled_s=7)
    assert [await _change(at.scenes[0], phone, turn) for turn in range(2)] == [("applied", None)] * 2
    for giver in (0, 1):
        assert at.owners(7) == [giver]
        await at.drain(giver, settled_s=10)
        at.scenes[giver].node.is_draining = False
    assert at.owners(7) == [0]
    assert await _change(at.scenes[0], phone, 2) == ("applied", None)
    await at.drain(0, settled_s=10)
    assert at.owners(7) == [1]
    phone.command("3", "3", command={"kind": "remote_number.change", "number": NUMBERS[3]})
    await at.pass_time(1)
    assert phone.outcome("3") == ("rejected", "rate_limited")
    assert at.upstream.routing == {7: NUMBERS[2]}
