"""Wrong servers that the kit must catch: each is a simulator with one fault, and the check that finds it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from tests.server_conformance.faulty import (
    CUT,
    Call,
    Line,
    Message,
    Said,
    Spoil,
    answers,
    asks,
    body,
    closes,
    drops,
    each_element,
    hears,
    nothing,
    opens,
    refuses,
    reports,
    responds,
    says,
    sets,
)


class Fault(NamedTuple):
    """One faulty server."""

    found_by: str
    spoil: type[Spoil]
    breaks: str | None = None
    """Words of the sentence that is reported, when it is not the check's own."""


SESSIONS, CURRENT = "/sessions", "/sessions/current"
_COUNT: Final = itertools.count(10**15)


class ShortSecrets(Spoil):
    """Sessions are known by small numbers."""

    def __init__(self) -> None:
        super().__init__()
        self._secrets: dict[str, str] = {}

    def instead(self, call: Call) -> Said | None:
        short = call.headers.get("OSCCE-Session")
        if short is not None:
            call.headers["OSCCE-Session"] = self._secrets.get(short, short)
        return None

    def reply(self, call: Call, said: Said) -> Said:
        if isinstance(said.body, dict) and "SessionID" in said.body:
            short = f"session-{len(self._secrets)}"
            self._secrets[short], said.body["SessionID"] = said.body["SessionID"], short
        return said


class ForgetsEnded(Spoil):
    """A second DELETE finds no session."""

    def __init__(self) -> None:
        super().__init__()
        self._ended: set[str] = set()

    def instead(self, call: Call) -> Said | None:
        if call.method != "DELETE" or call.path != CURRENT:
            return None
        secret = call.headers["OSCCE-Session"]
        if secret in self._ended:
            return Said(401, {"Error": "SessionUnknown"})
        self._ended.add(secret)
        return None


class ExecutesReplaced(Spoil):
    """A replaced link goes on: what is asked on it is done by the new one."""

    def up(self, line: Line, message: Message) -> Iterable[Message]:
        return (message if line is self.lines[-1] else {**message, "RequestID": 10**9},)

    def to(self, line: Line) -> Line:
        return self.lines[-1]

    def down(self, line: Line, message: Message) -> Iterable[Message | str]:
        if message.get("Type") == "LinkReplaced" or message.get("RequestID") == 10**9:
            return ()
        return (message,)

    def close(self, line: Line, code: int) -> int | None:
        return None if code == 4409 else code


class EventsAfterResponses(Spoil):
    """What changed is sent after the response of the request that changed it."""

    def down(self, line: Line, message: Message) -> Iterable[Message | str]:
        if message["Type"] == "Event" and not message["Complete"]:
            line.held.append(message)
            return ()
        if message["Type"] != "Response":
            return (message,)
        held, line.held = line.held, []
        return (message, *held)


class EventBeforeAnswer(Spoil):
    """The first event of a query comes before its number is known."""

    def down(self, line: Line, message: Message) -> Iterable[Message | str]:
        if line.asked.get(message.get("RequestID", -1)) == "ListenForEvents":
            line.held.append(message)
            return ()
        held, line.held = line.held, []
        return (message, *held)


class FunctionsFirst(Spoil):
    """A link begins with its functions."""

    def down(self, line: Line, message: Message) -> Iterable[Message | str]:
        if message["Type"] == "LinkOpened":
            line.held.append(message)
            return ()
        held, line.held = line.held, []
        return (message, *held)


class ScopeLast(Spoil):
    """Whole sets of a larger scope come before the words that tell it."""

    def down(self, line: Line, message: Message) -> Iterable[Message | str]:
        if message.get("EventType") == "Administration":
            line.held.append(message)
            return ()
        held, line.held = line.held, []
        return (message, *held)


class NoWholeSets(Spoil):
    """Only the first event of a query is a whole set."""

    def __init__(self) -> None:
        super().__init__()
        self._received: set[tuple[int, int]] = set()

    def down(self, line: Line, message: Message) -> Iterable[Message | str]:
        if message["Type"] != "Event" or not message["Complete"]:
            return (message,)
        place = (line.number, message["QueryID"])
        if place in self._received:
            return ()
        self._received.add(place)
        return (message,)


class PartsAreWhole(Spoil):
    """Each event says that it is the whole set, also when it is a part of it."""

    def down(self, line: Line, message: Message) -> Iterable[Message | str]:
        if message.get("EventType") == "UserRealtime":
            message["Complete"] = True
        return (message,)


class ClosesWithOpener(Spoil):
    """A link ends with the session that opened it."""

    def down(self, line: Line, message: Message) -> Iterable[Message | str]:
        if message["Type"] == "SessionEnded" and message["Session"] == 1:
            return (message, CUT)
        return (message,)


class KeysOfLinks(Spoil):
    """A RequestKey is forgotten with its link."""

    def up(self, line: Line, message: Message) -> Iterable[Message]:
        if "RequestKey" in message:
            message["RequestKey"] += f"-{line.number}"
        return (message,)


class TokensOfLinks(Spoil):
    """The highest token is forgotten when the link is gone."""

    def upgrade(self, headers: dict[str, str]) -> Said | None:
        if all(line.down.closed for line in self.lines) and "OSCCE-Link-Token" in headers:
            headers["OSCCE-Link-Token"] = str(next(_COUNT))
        return None


class NoSubprotocol(Spoil):
    """The server speaks on without agreeing to the subprotocol."""

    protocols = ()


class SameInstance(Spoil):
    """ServerInstance is a constant."""

    def reply(self, call: Call, said: Said) -> Said:
        if isinstance(said.body, dict) and "ServerInstance" in said.body:
            said.body["ServerInstance"] = "constant"
        return said


class OthersAttach(Spoil):
    """Any session can be attached."""

    def down(self, line: Line, message: Message) -> Iterable[Message | str]:
        if message.get("ErrorName") == "Forbidden":
            attached = {**self.opened[line.number]["Session"], "Session": 7}
            return ({"Type": "Response", "RequestID": message["RequestID"], "Error": 0, **attached},)
        if message["Type"] == "LinkOpened":
            self.opened[line.number] = message
        return (message,)

    def __init__(self) -> None:
        super().__init__()
        self.opened: dict[int, Message] = {}


class StaysPresent(Spoil):
    """Who was there once is there for ever."""

    def __init__(self) -> None:
        super().__init__()
        self._there: set[int] = set()

    def down(self, line: Line, message: Message) -> Iterable[Message | str]:
        if message.get("EventType") == "UserRealtime":
            for each in message["Elements"]:
                if each["Remote"].get("AppPresent"):
                    self._there.add(each["UserKey"])
                elif each["UserKey"] in self._there:
                    each["Remote"]["AppPresent"] = True
        return (message,)


class TellsAgain(Spoil):
    """Sends an agent's last event again before it says that nothing changed."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[int, Message] = {}

    def down(self, line: Line, message: Message) -> Iterable[Message | str]:
        if message.get("EventType") == "UserRealtime":
            self._last[line.number] = message
        again = message.get("State") == "Unchanged" and line.number in self._last
        return (self._last[line.number], message) if again else (message,)


class ForbidsTheSecond(Spoil):
    """Answers differently who is not there and who is not in the scope: the kit asks in this order."""

    def __init__(self) -> None:
        super().__init__()
        self._not_found = 0

    def down(self, line: Line, message: Message) -> Iterable[Message | str]:
        self._not_found += message.get("Error") == 5
        if message.get("Error") == 5 and self._not_found == 2:
            message |= {"Error": 4, "ErrorName": "Forbidden"}
        return (message,)


def _first_of_list(request: Message) -> None:
    if isinstance(request.get("RoutingState"), list):
        request["RoutingState"] = request["RoutingState"][0]


def _expired_end(opened: Message) -> None:
    if "LastEnd" in opened:
        opened["LastEnd"]["Reason"] = "Expired"


def _number(change: Any) -> Any:  # noqa: ANN401 - builds a change of HTTPS calls
    def alter(call: Call) -> None:
        change(call.body)

    return alter


def _token(headers: dict[str, str]) -> None:
    if "OSCCE-Link-Token" in headers:
        headers["OSCCE-Link-Token"] = str(next(_COUNT))


def _holder(headers: dict[str, str]) -> None:
    headers["OSCCE-Link-Holder"] = "any"


def _other_holder(headers: dict[str, str]) -> None:
    headers["OSCCE-Link-Holder"] = str(next(_COUNT))


def _never_one(headers: dict[str, str]) -> Said | None:
    low = headers.get("OSCCE-Link-Token") == "1"
    return Said(409, {"Error": "LinkStale", "Token": 2}) if low else None


def _whole_administration(query: int) -> Message:
    kind = {"QueryID": query, "EventType": "Administration", "Time": 2 * 10**12}
    return {"Type": "Event", **kind, "Complete": True, "Elements": []}


def _one_less(response: Message) -> None:
    response["Objects"]["Queue"].pop()


def _fill(headers: dict[str, str]) -> None:
    headers.setdefault("OSCCE-Link-Token", str(next(_COUNT)))
    headers.setdefault("OSCCE-Link-Holder", "any")


def _seconds(said: Message) -> None:
    said["ExpiresAt"] //= 1000


def _never_removed(event: Message) -> Iterable[Message] | None:
    event.pop("Removed", None)
    return None if event["Elements"] or event["Complete"] else ()


def _foreign_queue(response: Message) -> None:
    response["Objects"]["Queue"].append({"Key": 1, "Name": "Secret", "Media": "Voice"})


def _same_keys(response: Message) -> None:
    for kind in ("UnavailableReason", "WorkReason"):
        for number, each in enumerate(response["Objects"].get(kind, ())):
            each["Key"] = number


def _shows_number(element: Message) -> None:
    element["Remote"]["RemoteNumber"] = "+4930999"


def _present(element: Message) -> None:
    if "AppPresent" in element["Remote"]:
        element["Remote"]["AppPresent"] = True


def _all_attached(said: Message) -> None:
    for each in said["Sessions"]:
        each["Attached"] = True


def _only_first(said: Message) -> None:
    del said["Sessions"][1:]


def _twice(message: Message) -> Iterable[Message]:
    return (message, message)


def _unchanged(response: Message) -> None:
    if response.get("State") == "Unchanged":
        response["State"] = "Applied"


def _strict(message: Message) -> Iterable[Message]:
    if "FromTheFuture" in message:
        message["Method"] = 7
    return (message,)


def _pushes_off(element: Message) -> None:
    element["PendingRoutingState"] = None


def _late_clock(message: Message) -> None:
    message["Time"] -= 60_000


def _other_instant(event: Message) -> None:
    event["Time"] += next(_COUNT) % 1000


def _now(message: Message) -> None:
    if message["RoutingState"] == "LoggedOff":
        message["When"] = "AfterContact"


FAULTS: Final[dict[str, Fault]] = {
    # ---- about ----
    "is too old": Fault("about.versions", answers("GET", "/about", body(sets(ExtensionsVersion="V1R9")))),
    "reports no version": Fault(
        "about.versions", answers("GET", "/about", body(drops("ContactCenterVersion")))
    ),
    "has features of no type": Fault(
        "about.answers", answers("GET", "/about", body(sets(Features="all"))), "The type of every field"
    ),
    "spells a feature otherwise": Fault(
        "about.features", answers("GET", "/about", body(sets(Features=["linkFencing", "RequestKeys"])))
    ),
    "reports another instance at the log-on": Fault(
        "about.instance", answers("POST", SESSIONS, body(sets(ServerInstance="other")))
    ),
    "has the same instance for ever": Fault("owner.instance", SameInstance),
    # ---- log-on ----
    "answers a log-on with 200": Fault("log_on.dashboard", answers("POST", SESSIONS, body(sets(), 200))),
    "reports no ID of a session": Fault(
        "log_on.dashboard", answers("POST", SESSIONS, body(drops("ID"))), "The type of every field"
    ),
    "has secrets that can be guessed": Fault("log_on.secret", ShortSecrets),
    "gives the ID of an ended session again": Fault(
        "log_on.public", answers("POST", SESSIONS, body(sets(ID="1")))
    ),
    "reports seconds for milliseconds": Fault("log_on.times", answers("POST", SESSIONS, body(_seconds))),
    "never logs an idle agent off": Fault(
        "log_on.idle_timeout", answers("POST", SESSIONS, body(sets(IdleTimeout=0)))
    ),
    "answers a wrong password with 403": Fault(
        "log_on.wrong_password", refuses("InvalidCredentials", body(sets(), 403))
    ),
    "reports that a user is unknown": Fault(
        "log_on.wrong_password", refuses("InvalidCredentials", body(sets(Error="UserUnknown")))
    ),
    "answers what cannot be read with 500": Fault(
        "log_on.malformed", refuses("BadRequest", body(sets(), 500))
    ),
    "does not report where somebody is logged on": Fault(
        "log_on.already_logged_on",
        refuses("AlreadyLoggedOn", body(drops("Where"))),
        "AlreadyLoggedOn{Where,Since}",
    ),
    "takes over without being asked": Fault(
        "log_on.already_logged_on", asks("POST", SESSIONS, _number(lambda said: said.update(Takeover=True)))
    ),
    "takes nothing over": Fault(
        "log_on.takeover", asks("POST", SESSIONS, _number(lambda said: said.pop("Takeover", None)))
    ),
    "does not recognise a device": Fault(
        "log_on.same_device",
        asks("POST", SESSIONS, _number(lambda said: said["Device"].update(ID=str(next(_COUNT))))),
    ),
    "keeps two Dashboards of one device": Fault(
        "log_on.same_device_dashboard",
        asks("POST", SESSIONS, _number(lambda said: said["Device"].update(ID=str(next(_COUNT))))),
    ),
    "allows one Dashboard": Fault(
        "log_on.many_dashboards",
        asks("POST", SESSIONS, _number(lambda said: said["Device"].update(ID="one"))),
    ),
    "answers a barred number with 400": Fault(
        "log_on.refused.RemoteNumberNotAllowed", refuses("RemoteNumberNotAllowed", body(sets(), 400))
    ),
    "does not report how long an account is locked": Fault(
        "log_on.refused.AccountLocked", refuses("AccountLocked", body(drops("RetryAfter")))
    ),
    # ---- sessions, log-off ----
    "answers an unknown session with 404": Fault(
        "session.unknown", refuses("SessionUnknown", body(sets(), 404))
    ),
    "reports no new end of a session": Fault(
        "session.keepalive",
        answers("POST", f"{CURRENT}/keepalive", body(drops("ExpiresAt"))),
        "The type of every",
    ),
    "shortens a life that is kept": Fault(
        "session.keepalive", answers("POST", f"{CURRENT}/keepalive", body(sets(ExpiresAt=1_500_000_000_000)))
    ),
    "lists one session": Fault("session.list", answers("GET", SESSIONS, body(_only_first))),
    "says that all sessions are attached": Fault(
        "session.attached", answers("GET", SESSIONS, body(_all_attached))
    ),
    "ends no other session": Fault(
        "session.end_other", asks("DELETE", "/sessions/s", lambda _: Said(200, {"Routing": "None"}))
    ),
    "has a clock in HTTPS that is an hour late": Fault(
        "session.date",
        answers("POST", SESSIONS, lambda said: said.headers.update(Date="Thu, 01 Jan 2026 00:00:00 GMT")),
    ),
    "forgets an ended session at once": Fault("log_off.again", ForgetsEnded),
    "does not report that routing is removed": Fault(
        "log_off.assistant", answers("DELETE", CURRENT, body(sets(Routing="None")))
    ),
    "removes routing while a contact is handled": Fault(
        "contacts.log_off_by_https", answers("DELETE", CURRENT, body(sets(Routing="Removed")))
    ),
    # ---- link ----
    "begins a link with something else": Fault("link.opens", FunctionsFirst),
    "reports no functions": Fault("link.functions", says("ManagerStateChanged", nothing)),
    "agrees to no subprotocol": Fault("link.subprotocol", NoSubprotocol),
    "refuses the link of an ended session with 403": Fault(
        "link.session_unknown", refuses("SessionUnknown", body(sets(), 403))
    ),
    "reports no time": Fault("link.keep_alive", responds("KeepAlive", drops("Time"))),
    "has a clock that goes back": Fault("link.time_goes_on", responds("KeepAlive", _late_clock)),
    "ends a link with the session that opened it": Fault("link.any_session", ClosesWithOpener),
    "closes a link with another code": Fault(
        "link.lingers", closes(lambda code: 1011 if code == 1000 else code)
    ),
    "keeps a link without a session": Fault("link.lingers", closes(lambda _: None)),
    "reports a KeepAlive as a text": Fault(
        "link.opens", says("LinkOpened", sets(KeepAlive="20")), "The type of every field"
    ),
    "reports no scope": Fault(
        "link.opens", says("LinkOpened", lambda each: each["Session"].pop("Scope") and None)
    ),
    # ---- fencing ----
    "lets an old owner back": Fault("fencing.lower", opens(_token)),
    "does not report the highest token": Fault("fencing.lower", refuses("LinkStale", body(drops("Token")))),
    "lets another holder in": Fault("fencing.other_holder", opens(_holder)),
    "asks for no token": Fault("fencing.headers", opens(_fill)),
    "replaces a link without a message": Fault("fencing.replaced", says("LinkReplaced", nothing)),
    "closes a replaced link with 1000": Fault(
        "fencing.replaced", closes(lambda code: 1000 if code == 4409 else code)
    ),
    "executes what a replaced link asks": Fault("fencing.not_executed", ExecutesReplaced),
    "forgets the token with the link": Fault("fencing.outlives_the_link", TokensOfLinks),
    "keeps two links of a user": Fault("fencing.newest", closes(lambda code: None if code == 4409 else code)),
    # ---- sessions on links ----
    "lets anybody's session be attached": Fault("attach.foreign", OthersAttach),
    "has one alias for all sessions": Fault("attach.second", responds("AttachSession", sets(Session=1))),
    "gives an alias at each attach": Fault(
        "attach.again", responds("AttachSession", lambda each: each.update(Session=each["RequestID"] + 100))
    ),
    "gives an alias again": Fault("attach.new_alias", responds("AttachSession", sets(Session=77))),
    "answers an unknown session with NotFound": Fault(
        "attach.unknown",
        responds(
            "AttachSession",
            lambda each: each.update(Error=5, ErrorName="NotFound") if each["Error"] else None,
        ),
    ),
    "reports no own agent": Fault(
        "attach.own_user", says("LinkOpened", lambda each: each["Session"].pop("OwnUserKey") and None)
    ),
    "keeps an alias of a detached session": Fault(
        "attach.detach", hears("DetachSession", lambda each: ({**each, "Method": "KeepAlive"},))
    ),
    # ---- events ----
    "reports an event before its query": Fault(
        "listen.answer_first", EventBeforeAnswer, "precedes its first event"
    ),
    "reports no whole set first": Fault(
        "listen.first.QueueRealtime", reports("QueueRealtime", sets(Complete=False))
    ),
    "leaves a queue out": Fault(
        "listen.first.QueueRealtime", reports("QueueRealtime", lambda each: each["Elements"].pop() and None)
    ),
    "reports numbers as texts": Fault(
        "listen.first.QueueRealtime",
        reports("QueueRealtime", each_element(lambda one: one.update(Contacts=str(one["Contacts"])))),
        "The type of every field",
    ),
    "reports agents without a key": Fault(
        "listen.first.UserRealtime",
        reports("UserRealtime", each_element(drops("UserKey"))),
        "The type of every field",
    ),
    "reports no versions": Fault(
        "listen.first.Configuration", reports("Configuration", each_element(drops("Version")))
    ),
    "reports no users in Configuration": Fault(
        "listen.first.Configuration",
        reports(
            "Configuration",
            lambda each: each.update(
                Elements=[one for one in each["Elements"] if one["ObjectType"] != "User"]
            ),
        ),
    ),
    "reports all queues when asked for one": Fault("listen.keys", hears("ListenForEvents", sets(Keys="All"))),
    "goes on with a stopped query": Fault(
        "listen.stop", hears("StopListeningForEvents", lambda each: ({**each, "Method": "KeepAlive"},))
    ),
    "says that parts are whole": Fault("listen.changes", PartsAreWhole),
    "never reports that somebody left": Fault("listen.removed", reports("UserRealtime", _never_removed)),
    "has a time of its own for each link": Fault(
        "listen.same_reading", reports("UserRealtime", _other_instant)
    ),
    # ---- directory, scope, presence ----
    "shows a queue to everybody": Fault("directory.scope", responds("QueryDirectory", _foreign_queue)),
    "has one key for two reasons": Fault("directory.reasons", responds("QueryDirectory", _same_keys)),
    "reports no larger set": Fault("scope.union", NoWholeSets),
    "reports a larger set before it is allowed": Fault("scope.grown", ScopeLast),
    "does not report a smaller scope": Fault("scope.narrowed", reports("Administration", nothing)),
    "says that a device is there": Fault("presence.said", reports("UserRealtime", each_element(_present))),
    "ignores that a device is there": Fault(
        "presence.said", hears("Presence", lambda each: ({**each, "Method": "KeepAlive"},))
    ),
    # ---- requests ----
    "executes what has expired": Fault("requests.expired", hears("*", drops("NotAfter"))),
    "executes a command twice": Fault("requests.key_once", hears("*", drops("RequestKey"))),
    "forgets a key with the link": Fault("requests.key_on_next_link", KeysOfLinks),
    "takes all keys for one": Fault("requests.new_key", hears("SetRoutingState", sets(RequestKey="any"))),
    "answers twice": Fault("requests.each_answered", responds("*", _twice)),
    "answers another request": Fault(
        "requests.each_answered",
        responds("KeepAlive", lambda each: each.update(RequestID=each["RequestID"] + 100)),
        "responses",
    ),
    "refuses unknown fields": Fault("requests.unknown_fields", hears("*", _strict)),
    "breaks off at an unknown method": Fault(
        "requests.unknown_method", responds("*", lambda each: (CUT,) if each.get("Error") == 2 else None)
    ),
    "overlooks what cannot be read": Fault("requests.unreadable", closes(lambda _: None)),
    "names errors otherwise than the page": Fault(
        "requests.expired",
        responds("*", lambda each: each.update(ErrorName="Internal") if each["Error"] else None),
        "code | name",
    ),
    # ---- commands ----
    "answers before the effect is reported": Fault("commands.effect_first", EventsAfterResponses),
    "reports a change where there is none": Fault(
        "commands.unchanged", responds("SetRoutingState", _unchanged)
    ),
    "asks for no reason": Fault(
        "commands.reason_required",
        responds(
            "SetRoutingState",
            lambda each: each.update(Error=0, State="Applied") if each["Error"] == 21 else None,
        ),
    ),
    "does not report the present version": Fault(
        "commands.version_conflict", responds("SetSkills", drops("Version"))
    ),
    "does not report the bounds of a level": Fault(
        "commands.level_out_of_range", responds("SetSkills", drops("Max"))
    ),
    "shows remote numbers to supervisors": Fault(
        "commands.number_is_own", reports("UserRealtime", each_element(_shows_number))
    ),
    "does not report the number in effect": Fault(
        "commands.remote_number", responds("ChangeRemoteNumber", drops("RemoteNumber"))
    ),
    "does not report what is pending": Fault(
        "contacts.pending", reports("UserRealtime", each_element(_pushes_off))
    ),
    "logs an agent off during a contact": Fault("contacts.log_off", hears("SetRoutingState", _now)),
    # ---- ends ----
    "does not report that a session ended": Fault("ends.logged_off", says("SessionEnded", nothing)),
    "has one reason for all ends": Fault("ends.Expired", says("SessionEnded", sets(Reason="LoggedOff"))),
    "reports a supervisor's log-off as the agent's own": Fault(
        "commands.log_off_by_supervisor", says("SessionEnded", sets(Reason="LoggedOff"))
    ),
    "does not report a function's state": Fault(
        "owner.function", says("ManagerStateChanged", lambda each: () if each["State"] == "Down" else None)
    ),
    "sends what is no JSON": Fault(
        "owner.notice", says("Notice", lambda each: (json.dumps(each)[:-1],)), "JSON in text frames"
    ),
    # ---- and more of each ----
    "does not recognise its own holder": Fault("fencing.same_holder", opens(_other_holder)),
    "remembers tokens for ever": Fault("fencing.ends_with_the_last_session", opens(_never_one)),
    "reports Administration as a whole": Fault(
        "listen.administration",
        responds("ListenForEvents", lambda each: (each, _whole_administration(each["QueryID"]))),
    ),
    "leaves a group out": Fault(
        "listen.first.GroupRealtime", reports("GroupRealtime", lambda each: each["Elements"].pop() and None)
    ),
    "leaves a queue out of the directory": Fault("directory.whole", responds("QueryDirectory", _one_less)),
    "reports more kinds than were asked for": Fault(
        "directory.kinds", hears("QueryDirectory", sets(Kinds=["Skill", "Queue"]))
    ),
    "does not report that rights were taken": Fault("scope.rights", reports("Administration", nothing)),
    "does not report another name": Fault("scope.renamed", reports("Administration", nothing)),
    "takes any session for the first": Fault(
        "requests.session_unknown", hears("SetRoutingState", sets(Session=1))
    ),
    "guesses what lacks": Fault(
        "requests.bad",
        hears("SetRoutingState", lambda each: each.setdefault("RoutingState", "Available") and None),
    ),
    "makes agents available at the log-on": Fault(
        "log_on.unavailable", reports("UserRealtime", each_element(sets(RoutingState="Available")))
    ),
    "reports a skill after its response": Fault("commands.skills", EventsAfterResponses),
    "reports a parameter after its response": Fault("commands.parameters", EventsAfterResponses),
    "has one version for all": Fault("commands.version_grows", responds("SetSkills", sets(Version=1))),
    "lets sessions live through a restart": Fault(
        "owner.restart", asks("POST", f"{CURRENT}/keepalive", lambda _: Said(200, {"ExpiresAt": 2 * 10**12}))
    ),
    "does not report that a link was lost": Fault("presence.lost", StaysPresent),
    "takes devices over to a new link": Fault("presence.replaced", StaysPresent),
    "stops what is not there": Fault(
        "listen.query_unknown", responds("StopListeningForEvents", drops("Error", "ErrorName"))
    ),
    "reads the first of a list": Fault("requests.bad", hears("SetRoutingState", _first_of_list)),
    "reports an event for nothing": Fault("commands.unchanged", TellsAgain),
    "forbids what is not there": Fault(
        "commands.not_found", responds("SetRoutingState", sets(Error=4, ErrorName="Forbidden"))
    ),
    "forbids what is out of scope": Fault("commands.out_of_scope", ForbidsTheSecond),
    "reports a number that is in effect as pending": Fault(
        "commands.remote_number", responds("ChangeRemoteNumber", sets(State="Pending"))
    ),
    "reports another last end": Fault("ends.last_end", says("LinkOpened", _expired_end)),
}
