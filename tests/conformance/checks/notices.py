"""Checks: notices are shown and acknowledged."""

from __future__ import annotations

import asyncio

from tests.conformance.phone import Phone
from tests.conformance.registry import check, live
from tests.conformance.saying import changes, notice, result
from tests.conformance.stage import LOG_ON, STORED, Stage
from tests.conformance.timing import expect


@live("notices.shown", "A notice is a message of the operator. `id` and `version` name it")
async def shown(stage: Stage, phone: Phone) -> None:
    """A notice is shown with all its fields."""
    await phone.send(notice(), notice(3, must_acknowledge=False, hue="blue"))
    received = (await stage.driver.event("notice"))["notice"]
    wanted = {name: value for name, value in notice().items() if name not in {"kind", "link"}}
    expect(wanted.items() <= received.items(), f"the client reports {received}")
    second = (await stage.driver.event("notice", 2))["notice"]
    expect((second["version"], second["must_acknowledge"]) == (3, False), f"the client reports {second}")


@live(
    "notices.acknowledged",
    "`notices.acknowledge` works for every notice that exists: `renewed` brings the token",
)
async def acknowledged(stage: Stage, phone: Phone) -> None:
    """The command goes out; the fresh token that comes before its result is used from then on."""
    await phone.send(notice())
    await stage.driver.event("notice")
    answer = stage.driver.begin("acknowledge", notice={"id": "n1", "version": 2})
    frame = await phone.receive("command")
    wanted = {"kind": "notices.acknowledge", "notice_id": "n1", "version": 2}
    expect(frame["command"] == wanted, f"the command is {frame['command']}")
    await phone.send({"kind": "renewed", "token": "token-ack", "expires_at_ms": 1_900_000_000_000})
    await phone.send(result(frame["id"]))
    await stage.outcome(answer, "applied")
    phone.drop()
    await stage.greeted(token="token-ack")


@check(
    "notices.accepted_later",
    "refuses log-ons with `notice_must_be_acknowledged {notices}` until `accepted_notices` names",
)
async def accepted_later(stage: Stage) -> None:
    """What was acknowledged in a session is named when the phone logs on again by itself."""
    phone = await stage.live(credentials=STORED)
    answer = stage.driver.begin("acknowledge", notice={"id": "n1", "version": 2})
    frame = await phone.receive("command")
    await phone.send(result(frame["id"]))
    await stage.outcome(answer)
    await phone.bye(4300, "expired", min_s=0, max_s=0.1)
    asked = await stage.gateway.request("POST", "/v1/sessions", 2)
    accepted = asked.body.get("accepted_notices")
    expect(accepted == [{"id": "n1", "version": 2}], f"it names {accepted}")


@check(
    "notices.must_be_accepted",
    "refuses log-ons with `notice_must_be_acknowledged {notices}` until `accepted_notices` names",
)
async def must_be_accepted(stage: Stage) -> None:
    """The refusal names the notices; a log-on that names them is sent so."""
    await stage.start()
    body = {"status": 409, "code": "notice_must_be_acknowledged", "detail": "Read.", "notices": [notice()]}
    stage.gateway.answer("POST", "/v1/sessions", 409, body)
    error = await stage.refused("log_on", "notice_must_be_acknowledged", **LOG_ON)
    received = error["details"].get("notices")
    expect(
        received and received[0]["id"] == "n1" and received[0]["version"] == 2,
        f"the client reports {received}",
    )
    await stage.log_on(accepted_notices=[{"id": "n1", "version": 2}])
    asked = await stage.gateway.request("POST", "/v1/sessions", 2)
    accepted = asked.body.get("accepted_notices")
    expect(accepted == [{"id": "n1", "version": 2}], f"it names {accepted}")


@check("notices.before_log_on", "`GET /v1/notices` returns all notices")
async def before_log_on(stage: Stage) -> None:
    """A client reads notices without a log-on."""
    await stage.start()
    said = {name: value for name, value in notice().items() if name != "kind"}
    stage.gateway.answer("GET", "/v1/notices", 200, {"notices": [said], "page": 1})
    received = (await stage.driver.ask("notices"))["notices"]
    expect([(one["id"], one["version"]) for one in received] == [("n1", 2)], f"the client reports {received}")
    (asked,) = stage.gateway.requests("GET", "/v1/notices")
    expect("authorization" not in asked.headers, "it shows a token")


@live("notices.do_not_disturb", "a message for people: see")
async def do_not_disturb(stage: Stage, phone: Phone) -> None:
    """Notices move no position and end no session, however many they are."""
    for version in range(40):
        await phone.send(notice(version))
    await phone.send(changes(5, 6, put={"queue:2": {"name": "Two"}}))
    await phone.ping(6)
    await asyncio.sleep(0.1)
    expect(
        len(stage.driver.received("notice")) == 40, f"{len(stage.driver.received('notice'))} of 40 are shown"
    )
