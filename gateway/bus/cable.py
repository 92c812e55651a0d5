"""What does redis-py's connection do for the gateway, and what does it say?

It dials, does TLS, lets itself in, and asks the first things: RESP2, with hiredis. Then it hands over what it
opened. What it says in errors quotes servers and names hosts; here that becomes words that hold nothing of
anybody.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, Final, NamedTuple

import hiredis
from redis._parsers.hiredis import NOT_ENOUGH_DATA
from redis.asyncio.connection import Connection, SSLConnection
from redis.connection import HiredisRespSerializer
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

Word = bytes | str | int
Reply = object
"""``int``, ``bytes``, ``None``, a list of these, or a refusal: a :class:`redis.exceptions.RedisError`."""
NOTHING_YET: Final[object] = NOT_ENOUGH_DATA
"""What the reader of replies returns when the next one is not complete."""
CLOSED: Final = "it closed the connection"
_WRITTEN_BY: Final = HiredisRespSerializer()


def pack(*words: Word) -> bytes:
    """Write a command as Redis reads it."""
    return b"".join(_WRITTEN_BY.pack(*words))  # type: ignore[arg-type]  # its hint means one word, and says a list


class Opened(NamedTuple):
    """A connection's bytes, and the reader of replies, which may hold some already."""

    transport: asyncio.Transport
    replies: hiredis.Reader


class Cable(Connection):
    """redis-py's connection, which can also be handed over, and end without sending what is unsent.

    redis-py closes gracefully: bytes that a frozen server has not taken would still reach it when it
    thaws, behind what a later connection sent.
    """

    def hand_over(self, protocol: asyncio.Protocol) -> Opened:
        """Let *protocol* have what was opened; nothing is to be asked or read here any more.

        Raises:
            RedisError: It has ended already.
        """
        if self._reader is None or self._writer is None:
            raise RedisConnectionError
        stream: Any = self._reader
        parser: Any = self._parser
        transport: Any = self._writer.transport  # of a socket: also what asyncio calls one that can be read
        replies: hiredis.Reader = parser._reader  # noqa: SLF001 - it may hold what came with the last answer
        replies.feed(bytes(stream._buffer))  # noqa: SLF001 - so may this, and asyncio has no public way to it
        stream._buffer.clear()  # noqa: SLF001 - see above
        if stream.at_eof() or transport.is_closing():
            raise RedisConnectionError
        transport.set_protocol(protocol)
        transport.resume_reading()  # the stream pauses it when much comes at once
        return Opened(transport, replies)

    def abort(self) -> None:
        """End it now."""
        if self._writer is not None:
            self._writer.transport.abort()

    async def end(self) -> None:
        """End it now and let go of it. Does not wait, and may be called again."""
        self.abort()
        await self.disconnect(nowait=True)


class TlsCable(Cable, SSLConnection):
    """The same over TLS.

    redis-py's own contexts are made for each connection, and trust the machine's list beside a file.

    Args:
        context: Whom to trust.
        options: See :class:`redis.asyncio.connection.Connection`.
    """

    def __init__(self, *, context: ssl.SSLContext, **options: Any) -> None:  # noqa: ANN401 - redis-py's own
        super().__init__(**options)
        self.ssl_context.context = context


async def reply(cable: Cable) -> Reply:
    """Return what comes next, refusals included.

    Raises:
        RedisError: Nothing comes any more; :func:`reason` tells why.
    """
    try:
        answer: Reply = await cable.read_response(disconnect_on_error=False)
    except RedisError as error:
        if not is_refusal(error):
            raise
        return error.with_traceback(None)  # it is kept as an answer: not with the frames of its reading
    return answer


def is_refusal(error: RedisError) -> bool:
    """Tell whether the server said it, also where redis-py takes it for the end of a connection."""
    return isinstance(error, ResponseError) or error.status_code is not None


def is_tls(error: RedisError) -> bool:
    """Tell whether TLS failed beneath it."""
    return isinstance(_beneath(error), ssl.SSLError)


def code(refusal: RedisError) -> str:
    """Return the first word of what Redis says, as ``NOAUTH``. The rest may quote what was sent."""
    return refusal.status_code or str(refusal).partition(" ")[0]


def reason(error: BaseException) -> str:
    """Return why a connection did not come about or ended, in words that hold nothing of anybody."""
    match _beneath(error):
        case TimeoutError() | RedisTimeoutError():
            return "it did not answer in time"
        case ssl.SSLCertVerificationError() as untrusted:
            return f"its certificate is not trusted: {untrusted.verify_message}"
        case ssl.SSLError() as failed:
            return f"TLS failed: {failed.reason}"
        case ConnectionRefusedError():
            return "nobody listens there"
        case ConnectionError() | RuntimeError():
            return "the connection broke"
        case InvalidResponse():
            return "what it said is no RESP"
        case RedisError():
            return CLOSED
        case _:
            return "no way there"


def _beneath(error: BaseException) -> BaseException:
    """Return the fault beneath redis-py's error, which says only where it happened: its cause or context."""
    beneath = error.__cause__ or error.__context__
    is_within = isinstance(error, RedisError) and isinstance(beneath, OSError | UnicodeError)
    return beneath if is_within and beneath is not None else error
