"""Support bundle: what it contains, and what it never contains."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import gateway
from gateway.app.admin import (
    BUNDLE_CLOSES,
    BUNDLE_KEEP_S,
    BUNDLE_SESSIONS,
    PURPOSE_UNSTATED,
    BundleSources,
    CloseHistory,
    make_bundle,
)
from gateway.domain.model import NodeId
from gateway.protocol.envelopes import NodeRecord
from gateway.telemetry import Telemetry
from tests.app.samples import KEY, OTHER_KEY, SECRET, loaded
from tests.app.test_closes import PSEUDONYMS, Wall, life

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


def test_it_says_what_it_is_for_and_until_when(tmp_path: Path) -> None:
    head = make_bundle(parts(tmp_path), "case 4711")["bundle"]
    assert (head["purpose"], head["node"], head["made_at_ms"]) == ("case 4711", "n1", 1_000)
    assert head["expires_at_ms"] == 1_000 + BUNDLE_KEEP_S * 1_000
    assert make_bundle(parts(tmp_path), None)["bundle"]["purpose"] == PURPOSE_UNSTATED


def test_it_holds_what_helps(tmp_path: Path) -> None:
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


def printed_in_full() -> dict[str, Any]:
    """Return the bundle that the page prints."""
    page = (Path(gateway.__file__).parents[1] / "docs" / "admin.md").read_text("utf-8")
    _, _, rest = page.partition("in full:\n\n```json\n")
    bundle: dict[str, Any] = json.loads(rest.partition("\n```")[0])
    return bundle


def test_the_one_that_the_page_prints_in_full_is_made_of_the_same(tmp_path: Path) -> None:
    printed = printed_in_full()
    assert shape(printed) == shape(json.loads(json.dumps(make_bundle(parts(tmp_path), None))))
    made, expires = printed["bundle"]["made_at_ms"], printed["bundle"]["expires_at_ms"]
    assert expires - made == BUNDLE_KEEP_S * 1_000


def families(lines: list[str]) -> list[str]:
    """Return what is said of each metric, its name and type in it, without values."""
    return [line for line in lines if line.startswith("# ")]


def test_the_page_has_every_metric_of_today() -> None:
    """A page that lacks one would still have the shape."""
    metrics = printed_in_full()["metrics"]
    assert families(metrics) == families(Telemetry().render().decode().splitlines())
    assert len(families(metrics)) > 100
    values = {line.partition("{")[0].partition(" ")[0] for line in metrics}
    assert {f"oscc_gateway_site_log_{way}_total" for way in ("ons", "offs")} < values


def names(configuration: list[str]) -> list[str]:
    """Return the sections and settings of a printed configuration, without values."""
    lines = (line.removeprefix("# ").partition(" = ")[0] for line in configuration)
    return [line.removesuffix(" is not set") for line in lines]


def test_the_page_has_every_setting_of_today(tmp_path: Path) -> None:
    """A page that lacks a setting would still have the shape."""
    configuration = make_bundle(parts(tmp_path), None)["configuration"]
    assert names(printed_in_full()["configuration"]) == names(configuration)
