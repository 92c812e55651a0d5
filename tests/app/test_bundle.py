"""Support bundle: what it contains, and what it never contains."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path

import pytest

import gateway
from gateway.app.admin import (
    BUNDLE_CLOSES,
    BUNDLE_KEEP_S,
    BUNDLE_SESSIONS,
    PREVIEW_KEEP_S,
    PURPOSE_UNSTATED,
    BundleSources,
    BundleWriter,
    folder_faults,
    make_bundle,
)
from gateway.app.logging import CloseHistory
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import NodeId
from gateway.protocol.envelopes import NodeRecord
from gateway.telemetry import Telemetry
from tests.app.samples import KEY, OTHER_KEY, SECRET, loaded
from tests.app.test_admin import PSEUDONYMS, Wall, life
from tests.doubles.clock import ManualClock

NODE = NodeRecord(NodeId("n1"), "h1", "1.2.3", 7, 3, False, 500.0, sealing_keys="k1/9f2b6d44")
ENVIRON = {
    "OSCC_GATEWAY__ADMIN__TOKEN": "canary-token",
    "HOME": "canary-home",
    "OSCC_GATEWAY__LOG__LEVEL": "info",
}


def parts(folder: Path) -> BundleSources:
    text = SECRET.replace('token = "…"', 'token = "canary-token-of-operators"')
    text = text.replace("memory://", "redis://:canary-password@127.0.0.1:6379")
    closes = CloseHistory(NodeId("n1"), PSEUDONYMS, Wall())
    for _ in range(BUNDLE_CLOSES + 5):
        closes.note(life())
    settings = loaded(folder, text).settings
    metrics = b"# HELP x\nx 1.0\n"
    return BundleSources(
        settings,
        closes,
        lambda: metrics,
        lambda: (NODE,),
        Wall(),
        ENVIRON,
        lambda: ['{"event": "listening"}'],
    )


def test_it_holds_what_helps_and_says_what_it_is_for_and_until_when(tmp_path: Path) -> None:
    bundle = make_bundle(parts(tmp_path), None)
    assert bundle["versions"]["oscc-gateway"] == gateway.__version__
    assert all(bundle["versions"].values())
    assert bundle["environment"]["variables"] == ["OSCC_GATEWAY__ADMIN__TOKEN", "OSCC_GATEWAY__LOG__LEVEL"]
    assert bundle["metrics"] == ["# HELP x", "x 1.0"]
    assert bundle["log"] == ['{"event": "listening"}']
    assert bundle["nodes"] == [{**NODE._asdict(), "sealing_keys": ["k1/9f2b6d44"]}]
    assert "[client]" in bundle["configuration"]
    assert (len(bundle["closes"]), len(bundle["sessions"])) == (BUNDLE_CLOSES, BUNDLE_SESSIONS)
    assert "user" not in bundle["closes"][0]
    head = make_bundle(parts(tmp_path), "case 4711")["bundle"]
    assert (head["purpose"], head["node"], head["made_at_ms"]) == ("case 4711", "n1", 1_000)
    assert head["expires_at_ms"] == 1_000 + BUNDLE_KEEP_S * 1_000
    assert make_bundle(parts(tmp_path), None)["bundle"]["purpose"] == PURPOSE_UNSTATED


def test_no_secret_is_in_it(tmp_path: Path) -> None:
    text = json.dumps(make_bundle(parts(tmp_path), None))
    for canary in ("canary", KEY, OTHER_KEY, "4711", "192.0.2.77"):
        assert canary not in text


def test_a_package_that_is_not_there_has_no_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.app.admin._PACKAGES", ("no-such-package-anywhere",))
    assert make_bundle(parts(tmp_path), None)["versions"]["no-such-package-anywhere"] is None


def shape(value: object) -> object:
    """Return what a value is made of: names, and kinds of values; lists by the kinds of what is in them."""
    match value:
        case dict():
            return {name: shape(member) for name, member in value.items()}
        case list():
            kinds = [shape(member) for member in value]
            return [kind for at, kind in enumerate(kinds) if kind not in kinds[:at]]
        case _:
            return "number" if isinstance(value, int | float) else type(value).__name__


def test_the_one_that_the_page_prints_in_full_is_made_of_the_same(tmp_path: Path) -> None:
    """Its metrics and settings are compared by name too: a page that lacks one would have the shape."""
    page = (Path(gateway.__file__).parents[1] / "docs" / "admin.md").read_text("utf-8")
    _, _, rest = page.partition("in full:\n\n```json\n")
    printed, made = json.loads(rest.partition("\n```")[0]), make_bundle(parts(tmp_path), None)
    assert shape(printed) == shape(json.loads(json.dumps(made)))
    head = printed["bundle"]
    assert head["expires_at_ms"] - head["made_at_ms"] == BUNDLE_KEEP_S * 1_000
    assert names(printed["configuration"]) == names(made["configuration"])
    metrics = printed["metrics"]
    assert families(metrics) == families(Telemetry().render().decode().splitlines())
    assert len(families(metrics)) > 100
    values = {line.partition("{")[0].partition(" ")[0] for line in metrics}
    assert {f"oscc_gateway_site_log_{way}_total" for way in ("ons", "offs")} < values


def families(lines: list[str]) -> list[str]:
    """Return what is said of each metric, its name and type in it, without values."""
    return [line for line in lines if line.startswith("# ")]


def names(configuration: list[str]) -> list[str]:
    """Return the sections and settings of a printed configuration, without values."""
    lines = (line.removeprefix("# ").partition(" = ")[0] for line in configuration)
    return [line.removesuffix(" is not set") for line in lines]


# ---- writing a support bundle ----


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
