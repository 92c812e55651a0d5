"""Oracles for unauthenticated input, and for input of an OSCC-E Server.

Oracles as those of :mod:`tests.fuzz.oracles`: each takes an input and raises when a promise is broken.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import re
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from types import ModuleType
from typing import Final

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import VALUE_CHARS, Application, Device, SessionId, SessionSecret, Ticket, UserId
from gateway.domain.upstream import Reading
from gateway.edge import credentials, policies
from gateway.edge.credentials import TOKEN_CHARS_MAX, OpenedToken, TokenFault
from gateway.protocol import codec
from gateway.protocol.bodies import LOG_ON, LogOnBody, read_body
from gateway.protocol.websocket import POLICY, TOO_BIG, Violation
from gateway.upstream.oscce import messages, socket
from gateway.upstream.oscce.errors import WireError
from gateway.upstream.oscce.readings import Readings
from tests.domain.test_texts import faults
from tests.fuzz.second_reader import second_reading

# ---- POST /v1/sessions: what anybody may send, and the telephone number in it ----

_MEMBERS: Final = frozenset(re.findall(r'"([a-z_]+)"', json.dumps(LOG_ON.json_schema())))
_UNREAD: Final = re.compile(r"The body cannot be read: [A-Za-z0-9 ,.-]{1,80}\.")
_UNFIT: Final = re.compile(r"Invalid value: (the body|[a-z_0-9.]{1,80}) (?:is|has) [a-z ]{1,40}\.")
_NUMBER: Final = re.compile(r"\+49[0-9]{5,13}")
_REFUSALS: Final = frozenset(
    {
        (ErrorCode.REMOTE_NUMBER_MISSING, "A remote number is needed."),
        (ErrorCode.REMOTE_NUMBER_INVALID, "The remote number is not a complete number."),
        (ErrorCode.REMOTE_NUMBER_NOT_ALLOWED, "The remote number is not allowed."),
    }
)


def log_ons(data: bytes) -> None:
    """Hold the reading of log-ons to its promises.

    It raises nothing but refusals, which repeat nothing of what came; what it takes is what others read in
    it, and is taken again as it was understood. So it is with the number.
    """
    try:
        body = read_body(data, LOG_ON)
    except GatewayError as error:
        _check_refusal(error)
        return
    assert read_body(codec.write_json(codec.plain_fields(body)), LOG_ON) == body
    _compare(body, json.loads(data, object_pairs_hook=_once))
    assert not faults(body.device.name, VALUE_CHARS)
    if body.remote_number is not None:
        _number(body.remote_number)


def _check_refusal(refused: GatewayError) -> None:
    assert refused.code is ErrorCode.BAD_REQUEST
    if _UNREAD.fullmatch(refused.message):
        return
    unfit = _UNFIT.fullmatch(refused.message)
    assert unfit is not None, "it repeats what came"
    steps = [] if unfit[1] == "the body" else unfit[1].split(".")
    assert all(step in _MEMBERS or step.isdecimal() for step in steps), "it repeats what came"


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    assert len(dict(pairs)) == len(pairs), "a member comes twice"
    return dict(pairs)


def _compare(body: LogOnBody, value: dict[str, object]) -> None:
    assert len(body.password) <= 1024
    for name in ("site", "application", "user_name", "password", "remote_number"):
        assert getattr(body, name) == value.get(name), "others read something else"
        str(value.get(name)).encode()  # what cannot be is not a text


def _number(text: str) -> None:
    found = policies.NumberPolicies({"main": policies.NumberPolicy("DE", deny=("+49171",), own=("+4989",))})
    try:
        accepted = found.accept("main", text)
    except GatewayError as error:
        refused = error.code, error.message
        if refused not in _REFUSALS:
            raise
        return
    assert found.accept("main", accepted) == accepted
    assert _NUMBER.fullmatch(accepted), "no number of the country"
    assert not accepted.startswith(("+49171", "+4989", "+49110", "+49112"))
    dialled = "".join(str(unicodedata.decimal(each)) for each in text if unicodedata.category(each) == "Nd")
    assert dialled.endswith(accepted[3:]), "not what was dialled"


# ---- tokens: what anybody may show ----

NOW_MS: Final = 1_700_000_000_000
_KEYS: Final = [("k1", bytes(range(32))), ("k2", bytes(range(1, 33)))]
_TICKET: Final = Ticket(
    user=UserId("main", 7),
    display_name="A",
    application=Application.DASHBOARD,
    secret=SessionSecret("s"),
    session=SessionId("p"),
    device=Device("d", "n"),
    notices=(("n", 1),),
    issued_at_ms=NOW_MS - 1000,
    expires_at_ms=NOW_MS + 1000,
    idle_timeout_s=60,
)


def genuine() -> dict[str, OpenedToken | TokenFault]:
    """Return tokens that a node has sealed, and what becomes of each."""
    over = dataclasses.replace(_TICKET, expires_at_ms=NOW_MS)
    there = dataclasses.replace(_TICKET, user=UserId("elsewhere", 7))
    return {
        _tokens(_KEYS).seal(_TICKET): OpenedToken(_TICKET, expired=False, stale=False),
        _tokens(_KEYS[::-1]).seal(_TICKET): OpenedToken(_TICKET, expired=False, stale=True),
        _tokens(_KEYS).seal(over): TokenFault.EXPIRED,
        _tokens(_KEYS).seal(there): TokenFault.FOREIGN_SITE,
        _tokens([("k0", bytes(32))]).seal(_TICKET): TokenFault.UNKNOWN_KEY,
        _tokens([("k1", bytes(32))]).seal(_TICKET): TokenFault.FORGED,
    }


@lru_cache(maxsize=2)
def _opener(module: ModuleType) -> credentials.Tokens:
    """Return what opens tokens, by the module as it is, or with a bug that was planted."""
    opener: credentials.Tokens = module.Tokens(_KEYS, ["main"], bytes)
    return opener


def _tokens(keys: list[tuple[str, bytes]]) -> credentials.Tokens:
    return credentials.Tokens(keys, ["main"], bytes)  # always the same nonce: inputs stay what they are


_GENUINE: Final = genuine()


def tokens(data: bytes) -> None:
    """Hold the opening of tokens to its promises: it never raises; what opens was sealed, to the letter."""
    text = data.decode("latin-1")
    assert _opener(credentials).open(text, NOW_MS) == (_GENUINE[text] if text in _GENUINE else _judged(text))


def _judged(text: str) -> TokenFault:
    """Return what is wrong with a token that nobody sealed, as its page says it is written."""
    if len(text) > TOKEN_CHARS_MAX or re.fullmatch(r"(?:[\w-]{4})*(?:[\w-]{2,3})?", text, re.ASCII) is None:
        return TokenFault.GARBAGE
    raw = base64.urlsafe_b64decode(text + "==")
    one_spelling = base64.urlsafe_b64encode(raw).decode().rstrip("=") == text
    names = re.match(rb"\x01(?s:(.)(.*))", raw) if one_spelling else None
    if names is None or len(names[2]) < names[1][0] + 1:
        return TokenFault.GARBAGE
    key, rest = names[2][: names[1][0]], names[2][names[1][0] :]
    if len(rest) - 1 - rest[0] <= 12:
        return TokenFault.GARBAGE
    return TokenFault.FORGED if key in {b"k1", b"k2"} else TokenFault.UNKNOWN_KEY


# ---- messages of a link: what an OSCC-E Server may say ----

_PLACE: Final = re.compile(r"[\x20-\x7e]{1,300}")


def messages_of_a_link(data: bytes) -> None:
    """Hold the reading of a server's messages to its promises.

    It raises no errors but its own, which repeat no value; the result does not depend on equal messages of
    another link; and no text in it can deceive a reader.
    """
    text = data.decode(errors="ignore")
    alone = _read(messages.LinkReader("main", Readings()), text)
    pool = Readings()
    for _ in range(3):  # the first is met, the second kept, the third found
        reader = messages.LinkReader("main", pool)
        assert repr(_read(reader, text)) == repr(alone), "it matters who received it before"
        for at_once in (reader.peek(text), pool.event(text.encode())):
            assert at_once is None or repr((at_once,)) == repr(alone)
    if isinstance(alone, str):
        assert _PLACE.fullmatch(alone), "a fault that cannot be logged"
        assert not any(value in alone for value in _values(text)), "a fault that repeats what came"
        return
    for said in alone:
        shown = said.parts if isinstance(said, Reading) else said
        assert not any(faults(each, 4_000) for each in _strings(shown)), "a text that deceives"


def _read(reader: messages.LinkReader, text: str) -> messages.MessageContent | str:
    try:
        return reader.read(text)
    except WireError as fault:
        return str(fault)


def _values(text: str) -> Iterator[str]:
    """Yield every text of some length that is a value in JSON."""
    value: object = None
    with suppress(ValueError, RecursionError):
        value = json.loads(text)
    pending = [value]
    while pending:
        one = pending.pop()
        if isinstance(one, str) and len(one) > 4 and not one.isidentifier():  # what could be a name of ours
            yield one
        elif isinstance(one, list | dict):
            pending += one.values() if isinstance(one, dict) else one


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from _strings(getattr(value, field.name))
    elif isinstance(value, dict | list | tuple | frozenset):
        for member in (*value, *(value.values() if isinstance(value, dict) else ())):
            yield from _strings(member)


# ---- frames of a link: what comes from the network there ----

MESSAGE_BYTES: Final = 400


def frames_of_a_server(data: bytes) -> None:
    """Hold the parser of a link's frames to its promises, and to somebody else's reading of the bytes."""
    bytewise, whole = socket.Frames(MESSAGE_BYTES), socket.Frames(MESSAGE_BYTES)
    pieces = [each for at in range(len(data)) for each in bytewise.feed(data[at : at + 1])]
    ours = whole.feed(data)
    assert [_plain(each) for each in ours] == [_plain(each) for each in pieces], "it matters where it is cut"
    for parser in (bytewise, whole):
        assert parser.is_over is bool(ours and isinstance(ours[-1], socket.Closed | Violation))
        assert not parser.is_over or not (parser._held or parser._parts), "something is held behind the end"
        assert parser._parts_bytes <= MESSAGE_BYTES, "more is held than a message"
    assert all(len(each.encode()) <= MESSAGE_BYTES for each in ours if isinstance(each, str))
    _hold_against(ours, data)


def _breaks(data: bytes) -> bool:
    return any(isinstance(each, Violation) for each in socket.Frames(MESSAGE_BYTES).feed(data))


def _plain(received: socket.Incoming) -> tuple[object, ...]:
    return (
        ("Message", received.encode())
        if isinstance(received, str)
        else (type(received).__name__.removeprefix("WebSocket"), *received)
    )


def _hold_against(ours: list[socket.Incoming], data: bytes) -> None:
    theirs = second_reading(data, client=True)
    breach = ours[-1] if ours and isinstance(ours[-1], Violation) else None
    ended = bool(ours) and isinstance(ours[-1], socket.Closed)
    read = [_plain(each) for each in ours if each is not breach]
    known = [event[:2] if event[0] == "Message" else event for event in theirs.events]
    known = [("Closed",) if event[0] == "CloseReceived" else event for event in known]
    if ended and theirs.failed not in {None, 1007}:  # what a close says is not looked at
        known.append(("Closed",))
    if theirs.failed == 1007:  # others judge a fragment, and what a close says; a link whole messages
        later = read[len(known) :]
        assert read[: len(known)] == known[: len(read)], "others read something else"
        assert not any(event[0] == "Message" for event in later), "no text, for others"
        return
    assert read == known[: len(read)], "others read something else"
    if breach is None and not ended:
        assert len(read) == len(known)
        # a head is judged when it is whole
        assert theirs.failed is None or _breaks(data + bytes(14)), "a breach, for others"
    elif breach is not None and breach.code not in {TOO_BIG, POLICY} and "not text" not in breach.reason:
        assert theirs.failed == breach.code or second_reading(data + bytes(14), client=True).failed
