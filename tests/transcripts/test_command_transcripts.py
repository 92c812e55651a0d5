"""Commands agree with their transcripts on both sides of the gateway.

Read the ``command_*.txt`` beside this. A line ``>`` is what is done, the others are what comes of it.
``phone →`` says, ``phone ←`` hears; ``OSCC-E → somebody`` is said on that user's link,
``OSCC-E ← somebody`` is asked there. "…" stands for what was sent before, for the long part of keys, and
for secrets.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import pytest

from gateway.domain.errors import ErrorCode
from gateway.protocol.frames import COMMANDS
from tests.transcripts.play import played
from tests.transcripts.recorder import FOLDER, check

CONVERSATIONS: Final = sorted(path.stem for path in FOLDER.glob("command_*.txt"))

_REASONS: Final = {"reason_required", "reason_unknown", "reason_wrong_kind", "not_allowed_while_handling"}
_PARAMETERS: Final = {
    "parameter_unknown", "parameter_read_only", "value_out_of_range", "wrong_type", "version_conflict",
    "reference_unknown", "overflow_cycle", "inconsistent_parameters",
}  # fmt: skip
SPECIFIC: Final[dict[str, set[str]]] = {
    "agent.skills.set": {
        "skill_unknown", "level_out_of_range", "preference_out_of_range", "duplicate_skill",
        "version_conflict",
    },
    "agent.routing_state.set": _REASONS | {"cannot_log_on_for_another"},
    "queue.routing_parameters.set": _PARAMETERS,
    "group.routing_parameters.set": _PARAMETERS,
    "routing_state.set": _REASONS | {"not_logged_on"},
    "post_processing.start": {"no_contact", "limit_reached", "unsupported_by_upstream"},
    "post_processing.extend": {"not_post_processing", "limit_reached", "unsupported_by_upstream"},
    "post_processing.finish": {
        "not_post_processing", "wrap_up_reason_required", "reason_unknown", "reason_wrong_kind",
        "unsupported_by_upstream",
    },
    "post_processing.set_auto": {"value_out_of_range", "unsupported_by_upstream"},
    "remote_number.change": {
        "remote_number_missing", "remote_number_invalid", "remote_number_not_allowed", "remote_number_in_use",
        "not_allowed_while_handling",
    },
    "notices.acknowledge": {"not_found"},
}  # fmt: skip
"""The errors of its own that each command has by the protocol's table."""

ANY: Final = {
    "bad_request", "forbidden", "not_found", "wrong_resource_kind", "rate_limited", "busy", "expired",
    "upstream_unavailable", "function_unavailable", "upstream_rejected", "unsupported_by_upstream",
    "key_reused", "overloaded", "upstream_timeout", "owner_lost", "other_epoch",
}  # fmt: skip
"""Those that any command may meet before one node."""

NOT_HERE: Final[dict[str, str]] = {
    "unauthenticated": "a phone whose token does not open is closed (4001) before it can command",
    "bus_down": "needs a store of leases that fails: this node's is in memory",
    "internal": "is a fault of the gateway",
    "session_ended": "needs a server that does not know a session whose end it has not reported",
}
"""Those that a command may meet, but not here, and why."""
NO_COMMAND: Final = {
    "over_capacity", "upstream_version_unsupported", "invalid_credentials", "account_locked",
    "account_blocked", "role_missing", "untrusted_transport", "notice_must_be_acknowledged",
    "already_logged_on", "site_unknown", "version_unsupported", "too_many_devices",
}  # fmt: skip
"""Those that only who logs on or connects meets."""

DETAILS: Final[dict[str, set[str]]] = {
    "level_out_of_range": {"min", "max"},
    "preference_out_of_range": {"min", "max"},
    "value_out_of_range": {"min", "max", "unit"},
    "version_conflict": {"version"},
    "limit_reached": {"until_ms"},
    "function_unavailable": {"function"},
    "upstream_rejected": {"upstream_code"},
}
"""What stands beside a code by the protocol's table."""

_COMMAND: Final = re.compile(r' (\w+) → +command \{"id": "(\w+)", "key": "…(\d+)"(?:.*"kind": "([\w.]+)")?')
_ANSWER: Final = re.compile(r" (\w+) ← +(?:result|error) (\{.*\})$")


NOT_REMEMBERED: Final = {"overloaded", "owner_lost"}
"""Sent before anything was begun, or before anybody knew: a repetition gets what became of it by then."""


class Answer(NamedTuple):
    """What became of one frame. *again*: its key had been sent before."""

    key: str
    kind: str
    outcome: dict[str, Any]
    again: bool

    @property
    def is_applied(self) -> bool:
        """Whether it was."""
        return bool(self.outcome["status"] == "applied")

    @property
    def code(self) -> str | None:
        """The error's code, if there is one."""
        return self.outcome["error"]["code"] if "error" in self.outcome else None


def answers(text: str) -> Iterator[Answer]:
    """Read a transcript."""
    kinds: dict[str, str] = {}
    asked: dict[tuple[str, str], tuple[str, str, bool]] = {}
    for line in text.splitlines():
        if found := _COMMAND.search(line):
            phone, frame_id, key, kind = found.groups()
            asked[phone, frame_id] = (key, kind or kinds[key], kind is None)
            kinds[key] = kind or kinds[key]
        elif found := _ANSWER.search(line):
            received = json.loads(found[2])
            key, kind, again = asked[found[1], received["id"]]
            yield Answer(key, kind, received.get("outcome", {"status": "error", "error": received}), again)


def all_answers() -> list[Answer]:
    """Read all transcripts."""
    return [each for name in CONVERSATIONS for each in answers((FOLDER / f"{name}.txt").read_text("utf-8"))]


@pytest.mark.parametrize("name", CONVERSATIONS)
async def test_the_conversation_goes_as_it_is_written_down(name: str) -> None:
    check(name, await played((FOLDER / f"{name}.txt").read_text("utf-8")))


def test_every_command_is_applied_and_repeated() -> None:
    applied = [each for each in all_answers() if each.is_applied]
    assert {each.kind for each in applied if not each.again} == set(COMMANDS)
    assert {each.kind for each in applied if each.again} == set(COMMANDS)


def test_who_asks_again_gets_the_same_answer() -> None:
    """All but who uses the key for something else."""
    compared: set[tuple[str, str]] = set()
    for name in CONVERSATIONS:
        first: dict[str, dict[str, Any]] = {}
        for each in answers((FOLDER / f"{name}.txt").read_text("utf-8")):
            if not each.again and each.code not in NOT_REMEMBERED:
                first[each.key] = each.outcome
            elif each.key in first and each.code != "key_reused":
                assert each.outcome == first[each.key]
                compared.add((each.kind, each.outcome["status"]))
    assert compared >= {(kind, status) for kind in COMMANDS for status in ("applied", "rejected")}
    assert {status for _, status in compared} == {"applied", "pending", "unchanged", "rejected", "unknown"}


@pytest.mark.parametrize("kind", SPECIFIC)
def test_every_command_meets_the_errors_of_its_own(kind: str) -> None:
    assert SPECIFIC[kind] - {each.code for each in all_answers() if each.kind == kind} == set()


def test_every_command_has_errors_of_its_own() -> None:
    assert set(SPECIFIC) == set(COMMANDS)


def test_every_error_that_any_command_may_meet_occurs() -> None:
    met = {each.code for each in all_answers()} - {None}
    assert ANY - met == set()
    assert met & (NOT_HERE.keys() | NO_COMMAND) == set()


def test_every_code_is_one_that_a_command_may_meet_or_not() -> None:
    of_commands = set().union(*SPECIFIC.values()) | ANY | NOT_HERE.keys()
    assert of_commands | NO_COMMAND == set(ErrorCode)
    assert of_commands & NO_COMMAND == set()


@pytest.mark.parametrize("code", DETAILS)
def test_details_stand_beside_their_code(code: str) -> None:
    assert any(each.outcome["error"].keys() >= DETAILS[code] for each in all_answers() if each.code == code)
