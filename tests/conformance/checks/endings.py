"""Checks: reactions to each close code."""

from __future__ import annotations

from typing import Final

from tests.conformance.phone import Phone
from tests.conformance.registry import Play, add, check, live
from tests.conformance.stage import SALES, STORED, Stage
from tests.conformance.timing import expect

_RANGES: Final = (
    "A client needs only the range: 4000–4099 `stop`; 4100–4199 `back_off`: reconnect with back-off; "
    "4200–4299 `window`: reconnect at a random instant of the advised window; 4300–4399 `log_on`: "
    "log on again with the stored login data, within the window."
)
_OTHERS: Final = "1001, 1006, 1011, 1012 and 1013 count as `back_off`; 1008 and all others as `stop`."

STOP: Final = (*range(4000, 4009), 4042)
BACK_OFF: Final = (4100, 4102, 4103, 4108, 4109, 4110, 4155)
WINDOW: Final = (4200, 4201, 4242)
LOG_ON: Final = (4300, 4399)
RFC_STOP: Final = (1000, 1002, 1003, 1007, 1008, 1009, 1010, 3000, 4400, 4999)
RFC_BACK_OFF: Final = (1001, 1011, 1012, 1013)


def _stops(code: int, *, with_bye: bool) -> Play:
    async def play(stage: Stage) -> None:
        phone = await stage.live(credentials=STORED)
        await (phone.bye(code, "for_good", by="supervisor") if with_bye else phone.close(code))
        received = await stage.ended(code)
        if with_bye:
            seen = received.get("reason"), received.get("by")
            expect(seen == ("for_good", "supervisor"), f"the client reports reason and by {seen}")
        await stage.gateway.hears_nobody(1.2)
        await stage.holds("nothing is held after the end")

    return play


def _comes_back(code: int, *, with_bye: bool) -> Play:
    async def play(stage: Stage) -> None:
        phone = await stage.live(credentials=STORED)
        await (phone.bye(code) if with_bye else phone.close(code))
        ended_at = await phone.left()
        again = await stage.again()
        stage.within(again.came_at - ended_at, 0.0, 0.5, "the first try")
        expect(len(stage.gateway.requests("POST", "/v1/sessions")) == 1, "the client logged on again")

    return play


def _keeps_window(code: int) -> Play:
    async def play(stage: Stage) -> None:
        phone = await stage.live()
        began = stage.time.now()
        await phone.bye(code, "window", min_s=1.0, max_s=1.4)
        again = await stage.again()
        stage.within(again.came_at - began, 1.0, 1.4, "the next connection")

    return play


def _logs_on(code: int) -> Play:
    async def play(stage: Stage) -> None:
        phone = await stage.live(credentials=STORED)
        began = stage.time.now()
        await phone.bye(code, "expired", min_s=1.0, max_s=1.4)
        asked = await stage.gateway.request("POST", "/v1/sessions", 2)
        stage.within(asked.at - began, 1.0, 1.4, "the log-on")
        said = {name: asked.body.get(name) for name in ("site", "application", "user_name", "password")}
        wanted = {"site": "main", "application": "dashboard", "user_name": "ada", "password": "stored"}
        expect(said == wanted, f"it logs on with {said}")
        expect(asked.body.get("device", {}).get("id") == "d1", "it logs on as another device")
        await (await stage.greeted(token="token-2")).welcome()

    return play


for _code in STOP:
    add(f"endings.{_code}", _RANGES, _stops(_code, with_bye=True))
for _code in BACK_OFF:
    add(f"endings.{_code}", _RANGES, _comes_back(_code, with_bye=True))
for _code in WINDOW:
    add(f"endings.{_code}", _RANGES, _keeps_window(_code))
for _code in LOG_ON:
    add(f"endings.{_code}", _RANGES, _logs_on(_code))
for _code in RFC_STOP:
    add(f"endings.{_code}", _OTHERS, _stops(_code, with_bye=False))
for _code in RFC_BACK_OFF:
    add(f"endings.{_code}", _OTHERS, _comes_back(_code, with_bye=False))
add("endings.4005_without_bye", _RANGES, _stops(4005, with_bye=False))
add("endings.4108_without_bye", _RANGES, _comes_back(4108, with_bye=False))


@check("endings.1006", _OTHERS)
async def reset(stage: Stage) -> None:
    """A connection that breaks comes back by back-off."""
    phone = await stage.live(credentials=STORED)
    phone.drop()
    ended_at = await phone.left()
    again = await stage.again()
    stage.within(again.came_at - ended_at, 0.0, 0.5, "the first try")


@check("endings.before_welcome", _RANGES)
async def before_welcome(stage: Stage) -> None:
    """A `bye` in the place of the welcome holds like any other."""
    phone = await stage.begin(credentials=STORED)
    await phone.receive("hello")
    await phone.bye(4001, "token_invalid")
    await stage.ended(4001)
    await stage.gateway.hears_nobody(1.2)


@live("endings.nothing_stored", "log on again with the stored login data")
async def nothing_stored(stage: Stage, phone: Phone) -> None:
    """A phone that stores nothing reports that it is over, and forgets what it holds."""
    await phone.bye(4300, "expired", min_s=0, max_s=0.2)
    received = await stage.ended(4300)
    expect(received.get("reason") == "expired", f"the client reports {received.get('reason')!r}")
    await stage.gateway.hears_nobody(1.2)
    await stage.holds("nothing is held after the end")


@check("endings.log_on_later", "Advised windows and `Retry-After` have precedence.")
async def log_on_later(stage: Stage) -> None:
    """A log-on that may work later is tried again when the gateway says, not before."""
    phone = await stage.live(credentials=STORED)
    body = {"status": 503, "code": "over_capacity", "detail": "Full.", "retry_after_s": 1.5}
    stage.gateway.answer("POST", "/v1/sessions", 503, body, headers={"Retry-After": "2"})
    await phone.bye(4300, "maintenance", min_s=0, max_s=0.2)
    first = await stage.gateway.request("POST", "/v1/sessions", 2)
    second = await stage.gateway.request("POST", "/v1/sessions", 3)
    stage.within(second.at - first.at, 1.5, 2.0, "the second log-on")
    await (await stage.gateway.phone()).serve(put=SALES)


@check("endings.log_on_refused", "account_locked` counts tries per site and name")
async def log_on_refused(stage: Stage) -> None:
    """Stored credentials that are wrong are shown once: each try brings the account nearer to its lock."""
    phone = await stage.live(credentials=STORED)
    body = {"status": 401, "code": "invalid_credentials", "detail": "Wrong."}
    stage.gateway.answer("POST", "/v1/sessions", 401, body)
    await phone.bye(4300, "expired", min_s=0, max_s=0.2)
    await stage.driver.event("ended")
    await stage.time.sleep(1.5)
    expect(len(stage.gateway.requests("POST", "/v1/sessions")) == 2, "it tried again")


@check("endings.background_before_log_on", "within the window")
async def background_before_log_on(stage: Stage) -> None:
    """A phone that went to the background in the window does not log on before it is back."""
    phone = await stage.live(credentials=STORED)
    await phone.bye(4300, "expired", min_s=0.8, max_s=1.0)
    await phone.left()
    await stage.driver.ask("background")
    await stage.time.sleep(2.0)
    expect(len(stage.gateway.requests("POST", "/v1/sessions")) == 1, "it logged on in the background")
