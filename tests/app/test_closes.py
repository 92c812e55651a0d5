"""The last closed connections are listed, without users."""

from __future__ import annotations

from ipaddress import ip_address

from gateway.app.admin import CLOSES_MAX, CLOSES_MS, CloseHistory
from gateway.app.keys import SecretKey
from gateway.app.logging import Pseudonyms
from gateway.domain.model import Application, NodeId, UserId
from gateway.edge.channel import ConnectionSummary
from gateway.protocol.envelopes import Order

PSEUDONYMS = Pseudonyms(SecretKey(bytes(32)))
ANNA = UserId("main", 4711)


def life(*, user: UserId | None = ANNA, reason: str = "no pong", code: int = 4109) -> ConnectionSummary:
    application = None if user is None else Application.DASHBOARD
    address = ip_address("192.0.2.77")
    return ConnectionSummary(user, application, "json", address, 1.5, "gateway", code, reason, 1, 2, 3, 0, 0)


class Wall:
    def __init__(self) -> None:
        self.ms = 1_000

    def __call__(self) -> int:
        return self.ms


def closes(wall: Wall, kept: int = CLOSES_MAX) -> CloseHistory:
    return CloseHistory(NodeId("n1"), PSEUDONYMS, wall, kept=kept)


async def page(of: CloseHistory, after: str = "", most: int = 10) -> tuple[list[int], str, bool]:
    """Return when those of a page ended, the last one's id, and whether there are more."""
    found = await of.closes(Order(NodeId("n"), 1, "closes", after=after, most=most))
    ids = [str(record["id"]) for record in found.records]
    return [record["at_ms"] for record in found.records], ids[-1] if ids else "", found.more


def test_a_line_is_kept_as_the_log_has_it() -> None:
    made = closes(Wall())
    made.note(life())
    assert made.last(5) == [
        {
            "id": "000000000001000.0000000001.n1",
            "node": "n1",
            "at_ms": 1_000,
            "initiator": "gateway",
            "close_code": 4109,
            "close_reason": "no pong",
            "user": PSEUDONYMS.of(ANNA),
            "application": "dashboard",
            "codec": "json",
            "address": "192.0.2.0/24",
            "lasted_s": 1.5,
            "frames_in": 1,
            "frames_out": 2,
            "bytes_out": 3,
            "conflated": 0,
            "commands": 0,
        }
    ]


def test_what_may_not_be_logged_is_not_kept() -> None:
    made = closes(Wall())
    made.note(life(reason="+49 30 1234567"))
    made.note(life(user=None, reason=""))
    assert [line["close_reason"] for line in made.last(5)] == ["", ""]
    assert "4711" not in repr(vars(made)["_ring"])
    assert "192.0.2.77" not in repr(vars(made)["_ring"])


async def test_pages_go_from_the_newest_to_the_oldest_and_a_clock_that_jumps_back_loses_nothing() -> None:
    wall = Wall()
    made = closes(wall)
    for at_ms in (1_000, 2_000, 2_000, 3_000):
        wall.ms = at_ms
        made.note(life())
    first, last, more = await page(made, most=2)
    assert (first, more) == ([3_000, 2_000], True)
    rest, _, more = await page(made, last, most=2)
    assert (rest, more) == ([2_000, 1_000], False)

    back = closes(wall)
    for at_ms in (2_000, 1_000):
        wall.ms = at_ms
        back.note(life())
    first, last, _ = await page(back, most=1)
    rest, _, _ = await page(back, last, most=1)
    assert first + rest == [2_000, 1_000]


def test_beyond_its_bound_the_oldest_is_forgotten() -> None:
    made = closes(Wall(), kept=3)
    for code in range(4_000, 4_005):
        made.note(life(code=code))
    assert len(made) == 3
    assert [line["close_code"] for line in made.last(10)] == [4_004, 4_003, 4_002]
    assert CLOSES_MAX == 10_000


async def test_what_is_older_than_a_day_is_not_listed_any_more() -> None:
    wall = Wall()
    made = closes(wall)
    made.note(life())
    wall.ms += CLOSES_MS
    made.note(life())
    assert len(made.of(PSEUDONYMS.of(ANNA))) == 2
    wall.ms += 1
    assert await page(made) == ([1_000 + CLOSES_MS], "000000086401000.0000000002.n1", False)
    wall.ms += CLOSES_MS
    assert (made.last(5), made.of(PSEUDONYMS.of(ANNA))) == ([], [])
    assert len(vars(made)["_ring"]) == 0, "nor kept"
    assert CLOSES_MS == 86_400_000


def test_those_of_one_user_are_found() -> None:
    made = closes(Wall())
    made.note(life())
    made.note(life(user=UserId("main", 5)))
    assert [line["user"] for line in made.of(PSEUDONYMS.of(ANNA))] == [PSEUDONYMS.of(ANNA)]
