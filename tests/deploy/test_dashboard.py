"""Grafana dashboard: its queries name metrics that exist, and all of them are shown."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

from docs._generate.metrics import measured
from gateway.telemetry import PREFIX
from tests.deploy.expressions import DASHBOARD, judged, series, shown, strangers

BOARD: Final[dict[str, Any]] = json.loads(DASHBOARD.read_text("utf-8"))
PANELS: Final[list[dict[str, Any]]] = [panel for panel in BOARD["panels"] if panel["type"] != "row"]


def test_prometheus_takes_every_expression(tmp_path: Path) -> None:
    said = judged(shown(), tmp_path)
    assert said.code == 0, said.text
    assert "$" not in "".join(shown())


def test_nothing_is_asked_for_that_is_not_there() -> None:
    written = [target["expr"] for panel in PANELS for target in panel["targets"]]
    assert [strange for one in written for strange in strangers(one)] == []


def test_every_metric_is_shown() -> None:
    names = set(re.findall(rf"\b{PREFIX}_[a-z_]+", " ".join(shown())))
    assert {one.name for one in measured()} - {series()[name][0] for name in names} == set()


def test_a_panel_can_be_read() -> None:
    for panel in PANELS:
        assert panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert all(target["legendFormat"] for target in panel["targets"]), panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}", panel["title"]
        assert panel["description"].endswith("."), panel["title"]


def test_panels_stand_beside_each_other_and_have_numbers_of_their_own() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + dx, at["y"] + dy) for dx in range(at["w"]) for dy in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])


def test_one_can_look_at_single_nodes() -> None:
    source, *variables = BOARD["templating"]["list"]
    assert (source["name"], source["type"]) == ("datasource", "datasource")
    assert [one["name"] for one in variables] == ["namespace", "job", "node"]
    assert all(one["multi"] and one["includeAll"] for one in variables)
    apart = [one for one in shown() if f"{PREFIX}_" in one and 'instance=~".*"' not in one]
    assert apart == []


def test_several_gateways_can_be_distinguished() -> None:
    for panel in PANELS:
        for target in panel["targets"]:
            asked = target["expr"].count(f"{PREFIX}_") + len(
                re.findall(rf"{PREFIX}:(?!slo_budget)", target["expr"])
            )
            assert target["expr"].count('namespace=~"$namespace",job=~"$job"') >= asked, target["expr"]
