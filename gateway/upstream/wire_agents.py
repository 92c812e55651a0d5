"""Map the server's elements of agents."""

from __future__ import annotations

from typing import Final

from gateway.domain.model import Kind
from gateway.domain.resources import (
    Agent,
    AgentSkill,
    AutoPostProcessing,
    Handling,
    Media,
    PostProcessing,
    RoutingState,
    Switch,
)
from gateway.domain.texts import VALUE_CHARS, WORD_CHARS, readable, readable_or_none
from gateway.domain.upstream import Part, Source
from gateway.upstream.wire_figures import count, duration, since
from gateway.upstream.wire_names import (
    ACTIONS,
    ACTORS,
    HANDLING_STATES,
    MEDIA,
    ROUTING_STATES,
    SWITCHES,
    Count,
    Element,
    Key,
    Millis,
    Seconds,
    identity,
)


class _Handling(Element):
    handling_state: str
    call_id: str
    time_in_handling_state: Seconds | None = None
    media: str | None = None
    queue_key: Key | None = None
    direct: bool | None = None


class _PostProcessing(Element):
    ends_at: Millis | None = None
    extendable: bool | None = None
    next_state: str | None = None
    reason_key: Key | None = None


class _AutoPostProcessing(Element):
    on: bool | None = None
    duration: Seconds | None = None


class _Media(Element):
    voice: str | None = None
    callback: str | None = None
    email: str | None = None
    web_collaboration: str | None = None
    open_media: str | None = None


class _Remote(Element):
    logged_on: bool | None = None
    app_present: bool | None = None
    app_absent_since: Millis | None = None
    remote_number: str | None = None


class UserRealtime(Element):
    """A logged-on user as he is now."""

    user_key: Key
    extension: str | None = None
    routing_state: str | None = None
    time_in_routing_state: Seconds | None = None
    reason_key: Key | None = None
    pending_routing_state: str | None = None
    pending_by: str | None = None
    presence_state: str | None = None
    handling_states: tuple[_Handling, ...] | None = None
    post_processing: _PostProcessing | None = None
    auto_post_processing: _AutoPostProcessing | None = None
    media: _Media | None = None
    remote: _Remote | None = None
    allowed_actions: tuple[str, ...] | None = None


_NOT_REMOTE: Final = _Remote()


def user_realtime(told: UserRealtime, time_ms: int) -> Part:
    """Map a logged-on user. ``TimeIn…`` become instants in the server's clock."""
    handling = tuple(_handling(contact, time_ms) for contact in told.handling_states or ())
    remote = told.remote or _NOT_REMOTE
    agent = Agent(
        extension=readable_or_none(told.extension, WORD_CHARS),
        routing_state=_present_state(told.routing_state),
        routing_state_since_ms=since(time_ms, told.time_in_routing_state),
        reason_id=identity(told.reason_key),
        pending_routing_state=_routing_state(told.pending_routing_state),
        pending_by=None if told.pending_by is None else ACTORS.get(told.pending_by, "unknown"),
        handling=handling,
        post_processing=_post_processing(told.post_processing, handling),
        auto_post_processing=_auto(told.auto_post_processing),
        media=_media(told.media),
        presence_state=readable_or_none(told.presence_state, VALUE_CHARS),
        logged_on_remotely=remote.logged_on,
        app_present=remote.app_present,
        app_absent_since_ms=_not_after(time_ms, remote.app_absent_since),
        allowed_actions=tuple(ACTIONS[name] for name in told.allowed_actions or () if name in ACTIONS),
    )
    return Part(
        Kind.AGENT, told.user_key, Source.REALTIME, agent, readable_or_none(remote.remote_number, WORD_CHARS)
    )


def _not_after(time_ms: int, told_ms: int | None) -> int | None:
    """Return when something began that was there at *time_ms*, whichever clock of the server's dated it."""
    return None if told_ms is None else min(told_ms, time_ms)


def _handling(told: _Handling, time_ms: int) -> Handling:
    return Handling(
        contact_id=readable(told.call_id),
        media=MEDIA.get(told.media or "", "unknown"),
        state=HANDLING_STATES.get(told.handling_state, "unknown"),
        since_ms=since(time_ms, told.time_in_handling_state),
        direct=told.direct,
        queue_id=identity(told.queue_key),
    )


def _post_processing(told: _PostProcessing | None, handling: tuple[Handling, ...]) -> PostProcessing | None:
    """Since when is told where the contact in hand is: it is in the handling state PostProcessing."""
    if told is None:
        return None
    since_ms = next((held.since_ms for held in handling if held.state == "post_processing"), None)
    return PostProcessing(
        since_ms=since_ms,
        ends_at_ms=told.ends_at,
        extendable=told.extendable,
        next_state=_routing_state(told.next_state),
        reason_id=identity(told.reason_key),
    )


def _auto(told: _AutoPostProcessing | None) -> AutoPostProcessing | None:
    if told is None:
        return None
    duration_s = duration(told.duration)
    return AutoPostProcessing(told.on, None if duration_s is None else round(duration_s))


def _media(told: _Media | None) -> Media | None:
    if told is None:
        return None
    return Media(
        voice=_switch(told.voice),
        callback=_switch(told.callback),
        email=_switch(told.email),
        web_collaboration=_switch(told.web_collaboration),
        open_media=_switch(told.open_media),
    )


class UserCumulative(Element):
    """What a user did since the window began."""

    user_key: Key
    window_start: Millis | None = None
    handled: Count | None = None
    total_talk_time: Seconds | None = None


def user_cumulative(told: UserCumulative, _: int) -> Part:
    """Map a user's day."""
    agent = Agent(
        handled_today=count(told.handled),
        talk_s_today=duration(told.total_talk_time),
        day_start_ms=told.window_start,
    )
    return Part(Kind.AGENT, told.user_key, Source.CUMULATIVE, agent)


class UserSkill(Element):
    """One skill of a user."""

    skill_key: Key
    level: Count | None = None
    preference: Count | None = None
    active: bool | None = None


def skills(told: tuple[UserSkill, ...] | None) -> tuple[AgentSkill, ...]:
    """Map the skills of a user."""
    return tuple(
        AgentSkill(str(skill.skill_key), skill.level, skill.preference, skill.active) for skill in told or ()
    )


def _present_state(name: str | None) -> RoutingState | None:
    """Map what a user who is told of is now: not logged off, for who is that is told of no more."""
    state = _routing_state(name)
    return RoutingState.UNKNOWN if state is RoutingState.LOGGED_OFF else state


def _routing_state(name: str | None) -> RoutingState | None:
    return None if name is None else ROUTING_STATES.get(name, RoutingState.UNKNOWN)


def _switch(name: str | None) -> Switch | None:
    return None if name is None else SWITCHES.get(name, Switch.UNKNOWN)
