"""One AMI connection of a node: it logs in, sends actions in order, and pairs their answers.

The connection is made again by its owner when it ends; nothing is ever sent twice by itself.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Final, NamedTuple

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.upstream import Trouble, UnreachedError
from gateway.runtime.ports import Clock
from gateway.upstream.asterisk.ami import AmiError, Framer, Message, render

READ_BYTES: Final = 32 * 1024
"""Read at once: some 100 messages, which take 3 ms to read and apply; then others have their turn."""
UNDER_WAY: Final = 256
"""Actions that wait for their answers; one more is ``busy``."""
ROWS: Final = 200_000
"""Of one list; more end the connection."""
ANSWER_S: Final = 10.0
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
"""Why a connection ended → what metrics count it as."""


class LostError(UnreachedError):
    """The connection is gone. What was sent and not answered may have been executed.

    Args:
        reason: A token for logs: ``refused``, ``timeout``, ``name_unknown``, ``tls``, ``protocol``,
            ``closed``, ``wrong_secret``, ``login_in_use``, ``rights``, ``starting`` or ``unreachable``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(_TROUBLES.get(reason, "other"))
        self.reason = reason


class AmiAddress(NamedTuple):
    """Where an Asterisk listens, and as whom the gateway logs in. *tls* None: in clear text."""

    host: str
    port: int
    user: str
    secret: str
    tls: ssl.SSLContext | None = None


@dataclass(slots=True, eq=False)
class _Pending:
    answered: asyncio.Future[Message]
    """The answer; for a list, once its last row came."""
    row: Callable[[Message], None] | None
    end: Callable[[], None] | None
    rows: int = 0
    first: Message = field(default_factory=dict)


class AmiConnection:
    """One open connection. *event* is called for each event that belongs to no action, in order.

    Invariant: answers settle in the order in which Asterisk gives them, and every event before an
    answer was given to *event* before that answer settles.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        clock: Clock,
        event: Callable[[Message], None],
        chunk: Callable[[], None],
    ) -> None:
        self.heard_at = clock.now()
        self.version = ""
        self.framer: Final = Framer()
        self._reader, self._writer = reader, writer
        self._clock = clock
        self._event = event
        self._chunk = chunk
        self._numbers = count(1)
        self._pending: dict[int, _Pending] = {}
        self._lost: LostError | None = None

    @property
    def under_way(self) -> int:
        """How many actions wait for their answers."""
        return len(self._pending)

    async def read(self) -> None:
        """Read until the connection is gone.

        Raises:
            LostError: Always.
        """
        reason = "closed"
        try:
            while data := await self._reader.read(READ_BYTES):
                self.heard_at = self._clock.now()
                for message in self.framer.feed(data):
                    self._take(message)
                self._chunk()
                await self._clock.sleep(0)
        except AmiError:
            reason = "protocol"
        except OSError as error:
            reason = failure(error)
        finally:
            self.drop(reason)
        raise LostError(reason)

    async def action(
        self,
        name: str,
        fields: Mapping[str, str] | None = None,
        *,
        row: Callable[[Message], None] | None = None,
        end: Callable[[], None] | None = None,
    ) -> Message:
        """Send an action and return its answer.

        The rows of a list go to *row* as they come, and *end* is called when the last one has come: both
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
            async with self._clock.timeout(ANSWER_S):
                self._writer.write(raw)
                return await pending.answered
        except TimeoutError as error:
            raise LostError("timeout") from error
        finally:
            self._pending.pop(number, None)

    def drop(self, reason: str = "closed") -> None:
        """End the connection at once; all that wait for an answer get :class:`LostError`."""
        if self._lost is None:
            self._lost = LostError(reason)
        for pending in self._pending.values():
            if not pending.answered.done():
                pending.answered.set_exception(LostError(reason))
                pending.answered.exception()  # there may be no waiter: it is no fault of a task
        self._writer.transport.abort()

    def _take(self, message: Message) -> None:
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


def _answer(pending: _Pending, message: Message) -> None:
    """Take one message of an action's answer: the answer itself, a row of its list, or the list's end.

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


def _settle(pending: _Pending, message: Message) -> None:
    if not pending.answered.done():
        pending.answered.set_result(message)


def is_success(answer: Message) -> bool:
    """Return whether Asterisk has done, or will list, what was asked."""
    return answer.get("Response") == "Success"


async def connect(
    address: AmiAddress, clock: Clock, event: Callable[[Message], None], chunk: Callable[[], None]
) -> AmiConnection:
    """Open a connection to an Asterisk; :meth:`AmiConnection.read` and then :func:`log_in` must follow.

    Raises:
        LostError: It cannot be reached.
    """
    try:
        async with clock.timeout(LOG_IN_S):
            reader, writer = await asyncio.open_connection(
                address.host,
                address.port,
                ssl=address.tls,
                server_hostname=address.host if address.tls is not None else None,
                limit=2 * READ_BYTES,
            )
    except OSError as error:  # TimeoutError is one
        raise LostError(failure(error)) from error
    return AmiConnection(reader, writer, clock, event, chunk)


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
    """Return a token for why a connection failed."""
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
