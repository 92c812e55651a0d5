"""Control of a running demonstration: for its own user only."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from gateway.app.cli.demo_cluster import NoDemoRunning, ask_demo, control_path, control_socket
from gateway.app.listeners import CannotListen


async def act(verb: str, name: str) -> str:
    if verb != "kill":
        raise ValueError("Say kill.")
    return f"{name} was killed."


async def test_what_is_asked_is_done_and_answered_and_a_long_line_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with control_socket(path, act):
        assert await ask_demo(path, "kill", "n1") == (True, "n1 was killed.")
        assert await ask_demo(path, "kiss", "n1") == (False, "Say kill.")
        assert await ask_demo(path, "kill", "n" * 10_000) == (False, "That is too long.")
        assert await ask_demo(path, "kiss", "") == (False, "Say kill.")
    assert not path.exists()


async def test_where_none_runs_it_is_said_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(NoDemoRunning, match="start it with `make demo-cluster`"):
        await ask_demo(tmp_path / "s", "kill", "n1")


async def test_what_a_killed_demonstration_left_is_in_nobodys_way(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    assert path.exists()
    async with control_socket(path, act):
        assert await ask_demo(path, "kill", "n1") == (True, "n1 was killed.")


async def test_a_place_that_cannot_be_had_is_reported(tmp_path: Path) -> None:
    with pytest.raises(CannotListen, match="cannot be listened at"):
        await control_socket(tmp_path / "none" / "s", act).__aenter__()


def test_the_folder_is_this_users_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    path = control_path(8080)
    assert path == tmp_path / f"oscc-gateway-demo-{os.getuid()}" / "8080.sock"
    assert path.parent.stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr(os, "getuid", lambda: 12_345)
    (tmp_path / "oscc-gateway-demo-12345").mkdir()
    with pytest.raises(CannotListen, match="is another user's"):
        control_path(8080)
