"""``watch``: log-on and log-off of a supervisor, and helpful refusals."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from gateway.app.cli.watch import WatchError
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.protocol.codec import problem_members
from tests.app.watching import SITE, Board, about
from tests.doubles.scripted_gateway import ScriptedGateway, created

NOTICES: list[dict[str, str | int | bool | None]] = [{"id": "n1", "version": 2}, {"id": "odd"}]
MUST_READ = GatewayError(ErrorCode.NOTICE_MUST_BE_ACKNOWLEDGED, "Read.", notices=NOTICES)
BUSY = GatewayError(ErrorCode.RATE_LIMITED, "Busy.")


def _refuse(gateway: ScriptedGateway, error: GatewayError, headers: dict[str, str] | None = None) -> None:
    gateway.forget("POST", "/v1/sessions")
    gateway.answer("POST", "/v1/sessions", error.status, problem_members(error), headers)


async def _shown(board: Board, **options: object) -> dict[str, Any]:
    """Run the board until it shows something; returns the last log-on."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(board.run(for_s=1.0, **options))
        await board.serve()
        await board.clock.advance(1)
    body = [asked.body for asked in board.gateway.asked if asked.method == "POST"][-1]
    assert body is not None
    return body


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (GatewayError(ErrorCode.INVALID_CREDENTIALS, "Wrong."), "Wrong."),
        (GatewayError(ErrorCode.ALREADY_LOGGED_ON, "Elsewhere."), "--takeover"),
        (MUST_READ, "(n1) --accept-notices"),
    ],
)
async def test_a_refused_log_on_says_what_helps(
    gateway: ScriptedGateway, error: GatewayError, said: str
) -> None:
    _refuse(gateway, error)
    with pytest.raises(WatchError, match=re.escape(said)):
        await Board(gateway).run()


async def test_a_busy_gateway_is_come_back_to_when_it_says(gateway: ScriptedGateway) -> None:
    _refuse(gateway, BUSY, {"Retry-After": "3"})
    gateway.answer("POST", "/v1/sessions", 201, created())
    board = Board(gateway)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(board.run(for_s=1.0))
        await board.clock.advance(2.9)
        assert gateway.count("POST", "/v1/sessions") == 1
        await board.clock.advance(0.2)
        await board.serve()
        await board.clock.advance(1)
    assert gateway.count("POST", "/v1/sessions") == 2


@pytest.mark.parametrize("headers", [{}, {"Retry-After": "31"}])
async def test_one_that_is_busy_for_long_or_says_not_how_long_is_left_alone(
    gateway: ScriptedGateway, headers: dict[str, str]
) -> None:
    _refuse(gateway, BUSY, headers)
    with pytest.raises(WatchError, match="Busy"):
        await Board(gateway).run()
    assert gateway.count("POST", "/v1/sessions") == 1


async def test_the_log_on_says_who_and_what_and_notices_are_accepted_when_the_person_says_so(
    gateway: ScriptedGateway,
) -> None:
    _refuse(gateway, MUST_READ)
    gateway.answer("POST", "/v1/sessions", 201, created())
    board = Board(gateway)
    asked = await _shown(board, accept_notices=True, takeover=True)
    assert asked["accepted_notices"] == [{"id": "n1", "version": 2}]
    assert (asked["site"], asked["application"], asked["user_name"]) == ("main", "dashboard", "eve")
    assert asked["takeover"] is True
    assert "secret" not in board.file.getvalue()


async def test_of_several_sites_one_must_be_named(gateway: ScriptedGateway) -> None:
    gateway.forget("GET", "/v1/about")
    about(gateway, SITE, SITE | {"id": "other"})
    for site in (None, "third"):
        with pytest.raises(WatchError, match="main, other"):
            await Board(gateway).run(site=site)
    assert (await _shown(Board(gateway), site="other"))["site"] == "other"


@pytest.mark.parametrize("hurried", [True, False])
async def test_nobody_waits_for_ever_for_a_log_off(
    gateway: ScriptedGateway, capsys: pytest.CaptureFixture[str], hurried: bool
) -> None:
    gateway.forget("DELETE", "/v1/session")
    gateway.answer("DELETE", "/v1/session", 202, {"state": "pending", "routed_until_ms": None})
    board = Board(gateway)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(board.run())
        await board.serve()
        board.stopping.ask()
        await board.clock.advance(1)
        assert not running.done()
        if hurried:
            board.stopping.ask()
        else:
            await board.clock.advance(10)
    assert "not confirmed" in capsys.readouterr().err
