"""The people file of an Asterisk site: who may log on, their scopes, and the resources that each sees.

The file has the people who may log on, their passwords, and their scopes and rights. AMI and voicemail have
no users, so an organisation writes them down. A password is stored as scrypt (N = 2^15, r = 8, p = 1: some 75
ms and 32 MiB). A name that does not exist takes the same work. The resources are composed from the state of
an Asterisk.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from gateway.domain.model import NAME_CHARS, VALUE_CHARS, WORD_CHARS, Kind, readable
from gateway.domain.resources import (
    Agent,
    AgentSkill,
    AutoPostProcessing,
    Handling,
    HandlingState,
    Media,
    Parameter,
    PostProcessing,
    Queue,
    QueueWindow,
    Reason,
    RoutingParameter,
    RoutingState,
    Skill,
    Switch,
)
from gateway.domain.upstream import Part, Source
from gateway.upstream.asterisk.state import (
    ON_HOLD,
    RINGING_STATES,
    STATES,
    Contact,
    Membership,
    Queues,
    QueueState,
)


@lru_cache(maxsize=65_536)
def number_of(kind: str, name: str) -> int:
    """Return the number of an object: 48 bits of BLAKE2s over kind and name, the same on every node."""
    digest = hashlib.blake2s(f"{kind}\0{name}".encode(), digest_size=6, person=b"asterisk").digest()
    return int.from_bytes(digest) or 1


@lru_cache(maxsize=65_536)
def _skill(queue: int, level: int, active: bool) -> AgentSkill:
    return AgentSkill(skill_id=str(queue), level=level, active=active)


def remote_interface(login: str, context: str) -> str:
    """Return the interface of a remote agent, which does not depend on the number."""
    return f"Local/{login}@{context}/n"


PEOPLE: Final = 20_000
"""People in one file."""
FILE_BYTES: Final = 16 * 2**20
_LOGIN: Final = re.compile(r"[a-z0-9_.-]{1,32}")
_N, _R, _P, _KEY_BYTES = 2**15, 8, 1, 32
_MEMORY_BYTES: Final = 64 * 2**20
_HASH: Final = re.compile(
    r"scrypt\$(\d{4,7})\$(\d{1,2})\$(\d{1,2})\$([A-Za-z0-9+/=]{16,64})\$([A-Za-z0-9+/=]{24,128})"
)

_Word = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]


class PeopleError(Exception):
    """The people file cannot be used. The message has no value of it."""


class Person(BaseModel):
    """One person of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)

    login: str
    name: str = Field(min_length=1, max_length=NAME_CHARS)
    password: str = Field(repr=False)
    supervisor: bool = False
    agent: bool = False
    interfaces: tuple[_Word, ...] = Field((), max_length=16, strict=False)
    queues: tuple[_Word, ...] = Field((), max_length=256, strict=False)
    penalty: int = Field(0, ge=0, le=100)
    sees: tuple[_Word, ...] = Field((), max_length=1024, strict=False)

    @field_validator("login")
    @classmethod
    def _is_login(cls, login: str) -> str:
        if _LOGIN.fullmatch(login) is None:
            raise ValueError("must be 1 to 32 of a-z, 0-9, _ . -")
        return login

    @field_validator("name")
    @classmethod
    def _is_readable(cls, name: str) -> str:
        return readable(name)

    @field_validator("password")
    @classmethod
    def _is_hash(cls, password: str) -> str:
        found = _HASH.fullmatch(password)
        if found is None:
            raise ValueError("must be a line that `oscc-gateway person` has written")
        n, r, p = (int(found[place]) for place in (1, 2, 3))
        if n & (n - 1) or 128 * r * n > _MEMORY_BYTES // 2 or not 1 <= p <= 4 or not 1 <= r <= 16:
            raise ValueError("has scrypt parameters that are not allowed")
        return password


def agent_number(person: Person) -> int:
    """Return the number of a person, as a user and as an agent."""
    return number_of("person", person.login)


class PeopleFile:
    """All people of one file.

    Invariant: a login belongs to one person, and so does an interface.
    """

    def __init__(self, people: Iterable[Person], remote_context: str) -> None:
        self.by_login: dict[str, Person] = {}
        self.by_interface: dict[str, Person] = {}
        self.by_number: dict[int, Person] = {}
        """People who may use the Remote Assistant, by their number as agents."""
        for person in people:
            if person.login in self.by_login:
                raise PeopleError(f"the login {person.login} is there twice")
            self.by_login[person.login] = person
            if person.agent:
                self.by_number[agent_number(person)] = person
            remote = (remote_interface(person.login, remote_context),) if person.agent else ()
            for interface in (*person.interfaces, *remote):
                other = self.by_interface.setdefault(interface, person)
                if other is not person:
                    raise PeopleError(f"{person.login} and {other.login} have the same interface")


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    people: tuple[Person, ...] = Field(max_length=PEOPLE, strict=False)


def read_people(path: Path, remote_context: str) -> PeopleFile:
    """Read the people file.

    Raises:
        PeopleError: It cannot be read, or has a fault.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise PeopleError(f"cannot be read: {error.strerror or type(error).__name__}") from error
    if len(raw) > FILE_BYTES:
        raise PeopleError("is larger than 16 MiB")
    try:
        parsed = tomllib.loads(raw.decode("utf-8"))
        return PeopleFile(_File.model_validate(parsed).people, remote_context)
    except UnicodeDecodeError as error:
        raise PeopleError("is not UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise PeopleError("is not TOML") from error
    except ValidationError as error:
        raise PeopleError(_faults(error)) from None  # the cause contains values


def _faults(error: ValidationError) -> str:
    texts: list[str] = []
    for fault in error.errors(include_url=False, include_input=False)[:5]:
        where = ".".join(str(place) for place in fault["loc"])
        texts.append(f"{where}: {fault['msg'].removeprefix('Value error, ')}")
    return "; ".join(texts)


# ---- passwords ----


def hash_password(password: str, salt: bytes) -> str:
    """Return the line of the file for a password. *salt*: 16 random bytes."""
    key = _derive(password, salt, _N, _R, _P, _KEY_BYTES)
    salted, kept = base64.b64encode(salt).decode(), base64.b64encode(key).decode()
    return f"scrypt${_N}${_R}${_P}${salted}${kept}"


_NO_KEY: Final = base64.b64encode(bytes(32)).decode()
NOBODY: Final = f"scrypt${_N}${_R}${_P}${_NO_KEY[:24]}${_NO_KEY}"
"""Hash that is checked for names that do not exist, so that the time of an answer does not reveal them; no
password fits.
"""


def fits(password: str, hashed: str) -> bool:
    """Return whether a password belongs to a line of the file. Takes some 75 ms: call it in a thread."""
    found = _HASH.fullmatch(hashed)
    if found is None:
        return False
    salt, key = base64.b64decode(found[4]), base64.b64decode(found[5])
    derived = _derive(password, salt, int(found[1]), int(found[2]), int(found[3]), len(key))
    return hmac.compare_digest(derived, key)


def _derive(password: str, salt: bytes, n: int, r: int, p: int, size: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, maxmem=_MEMORY_BYTES, dklen=size)


FORMULA: Final = "answered within the threshold / completed"
REASONS_LEARNED: Final = 200
"""Unconfigured reasons that are stored; further ones are shown without their name."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings of a site that is an Asterisk."""

    begin_reason: str = "Logged on"
    unavailable_reasons: tuple[str, ...] = ()
    work_reasons: tuple[str, ...] = ()
    wrap_up_s: Mapping[str, int] = field(default_factory=dict)
    """Queue → its ``wrapuptime`` in queues.conf, which AMI does not report."""
    rejoins: bool = False
    """Whether agents may change their wrap-up time, which needs leaving and joining their queues."""
    penalty_max: int = 10
    remote_context: str = "oscc-remote"
    shared_last_call: bool = True


class AgentFacts(NamedTuple):
    """Data about an agent that is not in the queues."""

    remote_number: str | None = None
    logged_on_remotely: bool = False
    app_present: bool | None = None
    app_absent_since_ms: int | None = None


NO_FACTS: Final = AgentFacts()


class AsteriskView:
    """Composes parts from the state; each is made once and kept while it does not change."""

    def __init__(self, queues: Queues, rules: Rules) -> None:
        self.people = PeopleFile((), rules.remote_context)
        self.offset_ms = 0
        """Gateway clock minus Asterisk's."""
        self.parts: dict[tuple[Kind, Source], dict[int, Part]] = {
            (kind, source): {} for kind in (Kind.AGENT, Kind.QUEUE) for source in Source
        }
        self.facts: dict[int, AgentFacts] = {}
        """By the number of the agent."""
        self.interfaces: dict[int, tuple[str, ...]] = {}
        """Agent → the interfaces of its memberships."""
        self._queues = queues
        self._rules = rules
        self._directories: dict[int, Part] = {}
        """Agent → its directory part, until a membership or a name changes."""
        self._configurations: dict[int, tuple[tuple[str, int, int, int], Part]] = {}
        """Queue → its configuration at Asterisk, and the part made of it."""
        self._skills: dict[int, tuple[list[tuple[str, str, int, bool]], Part]] = {}
        """Agent → its memberships, and the configuration part made of them, until a membership changes."""
        self._learned: dict[str, None] = {}
        self._has_learned = False

    # ---- who is who ----

    def agent_of(self, interface: str) -> int:
        """Return the number of the agent with this interface."""
        person = self.people.by_interface.get(interface)
        return number_of("interface", interface) if person is None else agent_number(person)

    def queue_number(self, name: str) -> int:
        """Return the number of a queue."""
        return number_of("queue", name)

    def memberships(self, agent: int) -> list[Membership]:
        """Return the memberships of an agent, of all its interfaces."""
        held = self._queues.memberships
        return [
            one for interface in self.interfaces.get(agent, ()) for one in held.get(interface, {}).values()
        ]

    def index(self) -> None:
        """Update the interfaces of each agent; its directory part follows when it is wanted."""
        self._directories.clear()
        self._configurations.clear()
        self._skills.clear()
        found: dict[int, list[str]] = {}
        for interface in self._queues.memberships:
            found.setdefault(self.agent_of(interface), []).append(interface)
        self.interfaces = {agent: tuple(sorted(names)) for agent, names in found.items()}

    def move_clock(self, offset_ms: int) -> None:
        """Record how far Asterisk's clock is behind the gateway's: post-processing ends later or earlier."""
        self.offset_ms = offset_ms
        for queue in self._queues.queues.values():
            queue.recount.update(queue.members)

    # ---- agents ----

    def agent_parts(self, agent: int, now_ms: int) -> tuple[Part | None, ...]:
        """Return the parts of an agent: directory, realtime, cumulative and configuration."""
        members = self.memberships(agent)
        person = self._person(agent, members)
        if not members and person is None:
            return (None, None, None, None)
        there = [one for one in members if one.is_there]
        realtime = self._agent_realtime(agent, there, now_ms) if there else None
        return (
            self._agent_directory(agent, members, person),
            None if realtime is None else Part(Kind.AGENT, agent, Source.REALTIME, realtime),
            self._agent_cumulative(agent, members),
            self._agent_configuration(agent, members),
        )

    def own_part(self, part: Part) -> Part:
        """Return the realtime part for the agent's own link: with number and wrap-up time."""
        there = [one for one in self.memberships(part.number) if one.is_there]
        if not there or not isinstance(part.value, Agent):
            return part
        value = replace(part.value, auto_post_processing=self._auto(there))
        number = self.facts.get(part.number, NO_FACTS).remote_number
        return Part(Kind.AGENT, part.number, Source.REALTIME, value, number)

    def _person(self, agent: int, members: list[Membership]) -> Person | None:
        for member in members:
            person = self.people.by_interface.get(member.interface)
            if person is not None:
                return person
        return self.people.by_number.get(agent)

    def _agent_directory(self, agent: int, members: list[Membership], person: Person | None) -> Part:
        kept = self._directories.get(agent)
        if kept is not None:
            return kept
        name = person.name if person is not None else next((one.name for one in members if one.name), "")
        desk = [one.interface for one in members if not self._is_remote(one)]
        queues = sorted({number_of("queue", one.queue) for one in members})
        shown = Agent(
            display_name=readable(name) or None,
            extension=next((found for one in desk if (found := _extension(one))), None),
            queue_ids=tuple(str(queue) for queue in queues),
        )
        part = self._directories[agent] = Part(Kind.AGENT, agent, Source.DIRECTORY, shown)
        return part

    def _is_remote(self, member: Membership) -> bool:
        return f"@{self._rules.remote_context}/" in member.interface

    def _agent_realtime(self, agent: int, there: list[Membership], now_ms: int) -> Agent:
        state, since_ms, reason = self._routing(there)
        handling = self._handling(there)
        facts = self.facts.get(agent, NO_FACTS)
        wrap = None if handling else self._wrap_up(there, now_ms)
        if wrap is not None:  # clients show the contact that counts most, and here nothing else stands for it
            at = _contact_id("wrap-up", there[0].interface)
            handling = (Handling(at, "voice", "post_processing", wrap.since_ms, None, None),)
        return Agent(
            routing_state=state,
            routing_state_since_ms=since_ms,
            reason_id=None if not reason else self.reason_id(reason),
            handling=handling,
            post_processing=wrap,
            media=Media(voice=Switch.ON),
            presence_state=STATES.get(there[0].status),
            # another node's log-on is in the queues before its session is read here
            logged_on_remotely=facts.logged_on_remotely or any(self._is_remote(one) for one in there),
            app_present=facts.app_present,
            app_absent_since_ms=facts.app_absent_since_ms,
            allowed_actions=self._actions(there),
        )

    def _actions(self, there: list[Membership]) -> tuple[str, ...]:
        actions = ["set_available", "set_unavailable"]
        if self._rules.work_reasons:
            actions.append("set_work")
        if all(one.dynamic for one in there):
            actions.append("log_off")
        if any(self._is_remote(one) for one in there):
            actions.append("change_remote_number")
        return tuple(actions)

    def _routing(self, there: list[Membership]) -> tuple[RoutingState, int | None, str]:
        """Return state, since when, and reason: an agent is paused when all memberships are."""
        free = [one for one in there if not one.paused]
        if free:
            if any(one.last_pause_s for one in free):
                return (
                    RoutingState.AVAILABLE,
                    max((one.unpaused_ms or 0 for one in free), default=0) or None,
                    "",
                )
            return RoutingState.AVAILABLE, self.instant(min(one.login_s for one in free)), ""
        latest = max(there, key=lambda one: one.last_pause_s)
        is_work = latest.reason in self._rules.work_reasons
        state = RoutingState.WORK if is_work else RoutingState.UNAVAILABLE
        return state, self.instant(latest.last_pause_s), latest.reason

    def _handling(self, there: list[Membership]) -> tuple[Handling, ...]:
        found: list[Handling] = []
        known = self._queues.contacts
        for member in there:
            of_all = known.get(member.interface)
            if of_all is None and not member.in_call:
                continue
            contacts = [one for one in (of_all or {}).values() if one.queue == member.queue]
            if not contacts and member.in_call:
                contacts = [Contact("", member.queue, "talking", None)]
            found += [self._contact(one, member) for one in contacts]
        settles = any(one.interface in self._queues.settling for one in there)
        if not found and not settles and all(one.is_busy for one in there):
            member = there[0]
            phase: HandlingState = "ringing" if member.status in RINGING_STATES else "talking"
            phase = "holding" if member.status == ON_HOLD else phase
            found.append(Handling(_contact_id("direct", member.interface), "voice", phase, None, True, None))
        return tuple(sorted(found, key=lambda one: one.contact_id))

    def _contact(self, contact: Contact, member: Membership) -> Handling:
        state: HandlingState = contact.phase
        if state == "talking" and member.status == ON_HOLD:
            state = "holding"
        return Handling(
            contact_id=_contact_id(contact.queue, contact.caller or member.interface),
            media="voice",
            state=state,
            since_ms=contact.since_ms,
            direct=False,
            queue_id=str(self.queue_number(contact.queue)),
        )

    def wrap_up_of(self, member: Membership) -> int:
        """Return a membership's wrap-up time, s: its own, or the configured one of its queue."""
        return member.wrapup_s or self._rules.wrap_up_s.get(member.queue, 0)

    def _wrap_up(self, there: list[Membership], now_ms: int) -> PostProcessing | None:
        """Return the post-processing after the last call; no event begins or ends it."""
        found: tuple[int, int] | None = None
        for member in there:
            if member.last_call_s == 0:
                continue
            since_ms = 1000 * member.last_call_s + self.offset_ms
            ends_ms = since_ms + 1000 * self.wrap_up_of(member)
            if ends_ms > now_ms and (found is None or ends_ms > found[1]):
                found = since_ms, ends_ms
        if found is None:
            return None
        return PostProcessing(since_ms=found[0], ends_at_ms=found[1], extendable=False)

    def wrap_up_ends(self, members: Iterable[Membership], now_ms: int) -> int | None:
        """Return when the next post-processing of these memberships ends, by the gateway's clock."""
        ends = (
            1000 * (one.last_call_s + self.wrap_up_of(one)) + self.offset_ms
            for one in members
            if one.last_call_s
        )
        return min((end for end in ends if end > now_ms), default=None)

    def _auto(self, there: list[Membership]) -> AutoPostProcessing:
        longest = max(self.wrap_up_of(one) for one in there)
        return AutoPostProcessing(longest > 0, longest or None)

    def _agent_cumulative(self, agent: int, members: list[Membership]) -> Part:
        """Return the calls since the agent joined; unknown without a membership."""
        if not self._rules.shared_last_call or not members:
            return self._agent_calls(agent, None, None)
        start_ms = self.instant(min([one.login_s for one in members]))
        if len({one.interface for one in members}) == 1:
            return self._agent_calls(agent, max([one.calls_taken for one in members]), start_ms)
        taken: dict[str, int] = {}
        for one in members:  # with shared_lastcall a call counts in every queue of the interface
            taken[one.interface] = max(one.calls_taken, taken.get(one.interface, 0))
        return self._agent_calls(agent, sum(taken.values()), start_ms)

    def _agent_calls(self, agent: int, handled: int | None, start_ms: int | None) -> Part:
        kept = self.parts[Kind.AGENT, Source.CUMULATIVE].get(agent)
        if (
            kept is not None
            and isinstance(kept.value, Agent)
            and (kept.value.handled_today, kept.value.day_start_ms) == (handled, start_ms)
        ):
            return kept
        value = Agent(handled_today=handled, day_start_ms=start_ms)
        return Part(Kind.AGENT, agent, Source.CUMULATIVE, value)

    def _agent_configuration(self, agent: int, members: list[Membership]) -> Part:
        facts = [(one.queue, one.interface, one.penalty, one.paused) for one in members]
        kept = self._skills.get(agent)
        if kept is not None and kept[0] == facts:
            return kept[1]
        most = self._rules.penalty_max
        held = sorted((number_of("queue", one.queue), one.penalty, one.paused) for one in members)
        skills = tuple(_skill(queue, max(0, most - penalty), not paused) for queue, penalty, paused in held)
        value = Agent(skills=skills, version=skills_version(members))
        part = Part(Kind.AGENT, agent, Source.CONFIGURATION, value)
        self._skills[agent] = (facts, part)
        return part

    # ---- queues ----

    def queue_parts(self, name: str, now_ms: int) -> tuple[Part | None, ...]:
        """Return the parts of a queue: directory, realtime, cumulative and configuration."""
        queue = self._queues.queues.get(name)
        if queue is None:
            return (None, None, None, None)
        number = self.queue_number(name)
        total = queue.completed + queue.abandoned
        return (
            self.parts[Kind.QUEUE, Source.DIRECTORY].get(number) or _queue_directory(number, name),
            Part(Kind.QUEUE, number, Source.REALTIME, self._queue_realtime(queue, total, now_ms)),
            self._queue_cumulative(number, queue),
            self._queue_configuration(number, queue),
        )

    def _queue_cumulative(self, number: int, queue: QueueState) -> Part:
        """Return the last part if it has the same figures: readers compare parts by identity first."""
        completed, abandoned = queue.completed, queue.abandoned
        wait_s = float(queue.hold_s) if completed else None
        kept = self.parts[Kind.QUEUE, Source.CUMULATIVE].get(number)
        known = None if kept is None else kept.value
        if (
            kept is not None
            and isinstance(known, QueueWindow)
            and (known.answered, known.abandoned, known.average_wait_s) == (completed, abandoned, wait_s)
        ):
            return kept
        value = QueueWindow(answered=completed, abandoned=abandoned, average_wait_s=wait_s)
        return Part(Kind.QUEUE, number, Source.CUMULATIVE, value)

    def _queue_configuration(self, number: int, queue: QueueState) -> Part:
        """Return the routing parameters of a queue: AMI reports some, and can change none."""
        facts = (queue.strategy, queue.length_max, queue.weight, queue.threshold_s)
        kept = self._configurations.get(number)
        if kept is None or kept[0] != facts:
            parameters: dict[str, Parameter] = {
                "Strategy": readable(queue.strategy, WORD_CHARS),
                "MaxLength": queue.length_max,
                "Weight": queue.weight,
                "ServiceLevel": queue.threshold_s,
            }
            value = Queue(routing_parameters=parameters, version=_version(parameters))
            part = Part(Kind.QUEUE, number, Source.CONFIGURATION, value)
            kept = self._configurations[number] = (facts, part)
        return kept[1]

    def _queue_realtime(self, queue: QueueState, total: int, now_ms: int) -> Queue:
        counts = self._counts(queue, now_ms)
        return Queue(
            contacts_waiting=queue.waiting,
            oldest_since_ms=min(queue.callers.values(), default=None),
            service_level_pct=queue.level_pct if queue.completed else None,
            service_level_threshold_s=float(queue.threshold_s) if queue.threshold_s else None,
            service_level_formula=FORMULA,
            abandoned_rate_pct=round(100 * queue.abandoned / total, 1) if total else None,
            estimated_wait_s=float(queue.hold_s) if queue.completed else None,
            agents_logged_on=len(queue.activities) - counts.get("absent", 0),
            agents_available=counts.get("available", 0),
            agents_handling=counts.get("handling", 0),
            agents_post_processing=counts.get("post", 0),
            agents_unavailable=counts.get("unavailable", 0),
            agents_work=counts.get("work", 0),
        )

    def _counts(self, queue: QueueState, now_ms: int) -> dict[str, int]:
        """Return the numbers of members by activity; only members that may have another one are looked at."""
        again, queue.recount = queue.recount, set()
        if queue.until_ms:
            again.update([one for one, until_ms in queue.until_ms.items() if until_ms <= now_ms])
        for interface in again:
            member = queue.members.get(interface)
            queue.count(interface, *((None, None) if member is None else self._activity(member, now_ms)))
        return queue.counts

    def _activity(self, member: Membership, now_ms: int) -> tuple[str, int | None]:
        """Return how the figures count a member, and until when, if time alone ends that."""
        if not member.is_there:
            return "absent", None
        if member.is_busy or member.interface in self._queues.contacts:
            return "handling", None
        ends_ms = 1000 * (member.last_call_s + self.wrap_up_of(member)) + self.offset_ms
        if member.last_call_s and ends_ms > now_ms:
            return "post", ends_ms
        if member.paused:
            return "work" if member.reason in self._rules.work_reasons else "unavailable", None
        return "available", None

    # ---- catalogues ----

    def skills(self) -> tuple[Skill, ...]:
        """Return the catalogue of skills: membership of a queue is one."""
        names = sorted(self._queues.queues)
        return tuple(
            Skill(str(self.queue_number(name)), readable(name), 0, self._rules.penalty_max) for name in names
        )

    def reasons(self) -> tuple[Reason, ...]:
        """Return the catalogue of reasons: the configured ones, and those that appeared."""
        return tuple(
            Reason(
                reason_id=self._reason_number(text),
                kind=kind,
                name=readable(text, VALUE_CHARS),
                required_for=("work",) if kind == "work" else (),
            )
            for text, kind in sorted(self._kinds().items())
        )

    def _kinds(self) -> dict[str, Literal["unavailable", "work"]]:
        """Return the kind of each reason."""
        rules, kinds = self._rules, dict[str, Literal["unavailable", "work"]]()
        for text in (rules.begin_reason, *rules.unavailable_reasons, *self._learned):
            kinds[text] = "unavailable"
        return kinds | dict.fromkeys(rules.work_reasons, "work")

    def reason_id(self, text: str) -> str | None:
        """Return the id of a reason; a new one is added. None: the limit is reached."""
        if not self.knows_reason(text):
            if len(self._learned) >= REASONS_LEARNED:
                return None
            self._learned[text] = None
            self._has_learned = True
        return self._reason_number(text)

    def knows_reason(self, text: str) -> bool:
        """Return whether a reason is in the catalogue."""
        rules = self._rules
        return (
            text in (rules.begin_reason, *rules.unavailable_reasons, *rules.work_reasons)
            or text in self._learned
        )

    def reason(self, reason_id: str) -> tuple[str, Literal["unavailable", "work"]] | None:
        """Return text and kind of a reason of the catalogue."""
        return next((one for one in self._kinds().items() if self._reason_number(one[0]) == reason_id), None)

    def take_learned(self) -> bool:
        """Return whether reasons were added since the last call."""
        learned, self._has_learned = self._has_learned, False
        return learned

    def _reason_number(self, text: str) -> str:
        return str(number_of("reason", text))

    def instant(self, asterisk_s: int) -> int | None:
        """Return an instant of Asterisk's, s, by the gateway's clock, ms; None for never."""
        return None if asterisk_s == 0 else 1000 * asterisk_s + self.offset_ms


def _queue_directory(number: int, name: str) -> Part:
    shown = Queue(name=readable(name) or None, media="voice", skill_ids=(str(number),))
    return Part(Kind.QUEUE, number, Source.DIRECTORY, shown)


PARAMETERS: Final = (
    RoutingParameter("Strategy", "queue", "string", read_only=True),
    RoutingParameter("MaxLength", "queue", "integer", min=0, read_only=True),
    RoutingParameter("Weight", "queue", "integer", min=0, read_only=True),
    RoutingParameter("ServiceLevel", "queue", "integer", min=0, unit="s", read_only=True),
)


def skills_version(members: Iterable[Membership]) -> int:
    """Return a number that differs when skills differ, since Asterisk has no version."""
    return _version(sorted([(one.queue, one.interface, one.penalty, one.paused) for one in members]))


def _version(value: object) -> int:
    return int.from_bytes(hashlib.blake2s(repr(value).encode(), digest_size=6).digest())


def _contact_id(queue: str, name: str) -> str:
    return f"{number_of('contact', f'{queue}/{name}'):x}"


def _extension(interface: str) -> str | None:
    """Return the digits of an interface such as ``PJSIP/2005`` or ``Local/2005@from-queue/n``."""
    word = interface.partition("/")[2].partition("@")[0].partition("-")[0]
    return word if word.isascii() and word.isdecimal() and len(word) <= 15 else None
