"""Checks: answers over HTTP, genuine and not."""

from __future__ import annotations

from typing import Any, Final

from tests.conformance.registry import Play, add, check
from tests.conformance.saying import SESSION, USER, problem
from tests.conformance.stage import LOG_ON, Stage
from tests.conformance.timing import expect

_PROBLEM: Final = "Errors are `application/problem+json` (RFC 9457) with a stable `code`"
_LATER: Final = (
    "`retry_after_s` in the body (rounded up to 0.1 s) and `Retry-After` (rounded up to whole seconds)"
)


def _refused(
    status: int, code: str, details: dict[str, Any], header: str | None, after_s: float | None
) -> Play:
    async def play(stage: Stage) -> None:
        await stage.start()
        headers = {} if header is None else {"Retry-After": header}
        stage.gateway.answer(
            "POST", "/v1/sessions", status, problem(status, code, **details), headers=headers
        )
        error = await stage.refused("log_on", code, **LOG_ON)
        expect(
            error.get("retry_after_s") == after_s, f"the client says to wait {error.get('retry_after_s')} s"
        )
        wanted = {name: value for name, value in details.items() if name != "retry_after_s"}
        seen = {name: error["details"].get(name) for name in wanted}
        expect(seen == wanted, f"the client reports {seen}")
        await stage.time.sleep(0.5)
        count = len(stage.gateway.requests("POST", "/v1/sessions"))
        expect(count == 1, "a log-on that was refused is repeated without the person")

    return play


for _status, _code, _details, _header, _after_s in (
    (401, "invalid_credentials", {}, None, None),
    (423, "account_locked", {"retry_after_s": 30.5}, "31", 30.5),
    (429, "rate_limited", {}, "7", 7.0),
    (503, "over_capacity", {"retry_after_s": 5.0}, "5", 5.0),
    (422, "version_unsupported", {"minimum": "2.0"}, None, None),
    (422, "remote_number_invalid", {"kindness": 1}, None, None),
):
    add(
        f"http.{_code}",
        _PROBLEM if _after_s is None else _LATER,
        _refused(_status, _code, _details, _header, _after_s),
    )


@check("http.unknown_code", _PROBLEM)
async def unknown_code(stage: Stage) -> None:
    """A code of a later version is an error like any other, and is reported in some way."""
    await stage.start()
    stage.gateway.answer("POST", "/v1/sessions", 422, problem(422, "moon_in_wrong_phase"))
    said = str(await _error(stage, "log_on", **LOG_ON))
    expect("moon_in_wrong_phase" in said, f"the client reports {said}")


@check("http.no_gateway", _PROBLEM)
async def no_gateway(stage: Stage) -> None:
    """What is no problem+json comes from something before the gateway: an error, never an answer."""
    await stage.start()
    stage.gateway.answer("POST", "/v1/sessions", 502, b"<html>Bad gateway</html>")
    stage.gateway.answer("POST", "/v1/sessions", 200, b"<html>Please log on to the hotel</html>")
    stage.gateway.answer("POST", "/v1/sessions", 201, {"hello": "world"})
    for _ in range(3):
        error = await _error(stage, "log_on", **LOG_ON)
        expect(error, "it takes a stranger's answer for a log-on")
        code = str((error or {}).get("code"))
        expect(code.replace("_", "").isalpha(), f"it stumbles over a stranger's answer: {code}")


@check("http.bearer", "it stands in `Authorization: Bearer`")
async def bearer(stage: Stage) -> None:
    """Whatever needs the token has it there; answers with more members than known are read."""
    await stage.start()
    await stage.log_on()
    stage.gateway.answer("GET", "/v1/session", 200, {"session": SESSION, "user": USER, "mood": "good"})
    entry = {
        "id": "s1", "application": "dashboard", "device": {"id": "d1", "name": "Desk", "hue": "blue"},
        "since_ms": 1_767_000_000_000, "attached": True, "current": True, "extra": None,
    }  # fmt: skip
    stage.gateway.answer("GET", "/v1/sessions", 200, {"sessions": [entry], "next": None})
    expect((await stage.driver.ask("who"))["session"]["id"] == "s1", "who is answered otherwise")
    received = (await stage.driver.ask("sessions"))["sessions"]
    expect(
        [(one["id"], one["current"]) for one in received] == [("s1", True)], f"the client reports {received}"
    )
    for path in ("/v1/session", "/v1/sessions"):
        (asked,) = stage.gateway.requests("GET", path)
        expect(asked.headers.get("authorization") == "Bearer token-1", f"{path} has no token")


@check("http.session_ended", "the session is over; `{verdict: stop\\|log_on}` says what to do next")
async def session_ended(stage: Stage) -> None:
    """The verdict of an ended session is reported with the code."""
    await stage.start()
    await stage.log_on()
    stage.gateway.answer("GET", "/v1/session", 401, problem(401, "session_ended", verdict="log_on"))
    error = await stage.refused("who", "session_ended")
    expect(error["details"].get("verdict") == "log_on", f"the client reports {error['details']}")


@check("http.no_password_kept", "with the stored login data")
async def no_password_kept(stage: Stage) -> None:
    """A password travels in log-ons only."""
    await stage.live()
    await stage.driver.ask("log_off")
    others = [asked for asked in stage.gateway.asked if asked.method != "POST"]
    seen = [asked.target for asked in others if "secret" in f"{asked.target} {asked.headers} {asked.body}"]
    expect(not seen, f"the password is in {seen}")


async def _error(stage: Stage, do: str, **said: object) -> dict[str, Any] | None:
    """Return the error that the client reports; None when it reports none."""
    try:
        await stage.driver.ask(do, **said)
    except Exception as refusal:  # noqa: BLE001 - a lost driver is reported by the next ask
        return getattr(refusal, "error", None)
    return None
