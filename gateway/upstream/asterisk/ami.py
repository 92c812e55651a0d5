"""The Asterisk Manager Interface: its messages as bytes, and one connection of a node.

A message is a list of ``Name: value`` lines that an empty line ends; the one exception is the greeting, a
single line. Seen on AMI 11.0.0 and 13.0.0; the fields needed are there since Asterisk 16 (AMI 5). The
connection logs in, sends actions in order and pairs them with their answers. Its owner opens a new one when
it ends; the connection itself never sends an action twice.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final, NamedTuple, cast

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.upstream import Trouble, UnreachedError
from gateway.runtime.ports import Clock

GREETING: Final = "Asterisk Call Manager/"
LINE_BYTES: Final = 1_000
"""The longest line that is sent: Asterisk reads 1,024 bytes and cuts longer lines."""
MESSAGE_BYTES: Final = 64 * 1024
"""A longer message is dropped and counted."""
HEADERS: Final = 1_024
"""A message with more lines is dropped and counted."""
UNENDED_BYTES: Final = 2**20
"""After this many bytes without the end of a message the connection is closed."""

AmiMessage = Mapping[str, str]
"""Name → value, the last one of a repeated name. The greeting is ``{"Greeting": version}``."""
OnRow = Callable[[AmiMessage], None]
"""Takes an event of the list that an action requested."""

_END: Final = b"\r\n\r\n"
_DROPPED: Final = ("CallerID", "ConnectedLine", "Dest", "Linked", "Language", "AccountCode")
"""Headers about callers and channels: never shown, so dropped while parsing."""


class AmiError(Exception):
    """Received bytes are no AMI, or a value cannot be sent in it."""


class Framer:
    """Splits received bytes into messages.

    Bounded: a message of more than :data:`MESSAGE_BYTES` or :data:`HEADERS` is dropped and counted in
    *left_out*; :data:`UNENDED_BYTES` without an end are an error.
    """

    def __init__(self) -> None:
        self.left_out = 0
        self._rest = b""
        self._greeted = False

    def feed(self, data: bytes) -> list[AmiMessage]:
        """Return the messages that *data* completes.

        Raises:
            AmiError: The greeting belongs to another protocol, or a message does not end.
        """
        text = self._rest + data
        messages: list[AmiMessage] = []
        if not self._greeted:
            line, newline, after = text.partition(b"\r\n")
            if not newline:
                self._keep(text, most=LINE_BYTES)
                return messages
            messages.append({"Greeting": _greeting(line)})
            self._greeted, text = True, after
        *whole, rest = text.split(_END)
        for raw in whole:
            message = self._message(raw)
            if message:
                messages.append(message)
        self._keep(rest, most=UNENDED_BYTES)
        return messages

    def _keep(self, rest: bytes, *, most: int) -> None:
        if len(rest) > most:
            raise AmiError("a message does not end")
        self._rest = rest

    def _message(self, raw: bytes) -> AmiMessage | None:
        if len(raw) > MESSAGE_BYTES or raw.count(b"\n") >= HEADERS:
            self.left_out += 1
            return None
        message: dict[str, str] = {}
        # Asterisk cuts a reason at 79 bytes, possibly within a character
        for line in raw.decode("utf-8", "replace").split("\r\n"):
            name, colon, value = line.partition(":")
            if colon and not name.startswith(_DROPPED):
                message[name] = value.strip()
        return message


def _greeting(line: bytes) -> str:
    text = line.decode("ascii", "replace")
    if not text.startswith(GREETING):
        raise AmiError("the greeting is not an Asterisk's")
    return text.removeprefix(GREETING).strip()


def render(action: str, number: int, fields: Mapping[str, str]) -> bytes:
    """Return the bytes of one action.

    *number* is the ActionID of its answer; *fields* are the other lines, in order.

    Raises:
        AmiError: A value holds a control character, which could begin another line, or is too long.
    """
    lines = [f"Action: {action}", f"ActionID: {number}"]
    lines += [f"{name}: {value}" for name, value in fields.items()]
    encoded = [line.encode() for line in lines]
    for line in encoded:
        if len(line) > LINE_BYTES:
            raise AmiError("a line is longer than Asterisk reads")
        if any(byte < 0x20 or byte == 0x7F for byte in line):
            raise AmiError("a value holds a control character")
    return b"\r\n".join(encoded) + _END


def whole(message: AmiMessage, name: str, default: int = 0) -> int:
    """Return a header as a whole number; *default* when it is missing or invalid."""
    value = message.get(name)
    if value is None or not value.isascii() or len(value) > 15:
        return default
    return int(value) if value.removeprefix("-").isdecimal() else default


def decimal(message: AmiMessage, name: str) -> float | None:
    """Return a header as a number; None when it is missing or invalid."""
    try:
        value = float(message.get(name, ""))
    except ValueError:
        return None
    return value if abs(value) < 2**53 else None


READ_BYTES: Final = 32 * 1024
"""Bytes read at once: some 100 messages, which take 3 ms; then other tasks have their turn."""
UNDER_WAY: Final = 256
"""Actions without an answer; one more is ``busy``."""
ROWS: Final = 200_000
"""Rows of one list; more end the connection."""
AMI_ANSWER_S: Final = 10.0
"""How long the answer to an action may take."""
LOG_IN_S: Final = 10.0
_NUMBER_DIGITS: Final = 18


_TROUBLES: Final[Mapping[str, Trouble]] = {
    "refused": "refused",
    "timeout": "timeout",
    "name_unknown": "dns",
    "tls": "tls",
    "protocol": "unreadable",
    "closed": "connection",
    "unreachable": "connection",
}
"""Why a connection ended → its label in metrics."""


class LostError(UnreachedError):
    """The connection is gone. Unanswered actions may have been executed.

    Args:
        reason: A token for logs: ``refused``, ``timeout``, ``name_unknown``, ``tls``, ``protocol``,
            ``closed``, ``wrong_secret``, ``login_in_use``, ``rights``, ``starting`` or ``unreachable``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(_TROUBLES.get(reason, "other"))
        self.reason = reason


class AmiAddress(NamedTuple):
    """Address and account of an Asterisk. *tls* None: in clear text."""

    host: str
    port: int
    user: str
    secret: str
    tls: ssl.SSLContext | None = None


@dataclass(slots=True, eq=False)
class _Pending:
    answered: asyncio.Future[AmiMessage]
    """The answer; for a list, after its last row."""
    row: OnRow | None
    end: Callable[[], None] | None
    rows: int = 0
    first: AmiMessage = field(default_factory=dict)


class AmiConnection(asyncio.BufferedProtocol):
    """One open connection. *event* is called for each event that belongs to no action, in order.

    Invariant: answers settle in the order in which Asterisk sends them. Every event before an answer is given
    to *event* before that answer settles.

    Args:
        chunk: Called after the messages of each piece that was received.
    """

    def __init__(self, clock: Clock, event: Callable[[AmiMessage], None], chunk: Callable[[], None]) -> None:
        self.last_received_at = clock.now()
        self.version = ""
        self.framer: Final = Framer()
        self._clock = clock
        self._event = event
        self._chunk = chunk
        self._numbers = count(1)
        self._pending: dict[int, _Pending] = {}
        self._received = memoryview(bytearray(READ_BYTES))
        self._transport: asyncio.Transport | None = None
        self._lost: LostError | None = None
        self._fault: Exception | None = None
        """What a callback has raised."""
        self._ended = asyncio.Event()

    @property
    def under_way(self) -> int:
        """Number of actions without an answer."""
        return len(self._pending)

    async def read(self) -> None:
        """Wait until the connection is gone.

        Raises:
            LostError: Always, unless *event*, *chunk* or a list's callback has raised something else.
        """
        try:
            await self._ended.wait()
        finally:
            self.drop()
        if self._fault is not None:
            raise self._fault
        raise self._lost or LostError("closed")

    # ---- of the transport ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin: the greeting follows."""
        self._transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - of the protocol
        """Return where to receive: always the same place, as each piece is processed at once."""
        return self._received

    def buffer_updated(self, nbytes: int) -> None:
        """Process the messages that a piece completes."""
        if self._lost is not None:
            return
        self.last_received_at = self._clock.now()
        try:
            for message in self.framer.feed(self._received[:nbytes].tobytes()):
                self._take(message)
            self._chunk()
        except AmiError:
            self.drop("protocol")
        except Exception as error:  # noqa: BLE001 - :meth:`read` raises it
            self._fault = error
            self.drop("protocol")
        if nbytes == READ_BYTES and self._transport is not None:  # more may lie there: others have their turn
            self._transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._resume)

    def _resume(self) -> None:
        if self._transport is not None and self._lost is None:
            self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self.drop(failure(exc) if isinstance(exc, OSError) else "closed")

    # ---- actions ----

    async def action(
        self,
        name: str,
        fields: Mapping[str, str] | None = None,
        *,
        row: OnRow | None = None,
        end: Callable[[], None] | None = None,
    ) -> AmiMessage:
        """Send an action and return its answer.

        The rows of a list are given to *row* as they arrive, and *end* is called after the last one: both
        before the next message is read.

        Raises:
            GatewayError: ``busy`` with too many under way; ``bad_request`` for a value that AMI cannot carry.
            LostError: The connection is gone, or no answer came in time; the action may have been executed.
        """
        if self._lost is not None:
            raise self._lost
        if len(self._pending) >= UNDER_WAY:
            raise GatewayError(ErrorCode.BUSY, "Too many requests to the contact centre are under way.")
        number = next(self._numbers)
        try:
            raw = render(name, number, fields or {})
        except AmiError as error:
            raise GatewayError(
                ErrorCode.BAD_REQUEST, "The contact centre cannot carry this value."
            ) from error
        pending = _Pending(asyncio.get_running_loop().create_future(), row, end)
        self._pending[number] = pending
        try:
            async with self._clock.timeout(AMI_ANSWER_S):
                if self._transport is not None:
                    self._transport.write(raw)
                return await pending.answered
        except TimeoutError as error:
            raise LostError("timeout") from error
        finally:
            self._pending.pop(number, None)

    def drop(self, reason: str = "closed") -> None:
        """End the connection at once; all waiting actions get :class:`LostError`."""
        if self._lost is None:
            self._lost = LostError(reason)
        for pending in self._pending.values():
            if not pending.answered.done():
                pending.answered.set_exception(LostError(reason))
                pending.answered.exception()  # without a waiter: no fault of a task
        if self._transport is not None:
            self._transport.abort()
        self._ended.set()

    def _take(self, message: AmiMessage) -> None:
        if "Greeting" in message:
            self.version = message["Greeting"]
            return
        number = message.get("ActionID", "")
        is_ours = number.isascii() and number.isdecimal() and len(number) <= _NUMBER_DIGITS
        pending = self._pending.get(int(number)) if is_ours else None
        if pending is not None:
            _answer(pending, message)
        elif "Event" in message and not number:
            self._event(message)


_LIST_ENDS: Final = frozenset({"complete", "cancelled"})


def _answer(pending: _Pending, message: AmiMessage) -> None:
    """Process one message of an action's answer: the answer, a row of its list, or the end of the list.

    Old versions mark neither the beginning nor the end of a list with ``EventList``.
    """
    of_list = message.get("EventList", "").lower()
    begins = of_list == "start" or "will follow" in message.get("Message", "")
    if "Response" in message and begins and is_success(message):
        pending.first = message
    elif "Response" in message:
        _settle(pending, message)
    elif of_list in _LIST_ENDS or message.get("Event", "").endswith("Complete"):
        if pending.end is not None:
            pending.end()
        _settle(pending, pending.first)
    else:
        pending.rows += 1
        if pending.rows > ROWS:
            raise AmiError("a list does not end")
        if pending.row is not None:
            pending.row(message)


def _settle(pending: _Pending, message: AmiMessage) -> None:
    if not pending.answered.done():
        pending.answered.set_result(message)


def is_success(answer: AmiMessage) -> bool:
    """Return whether Asterisk has done the action, or will send the list."""
    return answer.get("Response") == "Success"


async def is_served(asked: Coroutine[Any, Any, None]) -> bool:
    """Await what sends actions; return False when too many are under way: it is tried again soon."""
    try:
        await asked
    except GatewayError as error:
        if error.code is not ErrorCode.BUSY:
            raise
        return False
    return True


async def connect(
    address: AmiAddress, clock: Clock, event: Callable[[AmiMessage], None], chunk: Callable[[], None]
) -> AmiConnection:
    """Open a connection to an Asterisk; :meth:`AmiConnection.read` and then :func:`log_in` must follow.

    Raises:
        LostError: It cannot be reached.
    """
    try:
        async with clock.timeout(LOG_IN_S):
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: AmiConnection(clock, event, chunk),
                address.host,
                address.port,
                ssl=address.tls,
                server_hostname=address.host if address.tls is not None else None,
            )
    except OSError as error:  # TimeoutError is one
        raise LostError(failure(error)) from error
    return connection


async def log_in(connection: AmiConnection, address: AmiAddress) -> None:
    """Log in.

    Raises:
        LostError: ``wrong_secret``, ``login_in_use``, or the connection is gone.
    """
    answer = await connection.action("Login", {"Username": address.user, "Secret": address.secret})
    if not is_success(answer):
        # with allowmultiplelogin = no, a second node finds the account in use
        is_in_use = "in use" in answer.get("Message", "").lower()
        reason = "login_in_use" if is_in_use else "wrong_secret"
        connection.drop(reason)
        raise LostError(reason)


def failure(error: OSError) -> str:
    """Return a token for the reason of a failed connection."""
    match error:
        case TimeoutError():
            return "timeout"
        case ssl.SSLError():
            return "tls"
        case ConnectionRefusedError():
            return "refused"
        case ConnectionError():
            return "closed"
        case socket.gaierror():
            return "name_unknown"
        case _:
            return "unreachable"


AMI_LEAST: Final = 5
"""The AMI major version of Asterisk 16: older ones lack fields, which are shown as unknown."""


def is_recent(ami_version: str) -> bool:
    """Return whether an AMI version has all the fields that are needed."""
    major = ami_version.partition(".")[0]
    return major.isascii() and major.isdecimal() and int(major[:9]) >= AMI_LEAST


def unavailable(reason: str) -> GatewayError:
    """Return the error while Asterisk is away. *reason*: a token."""
    message = "The contact centre is not reached."
    error = GatewayError(ErrorCode.UPSTREAM_UNAVAILABLE, message, retry_after_s=2.0)
    error.__cause__ = LostError(reason)
    return error


_REFUSALS: Final = (
    ("Permission denied", ErrorCode.UNSUPPORTED_BY_UPSTREAM, "The gateway's account may not do this."),
    ("No such queue", ErrorCode.NOT_FOUND, "There is no such queue."),
    ("Interface not found", ErrorCode.NOT_LOGGED_ON, "The agent is not logged on."),
    ("Invalid interface", ErrorCode.NOT_LOGGED_ON, "The agent is not logged on."),
    ("Not there", ErrorCode.NOT_LOGGED_ON, "The agent is not logged on."),
    ("Member not dynamic", ErrorCode.UPSTREAM_REJECTED, "The membership stands in queues.conf."),
)


def refusal(answer: AmiMessage) -> GatewayError:
    """Return the error for clients of an action that Asterisk refused."""
    text = answer.get("Message", "")
    for part, code, sentence in _REFUSALS:
        if part in text:
            if code is ErrorCode.UPSTREAM_REJECTED:
                return GatewayError(code, sentence, upstream_code="NotDynamic")
            return GatewayError(code, sentence)
    return GatewayError(
        ErrorCode.UPSTREAM_REJECTED, "The contact centre refused this.", upstream_code="Refused"
    )
