"""Administration at runtime: objects, scopes, rights, accounts, and actions of tests.

Every change is sent at once on the links whose scope contains it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final, Literal, get_args

from gateway.simulator import fields
from gateway.simulator.contact_center import ContactCenter
from gateway.simulator.directory import REASON_KINDS, ObjectKind, defaults
from gateway.simulator.elements import encode
from gateway.simulator.fields import Body, Refused
from gateway.simulator.links import Switchboard, scope_json
from gateway.simulator.model import (
    CONTACT_STATES,
    MEDIA,
    TARGET_STATES,
    Agent,
    AgentSkill,
    Aggregate,
    Contact,
    Counters,
    Group,
    Json,
    Media,
    Queue,
    Reason,
    ReasonKind,
    Scope,
    Skill,
    UserCounters,
)
from gateway.simulator.sessions import RIGHTS, Account, Accounts, EndReason, Scopes, Session, agent_account


class Administration:
    """Changes to directory, scopes, rights and accounts.

    Invariant: after each change the scope of every session is derived from the directory (unless it was set
    by hand), and every link has received the change.
    """

    def __init__(self, board: Switchboard) -> None:
        self._board = board
        self._directory = board.center.directory
        self._last_key = 900_000

    # ---- objects ----

    def changed(self, key: int) -> None:
        """Send a changed directory object, and update the scopes."""
        self._send_object(key, "Changed")
        self.refresh_scopes()

    def rename(self, key: int, name: str) -> None:
        """Rename an object; for a user, change the last name.

        Raises:
            Refused: ``NotFound``.
        """
        directory = self._directory
        match directory.kind_of(key):
            case "User":
                directory.agents[key].last_name = name
            case "Queue":
                directory.queues[key].name = name
            case "Group":
                directory.groups[key].name = name
            case "Aggregate":
                directory.aggregates[key] = replace(directory.aggregates[key], name=name)
            case "Skill":
                directory.skills[key] = replace(directory.skills[key], name=name)
            case None:
                raise Refused("NotFound")
        self._send_object(key, "Changed")

    def add_queue(self, name: str, media: Media, skill_key: int | None) -> int:
        """Add a queue, of a new skill unless one is given."""
        skill = self.add_skill(name) if skill_key is None else skill_key
        start_ms = self._board.center.wall_ms
        queue = Queue(self._next_key(), name, media, skill, 1, defaults("Queue"), Counters(start_ms))
        self._directory.queues[queue.key] = queue
        self._directory.relate()
        self._board.center.mark_counted(queue)
        return self._added(queue.key)

    def add_group(self, name: str) -> int:
        """Add a group."""
        key = self._next_key()
        self._directory.groups[key] = Group(key, name, defaults("Group"))
        return self._added(key)

    def add_aggregate(self, name: str, queue_keys: tuple[int, ...]) -> int:
        """Add an aggregate of queues."""
        key = self._next_key()
        self._directory.aggregates[key] = Aggregate(key, name, queue_keys)
        return self._added(key)

    def add_skill(self, name: str) -> int:
        """Add a skill to the catalogue."""
        key = self._next_key()
        self._directory.skills[key] = Skill(key, name)
        return self._added(key)

    def add_reason(self, name: str, kind: ReasonKind, required_for: tuple[str, ...]) -> int:
        """Add a reason to the catalogue."""
        key = self._next_key()
        self._directory.reasons[key] = Reason(key, name, kind, required_for)
        content: Json = {"Key": key, "Name": name, "RequiredFor": required_for}
        self._send({"ObjectType": kind, "Key": key, "Change": "Added", "Object": content})
        return key

    def add_agent(self, first_name: str, last_name: str, group_key: int, skill_keys: tuple[int, ...]) -> int:
        """Add an agent; the user name is ``agent<key>``.

        Raises:
            Refused: ``NotFound`` when there is no such group.
        """
        if group_key not in self._directory.groups:
            raise Refused("NotFound")
        key = self._next_key()
        agent = Agent(
            key,
            f"agent{key}",
            first_name,
            last_name,
            str(key),
            (group_key,),
            {skill: AgentSkill(50) for skill in skill_keys},
            UserCounters(self._board.center.wall_ms),
            retired=True,
        )
        self._directory.agents[key] = agent
        self._board.accounts.add(agent_account(agent, self._directory))
        return self._added(key)

    def remove(self, key: int) -> None:
        """Remove an object; a user's sessions end with it.

        Raises:
            Refused: ``NotFound``.
        """
        directory, center = self._directory, self._board.center
        kind = directory.kind_of(key)
        affected: tuple[Agent, ...] = ()
        match kind:
            case "User":
                self._dismiss(directory.agents[key])
                del directory.agents[key]
            case "Queue":
                affected = directory.agents_of[key]
                self._close_queue(directory.queues[key])
            case "Group":
                affected = directory.members_of[key]
                del directory.groups[key]
                for agent in affected:
                    agent.group_keys = tuple(each for each in agent.group_keys if each != key)
            case "Aggregate":
                del directory.aggregates[key]
            case "Skill" if all(key != queue.skill_key for queue in directory.queues.values()):
                del directory.skills[key]
            case _:
                raise Refused("NotFound")
        directory.relate()
        seen_by = None if kind == "Skill" else key
        self._send({"ObjectType": kind, "Key": key, "Change": "Removed"}, seen_by)
        for agent in affected:
            center.mark_agent(agent)
            self._send_object(agent.key, "Changed")
        self.refresh_scopes()

    # ---- scopes and rights ----

    def refresh_scopes(self) -> None:
        """Update each scope from the directory, and send the changed ones."""
        scopes = Scopes(self._directory)
        for account in self._board.accounts.by_name.values():
            if not account.scope_fixed:
                account.scope = scopes.of(account.teams)
        self._apply({session.secret: self._scope_of(session) for session in self._board.sessions})

    def set_scope(self, account: Account, scope: Scope) -> None:
        """Set a user's Dashboard scope by hand; it applies to their sessions at once."""
        account.scope, account.scope_fixed = scope, True
        sessions = self._board.sessions.of_user(account.key)
        self._apply({each.secret: scope for each in sessions if not each.remote})

    def set_rights(self, account: Account, rights: tuple[str, ...]) -> None:
        """Set a user's rights by hand, in all their sessions."""
        account.dashboard_rights = rights
        sessions = self._board.sessions.of_user(account.key)
        for session in sessions:
            session.rights = rights
        self._apply({each.secret: each.scope for each in sessions}, always=True)

    # ---- accounts ----

    def end_sessions(self, account: Account, reason: EndReason, by: str | None, public_id: str | None) -> int:
        """End a user's sessions, or one of them; return their number."""
        ended = 0
        for session in self._board.sessions.of_user(account.key):
            if public_id is None or session.public_id == public_id:
                self._board.sessions.end(session, reason, by)
                ended += 1
        self._board.flush_ended()
        return ended

    def block(self, account: Account, *, blocked: bool, by: str | None = None) -> None:
        """Block an account, which ends its sessions, or unblock it."""
        account.blocked = blocked
        if blocked:
            self.end_sessions(account, "Blocked", by, None)

    def flush(self) -> None:
        """Send links the ends of their sessions."""
        self._board.flush_ended()

    # ---- inside ----

    def _added(self, key: int) -> int:
        self._directory.relate()
        self._board.center.mark_configuration(key)
        if self._directory.kind_of(key) == "Skill":
            self._send_object(key, "Added")
        self.refresh_scopes()
        return key

    def _apply(self, wanted: dict[str, Scope], *, always: bool = False) -> None:
        elements: dict[str, list[Json]] = {}
        for secret, scope in wanted.items():
            session = self._board.sessions.get(secret)
            if not always and scope == session.scope:
                continue
            session.scope = scope
            if session.link_id is not None:
                sent: Json = {"ObjectType": "Session", "Session": session.alias}
                sent |= {"Rights": list(session.rights), "Scope": scope_json(scope)}
                elements.setdefault(session.link_id, []).append(sent)
        for link_id, sent_all in elements.items():
            link = self._board.open_links.get(link_id)
            if link is not None:
                self._board.rescope(link, sent_all)

    def _scope_of(self, session: Session) -> Scope:
        agent = self._board.sessions.agent_of(session)
        return self._directory.own(agent) if session.remote and agent is not None else session.account.scope

    def _send_object(self, key: int, change: str) -> None:
        element = self._directory.change_json(key, change)
        if element is not None:
            self._send(element, None if key in self._directory.skills else key)

    def _send(self, element: Json, key: int | None = None) -> None:
        """Send an element on all links whose scope contains *key*; None: on all."""
        encoded, now_ms = [encode(element)], self._board.center.wall_ms
        for link in self._board.open_links.values():
            if key is None or key in link.subscriptions.scope:
                link.send(*link.subscriptions.administration(encoded, now_ms))

    def _dismiss(self, agent: Agent) -> None:
        account = self._board.accounts.by_agent(agent.key)
        if account is not None:
            self.block(account, blocked=True)
        self._board.center.force_off(agent)
        agent.retired = True

    def _close_queue(self, queue: Queue) -> None:
        center = self._board.center
        busy = [each for agent in self._directory.agents.values() for each in agent.contacts]
        for contact in [*queue.waiting, *busy]:
            if contact.queue_key == queue.key:
                center.drop(contact)
        for other in self._directory.queues.values():
            if other.parameters["OverflowQueue"] == queue.key:
                other.parameters = other.parameters | {"OverflowQueue": None}
                other.version += 1
                center.mark_configuration(other.key)
        del self._directory.queues[queue.key]

    def _next_key(self) -> int:
        self._last_key += 1
        return self._last_key


ADDED_KINDS: Final[tuple[ObjectKind | ReasonKind, ...]] = (
    "Queue", "Group", "Aggregate", "Skill", "User", *REASON_KINDS,
)  # fmt: skip
END_REASONS: Final[tuple[EndReason, ...]] = get_args(EndReason)
BY: Final[tuple[Literal["Supervisor", "System"], ...]] = ("Supervisor", "System")


class Acts:
    """Actions by name. Their changes are sent like all others: events with the next reading."""

    def __init__(self, center: ContactCenter, accounts: Accounts, administration: Administration) -> None:
        self._center = center
        self._accounts = accounts
        self._administration = administration

    def act(self, body: Body) -> Json:
        """Perform one action; return its result.

        Raises:
            Refused: ``BadRequest`` for an unknown action or wrong fields, ``NotFound``, and refusals of the
                rules.
        """
        administration = self._administration
        acts: dict[str, Callable[[Body], Json | None]] = {
            "GiveContact": self._give_contact,
            "TurnContact": self._turn_contact,
            "EndContact": lambda body: self._center.end(self._contact(body)),
            "Arrive": self._arrive,
            "SetRoutingState": self._set_routing_state,
            "SetScope": self._set_scope,
            "SetRights": self._set_rights,
            "Rename": lambda body: administration.rename(
                fields.integer(body, "Key"), fields.text(body, "Name")
            ),
            "Add": self._add,
            "Remove": lambda body: administration.remove(fields.integer(body, "Key")),
            "EndSession": self._end_session,
            "Block": lambda body: administration.block(
                self._account(body),
                blocked=fields.flag(body, "On", default=True),
                by=fields.optional_text(body, "By"),
            ),
        }
        act = acts.get(fields.text(body, "Act"))
        if act is None:
            raise Refused("BadRequest", Field="Act", Values=sorted(acts))
        return act(body) or {}

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

    def _turn_contact(self, body: Body) -> None:
        contact = self._contact(body)
        state = fields.one_of(body, "State", CONTACT_STATES)
        if state == "Talking" and contact.answered_ms is None:
            self._center.answer(contact)
        else:
            self._center.turn(contact, state)

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

    def _set_scope(self, body: Body) -> None:
        scope = fields.mapping(body, "Scope")
        names = ("Users", "Queues", "Groups", "Aggregates")
        sets = [frozenset(fields.integers({name: [], **scope}, name)) for name in names]
        self._administration.set_scope(self._account(body), Scope(*sets))

    def _set_rights(self, body: Body) -> None:
        rights = fields.texts(body, "Rights")
        if any(right not in RIGHTS for right in rights):
            raise Refused("BadRequest", Field="Rights")
        self._administration.set_rights(self._account(body), tuple(rights))

    def _add(self, body: Body) -> Json:
        administration, name = self._administration, fields.text(body, "Name")
        match kind := fields.one_of(body, "Kind", ADDED_KINDS):
            case "Queue":
                media = fields.one_of({"Media": "Voice", **body}, "Media", MEDIA)
                key = administration.add_queue(name, media, fields.optional_integer(body, "SkillKey"))
            case "Group":
                key = administration.add_group(name)
            case "Aggregate":
                key = administration.add_aggregate(name, tuple(fields.integers(body, "QueueKeys")))
            case "Skill":
                key = administration.add_skill(name)
            case "User":
                group = fields.integer(body, "GroupKey")
                skills = tuple(fields.integers({"SkillKeys": [], **body}, "SkillKeys"))
                key = administration.add_agent(fields.text(body, "FirstName"), name, group, skills)
                return {"Key": key, "UserName": f"agent{key}"}
            case _:
                required = body.get("RequiredFor")
                states = tuple(required) if isinstance(required, list) else ()
                key = administration.add_reason(name, kind, states)
        return {"Key": key}

    def _end_session(self, body: Body) -> Json:
        ended = self._administration.end_sessions(
            self._account(body),
            fields.one_of({"Reason": "Maintenance", **body}, "Reason", END_REASONS),
            fields.optional_text(body, "By"),
            fields.optional_text(body, "ID"),
        )
        return {"Ended": ended}

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
        """Return the named contact of the agent; without a name the last one they got."""
        call_id = fields.optional_text(body, "CallID")
        for contact in reversed(self._agent(body).contacts):
            if call_id in {None, contact.call_id}:
                return contact
        raise Refused("NoContact")
