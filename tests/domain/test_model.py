"""Identities: one spelling, and no secret in their text."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.commands import AttachSession
from gateway.domain.model import (
    ALWAYS,
    DEFAULT_TOPICS,
    KEYS_SHARED_MAX,
    KIND_OF_TOPIC,
    PACKED_MOST,
    TOPIC_OF_KIND,
    Application,
    Device,
    Kind,
    Position,
    Scope,
    SessionId,
    SessionSecret,
    SmallMap,
    User,
    UserId,
    key_of,
    keys_shared,
    parse_key,
    value,
)
from gateway.domain.resources import Agent
from gateway.domain.upstream import LoggedOn, LogOn, Part, Source
from tests.doubles.tickets import ticket as made_ticket

TICKET = made_ticket(
    UserId("main", 7),
    "public-1",
    secret="canary-secret",
    name="Ann Archer",
    device=("canary-device", "Ann's phone"),
    notices=(("terms", 2),),
)


def test_equal_keys_are_one_object_for_all_resources_of_a_large_site_and_their_number_is_bounded() -> None:
    first = [key_of(Kind.QUEUE, number) for number in range(5_000)]
    assert all(key_of(Kind.QUEUE, number) is first[number] for number in range(5_000))
    for number in range(KEYS_SHARED_MAX + 10):
        key_of(Kind.AGENT, number)
    assert keys_shared() <= KEYS_SHARED_MAX


@given(kind=st.sampled_from(Kind), number=st.integers(0, 10**16 - 1))
def test_a_key_is_parsed_to_what_it_was_made_of(kind: Kind, number: int) -> None:
    assert parse_key(key_of(kind, number)) == (kind, number)


@pytest.mark.parametrize(
    "text",
    [
        *("", "agent", "agent:", "agent:-1", "agent:+1", "agent:01", "agent: 1", "agent:1 ", "agent:1.0"),
        *("agent:1_0", "agent:٣", "agent:²", "Agent:1", "agents:1", "agent:1:2", "site", "me:1", ":1"),
        "agent:10000000000000000",
    ],
)
def test_no_other_spelling_is_a_key(text: str) -> None:
    assert parse_key(text) is None


@given(text=st.text(max_size=12) | st.text(alphabet="agentqu:0123456789", max_size=12))
def test_whatever_parses_is_spelt_as_it_was(text: str) -> None:
    parsed = parse_key(text)
    assert parsed is None or key_of(*parsed) == text


def test_topics_name_kinds_and_every_application_has_its_own() -> None:
    assert {kind: KIND_OF_TOPIC[topic] for kind, topic in TOPIC_OF_KIND.items()} == {k: k for k in Kind}
    assert DEFAULT_TOPICS.keys() == set(Application)
    assert set(DEFAULT_TOPICS[Application.DASHBOARD]) == set(KIND_OF_TOPIC)
    assert set(DEFAULT_TOPICS[Application.REMOTE_ASSISTANT]) == {"agents", "queues"}


def test_what_every_session_sees_is_no_resource_of_a_scope() -> None:
    assert [parse_key(key) for key in sorted(ALWAYS)] == [None] * len(ALWAYS)
    assert len(ALWAYS) == 4


def test_a_scope_separates_the_kinds() -> None:
    scope = Scope(frozenset({1}), frozenset({2, 3}), frozenset({4, 5, 6}), frozenset({7, 8, 9, 10}))
    assert [len(scope.of(kind)) for kind in (Kind.AGENT, Kind.QUEUE, Kind.GROUP, Kind.AGGREGATE)] == [
        *(1, 2, 3, 4)
    ]
    assert scope.size == 10
    assert scope.by_kind() == {kind: scope.of(kind) for kind in Kind}
    assert Scope().size == 0


@pytest.mark.parametrize(
    "numbers",
    [{0}, {7, 2**32 - 1}, {1, 2**32}, {3, 2**53 - 1}, set(range(PACKED_MOST)), set(range(PACKED_MOST + 1))],
)
def test_a_scope_holds_few_and_many_small_and_large_numbers(numbers: set[int]) -> None:
    scope = Scope(queues=frozenset(numbers))
    assert scope.queues == scope.of(Kind.QUEUE) == numbers
    assert (scope.agents, scope.size) == (frozenset(), len(numbers))
    same = Scope(queues=frozenset(sorted(numbers, reverse=True)))
    assert (same, hash(same)) == (scope, hash(scope))
    assert scope not in (Scope(agents=frozenset(numbers)), Scope(queues=frozenset({*numbers, 99})))


def test_many_numbers_are_one_set_for_all_scopes() -> None:
    many = frozenset(range(PACKED_MOST + 1))
    assert Scope(queues=many).queues is Scope(agents=many).agents is many


def test_positions_order_by_epoch_before_seq() -> None:
    assert Position(1, 99) < Position(2, 0) < Position(2, 1)


def test_a_ticket_shows_no_secret_and_nobodys_name() -> None:
    shown = repr(TICKET)
    for hidden in ("canary", "Ann", "public-1", "main"):
        assert hidden not in shown
    assert TICKET.handle in shown


@pytest.mark.parametrize("user", [UserId("main", 8), UserId("other", 7), UserId("main", 71)])
def test_sessions_of_two_people_have_two_handles_though_one_public_id(user: UserId) -> None:
    assert replace(TICKET, user=user).handle != TICKET.handle


def test_a_handle_is_the_sessions_alone() -> None:
    other = replace(TICKET, session=SessionId("public-2"))
    renewed = replace(TICKET, expires_at_ms=99, display_name="Ann Baker")
    assert other.handle != TICKET.handle
    assert renewed.handle == TICKET.handle
    assert len(TICKET.handle) == 16
    assert "public" not in TICKET.handle


def test_a_value_with_a_method_is_refused_since_it_would_lose_it() -> None:
    with pytest.raises(TypeError, match="Pair has more than fields: double"):

        @value()
        class Pair:
            first: int = 0

            def double(self) -> int:
                return 2 * self.first


@given(st.lists(st.tuples(st.sampled_from(["set", "pop", "get", "clear"]), st.integers(0, 3), st.integers())))
def test_a_small_map_is_a_dictionary(steps: list[tuple[str, int, int]]) -> None:
    small: SmallMap[int, int] = SmallMap()
    plain: dict[int, int] = {}
    for step, key, item in steps:
        for each in (small, plain):
            match step:
                case "set":
                    each[key] = item
                case "pop":
                    each.pop(key, None)
                case "clear":
                    each.clear()
        assert small.get(key) == plain.get(key)
        assert (key in small) is (key in plain)
        assert (len(small), list(small)) == (len(plain), list(plain))
        assert list(small.items()) == list(plain.items())
        assert list(small.values()) == list(plain.values())
    with pytest.raises(KeyError):
        del small[9]
    with pytest.raises(KeyError):
        small[9]


# ---- what a server says ----


CANARY = "canary-4711"


def test_credentials_show_nothing() -> None:
    credentials = LogOn(
        Application.REMOTE_ASSISTANT, CANARY, CANARY, Device(CANARY, CANARY), remote_number=CANARY
    )
    assert CANARY not in repr(credentials)
    assert CANARY not in f"{[credentials]}"


def test_a_session_that_was_opened_shows_nothing() -> None:
    user = User(UserId("main", 1), CANARY, CANARY)
    logged_on = LoggedOn(SessionSecret(CANARY), SessionId(CANARY), 1, 0, user, CANARY)
    assert CANARY not in repr(logged_on) + repr(AttachSession(SessionSecret(CANARY)))


def test_parts_are_equal_only_to_themselves() -> None:
    one, other = (Part(Kind.AGENT, 5, Source.REALTIME, Agent()) for _ in range(2))
    assert one == one  # noqa: PLR0124 - identity is what is tested
    assert one != other
    assert len({one, other}) == 2
