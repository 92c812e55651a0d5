"""The small Asterisk of the tests does what the live one did: same actions, same answers and events.

Numbers and times differ. What callers and telephones do in a recording is played to the small one.
"""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from gateway.simulator.ami import Session
from gateway.upstream.asterisk.ami import Framer, Message
from tests.asterisk import recordings
from tests.doubles.fake_ami import FakeAsterisk, Membership

RECORDED = (
    *("02-queue-status", "03-call-life", "04-abandon", "05-pause", "06-members", "07-penalty"),
    *("12-remote-number", "14-twice", "17-complete-without-caller", "18-call-on-ami-11"),
    "19-no-answer-on-ami-11",
)
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
BEGINS_WITH = dict.fromkeys(
    ("03-call-life", "04-abandon", "06-members"),
    (("sales", ANA, 0, 7, "Call-backs"), ("support", ANA, 1, 0, "Training")),
)
"""Recording → memberships that earlier recordings have left: queue, interface, penalty, wrap-up, reason."""
PLAYED = {
    *("QueueMemberStatus", "QueueCallerJoin", "AgentCalled", "AgentConnect", "AgentRingNoAnswer"),
    *("AgentComplete", "QueueCallerAbandon"),
}
"""Events that a caller or a telephone causes, and no action."""
ENDS_AT = {"02-queue-status": "QueueRule", "05-pause": "AgentConnect"}
"""Recording → what is not compared, nor what follows: the small one has no rules; a telephone that answers
is in use at once, not 0.5 s later.
"""


def furnished(name: str) -> FakeAsterisk:
    """Return an Asterisk as the recordings' one was configured."""
    now = 1_795_879_732.0
    fake = FakeAsterisk(lambda: now)
    fake.add_queue("support", strategy="leastrecent").service_level = 30
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
            interface, "Ana Remote", penalty=penalty, wrap_up=wrap_up, paused=True, reason=reason
        )
        fake.queues[queue].members[interface] = member
    return fake


class Writer:
    """What a session of the fake writes, as messages."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._framer = Framer()
        self._framer.feed(b"Asterisk Call Manager/13.0.0\r\n")

    def write(self, raw: bytes) -> None:
        self.messages += self._framer.feed(raw)

    def is_closing(self) -> bool:
        return False

    def take(self) -> list[Message]:
        """Return what was written since the last call."""
        taken, self.messages = self.messages, []
        return taken


def said(message: Message) -> list[tuple[str, str]]:
    """Return what a message says, without what differs from one run to the next."""
    return [(name, value) for name, value in message.items() if name not in VOLATILE]


def steps(name: str) -> list[tuple[bytes | Message, list[Message]]]:
    """Return what was done in a recording, actions and calls, each with what followed it."""
    found: list[tuple[bytes | Message, list[Message]]] = []
    framer, kind, leaving = Framer(), "", list[Message]()
    framer.feed(b"Asterisk Call Manager/13.0.0\r\n")
    for line in recordings.read(name):
        if ENDS_AT.get(name, "-") in line.headers.values():
            break
        if line.way == ">":
            found.append((line.raw, []))
            continue
        for message in () if "Asterisk Call Manager" in line.raw.decode() else framer.feed(line.raw):
            before, kind = kind, message.get("Event", "")
            if kind == "QueueCallerLeave" and before != "QueueCallerAbandon":
                leaving.append(message)  # the caller is about to be connected
                continue
            if kind in PLAYED:
                found.append((message, leaving))
                leaving = []
            found[-1][1].append(message)
    return found


class Calls:
    """Plays to an Asterisk what callers and telephones did in a recording."""

    def __init__(self, fake: FakeAsterisk) -> None:
        self._fake = fake
        self._callers: dict[str, str] = {}

    def play(self, event: Message) -> None:
        """Do what caused *event*."""
        fake, queue, interface = self._fake, event["Queue"], event.get("Interface", "")
        caller = self._callers.get(event.get("Uniqueid", ""), "")
        match event["Event"]:
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


def shown(messages: list[Message]) -> list[list[tuple[str, str]]]:
    """Return what messages say. Rows and events of one action come in the order of a hash table."""
    kept = [one for one in messages if one.get("Event") != "QueueMemberStatus"]
    answers = [said(one) for one in kept if "Response" in one]
    return answers + sorted(said(one) for one in kept if "Response" not in one)


@pytest.mark.parametrize("name", RECORDED)
async def test_the_same_actions_have_the_same_answers_and_events(name: str) -> None:
    fake, writer = furnished(name), Writer()
    session = Session(fake, cast(asyncio.StreamReader, None), cast(asyncio.StreamWriter, writer))
    fake.sessions.add(session)
    taken, calls = steps(name), Calls(fake)
    assert len(taken) > 4
    pending: list[Message] = []
    mine: list[Message] = []
    for cause, messages in taken:
        if isinstance(cause, bytes):
            lines = cause.decode().strip().split("\r\n")
            fields = dict(line.split(": ", 1) for line in lines if ": " in line)
            known = {"Username": "oscc", "Secret": "secret"} if "Secret" in fields else {}
            await session.serve(fields | known)
        else:
            calls.play(cause)
        pending += messages
        mine += writer.take()
        if shown(messages):  # several actions were sent without waiting for their answers
            assert shown(mine) == shown(pending), cause
            pending, mine = [], []
