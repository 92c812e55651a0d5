"""Assemblies, and what they receive."""

from __future__ import annotations

from gateway.core.assembly import Assembly
from gateway.core.element import Composer
from gateway.domain.commands import Listen
from gateway.domain.model import Kind
from gateway.domain.resources import Agent, RoutingState
from gateway.domain.upstream import Part, Reading, Source
from tests.core.samples import part

AGENT, QUEUE = (Kind.AGENT, 5), (Kind.QUEUE, 1)
REALTIME, CUMULATIVE = Source.REALTIME, Source.CUMULATIVE
CONFIGURATION, DIRECTORY = Source.CONFIGURATION, Source.DIRECTORY
ALL_AGENTS = Listen(Kind.AGENT, REALTIME, None)


def reading(
    time_ms: int,
    *parts: Part,
    query: int = 1,
    whole: bool = False,
    removed: tuple[int, ...] = (),
    source: Source = REALTIME,
    kind: Kind | None = Kind.AGENT,
) -> Reading:
    return Reading(query, kind, source, time_ms, whole, parts, removed)


def available(number: int = 5) -> Part:
    return part(Kind.AGENT, number, REALTIME, Agent(routing_state=RoutingState.AVAILABLE))


def known(*listens: Listen, composer: Composer | None = None) -> Assembly:
    """Return an assembly that knows agents 5 and 6 and queue 1, with queries 1 and up."""
    assembly = Assembly(composer)
    for query, listen in enumerate(listens, start=1):
        assembly.listening(query, listen)
    assembly.directory(
        [part(Kind.AGENT, 5, DIRECTORY), part(Kind.AGENT, 6, DIRECTORY), part(*QUEUE, DIRECTORY)]
    )
    return assembly


def realtime(assembly: Assembly, number: int = 5) -> Part | None:
    found = assembly.parts((Kind.AGENT, number))
    assert found is not None
    return found.realtime
