"""A secret's file that everybody may read is a fault."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.app.certificates import read_pair
from gateway.app.config.errors import ConfigError
from gateway.app.config.settings import ClientSection
from gateway.app.config.sources import load, readable_by_others
from tests.app.samples import SMALLEST


@pytest.fixture
def public(tmp_path: Path) -> Iterator[Path]:
    """A folder that everybody may enter."""
    folder = tmp_path / "public"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    opened = [each for each in folder.parents if not each.stat().st_mode & 0o001]
    modes = {each: each.stat().st_mode for each in opened}
    for each in opened:
        each.chmod(modes[each] | 0o001)
    yield folder
    for each, mode in modes.items():
        each.chmod(mode)


def secret(folder: Path, mode: int) -> Path:
    file = folder / f"secret-{mode:o}"
    file.write_text("canary-of-a-long-secret")
    file.chmod(mode)
    return file


@pytest.mark.parametrize(
    ("mode", "is_fault"), [(0o400, False), (0o440, False), (0o640, False), (0o444, True), (0o604, True)]
)
def test_only_a_file_that_everybody_may_read_is_a_fault(public: Path, mode: int, is_fault: bool) -> None:
    assert readable_by_others(secret(public, mode)) is is_fault


def test_a_folder_that_others_may_not_enter_guards_what_is_in_it(public: Path) -> None:
    file = secret(public, 0o444)
    public.chmod(0o750)
    assert not readable_by_others(file)
    link = public.parent / "link"
    link.symlink_to(file)
    assert not readable_by_others(link), "where the file is counts, not where its link is"


def test_a_file_that_is_mounted_by_itself_is_guarded_where_it_comes_from(
    public: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = secret(public, 0o444)
    monkeypatch.setattr(Path, "is_mount", lambda path: path == Path(os.path.realpath(file)))
    assert not readable_by_others(file)


def test_the_token_of_operators_is_not_taken_from_such_a_file(public: Path, tmp_path: Path) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text(SMALLEST)
    for mode in (0o644, 0o640):
        file = secret(public, mode)
        environ = {"OSCC_GATEWAY__ADMIN__TOKEN_FILE": str(file)}
        if mode == 0o640:
            assert load(config, environ).settings.admin.token is not None
            continue
        with pytest.raises(ConfigError) as refused:
            load(config, environ)
        (fault,) = refused.value.faults
        assert fault.startswith(f"OSCC_GATEWAY__ADMIN__TOKEN_FILE: {file} can be read by every user")


def test_a_key_of_tls_is_not_taken_from_such_a_file(public: Path) -> None:
    certificate, key = secret(public, 0o644), secret(public, 0o604)
    client = ClientSection(certificate=certificate, key=key)
    with pytest.raises(ConfigError, match=r"client\.key: .* can be read by every user"):
        read_pair(client)
    key.chmod(0o640)
    assert read_pair(client) is not None


def test_a_short_token_of_operators_is_a_fault(tmp_path: Path) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text(SMALLEST)
    for token, is_fault in (("x" * 15, True), ("x" * 16, False)):
        environ = {"OSCC_GATEWAY__ADMIN__TOKEN": token}
        if not is_fault:
            assert load(config, environ).settings.admin.token is not None
            continue
        with pytest.raises(ConfigError) as refused:
            load(config, environ)
        (fault,) = refused.value.faults
        assert fault.startswith("admin.token has fewer than 16 characters")
        assert token not in fault
