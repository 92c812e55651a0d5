"""Elements of each event type at one instant, and the frames that carry them."""

from __future__ import annotations

import struct
from typing import Final

import msgspec

from gateway.simulator import model
from gateway.simulator.contact_center import ContactCenter
from gateway.simulator.model import MEDIA, Agent, Changes, Contact, Group, Json, Kind, PostProcessing, Queue


def render(center: ContactCenter, kind: Kind, key: int, *, own: bool = False) -> Json | None:
    """Return the element of *key* now; None when it is in no set (a logged-off user, a removed object).

    *own*: with the fields for the user's own session.
    """
    directory = center.directory
    match kind:
        case Kind.USER:
            agent = directory.agents.get(key)
            return _user(center, agent, own=own) if agent is not None and agent.logged_on else None
        case Kind.QUEUE:
            return _queue(center, directory.queues[key]) if key in directory.queues else None
        case Kind.GROUP:
            return _group(center, key) if key in directory.groups else None
        case Kind.AGGREGATE:
            return _aggregate(center, key) if key in directory.aggregates else None
        case Kind.QUEUE_CUMULATIVE:
            return _queue_cumulative(directory.queues[key]) if key in directory.queues else None
        case Kind.USER_CUMULATIVE:
            return _user_cumulative(directory.agents[key]) if key in directory.agents else None
        case Kind.CONFIGURATION:
            return configuration(center, key)


def configuration(center: ContactCenter, key: int) -> Json | None:
    """Return an object's skills or routing parameters."""
    directory = center.directory
    match kind := directory.kind_of(key):
        case "User":
            agent = directory.agents[key]
            skills = directory.skills_json(agent)
            return {"ObjectType": kind, "Key": key, "Skills": skills, "Version": agent.version}
        case "Queue" | "Group":
            thing: Queue | Group = directory.queues.get(key) or directory.groups[key]
            parameters = {"RoutingParameters": thing.parameters, "Version": thing.version}
            return {"ObjectType": kind, "Key": key, **parameters}
        case _:
            return None


def allowed_actions(agent: Agent) -> list[str]:
    """List what the agent's state permits, for any user."""
    if agent.remote is not None and agent.remote.routed_until_ms is not None:
        return []
    actions = [
        name
        for name, state in (
            ("SetAvailable", "Available"),
            ("SetUnavailable", "Unavailable"),
            ("SetWork", "Work"),
        )
        if agent.state != state or agent.pending is not None or state != "Available"
    ]
    actions.append("LogOff")
    if agent.post is not None:
        actions.append("FinishPostProcessing")
        if agent.post.ends_ms < agent.post.limit_ms:
            actions.append("ExtendPostProcessing")
    elif _may_start(agent):
        actions.append("StartPostProcessing")
    if agent.remote is not None and not agent.handling:
        actions.append("ChangeRemoteNumber")
    return actions


def _may_start(agent: Agent) -> bool:
    if agent.contacts:
        return agent.post_wanted_s is None and any(each.answered_ms is not None for each in agent.contacts)
    return agent.last_contact is not None


def _user(center: ContactCenter, agent: Agent, *, own: bool) -> Json:
    found: Json = {
        "UserKey": agent.key,
        "Extension": agent.extension,
        "RoutingState": center.overrides.get(agent.key, agent.state),
        "TimeInRoutingState": _seconds(center.now_ms - agent.since_ms),
    }
    if agent.reason_key is not None:
        found["ReasonKey"] = agent.reason_key
    found["RoutingStateBy"] = agent.state_by
    if agent.pending is not None:
        found["PendingRoutingState"] = agent.pending.state
        found["PendingBy"] = agent.pending.by
        if agent.pending.reason_key is not None:
            found["PendingReasonKey"] = agent.pending.reason_key
    if agent.post_wanted_s is not None:
        found["PendingPostProcessing"] = True
    found["PresenceState"] = _presence(agent)
    found["HandlingStates"] = _handling(center, agent)
    if agent.post is not None:
        found["PostProcessing"] = _post_processing(center, agent)
    if own:
        found["AutoPostProcessing"] = {"On": agent.auto.on, "Duration": agent.auto.duration_s}
    found["Media"] = _media(center, agent)
    found["Remote"] = _remote(center, agent, own=own)
    found["AllowedActions"] = allowed_actions(agent)
    return found


def _presence(agent: Agent) -> str:
    if agent.handling:
        return "Busy"
    return "Online" if agent.state == "Available" else "Away"


def _handling(center: ContactCenter, agent: Agent) -> list[Json]:
    found = [_handled(center, each.state, each) for each in agent.contacts]
    return found if agent.post is None else [*found, _handled(center, "PostProcessing", agent.post)]


def _handled(center: ContactCenter, state: str, contact: Contact | PostProcessing) -> Json:
    found: Json = {
        "HandlingState": state,
        "TimeInHandlingState": _seconds(center.now_ms - contact.since_ms),
        "CallID": contact.call_id,
        "Media": contact.media,
        "Direct": contact.direct,
    }
    if contact.queue_key is not None:
        found["QueueKey"] = contact.queue_key
    return found


def _post_processing(center: ContactCenter, agent: Agent) -> Json:
    post = agent.post
    if post is None:
        return {}
    found: Json = {"EndsAt": post.ends_ms + center.skew_ms, "Extendable": post.ends_ms < post.limit_ms}
    if agent.pending is not None:
        found["NextState"] = agent.pending.state
        if agent.pending.reason_key is not None:
            found["ReasonKey"] = agent.pending.reason_key
    return found


def _media(center: ContactCenter, agent: Agent) -> Json:
    directory = center.directory
    served = {directory.queues[key].media for key in directory.queues_of.get(agent.key, ())} | {"Voice"}
    return {
        media: ("Failed" if center.functions.is_down(media) else "On") if media in served else "Off"
        for media in MEDIA
    }


def _remote(center: ContactCenter, agent: Agent, *, own: bool) -> Json:
    remote = agent.remote
    if remote is None:
        return {"LoggedOn": False}
    found: Json = {"LoggedOn": True, "AppPresent": remote.present}
    if remote.absent_since_ms is not None:
        found["AppAbsentSince"] = remote.absent_since_ms + center.skew_ms
    if own:
        found["RemoteNumber"] = remote.number
    return found


def _queue(center: ContactCenter, queue: Queue) -> Json:
    agents = [agent for agent in center.directory.agents_of.get(queue.key, ()) if agent.logged_on]
    handling = sum(bool(agent.contacts) for agent in agents)
    after = sum(agent.post is not None and not agent.contacts for agent in agents)
    free = [agent.state for agent in agents if not agent.handling]
    count = queue.counters
    return {
        "QueueKey": queue.key,
        "Contacts": len(queue.waiting),
        "OldestContactWaitTime": _oldest(center, queue),
        "ServiceLevel": model.service_level(count.within_threshold, count.answered, count.abandoned),
        "ServiceLevelThreshold": queue.parameters["ServiceLevelThreshold"],
        "ServiceLevelFormula": model.SERVICE_LEVEL_FORMULA,
        "AbandonedRate": model.abandoned_rate(count),
        "EstimatedWaitTime": round(180 * (len(queue.waiting) + 1) / len(agents), 1) if agents else None,
        "LoggedOnUsers": len(agents),
        "AvailableUsers": free.count("Available"),
        "HandlingUsers": handling,
        "PostProcessingUsers": after,
        "UnavailableUsers": free.count("Unavailable"),
        "WorkUsers": free.count("Work"),
        "Level": _level(queue),
    }


def _level(queue: Queue) -> str:
    waiting = len(queue.waiting)
    for name, level in (("ActionContacts", "Action"), ("AttentionContacts", "Attention")):
        if waiting >= float(queue.parameters[name] or 0):
            return level
    return "Ok"


def _oldest(center: ContactCenter, queue: Queue) -> float | None:
    if not queue.waiting:
        return None
    return _seconds(center.now_ms - min(each.arrived_ms for each in queue.waiting))


def _group(center: ContactCenter, key: int) -> Json:
    directory = center.directory
    agents = [agent for agent in directory.members_of.get(key, ()) if agent.logged_on]
    free = [agent.state for agent in agents if not agent.handling]
    waiting = [queue for queue in directory.queues.values() if key in directory.groups_of[queue.key]]
    return {
        "GroupKey": key,
        "LoggedOnUsers": len(agents),
        "IdleUsers": free.count("Available"),
        "BusyUsers": len(agents) - len(free),
        "AwayUsers": len(free) - free.count("Available"),
        "HandlingRoutedUsers": sum(any(not each.direct for each in agent.contacts) for agent in agents),
        "HandlingDirectUsers": sum(any(each.direct for each in agent.contacts) for agent in agents),
        "CallsWaiting": sum(len(queue.waiting) for queue in waiting),
    }


def _aggregate(center: ContactCenter, key: int) -> Json:
    keys = center.directory.aggregates[key].queue_keys
    queues = [queue for each in keys if (queue := center.directory.queues.get(each)) is not None]
    waits = [wait for queue in queues if (wait := _oldest(center, queue)) is not None]
    return {
        "AggregateKey": key,
        "Contacts": sum(len(queue.waiting) for queue in queues),
        "ServiceLevel": model.service_level(
            sum(queue.counters.within_threshold for queue in queues),
            sum(queue.counters.answered for queue in queues),
            sum(queue.counters.abandoned for queue in queues),
        ),
        "OldestContactWaitTime": max(waits, default=None),
    }


def _queue_cumulative(queue: Queue) -> Json:
    count = queue.counters
    return {
        "QueueKey": queue.key,
        "WindowStart": count.window_start_ms,
        "Received": count.received,
        "Answered": count.answered,
        "Abandoned": count.abandoned,
        "AverageWaitTime": model.average_wait_s(count),
        "MaximumWaitTime": count.wait_max_ms / 1000,
    }


def _user_cumulative(agent: Agent) -> Json:
    return {
        "UserKey": agent.key,
        "WindowStart": agent.counters.window_start_ms,
        "Handled": agent.counters.handled,
        "TotalTalkTime": agent.counters.talk_ms / 1000,
    }


def _seconds(elapsed_ms: int) -> float:
    return elapsed_ms / 1000


TEXT: Final = 0x81
"""FIN and opcode 1 (RFC 6455 §5.2). A server's frames are not masked, so their bytes can be shared."""

encode: Final = msgspec.json.Encoder().encode
"""Anything of JSON → UTF-8 bytes."""


def text_frame(payload: bytes) -> bytes:
    """Put one whole text message into one frame."""
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", TEXT, size) + payload
    if size < 1 << 16:
        return struct.pack("!BBH", TEXT, 126, size) + payload
    return struct.pack("!BBQ", TEXT, 127, size) + payload


def message(content: object) -> bytes:
    """Encode a message as one frame."""
    return text_frame(encode(content))


def event(
    query_id: int, event_type: str, time_ms: int, elements: list[bytes], removed: list[int], *, complete: bool
) -> bytes:
    """Join encoded elements into the frame of an event."""
    head = b'{"Type":"Event","QueryID":%d,"EventType":"%b","Time":%d,"Complete":%b,"Elements":[' % (
        query_id,
        event_type.encode(),
        time_ms,
        b"true" if complete else b"false",
    )
    tail = b'],"Removed":' + encode(removed) + b"}" if removed else b"]}"
    return text_frame(head + b",".join(elements) + tail)


class Reading:
    """Elements read at *time_ms*, each rendered and encoded once, at its first use.

    Invariant: valid as long as the centre neither changes nor ages; call :meth:`holds` before each use.
    """

    def __init__(self, center: ContactCenter) -> None:
        self._center = center
        self._read_ms = center.now_ms
        self._generation = center.generation
        self.time_ms = center.wall_ms
        """Time by the server's clock."""
        self._pieces: dict[tuple[Kind, int, bool], bytes | None] = {}
        self._frames: dict[tuple[int, Kind, frozenset[int], int | None, bool], bytes] = {}

    def holds(self) -> bool:
        """Return whether another reading now would be equal."""
        center = self._center
        return (center.generation, center.now_ms, center.wall_ms) == (
            self._generation,
            self._read_ms,
            self.time_ms,
        )

    def piece(self, kind: Kind, key: int, *, own: bool = False) -> bytes | None:
        """Return the element's bytes, or None when it is in no set."""
        at = (kind, key, own)
        if at not in self._pieces:
            element = render(self._center, kind, key, own=own)
            self._pieces[at] = None if element is None else encode(element)
        return self._pieces[at]

    def frame(
        self, query_id: int, kind: Kind, keys: frozenset[int], own: int | None, *, complete: bool
    ) -> bytes:
        """Return an event with the elements of *keys*; links with equal requests get the same bytes.

        A key in no set is left out of a complete event, and is in ``Removed`` of a partial one. *own*: the
        user who gets the fields for their own session.
        """
        if own not in keys or kind is not Kind.USER:
            own = None
        at = (query_id, kind, keys, own, complete)
        if at not in self._frames:
            self._frames[at] = self._build(query_id, kind, keys, own, complete=complete)
        return self._frames[at]

    def _build(
        self, query_id: int, kind: Kind, keys: frozenset[int], own: int | None, *, complete: bool
    ) -> bytes:
        elements: list[bytes] = []
        removed: list[int] = []
        for key in sorted(keys):
            piece = self.piece(kind, key, own=key == own)
            if piece is not None:
                elements.append(piece)
            else:
                removed.append(key)
        if complete or kind is Kind.CONFIGURATION:
            removed = []
        return event(query_id, kind.value, self.time_ms, elements, removed, complete=complete)


Shape = tuple[int | None, tuple[tuple[int, Kind, frozenset[int]], ...]]
"""What decides which events a link is sent: its own agent; of each query its id, its kind and its keys."""


class Publication:
    """One reading of the changes for many links.

    Links of one shape share the list of frames. Links with the same scope share the set of changed keys, and
    with it the whole frame.
    """

    def __init__(self, reading: Reading, changes: Changes) -> None:
        self._kinds = frozenset(changes)
        """The kinds with changes."""
        self._frames: dict[Shape, tuple[bytes, ...]] = {}
        self._reading = reading
        self._changes = changes
        self._touched: dict[tuple[Kind, frozenset[int], int | None], frozenset[int]] = {}

    def frames(self, shape: Shape) -> tuple[bytes, ...]:
        """Return the partial events of the queries in which something changed."""
        found = self._frames.get(shape)
        if found is None:
            own, queries = shape
            all_ = (self._frame(id_, kind, keys, own) for id_, kind, keys in queries if kind in self._kinds)
            found = self._frames[shape] = tuple(frame for frame in all_ if frame is not None)
        return found

    def _frame(self, query_id: int, kind: Kind, visible: frozenset[int], own: int | None) -> bytes | None:
        at = (kind, visible, own)
        keys = self._touched.get(at)
        if keys is None:
            keys = visible & self._changes.keys[kind]
            if kind is Kind.USER and own in self._changes.own and own in visible:
                keys |= {own}
            self._touched[at] = keys
        return self._reading.frame(query_id, kind, keys, own, complete=False) if keys else None
