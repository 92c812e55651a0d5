"""Which bytes does a server send? One full sample of each element and message, as the page describes them."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any, Final

from gateway.domain.resources import Composed, Queue, QueueEntry, QueueFigures, QueueWindow
from gateway.domain.upstream import Part

TIME_MS: Final = 1_700_000_100_000
"""When the sample readings were read."""

USER_REALTIME: Final[dict[str, Any]] = {
    "UserKey": 7,
    "Extension": "2107",
    "RoutingState": "Work",
    "TimeInRoutingState": 90,
    "ReasonKey": 31,
    "RoutingStateBy": "System",
    "PendingRoutingState": "LoggedOff",
    "PendingBy": "Supervisor",
    "PendingReasonKey": 32,
    "PendingPostProcessing": True,
    "PresenceState": "Away",
    "HandlingStates": [
        {
            "HandlingState": "Talking",
            "TimeInHandlingState": 12.5,
            "CallID": "c-1",
            "Media": "Voice",
            "QueueKey": 3,
            "Direct": False,
        },
        {
            "HandlingState": "PostProcessing",
            "TimeInHandlingState": 4,
            "CallID": "c-0",
            "Media": "WebCollaboration",
            "Direct": True,
        },
    ],
    "PostProcessing": {
        "EndsAt": 1_700_000_130_000,
        "Extendable": True,
        "NextState": "Available",
        "ReasonKey": 41,
    },
    "AutoPostProcessing": {"On": True, "Duration": 30},
    "Media": {
        "Voice": "On",
        "Callback": "Off",
        "Email": "Failed",
        "WebCollaboration": "Off",
        "OpenMedia": "On",
    },
    "Remote": {
        "LoggedOn": True,
        "AppPresent": False,
        "AppAbsentSince": 1_700_000_000_000,
        "RemoteNumber": "+49891234",
    },
    "AllowedActions": ["SetAvailable", "LogOff", "StartPostProcessing", "ChangeRemoteNumber"],
}
QUEUE_REALTIME: Final[dict[str, Any]] = {
    "QueueKey": 3,
    "Contacts": 5,
    "OldestContactWaitTime": 61.25,
    "ServiceLevel": 87.5,
    "ServiceLevelThreshold": 20,
    "ServiceLevelFormula": "answered in time / all",
    "AbandonedRate": 2.5,
    "EstimatedWaitTime": 33,
    "LoggedOnUsers": 10,
    "AvailableUsers": 2,
    "HandlingUsers": 4,
    "PostProcessingUsers": 1,
    "UnavailableUsers": 2,
    "WorkUsers": 1,
    "Level": "Attention",
}
GROUP_REALTIME: Final[dict[str, Any]] = {
    "GroupKey": 4,
    "LoggedOnUsers": 8,
    "IdleUsers": 1,
    "BusyUsers": 5,
    "AwayUsers": 2,
    "HandlingRoutedUsers": 4,
    "HandlingDirectUsers": 1,
    "CallsWaiting": 3,
}
AGGREGATE_REALTIME: Final[dict[str, Any]] = {
    "AggregateKey": 5,
    "Contacts": 9,
    "ServiceLevel": None,
    "OldestContactWaitTime": 10,
}
QUEUE_CUMULATIVE: Final[dict[str, Any]] = {
    "QueueKey": 3,
    "WindowStart": 1_699_999_000_000,
    "Received": 100,
    "Answered": 90,
    "Abandoned": 6,
    "AverageWaitTime": 14.5,
    "MaximumWaitTime": 120,
}
USER_CUMULATIVE: Final[dict[str, Any]] = {
    "UserKey": 7,
    "WindowStart": 1_699_999_000_000,
    "Handled": 21,
    "TotalTalkTime": 5400.4,
}
SKILLS: Final[list[dict[str, Any]]] = [
    {"SkillKey": 61, "Level": 3, "Preference": 2, "Active": True},
    {"SkillKey": 62, "Level": None},
]
USER_CONFIGURATION: Final[dict[str, Any]] = {"ObjectType": "User", "Key": 7, "Skills": SKILLS, "Version": 12}
QUEUE_CONFIGURATION: Final[dict[str, Any]] = {
    "ObjectType": "Queue",
    "Key": 3,
    "RoutingParameters": {"OverflowQueue": 9, "OverflowAfter": 60, "Open": True, "Share": 0.5, "Note": "x"},
    "Version": 2,
}
GROUP_CONFIGURATION: Final[dict[str, Any]] = {
    "ObjectType": "Group",
    "Key": 4,
    "RoutingParameters": {"OverflowQueue": 9},
    "Version": 3,
}
USER: Final[dict[str, Any]] = {
    "Key": 7,
    "ID": "ana",
    "FirstName": "Ana",
    "LastName": "Agent",
    "Extension": "2107",
    "GroupKeys": [4],
    "QueueKeys": [3, 9],
    "Skills": SKILLS,
    "Version": 11,
}
SESSION: Final[dict[str, Any]] = {
    "Session": 2,
    "ID": "public-1",
    "Application": "RemoteAssistant",
    "Rights": ["OwnRoutingState", "OwnPostProcessing", "Fly"],
    "Scope": {"Users": [7, 8], "Queues": [3], "Groups": [4], "Aggregates": [5]},
    "OwnUserKey": 7,
}
LINK_OPENED: Final[dict[str, Any]] = {
    "Type": "LinkOpened",
    "LinkID": "l-1",
    "Time": TIME_MS,
    "KeepAlive": 20,
    "User": {"Key": 7, "ID": "ana", "FirstName": "Ana", "LastName": "Agent", "Department": "Sales"},
    "LastEnd": {"Reason": "LoggedOffBySupervisor", "By": "Sue", "Time": 1_699_999_999_000},
    "Session": SESSION,
}


def event(event_type: str, *elements: dict[str, Any], **further: Any) -> bytes:  # noqa: ANN401 - JSON
    """Write an event."""
    told = {
        "Type": "Event",
        "QueryID": 1,
        "EventType": event_type,
        "Time": TIME_MS,
        "Complete": False,
        "Elements": list(elements),
    }
    return json.dumps(told | further).encode()


def message(type_: str, **fields: Any) -> bytes:  # noqa: ANN401 - JSON
    """Write any other message."""
    return json.dumps({"Type": type_, **fields}).encode()


def whole(part: Part) -> Composed:
    """Return the value of *part* as the resource of which it is one; of a queue it may hold fewer fields."""
    value = part.value
    if isinstance(value, QueueEntry | QueueFigures | QueueWindow):
        return Queue(**{each.name: getattr(value, each.name) for each in fields(value)})
    return value
