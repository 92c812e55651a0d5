"""Every message of a link is read, and harmful ones are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import EndReason
from gateway.domain.model import Application, Kind, Right, Scope, SessionId, User, UserId
from gateway.domain.resources import FunctionState, LastEnd
from gateway.domain.upstream import (
    Attached,
    FunctionChanged,
    Opened,
    Reading,
    SessionEnded,
    Source,
)
from gateway.upstream.oscce.errors import WireError
from gateway.upstream.oscce.messages import (
    LARGE_CHARS,
    READ_AT_ONCE,
    LinkReader,
    MessageContent,
    Response,
    routing_state,
)
from gateway.upstream.oscce.readings import Readings
from tests.upstream import samples
from tests.upstream.samples import LINK_OPENED, TIME_MS, event, message

UP, DEGRADED, DOWN, UNKNOWN = (
    FunctionState.UP,
    FunctionState.DEGRADED,
    FunctionState.DOWN,
    FunctionState.UNKNOWN,
)


def reader() -> LinkReader:
    return LinkReader("main", Readings())


def read(text: str | bytes) -> MessageContent:
    return reader().read(text)


def test_the_opening_is_mapped_whole() -> None:
    (opened,) = read(json.dumps(LINK_OPENED))
    scope = Scope(frozenset({7, 8}), frozenset({3}), frozenset({4}), frozenset({5}))
    rights = frozenset({Right.OWN_ROUTING_STATE, Right.OWN_POST_PROCESSING})
    assert opened == Opened(
        time_ms=TIME_MS,
        keep_alive_s=20,
        user=User(UserId("main", 7), "ana", "Ana Agent"),
        attached=Attached(2, SessionId("public-1"), Application.REMOTE_ASSISTANT, rights, scope, 7),
        last_end=LastEnd("logged_off_by_supervisor", "Sue", 1_699_999_999_000),
    )


def test_an_opening_may_tell_less() -> None:
    session = {key: value for key, value in samples.SESSION.items() if key != "OwnUserKey"}
    received = {"User": {"Key": 7}, "Session": session, "LastEnd": {"Reason": "Boredom"}}
    (opened,) = read(json.dumps(LINK_OPENED | received))
    assert isinstance(opened, Opened)
    assert opened.user == User(UserId("main", 7), "7", "7")
    assert opened.attached.own_agent is None
    assert opened.last_end == LastEnd("unknown")


@pytest.mark.parametrize("odd", [{"Application": "Wallboard"}, {"Rights": None}, {"Rights": [None, 5, []]}])
def test_an_odd_session_is_one_that_may_do_less(odd: dict[str, Any]) -> None:
    (opened,) = read(json.dumps(LINK_OPENED | {"Session": samples.SESSION | odd}))
    assert isinstance(opened, Opened)
    known = opened.attached
    assert known.session == SessionId("public-1")
    assert known.application is (None if "Application" in odd else Application.REMOTE_ASSISTANT)
    assert bool(known.rights) is ("Rights" not in odd)


@pytest.mark.parametrize("scope", [None, {}, {"Users": None, "Queues": [None]}])
def test_nothing_is_seen_by_whose_scope_says_nothing(scope: dict[str, Any] | None) -> None:
    (opened,) = read(json.dumps(LINK_OPENED | {"Session": samples.SESSION | {"Scope": scope}}))
    assert isinstance(opened, Opened)
    assert opened.attached.scope == Scope()


def test_a_reading_is_mapped_with_its_query() -> None:
    elements = (samples.USER_REALTIME, samples.USER_REALTIME | {"UserKey": 8})
    (reading,) = read(event("UserRealtime", *elements, Complete=True, QueryID=4, Removed=[9]))
    assert isinstance(reading, Reading)
    assert (reading.query, reading.kind, reading.source) == (4, Kind.AGENT, Source.REALTIME)
    assert (reading.time_ms, reading.complete, reading.removed) == (TIME_MS, True, (9,))
    assert [part.number for part in reading.parts] == [7, 8]


def test_configuration_covers_several_kinds() -> None:
    elements = (samples.USER_CONFIGURATION, samples.QUEUE_CONFIGURATION, samples.GROUP_CONFIGURATION)
    (reading,) = read(event("Configuration", *elements))
    assert isinstance(reading, Reading)
    assert (reading.kind, reading.source, reading.complete) == (None, Source.CONFIGURATION, False)
    assert [part.kind for part in reading.parts] == [Kind.AGENT, Kind.QUEUE, Kind.GROUP]


LARGE = tuple(samples.USER_REALTIME | {"UserKey": key} for key in range(1, 501))


def test_a_large_reading_is_read_in_slices_and_says_the_same() -> None:
    text = event("UserRealtime", *LARGE, Complete=True, QueryID=4).decode()
    pool = Readings()
    one, other = LinkReader("main", pool), LinkReader("main", pool)
    assert len(text) > LARGE_CHARS
    assert one.peek(text) is None, "it would be read at once"
    steps, parsed = [], []
    for step in one.slices(text):
        steps.append(step)
        parsed.append(pool.parsed)
    assert steps[:-1] == [None] * (len(steps) - 1)
    assert max(after - before for before, after in pairwise([0, *parsed])) <= READ_AT_ONCE
    assert repr(steps[-1]) == repr(read(text))
    assert (other.peek(text),) == steps[-1], "another link received the same"
    assert list(other.slices(text)) == [steps[-1]]
    assert pool.parsed == len(LARGE)


@pytest.mark.parametrize("odd", [{"UserKey": "x"}, {"RoutingState": 10**400}, {"Handling": "no list"}])
def test_a_large_reading_that_is_odd_is_as_odd_in_slices(odd: dict[str, Any]) -> None:
    text = event("UserRealtime", *LARGE, samples.USER_REALTIME | odd).decode()

    def outcome(said: Callable[[], MessageContent]) -> str:
        try:
            return repr(said())
        except WireError as error:
            return str(error)

    assert outcome(lambda: [*reader().slices(text)][-1] or ()) == outcome(lambda: read(text))


def test_a_large_message_that_is_no_reading_is_read_too() -> None:
    text = json.dumps({"Type": "Response", "RequestID": 3, "Filler": "x" * LARGE_CHARS})
    assert [*reader().slices(text)] == [read(text)]


@pytest.mark.parametrize("change", [{"Removed": None}, {"Elements": []}, {"Further": {"A": [1]}}])
def test_fields_may_be_absent_empty_or_unknown(change: dict[str, Any]) -> None:
    (reading,) = read(event("UserRealtime", **change))
    assert isinstance(reading, Reading)
    assert (reading.parts, reading.removed) == ((), ())


def test_types_and_event_types_of_no_page_are_ignored() -> None:
    assert read(message("Weather", Token="mild")) == ()
    assert read(event("WeatherRealtime", {"Sky": "blue"})) == ()


def test_an_answer_is_kept_for_those_who_have_the_request() -> None:
    text = message("Response", RequestID=5, Error=0, QueryID=1)
    assert read(text) == (Response(5, text),)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("LoggedOff", EndReason.LOGGED_OFF),
        ("LoggedOffBySupervisor", EndReason.LOGGED_OFF_BY_SUPERVISOR),
        ("Expired", EndReason.EXPIRED),
        ("Blocked", EndReason.BLOCKED),
        ("Maintenance", EndReason.MAINTENANCE),
        ("TakenOver", EndReason.TAKEN_OVER),
        ("Boredom", EndReason.UNKNOWN),
    ],
)
def test_a_session_ends_for_a_reason(name: str, reason: EndReason) -> None:
    assert read(message("SessionEnded", Session=2, Reason=name, By="Sue")) == (
        SessionEnded(2, reason, "Sue"),
    )


@pytest.mark.parametrize(
    ("function", "state", "said"),
    [
        ("RealTime", "Degraded", ("realtime", DEGRADED)),
        ("Historical", "Degraded", ("historical", DEGRADED)),
        ("Voice", "Degraded", ("voice", DEGRADED)),
        ("Voice", "Up", ("voice", UP)),
        ("Voice", "Down", ("voice", DOWN)),
        ("Voice", "Sideways", ("voice", UNKNOWN)),
        ("Email", "Degraded", ("email", DEGRADED)),
        ("Callback", "Degraded", ("callback", DEGRADED)),
        ("WebCollaboration", "Degraded", ("web_collaboration", DEGRADED)),
        ("AdministrationDatabase", "Degraded", ("administration", DEGRADED)),
        ("RemoteAgent", "Degraded", ("remote_agent", DEGRADED)),
        ("LocalRouting", "Degraded", ("routing", DEGRADED)),
        ("NetworkRouting", "Degraded", ("routing", DEGRADED)),
        ("Clairvoyance", "Down", None),
    ],
)
def test_functions_have_the_names_of_the_site(
    function: str, state: str, said: tuple[Any, FunctionState] | None
) -> None:
    received = read(message("ManagerStateChanged", Manager="Any", Function=function, State=state))
    assert received == (() if said is None else (FunctionChanged(*said),))


@pytest.mark.parametrize(
    ("local", "network", "routing"),
    [
        (UP, None, UP),
        (None, DOWN, DOWN),
        (None, None, UNKNOWN),
        (UP, UP, UP),
        (UP, DOWN, DEGRADED),
        (UP, DEGRADED, DEGRADED),
        (UP, UNKNOWN, UP),
        (DOWN, UP, DOWN),
        (DEGRADED, DOWN, DEGRADED),
    ],
)
def test_local_routing_decides_and_the_network_degrades(
    local: FunctionState | None, network: FunctionState | None, routing: FunctionState
) -> None:
    assert routing_state(local, network) is routing


def test_a_link_remembers_both_kinds_of_routing() -> None:
    link = reader()
    states = []
    for function, state in (("NetworkRouting", "Down"), ("LocalRouting", "Up"), ("NetworkRouting", "Up")):
        text = message("ManagerStateChanged", Manager="Routing", Function=function, State=state)
        (changed,) = link.read(text)
        assert isinstance(changed, FunctionChanged)
        states.append(changed.state)
    assert states == [DOWN, DEGRADED, UP]


UNREADABLE = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'{"Type":5}',
    b'{"NoType":1}',
    b'"\xff"',
    b'{"Type":"Event","EventType":"\xff"}',
    b"[" * 100_000,
    event("UserRealtime", {"NoKey": 1}),
    event("UserRealtime", Time=-1),
    event("UserRealtime", Time=2**53),
    event("UserRealtime", Time=1.5),
    event("UserRealtime", Removed=["7"]),
    event("UserRealtime", Elements={}),
    event("Administration", {"ObjectType": "User"}),
    message("Response", RequestID="1"),
    message("Response"),
    message("SessionEnded", Session=1),
    message("LinkReplaced"),
    message("ManagerStateChanged", Function="Voice"),
    json.dumps(LINK_OPENED | {"KeepAlive": 0}),
    '{"Type":"Notice","Text":"\ud800"}',
]


@pytest.mark.parametrize("text", UNREADABLE, ids=range(len(UNREADABLE)))
def test_what_cannot_be_read_is_an_error(text: str | bytes) -> None:
    with pytest.raises(WireError):
        read(text)


def test_an_error_has_the_place_and_no_value() -> None:
    wrong = samples.USER_REALTIME | {"UserKey": "+49891234"}
    with pytest.raises(WireError) as error:
        read(event("UserRealtime", wrong))
    assert "UserKey" in str(error.value)
    assert "+49891234" not in str(error.value)
    assert error.value.__suppress_context__


@pytest.mark.parametrize("said", ["canary", "a' - at `b", "\n", "\x1b[2J"])
def test_nor_does_it_tell_what_is_not_of_a_closed_set(said: str) -> None:
    with pytest.raises(WireError) as error:
        read('{"Type": ' + json.dumps(said) + ', "Type": 1}')
    assert str(error.value) == "Invalid value - at `$.Type`"


# ---- hostile input: nothing but WireError, whatever comes ----

_SAMPLES = (
    *((name, sample) for name, sample in (
        ("UserRealtime", samples.USER_REALTIME),
        ("QueueRealtime", samples.QUEUE_REALTIME),
        ("GroupRealtime", samples.GROUP_REALTIME),
        ("AggregateRealtime", samples.AGGREGATE_REALTIME),
        ("UserCumulative", samples.USER_CUMULATIVE),
        ("QueueCumulative", samples.QUEUE_CUMULATIVE),
        ("Configuration", samples.QUEUE_CONFIGURATION),
        ("Administration", {"ObjectType": "User", "Key": 7, "Change": "Added", "Object": samples.USER}),
    )),
)  # fmt: skip
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.sampled_from([2**53, -1, 1e308, "Talking", "User", "Available"])
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def harmless(text: str | bytes) -> None:
    try:
        read(text)
    except WireError:
        return


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_harmless(text: bytes) -> None:
    harmless(text)


@given(_JSON)
def test_arbitrary_json_is_harmless(value: object) -> None:
    harmless(json.dumps(value))


@given(st.data())
def test_messages_with_any_field_replaced_are_harmless(data: st.DataObject) -> None:
    name, sample = data.draw(st.sampled_from(_SAMPLES))
    changed = json.loads(json.dumps(sample))
    holder = changed
    while True:
        key = data.draw(st.sampled_from(sorted(holder)))
        if not (isinstance(holder[key], dict) and holder[key] and data.draw(st.booleans())):
            break
        holder = holder[key]
    holder[key] = data.draw(_JSON)
    further = data.draw(st.dictionaries(st.sampled_from(["Time", "QueryID", "Removed", "Complete"]), _JSON))
    harmless(event(name, changed, **further))


@given(st.sampled_from(["LinkOpened", "SessionEnded", "ManagerStateChanged", "LinkReplaced"]), st.data())
def test_control_messages_with_any_fields_are_harmless(type_: str, data: st.DataObject) -> None:
    names = sorted({*LINK_OPENED, "Session", "Reason", "Function", "State", "Token"} - {"Type"})
    fields = data.draw(st.dictionaries(st.sampled_from(names), _JSON))
    base = LINK_OPENED if data.draw(st.booleans()) else {}
    harmless(json.dumps({**base, **fields, "Type": type_}))
