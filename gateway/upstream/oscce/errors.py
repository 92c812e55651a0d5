"""Refusals and unreadable answers as errors, and the second reading of unusual JSON.

Each error name of the page has the code and sentence that clients get. Any other name becomes
``upstream_rejected`` with the name.
"""

from __future__ import annotations

import json
import logging
import math
import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

import msgspec

from gateway.domain.commands import LinkRequest, Listen, QueryDirectory
from gateway.domain.errors import Detail, ErrorCode, GatewayError
from gateway.domain.model import Kind, readable, readable_or_none
from gateway.domain.upstream import Source
from gateway.runtime.ports import Clock
from gateway.upstream.oscce.decode import FUNCTIONS, MOST, WireElement, identity, in_gateway_time

_LOG: Final = logging.getLogger("gateway.link")
_LOGS_EVERY_S: Final = 60.0
UNREAD_S: Final = (10.0, 300.0)
"""The first and the longest pause before data with an unreadable answer is requested again; it doubles."""
DIRECTORY_MOST_S: Final = 30.0
"""The longest pause for the directory, without which a link shows nothing new."""

_ERRORS: Final[tuple[tuple[int | None, str, ErrorCode, str], ...]] = (
    (1, "BadRequest", ErrorCode.BAD_REQUEST, "The contact centre did not understand the request."),
    (2, "MethodUnknown", ErrorCode.UNSUPPORTED_BY_UPSTREAM, "The contact centre does not offer this."),
    (3, "SessionUnknown", ErrorCode.SESSION_ENDED, "The session has ended."),
    (4, "Forbidden", ErrorCode.FORBIDDEN, "You are not allowed to do this."),
    (5, "NotFound", ErrorCode.NOT_FOUND, "There is no such object."),
    (6, "WrongObjectType", ErrorCode.WRONG_RESOURCE_KIND, "This cannot be done to an object of this kind."),
    (7, "VersionConflict", ErrorCode.VERSION_CONFLICT, "It was changed meanwhile."),
    (10, "SkillUnknown", ErrorCode.SKILL_UNKNOWN, "There is no such skill."),
    (11, "LevelOutOfRange", ErrorCode.LEVEL_OUT_OF_RANGE, "The level is out of range."),
    (12, "PreferenceOutOfRange", ErrorCode.PREFERENCE_OUT_OF_RANGE, "The preference is out of range."),
    (13, "DuplicateSkill", ErrorCode.DUPLICATE_SKILL, "A skill is named twice."),
    (20, "NotLoggedOn", ErrorCode.NOT_LOGGED_ON, "The agent is not logged on."),
    (21, "ReasonRequired", ErrorCode.REASON_REQUIRED, "This state needs a reason."),
    (22, "ReasonUnknown", ErrorCode.REASON_UNKNOWN, "There is no such reason."),
    (23, "ReasonWrongKind", ErrorCode.REASON_WRONG_KIND, "The reason is of another kind."),
    (24, "NotAllowedWhileHandling", ErrorCode.NOT_ALLOWED_WHILE_HANDLING, "A contact is being handled."),
    (25, "CannotLogOnForAnother", ErrorCode.CANNOT_LOG_ON_FOR_ANOTHER, "Users can only log themselves on."),
    (30, "ParameterUnknown", ErrorCode.PARAMETER_UNKNOWN, "There is no such routing parameter."),
    (31, "ParameterReadOnly", ErrorCode.PARAMETER_READ_ONLY, "The routing parameter cannot be changed."),
    (32, "ValueOutOfRange", ErrorCode.VALUE_OUT_OF_RANGE, "The value is out of range."),
    (33, "WrongType", ErrorCode.WRONG_TYPE, "The value has the wrong type."),
    (34, "ReferenceUnknown", ErrorCode.REFERENCE_UNKNOWN, "The value names an object that does not exist."),
    (35, "OverflowCycle", ErrorCode.OVERFLOW_CYCLE, "Overflow would lead back to the same queue."),
    (36, "InconsistentParameters", ErrorCode.INCONSISTENT_PARAMETERS, "The values contradict each other."),
    (40, "NoContact", ErrorCode.NO_CONTACT, "There is no contact to post-process."),
    (41, "LimitReached", ErrorCode.LIMIT_REACHED, "Post-processing cannot be made longer."),
    (42, "WrapupReasonRequired", ErrorCode.WRAP_UP_REASON_REQUIRED, "A wrap-up reason is needed."),
    (43, "NotPostProcessing", ErrorCode.NOT_POST_PROCESSING, "There is no post-processing under way."),
    (50, "RemoteNumberInvalid", ErrorCode.REMOTE_NUMBER_INVALID, "The remote number is not valid."),
    (51, "RemoteNumberNotAllowed", ErrorCode.REMOTE_NUMBER_NOT_ALLOWED, "The remote number is not allowed."),
    (52, "NumberInUse", ErrorCode.REMOTE_NUMBER_IN_USE, "The remote number is in use by somebody else."),
    (
        60,
        "FunctionUnavailable",
        ErrorCode.FUNCTION_UNAVAILABLE,
        "A function of the contact centre is not available.",
    ),
    (61, "Busy", ErrorCode.BUSY, "The contact centre is busy."),
    (62, "Unsupported", ErrorCode.UNSUPPORTED_BY_UPSTREAM, "The contact centre does not offer this."),
    (63, "Expired", ErrorCode.EXPIRED, "The command arrived after its deadline."),
    (None, "RemoteNumberMissing", ErrorCode.REMOTE_NUMBER_MISSING, "A remote number is needed."),
    (None, "InvalidCredentials", ErrorCode.INVALID_CREDENTIALS, "User name or password is wrong."),
    (None, "AccountBlocked", ErrorCode.ACCOUNT_BLOCKED, "The account is blocked."),
    (None, "AccountLocked", ErrorCode.ACCOUNT_LOCKED, "The account is locked after too many tries."),
    (None, "RoleMissing", ErrorCode.ROLE_MISSING, "The user has no role for this application."),
    (None, "AlreadyLoggedOn", ErrorCode.ALREADY_LOGGED_ON, "The user is already logged on elsewhere."),
)
"""Code of a response (None: the error has an HTTP status only), name, and what clients get for it."""
NAMES: Final = {number: name for number, name, *_ in _ERRORS if number is not None} | {99: "Internal"}
"""Code of a response → name, for a server that sends only the code."""
_MEANINGS: Final = {name: (code, sentence) for _, name, code, sentence in _ERRORS}


UNREADABLE: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)
"""Exceptions of msgspec for bytes of another form than expected."""


_AT: Final = re.compile(r"`\$\.(\w+)|required field `(\w+)`")


def why_unreadable(fault: BaseException) -> str:
    """Return the field of an object that cannot be read, and the reason, as a short token; never a value."""
    text = str(fault) if isinstance(fault, msgspec.ValidationError) else ""
    at = _AT.search(text)
    field = "" if at is None else f"{at[1] or at[2]} "
    if "missing required" in text:
        return f"{field}missing"
    if ", got " in text:
        return f"{field}wrong_type"
    return f"{field}out_of_range" if text else "no_json"


class WireError(Exception):
    """A message cannot be read. Its text holds no value of the message."""


class AnswerError(WireError):
    """The answer to a request cannot be read."""


class ClockSetError(WireError):
    """The server's clock was set by more than the jitter of instants."""


class NotAcceptedError(WireError):
    """The server's description of itself is not that of a supported server."""


def not_accepted(error: BaseException) -> NotAcceptedError | None:
    """Return why a server was not accepted, from the causes of *error*; None: it did not answer."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, WireError):
        cause = cause.__cause__
    return None if cause is None else NotAcceptedError(str(cause))


class UnreadableMessages:
    """Log of what a site's server sent that was not accepted: one line a minute of each event."""

    def __init__(self, site: str, clock: Clock) -> None:
        self._site = site
        self._now = clock.now
        self.count: Callable[[], None] = lambda: None
        """Called for each answer that cannot be read."""
        self._numbers: Counter[str] = Counter()
        """Event → how many messages came since its last line."""
        self._logs_at: dict[str, float] = {}
        """Event → when its next line may come."""

    def note(self, fault: WireError) -> None:
        """Record a message, and log it if a minute has passed since the last line of its event."""
        event = _event_of(fault)
        self._numbers[event] += 1
        if isinstance(fault, AnswerError):
            self.count()
        if self._now() < self._logs_at.get(event, -math.inf):
            return
        number = self._numbers.pop(event)
        _LOG.warning(event, extra={"site": self._site, "fault": str(fault), "count": number})
        self._logs_at[event] = self._now() + _LOGS_EVERY_S


def _event_of(fault: WireError) -> str:
    match fault:
        case ClockSetError():
            return "server_clock_set"
        case NotAcceptedError():
            return "server_not_accepted"
        case _:
            return "link_message_unreadable"


_Topic = tuple[Kind | None, Source | None]
"""Kind and source of a query; no source: the directory as a whole."""
UnreadableData = Mapping[_Topic, tuple[float, float]]
"""Data whose last answer could not be read → until when it is not requested, and how long that is."""
NOTHING_UNREAD: Final[UnreadableData] = {}


def check_unread(unread: UnreadableData, request: LinkRequest, now: float) -> None:
    """Refuse a request whose answer could not be read a short time ago.

    The server may begin a query with each of them, which is stopped only after it has sent an event.

    Raises:
        GatewayError: ``upstream_unavailable``.
    """
    topic = _topic(request) if unread else None
    if topic is not None and now < unread.get(topic, (now, 0.0))[0]:
        raise GatewayError(ErrorCode.UPSTREAM_UNAVAILABLE, "The contact centre's answer was unreadable.")


def with_unread(unread: UnreadableData, request: LinkRequest, now: float) -> UnreadableData:
    """Return *unread* after an answer that cannot be read: the request is repeated later and later."""
    topic = _topic(request)
    if topic is None:
        return unread
    before_s, most_s = (
        unread.get(topic, (now, 0.0))[1],
        DIRECTORY_MOST_S if topic == _DIRECTORY else UNREAD_S[1],
    )
    pause_s = min(most_s, 2 * before_s or UNREAD_S[0])
    return {**unread, topic: (now + pause_s, pause_s)}


def without_read(unread: UnreadableData, request: LinkRequest) -> UnreadableData:
    """Return *unread* after an answer that was read."""
    topic = _topic(request)
    return {each: paused for each, paused in unread.items() if each != topic} or NOTHING_UNREAD


_DIRECTORY: Final[_Topic] = None, None


def _topic(request: LinkRequest) -> _Topic | None:
    """Return what a request for data is about, whatever keys it names; None for other requests."""
    match request:
        case Listen(kind, source):
            return kind, source
        case QueryDirectory():
            return _DIRECTORY
        case _:
            return None


class WireRefusal(WireElement):
    """The details that may stand beside an error's name."""

    min: int | float | None = None
    max: int | float | None = None
    version: int | None = None
    function: str | None = None
    retry_after: float | None = None
    until: int | None = None
    where: str | None = None
    since: int | None = None
    parameter: str | None = None
    skill_key: int | None = None


_decode_details: Final = msgspec.json.Decoder(WireRefusal).decode


def refusal(name: str, body: str | bytes, offset_ms: int = 0) -> GatewayError:
    """Return the error for clients that *name* stands for, with the readable details of *body*.

    Args:
        name: The name that the server sent.
        body: Contains the details.
        offset_ms: Gateway clock minus server clock; 0 leaves instants unchanged, for a caller that has the
            link's offset.
    """
    meaning = _MEANINGS.get(name)
    if meaning is None:
        return rejected(name)
    try:
        details = read_as_meant(_decode_details, body)
    except UNREADABLE:
        details = WireRefusal()
    found: dict[str, Detail] = {
        "min": _number(details.min),
        "max": _number(details.max),
        "version": _number(details.version),
        "function": FUNCTIONS.get(details.function or ""),
        "until_ms": _instant(details.until, offset_ms),
        "where": readable_or_none(details.where),
        "since_ms": _instant(details.since, offset_ms),
        "parameter": readable(details.parameter) if details.parameter else None,
        "skill_id": identity(details.skill_key),
    }
    code, message = meaning
    return GatewayError(
        code,
        message,
        retry_after_s=_seconds(details.retry_after),
        **{key: value for key, value in found.items() if value is not None},
    )


def outcome_unknown() -> GatewayError:
    """Return the error for a command whose answer cannot be read."""
    return GatewayError(
        ErrorCode.UPSTREAM_TIMEOUT,
        "The answer of the contact centre cannot be read. Check the state before you try again.",
    )


def rejected(name: str) -> GatewayError:
    """Return the error for a *name* without a meaning for clients."""
    return GatewayError(
        ErrorCode.UPSTREAM_REJECTED, "The contact centre refused this.", upstream_code=_printable(name)
    )


def _seconds(value: float | None) -> float | None:
    return value if value is not None and 0 <= value <= MOST else None


def _number(value: int | float | None) -> int | float | None:
    return value if value is not None and abs(value) <= MOST else None


def _instant(instant: int | None, offset_ms: int) -> int | None:
    return in_gateway_time(instant, offset_ms) if instant is not None and abs(instant) <= MOST else None


def _printable(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_.]{1,64}", name) else "Unknown"


T = TypeVar("T")

_TOKEN: Final = re.compile(
    r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)'
    r"|(?<![-+.0-9eE])-?(?:0|[1-9][0-9]*)(?:\.[0-9]+(?:[eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+)(?![-+.0-9eE])",
    re.DOTALL,
)
"""A text, also an unterminated one, or a number that is not written as an integer."""
_ESCAPE: Final = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
"""Two halves of a character, one half (the group), or any other escape."""


FIGURES_MOST: Final = 64
"""Figures of one object that are dropped at most; with more the object is unreadable."""
GREATEST: Final = 1e12
"""Upper bound of a figure: in seconds it is 30,000 years."""
_INTEGER_DIGITS: Final = 400
_PLACE: Final = re.compile(r" - at `\$(.*)`$")
_STEP: Final = re.compile(r"\.(\w+)|\[([0-9]+)\]")


def read_as_meant(read: Callable[[str | bytes], T], text: str | bytes) -> T:
    """Return *read* of *text*, or else of its normal form.

    Raises:
        Exception: Any that *read* raises on both.
    """
    try:
        return read(text)
    except UNREADABLE:
        meant = as_meant(text)
        if meant is None:
            raise
    return read(meant)


def read_without_impossible_figures(read: Callable[[bytes], T], raw: bytes) -> tuple[T, int] | None:
    """Return *read* of an object with impossible figures set to null, and their number.

    A figure is a field that is read as a number; an invalid Key stays unreadable. None: the object cannot be
    read in either form.
    """
    try:
        document = json.loads(
            raw, parse_int=_json_number, parse_float=_json_number, parse_constant=_no_number
        )
    except (ValueError, RecursionError):
        return None
    for giants in range(FIGURES_MOST + 1):
        try:
            return read(json.dumps(document).encode()), giants
        except UNREADABLE as fault:
            if not _drop_impossible_figure(document, str(fault)):
                return None
    return None


def _drop_impossible_figure(document: object, fault: str) -> bool:
    """Set the figure that *fault* names to null, if it exceeds every possible figure."""
    place = _PLACE.search(fault)
    steps = [] if place is None else _STEP.findall(place[1])
    for at, (name, index) in enumerate(steps):
        step = name or int(index)
        try:
            value = document[step]  # type: ignore[index] # where it has no such place, there is nothing to drop
        except (LookupError, TypeError):
            return False
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if at == len(steps) - 1 and is_number and abs(value) > GREATEST:
            document[step] = None  # type: ignore[index] # it was found there
            return True
        document = value
    return False


def _json_number(token: str) -> int | float:
    """Read a number of any size; one beyond all floats becomes the greatest."""
    number = int(token) if len(token) < _INTEGER_DIGITS and token.lstrip("-").isdigit() else float(token)
    return max(-sys.float_info.max, min(number, sys.float_info.max)) if isinstance(number, float) else number


def _no_number(token: str) -> None:
    raise ValueError(f"JSON has no {token}")


def as_meant(text: str | bytes) -> str | None:
    """Return *text* with integers in integer form, and a control character for each half of a character.

    None when it has neither: then it is in normal form already. A control character is dropped where a text
    is shown, and a name with one is invalid.
    """
    try:
        written = text if isinstance(text, str) else text.decode()
    except UnicodeDecodeError:
        return None
    meant = _TOKEN.sub(_token, written)
    return None if meant == written else meant


def _token(found: re.Match[str]) -> str:
    token = found[0]
    if token[0] == '"':
        return _ESCAPE.sub(_escape, token) if "\\u" in token else token
    number = float(token)
    return str(int(number)) if abs(number) <= MOST and number.is_integer() else token


def _escape(found: re.Match[str]) -> str:
    return found[0] if found[1] is None else "\\u0000"
