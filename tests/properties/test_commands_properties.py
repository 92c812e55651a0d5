"""A command means the same in every encoding, or is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import astuple, replace
from typing import Any

import msgpack  # type: ignore[import-untyped]  # ships no types
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.core.commands import fingerprint
from gateway.domain.commands import Command, SetRoutingState
from gateway.domain.model import NodeId, UserId
from gateway.protocol.codec import JSON, MSGPACK, BadFrame
from gateway.protocol.envelopes import BadEnvelope, CallRequest, decode, encode
from gateway.protocol.frames import CommandFrame
from tests.protocol import strategies as any_of

ASKED = CommandFrame("c1", "0b7b0a3e-6a1c-4c1e-9a52-3f0f3c0a7f10", "1.x", 5, SetRoutingState("work"))


def said(command: Command) -> tuple[str, str]:
    """Return a text in which 5, 5.0 and True differ, which ``==`` does not tell apart."""
    return type(command).__name__, repr(astuple(command))


def plain(command: Command) -> dict[str, Any]:
    """Return a frame with the command as a client of another language would write it."""
    frame: dict[str, Any] = json.loads(JSON.encode(replace(ASKED, command=command)))
    return frame


def read(frame: dict[str, Any]) -> list[Command | None]:
    """Return what either encoding reads; None when it refuses."""
    found: list[Command | None] = []
    for codec, data in ((JSON, json.dumps(frame).encode()), (MSGPACK, msgpack.packb(frame))):
        try:
            of = codec.decode_client(data)
        except BadFrame:
            found.append(None)
        else:
            found.append(of.command if isinstance(of, CommandFrame) else None)
    return found


def passed_on(command: Command) -> Command | None:
    """Return what another node reads; None when it refuses."""
    request = CallRequest(UserId("main", 7), NodeId("a"), 1, any_of.call("k", command))
    try:
        came = decode(encode(request))
    except BadEnvelope:
        return None
    return came.call.command if isinstance(came, CallRequest) else None


@given(command=any_of.commands)
def test_a_command_means_the_same_to_every_reader(command: Command) -> None:
    received = [one and said(one) for one in (*read(plain(command)), passed_on(command))]
    assert received == [said(command)] * 3


def shuffled(value: Any, draw: st.DataObject) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Return a value whose objects have their members in another order."""
    if isinstance(value, dict):
        names = draw.draw(st.permutations(list(value)))
        return {name: shuffled(value[name], draw) for name in names}
    return [shuffled(member, draw) for member in value] if isinstance(value, list) else value


@given(command=any_of.commands, data=st.data())
def test_an_equal_command_has_an_equal_fingerprint(command: Command, data: st.DataObject) -> None:
    found = [one and fingerprint(one) for one in read(shuffled(plain(command), data))]
    assert found == [fingerprint(command)] * 2


@given(one=any_of.commands, other=any_of.commands)
def test_another_command_has_another_fingerprint(one: Command, other: Command) -> None:
    assert (fingerprint(one) == fingerprint(other)) == (said(one) == said(other))


def scalars(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield where the scalars of a plain command are that have one type only."""
    if isinstance(value, dict):
        for name, member in value.items():
            if path[-1:] != ("changes",):  # the values of parameters, which have many
                yield from scalars(member, (*path, name))
    elif isinstance(value, list):
        for place, member in enumerate(value):
            yield from scalars(member, (*path, place))
    elif value is not None:
        yield path


def lookalikes(value: object) -> list[object]:
    """Return values that a lenient reader would take for *value*."""
    match value:
        case bool():
            return [int(value), str(value).lower(), "on" if value else "off", float(value)]
        case int():
            return [float(value), str(value), f" {value}", *([bool(value)] if value in {0, 1} else [])]
        case str():
            return [5, True, [value], {"": value}, 5.0]
        case _:
            raise AssertionError(f"{value!r} is no scalar of a command")


@given(command=any_of.commands, data=st.data())
def test_what_looks_like_a_value_is_none(command: Command, data: st.DataObject) -> None:
    frame = plain(command)
    places = list(scalars(frame["command"]))
    assume(places)
    *way, last = data.draw(st.sampled_from(places))
    holder = frame["command"]
    for step in way:
        holder = holder[step]
    holder[last] = data.draw(st.sampled_from(lookalikes(holder[last])))
    assert read(frame) == [None, None]


MEMBERS = st.dictionaries(st.just("later") | st.just("Kind"), any_of.PLAIN, min_size=1)


@given(command=any_of.commands, more=MEMBERS)
def test_unknown_members_say_nothing(command: Command, more: dict[str, object]) -> None:
    frame = plain(command)
    changes = frame["command"].get("changes")
    if isinstance(changes, list):
        frame["command"]["changes"] = [more | change for change in changes]
    frame["command"] = more | frame["command"]
    assert [one and said(one) for one in read(frame)] == [said(command)] * 2
