"""Is a connection counted in and out, with labels that no client can choose?"""

from __future__ import annotations

import pytest

from gateway.domain.commands import Call, Outcome, SetRoutingState, Status
from gateway.domain.model import Application
from gateway.edge.witness import Initiator, Witness
from gateway.protocol.codec import JSON
from gateway.telemetry import Telemetry

CALL = Call("key", "handle", SetRoutingState("work"), 1, retry=False, deadline_ms=5)


def sample(telemetry: Telemetry, name: str, **labels: str) -> float | None:
    return telemetry.registry.get_sample_value(f"oscc_gateway_{name}", labels)


def test_a_served_phone_is_counted_in_and_out() -> None:
    telemetry = Telemetry()
    witness = Witness(telemetry, JSON, 10.0)
    labels = {"application": "dashboard", "platform": "other", "codec": "json"}
    witness.welcomed(Application.DASHBOARD, 10.2)
    assert sample(telemetry, "connections", **labels) == 1
    assert sample(telemetry, "handshake_seconds_sum") == pytest.approx(0.2)
    witness.ended("client", 1000)
    witness.ended("client", 1000)
    assert sample(telemetry, "connections", **labels) == 0


def test_one_that_was_never_served_is_not() -> None:
    telemetry = Telemetry()
    Witness(telemetry, JSON, 10.0).ended("gateway", 4110)
    assert sample(telemetry, "closes_total", initiator="gateway", code="4110") == 1
    assert b"oscc_gateway_connections{" not in telemetry.render()


@pytest.mark.parametrize(
    ("initiator", "code", "label"),
    [
        ("client", 1001, "1001"),
        ("client", 3456, "other"),
        ("client", 4300, "other"),
        ("network", 1006, "1006"),
    ],
)
def test_a_client_cannot_make_series(initiator: Initiator, code: int, label: str) -> None:
    telemetry = Telemetry()
    Witness(telemetry, JSON, 0.0).ended(initiator, code)
    assert sample(telemetry, "closes_total", initiator=initiator, code=label) == 1


def test_frames_and_commands_are_counted() -> None:
    telemetry = Telemetry()
    witness = Witness(telemetry, JSON, 0.0)
    witness.wrote([b"12", b"345"])
    witness.asked()
    witness.asked()
    witness.settled(CALL, Outcome(Status.APPLIED), 0.5)
    witness.forgot()
    assert (sample(telemetry, "frames_total"), sample(telemetry, "frame_bytes_total")) == (2, 5)
    assert sample(telemetry, "commands_in_flight") == 0
    assert sample(telemetry, "commands_total", kind="routing_state.set", status="applied") == 1
    assert sample(telemetry, "command_seconds_sum", kind="routing_state.set") == 0.5
