"""Checks: frames in either encoding, however their bytes arrive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tests.conformance import wire
from tests.conformance.phone import Phone
from tests.conformance.registry import Play, add, live
from tests.conformance.saying import changes
from tests.conformance.stage import Stage
from tests.conformance.timing import expect

_RFC: Final = (
    "The WebSocket is that of RFC 6455, in the strict sense of every case of the Autobahn test suite."
)
_SAME: Final = "Both encodings carry the same content."

SAMPLES: Final[dict[str, Any]] = {
    "queue:5": {"name": "Übergröße 🎧 \u2028", "contacts_waiting": 0, "service_level_pct": 97.25, "on": True},
    "agent:7": {"skills": [{"skill_id": "3", "level": 80}], "group_ids": [], "media": {"voice": "on"}},
    "aggregate:__proto__": {"__proto__": "a name like any other", "constructor": 1, "name": ""},
    "group:1": {"small": -1, "byte": -128, "word": 65_535, "long": -2_147_483_648, "ms": 1_767_225_600_123},
    "site": {"most": 9_007_199_254_740_991, "least": -9_007_199_254_740_991, "tiny": 1.5e-7},
    "catalogue:skills": {"skills": [{"skill_id": str(n), "name": "s" * 40} for n in range(70)]},
}


def _wrong(sent: Mapping[str, Any], held: Mapping[str, Any]) -> list[str]:
    return sorted(key for key in sent.keys() | held.keys() if sent.get(key) != held.get(key))


def _fragments(codec: str) -> Play:
    async def play(stage: Stage) -> None:
        phone = await stage.begin(codec=codec)
        await phone.receive("hello")
        await phone.welcome()
        control = wire.framed(wire.PING, b"in between")
        await phone.send(changes(0, 5, stream="1.a", reset=True, put=SAMPLES), parts=7, between=control)
        await phone.send(changes(5, 6, put={"queue:6": {"name": "Six"}}), parts=2)
        await phone.ping(6)
        wrong = _wrong({**SAMPLES, "queue:6": {"name": "Six"}}, await stage.mirror())
        expect(not wrong, f"what came in fragments is held otherwise: {wrong}")

    return play


def _bytes(codec: str) -> Play:
    async def play(stage: Stage) -> None:
        phone = await stage.live(codec=codec)
        await phone.dribble(changes(5, 6, patch={"queue:1": {"contacts_waiting": 9}}))
        await phone.ping(6)
        await stage.holds("a frame came byte by byte", queue__1={"name": "Sales", "contacts_waiting": 9})

    return play


def _packet(codec: str) -> Play:
    async def play(stage: Stage) -> None:
        phone = await stage.begin(codec=codec)
        await phone.receive("hello")
        await phone.welcome()
        await phone.send(
            changes(0, 5, stream="1.a", reset=True, put={"queue:1": {"name": "Sales"}}),
            changes(5, 6, patch={"queue:1": {"contacts_waiting": 1}}),
            changes(6, 7, put={"queue:2": {"name": "Two"}}),
            changes(7, 8, gone=["queue:2"]),
        )
        await phone.ping(8)
        await stage.holds("four frames came in one packet", queue__1={"name": "Sales", "contacts_waiting": 1})

    return play


def _content(codec: str) -> Play:
    async def play(stage: Stage) -> None:
        phone = await stage.live(put=SAMPLES, codec=codec)
        await phone.ping(5)
        wrong = _wrong(SAMPLES, await stage.mirror())
        expect(not wrong, f"what came as {codec} is held otherwise: {wrong}")

    return play


for _codec in ("json", "msgpack"):
    _needs = ("msgpack",) if _codec == "msgpack" else ()
    add(f"transport.fragments_{_codec}", _RFC, _fragments(_codec), needs=_needs)
    add(f"transport.byte_by_byte_{_codec}", _RFC, _bytes(_codec), needs=_needs)
    add(f"transport.one_packet_{_codec}", _RFC, _packet(_codec), needs=_needs)
    add(f"transport.content_{_codec}", _SAME, _content(_codec), needs=_needs)


@live("transport.large", "outbound frame | 256 KiB; a larger answer is split")
async def large(stage: Stage, phone: Phone) -> None:
    """A frame of almost 256 KiB is taken in."""
    await phone.send(changes(5, 6, put={"queue:2": {"name": "x" * 260_000}}))
    await phone.ping(6)
    expect(len((await stage.mirror())["queue:2"]["name"]) == 260_000, "a large frame is not held whole")
