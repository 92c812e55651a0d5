"""Views: what a session may see and has asked for, and the union over the sessions of a user."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, Generic, NamedTuple, TypeVar

from gateway.domain.commands import Listen
from gateway.domain.model import ALWAYS, KIND_OF_TOPIC, ME, Application, Kind, Right, Scope, key_of, parse_key
from gateway.domain.resources import Agent, Aggregate, Resource
from gateway.domain.upstream import Attached, Source

ALWAYS_LISTENED: Final = frozenset(
    {Listen(None, Source.DIRECTORY, None), Listen(None, Source.CONFIGURATION, None)}
)
_SOURCES: Final = {
    Kind.AGENT: (Source.REALTIME, Source.CUMULATIVE),
    Kind.QUEUE: (Source.REALTIME, Source.CUMULATIVE),
    Kind.GROUP: (Source.REALTIME,),
    Kind.AGGREGATE: (Source.REALTIME,),
}


class Following(NamedTuple):
    """What one session follows."""

    application: Application
    scope: Scope
    own_agent: int | None
    topics: tuple[str, ...]


@lru_cache(maxsize=256)
def wanted_by(following: Following) -> frozenset[Listen]:
    """Return what to listen to for one session, made once for those that follow the same."""
    return wanted([following])


def wanted(followings: Iterable[Following]) -> frozenset[Listen]:
    """Return what to listen to for all of *followings* together.

    A Remote Assistant's own agent is listened to whatever it follows: its remote number shows in `me`.
    """
    whole: set[Kind] = set()
    single: dict[Kind, set[int]] = {kind: set() for kind in Kind}
    for following in followings:
        for topic in following.topics:
            kind = KIND_OF_TOPIC.get(topic)
            if kind is not None:
                whole.add(kind)
            elif (parsed := parse_key(topic)) is not None and parsed[1] in following.scope.of(parsed[0]):
                single[parsed[0]].add(parsed[1])
        if following.application is Application.REMOTE_ASSISTANT and following.own_agent is not None:
            single[Kind.AGENT].add(following.own_agent)
    listens = set(ALWAYS_LISTENED)
    for kind, sources in _SOURCES.items():
        if kind in whole or single[kind]:
            numbers = None if kind in whole else frozenset(single[kind])
            listens |= {Listen(kind, source, numbers) for source in sources}
    return frozenset(listens)


V = TypeVar("V", bound=Hashable)


class RefCounter(Generic[V]):
    """Values with how many hold each.

    Invariants: equal values are one object, the first that came; *changes* differs from what it was
    whenever the set of values may.
    """

    __slots__ = ("_held", "changes")

    def __init__(self) -> None:
        self.changes = 0
        self._held: dict[V, tuple[V, int]] = {}

    def __iter__(self) -> Iterator[V]:
        """Return each value once."""
        return iter([value for value, _ in self._held.values()])

    def add(self, value: V) -> V:
        """Record that one more holds *value*; returns the object that stands for it."""
        found = self._held.get(value)
        if found is None:
            self.changes += 1
            self._held[value] = (value, 1)
            return value
        self._held[value] = (found[0], found[1] + 1)
        return found[0]

    def drop(self, value: V) -> None:
        """Record that one session that held *value* holds it no more."""
        first, holders = self._held[value]
        if holders > 1:
            self._held[value] = (first, holders - 1)
        else:
            self.changes += 1
            del self._held[value]


class ScopeUnion:
    """What OSCC-E accepted the sessions as, however many they are.

    Invariant: it is what was added and not dropped; equal scopes are one object.
    """

    def __init__(self) -> None:
        self.accepted = 0
        """How many sessions were."""
        self._scopes: RefCounter[Scope] = RefCounter()
        self._owns: RefCounter[int] = RefCounter()
        self._followings: RefCounter[Following] = RefCounter()
        self._scope = Scope()
        self._own_agents: frozenset[int] = frozenset()
        self._scope_at = self._owns_at = 0

    def add(self, told: Attached) -> Attached:
        """Add a session's scope; return *told* made of the equal values of other sessions."""
        self.accepted += 1
        scope, rights = self._scopes.add(told.scope), _same(told.rights)
        if told.own_agent is not None:
            self._owns.add(told.own_agent)
        if scope is told.scope and rights is told.rights:
            return told
        return replace(told, scope=scope, rights=rights)

    def drop(self, attached: Attached) -> None:
        """Take it out of account."""
        self.accepted -= 1
        self._scopes.drop(attached.scope)
        if attached.own_agent is not None:
            self._owns.drop(attached.own_agent)

    def follow(self, following: Following) -> None:
        """Take into account what a session on the link follows."""
        self._followings.add(following)

    def unfollow(self, following: Following) -> None:
        """Take it out of account."""
        self._followings.drop(following)

    @property
    def scope(self) -> Scope:
        """The union of what they may see: the same object for as long as it is the same."""
        if self._scope_at != self._scopes.changes:
            self._scope_at = self._scopes.changes
            scopes = list(self._scopes)
            scope = Scope(
                agents=_union([each.agents for each in scopes]),
                queues=_union([each.queues for each in scopes]),
                groups=_union([each.groups for each in scopes]),
                aggregates=_union([each.aggregates for each in scopes]),
            )
            self._scope = self._scope if scope == self._scope else scope
        return self._scope

    @property
    def own_agents(self) -> frozenset[int]:
        """The user as an agent."""
        if self._owns_at != self._owns.changes:
            self._owns_at = self._owns.changes
            self._own_agents = frozenset(self._owns)
        return self._own_agents

    @property
    def followings(self) -> list[Following]:
        """What is followed; what several of them follow alike, once."""
        return list(self._followings)


@lru_cache(maxsize=64)
def _same(rights: frozenset[Right]) -> frozenset[Right]:
    """Return one object for equal rights, of which there are few."""
    return rights


def _union(sets: list[frozenset[int]]) -> frozenset[int]:
    """Return the union; one of *sets* itself when it holds all, for other users have the same."""
    sets = list({id(each): each for each in sets}.values())  # comparing a large set with itself takes time
    largest = max(sets, key=len, default=frozenset[int]())
    return largest if all(each <= largest for each in sets) else largest.union(*sets)


SIGHTS_MAX: Final = 64
"""So many scopes are remembered; each phone whose scope is not costs a few hundred microseconds more."""
FACTS_PREFIX = "session:"
ME_PREFIX = "me:"


def facts_key(handle: str) -> str:
    """Return the ledger's key of a session's facts; no phone ever sees it."""
    return FACTS_PREFIX + handle


def me_key(handle: str) -> str:
    """Return the ledger's key of `me` as one session sees it."""
    return ME_PREFIX + handle


class Sight(NamedTuple):
    """What views of equal scope and topics have in common."""

    topics: tuple[str, ...]
    keys: frozenset[str]
    granted: tuple[str, ...]
    refused: tuple[str, ...]
    digest: bytes


@dataclass(frozen=True, slots=True)
class View:
    """What one session sees of the ledger, and nothing else ever: *shared* keys, and its own `me`.

    Every phone has one, so it holds nothing that can be made when it is asked for.
    Sessions of equal scope and topics have one and the same *shared* and *sight*.
    """

    shared: frozenset[str]
    sight: Sight
    handle: str
    rights: tuple[Right, ...]

    def sees(self, key: str) -> bool:
        """Return whether the ledger's *key* may be seen."""
        return key in self.shared or (key.startswith(ME_PREFIX) and key == self.me)

    @property
    def me(self) -> str:
        """The ledger's key of its own `me`."""
        return me_key(self.handle)

    @property
    def mark(self) -> str:
        """A short hash of session, scope, topics and rights, made again each time.

        It is the part of a stream's name that changes when what the session sees or may do does.
        """
        mark = hashlib.blake2s(self.sight.digest, digest_size=6, person=b"view")
        mark.update(f"|{self.handle}|{sorted(self.rights)}".encode())
        return mark.hexdigest()

    @property
    def topics(self) -> tuple[str, ...]:
        """What was asked for."""
        return self.sight.topics

    @property
    def granted(self) -> tuple[str, ...]:
        """Which of them are followed."""
        return self.sight.granted

    @property
    def refused(self) -> tuple[str, ...]:
        """Which of them are not."""
        return self.sight.refused

    @property
    def keys(self) -> frozenset[str]:
        """All keys of the ledger that may be seen."""
        return self.shared | {self.me}

    @staticmethod
    def wire_key(key: str) -> str:
        """Return the name under which a phone sees the ledger's *key*."""
        return ME if key.startswith(ME_PREFIX) else key


def within(value: Resource, scope: Scope) -> Resource:
    """Return *value* without ids of groups and queues outside *scope*."""
    if not isinstance(value, Agent | Aggregate):
        return value
    inside = replace(value, queue_ids=_inside(value.queue_ids, scope.queues))
    if not isinstance(inside, Agent):
        return inside
    handling = tuple(
        one if one.queue_id is None or _inside((one.queue_id,), scope.queues) else replace(one, queue_id=None)
        for one in inside.handling
    )
    return replace(inside, group_ids=_inside(inside.group_ids, scope.groups), handling=handling)


class Within(Mapping[str, Resource]):
    """Values without ids outside a scope, each narrowed when it is read: of thousands a few at a time.

    Args:
        values: As the mirror has them.
        scope: What may be named.
    """

    __slots__ = ("_scope", "_values")

    def __init__(self, values: Mapping[str, Resource], scope: Scope) -> None:
        self._values = values
        self._scope = scope

    def __getitem__(self, key: str) -> Resource:
        return within(self._values[key], self._scope)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def _inside(ids: tuple[str, ...], numbers: frozenset[int]) -> tuple[str, ...]:
    return tuple(each for each in ids if each.isdecimal() and int(each) in numbers)


def view_of(handle: str, scope: Scope, topics: tuple[str, ...], rights: tuple[Right, ...] = ()) -> View:
    """Return the view of a session with *scope* and *rights* that follows *topics*.

    A topic is a kind (``agents``) or a single key (``queue:5``). Single keys out of scope and
    unknown topics are refused alike, so that a refusal reveals nothing.
    """
    sight = _sight(scope, topics)
    return View(sight.keys, sight, handle, rights)


@lru_cache(maxsize=SIGHTS_MAX)
def _sight(scope: Scope, topics: tuple[str, ...]) -> Sight:
    """Return what the phones of one user have in common, made once for all of them as long as they come."""
    keys: set[str] = set(ALWAYS)
    granted: list[str] = []
    refused: list[str] = []
    for topic in dict.fromkeys(topics):
        found = _keys_of(topic, scope)
        if found is None:
            refused.append(topic)
        else:
            granted.append(topic)
            keys |= found
    return Sight(topics, frozenset(keys), tuple(granted), tuple(refused), _digest(scope, granted))


def _keys_of(topic: str, scope: Scope) -> set[str] | None:
    kind = KIND_OF_TOPIC.get(topic)
    if kind is not None:
        return {key_of(kind, number) for number in scope.of(kind)}
    if topic == ME or topic in ALWAYS:
        return set()
    parsed = parse_key(topic)
    if parsed is None or parsed[1] not in scope.of(parsed[0]):
        return None
    return {topic}


def _digest(scope: Scope, granted: list[str]) -> bytes:
    digest = hashlib.blake2s(person=b"sight")
    for kind in Kind:
        digest.update(f"|{kind}:{sorted(scope.of(kind))}".encode())
    digest.update(f"|{sorted(granted)}".encode())
    return digest.digest()
