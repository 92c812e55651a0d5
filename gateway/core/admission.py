"""May this session give this command, as far as the gateway can tell?"""

from __future__ import annotations

from gateway.domain.commands import RULES, Command, SetAgentRoutingState, SetRoutingState
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import Kind, Scope, parse_key
from gateway.protocol.envelopes import SessionFacts


def check_command(command: Command, facts: SessionFacts) -> None:
    """Refuse what the session's application, rights or scope do not allow.

    What is out of scope is answered like what does not exist, so that nobody learns which ids are in use.

    Raises:
        GatewayError: ``forbidden``, ``not_found`` or ``wrong_resource_kind``.
    """
    rule = RULES[type(command)]
    if facts.application is not rule.application or rule.right not in facts.rights:
        raise GatewayError(ErrorCode.FORBIDDEN, "This session may not do that.")
    match command:
        case SetAgentRoutingState():
            _check_id(Kind.AGENT, command.agent_id, facts.scope)
        case SetRoutingState():
            pass


def check_deadline(expires_at_ms: int, wall_ms: int, *, ahead_s: float) -> None:
    """Refuse a command that is late already, or that would live too long.

    Raises:
        GatewayError: ``expired`` or ``bad_request``.
    """
    if expires_at_ms <= wall_ms:
        raise GatewayError(ErrorCode.EXPIRED, "The command arrived after its deadline.")
    if expires_at_ms > wall_ms + ahead_s * 1000:
        raise GatewayError(ErrorCode.BAD_REQUEST, f"A deadline may be at most {ahead_s:.0f} s ahead.")


def _check_id(kind: Kind, identity: str, scope: Scope) -> None:
    other = parse_key(identity)
    if other is not None and other[0] is not kind:
        raise GatewayError(ErrorCode.WRONG_RESOURCE_KIND, f"An id of the kind {kind} is needed.")
    parsed = parse_key(f"{kind}:{identity}")
    if parsed is None or parsed[1] not in scope.of(kind):
        raise GatewayError(ErrorCode.NOT_FOUND, f"There is no such {kind}.")
