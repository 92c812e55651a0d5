"""Wrong servers that the kit must catch: ``faults.toml``.

Each is a simulator with one fault, and the check that finds it.
"""

from __future__ import annotations

import itertools
import json
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.server_conformance.faulty import CUT, Call, Line, Message, Said, Spoil

SESSIONS, CURRENT = "/sessions", "/sessions/current"
_COUNT: Final = itertools.count(10**15)
_NEW: Final = "(new)"
"""Stands in the file for a number that was never used."""


class Fault(NamedTuple):
    """One faulty server."""

    found_by: str
    spoil: Callable[[], Spoil]
    breaks: str | None = None
    """Words of the sentence that is reported, when it is not the check's own."""


# ---- faults that the file describes ----


@dataclass(frozen=True, slots=True, kw_only=True)
class Alteration:
    """Change of one kind of message.

    It concerns the message itself, or with *of* a part of it: ``Objects.Queue`` is each queue of a directory.
    With *when* or *has* it concerns only what has these values, or a value in this field.
    """

    at: str
    of: str = ""
    when: Mapping[str, object] = field(default_factory=dict)
    has: str = ""
    sets: Mapping[str, object] = field(default_factory=dict)
    fills: Mapping[str, object] = field(default_factory=dict)
    """Fields that it sets where they are missing."""
    adds: Mapping[str, int] = field(default_factory=dict)
    drops: tuple[str, ...] = ()
    shortens: str = ""
    """A list that loses its last element."""
    headers: Mapping[str, str] = field(default_factory=dict)
    does: str = ""
    """A function of this module."""
    sends: str = ""
    """What is sent instead, of ``_INSTEAD``."""
    answer: Mapping[str, object] | None = None
    """The body with which a call or an upgrade is answered."""
    status: int | None = None

    def fits(self, part: object) -> bool:
        """Tell whether a message, or a part, is one that it concerns."""
        if not isinstance(part, dict):
            return not self.when and not self.has
        return all(part.get(name) == value for name, value in self.when.items()) and (
            not self.has or bool(part.get(self.has))
        )

    def change(self, message: object) -> Iterable[Message | str] | None:
        """Change a message; return what is sent instead of it, if not the message."""
        instead = None
        for part in _parts(message, self.of.split(".") if self.of else []):
            if self.fits(part):
                instead = self._change(part)
        return instead

    def _change(self, part: Message) -> Iterable[Message | str] | None:
        part |= _filled(self.sets)
        part |= {name: value for name, value in _filled(self.fills).items() if name not in part}
        for name, amount in self.adds.items():
            part[name] += amount
        for name in self.drops:
            part.pop(name, None)
        if self.shortens:
            part[self.shortens].pop()
        if self.does:
            changed: Iterable[Message | str] | None = globals()[self.does](part)
            return changed
        return _INSTEAD[self.sends](part) if self.sends else None


_INSTEAD: Final[Mapping[str, Callable[[Message], tuple[Message | str, ...]]]] = {
    "nothing": lambda _: (),
    "twice": lambda message: (message, message),
    "a part": lambda message: (json.dumps(message)[:-1],),
    "cut": lambda _: (CUT,),
    "it and a cut": lambda message: (message, CUT),
}


def _parts(value: Any, names: list[str]) -> Iterator[Message]:  # noqa: ANN401 - any JSON
    if isinstance(value, list):
        for each in value:
            yield from _parts(each, names)
    elif isinstance(value, dict) and not names:
        yield value
    elif isinstance(value, dict) and names[0] in value:
        yield from _parts(value[names[0]], names[1:])


def _filled(fields: Mapping[str, object]) -> dict[str, object]:
    return {name: str(next(_COUNT)) if value == _NEW else value for name, value in fields.items()}


class Altered(Spoil):
    """Fault that is one alteration."""

    def __init__(self, **fields: Any) -> None:  # noqa: ANN401 - of an alteration
        super().__init__()
        self._alteration = Alteration(**fields)
        self._place, *self._names = self._alteration.at.split()

    def instead(self, call: Call) -> Said | None:
        if self._place != "call" or not self._is_route(call):
            return None
        return self._answered(call.body)

    def reply(self, call: Call, said: Said) -> Said:
        if self._place == "answer" and self._is_route(call) and said.status < 300:
            self._alter(said)
        return self.refused(said)

    def refused(self, said: Said) -> Said:
        if self._place == "refusal" and isinstance(said.body, dict) and said.body.get("Error") in self._names:
            self._alter(said)
        return said

    def upgrade(self, headers: dict[str, str]) -> Said | None:
        return self._answered(headers) if self._place == "upgrade" else None

    def up(self, line: Line, message: Message) -> Iterable[Message]:
        fits = self._place == "request" and self._names[0] in ("*", message.get("Method"))
        sent: Any = self._alteration.change(message) if fits else None
        return (message,) if sent is None else sent

    def down(self, line: Line, message: Message) -> Iterable[Message | str]:
        kind, name = message.get("Type"), self._names[0] if self._names else ""
        match self._place:
            case "message":
                fits = kind == name
            case "event":
                fits = kind == "Event" and message["EventType"] == name
            case "response":
                asked = line.asked.get(message.get("RequestID", -1))
                fits = kind == "Response" and name in ("*", asked)
            case _:
                fits = False
        sent = self._alteration.change(message) if fits else None
        return (message,) if sent is None else sent

    def close(self, _line: Line, code: int) -> int | None:
        closing = {"Code": code}
        sent = self._alteration.change(closing) if self._place == "close" else None
        return closing["Code"] if sent is None else None

    def _is_route(self, call: Call) -> bool:
        method, path = self._names
        return call.method == method and call.path.startswith(path)

    def _answered(self, asked: object) -> Said | None:
        alteration = self._alteration
        if alteration.answer is None:
            alteration.change(asked)
            return None
        return Said(alteration.status or 200, alteration.answer) if alteration.fits(asked) else None

    def _alter(self, said: Said) -> None:
        self._alteration.change(said.body)
        said.status = self._alteration.status or said.status
        said.headers.update(self._alteration.headers)


# ---- what they do that is more than fields ----


def seconds(said: Message) -> None:
    said["ExpiresAt"] //= 1000


def only_first(said: Message) -> None:
    del said["Sessions"][1:]


def first_of_list(request: Message) -> None:
    if isinstance(request.get("RoutingState"), list):
        request["RoutingState"] = request["RoutingState"][0]


def foreign_queue(response: Message) -> None:
    response["Objects"]["Queue"].append({"Key": 1, "Name": "Secret", "Media": "Voice"})


def same_keys(response: Message) -> None:
    for kind in ("UnavailableReason", "WorkReason"):
        for number, each in enumerate(response["Objects"].get(kind, ())):
            each["Key"] = number


def present(element: Message) -> None:
    if "AppPresent" in element["Remote"]:
        element["Remote"]["AppPresent"] = True


def never_removed(event: Message) -> Iterable[Message] | None:
    event.pop("Removed", None)
    return None if event["Elements"] or event["Complete"] else ()


def other_instant(event: Message) -> None:
    event["Time"] += next(_COUNT) % 1000


def first_is_attached(said: Message) -> None:
    said["Sessions"][0]["Attached"] = True


def removes_changed(event: Message) -> None:
    if not event.get("Complete"):
        event["Removed"] = [each["UserKey"] for each in event["Elements"]]


def in_milliseconds(element: Message) -> None:
    element["TimeInRoutingState"] = 1000 * element["TimeInRoutingState"]


def done(response: Message) -> None:
    """A refusal is sent as done."""
    if response.get("Error"):
        response |= {"Error": 0, "State": "Applied", "Version": 1}
        response.pop("ErrorName", None)


def changes_at_once(element: Message) -> None:
    element["RoutingState"] = element.get("PendingRoutingState") or element["RoutingState"]


def new_alias(response: Message) -> None:
    response["Session"] = response["RequestID"] + 100


def contacts_as_text(element: Message) -> None:
    element["Contacts"] = str(element["Contacts"])


def without_users(event: Message) -> None:
    event["Elements"] = [each for each in event["Elements"] if each["ObjectType"] != "User"]


def and_all_of_administration(response: Message) -> Iterable[Message]:
    kind = {"QueryID": response["QueryID"], "EventType": "Administration", "Time": 2 * 10**12}
    return (response, {"Type": "Event", **kind, "Complete": True, "Elements": []})


# ---- faults that keep something ----


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


# ---- all faults ----


def _fault(found_by: str, breaks: str | None = None, **fields: Any) -> Fault:  # noqa: ANN401 - of the file
    kept = fields.pop("class", None)
    return Fault(found_by, partial(Altered, **fields) if kept is None else globals()[kept], breaks)


FAULTS: Final[dict[str, Fault]] = {
    name: _fault(**fields)
    for name, fields in tomllib.loads(Path(__file__).with_name("faults.toml").read_text("utf-8")).items()
}
