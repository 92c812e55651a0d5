"""``keys``: make secrets that a configuration accepts, and rotate them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.app.config.sources import load
from gateway.app.main import main
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


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        (["--supervisor", "--sees", "*"], ""),
        (["--agent", "--queue", "sales"], ""),
        ([], "advice: ana may use no app: add --supervisor, --agent or both.\n"),
        (["--supervisor"], "advice: ana sees no queue in the Dashboard: add --sees NAME, or --sees '*'.\n"),
        (["--agent"], "advice: ana joins no queue in the Remote Assistant: add --queue NAME.\n"),
    ],
)
def test_a_person_who_could_do_nothing_is_advised(
    options: list[str], advice: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OSCC_GATEWAY_PERSON_PASSWORD", "correct horse")
    assert main(["person", "ana", "--name", "Ana", *options]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith('[[people]]\nlogin = "ana"\n')
    assert printed.err == advice


def test_a_login_that_is_none_is_refused_in_plain_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OSCC_GATEWAY_PERSON_PASSWORD", "correct horse")
    assert main(["person", "Ana Amsel", "--name", "Ana"]) == 2
    assert capsys.readouterr().err.endswith("login: must be 1 to 32 of a-z, 0-9, _ . -.\n")


def test_there_is_nothing_to_rotate_without_secrets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["keys", "--rotate", str(write(tmp_path, SMALLEST))]) == 1
    assert "has no [secrets]" in capsys.readouterr().err


def lines(path: Path, step: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    assert main(["keys", "--rotate", str(path), "--lines", step]) == 0
    return capsys.readouterr().out.splitlines()


def test_the_lines_of_a_file_of_keys_are_what_a_node_reads_at_each_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, path = tmp_path / "sealing_keys", write(tmp_path, WITHOUT)
    monkeypatch.setenv("OSCC_GATEWAY__SECRETS__SEALING_KEYS_FILE", str(file))
    monkeypatch.setenv("OSCC_GATEWAY__SECRETS__PSEUDONYM_KEY", OTHER_KEY)
    file.write_text(f"k1:{KEY}\n", "utf-8")
    added = lines(path, "add", capsys)
    assert added[0] == f"k1:{KEY}"
    assert added[1].startswith("k2:")
    file.write_text("\n".join(added), "utf-8")
    led = lines(path, "lead", capsys)
    assert led == added[::-1], "the key that all nodes have, and not another new one"
    file.write_text("\n".join(led), "utf-8")
    assert lines(path, "lead", capsys) == led, "also when it is asked twice"
    assert [key[:3] for key in lines(path, "add", capsys)] == ["k2:", "k1:", "k3:"]


def test_lines_are_those_of_a_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "--lines", "add"]) == 2
    assert "--lines needs --rotate FILE" in capsys.readouterr().err
