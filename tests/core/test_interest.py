"""Interest: what is followed is subscribed to, and nothing else."""

from __future__ import annotations

from gateway.core.view import ALWAYS_LISTENED, Following, wanted, wanted_by
from gateway.domain.commands import Listen
from gateway.domain.model import Application, Kind, Scope
from gateway.domain.upstream import Source
from tests.core.samples import SCOPE

REALTIME, CUMULATIVE = Source.REALTIME, Source.CUMULATIVE


def supervisor(*topics: str, scope: Scope = SCOPE) -> Following:
    return Following(Application.DASHBOARD, scope, None, topics)


def agent(*topics: str, own: int | None = 5) -> Following:
    return Following(Application.REMOTE_ASSISTANT, SCOPE, own, topics)


def asked(*followings: Following) -> set[Listen]:
    found = wanted(followings)
    assert found >= ALWAYS_LISTENED
    return set(found - ALWAYS_LISTENED)


def test_directory_and_configuration_are_always_listened_to() -> None:
    assert wanted([]) == {
        Listen(None, Source.DIRECTORY, None),
        Listen(None, Source.CONFIGURATION, None),
    }


def test_a_kind_is_listened_to_with_all_its_sources() -> None:
    assert asked(supervisor("agents")) == {
        Listen(Kind.AGENT, REALTIME, None),
        Listen(Kind.AGENT, CUMULATIVE, None),
    }
    assert asked(supervisor("queues", "groups", "aggregates")) == {
        Listen(Kind.QUEUE, REALTIME, None),
        Listen(Kind.QUEUE, CUMULATIVE, None),
        Listen(Kind.GROUP, REALTIME, None),
        Listen(Kind.AGGREGATE, REALTIME, None),
    }


def test_an_agents_own_state_is_listened_to_whatever_he_follows() -> None:
    own = {Listen(Kind.AGENT, REALTIME, frozenset({5})), Listen(Kind.AGENT, CUMULATIVE, frozenset({5}))}
    assert asked(agent()) == own
    assert asked(agent(own=None)) == set()
    assert asked(supervisor()) == set()
    assert asked(agent("agent:6")) == {
        Listen(Kind.AGENT, source, frozenset({5, 6})) for source in (REALTIME, CUMULATIVE)
    }


def test_what_one_session_wants_is_made_once_for_those_that_follow_the_same() -> None:
    following = Following(Application.DASHBOARD, Scope(agents=frozenset({5})), None, ("agents",))
    assert wanted_by(following) == wanted([following])
    assert wanted_by(following._replace(topics=("agents",))) is wanted_by(following)
