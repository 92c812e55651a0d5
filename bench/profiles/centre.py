"""Messages of the largest site to its supervisors' links, without a server."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
STEP_MS = 1_000
_STATES = ("Available", "Unavailable", "Work")
_MEDIA = {"Voice": "On", "Email": "Off", "Callback": "Off", "WebCollaboration": "Off", "OpenMedia": "Off"}
_ACTIONS = ["SetUnavailable", "SetWork", "LogOff", "StartPostProcessing", "ChangeRemoteNumber"]


def _text(content: object) -> str:
    return json.dumps(content, separators=(",", ":"))


@dataclass(slots=True)
class Centre:
    """Site with a fixed random seed, whose agents and queues change in one reading per second.

    Invariant: links with equal queries receive equal bytes of a reading.
    """

    agents: int = 1_500
    queues: int = 100
    changing: float = 0.1
    """Share of the agents that changes in one reading; of the queues, a quarter changes."""
    now_ms: int = 1_790_000_000_000
    _chance: random.Random = field(default_factory=lambda: random.Random(1))  # noqa: S311 - seeded
    _users: dict[int, Json] = field(default_factory=dict)
    _queues: dict[int, Json] = field(default_factory=dict)
    _since_ms: dict[int, int] = field(default_factory=dict)
    _events: dict[tuple[int, int, str, bool], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for key in range(self.agents):
            self._change_user(key)
        for key in range(self.queues):
            self._change_queue(10_000 + key)

    # ---- state ----

    def _change_user(self, key: int) -> None:
        state = self._chance.choice(_STATES)
        before = self._users.get(key, {})
        if before.get("RoutingState") != state:
            self._since_ms[key] = self.now_ms
        handling = []
        if state == "Available" and self._chance.random() < 0.7:
            handling.append(
                {
                    "HandlingState": "Talking",
                    "CallID": f"{self._chance.randrange(10**9):09}",
                    "Media": "Voice",
                    "Direct": False,
                    "QueueKey": 10_000 + self._chance.randrange(self.queues),
                }
            )
        self._users[key] = {
            "UserKey": key,
            "Extension": str(20_000 + key),
            "RoutingState": state,
            "TimeInRoutingState": 0,
            "PresenceState": "Online",
            "HandlingStates": handling,
            "Media": _MEDIA,
            "Remote": {"LoggedOn": False},
            "AllowedActions": _ACTIONS,
        }

    def _change_queue(self, key: int) -> None:
        some = self._chance.randrange
        self._since_ms[key] = self.now_ms - some(60_000)
        self._queues[key] = {
            "QueueKey": key,
            "Contacts": some(30),
            "OldestContactWaitTime": 0,
            "ServiceLevel": some(1_000) / 10,
            "ServiceLevelThreshold": 20,
            "ServiceLevelFormula": "Answered within the threshold / all answered",
            "AbandonedRate": some(100) / 10,
            "EstimatedWaitTime": some(900) / 10,
            "LoggedOnUsers": some(60),
            "AvailableUsers": some(30),
            "HandlingUsers": some(30),
            "PostProcessingUsers": some(9),
            "UnavailableUsers": some(9),
            "WorkUsers": some(9),
            "Level": "Ok",
        }

    def step(self) -> tuple[list[int], list[int]]:
        """Advance the time by one second; returns the keys of changed agents and queues."""
        self.now_ms += STEP_MS
        users = self._chance.sample(sorted(self._users), round(self.agents * self.changing))
        queues = self._chance.sample(sorted(self._queues), self.queues // 4)
        for key in users:
            self._change_user(key)
        for key in queues:
            self._change_queue(key)
        return users, queues

    # ---- messages ----

    def _user(self, key: int) -> Json:
        """Return a user, with the times in their states exact to the millisecond."""
        elapsed_s = (self.now_ms - self._since_ms[key]) / 1_000
        user = self._users[key]
        handling = [contact | {"TimeInHandlingState": elapsed_s} for contact in user["HandlingStates"]]
        return user | {"TimeInRoutingState": elapsed_s, "HandlingStates": handling}

    def _queue(self, key: int) -> Json:
        return self._queues[key] | {"OldestContactWaitTime": (self.now_ms - self._since_ms[key]) / 1_000}

    def elements(self, event_type: str, keys: list[int] | None = None) -> list[Json]:
        """Return elements of one event type, all when *keys* is None."""
        users, queues = keys or list(self._users), keys or list(self._queues)
        match event_type:
            case "UserRealtime":
                return [self._user(key) for key in users]
            case "QueueRealtime":
                return [self._queue(key) for key in queues]
            case "UserCumulative":
                return [
                    {"UserKey": key, "WindowStart": 0, "Handled": key % 7, "TotalTalkTime": key}
                    for key in users
                ]
            case "QueueCumulative":
                return [
                    {"QueueKey": key, "WindowStart": 0, "Received": key, "Answered": key} for key in queues
                ]
            case "Configuration":
                skills = [{"SkillKey": skill, "Level": 3, "Active": True} for skill in (1, 2, 3)]
                return [
                    {"ObjectType": "User", "Key": key, "Skills": skills, "Version": 1} for key in users
                ] + [
                    {"ObjectType": "Queue", "Key": key, "RoutingParameters": {"Level": 3}, "Version": 1}
                    for key in queues
                ]
            case _:
                return []

    def event(self, query: int, event_type: str, keys: list[int] | None = None) -> str:
        """Return an event, of all elements when *keys* is None; equal queries share one text."""
        at = (self.now_ms, query, event_type, keys is None)
        if at not in self._events:
            event = {"Type": "Event", "QueryID": query, "EventType": event_type, "Time": self.now_ms}
            event |= {"Complete": keys is None, "Elements": self.elements(event_type, keys)}
            self._events = {known: text for known, text in self._events.items() if known[0] == self.now_ms}
            self._events[at] = _text(event)
        return self._events[at]

    def opened(self, user: int) -> str:
        """Return the first message of a link."""
        person = {"Key": user, "ID": f"s{user}", "FirstName": "Ada", "LastName": f"No. {user}"}
        return _text(
            {
                "Type": "LinkOpened",
                "LinkID": str(user),
                "Time": self.now_ms,
                "KeepAlive": 20,
                "User": person,
                "Session": self._session(user),
            }
        )

    def answer(self, user: int, request: Json) -> list[str]:
        """Return the response to a request, and the event that follows it."""
        number, method = request["RequestID"], request["Method"]
        said: Json = {"Type": "Response", "RequestID": number, "Error": 0}
        match method:
            case "AttachSession":
                return [_text(said | self._session(user))]
            case "QueryDirectory":
                return [_text(said | {"Objects": self._directory()})]
            case "ListenForEvents":
                event_type = request["EventType"]
                texts = [_text(said | {"QueryID": number})]
                if event_type != "Administration":
                    texts.append(self.event(number, event_type))
                return texts
            case _:
                return [_text(said)]

    def _session(self, user: int) -> Json:
        scope = {"Users": list(self._users), "Queues": list(self._queues), "Groups": [], "Aggregates": []}
        return {
            "Session": 1,
            "ID": f"session-{user}",
            "Application": "Dashboard",
            "Rights": ["SkillsWrite"],
            "Scope": scope,
        }

    def _directory(self) -> Json:
        queue_keys = sorted(self._queues)[:5]
        return {
            "User": [
                {
                    "Key": key,
                    "ID": f"a{key}",
                    "FirstName": "Ann",
                    "LastName": f"No. {key}",
                    "Extension": str(20_000 + key),
                    "GroupKeys": [],
                    "QueueKeys": queue_keys,
                    "Version": 1,
                }
                for key in self._users
            ],
            "Queue": [{"Key": key, "Name": f"Queue {key}", "Media": "Voice"} for key in self._queues],
            "Skill": [
                {"Key": key, "Name": f"Skill {key}", "LevelMin": 0, "LevelMax": 9} for key in range(50)
            ],
        }
