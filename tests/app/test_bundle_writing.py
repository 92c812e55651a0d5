"""Writing a support bundle: as shown, once, readable by its owner only."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path

import pytest

from gateway.app.admin import PREVIEW_KEEP_S, BundleWriter, folder_faults
from gateway.domain.errors import ErrorCode, GatewayError
from tests.app.test_bundle import parts
from tests.doubles.clock import ManualClock


def writing(folder: Path, into: Path | None, clock: ManualClock | None = None) -> BundleWriter:
    return BundleWriter(parts(folder), into, clock or ManualClock())


def _files(folder: Path) -> dict[Path, tuple[int, bytes]]:
    """Return the bundles in a folder, by path: who may read each, and what is in it."""
    return {
        path: (stat.S_IMODE(path.stat().st_mode), path.read_bytes()) for path in folder.glob("oscc-gateway-*")
    }


async def refusal(made: BundleWriter, digest: str) -> ErrorCode:
    with pytest.raises(GatewayError) as refused:
        await made.write(digest)
    assert "None" not in refused.value.message
    return refused.value.code


async def test_it_is_written_to_the_letter_and_nobody_else_may_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "bundles"
    made = writing(tmp_path, folder)
    shown = await made.preview("case 7")
    assert not folder.exists()
    received = await made.write(shown.digest)
    ((path, (mode, data)),) = _files(folder).items()
    assert (received.path, mode, stat.S_IMODE(folder.stat().st_mode)) == (str(path), 0o600, 0o700)
    assert (len(data), hashlib.sha256(data).hexdigest()) == (shown.size_bytes, shown.digest)
    assert json.loads(data) == shown.bundle


async def test_nothing_is_written_that_was_not_shown(tmp_path: Path) -> None:
    made = writing(tmp_path, tmp_path)
    assert await refusal(made, "0" * 64) is ErrorCode.NOT_FOUND
    first = await made.preview("one")
    await made.preview("another")
    assert await refusal(made, first.digest) is ErrorCode.NOT_FOUND


async def test_a_preview_is_forgotten_after_a_while_and_once_it_is_written(tmp_path: Path) -> None:
    clock = ManualClock()
    made = writing(tmp_path, tmp_path, clock)
    shown = await made.preview(None)
    await clock.advance(PREVIEW_KEEP_S)
    assert await refusal(made, shown.digest) is ErrorCode.NOT_FOUND
    shown = await made.preview(None)
    await made.write(shown.digest)
    assert await refusal(made, shown.digest) is ErrorCode.NOT_FOUND


async def test_without_a_folder_it_can_be_shown_only(tmp_path: Path) -> None:
    made = writing(tmp_path, None)
    shown = await made.preview(None)
    assert await refusal(made, shown.digest) is ErrorCode.FORBIDDEN


async def test_a_folder_that_cannot_be_used_is_reported(tmp_path: Path) -> None:
    made = writing(tmp_path, tmp_path / "nowhere" / "below")
    shown = await made.preview(None)
    with pytest.raises(GatewayError, match=r"cannot be written: no such file or directory\."):
        await made.write(shown.digest)
    (tmp_path / "nowhere").write_text("")
    made = writing(tmp_path, tmp_path / "nowhere")
    shown = await made.preview(None)
    with pytest.raises(GatewayError, match=r"cannot be written: not a directory\."):
        await made.write(shown.digest)


async def test_a_file_that_is_there_is_never_overwritten(tmp_path: Path) -> None:
    made = writing(tmp_path, tmp_path)
    shown = await made.preview(None)
    planted = tmp_path / f"oscc-gateway-n1-{shown.digest[:12]}.json"
    planted.symlink_to(tmp_path / "elsewhere")
    assert await refusal(made, shown.digest) is ErrorCode.KEY_REUSED
    assert not (tmp_path / "elsewhere").exists()


def test_what_keeps_a_folder_from_its_use_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, name = tmp_path / "bundles", f"admin.bundle_folder {tmp_path}/bundles"
    assert list(folder_faults(folder)) == [], "it can be made"
    nowhere = folder / "deeper" / "still"
    absent = f"admin.bundle_folder {nowhere} is not there, and this user cannot make it."
    assert list(folder_faults(nowhere)) == [absent]
    folder.write_text("")
    assert list(folder_faults(folder)) == [f"{name} is not a folder."]
    assert list(folder_faults(folder / "below")) == [
        f"admin.bundle_folder {folder}/below cannot be inspected: not a directory."
    ]
    folder.unlink()
    folder.mkdir(mode=0o700)
    assert list(folder_faults(folder)) == []
    folder.chmod(0o701)
    is_open = f"{name} is open to every user of this machine: restrict it, as by chmod o-rwx."
    assert list(folder_faults(folder)) == [is_open]
    monkeypatch.setattr(os, "access", lambda *_: False)  # the tests may run as a user with all permissions
    assert list(folder_faults(folder)) == [f"{name} cannot be written to by this user.", is_open]
