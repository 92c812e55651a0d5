"""Commands that meet each other, a revocation, or the loss of their link.

Each race is run in every order that its gates allow: a request may not have been read yet, or its
answer not been sent yet, when the other thing happens.
"""

from __future__ import annotations

import pytest

from gateway.domain.model import Application
from gateway.runtime.sessions import RETRY_S
from tests.doubles.fake_upstream import LIFE_MS
from tests.runtime.rivals import (
    ASSISTANT,
    NUMBER,
    OTHER_NUMBER,
    Gates,
    agent_phone,
    begin,
    change_number,
    executed,
)
from tests.runtime.scene import Scene, user

HELD = pytest.mark.parametrize("held", ["nothing", "request", "answer"])
APPLIED = ("applied", None)


# ---- the same key again ----


async def test_a_command_that_is_sent_again_after_its_user_was_let_go_keeps_its_outcome(at: Scene) -> None:
    phone = await at.served()
    await phone.send_command("1", "1")
    stream = phone.stream
    phone.bye()
    await at.pass_time(100)
    assert user(1) not in at.node.user_states
    phone = await at.again(phone)
    assert await phone.send_command("1", "1", retry=True, stream=stream) == APPLIED
    assert await phone.send_command("2", "2", retry=True, stream=stream) == ("unknown", "other_epoch")
    assert executed(at) == ["1"]


LOST = ("unknown", "owner_lost")
"""The outcome of a command whose session ended before its result came."""
LOGGED_OFF = (4005, "logged_off")


def _hold_log_ons(gates: Gates, held: str) -> None:
    if held == "request":
        gates.asks.shut()
    elif held == "answer":
        gates.answers.shut()


async def _let_log_ons_pass(at: Scene, gates: Gates) -> None:
    gates.asks.open()
    gates.answers.open()
    await at.clock.settle()


async def _gone(at: Scene) -> None:
    """Show that nothing is left of anybody's session."""
    await at.pass_time(2 * RETRY_S)
    assert (at.upstream.live, at.upstream.routing) == ({}, {})
    assert len(at.node.account.log_offs) == 0
    assert dict(at.node.user_states) == {}


# ---- log-off ----


@HELD
async def test_another_device_learns_what_became_of_a_command_whose_session_was_logged_off(
    at: Scene, gates: Gates, held: str
) -> None:
    phone, other = await at.served(), await at.served(device="d2")
    gates.hold(held, 1)
    await phone.send_command("1", "1")
    other.command("1", "1", retry=True)
    await at.node.account.log_off(phone.ticket)
    await gates.release(1)
    assert other.outcome() == (("rejected", "upstream_unavailable") if held == "request" else APPLIED)
    assert at.upstream.agent_state() == ("available" if held == "request" else "unavailable")
    assert await other.send_command("2", "1", retry=True) == other.outcome()
    assert executed(at) == ["1"]


# ---- hello ----


@HELD
@pytest.mark.parametrize("hello_first", [True, False])
async def test_a_hello_beside_a_log_off_is_never_served_after_it(
    at: Scene, gates: Gates, held: str, hello_first: bool
) -> None:
    phone = await at.phone("bert", ASSISTANT, number=NUMBER)
    _hold_log_ons(gates, held)
    gates.requests(7).shut()
    if hello_first:
        await phone.connect()
    leaving = begin(at, at.node.account.log_off(phone.ticket))
    if not hello_first:
        phone.hello()
    await at.clock.settle()
    assert phone.ending == LOGGED_OFF
    await _let_log_ons_pass(at, gates)
    await gates.release(7)
    assert (await leaving).routing == "removed"
    assert phone.of_kind("welcome") == []
    await _gone(at)


@HELD
@pytest.mark.parametrize("application", list(Application))
async def test_a_hello_of_the_old_session_beside_a_log_on_of_the_same_device(
    at: Scene, gates: Gates, held: str, application: Application
) -> None:
    old = await at.phone("bert", application, number=NUMBER)
    _hold_log_ons(gates, held)
    logging_on = begin(at, at.phone("bert", application, number=OTHER_NUMBER))
    await at.clock.settle()
    if held == "request":
        await old.connect()
        assert old.ending is None
    await _let_log_ons_pass(at, gates)
    new = await logging_on
    await new.connect()
    if held != "request":
        await old.connect()
    # a node that has no reason of the end makes a Dashboard log on again
    assert (
        old.ending
        == {
            ("request", ASSISTANT): (4005, "taken_over"),
            ("request", Application.DASHBOARD): (4005, "taken_over"),
            ("other", ASSISTANT): (4005, "unknown"),
            ("other", Application.DASHBOARD): (4300, "unknown"),
        }[("request" if held == "request" else "other", application)]
    )
    assert (new.ending, len(new.of_kind("welcome"))) == (None, 1)
    assert at.upstream.routing == ({7: OTHER_NUMBER} if application is ASSISTANT else {})


@HELD
@pytest.mark.parametrize("log_off", ["nothing", "request", "answer"])
async def test_a_take_over_while_the_old_phone_gives_a_command(
    at: Scene, gates: Gates, held: str, log_off: str
) -> None:
    old = await agent_phone(at)
    gates.hold(held, 7)
    _hold_log_ons(gates, log_off)
    taking = begin(at, at.phone("bert", ASSISTANT, device="d2", number=OTHER_NUMBER, takeover=True))
    await old.send_command("1", "1", command=change_number("+49303333333"))
    await _let_log_ons_pass(at, gates)
    new = await taking
    await gates.release(7)
    await new.connect()
    assert old.ending == (4005, "taken_over")
    # a log-on waits for its turn, so a command of the same moment is read before it
    in_time = held != "request"
    assert old.outcome() == (APPLIED if in_time else LOST)
    assert executed(at) == (["1"] if in_time or held == "answer" else [])
    assert (new.ending, new.shown["me"]["remote_number"]) == (None, OTHER_NUMBER)
    assert at.upstream.routing == {7: OTHER_NUMBER}


# ---- life ----


@pytest.mark.parametrize("held", ["request", "answer"])
async def test_no_renewal_outlives_a_log_off(at: Scene, gates: Gates, held: str) -> None:
    phone = await agent_phone(at)
    phone.facts.clear()
    _hold_log_ons(gates, held)
    at.clock.jump_wall(LIFE_MS * 2 // 3 + 1_000)
    await at.pass_time(2)
    leaving = begin(at, at.node.account.log_off(phone.ticket))
    await at.clock.settle()
    await _let_log_ons_pass(at, gates)
    assert (await leaving).routing == "removed"
    assert (phone.ending, phone.facts) == (LOGGED_OFF, [])
    await _gone(at)


@pytest.mark.parametrize("held", ["nothing", "answer"])
async def test_a_session_that_takes_the_place_of_the_only_one_shows_what_may_be_seen(
    at: Scene, gates: Gates, held: str
) -> None:
    """The end of the old session comes when the new one is being attached, and leaves nothing in sight."""
    await at.served()
    gates.hold(held, 1)
    new = await at.served()
    await gates.release(1)
    await at.pass_time(2)
    assert new.shown.keys() >= {"agent:7", "agent:8", "queue:5"}


async def test_of_two_hellos_of_a_session_that_takes_a_devices_place_the_later_is_served(
    at: Scene, gates: Gates
) -> None:
    """The old session is still there at the first hello, and has gone at the second."""
    await at.served()
    gates.hold("request", 1)
    gates.hold("answer", 1)
    first = await at.served()
    await gates.deliver(1)
    second = await at.again(first)
    await gates.release(1)
    assert (first.ending, second.ending) == ((4004, "replaced"), None)
    assert second.shown.keys() >= {"agent:7", "agent:8", "queue:5"}
