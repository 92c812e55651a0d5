"""Log-on routes reveal nothing to a guesser, and all to a user with the password."""

from __future__ import annotations

from statistics import median

import pytest

from gateway.simulator.sessions import Account
from tests.scenarios.office import Answer, Office, office

pytestmark = pytest.mark.scenario

FLOOR_S = 0.3
NOISE_S = 0.05
"""What two medians may differ by on a busy machine; a route that reveals it differs by the floor."""
TRIES = 3
"""Of one address; all addresses together have one below the OSCC-E Server's lock-out."""
WRONG = "not the password"
NUMBER, OTHER_NUMBER = "+49 30 1234567", "+49 30 7654321"


def said(answer: Answer) -> tuple[int, object]:
    return answer.status, answer.body.get("code")


def account(at: Office, name: str) -> Account:
    """A user's account at the OSCC-E Server."""
    return at.simulator.accounts.by_name[name]


async def test_who_does_not_exist_and_whose_password_is_wrong_look_alike() -> None:
    async with office() as at:
        known, unknown = [], []
        for number in range(1, 7):
            known.append(await at.log_on(f"agent{number}", "d", number=NUMBER, password=WRONG))
            unknown.append(await at.log_on(f"nobody{number}", "d", number=NUMBER, password=WRONG))
        assert said(known[0]) == (401, "invalid_credentials")
        assert len({(answer.status, answer.raw, answer.headers) for answer in (*known, *unknown)}) == 1
        times = [[answer.took_s for answer in answers] for answers in (known, unknown)]
        assert min(map(min, times)) >= FLOOR_S
        assert abs(median(times[0]) - median(times[1])) < NOISE_S


async def test_guessing_locks_the_gateways_door_and_never_the_servers() -> None:
    async with office() as at:
        names = ("supervisor2", "nobody")
        for name in names:
            guesses = [await at.log_on(name, "d", password=WRONG) for _ in range(TRIES)]
            assert {said(answer) for answer in guesses} == {(401, "invalid_credentials")}
        asked = at.simulator.accounts.attempts
        for name in names:
            locked = await at.log_on(name, "d")
            assert said(locked) == (423, "account_locked")
            assert 0 < locked.body["retry_after_s"] <= 900
            assert locked.took_s >= FLOOR_S
        assert at.simulator.accounts.attempts == asked == len(names) * TRIES
        assert account(at, "supervisor2").failures == TRIES < at.simulator.settings.lock_out_tries
        assert account(at, "supervisor2").locked_until_ms == 0
        assert (await at.log_on("supervisor1", "d")).status == 201


async def test_an_account_that_the_server_has_locked_looks_like_one_that_does_not_exist() -> None:
    async with office() as at:
        account(at, "supervisor2").locked_until_ms = at.simulator.center.now_ms + 30_000
        locked, nobody = await at.log_on("supervisor2", "d"), await at.log_on("nobody", "d")
        assert said(locked) == (401, "invalid_credentials")
        assert (locked.raw, locked.headers) == (nobody.raw, nobody.headers)


async def test_where_somebody_is_logged_on_is_reported_after_the_right_password_only() -> None:
    async with office() as at:
        old = await at.served("agent3", "old", NUMBER)
        wrong = await at.log_on("agent3", "new", number=OTHER_NUMBER, password=WRONG, takeover=True)
        assert said(wrong) == (401, "invalid_credentials")
        assert not wrong.body.keys() & {"where", "since_ms"}
        elsewhere = await at.log_on("agent3", "new", number=OTHER_NUMBER)
        assert said(elsewhere) == (409, "already_logged_on")
        assert (elsewhere.body["where"], elsewhere.body["since_ms"]) == ("OLD", at.session_of(old).since_ms)
        await old.caught_up()
        assert await at.looked_at("routing") == {"agent3": "+49301234567"}
