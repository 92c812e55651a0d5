"""More wrong servers that the kit must catch: figures, fields and commands. `FAULTS` has all of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from tests.server_conformance import faults as first
from tests.server_conformance.faults import CURRENT, SESSIONS, EventsAfterResponses, Fault
from tests.server_conformance.faulty import (
    Call,
    Line,
    Message,
    Said,
    Spoil,
    answers,
    asks,
    body,
    drops,
    each_element,
    hears,
    nothing,
    reports,
    responds,
    says,
    sets,
)


class KeepsNumber(Spoil):
    """A take-over keeps the number of the old session."""

    def __init__(self) -> None:
        super().__init__()
        self._number: Any = None

    def instead(self, call: Call) -> Said | None:
        if call.method == "POST" and call.path == SESSIONS and isinstance(call.body, dict):
            if self._number is None:
                self._number = call.body.get("RemoteNumber")
            if "RemoteNumber" in call.body:
                call.body["RemoteNumber"] = self._number
        return None


class KeepsGoodSkills(Spoil):
    """Skills that exist are set although the request is refused."""

    def up(self, line: Line, message: Message) -> Iterable[Message]:
        skills = message.get("Skills") or ()
        if len(skills) < 2:
            return (message,)
        return ({**message, "RequestID": 1_000_000 + message["RequestID"], "Skills": skills[:1]}, message)

    def down(self, line: Line, message: Message) -> Iterable[Message | str]:
        if message.get("RequestID", 0) > 1_000_000:
            return ()
        if message.get("ErrorName") == "VersionConflict":
            message |= {"Error": 10, "ErrorName": "SkillUnknown"}
        return (message,)


def _first_is_attached(said: Message) -> None:
    said["Sessions"][0]["Attached"] = True


def _removes_changed(event: Message) -> None:
    if not event.get("Complete"):
        event["Removed"] = [each["UserKey"] for each in event["Elements"]]


def _without_key(request: Message) -> None:
    request.pop("RequestKey", None)


def _in_milliseconds(element: Message) -> None:
    element["TimeInRoutingState"] = 1000 * element["TimeInRoutingState"]


def _unavailable_for_work(request: Message) -> None:
    if request.get("RoutingState") == "Work":
        request["RoutingState"] = "Unavailable"
        request.pop("ReasonKey", None)


def _unavailable_for_log_off(request: Message) -> None:
    if request.get("RoutingState") == "LoggedOff":
        request["RoutingState"] = "Unavailable"


def _available(request: Message) -> None:
    if request.get("RoutingState") == "Talking":
        request["RoutingState"] = "Available"


def _done(response: Message) -> None:
    """A refusal is sent as done."""
    if response.get("Error"):
        response |= {"Error": 0, "State": "Applied", "Version": 1}
        response.pop("ErrorName", None)


def _pending_by_system(element: Message) -> None:
    if element.get("PendingBy"):
        element["PendingBy"] = "System"


def _another_pending_reason(element: Message) -> None:
    if element.get("PendingReasonKey"):
        element["PendingReasonKey"] += 1


def _changes_at_once(element: Message) -> None:
    element["RoutingState"] = element.get("PendingRoutingState") or element["RoutingState"]


def _first_pending(element: Message) -> None:
    if element.get("PendingRoutingState") == "LoggedOff":
        element["PendingRoutingState"] = "Available"


def _stays_unavailable(element: Message) -> None:
    if element.get("RoutingState") == "Available":
        element["RoutingState"] = "Unavailable"


def _unknown_skills(response: Message) -> None:
    for queue in response["Objects"].get("Queue", ()):
        queue["SkillKeys"] = [987_654_321]


def _strict_log_on(call: Call) -> Said | None:
    return Said(400, {"Error": "BadRequest"}) if "FromTheFuture" in (call.body or ()) else None


FAULTS: Final[dict[str, Fault]] = {
    **first.FAULTS,
    "shows a wait of 0 where nobody waits": Fault(
        "listen.nobody_waits",
        reports("QueueRealtime", each_element(lambda one: one.update(OldestContactWaitTime=0))),
    ),
    "reports how long in milliseconds": Fault(
        "listen.seconds", reports("UserRealtime", each_element(_in_milliseconds))
    ),
    "does not count on": Fault(
        "listen.seconds", reports("UserRealtime", each_element(sets(TimeInRoutingState=0)))
    ),
    "has no state Work": Fault("commands.work", hears("SetRoutingState", _unavailable_for_work)),
    "keeps an agent who asked to be logged off": Fault(
        "commands.log_off_self", hears("SetRoutingState", _unavailable_for_log_off)
    ),
    "takes Talking for Available": Fault("commands.no_such_state", hears("SetRoutingState", _available)),
    "lets an agent set another": Fault("commands.own_agent_only", responds("SetRoutingState", _done)),
    "reports each state as the agent's own": Fault(
        "commands.by_whom", reports("UserRealtime", each_element(sets(RoutingStateBy="Self")))
    ),
    "takes any reason": Fault("commands.reason_wrong_kind", responds("SetRoutingState", _done)),
    "takes a text for a number": Fault("commands.wrong_type", responds("SetRoutingParameters", _done)),
    "writes what is read-only": Fault(
        "commands.parameter_read_only", responds("SetRoutingParameters", _done)
    ),
    "does not compare versions of parameters": Fault(
        "commands.parameters_conflict", responds("SetRoutingParameters", _done)
    ),
    "post-processes without a contact": Fault("commands.no_contact", responds("PostProcessing", _done)),
    "applies at once during a contact": Fault(
        "contacts.pending_now",
        responds("SetRoutingState", lambda each: each.update(State="Applied") if "State" in each else None),
    ),
    "reports an agent's request as the system's": Fault(
        "contacts.pending_by", reports("UserRealtime", each_element(_pending_by_system))
    ),
    "forgets the reason of what is pending": Fault(
        "contacts.pending_by", reports("UserRealtime", each_element(_another_pending_reason))
    ),
    "does not report that post-processing follows": Fault(
        "contacts.pending_post_processing",
        reports("UserRealtime", each_element(sets(PendingPostProcessing=False))),
    ),
    "needs skills that do not exist": Fault(
        "directory.skills_of_queues", responds("QueryDirectory", _unknown_skills)
    ),
    "remembers keys of the user": Fault("requests.key_of_session", hears("SetRoutingState", sets(Session=1))),
    "keeps the old number at a take-over": Fault("log_on.takeover_number", KeepsNumber),
    "reports routing as a number": Fault(
        "session.end_other", answers("DELETE", "/sessions/", body(sets(Routing=7))), "The type of every"
    ),
    # ---- of the checks that had none ----
    "reports a supervisor nothing": Fault("commands.by_supervisor", EventsAfterResponses),
    "accepts every reason": Fault("commands.reason_unknown", responds("SetRoutingState", _done)),
    "accepts every skill": Fault("commands.skill_unknown", responds("SetSkills", _done)),
    "accepts every parameter": Fault("commands.parameter_unknown", responds("SetRoutingParameters", _done)),
    "does not report the bounds of a parameter": Fault(
        "commands.value_out_of_range", responds("SetRoutingParameters", drops("Min"))
    ),
    "finishes what has not begun": Fault("commands.not_post_processing", responds("PostProcessing", _done)),
    "reports everybody's automatic post-processing": Fault(
        "commands.auto_is_own",
        reports("UserRealtime", each_element(sets(AutoPostProcessing={"On": True, "Duration": 5}))),
    ),
    "reports automatic post-processing late": Fault("commands.auto_post_processing", EventsAfterResponses),
    "answers a repeated attach without rights": Fault(
        "attach.again", responds("AttachSession", sets(Rights=[]))
    ),
    "reports a session as attached for ever": Fault(
        "session.attached", answers("GET", SESSIONS, body(_first_is_attached))
    ),
    "removes the agent who changed": Fault("listen.changes", reports("UserRealtime", _removes_changed)),
    "forgets the keys of refused requests": Fault(
        "requests.key_refused", hears("SetRoutingState", _without_key)
    ),
    "reports a smaller scope to some queries": Fault(
        "scope.narrowed", reports("QueueCumulative", sets(Complete=False))
    ),
    "executes a part of a refused request": Fault("commands.refused_whole", KeepsGoodSkills),
    "changes the state during a contact": Fault(
        "contacts.pending", reports("UserRealtime", each_element(_changes_at_once))
    ),
    "keeps the first pending state": Fault(
        "contacts.cleared", reports("UserRealtime", each_element(_first_pending))
    ),
    "keeps what was pending": Fault(
        "contacts.cleared",
        responds("SetRoutingState", lambda each: each.update(State="Pending") if "State" in each else None),
    ),
    "never lets the pending state come": Fault(
        "contacts.emptied", reports("UserRealtime", each_element(_stays_unavailable))
    ),
    "begins no post-processing": Fault(
        "contacts.post_processing", reports("UserRealtime", each_element(drops("PostProcessing")))
    ),
    "reports a block as an end by itself": Fault(
        "ends.Blocked", says("SessionEnded", sets(Reason="Expired"))
    ),
    "reports a maintenance as an end by itself": Fault(
        "ends.Maintenance", says("SessionEnded", sets(Reason="Expired"))
    ),
    "does not report that another device ended it": Fault("ends.by_another", says("SessionEnded", nothing)),
    "leaves an aggregate out": Fault(
        "listen.first.AggregateRealtime",
        reports("AggregateRealtime", lambda each: each["Elements"].pop() and None),
    ),
    "reports counters as parts": Fault(
        "listen.first.QueueCumulative", reports("QueueCumulative", sets(Complete=False))
    ),
    "reports agents' counters as parts": Fault(
        "listen.first.UserCumulative", reports("UserCumulative", sets(Complete=False))
    ),
    "reports no agent": Fault(
        "presence.said", reports("UserRealtime", lambda each: each["Elements"].clear())
    ),
    "accepts a device of no session": Fault("presence.unknown", responds("Presence", _done)),
    "routes for a Dashboard": Fault(
        "log_off.dashboard", answers("DELETE", CURRENT, body(sets(Routing="AfterContact")))
    ),
    "refuses unknown fields of a log-on": Fault(
        "log_on.unknown_fields",
        asks("POST", SESSIONS, _strict_log_on),
    ),
}
