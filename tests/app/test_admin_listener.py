"""Admin listener: its place, open to its owner only, how it is asked, and refusals in one sentence."""

from __future__ import annotations

import stat
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from pydantic import SecretStr

from gateway.app.admin import admin_listening
from gateway.app.cli.admin import AdminRefused, ask_admin
from gateway.app.config.settings import AdminSection
from gateway.app.process import CannotListen
from tests.doubles.servers import free_port

TOKEN = SecretStr("canary-token")


def app(status: int = 200, **received: object) -> web.Application:
    """An application that says what it was asked, and *sent*."""

    async def tell(request: web.Request) -> web.Response:
        asked = [request.method, request.raw_path, request.headers["Authorization"], await request.text()]
        return web.json_response({"asked": asked, **received}, status=status)

    made = web.Application()
    made.router.add_route("*", "/{rest:.*}", tell)
    return made


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "unix"])
async def test_it_is_asked_where_it_is(host: str, tmp_path: Path) -> None:
    where = f"unix:{tmp_path}/admin.sock" if host == "unix" else host
    admin = AdminSection(host=where, port=free_port(), token=TOKEN)
    async with admin_listening(admin, app()):
        received = await ask_admin(admin, "POST", "/users/a%2Fb%3A1/end", body={"x": 1}, query={"limit": "5"})
    assert received["asked"] == ["POST", "/users/a%2Fb%3A1/end?limit=5", "Bearer canary-token", '{"x": 1}']


async def _sentence(admin: AdminSection) -> str:
    with pytest.raises(AdminRefused) as caught:
        await ask_admin(admin, "GET", "/nodes")
    assert "canary" not in str(caught.value)
    return str(caught.value)


async def test_without_a_token_nobody_is_asked() -> None:
    assert await _sentence(AdminSection()) == "admin.token is not set, so the admin listener stays closed."


async def test_nobody_there_is_reported_with_the_place(tmp_path: Path) -> None:
    port = free_port()
    assert await _sentence(AdminSection(port=port, token=TOKEN)) == (
        f"No admin listener answers at 127.0.0.1 port {port}: does the node run?"
    )
    path = f"unix:{tmp_path}/none.sock"
    assert await _sentence(AdminSection(host=path, token=TOKEN)) == (
        f"No admin listener answers at {path}: does the node run?"
    )


@pytest.mark.parametrize(
    ("received", "sentence"),
    [
        ({"detail": "No node has that user.", "code": "not_found"}, "No node has that user. [not_found]"),
        (
            {"detail": "Too many.", "code": "rate_limited", "retry_after_s": 1.5},
            "Too many. [rate_limited] Try again in 1.5 s.",
        ),
        (
            {"detail": "Away.", "code": "bus_down", "unreached": [{"node": "n2", "reason": "no_answer"}]},
            "Away. [bus_down] Not reached: n2 (no_answer).",
        ),
        ({}, "It was refused. [unknown]"),
    ],
)
async def test_a_refusal_is_a_sentence(received: dict[str, object], sentence: str) -> None:
    admin = AdminSection(port=free_port(), token=TOKEN)
    async with admin_listening(admin, app(404, **received)):
        assert await _sentence(admin) == sentence


async def test_what_is_no_json_is_no_listener_of_ours() -> None:
    async def hello(request: web.Request) -> web.Response:
        return web.Response(text="<html>")

    made = web.Application()
    made.router.add_get("/nodes", hello)
    admin = AdminSection(port=free_port(), token=TOKEN)
    async with admin_listening(admin, made):
        assert "No admin listener answers" in await _sentence(admin)


# ---- where it listens ----


async def _status(path: Path) -> int:
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as http,
        http.get("http://localhost/", headers={"Authorization": "x"}) as answer,
    ):
        return answer.status


async def test_it_opens_at_a_socket_that_only_its_owner_may_use_also_if_a_former_life_left_one(
    tmp_path: Path,
) -> None:
    path = tmp_path / "admin.sock"
    for _ in ("first", "later"):
        async with admin_listening(AdminSection(host=f"unix:{path}"), app()) as address:
            assert address == f"unix:{path}"
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert await _status(path) == 200
            (tmp_path / "left").hardlink_to(path)
        assert not path.exists()
        (tmp_path / "left").rename(path)


async def test_a_life_that_ends_leaves_the_socket_of_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    async with AsyncExitStack() as stack:
        async with admin_listening(AdminSection(host=f"unix:{path}"), app()):
            await stack.enter_async_context(admin_listening(AdminSection(host=f"unix:{path}"), app()))
        assert await _status(path) == 200


async def test_a_file_in_its_place_stays_and_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    path.write_text("mine")
    with pytest.raises(CannotListen, match=r"The admin listener cannot listen at .*admin\.sock: "):
        async with admin_listening(AdminSection(host=f"unix:{path}"), app()):
            pass
    assert path.read_text() == "mine"


async def test_a_folder_that_is_not_there_is_reported(tmp_path: Path) -> None:
    with pytest.raises(CannotListen, match="no such file or directory"):
        async with admin_listening(AdminSection(host=f"unix:{tmp_path}/none/admin.sock"), app()):
            pass
