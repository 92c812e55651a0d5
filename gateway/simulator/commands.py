"""Commands of sessions: their fields, and their effect on the contact centre.

Each command reads its fields, and then checks in this order: right, object (unknown and out of scope get the
same error), kind, version, values; then the effect. The answer is ``Applied``, ``Pending`` or ``Unchanged``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from gateway.simulator import fields, post_processing, routing
from gateway.simulator.contact_center import ContactCenter
from gateway.simulator.directory import ObjectKind, check_parameters, check_together
from gateway.simulator.fields import Body, Refused
from gateway.simulator.model import (
    TARGET_STATES,
    About,
    Agent,
    AgentSkill,
    By,
    Group,
    Json,
    Queue,
    Skill,
    TargetState,
)
from gateway.simulator.sessions import Session, Sessions, normalise
from gateway.simulator.settings import SimulatorSettings

REASON_KIND_FOR: Final[dict[str, str]] = {"Unavailable": "UnavailableReason", "Work": "WorkReason"}
"""Routing state → the kind of its reasons; the other states have none."""


@dataclass(frozen=True, slots=True)
class Commands:
    """Commands of sessions, on one contact centre."""

    settings: SimulatorSettings
    about: About
    center: ContactCenter
    sessions: Sessions
    changed_object: Callable[[int], None]
    """Called with an object whose directory entry changed."""

    def named(self, method: str) -> Callable[[Session, Body], Json]:
        """Return the command with this name.

        Raises:
            Refused: ``MethodUnknown``.
        """
        commands: dict[str, Callable[[Session, Body], Json]] = {
            "SetRoutingState": self._set_routing_state,
            "SetSkills": self._set_skills,
            "SetRoutingParameters": self._set_routing_parameters,
            "PostProcessing": self._post_processing,
            "ChangeRemoteNumber": self._change_remote_number,
        }
        if method not in commands:
            raise Refused("MethodUnknown")
        return commands[method]

    def _set_routing_state(self, session: Session, body: Body) -> Json:
        """Request a routing state, one's own or another's."""
        user_key = fields.integer(body, "UserKey")
        target = fields.one_of(body, "RoutingState", TARGET_STATES)
        reason_key = fields.optional_integer(body, "ReasonKey")
        when: routing.When = fields.one_of({"When": "Now", **body}, "When", ("Now", "AfterContact"))
        own = user_key == session.account.agent_key
        self._need(session, "OwnRoutingState" if own and session.remote else "RoutingStateWrite")
        agent = self._agent(session, user_key)
        self.center.functions.need("LocalRouting", "RealTime")
        if agent.remote is not None and agent.remote.routed_until_ms is not None and target != "LoggedOff":
            raise Refused("NotLoggedOn")
        if not agent.logged_on and target != "LoggedOff":
            raise Refused("NotLoggedOn" if own else "CannotLogOnForAnother")
        self._check_reason(agent, target, reason_key)
        by: By = "Self" if own else "Supervisor"
        return {"State": self.center.ask(agent, target, reason_key, when, by, session.account.name)}

    def _set_skills(self, session: Session, body: Body) -> Json:
        """Change an agent's skills."""
        changes = [
            SkillChange(
                fields.integer(each, "SkillKey"),
                fields.optional_integer(each, "Level"),
                fields.optional_integer(each, "Preference"),
                fields.optional_flag(each, "Active"),
            )
            for each in fields.mappings(body, "Skills")
        ]
        user_key, version = fields.integer(body, "UserKey"), fields.integer(body, "Version")
        is_whole = fields.one_of(body, "Mode", ("Patch", "Replace")) == "Replace"
        self.about.need("Skills")
        self._need(session, "SkillsWrite")
        agent = self._agent(session, user_key)
        self.center.functions.need("AdministrationDatabase")
        _check_version(version, agent.version)
        wanted = changed(agent.skills, changes, self.center.directory.skills, replace=is_whole)
        if wanted == agent.skills:
            return {"State": "Unchanged", "Version": agent.version}
        self.center.mark_agent(agent)
        agent.skills = wanted
        agent.version += 1
        self.center.directory.relate()
        self.center.mark_agent(agent)
        self.center.mark_configuration(agent.key)
        self.changed_object(agent.key)
        return {"State": "Applied", "Version": agent.version}

    def _set_routing_parameters(self, session: Session, body: Body) -> Json:
        """Change routing parameters of a queue or a group."""
        if body.get("ObjectType") in ("User", "Aggregate"):
            raise Refused("WrongObjectType")
        kind: Literal["Queue", "Group"] = fields.one_of(body, "ObjectType", ("Queue", "Group"))
        key, changes = fields.integer(body, "Key"), fields.mapping(body, "Parameters")
        version = fields.integer(body, "Version")
        self.about.need("RoutingParameters")
        self._need(session, "RoutingParametersWrite")
        self._need_object(session, key, kind)
        self.center.functions.need("AdministrationDatabase")
        directory = self.center.directory
        thing: Queue | Group = directory.queues[key] if kind == "Queue" else directory.groups[key]
        _check_version(version, thing.version)
        wanted = thing.parameters | check_parameters(kind, changes)
        if isinstance(thing, Queue):
            check_together(thing, wanted, directory.queues, session.scope.queues)
        if wanted == thing.parameters:
            return {"State": "Unchanged", "Version": thing.version}
        thing.parameters = wanted
        thing.version += 1
        self.center.mark_configuration(key)
        if isinstance(thing, Queue):
            self.center.mark_queue(thing)
        return {"State": "Applied", "Version": thing.version}

    def _post_processing(self, session: Session, body: Body) -> Json:
        """Start, extend, finish or automate one's own post-processing."""
        has_reasons = body.get("WrapupReasonKeys") is not None
        wrapup_keys = fields.integers(body, "WrapupReasonKeys") if has_reasons else []
        action = fields.one_of(body, "Action", ("Start", "Extend", "Finish", "SetAuto"))
        until_ms = fields.optional_integer(body, "Until")
        next_state = (
            None if body.get("NextState") is None else fields.one_of(body, "NextState", TARGET_STATES)
        )
        on, duration_s = fields.optional_flag(body, "On"), fields.optional_integer(body, "Duration")
        self._need(session, "OwnPostProcessing")
        self.about.need(f"PostProcessing.{action}")
        self.center.functions.need("LocalRouting", "RealTime")
        agent = self.sessions.agent_of(session)
        if agent is None or not agent.logged_on:
            raise Refused("NotLoggedOn")
        if next_state is not None:
            self._check_reason(agent, next_state, None)  # a request has no field for it
        until_ms = None if until_ms is None else until_ms - self.center.skew_ms
        match action:
            case "Start":
                verdict = post_processing.start(self.center, agent, until_ms, duration_s)
            case "Extend":
                verdict = post_processing.extend(self.center, agent, until_ms)
            case "Finish":
                verdict = post_processing.finish(self.center, agent, next_state, wrapup_keys)
            case _:
                if on is None:
                    raise Refused("BadRequest", Field="On")
                verdict = post_processing.set_auto(self.center, agent, duration_s, on=on)
        if next_state is not None and action in {"Start", "Extend"}:
            self.center.ask(agent, next_state, None, "AfterContact", "Self")
        return {"State": verdict}

    def _change_remote_number(self, session: Session, body: Body) -> Json:
        """Route the agent's calls to another number."""
        number = fields.text(body, "RemoteNumber")
        if not session.remote:
            raise Refused("Forbidden")
        self.about.need("RemoteAgent")
        self.center.functions.need("LocalRouting", "RemoteAgent")
        agent = self.sessions.agent_of(session)
        if agent is None or agent.remote is None:
            raise Refused("NotLoggedOn")
        try:
            wanted = normalise(number, self.settings)
        except Refused as refused:
            # over the link a missing number is an invalid one
            raise Refused(refused.name.replace("Missing", "Invalid")) from None
        if wanted == agent.remote.number:
            return {"State": "Unchanged", "RemoteNumber": wanted}
        if agent.handling:
            raise Refused("NotAllowedWhileHandling")
        self.sessions.check_free(wanted, session.account)
        self.center.set_remote(agent, replace(agent.remote, number=wanted), seen_by_all=False)
        return {"State": "Applied", "RemoteNumber": wanted}

    def _need(self, session: Session, right: str) -> None:
        if right not in session.rights:
            raise Refused("Forbidden")

    def _agent(self, session: Session, key: int) -> Agent:
        self._need_object(session, key, "User")
        return self.center.directory.agents[key]

    def _need_object(self, session: Session, key: int, kind: ObjectKind) -> None:
        if key not in session.scope.keys:
            raise Refused("NotFound")
        found = self.center.directory.kind_of(key)
        if found is None:
            raise Refused("NotFound")
        if found != kind:
            raise Refused("WrongObjectType")

    def _check_reason(self, agent: Agent, target: TargetState, reason_key: int | None) -> None:
        if routing.is_present(agent, target, reason_key):
            return
        reasons = self.center.directory.reasons
        if reason_key is None:
            if any(target in each.required_for for each in reasons.values()):
                raise Refused("ReasonRequired")
            return
        reason = reasons.get(reason_key)
        if reason is None:
            raise Refused("ReasonUnknown")
        if reason.kind != REASON_KIND_FOR.get(target):
            raise Refused("ReasonWrongKind")


def _check_version(asked: int, present: int) -> None:
    if asked != present:
        raise Refused("VersionConflict", Version=present)


@dataclass(frozen=True, slots=True)
class SkillChange:
    """One skill to set, or to remove (*level* None); other None fields are not changed."""

    key: int
    level: int | None
    preference: int | None = None
    active: bool | None = None


def changed(
    present: Mapping[int, AgentSkill],
    changes: Sequence[SkillChange],
    catalogue: Mapping[int, Skill],
    *,
    replace: bool,
) -> dict[int, AgentSkill]:
    """Return the skills after *changes*: patched, or replaced as a whole.

    Raises:
        Refused: ``DuplicateSkill``, ``SkillUnknown``, ``LevelOutOfRange``, ``PreferenceOutOfRange``.
    """
    if len({change.key for change in changes}) != len(changes):
        raise Refused("DuplicateSkill")
    result = {} if replace else dict(present)
    for change in changes:
        _check(change, catalogue)
        if change.level is None:
            result.pop(change.key, None)
            continue
        old = present.get(change.key, AgentSkill(change.level))
        result[change.key] = AgentSkill(
            change.level,
            old.preference if change.preference is None else change.preference,
            old.active if change.active is None else change.active,
        )
    return result


def _check(change: SkillChange, catalogue: Mapping[int, Skill]) -> None:
    skill = catalogue.get(change.key)
    if skill is None:
        raise Refused("SkillUnknown", SkillKey=change.key)
    if change.level is not None and not skill.level_min <= change.level <= skill.level_max:
        raise Refused("LevelOutOfRange", SkillKey=change.key, Min=skill.level_min, Max=skill.level_max)
    preference = change.preference
    if preference is not None and not skill.preference_min <= preference <= skill.preference_max:
        raise Refused(
            "PreferenceOutOfRange", SkillKey=change.key, Min=skill.preference_min, Max=skill.preference_max
        )
