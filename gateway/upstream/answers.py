"""Read answers of the server's HTTPS routes."""

from __future__ import annotations

import errno
import ssl
from typing import Final

import aiohttp
from aiohttp import hdrs

from gateway.domain.errors import GatewayError
from gateway.domain.upstream import LinkClosed, Trouble, UnreachedError
from gateway.runtime.ports import Clock
from gateway.upstream import wire_http
from gateway.upstream.upgrade import NoUpgradeError
from gateway.upstream.wire_date import offset_ms, retry_after_s
from gateway.upstream.wire_errors import WireError
from gateway.upstream.wire_http import Answer

BODY_BYTES: Final = 2**20
"""The largest HTTP body; a user has few sessions."""
SUCCESSES: Final = frozenset({200, 201, 204})


class RefusedAnswer(UnreachedError):  # noqa: N818 - names what happened
    """The server answered with anything but success."""

    def __init__(self, status: int, answer: Answer, retry_after_s: float | None) -> None:
        super().__init__("status")
        self.status = status
        self.answer = answer
        self.retry_after_s = retry_after_s
        """How long the server asked to wait."""

    def meaning(self, *, of_session: bool) -> GatewayError:
        """Return what it means to whoever showed a session, or did not."""
        return wire_http.refused(
            self.status, *self.answer, of_session=of_session, retry_after_s=self.retry_after_s
        )

    def closed(self) -> LinkClosed:
        """Return what it means to whoever wanted a link."""
        match self.status:
            case 401:
                return LinkClosed("session_unknown")
            case 409:
                return LinkClosed("stale", token=wire_http.stale_token(self.answer.body))
            case _:
                return LinkClosed("unavailable", retry_after_s=self.retry_after_s)


def unreached(error: Exception) -> UnreachedError:
    """Return why no usable answer came, with its cause.

    An error that holds the request, and so its secrets, is left out of the chain.
    """
    made = UnreachedError(_trouble(error))
    made.__cause__ = error.__cause__ if isinstance(error, aiohttp.ClientResponseError) else error
    return made


def _trouble(error: Exception) -> Trouble:
    match error:
        case TimeoutError():
            return "timeout"
        case aiohttp.ClientConnectorDNSError():
            return "dns"
        case aiohttp.ClientSSLError() | ssl.SSLError() | aiohttp.ServerFingerprintMismatch():
            return "tls"
        case OSError() if error.errno == errno.ECONNREFUSED:
            return "refused"
        case NoUpgradeError() | WireError() | aiohttp.ClientPayloadError() | aiohttp.ClientResponseError():
            return "unreadable"
        case OSError() | aiohttp.ClientConnectionError():
            return "connection"
        case _:
            return "other"


async def answer_of(
    response: aiohttp.ClientResponse, clock: Clock, successes: frozenset[int] = SUCCESSES
) -> Answer:
    """Return the answer of a success.

    Raises:
        Refused: Its status is not among *successes*.
        aiohttp.ClientError: It cannot be read.
    """
    # before its body, which may take its time
    received_ms = clock.wall_ms()
    offset = offset_ms(response.headers.get(hdrs.DATE), received_ms)
    answer = Answer(await _body(response), offset)
    if response.status not in successes:
        told = response.headers.get(hdrs.RETRY_AFTER)
        raise RefusedAnswer(response.status, answer, retry_after_s(told, offset, received_ms))
    return answer


async def _body(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > BODY_BYTES:
            raise aiohttp.ClientPayloadError("the body is too big")
    return bytes(body)
