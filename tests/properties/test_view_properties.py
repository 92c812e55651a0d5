"""Whatever a phone asks for, it never sees anything outside the scope that OSCC-E granted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.commands import CommandContext, check_command
from gateway.core.ledger import Ledger
from gateway.core.link import ALWAYS_LISTENED as LISTENED_ALWAYS
from gateway.core.link import Following, wanted
from gateway.core.view import FACTS_PREFIX, View, me_key, view_of
from gateway.domain.commands import SetAgentRoutingState
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import ALWAYS, TOPIC_OF_KIND, Application, Kind, Right, Scope, key_of
from tests.core.samples import facts_of, ticket_of

SMALL = st.frozensets(st.integers(0, 4), max_size=4)
SCOPES = st.builds(Scope, SMALL, SMALL, SMALL, SMALL)
NUMBERS = st.integers(0, 6).map(str) | st.sampled_from(["", "00", "-1", "1 ", "٣", "9" * 17])
TOPICS = st.one_of(
    st.sampled_from(["agents", "queues", "groups", "aggregates", "me", "site", "catalogue:skills", "agent"]),
    st.builds("{}:{}".format, st.sampled_from([*Kind, "me", "session", "catalogue", "Agent"]), NUMBERS),
    st.text(max_size=6),
)
ASKED = st.lists(TOPICS, max_size=6).map(tuple)
HANDLES = st.sampled_from(["h1", "h2"])


def keys_in(scope: Scope) -> set[str]:
    return {key_of(kind, number) for kind in Kind for number in scope.of(kind)}


@given(handle=HANDLES, scope=SCOPES, topics=ASKED)
def test_a_view_shows_nothing_outside_the_scope(handle: str, scope: Scope, topics: tuple[str, ...]) -> None:
    view = view_of(handle, scope, topics)
    assert view.keys - ALWAYS - {me_key(handle)} <= keys_in(scope)
    assert not any(key.startswith(FACTS_PREFIX) for key in view.keys)
    assert ALWAYS | {me_key(handle)} <= view.keys


@given(scope=SCOPES, topics=ASKED)
def test_every_topic_is_granted_or_refused_once(scope: Scope, topics: tuple[str, ...]) -> None:
    view = view_of("h", scope, topics)
    assert sorted([*view.granted, *view.refused]) == sorted(set(topics))
    again = view_of("h", scope, view.granted)
    assert (again.keys, again.granted, again.refused, again.mark) == (view.keys, view.granted, (), view.mark)


@given(scope=SCOPES, topics=ASKED, narrower=SCOPES)
def test_a_refusal_does_not_tell_what_exists(scope: Scope, topics: tuple[str, ...], narrower: Scope) -> None:
    """Whether a key is refused depends on one's own scope alone."""
    small = Scope(*(scope.of(kind) & narrower.of(kind) for kind in Kind))
    for topic in view_of("h", small, topics).refused:
        assert topic not in keys_in(small)
    assert view_of("h", small, topics).keys <= view_of("h", scope, topics).keys


Seen = tuple[str, Scope, tuple[str, ...], tuple[Right, ...]]
RIGHTS = st.permutations(tuple(Right)).flatmap(
    lambda rights: st.integers(0, 2).map(lambda few: tuple(rights[:few]))
)
VIEWS = st.tuples(HANDLES, SCOPES, ASKED, RIGHTS)


@given(one=VIEWS, other=VIEWS, same=st.booleans())
def test_a_mark_names_a_view(one: Seen, other: Seen, same: bool) -> None:
    first = view_of(*one)
    second = view_of(one[0], one[1], *other[2:]) if same else view_of(*other)
    rights, others = frozenset(one[3]), frozenset(other[3])
    if first.mark == second.mark:
        assert first.keys == second.keys
        assert set(first.granted) == set(second.granted)
        assert rights == others
    shown = (first.keys, frozenset(first.granted)) == (second.keys, frozenset(second.granted))
    if shown and rights == others and (same or one[:2] == other[:2]):
        assert first.mark == second.mark
    assert view_of(*one[:2], one[2][::-1], one[3][::-1]).mark == first.mark, "order makes no other view"
    assert {View.wire_key(key) for key in first.keys} == (first.keys - {me_key(one[0])}) | {"me"}


@given(
    scope=SCOPES, topics=ASKED, own=st.none() | st.integers(0, 4), application=st.sampled_from(Application)
)
def test_only_what_is_followed_is_listened_to(
    scope: Scope, topics: tuple[str, ...], own: int | None, application: Application
) -> None:
    listens = wanted([Following(application, scope, own, topics)]) - LISTENED_ALWAYS
    seen = {key for key in view_of("h", scope, topics).keys if key in keys_in(scope)}
    own_key = (
        {key_of(Kind.AGENT, own)} if own is not None and application is not Application.DASHBOARD else set()
    )
    for listen in listens:
        assert listen.kind is not None
        if listen.numbers is None:
            assert TOPIC_OF_KIND[listen.kind] in topics
        else:
            assert {key_of(listen.kind, number) for number in listen.numbers} <= seen | own_key
    covered = {(listen.kind, number) for listen in listens for number in listen.numbers or ()}
    whole = {listen.kind for listen in listens if listen.numbers is None}
    for kind in Kind:
        for number in scope.of(kind):
            assert key_of(kind, number) not in seen or kind in whole or (kind, number) in covered


@given(scope=SCOPES, agent_id=NUMBERS | st.builds("{}:{}".format, st.sampled_from(Kind), NUMBERS))
def test_a_command_for_anything_outside_the_scope_is_refused(scope: Scope, agent_id: str) -> None:
    facts = facts_of(ticket_of(), scope, (Right.ROUTING_STATE_WRITE,))
    code: ErrorCode | None = None
    try:
        check_command(SetAgentRoutingState(agent_id, "work"), facts, CommandContext(Ledger(1), facts.handle))
    except GatewayError as error:
        code = error.code
    assert (code is None) == (agent_id in {str(number) for number in scope.agents})
    assert code in (None, ErrorCode.NOT_FOUND, ErrorCode.WRONG_RESOURCE_KIND)
