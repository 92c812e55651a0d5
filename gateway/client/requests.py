"""Requests that wait for their answer, and which of them are sent again after a lost connection."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Final, NamedTuple

from gateway.client.refusal import error_of
from gateway.domain.commands import Outcome, Status
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.protocol.frames import (
    CommandFrame,
    ErrorFrame,
    Follow,
    Followed,
    GrantedTopics,
    OutcomeView,
    Result,
)

WAITING_MAX: Final = 64
"""Requests of one kind that wait at once."""

Settle = Callable[[Outcome], None]
Granted = Callable[[GrantedTopics | GatewayError], None]


class _Command(NamedTuple):
    frame: CommandFrame
    settle: Settle


class _Follow(NamedTuple):
    frame: Follow
    granted: Granted


class Requests:
    """Commands and follows on their way, over any number of connections.

    Invariant: each is answered at most once; a command is repeated with the same key, stream and
    deadline, so it is carried out at most once whatever happens in between.
    """

    __slots__ = ("_commands", "_count", "_follows")

    def __init__(self) -> None:
        self._commands: dict[str, _Command] = {}
        self._follows: dict[str, _Follow] = {}
        self._count = 0

    def next_id(self) -> str:
        """Return an id that no other request of this client has."""
        self._count += 1
        return str(self._count)

    def command(self, frame: CommandFrame, settle: Settle) -> None:
        """Wait for what becomes of a command.

        Raises:
            GatewayError: ``overloaded``; :data:`WAITING_MAX` wait already.
        """
        self._check(len(self._commands))
        self._commands[frame.id] = _Command(frame, settle)

    def follow(self, frame: Follow, granted: Granted) -> None:
        """Wait for the topics granted.

        Raises:
            GatewayError: ``overloaded``; :data:`WAITING_MAX` wait already.
        """
        self._check(len(self._follows))
        self._follows[frame.id] = _Follow(frame, granted)

    def withdraw(self, id_: str) -> None:
        """Stop waiting."""
        self._commands.pop(id_, None)
        self._follows.pop(id_, None)

    # ---- what is told to it ----

    def welcomed(
        self, topics: GrantedTopics, asked: tuple[str, ...] | None
    ) -> tuple[CommandFrame | Follow, ...]:
        """Note that a new connection is served; returns what to send on it.

        *asked* are the topics of its `hello`, the newest wish of then: they answer the last follow that asked
        for the same, and those that it replaced.
        """
        follows = tuple(self._follows.items())
        answered = max(
            (at for at, (_, (frame, _)) in enumerate(follows) if frame.topics == asked), default=-1
        )
        for id_, (_, granted) in follows[: answered + 1]:
            del self._follows[id_]
            granted(topics)
        commands = (dataclasses.replace(waiting.frame, retry=True) for waiting in self._commands.values())
        return (*(follow.frame for follow in self._follows.values()), *commands)

    def result(self, frame: Result) -> None:
        """Take in what became of a command; one that nobody waits for is ignored."""
        self._settle(frame.id, outcome_of(frame.outcome))

    def followed(self, frame: Followed) -> None:
        """Take in the topics granted."""
        if follow := self._follows.pop(frame.id, None):
            follow.granted(frame.topics)

    def refused(self, frame: ErrorFrame) -> bool:
        """Take in that a frame was not served; returns whether somebody waited for it."""
        if frame.id is None:
            return False
        error = error_of({"code": frame.code, "message": frame.message, "retry_after_s": frame.retry_after_s})
        if follow := self._follows.pop(frame.id, None):
            follow.granted(error)
            return True
        return self._settle(frame.id, Outcome(Status.REJECTED, error))

    def ended(self, error: GatewayError) -> None:
        """Answer everything that waits: no connection will follow."""
        follows, self._follows = self._follows, {}
        for follow in follows.values():
            follow.granted(error)
        lost = GatewayError(ErrorCode.OWNER_LOST, "The session ended before the result came.")
        for id_ in tuple(self._commands):
            self._settle(id_, Outcome(Status.UNKNOWN, lost))

    # ---- inner ----

    def _check(self, waiting: int) -> None:
        if waiting >= WAITING_MAX:
            raise GatewayError(ErrorCode.OVERLOADED, "Too many requests wait for their answer.")

    def _settle(self, id_: str, outcome: Outcome) -> bool:
        waiting = self._commands.pop(id_, None)
        if waiting is None:
            return False
        waiting.settle(outcome)
        return True


def outcome_of(view: OutcomeView) -> Outcome:
    """Return an outcome as the domain names it."""
    error = None if view.error is None else error_of(view.error)
    return Outcome(Status(view.status), error, view.version)
