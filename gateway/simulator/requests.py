"""Requests on a link, and their responses."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from gateway.simulator import fields
from gateway.simulator.commands import Commands
from gateway.simulator.directory import DIRECTORY_KINDS
from gateway.simulator.elements import message
from gateway.simulator.fields import Body, Refused
from gateway.simulator.links import Link, Switchboard
from gateway.simulator.model import FirstResponses, Json

KEPT = 200_000
"""Stored keys; the oldest is removed first."""


@dataclass(slots=True)
class SeenKeys:
    """Counts by user and ``RequestKey``; a request without one is not counted."""

    keys: int = 0
    """Number of different keys."""
    again: int = 0
    """How often a known key arrived."""
    twice: int = 0
    """How often a known key was executed again."""
    _executed: OrderedDict[tuple[int, object], bool] = field(default_factory=OrderedDict)

    def came(self, user_key: int, body: Body) -> None:
        """Record a received request."""
        if (key := body.get("RequestKey")) is None:
            return
        if (user_key, key) in self._executed:
            self.again += 1
            return
        self.keys += 1
        self._executed[user_key, key] = False
        if len(self._executed) > KEPT:
            self._executed.popitem(last=False)

    def executed(self, user_key: int, body: Body) -> None:
        """Record an execution: neither refused, nor answered from the first response."""
        if (key := body.get("RequestKey")) is None:
            return
        self.twice += self._executed.get((user_key, key), False)
        self._executed[user_key, key] = True


class Requests:
    """Executes requests, each as a whole and at once.

    Invariant: a request gets exactly one response, after the events of its effect; a request that is read on
    a replaced link gets none and has no effect.
    """

    def __init__(
        self,
        board: Switchboard,
        commands: Commands,
        first_responses: FirstResponses,
        refuse: Callable[[], None],
    ) -> None:
        self._board = board
        self._refuse = refuse
        """Refuses a request that the fault script refuses."""
        self._commands = commands
        self._first_responses = first_responses
        self.executed: dict[str, int] = {}
        """Method → number of executions."""
        self.keys: Final = SeenKeys()

    def received(self, link: Link, body: Body) -> None:
        """Execute one request read on *link* and send its response.

        Raises:
            Refused: ``BadRequest`` when it is no request; the link is to be closed.
        """
        if not self._board.is_present(link):
            return
        request_id = fields.integer(body, "RequestID")
        if body.get("Type") != "Request" or request_id <= 0:
            raise Refused("BadRequest")
        if not link.subscriptions.sessions and body.get("Method") not in ("AttachSession", "KeepAlive"):
            answer, followed = self._failure(Refused("SessionUnknown")), None
        else:
            answer, followed = self._answer(link, body)
        link.send(message({"Type": "Response", "RequestID": request_id, **answer}))
        if followed is not None:
            link.send(followed)

    def _answer(self, link: Link, body: Body) -> tuple[Json, bytes | None]:
        try:
            self._check_time(body)
            self._refuse()
            if body.get("Method") == "ListenForEvents":
                return self._listen(link, body)
            at, now_ms = self._request_key(link, body), self._board.center.now_ms
            self.keys.came(link.account.key, body)
            if at is not None and (first := self._first_responses.get(at, now_ms)) is not None:
                return first, None
            answer = self._board.with_effects(lambda: self._guarded(link, body))
            if at is not None:
                self._first_responses.put(at, now_ms, answer)
        except Refused as refused:
            return self._failure(refused), None
        return answer, None

    def _guarded(self, link: Link, body: Body) -> Json:
        try:
            answer = self._execute(link, body)
        except Refused as refused:
            return self._failure(refused)
        method = str(body.get("Method"))
        self.executed[method] = self.executed.get(method, 0) + 1
        self.keys.executed(link.account.key, body)
        return {"Error": 0, **answer}

    def _execute(self, link: Link, body: Body) -> Json:
        match body.get("Method"):
            case "KeepAlive":
                return {"Time": self._board.center.wall_ms}
            case "AttachSession":
                return self._board.attach(link, self._board.sessions.get(fields.text(body, "SessionID")))
            case "DetachSession":
                link.subscriptions.session(body.get("Session"))
                self._board.detach(link, fields.integer(body, "Session"))
                return {}
            case "Presence":
                session = link.subscriptions.session(body.get("Session"))
                self._board.sessions.set_present(session, present=fields.flag(body, "Present"))
                return {}
            case "StopListeningForEvents":
                link.subscriptions.stop(fields.integer(body, "QueryID"))
                return {}
            case "QueryDirectory":
                return self._query_directory(link, body)
            case str():
                return self._command(link, body)
            case _:
                raise Refused("BadRequest", Field="Method")

    def _command(self, link: Link, body: Body) -> Json:
        command = self._commands.named(fields.text(body, "Method"))
        return command(link.subscriptions.session(body.get("Session")), body)

    def _listen(self, link: Link, body: Body) -> tuple[Json, bytes | None]:
        event_type = fields.text(body, "EventType")
        if event_type.endswith("Realtime"):
            self._board.center.functions.need("RealTime")
        if event_type.endswith("Cumulative"):
            self._board.center.functions.need("Historical")
        keys = body.get("Keys")
        query = link.subscriptions.listen(
            event_type, "All" if keys == "All" else fields.integers(body, "Keys")
        )
        return {"Error": 0, "QueryID": query.query_id}, link.subscriptions.whole(query, self._board.reading())

    def _query_directory(self, link: Link, body: Body) -> Json:
        self._board.center.functions.need("AdministrationDatabase")
        kinds = body.get("Kinds")
        if not isinstance(kinds, list) or any(kind not in DIRECTORY_KINDS for kind in kinds):
            raise Refused("BadRequest", Field="Kinds")
        found = self._board.center.directory.query(kinds, link.subscriptions.scope)
        return {"Objects": found}

    def _check_time(self, body: Body) -> None:
        not_after_ms = fields.optional_integer(body, "NotAfter")
        if not_after_ms is not None and self._board.center.wall_ms > not_after_ms:
            raise Refused("Expired")

    def _request_key(self, link: Link, body: Body) -> tuple[str, str] | None:
        key = fields.optional_text(body, "RequestKey")
        if key is None or "RequestKeys" not in self._commands.about.features:
            return None
        session = link.subscriptions.sessions.get(fields.optional_integer(body, "Session") or 0)
        return None if session is None else (session.secret, key)

    @staticmethod
    def _failure(refused: Refused) -> Json:
        return {"Error": refused.code, "ErrorName": refused.name, **refused.details}
