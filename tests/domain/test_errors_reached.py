"""Every error code and reason of docs/protocol.md is sent somewhere."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import gateway
from gateway.domain.errors import ErrorCode
from gateway.upstream.oscce.errors import NAMES, refusal

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
