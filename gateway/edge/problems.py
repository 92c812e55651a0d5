"""How does an HTTP request end that could not be served?

With problem details (RFC 9457), whatever went wrong: a refusal, a wrong path, or a fault of ours.
No answer and no log line repeats what a client sent, and none shows a stack.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import hdrs, web

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.protocol import http_form, json_form
from gateway.runtime.faults import place

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_LOG: Final = logging.getLogger(__name__)

_OF_HTTP: Final[dict[int, tuple[ErrorCode, str]]] = {
    404: (ErrorCode.NOT_FOUND, "There is nothing here."),
    405: (ErrorCode.BAD_REQUEST, "This cannot be done here."),
    413: (ErrorCode.BAD_REQUEST, "The body is too large."),
    415: (ErrorCode.BAD_REQUEST, "The body must be application/json."),
}
"""What HTTP itself refuses, under the nearest code of ours. The status stays HTTP's."""


class UnsupportedMediaType(web.HTTPUnsupportedMediaType):
    """A body came that is not plainly ``application/json``."""


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
    response = web.Response(
        body=json_form.write(members),
        status=error.status if status is None else status,
        content_type=http_form.PROBLEM_TYPE,
    )
    if error.retry_after_s is not None:
        response.headers[hdrs.RETRY_AFTER] = str(max(1, math.ceil(error.retry_after_s)))
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
        _LOG.error("a request failed: %s", place(fault))
        return problem(GatewayError(ErrorCode.INTERNAL, "Something went wrong here."))


def _of_http(refusal: web.HTTPException) -> web.Response:
    code, text = _OF_HTTP.get(refusal.status, (ErrorCode.BAD_REQUEST, "This request cannot be served."))
    response = problem(GatewayError(code, text), status=refusal.status)
    if hdrs.ALLOW in refusal.headers:
        response.headers[hdrs.ALLOW] = refusal.headers[hdrs.ALLOW]
    return response
