"""Identities, positions, scopes and texts; containers and base classes that save memory.

The resources that phones see are in :mod:`gateway.domain.resources`.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import unicodedata
import weakref
from array import array
from collections.abc import Callable, Iterator, Mapping, MutableMapping, ValuesView
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Final,
    Generic,
    NamedTuple,
    Never,
    NewType,
    TypeVar,
    cast,
    dataclass_transform,
)

import msgspec

NodeId = NewType("NodeId", str)
"""One gateway process, chosen by its operator."""
SessionId = NewType("SessionId", str)
"""OSCC-E's public id of one of a user's sessions; may be shown and listed."""
SessionSecret = NewType("SessionSecret", str)
"""OSCC-E's secret SessionID; it is only in sealed tokens and in the owner's memory."""


class UserId(NamedTuple):
    """One person at one organisation's site. It is the key of all data in the gateway."""

    site: str
    key: int
    """OSCC-E's Key of the user."""


class Application(enum.StrEnum):
    """Which of the two apps a session belongs to."""

    DASHBOARD = "dashboard"
    REMOTE_ASSISTANT = "remote_assistant"


class Right(enum.StrEnum):
    """A right of a session, as OSCC-E granted it."""

    SKILLS_WRITE = "skills_write"
    ROUTING_STATE_WRITE = "routing_state_write"
    ROUTING_PARAMETERS_WRITE = "routing_parameters_write"
    OWN_ROUTING_STATE = "own_routing_state"
    OWN_POST_PROCESSING = "own_post_processing"


class Kind(enum.StrEnum):
    """Kinds of resources that have ids. The value is the prefix of their keys."""

    __hash__ = str.__hash__  # an enumeration's own hash is a Python call, and each update needs some

    AGENT = "agent"
    QUEUE = "queue"
    GROUP = "group"
    AGGREGATE = "aggregate"


AGENT: Final = Kind.AGENT
QUEUE: Final = Kind.QUEUE
"""Names of members for what happens with each update: an enumeration's attribute takes a slow search."""
KINDS: Final = tuple(Kind)
"""All kinds: iterating over the enumeration itself takes several times as long."""
TOPIC_OF_KIND: Final[dict[Kind, str]] = {
    Kind.AGENT: "agents",
    Kind.QUEUE: "queues",
    Kind.GROUP: "groups",
    Kind.AGGREGATE: "aggregates",
}
KIND_OF_TOPIC: Final[dict[str, Kind]] = {topic: kind for kind, topic in TOPIC_OF_KIND.items()}

DEFAULT_TOPICS: Final[dict[Application, tuple[str, ...]]] = {
    Application.DASHBOARD: ("agents", "queues", "groups", "aggregates"),
    Application.REMOTE_ASSISTANT: ("agents", "queues"),
}

ME: Final = "me"
SITE: Final = "site"
SKILLS: Final = "catalogue:skills"
REASONS: Final = "catalogue:reasons"
ROUTING_PARAMETERS: Final = "catalogue:routing_parameters"
ALWAYS: Final = frozenset({SITE, SKILLS, REASONS, ROUTING_PARAMETERS})
"""Keys that every session of a user sees; each session also sees its own `me`."""


KEY_PREFIXES: Final = {kind: f"{kind}:" for kind in Kind}


KEYS_SHARED_MAX: Final = 65_536
"""Keys that stand once in memory for all who refer to them. Python 3.12 keeps interned ones for ever.

More than the resources that the users of a node see: each user who sees 5,000 resources would otherwise hold
290 KB of keys. When all are stored, they take 6 MB.
"""


_shared_keys: Final[dict[str, str]] = {}


def keys_shared() -> int:
    """Return how many keys are stored."""
    return len(_shared_keys)


def key_of(kind: Kind, number: int) -> str:
    """Return the key of a resource, for example ``agent:5``; equal ones are one object within a bound."""
    key = KEY_PREFIXES[kind] + str(number)
    if len(_shared_keys) >= KEYS_SHARED_MAX:
        _shared_keys.clear()
    return _shared_keys.setdefault(key, key)


_KINDS: Final = {kind.value: kind for kind in Kind}


def parse_key(key: str) -> tuple[Kind, int] | None:
    """Split a resource's key that a phone sent into kind and number; None when it is no such key.

    Only the one canonical decimal form is accepted, so a key has one spelling.
    """
    prefix, _, number = key.partition(":")
    kind = _KINDS.get(prefix)
    if kind is None or not number.isascii() or not number.isdecimal():
        return None
    if len(number) > 16 or (number[0] == "0" and number != "0"):
        return None
    return kind, int(number)


def address_of(key: str) -> tuple[Kind, int] | None:
    """Split a key that :func:`key_of` made, of any number; None for other keys."""
    prefix, _, number = key.partition(":")
    try:
        return _KINDS[prefix], int(number)
    except (KeyError, ValueError):
        return None


KeyT = TypeVar("KeyT")
ItemT = TypeVar("ItemT")

EMPTY_SET: Final[frozenset[Never]] = frozenset()
"""The one empty set that objects of all users refer to: each other one takes 216 bytes."""


class _NoItems(dict[object, object]):
    """An empty dictionary that stays empty."""

    __slots__ = ()

    def _refuse(self, *_: object) -> Never:
        raise TypeError("it is shared by all users")

    __setitem__ = setdefault = update = __ior__ = _refuse  # type: ignore[assignment] # they never return


LONG_AGO: Final = float("-inf")
"""The time before all others, as one object for all users: each ``-math.inf`` takes 32 bytes."""

NO_ITEMS: Final[Any] = _NoItems()
"""The one empty dictionary to which objects of all users refer until :func:`with_item`: each other one takes
64 bytes.
"""


def with_item(items: dict[KeyT, ItemT], key: KeyT, item: ItemT) -> dict[KeyT, ItemT]:
    """Store *item* in *items*, or in a new dictionary if there is none; return the dictionary."""
    if items is NO_ITEMS:
        return {key: item}
    items[key] = item
    return items


class SmallMap(MutableMapping[KeyT, ItemT]):
    """A mapping of mostly one item, which then takes a third of a dictionary's memory. No key is None."""

    __slots__ = ("_more", "only", "only_key")

    def __init__(self) -> None:
        self.only_key: KeyT | None = None
        """The key of the only item; None: there are several or none."""
        self.only: ItemT | None = None
        """Its value."""
        self._more: dict[KeyT, ItemT] | None = None
        """All items, while there are several."""

    def __getitem__(self, key: KeyT) -> ItemT:
        if self._more is not None:
            return self._more[key]
        if self.only_key == key:
            return cast("ItemT", self.only)
        raise KeyError(key)

    def __setitem__(self, key: KeyT, value: ItemT) -> None:
        if self._more is not None:
            self._more[key] = value
        elif self.only_key is None or self.only_key == key:
            self.only_key, self.only = key, value
        else:
            self._more = {self.only_key: self[self.only_key], key: value}
            self.only_key = self.only = None

    def __delitem__(self, key: KeyT) -> None:
        if self._more is not None:
            del self._more[key]
            if len(self._more) == 1:
                self.only_key, self.only = self._more.popitem()
                self._more = None
        elif self.only_key == key:
            self.only_key = self.only = None
        else:
            raise KeyError(key)

    def __iter__(self) -> Iterator[KeyT]:
        if self._more is not None:
            return iter(self._more)
        return iter(() if self.only_key is None else (self.only_key,))

    def __len__(self) -> int:
        if self._more is not None:
            return len(self._more)
        return 0 if self.only_key is None else 1

    def values(self) -> ValuesView[ItemT]:
        """Return the values; of many as fast as a dictionary's."""
        return super().values() if self._more is None else self._more.values()

    if not TYPE_CHECKING:

        def get(self, key: KeyT, default: ItemT | None = None) -> ItemT | None:
            """Return the value of *key*; a call less than the inherited method."""
            if self._more is not None:
                return self._more.get(key, default)
            return self.only if self.only_key == key else default


def with_few(items: SmallMap[KeyT, ItemT], key: KeyT, item: ItemT) -> SmallMap[KeyT, ItemT]:
    """Store *item* in *items*, or in a new map if that is :data:`NO_ITEMS`; return the map."""
    if items is NO_ITEMS:
        items = SmallMap()
    items[key] = item
    return items


TABLES_MOST: Final = 4
"""Kept tables of one step: links that have just opened, or are behind, differ from the others for a while."""
COPIED_FOR: Final = 64
"""A shared table is copied for all links that share it, if it has at most so many items for each change of
each link. Otherwise each link has a copy of its own from its next change on.
"""
ALONE_MOST: Final = 16
"""Steps for which a table that one link changes alone stays one to which others may come."""
COMPARED_FOR: Final = 16
"""Steps for which the tables of a new series are compared with those of others."""
OFFERS_MAX: Final = 64
"""Number of places in a pool for offered tables. At this limit all offers are forgotten."""
_SERIES: Final = count(1)
_SERIES_STEPS: Final = 2**40
"""Room for the steps of one series: with 30 a second for a thousand years."""


class SharedTable(Generic[ItemT]):
    """A table that several links hold. It is replaced instead of changed, unless one link holds it.

    A link that was freed is still counted, so the table may be copied once more than needed. The tables that
    come from one by steps are a series; those of links that took other steps may be in the same one.

    Args:
        items: The items.
        before: The table that it comes from by one step; None: it is the first of its series.
        changed_at: When each item changed last, by :attr:`clock`, if that is kept; those that are missing
            did not change since the first table of the series.
    """

    __slots__ = (
        "__weakref__", "alone", "changed_at", "clock", "expected", "holders", "is_taken", "items",
    )  # fmt: skip

    def __init__(
        self,
        items: dict[str, ItemT],
        before: SharedTable[ItemT] | None = None,
        changed_at: dict[str, int] | None = None,
    ) -> None:
        self.items: Final = items
        self.clock: Final[int] = next(_SERIES) * _SERIES_STEPS if before is None else before.clock + 1
        """Number of steps since the first table, plus one that no other series has."""
        self.changed_at = changed_at
        self.holders = 1
        self.expected = 0
        """Number of links that may still take it over: they held one before it, or may hold an equal one. At
        each step that no other link takes over it loses a quarter.
        """
        self.alone = 0
        """Number of the last steps for which one link changed it alone."""
        self.is_taken = False
        """Whether the items belong to one link, which changes them."""

    def leave(self) -> dict[str, ItemT]:
        """Return the items for one holder alone, which may change them."""
        self.holders -= 1
        if self.holders:
            return self.items.copy()
        self.is_taken = True
        return self.items

    def after(self, changes: dict[str, ItemT], *, is_alone: bool) -> SharedTable[ItemT]:
        """Return the table of one holder after *changes*; *is_alone*: no other one is expected to take it."""
        changed_at = self.changed_at
        if is_alone:
            made = SharedTable(self.leave(), self, changed_at)
            made.alone = self.alone + 1
            made.items.update(changes)
            if changed_at is not None:
                made.changed_at = changed_at if self.is_taken else changed_at.copy()
                made.changed_at.update(dict.fromkeys(changes, made.clock))
            return made
        self.holders -= 1
        made = SharedTable(self.items | changes, self)
        if changed_at is not None:
            made.changed_at = changed_at | dict.fromkeys(changes, made.clock)
        return made

    def comes_to(self, other: SharedTable[ItemT]) -> bool:
        """Return whether its holder may hold *other* instead, as both are equal after the same step.

        They are compared if both are as many steps from the first of their series, or if this series is new
        and several links hold the other one.
        """
        is_new = self.clock % _SERIES_STEPS < COMPARED_FOR and other.holders > 1
        if other.is_taken or not (self.clock == other.clock or is_new):
            return False
        return self.items == other.items and (
            self.clock != other.clock or self.changed_at == other.changed_at
        )


class NextTables(Generic[ItemT]):
    """The tables after one step, by the tables before it."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: list[tuple[SharedTable[ItemT], SharedTable[ItemT]]] = []

    def has_next(self, shared: SharedTable[ItemT] | None) -> bool:
        """Return whether the table after *shared* is known."""
        for before, _ in self._known:  # noqa: SIM110 - a call less for each event
            if before is shared:
                return True
        return False

    def apply(self, shared: SharedTable[ItemT], changes: dict[str, ItemT]) -> SharedTable[ItemT]:
        """Return the table of a link after the *changes* of the step. *shared*: its table before."""
        for before, after in self._known:
            if before is shared and not after.is_taken:
                shared.holders -= 1
                after.holders += 1
                return after
        expected = max(shared.holders, shared.expected * 3 // 4)
        is_worth = expected * len(changes) * COPIED_FOR >= len(shared.items)
        made = shared.after(changes, is_alone=expected == 1 or not is_worth)
        made.expected, is_known = expected, is_worth or not shared.holders
        for _, after in self._known:
            if (after.holders + 1) * len(changes) * COPIED_FOR >= len(made.items) and made.comes_to(after):
                after.holders += 1
                made, is_known = after, shared.holders > 0
                break
        if is_known:
            self._known.append((shared, made))
            del self._known[:-TABLES_MOST]
        return made

    def close(self) -> None:
        """Forget all."""
        self._known.clear()


class TablePool(Generic[ItemT]):
    """Tables that links offer to others with equal ones."""

    def __init__(self) -> None:
        self._offers: dict[tuple[str, int], tuple[weakref.ref[SharedTable[ItemT]], ...]] = {}
        """By name and number of items: several, since links may differ for a while."""

    def share(self, name: str, mine: SharedTable[ItemT], links: int) -> SharedTable[ItemT]:
        """Return an equal table of another link; if there is none, offer this one to others and return it.

        An offered table stays as it is for some steps: other links may come to it when this one has gone on.

        Args:
            name: What is in the table.
            mine: The table of the link.
            links: Number of links that may have an equal one.
        """
        place = name, len(mine.items)
        found = [offer() for offer in self._offers.get(place, ())]
        offers = [table for table in found if table is not None and not table.is_taken]
        for table in offers:
            if table is not mine and mine.holders <= max(1, table.holders) and table.items == mine.items:
                mine.leave()
                table.holders += 1
                return table
        if mine not in offers:
            mine.expected = max(mine.expected, links)
            if len(self._offers) >= OFFERS_MAX:
                self._offers.clear()
            self._offers[place] = tuple([weakref.ref(each) for each in (*offers, mine)[-TABLES_MOST:]])
        return mine


PACKED_MOST: Final = 64
"""Most numbers of a kind that are packed: unpacking these takes some 2 µs."""
_PACKED: Final = "I"
_PACKED_BYTES: Final = array(_PACKED).itemsize
_Numbers = bytes | frozenset[int]
"""Few numbers in order, packed, in a fifteenth of the memory of a set; many or large ones as they are."""


def _packed(numbers: frozenset[int]) -> _Numbers:
    if len(numbers) > PACKED_MOST:
        return numbers
    try:
        return array(_PACKED, sorted(numbers)).tobytes()
    except OverflowError:
        return numbers


def _unpacked(numbers: _Numbers) -> frozenset[int]:
    if isinstance(numbers, frozenset):
        return numbers
    return frozenset(memoryview(numbers).cast(_PACKED)) if numbers else EMPTY_SET


def _count(numbers: _Numbers) -> int:
    return len(numbers) if isinstance(numbers, frozenset) else len(numbers) // _PACKED_BYTES


class Scope:
    """The resources that a session may see, as OSCC-E granted them. It never changes.

    There is one for each user, so small sets are packed while nobody reads them. Read a set once, and then
    look up all numbers.
    """

    __slots__ = ("_agents", "_aggregates", "_groups", "_queues")

    def __init__(
        self,
        agents: frozenset[int] = EMPTY_SET,
        queues: frozenset[int] = EMPTY_SET,
        groups: frozenset[int] = EMPTY_SET,
        aggregates: frozenset[int] = EMPTY_SET,
    ) -> None:
        self._agents, self._queues = _packed(agents), _packed(queues)
        self._groups, self._aggregates = _packed(groups), _packed(aggregates)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Scope) and self._kept == other._kept

    def __hash__(self) -> int:
        return hash(self._kept)

    def __repr__(self) -> str:
        return f"Scope({', '.join(f'{topic}={self.of(kind)}' for kind, topic in TOPIC_OF_KIND.items())})"

    @property
    def _kept(self) -> tuple[_Numbers, ...]:
        return self._agents, self._queues, self._groups, self._aggregates

    @property
    def agents(self) -> frozenset[int]:
        """The numbers of the agents."""
        return _unpacked(self._agents)

    @property
    def queues(self) -> frozenset[int]:
        """The numbers of the queues."""
        return _unpacked(self._queues)

    @property
    def groups(self) -> frozenset[int]:
        """The numbers of the groups."""
        return _unpacked(self._groups)

    @property
    def aggregates(self) -> frozenset[int]:
        """The numbers of the aggregates."""
        return _unpacked(self._aggregates)

    def of(self, kind: Kind) -> frozenset[int]:
        """Return the numbers of *kind* in this scope."""
        if kind is QUEUE:
            return self.queues
        if kind is AGENT:
            return self.agents
        return self.groups if kind is Kind.GROUP else self.aggregates

    def by_kind(self) -> dict[Kind, frozenset[int]]:
        """Return the numbers of each kind, to look up many."""
        return {kind: self.of(kind) for kind in KINDS}

    @property
    def size(self) -> int:
        """Number of its resources."""
        return sum(map(_count, self._kept))


class Position(NamedTuple):
    """A place in one user's stream of changes. Positions order lexically."""

    epoch: int
    """The lease token under which the owner writes; the one number that fences everything."""
    seq: int
    """Changes recorded since the epoch began; 0 means none."""


@dataclass(frozen=True, slots=True)
class Device:
    """The phone as it described itself at log-on."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class User:
    """A person as OSCC-E describes them at log-on."""

    id: UserId
    login: str
    """The name for log-ons."""
    display_name: str


@dataclass(frozen=True, slots=True, repr=False)
class Ticket:
    """Content of a sealed token: its holder, and the OSCC-E session.

    The gateway stores none of it; it lives as long as the request or the connection that showed it. Its repr
    shows no secret.
    """

    user: UserId
    display_name: str
    application: Application
    secret: SessionSecret
    """Proves the session to OSCC-E."""
    session: SessionId
    device: Device
    notices: tuple[tuple[str, int], ...]
    """Acknowledged notices as (id, version)."""
    issued_at_ms: int
    """When the token was sealed: milliseconds since the epoch."""
    expires_at_ms: int
    idle_timeout_s: int
    """Seconds without a device after which OSCC-E ends the session; 0 is never."""
    server: str | None = None
    """The OSCC-E Server's instance at the log-on, if the server sends one."""

    def __repr__(self) -> str:
        return f"Ticket({self.application}, {self.handle})"

    @property
    def handle(self) -> str:
        """A short hash that identifies this session inside the gateway.

        Safe to store and to send to nodes.
        """
        return handle_of(self.user, self.session)


@lru_cache(maxsize=128)
def handle_of(user: UserId, session: SessionId) -> str:
    """Return :attr:`Ticket.handle`, which is computed once and stored.

    It includes the user, since two sites, or a site after a restart, may use the same session id.
    """
    name = f"{user.site}:{user.key}:{session}"
    return hashlib.blake2s(name.encode(), digest_size=8, person=b"session").hexdigest()


T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
def value(*, eq: bool = True, frozen: bool = True) -> Callable[[type[T]], type[T]]:
    """Make a class whose instances never change: a frozen dataclass to its users and the type checker.

    With *frozen* false they may change. They are structs of msgspec: made and compared in C, as each update
    makes some, and without the 16 bytes that the garbage collector needs. So none may refer back to itself.

    Raises:
        TypeError: The class has more than fields, which a struct would not get.
    """

    def make(of: type[T]) -> type[T]:
        own = {name for name in vars(of) if not name.startswith("__")}  # each class has others
        more = own - of.__annotations__.keys()
        if more:
            raise TypeError(f"{of.__name__} has more than fields: {', '.join(sorted(more))}")
        declared = dataclasses.fields(dataclasses.dataclass(eq=eq)(of))  # type: ignore[arg-type] # it is made one
        given = ["__doc__", "__repr__", "__dataclass_fields__"]
        if not all(each.compare for each in declared):
            given.append("__eq__")
        struct = msgspec.defstruct(
            of.__name__,
            [(each.name, each.type, _default(each)) for each in declared],
            module=of.__module__,
            namespace={name: vars(of)[name] for name in given},
            eq=eq,
            frozen=frozen,
            gc=False,
        )
        return cast("type[T]", struct)

    return make


class UntrackedStruct(msgspec.Struct, eq=False, gc=False):
    """Base of classes whose objects are made in C and compared by identity, as each update makes some.

    The garbage collector does not visit them, so nothing to which they refer may refer back to them.
    """

    def __repr__(self) -> str:
        """Show no data."""
        return object.__repr__(self)


if TYPE_CHECKING:
    changed = dataclasses.replace
else:
    changed = msgspec.structs.replace
    """Return a value with other fields, like :func:`dataclasses.replace`, in C."""


def _default(of: dataclasses.Field[Any]) -> Any:  # noqa: ANN401 - a field of any type
    if of.default_factory is not dataclasses.MISSING:
        return msgspec.field(default_factory=of.default_factory)
    return msgspec.NODEFAULT if of.default is dataclasses.MISSING else of.default


StateT = TypeVar("StateT")


class StateMachine(Generic[StateT]):
    """A state that changes only as a table of transitions allows."""

    __slots__ = ("state",)

    TABLE: ClassVar[Mapping[tuple[Any, str], Any]]
    """(State, event) → the next state."""
    state: StateT

    def _move(self, event: str) -> bool:
        """Change the state by *event*. False: the table has no such transition, and nothing changes."""
        target = self.TABLE.get((self.state, event))
        if target is None:
            return False
        self.state = target
        return True


_MASK_SHOWS: Final = 3


def masked(number: str) -> str:
    """Return a remote number with only its last three characters visible; a short one fully hidden."""
    hidden = len(number) - _MASK_SHOWS
    return "*" * hidden + number[hidden:] if hidden > 0 else "*" * _MASK_SHOWS


NAME_CHARS: Final = 128
"""For names of people and things."""
WORD_CHARS: Final = 64
"""For ids, units and words that stand for something."""
VALUE_CHARS: Final = 256
"""For values that users of a server may set, and texts of the server: presence, formulas."""

_SPACES: Final = "\t\n\v\f\r\x85\u2028\u2029"
_OVERRIDES: Final = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_INVISIBLE: Final = (
    *(0x00AD, 0x180E, 0x200B, 0xFEFF),
    *(*range(0x2060, 0x2065), *range(0x206A, 0x2070), *range(0xFFF9, 0xFFFC)),
)
"""Format characters that no spelling needs; joiners, direction marks and the tags of flags are needed."""
_DROPPED: Final[dict[int, str | None]] = {
    **dict.fromkeys((*range(0x20), *range(0x7F, 0xA0))),
    **dict.fromkeys(range(0xD800, 0xE000)),  # halves of characters, which no encoding can carry
    **dict.fromkeys((*map(ord, _OVERRIDES), *_INVISIBLE)),
    **dict.fromkeys(map(ord, _SPACES), " "),
}
_IGNORED: Final[dict[int, None]] = dict.fromkeys(
    (
        *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0),
        *(*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)),
    )
)
"""Invisible, but no format characters (Unicode, Default_Ignorable_Code_Point)."""


def normalised(name: str) -> str:
    """Return the one spelling of *name*: names that look alike, or differ in case or blanks, are equal.

    NFKC and case folding (Unicode, NFKC_Casefold); format characters are removed, blanks become one space.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    seen = "".join(each for each in folded if unicodedata.category(each) not in {"Cf", "Cs"})
    return " ".join(seen.translate(_IGNORED).split())


def has_controls(text: str) -> bool:
    """Return whether a text holds a control character, or one that breaks a line."""
    return any(unicodedata.category(each) in {"Cc", "Zl", "Zp", "Cs"} for each in text)


def readable(text: str, most: int = NAME_CHARS) -> str:
    """Return *text* in a printable form of at most *most* characters; line breaks become spaces."""
    if len(text) > most:
        # dropped characters may come first: read more than is kept, but within a bound
        text = text[: 2 * most]
    if not text.isprintable():
        text = text.translate(_DROPPED)
    return text[:most]


def readable_or_none(text: str | None, most: int = NAME_CHARS) -> str | None:
    """Return the printable form of a text; None for an unknown one, or one without printable characters."""
    if text and len(text) <= most and text.isprintable():
        return text
    return None if text is None else readable(text, most) or None
