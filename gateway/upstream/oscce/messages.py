"""Messages on a link: events of the server, commands and requests to it, and their responses.

Pure: bytes and the time in, events and answers out. What cannot be read is a
:class:`~gateway.upstream.oscce.errors.WireError`: to skip it would be to lose a change.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import msgspec

from gateway.domain.commands import (
    AcknowledgeNotice,
    AttachSession,
    ChangeRemoteNumber,
    Command,
    DetachSession,
    Directory,
    Execute,
    Executed,
    ExtendPostProcessing,
    FinishPostProcessing,
    KeepAlive,
    LinkAnswer,
    LinkRequest,
    Listen,
    Listening,
    Presence,
    QueryDirectory,
    SetAgentRoutingState,
    SetAutoPostProcessing,
    SetGroupParameters,
    SetQueueParameters,
    SetRoutingState,
    SetSkills,
    SkillChange,
    StartPostProcessing,
    StopListening,
)
from gateway.domain.errors import EndReason, ErrorCode, GatewayError
from gateway.domain.model import readable_or_none
from gateway.domain.resources import FunctionState, LastEnd, Parameter, Scalar
from gateway.domain.upstream import (
    FunctionChanged,
    LinkEvent,
    LinkReplaced,
    Opened,
    Part,
    Reading,
    SessionEnded,
    Source,
)
from gateway.upstream.oscce.decode import (
    END_REASONS,
    EVENT_TYPES,
    FUNCTION_STATES,
    FUNCTIONS,
    MOST,
    SHAPES,
    TARGET_STATES,
    WHENS,
    Count,
    Key,
    Millis,
    References,
    Shape,
    WireElement,
    instance,
    spelled,
)
from gateway.upstream.oscce.directory import (
    DIRECTORY_KINDS,
    Notice,
    ServerSession,
    announced,
    attached,
    changes,
    directory,
    directory_slices,
    person,
)
from gateway.upstream.oscce.errors import (
    NAMES,
    UNREADABLE,
    AnswerError,
    WireError,
    as_meant,
    outcome_unknown,
    refusal,
)
from gateway.upstream.oscce.readings import EVENT_HEAD, LARGE_BYTES, Readings, rest_of


@dataclass(frozen=True, slots=True)
class Response:
    """An answer; the sender of the request reads *body*.

    *time_ms*: the server's time, if it sends one. *directory*: the directory in a large body, if there is
    one.
    """

    request_id: int
    body: str | bytes
    time_ms: int | None = None
    directory: Directory | None = None


MessageContent = tuple[LinkEvent | Response, ...]
"""Content of one message, in order; empty when the gateway does not use it."""


# ---- messages ----


class _Person(WireElement):
    key: Key
    id: str | None = None
    first_name: str | None = None
    last_name: str | None = None


class _LastEnd(WireElement):
    reason: str | None = None
    by: str | None = None
    time: Millis | None = None


class _LinkOpened(WireElement, tag_field="Type", tag="LinkOpened"):
    time: Millis
    keep_alive: Annotated[float, msgspec.Meta(gt=0, le=86_400)]
    user: _Person
    session: ServerSession
    last_end: _LastEnd | None = None
    server_instance: Any = None


class _Event(WireElement, tag_field="Type", tag="Event"):
    query_id: Count
    event_type: str
    time: Millis
    elements: tuple[msgspec.Raw, ...]
    complete: bool = False
    removed: tuple[Key, ...] | None = None


class _Response(WireElement, tag_field="Type", tag="Response"):
    request_id: Count
    time: Any = None


class _SessionEnded(WireElement, tag_field="Type", tag="SessionEnded"):
    session: Count
    reason: str
    by: str | None = None


class _ManagerStateChanged(WireElement, tag_field="Type", tag="ManagerStateChanged"):
    function: str
    state: str


class _LinkReplaced(WireElement, tag_field="Type", tag="LinkReplaced"):
    token: Count


_Message = _LinkOpened | _Event | _Response | _SessionEnded | _ManagerStateChanged | _LinkReplaced | Notice
_decode: Final = msgspec.json.Decoder(_Message).decode
_DIRECTORY: Final = '"Objects"'
"""Only the answer to ``QueryDirectory`` contains this."""
_ADMINISTRATION: Final = EVENT_TYPES[None, Source.DIRECTORY]
_TYPES: Final = frozenset(
    {"LinkOpened", "Event", "Response", "SessionEnded", "ManagerStateChanged", "LinkReplaced"}
)
"""Types whose messages must be readable. An unreadable notice is skipped."""


def _written(message: str | bytes) -> bytes:
    return message.encode(errors="surrogatepass") if isinstance(message, str) else message


class _Typed(WireElement):
    type: str


_decode_type: Final = msgspec.json.Decoder(_Typed).decode


_VALUE: Final = re.compile(r" '.*'(?= - at |$)", re.DOTALL)
"""msgspec's form of a value."""


LARGE_CHARS: Final = LARGE_BYTES
READ_AT_ONCE: Final = 64
"""Elements of a large message that are read in one slice: up to 3 ms. With fewer a process that is often
interrupted would read few in a turn.
"""


class LinkReader:
    """Reads the messages of one link."""

    __slots__ = ("_local_routing", "_network_routing", "_pool", "_site")

    def __init__(self, site: str, pool: Readings) -> None:
        self._site = site
        self._pool = pool
        self._local_routing: FunctionState | None = None
        self._network_routing: FunctionState | None = None

    def read(self, message: str | bytes) -> MessageContent:
        """Read one message.

        Raises:
            WireError: It cannot be read, or contains an invalid value.
        """
        head = EVENT_HEAD(_written(message))
        return self._read(message) if head is None else self._read_once(head)

    def slices(self, message: str) -> Iterator[MessageContent | None]:
        """Read one large message like :meth:`read`, a slice at each step; the last step yields the result.

        Raises:
            WireError: It cannot be read, or contains an invalid value.
        """
        head = EVENT_HEAD(message.encode())
        known = None if head is None else self._pool.known(head)
        if known is not None:
            yield (known,)
            return
        with suppress(*UNREADABLE):  # :meth:`read` decides what to do about it
            received = _decode(message)
            shape = SHAPES.get(received.event_type) if isinstance(received, _Event) else None
            if isinstance(received, _Event) and shape is not None:
                parts: list[Part] = []
                for at in range(0, len(received.elements), READ_AT_ONCE):
                    parts += self._pool.parts(shape, received.time, received.elements[at : at + READ_AT_ONCE])
                    yield None
                yield self._noted(message, _reading(received, shape, tuple(parts)))
                return
            if isinstance(received, _Response) and _DIRECTORY in message:
                read = yield from directory_slices(message, self._pool)
                yield (Response(received.request_id, message, _time_ms(received), read),)
                return
        yield self.read(message)

    def _noted(self, message: str | bytes, reading: Reading) -> MessageContent:
        """Return the content of an event, recorded for other links that may receive the same."""
        head = EVENT_HEAD(_written(message))
        if head is not None and (rest := rest_of(head)):
            self._pool.note(rest, reading)
        return (reading,)

    def peek(self, message: str | bytes) -> Reading | None:
        """Read *message* if it is a reading in the usual form; None: use :meth:`read`.

        A large one is also left to :meth:`read`, unless another link received the same.
        """
        head = EVENT_HEAD(_written(message))
        if head is None:
            return None
        if len(message) > LARGE_CHARS:
            return self._pool.known(head)
        try:
            received = self._read_once(head)
        except WireError:
            return None
        return received[0] if received and isinstance(received[0], Reading) else None

    def _read_once(self, head: re.Match[bytes]) -> MessageContent:
        """Read an event, with elements that other links may have received."""
        known = self._pool.known(head)
        if known is not None:
            return (known,)
        received = self._read(head.string)
        return (
            self._noted(head.string, received[0]) if received and type(received[0]) is Reading else received
        )

    def _read(self, message: str | bytes) -> MessageContent:
        try:
            return self._content(_decode(message), message)
        except UNREADABLE as error:
            fault = WireError(_place(error))
        meant = as_meant(message)
        if meant is not None:
            with suppress(*UNREADABLE):
                return self._content(_decode(meant), meant)
        if _is_foreign(meant or message):
            return ()
        raise fault from None

    def _content(self, received: _Message, message: str | bytes) -> MessageContent:
        match received:
            case _Event():
                return self._event(received)
            case _Response():
                return (Response(received.request_id, message, _time_ms(received)),)
            case _ManagerStateChanged():
                return self._function(received)
            case _SessionEnded():
                return (
                    SessionEnded(
                        received.session, _end_reason(received.reason), readable_or_none(received.by)
                    ),
                )
            case _LinkReplaced():
                return (LinkReplaced(received.token),)
            case _LinkOpened():
                return (self._opened(received),)
            case Notice():
                return announced(received)

    def _event(self, received: _Event) -> MessageContent:
        shape = SHAPES.get(received.event_type)
        if shape is None:
            return changes(received.elements, self._pool) if received.event_type == _ADMINISTRATION else ()
        return (_reading(received, shape, self._pool.parts(shape, received.time, received.elements)),)

    def _function(self, received: _ManagerStateChanged) -> MessageContent:
        function = FUNCTIONS.get(received.function)
        if function is None:
            return ()
        state = FUNCTION_STATES.get(received.state, FunctionState.UNKNOWN)
        if function == "routing":
            if received.function == "LocalRouting":
                self._local_routing = state
            else:
                self._network_routing = state
            state = routing_state(self._local_routing, self._network_routing)
        return (FunctionChanged(function, state),)

    def _opened(self, received: _LinkOpened) -> Opened:
        user = person(
            self._site, received.user.key, received.user.id, received.user.first_name, received.user.last_name
        )
        last = received.last_end
        end = None
        if last is not None:
            reason = None if last.reason is None else _end_reason(last.reason).value
            end = LastEnd(reason, readable_or_none(last.by), last.time)
        session, server = attached(received.session, self._pool), instance(received.server_instance)
        return Opened(received.time, received.keep_alive, user, session, end, server)


def _time_ms(received: _Response) -> int | None:
    return received.time if isinstance(received.time, int) and 0 <= received.time <= MOST else None


def _reading(received: _Event, shape: Shape, parts: tuple[Part, ...]) -> Reading:
    removed = received.removed or ()
    return Reading(
        received.query_id, shape.kind, shape.source, received.time, received.complete, parts, removed
    )


def routing_state(local: FunctionState | None, network: FunctionState | None) -> FunctionState:
    """Return the state of routing: the site's own state decides, trouble of the network degrades it."""
    if local is None:
        return network or FunctionState.UNKNOWN
    if local is FunctionState.UP and network in {FunctionState.DEGRADED, FunctionState.DOWN}:
        return FunctionState.DEGRADED
    return local


def _end_reason(name: str) -> EndReason:
    return END_REASONS.get(name, EndReason.UNKNOWN)


def _is_foreign(message: str | bytes) -> bool:
    """Return whether a message is well-formed and of a type that the protocol lacks: it is ignored."""
    try:
        return _decode_type(message).type not in _TYPES
    except UNREADABLE:
        return False


def _place(error: Exception) -> str:
    """Return what was wrong and where, without any value of the message."""
    return _VALUE.sub("", str(error)) if isinstance(error, msgspec.MsgspecError) else type(error).__name__


Fields = dict[str, Any]
"""A request in the form that is sent."""


def render(
    request: LinkRequest,
    number: int,
    *,
    own_agents: Mapping[int, int],
    references: References,
    keys: bool,
) -> str:
    """Encode a request.

    Args:
        request: The request.
        number: Pairs the answer on this link.
        own_agents: Alias of an attached session → its own agent.
        references: Which routing parameters hold Keys.
        keys: Whether the server knows ``RequestKey``.

    Raises:
        GatewayError: ``not_found``, ``skill_unknown``, ``reason_unknown``, ``reference_unknown`` when an id
            cannot be one of the server's Keys; ``wrong_type`` when a reference is no id at all.
    """
    fields: Fields = {"Type": "Request", "RequestID": number}
    if isinstance(request, Execute):
        fields |= {"Session": request.alias, "NotAfter": request.not_after_ms}
        fields |= _command(request.command, own_agents.get(request.alias), references)
        if keys:
            fields["RequestKey"] = request.key
    else:
        fields |= _ask(request)
    return msgspec.json.encode(fields).decode()


def _ask(
    request: AttachSession | DetachSession | Presence | Listen | StopListening | QueryDirectory | KeepAlive,
) -> Fields:
    match request:
        case AttachSession(secret):
            return {"Method": "AttachSession", "SessionID": secret}
        case DetachSession(alias):
            return {"Method": "DetachSession", "Session": alias}
        case Presence(alias, present):
            return {"Method": "Presence", "Session": alias, "Present": present}
        case Listen(kind, source, numbers):
            keys = "All" if numbers is None else sorted(numbers)
            return {"Method": "ListenForEvents", "EventType": EVENT_TYPES[kind, source], "Keys": keys}
        case StopListening(query):
            return {"Method": "StopListeningForEvents", "QueryID": query}
        case QueryDirectory():
            return {"Method": "QueryDirectory", "Kinds": DIRECTORY_KINDS}
        case KeepAlive():
            return {"Method": "KeepAlive"}


def _command(command: Command, own_agent: int | None, references: References) -> Fields:
    match command:
        case SetAgentRoutingState() | SetRoutingState():
            return _routing_state(command, own_agent)
        case SetSkills():
            return _skills(command)
        case SetQueueParameters(queue_id):
            return _parameters("Queue", queue_id, command, references.queue)
        case SetGroupParameters(group_id):
            return _parameters("Group", group_id, command, references.group)
        case ChangeRemoteNumber(number):
            return {"Method": "ChangeRemoteNumber", "RemoteNumber": number}
        case (
            StartPostProcessing() | ExtendPostProcessing() | FinishPostProcessing() | SetAutoPostProcessing()
        ):
            return {"Method": "PostProcessing"} | _post_processing(command)
        case AcknowledgeNotice():
            raise GatewayError(ErrorCode.UNSUPPORTED_BY_UPSTREAM, "Notices are the gateway's own.")


def _routing_state(command: SetAgentRoutingState | SetRoutingState, own_agent: int | None) -> Fields:
    key = _object_key(command.agent_id) if isinstance(command, SetAgentRoutingState) else own_agent
    if key is None:
        raise GatewayError(ErrorCode.NOT_LOGGED_ON, "The session has no agent of its own.")
    state, when = TARGET_STATES[command.state], WHENS[command.when]
    fields: Fields = {"Method": "SetRoutingState", "UserKey": key, "RoutingState": state, "When": when}
    if command.reason_id is not None:
        fields["ReasonKey"] = _reason_key(command.reason_id)
    return fields


def _skills(command: SetSkills) -> Fields:
    return {
        "Method": "SetSkills",
        "UserKey": _object_key(command.agent_id),
        "Mode": "Patch" if command.mode == "patch" else "Replace",
        "Skills": [_skill(change) for change in command.changes],
        "Version": command.if_version,
    }


def _skill(change: SkillChange) -> Fields:
    key = _key(change.skill_id, ErrorCode.SKILL_UNKNOWN, "There is no such skill.")
    optional = {"Preference": change.preference, "Active": change.active}
    return {"SkillKey": key, "Level": change.level} | {
        name: value for name, value in optional.items() if value is not None
    }


def _parameters(
    object_type: str, id_: str, command: SetQueueParameters | SetGroupParameters, references: frozenset[str]
) -> Fields:
    return {
        "Method": "SetRoutingParameters",
        "ObjectType": object_type,
        "Key": _object_key(id_),
        "Parameters": {
            name: _reference(value) if name in references else value
            for name, value in command.changes.items()
        },
        "Version": command.if_version,
    }


def _reference(value: Parameter) -> int | list[int | None] | None:
    if isinstance(value, tuple):
        return [_referred(member) for member in value]
    return _referred(value)


def _referred(value: Scalar) -> int | None:
    match value:
        case None:
            return None
        case str():
            message = "The value names an object that does not exist."
            return _key(value, ErrorCode.REFERENCE_UNKNOWN, message)
        case _:
            raise GatewayError(ErrorCode.WRONG_TYPE, "The value must be an id, or null.")


def _post_processing(
    command: StartPostProcessing | ExtendPostProcessing | FinishPostProcessing | SetAutoPostProcessing,
) -> Fields:
    match command:
        case StartPostProcessing():
            return {"Action": "Start"}
        case ExtendPostProcessing(until_ms):
            return {"Action": "Extend", "Until": until_ms}
        case FinishPostProcessing(next_state, reason_ids):
            state: Fields = {} if next_state is None else {"NextState": TARGET_STATES[next_state]}
            reasons: Fields = {"WrapupReasonKeys": [_reason_key(each) for each in reason_ids]}
            return {"Action": "Finish"} | state | (reasons if reason_ids else {})
        case SetAutoPostProcessing(on, duration_s):
            duration: Fields = {} if duration_s is None else {"Duration": duration_s}
            return {"Action": "SetAuto", "On": on} | duration


def _object_key(id_: str) -> int:
    return _key(id_, ErrorCode.NOT_FOUND, "There is no such object.")


def _reason_key(id_: str) -> int:
    return _key(id_, ErrorCode.REASON_UNKNOWN, "There is no such reason.")


def _key(id_: str, code: ErrorCode, message: str) -> int:
    """Return the server's Key of an id; each id has one spelling."""
    key = int(id_) if id_.isdecimal() and len(id_) <= 16 else -1
    if not 0 <= key <= MOST or str(key) != id_:
        raise GatewayError(code, message)
    return key


# ---- answers ----


class _Done(WireElement):
    state: str
    version: Count | None = None


_decode_done: Final = msgspec.json.Decoder(_Done).decode
_DONE: Final[dict[str, Literal["applied", "pending", "unchanged"]]] = spelled(
    "Applied", "Pending", "Unchanged"
)


def executed(body: str | bytes) -> Executed:
    """Read the result of a command.

    Raises:
        GatewayError: ``upstream_timeout``: the server's answer cannot be read, so the outcome is unknown.
    """
    received = _decode_done(body)
    state = _DONE.get(received.state)
    if state is None:
        raise outcome_unknown()
    return Executed(state, received.version)


class _Outcome(WireElement):
    error: Count = 0
    error_name: str | None = None


class _Query(WireElement):
    query_id: Count


_decode_outcome: Final = msgspec.json.Decoder(_Outcome).decode
_decode_attached: Final = msgspec.json.Decoder(ServerSession).decode
_decode_query: Final = msgspec.json.Decoder(_Query).decode


def answer(
    request: LinkRequest, body: str | bytes, pool: Readings, read: Directory | None = None
) -> LinkAnswer:
    """Read the answer to *request*; *read* is its directory, if that was read before.

    Raises:
        GatewayError: The server refused it.
        AnswerError: The answer cannot be read.
    """
    try:
        return _answer(request, body, pool, read)
    except UNREADABLE:
        meant = as_meant(body)
    try:
        return _answer(request, body if meant is None else meant, pool, read)
    except UNREADABLE:
        raise AnswerError("an answer cannot be read") from None


def _answer(request: LinkRequest, body: str | bytes, pool: Readings, read: Directory | None) -> LinkAnswer:
    outcome = _decode_outcome(body)
    if outcome.error != 0 or outcome.error_name:
        raise refusal(outcome.error_name or NAMES.get(outcome.error, f"Error{outcome.error}"), body)
    match request:
        case AttachSession():
            return attached(_decode_attached(body), pool)
        case Listen():
            return Listening(_decode_query(body).query_id)
        case QueryDirectory():
            return directory(body, pool) if read is None else read
        case Execute():
            return executed(body)
        case DetachSession() | Presence() | StopListening() | KeepAlive():
            return None
