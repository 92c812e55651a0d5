"""Error codes: one meaning each, and the advice of each close code."""

from __future__ import annotations

import ast
import gc
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from weakref import ReferenceType, ref

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gateway
from gateway.domain.errors import (
    CloseCode,
    EndReason,
    ErrorCode,
    GatewayError,
    MappedErrors,
    Verdict,
    advice,
    close_for,
    is_final,
    tenths,
    verdict,
)
from gateway.upstream.oscce.errors import NAMES, refusal


def test_every_code_has_its_status() -> None:
    assert all(400 <= code.status <= 599 for code in ErrorCode)
    assert [ErrorCode(code.value) for code in ErrorCode] == list(ErrorCode)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        *((code, Verdict.STOP) for code in (1000, 1002, 1003, 1007, 1008, 1009, 3999, 4000, 4099, 4400)),
        *((code, Verdict.BACK_OFF) for code in (1001, 1006, 1011, 1012, 1013, 4100, 4109, 4199)),
        *((code, Verdict.WINDOW) for code in (4200, 4201, 4299)),
        *((code, Verdict.LOG_ON) for code in (4300, 4399)),
    ],
)
def test_the_range_is_the_verdict(code: int, expected: Verdict) -> None:
    assert verdict(code) is expected


@pytest.mark.parametrize("code", CloseCode)
def test_every_close_code_stands_in_the_range_of_its_verdict(code: CloseCode) -> None:
    ranges = {40: Verdict.STOP, 41: Verdict.BACK_OFF, 42: Verdict.WINDOW, 43: Verdict.LOG_ON}
    assert verdict(code) is ranges[code // 100]


@given(code=st.integers(0, 70_000))
def test_the_advice_is_the_verdict_in_a_word(code: int) -> None:
    words = {
        Verdict.STOP: "never",
        Verdict.BACK_OFF: "after",
        Verdict.WINDOW: "after",
        Verdict.LOG_ON: "log_on",
    }
    assert advice(code) == words[verdict(code)]


@pytest.mark.parametrize(
    ("code", "final"),
    [
        *((code, False) for code in (1000, 1001, 1003, 1006, 1007, 1008, 1009, 3999, 4004, 4100, 4109, 4201)),
        *((code, True) for code in (4000, 4001, 4005, 4007, 4008, 4099, 4300, 4399)),
    ],
)
def test_final_is_what_no_other_connection_goes_on_with(code: int, final: bool) -> None:
    assert is_final(code) is final


@pytest.mark.parametrize(
    ("reason", "remote", "dashboard"),
    [
        (EndReason.LOGGED_OFF, 4005, 4005),
        (EndReason.LOGGED_OFF_BY_SUPERVISOR, 4005, 4005),
        (EndReason.TAKEN_OVER, 4005, 4005),
        (EndReason.BLOCKED, 4008, 4008),
        (EndReason.EXPIRED, 4300, 4300),
        (EndReason.MAINTENANCE, 4300, 4300),
        (EndReason.UNKNOWN, 4005, 4300),
    ],
)
def test_how_a_session_ended_decides_its_close(reason: EndReason, remote: int, dashboard: int) -> None:
    assert close_for(reason, remote_assistant=True) == remote
    assert close_for(reason, remote_assistant=False) == dashboard


@pytest.mark.parametrize(
    ("seconds", "received"),
    [
        (0.0, 0.0), (0.01, 0.1), (1.1, 1.1), (1.11, 1.2), (1.90000001, 1.9), (2.0, 2.0), (59.94, 60.0),
        (59.999, 60.0), (3581, 3581.0),
    ],
)  # fmt: skip
def test_a_wait_is_reported_in_tenths_and_never_too_short(seconds: float, received: float) -> None:
    assert tenths(seconds) == received


def test_a_mapped_error_takes_the_place_of_the_blocks_and_another_one_goes_on() -> None:
    def by(error: OSError) -> Exception:
        return error if isinstance(error, FileNotFoundError) else GatewayError(ErrorCode.BUSY, "Busy.")

    with pytest.raises(GatewayError) as alone, MappedErrors(OSError, by):
        raise OSError
    with pytest.raises(GatewayError) as caused, MappedErrors(OSError, by, is_cause=True):
        raise OSError
    assert (alone.value.__cause__, type(caused.value.__cause__)) == (None, OSError)
    for other in (FileNotFoundError(), LookupError()):
        with pytest.raises(type(other)) as same, MappedErrors(OSError, by):
            raise other
        assert same.value is other


def test_what_stood_in_the_block_of_a_mapped_error_is_forgotten_with_it() -> None:
    class Password:
        """What is typed."""

    def refused() -> ReferenceType[Password]:
        password = Password()
        try:
            with MappedErrors(OSError, lambda _: GatewayError(ErrorCode.BUSY, "Busy.")):
                raise OSError
        except GatewayError:
            return ref(password)

    gc.disable()
    try:
        assert refused()() is None
    finally:
        gc.enable()


# ---- errors that code raises ----


SOURCE = Path(gateway.__file__).parent

SPECIFIC = {
    "agent.skills.set": """
        skill_unknown level_out_of_range preference_out_of_range duplicate_skill version_conflict""",
    "agent.routing_state.set": """
        reason_required reason_unknown reason_wrong_kind not_allowed_while_handling
        cannot_log_on_for_another""",
    "queue.routing_parameters.set": """
        parameter_unknown parameter_read_only value_out_of_range wrong_type reference_unknown
        overflow_cycle inconsistent_parameters version_conflict""",
    "routing_state.set": """
        reason_required reason_unknown reason_wrong_kind not_allowed_while_handling not_logged_on""",
    "post_processing": """
        no_contact limit_reached wrap_up_reason_required not_post_processing unsupported_by_upstream""",
    "remote_number.change": """
        remote_number_missing remote_number_invalid remote_number_not_allowed remote_number_in_use
        not_allowed_while_handling""",
    "notices.acknowledge": "not_found",
}
"""Command → its own errors, as the page's table has them."""
COMMON = """
    bad_request unauthenticated forbidden not_found wrong_resource_kind rate_limited busy expired
    bus_down upstream_unavailable function_unavailable upstream_rejected unsupported_by_upstream
    key_reused overloaded internal"""
UNKNOWN = "upstream_timeout owner_lost other_epoch"
LOG_ON = """
    invalid_credentials account_locked account_blocked role_missing untrusted_transport
    notice_must_be_acknowledged already_logged_on remote_number_missing remote_number_invalid
    remote_number_not_allowed remote_number_in_use site_unknown version_unsupported
    upstream_version_unsupported too_many_devices upstream_unavailable rate_limited over_capacity
    session_ended"""

OF_COMMANDS = {ErrorCode(word) for words in (*SPECIFIC.values(), COMMON) for word in words.split()}
EVERYWHERE = OF_COMMANDS | {ErrorCode(word) for words in (UNKNOWN, LOG_ON) for word in words.split()}

OF_LOG_ON = (
    *("RemoteNumberMissing", "InvalidCredentials", "AccountBlocked", "AccountLocked", "RoleMissing"),
    "AlreadyLoggedOn",
)
FROM_SERVER = {refusal(name, b"{}").code for name in (*NAMES.values(), *OF_LOG_ON)}
"""What some error name of OSCC-E becomes."""


def received(path: Path) -> Iterator[ErrorCode]:
    """Yield the codes that a module makes; those that it only compares with are none."""
    tree = ast.parse(path.read_text("utf-8"))
    compared = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare | ast.MatchValue)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="ErrorCode"), attr=name) if id(node) not in compared:
                yield ErrorCode[name]


@cache
def from_gateway() -> set[ErrorCode]:
    """Return what the gateway says by itself."""
    return {
        code
        for room in ("core", "runtime", "edge", "upstream/oscce")
        for path in sorted((SOURCE / room).glob("*.py"))
        if path.name != "errors.py"
        for code in received(path)
    }


def test_the_page_names_every_code_and_no_other() -> None:
    assert set(ErrorCode) == EVERYWHERE


def test_what_only_the_server_can_judge_comes_from_it() -> None:
    judged = OF_COMMANDS - from_gateway()
    assert judged == {
        ErrorCode.VERSION_CONFLICT,
        ErrorCode.NOT_ALLOWED_WHILE_HANDLING,
        ErrorCode.CANNOT_LOG_ON_FOR_ANOTHER,
        ErrorCode.OVERFLOW_CYCLE,
        ErrorCode.INCONSISTENT_PARAMETERS,
        ErrorCode.NO_CONTACT,
        ErrorCode.LIMIT_REACHED,
        ErrorCode.WRAP_UP_REASON_REQUIRED,
        ErrorCode.NOT_POST_PROCESSING,
        ErrorCode.REMOTE_NUMBER_IN_USE,
        ErrorCode.UPSTREAM_REJECTED,
    }


def test_what_the_server_never_says_comes_from_the_gateway() -> None:
    own = OF_COMMANDS - FROM_SERVER
    assert own == {
        ErrorCode.UNAUTHENTICATED,
        ErrorCode.RATE_LIMITED,
        ErrorCode.BUS_DOWN,
        ErrorCode.UPSTREAM_UNAVAILABLE,
        ErrorCode.KEY_REUSED,
        ErrorCode.OVERLOADED,
        ErrorCode.INTERNAL,
    }


def test_no_code_of_a_command_is_left_over() -> None:
    assert FROM_SERVER | from_gateway() >= OF_COMMANDS


@pytest.mark.parametrize("name", sorted(set(NAMES.values()) - {"Internal"}))
def test_what_the_server_says_is_on_the_page(name: str) -> None:
    code = refusal(name, b"{}").code
    assert code in OF_COMMANDS | {ErrorCode.SESSION_ENDED}
    assert code is not ErrorCode.UPSTREAM_REJECTED


SAMPLE = """
if error.code is ErrorCode.BUSY or code in {ErrorCode.EXPIRED}:
    raise GatewayError(ErrorCode.NOT_FOUND, "")
match code:
    case ErrorCode.INTERNAL:
        pass
TABLE = {"x": (ErrorCode.FORBIDDEN, "")}
"""


def test_a_code_that_is_compared_with_is_not_reported(tmp_path: Path) -> None:
    path = tmp_path / "sample.py"
    path.write_text(SAMPLE, "utf-8")
    assert set(received(path)) == {ErrorCode.NOT_FOUND, ErrorCode.FORBIDDEN}
