"""Values that a type of the protocol can have: strategies made from the types themselves."""

from __future__ import annotations

import enum
import types
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, NewType, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from gateway.domain.commands import Call, Command
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import Scope
from gateway.domain.resources import RESOURCES, Resource
from gateway.protocol import envelopes, frames

Strategy = st.SearchStrategy[Any]

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
INTEGERS = st.integers(-frames.INT_MAX, frames.INT_MAX)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | INTEGERS | FLOATS | TEXT
PLAIN = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
"""Whatever JSON and msgpack can both say."""


def of(hint: Any) -> Strategy:  # noqa: ANN401 - types of types have no common type
    """Return a strategy for the values of *hint*; pydantic's bounds are kept."""
    origin = get_origin(hint)
    if origin is Annotated:
        return _bounded(*get_args(hint))
    if origin in (Union, types.UnionType):
        return st.one_of([of(member) for member in get_args(hint)])
    if origin is Literal:
        return st.sampled_from(get_args(hint))
    if origin in _GENERIC:
        return _GENERIC[origin](*get_args(hint))
    if isinstance(hint, NewType):
        return of(hint.__supertype__)
    if hint in _PLAIN:
        return _PLAIN[hint]
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return st.sampled_from(hint)
    return built(hint)


_PLAIN: dict[object, Strategy] = {
    str: TEXT, bool: st.booleans(), int: INTEGERS, float: FLOATS, bytes: st.binary(max_size=8),
    type(None): st.none(), Any: PLAIN,
}  # fmt: skip
_GENERIC: dict[object, Callable[..., Strategy]] = {
    tuple: lambda *members: (
        st.lists(of(members[0]), max_size=3).map(tuple)
        if members[-1] is Ellipsis
        else st.tuples(*map(of, members))
    ),
    list: lambda member: st.lists(of(member), max_size=3),
    frozenset: lambda member: st.frozensets(of(member), max_size=3),
    dict: lambda key, member: st.dictionaries(of(key), of(member), max_size=3),
    Mapping: lambda key, member: st.dictionaries(of(key), of(member), max_size=3),
}


def built(cls: Callable[..., Any]) -> Strategy:
    """Return a strategy for a dataclass or NamedTuple whose fields all take any value of their types."""
    if cls is GatewayError:
        return ERRORS
    if cls is Scope:  # it declares no fields
        return SCOPES
    hints = {name: hint for name, hint in get_type_hints(cls, include_extras=True).items() if _is_field(hint)}
    return st.builds(cls, **{name: of(hint) for name, hint in hints.items() if name != "kind" or _open(hint)})


def _is_field(hint: object) -> bool:
    return get_origin(hint) is not typing.ClassVar


def _open(hint: object) -> bool:
    """Tell a `kind` that is a value (of a reason) from one that names its type."""
    return len(get_args(hint)) != 1


def _bounded(hint: object, *metadata: object) -> Strategy:
    """Keep the bounds that pydantic's ``Field`` sets."""
    bounds: dict[str, Any] = {}
    for mark in metadata:
        for bound in getattr(mark, "metadata", ()):
            bounds |= {
                name: getattr(bound, name) for name in _BOUNDS if getattr(bound, name, None) is not None
            }
    if "pattern" in bounds:
        return st.uuids().map(str)
    if hint is str:
        return st.text(
            st.characters(exclude_categories=["Cs"]),
            min_size=bounds.get("min_length", 0),
            max_size=min(8, bounds.get("max_length", 8)),
        )
    if hint is int:
        return st.integers(bounds["ge"], bounds["le"])
    if hint is float:
        return st.floats(bounds["ge"], bounds["le"])
    return of(hint)


_BOUNDS = ("ge", "le", "min_length", "max_length", "pattern")

DETAILS = st.dictionaries(
    st.sampled_from(["function", "minimum", "where", "since_ms", "notices", "upstream_code"]),
    st.none()
    | st.booleans()
    | INTEGERS
    | FLOATS
    | TEXT
    | st.lists(st.dictionaries(TEXT, TEXT, max_size=2), max_size=2),
    max_size=3,
)
ERRORS: Strategy = st.builds(
    lambda code, message, retry_after_s, details: GatewayError(
        code, message, retry_after_s=retry_after_s, **details
    ),
    st.sampled_from(ErrorCode),
    TEXT,
    st.none() | FLOATS,
    DETAILS,
)

_IDS = st.frozensets(INTEGERS | st.integers(0, 9), max_size=3)
SCOPES: Strategy = st.builds(Scope, _IDS, _IDS, _IDS, _IDS)

RESOURCE_TYPES = sorted(set(RESOURCES.values()), key=lambda cls: cls.__name__)
resources: st.SearchStrategy[Resource] = st.one_of([built(cls) for cls in RESOURCE_TYPES])
"""A value of any kind of resource."""

COMMAND_TYPES: tuple[type[Command], ...] = get_args(Command)
commands: st.SearchStrategy[Command] = st.sampled_from(COMMAND_TYPES).flatmap(built)
"""A command of any kind, each as often as the others."""

client_frames: st.SearchStrategy[frames.ClientFrame] = of(frames.ClientFrame)
Written = frames.ControlFrame | frames.Ping
"""What the gateway writes whole; `changes` is spliced."""
written_by_gateway: st.SearchStrategy[Written] = of(Written)


def _update(key: str) -> st.SearchStrategy[envelopes.PublishedValue]:
    value = built(envelopes.SessionFacts) if key.startswith("session:") else built(_value_type(key))
    return st.builds(envelopes.PublishedValue, st.just(key), INTEGERS, st.none() | value)


def _value_type(key: str) -> type[Resource]:
    return RESOURCES.get(key) or RESOURCES[key.partition(":")[0]]


RESOURCE_KEYS = (
    "agent:5", "queue:7", "group:1", "aggregate:2", "site", "me",
    "catalogue:skills", "catalogue:reasons", "catalogue:routing_parameters",
)  # fmt: skip
LEDGER_KEYS = (*(key for key in RESOURCE_KEYS if key != "me"), "me:0f3c", "session:0f3c")
updates = st.lists(st.one_of([_update(key) for key in LEDGER_KEYS]), max_size=4).map(tuple)
publications: st.SearchStrategy[envelopes.Publication] = st.builds(
    envelopes.Publication,
    **{name: of(hint) for name, hint in get_type_hints(envelopes.Publication).items() if name != "updates"},
    updates=updates,
)
together: st.SearchStrategy[envelopes.Publications] = st.builds(
    envelopes.Publications, st.lists(publications, max_size=3).map(tuple)
)
every_envelope: st.SearchStrategy[envelopes.Envelope] = st.one_of(
    publications,
    together,
    *(
        built(cls)
        for cls in get_args(envelopes.Envelope)
        if cls not in {envelopes.Publication, envelopes.Publications}
    ),
)


def call(key: str, command: Command) -> Call:
    """Return a call that says nothing in particular."""
    return Call(key, "0f", command, None, retry=False, deadline_ms=5)
