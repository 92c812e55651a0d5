"""Commands in both encodings: which members must be there, and what is no value of one."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]  # ships no types
import pytest

from gateway.domain.commands import Command
from gateway.protocol.codec import JSON, MSGPACK, BadFrame, Codec
from gateway.protocol.frames import COMMANDS, CommandFrame

KEY = "0b7b0a3e-6a1c-4c1e-9a52-3f0f3c0a7f10"
CANARY = "canary-4711"

FULL: list[dict[str, Any]] = json.loads(Path(__file__).with_name("commands.json").read_text("utf-8"))
"""One of each kind, with all its members. What is read of any command: test_commands_properties.py."""
EACH = pytest.mark.parametrize("sent", FULL, ids=lambda sent: sent["kind"])


def framed(command: object) -> dict[str, Any]:
    return {
        "kind": "command", "id": "c1", "key": KEY, "stream": "1.x", "expires_at_ms": 5, "command": command,
    }  # fmt: skip


def read(command: object) -> Command | str:
    """Return the command that both encodings read, or why both refuse it."""
    frame = framed(command)
    in_json, in_msgpack = (verdict(JSON, json.dumps(frame).encode()), verdict(MSGPACK, msgpack.packb(frame)))
    assert shown(in_json) == shown(in_msgpack)
    assert not isinstance(in_json, BadFrame) or CANARY not in in_json.reason
    return in_json.reason if isinstance(in_json, BadFrame) else in_json


def verdict(codec: Codec, data: bytes) -> Command | BadFrame:
    try:
        read = codec.decode_client(data)
    except BadFrame as bad:
        return bad
    assert isinstance(read, CommandFrame)
    return read.command


def shown(received: Command | BadFrame) -> str:
    """Return a text in which 5, 5.0, True and "5" differ, which ``==`` does not tell apart."""
    if isinstance(received, BadFrame):
        return repr((received.reason, received.close_code, received.frame_id))
    return type(received).__name__ + repr(dataclasses.astuple(received))


def test_every_command_is_here_and_right() -> None:
    assert [sent["kind"] for sent in FULL] == list(COMMANDS)
    assert [sent["kind"] for sent in FULL if isinstance(read(sent), str)] == []


WRONG: dict[type, list[object]] = {
    int: ["5", 5.0, True, False, None, [5], {"5": 5}, 5.5, ""],
    str: [5, 5.0, True, None, ["5"], {}],
    bool: [1, 0, 1.0, "true", "True", "on", "", None, [True]],
    list: ["5", {}, None, 5, {"0": "51"}],
    dict: ["5", [], None, 5, [["a", 5]]],
}
"""Type of a member → what is of another."""


def may_be_missing(kind: str) -> set[str]:
    """Return the members that the command does without: null says that they were not sent."""
    members = dataclasses.fields(COMMANDS[kind])
    return {member.name for member in members if member.default is not dataclasses.MISSING} - {"kind"}


def spoiled() -> list[tuple[dict[str, Any], str]]:
    """Return every command with one member wrong, and the member's name."""
    return [
        (sent | {name: wrong}, name)
        for sent in FULL
        for name, member in sent.items()
        if name != "kind" and member is not None
        for wrong in WRONG[type(member)]
        if wrong is not None or name not in may_be_missing(sent["kind"])
    ]


@pytest.mark.parametrize(("sent", "name"), spoiled())
def test_a_member_of_another_type_is_refused(sent: dict[str, Any], name: str) -> None:
    assert name in sent
    assert isinstance(read(sent), str)


@EACH
def test_a_member_that_is_null_is_one_that_was_not_sent(sent: dict[str, Any]) -> None:
    for name in may_be_missing(sent["kind"]):
        without = {other: value for other, value in sent.items() if other != name}
        found = read(sent | {name: None})
        assert not isinstance(found, str)
        assert found == read(without)


def test_some_members_may_be_missing() -> None:
    assert {name for kind in COMMANDS for name in may_be_missing(kind)} >= {"reason_id", "when", "duration_s"}


@pytest.mark.parametrize(
    "change",
    [
        {"skill_id": 61, "level": 5}, {"skill_id": "61", "level": "5"}, {"skill_id": "61", "level": 5.0},
        {"skill_id": "61", "level": True}, {"skill_id": "61"}, {"level": 5},
        {"skill_id": "61", "level": 5, "preference": 2.0},
        {"skill_id": "61", "level": 5, "preference": False}, {"skill_id": "61", "level": 5, "active": 1},
        {"skill_id": "61", "level": 5, "active": "true"}, ["61", 5], "61", None,
    ],
)  # fmt: skip
def test_a_skill_of_many_is_as_strict(change: object) -> None:
    sent = FULL[0]
    good = {"skill_id": "60", "level": 1, "preference": None, "active": None}
    assert not isinstance(read(sent | {"changes": [good]}), str)
    assert isinstance(read(sent | {"changes": [good, change]}), str)


@EACH
def test_a_member_that_is_needed_must_be_there(sent: dict[str, Any]) -> None:
    may_be_left_out = {"reason_id", "when", "next_state", "wrap_up_reason_ids", "duration_s"}
    for name in sent:
        without = {other: member for other, member in sent.items() if other != name}
        assert isinstance(read(without), str) is (name not in may_be_left_out)


NO_STATES = ("logged_off", "Work", "busy", "unknown", "")


@pytest.mark.parametrize(
    "command",
    [
        *({"kind": kind} for kind in ("agent.skills.get", "", None)),
        *({}, None, [], "routing_state.set"),
        *({"kind": "routing_state.set", "state": state} for state in NO_STATES),
        *({"kind": "post_processing.finish", "next_state": state} for state in NO_STATES),
        *(FULL[2] | {"changes": {"a": 5, "b": wrong}} for wrong in list[object]([{"a": 1}, [["x"]], [{}]])),
    ],
)
def test_what_is_no_command_no_state_of_ones_own_and_no_parameter_is_refused(command: object) -> None:
    assert isinstance(read(command), str)


def test_refusals_do_not_repeat_what_came() -> None:
    for sent in FULL:
        for name in sent:
            refused = isinstance(read(sent | {name: {CANARY: CANARY}, CANARY: CANARY}), str)
            assert refused or "parameters" in sent["kind"]
