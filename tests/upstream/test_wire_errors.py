"""Each error name of the server becomes a code and details that clients know."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.upstream.oscce.errors import NAMES, refusal


def refused(name: str, **details: Any) -> GatewayError:  # noqa: ANN401 - JSON
    """Read a refusal."""
    return refusal(name, json.dumps(details))


CODES = {
    "BadRequest": "bad_request",
    "MethodUnknown": "unsupported_by_upstream",
    "SessionUnknown": "session_ended",
    "Forbidden": "forbidden",
    "NotFound": "not_found",
    "WrongObjectType": "wrong_resource_kind",
    "VersionConflict": "version_conflict",
    "SkillUnknown": "skill_unknown",
    "LevelOutOfRange": "level_out_of_range",
    "PreferenceOutOfRange": "preference_out_of_range",
    "DuplicateSkill": "duplicate_skill",
    "NotLoggedOn": "not_logged_on",
    "ReasonRequired": "reason_required",
    "ReasonUnknown": "reason_unknown",
    "ReasonWrongKind": "reason_wrong_kind",
    "NotAllowedWhileHandling": "not_allowed_while_handling",
    "CannotLogOnForAnother": "cannot_log_on_for_another",
    "ParameterUnknown": "parameter_unknown",
    "ParameterReadOnly": "parameter_read_only",
    "ValueOutOfRange": "value_out_of_range",
    "WrongType": "wrong_type",
    "ReferenceUnknown": "reference_unknown",
    "OverflowCycle": "overflow_cycle",
    "InconsistentParameters": "inconsistent_parameters",
    "NoContact": "no_contact",
    "LimitReached": "limit_reached",
    "WrapupReasonRequired": "wrap_up_reason_required",
    "NotPostProcessing": "not_post_processing",
    "RemoteNumberMissing": "remote_number_missing",
    "RemoteNumberInvalid": "remote_number_invalid",
    "RemoteNumberNotAllowed": "remote_number_not_allowed",
    "NumberInUse": "remote_number_in_use",
    "FunctionUnavailable": "function_unavailable",
    "Busy": "busy",
    "Unsupported": "unsupported_by_upstream",
    "Expired": "expired",
    "InvalidCredentials": "invalid_credentials",
    "AccountBlocked": "account_blocked",
    "AccountLocked": "account_locked",
    "RoleMissing": "role_missing",
    "AlreadyLoggedOn": "already_logged_on",
}


@pytest.mark.parametrize(("name", "code"), CODES.items())
def test_names_become_codes(name: str, code: str) -> None:
    error = refused(name)
    assert (error.code, error.details) == (ErrorCode(code), {})


@pytest.mark.parametrize("until", ["1767225600000", "1767225600000.0", "17672256E5"])
def test_details_may_be_written_in_any_form_of_an_integer(until: str) -> None:
    error = refusal("LimitReached", f'{{"Error":41,"Until":{until}}}')
    assert error.details == {"until_ms": 1_767_225_600_000}


@pytest.mark.parametrize("name", ["Internal", "Nonsense", "Error77"])
def test_other_names_are_reported_as_they_are(name: str) -> None:
    error = refused(name)
    assert (error.code, error.details) == (ErrorCode.UPSTREAM_REJECTED, {"upstream_code": name})


@pytest.mark.parametrize("name", ["<script>", "a b", "", "x" * 65, "+49 89 1234"])
def test_what_is_no_name_is_not_reported(name: str) -> None:
    assert refused(name).details == {"upstream_code": "Unknown"}


PAGE = """
    BadRequest(1) MethodUnknown(2) SessionUnknown(3) Forbidden(4) NotFound(5) WrongObjectType(6)
    VersionConflict(7) SkillUnknown(10) LevelOutOfRange(11) PreferenceOutOfRange(12) DuplicateSkill(13)
    NotLoggedOn(20) ReasonRequired(21) ReasonUnknown(22) ReasonWrongKind(23) NotAllowedWhileHandling(24)
    CannotLogOnForAnother(25) ParameterUnknown(30) ParameterReadOnly(31) ValueOutOfRange(32) WrongType(33)
    ReferenceUnknown(34) OverflowCycle(35) InconsistentParameters(36) NoContact(40) LimitReached(41)
    WrapupReasonRequired(42) NotPostProcessing(43) RemoteNumberInvalid(50) RemoteNumberNotAllowed(51)
    NumberInUse(52) FunctionUnavailable(60) Busy(61) Unsupported(62) Expired(63) Internal(99)"""


def test_every_number_has_the_name_of_the_page_and_that_means_something() -> None:
    assert {f"{name}({number})" for number, name in NAMES.items()} == set(PAGE.split())
    assert set(NAMES.values()) - {"Internal"} <= CODES.keys()


@pytest.mark.parametrize(
    ("name", "received", "details"),
    [
        ("AlreadyLoggedOn", {"Where": "Phone", "Since": 5}, {"where": "Phone", "since_ms": 5}),
        ("FunctionUnavailable", {"Function": "RealTime"}, {"function": "realtime"}),
        ("FunctionUnavailable", {"Function": "NetworkRouting"}, {"function": "routing"}),
        ("FunctionUnavailable", {"Function": "Historical"}, {"function": "historical"}),
        ("VersionConflict", {"Version": 3}, {"version": 3}),
        ("VersionConflict", {"Version": 2**53 - 1}, {"version": 2**53 - 1}),
        ("VersionConflict", {"Version": 2**53}, {}),
        ("LevelOutOfRange", {"SkillKey": 61, "Min": 1, "Max": 10}, {"skill_id": "61", "min": 1, "max": 10}),
        ("PreferenceOutOfRange", {"Min": 1, "Max": 9}, {"min": 1, "max": 9}),
        ("SkillUnknown", {"SkillKey": 61}, {"skill_id": "61"}),
        ("ValueOutOfRange", {"Min": 1, "Max": 9.5}, {"min": 1, "max": 9.5}),
        ("ValueOutOfRange", {"Min": 2**60, "Max": -(2**60), "Parameter": ""}, {}),
        ("ReferenceUnknown", {"Parameter": "OverflowQueue"}, {"parameter": "OverflowQueue"}),
        ("WrongType", {"Parameter": "x" * 99}, {"parameter": "x" * 64}),
        ("LimitReached", {"Until": 1_700_000_000_000}, {"until_ms": 1_700_000_000_000}),
        ("LimitReached", {"Until": None}, {}),
    ],
)
def test_details_have_the_names_that_clients_know(
    name: str, received: dict[str, Any], details: dict[str, Any]
) -> None:
    assert refused(name, **received).details == details


@pytest.mark.parametrize("received", [{"Since": "noon"}, {"Where": {"Name": "Desk"}}, {"RetryAfter": "soon"}])
def test_unreadable_details_do_not_hide_the_error(received: dict[str, Any]) -> None:
    error = refused("AlreadyLoggedOn", **received)
    assert (error.code, error.details) == (ErrorCode.ALREADY_LOGGED_ON, {})


def test_when_to_try_again_is_reported() -> None:
    assert refused("AccountLocked", RetryAfter=60).retry_after_s == 60
    assert refused("AccountLocked").retry_after_s is None
    assert refused("AccountLocked", RetryAfter=0).retry_after_s == 0
    for nonsense in (-1, 1e300):
        assert refused("AccountLocked", RetryAfter=nonsense).retry_after_s is None
