"""Resources, made of the parts that OSCC-E told of them.

Pure functions from parts to values, and the composer that makes each distinct value once
per node, however many links tell it.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from dataclasses import replace
from typing import Final, NamedTuple, TypeVar

from gateway.core.element import Element
from gateway.core.told import News, Tellings, Told
from gateway.domain.model import Kind
from gateway.domain.resources import Agent, Aggregate, Group, Queue, RoutingState
from gateway.domain.steady import Composed, steady
from gateway.domain.upstream import Part, Source

OFFSET_STEP_MS: Final = 250
"""Granularity of the clock offset, so that links of one server share their elements."""

R = TypeVar("R", Agent, Queue, Group, Aggregate)


class Parts(NamedTuple):
    """What is known of one resource. *since_ms* (server clock): when an absent user left."""

    directory: Part
    realtime: Part | None
    cumulative: Part | None
    configuration: Part | None
    readable: bool
    """Whether realtime data can be had at all; a user absent from it is logged off only then."""
    absent_since_ms: int | None


class Composer:
    """Makes elements from parts and shares them between all users of a node.

    Sharing is by value with what some link of the node made last of a resource, so nobody can be shown
    what their own link did not deliver, but for instants within :data:`gateway.domain.steady.STEADY_MS`.
    """

    def __init__(self) -> None:
        self.tellings = Tellings()
        """What all links of the node have told."""
        self._shown: weakref.WeakValueDictionary[tuple[Kind, int], Element] = weakref.WeakValueDictionary()
        """What some link of the node made last of each resource."""

    def element(self, parts: Parts, before: Element | None, offset_ms: int) -> Element:
        """Return the element of *parts*, following *before*; *offset_ms* is gateway minus server clock.

        A link keeps its own instants as long as nothing changes. What changes, or is shown first, becomes
        what others show, where that is the same but for jitter: a thousand links that come one after the
        other hold one element.
        """
        key = (parts.directory.kind, parts.directory.number)
        said = value = compose(parts, offset_ms)
        if before is not None and isinstance(before.value, Composed):
            value = steady(before.value, said)
            if value == before.value:
                return before
        shown = self._shown.get(key)
        if shown is not None and shown is not before and _is_jitter(shown, said):
            return shown
        made = self._shown[key] = Element(value)
        return made

    def elements(
        self, told: Iterable[Told], befores: Iterable[Element | None], offset_ms: int
    ) -> list[Element]:
        """Return the elements of what is told of resources that are there, each as :meth:`element` does."""
        elements: list[Element] = []
        for each, before in zip(told, befores, strict=True):
            element = each.element
            if element is None or each.before is not before or each.offset_ms != offset_ms:
                element = self.element(_parts(each), before, offset_ms)
                each.before, each.offset_ms, each.element = before, offset_ms, element
            elements.append(element)
        return elements

    def elements_of(self, news: News, befores: list[Element | None], offset_ms: int) -> list[Element]:
        """Return the elements of what has changed, where all of it is there."""
        if news.befores != befores or news.offset_ms != offset_ms:
            news.elements = self.elements(news.changed, befores, offset_ms)
            news.befores, news.offset_ms = befores, offset_ms
        return news.elements


def _is_jitter(shown: Element, said: Composed) -> bool:
    """Tell whether *said* differs from what is shown by no more than instants that jitter."""
    value = shown.value
    return isinstance(value, Composed) and steady(value, said) == value


def _parts(told: Told) -> Parts:
    directory = told.part(Source.DIRECTORY)
    if directory is None:
        raise ValueError("nothing is a resource before its directory object is known")
    return Parts(
        directory,
        told.part(Source.REALTIME),
        told.part(Source.CUMULATIVE),
        told.part(Source.CONFIGURATION),
        readable=True,
        absent_since_ms=told.left_at_ms,
    )


def compose(parts: Parts, offset_ms: int) -> Composed:
    """Put the parts of one resource together, in gateway time."""
    match parts.directory.kind:
        case Kind.AGENT:
            return _agent(parts, offset_ms)
        case Kind.QUEUE:
            return _queue(parts, offset_ms)
        case Kind.GROUP:
            return _group(parts)
        case Kind.AGGREGATE:
            return _aggregate(parts, offset_ms)


def _agent(parts: Parts, offset_ms: int) -> Agent:
    known = _value(parts.directory, _NO_AGENT)
    now = _absent_agent(parts) if parts.realtime is None else _value(parts.realtime, _NO_AGENT)
    day = _value(parts.cumulative, _NO_AGENT)
    skilled = _newest(
        known, _value(parts.configuration, _NO_AGENT), has_configuration=parts.configuration is not None
    )
    return Agent(
        display_name=known.display_name,
        extension=now.extension or known.extension,
        group_ids=known.group_ids,
        queue_ids=known.queue_ids,
        skills=skilled.skills,
        routing_state=now.routing_state,
        routing_state_since_ms=_shift(now.routing_state_since_ms, offset_ms),
        reason_id=now.reason_id,
        pending_routing_state=now.pending_routing_state,
        pending_by=now.pending_by,
        handling=now.handling
        and tuple([replace(h, since_ms=_shift(h.since_ms, offset_ms)) for h in now.handling]),
        post_processing=now.post_processing
        and replace(
            now.post_processing,
            since_ms=_shift(now.post_processing.since_ms, offset_ms),
            ends_at_ms=_shift(now.post_processing.ends_at_ms, offset_ms),
        ),
        auto_post_processing=now.auto_post_processing,
        media=now.media,
        presence_state=now.presence_state,
        logged_on_remotely=now.logged_on_remotely,
        app_present=now.app_present,
        app_absent_since_ms=_shift(now.app_absent_since_ms, offset_ms),
        handled_today=day.handled_today,
        talk_s_today=day.talk_s_today,
        day_start_ms=_shift(day.day_start_ms, offset_ms),
        allowed_actions=now.allowed_actions,
        version=skilled.version,
    )


def _absent_agent(parts: Parts) -> Agent:
    if not parts.readable:
        return Agent(routing_state=RoutingState.UNKNOWN)
    return Agent(
        routing_state=RoutingState.LOGGED_OFF,
        routing_state_since_ms=parts.absent_since_ms,
        logged_on_remotely=False,
    )


def _newest(known: Agent, configured: Agent, *, has_configuration: bool) -> Agent:
    """Skills stand in the directory and in the configuration: the higher version is right."""
    if not has_configuration or (known.version or 0) > (configured.version or 0):
        return known
    return configured


def _queue(parts: Parts, offset_ms: int) -> Queue:
    known = _value(parts.directory, _NO_QUEUE)
    now = _value(parts.realtime, _NO_QUEUE)
    window = _value(parts.cumulative, _NO_QUEUE)
    configured = _value(parts.configuration, _NO_QUEUE)
    return Queue(
        name=known.name,
        media=known.media,
        contacts_waiting=now.contacts_waiting,
        oldest_since_ms=_shift(now.oldest_since_ms, offset_ms),
        service_level_pct=now.service_level_pct,
        service_level_threshold_s=now.service_level_threshold_s,
        service_level_formula=now.service_level_formula,
        abandoned_rate_pct=now.abandoned_rate_pct,
        estimated_wait_s=now.estimated_wait_s,
        agents_logged_on=now.agents_logged_on,
        agents_available=now.agents_available,
        agents_handling=now.agents_handling,
        agents_post_processing=now.agents_post_processing,
        agents_unavailable=now.agents_unavailable,
        agents_work=now.agents_work,
        window_start_ms=_shift(window.window_start_ms, offset_ms),
        received=window.received,
        answered=window.answered,
        abandoned=window.abandoned,
        average_wait_s=window.average_wait_s,
        maximum_wait_s=window.maximum_wait_s,
        level=now.level,
        routing_parameters=configured.routing_parameters,
        version=configured.version,
    )


def _group(parts: Parts) -> Group:
    configured = _value(parts.configuration, _NO_GROUP)
    return replace(
        _value(parts.realtime, _NO_GROUP),
        name=_value(parts.directory, _NO_GROUP).name,
        routing_parameters=configured.routing_parameters,
        version=configured.version,
    )


def _aggregate(parts: Parts, offset_ms: int) -> Aggregate:
    known = _value(parts.directory, _NO_AGGREGATE)
    now = _value(parts.realtime, _NO_AGGREGATE)
    return replace(
        now,
        name=known.name,
        queue_ids=known.queue_ids,
        oldest_since_ms=_shift(now.oldest_since_ms, offset_ms),
    )


_NO_AGENT: Final = Agent()
_NO_QUEUE: Final = Queue()
_NO_GROUP: Final = Group()
_NO_AGGREGATE: Final = Aggregate()


def _value(part: Part | None, nothing: R) -> R:
    """Return what a part carries; a missing part carries *nothing*."""
    return part.value if part is not None and isinstance(part.value, type(nothing)) else nothing


def _shift(instant_ms: int | None, offset_ms: int) -> int | None:
    """Return an instant in gateway time; frames carry none from before 1970."""
    if instant_ms is None or instant_ms + offset_ms < 0:
        return None
    return instant_ms + offset_ms
