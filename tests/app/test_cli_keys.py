"""Does ``keys`` make secrets that a configuration takes, and rotate them?"""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.app.cli import main
from gateway.app.config import load
from tests.app.samples import KEY, OTHER_KEY, SECRET, SMALLEST, write

WITHOUT = (
    SMALLEST.replace('sealing_keys = ["k1:…"]', "")
    .replace('pseudonym_key = "…"', "")
    .replace("[secrets]", "")
)


def test_what_it_makes_completes_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys"]) == 0
    settings = load(write(tmp_path, WITHOUT + capsys.readouterr().out), {}).settings
    assert settings.secrets is not None
    assert [key.id for key in settings.secrets.sealing_keys] == ["k1"]


def test_rotating_puts_a_new_key_in_front(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "--rotate", str(write(tmp_path, SECRET))]) == 0
    block = capsys.readouterr().out
    secrets = load(write(tmp_path, WITHOUT + block), {}).settings.secrets
    assert secrets is not None
    assert [key.id for key in secrets.sealing_keys] == ["k2", "k1"]
    assert KEY in block
    assert f'pseudonym_key = "{OTHER_KEY}"' in block


def test_there_is_nothing_to_rotate_without_secrets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["keys", "--rotate", str(write(tmp_path, SMALLEST))]) == 1
    assert "has no [secrets]" in capsys.readouterr().err
