"""Commands: whether a session may have one executed, and the record of each one that was begun.

"Commands" in docs/protocol.md: the same key with the same body has the same outcome and is never executed
twice. A command that may have been executed without a record is not executed; its outcome is ``unknown``.

Checked are skills with their levels, reasons with their kinds, and routing parameters with their types and
bounds. Steps are a hint for editors and are not checked. Only OSCC-E can check rules over several resources
(cycles, contradictions).
"""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Final, Generic, NamedTuple, TypeVar

from gateway.core.ledger import Ledger
from gateway.core.view import me_key
from gateway.domain.commands import (
    RULES,
    Call,
    Command,
    FinishPostProcessing,
    History,
    Outcome,
    Remembered,
    SetAgentRoutingState,
    SetGroupParameters,
    SetQueueParameters,
    SetRoutingState,
    SetSkills,
    rejected,
    unknown,
)
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import (
    LONG_AGO,
    NO_ITEMS,
    REASONS,
    ROUTING_PARAMETERS,
    SITE,
    SKILLS,
    Kind,
    Scope,
    key_of,
    parse_key,
    with_item,
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
    Reasons,
    RoutingParameter,
    RoutingParameters,
    Scalar,
    Site,
    Skill,
    Skills,
)
from gateway.domain.upstream import FunctionName
from gateway.protocol.codec import plain_fields
from gateway.protocol.envelopes import SessionFacts
from gateway.protocol.frames import CommandFrame

WaiterT = TypeVar("WaiterT")
"""A caller that waits for an outcome."""

# ---- checks ----

_LONG_PAST_MS: Final = 60_000
"""More than the error of any node's clock."""


def check_command(command: Command, facts: SessionFacts, context: CommandContext) -> None:
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
    down = context.down(rule.functions)
    if down is not None:
        message = "A function of the contact centre is not available."
        raise GatewayError(ErrorCode.FUNCTION_UNAVAILABLE, message, function=down)
    _check_values(command, resource, facts.scope, context)


def judge(
    frame: CommandFrame, facts: SessionFacts, context: CommandContext, wall_ms: int, *, ahead_s: float
) -> tuple[int, GatewayError | None]:
    """Return the deadline of a command, and why it is refused, if it is.

    A refused command that is sent again may have been executed before it became impossible. Its deadline is
    then past: its owner looks its outcome up, and does not execute it.
    """
    try:
        until_ms = deadline_ms(frame.expires_at_ms, wall_ms, ahead_s=ahead_s, retry=frame.retry)
        check_command(frame.command, facts, context)
    except GatewayError as refusal:  # without its frames, which hold the refusal and the user's data
        return wall_ms - _LONG_PAST_MS, refusal.with_traceback(None)
    return until_ms, None


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


def _check_values(command: Command, resource: str | None, scope: Scope, context: CommandContext) -> None:
    match command:
        case SetSkills():
            check_skills(command, context)
        case SetQueueParameters():
            check_parameters(command.changes, Kind.QUEUE, context.parameters_of(resource), scope, context)
        case SetGroupParameters():
            check_parameters(command.changes, Kind.GROUP, context.parameters_of(resource), scope, context)
        case SetAgentRoutingState():
            check_reason(command, context.agent(resource), context)
        case SetRoutingState():
            check_reason(command, context.agent(context.own_agent), context)
        case FinishPostProcessing():
            check_wrap_up(command.wrap_up_reason_ids, context)


def _key(kind: Kind, identity: str, scope: Scope) -> str:
    key = f"{kind}:{identity}"
    parsed = parse_key(key)
    if parsed is not None and parsed[1] in scope.of(kind):
        return key
    other = parse_key(identity)
    is_other = other is not None and other[0] is not kind
    if is_other or (parsed is not None and any(parsed[1] in scope.of(each) for each in Kind)):
        raise GatewayError(ErrorCode.WRONG_RESOURCE_KIND, f"An id of the kind {kind} is needed.")
    raise GatewayError(ErrorCode.NOT_FOUND, f"There is no such {kind}.")


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


def check_skills(command: SetSkills, context: CommandContext) -> None:
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
    known = context.skills
    if known is None:
        return
    for change in command.changes:
        skill = known.get(change.skill_id)
        if skill is None:
            raise GatewayError(ErrorCode.SKILL_UNKNOWN, "There is no such skill.", skill_id=change.skill_id)
        low, high = skill.level_min, skill.level_max
        if _is_outside(change.level, low, high):
            code, message = ErrorCode.LEVEL_OUT_OF_RANGE, "The level is out of range."
            raise GatewayError(code, message, skill_id=skill.skill_id, min=low, max=high)
        low, high = skill.preference_min, skill.preference_max
        if _is_outside(change.preference, low, high):
            code, message = ErrorCode.PREFERENCE_OUT_OF_RANGE, "The preference is out of range."
            raise GatewayError(code, message, skill_id=skill.skill_id, min=low, max=high)


def check_reason(
    command: SetAgentRoutingState | SetRoutingState, present: Agent | None, context: CommandContext
) -> None:
    """Refuse a reason that does not exist or belongs to another state, and a missing reason.

    A request for the present state needs no reason, as it changes nothing. A reason belongs to the state of
    its kind, and to the states that require it.

    Raises:
        GatewayError: ``reason_required``, ``reason_unknown``, ``reason_wrong_kind``.
    """
    known, wanted = context.reasons, command.reason_id
    if known is None or _is_present(command, present):
        return
    if wanted is None:
        for reason in known:
            if command.state in reason.required_for:
                raise GatewayError(ErrorCode.REASON_REQUIRED, "This state needs a reason.")
        return
    reason = _known(wanted, known)
    if command.state not in {reason.kind, *reason.required_for}:
        raise GatewayError(ErrorCode.REASON_WRONG_KIND, "The reason does not belong to this state.")


def check_wrap_up(reason_ids: tuple[str, ...], context: CommandContext) -> None:
    """Refuse wrap-up reasons that do not exist or are of another kind.

    Raises:
        GatewayError: ``reason_unknown``, ``reason_wrong_kind``.
    """
    known = context.reasons
    if known is not None:
        for reason_id in reason_ids:
            if _known(reason_id, known).kind != "wrapup":
                raise GatewayError(ErrorCode.REASON_WRONG_KIND, "The reason is not a wrap-up reason.")


def check_parameters(
    changes: Mapping[str, Parameter],
    kind: Kind,
    present: Mapping[str, Parameter],
    scope: Scope,
    context: CommandContext,
) -> None:
    """Refuse parameters that do not exist or cannot be changed, and values of the wrong type or size.

    The *present* value and the default are always allowed.

    Raises:
        GatewayError: ``parameter_unknown``, ``parameter_read_only``, ``wrong_type``, ``value_out_of_range``,
            ``reference_unknown``; all name the parameter.
    """
    known = context.parameters(kind)
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
    is_listed = listed is None or value in listed
    if is_listed and not _is_outside(number, parameter.min, parameter.max):
        return
    raise GatewayError(
        ErrorCode.VALUE_OUT_OF_RANGE,
        "The value is out of range." if is_listed else "The value is none of those in the catalogue.",
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


class CommandContext:
    """Catalogues, functions and present values in a user's mirror at this moment.

    None means that a value is unknown; then no command is refused because of it.
    """

    def __init__(self, ledger: Ledger, handle: str) -> None:
        self._ledger = ledger
        self._handle = handle
        self._elements = ledger.versions.elements

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


# ---- records ----


@dataclass(frozen=True, slots=True)
class CommandLimits:
    """Limits of stored and running commands of one user."""

    keep_s: float = 600.0
    """How long an outcome is kept."""
    per_session: int = 8
    """Commands of one session in flight."""
    per_user: int = 40
    """Commands of one user in flight: five devices at their limit."""
    entries: int = 1024
    """Commands in flight and outcomes together. When full, the outcome that settled first is dropped early;
    when all are in flight, a new command is refused.
    """
    waiters: int = 16
    """Callers that wait for the same command: a phone that lost its connection sends it again."""


_LIMITS: Final = CommandLimits()


class Decision(enum.Enum):
    """What is to be done about a command without an outcome."""

    NEW = enum.auto()
    """Execute it, and settle it in any case."""
    PENDING = enum.auto()
    """It is running; the waiter gets the outcome together with the first one."""


Began = Outcome | Decision


REUSED: Final = rejected(ErrorCode.KEY_REUSED, "The key was used for another command.")
BUSY: Final = rejected(ErrorCode.OVERLOADED, "Too many commands wait for their result.")
"""Too many are in flight; this one was not recorded."""
FOREIGN: Final = unknown(ErrorCode.OTHER_EPOCH)
"""It was sent before, perhaps to another owner or longer ago than the records reach: it may have run."""
NOT_SENT: Final = rejected(
    ErrorCode.UPSTREAM_UNAVAILABLE,
    "The command was not executed: the user's link moved meanwhile. Try again.",
)
"""As :data:`FOREIGN`, but the phone has sent it only once, and it waited since."""


@dataclass(slots=True)
class _InFlight(Generic[WaiterT]):
    body_hash: bytes
    session: str
    waiters: list[WaiterT] = field(default_factory=list)


class _Settled(NamedTuple):
    body_hash: bytes
    outcome: Outcome
    until: float


class CommandRecords(Generic[WaiterT]):
    """The commands of one user.

    Invariants: a key is executed at most once while it is recorded. Exactly one :meth:`settle` returns each
    waiter that got NEW or PENDING, unless it left. The limits bound everything.

    Keys belong to the user, not to the session: a phone that logged on again may ask for the outcome of an
    earlier command.
    """

    __slots__ = ("_blind_until", "_epoch", "_in_flight", "_limits", "_settled", "_since")

    def __init__(self, limits: CommandLimits | None = None) -> None:
        self._limits = limits or _LIMITS
        self._in_flight: dict[str, _InFlight[WaiterT]] = NO_ITEMS
        self._settled: dict[str, _Settled] = NO_ITEMS  # in the order in which they expire
        self._epoch = 0
        self._since = 0
        self._blind_until = LONG_AGO

    def __len__(self) -> int:
        return len(self._in_flight) + len(self._settled)

    @property
    def in_flight(self) -> tuple[str, ...]:
        """The keys that are not settled, the oldest first."""
        return tuple(self._in_flight)

    @property
    def remembered(self) -> tuple[tuple[str, Outcome], ...]:
        """The settled keys with their outcomes, the oldest first."""
        return tuple((key, settled.outcome) for key, settled in self._settled.items())

    def find(self, call: Call, waiter: WaiterT, now: float) -> Began | None:
        """Return the record of a command without deciding on it; None when there is none.

        *waiter* gets the outcome when it is PENDING. *now* is monotonic seconds, as everywhere here.
        """
        self.expire(now)
        if (done := self._settled.get(call.key)) is not None:
            return done.outcome if done.body_hash == fingerprint(call.command) else REUSED
        if (running := self._in_flight.get(call.key)) is not None:
            return self._join(running, fingerprint(call.command), waiter)
        return None

    def begin(self, call: Call, waiter: WaiterT, now: float, epoch: int) -> Began:
        """Process a command that is sent in the same turn, on the link of *epoch*; *waiter* gets the outcome.

        A command that the phone marks, or that had to wait, may have been sent before.
        """
        self._enter(epoch)
        if (known := self.find(call, waiter, now)) is not None:
            return known
        if (call.retry or call.waited) and not self._remembers(call.stream_epoch, now):
            return FOREIGN if call.retry else NOT_SENT
        if self._is_busy(call.session) or not self._make_room():
            return BUSY
        running = _InFlight(fingerprint(call.command), call.session, [waiter])
        self._in_flight = with_item(self._in_flight, call.key, running)
        return Decision.NEW

    def settle(self, key: str, outcome: Outcome, now: float) -> tuple[WaiterT, ...]:
        """Record the outcome of a command; return its waiting callers, in the order they came.

        Nothing is recorded for a key that is not in flight: its first outcome is final.
        """
        running = self._in_flight.pop(key, None)
        self._in_flight = self._in_flight or NO_ITEMS
        if running is None:
            return ()
        settled = _Settled(running.body_hash, outcome, now + self._limits.keep_s)
        self._settled = with_item(self._settled, key, settled)
        return tuple(running.waiters)

    def leave(self, waiter: WaiterT) -> None:
        """Remove a waiter. Its command continues, and the outcome is stored."""
        for running in self._in_flight.values():
            running.waiters = [other for other in running.waiters if other != waiter]

    def expire(self, now: float) -> None:
        """Remove the outcomes that were kept long enough."""
        while self._settled:
            first = next(iter(self._settled))
            if self._settled[first].until > now:
                return
            del self._settled[first]
        self._settled = NO_ITEMS

    def history(self, now: float, *, epoch: int) -> History:
        """Return the history for the next owner.

        The caller first settles the commands in flight, as unknown if necessary, and begins no more commands.

        *epoch* is that of the giving owner, also when no command was begun in it.

        Raises:
            RuntimeError: Commands are in flight.
        """
        if self._in_flight:
            raise RuntimeError("commands are in flight: settle them first")
        self.expire(now)
        self._enter(epoch)
        outcomes = tuple(
            Remembered(key, done.body_hash, done.outcome, done.until - now)
            for key, done in self._settled.items()
        )
        return History(self._since, max(0.0, self._blind_until - now), outcomes)

    def adopt(self, history: History, epoch: int, now: float) -> None:
        """Import the history of an owner that gave the user away.

        *epoch* is the new owner's: granted directly after the giver's, without an owner in between.
        """
        self._enter(epoch)
        self._since = min(self._since, history.since)
        self._blind_until = max(self._blind_until, now + history.blind_s)
        known = self._settled.keys() | self._in_flight.keys()
        taken = {
            one.key: _Settled(one.body_hash, one.outcome, now + min(one.left_s, self._limits.keep_s))
            for one in history.outcomes
            if one.key not in known
        }
        merged = sorted((self._settled | taken).items(), key=lambda item: item[1].until)
        self._settled = dict(merged) or NO_ITEMS
        while len(self) > self._limits.entries and self._settled:
            self._drop_first()

    # ---- inner ----

    def _enter(self, epoch: int) -> None:
        """Begin a new epoch: an owner in between may have executed any command."""
        if epoch > self._epoch:
            self._epoch = self._since = epoch

    def _remembers(self, stream_epoch: int | None, now: float) -> bool:
        """Return whether a command first sent in *stream_epoch* would have a record if it had run.

        It can have run in that epoch or a later one, never in an earlier one, because the link is fenced.
        """
        if stream_epoch is None or now < self._blind_until:
            return False
        return self._since <= stream_epoch <= self._epoch

    def _join(self, running: _InFlight[WaiterT], body_hash: bytes, waiter: WaiterT) -> Began:
        if running.body_hash != body_hash:
            return REUSED
        if len(running.waiters) >= self._limits.waiters:
            return BUSY
        running.waiters.append(waiter)
        return Decision.PENDING

    def _is_busy(self, session: str) -> bool:
        limits, running = self._limits, self._in_flight
        if len(running) < min(limits.per_session, limits.per_user):
            return False
        of_session = [one.session for one in running.values()].count(session)
        return of_session >= limits.per_session or len(running) >= limits.per_user

    def _make_room(self) -> bool:
        room = self._limits.entries - len(self._in_flight) - len(self._settled)
        if room <= 0 and self._settled:
            self._drop_first()
            room += 1
        return room > 0

    def _drop_first(self) -> None:
        """Drop the outcome that settled first; until its time is over, an unknown key proves nothing."""
        key = next(iter(self._settled))
        self._blind_until = max(self._blind_until, self._settled.pop(key).until)


_SORTED: Final = json.JSONEncoder(sort_keys=True).encode


def fingerprint(command: Command) -> bytes:
    """Return a hash of the command's kind and fields: equal on every node for an equal command.

    The order of the members of a mapping does not matter.
    """
    text = _SORTED(plain_fields(command)).encode()
    return hashlib.blake2s(text, digest_size=16, person=b"command").digest()
