"""Is a command looked at before it goes on, and does it go on as it is but for its number?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.domain.commands import AcknowledgeNotice, Call, ChangeRemoteNumber, Command, SetRoutingState
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.edge.command_runner import CommandPrechecks, NumberPolicies, NumberPolicy
from gateway.edge.notices import NoticesInForce, NoticeText, OperatorNotice
from tests.doubles.clock import ManualClock
from tests.edge.visits import ticket_of

TICKET = ticket_of(ManualClock())
NOTICES = NoticesInForce(
    OperatorNotice(name, 2, "security", 0, False, {"en": NoticeText("Title", "Text")}) for name in ("a", "b")
)


def call(command: Command) -> Call:
    return Call("00000000-0000-4000-8000-000000000001", "h", command, None, retry=False, deadline_ms=5)


@pytest.fixture
def prechecks() -> CommandPrechecks:
    return CommandPrechecks(NumberPolicies({"main": NumberPolicy("DE")}), NOTICES)


@pytest.mark.parametrize("command", [SetRoutingState("work"), AcknowledgeNotice("a", 2)])
def test_what_nothing_speaks_against_goes_on_as_it_is(prechecks: CommandPrechecks, command: Command) -> None:
    asked = call(command)
    assert prechecks.check(asked, TICKET) is asked


@pytest.mark.parametrize(("name", "version"), [("a", 1), ("a", 3), ("c", 2), ("", 2)])
def test_a_notice_that_is_not_there_in_this_version_is_not_found(
    prechecks: CommandPrechecks, name: str, version: int
) -> None:
    with pytest.raises(GatewayError) as refused:
        prechecks.check(call(AcknowledgeNotice(name, version)), TICKET)
    assert refused.value.code is ErrorCode.NOT_FOUND


def test_a_remote_number_goes_on_in_one_spelling(prechecks: CommandPrechecks) -> None:
    checked = prechecks.check(call(ChangeRemoteNumber("030 901820")), TICKET)
    assert checked == call(ChangeRemoteNumber("+4930901820"))


@pytest.mark.parametrize(
    ("number", "code"),
    [
        ("+43 1 58058", ErrorCode.REMOTE_NUMBER_NOT_ALLOWED),
        ("sip:ann@example", ErrorCode.REMOTE_NUMBER_INVALID),
        (" ", ErrorCode.REMOTE_NUMBER_MISSING),
    ],
)
def test_a_remote_number_that_is_not_allowed_does_not_go_on(
    prechecks: CommandPrechecks, number: str, code: ErrorCode
) -> None:
    with pytest.raises(GatewayError) as refused:
        prechecks.check(call(ChangeRemoteNumber(number)), TICKET)
    assert refused.value.code is code


def test_acknowledgements_add_up_in_the_versions_that_are_there(prechecks: CommandPrechecks) -> None:
    ticket = replace(TICKET, notices=(("gone", 1), ("b", 2)))
    assert prechecks.acknowledged(AcknowledgeNotice("a", 2), ticket) == (("a", 2), ("b", 2))
    assert prechecks.acknowledged(AcknowledgeNotice("b", 2), ticket) == (("b", 2),)
