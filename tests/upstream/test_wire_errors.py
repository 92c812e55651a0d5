"""Each error name of the server becomes a code and details that clients know."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.upstream.oscce.errors import NAMES, refusal


def refused(name: str, **details: Any) -> GatewayError:  # noqa: ANN401 - JSON
    """Read a refusal."""
    return refusal(name, json.dumps(details))


PAGE = Path(__file__).parents[2].joinpath("docs", "oscce-link.md").read_text("utf-8")
NUMBERED = {int(number): name for number, name in re.findall(r"^\| (\d+) \| `(\w+)` \| ", PAGE, re.MULTILINE)}
OTHER_WORDS = {
    "Internal": "upstream_rejected",
    "MethodUnknown": "unsupported_by_upstream",
    "NumberInUse": "remote_number_in_use",
    "SessionUnknown": "session_ended",
    "Unsupported": "unsupported_by_upstream",
    "WrapupReasonRequired": "wrap_up_reason_required",
    "WrongObjectType": "wrong_resource_kind",
}
LOG_ON = (
    "AccountBlocked",
    "AccountLocked",
    "AlreadyLoggedOn",
    "InvalidCredentials",
    "RemoteNumberMissing",
    "RoleMissing",
)


def test_every_number_has_the_name_of_the_page() -> None:
    assert NAMES == NUMBERED


@pytest.mark.parametrize("name", [*NUMBERED.values(), *LOG_ON])
def test_names_become_codes_of_the_same_words_but_for_a_few(name: str) -> None:
    error = refused(name)
    assert error.code == OTHER_WORDS.get(name, re.sub("(?<=.)([A-Z])", r"_\1", name).lower())
    assert error.details == ({"upstream_code": name} if name == "Internal" else {})


@pytest.mark.parametrize("until", ["1767225600000", "1767225600000.0", "17672256E5"])
def test_details_may_be_written_in_any_form_of_an_integer(until: str) -> None:
    error = refusal("LimitReached", f'{{"Error":41,"Until":{until}}}')
    assert error.details == {"until_ms": 1_767_225_600_000}


@pytest.mark.parametrize("name", ["Nonsense", "Error77"])
def test_other_names_are_reported_as_they_are(name: str) -> None:
    error = refused(name)
    assert (error.code, error.details) == (ErrorCode.UPSTREAM_REJECTED, {"upstream_code": name})


@pytest.mark.parametrize("name", ["<script>", "a b", "", "x" * 65, "+49 89 1234"])
def test_what_is_no_name_is_not_reported(name: str) -> None:
    assert refused(name).details == {"upstream_code": "Unknown"}


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
        ("WrongType", {"Parameter": "x" * 128}, {"parameter": "x" * 128}),  # as long as in the catalogue
        ("WrongType", {"Parameter": "x" * 129}, {"parameter": "x" * 128}),
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
