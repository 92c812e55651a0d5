"""Checks of what a phone sends (the rate of its frames, and its commands), and the frames that answer.

Checked are skills with their levels, reasons with their kinds, and routing parameters with their types and
bounds. Steps are a hint for editors and are not checked. Only OSCC-E can check rules over several resources
(cycles, contradictions).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from operator import attrgetter
from typing import Final

from gateway.core.ledger import Ledger
from gateway.core.rate_limits import SessionLimits
from gateway.core.view import View, me_key
from gateway.domain.commands import (
    RULES,
    AcknowledgeNotice,
    ChangeRemoteNumber,
    Command,
    ExtendPostProcessing,
    FinishPostProcessing,
    Outcome,
    SetAgentRoutingState,
    SetAutoPostProcessing,
    SetGroupParameters,
    SetQueueParameters,
    SetRoutingState,
    SetSkills,
    StartPostProcessing,
    Status,
)
from gateway.domain.errors import ErrorCode, GatewayError, tenths
from gateway.domain.model import (
    REASONS,
    ROUTING_PARAMETERS,
    SITE,
    SKILLS,
    Kind,
    Scope,
    Ticket,
    key_of,
    parse_key,
)
from gateway.domain.resources import (
    Agent,
    Functions,
    FunctionState,
    Group,
    Me,
    Parameter,
    Queue,
    Reason,
    ReasonKind,
    Reasons,
    RoutingParameter,
    RoutingParameters,
    Scalar,
    Site,
    Skill,
    Skills,
)
from gateway.domain.upstream import FunctionName
from gateway.protocol.envelopes import SessionFacts
from gateway.protocol.frames import (
    CommandFrame,
    GrantedTopics,
    Limits,
    OutcomeView,
    RefusedTopic,
    SessionView,
    UserView,
    Welcome,
)

_COUNTED_BYTES: Final = 1024
_LONG_PAST_MS: Final = 60_000
"""Longer than the clock of a node is wrong."""
_ROUNDING_S: Final = 1e-6


def full_after(full_at: float, now: float, limits: SessionLimits, size_bytes: int = 0) -> float | None:
    """Return when a whole burst may come again after one more frame; None: that frame is one too many.

    This number is the whole state of the rate: a bucket's level and its time. A frame counts once, and once
    more for each whole KiB, so never more than ``frames_burst + frames_per_s * t`` frames are served in any t
    seconds, and about as many KiB.

    Args:
        full_at: The result of the frame before; :data:`ANY_TIME` without one.
        now: When it came.
        limits: The limits of a connection; the rate is above 0.
        size_bytes: The size of the frame. It never counts as more than a whole burst.
    """
    frames = min(1 + size_bytes // _COUNTED_BYTES, limits.frames_burst)
    after = max(full_at, now) + frames / limits.frames_per_s
    return after if after - now <= limits.frames_burst / limits.frames_per_s + _ROUNDING_S else None


def check_command(command: Command, facts: SessionFacts, declared: Declared) -> None:
    """Refuse a command that the session's rights, OSCC-E's functions or its catalogues do not allow.

    A resource out of scope and one that does not exist get the same answer, so that a client cannot find out
    which ids are in use. OSCC-E itself checks rules that it has not declared yet, or that depend on
    present states.

    Raises:
        GatewayError: ``forbidden``, ``not_found``, ``wrong_resource_kind``, ``function_unavailable``, or an
            error of another check in this module.
    """
    rule = RULES[type(command)]
    if rule.application not in {None, facts.application} or not (
        rule.right is None or rule.right in facts.rights
    ):
        raise GatewayError(ErrorCode.FORBIDDEN, "This session may not do that.")
    resource = _resource(command, facts.scope)
    down = declared.down(rule.functions)
    if down is not None:
        raise GatewayError(
            ErrorCode.FUNCTION_UNAVAILABLE,
            "A function of the contact centre is not available.",
            function=down,
        )
    _check_values(command, resource, facts.scope, declared)


def judge(
    frame: CommandFrame, facts: SessionFacts, declared: Declared, wall_ms: int, *, ahead_s: float
) -> tuple[int, GatewayError | None]:
    """Return the deadline of a command, and why it is refused, if it is.

    A refused command that is sent again may have been executed before it became impossible. Its deadline is
    then past: its owner looks its outcome up, and does not execute it.
    """
    try:
        until_ms = deadline_ms(frame.expires_at_ms, wall_ms, ahead_s=ahead_s, retry=frame.retry)
        check_command(frame.command, facts, declared)
    except GatewayError as refusal:  # without its frames, which hold the refusal and the user's data
        return wall_ms - _LONG_PAST_MS, refusal.with_traceback(None)
    return until_ms, None


def unless_refused(outcome: Outcome, refusal: GatewayError | None) -> Outcome:
    """Return the outcome of a command; *refusal* if that is its outcome because it was not executed."""
    is_executed = outcome.error is None or outcome.error.code is not ErrorCode.EXPIRED
    return outcome if refusal is None or is_executed else Outcome(Status.REJECTED, refusal)


def deadline_ms(expires_at_ms: int, wall_ms: int, *, ahead_s: float, retry: bool) -> int:
    """Return the deadline of a command; refuse one that is past, or too far ahead.

    A command that is sent again is not refused for either reason: it may have been executed in time, and only
    its owner can tell. A deadline too far ahead was given by the clock of another node, and counts as past.

    Raises:
        GatewayError: ``expired`` or ``bad_request``.
    """
    is_too_far = expires_at_ms > wall_ms + ahead_s * 1000
    if retry:
        return wall_ms if is_too_far else expires_at_ms
    if is_too_far:
        raise GatewayError(ErrorCode.BAD_REQUEST, f"A deadline may be at most {ahead_s:.0f} s ahead.")
    if expires_at_ms <= wall_ms:
        raise GatewayError(ErrorCode.EXPIRED, "The command arrived after its deadline.")
    return expires_at_ms


def _resource(command: Command, scope: Scope) -> str | None:
    """Return the key of the resource of the command; None: the session's own agent, or no resource."""
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
    parsed = parse_key(f"{kind}:{identity}")
    if parsed is not None and parsed[1] in scope.of(kind):
        return key_of(kind, parsed[1])
    other = parse_key(identity)
    is_other = other is not None and other[0] is not kind
    if is_other or (parsed is not None and any(parsed[1] in scope.of(each) for each in Kind)):
        raise _wrong_kind(kind)
    raise GatewayError(ErrorCode.NOT_FOUND, f"There is no such {kind}.")


def _wrong_kind(kind: Kind) -> GatewayError:
    return GatewayError(ErrorCode.WRONG_RESOURCE_KIND, f"An id of the kind {kind} is needed.")


_REASON_KINDS: Final[Mapping[str, ReasonKind]] = {"unavailable": "unavailable", "work": "work"}
"""Routing state → the kind of its reasons; the other states have none."""
_REFERENCES: Final[Mapping[str, Kind]] = {
    f"{word}{ending}": kind
    for word, kind in {
        "user": Kind.AGENT,
        "queue": Kind.QUEUE,
        "group": Kind.GROUP,
        "aggregate": Kind.AGGREGATE,
    }.items()
    for ending in ("", "_key", "_reference")
}
"""Data type → the kind of resource to which its values refer. The link's page lists no data types."""
_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "enum": (str,),
}
"""Data type → the Python types of its values; OSCC-E checks values of an unknown type."""


def check_skills(command: SetSkills, declared: Declared) -> None:
    """Refuse duplicate or unknown skills, and levels and preferences out of range.

    Raises:
        GatewayError: ``duplicate_skill``, ``skill_unknown``, ``level_out_of_range``,
            ``preference_out_of_range``; all name the skill.
    """
    named: set[str] = set()
    for change in command.changes:
        if change.skill_id in named:
            raise GatewayError(ErrorCode.DUPLICATE_SKILL, "A skill is named twice.", skill_id=change.skill_id)
        named.add(change.skill_id)
    known = declared.skills
    if known is None:
        return
    for change in command.changes:
        skill = known.get(change.skill_id)
        if skill is None:
            raise GatewayError(ErrorCode.SKILL_UNKNOWN, "There is no such skill.", skill_id=change.skill_id)
        if _is_outside(change.level, skill.level_min, skill.level_max):
            raise GatewayError(
                ErrorCode.LEVEL_OUT_OF_RANGE,
                "The level is out of range.",
                skill_id=skill.skill_id,
                min=skill.level_min,
                max=skill.level_max,
            )
        if _is_outside(change.preference, skill.preference_min, skill.preference_max):
            raise GatewayError(
                ErrorCode.PREFERENCE_OUT_OF_RANGE,
                "The preference is out of range.",
                skill_id=skill.skill_id,
                min=skill.preference_min,
                max=skill.preference_max,
            )


def check_reason(
    command: SetAgentRoutingState | SetRoutingState, present: Agent | None, declared: Declared
) -> None:
    """Refuse a reason that does not exist or belongs to another state, and a missing reason.

    A request for the present state needs no reason, as it changes nothing. A reason belongs to the state of
    its kind, and to the states that require it.

    Raises:
        GatewayError: ``reason_required``, ``reason_unknown``, ``reason_wrong_kind``.
    """
    known, wanted = declared.reasons, command.reason_id
    if known is None or _is_present(command, present):
        return
    if wanted is None:
        for reason in known:
            if command.state in reason.required_for:
                raise GatewayError(ErrorCode.REASON_REQUIRED, "This state needs a reason.")
        return
    reason = _known(wanted, known)
    if reason.kind != _REASON_KINDS.get(command.state) and command.state not in reason.required_for:
        raise GatewayError(ErrorCode.REASON_WRONG_KIND, "The reason does not belong to this state.")


def check_wrap_up(reason_ids: tuple[str, ...], declared: Declared) -> None:
    """Refuse wrap-up reasons that do not exist or are of another kind.

    Raises:
        GatewayError: ``reason_unknown``, ``reason_wrong_kind``.
    """
    known = declared.reasons
    if known is not None:
        for reason_id in reason_ids:
            if _known(reason_id, known).kind != "wrapup":
                raise GatewayError(ErrorCode.REASON_WRONG_KIND, "The reason is not a wrap-up reason.")


def check_parameters(
    changes: Mapping[str, Parameter],
    kind: Kind,
    present: Mapping[str, Parameter],
    scope: Scope,
    declared: Declared,
) -> None:
    """Refuse parameters that do not exist or cannot be changed, and values of the wrong type or size.

    Args:
        changes: New values by name.
        kind: The kind of the resource.
        present: Its parameters now. The present value and the default are always allowed.
        scope: The resources that the session may see, and so refer to.
        declared: The catalogue.

    Raises:
        GatewayError: ``parameter_unknown``, ``parameter_read_only``, ``wrong_type``, ``value_out_of_range``,
            ``reference_unknown``; all name the parameter.
    """
    known = declared.parameters(kind)
    if known is None:
        return
    for name, value in changes.items():
        parameter = known.get(name)
        if parameter is None:
            raise _refusal(ErrorCode.PARAMETER_UNKNOWN, "There is no such routing parameter.", name)
        if parameter.read_only:
            raise _refusal(ErrorCode.PARAMETER_READ_ONLY, "The routing parameter cannot be changed.", name)
        legal = (present.get(name), parameter.default)
        if any(_is_same(value, each) for each in legal):
            continue
        holds_one = parameter.data_type in _TYPES or parameter.data_type in _REFERENCES
        if holds_one and isinstance(value, tuple) and not any(isinstance(each, tuple) for each in legal):
            raise _wrong_type(parameter)
        _check_value(parameter, value, scope)


def _check_value(parameter: RoutingParameter, value: Parameter, scope: Scope) -> None:
    """Check a value, or each member of a list; OSCC-E checks null."""
    for member in value if isinstance(value, tuple) else (value,):
        if member is not None:
            _check_member(parameter, member, scope)


def _check_member(parameter: RoutingParameter, value: Scalar, scope: Scope) -> None:
    referred = _REFERENCES.get(parameter.data_type)
    if referred is not None:
        _check_reference(parameter.name, value, referred, scope)
    elif type(value) not in _TYPES.get(parameter.data_type, (type(value),)):
        raise _wrong_type(parameter)
    listed = parameter.values
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else None
    if not _is_outside(number, parameter.min, parameter.max) and (listed is None or value in listed):
        return
    raise GatewayError(
        ErrorCode.VALUE_OUT_OF_RANGE,
        "The value is out of range.",
        parameter=parameter.name,
        min=parameter.min,
        max=parameter.max,
        unit=parameter.unit,
    )


def _check_reference(name: str, value: Scalar, kind: Kind, scope: Scope) -> None:
    """Refuse a text that is no id, and an id out of scope; both get the error of an unknown id."""
    if not isinstance(value, str):
        raise _refusal(ErrorCode.WRONG_TYPE, "The value must be an id, or null.", name)
    parsed = parse_key(f"{kind}:{value}")
    if parsed is None or parsed[1] not in scope.of(kind):
        raise _refusal(ErrorCode.REFERENCE_UNKNOWN, "The value names an object that does not exist.", name)


def _is_same(one: Parameter, other: Parameter) -> bool:
    """Compare values of one type: True is not 1."""
    return type(one) is type(other) and one == other


def _wrong_type(parameter: RoutingParameter) -> GatewayError:
    message = f"The value must be of the type {parameter.data_type}."
    return _refusal(ErrorCode.WRONG_TYPE, message, parameter.name)


def _known(reason_id: str, known: tuple[Reason, ...]) -> Reason:
    for reason in known:
        if reason.reason_id == reason_id:
            return reason
    raise GatewayError(ErrorCode.REASON_UNKNOWN, "There is no such reason.")


def _is_present(command: SetAgentRoutingState | SetRoutingState, present: Agent | None) -> bool:
    return (
        present is not None
        and present.routing_state == command.state
        and command.reason_id in {None, present.reason_id}
    )


def _is_outside(value: float | None, low: float | None, high: float | None) -> bool:
    if value is None:
        return False
    return (low is not None and value < low) or (high is not None and value > high)


def _refusal(code: ErrorCode, message: str, parameter: str) -> GatewayError:
    return GatewayError(code, message, parameter=parameter)


_STATE_OF: Final = {field.name: attrgetter(field.name) for field in fields(Functions)}


class Declared:
    """Catalogues, functions and present values in a user's mirror at this moment.

    None means that a value is unknown; then no command is refused because of it.

    Args:
        ledger: The user's mirror.
        handle: The session of the command.
    """

    def __init__(self, ledger: Ledger, handle: str) -> None:
        self._elements = ledger.elements
        self._ledger = ledger
        self._handle = handle

    @property
    def skills(self) -> Mapping[str, Skill] | None:
        """The skills by id."""
        found = self._value(SKILLS)
        return {each.skill_id: each for each in found.skills} if isinstance(found, Skills) else None

    @property
    def reasons(self) -> tuple[Reason, ...] | None:
        """The reasons of all kinds."""
        found = self._value(REASONS)
        return found.reasons if isinstance(found, Reasons) else None

    def parameters(self, kind: Kind) -> Mapping[str, RoutingParameter] | None:
        """Return the routing parameters of resources of *kind* by name."""
        found = self._value(ROUTING_PARAMETERS)
        if not isinstance(found, RoutingParameters):
            return None
        return {each.name: each for each in found.parameters if each.applies_to == kind}

    def down(self, names: tuple[FunctionName, ...]) -> FunctionName | None:
        """Return the first of some functions that OSCC-E reports as down."""
        site = self._value(SITE) if names else None
        if not isinstance(site, Site) or site.functions is None:
            return None
        for name in names:
            if _STATE_OF[name](site.functions) is FunctionState.DOWN:
                return name
        return None

    @property
    def own_agent(self) -> str | None:
        """The key of the session's own agent."""
        element = self._ledger.get(me_key(self._handle))
        me = None if element is None else element.value
        return key_of(Kind.AGENT, int(me.agent)) if isinstance(me, Me) and me.agent is not None else None

    def agent(self, key: str | None) -> Agent | None:
        """Return an agent's present values."""
        found = None if key is None else self._value(key)
        return found if isinstance(found, Agent) else None

    def parameters_of(self, key: str | None) -> Mapping[str, Parameter]:
        """Return the present routing parameters of a queue or group."""
        found = None if key is None else self._value(key)
        return (found.routing_parameters or {}) if isinstance(found, Queue | Group) else {}

    def _value(self, key: str) -> object:
        element = self._elements.get(key)
        return None if element is None else element.value


REFUSED = "not_found"
"""Why a topic is refused; the same for unknown topics and topics out of scope."""


def topics_of(view: View) -> GrantedTopics:
    """Return the granted and the refused topics."""
    return GrantedTopics(view.granted, tuple(RefusedTopic(topic, REFUSED) for topic in view.refused))


def outcome_view(outcome: Outcome) -> OutcomeView:
    """Return an outcome in the form that is sent to phones."""
    error = None if outcome.error is None else error_members(outcome.error)
    return OutcomeView(outcome.status._value_, error, outcome.version)  # `value` is two calls


def error_members(error: GatewayError) -> dict[str, object]:
    """Return an error's members: code, message, retry_after_s and its details."""
    members: dict[str, object] = {"code": error.code.value, "message": error.message, **error.details}
    if error.retry_after_s is not None:
        members["retry_after_s"] = tenths(error.retry_after_s)
    return members


def welcome_frame(
    ticket: Ticket,
    facts: SessionFacts,
    view: View,
    limits: Limits,
    *,
    resumed: bool,
    server_time_ms: int,
    ping_s: float,
    pace_s: float,
) -> Welcome:
    """Return the frame that opens a served session."""
    return Welcome(
        session=SessionView(ticket.session, ticket.application, facts.expires_at_ms),
        user=UserView(str(ticket.user.key), ticket.display_name),
        rights=facts.rights,
        application=facts.application,
        topics=topics_of(view),
        resumed=resumed,
        server_time_ms=server_time_ms,
        ping_s=ping_s,
        pace_s=pace_s,
        limits=limits,
    )
