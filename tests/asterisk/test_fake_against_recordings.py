"""The small Asterisk of the tests does what the live one did: same actions, same answers and events.

Numbers and times differ. What callers and telephones do in a recording is played to the small one.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import cast

import pytest

from gateway.simulator.ami_session import Account, Session
from gateway.upstream.asterisk.ami import AmiMessage, Framer
from tests.asterisk import recordings
from tests.doubles.fake_ami import FakeAsterisk, Membership

RECORDED = (
    *("02-queue-status", "03-call-life", "04-abandon", "05-pause", "06-members", "07-penalty"),
    *("08-reload", "10-restart", "11-kill", "12-remote-number", "13-devices", "14-twice", "15-everything"),
    *("16-many-members", "17-complete-without-caller", "18-call-on-ami-11", "19-no-answer-on-ami-11"),
)
"""All but the log-ins (01), which have a test of their own."""
VOLATILE = frozenset(
    {
        "ActionID",
        "SystemName",
        "Timestamp",
        "LastPause",
        "LastCall",
        "LoginTime",
        "CallsTaken",
        "Holdtime",
        "TalkTime",
        "Completed",
        "Abandoned",
        "ServicelevelPerf",
        "ServicelevelPerf2",
        "Uptime",
        "LastReload",
        *(
            "Context",
            "Exten",
            "Channel",
            "Uniqueid",
            "Linkedid",
            "HoldTime",
            "RingTime",
            "LongestHoldTime",
            "Wait",
        ),
        "Reason",  # who ended a call
    }
)
ANA = "Local/2001@oscc-remote/n"
EVA = "Local/2005@desk/n"
BEGINS_WITH = {
    **dict.fromkeys(
        ("03-call-life", "04-abandon", "06-members", "10-restart"),
        (("sales", ANA, 0, 7, "Call-backs"), ("support", ANA, 1, 0, "Training")),
    ),
    "11-kill": (("sales", ANA, 2, 7, "Lunch"), ("support", ANA, 1, 7, "")),
}
"""Recording → memberships that earlier recordings have left: queue, interface, penalty, wrap-up, reason."""
PLAYED = {
    *("QueueMemberStatus", "QueueCallerJoin", "AgentCalled", "AgentConnect", "AgentRingNoAnswer"),
    *("AgentComplete", "QueueCallerAbandon", "Reload", "Shutdown"),
}
"""Events that a caller, a telephone or an operator causes, and no action."""
AGAIN: AmiMessage = {"Event": "(another connection)"}
OURS = ("Queue", "Agent", "DB", "FullyBooted", "Reload", "Shutdown")
"""How events and rows begin that an account with read=agent,system gets."""


def furnished(name: str, now: list[float] | None = None) -> FakeAsterisk:
    """Return an Asterisk as the recordings' one was configured."""
    times = now or [1_795_879_732.0]
    fake = FakeAsterisk(lambda: times[-1])
    fake.add_queue("support", strategy="leastrecent").service_level = 30
    fake.in_use_at_once = name != "05-pause"
    if name.endswith("-on-ami-11"):
        fake.add_queue("sales").pauses_absent = True
        return fake
    fake.add_queue("vip", strategy="linear", length=5).service_level = 10
    fake.queues["vip"].weight = 10
    fake.add_queue("sales")
    fake.db["oscc-number"] = {"2001": "+493012345670"}
    for queue, number, called, penalty in (
        ("support", 2006, "Finn Desk", 0),
        ("support", 2007, "Gila Desk", 0),
        ("vip", 2008, "Hugo Desk", 0),
        ("sales", 2005, "Eva Desk", 1),
        ("sales", 2006, "Finn Desk", 2),
    ):
        state = f"Custom:desk{number}"
        fake.add_static(queue, f"Local/{number}@desk/n", called, penalty=penalty, state=state)
    for queue, interface, penalty, wrap_up, reason in BEGINS_WITH.get(name, ()):
        member = Membership(
            interface, "Ana Remote", penalty=penalty, wrap_up=wrap_up, paused=bool(reason), reason=reason
        )
        fake.queues[queue].members[interface] = member
    if name in {"08-reload", "10-restart"}:
        fake.queues["sales"].members[EVA].status = 2  # her telephone is in use, also after a restart
    if name == "16-many-members":
        _furnish_many(fake)
    fake._write()
    return fake


def _furnish_many(fake: FakeAsterisk) -> None:
    fake.add_queue("big01")
    rows = (line.headers for line in recordings.read("16-many-members") if "Location" in line.headers)
    for row in rows:
        penalty, state = int(row["Penalty"]), row["StateInterface"]
        fake.add_static("big01", row["Location"], row["Name"], penalty=penalty, state=state)
        fake.queues["big01"].members[row["Location"]].status = int(row["Status"])


def reload(fake: FakeAsterisk) -> None:
    """Let queues.conf be what its narrator says in recording 08."""
    fake.remove_static("sales", "Local/2006@desk/n")
    fake.add_static("support", EVA, "Eva Desk", penalty=1, state="Custom:desk2005")
    support, gila = fake.queues["support"], "Local/2007@desk/n"
    support.members[EVA].status, support.members[gila].penalty, support.service_level = 2, 4, 45
    fake.add_queue("night", strategy="ringall").service_level = 0
    fake.add_static("night", gila, "Gila Desk", state="Custom:desk2007")
    vip = fake.queues["vip-gone"] = fake.queues.pop("vip")
    vip.name = "vip-gone"


class Writer:
    """What a session of the fake writes, as messages."""

    def __init__(self) -> None:
        self.messages: list[AmiMessage] = []
        self._framer = Framer()
        self._framer.feed(b"Asterisk Call Manager/13.0.0\r\n")

    def write(self, raw: bytes) -> None:
        self.messages += self._framer.feed(raw)

    def is_closing(self) -> bool:
        return False

    def take(self) -> list[AmiMessage]:
        """Return what was written since the last call."""
        taken, self.messages = self.messages, []
        return taken


def said(message: AmiMessage) -> list[tuple[str, str]]:
    """Return what a message says, without what differs from one run to the next."""
    return [(name, value) for name, value in message.items() if name not in VOLATILE]


def steps(name: str) -> list[tuple[bytes | AmiMessage, list[AmiMessage]]]:
    """Return what was done in a recording, actions and calls, each with what followed it."""
    found: list[tuple[bytes | AmiMessage, list[AmiMessage]]] = []
    framer, leaving = Framer(), list[AmiMessage]()
    abandoned: dict[str, list[AmiMessage]] = {}
    framer.feed(b"Asterisk Call Manager/13.0.0\r\n")
    for line in recordings.read(name):
        if line.way == ">":
            found.append((line.raw, []))
            continue
        if line.raw.startswith(b"Asterisk Call Manager"):
            found[-1:-1] = (
                [(AGAIN, [])] if len(found) > 1 else []
            )  # the log-in was sent before it is received
            continue
        leaving = _sort(_ours(framer.feed(line.raw)), found, leaving, abandoned)
    return found


def _sort(
    messages: list[AmiMessage],
    found: list[tuple[bytes | AmiMessage, list[AmiMessage]]],
    leaving: list[AmiMessage],
    abandoned: dict[str, list[AmiMessage]],
) -> list[AmiMessage]:
    """Add messages to their causes; return those whose cause comes later.

    *abandoned*: caller → what followed their abandoning, to which their leaving belongs, too.
    """
    for message in messages:
        kind, caller = message.get("Event", ""), message.get("Uniqueid", "")
        if kind == "QueueCallerLeave":  # who did not abandon is about to be connected
            abandoned.get(caller, leaving).append(message)
            continue
        if kind in PLAYED:
            found.append((message, leaving))
            leaving = []
        found[-1][1].append(message)
        if kind == "QueueCallerAbandon":
            abandoned[caller] = found[-1][1]
    return leaving


def _ours(messages: list[AmiMessage]) -> list[AmiMessage]:
    return [one for one in messages if "Event" not in one or one["Event"].startswith(OURS)]


class Calls:
    """Plays to an Asterisk what callers and telephones did in a recording."""

    def __init__(self, fake: FakeAsterisk) -> None:
        self._fake = fake
        self._callers: dict[str, str] = {}

    def play(self, event: AmiMessage) -> None:
        """Do what caused *event*."""
        fake, queue, interface = self._fake, event.get("Queue", ""), event.get("Interface", "")
        caller = self._callers.get(event.get("Uniqueid", ""), "")
        match event["Event"]:
            case "Reload":
                fake.queues = furnished("08-reload").queues
                fake.reload_at_console()
            case "QueueMemberStatus":
                fake.device(interface, int(event["Status"]))
            case "QueueCallerJoin":
                self._callers[event["Uniqueid"]] = fake.join(queue)
            case "AgentCalled":
                fake.ring(queue, caller, interface)
            case "AgentConnect":
                fake.answer(queue, caller, interface)
            case "AgentRingNoAnswer":
                fake.ring_no_answer(queue, caller, interface)
            case "QueueCallerAbandon":
                fake.abandon(queue, caller)
            case _:
                fake.forgets_caller = not caller
                fake.complete(queue, caller, interface)


def shown(messages: list[AmiMessage]) -> list[list[tuple[str, str]]]:
    """Return what messages say. Rows and events of one action come in the order of a hash table."""
    kept = [one for one in messages if one.get("Event") != "QueueMemberStatus"]
    answers = [said(one) for one in kept if "Response" in one]
    return answers + sorted(said(one) for one in kept if "Response" not in one)


def connected(fake: FakeAsterisk) -> tuple[Session, Writer]:
    """Return a connection, and what is written there."""
    writer = Writer()
    session = Session(fake, cast(asyncio.StreamReader, None), cast(asyncio.StreamWriter, writer))
    fake.sessions.clear()
    fake.sessions.add(session)
    return session, writer


@pytest.mark.parametrize("name", RECORDED)
async def test_the_same_actions_have_the_same_answers_and_events(name: str) -> None:
    now = [1_795_879_732.0]
    fake = furnished(name, now)
    session, writer = connected(fake)
    taken, calls = steps(name), Calls(fake)
    assert len(taken) > 1
    pending: list[AmiMessage] = []
    mine: list[AmiMessage] = []
    for cause, messages in taken:
        if isinstance(cause, bytes):
            now.append(now[-1] + 0.1)
            lines = cause.decode().strip().split("\r\n")
            fields = dict(line.split(": ", 1) for line in lines if ": " in line)
            known = {"Username": "oscc", "Secret": "secret"} if "Secret" in fields else {}
            if fields["Action"] == "QueueReload":
                reload(fake)
            await session.serve(fields | known)
        elif cause is AGAIN or cause["Event"] == "Shutdown":
            if cause is not AGAIN or name == "11-kill":
                await fake.stop(kill=name == "11-kill")
            if cause is AGAIN:
                session, writer = connected(fake)
                fake.queues["sales"].members[EVA].status = 2 if name == "10-restart" else 1
        else:
            calls.play(cause)
        pending += messages
        mine += writer.take()
        if shown(messages):  # several actions were sent without waiting for their answers
            assert shown(mine) == shown(pending), cause
            pending, mine = [], []


OF_VERSION = ("ListCommands", "CoreSettings", "CoreStatus")
"""Actions whose answers the small Asterisk gives in part: what it says, the live one says, too."""


def log_ins() -> list[list[tuple[dict[str, str], list[AmiMessage]]]]:
    """Return the connections of recording 01: their actions, each with what followed it."""
    found: list[list[tuple[dict[str, str], list[AmiMessage]]]] = []
    framer = Framer()
    framer.feed(b"Asterisk Call Manager/13.0.0\r\n")
    for line in recordings.read("01-log-in"):
        if line.raw.startswith(b"Asterisk Call Manager"):
            found.append([])
        elif line.way == ">":
            found[-1].append((line.headers, []))
        else:
            found[-1][-1][1].extend(framer.feed(line.raw))
    return found


def with_secret(fields: dict[str, str], expected: list[AmiMessage]) -> dict[str, str]:
    """Return an action with the secret that the recording hides: a wrong one where it was refused."""
    is_right = any(one.get("Message") == "Authentication accepted" for one in expected)
    if "Secret" in fields:
        return fields | {"Secret": "secret" if is_right else "wrong"}
    if "Key" in fields:
        proof = hashlib.md5(b"365762734secret", usedforsecurity=False)
        return fields | {"Key": proof.hexdigest()}
    return fields


async def test_log_ins_rights_and_refusals_are_answered_as_recorded() -> None:
    fake = furnished("01-log-in")
    fake.accounts["looker"] = Account("secret", frozenset({"agent"}), frozenset())
    answered = 0
    for connection in log_ins():
        session, writer = connected(fake)
        is_open = True
        for fields, expected in connection:
            if not is_open:
                assert expected == []
                continue
            is_open = await session.serve(with_secret(fields, expected))
            mine = writer.take()
            if fields["Action"] in OF_VERSION and len(expected) == 1 and "Message" not in expected[0]:
                assert mine[0].keys() <= expected[0].keys()
                assert mine[0]["Response"] == expected[0]["Response"]
            else:
                assert shown(mine) == shown(expected), fields
            answered += len(expected)
    assert answered > 20
