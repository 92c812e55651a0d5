"""Notices of the operator: how they are read, and faults."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.app.config.errors import ConfigError
from gateway.app.reload import FILE_BYTES, parse_notices, read_files, read_notices
from gateway.edge.policies import NOTICES_MAX

NOTICE = """\
id = "privacy-2026"
version = 3
category = "privacy"
effective_at = 2026-01-31T08:00:00+01:00
must_acknowledge = true

[texts.en]
title = "Privacy"
summary = "What we keep."
link = "https://example.org/privacy"

[texts.de]
title = "Datenschutz"
summary = "Was wir behalten."
"""


def write(folder: Path, text: str, name: str = "notice.toml") -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def fault_of(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        read_notices([path])
    (fault,) = caught.value.faults
    return fault


def test_a_notice_is_read(tmp_path: Path) -> None:
    (english,) = read_notices([write(tmp_path, NOTICE)]).views("en")
    assert (english.id, english.version, english.category) == ("privacy-2026", 3, "privacy")
    assert (english.title, english.link) == ("Privacy", "https://example.org/privacy")
    assert english.effective_at_ms == 1_769_842_800_000
    assert english.must_acknowledge
    (german,) = read_notices([write(tmp_path, NOTICE)]).views("de")
    assert (german.title, german.link) == ("Datenschutz", None)
    (first,) = read_notices([write(tmp_path, NOTICE)]).views("fr")
    assert first.title == "Privacy", "the first language is the default"


@pytest.mark.parametrize(
    ("old", "new", "end"),
    [
        ("version = 3", "version = 0", "version is 0, but must be at least 1."),
        ("version = 3", "", "version is missing."),
        ("version = 3", "version = 3\nurgent = true", "urgent is unknown."),
        ('"privacy"', '"fun"', "category is fun, but must be 'privacy', 'security' or 'maintenance'."),
        ("+01:00", "", "effective_at must be an instant with its offset, as in 2026-01-31T08:00:00Z."),
        ("https://example.org", "http://example.org", "texts.en.link must be an https:// address."),
        ('id = "privacy-2026"', f'id = "{"x" * 33}"', "id must have at most 32 characters."),
        ("privacy-2026", "privacy 2026", "id may hold letters, digits, dots, hyphens and underscores only."),
    ],
)
def test_each_fault_is_reported(tmp_path: Path, old: str, new: str, end: str) -> None:
    assert old in NOTICE
    path = write(tmp_path, NOTICE.replace(old, new))
    assert fault_of(path) == f"Notice {path}: {end}"


def test_files_that_are_no_notices_are_reported(tmp_path: Path) -> None:
    assert fault_of(tmp_path / "none.toml").endswith("cannot be read: No such file or directory.")
    for text in ("[x", "x = " + "[" * 20_000, "x = " + "1" * 5_000):
        assert "is not a TOML file: " in fault_of(write(tmp_path, text))
    assert fault_of(write(tmp_path, "#" * (FILE_BYTES + 1))).endswith(f"is larger than {FILE_BYTES} bytes.")


def test_all_faults_of_all_files_are_reported_and_an_id_names_one_notice(tmp_path: Path) -> None:
    path = write(tmp_path, NOTICE)
    with pytest.raises(ConfigError) as caught:
        read_notices([tmp_path / "a.toml", path, tmp_path / "b.toml"])
    assert len(caught.value.faults) == 2
    with pytest.raises(ConfigError, match="have the same id"):
        read_notices([path, path])


def named(name: str) -> str:
    return NOTICE.replace("privacy-2026", name)


def ids(*entries: Path) -> list[str]:
    return [notice.id for notice in read_notices(entries).all]


def test_of_a_folder_all_notices_are_read_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "notices"
    folder.mkdir()
    for name in ("c.toml", "a.toml", "d.toml", "b.toml", ".hidden.toml", "note.txt"):
        write(folder, named(name.partition(".")[0]), name)
    alone = write(tmp_path, named("alone"))
    assert ids(folder, alone) == ["a", "b", "c", "d", "alone"]
    assert ids(alone, folder) == ["alone", "a", "b", "c", "d"]


def test_a_folder_as_a_config_map_lays_it_out_is_read(tmp_path: Path) -> None:
    version = tmp_path / "..2026_01_31"
    version.mkdir()
    write(version, NOTICE, "privacy.toml")
    (tmp_path / "..data").symlink_to(version.name)
    (tmp_path / "privacy.toml").symlink_to("..data/privacy.toml")
    assert ids(tmp_path) == ["privacy-2026"]


def test_no_files_and_an_empty_folder_are_no_notices(tmp_path: Path) -> None:
    assert read_notices([]).views("en") == ()
    assert ids(tmp_path) == []


def test_a_folder_that_cannot_be_listed_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert fault_of(tmp_path) == f"Notice {tmp_path} cannot be read: Permission denied."


def test_no_more_is_read_than_may_count_and_more_is_refused(tmp_path: Path) -> None:
    for number in range(NOTICES_MAX + 9):
        text = named(f"n{number}").replace("must_acknowledge = true", "")
        write(tmp_path, text, f"{number:02}.toml")
    found = read_files([tmp_path])
    assert len(found) == NOTICES_MAX + 1
    assert len(parse_notices(found[:-1]).all) == NOTICES_MAX
    assert fault_of(tmp_path) == (
        "notices.files: there may be at most 32 notices, of them 16 to be acknowledged."
    )


def test_what_was_gathered_is_distinguished_by_what_is_in_it(tmp_path: Path) -> None:
    path = write(tmp_path, NOTICE)
    before = read_files([path])
    path.unlink()
    write(tmp_path, NOTICE)
    assert read_files([path]) == before
    write(tmp_path, NOTICE + "\n")
    assert read_files([path]) != before
