"""Admin listener: its place, open to its owner only."""

from __future__ import annotations

import stat
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from gateway.app.admin import admin_listening
from gateway.app.config.settings import AdminSection
from gateway.app.process import CannotListen


def _app() -> web.Application:
    async def hello(request: web.Request) -> web.Response:
        return web.Response(text="hello")

    app = web.Application()
    app.router.add_get("/", hello)
    return app


async def _said(path: Path) -> str:
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as http,
        http.get("http://localhost/") as answer,
    ):
        return await answer.text()


async def test_it_opens_at_a_socket_that_only_its_owner_may_use_also_if_a_former_life_left_one(
    tmp_path: Path,
) -> None:
    path = tmp_path / "admin.sock"
    for _ in ("first", "later"):
        async with admin_listening(AdminSection(host=f"unix:{path}"), _app()) as address:
            assert address == f"unix:{path}"
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert await _said(path) == "hello"
            (tmp_path / "left").hardlink_to(path)
        assert not path.exists()
        (tmp_path / "left").rename(path)


async def test_a_life_that_ends_leaves_the_socket_of_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    async with AsyncExitStack() as stack:
        async with admin_listening(AdminSection(host=f"unix:{path}"), _app()):
            await stack.enter_async_context(admin_listening(AdminSection(host=f"unix:{path}"), _app()))
        assert await _said(path) == "hello"


async def test_a_file_in_its_place_stays_and_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    path.write_text("mine")
    with pytest.raises(CannotListen, match=r"The admin listener cannot listen at .*admin\.sock: "):
        async with admin_listening(AdminSection(host=f"unix:{path}"), _app()):
            pass
    assert path.read_text() == "mine"


async def test_a_folder_that_is_not_there_is_reported(tmp_path: Path) -> None:
    with pytest.raises(CannotListen, match="no such file or directory"):
        async with admin_listening(AdminSection(host=f"unix:{tmp_path}/none/admin.sock"), _app()):
            pass
