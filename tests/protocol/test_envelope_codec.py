"""Envelopes between nodes arrive as sent, and nothing else is accepted."""

from __future__ import annotations

import contextlib
import dataclasses

import msgpack  # type: ignore[import-untyped]  # ships no types
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.domain.commands import History, Outcome, Remembered, SetRoutingState, Status
from gateway.domain.errors import EndReason, ErrorCode, GatewayError
from gateway.domain.model import Application, Device, NodeId, Position, Right, Scope, UserId
from gateway.domain.resources import Agent, Me
from gateway.protocol import envelopes
from gateway.protocol.envelopes import (
    Asked,
    Asks,
    AttachAnswer,
    BadEnvelope,
    CallAnswer,
    CallRequest,
    Envelope,
    Given,
    Leaving,
    Lingering,
    Offer,
    Probe,
    Publication,
    Publications,
    PublishedValue,
    Replaced,
    SessionFacts,
    SessionOver,
    Since,
    decode,
    encode,
    encoding,
)
from tests.doubles.tickets import ticket as made_ticket
from tests.protocol import strategies as any_of

USER = UserId("main", 4711)


TICKET = made_ticket(USER, "1", notices=(("privacy", 3),), idle_timeout_s=3)


def received(outcome: Outcome | None) -> object:
    """Errors are equal when their code, message, wait and details are."""
    if outcome is None:
        return None
    error = outcome.error
    parts = None if error is None else (error.code, error.message, error.retry_after_s, error.details)
    return outcome.status, parts, outcome.version, outcome.trace_id


def comparable(envelope: Envelope) -> object:
    """Return what is to be equal."""
    match envelope:
        case CallAnswer(request, outcome, shown_at):
            return request, received(outcome), shown_at
        case Offer(history=history) | Given(history=history):
            outcomes = [
                (one.key, one.body_hash, received(one.outcome), one.left_s) for one in history.outcomes
            ]
            empty = dataclasses.replace(envelope, history=msgspec.structs.replace(history, outcomes=()))
            return empty, outcomes
        case _:
            return envelope


def publication(*updates: PublishedValue) -> Publication:
    return Publication(USER, 1_767_225_600_000_000, 3, 7, False, updates, "live", 5)


LOGGED_ON = GatewayError(ErrorCode.ALREADY_LOGGED_ON, "m", retry_after_s=1.5, where="desk", since_ms=5)
BUSY = GatewayError(ErrorCode.BUSY, "m", retry_after_s=1.5, where="x")
REMEMBERED = (
    Remembered("k1", b"\x00\xff", Outcome(Status.APPLIED, None, 7), 2.5),
    Remembered("k2", b"", Outcome(Status.REJECTED, BUSY), 0.0),
)


@given(envelope=any_of.every_envelope)
@example(envelope=CallAnswer(1, Outcome(Status.REJECTED, LOGGED_ON)))
@example(envelope=CallAnswer(1, None))
@example(envelope=CallAnswer(1, Outcome(Status.APPLIED), Position(7, 3)))
@example(envelope=CallAnswer(1, Outcome(Status.APPLIED, None, 7, "0af7651916cd43dd8448eb211c80319c")))
@example(
    envelope=Offer(
        USER, NodeId("a"), 1, 5, History(3, 1.5, REMEMBERED, (3.5, 0.5)), True, (Lingering(TICKET, 2.5),)
    )
)
def test_what_is_read_is_what_was_written(envelope: Envelope) -> None:
    assert comparable(decode(encode(envelope))) == comparable(envelope)


def test_a_value_has_the_type_of_its_key_and_what_is_in_it_that_of_its_field() -> None:
    facts = SessionFacts(
        "0f", Application.DASHBOARD, (Right.SKILLS_WRITE,), Scope(agents=frozenset({1, 2})), 9
    )
    read = decode(
        encode(
            publication(
                PublishedValue("agent:5", 4, Agent(version=1)),
                PublishedValue("me:0f", 5, Me(user_id="4711")),
                PublishedValue("session:0f", 6, facts),
                PublishedValue("queue:1", 7, None),
            )
        )
    )
    assert isinstance(read, Publication)
    assert [update.value for update in read.updates] == [Agent(version=1), Me(user_id="4711"), facts, None]
    found = read.updates[2].value
    assert isinstance(found, SessionFacts)
    over = decode(encode(SessionOver(TICKET, EndReason.TAKEN_OVER, "Bob")))
    assert isinstance(over, SessionOver)
    inner = (
        found.scope.agents, found.application, read.user, over.reason, over.ticket.user, over.ticket.device,
    )  # fmt: skip
    assert [type(each) for each in inner] == [frozenset, Application, UserId, EndReason, UserId, Device]


SHARED = Agent(version=9)
TOGETHER = Publications(
    (
        publication(PublishedValue("agent:5", 4, SHARED), PublishedValue("queue:6", 5, None)),
        msgspec.structs.replace(publication(PublishedValue("agent:5", 9, SHARED)), user=UserId("main", 2)),
    )
)


def test_a_value_that_several_users_share_travels_once_and_stays_one() -> None:
    one = len(encode(Publications(TOGETHER.told[:1])))
    assert encode(TOGETHER).count(b"version") == 1
    assert len(encode(TOGETHER)) - one < 50, "who else shares it costs his position and its place"
    read = decode(encode(TOGETHER))
    assert read == TOGETHER
    assert isinstance(read, Publications)
    assert read.told[0].updates[0].value is read.told[1].updates[0].value


def test_equal_values_of_two_keys_are_read_as_what_their_keys_say() -> None:
    received = publication(
        PublishedValue("agent:5", 4, None),
        PublishedValue("queue:5", 5, None),
        PublishedValue("session:0f", 6, None),
    )
    assert decode(encode(Publications((received,)))) == Publications((received,))


@pytest.mark.parametrize("received", [TOGETHER, TOGETHER.told[0]], ids=["together", "alone"])
def test_in_slices_a_message_has_the_same_bytes(
    monkeypatch: pytest.MonkeyPatch, received: Publications | Publication
) -> None:
    at_once = encode(received)
    monkeypatch.setattr(envelopes, "VALUES_AT_ONCE", 1)
    slices = list(encoding(received))
    assert len(slices) == 2
    assert encode(received) == at_once
    assert decode(at_once) == received


OFFER = Offer(USER, NodeId("a"), 1, 5, History(3, 1.5, ()))
GIVEN = Given(USER, 9, History(3, 1.5, ()))


def raw(name: str, envelope: Envelope, **changes: object) -> bytes:
    """Return what a node of another version might write."""
    _, body = msgpack.unpackb(encode(envelope))
    return bytes(msgpack.packb((name, body | changes)))


@pytest.mark.parametrize(
    ("name", "sent", "missing", "read"),
    [
        ("Asks", Asks(NodeId("a"), 1), {"asks"}, Asks(NodeId("a"), 1)),
        ("Asked", Asked(NodeId("a"), "life", 1), {"not_mine"}, Asked(NodeId("a"), "life", 1)),
        ("AttachAnswer", AttachAnswer(1), {"refused", "moved", "epoch", "read", "waits"}, AttachAnswer(1)),
        ("Offer", OFFER, {"island", "lingering"}, OFFER),
        ("Publication", publication(), {"floor"}, publication()),
        ("Given", GIVEN, set(), GIVEN),
        ("Probe", Probe(1), set(), Probe(1)),
        ("Leaving", Leaving(NodeId("a")), set(), Leaving(NodeId("a"))),
    ],
)
def test_what_a_neighbouring_version_adds_is_ignored_and_what_it_lacks_is_as_before(
    name: str, sent: Envelope, missing: set[str], read: Envelope
) -> None:
    _, body = msgpack.unpackb(encode(sent))
    older = {field: value for field, value in body.items() if field not in missing}
    assert decode(msgpack.packb((name, older | {"later": [1, {"a": 2}]}))) == read


def test_what_a_neighbouring_version_adds_inside_is_ignored() -> None:
    _, body = msgpack.unpackb(encode(Asks(NodeId("a"), 1, (Since(USER, 1, 2),))))
    del body["asks"][0]["adopt"]
    body["asks"][0]["later"] = 1
    assert decode(msgpack.packb(("Asks", body))) == Asks(NodeId("a"), 1, (Since(USER, 1, 2, adopt=False),))
    _, body = msgpack.unpackb(encode(publication(PublishedValue("agent:5", 4, Agent()))))
    body["updates"][0]["value"] = {"version": 3, "later": True}
    assert decode(msgpack.packb(("Publication", body))) == publication(
        PublishedValue("agent:5", 4, Agent(version=3))
    )
    _, body = msgpack.unpackb(encode(TOGETHER))
    body["told"][0].append("later")
    del body["told"][1][8:]
    assert decode(msgpack.packb(("Publications", body))) == TOGETHER
    _, body = msgpack.unpackb(encode(OFFER))
    del body["history"][3:]
    assert decode(msgpack.packb(("Offer", body))) == OFFER
    body["history"] += [[], "later"]
    body["history"][2].append(["k", b"h", {"status": "applied", "error": None, "version": 1}, 2.5, "later"])
    remembered = Remembered("k", b"h", Outcome(Status.APPLIED, None, 1), 2.5)
    assert decode(msgpack.packb(("Offer", body))) == dataclasses.replace(
        OFFER, history=msgspec.structs.replace(OFFER.history, outcomes=(remembered,))
    )


CALL = CallRequest(
    USER, NodeId("a"), 1, any_of.call("0b6f0c4e-27a1-4f0c-9d0e-3a1f6f1f2b11", SetRoutingState("work"))
)


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"\xc1", b"\x92\xa5Probe", encode(Probe(1)) + b"\x00", b"\x92\xa1\xff\x80"),
        *(b"\xdd\xff\xff\xff\xff", b"\x92\xa1a" + b"\x91" * 100_000),
        raw("Later", Probe(1)),
        raw("Since", Probe(1)),
        raw("Probe", Probe(1), number="1"),
        raw("Replaced", Replaced(USER, "h"), user=["main"]),
        raw("Asks", Asks(NodeId("a"), 1), asks=[{"user": USER, "epoch": 1, "seq": "2"}]),
        raw("Offer", OFFER, history=[3, 1.5]),
        raw("Offer", OFFER, history=[3, 1.5, [], ["text"]]),
        raw("Offer", OFFER, history=[3, 1.5, [["k", "text", {}, 1.0]]]),
        raw("Offer", OFFER, history={"since": 3, "blind_s": 1.5, "outcomes": []}),
        raw("Offer", OFFER, lingering=[{"user": USER}]),
        raw("SessionOver", SessionOver(TICKET, EndReason.BLOCKED, None), reason="secret"),
        raw("Publication", publication(), upstream="fine"),
        raw("Publication", publication(), updates=[{"key": "secret:1", "seq": 1, "value": None}]),
        raw("Publication", publication(), updates=[{"key": "agent:1", "seq": 1, "value": {"version": "1"}}]),
        raw("Publication", publication(), updates=[{"key": "session:1", "seq": 1, "value": {}}]),
        raw("Publication", publication(), updates=[{"key": "agent:1", "seq": 1}]),
        raw("Publications", TOGETHER, told=[[USER, 1, 0, 1, False, [[2, 1]], "live", None]]),
        raw("Publications", TOGETHER, told=[[USER, 1, 0, 1, False, [[-1, 1]], "live", None]]),
        raw("Publications", TOGETHER, told=[[USER, 1, 0, 1, False, [], "fine", None]]),
        raw("Publications", TOGETHER, values=[["secret:1", None], ["queue:6", None]]),
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
