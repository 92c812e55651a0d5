"""Do envelopes arrive as they were sent, and does nothing else arrive?"""

from __future__ import annotations

import contextlib
import dataclasses

import msgpack  # type: ignore[import-untyped]  # ships no types
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.domain.commands import Outcome, SetRoutingState, Status
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import Application, NodeId, Right, Scope, UserId
from gateway.domain.resources import Agent, Me
from gateway.protocol.envelope_codec import BadEnvelope, decode, encode
from gateway.protocol.envelopes import (
    CallAnswer,
    CallRequest,
    Envelope,
    Publication,
    SessionFacts,
    Since,
    Update,
)
from tests.protocol import strategies as any_of

USER = UserId("main", 4711)


def comparable(envelope: Envelope) -> object:
    """Errors are equal when their code, message, wait and details are."""
    if not isinstance(envelope, CallAnswer):
        return envelope
    outcome, error = envelope.outcome, envelope.outcome.error
    told = None if error is None else (error.code, error.message, error.retry_after_s, error.details)
    return envelope.request, outcome.status, told, outcome.version


def publication(*updates: Update) -> Publication:
    return Publication(USER, 1_767_225_600_000_000, 3, 7, False, updates, "live", 5)


@given(envelope=any_of.every_envelope)
@example(
    envelope=CallAnswer(
        1,
        Outcome(
            Status.REJECTED,
            GatewayError(ErrorCode.ALREADY_LOGGED_ON, "m", retry_after_s=1.5, where="desk", since_ms=5),
        ),
    )
)
def test_what_is_read_is_what_was_written(envelope: Envelope) -> None:
    assert comparable(decode(encode(envelope))) == comparable(envelope)


def test_a_value_has_the_type_of_its_key() -> None:
    facts = SessionFacts(
        "0f", Application.DASHBOARD, (Right.SKILLS_WRITE,), Scope(agents=frozenset({1, 2})), 9
    )
    read = decode(
        encode(
            publication(
                Update("agent:5", 4, Agent(version=1)),
                Update("me:0f", 5, Me(user_id="4711")),
                Update("session:0f", 6, facts),
                Update("queue:1", 7, None),
            )
        )
    )
    assert isinstance(read, Publication)
    assert [update.value for update in read.updates] == [Agent(version=1), Me(user_id="4711"), facts, None]
    found = read.updates[2].value
    assert isinstance(found, SessionFacts)
    assert type(found.scope.agents) is frozenset
    assert type(found.application) is Application
    assert type(read.user) is UserId


def raw(name: str, envelope: Envelope, **changes: object) -> bytes:
    """Return what a node of another version might write."""
    _, body = msgpack.unpackb(encode(envelope))
    return bytes(msgpack.packb((name, body | changes)))


def test_neighbouring_versions_understand_each_other() -> None:
    since = Since(USER, NodeId("a"), 1, 2)
    assert decode(raw("Since", since, later=[1, {"a": 2}])) == since
    _, body = msgpack.unpackb(encode(publication(Update("agent:5", 4, Agent()))))
    body["updates"][0]["value"] = {"version": 3, "later": True}
    assert decode(msgpack.packb(("Publication", body))) == publication(Update("agent:5", 4, Agent(version=3)))


CALL = CallRequest(
    USER,
    NodeId("a"),
    1,
    any_of.call("0b6f0c4e-27a1-4f0c-9d0e-3a1f6f1f2b11", SetRoutingState("work")),
)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x92\xa5Since",
        encode(Since(USER, NodeId("a"), 1, 2)) + b"\x00",
        b"\x92\xa1\xff\x80",
        b"\xdd\xff\xff\xff\xff",
        b"\x92\xa1a" + b"\x91" * 100_000,
        raw("Later", Since(USER, NodeId("a"), 1, 2)),
        raw("Since", Since(USER, NodeId("a"), 1, 2), user=["main"]),
        raw("Since", Since(USER, NodeId("a"), 1, 2), seq="2"),
        raw("Publication", publication(), upstream="fine"),
        raw("Publication", publication(), updates=[{"key": "secret:1", "seq": 1, "value": None}]),
        raw("Publication", publication(), updates=[{"key": "agent:1", "seq": 1, "value": {"version": "1"}}]),
        raw("Publication", publication(), updates=[{"key": "session:1", "seq": 1, "value": {}}]),
        raw("Publication", publication(), updates=[{"key": "agent:1", "seq": 1}]),
        raw("CallRequest", CALL, call={}),
        raw("CallRequest", CALL, call=dataclasses.asdict(CALL.call) | {"command": {"kind": "secret"}}),
        raw("CallRequest", CALL, call=dataclasses.asdict(CALL.call) | {"command": {"state": "work"}}),
    ],
)
def test_what_is_no_envelope_is_refused_without_telling_what_came(data: bytes) -> None:
    with pytest.raises(BadEnvelope) as refused:
        decode(data)
    assert "secret" not in str(refused.value)
    assert "fine" not in str(refused.value)


@given(data=st.binary(max_size=100))
def test_arbitrary_bytes_raise_nothing_else(data: bytes) -> None:
    with pytest.raises(BadEnvelope):
        decode(data)


@given(envelope=any_of.every_envelope, at=st.integers(0, 10_000), noise=st.binary(max_size=3))
def test_damaged_envelopes_raise_nothing_else(envelope: Envelope, at: int, noise: bytes) -> None:
    data = encode(envelope)
    at %= len(data)
    with contextlib.suppress(BadEnvelope):
        decode(data[:at] + noise + data[at + len(noise) :])
