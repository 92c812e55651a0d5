"""Checks: a command runs at most once, and its outcome is shown as it is."""

from __future__ import annotations

import uuid
from typing import Any, Final

from tests.conformance.phone import Phone
from tests.conformance.registry import Play, add, check, live
from tests.conformance.saying import changes, result
from tests.conformance.stage import SALES, Stage
from tests.conformance.timing import expect

_RETRY: Final = "`retry: true` marks a command that is sent again after a lost connection."
_ONCE: Final = "The same `key` with the same body gets the same outcome and is never carried out twice"
_DEADLINE: Final = "`expires_at_ms` is an absolute deadline in server time, at most 60 s ahead"
_RESULT: Final = "exactly one per command; the state that it caused has been sent before it"
_UNKNOWN: Final = "Show the mirror and let the person decide. A client never repeats it by itself."
_ARGS: Final = {"agent_id": "7", "state": "available", "when": "now"}
_COMMAND: Final = {"kind": "agent.routing_state.set", "args": _ARGS, "deadline_s": 10.0}


@live(
    "commands.form",
    "`key` is a UUID, written with its hyphens in either case, one per action that a person intends.",
)
async def form(stage: Stage, phone: Phone) -> None:
    """A command has an id and a key of its own, the stream in force, and its fields."""
    await phone.send(changes(5, 2, stream="1.b"))
    await phone.ping(2)
    answer, first = await stage.commanded(phone)
    await phone.send(result(first["id"]))
    await stage.outcome(answer)
    answer, second = await stage.commanded(phone)
    await phone.send(result(second["id"]))
    await stage.outcome(answer)
    for frame in (first, second):
        expect(uuid.UUID(frame["key"]), "the key is no UUID")
        expect(frame.get("stream") == "1.b", f"the stream is {frame.get('stream')}")
        expect(frame.get("retry") is not True, "a first sending is no retry")
        command = frame["command"]
        expect(command == {"kind": "agent.routing_state.set", **_ARGS}, f"the command is {command}")
    expect(first["key"] != second["key"], "two actions have one key")
    expect(first["id"] != second["id"], "two commands have one id")


def _received(status: str, error: dict[str, Any] | None, version: int | None) -> Play:
    async def play(stage: Stage) -> None:
        phone = await stage.live()
        answer, frame = await stage.commanded(phone)
        await phone.send(result(frame["id"], status, error=error, version=version))
        received = await stage.outcome(answer, status)
        expect(received.get("version") == version, f"the client reports version {received.get('version')}")
        if error is not None:
            seen = received["error"]
            details = {name: seen["details"].get(name) for name in ("version",)}
            expect((seen["code"], details) == (error["code"], {"version": 9}), f"the client reports {seen}")

    return play


for _status, _error, _version in (
    ("applied", None, 4),
    ("pending", None, None),
    ("unchanged", None, None),
    ("rejected", {"code": "version_conflict", "message": "Changed.", "version": 9}, None),
    ("unknown", {"code": "upstream_timeout", "message": "Late.", "version": 9}, None),
):
    add(f"commands.{_status}", _RESULT, _received(_status, _error, _version))


@check("commands.state_first", _RESULT)
async def state_first(stage: Stage) -> None:
    """When the outcome is reported, the state that it caused is held; and none is held before it was sent."""
    phone = await stage.live(put={"agent:7": {"routing_state": "work"}})
    answer, frame = await stage.commanded(phone)
    await phone.settle()
    await stage.holds("a command is no state", agent__7={"routing_state": "work"})
    state = changes(5, 6, patch={"agent:7": {"routing_state": "available"}})
    await phone.send(state, result(frame["id"]))
    await stage.outcome(answer)
    await stage.holds("the outcome is reported", agent__7={"routing_state": "available"})


@live("commands.repeated", _RETRY)
async def repeated(stage: Stage, phone: Phone) -> None:
    """After a lost connection the same goes out again: key, stream and deadline; as a retry."""
    answer, first = await stage.commanded(phone)
    phone.drop()
    again = await stage.gateway.phone()
    await again.receive("hello")
    await again.welcome()
    await again.send(changes(0, 1, stream="2.a", reset=True, put=dict(SALES)))
    second = await again.receive("command")
    expect(second.get("retry") is True, "it does not say that it is a retry")
    same = ("key", "stream", "expires_at_ms", "command")
    differs = [name for name in same if first[name] != second[name]]
    expect(not differs, f"it differs from what was sent first in {differs}")
    await again.send(result(second["id"], "unchanged"))
    await stage.outcome(answer, "unchanged")


@live("commands.duplicate_result", _ONCE)
async def duplicate_result(stage: Stage, phone: Phone) -> None:
    """A result that comes twice, and one that nobody waits for, change nothing."""
    answer, frame = await stage.commanded(phone)
    said = result(frame["id"])
    await phone.send(result("nobody", "rejected"), said, said)
    await stage.outcome(answer, "applied")
    await phone.ping(5)
    answer, frame = await stage.commanded(phone)
    await phone.send(result(frame["id"], "pending"))
    await stage.outcome(answer, "pending")


@live("commands.answered_once", _ONCE)
async def answered_once(stage: Stage, phone: Phone) -> None:
    """What was answered is not sent again after a lost connection."""
    answer, frame = await stage.commanded(phone)
    await phone.send(result(frame["id"]))
    await stage.outcome(answer)
    phone.drop()
    again = await stage.again()
    await again.hears_nothing(0.5)


@live("commands.not_served", "a frame could not be served; the connection stays open")
async def not_served(stage: Stage, phone: Phone) -> None:
    """An error frame that names a command is its outcome: rejected."""
    answer, frame = await stage.commanded(phone)
    error = {"code": "rate_limited", "message": "Too fast.", "retry_after_s": 1.5}
    await phone.send({"kind": "error", "id": frame["id"], **error})
    received = await stage.outcome(answer)
    seen = received["status"], received["error"]["code"], received["error"]["retry_after_s"]
    expect(seen == ("rejected", "rate_limited", 1.5), f"the client reports {seen}")
    await phone.ping(5)


@live("commands.not_queued", "There is no offline queue.")
async def not_queued(stage: Stage, phone: Phone) -> None:
    """What is asked without a connection is rejected at once and never sent."""
    await phone.bye(4200, "draining", min_s=1.0, max_s=1.2)
    await phone.left()
    await stage.outcome(stage.driver.begin("command", **_COMMAND), "rejected")
    again = await stage.again()
    await again.hears_nothing(0.5)


@check("commands.not_before_welcome", "There is no offline queue.")
async def not_before_welcome(stage: Stage) -> None:
    """Nor does it wait for a welcome."""
    phone = await stage.begin()
    await phone.receive("hello")
    await stage.outcome(stage.driver.begin("command", **_COMMAND), "rejected")
    await phone.welcome()
    await phone.send(changes(0, 5, stream="1.a", reset=True))
    await phone.hears_nothing(0.5)


@live("commands.too_long", "| inbound frame | 16 KiB, depth 16 | 1009;")
async def too_long(stage: Stage, phone: Phone) -> None:
    """What is longer than a gateway takes is rejected here: sent, it would end the connection for good."""
    args = {"queue_id": "1", "changes": {"greeting": "ü" * 9000}, "if_version": 1}
    answer = stage.driver.begin("command", kind="queue.routing_parameters.set", args=args, deadline_s=5.0)
    await stage.outcome(answer, "rejected")
    await phone.hears_nothing(0.3)
    await phone.ping(5)


@live("commands.unknown_stays", _UNKNOWN)
async def unknown_stays(stage: Stage, phone: Phone) -> None:
    """An outcome that is unknown is reported and not asked for again."""
    answer, frame = await stage.commanded(phone)
    error = {"code": "other_epoch", "message": "May have run."}
    await phone.send(result(frame["id"], "unknown", error=error))
    await stage.outcome(answer, "unknown")
    await phone.hears_nothing(0.8)
    phone.drop()
    await (await stage.again()).hears_nothing(0.5)


@live("commands.too_late", _UNKNOWN)
async def too_late(stage: Stage, phone: Phone) -> None:
    """Without a result until the deadline the outcome is unknown, and the command is over."""
    answer = stage.driver.begin("command", kind="agent.routing_state.set", args=_ARGS, deadline_s=1.0)
    frame = await phone.receive("command")
    await stage.outcome(answer, "unknown")
    await phone.send(result(frame["id"]))
    phone.drop()
    await (await stage.again()).hears_nothing(0.5)


@live("commands.session_over", "`unknown`: it may or may not have been done")
async def session_over(stage: Stage, phone: Phone) -> None:
    """A session that ends leaves no command without an outcome."""
    answer, _ = await stage.commanded(phone)
    await phone.bye(4005, "logged_off_by_supervisor", by="supervisor")
    await stage.ended(4005)
    await stage.time.sleep(0.5)
    expect(answer.done(), "the client leaves the command without an outcome")
    await stage.outcome(answer, "unknown")


async def _has_its_deadline(stage: Stage, phone: Phone) -> None:
    """Hold that a command's deadline is by the gateway's clock."""
    answer, frame = await stage.commanded(phone)
    stage.ahead(frame, 10.0)
    await phone.send(result(frame["id"]))
    await stage.outcome(answer)


def _deadline(skew_s: float) -> Play:
    async def play(stage: Stage) -> None:
        stage.time.skew_s = skew_s
        phone = await stage.live()
        await phone.ping(5)
        await _has_its_deadline(stage, phone)

    return play


for _name, _skew_s in (("behind", -5 * 3600.0), ("ahead", 7 * 3600.0), ("far", 400 * 86_400.0)):
    add(f"commands.deadline_{_name}", _DEADLINE, _deadline(_skew_s))


@live("commands.deadline_moves", _DEADLINE)
async def deadline_moves(stage: Stage, phone: Phone) -> None:
    """The node after a reconnect has another clock, 8 s behind: its time holds from then on."""
    await phone.ping(5)
    stage.time.skew_s = -8.0
    phone.drop()
    again = await stage.again()
    await again.ping(5)
    await _has_its_deadline(stage, again)


@live("commands.deadline_set_back", _DEADLINE)
async def deadline_set_back(stage: Stage, phone: Phone) -> None:
    """The clock of the same node is set back by 90 s, more than any frame is late: its time holds at once."""
    await phone.ping(5)
    stage.time.skew_s = -90.0
    await phone.ping(5)
    await _has_its_deadline(stage, phone)
