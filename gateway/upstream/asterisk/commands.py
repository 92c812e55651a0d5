"""Commands as AMI actions, and the state by which the effect of each is recognised. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from gateway.domain.commands import SetAgentRoutingState, SetRoutingState, SetSkills, SkillChange
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.upstream.asterisk.ami import Message
from gateway.upstream.asterisk.state import Membership, Queues
from gateway.upstream.asterisk.view import AsteriskView, Rules, skills_version

REASON_BYTES: Final = 79


class Step(NamedTuple):
    """One action, and the test of the state that says that its effect was seen."""

    action: str
    fields: Mapping[str, str]
    is_seen: Callable[[Queues], bool]


def pause(view: AsteriskView, agent: int, command: SetRoutingState | SetAgentRoutingState) -> list[Step]:
    """Return the steps to a routing state; none when it is there already.

    Raises:
        GatewayError: ``not_logged_on``, ``reason_unknown``, ``reason_required``, ``reason_wrong_kind``.
    """
    members = view.memberships(agent)
    if not members:
        raise GatewayError(ErrorCode.NOT_LOGGED_ON, "The agent is not logged on to any queue.")
    paused, reason = command.state != "available", _reason(view, command)
    steps: list[Step] = []
    for interface in sorted({one.interface for one in members}):
        own = [one for one in members if one.interface == interface]
        if all(_is(one, paused=paused, reason=reason) for one in own):
            continue
        fields = {"Interface": interface, "Paused": "true" if paused else "false"}
        if paused and reason:
            fields["Reason"] = reason
        steps.append(Step("QueuePause", fields, _all_are(interface, paused=paused, reason=reason)))
    return steps


def _reason(view: AsteriskView, command: SetRoutingState | SetAgentRoutingState) -> str:
    if command.state == "available":
        return ""
    if command.reason_id is None:
        if command.state == "work":
            raise GatewayError(ErrorCode.REASON_REQUIRED, "This state needs a reason.")
        return ""
    found = view.reason(command.reason_id)
    if found is None:
        raise GatewayError(ErrorCode.REASON_UNKNOWN, "There is no such reason.")
    text, kind = found
    if kind != command.state:
        raise GatewayError(ErrorCode.REASON_WRONG_KIND, "The reason does not belong to this state.")
    return text


def _is(member: Membership, *, paused: bool, reason: str) -> bool:
    return member.paused == paused and (not paused or is_same_reason(member.reason, reason))


def is_same_reason(one: str, other: str) -> bool:
    """Return whether two reasons are one in Asterisk, which keeps 79 bytes and may cut a character."""
    return _kept(one) == _kept(other)


def _kept(reason: str) -> str:
    return reason.encode()[:REASON_BYTES].decode("utf-8", "ignore").rstrip("\ufffd")


def _all_are(interface: str, *, paused: bool, reason: str) -> Callable[[Queues], bool]:
    def is_seen(queues: Queues) -> bool:
        held = queues.memberships.get(interface, {}).values()
        return all(_is(one, paused=paused, reason=reason) for one in held)

    return is_seen


def leave_all(members: list[Membership]) -> list[Step]:
    """Return the steps that take an agent out of all queues.

    Raises:
        GatewayError: ``not_logged_on``, or ``upstream_rejected`` where queues.conf holds a membership.
    """
    if not members:
        raise GatewayError(ErrorCode.NOT_LOGGED_ON, "The agent is not logged on to any queue.")
    if not all(one.dynamic for one in members):
        raise GatewayError(
            ErrorCode.UPSTREAM_REJECTED,
            "A membership that stands in queues.conf cannot be ended.",
            upstream_code="NotDynamic",
        )
    return [leave(one) for one in members]


def leave(member: Membership) -> Step:
    """Return the step that ends one membership."""
    fields = {"Queue": member.queue, "Interface": member.interface}
    return Step("QueueRemove", fields, _is_absent(member.queue, member.interface))


def _is_absent(queue: str, interface: str) -> Callable[[Queues], bool]:
    return lambda queues: queue not in queues.memberships.get(interface, {})


def join(queue: str, interface: str, name: str, rules: Rules, **more: str) -> Step:
    """Return the step that makes an interface a member of a queue."""
    fields = {"Queue": queue, "Interface": interface, "MemberName": name, **more}
    if "Wrapuptime" not in fields and rules.wrap_up_s.get(queue):
        fields["Wrapuptime"] = str(rules.wrap_up_s[queue])
    return Step("QueueAdd", fields, lambda queues: queue in queues.memberships.get(interface, {}))


def missed_reasons(queues: Queues, steps: Sequence[Step]) -> list[Step]:
    """Return the steps that set the reasons which ``QueueAdd`` did not, as older versions ignore them."""
    missed: list[Step] = []
    for step in steps:
        fields = step.fields
        if step.action != "QueueAdd" or fields.get("Paused") != "true" or not fields.get("Reason"):
            continue
        queue, interface, reason = fields["Queue"], fields["Interface"], fields["Reason"]
        member = queues.memberships.get(interface, {}).get(queue)
        if member is None or not member.paused or is_same_reason(member.reason, reason):
            continue
        told = {"Queue": queue, "Interface": interface, "Paused": "true", "Reason": reason}
        missed.append(Step("QueuePause", told, _has(queue, interface, _with_reason(reason))))
    return missed


def _with_reason(reason: str) -> Callable[[Membership], bool]:
    return lambda one: _is(one, paused=True, reason=reason)


def rejoin(view: AsteriskView, agent: int, rules: Rules, wrap_up_s: int) -> list[Step]:
    """Return the steps to another wrap-up time: leave and join, with all else the same."""
    steps: list[Step] = []
    for member in view.memberships(agent):
        if not member.dynamic or view.wrap_up_of(member) == wrap_up_s:
            continue
        more = {
            "Penalty": str(member.penalty),
            "Paused": "true" if member.paused else "false",
            "Wrapuptime": str(wrap_up_s),
        }
        if member.reason:
            more["Reason"] = member.reason
        fields = {"Queue": member.queue, "Interface": member.interface}
        # the state between the two is not waited for: both are sent in one write
        steps.append(Step("QueueRemove", fields, lambda _: True))
        added = join(member.queue, member.interface, member.name, rules, **more)
        steps.append(added._replace(is_seen=_wraps_up(member.queue, member.interface, wrap_up_s)))
    return steps


def _wraps_up(queue: str, interface: str, wrap_up_s: int) -> Callable[[Queues], bool]:
    def is_seen(queues: Queues) -> bool:
        member = queues.memberships.get(interface, {}).get(queue)
        return member is not None and member.wrapup_s == wrap_up_s

    return is_seen


def skills(view: AsteriskView, agent: int, command: SetSkills, rules: Rules, queues: Queues) -> list[Step]:
    """Return the steps that change an agent's memberships.

    Raises:
        GatewayError: ``version_conflict``, ``skill_unknown``, ``not_logged_on``, ``upstream_rejected``.
    """
    members = view.memberships(agent)
    if skills_version(members) != command.if_version:
        raise GatewayError(ErrorCode.VERSION_CONFLICT, "Somebody else changed it meanwhile.")
    names = {str(view.queue_number(name)): name for name in queues.queues}
    steps: list[Step] = []
    for change in command.changes:
        name = names.get(change.skill_id)
        if name is None:
            raise GatewayError(ErrorCode.SKILL_UNKNOWN, "There is no such skill.", skill_id=change.skill_id)
        steps += _skill(view, agent, members, name, change, rules)
    if command.mode == "replace":
        kept = {names[change.skill_id] for change in command.changes}
        steps += [leave(one) for one in members if one.queue not in kept]
    _refuse_static(steps, members)
    return steps


def _skill(
    view: AsteriskView, agent: int, members: list[Membership], name: str, change: SkillChange, rules: Rules
) -> list[Step]:
    held = [one for one in members if one.queue == name]
    if change.level is None:
        return [leave(one) for one in held]
    penalty = max(0, rules.penalty_max - change.level)
    if not held:
        interface = next(iter(view.interfaces.get(agent, ())), None)
        if interface is None:
            raise GatewayError(ErrorCode.NOT_LOGGED_ON, "The agent is not logged on to any queue.")
        person = view.people.by_interface.get(interface)
        called = person.name if person is not None else members[0].name
        paused = change.active is False or all(one.paused for one in members)
        more = {"Penalty": str(penalty), "Paused": "true" if paused else "false"}
        if paused and change.active is not False and members[0].reason:
            more["Reason"] = members[0].reason
        return [join(name, interface, called, rules, **more)]
    return [step for one in held for step in _changed(one, penalty, change.active)]


def _changed(member: Membership, penalty: int, active: bool | None) -> list[Step]:
    steps: list[Step] = []
    queue, interface = member.queue, member.interface
    if member.penalty != penalty:
        fields = {"Interface": interface, "Penalty": str(penalty), "Queue": queue}
        steps.append(Step("QueuePenalty", fields, _has(queue, interface, lambda one: one.penalty == penalty)))
    if active is not None and member.paused == active:
        fields = {"Interface": interface, "Paused": "false" if active else "true", "Queue": queue}
        steps.append(Step("QueuePause", fields, _has(queue, interface, lambda one: one.paused != active)))
    return steps


def _has(queue: str, interface: str, holds: Callable[[Membership], bool]) -> Callable[[Queues], bool]:
    def is_seen(queues: Queues) -> bool:
        member = queues.memberships.get(interface, {}).get(queue)
        return member is None or holds(member)

    return is_seen


def _refuse_static(steps: list[Step], members: list[Membership]) -> None:
    static = {(one.queue, one.interface) for one in members if not one.dynamic}
    for step in steps:
        if step.action == "QueueRemove" and (step.fields["Queue"], step.fields["Interface"]) in static:
            raise GatewayError(
                ErrorCode.UPSTREAM_REJECTED,
                "A membership that stands in queues.conf cannot be ended.",
                upstream_code="NotDynamic",
            )


_REFUSALS: Final = (
    ("Permission denied", ErrorCode.UNSUPPORTED_BY_UPSTREAM, "The gateway's account may not do this."),
    ("No such queue", ErrorCode.NOT_FOUND, "There is no such queue."),
    ("Interface not found", ErrorCode.NOT_LOGGED_ON, "The agent is not logged on."),
    ("Invalid interface", ErrorCode.NOT_LOGGED_ON, "The agent is not logged on."),
    ("Not there", ErrorCode.NOT_LOGGED_ON, "The agent is not logged on."),
    ("Member not dynamic", ErrorCode.UPSTREAM_REJECTED, "The membership stands in queues.conf."),
)


def refusal(answer: Message) -> GatewayError:
    """Return what people are shown of an action that Asterisk refused."""
    text = answer.get("Message", "")
    for part, code, sentence in _REFUSALS:
        if part in text:
            if code is ErrorCode.UPSTREAM_REJECTED:
                return GatewayError(code, sentence, upstream_code="NotDynamic")
            return GatewayError(code, sentence)
    return GatewayError(
        ErrorCode.UPSTREAM_REJECTED, "The contact centre refused this.", upstream_code="Refused"
    )
