"""HTTP errors as problem details (RFC 9457).

No response and no log line repeats what a client sent, and no response contains a stack. A response to a
request that may succeed later contains the time to retry.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import hdrs, web

from gateway.domain.errors import ERRORS, ErrorCode, GatewayError, tenths
from gateway.protocol import http_form, json_form
from gateway.runtime.faults import log_fault

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

AGAIN_S: Final = 5.0
"""Default time after which to retry a request that may succeed later."""

_LOG: Final = logging.getLogger(__name__)

_OF_HTTP: Final[dict[int, tuple[ErrorCode, str]]] = {
    404: (ErrorCode.NOT_FOUND, "There is nothing at this path."),
    405: (ErrorCode.BAD_REQUEST, "This method is not allowed here."),
    413: (ErrorCode.BAD_REQUEST, "The body is too large."),
    415: (ErrorCode.BAD_REQUEST, "The body must be application/json."),
    417: (ErrorCode.BAD_REQUEST, "The only expectation supported is 100-continue."),
}
"""HTTP status of a refusal by aiohttp → the nearest error code, and its text."""


class UnsupportedMediaType(web.HTTPUnsupportedMediaType):
    """The body is not plain ``application/json``."""


def check_json(request: web.Request) -> None:
    """Refuse a body that is not plain ``application/json``.

    aiohttp's parser of the header is not used: it takes 1 s of the event loop for 8 KiB of parameters, and
    does not return from nested comments.

    Raises:
        UnsupportedMediaType: It is another type, compressed, or has no type.
    """
    content_types = request.headers.getall(hdrs.CONTENT_TYPE, [])
    plain = (
        len(content_types) == 1 and content_types[0].partition(";")[0].strip().lower() == http_form.JSON_TYPE
    )
    if not plain or hdrs.CONTENT_ENCODING in request.headers:
        raise UnsupportedMediaType


def answer(body: object, *, status: int = 200) -> web.Response:
    """Return *body* as a JSON response."""
    return web.Response(
        body=http_form.write_body(body), status=status, content_type=http_form.JSON_TYPE, charset="utf-8"
    )


def problem(error: GatewayError, *, status: int | None = None) -> web.Response:
    """Return *error* as problem details, with *status* when it is better than that of the code."""
    members = http_form.problem_members(error)
    if status is not None:
        members["status"] = status
    wait_s = _wait_s(error)
    if wait_s is not None:
        members["retry_after_s"] = wait_s
    response = web.Response(
        body=json_form.write(members),
        status=error.status if status is None else status,
        content_type=http_form.PROBLEM_TYPE,
    )
    if wait_s is not None:
        response.headers[hdrs.RETRY_AFTER] = str(max(1, math.ceil(wait_s)))
    if error.code in {ErrorCode.UNAUTHENTICATED, ErrorCode.SESSION_ENDED}:
        response.headers[hdrs.WWW_AUTHENTICATE] = "Bearer"  # RFC 9110 §11.6.1: each 401 needs it
    return response


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Convert the exceptions of handlers into responses."""
    try:
        return await handler(request)
    except GatewayError as error:
        return problem(error)
    except web.HTTPException as refusal:
        if refusal.status < 400:
            raise
        return _of_http(refusal)
    except web.RequestPayloadError:
        return problem(GatewayError(ErrorCode.BAD_REQUEST, "The body cannot be read."))
    except ConnectionError:  # the client has left: aiohttp handles it
        raise
    except Exception as fault:  # noqa: BLE001 - the outermost handler: a fault of one request ends that request only
        log_fault(_LOG, "request_failed", fault)
        return problem(
            GatewayError(
                ErrorCode.INTERNAL,
                "Internal error of the gateway. Try again, or give the operator the time of the request.",
            )
        )


async def reword(request: web.Request, response: web.StreamResponse) -> None:  # noqa: ARG001 - aiohttp asks so
    """Replace the texts of aiohttp's own refusals, which repeat what was sent."""
    if isinstance(response, web.HTTPException) and response.status >= 400:
        reworded = _of_http(response)
        response.body = reworded.body
        response.headers[hdrs.CONTENT_TYPE] = http_form.PROBLEM_TYPE
        response.headers[hdrs.CONTENT_LENGTH] = str(reworded.content_length)


def _wait_s(error: GatewayError) -> float | None:
    """Return the seconds after which to retry; None when a retry is of no use."""
    if error.retry_after_s is None:
        return AGAIN_S if ERRORS[error.code].retry else None
    return tenths(error.retry_after_s)


def _of_http(refusal: web.HTTPException) -> web.Response:
    code, text = _OF_HTTP.get(refusal.status, (ErrorCode.BAD_REQUEST, "This request cannot be served."))
    response = problem(GatewayError(code, text), status=refusal.status)
    if hdrs.ALLOW in refusal.headers:
        response.headers[hdrs.ALLOW] = refusal.headers[hdrs.ALLOW]
    return response
