"""Conversations with a session agree with their transcripts. Read the ``session_*.txt`` beside this."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from gateway.domain.commands import Outcome, Status
from gateway.domain.errors import CloseCode, EndReason, ErrorCode, GatewayError
from gateway.domain.model import Application, Scope
from gateway.domain.resources import Agent, Queue, RoutingState
from gateway.protocol.frames import NoticeFrame, Renewed
from tests.core.samples import SCOPE
from tests.transcripts.recorder import FOLDER, PhoneCall, check

WORK = Agent(display_name="Cleo", routing_state=RoutingState.WORK, reason_id="3")


def hello() -> PhoneCall:
    call = PhoneCall("A phone comes, sees everything that it may, and leaves for the background.")
    call.arrive()
    call.change("queue:1", Queue(name="Sales", contacts_waiting=3))
    call.drain()
    call.send("bye")
    call.drain()
    return call


def resume() -> PhoneCall:
    call = PhoneCall("A phone comes back to the stream that it knows and gets what changed since.")
    before = PhoneCall("")
    before.arrive()
    position = {"stream": before.stream, "seq": 4}
    call.change("queue:2", None)
    call.arrive(position=position)
    return call


def reset() -> PhoneCall:
    call = PhoneCall("A phone comes with the position of another epoch and starts anew.")
    call.arrive(topics=["queues"], position={"stream": "6.0123456789ab", "seq": 4})
    return call


def resync() -> PhoneCall:
    call = PhoneCall("A phone that missed something asks for a reset; once every five seconds it gets one.")
    call.arrive(topics=["queue:1"])
    call.wait(1)
    call.send("resync")
    call.drain()
    call.wait(1)
    call.send("resync")
    call.drain()
    call.wait(4)
    call.send("resync")
    call.drain()
    return call


def follow() -> PhoneCall:
    call = PhoneCall("A phone follows something else; what is foreign is refused like what does not exist.")
    call.arrive(topics=["queues"])
    call.wait(1)
    call.send("follow", id="f1", topics=["agents", "queue:2", "queue:99", "nonsense"])
    call.drain()
    return call


def rescope() -> PhoneCall:
    call = PhoneCall(
        "OSCC-E moves the session to another scope: it arrives in place, before any later change."
    )
    call.arrive(topics=["queues", "agents"])
    call.wait(1)
    call.learn(Scope(queues=frozenset({2, 4})))
    call.change("queue:4", Queue(name="New", contacts_waiting=1))
    call.drain()
    call.wait(1)
    call.command()
    call.drain()
    call.learn(Scope(SCOPE.agents, frozenset({1}), SCOPE.groups, SCOPE.aggregates), rights=())
    call.drain()
    call.command("c2")
    call.drain()
    return call


def commands() -> PhoneCall:
    call = PhoneCall("A supervisor commands; the state that a command caused comes before its result.")
    call.arrive(topics=["agents"])
    call.wait(1)
    call.command()
    call.change("agent:5", WORK)
    call.settle(Outcome(Status.APPLIED))
    call.drain()
    call.wait(1)
    call.command("c2", state="unavailable")
    call.change(
        "agent:5", replace(WORK, pending_routing_state=RoutingState.UNAVAILABLE, pending_by="supervisor")
    )
    call.settle(Outcome(Status.PENDING), "c2")
    call.drain()
    call.wait(1)
    call.command("c3", state="work")
    call.settle(Outcome(Status.UNCHANGED), "c3")
    call.drain()
    call.command("c4", state="logged_off")
    refused = GatewayError(ErrorCode.NOT_ALLOWED_WHILE_HANDLING, "The agent handles a contact.")
    call.settle(Outcome(Status.REJECTED, refused), "c4")
    call.command("c5")
    lost = GatewayError(ErrorCode.OWNER_LOST, "It may have run: look, then ask again with a new key.")
    call.settle(Outcome(Status.UNKNOWN, lost), "c5")
    call.drain()
    return call


def refusals() -> PhoneCall:
    call = PhoneCall("Commands that the gateway refuses by itself never reach OSCC-E.")
    call.arrive(topics=["agents"])
    call.command("c1", agent_id="99")
    call.command("c2", agent_id="queue:1")
    call.command("c3", kind="routing_state.set")
    call.command("c4", kind="agent.fire")
    call.send(
        "command", id="c5", key="no key", stream="", expires_at_ms=1, command={"kind": "routing_state.set"}
    )
    call.drain()
    for number in range(9):
        call.command(f"d{number}")
    call.drain()
    return call


def flood() -> PhoneCall:
    call = PhoneCall(
        "A phone sends faster than it may: frames are dropped, it is told, and then it is closed."
    )
    call.arrive(topics=[])
    call.wait(10)
    for _ in range(42):
        call.send("pace", every_s=0)
    call.drain()
    call.wait(0.5)
    for _ in range(15):
        call.send("pace", every_s=0)
    call.drain()
    for _ in range(195):
        call.send("pace", every_s=0)
    call.drain()
    return call


def errors() -> PhoneCall:
    call = PhoneCall("The fourth frame within a second that cannot be read closes.")
    call.arrive(topics=[])
    call.send("dance")
    call.send("follow", id="f1", topics="queues")
    call.drain()
    call.wait(1)
    for data in (b"{", b'{"kind":"pace","kind":"pace"}', b'{"kind":"pace","every_s":NaN}', b"[]"):
        call.send_bytes(data, data.decode())
    call.drain()
    return call


def two_hellos() -> PhoneCall:
    call = PhoneCall("A second hello is a breach of the protocol.")
    call.arrive(topics=[])
    call.hello()
    call.drain()
    return call


def too_early() -> PhoneCall:
    call = PhoneCall(
        "A command before the welcome is a breach of the protocol; OSCC-E's answer comes too late."
    )
    call.hello()
    call.command()
    call.accept()
    call.drain()
    return call


def no_hello() -> PhoneCall:
    call = PhoneCall("A phone that connects and says nothing is closed.")
    call.wait(4.9)
    call.wait(0.1)
    call.drain()
    return call


def wrong_type() -> PhoneCall:
    call = PhoneCall("A binary message on a text subprotocol: 1003, without a bye.")
    call.arrive(topics=[])
    call.wrong_type()
    call.drain()
    return call


def slow_phone() -> PhoneCall:
    call = PhoneCall("A slow phone costs a set of names: it gets the newest values, less and less often.")
    call.arrive(topics=["queue:1"])
    for waiting in range(1, 9):
        call.wait(0.1)
        call.change("queue:1", Queue(name="Sales", contacts_waiting=waiting))
        call.drain(drained=waiting > 2)
    call.wait(5)
    call.drain()
    return call


def too_slow() -> PhoneCall:
    call = PhoneCall("A phone for which 64 frames wait that must arrive is closed at the 65th.")
    call.arrive(topics=[])
    notice = NoticeFrame("n1", 1, "maintenance", "Tonight", "We close.", None, 0, must_acknowledge=False)
    for _ in range(65):
        call.post(notice, "posts a notice")
    return call


def pings() -> PhoneCall:
    call = PhoneCall("Pings carry the age of the data and leave at once when health changes.")
    call.arrive(topics=["queue:1"])
    call.wait(25)
    call.drain()
    call.send("pong", nonce="2")
    call.wait(2)
    call.say(replace(call.health, upstream="stale"), "has heard nothing from OSCC-E")
    call.drain()
    call.change("queue:2", None)
    call.wait(0.1)
    call.send("pong", nonce="my network changed")
    call.wait(1)
    call.drain()
    call.wait(9.9)
    call.wait(0.1)
    call.drain()
    return call


def renewed() -> PhoneCall:
    call = PhoneCall(
        "A fresh token is pushed; with the first frames it comes after the changes that are owed."
    )
    call.hello(topics=[])
    call.accept()
    call.post(Renewed("sealed anew", 1_700_003_600_000), "renews the token")
    call.drain()
    return call


def drain() -> PhoneCall:
    call = PhoneCall(
        "A node that leaves says so; the phone keeps what it shows, and nothing follows the bye."
    )
    call.arrive(topics=["queue:1"])
    call.wait(1)
    call.change("queue:1", Queue(name="Sales", contacts_waiting=9))
    call.close(CloseCode.DRAINING, "leaving")
    call.drain()
    call.change("queue:1", Queue(name="Sales", contacts_waiting=10))
    call.drain()
    call.send("resync")
    return call


def ended(reason: EndReason, application: Application, title: str) -> Callable[[], PhoneCall]:
    def converse() -> PhoneCall:
        call = PhoneCall(title, application)
        call.arrive(topics=[])
        call.wait(1)
        call.learn(end=reason)
        call.drain()
        return call

    return converse


CONVERSATIONS: dict[str, Callable[[], PhoneCall]] = {
    **{
        converse.__name__: converse
        for converse in (
            *(hello, resume, reset, resync, follow, rescope, commands, refusals, flood, errors, two_hellos),
            *(too_early, no_hello, wrong_type, slow_phone, too_slow, pings, renewed, drain),
        )
    },
    "logged_off": ended(
        EndReason.LOGGED_OFF_BY_SUPERVISOR,
        Application.REMOTE_ASSISTANT,
        "A supervisor logs the agent off: stop.",
    ),
    "blocked": ended(EndReason.BLOCKED, Application.DASHBOARD, "The account is blocked: stop."),
    "expired": ended(
        EndReason.EXPIRED, Application.DASHBOARD, "The session expires: log on again within the window."
    ),
    "ended_unknown_assistant": ended(
        EndReason.UNKNOWN,
        Application.REMOTE_ASSISTANT,
        "Nobody knows why it ended: no remote number comes back by itself.",
    ),
}


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_a_session_talks_as_its_transcript_says(name: str) -> None:
    check(f"session_{name}", CONVERSATIONS[name]().transcript.text())


def test_no_transcript_is_left_over() -> None:
    assert {path.stem for path in FOLDER.glob("session_*.txt")} == {
        f"session_{name}" for name in CONVERSATIONS
    }
