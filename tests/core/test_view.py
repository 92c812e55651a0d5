"""View: a session sees its scope as far as it follows it, and nothing else."""

from __future__ import annotations

import pytest

from gateway.core.view import view_of
from gateway.domain.model import ALWAYS
from tests.core.samples import SCOPE

GROUND = ALWAYS | {"me:h"}


@pytest.mark.parametrize(
    ("topic", "keys"),
    [
        ("agents", {"agent:5", "agent:6"}), ("queues", {"queue:1", "queue:2"}), ("groups", {"group:3"}),
        ("aggregates", set()), ("queue:2", {"queue:2"}), ("me", set()), ("site", set()),
        ("catalogue:skills", set()),
    ],
)  # fmt: skip
def test_a_topic_shows_what_is_in_scope(topic: str, keys: set[str]) -> None:
    view = view_of("h", SCOPE, (topic,))
    assert view.keys == GROUND | keys
    assert (view.granted, view.refused) == ((topic,), ())


@pytest.mark.parametrize(
    "topic",
    ["queue:9", "agent:1", "agent:05", "nonsense", "", "me:other", "session:h", "session:other", "queue:"],
)
def test_what_is_foreign_is_refused_like_what_does_not_exist(topic: str) -> None:
    view = view_of("h", SCOPE, (topic, "agents"))
    assert view.keys == GROUND | {"agent:5", "agent:6"}
    assert (view.granted, view.refused) == (("agents",), (topic,))
