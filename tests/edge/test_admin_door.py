"""Admin API: no access without the token, and every act is recorded."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import NodeId, OperatorAct, OrderAct, UserHash
from gateway.edge.admin import TRIES_BURST, TRIES_PER_S
from gateway.edge.export import OwnDataExport
from gateway.protocol.envelopes import Order
from gateway.runtime.cluster_receiver import Page
from tests.edge.operated import ACT_ID, BEARER, TOKEN, Operated, named, operated
from tests.runtime.scene import user


def hashed(session: str) -> str:
    return hashlib.blake2s(session.encode(), digest_size=8, person=b"session").hexdigest()


def acted(
    act: str, subject: str | None, node: str | None, result: str, status: int, *, user: UserHash | None = None
) -> OperatorAct:
    return OperatorAct(act, subject, node, result, status, user=user, act_id=ACT_ID)


async def status_of(at: Operated, **headers: str) -> int:
    return (await at.ask("GET", "/nodes", headers=headers))[0]


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "Basic x", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", TOKEN, "Bearer é"],
)
async def test_a_caller_without_the_token_is_refused(header: str) -> None:
    async with operated() as at:
        assert await status_of(at, Authorization=header) == 401
        assert at.audited == [acted("list_nodes", None, None, "unauthenticated", 401)]


async def test_two_headers_are_none() -> None:
    async with (
        operated() as at,
        at.client.get("/nodes", headers=[("Authorization", BEARER["Authorization"])] * 2) as answer,
    ):
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_tokens_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[tuple[int, int]] = []
    compare = hmac.compare_digest

    def seen(one: bytes, other: bytes) -> bool:
        lengths.append((len(one), len(other)))
        return compare(one, other)

    async with operated() as at:
        monkeypatch.setattr(hmac, "compare_digest", seen)
        for token in ("x", TOKEN, TOKEN * 3):
            await status_of(at, Authorization=f"Bearer {token}")
    assert lengths == [(32, 32)] * 3


async def test_after_too_many_wrong_tokens_none_is_looked_at_for_a_while() -> None:
    async with operated() as at:
        for _ in range(TRIES_BURST):
            assert await status_of(at, Authorization="Bearer wrong") == 401
        async with at.client.get("/nodes", headers=BEARER) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
        await at.street.clock.advance(1 / TRIES_PER_S)
        assert await status_of(at, **BEARER) == 200
        await at.street.clock.advance(3 / TRIES_PER_S)
        for _ in range(20):
            assert await status_of(at, **BEARER) == 200, "the right one costs nothing"


async def test_who_shows_no_token_keeps_nobody_out() -> None:
    async with operated() as at:
        for _ in range(TRIES_BURST + 5):
            assert await status_of(at) == 401
        assert await status_of(at, **BEARER) == 200


async def test_refusals_of_a_flood_are_counted_and_reported_with_the_next_line() -> None:
    async with operated() as at:
        for _ in range(TRIES_BURST + 5):
            await status_of(at, Authorization="Bearer wrong")
        for _ in range(5):
            await status_of(at)
            await status_of(at, **BEARER, Origin="http://127.0.0.1")
        assert [act.result for act in at.audited] == ["unauthenticated"], "one line a second of all refusals"
        await at.street.clock.advance(2)
        await status_of(at, **BEARER)
        refused = TRIES_BURST + 5 + 10
        assert (at.audited[-1].result, at.audited[-1].suppressed) == ("ok", refused - 1)
        await status_of(at, **BEARER)
        assert at.audited[-1].suppressed == 0


async def test_web_pages_are_refused_even_with_the_token() -> None:
    async with operated() as at:
        assert await status_of(at, **BEARER, Origin="http://127.0.0.1") == 403
        assert at.audited[-1].result == "forbidden"


async def test_every_call_is_written_down_with_whom_it_concerned() -> None:
    async with operated() as at:
        anna = named(user(1))
        await at.ask("DELETE", "/sessions/nobody")
        await at.ask("POST", "/users/main:1/end")
        await at.ask("GET", f"/users/{anna}/export")
        await at.ask("GET", "/users/canary%20name/export")
        await at.ask("POST", "/drain", {"node": "n0"})
        await at.ask("POST", "/log-level", {"level": "debug"})
        await at.ask("POST", "/log-level", {"level": "canary"})
        await at.ask("POST", "/support-bundle", {"preview": True})
        await at.ask("GET", "/canary")
        await at.ask("PUT", "/nodes")
        assert at.audited == [
            acted("end_session", hashed("nobody"), None, "not_found", 404),
            acted("end_user", anna, None, "not_found", 404),
            acted("export_user", anna, None, "not_found", 404),
            acted("export_user", "canary name", None, "bad_request", 400),
            acted("drain", None, "n0", "ok", 202),
            acted("set_log_level debug", None, None, "ok", 200),
            acted("set_log_level", None, None, "bad_request", 400),
            acted("support_bundle preview", None, None, "ok", 200),
            acted("unknown", None, None, "not_found", 404),
            acted("unknown", None, None, "bad_request", 405),
        ]


async def test_whose_session_it_was_is_written_down_too() -> None:
    async with operated(2) as at:
        first, second = [await at.street.scenes[n].served(device=f"d{n}") for n in (0, 1)]
        await at.street.pass_time(1)
        anna = named(user(1))
        await at.ask("GET", f"/users/{anna}/export")
        await at.ask("DELETE", f"/sessions/{second.ticket.session}")
        await at.ask("POST", f"/users/{anna}/end")
        assert at.audited == [
            acted("export_user", anna, None, "ok", 200, user=UserHash(anna)),
            acted("end_session", hashed(second.ticket.session), None, "ok", 200, user=UserHash(anna)),
            acted("end_user", anna, None, "ok", 200, user=UserHash(anna)),
        ]
        assert first.closed is not None


async def test_a_fault_of_ours_is_written_down_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async with operated() as at:
        monkeypatch.setattr(at.street.scenes[0].node, "record", None)
        assert (await at.ask("GET", "/nodes"))[0] == 500
        assert at.audited == [acted("list_nodes", None, None, "internal", 500)]
        monkeypatch.undo()


async def test_each_node_writes_down_what_it_carried_out_for_an_operator_of_another() -> None:
    async with operated(3) as at:
        anna, (_, second, third) = named(user(1)), at.street.scenes
        phone = await second.served()
        await at.ask("DELETE", f"/sessions/{phone.ticket.session}")
        await at.ask("POST", "/drain", {"node": "n1"})
        await at.ask("POST", "/log-level", {"level": "debug"})
        by_act = {each.act: each for each in second.audited if isinstance(each, OrderAct)}
        assert by_act == {
            "end_session": OrderAct("end_session", ACT_ID, "n0", "ok", UserHash(anna)),
            "drain": OrderAct("drain", ACT_ID, "n0", "ok"),
            "log_level": OrderAct("log_level", ACT_ID, "n0", "ok"),
        }
        assert third.audited == [
            OrderAct("end_session", ACT_ID, "n0", "not_found"),
            OrderAct("log_level", ACT_ID, "n0", "ok"),
        ]
        assert [each.act_id for each in at.audited] == [ACT_ID] * 3


async def test_a_users_own_export_is_no_act_of_an_operator() -> None:
    async with operated(2) as at:
        phone = await at.street.scenes[0].served()
        await OwnDataExport(at.street.scenes[0].node.orders, at.street.clock).of(phone.ticket)
        assert not [each for each in at.street.scenes[1].audited if isinstance(each, OrderAct)]
        assert (await at.ask("GET", "/users/main:1/export"))[0] == 200
        assert [each.act for each in at.street.scenes[1].audited if isinstance(each, OrderAct)] == ["export"]


async def test_the_result_of_a_refused_a_failed_and_a_half_done_order_is_written_down() -> None:
    async with operated(2) as at:
        other = at.street.scenes[1]

        async def refuse(order: Order) -> Page:
            raise GatewayError(ErrorCode.BAD_REQUEST, "canary")

        async def keep(order: Order) -> Page:
            return Page(({"kept": "certificate"},))

        other.node.orders.learn("log_level", refuse)
        other.node.orders.learn("reload", keep)
        await at.ask("POST", "/log-level", {"level": "debug"})
        await at.ask("POST", "/reload")
        assert other.audited == [
            OrderAct("log_level", ACT_ID, "n0", "bad_request"),
            OrderAct("reload", ACT_ID, "n0", "not_in_force"),
        ]


async def test_an_order_that_fails_unforeseen_is_written_down_as_well() -> None:
    async with operated(2) as at:
        other = at.street.scenes[1]

        async def fail(order: Order) -> Page:
            raise RuntimeError("canary")

        other.node.orders.learn("drain", fail)
        with pytest.raises(RuntimeError):
            await other.node.orders.carry_out(Order(NodeId("n0"), 1, "drain", act_id=ACT_ID))
        assert other.audited == [OrderAct("drain", ACT_ID, "n0", "internal")]
