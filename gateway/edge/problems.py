"""How does an HTTP request end that could not be served?

With problem details (RFC 9457), whatever went wrong: a refusal, a wrong path, or a fault of ours.
No answer and no log line repeats what a client sent, and none shows a stack. Whoever may succeed
later is always told when.
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
"""When to try again what may succeed later, where nobody knows better."""

_LOG: Final = logging.getLogger(__name__)

_OF_HTTP: Final[dict[int, tuple[ErrorCode, str]]] = {
    404: (ErrorCode.NOT_FOUND, "There is nothing here."),
    405: (ErrorCode.BAD_REQUEST, "This cannot be done here."),
    413: (ErrorCode.BAD_REQUEST, "The body is too large."),
    415: (ErrorCode.BAD_REQUEST, "The body must be application/json."),
    417: (ErrorCode.BAD_REQUEST, "Nothing but 100-continue can be expected here."),
}
"""What HTTP itself refuses, under the nearest code of ours. The status stays HTTP's."""


class UnsupportedMediaType(web.HTTPUnsupportedMediaType):
    """A body came that is not plainly ``application/json``."""


def check_json(request: web.Request) -> None:
    """Refuse a body that is not plainly ``application/json``.

    The header is read here: aiohttp hands it to the parser of mail, which takes a second of everybody's time
    for eight kilobytes of parameters, and does not come back from nested comments.

    Raises:
        UnsupportedMediaType: It is something else, or compressed, or does not say.
    """
    said = request.headers.getall(hdrs.CONTENT_TYPE, [])
    plain = len(said) == 1 and said[0].partition(";")[0].strip().lower() == http_form.JSON_TYPE
    if not plain or hdrs.CONTENT_ENCODING in request.headers:
        raise UnsupportedMediaType


def answer(body: object, *, status: int = 200) -> web.Response:
    """Return one of the protocol's bodies."""
    return web.Response(
        body=http_form.write_body(body), status=status, content_type=http_form.JSON_TYPE, charset="utf-8"
    )


def problem(error: GatewayError, *, status: int | None = None) -> web.Response:
    """Return *error* as problem details, with *status* where HTTP has a better one than the code."""
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
        response.headers[hdrs.WWW_AUTHENTICATE] = "Bearer"  # RFC 9110 §11.6.1: every 401 says how
    return response


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever a handler raises into an answer."""
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
    except ConnectionError:  # the client has left: aiohttp ends it quietly
        raise
    except Exception as fault:  # noqa: BLE001 - the last line: one request's fault ends one request
        log_fault(_LOG, "request_failed", fault)
        return problem(GatewayError(ErrorCode.INTERNAL, "Something went wrong here."))


async def reword(request: web.Request, response: web.StreamResponse) -> None:  # noqa: ARG001 - aiohttp asks so
    """Give what aiohttp refuses before any handler our words; its own repeat what was sent."""
    if isinstance(response, web.HTTPException) and response.status >= 400:
        told = _of_http(response)
        response.body = told.body
        response.headers[hdrs.CONTENT_TYPE] = http_form.PROBLEM_TYPE
        response.headers[hdrs.CONTENT_LENGTH] = str(told.content_length)


def _wait_s(error: GatewayError) -> float | None:
    """Return after how many seconds to try again; None: it is of no use."""
    if error.retry_after_s is None:
        return AGAIN_S if ERRORS[error.code].retry else None
    return tenths(error.retry_after_s)


def _of_http(refusal: web.HTTPException) -> web.Response:
    code, text = _OF_HTTP.get(refusal.status, (ErrorCode.BAD_REQUEST, "This request cannot be served."))
    response = problem(GatewayError(code, text), status=refusal.status)
    if hdrs.ALLOW in refusal.headers:
        response.headers[hdrs.ALLOW] = refusal.headers[hdrs.ALLOW]
    return response
