"""May somebody ask what only operators may, and is it written down that he did?"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Final

from aiohttp import hdrs, web

from gateway.core.throttle import TokenBucket
from gateway.domain.audit import OperatorAct, UserHash
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import UserId
from gateway.edge.admin_export import user_of
from gateway.edge.bearer import token_in
from gateway.edge.problems import Handler
from gateway.runtime.ports import Clock

TRIES_PER_S: Final = 1.0
TRIES_BURST: Final = 10
"""Wrong tokens at once; then one a second. While there is none left no token is looked at."""
NODE: Final = web.RequestKey("node", str)
"""Set by whoever serves the request: the node that was meant."""
DETAIL: Final = web.RequestKey("detail", str)
"""Set likewise: a word that belongs to the act."""
USER: Final = web.RequestKey("user", str)
"""Set likewise: the keyed hash of whom it concerned, once a node knew him."""
RESULT: Final = web.RequestKey("result", str)
"""Set likewise, where an answer is no error and yet not all was done."""
ACT_ID: Final = web.RequestKey("act_id", str)
"""Set by the door: what all audit lines of this request name, on all nodes."""
_UNKNOWN: Final = "unknown"
_HASH_CHARACTERS: Final = 16


class AdminDoor:
    """Lets operators in, and writes down who asked for what.

    Invariant: whoever is let in showed the token; every request of theirs was written down. Of those that are
    not let in, for whatever reason, one a second is, and the others are counted with the next line.

    Args:
        token: What operators show.
        named: Returns a user's keyed hash.
        audit: Writes an act down.
        clock: Tells when a wrong token may be tried again.
        draw: Draws the id of an act.
    """

    def __init__(
        self,
        token: str,
        named: Callable[[UserId], str],
        audit: Callable[[OperatorAct], None],
        clock: Clock,
        draw: Callable[[], str],
    ) -> None:
        self._digest: Final = _digest(token)
        self._named = named
        self._audit = audit
        self._draw = draw
        self._clock = clock
        self._tries = TokenBucket(TRIES_PER_S, TRIES_BURST)
        self._refusals = TokenBucket(1.0, 1.0)
        self._suppressed = 0

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Serve a request of somebody who may ask it."""
        status, result, is_admitted = 500, ErrorCode.INTERNAL.value, False
        request[ACT_ID] = self._draw()
        try:
            self._admit(request)
            is_admitted = True
            response = await handler(request)
            status, result = response.status, request.get(RESULT, "ok")
        except GatewayError as error:
            status, result = error.status, error.code.value
            raise
        except web.HTTPException as refusal:
            status = refusal.status
            result = (ErrorCode.NOT_FOUND if status == 404 else ErrorCode.BAD_REQUEST).value
            raise
        else:
            return response
        finally:
            if is_admitted or self._refusals.take(self._clock.now()):
                self._note(request, status, result)
            else:
                self._suppressed += 1

    def _admit(self, request: web.Request) -> None:
        """Let nobody in but who shows the token.

        Raises:
            GatewayError: ``forbidden`` for web pages, ``unauthenticated``, or ``rate_limited`` while too many
                wrong tokens were shown.
        """
        now = self._clock.now()
        wait_s = self._tries.wait_s(now)
        if wait_s > 0:
            raise GatewayError(ErrorCode.RATE_LIMITED, "Too many wrong tokens.", retry_after_s=wait_s)
        if hdrs.ORIGIN in request.headers:
            raise GatewayError(ErrorCode.FORBIDDEN, "Web pages may not ask here.")
        shown = token_in(request.headers.getall(hdrs.AUTHORIZATION, []))  # who shows none has not tried any
        try:
            self._check(shown)
        except GatewayError:
            self._tries.take(now)
            raise

    def _check(self, shown: str) -> None:
        if not hmac.compare_digest(_digest(shown), self._digest):
            raise GatewayError(ErrorCode.UNAUTHENTICATED, "The token is not valid.")

    def _note(self, request: web.Request, status: int, result: str) -> None:
        name = request.match_info.route.name or _UNKNOWN
        detail, user = request.get(DETAIL), request.get(USER)
        self._audit(
            OperatorAct(
                act=name if detail is None else f"{name} {detail}",
                subject=self._subject(request),
                node=request.get(NODE),
                result=result,
                status=status,
                suppressed=self._suppressed,
                user=None if user is None else UserHash(user),
                act_id=request[ACT_ID],
            )
        )
        self._suppressed = 0

    def _subject(self, request: web.Request) -> str | None:
        """Return whom it concerns: a user's keyed hash, or the hash of a session's public id."""
        name = request.match_info.get("id")
        if name is None:
            return None
        if request.match_info.route.name == "end_session":
            named = name.encode(errors="replace")
            return hashlib.blake2s(named, digest_size=8, person=b"session").hexdigest()
        user = user_of(name)
        return self._named(user) if user is not None else name[:_HASH_CHARACTERS]


def _digest(token: str) -> bytes:
    """Return what is compared: equally long for all tokens."""
    return hashlib.sha256(token.encode(errors="surrogateescape")).digest()
