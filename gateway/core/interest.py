"""Interest: the upstream subscriptions that the sessions need."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple

from gateway.domain.link_requests import Listen
from gateway.domain.model import KIND_OF_TOPIC, Application, Kind, Scope, parse_key
from gateway.domain.upstream import Source

ALWAYS: Final = frozenset({Listen(None, Source.DIRECTORY, None), Listen(None, Source.CONFIGURATION, None)})
_SOURCES: Final = {
    Kind.AGENT: (Source.REALTIME, Source.CUMULATIVE),
    Kind.QUEUE: (Source.REALTIME, Source.CUMULATIVE),
    Kind.GROUP: (Source.REALTIME,),
    Kind.AGGREGATE: (Source.REALTIME,),
}


class Following(NamedTuple):
    """What one session follows."""

    application: Application
    scope: Scope
    own_agent: int | None
    topics: tuple[str, ...]


@lru_cache(maxsize=256)
def wanted_by(following: Following) -> frozenset[Listen]:
    """Return what to listen to for one session, made once for those that follow the same."""
    return wanted([following])


def wanted(followings: Iterable[Following]) -> frozenset[Listen]:
    """Return what to listen to for all of *followings* together.

    A Remote Assistant's own agent is listened to whatever it follows: its remote number shows in `me`.
    """
    whole: set[Kind] = set()
    single: dict[Kind, set[int]] = {kind: set() for kind in Kind}
    for following in followings:
        for topic in following.topics:
            kind = KIND_OF_TOPIC.get(topic)
            if kind is not None:
                whole.add(kind)
            elif (parsed := parse_key(topic)) is not None and parsed[1] in following.scope.of(parsed[0]):
                single[parsed[0]].add(parsed[1])
        if following.application is Application.REMOTE_ASSISTANT and following.own_agent is not None:
            single[Kind.AGENT].add(following.own_agent)
    listens = set(ALWAYS)
    for kind, sources in _SOURCES.items():
        if kind in whole or single[kind]:
            numbers = None if kind in whole else frozenset(single[kind])
            listens |= {Listen(kind, source, numbers) for source in sources}
    return frozenset(listens)
