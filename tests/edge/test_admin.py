"""Admin API: operators get answers, others nothing."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.domain.commands import OperatorAct, OrderAct, UserHash
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import NodeId
from gateway.edge import export
from gateway.edge.admin import TRIES_BURST, TRIES_PER_S, AdminRoutes, ClusterOperations
from gateway.edge.export import OwnDataExport
from gateway.protocol.bodies import Unreached
from gateway.protocol.envelopes import Order, Report
from gateway.protocol.openapi import admin_openapi
from gateway.runtime.cluster_receiver import ORDER_ANSWER_S, Page
from tests.doubles.kept import kept
from tests.doubles.refusals import refused_with
from tests.doubles.tasks import beside
from tests.edge.operated import ACT_ID, BEARER, DIGEST, LINE, TOKEN, Operated, named, operated
from tests.runtime.nodes import Nodes
from tests.runtime.scene import user

ANNA = named(user(1))


@pytest.fixture
async def at() -> AsyncIterator[Operated]:
    async with kept(operated(2)) as made:
        yield made


def refused(received: tuple[int, dict[str, object]]) -> tuple[int, object]:
    return received[0], received[1]["code"]


async def test_every_route_of_the_document_is_there_and_no_other() -> None:
    documented = {
        (method.upper(), path)
        for path, item in admin_openapi()["paths"].items()
        for method in item
        if method != "parameters"
    }
    routes = AdminRoutes(None, None).routes()  # type: ignore[arg-type]  # nobody asks them
    assert {(route.method, route.path) for route in routes} == documented


async def test_sessions_are_listed_page_by_page_over_all_nodes(at: Operated) -> None:
    phones = [await at.nodes.scenes[n].served(device=f"d{n}") for n in (0, 1)]
    await at.nodes.pass_time(1)
    status, first = await at.ask("GET", "/sessions?limit=1")
    assert (status, len(first["sessions"]), first["unreached"]) == (200, 1, [])
    _, second = await at.ask("GET", f"/sessions?limit=1&after={first['next']}")
    assert "next" not in second
    listed = [*first["sessions"], *second["sessions"]]
    assert [each["id"] for each in listed] == sorted(phone.ticket.session for phone in phones)
    assert {each["user"] for each in listed} == {ANNA}
    assert "anna" not in json.dumps(listed).lower()


async def test_a_session_and_a_user_are_ended_and_whose_it_was_is_written_down(at: Operated) -> None:
    phones = [await at.nodes.scenes[n].served(device=f"d{n}") for n in (0, 1)]
    await at.nodes.pass_time(1)
    session = phones[1].ticket.session
    await at.ask("GET", f"/users/{ANNA}/export")
    status, received = await at.ask("DELETE", f"/sessions/{session}")
    assert (status, [each["id"] for each in received["ended"]]) == (200, [session])
    assert [phone.closed is None for phone in phones] == [True, False]
    status, received = await at.ask("POST", "/users/main:1/end")
    assert (status, [each["id"] for each in received["ended"]]) == (200, [phones[0].ticket.session])
    assert [phone.closed is None for phone in phones] == [False, False]
    assert at.audited == [
        acted("export_user", ANNA, None, "ok", 200, user=UserHash(ANNA)),
        acted("end_session", hashed(session), None, "ok", 200, user=UserHash(ANNA)),
        acted("end_user", ANNA, None, "ok", 200, user=UserHash(ANNA)),
    ]
    assert refused(await at.ask("POST", f"/users/{ANNA}/end")) == (404, "not_found")
    assert refused(await at.ask("DELETE", f"/sessions/{session}")) == (404, "not_found")


async def test_a_session_that_may_be_where_nobody_is_reached_is_not_said_to_be_unknown(at: Operated) -> None:
    at.nodes.trouble.take_away(0)
    status, received = await at.ask("DELETE", "/sessions/somewhere")
    assert (status, received["code"]) == (503, "bus_down")
    assert received["unreached"] == [{"node": "n1", "reason": "bus_down"}]
    status, received = await at.ask("GET", f"/users/{ANNA}/export")
    assert (status, received["code"]) == (503, "bus_down")


async def test_what_is_there_is_listed_and_what_is_not_is_refused_in_words_of_ours(at: Operated) -> None:
    _, received = await at.ask("GET", "/nodes")
    assert [(each["node"], each["here"]) for each in received["nodes"]] == [("n0", True), ("n1", False)]
    assert (await at.ask("GET", "/openapi.json"))[1] == json.loads(json.dumps(admin_openapi()))
    assert refused(await at.ask("GET", "/openapi.json", headers={})) == (401, "unauthenticated")
    assert refused(await at.ask("GET", "/nowhere")) == (404, "not_found")
    assert refused(await at.ask("PUT", "/nodes")) == (405, "bad_request")


async def test_closes_are_listed_the_newest_first(at: Operated) -> None:
    for number, at_ms in ((0, 5), (1, 6), (0, 7)):
        line = {**LINE, "at_ms": at_ms, "id": f"{at_ms:015d}.0000000001.n{number}", "node": f"n{number}"}
        at.lines.setdefault(number, []).append(line)
    _, first = await at.ask("GET", "/closes?limit=2")
    assert [each["at_ms"] for each in first["closes"]] == [7, 6]
    _, rest = await at.ask("GET", f"/closes?limit=2&after={first['next']}")
    assert [each["at_ms"] for each in rest["closes"]] == [5]
    assert "next" not in rest


async def test_an_export_has_an_entry_for_each_category(at: Operated) -> None:
    await at.nodes.scenes[1].served()
    status, received = await at.ask("GET", f"/users/{ANNA}/export")
    assert (status, received["user"], received["complete"], received["nodes"]) == (
        200,
        ANNA,
        True,
        ["n0", "n1"],
    )
    held = {entry["category"]: entry["held"] for entry in received["entries"]}
    assert (held["token"][0]["node"], held["log_on"]) == ("n1", [])
    assert refused(await at.ask("GET", "/users/00000000000000ff/export")) == (404, "not_found")
    status, received = await at.ask("GET", "/users/main:255/export")
    assert (status, [entry for entry in received["entries"] if entry["held"]]) == (200, [])


async def test_one_node_or_all_are_asked_what_to_do(at: Operated) -> None:
    status, received = await at.ask("POST", "/log-level", {"level": "debug"})
    assert (status, received) == (200, {"nodes": ["n0", "n1"], "unreached": []})
    await at.ask("POST", "/log-level", {"level": "error", "node": "n1"})
    assert (await at.ask("POST", "/reload"))[1]["nodes"] == ["n0", "n1"]
    assert (await at.ask("POST", "/drain"))[1] == {"node": "n0", "state": "draining"}
    assert (await at.ask("POST", "/drain", {"node": "n1"}))[0] == 202
    assert at.done == [
        (0, "log_level", "debug"),
        (1, "log_level", "debug"),
        (1, "log_level", "error"),
        (0, "reload", ""),
        (1, "reload", ""),
        (0, "drain", ""),
        (1, "drain", ""),
    ]
    assert refused(await at.ask("POST", "/drain", {"node": "n7"})) == (404, "not_found")
    at.nodes.trouble.take_away(0)
    assert refused(await at.ask("POST", "/drain", {"node": "n1"})) == (503, "bus_down")
    _, received = await at.ask("POST", "/reload")
    assert received == {"nodes": ["n0"], "unreached": [{"node": "n1", "reason": "bus_down"}]}


async def test_a_node_that_keeps_something_old_has_not_done_it_and_that_is_written_down() -> None:
    async with operated(3) as at:
        says(at.nodes, 1, "reload", {"kept": "keys"}, {"kept": "certificate"})
        await at.nodes.kill(2)
        kept = [{"node": "n1", "what": ["keys", "certificate"]}]
        unreached = [{"node": "n2", "reason": "not_heard"}]
        every = {"nodes": ["n0"], "unreached": unreached, "kept": kept}
        assert await at.ask("POST", "/reload") == (200, every)
        assert await at.ask("POST", "/reload", {"node": "n0"}) == (200, {"nodes": ["n0"], "unreached": []})
        alone = {"nodes": [], "unreached": [], "kept": kept}
        assert await at.ask("POST", "/reload", {"node": "n1"}) == (200, alone)
        results = ["not_in_force", "ok", "not_in_force"]
        assert [(act.result, act.status) for act in at.audited] == [(result, 200) for result in results]


async def test_a_bundle_is_shown_first_and_written_by_its_digest(at: Operated) -> None:
    _, shown = await at.ask("POST", "/support-bundle", {"preview": True, "purpose": "case 7"})
    assert (shown["bundle"], at.bundles.purposes, at.bundles.written) == (
        {"bundle": {"format": 1}},
        ["case 7"],
        [],
    )
    _, written = await at.ask("POST", "/support-bundle", {"digest": shown["digest"]})
    assert (written["path"], at.bundles.written) == ("bundle.json", [DIGEST])
    for wrong in (
        {},
        {"purpose": "x"},
        {"preview": True, "digest": DIGEST},
        {"digest": DIGEST, "purpose": "x"},
    ):
        assert refused(await at.ask("POST", "/support-bundle", wrong)) == (400, "bad_request")


PAGES = (
    "/sessions?limit=0", "/sessions?limit=1001", "/sessions?limit=-1", "/sessions?limit=x",
    "/sessions?limit=1&limit=2", "/sessions?after=", "/closes?after=%00", "/closes?limit=",
    f"/closes?after={'x' * 257}", "/closes?after=x", "/closes?after=000000000000001.1.n",
)  # fmt: skip


async def test_a_page_a_name_and_a_session_that_cannot_be_are_refused(at: Operated) -> None:
    for path in PAGES:
        assert refused(await at.ask("GET", path)) == (400, "bad_request"), path
    for name in ("anna", "main:x", "%00", "x" * 300, "main:1%0a"):
        assert refused(await at.ask("POST", f"/users/{name}/end")) == (400, "bad_request"), name
        assert refused(await at.ask("GET", f"/users/{name}/export")) == (400, "bad_request"), name
    for name in ("%00", "x" * 257, "%ed%a0%80"):
        assert (await at.ask("DELETE", f"/sessions/{name}"))[0] in {400, 404}, name


async def _send(at: Operated, body: bytes, content_type: str) -> int:
    headers = {**BEARER, "Content-Type": content_type}
    async with at.client.post("/log-level", data=body, headers=headers) as answer:
        return answer.status


async def test_bodies_are_bounded_and_json_and_answers_kept_by_nobody(at: Operated) -> None:
    assert await _send(at, b'{"level": "debug"}', "application/json") == 200
    assert await _send(at, b'{"level": "debug"}', "text/plain") == 415
    assert await _send(at, b"{", "application/json") == 400
    assert await _send(at, b" " * 20_000, "application/json") == 413
    assert [node for node, act, _ in at.done] == [0, 1]
    async with at.client.get("/nodes", headers=BEARER) as answer:
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "Set-Cookie" not in answer.headers
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]
    async with at.client.options("/nodes", headers={**BEARER, "Origin": "https://a.example"}) as answer:
        assert answer.status == 403


# ---- answers of all nodes are merged, also incomplete ones ----


SESSION = {
    "user": "0" * 16, "site": "main", "application": "dashboard", "owner": "n0", "node": None,
    "attached": False, "expires_at_ms": 5,
}  # fmt: skip
ENDED = {"user": "0" * 16, "application": "dashboard", "by_node": "n0"}


def says(at: Nodes, node: int, act: str, *records: dict[str, Any], more: bool = False) -> None:

    async def obey(order: Order) -> Page:
        return Page(records, more)

    at.scenes[node].node.orders.register(act, obey)


def desk_of(at: Nodes) -> ClusterOperations:
    return ClusterOperations(at.scenes[0].node, named, ACT_ID)


async def test_of_two_who_list_the_same_session_the_one_with_its_link_is_right(at: Operated) -> None:
    for attached in (0, 1):
        for node in (0, 1):
            record = {**SESSION, "id": "s", "owner": f"n{node}", "attached": node == attached}
            says(at.nodes, node, "sessions", record)
        body = await desk_of(at.nodes).sessions(10, "")
        assert [one.owner for one in body.sessions] == [f"n{attached}"]
        assert body.next is None


async def test_sessions_of_two_nodes_are_merged_and_one_confirmation_is_enough(at: Operated) -> None:
    says(at.nodes, 0, "sessions", {**SESSION, "id": "a"}, {**SESSION, "id": "c"}, more=True)
    says(at.nodes, 1, "sessions", {**SESSION, "id": "b"}, {**SESSION, "id": "d"})
    body = await desk_of(at.nodes).sessions(2, "")
    assert ([one.id for one in body.sessions], body.next) == (["a", "b"], "b")
    says(at.nodes, 0, "sessions", {**SESSION, "id": "a", "colour": "red"})
    says(at.nodes, 1, "sessions", {"id": "b"})
    body = await desk_of(at.nodes).sessions(10, "")
    assert [one.id for one in body.sessions] == ["a"]
    assert body.unreached == (Unreached("n1", "refused"),)
    says(at.nodes, 0, "end_session", {**ENDED, "id": "s", "confirmed": True})
    says(at.nodes, 1, "end_session", {**ENDED, "id": "s", "confirmed": False})
    ended = (await desk_of(at.nodes).end_session("s")).ended
    assert [(one.id, one.confirmed) for one in ended] == [("s", True)]


async def test_an_export_goes_on_until_a_node_has_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    async with operated(1) as at:
        monkeypatch.setattr(export, "PAGE", 2)
        await at.nodes.scenes[0].served()
        whole = await desk_of(at.nodes).export("main:1")
        monkeypatch.setattr(export, "PAGE", 500)
        assert whole == await desk_of(at.nodes).export("main:1")
        assert whole.complete
        monkeypatch.setattr(export, "PAGE", 2)
        monkeypatch.setattr(export, "PAGES_MAX", 2)
        part = await desk_of(at.nodes).export("main:1")
        assert not part.complete
        assert sum(len(entry.held) for entry in part.entries) == 4


async def test_an_export_says_which_node_did_not_answer() -> None:
    async with operated(3) as at:
        await at.nodes.scenes[0].served()
        await at.nodes.kill(2)
        body = await desk_of(at.nodes).export("main:1")
        assert (body.complete, body.nodes) == (False, ("n0", "n1"))
        assert body.unreached == (Unreached("n2", "not_heard"),)


async def test_what_no_node_does_is_an_error(at: Operated) -> None:
    await at.nodes.kill(1)
    with refused_with(ErrorCode.BUS_DOWN) as refused:
        await desk_of(at.nodes).everywhere("reload", "", "n1")
    assert refused.value.message == "n1 does not answer: it has ended, or does not reach Redis."
    assert refused.value.details == {"unreached": [{"node": "n1", "reason": "not_heard"}]}


async def test_a_node_that_cannot_be_asked_is_reported_out_of_reach(at: Operated) -> None:
    at.nodes.trouble.take_away(0)
    await at.nodes.pass_time(5)
    with pytest.raises(
        GatewayError, match=r"This node does not reach Redis, and so does not reach n1\."
    ) as refused:
        await desk_of(at.nodes).drain("n1")
    assert refused.value.code is ErrorCode.BUS_DOWN


async def test_a_refusing_or_silent_node_is_reported(at: Operated, monkeypatch: pytest.MonkeyPatch) -> None:
    orders = at.nodes.scenes[1].node.orders
    monkeypatch.delitem(orders._known, "drain")
    with pytest.raises(GatewayError, match=r"n1 does not support this request\."):
        await desk_of(at.nodes).drain("n1")
    at.nodes.trouble.lose_all(Report)
    received: list[str] = []

    async def ask() -> None:
        try:
            await desk_of(at.nodes).drain("n1")
        except GatewayError as refused:
            received.append(refused.message)

    async with beside(ask()):
        await at.nodes.pass_time(ORDER_ANSWER_S + 1)
    assert received == ["n1 did not confirm in time. Check its state before you repeat the request."]


# ---- no access without the token, and every act is recorded ----


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
async def test_a_caller_without_the_token_is_refused(at: Operated, header: str) -> None:
    assert await status_of(at, Authorization=header) == 401
    assert at.audited == [acted("list_nodes", None, None, "unauthenticated", 401)]


async def test_two_headers_are_none() -> None:
    async with (
        operated() as at,
        at.client.get("/nodes", headers=[("Authorization", BEARER["Authorization"])] * 2) as answer,
    ):
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")


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


async def test_after_too_many_wrong_tokens_none_is_looked_at_for_a_while(at: Operated) -> None:
    for _ in range(TRIES_BURST):
        assert await status_of(at, Authorization="Bearer wrong") == 401
    async with at.client.get("/nodes", headers=BEARER) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
    await at.nodes.clock.advance(1 / TRIES_PER_S)
    assert await status_of(at, **BEARER) == 200
    await at.nodes.clock.advance(3 / TRIES_PER_S)
    for _ in range(20):
        assert await status_of(at, **BEARER) == 200, "the right one costs nothing"


async def test_who_shows_no_token_keeps_nobody_out(at: Operated) -> None:
    for _ in range(TRIES_BURST + 5):
        assert await status_of(at) == 401
    assert await status_of(at, **BEARER) == 200


async def test_web_pages_are_refused_even_with_the_token(at: Operated) -> None:
    assert await status_of(at, **BEARER, Origin="http://127.0.0.1") == 403
    assert at.audited[-1].result == "forbidden"


async def test_refusals_of_a_flood_are_counted_and_reported_with_the_next_line(at: Operated) -> None:
    for _ in range(TRIES_BURST + 5):
        await status_of(at, Authorization="Bearer wrong")
    for _ in range(5):
        await status_of(at)
        await status_of(at, **BEARER, Origin="http://127.0.0.1")
    assert [act.result for act in at.audited] == ["unauthenticated"], "one line a second of all refusals"
    await at.nodes.clock.advance(2)
    await status_of(at, **BEARER)
    refused = TRIES_BURST + 5 + 10
    assert (at.audited[-1].result, at.audited[-1].suppressed) == ("ok", refused - 1)
    await status_of(at, **BEARER)
    assert at.audited[-1].suppressed == 0


async def test_every_call_is_written_down_with_whom_it_concerned(at: Operated) -> None:
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


async def test_a_fault_of_ours_is_written_down_too(at: Operated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at.nodes.scenes[0].node, "record", None)
    assert (await at.ask("GET", "/nodes"))[0] == 500
    assert at.audited == [acted("list_nodes", None, None, "internal", 500)]
    monkeypatch.undo()


async def test_each_node_writes_down_what_it_carried_out_for_an_operator_of_another() -> None:
    async with operated(3) as at:
        anna, (_, second, third) = named(user(1)), at.nodes.scenes
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


async def test_a_users_own_export_is_no_act_of_an_operator(at: Operated) -> None:
    phone = await at.nodes.scenes[0].served()
    await OwnDataExport(at.nodes.scenes[0].node.orders, at.nodes.clock).of(phone.ticket)
    assert not [each for each in at.nodes.scenes[1].audited if isinstance(each, OrderAct)]
    assert (await at.ask("GET", "/users/main:1/export"))[0] == 200
    assert [each.act for each in at.nodes.scenes[1].audited if isinstance(each, OrderAct)] == ["export"]


async def test_the_result_of_a_refused_a_failed_and_a_half_done_order_is_written_down(at: Operated) -> None:
    other = at.nodes.scenes[1]

    async def refuse(order: Order) -> Page:
        raise GatewayError(ErrorCode.BAD_REQUEST, "canary")

    async def keep(order: Order) -> Page:
        return Page(({"kept": "certificate"},))

    other.node.orders.register("log_level", refuse)
    other.node.orders.register("reload", keep)
    await at.ask("POST", "/log-level", {"level": "debug"})
    await at.ask("POST", "/reload")
    assert other.audited == [
        OrderAct("log_level", ACT_ID, "n0", "bad_request"),
        OrderAct("reload", ACT_ID, "n0", "not_in_force"),
    ]


async def test_an_order_that_fails_unforeseen_is_written_down_as_well(at: Operated) -> None:
    other = at.nodes.scenes[1]

    async def fail(order: Order) -> Page:
        raise RuntimeError("canary")

    other.node.orders.register("drain", fail)
    with pytest.raises(RuntimeError):
        await other.node.orders.carry_out(Order(NodeId("n0"), 1, "drain", act_id=ACT_ID))
    assert other.audited == [OrderAct("drain", ACT_ID, "n0", "internal")]
