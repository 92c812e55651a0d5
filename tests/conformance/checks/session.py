"""Checks: log-on, renewal, and log-off until it is confirmed."""

from __future__ import annotations

from typing import Final

from tests.conformance.phone import Phone
from tests.conformance.registry import check, live
from tests.conformance.saying import SESSION, created, problem
from tests.conformance.stage import LOG_ON, SALES, Stage
from tests.conformance.timing import expect

_KEEP: Final = "The client keeps the token and repeats the request until it gets 204."
_PENDING: Final = "`routed_until_ms` is the latest instant at which a call may still come."
_BODY: Final = "The answer is 201\n`{token, session: {id, application, expires_at_ms}, user, remote_number?}`"


@check("session.log_on", "JSON bodies need `Content-Type: application/json`.")
async def log_on(stage: Stage) -> None:
    """The log-on is as the page has it."""
    await stage.start()
    await stage.log_on()
    asked = await stage.gateway.request("POST", "/v1/sessions")
    kind = asked.headers.get("content-type", "")
    expect(
        kind.replace(" ", "").lower() in {"application/json", "application/json;charset=utf-8"},
        f"it is {kind}",
    )
    said = {name: asked.body.get(name) for name in ("site", "application", "user_name", "password")}
    wanted = {"site": "main", "application": "dashboard", "user_name": "ada", "password": "secret"}
    expect(said == wanted, f"it says {said}")
    device = asked.body.get("device", {})
    expect({"id", "name", "platform", "app_version"} <= device.keys(), f"the device is {device}")
    optional = {name: asked.body.get(name) for name in ("remote_number", "takeover", "accepted_notices")}
    expect(not any(optional.values()), f"it says what nobody asked for: {optional}")


@check("session.remote_number", "A Remote Assistant needs a `remote_number`; a Dashboard's is ignored.")
async def remote_number(stage: Stage) -> None:
    """The number goes out as the person wrote it, and the one in effect is reported."""
    await stage.start()
    session = {"id": "s1", "application": "remote_assistant", "expires_at_ms": 1_900_000_000_000}
    body = {"token": "token-1", "session": session, "user": {"user_id": "7", "display_name": "Ada"}}
    stage.gateway.answer(
        "POST", "/v1/sessions", 201, {**body, "remote_number": "+49301234567", "colour": "blue"}
    )
    received = await stage.log_on(application="remote_assistant", remote_number="030 1234567")
    asked = await stage.gateway.request("POST", "/v1/sessions")
    expect(asked.body.get("remote_number") == "030 1234567", f"it says {asked.body.get('remote_number')}")
    expect(
        received.get("remote_number") == "+49301234567", f"the client reports {received.get('remote_number')}"
    )


@check("session.take_over", "repeat with `takeover: true` to take the session over")
async def take_over(stage: Stage) -> None:
    """Where the session is open is reported; a take-over is asked for when the person says so, not before."""
    await stage.start()
    details = {"where": "Ada's phone", "since_ms": 1_767_000_000_000}
    stage.gateway.answer("POST", "/v1/sessions", 409, problem(409, "already_logged_on", **details))
    error = await stage.refused("log_on", "already_logged_on", **LOG_ON)
    seen = {name: error["details"].get(name) for name in details}
    expect(seen == details, f"the client reports {seen}")
    expect(not stage.gateway.requests("POST", "/v1/sessions")[0].body.get("takeover"), "it took over unasked")
    await stage.log_on(takeover=True)
    asked = await stage.gateway.request("POST", "/v1/sessions", 2)
    expect(asked.body.get("takeover") is True, "it does not take over")


@live("session.renewed", "keep this token instead of the old one")
async def renewed(stage: Stage, phone: Phone) -> None:
    """From then on the fresh token is used: for HTTP, for the next hello, for the log-off."""
    fresh = {"kind": "renewed", "token": "token-fresh", "expires_at_ms": 1_950_000_000_000, "why": "keys"}
    await phone.send(fresh)
    received = await stage.driver.event("renewed")
    expect(received.get("expires_at_ms") == 1_950_000_000_000, f"the client reports {received}")
    expect(not phone.gone.is_set(), "it connected again")
    phone.drop()
    again = await stage.greeted(token="token-fresh", position={"stream": "1.a", "seq": 5})
    await again.welcome(resumed=True)
    await stage.driver.ask("log_off")
    asked = await stage.gateway.request("DELETE", "/v1/session")
    expect(asked.headers.get("authorization") == "Bearer token-fresh", "the log-off has the old token")


@live("session.log_off", "Closing a socket, or sending `bye`, is never a log-off.")
async def log_off(stage: Stage, phone: Phone) -> None:
    """A log-off is asked for by HTTP; the socket is left, the mirror forgotten, and nothing comes back."""
    await stage.driver.ask("log_off")
    await phone.left()
    asked = await stage.gateway.request("DELETE", "/v1/session")
    expect(asked.headers.get("authorization") == "Bearer token-1", "it has no token")
    await stage.holds("nothing is held after a log-off")
    await stage.gateway.hears_nobody(1.0)
    expect(len(stage.gateway.requests("DELETE", "/v1/session")) == 1, "a confirmed log-off is repeated")


@check("session.log_off_pending", _KEEP)
async def log_off_pending(stage: Stage) -> None:
    """202 is no confirmation: it is reported until when calls may come, and the same token asks again."""
    await stage.live(chance=0.5)
    body = {"state": "pending", "routed_until_ms": 1_767_300_000_000}
    for _ in range(2):
        stage.gateway.answer("DELETE", "/v1/session", 202, body)
    answer = stage.driver.begin("log_off")
    received = await stage.driver.event("log_off_pending")
    expect(received.get("routed_until_ms") == 1_767_300_000_000, f"the client reports {received}")
    await stage.driver.answered(answer, "log_off")
    asked = stage.gateway.requests("DELETE", "/v1/session")
    expect(len(asked) == 3, f"it was asked {len(asked)} times, not 3")
    tokens = {one.headers.get("authorization") for one in asked}
    expect(tokens == {"Bearer token-1"}, "the token is not the same")


@check("session.log_off_again", "It repeats after `retry_after_s`.")
async def log_off_again(stage: Stage) -> None:
    """A 202 that says when is repeated then, not before."""
    await stage.live(chance=0.5)
    body = {"state": "pending", "routed_until_ms": 1_767_300_000_000, "retry_after_s": 1.2}
    stage.gateway.answer("DELETE", "/v1/session", 202, body, headers={"Retry-After": "2"})
    await stage.driver.ask("log_off")
    first, second = stage.gateway.requests("DELETE", "/v1/session")
    stage.within(second.at - first.at, 1.2, 2.0, "the second log-off")


@check(
    "session.log_off_later", "A refusal that may be lifted later always has the time after which to try again"
)
async def log_off_later(stage: Stage) -> None:
    """A gateway that cannot now is asked again when it says, not before."""
    await stage.live()
    body = problem(503, "upstream_unavailable", retry_after_s=1.2)
    stage.gateway.answer("DELETE", "/v1/session", 503, body, headers={"Retry-After": "2"})
    await stage.driver.ask("log_off")
    first, second = stage.gateway.requests("DELETE", "/v1/session")
    stage.within(second.at - first.at, 1.2, 2.0, "the second log-off")


@check("session.log_off_unheard", _KEEP)
async def log_off_unanswered(stage: Stage) -> None:
    """A log-off whose answer was lost, or that found no gateway, is repeated."""
    phone = await stage.live(chance=0.5)
    stage.gateway.answer("DELETE", "/v1/session", 0)
    stage.gateway.answer("DELETE", "/v1/session", 502, b"<html>Bad gateway</html>")
    await stage.driver.ask("log_off")
    await phone.left()
    expect(len(stage.gateway.requests("DELETE", "/v1/session")) >= 3, "it was not repeated")


@live("session.end_another", "end one of them: 204, or 202")
async def end_another(stage: Stage, phone: Phone) -> None:
    """Another session ends without harm to one's own; until when its calls may come is reported."""
    body = {"state": "pending", "routed_until_ms": 1_767_300_000_000}
    stage.gateway.answer("DELETE", "/v1/sessions/s%2F9", 202, body)
    received = await stage.driver.ask("end_session", session_id="s/9")
    expect(received.get("routed_until_ms") == 1_767_300_000_000, f"the client reports {received}")
    await phone.ping(5)
    await stage.holds("one's own session goes on", queue__1=SALES["queue:1"])


@check("session.slow_answers", _BODY)
async def slow_answers(stage: Stage) -> None:
    """An answer that trickles in over 2 s is waited for."""
    await stage.start()
    body = created("slow", session={**SESSION, "id": "s2"})
    stage.gateway.answer("POST", "/v1/sessions", 201, body, slow_s=2.0)
    received = await stage.log_on()
    expect(received.get("session_id") == "s2", f"the client reports {received}")
