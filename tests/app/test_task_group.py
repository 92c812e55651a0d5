"""Tasks beside a block end with it; every error is raised as what it is."""

from __future__ import annotations

import asyncio

import pytest

from gateway.app.process import background_tasks


class Life:
    def __init__(self) -> None:
        self.seen: list[str] = []

    async def run(self) -> None:
        self.seen.append("began")
        try:
            await asyncio.Event().wait()
        finally:
            self.seen.append("ended")


async def test_lives_begin_and_end_with_the_block() -> None:
    life, other = Life(), Life()
    async with background_tasks(life.run(), other.run()):
        await asyncio.sleep(0)
        assert life.seen == other.seen == ["began"]
    assert life.seen == other.seen == ["began", "ended"]


async def test_an_error_of_the_block_leaves_it_as_it_is() -> None:
    life = Life()

    async def block() -> None:
        async with background_tasks(life.run()):
            await asyncio.sleep(0)
            raise KeyError("own")

    with pytest.raises(KeyError, match="own"):
        await block()
    assert life.seen == ["began", "ended"]


async def _fails() -> None:
    raise ValueError("life")


async def test_a_life_that_fails_ends_the_block() -> None:
    with pytest.raises(ExceptionGroup) as failed:
        async with background_tasks(_fails()):
            await asyncio.Event().wait()
    assert failed.group_contains(ValueError, match="life")
