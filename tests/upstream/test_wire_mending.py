"""Tolerated deviations of servers are read as meant; nothing else is changed."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.commands import AttachSession, Directory, QueryDirectory
from gateway.domain.errors import ErrorCode
from gateway.domain.model import SessionSecret
from gateway.domain.resources import Agent, QueueFigures
from gateway.domain.upstream import Attached, Reading
from gateway.upstream.oscce import http
from gateway.upstream.oscce.decode import SHAPES
from gateway.upstream.oscce.errors import WireError, as_meant, read_as_meant
from gateway.upstream.oscce.messages import LinkReader, MessageContent, answer
from gateway.upstream.oscce.readings import Readings
from tests.upstream.samples import LINK_OPENED, SESSION, TIME_MS, USER, USER_REALTIME, event

_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


def read(text: str | bytes) -> MessageContent:
    return LinkReader("main", Readings()).read(text)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ('{"a":10.0}', '{"a":10}'),
        ("[1E2,1e+2,-1.5e1,-0.0]", "[100,100,-15,0]"),
        ("[2.5,1e308,9007199254740992.0,1e-3]", None),
        ('["10.0","1E2","\\"1.0"]', None),
        (r'["\ud800x"]', r'["\u0000x"]'),
        (r'["\uDC00\ud83d\ude00\ud83d"]', r'["\u0000\ud83d\ude00\u0000"]'),
        (r'["\\ud800","\\\ud800"]', r'["\\ud800","\\\u0000"]'),
        ('["\ud83d', None),
        ('"\\', None),
        ("[12345]", None),
        ("[1.0.0,01.0,--1.0,1.0e,1.e1,+1.0]", None),
    ],
)
def test_numbers_and_halves_of_characters_are_rewritten(written: str, meant: str | None) -> None:
    assert as_meant(written) == meant


@given(_JSON)
def test_nothing_means_anything_else_than_before(value: Any) -> None:  # noqa: ANN401 - JSON
    written = json.dumps(value)
    assert json.loads(as_meant(written) or written) == json.loads(written)


@given(st.binary(max_size=60) | st.text(alphabet='"\\u{}[],:dD8c0.eE-1', max_size=60).map(str.encode))
def test_whatever_comes_is_harmless(received: bytes) -> None:
    as_meant(received)


@pytest.mark.parametrize(
    "flood", ["1" * 400_000, '"\\' * 200_000, '\\"' * 200_000, "1." * 200_000, "\\u" * 200_000]
)
def test_a_flood_is_looked_through_once(flood: str) -> None:
    as_meant(flood)
    as_meant(f'"{flood}')


def test_what_cannot_be_read_either_way_is_unreadable() -> None:
    with pytest.raises(msgspec.ValidationError):
        read_as_meant(lambda text: msgspec.json.decode(text, type=int), "2.5")


# ---- where it is used ----


def test_integers_of_an_element_may_be_written_as_numbers() -> None:
    text = (
        event("QueueRealtime")
        .decode()
        .replace("[]", '[{"QueueKey":52.0,"Contacts":1E2,"ServiceLevel":87.5}]')
    )
    (reading,) = read(text)
    assert isinstance(reading, Reading)
    (part,) = reading.parts
    assert (part.number, part.value) == (52, QueueFigures(contacts_waiting=100, service_level_pct=87.5))


@pytest.mark.parametrize(
    "element", [{"QueueKey": 52.5}, {"QueueKey": "52"}, {"QueueKey": 52, "Contacts": "1.0"}]
)
def test_an_element_of_the_wrong_kind_stays_unreadable(element: dict[str, Any]) -> None:
    with pytest.raises(WireError):
        read(event("QueueRealtime", element))


def test_an_opening_and_answers_are_read_as_meant() -> None:
    assert read(json.dumps(LINK_OPENED | {"LinkID": "\ud800"})) == read(json.dumps(LINK_OPENED))
    received = {"Type": "Response", "RequestID": 1, "Error": 0.0}
    found = answer(
        AttachSession(SessionSecret("s")), json.dumps(received | SESSION | {"Session": 2.0}), Readings()
    )
    assert isinstance(found, Attached)
    assert found.alias == 2
    body = json.dumps(received | {"Objects": {"User": [USER | {"FirstName": "\udfffAna"}]}})
    directory = answer(QueryDirectory(), body, Readings())
    assert isinstance(directory, Directory)
    agent = directory.parts[0].value
    assert isinstance(agent, Agent)
    assert agent.display_name == "Ana Agent"


def test_http_bodies_are_read_as_meant() -> None:
    user = {"Key": 7.0, "ID": "ana", "FirstName": "A\ud800na", "LastName": "Agent"}
    received = {"SessionID": "secret", "ID": "p", "ExpiresAt": 1.7e12, "IdleTimeout": 60, "User": user}
    logged_on = http.logged_on(json.dumps(received).encode(), 0, "main")
    assert (logged_on.user.display_name, logged_on.expires_at_ms) == ("Ana Agent", 1_700_000_000_000)
    refused = json.dumps({"Error": "AlreadyLoggedOn", "Where": "\ud800Desk"}).encode()
    error = http.refused(409, refused, of_session=False)
    assert (error.code, error.details["where"]) == (ErrorCode.ALREADY_LOGGED_ON, "Desk")
    assert http.stale_token(b'{"Error":"LinkStale","Token":7.0}') == 7


@pytest.mark.parametrize("giant", ["9007199254740993", "1e300", "1e400", "-1e16", "1" * 40, "1" * 5000])
def test_a_figure_beyond_all_bounds_is_unknown_and_counted(giant: str) -> None:
    pool = Readings()
    element = f'{{"QueueKey": 3, "Contacts": {giant}, "OldestContactWaitTime": {giant}, "WorkUsers": 2.0}}'
    message = (
        '{"Type": "Event", "QueryID": 1, "EventType": "QueueRealtime", "Time": 1700000000000,'
        f' "Complete": true, "Elements": [{element}, {{"QueueKey": 4, "Contacts": 7}}]}}'
    )
    (reading,) = LinkReader("main", pool).read(message)
    assert isinstance(reading, Reading)
    first, second = (part.value for part in reading.parts)
    assert first == QueueFigures(agents_work=2)
    assert second == QueueFigures(contacts_waiting=7)
    assert pool.giants == 2


def test_a_figure_deep_in_an_element_is_dropped_alone() -> None:
    pool = Readings()
    states = [{"HandlingState": "Talking", "TimeInHandlingState": 1e300, "CallID": "c", "Media": "Voice"}]
    written = json.dumps([USER_REALTIME | {"HandlingStates": states}])
    raws = msgspec.json.decode(written, type=tuple[msgspec.Raw, ...])
    (part,) = pool.parts(SHAPES["UserRealtime"], TIME_MS, raws)
    assert isinstance(part.value, Agent)
    assert part.value.handling is not None
    assert [(each.state, each.since_ms) for each in part.value.handling] == [("talking", None)]
    assert pool.giants == 1


@pytest.mark.parametrize("key", ["9007199254740993", "1e300", "-1", '"x"'])
def test_a_key_that_is_none_stays_unreadable(key: str) -> None:
    message = (
        '{"Type": "Event", "QueryID": 1, "EventType": "QueueRealtime", "Time": 1700000000000,'
        f' "Elements": [{{"QueueKey": {key}, "Contacts": 1e300}}]}}'
    )
    with pytest.raises(WireError):
        LinkReader("main", Readings()).read(message)
