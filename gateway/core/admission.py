"""May this session give this command, as far as the gateway can tell?"""

from __future__ import annotations

from gateway.core.choices import check_parameters, check_reason, check_skills, check_wrap_up
from gateway.core.declared import Declared
from gateway.domain.commands import (
    RULES,
    AcknowledgeNotice,
    ChangeRemoteNumber,
    Command,
    ExtendPostProcessing,
    FinishPostProcessing,
    SetAgentRoutingState,
    SetAutoPostProcessing,
    SetGroupParameters,
    SetQueueParameters,
    SetRoutingState,
    SetSkills,
    StartPostProcessing,
)
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import Kind, Scope, key_of, parse_key
from gateway.protocol.envelopes import SessionFacts


def check_command(command: Command, facts: SessionFacts, declared: Declared) -> None:
    """Refuse what the session may not do, then what OSCC-E's functions or catalogues do not allow.

    What is out of scope is answered like what does not exist, so that nobody learns which ids are
    in use. What OSCC-E has not declared yet is left to OSCC-E, as is what depends on present states.

    Raises:
        GatewayError: ``forbidden``, ``not_found``, ``wrong_resource_kind``, ``function_unavailable``,
            or what :mod:`gateway.core.choices` refuses.
    """
    rule = RULES[type(command)]
    if rule.application not in {None, facts.application} or not (
        rule.right is None or rule.right in facts.rights
    ):
        raise GatewayError(ErrorCode.FORBIDDEN, "This session may not do that.")
    resource = _resource(command, facts.scope)
    for function in rule.functions:
        if declared.is_down(function):
            raise GatewayError(
                ErrorCode.FUNCTION_UNAVAILABLE,
                "A function of the contact centre is not available.",
                function=function,
            )
    _check_values(command, resource, facts.scope, declared)


def check_deadline(expires_at_ms: int, wall_ms: int, *, ahead_s: float, retry: bool) -> None:
    """Refuse a command that is late already, or that would live too long.

    One that comes again may be late: only its owner knows whether it was executed in time.

    Raises:
        GatewayError: ``expired`` or ``bad_request``.
    """
    if expires_at_ms <= wall_ms and not retry:
        raise GatewayError(ErrorCode.EXPIRED, "The command arrived after its deadline.")
    if expires_at_ms > wall_ms + ahead_s * 1000:
        raise GatewayError(ErrorCode.BAD_REQUEST, f"A deadline may be at most {ahead_s:.0f} s ahead.")


def _resource(command: Command, scope: Scope) -> str | None:
    """Return the key of what the command is about; None: the session's own agent, or nothing."""
    match command:
        case SetSkills() | SetAgentRoutingState():
            return _key(Kind.AGENT, command.agent_id, scope)
        case SetQueueParameters():
            return _key(Kind.QUEUE, command.queue_id, scope)
        case SetGroupParameters():
            return _key(Kind.GROUP, command.group_id, scope)
        case _:
            return None


def _check_values(command: Command, resource: str | None, scope: Scope, declared: Declared) -> None:
    match command:
        case SetSkills():
            check_skills(command, declared)
        case SetQueueParameters():
            check_parameters(command.changes, Kind.QUEUE, declared.parameters_of(resource), scope, declared)
        case SetGroupParameters():
            check_parameters(command.changes, Kind.GROUP, declared.parameters_of(resource), scope, declared)
        case SetAgentRoutingState():
            check_reason(command, declared.agent(resource), declared)
        case SetRoutingState():
            check_reason(command, declared.agent(declared.own_agent), declared)
        case FinishPostProcessing():
            check_wrap_up(command.wrap_up_reason_ids, declared)
        case (
            StartPostProcessing()
            | ExtendPostProcessing()
            | SetAutoPostProcessing()
            | ChangeRemoteNumber()
            | AcknowledgeNotice()
        ):
            pass


def _key(kind: Kind, identity: str, scope: Scope) -> str:
    other = parse_key(identity)
    if other is not None and other[0] is not kind:
        raise _wrong_kind(kind)
    parsed = parse_key(f"{kind}:{identity}")
    if parsed is None or parsed[1] not in scope.of(kind):
        if parsed is not None and any(parsed[1] in scope.of(each) for each in Kind):
            raise _wrong_kind(kind)
        raise GatewayError(ErrorCode.NOT_FOUND, f"There is no such {kind}.")
    return key_of(kind, parsed[1])


def _wrong_kind(kind: Kind) -> GatewayError:
    return GatewayError(ErrorCode.WRONG_RESOURCE_KIND, f"An id of the kind {kind} is needed.")
