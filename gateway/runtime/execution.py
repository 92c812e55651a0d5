"""What becomes of one user's commands at his owner?"""

from __future__ import annotations

import asyncio
from typing import Final, Literal, Protocol

from gateway.core.calls import Calls, New, Pending, answer, fingerprint
from gateway.core.roster import Roster
from gateway.domain.commands import Call, Outcome, Status
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.link_requests import Execute, Executed
from gateway.domain.upstream import LinkClosed
from gateway.runtime.ports import Clock, Link
from gateway.runtime.spawn import spawn

_MAY_HAVE_RUN: Final = "It may have been executed: look, then ask again with a new key."
_STATUS: Final[dict[Literal["applied", "pending", "unchanged"], Status]] = {
    "applied": Status.APPLIED,
    "pending": Status.PENDING,
    "unchanged": Status.UNCHANGED,
}


class Line(Protocol):
    """What executing needs of the owner."""

    clock: Clock
    roster: Roster
    epoch: int

    @property
    def link(self) -> Link | None:
        """The open link."""
        ...

    @property
    def offset_ms(self) -> int:
        """Gateway clock minus server clock."""
        ...

    @property
    def may_act(self) -> bool:
        """Whether a command sent now is executed only if this node still speaks for the user."""
        ...


class Execution:
    """The commands of one user.

    Invariant: a command is sent upstream at most once; whoever asks for it, then or later, is told
    the same outcome. It runs to its end also when the phone that asked is gone.
    """

    def __init__(self, line: Line) -> None:
        self._line = line
        self._calls: Calls[asyncio.Future[Outcome]] = Calls()

    @property
    def in_flight(self) -> int:
        """How many commands have no outcome yet."""
        return len(self._calls.in_flight)

    async def execute(self, call: Call, tasks: asyncio.TaskGroup | None) -> Outcome:
        """Execute *call*, or join the execution under way; *tasks* is where it may outlive its asker."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        began = self._calls.begin(
            call.key,
            fingerprint(call.command),
            future,
            self._line.clock.now(),
            session=call.session,
            retry=call.retry,
            stream_epoch=call.stream_epoch,
            epoch=self._line.epoch,
        )
        match began:
            case New():
                if not spawn(tasks, self._run(call)):
                    self._settle(call, _NOT_REACHED)
            case Pending():
                pass
            case _:
                return answer(began)
        try:
            return await future
        finally:
            self._calls.leave(future)

    async def _run(self, call: Call) -> None:
        outcome = _unknown()
        try:
            outcome = await self._ask(call)
        finally:
            self._settle(call, outcome)

    def _settle(self, call: Call, outcome: Outcome) -> None:
        for waiter in self._calls.settle(call.key, outcome, self._line.clock.now()):
            if not waiter.done():
                waiter.set_result(outcome)

    async def _ask(self, call: Call) -> Outcome:
        line = self._line
        member, link = line.roster.get(call.session), line.link
        if link is None or member is None or member.attached is None or not member.on_link:
            return _NOT_REACHED
        if not line.may_act:
            return _IN_DOUBT
        left_s = (call.deadline_ms - line.clock.wall_ms()) / 1000
        if left_s <= 0:
            return _TOO_LATE
        not_after_ms = call.deadline_ms - line.offset_ms
        request = Execute(member.attached.alias, call.command, call.key, not_after_ms)
        try:
            async with line.clock.timeout(left_s):
                executed = await link.request(request)
        except (TimeoutError, LinkClosed):
            return _unknown()
        except GatewayError as error:
            timed_out = error.code is ErrorCode.UPSTREAM_TIMEOUT
            return Outcome(Status.UNKNOWN if timed_out else Status.REJECTED, error)
        if not isinstance(executed, Executed):
            return _unknown()
        return Outcome(_STATUS[executed.state], version=executed.version)


def _unknown() -> Outcome:
    return Outcome(Status.UNKNOWN, GatewayError(ErrorCode.UPSTREAM_TIMEOUT, _MAY_HAVE_RUN))


def _rejected(code: ErrorCode, message: str) -> Outcome:
    return Outcome(Status.REJECTED, GatewayError(code, message))


_NOT_REACHED: Final = _rejected(ErrorCode.UPSTREAM_UNAVAILABLE, "The OSCC-E Server is not reached right now.")
_IN_DOUBT: Final = _rejected(ErrorCode.BUS_DOWN, "It is not certain right now who speaks for the user.")
_TOO_LATE: Final = _rejected(ErrorCode.EXPIRED, "The command arrived after its deadline.")
