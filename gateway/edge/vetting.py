"""May a command go on to its user's owner, and how is it written there?"""

from __future__ import annotations

from dataclasses import replace

from gateway.domain.commands import AcknowledgeNotice, Call, ChangeRemoteNumber
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import Ticket
from gateway.edge.notices import Notices
from gateway.edge.numbers import Numbers


class Vetting:
    """Looks at what the edge alone can judge: telephone numbers and notices.

    Args:
        numbers: Which remote numbers are allowed.
        notices: Those in force.
    """

    def __init__(self, numbers: Numbers, notices: Notices) -> None:
        self._numbers = numbers
        self._notices = notices

    def vet(self, call: Call, ticket: Ticket) -> Call:
        """Return *call* as it may go on: a remote number in E.164, all else as it is.

        Raises:
            GatewayError: ``not_found``: there is no such notice in this version; or what speaks
                against a remote number.
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
        """Return what the session has acknowledged once *command* is applied, as (id, version)."""
        return self._notices.kept((*ticket.notices, (command.notice_id, command.version)))
