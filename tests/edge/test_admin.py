"""Admin API: operators get answers, others nothing."""

from __future__ import annotations

import json

from gateway.edge.admin import AdminRoutes
from gateway.protocol.envelopes import Order
from gateway.protocol.openapi import admin_openapi
from gateway.runtime.cluster_receiver import Page
from tests.edge.operated import BEARER, DIGEST, LINE, Operated, named, operated
from tests.runtime.scene import user

ANNA = named(user(1))


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


async def test_sessions_are_listed_page_by_page_over_all_nodes() -> None:
    async with operated(2) as at:
        phones = [await at.street.scenes[n].served(device=f"d{n}") for n in (0, 1)]
        await at.street.pass_time(1)
        status, first = await at.ask("GET", "/sessions?limit=1")
        assert (status, len(first["sessions"]), first["unreached"]) == (200, 1, [])
        _, second = await at.ask("GET", f"/sessions?limit=1&after={first['next']}")
        assert "next" not in second
        listed = [*first["sessions"], *second["sessions"]]
        assert [each["id"] for each in listed] == sorted(phone.ticket.session for phone in phones)
        assert {each["user"] for each in listed} == {ANNA}
        assert "anna" not in json.dumps(listed).lower()


async def test_a_session_and_a_user_are_ended() -> None:
    async with operated(2) as at:
        phones = [await at.street.scenes[n].served(device=f"d{n}") for n in (0, 1)]
        await at.street.pass_time(1)
        session = phones[1].ticket.session
        status, received = await at.ask("DELETE", f"/sessions/{session}")
        assert (status, [each["id"] for each in received["ended"]]) == (200, [session])
        assert phones[1].closed is not None
        assert phones[0].closed is None
        status, received = await at.ask("POST", "/users/main:1/end")
        assert (status, [each["id"] for each in received["ended"]]) == (200, [phones[0].ticket.session])
        assert refused(await at.ask("POST", f"/users/{ANNA}/end")) == (404, "not_found")
        assert refused(await at.ask("DELETE", f"/sessions/{session}")) == (404, "not_found")


async def test_a_session_that_may_be_where_nobody_is_reached_is_not_said_to_be_unknown() -> None:
    async with operated(2) as at:
        at.street.trouble.take_away(0)
        status, received = await at.ask("DELETE", "/sessions/somewhere")
        assert (status, received["code"]) == (503, "bus_down")
        assert received["unreached"] == [{"node": "n1", "reason": "bus_down"}]
        status, received = await at.ask("GET", f"/users/{ANNA}/export")
        assert (status, received["code"]) == (503, "bus_down")


async def test_nodes_are_listed() -> None:
    async with operated(2) as at:
        _, received = await at.ask("GET", "/nodes")
        assert [(each["node"], each["here"]) for each in received["nodes"]] == [("n0", True), ("n1", False)]


async def test_closes_are_listed_the_newest_first() -> None:
    async with operated(2) as at:
        for number, at_ms in ((0, 5), (1, 6), (0, 7)):
            line = {**LINE, "at_ms": at_ms, "id": f"{at_ms:015d}.0000000001.n{number}", "node": f"n{number}"}
            at.lines.setdefault(number, []).append(line)
        _, first = await at.ask("GET", "/closes?limit=2")
        assert [each["at_ms"] for each in first["closes"]] == [7, 6]
        _, rest = await at.ask("GET", f"/closes?limit=2&after={first['next']}")
        assert [each["at_ms"] for each in rest["closes"]] == [5]
        assert "next" not in rest


async def test_an_export_has_an_entry_for_each_category() -> None:
    async with operated(2) as at:
        await at.street.scenes[1].served()
        status, received = await at.ask("GET", f"/users/{ANNA}/export")
        assert (status, received["user"], received["complete"], received["nodes"]) == (
            200,
            ANNA,
            True,
            ["n0", "n1"],
        )
        held = {entry["category"]: entry["held"] for entry in received["entries"]}
        assert held["token"][0]["node"] == "n1"
        assert held["log_on"] == []
        assert refused(await at.ask("GET", "/users/00000000000000ff/export")) == (404, "not_found")
        status, received = await at.ask("GET", "/users/main:255/export")
        assert (status, [entry for entry in received["entries"] if entry["held"]]) == (200, [])


async def test_one_node_or_all_are_asked_what_to_do() -> None:
    async with operated(2) as at:
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
        at.street.trouble.take_away(0)
        assert refused(await at.ask("POST", "/drain", {"node": "n1"})) == (503, "bus_down")
        _, received = await at.ask("POST", "/reload")
        assert received == {"nodes": ["n0"], "unreached": [{"node": "n1", "reason": "bus_down"}]}


async def test_a_reload_that_leaves_something_old_is_written_down_as_such() -> None:
    async def keeps(order: Order) -> Page:
        return Page(({"kept": "keys"},))

    async with operated(2) as at:
        at.street.scenes[1].node.orders.learn("reload", keeps)
        status, received = await at.ask("POST", "/reload")
        kept = [{"node": "n1", "what": ["keys"]}]
        assert (status, received) == (200, {"nodes": ["n0"], "unreached": [], "kept": kept})
        await at.ask("POST", "/reload", {"node": "n0"})
        assert [(act.result, act.status) for act in at.audited] == [("not_in_force", 200), ("ok", 200)]


async def test_a_bundle_is_shown_first_and_written_by_its_digest() -> None:
    async with operated() as at:
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


async def test_the_document_is_served_behind_the_same_door() -> None:
    async with operated() as at:
        assert (await at.ask("GET", "/openapi.json"))[1] == json.loads(json.dumps(admin_openapi()))
        assert refused(await at.ask("GET", "/openapi.json", headers={})) == (401, "unauthenticated")


PAGES = (
    "/sessions?limit=0", "/sessions?limit=1001", "/sessions?limit=-1", "/sessions?limit=x",
    "/sessions?limit=1&limit=2", "/sessions?after=", "/closes?after=%00", "/closes?limit=",
    f"/closes?after={'x' * 257}",
)  # fmt: skip


async def test_a_page_a_name_and_a_session_that_cannot_be_are_refused() -> None:
    async with operated() as at:
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


async def test_bodies_are_bounded_and_json() -> None:
    async with operated() as at:
        assert await _send(at, b'{"level": "debug"}', "application/json") == 200
        assert await _send(at, b'{"level": "debug"}', "text/plain") == 415
        assert await _send(at, b"{", "application/json") == 400
        assert await _send(at, b" " * 20_000, "application/json") == 413
        assert [node for node, act, _ in at.done] == [0]


async def test_answers_are_kept_by_nobody_and_read_by_no_page() -> None:
    async with operated() as at:
        async with at.client.get("/nodes", headers=BEARER) as answer:
            assert answer.headers["Cache-Control"] == "no-store"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert "Set-Cookie" not in answer.headers
            assert not [name for name in answer.headers if name.lower().startswith("access-control")]
        async with at.client.options("/nodes", headers={**BEARER, "Origin": "https://a.example"}) as answer:
            assert answer.status == 403


async def test_methods_and_paths_that_are_not_there_are_refused_in_words_of_ours() -> None:
    async with operated() as at:
        assert refused(await at.ask("GET", "/nowhere")) == (404, "not_found")
        assert refused(await at.ask("PUT", "/nodes")) == (405, "bad_request")
