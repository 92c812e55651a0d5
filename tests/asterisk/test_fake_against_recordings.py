"""The small Asterisk of the tests does what the live one did: same actions, same answers and events.

Numbers and times differ. A recording is compared up to its first call, since callers are played.
"""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from gateway.simulator.ami import Session
from gateway.upstream.asterisk.ami import Framer, Message
from tests.asterisk import recordings
from tests.doubles.fake_ami import FakeAsterisk, Membership

RECORDED = ("05-pause", "06-members", "07-penalty", "12-remote-number", "14-twice")
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
    }
)
ANA = "Local/2001@oscc-remote/n"
BEGINS_WITH = {"06-members": (("sales", ANA, 0, 7, "Call-backs"), ("support", ANA, 1, 0, "Training"))}
"""Recording → memberships that earlier recordings have left: queue, interface, penalty, wrap-up, reason."""


def furnished(name: str) -> FakeAsterisk:
    """Return an Asterisk as the recordings' one was configured."""
    now = 1_795_879_732.0
    fake = FakeAsterisk(lambda: now)
    fake.add_queue("support", strategy="leastrecent").service_level = 30
    fake.add_queue("vip", strategy="linear", length=5).service_level = 10
    fake.queues["vip"].weight = 10
    fake.add_queue("sales")
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


def steps(name: str) -> list[tuple[bytes, list[Message]]]:
    """Return the actions of a recording up to its first call, each with what followed it."""
    found: list[tuple[bytes, list[Message]]] = []
    framer = Framer()
    framer.feed(b"Asterisk Call Manager/13.0.0\r\n")
    for line in recordings.read(name):
        if line.way == ">":
            found.append((line.raw, []))
        elif "Asterisk Call Manager" not in line.raw.decode():
            for message in framer.feed(line.raw):
                if message.get("Event", "").startswith(("QueueCaller", "AgentCalled")):
                    return found[:-1]
                found[-1][1].append(message)
    return found


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
    taken = steps(name)
    assert len(taken) > 4
    pending: list[Message] = []
    mine: list[Message] = []
    for raw, messages in taken:
        fields = dict(line.split(": ", 1) for line in raw.decode().strip().split("\r\n") if ": " in line)
        await session.serve(fields | ({"Secret": "secret"} if "Secret" in fields else {}))
        pending += messages
        mine += writer.take()
        if messages:  # several actions were sent without waiting for their answers
            assert shown(mine) == shown(pending), fields
            pending, mine = [], []
