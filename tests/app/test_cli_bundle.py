"""``bundle``: shown first, written only on request."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from tests.app.test_admin import TOKEN, operated
from tests.app.test_cli_admin import command


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in :mod:`tests.app.test_cli_admin`."""
    monkeypatch.setenv("OSCC_GATEWAY__ADMIN__TOKEN", TOKEN)


class Terminal(io.StringIO):
    """Somebody who types."""

    def isatty(self) -> bool:
        return True


def _files(folder: Path) -> list[Path]:
    return list(folder.glob("oscc-gateway-*.json"))


async def test_without_a_terminal_it_is_only_shown_unless_writing_was_said_beforehand(
    own_logging: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    async with operated(tmp_path) as at:
        capsys.readouterr()
        assert await command(at, tmp_path, "support-bundle", "--purpose", "case 7") == 0
        assert json.loads(capsys.readouterr().out)["bundle"]["purpose"] == "case 7"
        assert _files(tmp_path) == []
        assert await command(at, tmp_path, "support-bundle", "--write", "--json") == 0
        bundle, _, last = capsys.readouterr().out.rstrip("\n").rpartition("\n")
        (file,) = _files(tmp_path)
        assert json.loads(last) == {"path": str(file)}
        assert file.read_text("utf-8") == bundle + "\n"


async def test_who_sees_it_decides(
    own_logging: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    written = 0
    async with operated(tmp_path) as at:
        for typed, writes in (("y\n", True), ("yes\n", True), ("n\n", False), ("\n", False), ("", False)):
            monkeypatch.setattr("sys.stdin", Terminal(typed))
            assert await command(at, tmp_path, "support-bundle", "--purpose", typed.strip() or "case") == 0
            shown = capsys.readouterr()
            written += writes
            assert "Write it? [y/N]" in shown.err
            assert ("Written to " in shown.out) is writes
            assert len(_files(tmp_path)) == written
