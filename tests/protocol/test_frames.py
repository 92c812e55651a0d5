"""Types of the frames agree with docs/protocol.md."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.domain.commands import RULES
from gateway.domain.errors import ErrorCode
from gateway.protocol import frames

COMMANDS = {
    "agent.skills.set": {"agent_id", "changes", "mode", "if_version"},
    "agent.routing_state.set": {"agent_id", "state", "reason_id?", "when?"},
    "queue.routing_parameters.set": {"queue_id", "changes", "if_version"},
    "group.routing_parameters.set": {"group_id", "changes", "if_version"},
    "routing_state.set": {"state", "reason_id?", "when?"},
    "post_processing.start": set(),
    "post_processing.extend": {"until_ms"},
    "post_processing.finish": {"next_state?", "wrap_up_reason_ids?"},
    "post_processing.set_auto": {"on", "duration_s?"},
    "remote_number.change": {"number"},
    "notices.acknowledge": {"notice_id", "version"},
}
"""Kind of command → its fields as the page has them; ``when`` may be left out (docs/decisions/0009)."""


def _spelled(of: type) -> set[str]:
    listed = [field for field in dataclasses.fields(of) if field.name != "kind"]
    return {field.name + ("" if field.default is dataclasses.MISSING else "?") for field in listed}


def test_every_command_has_the_fields_of_the_page() -> None:
    assert {kind: _spelled(of) for kind, of in frames.COMMANDS.items()} == COMMANDS


REFERENCE = Path(__file__).parents[2] / "docs" / "protocol.md"
ROW = re.compile(r"^\| `(\w+(?:\.\w+)+)` \| (\w+) \| (\S+) \| (.+) \| (.+) \|$", re.MULTILINE)


def test_the_reference_describes_every_command() -> None:
    rows = {kind: rest for kind, *rest in ROW.findall(REFERENCE.read_text("utf-8"))}
    assert list(rows) == list(frames.COMMANDS)
    for kind, (application, right, fields, errors) in rows.items():
        rule = RULES[frames.COMMANDS[kind]]
        assert application == (rule.application or "both")
        assert right == ("–" if rule.right is None else f"`{rule.right}`")
        named = {name.removesuffix("?") for name in COMMANDS[kind]}
        assert named == named & set(re.findall(r"\w+", fields)), kind
        codes = {name for name in re.findall(r"`(\w+)", errors) if name not in DETAILS}
        assert codes <= set(ErrorCode), kind


DETAILS = {"skill_id", "parameter"}
"""What stands beside an error in the table, and is none."""


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("pace_s", [0, 60, 0.5], [-0.1, 60.1, "1", float("nan")]),
        ("ping_s", [10, 55], [9.9, 55.1, True]),
        ("token", ["x", "x" * 4096, None], ["x" * 4097, 5, b"x"]),
        ("topics", [[], ["agents"] * 64], [["agents"] * 65, [""], ["x" * 129]]),
        ("position", [{"stream": "1.a", "seq": 0}], [{"stream": "1.a"}, {"stream": 1, "seq": 0}, "1.a"]),
    ],
)
def test_hello_is_bounded(field: str, good: list[object], bad: list[object]) -> None:
    hello: dict[str, object] = {"kind": "hello", "client": {"app": "a", "version": "1", "platform": "p"}}
    for value in good:
        assert isinstance(frames.CLIENT_FRAME.validate_python(hello | {field: value}), frames.Hello)
    for value in bad:
        with pytest.raises(ValidationError):
            frames.CLIENT_FRAME.validate_python(hello | {field: value})


def test_reprs_show_no_token() -> None:
    info = frames.ClientInfo("a", "1", "p")
    assert "secret" not in repr(frames.Hello(info, "secret")) + repr(frames.Renewed("secret", 5))
