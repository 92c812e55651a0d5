"""Acts that a test can trigger with ``POST /simulator/v1/act``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, get_args

from gateway.simulator import fields
from gateway.simulator.accounts import RIGHTS, Account, Accounts
from gateway.simulator.administration import Administration, reason_kind
from gateway.simulator.contact_center import ContactCenter
from gateway.simulator.errors import Refused
from gateway.simulator.fields import Body
from gateway.simulator.model import CONTACT_STATES, MEDIA, TARGET_STATES, Agent, Contact, Json, Scope
from gateway.simulator.session import EndReason

END_REASONS: Final[tuple[EndReason, ...]] = get_args(EndReason)
BY: Final[tuple[Literal["Supervisor", "System"], ...]] = ("Supervisor", "System")


class Acts:
    """Acts by name. What they change is told as everything is: events with the next reading."""

    def __init__(self, center: ContactCenter, accounts: Accounts, administration: Administration) -> None:
        self._center = center
        self._accounts = accounts
        self._administration = administration

    def act(self, body: Body) -> Json:
        """Let one act happen; returns what can be said of it.

        Raises:
            Refused: ``BadRequest`` for an unknown act or wrong fields, ``NotFound``, and what the rules say.
        """
        acts: dict[str, Callable[[Body], Json]] = {
            "GiveContact": self._give_contact,
            "TurnContact": self._turn_contact,
            "EndContact": self._end_contact,
            "Arrive": self._arrive,
            "SetRoutingState": self._set_routing_state,
            "SetScope": self._set_scope,
            "SetRights": self._set_rights,
            "Rename": self._rename,
            "Add": self._add,
            "Remove": self._remove,
            "EndSession": self._end_session,
            "Block": self._block,
        }
        act = acts.get(fields.text(body, "Act"))
        if act is None:
            raise Refused("BadRequest", Field="Act", Values=sorted(acts))
        return act(body)

    # ---- contacts ----

    def _give_contact(self, body: Body) -> Json:
        agent = self._agent(body)
        if not agent.logged_on:
            raise Refused("NotLoggedOn")
        queue_key = fields.optional_integer(body, "QueueKey")
        queue = None if queue_key is None else self._center.directory.queues.get(queue_key)
        if queue is None and queue_key is not None:
            raise Refused("NotFound")
        media = None if body.get("Media") is None else fields.one_of(body, "Media", MEDIA)
        state = fields.one_of({"State": "Talking", **body}, "State", CONTACT_STATES)
        return {"CallID": self._center.give(agent, queue, media, state).call_id}

    def _turn_contact(self, body: Body) -> Json:
        contact = self._contact(body)
        state = fields.one_of(body, "State", CONTACT_STATES)
        if state == "Talking" and contact.answered_ms is None:
            self._center.answer(contact)
        else:
            self._center.turn(contact, state)
        return {}

    def _end_contact(self, body: Body) -> Json:
        self._center.end(self._contact(body))
        return {}

    def _arrive(self, body: Body) -> Json:
        queue = self._center.directory.queues.get(fields.integer(body, "QueueKey"))
        if queue is None:
            raise Refused("NotFound")
        return {"CallID": self._center.arrive(queue).call_id}

    def _set_routing_state(self, body: Body) -> Json:
        verdict = self._center.ask(
            self._agent(body),
            fields.one_of(body, "RoutingState", TARGET_STATES),
            fields.optional_integer(body, "ReasonKey"),
            fields.one_of({"When": "AfterContact", **body}, "When", ("Now", "AfterContact")),
            fields.one_of({"By": "Supervisor", **body}, "By", BY),
            fields.optional_text(body, "ByName"),
        )
        self._administration.flush()
        return {"State": verdict}

    # ---- administration ----

    def _set_scope(self, body: Body) -> Json:
        scope = fields.mapping(body, "Scope")
        names = ("Users", "Queues", "Groups", "Aggregates")
        sets = [frozenset(fields.integers({name: [], **scope}, name)) for name in names]
        self._administration.set_scope(self._account(body), Scope(*sets))
        return {}

    def _set_rights(self, body: Body) -> Json:
        rights = body.get("Rights")
        if not isinstance(rights, list) or any(right not in RIGHTS for right in rights):
            raise Refused("BadRequest", Field="Rights")
        self._administration.set_rights(self._account(body), tuple(rights))
        return {}

    def _rename(self, body: Body) -> Json:
        self._administration.rename(fields.integer(body, "Key"), fields.text(body, "Name"))
        return {}

    def _add(self, body: Body) -> Json:
        kind, name = fields.text(body, "Kind"), fields.text(body, "Name")
        match kind:
            case "Queue":
                media = fields.one_of({"Media": "Voice", **body}, "Media", MEDIA)
                skill = fields.optional_integer(body, "SkillKey")
                return {"Key": self._administration.add_queue(name, media, skill)}
            case "Group":
                return {"Key": self._administration.add_group(name)}
            case "Aggregate":
                keys = tuple(fields.integers(body, "QueueKeys"))
                return {"Key": self._administration.add_aggregate(name, keys)}
            case "Skill":
                return {"Key": self._administration.add_skill(name)}
            case "User":
                group = fields.integer(body, "GroupKey")
                keys = tuple(fields.integers({"SkillKeys": [], **body}, "SkillKeys"))
                key = self._administration.add_agent(fields.text(body, "FirstName"), name, group, keys)
                return {"Key": key, "UserName": f"agent{key}"}
            case _:
                required = body.get("RequiredFor")
                states = tuple(required) if isinstance(required, list) else ()
                return {"Key": self._administration.add_reason(name, reason_kind(kind), states)}

    def _remove(self, body: Body) -> Json:
        self._administration.remove(fields.integer(body, "Key"))
        return {}

    def _end_session(self, body: Body) -> Json:
        ended = self._administration.end_sessions(
            self._account(body),
            fields.one_of({"Reason": "Maintenance", **body}, "Reason", END_REASONS),
            fields.optional_text(body, "By"),
            fields.optional_text(body, "ID"),
        )
        return {"Ended": ended}

    def _block(self, body: Body) -> Json:
        blocked = fields.flag(body, "On", default=True)
        self._administration.block(self._account(body), blocked=blocked, by=fields.optional_text(body, "By"))
        return {}

    # ---- whom and what ----

    def _account(self, body: Body) -> Account:
        account = self._accounts.by_name.get(fields.text(body, "User"))
        if account is None:
            raise Refused("NotFound")
        return account

    def _agent(self, body: Body) -> Agent:
        agent = self._center.directory.agents.get(fields.integer(body, "UserKey"))
        if agent is None:
            raise Refused("NotFound")
        return agent

    def _contact(self, body: Body) -> Contact:
        """The named contact of the agent; without a name the last one he got."""
        call_id = fields.optional_text(body, "CallID")
        for contact in reversed(self._agent(body).contacts):
            if call_id in {None, contact.call_id}:
                return contact
        raise Refused("NoContact")
