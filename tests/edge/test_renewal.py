"""Renewal of tokens: every phone gets a fresh one, others have turns in between."""

from __future__ import annotations

import asyncio

from gateway.edge.credentials import TOKENS_PER_TURN, renew_tokens
from tests.doubles.clock import ManualClock


class Phone:
    """Counts."""

    def __init__(self, all_of_them: list[Phone]) -> None:
        self.renewals = 0
        self._all = all_of_them

    def renew(self) -> None:
        self.renewals += 1
        self._all.remove(self)  # as a phone that leaves at once


async def test_all_phones_are_renewed_in_slices() -> None:
    left: list[Phone] = []
    phones = [Phone(left) for _ in range(TOKENS_PER_TURN * 2 + 1)]
    left.extend(phones)
    clock, seen = ManualClock(), list[int]()

    async def other() -> None:
        while left:
            seen.append(len(left))
            await asyncio.sleep(0)

    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        tasks.create_task(other())
        await renew_tokens(left, clock)
    assert {phone.renewals for phone in phones} == {1}
    assert {TOKENS_PER_TURN + 1, 1} & set(seen)
