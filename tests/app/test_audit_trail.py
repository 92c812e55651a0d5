"""Audit trail: how acts are recorded."""

from __future__ import annotations

import io
import json
from typing import Any

from gateway.app.keys import SecretKey
from gateway.app.logging import AuditTrail, Level, Pseudonyms, audit_writer, configure
from gateway.domain.model import Act, NodeId, NumberAct, OperatorAct, OrderAct, SessionId, UserHash, UserId

ACT = NumberAct(UserId("main", 7), SessionId("session-1"), "change", "*********567", "applied")
LIFE = "00112233aabbccdd"
LOG = audit_writer(NodeId("gw-2"), LIFE)
KEY = SecretKey(bytes(32))
ANNA = UserHash(Pseudonyms(KEY).of(ACT.user))


def test_acts_are_numbered_without_a_gap() -> None:
    written: list[tuple[Act, int]] = []
    trail = AuditTrail(lambda act, serial: written.append((act, serial)))
    for _ in range(3):
        trail.note(ACT)
    assert written == [(ACT, 1), (ACT, 2), (ACT, 3)]


def written(*acts: Act, level: Level = "info") -> list[dict[str, Any]]:
    """Return the lines that a node writes of *acts*."""
    stream = io.StringIO()
    configure(level, KEY, stream)
    trail = AuditTrail(LOG)
    for act in acts:
        trail.note(act)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_shows_the_act_and_its_process_and_neither_user_nor_number_at_any_level() -> None:
    (line,) = written(ACT, level="error")
    received = {
        "logger": "gateway.audit",
        "event": "remote_number",
        "serial": 1,
        "by_node": "gw-2",
        "life": LIFE,
    }
    received |= {"act": "change", "masked": "*********567", "result": "applied", "user": ANNA}
    assert line.items() >= received.items()
    assert "dropped" not in line


def test_a_number_that_is_not_masked_is_left_out() -> None:
    (line,) = written(NumberAct(UserId("main", 7), SessionId("s"), "change", "+4930123456", "applied"))
    assert "masked" not in line
    assert "4930123456" not in json.dumps(line)


def test_what_an_operator_did_is_in_the_same_row() -> None:
    _, drain, end, missed, export = written(
        ACT,
        OperatorAct("drain", None, "n1", "ok", 202),
        OperatorAct("end_session", "0123456789abcdef", None, "ok", 200, user=ANNA),
        OperatorAct("end_user", "0123456789abcdef", None, "not_found", 404, suppressed=3),
        OperatorAct("export_user", "canary name", None, "bad_request", 400),
    )
    received = {
        "event": "operator",
        "serial": 2,
        "act": "drain",
        "node": "n1",
        "result": "ok",
        "http_status": 202,
    }
    assert drain.items() >= received.items()
    assert "suppressed" not in drain
    assert (end["user"], end["subject"], end["serial"]) == (ANNA, "0123456789abcdef", 3)
    assert (missed["subject"], missed["suppressed"], "user" in missed) == ("0123456789abcdef", 3, False)
    assert "canary" not in json.dumps(export)
    assert not any("dropped" in each for each in (drain, end, missed))


def test_what_was_carried_out_for_another_node_is_in_the_same_row() -> None:
    drain, order, forged = written(
        OperatorAct("drain", None, "gw-2", "ok", 202, act_id="a" * 16),
        OrderAct("drain", "a" * 16, "gw-1", "ok"),
        OrderAct("end_session", "canary name", "canary of a node", "ok"),
    )
    assert drain["act_id"] == "a" * 16
    received = {"logger": "gateway.audit", "event": "operator_order", "by_node": "gw-2", "serial": 2}
    received |= {"act": "drain", "act_id": "a" * 16, "asked_node": "gw-1", "result": "ok"}
    assert order.items() >= received.items()
    assert "dropped" not in order
    assert "canary" not in json.dumps(forged)
