"""How are acts written down?"""

from __future__ import annotations

import io
import json

from gateway.app.keys import SecretKey
from gateway.app.logging import AuditTrail, Pseudonyms, audit_writer, configure
from gateway.domain.model import Act, NodeId, NumberAct, OperatorAct, OrderAct, SessionId, UserHash, UserId

ACT = NumberAct(UserId("main", 7), SessionId("session-1"), "change", "*********567", "applied")
LIFE = "00112233aabbccdd"
LOG = audit_writer(NodeId("gw-2"), LIFE)


def test_acts_are_numbered_without_a_gap() -> None:
    written: list[tuple[Act, int]] = []
    trail = AuditTrail(lambda act, serial: written.append((act, serial)))
    for _ in range(3):
        trail.note(ACT)
    assert written == [(ACT, 1), (ACT, 2), (ACT, 3)]


def test_a_line_shows_the_act_and_neither_user_nor_number() -> None:
    stream = io.StringIO()
    configure("info", SecretKey(bytes(32)), stream)
    AuditTrail(LOG).note(ACT)
    line = json.loads(stream.getvalue())
    assert {name: line[name] for name in ("logger", "event", "serial", "act", "masked", "result")} == {
        "logger": "gateway.audit",
        "event": "remote_number",
        "serial": 1,
        "act": "change",
        "masked": "*********567",
        "result": "applied",
    }
    assert line["user"] not in {"7", "main:7"}
    assert "dropped" not in line


def test_a_number_that_is_not_masked_is_left_out() -> None:
    stream = io.StringIO()
    configure("info", SecretKey(bytes(32)), stream)
    LOG(NumberAct(UserId("main", 7), SessionId("s"), "change", "+4930123456", "applied"), 1)
    assert "masked" not in json.loads(stream.getvalue())
    assert "4930123456" not in stream.getvalue()


def test_what_an_operator_did_is_in_the_same_row() -> None:
    stream = io.StringIO()
    configure("info", SecretKey(bytes(32)), stream)
    trail = AuditTrail(LOG)
    trail.note(ACT)
    trail.note(OperatorAct("drain", None, "n1", "ok", 202))
    trail.note(OperatorAct("end_user", "0123456789abcdef", None, "not_found", 404, suppressed=3))
    trail.note(OperatorAct("export_user", "canary name", None, "bad_request", 400))
    _, drain, end, export = [json.loads(line) for line in stream.getvalue().splitlines()]
    told = {name: drain[name] for name in ("event", "serial", "act", "node", "result", "http_status")}
    assert told == {
        "event": "operator",
        "serial": 2,
        "act": "drain",
        "node": "n1",
        "result": "ok",
        "http_status": 202,
    }
    assert "suppressed" not in drain
    assert (end["subject"], end["suppressed"], end["serial"]) == ("0123456789abcdef", 3, 3)
    assert "canary" not in json.dumps(export)


def test_a_line_tells_the_process_that_wrote_it_and_the_user_whom_it_concerned() -> None:
    stream = io.StringIO()
    key = SecretKey(bytes(32))
    configure("info", key, stream)
    anna = UserHash(Pseudonyms(key).of(ACT.user))
    trail = AuditTrail(LOG)
    trail.note(ACT)
    trail.note(OperatorAct("end_session", "0123456789abcdef", None, "ok", 200, user=anna))
    trail.note(OperatorAct("end_session", "0123456789abcdef", None, "not_found", 404))
    number, end, missed = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert {(each["by_node"], each["life"]) for each in (number, end, missed)} == {("gw-2", LIFE)}
    assert (number["user"], end["user"], end["subject"]) == (anna, anna, "0123456789abcdef")
    assert "user" not in missed
    assert all("dropped" not in each for each in (number, end, missed))


def test_what_was_carried_out_for_another_node_is_in_the_same_row() -> None:
    stream = io.StringIO()
    configure("info", SecretKey(bytes(32)), stream)
    trail = AuditTrail(LOG)
    trail.note(OperatorAct("drain", None, "gw-2", "ok", 202, act_id="a" * 16))
    trail.note(OrderAct("drain", "a" * 16, "gw-1", "ok"))
    trail.note(OrderAct("end_session", "canary name", "canary of a node", "ok"))
    drain, order, forged = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert drain["act_id"] == "a" * 16
    names = ("logger", "event", "by_node", "serial", "act", "act_id", "asked_node", "result")
    assert {name: order[name] for name in names} == {
        "logger": "gateway.audit",
        "event": "operator_order",
        "by_node": "gw-2",
        "serial": 2,
        "act": "drain",
        "act_id": "a" * 16,
        "asked_node": "gw-1",
        "result": "ok",
    }
    assert "dropped" not in order
    assert "canary" not in json.dumps(forged)


def test_no_level_leaves_an_act_out() -> None:
    stream = io.StringIO()
    configure("error", SecretKey(bytes(32)), stream)
    AuditTrail(LOG).note(ACT)
    assert json.loads(stream.getvalue())["serial"] == 1
