"""Commands of phones: checks at the edge, the call to the node, and new tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from gateway.domain.commands import AcknowledgeNotice, Call, ChangeRemoteNumber, Outcome, Status
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import Ticket
from gateway.edge.connection_stats import ConnectionStats
from gateway.edge.credentials import SessionCredentials
from gateway.edge.notices import NoticesInForce
from gateway.edge.ports import SocketNode
from gateway.edge.remote_numbers import NumberPolicies
from gateway.protocol.frames import Renewed
from gateway.runtime.feed import Connection
from gateway.runtime.ports import Clock


class CommandPrechecks:
    """Checks of commands that only the edge can make: telephone numbers and notices.

    Args:
        numbers: The policies of remote numbers.
        notices: The notices in force.
    """

    def __init__(self, numbers: NumberPolicies, notices: NoticesInForce) -> None:
        self._numbers = numbers
        self._notices = notices

    def check(self, call: Call, ticket: Ticket) -> Call:
        """Return *call* as it is executed: a remote number in E.164, everything else unchanged.

        Raises:
            GatewayError: ``not_found``: there is no such notice in this version. Or the error of a
                remote number.
        """
        match call.command:
            case ChangeRemoteNumber(number=number):
                accepted = self._numbers.accept(ticket.user.site, number)
                return replace(call, command=ChangeRemoteNumber(accepted))
            case AcknowledgeNotice(notice_id=notice_id, version=version):
                if not self._notices.kept([(notice_id, version)]):
                    raise GatewayError(ErrorCode.NOT_FOUND, "There is no such notice.")
                return call
            case _:
                return call

    def acknowledged(self, command: AcknowledgeNotice, ticket: Ticket) -> tuple[tuple[str, int], ...]:
        """Return the notices acknowledged after *command*, as (id, version)."""
        return self._notices.kept((*ticket.notices, (command.notice_id, command.version)))


class CommandResult(NamedTuple):
    """Result of a command. *renewed* is sent before it."""

    outcome: Outcome
    renewed: Renewed | None


class CommandRunner:
    """Runner of the commands of phones.

    Invariant: a command that was counted as in flight is counted out, however it ends.

    Args:
        node: Executes commands.
        prechecks: Checks them before.
        clock: Measures how long they take.
    """

    def __init__(self, node: SocketNode, prechecks: CommandPrechecks, clock: Clock) -> None:
        self._node = node
        self._prechecks = prechecks
        self._clock = clock

    async def run(
        self, connection: Connection, call: Call, credentials: SessionCredentials, stats: ConnectionStats
    ) -> CommandResult:
        """Run *call* and return its result. Bounded by the deadline of the call.

        Args:
            connection: The phone's connection.
            call: The command.
            credentials: The phone's session, with the notices it has acknowledged.
            stats: Counts.
        """
        began = self._clock.now()
        stats.command_started()
        try:
            outcome = await self._outcome(connection, call, credentials)
        except BaseException:
            stats.command_abandoned()
            raise
        stats.command_finished(call, outcome, self._clock.now() - began)
        return CommandResult(outcome, self._renewed(call, outcome, credentials))

    async def _outcome(self, connection: Connection, call: Call, credentials: SessionCredentials) -> Outcome:
        try:
            checked = self._prechecks.check(call, credentials.ticket)
        except GatewayError as error:
            return Outcome(Status.REJECTED, error)
        return await self._node.invoke(connection, checked)

    def _renewed(self, call: Call, outcome: Outcome, credentials: SessionCredentials) -> Renewed | None:
        """Return a token that contains the acknowledgement."""
        if not isinstance(call.command, AcknowledgeNotice) or outcome.status is not Status.APPLIED:
            return None
        return credentials.acknowledge(self._prechecks.acknowledged(call.command, credentials.ticket))
