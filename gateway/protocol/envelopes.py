"""Envelopes: messages between two nodes, and their bytes.

They have whole values only; patches exist on the last hop. Adapters seal them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, NamedTuple, TypeVar, get_args

import msgspec

from gateway.domain.commands import Call, Command, History, Outcome
from gateway.domain.errors import CloseCode, Detail, EndReason, ErrorCode, GatewayError, SessionRefused
from gateway.domain.model import EMPTY_SET, Application, NodeId, Position, Right, Scope, Ticket, UserId
from gateway.domain.resources import RESOURCES, Resource
from gateway.protocol.frames import COMMANDS, NoticeFrame


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """OSCC-E's data about one session; in the ledger beside the resources, never sent to phones.

    *handle* identifies the session inside the gateway. *rights* and *scope* are none until OSCC-E has
    accepted it in this epoch. *end* is None while it lives; *end_by* is the cause of its end, if OSCC-E sent
    it.
    """

    handle: str
    application: Application
    rights: tuple[Right, ...]
    scope: Scope
    expires_at_ms: int
    end: EndReason | None = None
    end_by: str | None = None


Value = Resource | SessionFacts


class PublishedValue(msgspec.Struct, frozen=True, gc=False):
    """The newest value of one key; None when it is gone."""

    key: str
    seq: int
    value: Value | None


class Publication(msgspec.Struct, frozen=True, gc=False):
    """All changes in ``(after, upto]`` of one epoch of one user, compacted.

    No updates and ``after == upto`` is a heartbeat. *reset*: first remove every key. After *floor* no key was
    removed but keys of single sessions; older nodes send None. *age_ms*: the age of the data when it was
    sent. *as_of_ms*: its instant by the sender's wall clock, used to measure.
    """

    user: UserId
    epoch: int
    after: int
    upto: int
    reset: bool
    updates: tuple[PublishedValue, ...]
    upstream: Literal["live", "stale", "down"]
    as_of_ms: int | None
    floor: int | None = None
    age_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Publications:
    """Changes of some users whom one node follows; a value that several of them share is sent once."""

    told: tuple[Publication, ...]


@dataclass(frozen=True, slots=True)
class Since:
    """A follower's request for one user: all changes after the follower's position.

    *adopt*: the follower requests the user; the number by which it recognises this request, 0 for none.
    *phones*: the handles of all sessions with a phone there. *together*: whether changes may be sent as
    :class:`Publications`, which older nodes cannot read.
    """

    user: UserId
    epoch: int
    seq: int
    adopt: int = 0
    phones: tuple[str, ...] = ()
    together: bool = False


@dataclass(frozen=True, slots=True)
class Asks:
    """A node's request to an owner node for missing changes; the owner publishes on. No user: a probe."""

    node: NodeId
    number: int
    asks: tuple[Since, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """The messages before this one answered the whole request; *not_mine*: send it to another node.

    *holder*: the life of the answering node.
    """

    node: NodeId
    holder: str
    number: int
    not_mine: tuple[UserId, ...] = ()


@dataclass(frozen=True, slots=True)
class Attach:
    """A follower's request to the owner: have OSCC-E accept a session, and subscribe to its topics.

    Sent again it changes the topics. *age_ms*: how long the session's phone has been on *node*; older nodes
    send None. *since*: the follower's request for changes, which is answered before the session is.
    *may_wait*: whether the follower understands :attr:`AttachAnswer.waits`.
    """

    node: NodeId
    request: int
    ticket: Ticket
    topics: tuple[str, ...]
    age_ms: int | None = None
    since: Since | None = None
    may_wait: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """How to close a phone whose session is not served."""

    code: int
    reason: str
    by: str | None = None
    window_s: tuple[float, float] | None = None

    @property
    def as_error(self) -> SessionRefused:
        """The refusal as an error; a code of a newer node is ``internal``."""
        try:
            code = CloseCode(self.code)
        except ValueError:
            code = CloseCode.INTERNAL
        return SessionRefused(code, self.reason, by=self.by, window_s=self.window_s)


@dataclass(frozen=True, slots=True)
class AttachAnswer:
    """The session is accepted, *refused*, or another node has become the owner: *moved*.

    *epoch*: the owner's token; older nodes send None. *read*: the request for changes was answered before.
    *waits*: none of these; the session waits for its turn, and the request is to be repeated.
    """

    request: int
    refused: Refusal | None = None
    moved: bool = False
    epoch: int | None = None
    read: bool = False
    waits: bool = False


@dataclass(frozen=True, slots=True)
class Detach:
    """A follower's phone of a session left *node*."""

    user: UserId
    handle: str
    node: NodeId


@dataclass(frozen=True, slots=True)
class Replaced:
    """A session's phone is replaced by one that came to another node *age_ms* ago (None: unknown)."""

    user: UserId
    handle: str
    age_ms: int | None = None


@dataclass(frozen=True, slots=True)
class CallRequest:
    """A command on its way to the owner. *left_ms*: until its deadline, when it was sent.

    The deadline in the call itself is by the sender's wall clock, which may differ from the receiver's.
    """

    user: UserId
    node: NodeId
    request: int
    call: Call
    left_ms: int | None = None


@dataclass(frozen=True, slots=True)
class CallAnswer:
    """The outcome; None: it was not begun, since another node has become the owner.

    *shown_at*: the position from which on the state shows what it caused; older nodes send None.
    """

    request: int
    outcome: Outcome | None
    shown_at: Position | None = None


class Lingering(NamedTuple):
    """A session whose phone has left, with the time since then; the phone may come back."""

    ticket: Ticket
    since_s: float


@dataclass(frozen=True, slots=True)
class Offer:
    """The owner offers a user to the requesting node: the lease may be taken with *token*.

    *adopt*: the number of the request; other nodes ignore the offer. *island*: the owner lacks its site.
    """

    user: UserId
    node: NodeId
    adopt: int
    token: int
    history: History
    island: bool = False
    lingering: tuple[Lingering, ...] = ()


@dataclass(frozen=True, slots=True)
class Given:
    """The link with *token* replaced the link of an owner that had offered the user.

    *history*: its records of commands. It has begun none since the offer, and no link was open between its
    own and that one.
    """

    user: UserId
    token: int
    history: History


@dataclass(frozen=True, slots=True)
class Announcement:
    """A notice of OSCC-E for the user's phones."""

    user: UserId
    notice: NoticeFrame


@dataclass(frozen=True, slots=True)
class SessionOver:
    """A session ended: from now on its tokens are refused, and its phone is closed."""

    ticket: Ticket
    reason: EndReason
    by: str | None


@dataclass(frozen=True, slots=True)
class Order:
    """An operator's request to a node, by way of *node*.

    *subject*: its user or object, by a keyed hash or a public id. *after* and *most* select a page. *act_id*:
    the id of the operator's act in the audit; empty: it belongs to no operator.
    """

    node: NodeId
    request: int
    act: str
    subject: str = ""
    after: str = ""
    most: int = 0
    act_id: str = ""


Record = dict[str, Any]
"""Plain members, as in JSON."""


@dataclass(frozen=True, slots=True, repr=False)
class Report:
    """Result of an order, or a page of it; *refused*: the reason why there is none.

    *records* have plain members. Its repr shows none of them.
    """

    request: int
    records: tuple[Record, ...] = ()
    more: bool = False
    refused: ErrorCode | None = None

    def __repr__(self) -> str:
        return f"Report({self.request}, {len(self.records)} records)"


class NodeRecord(NamedTuple):
    """A node's report on itself, without personal data."""

    node: NodeId
    holder: str
    version: str
    connections: int
    links: int
    draining: bool
    accepts_per_s: float
    """Further handshakes that it would accept."""
    sealing_keys: str = ""
    """Ids and check values of the sealing keys in force (``k2/9f2b6d44 k1/0c662ac1``); the first seals."""


@dataclass(frozen=True, slots=True)
class Here:
    """A node lives or, if *has_left*, has ended in order; older nodes send no such message at their end."""

    node: NodeRecord
    has_left: bool = False


@dataclass(frozen=True, slots=True)
class Leaving:
    """A node drains: its followers take its users over."""

    node: NodeId


@dataclass(frozen=True, slots=True)
class Sought:
    """*node* asks all nodes which one owns *user*, while the lease store accepts no writes.

    The owner answers.
    """

    user: UserId
    node: NodeId


@dataclass(frozen=True, slots=True)
class Owned:
    """A node owns *user* under *token*, which the lease store may lack while it accepts no writes."""

    user: UserId
    node: NodeId
    holder: str
    token: int


@dataclass(frozen=True, slots=True)
class Probe:
    """A node's test message to itself: whether the bus works."""

    number: int


PlainEnvelope = (
    Asks
    | Asked
    | Attach
    | AttachAnswer
    | CallAnswer
    | Detach
    | Given
    | Offer
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
"""Envelopes without a field that may be of several types."""
Envelope = PlainEnvelope | Publication | Publications | CallRequest


def aged(envelope: Envelope, by_ms: int) -> Envelope:
    """Return *envelope* as of *by_ms* after it was sent: data is older, and less time is left."""
    match envelope:
        case Publication(age_ms=int(age_ms)):
            return msgspec.structs.replace(envelope, age_ms=age_ms + by_ms)
        case Publications():
            sent = tuple(
                one if one.age_ms is None else msgspec.structs.replace(one, age_ms=one.age_ms + by_ms)
                for one in envelope.told
            )
            return Publications(sent)
        case Attach(age_ms=int(age_ms)) | Replaced(age_ms=int(age_ms)):
            return replace(envelope, age_ms=age_ms + by_ms)
        case CallRequest(left_ms=int(left_ms)):
            return replace(envelope, left_ms=left_ms - by_ms)
        case _:
            return envelope


# ---- where to ----


class Events(NamedTuple):
    """The channel on which a user's owner publishes changes."""

    user: UserId


class Inbox(NamedTuple):
    """The channel of messages for one node."""

    node: NodeId


class Control(NamedTuple):
    """The channel of messages for all nodes."""


BusChannel = Events | Inbox | Control


SESSION: Final = "session"
"""Prefix of the keys of :class:`SessionFacts`."""


class BadEnvelope(Exception):  # noqa: N818 - names what came, as BadFrame does
    """Bytes that are no envelope. Its text never has any of them."""


VALUES_AT_ONCE: Final = 1_000
"""Values that are encoded or decoded in one slice: 2 to 5 ms. Smaller slices delay the bus on a busy loop."""
T = TypeVar("T")
Sliced = Generator[None, None, T]
"""Work that yields after each slice, so that its caller can serve others, and returns its result."""


def is_large(envelope: Envelope) -> bool:
    """Return whether :func:`encoding` yields."""
    match envelope:
        case Publication(updates=updates):
            return len(updates) > VALUES_AT_ONCE
        case Publications(told=sent):
            return sum([len(each.updates) for each in sent]) > VALUES_AT_ONCE
        case _:
            return False


def encode(envelope: Envelope) -> bytes:
    """Encode an envelope: its type's name, then its fields."""
    if isinstance(envelope, Publications):  # the usual type, and mostly small
        values, lines = _together(envelope.told)
        if len(values) <= VALUES_AT_ONCE:
            return _ENCODER.encode((Publications.__name__, {"values": values, "told": lines}))
    return _at_once(encoding(envelope))


def encoding(envelope: Envelope) -> Sliced[bytes]:
    """Encode an envelope like :func:`encode`, in slices of :data:`VALUES_AT_ONCE` values."""
    body: object = envelope
    match envelope:
        case Publications(sent):
            values, lines = _together(sent)
            is_long = len(values) > VALUES_AT_ONCE
            body = {"values": (yield from _listed(values)) if is_long else values, "told": lines}
        case Publication() if is_large(envelope):
            updates = yield from _listed(envelope.updates)
            body = msgspec.structs.asdict(envelope) | {"updates": updates}
    return _ENCODER.encode((type(envelope).__name__, body))


def _listed(values: Sequence[object]) -> Sliced[msgspec.Raw]:
    """Return the bytes of a list of many values."""
    count = len(values)
    pieces = [_ENCODER.encode([None] * count)[:-count]]  # the head of the list alone: each None is one byte
    for at in range(0, count, VALUES_AT_ONCE):
        pieces += [_ENCODER.encode(value) for value in values[at : at + VALUES_AT_ONCE]]
        yield
    return msgspec.Raw(b"".join(pieces))


def decode(data: bytes) -> Envelope:
    """Decode an envelope.

    Raises:
        BadEnvelope: It is no envelope of this version.
    """
    try:
        name, body = _NAMED.decode(data)
        if name == Publications.__name__:  # nearly all are, and small
            read = _PUBLICATIONS.decode(body)
            if len(read.values) <= VALUES_AT_ONCE:
                return _united(read, [(key, _value(key, raw)) for key, raw in read.values])
    except _UNREADABLE:
        raise BadEnvelope("unreadable") from None
    return _at_once(decoding(data))


def decoding(data: bytes) -> Sliced[Envelope]:
    """Decode an envelope like :func:`decode`, in slices of :data:`VALUES_AT_ONCE` values.

    Raises:
        BadEnvelope: It is no envelope of this version.
    """
    try:
        name, body = _NAMED.decode(data)
        match name:
            case "Publication":
                return (yield from _publication(_PUBLICATION.decode(body)))
            case "Publications":
                return (yield from _publications(_PUBLICATIONS.decode(body)))
            case "CallRequest":
                return _call_request(_CALL_REQUEST.decode(body))
            case _:
                return _known(_AS_THEY_ARE, name).decode(body)
    except _UNREADABLE:
        raise BadEnvelope("unreadable") from None


_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def _at_once(work: Sliced[T]) -> T:
    while True:
        try:
            next(work)
        except StopIteration as done:
            result: T = done.value
            return result


# ---- errors and scopes; msgspec writes and reads all other types of the domain ----


class _Error(msgspec.Struct):
    code: ErrorCode
    message: str
    retry_after_s: float | None
    details: dict[str, Detail]


class _Scope(msgspec.Struct):
    agents: frozenset[int] = EMPTY_SET
    queues: frozenset[int] = EMPTY_SET
    groups: frozenset[int] = EMPTY_SET
    aggregates: frozenset[int] = EMPTY_SET


def _plain(part: object) -> _Error | _Scope:
    match part:
        case Scope():
            return _Scope(part.agents, part.queues, part.groups, part.aggregates)
        case GatewayError():
            return _Error(part.code, part.message, part.retry_after_s, part.details)
        case _:
            raise TypeError(f"{type(part).__name__} is not a part of an envelope")


def _made(of: type, raw: object) -> GatewayError | Scope:
    if of is Scope:
        return Scope(*msgspec.structs.astuple(msgspec.convert(raw, _Scope)))
    read = msgspec.convert(raw, _Error)
    error = GatewayError(read.code, read.message, retry_after_s=read.retry_after_s)
    error.details.update(read.details)
    return error


_ENCODER: Final = msgspec.msgpack.Encoder(enc_hook=_plain)


def _together(
    sent: Iterable[Publication],
) -> tuple[list[tuple[str, Value | None]], list[tuple[object, ...]]]:
    """Return each value of publications once, and a line of places for each publication."""
    places: dict[tuple[str, int], int] = {}
    values: list[tuple[str, Value | None]] = []
    lines: list[tuple[object, ...]] = []
    for one in sent:
        updates = []
        for update in one.updates:
            at = places.setdefault((update.key, id(update.value)), len(values))
            if at == len(values):
                values.append((update.key, update.value))
            updates.append((at, update.seq))
        span = (one.epoch, one.after, one.upto, one.reset)
        lines.append((one.user, *span, updates, one.upstream, one.as_of_ms, one.floor, one.age_ms))
    return values, lines


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


class _Kind(msgspec.Struct):
    kind: str


_NAMED: Final = msgspec.msgpack.Decoder(tuple[str, msgspec.Raw])
_PUBLICATION: Final = msgspec.msgpack.Decoder(_Publication)
_PUBLICATIONS: Final = msgspec.msgpack.Decoder(_Publications)
_CALL_REQUEST: Final = msgspec.msgpack.Decoder(_CallRequest)
_AS_THEY_ARE: Final[dict[str, msgspec.msgpack.Decoder[PlainEnvelope]]] = {
    of.__name__: msgspec.msgpack.Decoder(of, dec_hook=_made) for of in get_args(PlainEnvelope)
}
_KIND: Final = msgspec.msgpack.Decoder(_Kind)

_COMMANDS: Final[dict[str, msgspec.msgpack.Decoder[Command]]] = {
    kind: msgspec.msgpack.Decoder(of) for kind, of in COMMANDS.items()
}
_VALUES: Final[dict[str, Callable[[msgspec.Raw], Value | None]]] = {
    SESSION: msgspec.msgpack.Decoder(SessionFacts | None, dec_hook=_made).decode,
    **{key: msgspec.msgpack.Decoder(of | None).decode for key, of in RESOURCES.items()},
}
"""Prefix of a key, or the whole key, → the decoder of its value."""


def _publication(read: _Publication) -> Sliced[Publication]:
    values = yield from _values([(update.key, update.value) for update in read.updates])
    updates = tuple(
        PublishedValue(update.key, update.seq, value)
        for update, (_, value) in zip(read.updates, values, strict=True)
    )
    span = (read.epoch, read.after, read.upto, read.reset)
    return Publication(read.user, *span, updates, read.upstream, read.as_of_ms, read.floor, read.age_ms)


def _publications(read: _Publications) -> Sliced[Publications]:
    return _united(read, (yield from _values(read.values)))


def _united(read: _Publications, values: Sequence[tuple[str, Value | None]]) -> Publications:
    return Publications(tuple([_of_line(line, values) for line in read.told]))


def _of_line(line: _Line, values: Sequence[tuple[str, Value | None]]) -> Publication:
    updates = []
    for at, seq in line.updates:
        if not 0 <= at < len(values):
            raise BadEnvelope("a value that is not there")
        updates.append(PublishedValue(values[at][0], seq, values[at][1]))
    return Publication(
        line.user, line.epoch, line.after, line.upto, line.reset,
        tuple(updates), line.upstream, line.as_of_ms, line.floor, line.age_ms,
    )  # fmt: skip


def _values(raws: Sequence[tuple[str, msgspec.Raw]]) -> Sliced[list[tuple[str, Value | None]]]:
    if len(raws) <= VALUES_AT_ONCE:
        return [(key, _value(key, raw)) for key, raw in raws]
    values: list[tuple[str, Value | None]] = []
    for at in range(0, len(raws), VALUES_AT_ONCE):
        yield
        values += [(key, _value(key, raw)) for key, raw in raws[at : at + VALUES_AT_ONCE]]
    yield
    return values


def _value(key: str, raw: msgspec.Raw) -> Value | None:
    decode_value = _VALUES.get(key.partition(":")[0]) or _VALUES.get(key)
    if decode_value is None:
        raise BadEnvelope("a key of an unknown kind")
    value: Value | None = decode_value(raw)
    return value


def _call_request(read: _CallRequest) -> CallRequest:
    raw = read.call
    command = _known(_COMMANDS, _KIND.decode(raw.command).kind).decode(raw.command)
    call = Call(raw.key, raw.session, command, raw.stream_epoch, raw.retry, raw.deadline_ms, raw.waited)
    return CallRequest(read.user, read.node, read.request, call, read.left_ms)


D = TypeVar("D")


def _known(decoders: Mapping[str, D], name: str) -> D:
    found = decoders.get(name)
    if found is None:
        raise BadEnvelope("of an unknown type")
    return found
