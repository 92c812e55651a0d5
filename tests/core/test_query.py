"""What does one query of a link tell, and how far has it come?"""

from __future__ import annotations

from gateway.core.link import Query
from gateway.domain.commands import Listen
from gateway.domain.model import Kind
from tests.core.assemblies import ALL_AGENTS, CONFIGURATION, CUMULATIVE, REALTIME

FIVE = Listen(Kind.AGENT, REALTIME, frozenset({5}))


def test_a_query_covers_what_it_was_asked_for() -> None:
    assert Query(ALL_AGENTS).covers(Kind.AGENT, 7)
    assert not Query(ALL_AGENTS).covers(Kind.QUEUE, 7)
    assert Query(FIVE).covers(Kind.AGENT, 5)
    assert not Query(FIVE).covers(Kind.AGENT, 7)
    assert Query(Listen(None, CONFIGURATION, None)).covers(Kind.GROUP, 7)


def test_a_query_tells_all_only_once_it_was_told() -> None:
    states = [Query(ALL_AGENTS), Query(ALL_AGENTS, complete=True), Query(ALL_AGENTS, True, refused=True)]
    assert [query.is_told for query in states] == [False, True, False]
    assert [query.covers_all for query in states] == [False, True, False]
    assert not Query(FIVE, complete=True).covers_all


def test_a_wider_query_tells_what_a_narrower_one_would() -> None:
    assert Query(ALL_AGENTS, complete=True).tells(FIVE)
    assert not Query(ALL_AGENTS).tells(FIVE)
    assert not Query(FIVE, complete=True).tells(ALL_AGENTS)
    assert not Query(ALL_AGENTS, complete=True).tells(Listen(Kind.AGENT, CUMULATIVE, None))
