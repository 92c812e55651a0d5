"""Codec of envelopes: bytes to envelopes and back.

Typed both ways: what is read has the types of what was written, or nothing is read at all.
Missing fields take their defaults and unknown ones are ignored, so that nodes of neighbouring
versions understand each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, TypeVar, get_args

import msgspec

from gateway.domain.commands import Call, Command, History, Outcome, Remembered, Status
from gateway.domain.errors import Detail, ErrorCode, GatewayError
from gateway.domain.model import NodeId, UserId
from gateway.domain.resources import RESOURCES, Resource, resource_type
from gateway.protocol.envelopes import (
    Announcement,
    Asked,
    Asks,
    Attach,
    AttachAnswer,
    CallAnswer,
    CallRequest,
    Detach,
    Envelope,
    Given,
    Here,
    Leaving,
    Lingering,
    Offer,
    Order,
    Owned,
    Probe,
    Publication,
    Publications,
    Replaced,
    Report,
    SessionFacts,
    SessionOver,
    Sought,
    Update,
    Value,
)
from gateway.protocol.frames import COMMANDS

SESSION: Final = "session"
"""Prefix of the keys under which :class:`SessionFacts` stand."""


class BadEnvelope(Exception):  # noqa: N818 - names what came, as BadFrame does
    """Bytes that are no envelope. Its text never holds what was in them."""


def encode(envelope: Envelope) -> bytes:
    """Write an envelope: its type's name, then its fields."""
    body = _together(envelope.told) if isinstance(envelope, Publications) else envelope
    return _ENCODER.encode((type(envelope).__name__, body))


def decode(data: bytes) -> Envelope:
    """Read an envelope.

    Raises:
        BadEnvelope: It is none that this version knows.
    """
    try:
        name, body = _NAMED.decode(data)
        return _read(name, body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise BadEnvelope("unreadable") from None


# ---- writing: domain types say themselves how they are written, except for errors ----


class _Error(msgspec.Struct):
    code: ErrorCode
    message: str
    retry_after_s: float | None
    details: dict[str, Detail]


def _of_error(error: object) -> _Error:
    if not isinstance(error, GatewayError):
        raise TypeError(f"{type(error).__name__} is no part of an envelope")
    return _Error(error.code, error.message, error.retry_after_s, error.details)


_ENCODER: Final = msgspec.msgpack.Encoder(enc_hook=_of_error)


def _together(told: Iterable[Publication]) -> dict[str, object]:
    """Write publications so that what the same object stands for under the same key stands there once."""
    places: dict[tuple[str, int], int] = {}
    values: list[tuple[str, Value | None]] = []
    lines = []
    for one in told:
        updates = []
        for update in one.updates:
            at = places.setdefault((update.key, id(update.value)), len(values))
            if at == len(values):
                values.append((update.key, update.value))
            updates.append((at, update.seq))
        span = (one.epoch, one.after, one.upto, one.reset)
        lines.append((one.user, *span, updates, one.upstream, one.as_of_ms, one.floor, one.age_ms))
    return {"values": values, "told": lines}


# ---- reading: where a field may be of several types, its bytes wait until its name decides ----


class _Update(msgspec.Struct):
    key: str
    seq: int
    value: msgspec.Raw


class _Publication(msgspec.Struct):
    user: UserId
    epoch: int
    after: int
    upto: int
    reset: bool
    updates: tuple[_Update, ...]
    upstream: Literal["live", "stale", "down"]
    as_of_ms: int | None
    floor: int | None = None
    age_ms: int | None = None


class _Line(msgspec.Struct, array_like=True, gc=False):
    user: UserId
    epoch: int
    after: int
    upto: int
    reset: bool
    updates: tuple[tuple[int, int], ...]
    upstream: Literal["live", "stale", "down"]
    as_of_ms: int | None
    floor: int | None = None
    age_ms: int | None = None


class _Publications(msgspec.Struct):
    values: tuple[tuple[str, msgspec.Raw], ...]
    told: tuple[_Line, ...]


class _Call(msgspec.Struct):
    key: str
    session: str
    command: msgspec.Raw
    stream_epoch: int | None
    retry: bool
    deadline_ms: int
    waited: bool = False


class _CallRequest(msgspec.Struct):
    user: UserId
    node: NodeId
    request: int
    call: _Call
    left_ms: int | None = None


class _Outcome(msgspec.Struct):
    status: Status
    error: _Error | None
    version: int | None


class _CallAnswer(msgspec.Struct):
    request: int
    outcome: _Outcome | None


class _Remembered(msgspec.Struct, array_like=True):
    key: str
    body_hash: bytes
    outcome: _Outcome
    left_s: float


class _History(msgspec.Struct, array_like=True):
    since: int
    blind_s: float
    outcomes: tuple[_Remembered, ...]
    numbers_changed: tuple[float, ...] = ()


class _Offer(msgspec.Struct):
    user: UserId
    node: NodeId
    adopt: int
    token: int
    history: _History
    island: bool = False
    lingering: tuple[Lingering, ...] = ()


class _Given(msgspec.Struct):
    user: UserId
    token: int
    history: _History


class _Kind(msgspec.Struct):
    kind: str


_NAMED: Final = msgspec.msgpack.Decoder(tuple[str, msgspec.Raw])
_PUBLICATION: Final = msgspec.msgpack.Decoder(_Publication)
_PUBLICATIONS: Final = msgspec.msgpack.Decoder(_Publications)
_CALL_REQUEST: Final = msgspec.msgpack.Decoder(_CallRequest)
_CALL_ANSWER: Final = msgspec.msgpack.Decoder(_CallAnswer)
_OFFER: Final = msgspec.msgpack.Decoder(_Offer)
_GIVEN: Final = msgspec.msgpack.Decoder(_Given)
_Plain = (
    Asks
    | Asked
    | Attach
    | AttachAnswer
    | Detach
    | Replaced
    | Announcement
    | SessionOver
    | Order
    | Report
    | Here
    | Leaving
    | Sought
    | Owned
    | Probe
)
_AS_THEY_ARE: Final[dict[str, msgspec.msgpack.Decoder[_Plain]]] = {
    of.__name__: msgspec.msgpack.Decoder(of) for of in get_args(_Plain)
}
_KIND: Final = msgspec.msgpack.Decoder(_Kind)

_COMMANDS: Final[dict[str, msgspec.msgpack.Decoder[Command]]] = {
    kind: msgspec.msgpack.Decoder(of) for kind, of in COMMANDS.items()
}
_FACTS: Final = msgspec.msgpack.Decoder(SessionFacts | None)
_VALUES: Final[dict[type[Resource], msgspec.msgpack.Decoder[Resource | None]]] = {
    of: msgspec.msgpack.Decoder(of | None) for of in RESOURCES.values()
}


def _read(name: str, body: msgspec.Raw) -> Envelope:
    match name:
        case "Publication":
            return _publication(_PUBLICATION.decode(body))
        case "Publications":
            return _publications(_PUBLICATIONS.decode(body))
        case "CallRequest":
            return _call_request(_CALL_REQUEST.decode(body))
        case "CallAnswer":
            return _call_answer(_CALL_ANSWER.decode(body))
        case "Offer":
            return _offer(_OFFER.decode(body))
        case "Given":
            read = _GIVEN.decode(body)
            return Given(read.user, read.token, _history(read.history))
        case _:
            return _known(_AS_THEY_ARE, name).decode(body)


def _publication(read: _Publication) -> Publication:
    updates = tuple(
        Update(update.key, update.seq, _value(update.key, update.value)) for update in read.updates
    )
    span = (read.epoch, read.after, read.upto, read.reset)
    return Publication(read.user, *span, updates, read.upstream, read.as_of_ms, read.floor, read.age_ms)


def _publications(read: _Publications) -> Publications:
    values = [(key, _value(key, raw)) for key, raw in read.values]
    return Publications(tuple([_of_line(line, values) for line in read.told]))


def _of_line(line: _Line, values: Sequence[tuple[str, Value | None]]) -> Publication:
    updates = []
    for at, seq in line.updates:
        if not 0 <= at < len(values):
            raise BadEnvelope("a value that is not there")
        key, value = values[at]
        updates.append(Update(key, seq, value))
    span = (line.epoch, line.after, line.upto, line.reset)
    said = (line.upstream, line.as_of_ms, line.floor, line.age_ms)
    return Publication(line.user, *span, tuple(updates), *said)


def _value(key: str, raw: msgspec.Raw) -> Value | None:
    if key.partition(":")[0] == SESSION:
        facts: SessionFacts | None = _FACTS.decode(raw)
        return facts
    of = resource_type(key)
    if of is None:
        raise BadEnvelope("a key of an unknown kind")
    value: Resource | None = _VALUES[of].decode(raw)
    return value


def _call_request(read: _CallRequest) -> CallRequest:
    raw = read.call
    command = _known(_COMMANDS, _KIND.decode(raw.command).kind).decode(raw.command)
    call = Call(raw.key, raw.session, command, raw.stream_epoch, raw.retry, raw.deadline_ms, raw.waited)
    return CallRequest(read.user, read.node, read.request, call, read.left_ms)


def _call_answer(read: _CallAnswer) -> CallAnswer:
    return CallAnswer(read.request, None if read.outcome is None else _outcome(read.outcome))


def _offer(read: _Offer) -> Offer:
    history = _history(read.history)
    return Offer(read.user, read.node, read.adopt, read.token, history, read.island, read.lingering)


def _history(raw: _History) -> History:
    outcomes = tuple(
        Remembered(one.key, one.body_hash, _outcome(one.outcome), one.left_s) for one in raw.outcomes
    )
    return History(raw.since, raw.blind_s, outcomes, raw.numbers_changed)


def _outcome(raw: _Outcome) -> Outcome:
    error = None
    if raw.error is not None:
        error = GatewayError(raw.error.code, raw.error.message, retry_after_s=raw.error.retry_after_s)
        error.details.update(raw.error.details)
    return Outcome(raw.status, error, raw.version)


D = TypeVar("D")


def _known(decoders: Mapping[str, D], name: str) -> D:
    found = decoders.get(name)
    if found is None:
        raise BadEnvelope("of an unknown type")
    return found
