"""Alert rules: they fire when they should, and name metrics that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from gateway.bus.redis import SCRIPTS
from gateway.core.lease import Lease
from gateway.telemetry import LATENCY_BUCKETS_S
from tests.deploy.expressions import RULES, alerts, judged, rules, strangers
from tests.deploy.programs import ask, machine

pytestmark = pytest.mark.timeout(600)

INHIBITION = RULES.with_name("alertmanager.yml")
CASES = RULES.with_name("rules.test.yaml")


def asked() -> dict[str, set[bool]]:
    """Return alert → what the cases in which it is looked at expect: that it fires, or that it does not."""
    found: dict[str, set[bool]] = {}
    for case in yaml.load(CASES.read_text("utf-8"), yaml.CSafeLoader)["tests"]:
        for look in case["alert_rule_test"]:
            found.setdefault(look["alertname"], set()).add(bool(look["exp_alerts"]))
    return found


def test_prometheus_takes_them() -> None:
    said = ask(machine("promtool"), "check", "rules", "--lint=all", "--lint-fatal", RULES)
    assert said.code == 0, said.text


@pytest.mark.takes(10)
def test_every_case_ends_as_it_is_to() -> None:
    said = ask(machine("promtool"), "test", "rules", CASES)
    assert said.code == 0, said.text


def test_each_alert_is_seen_firing_and_not() -> None:
    """So an alert that would never fire, or always, ends some case otherwise than it is to."""
    assert asked() == {alert: {True, False} for alert in alerts()}


def test_an_alert_says_how_urgent_it_is_and_what_people_see() -> None:
    for alert, rule in alerts().items():
        assert rule["labels"]["severity"] in {"critical", "warning"}, alert
        assert rule["annotations"]["summary"].endswith("."), alert
        assert re.fullmatch(r"OsccGateway[A-Z][A-Za-z]+", alert)


def test_a_rule_asks_for_nothing_that_is_not_there() -> None:
    assert [strange for rule in rules() for strange in strangers(rule["expr"])] == []


def test_a_bucket_that_a_rule_asks_for_is_there() -> None:
    asked_for = {edge for rule in rules() for edge in re.findall(r'\ble="([^"]+)"', rule["expr"])}
    assert asked_for
    assert asked_for <= {str(edge) for edge in LATENCY_BUCKETS_S}


def least_margin_s(unanswered: int) -> float:
    """Return the least time that a lease has left when so many renewals in a row get no answer."""
    lease = Lease()
    lease.ask(0.0)
    lease.granted(1)
    for _ in range(unanswered):
        assert lease.due_at is not None
        lease.ask(at := lease.due_at)
        lease.unanswered(at + SCRIPTS.deadline_s)
    assert lease.due_at is not None
    return lease.left_s(lease.due_at)


def test_a_margin_is_low_when_two_renewals_in_a_row_had_no_answer() -> None:
    low = float(alerts()["OsccGatewayLeaseMarginLow"]["expr"].rpartition("< ")[2])
    assert least_margin_s(0) > least_margin_s(1) >= low > least_margin_s(2) > 0


@pytest.mark.parametrize(
    ("expression", "strange"),
    [
        ("rate(oscc_gateway_closed_total[5m])", ["oscc_gateway_closed_total"]),
        ("oscc_gateway_closes", ["oscc_gateway_closes"]),
        ('oscc_gateway_closes_total{by="client"}', ["_closes_total.by"]),
        ('oscc_gateway_closes_total{initiator="phone"}', ["phone"]),
        ('oscc_gateway_closes_total{code=~"4100|4999"}', ["4999"]),
        ("oscc_gateway:slo_errors:ratio_rate7d", ["oscc_gateway:slo_errors:ratio_rate7d"]),
        ('oscc_gateway_closes_total{instance="$node",initiator="client"}', []),
    ],
)
def test_what_is_not_there_is_found(expression: str, strange: list[str]) -> None:
    assert strangers(expression) == strange


def test_what_is_no_expression_is_found(tmp_path: Path) -> None:
    assert judged(["sum(up)"], tmp_path).code == 0
    assert judged(["sum(up)", "sum(up"], tmp_path).code != 0


# ---- one notification of one cause ----


AWAY = {
    "OsccGatewayBusDown",
    "OsccGatewayLeaseMarginLow",
    "OsccGatewayLeasesSelfFenced",
    "OsccGatewayDualOwner",
}
BURNS = {"OsccGatewayBurnsBudgetFast", "OsccGatewayBurnsBudget", "OsccGatewayBurnsBudgetSlowly"}


def reported_of(firing: set[str]) -> set[str]:
    """Return which of the alerts that fire at once Alertmanager sends, as the example has it."""
    inhibiting = yaml.safe_load(INHIBITION.read_text("utf-8"))["inhibit_rules"]
    return {
        alert
        for alert in firing
        if not any(
            matches(rule["target_matchers"], alert)
            and any(other != alert and matches(rule["source_matchers"], other) for other in firing)
            for rule in inhibiting
        )
    }


def matches(matchers: list[str], alert: str) -> bool:
    """Tell whether matchers of the name alone hold for an alert."""
    for one in matchers:
        found = re.fullmatch(r'alertname(=~|!=|=)"(.+)"', one)
        assert found is not None, one
        same = re.fullmatch(found[2], alert) is not None
        if same is (found[1] == "!="):
            return False
    return True


@pytest.mark.parametrize(
    ("firing", "received"),
    [
        (AWAY | BURNS | {"OsccGatewayReconnectStorm"}, {"OsccGatewayBusDown"}),
        (AWAY | BURNS | {"OsccGatewayBusRefusesWrites"}, {"OsccGatewayBusRefusesWrites"}),
        (AWAY | {"OsccGatewayBusRefusesNode"}, {"OsccGatewayBusRefusesNode"}),
        (
            {"OsccGatewaySiteDown", "OsccGatewayNobodyLogsOn", "OsccGatewayLogOffsPending"},
            {"OsccGatewaySiteDown"},
        ),
        (BURNS | {"OsccGatewayLoopLags"}, BURNS | {"OsccGatewayLoopLags"}),
        ({"OsccGatewayAbsent", "OsccGatewayNodeDown"}, {"OsccGatewayAbsent"}),
    ],
)
def test_one_outage_is_reported_once(firing: set[str], received: set[str]) -> None:
    assert firing <= alerts().keys()
    assert reported_of(firing) == received


def test_inhibition_names_only_alerts_that_there_are() -> None:
    for rule in yaml.safe_load(INHIBITION.read_text("utf-8"))["inhibit_rules"]:
        for side in (rule["source_matchers"], rule["target_matchers"]):
            assert any(matches(side, alert) for alert in alerts())
            for name in re.findall(r"OsccGateway\(([A-Za-z|]+)\)", " ".join(side)):
                assert {f"OsccGateway{part}" for part in name.split("|")} <= alerts().keys()


def test_alertmanager_takes_it() -> None:
    said = ask(machine("amtool"), "check-config", INHIBITION)
    assert said.code == 0, said.text
    assert "4 inhibit rules" in said.text


def test_burn_rates_are_those_of_the_book() -> None:
    burning = {name: rule["expr"] for name, rule in alerts().items() if "BurnsBudget" in name}
    found = [
        re.findall(r"ratio_rate(\w+) > on \(slo\) group_left \(\) \(([\d.]+)", one)
        for one in burning.values()
    ]
    assert found == [
        [("1h", "14.4"), ("5m", "14.4")],
        [("6h", "6"), ("30m", "6")],
        [("3d", "1"), ("6h", "1")],
    ]
