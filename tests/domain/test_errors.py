"""Error codes: one meaning each, and the advice of each close code."""

from __future__ import annotations

import gc
from weakref import ReferenceType, ref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import (
    ERRORS,
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

LATER = {423, 429, 503}


def test_every_code_has_its_status() -> None:
    assert ERRORS.keys() == set(ErrorCode)
    assert all(400 <= rule.status <= 599 for rule in ERRORS.values())


def test_what_may_be_tried_again_is_what_was_refused_for_now() -> None:
    assert {(rule.status, rule.retry) for rule in ERRORS.values() if rule.retry or rule.status in LATER} == {
        (status, True) for status in LATER
    }


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
